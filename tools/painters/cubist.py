"""A guitar, a bottle and a newspaper, each facet seen from a place of its own."""

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from painters.brushes import SKETCH, Array, brushwork, cover, directions, fill, grid, ramp, ribbons, sides


def split(polygon: Array, normal: Array, share: float) -> tuple[Array, Array]:
    """The two parts of a convex polygon (points, 2), cut across the normal at a share of its extent."""
    height = polygon @ normal
    height -= height.min() + share * np.ptp(height)
    parts: tuple[list[Array], list[Array]] = ([], [])
    for (p, q), a, b in zip(sides(polygon), height, np.roll(height, -1), strict=True):
        parts[int(a > 0)].append(p)
        if (a > 0) != (b > 0):
            for part in parts:
                part.append(p + a / (a - b) * (q - p))
    return np.array(parts[0]), np.array(parts[1])


def paint(rng: Generator, n: int) -> Image.Image:
    x, y = grid(SKETCH)
    normals = directions(np.array([0.3, 1.1, 1.3, 1.85, 2.5, 2.8]))
    facets = [np.array([(-0.02, -0.02), (1.02, -0.02), (1.02, 1.02), (-0.02, 1.02)])]
    for _ in range(7):
        cuts = [normals[np.argmax(np.ptp(f @ normals.T, axis=0) * rng.uniform(0.6, 1, 6))] for f in facets]
        facets = [half for f, cut in zip(facets, cuts, strict=True) for half in split(f, cut, rng.uniform(0.33, 0.67))]
    count = len(facets)
    plan = Image.new("I", (SKETCH, SKETCH))
    for k, outline in enumerate(facets):
        ImageDraw.Draw(plan).polygon((outline * SKETCH).ravel().tolist(), fill=k)
    facet = np.asarray(plan)

    turn, zoom = rng.normal(0, 0.11, count)[facet], rng.normal(0.95, 0.06, count)[facet]
    dx, dy = (x - 0.5) * zoom, (y - 0.5) * zoom
    u = 0.5 + dx * np.cos(turn) - dy * np.sin(turn) + rng.normal(0, 0.016, count)[facet]
    v = 0.5 + dx * np.sin(turn) + dy * np.cos(turn) + rng.normal(0, 0.016, count)[facet]
    tone = rng.normal(0.45, 0.2, count)[facet]
    sketch = ramp("2f3a4a 56687a 8a97a0 b8b09a d8c8a0", tone)
    table, cloth = v > 0.74 + 0.12 * (u - 0.5), np.abs(u - 0.76) + 0.8 * np.abs(v - 0.82) < 0.2
    cover(sketch, table, "3a2216 6a3f1f 9a642e b88848", tone + 0.15 * np.sin(70 * v + 8 * u))
    cover(sketch, cloth, "6f8aa8 a8bcc8 ece8da", tone + 0.2)
    news = (np.abs(u - 0.2 - 0.2 * (v - 0.6)) < 0.16) & (np.abs(v - 0.6 + 0.25 * (u - 0.25)) < 0.22)
    cover(sketch, news, "cfc09a f0e6c8", tone)
    cover(sketch, news & (np.sin(120 * (v + 0.25 * u)) > 0.3) & (np.sin(37 * u) > -0.75), "4a443e")
    bottle = np.abs(u - 0.77) < np.where(v > 0.34, 0.1, 0.036 + 0.5 * np.clip(v - 0.22, 0, 1))
    bottle &= (v > 0.06) & (v < 0.8)
    cover(sketch, bottle, "0f2a2a 1f5048 4a8878 a8ccb4 2f6a5a", 0.5 + 5 * (u - 0.77))
    cover(sketch, bottle & (np.abs(v - 0.53) < 0.09), "e2c482")
    cover(sketch, bottle & (np.abs(np.abs(v - 0.53) - 0.06) < 0.012), "96281e")
    along, beside = (u - 0.45) * 0.34 + (v - 0.6) * 0.94, (u - 0.45) * 0.94 - (v - 0.6) * 0.34
    waist = np.where(along > 0.05, 0.21 - 2.6 * (along - 0.15) ** 2, 0.16 - 3.4 * (along + 0.07) ** 2)
    cover(sketch, (np.abs(beside) < waist + 0.015) & (np.abs(along - 0.06) < 0.315), "3e2214")
    body = (np.abs(beside) < waist) & (np.abs(along - 0.06) < 0.3)
    cover(sketch, body, "8a4512 c0701c e0a040 f4cc7a", tone - 1.2 * beside)
    for radius, colour in ((0.078, "ecce96"), (0.064, "1a1416")):
        cover(sketch, np.hypot(along + 0.02, beside) < radius, colour)
    cover(sketch, (np.abs(beside) < 0.034) & (np.abs(along + 0.375) < 0.325), "46281a")
    cover(sketch, (np.abs(beside) < 0.08) & (np.abs(along - 0.2) < 0.012), "321c12")
    strings = (np.abs(np.mod(beside + 0.027, 0.018) - 0.009) < 0.0024) & (np.abs(beside) < 0.027)
    cover(sketch, strings & (np.abs(along + 0.25) < 0.45), "f6e8c4")

    slope = normals[rng.integers(6, size=count)] * rng.choice([-1, 1], (count, 1))
    extent = np.array([np.sort(f @ normal)[[0, -1]] for f, normal in zip(facets, slope, strict=True)])[facet]
    across = slope[facet, 0] * x + slope[facet, 1] * y
    sketch *= (0.62 + 0.62 * (across - extent[..., 0]) / np.ptp(extent, axis=-1))[..., None]
    flow = np.stack([-slope[facet, 1], slope[facet, 0]], axis=-1)
    layers = [(2500, 0.02, 0.05), (9000, 0.009, 0.04), (16000, 0.005, 0.025)]
    canvas = brushwork(rng, n, sketch, flow, layers, variety=0.12, height=0.5)
    start, end = np.moveaxis(np.concatenate([sides(f) for f in facets]), 1, 0)[:, :, None]
    slide = rng.uniform(-0.15, 0.15, (len(start), 1, 1))
    edges = start + (np.linspace(0, 1, 8)[:, None] + slide) * (end - start)
    fill(canvas, ribbons(edges, rng.uniform(0.0015, 0.0065, len(edges))), (30, 24, 26))
    return canvas
