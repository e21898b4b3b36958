"""Styles: one painting or several, their statistics, and the photo's features: what a transfer aims at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nst_lessons.checks import check_number, shown
from nst_lessons.images import EXACT, check_image, resize
from nst_lessons.losses import Statistics, gram_matrix, layer_statistics
from nst_lessons.network import Backbone
from nst_lessons.stages import Size, scaled_size

Layers = Iterable[str] | Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Style:
    """A painting ``(1, 3, H, W)`` in [0, 1], and its weight among others.

    `mask`, where in the picture the style is meant for, is not used yet.
    """

    image: Tensor
    weight: float = 1.0
    mask: Tensor | None = None


Styles = Tensor | Style | Sequence[Tensor | Style]


def as_styles(styles: Styles) -> list[Style]:
    """A list of `Style`, of what may be a single painting.

    Raises:
        ImageError: for what is no image.
        ValueError: for no painting, a weight that is not positive, or a mask.
    """
    several = list(styles) if isinstance(styles, Sequence) and not isinstance(styles, str) else [styles]
    found = [style if isinstance(style, Style) else Style(style) for style in several]
    if not found:
        raise ValueError("at least one painting is needed")
    for style in found:
        check_image(style.image, "the painting", EXACT)  # the network says which dtype it wants
        check_number("a style's weight", style.weight, 0)
        if style.weight == 0:
            raise ValueError("a style's weight must be more than 0; leave the style out")
        if style.mask is not None:
            raise ValueError("styles with masks are not supported yet; leave the mask out")
    return found


def style_sizes(styles: Iterable[Style], scale: float = 1.0, smallest: int = 1) -> tuple[Size, ...]:
    """The paintings' sizes ``(H, W)``, scaled."""
    return tuple(scaled_size((style.image.shape[-2], style.image.shape[-1]), scale, smallest) for style in styles)


def scaled_styles(styles: Sequence[Style], scale: float, smallest: int) -> list[Style]:
    """The same styles with smaller paintings: see `nst_lessons.stages.scaled_size`."""
    sizes = style_sizes(styles, scale, smallest)
    return [replace(style, image=resize(style.image, size)) for style, size in zip(styles, sizes, strict=True)]


def layer_weights(layers: Layers) -> dict[str, float]:
    """A dict as it stands; names get equal weights that sum to 1 (Gatys et al. take 1/5 for five layers).

    Raises:
        ValueError: for a single string, no layers, or a weight that is no number or negative.
    """
    if isinstance(layers, str):
        several = [name.strip() for name in layers.split(",")]
        raise ValueError(f"layers must be a list of names or a dict of weights; write {shown(several)}")
    if not isinstance(layers, Iterable):
        raise ValueError(f"layers must be a list of names or a dict of weights, not {shown(layers)}")
    names = list(dict.fromkeys(layers))
    if not names:
        raise ValueError("at least one layer is needed")
    if not isinstance(layers, Mapping):
        return dict.fromkeys(names, 1 / len(names))
    for layer, weight in layers.items():
        check_number(f"the weight of layer {layer}", weight, 0)
    return dict(layers)


@torch.no_grad()
def content_target(network: Backbone, photo: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """The photo's features, ``{layer: (1, C, H, W)}``."""
    return network(photo, layers)


@torch.no_grad()
def style_target(
    network: Backbone, paintings: Styles, layers: Iterable[str], statistic: Statistics = gram_matrix
) -> dict[str, Tensor]:
    """The statistics of a painting's features, ``{layer: (1, C, C)}`` for Gram matrices; of several, the weighted mean.

    Args:
        network: gives the features.
        paintings: ``(1, 3, H, W)``, a `Style`, or a list of either.
        layers: layer names.
        statistic: see `nst_lessons.losses.style_loss`.
    """
    layers, styles = list(layers), as_styles(paintings)
    whole = sum(style.weight for style in styles)
    target: dict[str, Tensor] = {}
    for style in styles:
        statistics = layer_statistics(network(style.image, layers), layers, statistic)
        for layer, value in statistics.items():
            share = style.weight / whole * value
            target[layer] = target[layer] + share if layer in target else share
    return target
