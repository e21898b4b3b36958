"""Recipes: the reconstructions and the transfer of Gatys, Ecker and Bethge, each as one call.

Every recipe is `optimize_image` with a loss function; its options (``optimizer``, ``stop``, ``snapshots``,
``callback``, ``progress``, ...) can be given to each.

Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks" (CVPR 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from nst_lessons.backbones import Backbone, load_backbone
from nst_lessons.estimate import announce
from nst_lessons.images import ImageSource, load_image, noise_like, resize
from nst_lessons.losses import content_loss, gram_matrix, style_loss, total_variation
from nst_lessons.optimize import Result, optimize_image

Layers = Iterable[str] | Mapping[str, float]

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_LAYERS = ("relu4_2",)
STARTS = ("photo", "noise", "painting")
PAINTING_SCALE = 2  # a painting loaded at twice the photo's size has brush strokes that can be seen


def layer_weights(layers: Layers) -> dict[str, float]:
    """A dict as it stands; names get equal weights that sum to 1 (Gatys et al. take 1/5 for five layers).

    Raises:
        ValueError: for a single string, or no layers.
    """
    if isinstance(layers, str):
        raise ValueError(f"layers must be a list of names or a dict of weights; write [{layers!r}]")
    weights = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 0.0)
    if not weights:
        raise ValueError("at least one layer is wanted")
    return weights if isinstance(layers, Mapping) else dict.fromkeys(weights, 1 / len(weights))


@torch.no_grad()
def content_target(backbone: Backbone, photo: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """The photo's features, ``{layer: (1, C, H, W)}``."""
    return backbone(photo, layers)


@torch.no_grad()
def style_target(
    backbone: Backbone,
    painting: Tensor,
    layers: Iterable[str],
    statistic: Callable[[Tensor], Tensor] = gram_matrix,
) -> dict[str, Tensor]:
    """The statistics of the painting's features, ``{layer: (1, C, C)}`` for Gram matrices."""
    return {layer: statistic(features) for layer, features in backbone(painting, layers).items()}


def start_image(start: str | Tensor, photo: Tensor, painting: Tensor | None = None, seed: int = 0) -> Tensor:
    """The image to begin with, in the photo's size: "photo", "noise", "painting", or an image.

    Raises:
        ValueError: for another word, or an image of another size.
    """
    if isinstance(start, Tensor):
        if start.shape != photo.shape:
            raise ValueError(
                f"start has shape {tuple(start.shape)}, the photo {tuple(photo.shape)}; resize one of them"
            )
        return start
    if start == "photo":
        return photo
    if start == "noise":
        return noise_like(photo, seed)
    if start == "painting" and painting is not None:
        return resize(painting, (photo.shape[-2], photo.shape[-1]))
    raise ValueError(f"unknown start {start!r}; choose from {', '.join(STARTS)}, or give an image")


def reconstruct_content(
    backbone: Backbone,
    photo: Tensor,
    layer: str,
    *,
    start: str | Tensor = "noise",
    tv: float = 0.0,
    steps: int = 150,
    seed: int = 0,
    **options: Any,
) -> Result:
    """An image with the photo's features at one layer: what the layer still knows of the photo.

    Gatys et al. (2016), section 2.1 and figure 1; before them Mahendran and Vedaldi (2015).

    Args:
        backbone: gives the features.
        photo: ``(1, 3, H, W)`` in [0, 1].
        layer: whose features are matched.
        start: ``"noise"``, ``"photo"``, or an image of the photo's shape.
        tv: weight of the total variation.
        steps: at most so many.
        seed: of the noise.
        **options: go to `optimize_image`.

    Raises:
        ValueError: for an unknown layer, start or option's value.
    """
    announce(backbone, photo, [layer], steps, **options)
    target = content_target(backbone, photo, [layer])

    def loss_fn(image: Tensor) -> dict[str, Tensor]:
        losses = {"content": content_loss(backbone(image, target), target)}
        return losses | ({"tv": tv * total_variation(image)} if tv else {})

    return optimize_image(start_image(start, photo, seed=seed), loss_fn, steps=steps, **options)


