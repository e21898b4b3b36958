"""Sunday on a river bank: sails, a bather, a tree and a lady with a parasol, in dots of divided colour."""

import numpy as np
from numpy.random import Generator
from PIL import Image
from scipy.spatial import KDTree

from painters.brushes import (
    SKETCH,
    Array,
    cover,
    directions,
    fill,
    fractal_noise,
    grid,
    look_up,
    palette,
    ramp,
    to_picture,
)

DIAMETERS = (1 / 40, 1 / 50, 1 / 60)  # of the dots, in three coats: 8 pixels and more where the picture has 512


def scatter(rng: Generator, apart: float) -> Array:
    """Points (points, 2) all over the picture in random order, no two closer than a distance."""
    points = rng.uniform(-0.02, 1.02, (int(9 / apart**2), 2))
    tree, free = KDTree(points), np.ones(len(points), dtype=bool)
    for k, point in enumerate(points):
        if free[k]:
            free[tree.query_ball_point(point, apart)] = False
            free[k] = True
    return points[free]


def boat(sketch: Array, x: Array, up: Array, colours: tuple[str, str, str]) -> None:
    """A boat in units of its mast: x from the mast to the right, up from the water line."""
    mainsail, jib, hull = colours
    cover(sketch, (up > 0.14) & (x < -0.02) & (x > -0.58 * (1.05 - up)), mainsail, -1.4 * x)
    cover(sketch, (up > 0.14) & (x > 0.03) & (x < 0.42 * (0.92 - up)), jib)
    cover(sketch, (up > 0) & (up < 0.11) & (np.abs(x + 0.08) < 0.42 + up), hull)


def lady(sketch: Array, x: Array, up: Array) -> None:
    """A lady in units of her height: x from her waist to the right, up from her hem."""
    skirt = np.interp(up, (0, 0.25, 0.5, 0.56, 0.66, 0.8, 0.84), (0.23, 0.17, 0.09, 0.06, 0.085, 0.1, 0.04))
    bustle = 0.2 * np.sin(np.pi * (up / 0.58).clip(0, 1) ** 1.3) * (x > 0)
    cover(sketch, (up > 0) & (up < 0.84) & (np.abs(x) < skirt + bustle), "f4a6c4 a04ab4 4a2a86 32206a", 0.3 + 2.4 * x)
    cover(sketch, np.hypot(x + 0.01, up - 0.9) < 0.085, "fcd0a8 f0a880 7a2a3a", 0.45 + 5 * x)
    cover(sketch, (np.abs(x) < 0.11) & (np.abs(up - 1.0) < 0.035), "3a1440")
    dome = np.hypot((x + 0.08) / 0.47, (up - 1.07) / 0.28) < 1
    cover(sketch, dome & (up > 1.07 + 0.035 * np.cos(16 * (x + 0.08))), "ffd862 f8702c d0283a 8a1a4a", 0.42 + 1.1 * x)


def bather(sketch: Array, x: Array, up: Array) -> None:
    """A boy who sits and looks to the right, in units of his height: x from his back, up from the grass."""
    cover(sketch, np.hypot((x - 0.42) / 0.5, (up - 0.12) / 0.14) < 1, "fbf0e0 b8a8d8", 0.8 - 2.5 * up)
    cover(sketch, np.hypot((x - 0.12 * up) / 0.23, (up - 0.36) / 0.38) < 1, "f8f4ee d84a30 8a1c3a", 0.55 + 1.6 * x)
    cover(sketch, np.hypot(x - 0.1, up - 0.82) < 0.15, "f6b078 9a4a34", 0.3 + 3 * x)
    cover(sketch, np.hypot((x - 0.1) / 0.29, (up - 0.95) / 0.1) < 1, "ffe070 e09a2c", 0.5 + 2 * x)


