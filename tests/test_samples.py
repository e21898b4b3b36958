"""Sample pictures: the photographs are scikit-image's, and the paintings are painted the same way every time."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage import data

from nst_lessons.samples import PAINTINGS, PHOTOS, sample

MONOCHROME = {"ink_hatching"}


@pytest.fixture(scope="module")
def paintings():
    return {name: sample(name, 192) for name in PAINTINGS}


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


def test_there_are_at_least_six_styles_and_no_name_twice():
    assert len(PAINTINGS) >= 6
    assert len({*PHOTOS, *PAINTINGS}) == len(PHOTOS) + len(PAINTINGS)


@pytest.mark.parametrize("name", PHOTOS)
def test_photographs_are_the_bundled_ones(name):
    np.testing.assert_array_equal(np.asarray(sample(name)), getattr(data, name)())


def test_photographs_are_resized_by_their_longer_side():
    assert sample("chelsea").size == (451, 300)
    small = sample("chelsea", 97)
    assert small.size == (97, 65)
    assert correlation(small, sample("chelsea").resize((97, 65), Image.Resampling.BOX)) > 0.99


@pytest.mark.parametrize("name", PAINTINGS)
@pytest.mark.parametrize("size", [1, 31, 97])
def test_paintings_have_exactly_the_size_asked_for(name, size):
    picture = sample(name, size)
    assert (picture.size, picture.mode) == ((size, size), "RGB")


def test_paintings_have_512_pixels_unless_told_otherwise():
    assert sample("mosaic").size == (512, 512)


@pytest.mark.parametrize("name", PAINTINGS)
def test_a_seed_is_one_painting(name):
    first, again, other = sample(name, 97, seed=5), sample(name, 97, seed=5), sample(name, 97, seed=6)
    assert first.tobytes() == again.tobytes()
    assert np.abs(grey(first) - grey(other)).mean() > 2


@pytest.mark.parametrize("name", PAINTINGS)
def test_a_painting_is_the_same_at_every_size(name):
    """Halved, the larger painting is closer to the smaller one than another seed's painting is."""
    small = sample(name, 128)
    halved = sample(name, 256).reduce(2)
    assert correlation(small, halved) > 0.85
    assert correlation(small, halved) > correlation(small, sample(name, 128, seed=1)) + 0.05


@pytest.mark.parametrize("name", PAINTINGS)
def test_paintings_have_texture_at_several_scales_all_over(paintings, name):
    picture = paintings[name]
    assert min(texture(picture)) > 5, texture(picture)
    corners = [(left, top, left + 96, top + 96) for left in (0, 96) for top in (0, 96)]
    assert all(min(texture(picture.crop(corner))) > 3 for corner in corners)


@pytest.mark.parametrize("name", PAINTINGS)
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


def test_an_unknown_name_is_answered_with_the_names_there_are():
    with pytest.raises(ValueError, match="unknown sample 'mona_lisa'") as error:
        sample("mona_lisa")
    assert all(name in str(error.value) for name in PHOTOS + PAINTINGS)


@pytest.mark.parametrize("size", [0, -3])
@pytest.mark.parametrize("name", ["coffee", "mosaic"])
def test_a_size_below_one_is_refused(name, size):
    with pytest.raises(ValueError, match=f"{size} pixels"):
        sample(name, size)


def test_a_photograph_takes_no_seed():
    with pytest.raises(ValueError, match="'rocket' is a photograph"):
        sample("rocket", seed=1)
