"""Plots: what a figure says, in pixels, labels and alt text."""

import gc
import math
import weakref
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from nst_lessons import History, plots
from nst_lessons.figures import to_png

CALLS: dict[str, Any] = {
    "show_images": lambda **words: plots.show_images({"a photo": torch.rand(1, 3, 12, 17)}, **words),
    "show_feature_maps": lambda **words: plots.show_feature_maps(torch.rand(1, 5, 6, 8), **words),
    "show_filters": lambda **words: plots.show_filters(torch.randn(7, 3, 3, 3), **words),
    "show_boxes": lambda **words: plots.show_boxes(torch.rand(1, 3, 12, 17), {"relu1_1": (1, 2, 4, 5)}, **words),
    "show_matrix": lambda **words: plots.show_matrix({"gram": torch.rand(1, 4, 4)}, **words),
    "show_heat_map": lambda **words: plots.show_heat_map({"blur": {"relu1_1": 0.25}}, **words),
    "plot_losses": lambda **words: plots.plot_losses(History([{"content": 2.0}, {"content": 1.0}]), **words),
    "plot_lines": lambda **words: plots.plot_lines({"psnr": {1: 2.0, 2: 3.0}}, xlabel="x", ylabel="y", **words),
}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Figure, str]]:
    """The figures that are shown, with their alt text."""
    shown: list[tuple[Figure, str]] = []
    monkeypatch.setattr("nst_lessons.figures.to_png", lambda figure: figure)
    monkeypatch.setattr(
        "nst_lessons.figures.display", lambda data, **_: shown.append((data["image/png"], data["text/plain"]))
    )
    return shown


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict, dict]]:
    """What reaches the notebook: data and metadata."""
    outputs: list[tuple[dict, dict]] = []

    def display(data: dict, *, raw: bool, metadata: dict) -> None:
        assert raw
        outputs.append((data, metadata))

    monkeypatch.setattr("nst_lessons.figures.display", display)
    return outputs


def decode(png: bytes) -> np.ndarray:
    picture = Image.open(BytesIO(png))
    assert picture.format == "PNG"
    return np.asarray(picture.convert("RGB"))


def texts(figure: Figure) -> list[str]:
    """All words of a figure."""
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


@pytest.mark.parametrize("name", CALLS)
def test_every_figure_has_title_caption_and_alt_text(name: str, figures: list[tuple[Figure, str]]) -> None:
    assert CALLS[name](title="The title", caption="What is to be seen.") is None
    ((figure, alt),) = figures
    words = texts(figure)
    assert any(text.startswith("The title") for text in words)
    assert "What is to be seen." in words
    assert alt.startswith("The title")
    assert alt.endswith("What is to be seen.")


@pytest.mark.parametrize("name", CALLS)
def test_a_given_alt_text_is_taken_as_it_stands(name: str, displayed: list[tuple[dict, dict]]) -> None:
    CALLS[name](title="The title", alt="Something else.")
    ((data, metadata),) = displayed
    assert metadata["image/png"]["alt"] == data["text/plain"] == "Something else."


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_drawn_outside_a_page(name: str, figures: list[tuple[Figure, str]]) -> None:
    CALLS[name](title="A long title " * 12, caption="A long caption that goes on and on. " * 12)
    ((figure, _),) = figures
    width = decode(to_png(figure)).shape[1]
    assert 300 < width <= 100 * (plots.WIDTH + 2)


def test_pyplot_keeps_no_figures() -> None:
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    for call in CALLS.values():
        call()
    assert pyplot.get_fignums() == before


def test_figures_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[weakref.ref[Figure]] = []
    monkeypatch.setattr("nst_lessons.figures.display", lambda *_, **__: None)
    monkeypatch.setattr("nst_lessons.figures.to_png", lambda figure: drawn.append(weakref.ref(figure)) or b"")
    for call in CALLS.values():
        call()
    gc.collect()
    assert [figure() for figure in drawn] == [None] * len(CALLS)


def shown_pixels(figure: Figure) -> list[np.ndarray]:
    """The arrays behind a figure's images."""
    return [np.asarray(image.get_array()) for ax in figure.axes for image in ax.get_images()]


def test_images_are_shown_as_they_are_with_their_labels(
    figures: list[tuple[Figure, str]], small_image: Tensor, other_image: Tensor
) -> None:
    plots.show_images({"one": small_image, 10: other_image})
    ((figure, alt),) = figures
    assert [ax.get_title() for ax in figure.axes] == ["one", "step 10"]
    assert alt == "Pictures: one, step 10."
    for pixels, image in zip(shown_pixels(figure), (small_image, other_image), strict=True):
        np.testing.assert_array_equal(pixels, (255 * image[0].permute(1, 2, 0)).round().byte().numpy())


