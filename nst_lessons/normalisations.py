"""Normalisations: what published implementations divide their losses by, and the conversion between them.

Every published loss is ``weight * factor * |x - t|^2`` at each layer; the factors differ by orders of magnitude, so a
weight means nothing without its normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from nst_lessons.checks import check_choice, check_mapping, check_number, shown
from nst_lessons.losses import Weights


class LayerSize(NamedTuple):
    """What a published loss may be divided by, at one layer."""

    channels: int  # N
    positions: int  # M, height times width of the features
    pixels: int  # height times width of the image
    energy: float  # |t|^2 of the target: the photo's features, or the painting's F F^T (not divided by M)


def one_by_energy(size: LayerSize) -> float:
    return 1 / max(size.energy, torch.finfo(torch.float32).tiny)


def one_by_mean(size: LayerSize) -> float:
    return 1 / (size.channels * size.positions)


@dataclass(frozen=True)
class Normalisation:
    """What stands before ``|F - P|^2`` (content) and ``|F F^T - A A^T|^2`` (style) at a layer."""

    style: Callable[[LayerSize], float]
    source: str
    content: Callable[[LayerSize], float] = one_by_mean


NORMALISATIONS = {
    "relative": Normalisation(
        content=one_by_energy,
        style=one_by_energy,
        source="this package: the squared difference by the squared target",
    ),
    "paper": Normalisation(
        content=lambda size: 1 / 2,
        style=lambda size: 1 / (4 * size.channels**2 * size.positions**2),
        source="Gatys et al. (2016), equations 1 and 4: half the sum; Gram matrix not divided",
    ),
    "authors": Normalisation(
        style=lambda size: 1 / (size.channels**2 * size.positions**2),
        source="Gatys' own PyTorch code, TensorFlow's tutorial: means; Gram matrix / M",
    ),
    "johnson": Normalisation(
        style=lambda size: 1 / (size.channels**4 * size.positions**2),
        source="Johnson's neural-style, PyTorch's tutorial, d2l: means; Gram matrix / (N M)",
    ),
    "gordic": Normalisation(
        style=lambda size: 1 / (size.channels**2 * size.positions**2),
        source="Gordic's pytorch-neural-style-transfer: content mean, style sum; Gram matrix / (N M)",
    ),
    "udacity": Normalisation(
        style=lambda size: 1 / (size.channels**3 * size.positions),
        source="Udacity's PyTorch course: means; Gram matrix not divided, its loss / (N M)",
    ),
    "keras": Normalisation(
        content=lambda size: 1.0,
        style=lambda size: 1 / (4 * 3**2 * size.pixels**2),
        source="Keras' example: sums; the image's 3 channels and pixels stand for N and M at every layer",
    ),
}


def convert_weights(
    weights: Weights,
    sizes: Mapping[str, LayerSize],
    term: Literal["content", "style"],
    *,
    source: str,
    to: str = "relative",
) -> dict[str, float]:
    """Weights ``{layer: w}`` that give the same loss, and so the same gradient, under another normalisation.

    Args:
        weights: ``{layer: w}`` as published.
        sizes: of the weights' layers, with the energy of the term that is meant.
        term: ``"content"`` or ``"style"``.
        source: which of `NORMALISATIONS` the weights were published for.
        to: which of `NORMALISATIONS` they shall serve; `content_loss` and `style_loss` are ``"relative"``.

    Raises:
        ValueError: for an unknown normalisation or term, or a layer without a size, or with one that is not positive.
    """
    for name in (source, to):
        check_choice("normalisation", name, NORMALISATIONS)
    check_choice("term", term, ("content", "style"))
    check_mapping("weights", weights)
    check_mapping("sizes", sizes)
    for layer in weights:
        if not isinstance(sizes.get(layer), LayerSize):
            raise ValueError(f"sizes must have a LayerSize for {shown(layer)}, not {shown(sizes.get(layer))}")
        for name, number in sizes[layer]._asdict().items():
            check_number(f"{layer}: {name}", number, 0 if name == "energy" else 1)
    factor, new_factor = (getattr(NORMALISATIONS[name], term) for name in (source, to))
    return {layer: weight * factor(sizes[layer]) / new_factor(sizes[layer]) for layer, weight in weights.items()}
