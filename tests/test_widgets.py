"""The explorers without a front end: what is drawn for given settings, and that every control has its effect."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets
import pytest
import torch
from torch import Tensor

from nst_lessons import Backbone, Ending, History, Result, preprocess, reconstruct_content, resize
from nst_lessons.images import CAFFE_MEAN, MEAN, STD
from nst_lessons.visualize import activation_overlay
from nst_lessons.widgets import (
    explore_features,
    explore_preprocessing,
    explore_reconstructions,
    features,
    predict,
    preprocessing,
    reconstructions,
    render_features,
    render_preprocessing,
    render_reconstruction,
)
from nst_lessons.widgets.layout import enlarge
from nst_lessons.widgets.preprocessing import MISTAKES, bars


@pytest.fixture
def photo() -> Tensor:
    """(1, 3, 40, 56) in [0, 1], smooth with some noise."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 3, 5, 7, generator=generator)
    noise = 0.1 * torch.rand(1, 3, 40, 56, generator=generator)
    return 0.9 * torch.nn.functional.interpolate(coarse, (40, 56), mode="bilinear") + noise


@pytest.fixture
def five_blocks() -> Backbone:
    """A network with the blocks and layers of VGG16's first two rows, 3 to 7 channels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Backbone([[3, 3], [4, 4], [5, 5], [6, 6], [7, 7]])
    return backbone.requires_grad_(False).eval()


def walk(widget: Any) -> Iterator[Any]:
    """A widget and all within it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def control(explorer: Any, description: str) -> Any:
    """The one control of a description."""
    (found,) = (widget for widget in walk(explorer) if getattr(widget, "description", None) == description)
    return found


def pictures(explorer: Any) -> list[bytes]:
    """The PNG files that are shown."""
    return [bytes(widget.value) for widget in walk(explorer) if isinstance(widget, ipywidgets.Image)]


def words(explorer: Any) -> str:
    """All text on the page."""
    return " ".join(widget.value for widget in walk(explorer) if isinstance(widget, ipywidgets.HTML))


def assert_changes(explorer: Any, change: Callable[[], object]) -> None:
    """Something must change both in the pictures and in the words."""
    before = pictures(explorer), words(explorer)
    change()
    assert pictures(explorer) != before[0]
    assert words(explorer) != before[1]


@pytest.fixture
def count_renders(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[dict[str, Any]]]:
    """Begin to note the settings of every call of a module's render function."""

    def begin(module: Any, name: str) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []
        render = getattr(module, name)

        def counted(*args: Any, **settings: Any) -> Any:
            calls.append(settings)
            return render(*args, **settings)

        monkeypatch.setattr(module, name, counted)
        return calls

    return begin


# What is put into the network, and what it makes of it.


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


# Features.


def test_channel_is_drawn_from_black_to_white(tiny_backbone: Backbone, small_image: Tensor) -> None:
    maps = torch.zeros(1, 2, 3, 4)
    maps[0, 0], maps[0, 1, 0, 1], maps[0, 1, 2, 0] = 9.0, 4.0, 1.0
    panels, text = render_features(tiny_backbone, small_image, {"pool2": maps}, layer="pool2", channel=1)
    torch.testing.assert_close(panels["pool2, channel 1"], (maps[:, 1:] / 4).expand(1, 3, 3, 4))
    field = tiny_backbone.receptive_field["pool2"]
    for phrase in (
        "shape (1, 2, 3, 4): 2 channels of 4 x 3 values, one every 4 pixels",
        f"seeing {field} x {field} pixels",
        "from 0 to 4, mean 0.417, above zero at 17% of the positions; number 2 of 2",
        "The strongest channels: 0, 1.",
    ):
        assert phrase in text


def test_photo_is_lit_where_the_channel_is_active_and_framed_where_it_looked(tiny_backbone: Backbone) -> None:
    activation = torch.zeros(1, 1, 12, 17)
    activation[0, 0, 5, 9] = 2.0
    grey = torch.full((1, 3, 12, 17), 0.5)
    panels, text = render_features(tiny_backbone, grey, {"relu1_1": activation}, layer="relu1_1", channel=0)
    expected = activation_overlay(grey, activation)
    centre = expected[..., 5, 9].clone()
    expected[..., 4:7, 8:11] = 1  # the frame of a 3x3 field is all of it but its centre
    expected[..., 5, 9] = centre
    torch.testing.assert_close(panels["the photo, lit where the channel is active"], expected)
    assert (centre > 2 * expected[..., 0, 0]).all()
    assert "columns 8 to 10 and rows 4 to 6" in text


