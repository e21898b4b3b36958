"""Breaking waves with claws of foam, printed from blocks in indigo, blue and cream."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from PIL import Image
from scipy.interpolate import CubicSpline

from painters.brushes import (
    Array,
    directions,
    fill,
    fractal_noise,
    grid,
    palette,
    ramp,
    ribbons,
    rotation,
    to_picture,
)

INDIGO, BLUE, PALE, FOAM, OCHRE, SLATE = palette("1a2c54 3a6796 93b6cc f6eed8 d9a55a 54708c")


def smooth(points: Sequence[tuple[float, float]], count: int = 120) -> Array:
    """A smooth curve (count, 2) through the given points."""
    through = CubicSpline(np.linspace(0, 1, len(points)), np.array(points))
    return np.asarray(through(np.linspace(0, 1, count)))


def claws(canvas: Image.Image, root: Array, heading: Array, reach: Array, curl: float) -> None:
    """Hooked fingers of foam, each with two smaller ones at its side: indigo, then the paper within it."""
    length = reach[:, None] * (0.75, 0.7, 1.0)
    turn = heading[:, None] + (-0.75, 0.65, 0.0)
    bend = turn[..., None] + 2.9 * curl * np.linspace(0, 1, 12) ** 1.7
    path = root[:, None, None] + np.cumsum(directions(bend) * length[..., None, None] / 12, axis=2)
    for fingers, size in zip(path, length, strict=True):
        fill(canvas, ribbons(fingers, 0.36 * size, taper=0.8), INDIGO)
        fill(canvas, ribbons(fingers, 0.22 * size, taper=0.8), FOAM)


def wave(rng: Generator, canvas: Image.Image, left: float, top: float, scale: float, flip: int) -> None:
    """A wave: blue water, stripes that climb from the trough to the lip, a crest of foam, claws and spray."""
    climb = [(-0.5, 1.3), (-0.1, 0.7), (0.06, 0.36), (0.2, 0.16), (0.38, 0.07), (0.54, 0.12), (0.62, 0.25), (0.6, 0.36)]
    hollow = [(1.5, 1), (0.82, 0.95), (0.54, 0.86), (0.38, 0.7), (0.32, 0.53), (0.37, 0.38), (0.47, 0.31), (0.59, 0.35)]
    stretch = scale * np.array((flip, 1))
    back, face = ((left, top) + stretch * (smooth(c) + rng.normal(0, 0.008, 2)) for c in (climb, hollow))
    fill(canvas, [np.concatenate([back, face[::-1]])], BLUE)
    for k in np.linspace(0.06, 0.98, 26):
        stripe = ((1 - k) * back + k * face)[None, rng.integers(9) : 121 - rng.integers(8)]
        tint = (INDIGO, PALE)[rng.integers(2)]
        fill(canvas, ribbons(stripe, scale * rng.uniform(0.01, 0.032), taper=0.5), tint)
    fill(canvas, ribbons(np.stack([back, face]), 0.011 * scale, taper=0.3), INDIGO)
    share = 0.16 * np.sin(np.linspace(0, np.pi, 70))[:, None] ** 0.7
    inner = (1 - share) * back[-70:] + share * face[-70:]
    fill(canvas, [np.concatenate([back[-70:], inner[::-1]])], FOAM)
    fill(canvas, ribbons(inner[None], 0.008 * scale), INDIGO)
    for edge, count, lean, size in (
        (inner, 16, 1.0, 0.08),
        (face[-38:], 11, -0.8, 0.09),
        (back[-66:], 20, -0.6, 0.12),
    ):
        along = np.sort(rng.integers(len(edge) - 2, size=count))
        tangent = edge[along + 1] - edge[along]
        heading = np.arctan2(tangent[:, 1], tangent[:, 0]) + flip * (lean + rng.normal(0, 0.25, count))
        reach = scale * size * rng.uniform(0.6, 1.3, count) * (0.45 + 0.55 * along / len(edge))
        claws(canvas, edge[along], heading, reach, -flip * np.sign(lean))
    flung = np.abs(rng.normal(0, (0.11, 0.09), (130, 2))) * (1, -0.6)
    drops = scale * rng.uniform(0.002, 0.007, (130, 1, 1)) * directions(np.linspace(0, 2 * np.pi, 14))
    spray = (back[rng.integers(50, 120, 130)] + stretch * flung)[:, None]
    fill(canvas, spray + 1.5 * drops, INDIGO)
    fill(canvas, spray + drops, FOAM)


def boat(canvas: Image.Image, left: float, top: float, tilt: float) -> None:
    """A boat in profile: its bow at (left, top), turned by the tilt."""
    keel = smooth([(0, 0), (0.1, 0.045), (0.22, 0.05), (0.34, -0.02)])
    deck = smooth([(0, 0), (0.1, 0.022), (0.22, 0.02), (0.34, -0.02)])
    edges = np.stack([keel, deck]) @ rotation(tilt) + (left, top)
    fill(canvas, [np.concatenate([edges[0], edges[1, ::-1]])], OCHRE)
    fill(canvas, ribbons(edges, 0.005), INDIGO)


def paint(rng: Generator, n: int) -> Image.Image:
    _, y = grid(n)
    sky = ramp("5f7288 b9b49c e6d3aa f2e2bd e8c99a d8b184", y / 0.8 + 0.01 * fractal_noise(rng, n, 3, 2))
    canvas = to_picture(sky)
    mountain = smooth([(0.44, 0.76), (0.6, 0.7), (0.7, 0.6), (0.74, 0.6), (0.84, 0.7), (1.0, 0.76)])
    snowline = [(0.78, 0.655), (0.755, 0.69), (0.73, 0.65), (0.705, 0.7), (0.68, 0.66)]
    fill(canvas, [mountain], SLATE)
    fill(canvas, [np.concatenate([mountain[33:83], snowline])], FOAM)
    fill(canvas, [np.array([(0, 0.755), (1, 0.755), (1, 1), (0, 1)])], PALE)
    run = np.linspace(0, 1, 60)
    for near in np.linspace(0.015, 0.23, 16):
        ripple = np.stack([run, 0.75 + near + 0.3 * near * np.sin(16 * run + 90 * near)], axis=-1)
        fill(canvas, ribbons(ripple[None], 0.002 + 0.03 * near), (INDIGO, BLUE, FOAM)[rng.integers(3)])
    wave(rng, canvas, 1.16, 0.52, 0.55, -1)
    boat(canvas, 0.56, 0.84, -0.12)
    wave(rng, canvas, -0.02, 0.0, 1.0, 1)
    boat(canvas, 0.42, 0.93, 0.16)
    wave(rng, canvas, 0.02, 0.66, 0.5, 1)
    wave(rng, canvas, 1.02, 0.75, 0.42, -1)
    grain = 0.045 * np.sin(170 * (y + 0.07 * fractal_noise(rng, n, 2, 3))) + 0.02 * fractal_noise(rng, n, 150, 2)
    wear = 0.02 * fractal_noise(rng, n, 8)
    return to_picture(np.asarray(canvas) * (0.98 + grain + wear)[..., None])
