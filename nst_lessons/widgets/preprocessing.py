"""The explorer of lesson 1: what the network is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor

from nst_lessons.figures import LINES
from nst_lessons.images import MEAN, check_image, deprocess, per_channel, preprocess, resize
from nst_lessons.network import Backbone, check_network
from nst_lessons.visualize import layer_sensitivity
from nst_lessons.weight_files import load_backbone
from nst_lessons.widgets.curves import DASHES, straight, text
from nst_lessons.widgets.layout import PANEL, SIZES, Panels, explorer, helped, paragraph, slider

BINS = 64
PLOT_WIDTH, PLOT_HEIGHT = 2 * PANEL, 120  # of the histograms, in pixels

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
    check_image(photo, "the photo")
    network = load_backbone() if backbone is None else backbone
    check_network(network)
    height, width = photo.shape[-2:]
    largest = max(height, width)
    smallest = max(network.stride.values()) * largest / min(height, width)
    sizes = [size for size in SIZES if smallest <= size < largest] + [largest]
    controls = {
        "size": helped(slider("size", sizes, sizes[-1]), "the longer side that the network is given, in pixels"),
        "antialias": helped(
            widgets.Checkbox(value=True, description="antialias"), "average over pixels where the photo is made smaller"
        ),
        "convention": helped(
            widgets.Dropdown(options=["torchvision", "caffe"], description="convention"),
            "what the network was trained with",
        ),
        "mistake": helped(widgets.Dropdown(options=list(MISTAKES), description="mistake"), "made on purpose"),
    }
    controls["size"].continuous_update = True
    return explorer(lambda **settings: render_preprocessing(network, photo, **settings), controls)


@torch.no_grad()
def render_preprocessing(
    backbone: Backbone, photo: Tensor, *, size: int, antialias: bool, convention: str, mistake: str
) -> tuple[Panels, str]:
    """The photo, the image that a network takes its input for, its channels, and how wrong its features are.

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
    said = (
        f"Convention {convention}, mistake: {mistake}, {'with' if antialias else 'without'} antialiasing. "
        f"The network is given {width} x {height} pixels, with values from {x.min():.3g} to {x.max():.3g}, "
        f"mean {x.mean():.3g}. Its features are wrong by "
        f"{', '.join(f'{change:.2f} ({layer})' for layer, change in changes.items())}, "
        "where 0 is right and 1, a full bar, is as wrong as no features at all."
    )
    words = paragraph(said, live=True) + bars(changes) + histograms(channel_histograms(x, convention))
    return {"the photo": photo, "what the network takes it for": seen}, words


def channel_histograms(x: Tensor, convention: str) -> dict[str, dict[float, float]]:
    """How often which value occurs in a network's input ``(1, 3, H, W)``: ``{channel: {value: share of the pixels}}``.

    Channels are named by the colour that the convention takes them for.
    """
    order = ("red", "green", "blue") if convention == "torchvision" else ("blue", "green", "red")
    span = float(x.min()), float(x.max())
    found = {}
    for colour in ("blue", "red", "green"):  # as the colours of `LINES` follow each other
        channel = x[0, order.index(colour)].numpy()
        counts, edges = np.histogram(channel, BINS, span)
        middles = (edges[1:] + edges[:-1]) / 2
        found[f"read as {colour}"] = dict(zip(middles.tolist(), (counts / channel.size).tolist(), strict=True))
    return found


def histograms(lines: Mapping[str, Mapping[float, float]]) -> str:
    """Lines ``{name: {value: share}}`` as HTML: a drawing of a few kilobytes, made in a millisecond."""
    values = list(next(iter(lines.values())))
    tallest = max(max(line.values()) for line in lines.values())
    base, step = PLOT_HEIGHT - 18, PLOT_WIDTH / (BINS - 1)
    parts = [straight(0, base, PLOT_WIDTH, base, "")]
    for n, (name, line) in enumerate(lines.items()):
        style = f'stroke="{LINES[n]["color"]}" stroke-width="2.5" stroke-dasharray="{DASHES[n]}"'
        heights = (base - (base - 30) * share / tallest for share in line.values())
        points = " ".join(f"{step * i:.1f},{height:.1f}" for i, height in enumerate(heights))
        parts.append(f'<polyline points="{points}" {style}/>')
        parts += [straight(170 * n, 10, 170 * n + 40, 10, style), text(170 * n + 48, 14, name)]
    parts += [
        text(0, PLOT_HEIGHT - 3, f"{values[0]:.3g}"),
        text(PLOT_WIDTH, PLOT_HEIGHT - 3, f"{values[-1]:.3g}", "end"),
    ]
    words = "; ".join(f"{name}: most often {max(line, key=line.__getitem__):.3g}" for name, line in lines.items())
    return (
        f'<svg role="img" aria-label="Values of the network\'s input by channel. {escape(words)}." '
        f'viewBox="0 0 {PLOT_WIDTH} {PLOT_HEIGHT}" width="{PLOT_WIDTH}" fill="none" stroke="currentColor" '
        f'font-size="13" style="display: block; max-width: 100%; height: auto; margin-top: 12px">{"".join(parts)}</svg>'
    )


def bars(values: Mapping[str, float]) -> str:
    """Names and bars, full at 1, as HTML; the numbers belong in the text."""
    rows = (
        f'<div style="line-height: 1.5; display: flex; align-items: center"><span style="width: 64px">{escape(name)}'
        f'</span><div style="height: 10px; width: {PANEL * min(value, 1):.0f}px; background: currentColor"></div></div>'
        for name, value in values.items()
    )
    return f'<div aria-hidden="true">{"".join(rows)}</div>'
