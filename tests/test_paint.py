"""The painters of tools/paint.py: a seed is one painting at every size, and each has a hand of its own."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from PIL import Image, ImageFilter

from paint import PAINTERS, main, paint

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