def test_silent_channel_is_black(tiny_backbone: Backbone, small_image: Tensor) -> None:
    features = {"relu1_1": torch.zeros(1, 4, 12, 17)}
    panels, _ = render_features(tiny_backbone, small_image, features, layer="relu1_1", channel=3)
    assert panels["relu1_1, channel 3"].count_nonzero() == 0


def test_every_control_of_features_matters(tiny_backbone: Backbone, photo: Tensor) -> None:
    explorer = explore_features(tiny_backbone, photo)
    layer, channel = control(explorer, "layer"), control(explorer, "channel")
    assert list(layer.options) == list(tiny_backbone.layers)
    for name in ("relu1_1", "conv2_2"):
        assert_changes(explorer, lambda name=name: setattr(layer, "value", name))
        assert channel.max == tiny_backbone.channels[name] - 1
        assert "number 1 of" in words(explorer)
    strongest = channel.value
    assert_changes(explorer, lambda: setattr(channel, "value", (strongest + 1) % 6))
    assert f"Channel {(strongest + 1) % 6}:" in words(explorer)
    assert_changes(explorer, control(explorer, "strongest channel").click)
    assert channel.value == strongest


def test_features_are_rendered_once_a_change(tiny_backbone: Backbone, photo: Tensor, count_renders: Callable) -> None:
    calls = count_renders(features, "render_features")
    explorer = explore_features(tiny_backbone, photo)
    layer, channel = control(explorer, "layer"), control(explorer, "channel")
    assert len(calls) == 1
    with torch.no_grad():
        wide, narrow = (tiny_backbone(photo, [name])[name] for name in ("relu2_1", "relu1_1"))
    layer.value = "relu2_1"
    channel.value = 5  # a layer of 4 channels has none of this number
    calls.clear()
    layer.value = "relu1_1"
    assert calls == [{"layer": "relu1_1", "channel": int(narrow.mean((0, 2, 3)).argmax())}]
    layer.value = "relu2_1"
    strongest = int(wide.mean((0, 2, 3)).argmax())
    assert calls[1:] == [{"layer": "relu2_1", "channel": strongest}]
    channel.value = (strongest + 1) % 6
    control(explorer, "strongest channel").click()
    assert calls[2:] == [{"layer": "relu2_1", "channel": n} for n in ((strongest + 1) % 6, strongest)]
    control(explorer, "strongest channel").click()
    assert len(calls) == 4  # there is nothing to change


def test_layers_too_deep_for_the_photo_are_not_offered(tiny_backbone: Backbone) -> None:
    explorer = explore_features(tiny_backbone, torch.rand(1, 3, 2, 9, generator=torch.Generator().manual_seed(0)))
    assert control(explorer, "layer").options[-1] == "relu2_2"  # pool2 halves twice


# Reconstructions.


@pytest.fixture
def results(tiny_backbone: Backbone, small_image: Tensor) -> dict[str, Result]:
    options: dict[str, Any] = {"steps": 6, "progress": False}
    return {
        "relu1_1": reconstruct_content(tiny_backbone, small_image, "relu1_1", snapshots=(0, 2, 4), **options),
        "relu2_1": reconstruct_content(tiny_backbone, small_image, "relu2_1", snapshots=(0, 3, 4, 5), **options),
    }


def test_reconstruction_shows_the_snapshot_and_its_loss(results: dict[str, Result], small_image: Tensor) -> None:
    panels, text = render_reconstruction(results, small_image, name="relu2_1", step=3)
    history = results["relu2_1"].history
    assert panels["step 3"] is history.snapshots[3]
    assert panels["the original"] is small_image
    assert f"loss {history.totals[3]:.3g}, {history.totals[3] / history.totals[0]:.2%} of" in text
    assert "of the loss at step 0. The run has ended: all 6 steps were taken" in text


