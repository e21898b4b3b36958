"""Choosing a picture: samples, and uploads as both versions of ipywidgets have them."""

from datetime import datetime, timezone
from io import BytesIO
from typing import Any

import ipywidgets
import pytest
import torch
from torch import Tensor

from nst_lessons import ImageError, load_image, to_pil
from nst_lessons.image_files import MAX_BYTES
from nst_lessons.samples import sample
from nst_lessons.widgets.pictures import PictureChooser, uploaded_files


@pytest.fixture
def photo() -> Tensor:
    """(1, 3, 40, 56) in [0, 1]."""
    return torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(3))


def png(image: Tensor) -> bytes:
    file = BytesIO()
    to_pil(image).save(file, "PNG")
    return file.getvalue()


def as_uploaded(name: str, data: bytes) -> Any:
    """A FileUpload's value, as the installed ipywidgets has it."""
    if ipywidgets.__version__.startswith("7."):
        return {name: {"metadata": {"name": name, "type": "image/png", "size": len(data)}, "content": data}}
    file = {"name": name, "type": "image/png", "size": len(data), "content": memoryview(data)}
    return ({**file, "last_modified": datetime.now(timezone.utc)},)


def test_uploads_of_ipywidgets_7_and_8_are_read_alike() -> None:
    seven = {"a.png": {"metadata": {"name": "a.png", "size": 3}, "content": b"abc"}}
    eight = ({"name": "a.png", "size": 3, "content": memoryview(b"abc")},)
    assert uploaded_files(seven) == uploaded_files(eight) == [("a.png", b"abc")]
    assert uploaded_files({}) == uploaded_files(()) == []


def test_upload_joins_the_menu_and_is_chosen(photo: Tensor) -> None:
    chooser = PictureChooser("photo", ["coffee", "rocket"])
    before = chooser.thumbnail.value
    chooser.upload.set_trait("value", as_uploaded("mine.png", png(photo)))
    assert list(chooser.menu.options) == ["coffee", "rocket", "mine.png"]
    assert chooser.menu.value == "mine.png"
    assert chooser.thumbnail.value != before
    torch.testing.assert_close(chooser.load(56), photo, atol=0.5 / 255 + 1e-6, rtol=0)


def test_phones_call_every_picture_alike_and_each_is_kept(photo: Tensor) -> None:
    chooser = PictureChooser("photo", ["coffee", "rocket"])
    seen = set()
    for n, picture in enumerate([photo, 1 - photo, photo / 2], start=1):
        chooser.upload.set_trait("value", as_uploaded("image.jpg", png(picture)))
        assert chooser.menu.value == ("image.jpg" if n == 1 else f"image ({n}).jpg")
        torch.testing.assert_close(chooser.load(photo.shape[-1]), picture, rtol=0, atol=0.003)
        seen.add(chooser.thumbnail.value)
    assert len(seen) == 3
    chooser.upload.set_trait("value", as_uploaded("image.jpg", png(1 - photo)))  # once more
    assert chooser.menu.value == "image (2).jpg"
    assert list(chooser.menu.options) == ["coffee", "rocket", "image.jpg", "image (2).jpg", "image (3).jpg"]


def test_an_upload_does_not_take_the_place_of_a_sample(photo: Tensor) -> None:
    chooser = PictureChooser("photo", ["coffee", "rocket"])
    chooser.upload.set_trait("value", as_uploaded("coffee", png(photo)))
    assert chooser.menu.value == "coffee (2)"
    chooser.menu.value = "coffee"
    torch.testing.assert_close(chooser.load(40), load_image(sample("coffee", 40)))


def test_limits_of_uploads_stand_beside_the_button(photo: Tensor) -> None:
    chooser = PictureChooser("photo", ["coffee"])
    assert "1 MB in Colab" in chooser.words.value
    assert f"{MAX_BYTES // 10**6} MB" in chooser.words.value
    chooser.upload.set_trait("value", as_uploaded("large.png", bytes(MAX_BYTES + 1)))
    assert "large.png cannot be used: more than 100 MB" in chooser.words.value


@pytest.mark.filterwarnings("ignore:.*laid on white")
def test_transparency_that_is_laid_on_white_is_said_beside_the_button(photo: Tensor) -> None:
    chooser, file = PictureChooser("photo", ["coffee"]), BytesIO()
    to_pil(photo, alpha=photo[:, :1]).save(file, "PNG")
    chooser.upload.set_trait("value", as_uploaded("cut-out.png", file.getvalue()))
    assert chooser.menu.value == "cut-out.png"
    assert "cut-out.png: transparent parts are laid on white" in chooser.words.value
    chooser.upload.set_trait("value", as_uploaded("mine.png", png(photo)))
    assert "laid on white" not in chooser.words.value


def test_a_phones_picture_is_an_upload_too(photo: Tensor) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    chooser, file = PictureChooser("photo", ["coffee"]), BytesIO()
    plain = torch.full_like(photo, 0.25)
    pillow_heif.from_pillow(to_pil(plain)).save(file)
    assert ".heic" in chooser.upload.accept  # not every browser knows that this is an image
    chooser.upload.set_trait("value", as_uploaded("IMG_0001.HEIC", file.getvalue()))
    assert chooser.menu.value == "IMG_0001.HEIC"
    torch.testing.assert_close(chooser.load(56), plain, atol=0.02, rtol=0)


def test_unusable_upload_is_refused_in_words() -> None:
    chooser = PictureChooser("photo", ["coffee"])
    chooser.upload.set_trait("value", as_uploaded("<notes>.png", b"buy milk"))
    assert list(chooser.menu.options) == ["coffee"]
    assert "&lt;notes&gt;.png cannot be used: in no image format" in chooser.words.value


def test_a_choice_is_an_argument_with_the_line_that_makes_it() -> None:
    chooser = PictureChooser("painting", ["mosaic"])
    argument = chooser.argument("painting", 40)
    assert argument.lines == ("painting = load_image(sample('mosaic', 40), 40)",)
    assert torch.equal(argument.value, load_image(sample("mosaic", 40), 40))


def test_an_upload_as_an_argument_is_a_file_of_its_name(photo: Tensor) -> None:
    chooser = PictureChooser("photo", ["coffee"])
    chooser.upload.set_trait("value", as_uploaded("my cat.png", png(photo)))
    argument = chooser.argument("photo", 48)
    assert argument.lines[0].startswith("photo = load_image('my cat.png', 48)  # your file")
    assert argument.value.shape[-1] == 48


def test_a_picture_too_narrow_for_the_size_is_refused(photo: Tensor) -> None:
    chooser = PictureChooser("photo", ["coffee"])
    chooser.upload.set_trait("value", as_uploaded("banner.png", png(photo[..., :20, :].repeat(1, 1, 1, 3)[..., :160])))
    with pytest.raises(ImageError, match="64 x 8"):
        chooser.argument("photo", 64)