@pytest.mark.parametrize(
    ("count", "columns", "expected"), [(3, None, 3), (5, None, 5), (6, None, 3), (7, None, 4), (7, 2, 2), (2, 9, 2)]
)
def test_columns(
    figures: list[tuple[Figure, str]], small_image: Tensor, count: int, columns: int | None, expected: int
) -> None:
    plots.show_images(dict.fromkeys(map(str, range(count)), small_image), columns=columns)
    ((figure, _),) = figures
    assert figure.axes[0].get_gridspec().ncols == expected
    assert len(shown_pixels(figure)) == count


def test_many_rows_fit_on_a_screen(figures: list[tuple[Figure, str]]) -> None:
    tall = torch.rand(1, 3, 40, 20)
    plots.show_images({str(n): tall for n in range(12)}, columns=2)
    ((figure, _),) = figures
    assert figure.get_size_inches()[1] < 11


def test_no_images() -> None:
    with pytest.raises(ValueError, match="nothing to show"):
        plots.show_images({})


def test_feature_maps_are_the_channels_asked_for(figures: list[tuple[Figure, str]]) -> None:
    maps = torch.randn(1, 9, 6, 8)
    plots.show_feature_maps(maps, title="relu3_1", channels=[7, 2, 5], count=2)
    ((figure, alt),) = figures
    np.testing.assert_allclose(np.stack(shown_pixels(figure)), maps[0, [7, 2]].numpy())
    assert [ax.get_title() for ax in figure.axes if ax.get_images()] == ["7", "2"]
    assert "relu3_1: 9 channels of 8 x 6" in texts(figure)
    assert "channels 7, 2" in alt


def test_feature_maps_that_are_not_there() -> None:
    with pytest.raises(ValueError, match=r"no channels \[4, -1\]; there are 0 to 3"):
        plots.show_feature_maps(torch.zeros(1, 4, 2, 2), channels=[0, 4, -1])
    with pytest.raises(ValueError, match=r"\(1, C, H, W\), not a Tensor of the shape \(4, 2, 2\)"):
        plots.show_feature_maps(torch.zeros(4, 2, 2))


def test_filters_are_grey_where_a_weight_is_zero(figures: list[tuple[Figure, str]]) -> None:
    weight = torch.zeros(2, 3, 3, 3)
    weight[0, 0, 1, 2] = 4.0  # red, right of the centre
    weight[0, 2, 0, 0] = -2.0
    plots.show_filters(weight)
    ((figure, _),) = figures
    first, second = shown_pixels(figure)
    np.testing.assert_allclose(first[1, 2], [1.0, 0.5, 0.5])
    np.testing.assert_allclose(first[0, 0], [0.5, 0.5, 0.25])
    np.testing.assert_allclose(second, 0.5)


def test_filters_of_a_deeper_layer_are_no_images() -> None:
    with pytest.raises(ValueError, match=r"\(C, 3, h, w\), not a Tensor of the shape \(8, 4, 3, 3\)"):
        plots.show_filters(torch.zeros(8, 4, 3, 3))


def test_boxes_enclose_the_pixels_they_name(figures: list[tuple[Figure, str]], small_image: Tensor) -> None:
    plots.show_boxes(small_image, {"relu1_1": (1, 2, 4, 9)})
    ((figure, alt),) = figures
    box = figure.axes[0].patches[-1]
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (1.5, 0.5, 7, 3)
    assert "relu1_1" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert alt == "relu1_1: rows 1 to 3, columns 2 to 8."


def test_matrices_have_colour_bars_and_signs(figures: list[tuple[Figure, str]]) -> None:
    gram, signed = torch.tensor([[4.0, 1.0], [1.0, 0.0]]), torch.tensor([[2.0, -8.0]])
    plots.show_matrix({"gram": gram[None], "signed": signed})
    ((figure, alt),) = figures
    images = [image for ax in figure.axes for image in ax.get_images()]
    assert len(figure.axes) == 4  # two matrices, two bars
    np.testing.assert_allclose(images[0].get_array(), gram)
    assert float(images[0].norm(1.0)) == pytest.approx(0.5)  # the root of a quarter
    assert float(images[1].norm(0.0)) == pytest.approx(0.5)  # 0 is in the middle
    assert float(images[1].norm(-8.0)) == 0
    assert alt == "gram: 2 x 2 values from 0 to 4. signed: 1 x 2 values from -8 to 2."


