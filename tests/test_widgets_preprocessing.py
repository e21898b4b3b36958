"""The explorer of lesson 1 without a front end: what is drawn for given settings, and that every control matters."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from widget_tree import assert_changes, control, words

from nst_lessons import Backbone, preprocess, resize
from nst_lessons.images import CAFFE_MEAN, MEAN, STD
from nst_lessons.widgets import explore_preprocessing, preprocessing, render_preprocessing
from nst_lessons.widgets.preprocessing import MISTAKES, bars, channel_histograms, histograms


@pytest.mark.parametrize(
    ("mistake", "convention", "expected"),
    [
        ("none", "torchvision", [(p - m) / s for p, m, s in zip((0.2, 0.4, 0.9), MEAN, STD, strict=True)]),
        ("none", "caffe", [255 * p - m for p, m in zip((0.9, 0.4, 0.2), CAFFE_MEAN, strict=True)]),
        ("channels swapped", "torchvision", [(p - m) / s for p, m, s in zip((0.9, 0.4, 0.2), MEAN, STD, strict=True)]),
        ("channels swapped", "caffe", [255 * p - m for p, m in zip((0.2, 0.4, 0.9), CAFFE_MEAN, strict=True)]),
        (
            "0 to 255 instead of 0 to 1",
            "torchvision",
            [(255 * p - m) / s for p, m, s in zip((0.2, 0.4, 0.9), MEAN, STD, strict=True)],
        ),
        (
            "means swapped",
            "torchvision",
            [(p - m) / s for p, m, s in zip((0.2, 0.4, 0.9), MEAN[::-1], STD, strict=True)],
        ),
        ("no normalisation", "torchvision", [0.2, 0.4, 0.9]),
        (
            "the other convention",
            "caffe",
            [(p - m) / s for p, m, s in zip((0.2, 0.4, 0.9), MEAN, STD, strict=True)],
        ),
    ],
)
def test_mistakes_give_the_network_these_numbers(mistake: str, convention: str, expected: list[float]) -> None:
    colour = torch.tensor([0.2, 0.4, 0.9]).view(1, 3, 1, 1)
    torch.testing.assert_close(MISTAKES[mistake](colour, convention).flatten(), torch.tensor(expected))


def test_swapped_means_of_caffe_are_its_own_in_the_other_order() -> None:
    colour = torch.tensor([0.2, 0.4, 0.9]).view(1, 3, 1, 1)
    expected = [255 * p - m for p, m in zip((0.9, 0.4, 0.2), CAFFE_MEAN[::-1], strict=True)]
    # The two conventions' means agree to a hundredth of the range.
    torch.testing.assert_close(
        MISTAKES["means swapped"](colour, "caffe").flatten(), torch.tensor(expected), atol=1, rtol=0
    )


@pytest.mark.parametrize("convention", ["torchvision", "caffe"])
def test_without_a_mistake_the_network_sees_the_photo(tiny_backbone: Backbone, photo: Tensor, convention: str) -> None:
    panels, text = render_preprocessing(
        tiny_backbone, photo, size=56, antialias=True, convention=convention, mistake="none"
    )
    torch.testing.assert_close(panels["what the network takes it for"], photo, atol=1e-5, rtol=0)
    assert "56 x 40 pixels" in text
    assert "0.00 (relu1_1), 0.00 (relu2_1)" in text


def test_feature_error_is_that_of_the_wrong_input(tiny_backbone: Backbone, photo: Tensor) -> None:
    panels, text = render_preprocessing(
        tiny_backbone, photo, size=28, antialias=True, convention="torchvision", mistake="channels swapped"
    )
    small = resize(photo, 28)
    torch.testing.assert_close(panels["what the network takes it for"], small.flip(1))
    with torch.no_grad():
        right, wrong = (tiny_backbone.conv1_1(preprocess(image)).relu() for image in (small, small.flip(1)))
    assert f"{float((wrong - right).norm() / right.norm()):.2f} (relu1_1)" in text


def test_leaving_out_antialiasing_is_an_error_too(tiny_backbone: Backbone, photo: Tensor) -> None:
    settings: dict[str, Any] = {"size": 14, "convention": "torchvision", "mistake": "none"}
    smooth, _ = render_preprocessing(tiny_backbone, photo, antialias=True, **settings)
    jagged, text = render_preprocessing(tiny_backbone, photo, antialias=False, **settings)
    assert not torch.allclose(smooth["what the network takes it for"], jagged["what the network takes it for"])
    assert "0.00 (relu1_1)" not in text
    assert "without antialiasing" in text


def test_every_control_of_preprocessing_matters(tiny_backbone: Backbone, photo: Tensor) -> None:
    explorer = explore_preprocessing(photo, tiny_backbone)
    size, mistake = control(explorer, "size"), control(explorer, "mistake")
    assert list(size.options) == [32, 48, 56]
    assert_changes(explorer, lambda: setattr(size, "value", 32))
    assert_changes(explorer, lambda: setattr(control(explorer, "antialias"), "value", False))
    for name in list(MISTAKES)[1:]:
        assert_changes(explorer, lambda name=name: setattr(mistake, "value", name))
    assert_changes(explorer, lambda: setattr(control(explorer, "convention"), "value", "caffe"))


def test_preprocessing_is_rendered_once_a_change(
    tiny_backbone: Backbone, photo: Tensor, count_renders: Callable
) -> None:
    calls = count_renders(preprocessing, "render_preprocessing")
    explorer = explore_preprocessing(photo, tiny_backbone)
    assert calls == [{"size": 56, "antialias": True, "convention": "torchvision", "mistake": "none"}]
    for n, (name, value) in enumerate([("size", 32), ("antialias", False), ("mistake", "channels swapped")], start=2):
        control(explorer, name).value = value
        assert len(calls) == n
        assert calls[-1][name] == value


def test_sizes_suit_the_deepest_layer(five_blocks: Backbone) -> None:
    banner = torch.full((1, 3, 64, 256), 0.5)
    explorer = explore_preprocessing(banner, five_blocks)
    for size in control(explorer, "size").options:
        control(explorer, "size").value = size
        assert f"given {size} x {size // 4} pixels" in words(explorer)
    assert control(explorer, "size").options[0] == 128


def test_bars_are_full_at_one() -> None:
    assert re.findall(r"width: (\d+)px; background", bars({"a": 0.0, "b": 0.5, "c": 1.0, "d": 200.0})) == [
        "0",
        "160",
        "320",
        "320",
    ]


@pytest.mark.parametrize("convention", ["torchvision", "caffe"])
def test_histograms_count_each_channel_under_its_colour(convention: str) -> None:
    image = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, 4, 5).clone()  # no red, half green, all blue
    image[..., 0, :] = 0.25
    x = preprocess(image, convention)
    found = channel_histograms(x, convention)
    width = float(x.max() - x.min()) / 64
    for n, (colour, value) in enumerate({"red": 0.0, "green": 0.5, "blue": 1.0}.items()):
        line = found[f"read as {colour}"]
        assert sorted(line.values())[-2:] == [0.25, 0.75] and sum(line.values()) == pytest.approx(1)
        place = n if convention == "torchvision" else 2 - n
        given = preprocess(torch.full((1, 3, 1, 1), value), convention)[0, place]
        assert max(line, key=line.__getitem__) == pytest.approx(float(given), abs=width)


def test_histograms_of_one_value_are_drawn_too() -> None:
    found = channel_histograms(torch.full((1, 3, 4, 4), 0.5), "torchvision")
    assert all(max(line.values()) == 1 for line in found.values())
    assert histograms(found).count("<polyline") == 3


def test_histograms_differ_by_more_than_colour(tiny_backbone: Backbone, photo: Tensor) -> None:
    _, text = render_preprocessing(tiny_backbone, photo, size=56, antialias=True, convention="caffe", mistake="none")
    lines = re.findall(
        r'<polyline points="([^"]*)" stroke="([^"]*)" stroke-width="2.5" stroke-dasharray="([^"]*)"', text
    )
    assert [len(set(column)) for column in zip(*lines, strict=True)] == [3, 3, 3]
    heights = [float(point.split(",")[1]) for points, _, _ in lines for point in points.split()]
    assert min(heights) == 30 and max(heights) <= 102
    for colour in ("red", "green", "blue"):
        assert f">read as {colour}</text>" in text
    assert re.search(r'aria-label="Values of the network.s input by channel. read as blue: most often -?[\d.]+;', text)
