"""A lighthouse under a stormy moon, in pen and ink."""

import numpy as np
from numpy.random import Generator
from PIL import Image

from painters.brushes import (
    SKETCH,
    Array,
    cut_short,
    directions,
    fill,
    fractal_noise,
    grid,
    look_up,
    ribbons,
    to_picture,
    trace,
)


def apart(path: Array, gap: float) -> list[int]:
    """Which paths to keep, first come, first kept, so that no two pass through one square of side `gap`."""
    taken: set[int] = set()
    kept = []
    squares = ((path + 1) / gap).astype(int) @ (1, int(3 / gap))
    for k, crossed in enumerate(squares.tolist()):
        if taken.isdisjoint(crossed):
            taken.update(crossed)
            kept.append(k)
    return kept


def paint(rng: Generator, n: int) -> Image.Image:
    x, y = grid(SKETCH)
    clouds, rock = fractal_noise(rng, SKETCH, 4, 5), fractal_noise(rng, SKETCH, 6, 5)
    dx, dy = x - 0.68, y - 0.24
    moon = np.hypot(dx, dy)
    tone = 0.22 + 0.6 * moon + 0.12 * clouds
    angle = np.arctan2(dx, -dy) + 0.3 * clouds
    drift = clouds + 14 * (np.abs(y - 0.28 + 0.06 * np.sin(6 * x)) - 0.05)
    np.copyto(tone, 0.55 - 0.2 * drift * (y > 0.29), where=drift < -0.2)
    np.copyto(angle, 0.5 * np.sin(25 * x + 3 * clouds), where=drift < -0.2)
    beam = np.abs(y - 0.155 - 0.12 * (x - 0.22)) < 0.13 * (x - 0.25)
    tone = (tone - 0.4 * np.exp(-1.5 * x) * beam).clip(0.13)
    np.copyto(tone, np.where(np.hypot(dx + 0.035, dy + 0.02) > 0.075, 0.32, 0.02), where=moon < 0.085)
    sea = y > 0.66
    swell = np.sin(75 * np.sqrt(np.clip(y - 0.62, 0, 1)) + 1.5 * np.sin(9 * x + 20 * y) + 0.5 * clouds)
    glitter = np.exp(-((dx / (0.03 + 0.25 * np.clip(y - 0.62, 0, 1))) ** 2))
    np.copyto(tone, 0.46 + 0.26 * swell - 0.6 * glitter, where=sea)
    np.copyto(angle, 0.3 * np.cos(14 * x + 40 * y), where=sea)
    cliff = y > 0.53 + 0.012 * rock + 1.9 * np.clip(x - 0.36, 0, 1) ** 1.3 + 0.15 * (0.2 - x).clip(0, 1)
    np.copyto(tone, 0.5 + 0.2 * rock - 0.3 * (x - 0.3) + 0.25 * (y - 0.7), where=cliff)
    np.copyto(angle, 1.2 + 0.6 * np.sign(np.sin(9 * x + 7 * y + 0.8 * rock)), where=cliff)
    across = (x - 0.22) / (0.045 + 0.075 * (y - 0.2))
    tower = (np.abs(across) < 1) & (y > 0.2) & (y < 0.57)
    np.copyto(tone, 0.08 + 0.6 * np.clip(0.2 - across, 0, 1) + 0.42 * (np.sin(50 * y) > 0.3), where=tower)
    np.copyto(angle, 0.35 * across, where=tower)
    aside = np.abs(x - 0.22)
    lamp, roof = (aside < 0.036) & (y > 0.12) & (y < 0.185), (aside < 0.8 * (y - 0.06)) & (y < 0.125)
    np.copyto(tone, np.abs(np.sin(88 * aside)) > 0.94, where=lamp)
    tone[roof | (aside < 0.066) & (np.abs(y - 0.195) < 0.012)] = 1
    angle[roof] = 1.3

    paper = 1 + 0.018 * fractal_noise(rng, n, 24, 5) + 0.02 * fractal_noise(rng, n, 180, 1)
    canvas = to_picture(paper[..., None] * (240, 229, 205))
    heading = directions(angle)
    hatches = [(0.1, 0.0, 0.008), (0.3, 0.0, 0.007)]
    hatches += [(0.45, 0.8, 0.007), (0.6, -0.7, 0.007), (0.75, 1.5, 0.006), (0.88, 0.0, 0.004)]
    for threshold, turn, gap in hatches:
        for length in (0.08, 0.03):
            start = rng.uniform(0, 1, (12000, 2))
            start = start[look_up(tone, start) > threshold]
            path = trace(directions(angle + turn), start, length, 12)
            straight = (look_up(heading, path) * look_up(heading, start)[:, None]).sum(axis=-1) > 0.6
            path = cut_short(path, straight & (look_up(tone, path) > threshold))
            path = path[apart(path, gap)]
            width = 0.0014 + 0.004 * (look_up(tone, path[:, 0]) - threshold).clip(0, 0.4)
            path += rng.normal(0, 0.00025, path.shape)
            fill(canvas, ribbons(path, width), rng.uniform(20, 55, (len(path), 1)) * (1, 0.85, 0.8))
    return canvas
