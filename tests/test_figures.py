"""Figures: how they become PNG files, and what a notebook is given."""

import math
import threading
from io import BytesIO

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from nst_lessons import ImageError, figures


def decode(png: bytes) -> np.ndarray:
    picture = Image.open(BytesIO(png))
    assert picture.format == "PNG"
    return np.asarray(picture.convert("RGB"))


def test_png_of_an_image_has_exactly_its_pixels() -> None:
    levels = torch.arange(3 * 12 * 17).view(1, 3, 12, 17) % 256
    pixels = decode(figures.to_png(levels / 255))
    assert pixels.shape == (12, 17, 3)
    np.testing.assert_array_equal(pixels, levels[0].permute(1, 2, 0).numpy())


def test_png_of_a_tensor_that_is_no_image() -> None:
    with pytest.raises(ImageError, match=r"\(1, 3, H, W\)"):
        figures.to_png(torch.zeros(3, 12, 17))


def test_png_of_a_figure_is_white_where_nothing_is_drawn() -> None:
    pixels = decode(figures.to_png(Figure(figsize=(2, 1))))
    assert (pixels == 255).all()


def test_a_figure_is_displayed_once_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs: list[tuple[dict, bool, dict]] = []
    monkeypatch.setattr(figures, "display", lambda data, *, raw, metadata: outputs.append((data, raw, metadata)))
    figure = Figure(figsize=(1, 1))
    figure.add_axes((0, 0, 1, 1)).imshow([[0.0, 1.0]], cmap="gray")
    assert figures.present(figure, "Half black", "half white", title="A test", caption="Of 2 pixels.") is None
    ((data, raw, metadata),) = outputs
    assert raw
    assert data["text/plain"] == "A test. Half black. half white. Of 2 pixels."
    assert metadata == {"image/png": {"alt": data["text/plain"]}}
    assert decode(data["image/png"]).min() < 10
    assert figure.get_suptitle() == "A test"
    assert figure.get_supxlabel() == "Of 2 pixels."


def test_figures_can_be_drawn_in_threads() -> None:
    pictures: dict[int, bytes] = {}

    def work(number: int) -> None:
        figure = Figure(figsize=(2, 2))
        figure.add_subplot().plot([0, number])
        pictures[number] = figures.to_png(figure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(pictures) == [0, 1, 2, 3]
    assert all(decode(png).shape[2] == 3 for png in pictures.values())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.12345, "0.12"),
        (0.0004, "0.0004"),
        (0.01234, "0.012"),
        (254.36, "254"),
        (1234.5, "1234"),
        (-2.5, "-2.50"),
        (31.46, "31.5"),
        (math.nan, "nan"),
    ],
)
def test_numbers_are_as_long_as_a_reader_wants(value: float, text: str) -> None:
    assert figures.number(value) == text
