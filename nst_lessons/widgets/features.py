"""The explorer of lesson 2: any channel of any layer, at any place."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as widgets
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torchvision.utils import make_grid

from nst_lessons.images import check_image, per_channel
from nst_lessons.network import Backbone, check_network
from nst_lessons.visualize import activation_overlay, receptive_field_box, selective_channels, top_channels
from nst_lessons.widgets.layout import Panels, explorer, helped, paragraph

SHOWN = 4  # of the strongest channels, and of the most selective
TILE = 78  # the side of their pictures, in pixels
YELLOW = (1.0, 0.85, 0.3)


def explore_features(backbone: Backbone, photo: Tensor) -> widgets.VBox:
    """Lesson 2: any channel of any layer over the photo, and what the value at a place sees.

    Args:
        backbone: gives the features, of all layers in one forward pass.
        photo: ``(1, 3, H, W)`` in [0, 1].
    """
    check_network(backbone)
    check_image(photo, "the photo")
    layers = [layer for layer in backbone.layers if backbone.stride[layer] <= min(photo.shape[-2:])]
    with torch.no_grad():
        features = {layer: maps.cpu() for layer, maps in backbone(photo, layers).items()}
    first = "relu3_1" if "relu3_1" in layers else layers[-1]
    layer = helped(
        widgets.Dropdown(options=layers, value=first, description="layer"),
        "conv: before the ReLU; relu: after it; pool: at the end of a block",
    )
    channel = helped(widgets.IntSlider(description="channel"), "which of the layer's channels")
    row = helped(widgets.IntSlider(description="row"), "of the value whose frame and gradient are shown")
    column = helped(widgets.IntSlider(description="column"), "of the value whose frame and gradient are shown")
    strongest = helped(
        widgets.Button(description="strongest channel", icon="arrow-up"), "the channel with the largest mean"
    )
    selective = helped(
        widgets.Button(description="most selective channel", icon="bullseye"),
        "the channel whose peak is highest above its mean",
    )

    def follow(moved: str) -> None:
        """A layer comes with its strongest channel, a channel with the place of its peak."""
        maps = features[layer.value]
        if moved == "layer":
            channel.max, row.max, column.max = (side - 1 for side in maps.shape[1:])
            channel.value = top_channels(maps, 1)[0]
        if moved in ("layer", "channel"):
            row.value, column.value = peak(maps[:, channel.value])

    def go_to_strongest(_: widgets.Button) -> None:
        channel.value = top_channels(features[layer.value], 1)[0]

    def go_to_selective(_: widgets.Button) -> None:
        if found := selective_channels(features[layer.value], 1):  # a silent layer has none
            channel.value = found[0]

    def render(layer: str, channel: int, row: int, column: int) -> tuple[Panels, str]:
        return render_features(backbone, photo, features, layer=layer, channel=channel, place=(row, column))

    follow("layer")
    strongest.on_click(go_to_strongest)
    selective.on_click(go_to_selective)
    controls = {"layer": layer, "channel": channel, "row": row, "column": column}
    return explorer(render, controls, [strongest, selective], follow)


def render_features(
    backbone: Backbone,
    photo: Tensor,
    features: Mapping[str, Tensor],
    *,
    layer: str,
    channel: int,
    place: tuple[int, int] | None = None,
) -> tuple[Panels, str]:
    """One channel's activation, what one of its values sees, and the layer's most telling channels.

    Args:
        backbone: that the features are from.
        photo: ``(1, 3, H, W)`` in [0, 1].
        features: ``{layer: (1, C, h, w)}`` of the photo.
        layer: which layer.
        channel: which of its C channels.
        place: ``(row, column)`` of the channel's h x w values; by default that of the largest.
    """
    maps = features[layer]
    activation = maps[:, channel : channel + 1]
    row, column = place or peak(activation)
    value = float(activation[0, 0, row, column])
    top, left, bottom, right = receptive_field_box(backbone, layer, (row, column), (photo.shape[-2], photo.shape[-1]))
    lit = activation_overlay(photo, activation)
    lit[..., [top, bottom - 1], left:right] = 1
    lit[..., top:bottom, [left, right - 1]] = 1
    seen = pixel_gradient(backbone, photo, layer, channel, (row, column))[..., top:bottom, left:right]
    largest = float(seen.abs().max())
    strong = float((seen.abs().amax(1) > largest / 10).float().mean())
    ranking = top_channels(maps, maps.shape[1])
    strongest, selective = ranking[:SHOWN], selective_channels(maps, SHOWN)
    moved = (
        f"{layer}, channel {channel}, row {row}, column {column}: the value is {value:.3g}. "
        f"It sees columns {left} to {right - 1} and rows {top} to {bottom - 1} of the photo, the white frame. "
        + (
            f"Its gradient exceeds a tenth of its maximum at {strong:.0%} of those pixels. "
            if largest
            else "It sends no gradient to the pixels: behind a ReLU, a value of 0 sends none. "
        )
        + f"Channel {channel}: values from {activation.min():.3g} to {activation.max():.3g}, "
        f"mean {activation.mean():.3g}, above zero at {(activation > 0).float().mean():.0%} of the positions; "
        f"number {ranking.index(channel) + 1} of {len(ranking)} by mean activation."
    )
    field, stride = backbone.receptive_field[layer], backbone.stride[layer]
    facts = (
        f"{layer} has shape {tuple(maps.shape)}: {maps.shape[1]} channels of {maps.shape[3]} x {maps.shape[2]} values, "
        f"one every {stride} pixel{'s' if stride > 1 else ''}, each seeing {field} x {field} pixels of the photo. "
        f"The strongest channels: {', '.join(map(str, strongest))}. "
        f"The most selective: {', '.join(map(str, selective)) or 'none'}."
    )
    panels = {
        "the photo, lit where the channel is active": lit,
        f"{layer}, channel {channel}; row {row}, column {column}": with_cross(grey(activation), row, column),
        "gradient of this value within the frame": signed_square(seen, field),
        "strongest, then most selective channels": tiles(maps, strongest, selective),
    }
    return panels, paragraph(moved, live=True) + paragraph(facts)


def peak(activation: Tensor) -> tuple[int, int]:
    """The row and the column of the largest value, of ``(..., h, w)`` with one map."""
    row, column = divmod(int(activation.argmax()), activation.shape[-1])
    return row, column


def pixel_gradient(backbone: Backbone, photo: Tensor, layer: str, channel: int, place: tuple[int, int]) -> Tensor:
    """The gradient of one value of a layer by the photo's pixels, ``(1, 3, H, W)``.

    It is zero beyond the receptive field, so the network only runs on that. Pooling must see the same cells as in the
    whole photo, so its part begins at a multiple of the stride.
    """
    height, width = photo.shape[-2:]
    top, left, bottom, right = receptive_field_box(backbone, layer, place, (height, width))
    stride = backbone.stride[layer]
    top, left = top - top % stride, left - left % stride
    pixels = photo[..., top:bottom, left:right].clone().requires_grad_()
    value = backbone(pixels, [layer])[layer][0, channel, place[0] - top // stride, place[1] - left // stride]
    (gradient,) = torch.autograd.grad(value, pixels)
    return pad(gradient, (left, width - right, top, height - bottom))


def grey(activation: Tensor) -> Tensor:
    """Maps ``(B, 1, h, w)`` as images ``(B, 3, h, w)``, each from its smallest value (black) to its largest (white)."""
    low, high = activation.amin((2, 3), keepdim=True), activation.amax((2, 3), keepdim=True)
    return ((activation - low) / (high - low).clamp_min(1e-12)).expand(-1, 3, -1, -1)


def with_cross(image: Tensor, row: int, column: int) -> Tensor:
    """The image with one pixel's row and column tinted yellow, and the pixel itself left as it is."""
    tinted, yellow = image.clone(), per_channel(YELLOW, image)
    for line in (tinted[..., row : row + 1, :], tinted[..., :, column : column + 1]):
        line.lerp_(yellow, 0.4)
    tinted[..., row, column] = image[..., row, column]
    return tinted


def signed_square(values: Tensor, side: int) -> Tensor:
    """``(1, 3, h, w)`` as an image of a side's square: mid-grey is 0, and the largest absolute value black or white."""
    height, width = values.shape[-2:]
    image = 0.5 + 0.5 * values / values.abs().max().clamp_min(1e-12)
    up, across = (side - height) // 2, (side - width) // 2
    return pad(image, (across, side - width - across, up, side - height - up), value=0.5)


def tiles(maps: Tensor, *rows: list[int]) -> Tensor:
    """Rows of channels as one image; a row that has too few is filled up with grey."""
    pictures = [
        pad(grey(maps[0, channels].unsqueeze(1)), (0, 0, 0, 0, 0, 0, 0, SHOWN - len(channels)), value=0.5)
        for channels in rows
    ]
    small = interpolate(torch.cat(pictures), (TILE, TILE), mode="area")
    return make_grid(small, nrow=SHOWN, padding=2, pad_value=0.5).unsqueeze(0)
