"""The explorer of lesson 1: what the network is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

import ipywidgets as widgets
import torch
from torch import Tensor

from nst_lessons.images import MEAN, deprocess, per_channel, preprocess, resize
from nst_lessons.network import Backbone
from nst_lessons.visualize import layer_sensitivity
from nst_lessons.weight_files import load_backbone
from nst_lessons.widgets.layout import PANEL, SIZES, Panels, explorer, paragraph, slider

# What the network is given, when all is well and when not: (image, convention) -> its input.
MISTAKES: dict[str, Callable[[Tensor, str], Tensor]] = {
    "none": preprocess,
    "channels swapped": lambda image, convention: preprocess(image.flip(1), convention),
    "0 to 255 instead of 0 to 1": lambda image, convention: preprocess(255 * image, convention),
    "means swapped": lambda image, convention: preprocess(
        image + per_channel(MEAN, image) - per_channel(MEAN[::-1], image), convention
    ),
    "no normalisation": lambda image, convention: image,
    "the other convention": lambda image, convention: preprocess(
        image, "caffe" if convention == "torchvision" else "torchvision"
    ),
}


def explore_preprocessing(photo: Tensor, backbone: Backbone | None = None) -> widgets.VBox:
    """Lesson 1: what the network is given, for a size, a convention and a deliberate mistake.

    Args:
        photo: ``(1, 3, H, W)`` in [0, 1].
        backbone: whose features are compared; by default the compact one.
    """
    network = backbone or load_backbone()
    height, width = photo.shape[-2:]
    largest = max(height, width)
    smallest = max(network.stride.values()) * largest / min(height, width)
    sizes = [size for size in SIZES if smallest <= size < largest] + [largest]
    controls = {
        "size": slider("size", sizes, sizes[-1]),
        "antialias": widgets.Checkbox(value=True, description="antialias"),
        "convention": widgets.Dropdown(options=["torchvision", "caffe"], description="convention"),
        "mistake": widgets.Dropdown(options=list(MISTAKES), description="mistake"),
    }
    return explorer(lambda **settings: render_preprocessing(network, photo, **settings), controls)


@torch.no_grad()
def render_preprocessing(
    backbone: Backbone, photo: Tensor, *, size: int, antialias: bool, convention: str, mistake: str
) -> tuple[Panels, str]:
    """The photo, the image that a network takes its input for, and how far this puts its features wrong.

    Args:
        backbone: a network that was trained in the convention, as far as this lesson is concerned.
        photo: ``(1, 3, H, W)`` in [0, 1].
        size: the longer side that it is given, in pixels.
        antialias: see `nst_lessons.images.resize`.
        convention: "torchvision" or "caffe".
        mistake: one of `MISTAKES`.
    """
    x = MISTAKES[mistake](resize(photo, size, antialias=antialias), convention)
    # Whatever is in its input, the network reads it by the convention.
    seen = deprocess(x, convention)
    layers = backbone.layers_by_block("relu", 1)
    changes = layer_sensitivity(backbone, resize(photo, size), {"seen": seen}, layers)["seen"]
    height, width = x.shape[-2:]
    text = (
        f"Convention {convention}, mistake: {mistake}, {'with' if antialias else 'without'} antialiasing. "
        f"The network is given {width} x {height} pixels, with values from {x.min():.3g} to {x.max():.3g}, "
        f"mean {x.mean():.3g}. Its features are wrong by "
        f"{', '.join(f'{change:.2f} ({layer})' for layer, change in changes.items())}, "
        "where 0 is right and 1, a full bar, is as wrong as no features at all."
    )
    return {"the photo": photo, "what the network takes it for": seen}, paragraph(text) + bars(changes)


def bars(values: Mapping[str, float]) -> str:
    """Names and bars, full at 1, as HTML; the numbers belong in the text."""
    rows = (
        f'<div style="line-height: 1.5; display: flex; align-items: center"><span style="width: 64px">{escape(name)}'
        f'</span><div style="height: 10px; width: {PANEL * min(value, 1):.0f}px; background: currentColor"></div></div>'
        for name, value in values.items()
    )
    return f'<div aria-hidden="true">{"".join(rows)}</div>'
