"""Fish in a rippling sea, of small stones in rows that follow what they show."""

import numpy as np
from numpy.random import Generator
from PIL import Image

from painters.brushes import Array, Mask, cover, directions, fill, grid, ramp, rotation


def paint(rng: Generator, n: int) -> Image.Image:
    gap, margin, grout = 1 / 74, 5.8 / 74, (172, 160, 138)
    red, green = "8f1f14 d8481c f0932c f8d27a fbf0cc", "14304a 1f6a7a 4fa88a e8d890 f6f0d0"
    gold = "6a2a14 b8701c e8b83c f8e8b0"
    shoal = [(0.46, 0.27, 0.62, 0.1, red), (0.57, 0.745, 0.52, 3.05, green)]
    shoal += [(0.25, 0.545, 0.26, -0.3, gold), (0.74, 0.495, 0.23, 0.3, gold)]
    canvas = Image.new("RGB", (n, n), grout)

    def lay(middle: Array, heading: Array, colours: Array, where: Mask) -> None:
        """Set square stones, uneven in shape, height and colour: middle (..., 2), heading (...), colours (..., 3)."""
        count = where.sum()
        corner = heading[where][:, None] + np.pi / 4 * np.array([1, 3, 5, 7]) + rng.normal(0, 0.07, (count, 1))
        shape = gap * directions(corner) * rng.uniform(0.56, 0.66, (count, 4, 1))
        centre, shade = middle[where][:, None], colours[where] * rng.normal(1, 0.11, (count, 1))
        outlines = np.stack([centre + shape, centre + 0.72 * shape - 0.04 * gap], axis=1)
        fill(canvas, outlines.reshape(-1, 4, 2), np.stack([shade * 0.8, shade * 1.06], axis=1).reshape(-1, 3))

    def fish_width(s: Array, side: Array) -> Array:
        """Half a fish's width, s of its length from the nose, on its back (side < 0) or belly; negative beyond it."""
        body = 0.2 * np.sin(np.pi * s.clip(0, 1) ** 0.7) ** 0.8 + 0.012
        fin = np.where(side < 0, 0.28, 0.25) - 0.55 * np.abs(s - np.where(side < 0, 0.42, 0.55))
        tail = np.where((s > 0.84) & (s < 1.13), 1.05 * (s - 0.84), -1)
        return np.where((s > 0) & (s < 1), np.maximum(np.maximum(body, fin * (body > 0.1)), tail), tail)

    x, y = grid(74)
    swell = 0.022 * np.sin(11 * x + 2) + 0.012 * np.sin(23 * x - 4 * y)
    slope = np.gradient(swell, gap, axis=1)
    tone = 0.5 + 0.5 * np.sin(46 * y + 1.5 * np.sin(7 * x + 9 * y)) + rng.normal(0, 0.09, x.shape)
    middle = np.stack([x, y + swell], axis=-1)
    inside = np.minimum(middle, 1 - middle).min(axis=-1) > margin - gap / 2
    lay(middle, np.arctan(slope), ramp("12406a 1f6f9a 3f9ab0 86c4c0 d2e6d4", tone), inside)
    for left, top, length, tilt, colours in shoal:
        stone = gap / length
        row, column = np.indices((int(0.72 / stone), int(1.3 / stone)))
        along, across = column * stone - 0.08, row * stone - 0.36
        bend = 0.07 * np.sin(2 * np.pi * along)
        heading, flip = tilt + rng.normal(0, 0.08), np.sign(np.cos(tilt))
        local = length * np.stack([along - 0.5, flip * (across + bend)], axis=-1)
        depth = (fish_width(along, across) - np.abs(across)) / stone
        shades = ramp(colours, 0.4 + 1.9 * across + 0.3 * ((row // 2 + column // 3) % 2))
        cover(shades, np.abs(along - 0.24 - 0.25 * across**2) < 0.5 * stone, "3c1e1e")
        cover(shades, depth < 1.1, "261a22")
        eye = np.hypot(along - 0.13, across + 0.045) / stone
        cover(shades, eye < 1.9, "faf6e6")
        cover(shades, eye < 0.9, "141014")
        wiggle = heading + flip * np.arctan(np.gradient(bend, stone, axis=1))
        lay(local @ rotation(heading) + (left, top), wiggle, shades, depth > -0.9)
    rim = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])
    fill(canvas, [np.concatenate([rim, 0.5 + (1 - 2 * margin) * (rim[::-1] - 0.5)])], grout)
    beside, above = np.minimum(x, 1 - x), np.minimum(y, 1 - y)
    row, column = np.floor(np.minimum(beside, above) / gap), np.floor(np.where(beside < above, y, x) / gap)
    border = ramp("eedeb8", 0 * x)
    cover(border, np.abs(column % 6 - 3) > row - 1, "962c22")
    cover(border, row % 5 == 0, "2e262c")
    lay(np.stack([x, y], axis=-1), 0 * x, border, row < 6)
    return canvas