def scene(rng: Generator) -> Array:
    """The view without its dots (SKETCH, SKETCH, 3), all things from light to shade: the sun is at the left."""
    x, y = grid(SKETCH)
    leafy, fine = fractal_noise(rng, SKETCH, 5), fractal_noise(rng, SKETCH, 14)
    horizon, ripple = 0.4, 0.012 * fractal_noise(rng, SKETCH, 9)
    water, depth = y > horizon, y - horizon
    sketch = ramp("2a5fbc 4a86d8 74ace8 a8c8e8 f6c4a8", y / horizon + 0.06 * leafy)
    cloud = np.abs(y - 0.06 - 0.03 * np.sin(9 * x) - 0.012 * leafy) < 0.03 - 0.03 * x
    cover(sketch, cloud, "fff2e0 f8d0d4", 0.5 + 0.4 * fine)
    hill = 0.055 + 0.05 * np.exp(-(((x - 0.56) / 0.13) ** 2)) + 0.012 * leafy
    cover(sketch, ~water & (-depth < hill), "34508e 3f7a80 7aae5a", 0.4 + 0.3 * leafy - 9 * (depth + 0.05))
    cover(sketch, water, "b4d4e6 6aa6dc 3a70c4 2a4fa2", depth / 0.4 + 4 * ripple)
    cover(sketch, water & (depth < 0.6 * hill + ripple), "3f5f98 4f8a94", 0.5 + 0.4 * fine)
    cover(sketch, water & (np.sin(30 * np.log(0.12 + depth.clip(0)) + 3 * x + 25 * ripple) > 0.82), "ffe2b0 f8b890", x)
    for left, line, mast in ((0.1, 0.425, 0.17), (0.35, 0.49, 0.42)):
        mirrored = (x - left + 3 * ripple) / mast
        boat(sketch, mirrored, (y - line + ripple) / mast, ("e6dcd0 b8b0d8", "c08aa0", "4a2a62"))
        boat(sketch, (x - left) / mast, (line - y) / mast, ("fffaf0 fff0c8", "f09a60", "8a1c30"))
    bank = y > 0.82 - 0.24 * x**1.5 + 0.02 * np.sin(9 * x) + 0.004 * fine
    cover(sketch, bank, "6fae34 b8d440 f4e65a", 0.55 + 0.35 * leafy)
    shadow = np.abs(y - 0.95 + 0.12 * x + 0.02 * leafy) < 0.015 + 0.08 * x
    cover(sketch, bank & shadow, "16386a 1c6260 2f8452", 0.45 + 0.35 * fine)
    trunk = np.abs(x - 0.9 - 0.025 * np.sin(6 * y)) < 0.034 + 0.5 * (y - 0.68).clip(0) ** 1.5
    cover(sketch, trunk & (y < 0.84), "e08a4a 7a345a 2c1a48", 0.5 + (x - 0.9) / 0.07)
    crown = np.hypot((x - 0.98) / 1.3, y - 0.08) + 0.03 * leafy < 0.31
    lit = 0.42 + 0.45 * leafy + 0.2 * fine - 0.9 * (x - 0.8) - 1.2 * (y - 0.14)
    cover(sketch, crown, "122a5a 17545a 2a8446 9acc3a f6ea50", lit)
    lady(sketch, (x - 0.68) / 0.46, (0.92 - y) / 0.46)
    bather(sketch, (x - 0.1) / 0.26, (0.95 - y) / 0.26)
    return sketch


def paint(rng: Generator, n: int) -> Image.Image:
    sketch = scene(rng)
    ground = 0.4 * sketch + 0.6 * palette("4a3a58")[0]
    canvas = to_picture(ground).reduce(10).resize((n, n), Image.Resampling.BICUBIC)
    accents = palette("ff8a1e ffd92e e8286a 8a30d0") - 128  # added or taken away: from afar the pairs cancel out
    circle = directions(np.linspace(0, 2 * np.pi, 18, endpoint=False))
    for diameter, apart, strength in zip(DIAMETERS, (0.96, 1.35, 1.55), (0.3, 0.4, 0.6), strict=True):
        centre = scatter(rng, apart * diameter)
        count = len(centre)
        shift = rng.choice([-1, 1], (count, 1)) * accents[rng.integers(len(accents), size=count)]
        colours = look_up(sketch, centre) + strength * rng.uniform(0.3, 1, (count, 1)) * shift
        radius = diameter / 2 * rng.uniform(0.96, 1.1, (count, 1, 1))
        fill(canvas, centre[:, None] + radius * circle, colours)
    return canvas