def test_reconstruction_sets_a_loss_against_those_of_its_stage(small_image: Tensor) -> None:
    history = History([{"style": loss} for loss in (8.0, 4.0, 20.0, 5.0)], {3: small_image}, stages=[0, 2], seconds=1.0)
    results = {"octaves": Result(small_image, history, Ending.STEPS, "all 4 steps were taken")}
    _, text = render_reconstruction(results, None, name="octaves", step=3)
    assert "octaves, step 3 of 3: loss 5, 25.00% of the loss at step 2, where its stage began." in text
    assert "A thin line at step 2: stage 2 begins." in text
    assert "Rings mark step 3." in text


def test_every_control_of_reconstructions_matters(results: dict[str, Result]) -> None:
    explorer = explore_reconstructions(results)
    layers, step = control(explorer, "layers"), control(explorer, "step")
    (play,) = (widget for widget in walk(explorer) if isinstance(widget, ipywidgets.Play))
    assert step.value == 4
    assert_changes(explorer, lambda: setattr(layers, "value", "relu2_1"))
    assert list(step.options) == [0, 3, 4, 5]
    assert_changes(explorer, lambda: setattr(step, "value", 5))
    assert (play.value, play.max) == (3, 3)
    assert_changes(explorer, lambda: setattr(play, "value", 1))
    assert step.value == 3
    assert "relu2_1, step 3 of 5" in words(explorer)
    assert_changes(explorer, lambda: setattr(layers, "value", "relu1_1"))
    assert play.max == 2


def test_reconstructions_are_rendered_once_a_change(results: dict[str, Result], count_renders: Callable) -> None:
    calls = count_renders(reconstructions, "render_reconstruction")
    explorer = explore_reconstructions(results)
    (play,) = (widget for widget in walk(explorer) if isinstance(widget, ipywidgets.Play))
    assert calls == [{"name": "relu1_1", "step": 4}]
    control(explorer, "step").value = 2
    play.value = 0
    assert calls[1:] == [{"name": "relu1_1", "step": 2}, {"name": "relu1_1", "step": 0}]
    control(explorer, "step").value = 4
    calls.clear()
    control(explorer, "layers").value = "relu2_1"
    assert calls == [{"name": "relu2_1", "step": control(explorer, "step").value}]
    play.value = 3
    control(explorer, "layers").value = "relu1_1"
    assert calls[1:] == [
        {"name": "relu2_1", "step": 5},
        {"name": "relu1_1", "step": control(explorer, "step").value},
    ]


def test_runs_without_snapshots_are_refused(small_image: Tensor) -> None:
    bare = Result(small_image, History(), Ending.STEPS, "")
    with pytest.raises(ValueError, match=r"no snapshots of relu1_1; make runs with snapshots="):
        explore_reconstructions({"relu1_1": bare})
    with pytest.raises(ValueError, match="no snapshots of any run"):
        explore_reconstructions({})


# Drawing.


def test_small_pictures_are_enlarged_in_squares(small_image: Tensor) -> None:
    large = enlarge(small_image, 60)
    assert large.shape == (1, 3, 36, 51)
    assert torch.equal(large[..., 1::3, 1::3], small_image)
    assert torch.equal(large[..., ::3, 2::3], small_image)
    assert enlarge(small_image, 16).shape == small_image.shape


def test_bars_are_full_at_one() -> None:
    assert re.findall(r"width: (\d+)px; background", bars({"a": 0.0, "b": 0.5, "c": 1.0, "d": 200.0})) == [
        "0",
        "160",
        "320",
        "320",
    ]


def test_a_guess_is_shown_beside_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    prediction = predict("Which is larger?", ["left", "right"])
    assert prediction.guess is None
    prediction.reveal("left")
    prediction.buttons.value = "right"  # a click
    prediction.reveal("left")
    prediction.guess = "left"
    prediction.reveal("left")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Which")]
    assert lines == [
        f"Which is larger? Your guess: {guess}. Measured: left." for guess in ("none yet", "right", "left")
    ]
    for wrong in ("up", None, 1):
        with pytest.raises(ValueError, match=r"unknown answer .*; choose from left, right"):
            prediction.guess = wrong
        with pytest.raises(ValueError, match="unknown answer"):
            prediction.reveal(wrong)
    assert prediction.guess == "left"
