"""A fjord under a burning sky, in long flowing bands, and a bridge that runs out of the picture."""

import numpy as np
from numpy.random import Generator
from PIL import Image

from painters.brushes import SKETCH, brushwork, cover, directions, fractal_noise, grid, ramp


def paint(rng: Generator, n: int) -> Image.Image:
    x, y = grid(SKETCH)
    drift = fractal_noise(rng, SKETCH, 2, 3)
    wave = y + 0.035 * np.sin(7 * x + 1.5 + 6 * y) + 0.02 * np.sin(15 * x - 9 * y) + 0.012 * drift
    fire = 0.325 + 0.325 * np.sin(75 * wave + 0.8 * drift) + 0.8 * (wave - 0.1)
    sketch = ramp("7a1418 c8281a ee5a1e f88f22 fbc23a f9e08a e2641e d93a1a", fire)
    cover(sketch, np.sin(41 * wave + 2 * drift) > 0.9, "5c8496")
    angle = np.arctan2(-np.gradient(wave, axis=1), np.gradient(wave, axis=0))
    dx, dy = (x - 0.7) / 1.5, y - 0.56
    spiral = 60 * np.hypot(dx, dy) - np.arctan2(dy, dx) + drift
    water = y > 0.43 + 0.02 * np.sin(9 * x) + 0.05 * (x - 0.5)
    cover(sketch, water, "0c1c3a 17406a 2a6f8a 4fa09a d8c07a 1a3560", 0.5 + 0.42 * np.sin(spiral))
    np.copyto(angle, np.arctan2(dx / 1.5, -dy), where=water)
    edge = 0.74 + 0.1 * np.sin(7 * y + 0.5) + 0.35 * np.clip(0.62 - y, 0, 1)
    shore = (x > edge) & (y > 0.37 + 0.04 * np.sin(8 * x))
    strata = 0.5 + 0.3 * np.sin(60 * (x - edge) + 1.5 * drift) + 0.15 * drift
    cover(sketch, shore, "10203a 1a3f4a 2f5a3a 7a8a3a c8a040 5a2a34", strata)
    np.copyto(angle, np.arctan2(1.0, np.gradient(edge, axis=0) * SKETCH), where=shore)
    steepness = (y - 0.44) / (x + 0.08)  # of the line from the bridge's vanishing point
    away = np.arctan(steepness)
    deck = steepness > 0.62
    rails = np.abs(steepness[..., None] - (0.3, 0.45, 0.62)).min(axis=-1) < 0.022
    posts = (np.abs(np.sin(9 * np.log(x + 0.08))) > 0.985) & (steepness > 0.28) & (x > 0.25) & ~deck
    cover(sketch, deck, "3a1c14 8a4a22 c88a48 5a2a1c e0b070 9a4a2a", 0.5 + 0.5 * np.sin(75 * away + 0.5 * drift))
    cover(sketch, rails, "7a2a1c")
    np.copyto(angle, away, where=deck | rails)
    cover(sketch, posts, "8a3424")
    for left, size in ((0.11, 0.12), (0.19, 0.14)):
        height = (0.62 - y) / size
        walker = (np.abs(x - left) < size * (0.2 - 0.1 * height)) & (height > 0) & (height < 1.05)
        walker |= np.hypot(x - left, (height - 1.25) * size * 0.8) < 0.13 * size
        cover(sketch, walker, "161228")
        angle[walker | posts] = np.pi / 2
    layers = [(900, 0.028, 0.3), (3000, 0.015, 0.22), (6000, 0.008, 0.16), (7000, 0.0045, 0.1)]
    return brushwork(rng, n, sketch, directions(angle), layers, variety=0.16, height=0.7)
