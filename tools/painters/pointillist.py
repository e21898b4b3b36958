"""Sails on a lake at sunset, in dots of divided colour."""

import numpy as np
from numpy.random import Generator
from PIL import Image

from painters.brushes import SKETCH, cover, directions, fill, fractal_noise, grid, look_up, palette, ramp


def paint(rng: Generator, n: int) -> Image.Image:
    x, y = grid(SKETCH)
    horizon, sun = 0.47, 0.63
    ripple = 0.01 * fractal_noise(rng, SKETCH, 5) + 0.012 * np.sin(90 * (y - horizon) / (0.25 + y - horizon))
    water = y > horizon
    mirrored = np.where(water, 2 * horizon - y + 3 * ripple, y)
    glow = np.exp(-np.hypot((x - sun) / 1.3, mirrored - 0.36) / 0.17)
    tone = 0.75 * mirrored / horizon + 0.35 * glow + 0.05 * fractal_noise(rng, SKETCH, 5) - 0.12 * water
    sketch = ramp("2b4f9e 4a7fc4 86a9d8 c8a6c8 f2b49a f9c66a fff0a8", tone)
    cover(sketch, np.hypot(x - sun, y - 0.355) < 0.05, "fff6c8")
    for base, height, near, far in (
        (0.1, 0.1, "7c6bb0 a58bc0", "63529a 8c72a8"),
        (0.75, 0.07, "5a5aa0 8a7fc0", "414188 7166a8"),
    ):
        hill = height * np.exp(-(((x - base) / 0.27) ** 2)) + 0.008 * np.sin(25 * x)
        mottled = 0.5 + 0.3 * fractal_noise(rng, SKETCH, 12)
        cover(sketch, ~water & (horizon - y < hill), near, mottled)
        cover(sketch, water & (y - horizon < 0.7 * hill + ripple), far, mottled)
    beneath_sun = water & (np.abs(x - sun - 5 * ripple) < 0.02 + 0.16 * (y - horizon))
    waves = np.sin(50 * np.log(np.maximum(y, horizon) - 0.3) + 2 * np.sin(23 * x))
    cover(sketch, beneath_sun & (waves > -0.2), "ffd66e")
    for left, mast, size in ((0.27, 0.53, 0.26), (0.47, 0.5, 0.13), (0.86, 0.49, 0.09)):
        for side, lit, shaded in ((1, "ffecc4", "e29678"), (-1, "debeb4", "966e96")):  # the boat, its reflection
            up = side * (mast - y - ripple * (side < 0)) / size
            across = (x - left - 2 * ripple * (side < 0)) / size
            cover(sketch, (up > 0.1) & (across > 0.02) & (across < 0.5 * (1 - up)), lit)
            cover(sketch, (up > 0.1) & (across < -0.02) & (across > -0.36 * (0.9 - up)), shaded)
            cover(sketch, (up > 0) & (up < 0.08) & (np.abs(across) < 0.35 + up), "462850")
    trunk = np.abs(x - 0.93 + 0.05 * np.sin(5 * y)) < 0.018 + 0.03 * np.clip(y - 0.75, 0, 1)
    cover(sketch, trunk & (y > 0.2), "54305c")
    bank = y > 0.86 + 0.06 * np.sin(3 * x + 2.2) + 0.008 * fractal_noise(rng, SKETCH, 12)
    leaves = np.hypot((x - 0.98) / 1.1, y - 0.16) + 0.035 * fractal_noise(rng, SKETCH, 6) < 0.26
    cover(sketch, bank | leaves, "173a5e 1f6a4c 5f9a3a c9c64a f2dd6a", 0.42 + 0.3 * fractal_noise(rng, SKETCH, 18))

    canvas = Image.new("RGB", (n, n), (238, 222, 190))
    accents = palette("ff7a1a 1f4fd8 8a35b8 1f9a50 ffdc30 f2508a")
    circle = directions(np.linspace(0, 2 * np.pi, 10, endpoint=False))
    for count, diameter in ((9000, 0.018), (22000, 0.0105), (22000, 0.0075)):
        centre = rng.uniform(0, 1, (count, 2))
        share = 0.8 * rng.beta(1.0, 2.2, (count, 1))
        colours = (1 - share) * look_up(sketch, centre) + share * accents[rng.integers(len(accents), size=count)]
        radius = diameter / 2 * rng.uniform(0.75, 1.2, (count, 1, 1))
        fill(canvas, centre[:, None] + radius * circle, colours * rng.uniform(0.9, 1.08, (count, 1)))
    return canvas
