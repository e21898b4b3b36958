"""What the painters share: noise, palettes, paths that follow a field of directions, and strokes along them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

SKETCH = 400  # side, in pixels, of the sketches that strokes take their colours and directions from


def grid(n: int) -> tuple[Array, Array]:
    """The coordinates x and y of the pixel centres of an n x n picture."""
    axis = (np.arange(n) + 0.5) / n
    x, y = np.meshgrid(axis, axis)
    return x, y


def fractal_noise(rng: Generator, n: int, cells: int, octaves: int = 4) -> Array:
    """Fractal noise (n, n), mean about 0 and deviation about 1: ever finer lattices, ever fainter."""
    total = np.zeros((n, n))
    for octave in range(octaves):
        lattice = rng.standard_normal((cells << octave, cells << octave), dtype=np.float32)
        total += np.asarray(Image.fromarray(lattice).resize((n, n), Image.Resampling.BICUBIC)) / 2**octave
    return total


def palette(colours: str) -> Array:
    """Hexadecimal colours, such as "0b1a3d f2c14e", as an array (colours, 3) from 0 to 255."""
    return np.array([list(bytes.fromhex(colour)) for colour in colours.split()], dtype=float)


def ramp(colours: str, t: Array | float) -> Array:
    """The colours at t along a palette, from its first (t = 0) to its last (t = 1): (..., 3)."""
    inks = palette(colours)
    position = np.linspace(0, 1, len(inks))
    return np.stack([np.interp(t, position, channel) for channel in inks.T], axis=-1)


def cover(sketch: Array, where: Mask, colours: str, t: Array | float = 0.0) -> None:
    """Cover part of a sketch (n, n, 3) with the colours at t along a palette."""
    np.copyto(sketch, ramp(colours, t), where=where[..., None])


def to_picture(pixels: Array) -> Image.Image:
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def look_up(sketch: Array, points: Array) -> Array:
    """What a sketch (n, n, ...) holds at the given points (..., 2)."""
    column, row = np.moveaxis((points * len(sketch)).astype(int).clip(0, len(sketch) - 1), -1, 0)
    return sketch[row, column]


def directions(angle: Array) -> Array:
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def rotation(angle: float) -> Array:
    """The matrix that turns rows of points, points @ matrix, by an angle."""
    return np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])


def sides(polygon: Array) -> Array:
    """The sides of a polygon (points, 2), each from its start to its end: (points, 2, 2)."""
    return np.stack([polygon, np.roll(polygon, -1, axis=0)], axis=1)


def trace(flow: Array, start: Array, length: float, steps: int = 8) -> Array:
    """Paths (strokes, steps, 2) that follow a field of unit directions (n, n, 2) from their start points."""
    path = [start]
    while len(path) < steps:
        path.append(path[-1] + length / (steps - 1) * look_up(flow, path[-1]))
    return np.stack(path, axis=1)


def cut_short(path: Array, inside: Mask) -> Array:
    """Paths shortened to end where they first leave the inside (strokes, steps), at as many points as before."""
    last = np.logical_and.accumulate(inside, axis=1).sum(axis=1).clip(2) - 1
    position = np.linspace(0, 1, path.shape[1]) * last[:, None]
    low = position.astype(int).clip(0, path.shape[1] - 2)
    rows = np.arange(len(path))[:, None]
    fraction = (position - low)[..., None]
    return (1 - fraction) * path[rows, low] + fraction * path[rows, low + 1]


def ribbons(path: Array, width: Array | float, shift: float = 0.0, taper: float = 0.4) -> Array:
    """Outlines (strokes, 2 * steps, 2) of strokes of a width, narrowing at both ends; shifted to one side."""
    tangent = np.gradient(path, axis=1)
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True) + 1e-9
    normal = np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1)
    profile = np.sin(np.pi * np.linspace(0.06, 0.94, path.shape[1])) ** taper
    half = np.reshape(width, (-1, 1, 1)) / 2 * profile[:, None] * normal
    middle = path + np.reshape(width, (-1, 1, 1)) * shift * normal
    return np.concatenate([middle + half, (middle - half)[:, ::-1]], axis=1)


def fill(canvas: Image.Image, outlines: Sequence[Array] | Array, colours: Array | tuple[int, int, int]) -> None:
    """Fill polygons (points, 2), in order, each with its colour or all with one."""
    draw, n = ImageDraw.Draw(canvas), canvas.width
    inks = np.broadcast_to(colours, (len(outlines), 3)).clip(0, 255).astype(int).tolist()
    for outline, ink in zip(outlines, inks, strict=True):
        draw.polygon((outline * n).ravel().tolist(), fill=tuple(ink))


def impasto(canvas: Image.Image, path: Array, colours: Array, width: float, height: float) -> None:
    """Paint of a height from 0 (flat) to 1: strokes with a shadow on one side and a light ridge on the other."""
    relief = [(0.22, 1.0, 1 - 0.38 * height), (0.0, 0.9, 1.0), (-0.22, 0.3, 1 + 0.22 * height)]
    outlines = np.stack([ribbons(path, width * scale, shift / scale) for shift, scale, _ in relief], axis=1)
    shades = np.stack([colours * light for _, _, light in relief], axis=1)
    fill(canvas, outlines.reshape(-1, *outlines.shape[2:]), shades.reshape(-1, 3))


def brushwork(
    rng: Generator,
    n: int,
    sketch: Array,
    flow: Array,
    layers: Sequence[tuple[int, float, float]],
    variety: float = 0.2,
    height: float = 1.0,
) -> Image.Image:
    """A sketch painted over in curved strokes, wide ones first, each of one colour and cut where the colour changes.

    `layers` are (number, width, length) of strokes; `variety` is how much their lightness differs, and `height` how
    thick the paint is, both from 0 to 1. Hertzmann 1998, "Painterly rendering with curved brush strokes".
    """
    canvas = to_picture(sketch).resize((n, n), Image.Resampling.BICUBIC)
    for count, width, length in layers:
        start = rng.uniform(-0.03, 1.03, (count, 2))
        path = trace(flow, start, length)
        colours = look_up(sketch, start)
        inside = np.abs(look_up(sketch, path) - colours[:, None]).sum(axis=-1) < 90
        colours *= 1 + variety * rng.uniform(-1, 1, (count, 1)) + variety / 4 * rng.standard_normal((count, 3))
        impasto(canvas, cut_short(path, inside), colours, width, height)
    return canvas
