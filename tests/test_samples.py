"""Sample pictures: the photographs are scikit-image's, and the paintings are those that tools/paint.py paints."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

import paint
from nst_lessons.samples import PAINTINGS, PHOTOS, full_network_picture, sample


def difference(a: Image.Image, b: Image.Image) -> float:
    """The mean absolute difference of two pictures, from 0 to 255."""
    return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean())


def test_there_are_at_least_six_styles_and_no_name_twice():
    assert len(PAINTINGS) >= 6
    assert len({*PHOTOS, *PAINTINGS}) == len(PHOTOS) + len(PAINTINGS)


@pytest.mark.parametrize("name", PHOTOS)
def test_photographs_are_the_bundled_ones(name):
    np.testing.assert_array_equal(np.asarray(sample(name)), getattr(data, name)())


@pytest.mark.parametrize("name", PAINTINGS)
def test_paintings_are_what_the_tool_paints(name):
    """WebP costs a difference of 2 to 7; another seed's painting differs by 35 or more."""
    shipped = sample(name)
    assert (shipped.size, shipped.mode) == ((1024, 1024), "RGB")
    assert difference(shipped, paint.paint(name, 1024)) < 10


def test_another_seed_or_painter_would_not_pass():
    assert difference(sample("mosaic"), paint.paint("mosaic", 1024, seed=1)) > 30
    assert difference(sample("mosaic"), paint.paint("pointillist", 1024)) > 30


def test_every_painting_has_its_painter_and_the_other_way_round():
    assert tuple(paint.PAINTERS) == PAINTINGS


@pytest.mark.parametrize(("name", "size"), [("chelsea", (97, 65)), ("mosaic", (97, 97))])
def test_pictures_are_resized_by_their_longer_side(name, size):
    small, whole = sample(name, 97), sample(name)
    assert (small.size, small.mode) == (size, "RGB")
    averaged, picked = (whole.resize(size, how) for how in (Image.Resampling.BOX, Image.Resampling.NEAREST))
    assert difference(small, averaged) < difference(small, picked) / 2  # antialiased


@pytest.mark.parametrize("name", ["chelsea", "night_swirls"])
def test_pictures_can_be_enlarged(name):
    large = sample(name, 2048)
    assert max(large.size) == 2048
    assert difference(sample(name), large.resize(sample(name).size, Image.Resampling.BOX)) < 5


def test_one_pixel_is_a_picture():
    assert sample("coffee", 1).size == sample("mosaic", 1).size == (1, 1)


def test_an_unknown_name_is_answered_with_the_names_there_are():
    with pytest.raises(ValueError, match="unknown sample 'mona_lisa'") as error:
        sample("mona_lisa")
    assert all(name in str(error.value) for name in PHOTOS + PAINTINGS)


@pytest.mark.parametrize("size", [0, -3])
@pytest.mark.parametrize("name", ["coffee", "mosaic"])
def test_a_size_below_one_is_refused(name, size):
    with pytest.raises(ValueError, match=f"size must be an integer from 1 to 8000, not {size}"):
        sample(name, size)


def test_pictures_of_the_full_network_are_loaded_by_name():
    picture = full_network_picture("content_relu4_2")
    assert (picture.size, picture.mode) == ((256, 256), "RGB")
    photo = sample("astronaut", 256)
    assert difference(picture, photo) < 20 < difference(sample("chelsea").resize((256, 256)), photo)


def test_an_unknown_picture_is_answered_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"unknown picture 'content_relu6_1'; choose from .*content_relu4_2, "):
        full_network_picture("content_relu6_1")