def test_a_matrix_is_no_batch() -> None:
    with pytest.raises(ValueError, match=r"grams: a matrix has shape"):
        plots.show_matrix({"grams": torch.zeros(2, 3, 3)})


def test_heat_maps_write_their_numbers(figures: list[tuple[Figure, str]]) -> None:
    values = {"blur": {"relu1_1": 0.123456, "relu2_1": 2.0}, "noise": {"relu1_1": 0.0, "relu2_1": 12345.0}}
    plots.show_heat_map(values, darkest=2.0)
    ((figure, alt),) = figures
    written = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in figure.axes[0].texts}
    assert written == {(0, 0): "0.12", (0, 1): "2.00", (1, 0): "0", (1, 1): "12345"}
    assert alt == "blur: relu1_1 0.12, relu2_1 2.00. noise: relu1_1 0, relu2_1 12345."
    image = figure.axes[0].get_images()[0]
    assert float(image.norm(2.0)) == float(image.norm(12345.0)) == 1.0


def test_numbers_on_dark_cells_are_white_and_on_light_ones_dark(figures: list[tuple[Figure, str]]) -> None:
    plots.show_heat_map({"row": {"light": 0.0, "dark": 1.0}})
    ((figure, _),) = figures
    light, dark = figure.axes[0].texts
    assert (light.get_color(), dark.get_color()) == ("black", "white")


def test_numbers_stand_out_from_every_shade(figures: list[tuple[Figure, str]]) -> None:
    """WCAG 2.1 asks for a contrast of 4.5 to 1; the one shade where neither ink has it comes within 0.1."""
    plots.show_heat_map({"row": {str(n): n / 100 for n in range(101)}})
    ((figure, _),) = figures
    ax = figure.axes[0]
    image = ax.get_images()[0]
    for n, text in enumerate(ax.texts):
        cell, ink = (luminance(colour) for colour in (image.cmap(image.norm(n / 100)), text.get_color()))
        assert (max(cell, ink) + 0.05) / (min(cell, ink) + 0.05) > 4.4, n / 100


def luminance(colour: Any) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return sum(weight * channel for weight, channel in zip((0.2126, 0.7152, 0.0722), channels, strict=True))


def test_heat_maps_with_negative_numbers_are_centred_on_zero(figures: list[tuple[Figure, str]]) -> None:
    plots.show_heat_map({"row": {"negative": -8.0, "zero": 0.0, "positive": 2.0}})
    ((figure, _),) = figures
    image = figure.axes[0].get_images()[0]
    assert [float(image.norm(value)) for value in (-8.0, 0.0, 2.0)] == [0.0, 0.5, 0.625]
    negative, _, positive = (image.cmap(image.norm(value)) for value in (-8.0, 0.0, 2.0))
    assert negative[2] > negative[0] and positive[0] > positive[2], "blue below zero, red above"
    assert [text.get_color() for text in figure.axes[0].texts] == ["white", "black", "black"]


@pytest.mark.parametrize("values", [{}, {"a": {}}, {"a": {"x": 1.0}, "b": {"y": 1.0}}])
def test_heat_maps_want_a_full_table(values: dict) -> None:
    with pytest.raises(ValueError, match="same columns"):
        plots.show_heat_map(values)


def test_losses_are_one_line_a_term_and_their_sum(figures: list[tuple[Figure, str]]) -> None:
    history = History([{"content": 1.0, "style": 10.0, "tv": 0.0}, {"content": 0.5, "style": 2.0, "tv": 0.0}])
    plots.plot_losses(history)
    ((figure, alt),) = figures
    ax = figure.axes[0]
    lines = {line.get_label(): list(line.get_ydata()) for line in ax.get_lines()}
    assert lines == {"content": [1.0, 0.5], "style": [10.0, 2.0], "sum": [11.0, 2.5]}
    assert ax.get_yscale() == "log"
    assert "style: 10.0 at first, 2.00 at last, from 2.00 to 10.0" in alt


def test_a_sum_of_one_term_is_no_line_of_its_own(figures: list[tuple[Figure, str]]) -> None:
    plots.plot_losses(History([{"style": 2.0, "tv": 0.0}, {"style": 1.0, "tv": 0.0}]))
    ((figure, _),) = figures
    assert [line.get_label() for line in figure.axes[0].get_lines()] == ["style"]


