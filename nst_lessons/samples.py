"""Pictures to start with: four photographs, and style images that this module paints itself.

The photographs come with scikit-image. The paintings are painted from a seed, at any size: each painter lays
its composition out in relative coordinates (x to the right, y down, both from 0 to 1) and draws it at twice the
size, and `sample` halves the canvas, which smooths every edge. Nothing random depends on the size, so a seed is
one painting, small or large.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.interpolate import CubicSpline
from skimage import data

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

SKETCH = 400  # side, in pixels, of the sketches that strokes take their colours and directions from


def _grid(n: int) -> tuple[Array, Array]:
    """The coordinates x and y of the pixel centres of an n x n picture."""
    axis = (np.arange(n) + 0.5) / n
    x, y = np.meshgrid(axis, axis)
    return x, y


def _noise(rng: Generator, n: int, cells: int, octaves: int = 4) -> Array:
    """Fractal noise (n, n), mean about 0 and deviation about 1: ever finer lattices, ever fainter."""
    total = np.zeros((n, n))
    for octave in range(octaves):
        lattice = rng.standard_normal((cells << octave, cells << octave), dtype=np.float32)
        total += np.asarray(Image.fromarray(lattice).resize((n, n), Image.Resampling.BICUBIC)) / 2**octave
    return total


def _palette(colours: str) -> Array:
    """Hexadecimal colours, such as "0b1a3d f2c14e", as an array (colours, 3) from 0 to 255."""
    return np.array([list(bytes.fromhex(colour)) for colour in colours.split()], dtype=float)


def _ramp(colours: str, t: Array | float) -> Array:
    """The colours at t along a palette, from its first (t = 0) to its last (t = 1): (..., 3)."""
    palette = _palette(colours)
    position = np.linspace(0, 1, len(palette))
    return np.stack([np.interp(t, position, channel) for channel in palette.T], axis=-1)


def _paint(sketch: Array, where: Mask, colours: str, t: Array | float = 0.0) -> None:
    """Cover part of a sketch (n, n, 3) with the colours at t along a palette."""
    np.copyto(sketch, _ramp(colours, t), where=where[..., None])


def _picture(pixels: Array) -> Image.Image:
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _at(sketch: Array, points: Array) -> Array:
    """What a sketch (n, n, ...) holds at the given points (..., 2)."""
    column, row = np.moveaxis((points * len(sketch)).astype(int).clip(0, len(sketch) - 1), -1, 0)
    return sketch[row, column]


def _directions(angle: Array) -> Array:
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _rotation(angle: float) -> Array:
    """The matrix that turns rows of points, points @ matrix, by an angle."""
    return np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])


def _sides(polygon: Array) -> Array:
    """The sides of a polygon (points, 2), each from its start to its end: (points, 2, 2)."""
    return np.stack([polygon, np.roll(polygon, -1, axis=0)], axis=1)


def _trace(flow: Array, start: Array, length: float, steps: int = 8) -> Array:
    """Paths (strokes, steps, 2) that follow a field of unit directions (n, n, 2) from their start points."""
    path = [start]
    while len(path) < steps:
        path.append(path[-1] + length / (steps - 1) * _at(flow, path[-1]))
    return np.stack(path, axis=1)


def _cut(path: Array, inside: Mask) -> Array:
    """Paths shortened to end where they first leave the inside (strokes, steps), at as many points as before."""
    last = np.logical_and.accumulate(inside, axis=1).sum(axis=1).clip(2) - 1
    position = np.linspace(0, 1, path.shape[1]) * last[:, None]
    low = position.astype(int).clip(0, path.shape[1] - 2)
    rows = np.arange(len(path))[:, None]
    fraction = (position - low)[..., None]
    return (1 - fraction) * path[rows, low] + fraction * path[rows, low + 1]


def _ribbons(path: Array, width: Array | float, shift: float = 0.0, taper: float = 0.4) -> Array:
    """Outlines (strokes, 2 * steps, 2) of strokes of a width, narrowing at both ends; shifted to one side."""
    tangent = np.gradient(path, axis=1)
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True) + 1e-9
    normal = np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1)
    profile = np.sin(np.pi * np.linspace(0.06, 0.94, path.shape[1])) ** taper
    half = np.reshape(width, (-1, 1, 1)) / 2 * profile[:, None] * normal
    middle = path + np.reshape(width, (-1, 1, 1)) * shift * normal
    return np.concatenate([middle + half, (middle - half)[:, ::-1]], axis=1)


def _fill(canvas: Image.Image, outlines: Sequence[Array] | Array, colours: Array | tuple[int, int, int]) -> None:
    """Fill polygons (points, 2), in order, each with its colour or all with one."""
    draw, n = ImageDraw.Draw(canvas), canvas.width
    inks = np.broadcast_to(colours, (len(outlines), 3)).clip(0, 255).astype(int).tolist()
    for outline, ink in zip(outlines, inks, strict=True):
        draw.polygon((outline * n).ravel().tolist(), fill=tuple(ink))


def _impasto(canvas: Image.Image, path: Array, colours: Array, width: float, height: float) -> None:
    """Paint of a height from 0 (flat) to 1: strokes with a shadow on one side and a light ridge on the other."""
    relief = [(0.22, 1.0, 1 - 0.38 * height), (0.0, 0.9, 1.0), (-0.22, 0.3, 1 + 0.22 * height)]
    outlines = np.stack([_ribbons(path, width * scale, shift / scale) for shift, scale, _ in relief], axis=1)
    shades = np.stack([colours * light for _, _, light in relief], axis=1)
    _fill(canvas, outlines.reshape(-1, *outlines.shape[2:]), shades.reshape(-1, 3))


def _brushwork(
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
    canvas = _picture(sketch).resize((n, n), Image.Resampling.BICUBIC)
    for count, width, length in layers:
        start = rng.uniform(-0.03, 1.03, (count, 2))
        path = _trace(flow, start, length)
        colours = _at(sketch, start)
        inside = np.abs(_at(sketch, path) - colours[:, None]).sum(axis=-1) < 90
        colours *= 1 + variety * rng.uniform(-1, 1, (count, 1)) + variety / 4 * rng.standard_normal((count, 3))
        _impasto(canvas, _cut(path, inside), colours, width, height)
    return canvas


def _night_swirls(rng: Generator, n: int) -> Image.Image:
    """A village under a sky of whirling stars."""
    x, y = _grid(SKETCH)
    whirls = [(0.46, 0.33, 0.17, 1.0), (0.66, 0.45, 0.1, -0.9), (0.31, 0.52, 0.07, 0.8)]
    stars = [(0.36, 0.09), (0.07, 0.1), (0.53, 0.1), (0.69, 0.22), (0.95, 0.42), (0.3, 0.28), (0.06, 0.4), (0.83, 0.5)]
    lights = [(*star, rng.uniform(0.04, 0.07)) for star in stars] + [(0.86, 0.14, 0.12)]
    u, v = np.ones_like(x), 0.5 * np.cos(9 * x + 5 * y) + 0.15 * _noise(rng, SKETCH, 3)
    tone = 0.22 + 0.16 * y + 0.05 * _noise(rng, SKETCH, 6)
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
    sketch = _ramp("0a1238 152a6e 2456a4 4f8fc4 9cc3c8 e3dd9a f7d04a fbe9a0", tone)
    angle = np.arctan2(v, u)
    for k, colours in enumerate(("3b6ea5 254a86", "1e4470 2f6b6f", "17305c 1f5a4c", "0f2440 2c6a3c")):
        crest = 0.66 + 0.07 * k + 0.05 * np.sin((5 + k) * x + 2.1 * k + rng.uniform(0, 1)) + 0.02 * np.sin(17 * x + k)
        _paint(sketch, y > crest, colours, 0.5 + 0.5 * np.sin(60 * (y - crest) + 9 * x))
        np.copyto(angle, np.arctan(np.gradient(crest, axis=1) * SKETCH), where=y > crest)
    half = 0.075 * np.clip((y - 0.1) / 0.75, 0, 1) ** 0.8 * (1 + 0.25 * np.sin(28 * y))
    cypress = np.abs(x - 0.17 - 0.018 * np.sin(11 * y)) < half
    _paint(sketch, cypress, "0b130f 1d3320 3c4a1e 12241c", 0.5 + 0.5 * np.sin(80 * x + 9 * np.sin(14 * y)))
    np.copyto(angle, 0.5 * np.sin(22 * y + 20 * x) - np.pi / 2, where=cypress)
    layers = [(1500, 0.024, 0.10), (4000, 0.014, 0.09), (8000, 0.008, 0.06), (7000, 0.005, 0.04)]
    canvas = _brushwork(rng, n, sketch, _directions(angle), layers)

    wall, roof = ((0, 0), (1, 0), (1, -0.6), (0, -0.6)), ((-0.1, -0.5), (1.1, -0.5), (0.85, -1.1), (0.15, -1.1))
    panes = [((left, -0.1), (left + 0.2, -0.1), (left + 0.2, -0.4), (left, -0.4)) for left in (0.18, 0.6)]
    spire = ((0.3, -1.0), (0.5, -3.4), (0.5, -3.4), (0.7, -1.0))
    church, house = np.array([spire, wall, roof, *panes]), np.array([wall, roof, *panes])
    places = np.stack([rng.permutation(np.linspace(0.34, 0.94, 17)), np.linspace(0.79, 0.93, 17)], axis=-1)
    for k, place in enumerate(places):
        shapes = church if k == 4 else house
        shapes = place + rng.uniform(0.03, 0.046) * (shapes + rng.normal(0, 0.03, shapes.shape))
        paints = _palette("2a4a78 6a86a8 7a4a34 f7d04a f2b83a") * rng.uniform(0.8, 1.15, (5, 1))
        for shape, paint in zip(shapes, paints[-len(shapes) :], strict=True):
            _fill(canvas, shape[None], paint)
            _fill(canvas, _ribbons(_sides(shape), 0.004, taper=0.1), (16, 24, 48))
    return canvas


def _pointillist(rng: Generator, n: int) -> Image.Image:
    """Sails on a lake at sunset, in dots of divided colour."""
    x, y = _grid(SKETCH)
    horizon, sun = 0.47, 0.63
    ripple = 0.01 * _noise(rng, SKETCH, 5) + 0.012 * np.sin(90 * (y - horizon) / (0.25 + y - horizon))
    water = y > horizon
    mirrored = np.where(water, 2 * horizon - y + 3 * ripple, y)
    glow = np.exp(-np.hypot((x - sun) / 1.3, mirrored - 0.36) / 0.17)
    tone = 0.75 * mirrored / horizon + 0.35 * glow + 0.05 * _noise(rng, SKETCH, 5) - 0.12 * water
    sketch = _ramp("2b4f9e 4a7fc4 86a9d8 c8a6c8 f2b49a f9c66a fff0a8", tone)
    _paint(sketch, np.hypot(x - sun, y - 0.355) < 0.05, "fff6c8")
    for base, height, near, far in (
        (0.1, 0.1, "7c6bb0 a58bc0", "63529a 8c72a8"),
        (0.75, 0.07, "5a5aa0 8a7fc0", "414188 7166a8"),
    ):
        hill = height * np.exp(-(((x - base) / 0.27) ** 2)) + 0.008 * np.sin(25 * x)
        mottled = 0.5 + 0.3 * _noise(rng, SKETCH, 12)
        _paint(sketch, ~water & (horizon - y < hill), near, mottled)
        _paint(sketch, water & (y - horizon < 0.7 * hill + ripple), far, mottled)
    beneath_sun = water & (np.abs(x - sun - 5 * ripple) < 0.02 + 0.16 * (y - horizon))
    waves = np.sin(50 * np.log(np.maximum(y, horizon) - 0.3) + 2 * np.sin(23 * x))
    _paint(sketch, beneath_sun & (waves > -0.2), "ffd66e")
    for left, mast, size in ((0.27, 0.53, 0.26), (0.47, 0.5, 0.13), (0.86, 0.49, 0.09)):
        for side, lit, shaded in ((1, "ffecc4", "e29678"), (-1, "debeb4", "966e96")):  # the boat, its reflection
            up = side * (mast - y - ripple * (side < 0)) / size
            across = (x - left - 2 * ripple * (side < 0)) / size
            _paint(sketch, (up > 0.1) & (across > 0.02) & (across < 0.5 * (1 - up)), lit)
            _paint(sketch, (up > 0.1) & (across < -0.02) & (across > -0.36 * (0.9 - up)), shaded)
            _paint(sketch, (up > 0) & (up < 0.08) & (np.abs(across) < 0.35 + up), "462850")
    trunk = np.abs(x - 0.93 + 0.05 * np.sin(5 * y)) < 0.018 + 0.03 * np.clip(y - 0.75, 0, 1)
    _paint(sketch, trunk & (y > 0.2), "54305c")
    bank = y > 0.86 + 0.06 * np.sin(3 * x + 2.2) + 0.008 * _noise(rng, SKETCH, 12)
    leaves = np.hypot((x - 0.98) / 1.1, y - 0.16) + 0.035 * _noise(rng, SKETCH, 6) < 0.26
    _paint(sketch, bank | leaves, "173a5e 1f6a4c 5f9a3a c9c64a f2dd6a", 0.42 + 0.3 * _noise(rng, SKETCH, 18))

    canvas = Image.new("RGB", (n, n), (238, 222, 190))
    accents = _palette("ff7a1a 1f4fd8 8a35b8 1f9a50 ffdc30 f2508a")
    circle = _directions(np.linspace(0, 2 * np.pi, 10, endpoint=False))
    for count, diameter in ((9000, 0.018), (22000, 0.0105), (22000, 0.0075)):
        centre = rng.uniform(0, 1, (count, 2))
        share = 0.8 * rng.beta(1.0, 2.2, (count, 1))
        colours = (1 - share) * _at(sketch, centre) + share * accents[rng.integers(len(accents), size=count)]
        radius = diameter / 2 * rng.uniform(0.75, 1.2, (count, 1, 1))
        _fill(canvas, centre[:, None] + radius * circle, colours * rng.uniform(0.9, 1.08, (count, 1)))
    return canvas


def _stained_glass(rng: Generator, n: int) -> Image.Image:
    """Sunrise over hills and poppies, in leaded panes."""
    x, y = _grid(n)
    x, y = x + 0.004 * _noise(rng, n, 5, 2), y + 0.004 * _noise(rng, n, 5, 2)
    pane = np.zeros((n, n), dtype=int)
    tint = np.zeros((n, n, 3))

    def glaze(where: Mask, cut: Array | float, colours: str) -> None:
        """Lay panes, told apart by the whole part of `cut`, each in a colour of its own along the palette."""
        part = np.broadcast_to(np.floor(cut).astype(int), (n, n))[where] % 1000
        tint[where] = _ramp(colours, rng.uniform(0, 1, 1000))[part]
        pane[where] = part + pane.max() + 1

    dx, dy = x - 0.5, y - 0.4
    r, turn = np.hypot(dx, dy), np.arctan2(dy, dx) / (2 * np.pi) + 0.5
    ray = np.floor(30 * turn).clip(0, 29)
    ring = np.floor(10 * (r + rng.uniform(-0.06, 0.06, 30)[ray.astype(int)]))
    glaze(r >= 0, 20 * ray + ring, "0b2f8a 1459c0 2a8fd6 5cc0e0 16308f 7a4fc0 0d4aa8")
    glaze(r < 0.25, 24 * turn, "f29a1c e8601c f6c02c d8401c")
    glaze(r < 0.17, 14 * turn, "ffe36a f9c02c ffb030")
    glaze(r < 0.085, 0.0, "ffe99a")
    hills = ("5a2f9a 8a4fc0 3a3f9a", "0f6a6a 1f8a7a 2fa08a", "1f7a2f 5fa82c 0f5a3a", "0f4a2a 2f7a2c 7aa02c")
    for k, colours in enumerate(hills):
        crest = 0.56 + 0.09 * k + 0.045 * np.sin((4 + k) * x + 2.4 * k + rng.uniform(0, 1))
        strip = np.floor((x + 0.35 * (y - crest) * (-1) ** k) * (13 - k))
        glaze(y > crest, 2 * strip + (y > crest + 0.06 + 0.02 * np.sin(9 * x + k)), colours)
    stream = np.abs(x - 0.52 - 0.13 * np.sin(9 * y + 0.5)) < 0.02 + 0.22 * (y - 0.62)
    glaze(stream & (y > 0.64), 24 * y + 0.7 * np.sin(14 * x), "6fd0f0 2a8fd6 bfeaf6 1459c0")
    for left, top, size in ((0.16, 0.8, 0.11), (0.31, 0.9, 0.085), (0.85, 0.83, 0.115), (0.7, 0.93, 0.075)):
        dx, dy = x - left, y - top
        r, turn = np.hypot(dx, dy) / size, (np.arctan2(dy, dx) / (2 * np.pi) + rng.uniform(0, 1)) % 1
        glaze((np.abs(dx - 0.1 * dy) < 0.008) & (dy > 0), 0.0, "6fae2c")
        glaze(r < 0.8 + 0.2 * np.abs(np.sin(5 * np.pi * turn)), 5 * turn, "c81420 f03a28 a80f3a f2602c")
        glaze(r < 0.28, 0.0, "ffd23a")
    beside, above = np.minimum(x, 1 - x), np.minimum(y, 1 - y)
    side = np.where(beside < above, 2 * (x > 0.5), 2 * (y > 0.5) + 1)
    along = np.floor(16 * np.where(beside < above, y, x))
    glaze(np.minimum(beside, above) < 0.055, 40 * side + along, "7a1030 1f2f8a b8862a 0f6a5a")
    glaze(np.minimum(beside, above) < 0.02, 1.0 * side, "3a1050 2a1048")

    seam = (np.diff(pane, axis=0, append=-1) != 0) | (np.diff(pane, axis=1, append=-1) != 0)
    depth = ndimage.distance_transform_edt(~seam) / n
    light = 1.05 + 0.1 * _noise(rng, n, 4) + 0.05 * _noise(rng, n, 90, 2) - 0.35 * np.exp(-depth / 0.012)
    light += 0.3 * np.exp(-np.hypot(x - 0.5, y - 0.4) / 0.25)
    swirl = np.sin(70 * (x * np.cos(pane) + y * np.sin(pane)) + 2.5 * _noise(rng, n, 9))
    glass = tint * light[..., None] + swirl[..., None] * (30, 27, 21)
    lead = 60 + 90 * np.exp(-(((depth - 0.0015) / 0.0012) ** 2)) + 12 * _noise(rng, n, 120, 2)
    return _picture(np.where((depth < 0.0042)[..., None], lead[..., None] * (0.42, 0.42, 0.47), glass))


def _smooth(points: Sequence[tuple[float, float]], count: int = 120) -> Array:
    """A smooth curve (count, 2) through the given points."""
    through = CubicSpline(np.linspace(0, 1, len(points)), np.array(points))
    return np.asarray(through(np.linspace(0, 1, count)))


def _woodblock_wave(rng: Generator, n: int) -> Image.Image:
    """Breaking waves with claws of foam, printed from blocks in indigo, blue and cream."""
    indigo, blue, pale, foam, ochre, slate = _palette("1a2c54 3a6796 93b6cc f6eed8 d9a55a 54708c")
    _, y = _grid(n)
    sky = _ramp("5f7288 b9b49c e6d3aa f2e2bd e8c99a d8b184", y / 0.8 + 0.01 * _noise(rng, n, 3, 2))
    canvas = _picture(sky)
    climb = [(-0.5, 1.3), (-0.1, 0.7), (0.06, 0.36), (0.2, 0.16), (0.38, 0.07), (0.54, 0.12), (0.62, 0.25), (0.6, 0.36)]
    hollow = [(1.5, 1), (0.82, 0.95), (0.54, 0.86), (0.38, 0.7), (0.32, 0.53), (0.37, 0.38), (0.47, 0.31), (0.59, 0.35)]

    def claws(root: Array, heading: Array, reach: Array, curl: float) -> None:
        """Hooked fingers of foam, each with two smaller ones at its side: indigo, then the paper within it."""
        length = reach[:, None] * (0.75, 0.7, 1.0)
        turn = heading[:, None] + (-0.75, 0.65, 0.0)
        bend = turn[..., None] + 2.9 * curl * np.linspace(0, 1, 12) ** 1.7
        path = root[:, None, None] + np.cumsum(_directions(bend) * length[..., None, None] / 12, axis=2)
        for fingers, size in zip(path, length, strict=True):
            _fill(canvas, _ribbons(fingers, 0.36 * size, taper=0.8), indigo)
            _fill(canvas, _ribbons(fingers, 0.22 * size, taper=0.8), foam)

    def wave(left: float, top: float, scale: float, flip: int) -> None:
        """A wave: blue water, stripes that climb from the trough to the lip, a crest of foam, claws and spray."""
        stretch = scale * np.array((flip, 1))
        back, face = ((left, top) + stretch * (_smooth(c) + rng.normal(0, 0.008, 2)) for c in (climb, hollow))
        _fill(canvas, [np.concatenate([back, face[::-1]])], blue)
        for k in np.linspace(0.06, 0.98, 26):
            stripe = ((1 - k) * back + k * face)[None, rng.integers(9) : 121 - rng.integers(8)]
            tint = (indigo, pale)[rng.integers(2)]
            _fill(canvas, _ribbons(stripe, scale * rng.uniform(0.01, 0.032), taper=0.5), tint)
        _fill(canvas, _ribbons(np.stack([back, face]), 0.011 * scale, taper=0.3), indigo)
        share = 0.16 * np.sin(np.linspace(0, np.pi, 70))[:, None] ** 0.7
        inner = (1 - share) * back[-70:] + share * face[-70:]
        _fill(canvas, [np.concatenate([back[-70:], inner[::-1]])], foam)
        _fill(canvas, _ribbons(inner[None], 0.008 * scale), indigo)
        for edge, count, lean, size in (
            (inner, 16, 1.0, 0.08),
            (face[-38:], 11, -0.8, 0.09),
            (back[-66:], 20, -0.6, 0.12),
        ):
            along = np.sort(rng.integers(len(edge) - 2, size=count))
            tangent = edge[along + 1] - edge[along]
            heading = np.arctan2(tangent[:, 1], tangent[:, 0]) + flip * (lean + rng.normal(0, 0.25, count))
            reach = scale * size * rng.uniform(0.6, 1.3, count) * (0.45 + 0.55 * along / len(edge))
            claws(edge[along], heading, reach, -flip * np.sign(lean))
        flung = np.abs(rng.normal(0, (0.11, 0.09), (130, 2))) * (1, -0.6)
        drops = scale * rng.uniform(0.002, 0.007, (130, 1, 1)) * _directions(np.linspace(0, 2 * np.pi, 14))
        spray = (back[rng.integers(50, 120, 130)] + stretch * flung)[:, None]
        _fill(canvas, spray + 1.5 * drops, indigo)
        _fill(canvas, spray + drops, foam)

    def boat(left: float, top: float, tilt: float) -> None:
        keel = _smooth([(0, 0), (0.1, 0.045), (0.22, 0.05), (0.34, -0.02)])
        deck = _smooth([(0, 0), (0.1, 0.022), (0.22, 0.02), (0.34, -0.02)])
        sides = np.stack([keel, deck]) @ _rotation(tilt) + (left, top)
        _fill(canvas, [np.concatenate([sides[0], sides[1, ::-1]])], ochre)
        _fill(canvas, _ribbons(sides, 0.005), indigo)

    mountain = _smooth([(0.44, 0.76), (0.6, 0.7), (0.7, 0.6), (0.74, 0.6), (0.84, 0.7), (1.0, 0.76)])
    snowline = [(0.78, 0.655), (0.755, 0.69), (0.73, 0.65), (0.705, 0.7), (0.68, 0.66)]
    _fill(canvas, [mountain], slate)
    _fill(canvas, [np.concatenate([mountain[33:83], snowline])], foam)
    _fill(canvas, [np.array([(0, 0.755), (1, 0.755), (1, 1), (0, 1)])], pale)
    run = np.linspace(0, 1, 60)
    for near in np.linspace(0.015, 0.23, 16):
        ripple = np.stack([run, 0.75 + near + 0.3 * near * np.sin(16 * run + 90 * near)], axis=-1)
        _fill(canvas, _ribbons(ripple[None], 0.002 + 0.03 * near), (indigo, blue, foam)[rng.integers(3)])
    wave(1.16, 0.52, 0.55, -1)
    boat(0.56, 0.84, -0.12)
    wave(-0.02, 0.0, 1.0, 1)
    boat(0.42, 0.93, 0.16)
    wave(0.02, 0.66, 0.5, 1)
    wave(1.02, 0.75, 0.42, -1)
    grain = 0.045 * np.sin(170 * (y + 0.07 * _noise(rng, n, 2, 3))) + 0.02 * _noise(rng, n, 150, 2)
    wear = 0.02 * _noise(rng, n, 8)
    return _picture(np.asarray(canvas) * (0.98 + grain + wear)[..., None])


def _split(polygon: Array, normal: Array, share: float) -> tuple[Array, Array]:
    """The two parts of a convex polygon (points, 2), cut across the normal at a share of its extent."""
    height = polygon @ normal
    height -= height.min() + share * np.ptp(height)
    parts: tuple[list[Array], list[Array]] = ([], [])
    for (p, q), a, b in zip(_sides(polygon), height, np.roll(height, -1), strict=True):
        parts[int(a > 0)].append(p)
        if (a > 0) != (b > 0):
            for part in parts:
                part.append(p + a / (a - b) * (q - p))
    return np.array(parts[0]), np.array(parts[1])


def _cubist(rng: Generator, n: int) -> Image.Image:
    """A guitar, a bottle and a newspaper, each facet seen from a place of its own."""
    x, y = _grid(SKETCH)
    normals = _directions(np.array([0.3, 1.1, 1.3, 1.85, 2.5, 2.8]))
    facets = [np.array([(-0.02, -0.02), (1.02, -0.02), (1.02, 1.02), (-0.02, 1.02)])]
    for _ in range(7):
        cuts = [normals[np.argmax(np.ptp(f @ normals.T, axis=0) * rng.uniform(0.6, 1, 6))] for f in facets]
        facets = [half for f, cut in zip(facets, cuts, strict=True) for half in _split(f, cut, rng.uniform(0.33, 0.67))]
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
    sketch = _ramp("2f3a4a 56687a 8a97a0 b8b09a d8c8a0", tone)
    table, cloth = v > 0.74 + 0.12 * (u - 0.5), np.abs(u - 0.76) + 0.8 * np.abs(v - 0.82) < 0.2
    _paint(sketch, table, "3a2216 6a3f1f 9a642e b88848", tone + 0.15 * np.sin(70 * v + 8 * u))
    _paint(sketch, cloth, "6f8aa8 a8bcc8 ece8da", tone + 0.2)
    news = (np.abs(u - 0.2 - 0.2 * (v - 0.6)) < 0.16) & (np.abs(v - 0.6 + 0.25 * (u - 0.25)) < 0.22)
    _paint(sketch, news, "cfc09a f0e6c8", tone)
    _paint(sketch, news & (np.sin(120 * (v + 0.25 * u)) > 0.3) & (np.sin(37 * u) > -0.75), "4a443e")
    bottle = np.abs(u - 0.77) < np.where(v > 0.34, 0.1, 0.036 + 0.5 * np.clip(v - 0.22, 0, 1))
    bottle &= (v > 0.06) & (v < 0.8)
    _paint(sketch, bottle, "0f2a2a 1f5048 4a8878 a8ccb4 2f6a5a", 0.5 + 5 * (u - 0.77))
    _paint(sketch, bottle & (np.abs(v - 0.53) < 0.09), "e2c482")
    _paint(sketch, bottle & (np.abs(np.abs(v - 0.53) - 0.06) < 0.012), "96281e")
    along, beside = (u - 0.45) * 0.34 + (v - 0.6) * 0.94, (u - 0.45) * 0.94 - (v - 0.6) * 0.34
    waist = np.where(along > 0.05, 0.21 - 2.6 * (along - 0.15) ** 2, 0.16 - 3.4 * (along + 0.07) ** 2)
    _paint(sketch, (np.abs(beside) < waist + 0.015) & (np.abs(along - 0.06) < 0.315), "3e2214")
    body = (np.abs(beside) < waist) & (np.abs(along - 0.06) < 0.3)
    _paint(sketch, body, "8a4512 c0701c e0a040 f4cc7a", tone - 1.2 * beside)
    for radius, colour in ((0.078, "ecce96"), (0.064, "1a1416")):
        _paint(sketch, np.hypot(along + 0.02, beside) < radius, colour)
    _paint(sketch, (np.abs(beside) < 0.034) & (np.abs(along + 0.375) < 0.325), "46281a")
    _paint(sketch, (np.abs(beside) < 0.08) & (np.abs(along - 0.2) < 0.012), "321c12")
    strings = (np.abs(np.mod(beside + 0.027, 0.018) - 0.009) < 0.0024) & (np.abs(beside) < 0.027)
    _paint(sketch, strings & (np.abs(along + 0.25) < 0.45), "f6e8c4")

    slope = normals[rng.integers(6, size=count)] * rng.choice([-1, 1], (count, 1))
    extent = np.array([np.sort(f @ normal)[[0, -1]] for f, normal in zip(facets, slope, strict=True)])[facet]
    across = slope[facet, 0] * x + slope[facet, 1] * y
    sketch *= (0.62 + 0.62 * (across - extent[..., 0]) / np.ptp(extent, axis=-1))[..., None]
    flow = np.stack([-slope[facet, 1], slope[facet, 0]], axis=-1)
    layers = [(2500, 0.02, 0.05), (9000, 0.009, 0.04), (16000, 0.005, 0.025)]
    canvas = _brushwork(rng, n, sketch, flow, layers, variety=0.12, height=0.5)
    start, end = np.moveaxis(np.concatenate([_sides(f) for f in facets]), 1, 0)[:, :, None]
    slide = rng.uniform(-0.15, 0.15, (len(start), 1, 1))
    edges = start + (np.linspace(0, 1, 8)[:, None] + slide) * (end - start)
    _fill(canvas, _ribbons(edges, rng.uniform(0.0015, 0.0065, len(edges))), (30, 24, 26))
    return canvas


def _apart(path: Array, gap: float) -> list[int]:
    """Which paths to keep, first come, first kept, so that no two pass through one square of side `gap`."""
    taken: set[int] = set()
    kept = []
    squares = ((path + 1) / gap).astype(int) @ (1, int(3 / gap))
    for k, crossed in enumerate(squares.tolist()):
        if taken.isdisjoint(crossed):
            taken.update(crossed)
            kept.append(k)
    return kept


def _ink_hatching(rng: Generator, n: int) -> Image.Image:
    """A lighthouse under a stormy moon, in pen and ink."""
    x, y = _grid(SKETCH)
    clouds, rock = _noise(rng, SKETCH, 4, 5), _noise(rng, SKETCH, 6, 5)
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

    paper = 1 + 0.018 * _noise(rng, n, 24, 5) + 0.02 * _noise(rng, n, 180, 1)
    canvas = _picture(paper[..., None] * (240, 229, 205))
    heading = _directions(angle)
    hatches = [(0.1, 0.0, 0.008), (0.3, 0.0, 0.007)]
    hatches += [(0.45, 0.8, 0.007), (0.6, -0.7, 0.007), (0.75, 1.5, 0.006), (0.88, 0.0, 0.004)]
    for threshold, turn, gap in hatches:
        for length in (0.08, 0.03):
            start = rng.uniform(0, 1, (12000, 2))
            start = start[_at(tone, start) > threshold]
            path = _trace(_directions(angle + turn), start, length, 12)
            straight = (_at(heading, path) * _at(heading, start)[:, None]).sum(axis=-1) > 0.6
            path = _cut(path, straight & (_at(tone, path) > threshold))
            path = path[_apart(path, gap)]
            width = 0.0014 + 0.004 * (_at(tone, path[:, 0]) - threshold).clip(0, 0.4)
            path += rng.normal(0, 0.00025, path.shape)
            _fill(canvas, _ribbons(path, width), rng.uniform(20, 55, (len(path), 1)) * (1, 0.85, 0.8))
    return canvas


def _fjord(rng: Generator, n: int) -> Image.Image:
    """A fjord under a burning sky, in long flowing bands, and a bridge that runs out of the picture."""
    x, y = _grid(SKETCH)
    drift = _noise(rng, SKETCH, 2, 3)
    wave = y + 0.035 * np.sin(7 * x + 1.5 + 6 * y) + 0.02 * np.sin(15 * x - 9 * y) + 0.012 * drift
    fire = 0.325 + 0.325 * np.sin(75 * wave + 0.8 * drift) + 0.8 * (wave - 0.1)
    sketch = _ramp("7a1418 c8281a ee5a1e f88f22 fbc23a f9e08a e2641e d93a1a", fire)
    _paint(sketch, np.sin(41 * wave + 2 * drift) > 0.9, "5c8496")
    angle = np.arctan2(-np.gradient(wave, axis=1), np.gradient(wave, axis=0))
    dx, dy = (x - 0.7) / 1.5, y - 0.56
    spiral = 60 * np.hypot(dx, dy) - np.arctan2(dy, dx) + drift
    water = y > 0.43 + 0.02 * np.sin(9 * x) + 0.05 * (x - 0.5)
    _paint(sketch, water, "0c1c3a 17406a 2a6f8a 4fa09a d8c07a 1a3560", 0.5 + 0.42 * np.sin(spiral))
    np.copyto(angle, np.arctan2(dx / 1.5, -dy), where=water)
    edge = 0.74 + 0.1 * np.sin(7 * y + 0.5) + 0.35 * np.clip(0.62 - y, 0, 1)
    shore = (x > edge) & (y > 0.37 + 0.04 * np.sin(8 * x))
    strata = 0.5 + 0.3 * np.sin(60 * (x - edge) + 1.5 * drift) + 0.15 * drift
    _paint(sketch, shore, "10203a 1a3f4a 2f5a3a 7a8a3a c8a040 5a2a34", strata)
    np.copyto(angle, np.arctan2(1.0, np.gradient(edge, axis=0) * SKETCH), where=shore)
    steepness = (y - 0.44) / (x + 0.08)  # of the line from the bridge's vanishing point
    away = np.arctan(steepness)
    deck = steepness > 0.62
    rails = np.abs(steepness[..., None] - (0.3, 0.45, 0.62)).min(axis=-1) < 0.022
    posts = (np.abs(np.sin(9 * np.log(x + 0.08))) > 0.985) & (steepness > 0.28) & (x > 0.25) & ~deck
    _paint(sketch, deck, "3a1c14 8a4a22 c88a48 5a2a1c e0b070 9a4a2a", 0.5 + 0.5 * np.sin(75 * away + 0.5 * drift))
    _paint(sketch, rails, "7a2a1c")
    np.copyto(angle, away, where=deck | rails)
    _paint(sketch, posts, "8a3424")
    for left, size in ((0.11, 0.12), (0.19, 0.14)):
        height = (0.62 - y) / size
        walker = (np.abs(x - left) < size * (0.2 - 0.1 * height)) & (height > 0) & (height < 1.05)
        walker |= np.hypot(x - left, (height - 1.25) * size * 0.8) < 0.13 * size
        _paint(sketch, walker, "161228")
        angle[walker | posts] = np.pi / 2
    layers = [(900, 0.028, 0.3), (3000, 0.015, 0.22), (6000, 0.008, 0.16), (7000, 0.0045, 0.1)]
    return _brushwork(rng, n, sketch, _directions(angle), layers, variety=0.16, height=0.7)


def _mosaic(rng: Generator, n: int) -> Image.Image:
    """Fish in a rippling sea, of small stones in rows that follow what they show."""
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
        shape = gap * _directions(corner) * rng.uniform(0.56, 0.66, (count, 4, 1))
        centre, shade = middle[where][:, None], colours[where] * rng.normal(1, 0.11, (count, 1))
        outlines = np.stack([centre + shape, centre + 0.72 * shape - 0.04 * gap], axis=1)
        _fill(canvas, outlines.reshape(-1, 4, 2), np.stack([shade * 0.8, shade * 1.06], axis=1).reshape(-1, 3))

    def fish_width(s: Array, side: Array) -> Array:
        """Half a fish's width, s of its length from the nose, on its back (side < 0) or belly; negative beyond it."""
        body = 0.2 * np.sin(np.pi * s.clip(0, 1) ** 0.7) ** 0.8 + 0.012
        fin = np.where(side < 0, 0.28, 0.25) - 0.55 * np.abs(s - np.where(side < 0, 0.42, 0.55))
        tail = np.where((s > 0.84) & (s < 1.13), 1.05 * (s - 0.84), -1)
        return np.where((s > 0) & (s < 1), np.maximum(np.maximum(body, fin * (body > 0.1)), tail), tail)

    x, y = _grid(74)
    swell = 0.022 * np.sin(11 * x + 2) + 0.012 * np.sin(23 * x - 4 * y)
    slope = np.gradient(swell, gap, axis=1)
    tone = 0.5 + 0.5 * np.sin(46 * y + 1.5 * np.sin(7 * x + 9 * y)) + rng.normal(0, 0.09, x.shape)
    middle = np.stack([x, y + swell], axis=-1)
    inside = np.minimum(middle, 1 - middle).min(axis=-1) > margin - gap / 2
    lay(middle, np.arctan(slope), _ramp("12406a 1f6f9a 3f9ab0 86c4c0 d2e6d4", tone), inside)
    for left, top, length, tilt, colours in shoal:
        stone = gap / length
        row, column = np.indices((int(0.72 / stone), int(1.3 / stone)))
        along, across = column * stone - 0.08, row * stone - 0.36
        bend = 0.07 * np.sin(2 * np.pi * along)
        heading, flip = tilt + rng.normal(0, 0.08), np.sign(np.cos(tilt))
        local = length * np.stack([along - 0.5, flip * (across + bend)], axis=-1)
        depth = (fish_width(along, across) - np.abs(across)) / stone
        shades = _ramp(colours, 0.4 + 1.9 * across + 0.3 * ((row // 2 + column // 3) % 2))
        _paint(shades, np.abs(along - 0.24 - 0.25 * across**2) < 0.5 * stone, "3c1e1e")
        _paint(shades, depth < 1.1, "261a22")
        eye = np.hypot(along - 0.13, across + 0.045) / stone
        _paint(shades, eye < 1.9, "faf6e6")
        _paint(shades, eye < 0.9, "141014")
        wiggle = heading + flip * np.arctan(np.gradient(bend, stone, axis=1))
        lay(local @ _rotation(heading) + (left, top), wiggle, shades, depth > -0.9)
    rim = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])
    _fill(canvas, [np.concatenate([rim, 0.5 + (1 - 2 * margin) * (rim[::-1] - 0.5)])], grout)
    beside, above = np.minimum(x, 1 - x), np.minimum(y, 1 - y)
    row, column = np.floor(np.minimum(beside, above) / gap), np.floor(np.where(beside < above, y, x) / gap)
    border = _ramp("eedeb8", 0 * x)
    _paint(border, np.abs(column % 6 - 3) > row - 1, "962c22")
    _paint(border, row % 5 == 0, "2e262c")
    lay(np.stack([x, y], axis=-1), 0 * x, border, row < 6)
    return canvas


PAINTERS: dict[str, Callable[[Generator, int], Image.Image]] = {
    "night_swirls": _night_swirls,
    "pointillist": _pointillist,
    "stained_glass": _stained_glass,
    "woodblock_wave": _woodblock_wave,
    "cubist": _cubist,
    "ink_hatching": _ink_hatching,
    "fjord": _fjord,
    "mosaic": _mosaic,
}
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
PAINTINGS = tuple(PAINTERS)


def sample(name: str, size: int | None = None, seed: int = 0) -> Image.Image:
    """A photograph or a painting by name, as an RGB picture.

    Args:
        name: one of `PHOTOS` or `PAINTINGS`.
        size: the longer side in pixels. Without it, photographs have their own size and paintings, which are
            square, have 512.
        seed: which of a painting's versions; the same seed gives the same painting at every size.

    Raises:
        ValueError: if the name is unknown, the size is not positive, or a photograph is asked for with a seed.
    """
    if size is not None and size < 1:
        raise ValueError(f"a picture of {size} pixels; ask for a size of 1 or more")
    if name in PAINTINGS:
        return PAINTERS[name](np.random.default_rng(seed), 2 * (size or 512)).reduce(2)
    if name not in PHOTOS:
        raise ValueError(f"unknown sample {name!r}; there are {', '.join(PHOTOS + PAINTINGS)}")
    if seed:
        raise ValueError(
            f"{name!r} is a photograph and takes no seed; the paintings, which do, are {', '.join(PAINTINGS)}"
        )
    photo = Image.fromarray(getattr(data, name)())
    if size is None:
        return photo
    width, height = (max(1, round(side * size / max(photo.size))) for side in photo.size)
    return photo.resize((width, height), Image.Resampling.LANCZOS)