def reconstruct_style(
    backbone: Backbone,
    painting: Tensor,
    layers: Layers = STYLE_LAYERS,
    *,
    start: str | Tensor = "noise",
    statistic: Callable[[Tensor], Tensor] = gram_matrix,
    tv: float = 0.0,
    steps: int = 150,
    seed: int = 0,
    **options: Any,
) -> Result:
    """An image with the painting's statistics: its texture, without its arrangement.

    Gatys et al. (2016), section 2.2 and figure 1; Gatys, Ecker and Bethge, "Texture Synthesis Using Convolutional
    Neural Networks" (2015).

    Args:
        backbone: gives the features.
        painting: ``(1, 3, H, W)`` in [0, 1].
        layers: a list (equal weights that sum to 1) or ``{layer: weight}``.
        start: ``"noise"``, ``"painting"``, or an image of the painting's shape.
        statistic: what of a layer's features makes the style.
        tv: weight of the total variation.
        steps: at most so many.
        seed: of the noise.
        **options: go to `optimize_image`.

    Raises:
        ValueError: for an unknown layer, start or option's value.
    """
    weights = layer_weights(layers)
    announce(backbone, painting, weights, steps, **options)
    target = style_target(backbone, painting, weights, statistic)

    def loss_fn(image: Tensor) -> dict[str, Tensor]:
        losses = {"style": style_loss(backbone(image, target), target, statistic, weights=weights)}
        return losses | ({"tv": tv * total_variation(image)} if tv else {})

    return optimize_image(start_image(start, painting, painting, seed), loss_fn, steps=steps, **options)


def style_transfer(
    backbone: Backbone,
    photo: Tensor,
    painting: Tensor,
    *,
    content_layers: Layers = CONTENT_LAYERS,
    style_layers: Layers = STYLE_LAYERS,
    alpha: float = 1.0,
    beta: float = 25.0,
    tv: float = 15.0,
    start: str | Tensor = "photo",
    steps: int = 100,
    seed: int = 0,
    **options: Any,
) -> Result:
    """The photo's content in the painting's style: ``alpha L_content + beta L_style + tv L_tv``.

    Gatys et al. (2016), equation 7, with relative losses: a weight means the same at every layer of every network.

    Args:
        backbone: gives the features.
        photo: ``(1, 3, H, W)`` in [0, 1]; the result has its size.
        painting: ``(1, 3, H', W')`` in [0, 1], of any size; its brush strokes keep their size in pixels.
        content_layers: a list (equal weights that sum to 1) or ``{layer: weight}``.
        style_layers: likewise.
        alpha, beta, tv: weights of content, style and total variation.
        start: ``"photo"``, ``"noise"``, ``"painting"``, or an image of the photo's shape.
        steps: at most so many.
        seed: of the noise.
        **options: go to `optimize_image`.

    Raises:
        ValueError: for an unknown layer, start or option's value, or an image too small for the deepest layer.
    """
    content_weights, style_weights = layer_weights(content_layers), layer_weights(style_layers)
    announce(backbone, photo, content_weights | style_weights, steps, painting=painting, **options)
    content = content_target(backbone, photo, content_weights)
    style = style_target(backbone, painting, style_weights)

    def loss_fn(image: Tensor) -> dict[str, Tensor]:
        features = backbone(image, content | style)  # one forward pass for all terms
        return {
            "content": alpha * content_loss(features, content, weights=content_weights),
            "style": beta * style_loss(features, style, weights=style_weights),
            "tv": tv * total_variation(image),
        }

    return optimize_image(start_image(start, photo, painting, seed), loss_fn, steps=steps, **options)


def apply_style_transfer(
    content_path: ImageSource,
    style_path: ImageSource,
    *,
    size: int = 256,
    painting_size: int | None = None,
    backbone: str | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """The whole job: load two images of any kind, transfer, and return all three.

    Args:
        content_path: the photo; anything that `load_image` takes.
        style_path: the painting.
        size: the photo's longer side, in pixels.
        painting_size: the painting's longer side; by default `PAINTING_SCALE` times the photo's.
        backbone: a network's name or path, see `load_backbone`.
        **options: go to `style_transfer`.

    Returns:
        ``(content_image, style_image, target_image)``, each ``(1, 3, H, W)`` in [0, 1].

    Raises:
        ImageError: for an image that cannot be used.
        WeightsError: for weights that cannot be had.
    """
    content_image, style_image = (
        load_image(content_path, size),
        load_image(style_path, painting_size or PAINTING_SCALE * size),
    )
    result = style_transfer(load_backbone(backbone), content_image, style_image, **options)
    return content_image, style_image, result.image