def test_a_thin_line_marks_where_a_stage_begins(figures: list[tuple[Figure, str]]) -> None:
    history = History([{"style": 2.0 - 0.1 * n} for n in range(9)], stages=[0, 4, 7])
    plots.plot_losses(history, title="Three octaves")
    plots.plot_losses({"one": history, "other": history})
    (single, alt), (several, of_several) = figures
    losses, *marks = single.axes[0].get_lines()
    assert [list(line.get_xdata()) for line in marks] == [[4, 4], [7, 7]]
    assert all(line.get_linewidth() < losses.get_linewidth() for line in marks)
    assert {"stage 2", "stage 3"} <= set(texts(single))
    assert alt.endswith(
        "A thin line at step 4: stage 2 begins. A thin line at step 7: stage 3 begins. "
        "Losses of two stages cannot be compared."
    )
    assert len(several.axes[0].get_lines()) == 2
    assert "stage" not in of_several


def test_a_run_of_one_stage_has_no_marks(figures: list[tuple[Figure, str]]) -> None:
    plots.plot_losses(History([{"style": 2.0}, {"style": 1.0}]))
    ((figure, alt),) = figures
    assert len(figure.axes[0].get_lines()) == 1
    assert alt == "Losses by step, on a logarithmic scale. style: 2.00 at first, 1.00 at last, from 1.00 to 2.00."


def test_losses_of_several_runs_are_their_sums(figures: list[tuple[Figure, str]]) -> None:
    plots.plot_losses({"adam": History([{"a": 1.0, "b": 2.0}]), "lbfgs": History([{"a": 1.0, "b": 1.0}])})
    ((figure, _),) = figures
    assert {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].get_lines()} == {
        "adam": [3.0],
        "lbfgs": [2.0],
    }


def test_a_loss_that_is_no_number_leaves_a_gap(displayed: list[tuple[dict, dict]]) -> None:
    plots.plot_losses(History([{"content": 1.0}, {"content": math.nan}, {"content": math.inf}]))
    assert decode(displayed[0][0]["image/png"]).min() < 100
    assert "content: 1.00 at first, inf at last, from 1.00 to 1.00" in displayed[0][0]["text/plain"]


def test_lines_differ_by_more_than_colour(figures: list[tuple[Figure, str]]) -> None:
    plots.plot_lines({str(n): {0: n, 1: n} for n in range(6)}, xlabel="x", ylabel="y")
    ((figure, _),) = figures
    lines = figure.axes[0].get_lines()
    assert len({line.get_marker() for line in lines}) == 6
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 6


def test_lines_over_layer_names(figures: list[tuple[Figure, str]]) -> None:
    plots.plot_lines({"psnr": {"relu1_1": 30.0, "relu2_1": 20.0}}, xlabel="layer", ylabel="PSNR (dB)", log=False)
    ((figure, alt),) = figures
    ax = figure.axes[0]
    figure.canvas.draw()
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["relu1_1", "relu2_1"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("layer", "PSNR (dB)", "linear")
    assert alt == "PSNR (dB) by layer. psnr: 30.0 at first, 20.0 at last, from 20.0 to 30.0."


def test_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="no values to draw"):
        plots.plot_losses(History())
    with pytest.raises(ValueError, match="no values to draw"):
        plots.plot_lines({"psnr": {}}, xlabel="x", ylabel="y")


TAKES_A_DICT = {
    "show_images": plots.show_images,
    "show_boxes": lambda value: plots.show_boxes(torch.rand(1, 3, 12, 17), value),
    "show_matrix": plots.show_matrix,
    "show_heat_map": plots.show_heat_map,
    "a heat map's row": lambda value: plots.show_heat_map({"blur": value}),
    "plot_losses": plots.plot_losses,
    "plot_lines": lambda value: plots.plot_lines(value, xlabel="x", ylabel="y"),
    "a line": lambda value: plots.plot_lines({"psnr": value}, xlabel="x", ylabel="y"),
}


@pytest.mark.parametrize("value", [None, 3, "photo.jpg", [torch.rand(1, 3, 12, 17)], torch.rand(1, 3, 12, 17)])
@pytest.mark.parametrize("name", TAKES_A_DICT)
def test_what_is_no_dict_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"must be a dict, not (None|3|'photo.jpg'|\[tensor|a Tensor of the shape)"):
        TAKES_A_DICT[name](value)


@pytest.mark.parametrize("value", [None, "photo.jpg", np.zeros((1, 3, 3, 3)), torch.rand(3)])
def test_what_has_no_features_filters_matrix_or_history_is_named(value: object) -> None:
    for show, message in {
        plots.show_feature_maps: "feature maps have shape",
        plots.show_filters: "first-layer filters have shape",
        lambda value: plots.show_matrix({"gram": value}): "gram: a matrix has shape",
        lambda value: plots.plot_losses({"a run": value}): "a run's losses are its History",
    }.items():
        with pytest.raises(ValueError, match=message):
            show(value)
