"""Visualise: against values known by hand, and autograd as an oracle of who sees what."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nst_lessons import Backbone, total_variation
from nst_lessons.visualize import (
    activation_overlay,
    layer_sensitivity,
    maximise_activation,
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


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 4, 5)])
def test_top_channels_want_one_item(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"features have shape \(1, C, H, W\)"):
        top_channels(torch.zeros(shape), 1)


def test_top_channels_want_a_count() -> None:
    with pytest.raises(ValueError, match="count must be at least 1, not 0"):
        top_channels(torch.zeros(1, 3, 2, 2), 0)


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


def test_maximising_raises_the_activation_tenfold_and_leaves_the_start_alone(tiny_backbone: Backbone) -> None:
    start = 0.5 + 0.01 * torch.randn(1, 3, 12, 18, generator=torch.Generator().manual_seed(3))
    before = start.clone()
    for layer, channel in (("conv1_1", 2), ("conv2_2", 1)):
        result = maximise_activation(tiny_backbone, layer, channel, start=start, octaves=1, tv=0, progress=False)
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
    image = maximise_activation(backbone, "conv1_1", 1, size=20, tv=0, progress=False).image
    red, green, blue = image[0].mean((1, 2))
    assert red > 0.99 and green < 0.01 and blue > 0.99


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


def test_octaves_end_at_the_full_size(tiny_backbone: Backbone) -> None:
    result = maximise_activation(tiny_backbone, "conv2_1", 0, size=30, steps=2, octaves=4, progress=False)
    assert result.image.shape == (1, 3, 30, 30)
    assert result.history.stages == [0, 2, 4, 6]


def test_one_interrupt_ends_all_octaves(tiny_backbone: Backbone) -> None:
    def interrupt(step) -> None:
        if step.index == 3:
            raise KeyboardInterrupt

    result = maximise_activation(tiny_backbone, "conv2_1", 0, size=30, steps=3, callback=interrupt, progress=False)
    assert result.interrupted
    assert len(result.history.losses) == 4
    assert result.image.shape == (1, 3, 30, 30)


def test_random_jitter_cannot_be_resumed(tiny_backbone: Backbone, tmp_path) -> None:
    with pytest.raises(ValueError, match="random jitter cannot be resumed"):
        maximise_activation(tiny_backbone, "conv2_1", 0, checkpoint=tmp_path / "run.pt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "conv7_1", "channel": 0}, "unknown layer 'conv7_1'"),
        ({"layer": "conv2_1", "channel": 6}, "conv2_1 has channels 0 to 5, not 6"),
        ({"layer": "conv2_1", "channel": -1}, "conv2_1 has channels 0 to 5, not -1"),
        ({"layer": "conv2_1", "channel": 0, "octaves": 0}, "octaves must be at least 1, not 0"),
    ],
)
def test_maximising_refuses_what_is_not_there(tiny_backbone: Backbone, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        maximise_activation(tiny_backbone, **arguments)
