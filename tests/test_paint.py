"""The painters of tools/paint.py: a seed is one painting at every size, and each has a hand of its own."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage
from skimage.measure import label, regionprops

from paint import PAINTERS, main, paint
from painters.brushes import sides
from painters.cubist import planes
from painters.pointillist import scatter

MONOCHROME = {"ink_hatching"}

each_painter = pytest.mark.parametrize("name", PAINTERS)


@pytest.fixture(scope="module")
def paintings():
    return {name: paint(name, 192) for name in PAINTERS}


def grey(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L"), dtype=float)


def texture(picture: Image.Image) -> list[float]:
    """The deviation of grey values in bands between blurs of 1, 2, 4 and 8 pixels: detail at three scales."""
    blurred = [grey(picture.filter(ImageFilter.GaussianBlur(radius))) for radius in (1, 2, 4, 8)]
    return [float((fine - coarse).std()) for fine, coarse in pairwise(blurred)]


def colourfulness(picture: Image.Image) -> float:
    """Hasler and Suesstrunk 2003, "Measuring colourfulness in natural images": above 33 is moderate, 59 quite."""
    r, g, b = np.moveaxis(np.asarray(picture, dtype=float), -1, 0)
    red_green, yellow_blue = r - g, (r + g) / 2 - b
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))


def correlation(a: Image.Image, b: Image.Image) -> float:
    return float(np.corrcoef(grey(a).ravel(), grey(b).ravel())[0, 1])


@each_painter
@pytest.mark.parametrize("size", [1, 31, 97])
def test_paintings_have_exactly_the_size_asked_for(name, size):
    picture = paint(name, size)
    assert (picture.size, picture.mode) == ((size, size), "RGB")


@each_painter
def test_a_seed_is_one_painting(name):
    first, again, other = paint(name, 97, seed=5), paint(name, 97, seed=5), paint(name, 97, seed=6)
    assert first.tobytes() == again.tobytes()
    assert np.abs(grey(first) - grey(other)).mean() > 2


@each_painter
def test_a_painting_is_the_same_at_every_size(name):
    """Halved, the larger painting is closer to the smaller one than another seed's painting is."""
    small = paint(name, 128)
    halved = paint(name, 256).reduce(2)
    assert correlation(small, halved) > 0.85
    assert correlation(small, halved) > correlation(small, paint(name, 128, seed=1)) + 0.05


@each_painter
def test_paintings_have_texture_at_several_scales_all_over(paintings, name):
    picture = paintings[name]
    assert min(texture(picture)) > 5, texture(picture)
    corners = [(left, top, left + 96, top + 96) for left in (0, 96) for top in (0, 96)]
    assert all(min(texture(picture.crop(corner))) > 3 for corner in corners)


@each_painter
def test_paintings_are_colourful_unless_they_are_drawings(paintings, name):
    assert (colourfulness(paintings[name]) > 33) == (name not in MONOCHROME)


def test_a_blurred_painting_would_not_pass(paintings):
    blurred = [picture.filter(ImageFilter.GaussianBlur(3)) for picture in paintings.values()]
    assert all(min(texture(picture)) < 5 for picture in blurred)


def test_no_two_paintings_are_alike(paintings):
    """Neither in composition nor in the colours and contrasts that a style is made of."""

    def hand(picture):
        pixels = np.asarray(picture, dtype=float).reshape(-1, 3)
        return np.concatenate([pixels.mean(axis=0), pixels.std(axis=0), texture(picture)])

    for (_, a), (_, b) in combinations(paintings.items(), 2):
        assert abs(correlation(a, b)) < 0.6
        assert np.linalg.norm(hand(a) - hand(b)) > 15


def dot_diameters(picture: Image.Image) -> np.ndarray:
    """Of the dots that no other overlaps: regions of one colour, as wide as high, that fill about pi/4 of a square.

    A pixel is added for the edge, where a dot's colour blends with its surroundings.
    """
    colours = np.asarray(picture, dtype=int) @ (1, 256, 256**2)
    regions = regionprops(label(colours, connectivity=1, background=-1))
    whole = [r for r in regions if 9 <= r.area <= 900 and abs(np.subtract(*r.image.shape)) <= 1 and r.extent > 0.65]
    return 1 + np.array([region.equivalent_diameter_area for region in whole])


@pytest.mark.parametrize("diameter", [8, 12, 16])
def test_the_dots_are_measured_right(diameter):
    large = Image.new("RGB", (1024, 1024), "tan")
    draw = ImageDraw.Draw(large)
    for k, (row, column) in enumerate(np.ndindex(20, 20)):
        left, top = 50 * column + 20, 50 * row + 20
        draw.ellipse((left, top, left + 2 * diameter - 1, top + 2 * diameter - 1), (k % 256, 90, 200 - k // 4))
    measured = dot_diameters(large.reduce(2))
    assert len(measured) == 400
    assert np.abs(measured - diameter).max() < 0.6


@pytest.mark.parametrize("seed", [0, 1])
def test_the_pointillist_sets_separate_dots_of_several_sizes(seed):
    """At 512 pixels they measure 8 and more: large enough for a transfer to take over."""
    diameters = dot_diameters(paint("pointillist", 512, seed))
    smallest, largest = np.percentile(diameters, (10, 95))
    assert len(diameters) > 500
    assert smallest > 8
    assert largest > 1.25 * smallest


@pytest.mark.parametrize("apart", [0.03, 0.1])
def test_scattered_points_keep_their_distance_and_leave_no_gap(apart):
    points = scatter(np.random.default_rng(0), apart)
    distance = np.linalg.norm(points[:, None] - points, axis=-1) + 2 * np.eye(len(points))
    assert apart < distance.min(axis=0).min()
    assert distance.min(axis=0).max() < 2 * apart


@pytest.mark.parametrize("seed", [0, 1])
def test_the_cubist_draws_bold_contours(seed):
    """A sixth of the picture or more is ink that a square of 4 of 512 pixels fits in; thin lines would not count."""
    ink = grey(paint("cubist", 512, seed)) < 48
    assert 1 / 6 < ndimage.binary_opening(ink, np.ones((4, 4))).mean() < 1 / 3


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_cubists_planes_are_large_and_overlap(seed):
    areas = [abs(np.linalg.det(sides(plane)).sum()) / 2 for plane in planes(np.random.default_rng(seed))]
    assert sum(areas[:16]) == pytest.approx(1.04**2)  # the picture and its margins, without a gap
    assert sum(areas[16:]) > 0.3
    assert np.median(areas) > 0.03


def test_the_command_writes_the_paintings_that_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", f"paint.py mosaic fjord --size 40 --seed 3 --out {tmp_path}".split())
    main()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fjord.webp", "mosaic.webp"]
    stored, painted = np.asarray(Image.open(tmp_path / "mosaic.webp"), float), np.asarray(paint("mosaic", 40, 3), float)
    assert stored.shape == (40, 40, 3)
    assert np.abs(stored - painted).mean() < 15 < np.abs(stored - np.asarray(paint("mosaic", 40), float)).mean()


@pytest.mark.parametrize(
    ("arguments", "complaint"), [(["mona_lisa"], "unknown painting 'mona_lisa'"), (["--size", "0"], "0 pixels")]
)
def test_the_command_refuses_what_it_cannot_paint(monkeypatch, capsys, tmp_path, arguments, complaint):
    monkeypatch.setattr("sys.argv", ["paint.py", "--out", str(tmp_path), *arguments])
    with pytest.raises(SystemExit):
        main()
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
