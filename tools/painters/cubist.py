"""A guitar, a bottle, a pipe and a newspaper on a table, broken over planes that overlap and do not quite fit."""

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw
from scipy import ndimage

from painters.brushes import Array, Mask, brushwork, cover, directions, fractal_noise, grid, palette, sides

SHARP = 1000  # side of the sketch, in pixels: contours need more than brushes.SKETCH
NORMALS = directions(np.array([0.3, 1.1, 1.35, 1.85, 2.8]))  # of cuts and shades: few, for the planes to rhyme
OCHRE, TERRACOTTA, UMBER = "8a5a1c c8923a f0d08a", "6a2214 b04a28 e08a58", "241610 5a3820 a07444"
GREY, BLUE, BOTTLE = "6a6a64 aaa698 e6dec8", "1f3046 5a7890 b4c8d0", "0c2a24 1f5a48 7aa88a"
PAPER, HOLE = "a89c80 e0d4b0 fff6dc", "0e0c10 2a2024"
INK, STRING = palette("161214 faeece")


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


def planes(rng: Generator) -> list[Array]:
    """Convex polygons in few directions, back to front: some that fill the picture, others over their seams."""
    facets = [np.array([(-0.02, -0.02), (1.02, -0.02), (1.02, 1.02), (-0.02, 1.02)])]
    for _ in range(4):
        cuts = [NORMALS[np.argmax(np.ptp(f @ NORMALS.T, axis=0) * rng.uniform(0.6, 1, 5))] for f in facets]
        facets = [half for f, cut in zip(facets, cuts, strict=True) for half in split(f, cut, rng.uniform(0.36, 0.64))]
    for row, column in np.ndindex(4, 4):
        middle = (np.array((column, row)) + rng.uniform(0.1, 0.9, 2)) / 4
        first, second = rng.choice(5, 2, replace=False)
        along, across = NORMALS[first] * rng.uniform(0.09, 0.17), NORMALS[second] * rng.uniform(0.05, 0.1)
        facets.append(middle + np.array([along + across, along - across, -along - across, across - along]))
    return facets


