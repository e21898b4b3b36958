"""A village under a sky of whirling stars."""

import numpy as np
from numpy.random import Generator
from PIL import Image

from painters.brushes import (
    SKETCH,
    brushwork,
    cover,
    directions,
    fill,
    fractal_noise,
    grid,
    palette,
    ramp,
    ribbons,
    sides,
)


def paint(rng: Generator, n: int) -> Image.Image:
    x, y = grid(SKETCH)
    whirls = [(0.46, 0.33, 0.17, 1.0), (0.66, 0.45, 0.1, -0.9), (0.31, 0.52, 0.07, 0.8)]
    stars = [(0.36, 0.09), (0.07, 0.1), (0.53, 0.1), (0.69, 0.22), (0.95, 0.42), (0.3, 0.28), (0.06, 0.4), (0.83, 0.5)]
    lights = [(*star, rng.uniform(0.04, 0.07)) for star in stars] + [(0.86, 0.14, 0.12)]
    u, v = np.ones_like(x), 0.5 * np.cos(9 * x + 5 * y) + 0.15 * fractal_noise(rng, SKETCH, 3)
    tone = 0.22 + 0.16 * y + 0.05 * fractal_noise(rng, SKETCH, 6)
    for left, top, radius, spin in whirls:
        dx, dy = (x - left + rng.normal(0, 0.015)) / radius, (y - top + rng.normal(0, 0.015)) * 1.2 / radius
        r = np.hypot(dx, dy)
        pull = 6 * spin * np.exp(-(r**2) / 2)
        u, v = u - pull * (dy + 0.15 * dx), v + pull * (dx - 0.15 * dy)
        arms = np.cos(2 * np.arctan2(dy, dx) * np.sign(spin) - 5 * r)
        tone += 0.3 * np.exp(-(r**2) / 2.5) * (0.3 + arms)
    for left, top, radius in lights:
        dx, dy = (x - left) / radius, (y - top) / radius
        r = np.hypot(dx, dy)
        pull = 12 * np.exp(-(r**2))
        u, v = u - pull * dy, v + pull * dx
        tone = np.maximum(tone, 1.15 * np.exp(-(r**1.3)) + 0.12 * np.cos(9 * r) * np.exp(-r))
    tone += 0.35 * np.exp(-(((y - 0.62 - 0.03 * np.sin(8 * x)) / 0.05) ** 2))
    sketch = ramp("0a1238 152a6e 2456a4 4f8fc4 9cc3c8 e3dd9a f7d04a fbe9a0", tone)
    angle = np.arctan2(v, u)
    for k, colours in enumerate(("3b6ea5 254a86", "1e4470 2f6b6f", "17305c 1f5a4c", "0f2440 2c6a3c")):
        crest = 0.66 + 0.07 * k + 0.05 * np.sin((5 + k) * x + 2.1 * k + rng.uniform(0, 1)) + 0.02 * np.sin(17 * x + k)
        cover(sketch, y > crest, colours, 0.5 + 0.5 * np.sin(60 * (y - crest) + 9 * x))
        np.copyto(angle, np.arctan(np.gradient(crest, axis=1) * SKETCH), where=y > crest)
    half = 0.075 * np.clip((y - 0.1) / 0.75, 0, 1) ** 0.8 * (1 + 0.25 * np.sin(28 * y))
    cypress = np.abs(x - 0.17 - 0.018 * np.sin(11 * y)) < half
    cover(sketch, cypress, "0b130f 1d3320 3c4a1e 12241c", 0.5 + 0.5 * np.sin(80 * x + 9 * np.sin(14 * y)))
    np.copyto(angle, 0.5 * np.sin(22 * y + 20 * x) - np.pi / 2, where=cypress)
    layers = [(1500, 0.024, 0.10), (4000, 0.014, 0.09), (8000, 0.008, 0.06), (7000, 0.005, 0.04)]
    canvas = brushwork(rng, n, sketch, directions(angle), layers)

    wall, roof = ((0, 0), (1, 0), (1, -0.6), (0, -0.6)), ((-0.1, -0.5), (1.1, -0.5), (0.85, -1.1), (0.15, -1.1))
    panes = [((left, -0.1), (left + 0.2, -0.1), (left + 0.2, -0.4), (left, -0.4)) for left in (0.18, 0.6)]
    spire = ((0.3, -1.0), (0.5, -3.4), (0.5, -3.4), (0.7, -1.0))
    church, house = np.array([spire, wall, roof, *panes]), np.array([wall, roof, *panes])
    places = np.stack([rng.permutation(np.linspace(0.34, 0.94, 17)), np.linspace(0.79, 0.93, 17)], axis=-1)
    for k, place in enumerate(places):
        shapes = church if k == 4 else house
        shapes = place + rng.uniform(0.03, 0.046) * (shapes + rng.normal(0, 0.03, shapes.shape))
        paints = palette("2a4a78 6a86a8 7a4a34 f7d04a f2b83a") * rng.uniform(0.8, 1.15, (5, 1))
        for shape, paint in zip(shapes, paints[-len(shapes) :], strict=True):
            fill(canvas, shape[None], paint)
            fill(canvas, ribbons(sides(shape), 0.004, taper=0.1), (16, 24, 48))
    return canvas
