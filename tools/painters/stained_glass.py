"""Sunrise over hills and poppies, in leaded panes."""

import numpy as np
from numpy.random import Generator
from PIL import Image
from scipy import ndimage

from painters.brushes import Array, Mask, fractal_noise, grid, ramp, to_picture


def paint(rng: Generator, n: int) -> Image.Image:
    x, y = grid(n)
    x, y = x + 0.004 * fractal_noise(rng, n, 5, 2), y + 0.004 * fractal_noise(rng, n, 5, 2)
    pane = np.zeros((n, n), dtype=int)
    tint = np.zeros((n, n, 3))

    def glaze(where: Mask, cut: Array | float, colours: str) -> None:
        """Lay panes, told apart by the whole part of `cut`, each in a colour of its own along the palette."""
        part = np.broadcast_to(np.floor(cut).astype(int), (n, n))[where] % 1000
        tint[where] = ramp(colours, rng.uniform(0, 1, 1000))[part]
        pane[where] = part + pane.max() + 1

    dx, dy = x - 0.5, y - 0.4
    r, turn = np.hypot(dx, dy), np.arctan2(dy, dx) / (2 * np.pi) + 0.5
    ray = np.floor(30 * turn).clip(0, 29)
    ring = np.floor(10 * (r + rng.uniform(-0.06, 0.06, 30)[ray.astype(int)]))
    glaze(r >= 0, 20 * ray + ring, "0b2f8a 1459c0 2a8fd6 5cc0e0 16308f 7a4fc0 0d4aa8")
    glaze(r < 0.25, 24 * turn, "f29a1c e8601c f6c02c d8401c")
    glaze(r < 0.17, 14 * turn, "ffe36a f9c02c ffb030")
    glaze(r < 0.085, 0.0, "ffe99a")
    hills = ("5a2f9a 8a4fc0 3a3f9a", "0f6a6a 1f8a7a 2fa08a", "1f7a2f 5fa82c 0f5a3a", "0f4a2a 2f7a2c 7aa02c")
    for k, colours in enumerate(hills):
        crest = 0.56 + 0.09 * k + 0.045 * np.sin((4 + k) * x + 2.4 * k + rng.uniform(0, 1))
        strip = np.floor((x + 0.35 * (y - crest) * (-1) ** k) * (13 - k))
        glaze(y > crest, 2 * strip + (y > crest + 0.06 + 0.02 * np.sin(9 * x + k)), colours)
    stream = np.abs(x - 0.52 - 0.13 * np.sin(9 * y + 0.5)) < 0.02 + 0.22 * (y - 0.62)
    glaze(stream & (y > 0.64), 24 * y + 0.7 * np.sin(14 * x), "6fd0f0 2a8fd6 bfeaf6 1459c0")
    for left, top, size in ((0.16, 0.8, 0.11), (0.31, 0.9, 0.085), (0.85, 0.83, 0.115), (0.7, 0.93, 0.075)):
        dx, dy = x - left, y - top
        r, turn = np.hypot(dx, dy) / size, (np.arctan2(dy, dx) / (2 * np.pi) + rng.uniform(0, 1)) % 1
        glaze((np.abs(dx - 0.1 * dy) < 0.008) & (dy > 0), 0.0, "6fae2c")
        glaze(r < 0.8 + 0.2 * np.abs(np.sin(5 * np.pi * turn)), 5 * turn, "c81420 f03a28 a80f3a f2602c")
        glaze(r < 0.28, 0.0, "ffd23a")
    beside, above = np.minimum(x, 1 - x), np.minimum(y, 1 - y)
    side = np.where(beside < above, 2 * (x > 0.5), 2 * (y > 0.5) + 1)
    along = np.floor(16 * np.where(beside < above, y, x))
    glaze(np.minimum(beside, above) < 0.055, 40 * side + along, "7a1030 1f2f8a b8862a 0f6a5a")
    glaze(np.minimum(beside, above) < 0.02, 1.0 * side, "3a1050 2a1048")

    seam = (np.diff(pane, axis=0, append=-1) != 0) | (np.diff(pane, axis=1, append=-1) != 0)
    depth = ndimage.distance_transform_edt(~seam) / n
    light = 1.05 + 0.1 * fractal_noise(rng, n, 4) + 0.05 * fractal_noise(rng, n, 90, 2) - 0.35 * np.exp(-depth / 0.012)
    light += 0.3 * np.exp(-np.hypot(x - 0.5, y - 0.4) / 0.25)
    swirl = np.sin(70 * (x * np.cos(pane) + y * np.sin(pane)) + 2.5 * fractal_noise(rng, n, 9))
    glass = tint * light[..., None] + swirl[..., None] * (30, 27, 21)
    lead = 60 + 90 * np.exp(-(((depth - 0.0015) / 0.0012) ** 2)) + 12 * fractal_noise(rng, n, 120, 2)
    return to_picture(np.where((depth < 0.0042)[..., None], lead[..., None] * (0.42, 0.42, 0.47), glass))
