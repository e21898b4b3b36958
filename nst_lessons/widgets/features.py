"""The explorer of lesson 2: any channel of any layer."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as widgets
import torch
from torch import Tensor

from nst_lessons.network import Backbone
from nst_lessons.visualize import activation_overlay, receptive_field_box, top_channels
from nst_lessons.widgets.layout import Panels, explorer, paragraph


def explore_features(backbone: Backbone, photo: Tensor) -> widgets.VBox:
    """Lesson 2: any channel of any layer over the photo.

    Args:
        backbone: gives the features, of all layers in one forward pass.
        photo: ``(1, 3, H, W)`` in [0, 1].
    """
    layers = [layer for layer in backbone.layers if backbone.stride[layer] <= min(photo.shape[-2:])]
    with torch.no_grad():
        features = {layer: maps.cpu() for layer, maps in backbone(photo, layers).items()}
    first = "relu3_1" if "relu3_1" in layers else layers[-1]
    layer = widgets.Dropdown(options=layers, value=first, description="layer")
    channel = widgets.IntSlider(description="channel", continuous_update=False)
    strongest = widgets.Button(description="strongest channel", icon="arrow-up")

    def go_to_strongest(moved: object = "layer") -> None:
        if moved != "channel":
            channel.max = backbone.channels[layer.value] - 1
            channel.value = top_channels(features[layer.value], 1)[0]

    go_to_strongest()
    strongest.on_click(go_to_strongest)
    return explorer(
        lambda **settings: render_features(backbone, photo, features, **settings),
        {"layer": layer, "channel": channel},
        [strongest],
        go_to_strongest,
    )


def render_features(
    backbone: Backbone, photo: Tensor, features: Mapping[str, Tensor], *, layer: str, channel: int
) -> tuple[Panels, str]:
    """One channel's activation, over the photo and by itself, with its shape, receptive field and statistics.

    Args:
        backbone: that the features are from.
        photo: ``(1, 3, H, W)`` in [0, 1].
        features: ``{layer: (1, C, h, w)}`` of the photo.
        layer: which layer.
        channel: which of its C channels.
    """
    maps = features[layer]
    activation = maps[:, channel : channel + 1]
    low, high = map(float, activation.aminmax())
    grey = (activation - low).expand(-1, 3, -1, -1) / max(high - low, 1e-12)
    place = divmod(int(activation.argmax()), activation.shape[-1])
    top, left, bottom, right = receptive_field_box(backbone, layer, place, (photo.shape[-2], photo.shape[-1]))
    lit = activation_overlay(photo, activation)
    lit[..., [top, bottom - 1], left:right] = 1
    lit[..., top:bottom, [left, right - 1]] = 1
    ranking = top_channels(maps, maps.shape[1])
    field, stride = backbone.receptive_field[layer], backbone.stride[layer]
    text = (
        f"{layer} has shape {tuple(maps.shape)}: {maps.shape[1]} channels of {maps.shape[3]} x {maps.shape[2]} values, "
        f"one every {stride} pixel{'s' if stride > 1 else ''}, each seeing {field} x {field} pixels of the photo. "
        f"Channel {channel}: values from {low:.3g} to {high:.3g}, mean {activation.mean():.3g}, "
        f"above zero at {(activation > 0).float().mean():.0%} of the positions; "
        f"number {ranking.index(channel) + 1} of {len(ranking)} by mean activation. "
        f"Its largest value sees columns {left} to {right - 1} and rows {top} to {bottom - 1}: the white frame. "
        f"The strongest channels: {', '.join(map(str, ranking[:5]))}."
    )
    return {"the photo, lit where the channel is active": lit, f"{layer}, channel {channel}": grey}, paragraph(text)
