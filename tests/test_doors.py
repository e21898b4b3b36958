"""What every function refuses at its door: images that are none, names, numbers; before any work, in words."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nst_lessons import (
    FOURIER,
    Ending,
    History,
    ImageError,
    Result,
    Style,
    load_backbone,
    optimize_image,
    preprocess,
    reconstruct_content,
    reconstruct_style,
    resize,
    save_image,
    style_transfer,
)
from nst_lessons.network import Backbone
from nst_lessons.plots import show_boxes, show_images
from nst_lessons.visualize import activation_overlay, layer_sensitivity, maximise_activation
from nst_lessons.widgets import (
    explore_atlas,
    explore_content,
    explore_features,
    explore_preprocessing,
    explore_recipes,
    explore_reconstructions,
    explore_statistics,
    explore_style,
    explore_transfer,
)

Door = Callable[[Backbone, Tensor, Tensor], object]  # the network, an image as it should be, and one that is not
STYLE = ["relu1_1", "relu2_1"]


def never(*args: object) -> dict[str, Tensor]:
    raise AssertionError("this was before the work")


def watched(image: Tensor) -> Result:
    """A run of no steps, with a snapshot."""
    return Result(image, History([{"loss": 1.0}], {0: image}), Ending.STEPS, "all steps were taken")


TAKES_AN_IMAGE: dict[str, Door] = {
    "transfer's photo": lambda net, good, bad: style_transfer(net, bad, good, content_layers=STYLE),
    "transfer's painting": lambda net, good, bad: style_transfer(net, good, bad),
    "a Style": lambda net, good, bad: style_transfer(net, good, [good, Style(bad, 0.5)]),
    "a recipe's photo": lambda net, good, bad: style_transfer(net, bad, good, recipe="surma"),
    "transfer's start": lambda net, good, bad: style_transfer(net, good, good, start=bad),
    "content": lambda net, good, bad: reconstruct_content(net, bad, "relu2_1"),
    "content's start": lambda net, good, bad: reconstruct_content(net, good, "relu2_1", start=bad),
    "style": lambda net, good, bad: reconstruct_style(net, bad, STYLE),
    "style's start": lambda net, good, bad: reconstruct_style(net, good, STYLE, start=bad),
    "optimisation": lambda net, good, bad: optimize_image(bad, never),
    "activation": lambda net, good, bad: maximise_activation(net, "conv2_1", 1, start=bad),
    "resize": lambda net, good, bad: resize(bad, 20),
    "a picture": lambda net, good, bad: save_image(bad, Path("out.png")),
    "a figure": lambda net, good, bad: show_images({"good": good, "bad": bad}),
    "boxes": lambda net, good, bad: show_boxes(bad, {}),
    "lesson 1's explorer": lambda net, good, bad: explore_preprocessing(bad, net),
    "lesson 2's explorer": lambda net, good, bad: explore_features(net, bad),
    "lesson 3's explorer": lambda net, good, bad: explore_content(net, bad),
    "snapshots' original": lambda net, good, bad: explore_reconstructions({"run": watched(good)}, bad),
    "lesson 4's explorer": lambda net, good, bad: explore_style(net, bad),
    "statistics": lambda net, good, bad: explore_statistics(net, {"good": good, "bad": bad}),
    "lesson 6's explorer": lambda net, good, bad: explore_recipes(net, good, bad),
}
BAD_IMAGES: dict[str, Callable[[Tensor], object]] = {
    "0 to 255": lambda image: 255 * image,
    "bytes": lambda image: (255 * image).to(torch.uint8),
    "normalised": lambda image: preprocess(image, "caffe"),
    "NaN": lambda image: image.where(image > 0.5, torch.nan),
    "grey": lambda image: image[:, :1],
    "no batch": lambda image: image[0],
    "a name": lambda image: "photo.jpg",
    "nothing": lambda image: None,
}


@pytest.fixture
def many_layers() -> Backbone:
    """A network with the layers that recipes ask for."""
    return Backbone([[4, 4], [4, 4], [4, 4, 4], [4, 4, 4], [4, 4, 4]]).requires_grad_(False).eval()


@pytest.mark.parametrize("bad", BAD_IMAGES)
@pytest.mark.parametrize("door", TAKES_AN_IMAGE)
def test_no_function_takes_what_is_no_image(many_layers, folder, monkeypatch, door, bad):
    monkeypatch.setattr("nst_lessons.optimize.Evaluator.evaluate", never)
    if bad == "nothing" and door in ("activation", "snapshots' original"):
        pytest.skip("it may be left out")
    image = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    with pytest.raises(ImageError if "start" not in door else ValueError):
        TAKES_AN_IMAGE[door](many_layers, image, BAD_IMAGES[bad](image))
    assert not list(folder.iterdir())


@pytest.mark.parametrize("bad", ["bytes", "grey", "no batch", "a name", "nothing"])
def test_a_network_refuses_shapes_and_types_but_no_values(tiny_backbone, small_image, bad):
    """Lesson 1 gives it wrong values on purpose."""
    with pytest.raises(ImageError):
        tiny_backbone(BAD_IMAGES[bad](small_image), STYLE)
    assert tiny_backbone(255 * small_image, STYLE).keys() == set(STYLE)
    with pytest.raises(ImageError, match=r"torch.float64; expected torch.float32"):
        tiny_backbone(small_image.double(), STYLE)


@pytest.mark.parametrize(
    "call",
    [
        lambda net, image: reconstruct_content(net, image, "relu2_1"),
        lambda net, image: reconstruct_style(net, image),
        lambda net, image: maximise_activation(net, "conv2_1", 1),
        lambda net, image: layer_sensitivity(net, image, {}, STYLE),
        lambda net, image: explore_preprocessing(image, net),
        lambda net, image: explore_features(net, image),
        lambda net, image: explore_content(net, image),
        lambda net, image: explore_style(net, image),
        lambda net, image: explore_statistics(net, {"painting": image}),
        lambda net, image: explore_atlas(net),
        lambda net, image: explore_transfer(net),
        lambda net, image: explore_recipes(net, image, image),
    ],
)
def test_a_name_is_no_network(small_image, call):
    with pytest.raises(TypeError, match="a Backbone is wanted, not 'compact'; load_backbone"):
        call("compact", small_image)


WRONG_OPTIONS = {
    "optimizer": "newton",
    "learning_rate": -1.0,
    "coordinates": "fourier",
    "stop": 5,
    "snapshots": 3,
    "callback": "print",
    "checkpoint": 7,
    "checkpoint_every": float("nan"),
}
WRONG_TRANSFERS = WRONG_OPTIONS | {
    "content_layers": "relu2_1",
    "style_layers": {"relu1_1": -1.0},
    "alpha": -1.0,
    "beta": float("nan"),
    "tv": "1",
    "tv_power": 0.5,
    "start": "photograph",
    "steps": 1.5,
    "seed": None,
}


@pytest.mark.parametrize("recipe", [None, "hannover", "keras_prisma"])
@pytest.mark.parametrize(("option", "value"), WRONG_TRANSFERS.items())
def test_a_wrong_option_of_a_transfer_is_named(many_layers, monkeypatch, recipe, option, value):
    monkeypatch.setattr("nst_lessons.optimize.Evaluator.evaluate", never)
    image = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    with pytest.raises(ValueError, match=option.removesuffix("s").split("_")[-1]):
        style_transfer(many_layers, image, image, recipe=recipe, **{option: value})


@pytest.mark.parametrize(("option", "value"), WRONG_OPTIONS.items())
@pytest.mark.parametrize("kind", ["content", "style", "activation", "own"])
def test_a_wrong_option_of_any_run_is_named(tiny_backbone, small_image, monkeypatch, kind, option, value):
    monkeypatch.setattr("nst_lessons.optimize.Evaluator.evaluate", never)
    runs = {
        "content": lambda **options: reconstruct_content(tiny_backbone, small_image, "relu2_1", **options),
        "style": lambda **options: reconstruct_style(tiny_backbone, small_image, STYLE, **options),
        "activation": lambda **options: maximise_activation(tiny_backbone, "conv2_1", 1, start=small_image, **options),
        "own": lambda **options: optimize_image(small_image, never, **options),
    }
    with pytest.raises(ValueError, match=option.removesuffix("s").split("_")[-1]):
        runs[kind](**{option: value})
    with pytest.raises(TypeError, match="stepz"):
        runs[kind](stepz=3)


@pytest.mark.parametrize("text", ["garbage", ""])
def test_a_garbage_checkpoint_is_refused_before_a_network_is_loaded(folder, monkeypatch, small_image, text):
    Path("run").write_text(text)
    monkeypatch.setattr("nst_lessons.transfer.load_backbone", never)
    with pytest.raises(ValueError, match="damaged or no checkpoint"):
        style_transfer("vgg19", small_image, small_image, recipe="hannover", checkpoint="run")
    # It may be somebody's weights or photo: no advice to delete it without a thought.
    with pytest.raises(ValueError, match="choose another path or, if it is a checkpoint, delete it"):
        optimize_image(small_image, never, checkpoint="run")
    assert Path("run").read_text() == text


def test_names_in_one_string_are_shown_as_a_list(tiny_backbone, small_image):
    for text in ("relu1_1,relu2_1", " relu1_1, relu2_1 "):
        with pytest.raises(ValueError, match=r"write \['relu1_1', 'relu2_1'\]"):
            reconstruct_style(tiny_backbone, small_image, text)


def test_wrong_statistics_tv_octaves_and_seeds_are_named(tiny_backbone, small_image):
    for option, value in {"tv": -1.0, "octaves": 10**9, "steps": 0, "seed": "0", "seed ": 2**64}.items():
        with pytest.raises(ValueError, match=option.strip()):
            reconstruct_content(tiny_backbone, small_image, "relu2_1", **{option.strip(): value})
    with pytest.raises(ValueError, match="statistic must be a function, not 'gram'"):
        reconstruct_style(tiny_backbone, small_image, STYLE, statistic="gram")
    with pytest.raises(ValueError, match="unknown layer 3"):
        tiny_backbone(small_image, [3])
    with pytest.raises(ValueError, match=r"write \['relu1_1'\]"):
        tiny_backbone(small_image, "relu1_1")


def channel_spread(image: Tensor) -> float:
    return float((image.amax(1) - image.amin(1)).max())


@pytest.mark.parametrize("options", [{}, {"optimizer": "adam"}, {"optimizer": "scipy"}, {"coordinates": FOURIER}])
@pytest.mark.parametrize("start", ["noise", "grey"])
def test_grey_stays_grey(start, options):
    network = load_backbone("compact")
    photo, painting = (
        torch.rand(1, 1, 32, 40, generator=torch.Generator().manual_seed(seed)).expand(1, 3, -1, -1) for seed in (1, 2)
    )
    shown = []
    common = {"steps": 8, "progress": False, "start": start, "callback": lambda step: shown.append(step.image)}
    result = style_transfer(network, photo, painting, **common, **options)
    assert max(map(channel_spread, [result.image, *shown])) < 1e-6
    assert result.history.totals[-1] < result.history.totals[0]
    coloured = photo.clone()
    coloured[0, 0, 3, 3] = 0.5 * coloured[0, 0, 3, 3] + 0.4
    assert channel_spread(style_transfer(network, coloured, painting, **common, **options).image) > 0.05


@pytest.mark.parametrize("options", [{}, {"coordinates": FOURIER}])
def test_grey_stays_grey_in_reconstructions(options):
    """From noise in colours, which the features alone would leave as specks."""
    network = load_backbone("compact")
    grey, other = (
        torch.rand(1, 1, 32, 40, generator=torch.Generator().manual_seed(seed)).expand(1, 3, -1, -1) for seed in (1, 2)
    )
    coloured = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(3))
    common = {"steps": 4, "progress": False, **options}
    for image in (grey, coloured):
        content = reconstruct_content(network, image, "relu2_1", **common).image
        style = reconstruct_style(network, [other, image], STYLE, **common).image
        assert [channel_spread(made) < 1e-6 for made in (content, style)] == [image is grey] * 2


def test_an_image_that_records_gradients_is_a_photo_without_a_warning(tiny_backbone, small_image):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain, recording = (
            reconstruct_content(tiny_backbone, photo, "relu2_1", steps=2, progress=False).image
            for photo in (small_image.clone(), small_image.requires_grad_())
        )
    assert torch.equal(plain, recording) and not recording.requires_grad


def test_an_overlay_wants_one_channel(small_image):
    with pytest.raises(ValueError, match="one channel"):
        activation_overlay(small_image, torch.ones(1, 2, 3, 4))
    with pytest.raises(ImageError):
        activation_overlay(small_image[0], torch.ones(1, 1, 3, 4))
