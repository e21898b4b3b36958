"""The explorer of lesson 2 without a front end: what is drawn for given settings, and that every control matters."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from widget_tree import assert_changes, control, words

from nst_lessons import Backbone
from nst_lessons.visualize import activation_overlay, receptive_field_box, top_channels
from nst_lessons.widgets import explore_features, features, render_features
from nst_lessons.widgets.features import peak, pixel_gradient, signed_square, tiles, with_cross


def test_channel_is_drawn_from_black_to_white_with_a_cross_at_the_place(
    tiny_backbone: Backbone, small_image: Tensor
) -> None:
    maps = torch.zeros(1, 2, 3, 4)
    maps[0, 0], maps[0, 1, 0, 1], maps[0, 1, 2, 0] = 9.0, 4.0, 1.0
    panels, text = render_features(tiny_backbone, small_image, {"pool2": maps}, layer="pool2", channel=1)
    drawn, expected = panels["pool2, channel 1; row 0, column 1"], (maps[:, 1:] / 4).expand(1, 3, 3, 4)
    torch.testing.assert_close(drawn[..., 1:, [0, 2, 3]], expected[..., 1:, [0, 2, 3]])
    assert torch.equal(drawn[..., 0, 1], expected[..., 0, 1])
    yellow = torch.tensor([[0.4, 0.34, 0.12]])
    torch.testing.assert_close(drawn[..., 0, 3], yellow)
    torch.testing.assert_close(drawn[..., 2, 1], yellow)
    field = tiny_backbone.receptive_field["pool2"]
    for phrase in (
        "shape (1, 2, 3, 4): 2 channels of 4 x 3 values, one every 4 pixels",
        f"seeing {field} x {field} pixels",
        "from 0 to 4, mean 0.417, above zero at 17% of the positions; number 2 of 2",
        "The strongest channels: 0, 1. The most selective: 1, 0.",
        "row 0, column 1: the value is 4.",
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


def test_silent_channel_is_black_and_sends_no_gradient(tiny_backbone: Backbone, small_image: Tensor) -> None:
    maps = {"relu1_1": torch.zeros(1, 4, 12, 17)}
    black = torch.zeros_like(small_image)
    panels, text = render_features(tiny_backbone, black, maps, layer="relu1_1", channel=3)
    picture = panels["relu1_1, channel 3; row 0, column 0"]
    assert picture[..., 1:, 1:].count_nonzero() == 0
    assert "The most selective: none." in text


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("layer", ["conv1_1", "pool1", "conv2_2", "pool2"])
def test_gradient_is_that_of_the_whole_photo(photo: Tensor, layer: str, pooling: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Backbone([[4, 4], [6, 6]], pooling=pooling).requires_grad_(False)
    image = photo[..., :39, :54]  # sides that the strides do not divide
    rows, columns = (side // backbone.stride[layer] for side in image.shape[-2:])
    channel = top_channels(backbone(image, [layer])[layer], 1)[0]
    assert pixel_gradient(backbone, image, layer, channel, (rows // 2, 1)).any()
    for place in ((0, 0), (rows - 1, columns - 1), (rows // 2, 1), (3, columns // 2)):
        pixels = image.clone().requires_grad_()
        backbone(pixels, [layer])[layer][0, channel, place[0], place[1]].backward()
        found = pixel_gradient(backbone, image, layer, channel, place)
        torch.testing.assert_close(found, pixels.grad)
        top, left, bottom, right = receptive_field_box(backbone, layer, place, (39, 54))
        assert found.count_nonzero() == found[..., top:bottom, left:right].count_nonzero()


def test_gradient_of_the_first_layer_is_its_filter(tiny_backbone: Backbone) -> None:
    grey = torch.full((1, 3, 12, 17), 0.5)
    with torch.no_grad():
        maps = tiny_backbone(grey, ["conv1_1"])
    panels, text = render_features(tiny_backbone, grey, maps, layer="conv1_1", channel=1, place=(5, 9))
    kernel = tiny_backbone.conv1_1.weight[1:2] / torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    torch.testing.assert_close(panels["gradient of this value within the frame"], signed_square(kernel, 3))
    strong = (kernel.abs().amax(1) > kernel.abs().max() / 10).float().mean()
    assert f"exceeds a tenth of its maximum at {strong:.0%} of those pixels" in text


def test_value_of_zero_behind_a_relu_sends_no_gradient(tiny_backbone: Backbone, small_image: Tensor) -> None:
    with torch.no_grad():
        maps = tiny_backbone(small_image, ["relu2_1"])
    dark = tuple((maps["relu2_1"][0, 2] == 0).nonzero()[0].tolist())
    panels, text = render_features(tiny_backbone, small_image, maps, layer="relu2_1", channel=2, place=dark)
    assert "It sends no gradient" in text
    assert (panels["gradient of this value within the frame"] == 0.5).all()


def test_signed_values_stand_in_the_middle_of_a_square() -> None:
    values = torch.tensor([[-2.0, 1.0]]).expand(1, 3, 1, 2)
    square = signed_square(values, 4)
    assert square.shape == (1, 3, 4, 4)
    assert square[0, 0].flatten().tolist() == [0.5] * 5 + [0.0, 0.75] + [0.5] * 9


def test_cross_leaves_the_place_as_it_is(small_image: Tensor) -> None:
    drawn = with_cross(small_image, 3, 8)
    changed = (drawn != small_image).any(1)[0]
    assert changed[3].sum() == 16 and changed[:, 8].sum() == 11 and changed.sum() == 27


def test_tiles_stand_in_the_order_of_their_channels() -> None:
    maps = torch.zeros(1, 3, 2, 2)
    maps[0, 0, 0, 0] = maps[0, 1, 1, 1] = maps[0, 2, 0, 1] = 1.0
    image = tiles(maps, [2, 0], [1])
    corners = {(0, 0): (0, 1), (0, 1): (0, 0), (1, 0): (1, 1)}  # which quarter of which tile is white
    for (row, column), (down, right) in corners.items():
        tile = image[0, 0, 2 + 80 * row :, 2 + 80 * column :][:78, :78]
        quarters = tile[[20, 20, 60, 60], [20, 60, 20, 60]].tolist()
        assert [n for n, value in enumerate(quarters) if value == 1] == [2 * down + right]
    assert (image[..., 82:, 82:] == 0.5).all()


def test_every_control_of_features_matters(tiny_backbone: Backbone, photo: Tensor) -> None:
    explorer = explore_features(tiny_backbone, photo)
    layer, channel = control(explorer, "layer"), control(explorer, "channel")
    row, column = control(explorer, "row"), control(explorer, "column")
    assert list(layer.options) == list(tiny_backbone.layers)
    for name in ("relu1_1", "conv2_2"):
        assert_changes(explorer, lambda name=name: setattr(layer, "value", name))
        assert channel.max == tiny_backbone.channels[name] - 1
        assert (row.max, column.max) == tuple(side // tiny_backbone.stride[name] - 1 for side in (40, 56))
        assert "number 1 of" in words(explorer)
    strongest, place = channel.value, (row.value, column.value)
    assert_changes(explorer, lambda: setattr(row, "value", (place[0] + 1) % 20))
    assert_changes(explorer, lambda: setattr(column, "value", (place[1] + 1) % 28))
    assert_changes(explorer, lambda: setattr(channel, "value", (strongest + 1) % 6))
    assert f"channel {(strongest + 1) % 6}, row {row.value}, column {column.value}:" in words(explorer)
    assert_changes(explorer, control(explorer, "strongest channel").click)
    assert (channel.value, row.value, column.value) == (strongest, *place)
    channel.value = (strongest + 1) % 6
    control(explorer, "most selective channel").click()
    assert f"The most selective: {channel.value}, " in words(explorer)


def test_features_are_rendered_once_a_change(tiny_backbone: Backbone, photo: Tensor, count_renders: Callable) -> None:
    calls = count_renders(features, "render_features")
    explorer = explore_features(tiny_backbone, photo)
    layer, channel = control(explorer, "layer"), control(explorer, "channel")
    assert len(calls) == 1
    with torch.no_grad():
        maps = tiny_backbone(photo, ["relu2_1", "relu1_1"])

    def settings(name: str, number: int) -> dict[str, object]:
        return {"layer": name, "channel": number, "place": peak(maps[name][:, number])}

    strongest = {name: int(maps[name].mean((0, 2, 3)).argmax()) for name in maps}
    layer.value = "relu2_1"
    channel.value = 5  # a layer of 4 channels has none of this number
    calls.clear()
    layer.value = "relu1_1"
    layer.value = "relu2_1"
    assert calls == [settings(name, strongest[name]) for name in ("relu1_1", "relu2_1")]
    other = (strongest["relu2_1"] + 1) % 6
    channel.value = other
    control(explorer, "strongest channel").click()
    assert calls[2:] == [settings("relu2_1", other), settings("relu2_1", strongest["relu2_1"])]
    control(explorer, "strongest channel").click()
    assert len(calls) == 4  # there is nothing to change
    control(explorer, "row").value += 1 if control(explorer, "row").value == 0 else -1
    assert len(calls) == 5


def test_layers_too_deep_for_the_photo_are_not_offered(tiny_backbone: Backbone) -> None:
    explorer = explore_features(tiny_backbone, torch.rand(1, 3, 2, 9, generator=torch.Generator().manual_seed(0)))
    assert control(explorer, "layer").options[-1] == "relu2_2"  # pool2 halves twice