def still_life(facet: Array, mood: Array, light: Array, u: Array, v: Array) -> tuple[Array, Array]:
    """The things at u and v, shaded by the light, as a sketch (SHARP, SHARP, 3) and a number for each visible part."""
    sketch, part = np.zeros((SHARP, SHARP, 3)), np.zeros((SHARP, SHARP), dtype=int)

    def lay(where: Mask, *palettes: str, tone: Array | float = 0.0) -> None:
        """Lay a thing, from dark to light across each plane, in the palette that suits the plane's mood."""
        for k, colours in enumerate(palettes):
            cover(sketch, where & (mood % len(palettes) == k), colours, light + tone)
        part[where] = facet[where] + part.max() + 1

    lay(light >= 0, GREY, BLUE, OCHRE, BOTTLE)
    lay(v > 0.67 + 0.1 * u, UMBER, TERRACOTTA, UMBER, OCHRE)
    line = v - 0.53 + 0.3 * (u - 0.2)  # of the newspaper: across its print
    lay((np.abs(u - 0.2) < 0.2) & (np.abs(line - 0.09) < 0.2), PAPER)
    stem = (np.abs(u - 0.13) < 0.014) & (np.abs(line + 0.025) < 0.075)
    hook = (np.abs(np.hypot(u - 0.09, line - 0.045) - 0.04) < 0.014) & (line > 0.045)
    ring = np.abs(np.hypot((u - 0.26) / 0.8, line) - 0.08) < 0.015
    rows = (np.abs(line % 0.05 - 0.025) < 0.008) & (line > 0.1) & (line < 0.29) & (np.abs(u - 0.2) < 0.16)
    sketch[stem | hook | ring | rows] = INK
    bottle = (np.abs(u - 0.8) < 0.036 + (0.55 * (v - 0.2)).clip(0, 0.064)) & (v > 0.04) & (v < 0.8)
    lay(bottle, BOTTLE, BOTTLE, BLUE, BOTTLE, tone=2.5 * (u - 0.8))
    lay(bottle & (np.abs(v - 0.5) < 0.1), OCHRE, GREY)
    lay(bottle & (np.abs(np.abs(v - 0.5) - 0.06) < 0.014), TERRACOTTA)
    along, beside = (u - 0.46) * 0.34 + (v - 0.58) * 0.94, (u - 0.46) * 0.94 - (v - 0.58) * 0.34
    waist = np.where(along > 0.05, 0.23 - 2.6 * (along - 0.16) ** 2, 0.17 - 3.2 * (along + 0.07) ** 2)
    body = (np.abs(beside) < waist) & (np.abs(along - 0.06) < 0.32)
    lay(body, OCHRE, TERRACOTTA, tone=0.1 - 0.9 * beside)
    lay(np.hypot(along + 0.01, beside) < 0.085, PAPER)
    lay(np.hypot(along + 0.01, beside) < 0.066, HOLE)
    lay((np.abs(beside) < 0.036) & (np.abs(along + 0.375) < 0.325), UMBER, BLUE)
    lay((np.abs(beside) < 0.09) & (np.abs(along - 0.22) < 0.016), UMBER)
    strings = (np.abs((beside + 0.027) % 0.018 - 0.009) < 0.0028) & (np.abs(beside) < 0.027)
    sketch[strings & (np.abs(along + 0.23) < 0.46)] = STRING
    pipe = np.abs(v - 0.87 + 0.22 * (u - 0.26)) < 0.014 + 0.03 * (u - 0.15).clip(0, 1)
    lay(pipe & (np.abs(u - 0.26) < 0.2), GREY)
    lay((np.hypot((u - 0.47) / 0.055, (v - 0.83) / 0.075) < 1) & (v > 0.785), TERRACOTTA)
    return sketch, part


def paint(rng: Generator, n: int) -> Image.Image:
    x, y = grid(SHARP)
    facets = planes(rng)
    count = len(facets)
    plan = Image.new("I", (SHARP, SHARP))
    for k, outline in enumerate(facets):
        ImageDraw.Draw(plan).polygon((outline * SHARP).ravel().tolist(), fill=k)
    facet = np.asarray(plan)

    turn, zoom = rng.normal(0, 0.1, count)[facet], rng.normal(0.95, 0.06, count)[facet]
    dx, dy = (x - 0.5) * zoom, (y - 0.5) * zoom
    u = 0.5 + dx * np.cos(turn) - dy * np.sin(turn) + rng.normal(0, 0.02, count)[facet]
    v = 0.5 + dx * np.sin(turn) + dy * np.cos(turn) + rng.normal(0, 0.02, count)[facet]
    slope = NORMALS[rng.integers(len(NORMALS), size=count)] * rng.choice([-1, 1], (count, 1))
    extent = np.array([np.sort(f @ normal)[[0, -1]] for f, normal in zip(facets, slope, strict=True)])[facet]
    light = (slope[facet, 0] * x + slope[facet, 1] * y - extent[..., 0]) / np.ptp(extent, axis=-1)
    sketch, part = still_life(facet, rng.integers(4, size=count)[facet], light.clip(0, 1), u, v)
    sketch *= (0.7 + 0.55 * light)[..., None]
    edge = (np.diff(part, axis=0, append=part[-1:]) != 0) | (np.diff(part, axis=1, append=part[:, -1:]) != 0)
    swell = 0.0042 + 0.0018 * fractal_noise(rng, SHARP, 7, 2)
    sketch[ndimage.distance_transform_edt(~edge) / SHARP < swell] = INK
    flow = np.stack([-slope[facet, 1], slope[facet, 0]], axis=-1)
    return brushwork(rng, n, sketch, flow, [(9000, 0.007, 0.03)], variety=0.1, height=0.4)
