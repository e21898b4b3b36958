"""Visualise: against values known by hand, and autograd as an oracle of who sees what."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nst_lessons import PIXELS, Backbone, load_backbone, selective_channels, total_variation
from nst_lessons.visualize import (
    activation_overlay,
    layer_sensitivity,
    maximise_activation,
    quantile,
    random_view,
    receptive_field_box,
    top_channels,
)


def test_top_channels_go_by_mean_activation_strongest_first() -> None:
    features = torch.tensor([1.0, -9.0, 3.0, 2.0]).view(1, 4, 1, 1).expand(1, 4, 2, 3).clone()
    features[0, 1, 0, 0] = 40.0  # one large value: mean -5/6
    assert top_channels(features, 3) == [2, 3, 0]
    assert top_channels(features, 99) == [2, 3, 0, 1]


def test_equal_channels_stay_in_order() -> None:
    assert top_channels(torch.ones(1, 5, 2, 2), 5) == [0, 1, 2, 3, 4]


def test_selective_channels_go_by_peak_over_mean_and_silent_ones_are_never_chosen() -> None:
    features = torch.ones(1, 5, 2, 4)
    features[0, 1, 0, 0] = 9.0  # peak 9, mean 2
    features[0, 2] = 0.0
    features[0, 3] *= 100.0
    features[0, 3, 1, 2] = 500.0  # peak 500, mean 150
    features[0, 4] = -1.0
    features[0, 4, 0, 0] = 6.9  # mean below 0
    assert selective_channels(features, 2) == [1, 3]
    assert selective_channels(features, 99) == [1, 3, 0]
    assert selective_channels(torch.zeros(1, 5, 2, 4), 3) == []


def test_several_images_are_one_large_one() -> None:
    features = torch.rand(3, 6, 4, 5, generator=torch.Generator().manual_seed(1)) ** 4
    side_by_side = features.permute(1, 2, 0, 3).reshape(1, 6, 4, 15)
    for ranked in (top_channels, selective_channels):
        assert ranked(features, 6) == ranked(side_by_side, 6)
        assert ranked(features, 6) != ranked(features[:1], 6)


@pytest.mark.parametrize("ranked", [top_channels, selective_channels])
def test_channels_are_ranked_of_features_by_a_count(ranked) -> None:
    for shape in ((3, 4, 5), (0, 3, 4, 5)):
        with pytest.raises(
            ValueError, match=r"of the shape \(B, C, H, W\), not a Tensor of the shape \(" + str(shape[0])
        ):
            ranked(torch.zeros(shape), 1)
    with pytest.raises(ValueError, match="count must be an integer of at least 1, not 0"):
        ranked(torch.zeros(1, 3, 2, 2), 0)


def test_overlay_is_dark_where_a_channel_is_silent_and_lit_where_it_is_active(small_image: Tensor) -> None:
    activation = torch.full((1, 1, 12, 17), -3.0)
    activation[..., 2, 8:14] = 5.0
    activation[..., 7, 4] = 1.0  # half-way
    lamp = torch.tensor([[1.0, 0.85, 0.3]])
    overlay = activation_overlay(small_image, activation)
    lit = 0.5 * small_image + 0.5 * lamp[..., None, None]
    torch.testing.assert_close(overlay[..., 0, 0], 0.3 * small_image[..., 0, 0])
    torch.testing.assert_close(overlay[..., 2, 11], lit[..., 2, 11])
    torch.testing.assert_close(overlay[..., 7, 4], (0.15 * small_image + 0.5 * lit)[..., 7, 4])


@given(values=st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=40), fraction=st.floats(0, 1))
def test_quantiles_are_torchs(values: list[float], fraction: float) -> None:
    found, expected = quantile(torch.tensor(values), fraction), torch.tensor(values).quantile(fraction)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_overlay_is_right_way_up(small_image: Tensor) -> None:
    activation = torch.zeros(1, 1, 3, 4)
    activation[..., 0, 3] = 1.0  # top right
    light = activation_overlay(torch.ones_like(small_image), activation)[0, 0]
    assert light.shape == (12, 17)
    assert light[0, 16] == light.max() == 1.0
    assert light[11].max() == light[:, 0].max() == pytest.approx(0.3)


def test_one_peak_leaves_the_rest_of_a_map_visible() -> None:
    activation = torch.ones(1, 1, 20, 30)
    activation[..., :10, :] = 0.0
    activation[..., 4, 5] = 1000.0
    light = activation_overlay(torch.zeros(1, 3, 20, 30), activation)[0, 0]
    assert light[15, 15] == light[4, 5] == 0.5


def test_overlay_of_a_silent_channel_is_dark_and_finite(small_image: Tensor) -> None:
    torch.testing.assert_close(activation_overlay(small_image, torch.zeros(1, 1, 3, 4)), 0.3 * small_image)


def test_overlay_wants_one_channel(small_image: Tensor) -> None:
    with pytest.raises(ValueError, match="one channel"):
        activation_overlay(small_image, torch.zeros(1, 2, 3, 4))


def seen_pixels(backbone: Backbone, layer: str, position: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Where the image has any influence on a value, according to autograd: (H, W), bool."""
    image = torch.ones(1, 3, *size, requires_grad=True)
    backbone(image, [layer])[layer][0, :, position[0], position[1]].sum().backward()
    assert image.grad is not None
    return image.grad[0].sum(0) != 0


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_receptive_field_box_is_where_autograd_finds_influence(data: st.DataObject) -> None:
    backbone = Backbone([[2, 2], [3], [2, 2]])
    for name, parameter in backbone.named_parameters():
        # Biases keep every ReLU open, and positive weights let no influence cancel out.
        torch.nn.init.constant_(parameter, 100.0 if name.endswith("bias") else 0.1)
    layer = data.draw(st.sampled_from(backbone.layers), "layer")
    size = data.draw(st.tuples(st.integers(8, 50), st.integers(8, 50)), "size")
    stride = backbone.stride[layer]
    row = data.draw(st.integers(0, size[0] // stride - 1), "row")
    column = data.draw(st.integers(0, size[1] // stride - 1), "column")

    seen = seen_pixels(backbone, layer, (row, column), size)
    top, left, bottom, right = receptive_field_box(backbone, layer, (row, column), size)

    box = torch.zeros(size, dtype=torch.bool)
    box[top:bottom, left:right] = True
    assert 0 <= top < bottom <= size[0] and 0 <= left < right <= size[1]
    assert torch.equal(seen, box)


def test_receptive_field_boxes_of_vgg16_known_by_hand() -> None:
    vgg16 = Backbone([[1, 1], [1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]])
    assert receptive_field_box(vgg16, "conv1_1", (100, 50), (200, 300)) == (99, 49, 102, 52)
    assert receptive_field_box(vgg16, "pool1", (50, 50), (200, 300)) == (98, 98, 104, 104)  # 6 x 6 around 2 x 2
    top, left, bottom, right = receptive_field_box(vgg16, "relu5_3", (30, 20), (1000, 700))
    assert (bottom - top, right - left) == (196, 196)


def test_receptive_field_box_knows_keras_names_and_refuses_others(tiny_backbone: Backbone) -> None:
    by_alias = receptive_field_box(tiny_backbone, "block2_conv1", (2, 3), (12, 17))
    assert by_alias == receptive_field_box(tiny_backbone, "relu2_1", (2, 3), (12, 17))
    with pytest.raises(ValueError, match="unknown layer 'relu9_1'"):
        receptive_field_box(tiny_backbone, "relu9_1", (0, 0), (12, 17))


@pytest.mark.parametrize("position", [(6, 0), (0, 8), (-1, 0)])
def test_receptive_field_box_refuses_positions_outside(tiny_backbone: Backbone, position: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="relu2_1 has 6 x 8 positions"):
        receptive_field_box(tiny_backbone, "relu2_1", position, (12, 17))


def test_sensitivity_is_the_relative_distance_of_features(tiny_backbone: Backbone, small_image: Tensor) -> None:
    changed = (small_image + 0.1).clamp(0, 1)
    layers = ["conv1_1", "relu2_2"]
    sensitivity = layer_sensitivity(tiny_backbone, small_image, {"same": small_image, "lighter": changed}, layers)
    assert list(sensitivity) == ["same", "lighter"]
    assert sensitivity["same"] == {"conv1_1": 0.0, "relu2_2": 0.0}
    for layer in layers:
        F, G = tiny_backbone(small_image, [layer])[layer], tiny_backbone(changed, [layer])[layer]
        assert sensitivity["lighter"][layer] == pytest.approx(float((G - F).norm() / F.norm()), rel=1e-4)
        assert sensitivity["lighter"][layer] > 0.01


def test_sensitivity_wants_images_of_one_shape(
    tiny_backbone: Backbone, small_image: Tensor, other_image: Tensor
) -> None:
    with pytest.raises(ValueError, match=r"other: shape \(1, 3, 14, 10\), the image has \(1, 3, 12, 17\)"):
        layer_sensitivity(tiny_backbone, small_image, {"other": other_image}, ["relu1_1"])


def mean_activation(backbone: Backbone, layer: str, channel: int, image: Tensor) -> float:
    return float(backbone(image, [layer])[layer][0, channel].mean())


@pytest.mark.parametrize(("layer", "channel"), [("conv1_1", 2), ("relu1_2", 1), ("pool1", 1), ("conv2_2", 1)])
def test_maximising_raises_the_activation_tenfold_and_leaves_the_start_alone(
    layer: str, channel: int, tiny_backbone: Backbone
) -> None:
    start = 0.5 + 0.01 * torch.randn(1, 3, 12, 18, generator=torch.Generator().manual_seed(3))
    before = start.clone()
    result = maximise_activation(tiny_backbone, layer, channel, start=start, tv=0, progress=False)
    gained = mean_activation(tiny_backbone, layer, channel, result.image) - mean_activation(
        tiny_backbone, layer, channel, start
    )
    noise = (torch.rand(64, 3, 12, 18, generator=torch.Generator().manual_seed(4)) - 0.5) * 0.2 + start
    spread = float(tiny_backbone(noise, [layer])[layer][:, channel].mean((1, 2)).std())
    assert gained > 10 * spread  # ten times what chance changes
    assert result.image.shape == start.shape
    assert 0 <= result.image.min() <= result.image.max() <= 1
    assert torch.equal(start, before)


def test_maximising_finds_the_colour_that_a_filter_looks_for() -> None:
    backbone = Backbone([[2]], convention="torchvision")
    with torch.no_grad():
        backbone.conv1_1.weight.zero_()
        backbone.conv1_1.weight[1, :, 1, 1] = torch.tensor([1.0, -1.0, 0.5])  # red and blue, no green
    start = torch.full((1, 3, 20, 20), 0.6)
    options = {"start": start, "coordinates": PIXELS, "tv": 0, "progress": False}
    result = maximise_activation(backbone, "conv1_1", 1, **options)
    magenta = torch.tensor([1.0, 0.0, 1.0]).view(1, 3, 1, 1).expand_as(start)
    assert (result.image - magenta).abs().mean() < 5e-3  # corners are seldom seen
    before, after = (backbone(image, ["conv1_1"])["conv1_1"] for image in (start, magenta))
    scale = (before.square().mean() * after.square().mean()) ** 0.25
    assert result.losses["activation"] == pytest.approx(-float(after[:, 1].mean() / scale), rel=1e-2)


def test_total_variation_makes_the_image_smoother(tiny_backbone: Backbone) -> None:
    rough, smooth = (
        maximise_activation(tiny_backbone, "conv2_1", 0, size=24, tv=tv, progress=False).image for tv in (0.0, 1000.0)
    )
    assert total_variation(smooth) < total_variation(rough) / 10


def test_maximising_is_repeatable_and_seeds_matter(tiny_backbone: Backbone) -> None:
    one, again, other = (
        maximise_activation(tiny_backbone, "conv2_1", 3, size=16, steps=5, seed=seed, progress=False).image
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("size", [(40, 64), (57, 39)])
def test_a_view_is_near_the_image_and_turns_without_a_squeeze(size: tuple[int, int]) -> None:
    """Where each pixel is taken from, as two ramps tell; in the middle, where no mirror reaches."""
    height, width = size
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    ramps = torch.stack([rows, columns, rows])[None].float()
    angles = []
    for seed in range(40):
        view = random_view(ramps, torch.Generator().manual_seed(seed))
        assert view.shape == ramps.shape
        middle = view[0, :, height // 2 - 1 : height // 2 + 2, width // 2 - 1 : width // 2 + 2]
        down, right = middle[:2].diff(dim=1)[:, 0, 1], middle[:2].diff(dim=2)[:, 1, 0]
        assert float(down @ right) == pytest.approx(0, abs=1e-3)
        assert float(down.norm()) == pytest.approx(float(right.norm()), abs=1e-3)
        assert 0.85 <= float(down.norm()) <= 1.15
        angles.append(math.degrees(math.atan2(float(right[0]), float(right[1]))))
    assert max(map(abs, angles)) <= 15
    assert min(angles) < -5 and max(angles) > 5


def test_a_run_with_random_views_cannot_be_resumed(tiny_backbone: Backbone, tmp_path) -> None:
    with pytest.raises(ValueError, match="random views cannot be resumed"):
        maximise_activation(tiny_backbone, "conv2_1", 0, checkpoint=tmp_path / "run.pt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "conv7_1", "channel": 0}, "unknown layer 'conv7_1'"),
        ({"layer": "conv2_1", "channel": 6}, "conv2_1 has channels 0 to 5, not 6"),
        ({"layer": "conv2_1", "channel": -1}, "conv2_1 has channels 0 to 5, not -1"),
    ],
)
def test_maximising_refuses_what_is_not_there(tiny_backbone: Backbone, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        maximise_activation(tiny_backbone, **arguments)


@pytest.fixture
def colour_filters(tiny_backbone: Backbone) -> Backbone:
    """conv1_1 whose channels 0, 1 and 2 are red, green and blue."""
    with torch.no_grad():
        tiny_backbone.conv1_1.weight.zero_()
        tiny_backbone.conv1_1.bias.zero_()
        for channel in range(3):
            tiny_backbone.conv1_1.weight[channel, channel, 1, 1] = 1.0
    return tiny_backbone


@pytest.mark.parametrize(
    ("channels", "up", "down"),
    [
        (0, "red", ""),
        ({0: -1.0}, "", "red"),
        ([0, 2], "red blue", ""),
        ({0: 1.0, 1: -0.5}, "red", "green"),
        (range(3), "red green blue", ""),
    ],
)
def test_several_channels_and_the_negative_of_one(colour_filters: Backbone, channels, up: str, down: str) -> None:
    start = torch.full((1, 3, 24, 24), 0.5)
    options = {"start": start, "coordinates": PIXELS, "tv": 0, "steps": 40, "progress": False}
    means = maximise_activation(colour_filters, "conv1_1", channels, **options).image.mean((0, 2, 3))
    for n, colour in enumerate(["red", "green", "blue"]):
        expected = 0.9 if colour in up.split() else 0.1 if colour in down.split() else 0.5
        assert float(means[n]) == pytest.approx(expected, abs=0.12)


@pytest.mark.parametrize(("layer", "position"), [("conv3_1", (6, 16)), ("conv4_1", (3, 8))])
def test_one_position_is_excited_where_it_is(layer: str, position: tuple[int, int]) -> None:
    backbone = load_backbone("compact")
    result = maximise_activation(backbone, layer, 5, position=position, size=96, steps=40, progress=False)
    activation = backbone(result.image, [layer])[layer][0, 5]
    rows, columns = (slice(place - 2, place + 3) for place in position)  # views are shifted, so it is no single point
    assert activation[rows, columns].mean() > 3 * activation.mean().abs()


@pytest.mark.parametrize("layer", ["relu2_1", "pool2"])
def test_a_channel_that_is_silent_on_the_start_is_named(tiny_backbone: Backbone, layer: str) -> None:
    with torch.no_grad():
        for conv in ("conv2_1", "conv2_2"):
            tiny_backbone.get_submodule(conv).bias[4] = -0.6
    conv = "conv2_1" if layer == "relu2_1" else "conv2_2"
    with pytest.raises(ValueError, match=f"{layer} is silent on the start in channel 4, .*; {conv} has one"):
        maximise_activation(tiny_backbone, layer, 4, size=24, progress=False)
    result = maximise_activation(tiny_backbone, conv, 4, size=24, steps=20, progress=False)
    assert result.losses["activation"] < result.history.losses[0]["activation"]
    maximise_activation(tiny_backbone, layer, [4, *range(4)], size=24, steps=2, progress=False)  # others are awake


def test_a_channel_that_is_silent_at_the_position_is_named(tiny_backbone: Backbone, small_image: Tensor) -> None:
    """Elsewhere it is awake, but at the position there is no slope to follow: the result would be plain grey."""
    maps = tiny_backbone(small_image, ["relu2_1"])["relu2_1"][0]
    channel, *silent = ((maps == 0) & maps.any((1, 2), keepdim=True)).nonzero()[0].tolist()
    awake = divmod(int(maps[channel].argmax()), maps.shape[2])
    run = partial(maximise_activation, tiny_backbone, "relu2_1", channel, start=small_image, steps=1, progress=False)
    with pytest.raises(ValueError, match=rf"in channel {channel} at \({silent[0]}, {silent[1]}\), .*; conv2_1 has one"):
        run(position=tuple(silent))
    run(position=awake)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channel": []}, "at least one channel"),
        ({"channel": "3"}, "not '3'"),
        ({"channel": [0, 9]}, "not 9"),
        ({"channel": {0: float("nan")}}, "the weight of channel 0 must be a number"),
        ({"position": (12, 0)}, r"conv2_1 has 12 x 12 positions on this image; \(12, 0\) is not one"),
        ({"position": 3}, "3 is not one"),
        ({"size": 10**6}, "pixels are too many"),
        ({"size": 0}, "size must be an integer"),
        ({"optimizer": "newton"}, "unknown optimizer 'newton'"),
    ],
)
def test_wrong_channels_positions_and_sizes_are_named(tiny_backbone: Backbone, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        maximise_activation(tiny_backbone, **({"layer": "conv2_1", "channel": 1, "size": 24} | options))
