"""Recipes: the reconstructions and the transfer of Gatys, Ecker and Bethge, each as one call.

Every recipe is `optimize_image` with a loss function; its options (``optimizer``, ``stop``, ``snapshots``,
``callback``, ``progress``, ...) can be given to each.

Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks" (CVPR 2016).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from nst_lessons.estimate import announce
from nst_lessons.images import MEAN, ImageSource, load_image, noise_like, per_channel, resize
from nst_lessons.losses import content_loss, gram_matrix, style_loss, total_variation
from nst_lessons.network import Backbone
from nst_lessons.optimize import LossFunction, Result, optimize_image
from nst_lessons.published import Recipe, find_recipe, recipe_network, shaped_painting, transfer_settings
from nst_lessons.weight_files import load_backbone

Layers = Iterable[str] | Mapping[str, float]

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_LAYERS = ("relu4_2",)
STARTS = ("photo", "noise", "painting", "grey")
GREY_NOISE = 0.04  # of white noise: one or two of 255 levels
FULL_SIZE_CHANNELS = 512  # of the papers' VGGs
WARM_STEPS = 80  # of each octave
WARM_SIZE = 192  # pixels; the longer side of the smallest octave is less than twice this
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
    """The image to begin with, in the photo's size: "photo", "noise", "painting", "grey", or an image.

    "grey" is ImageNet's mean colour with a trace of noise: a network's input of almost 0.

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
    if start == "grey":
        return per_channel(MEAN, photo) + GREY_NOISE * (noise_like(photo, seed) - 0.5)
    if start == "painting" and painting is not None:
        return resize(painting, (photo.shape[-2], photo.shape[-1]))
    raise ValueError(f"unknown start {start!r}; choose from {', '.join(STARTS)}, or give an image")


def small_first(
    image: Tensor,
    goal: Tensor,
    loss_at: Callable[[Tensor], LossFunction],
    octaves: int,
    smallest: int,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Result:
    """Optimise at growing sizes, each twice the one before; what was found small, enlarged, is the next start.

    A large plain area, far from the right colour, changes features only a little, and pixel by pixel the walk takes
    for ever; at a quarter of the size it is found in a few steps.

    Args:
        image: the start, ``(1, 3, H, W)``.
        goal: the photo or painting, of the image's shape.
        loss_at: gives the loss function for the goal at some size.
        octaves: how many sizes; the last one is the goal's.
        smallest: no side becomes shorter than so many pixels.
        checkpoint: of the last octave, which takes nearly all of the time; the others are walked again.
        **options: go to `optimize_image`.

    Returns:
        The last octave's `Result`, or that of the octave in which the walk was interrupted, enlarged.

    Raises:
        ValueError: for fewer than one octave.
    """
    if octaves < 1:
        raise ValueError(f"octaves must be at least 1, not {octaves}")
    full = goal.shape[-2], goal.shape[-1]
    for octave in reversed(range(octaves)):
        height, width = (min(side, max(smallest, round(side / 2**octave))) for side in full)
        result = optimize_image(
            resize(image, (height, width)),
            loss_at(resize(goal, (height, width))),
            checkpoint=None if octave else checkpoint,
            **options,
        )
        image = result.image
        if result.interrupted:
            break
    return replace(result, image=resize(image, full))


def smallest_side(backbone: Backbone, layers: Iterable[str]) -> int:
    """The shortest side, in pixels, of an image that reaches the deepest of these layers."""
    return max(backbone.stride[backbone.canonical(layer)] for layer in layers)


def reconstruct_content(
    backbone: Backbone,
    photo: Tensor,
    layer: str,
    *,
    start: str | Tensor = "noise",
    tv: float = 1.0,
    octaves: int = 1,
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
        tv: weight of the total variation; without it, noise that pooling averages away stays in the picture.
        octaves: how many sizes, each twice the one before; 3 begin at a quarter of the photo's size, and get much
            closer than 1.
        steps: at most so many, of each octave.
        seed: of the noise.
        **options: go to `optimize_image`.

    Returns:
        The last octave's `Result`.

    Raises:
        ValueError: for an unknown layer, start or option's value, or fewer than one octave.
    """
    announce(backbone, photo, [layer], steps, **options)

    def loss_at(photo: Tensor) -> LossFunction:
        target = content_target(backbone, photo, [layer])

        def loss_fn(image: Tensor) -> dict[str, Tensor]:
            losses = {"content": content_loss(backbone(image, target), target)}
            return losses | ({"tv": tv * total_variation(image)} if tv else {})

        return loss_fn

    image = start_image(start, photo, seed=seed)
    return small_first(image, photo, loss_at, octaves, smallest_side(backbone, [layer]), steps=steps, **options)


def reconstruct_style(
    backbone: Backbone,
    painting: Tensor,
    layers: Layers = STYLE_LAYERS,
    *,
    start: str | Tensor = "noise",
    statistic: Callable[[Tensor], Tensor] = gram_matrix,
    tv: float = 0.0,
    octaves: int = 1,
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
        tv: weight of the total variation; 0.1 takes out most of the noise that pooling averages away.
        octaves: how many sizes, each twice the one before; 3 begin at a quarter of the painting's size, and get much
            closer than 1. Deep layers see all of a small painting: its arrangement may come back in part.
        steps: at most so many, of each octave.
        seed: of the noise.
        **options: go to `optimize_image`.

    Returns:
        The last octave's `Result`.

    Raises:
        ValueError: for an unknown layer, start or option's value, or fewer than one octave.
    """
    weights = layer_weights(layers)
    announce(backbone, painting, weights, steps, **options)

    def loss_at(painting: Tensor) -> LossFunction:
        target = style_target(backbone, painting, weights, statistic)

        def loss_fn(image: Tensor) -> dict[str, Tensor]:
            losses = {"style": style_loss(backbone(image, target), target, statistic, weights=weights)}
            return losses | ({"tv": tv * total_variation(image)} if tv else {})

        return loss_fn

    image = start_image(start, painting, painting, seed)
    return small_first(image, painting, loss_at, octaves, smallest_side(backbone, weights), steps=steps, **options)


def with_recipes(transfer: Callable[..., Result]) -> Callable[..., Result]:
    """Let a transfer follow a published recipe: its row takes the place of the defaults, and options change the row."""

    @functools.wraps(transfer)
    def follow(
        backbone: Backbone | None,
        photo: Tensor,
        painting: Tensor,
        *,
        recipe: str | Recipe | None = None,
        **options: Any,
    ) -> Result:
        if recipe is None:
            return transfer(backbone, photo, painting, **options)
        options = {"warm_start": False} | options  # the write-ups had none
        for layers in options.keys() & {"content_layers", "style_layers"}:
            options[layers] = layer_weights(options[layers])
        changes = {field.name: options.pop(field.name) for field in dataclasses.fields(Recipe) if field.name in options}
        row = find_recipe(recipe, **changes)
        backbone = backbone or load_backbone(recipe_network(row), pooling=row.pooling)
        painting = shaped_painting(row, photo, painting)
        return transfer(backbone, photo, painting, **transfer_settings(row, backbone, photo, painting) | options)

    return follow


@with_recipes
def style_transfer(
    backbone: Backbone | None,
    photo: Tensor,
    painting: Tensor,
    *,
    recipe: str | Recipe | None = None,
    content_layers: Layers = CONTENT_LAYERS,
    style_layers: Layers = STYLE_LAYERS,
    alpha: float = 1.0,
    beta: float = 25.0,
    tv: float = 15.0,
    tv_power: float = 1.0,
    start: str | Tensor = "photo",
    warm_start: bool | None = None,
    steps: int = 100,
    seed: int = 0,
    **options: Any,
) -> Result:
    """The photo's content in the painting's style: ``alpha L_content + beta L_style + tv L_tv``.

    Gatys et al. (2016), equation 7, with relative losses: a weight means the same at every layer of every network.

    With a ``recipe`` the published losses take their place, and its row in `nst_lessons.published.PUBLISHED` that of
    the defaults. Options given beside it win; weights are then in the write-up's own units, and converted with the
    others.

    Args:
        backbone: gives the features. None, with a recipe, means the recipe's own network if its weights are in torch's
            cache, else the default one, which is said.
        photo: ``(1, 3, H, W)`` in [0, 1]; the result has its size.
        painting: ``(1, 3, H', W')`` in [0, 1], of any size; its brush strokes keep their size in pixels. Most recipes
            stretch it to the photo's shape.
        recipe: ``"surma"``, ``"shrimal"``, ``"bits_to_brains"``, ``"hannover"``, ``"keras_prisma"``,
            ``"keras_prisma_2"``, ``"gatys2016"``, or a `Recipe` of your own.
        content_layers: a list (equal weights that sum to 1) or ``{layer: weight}``.
        style_layers: likewise.
        alpha, beta, tv: weights of content, style and total variation.
        tv_power: see `total_variation`.
        start: ``"photo"``, ``"noise"``, ``"painting"``, ``"grey"``, or an image of the photo's shape.
        warm_start: walk first, from ``start``, on the compact network, from coarse to fine. By default a network as
            wide as the papers' VGGs does so, which saves half of its time or more, unless it follows a recipe; False
            switches it off. A run that goes on from a checkpoint walks its warm start again.
        steps: at most so many, not counting the warm start's.
        seed: of the noise.
        **options: go to `optimize_image`.

    Raises:
        ValueError: for an unknown recipe, layer, start or option's value, for no backbone without a recipe, or an image
            too small for the deepest layer.
    """
    if backbone is None:
        raise ValueError('no backbone; give one, such as load_backbone(), or a recipe, such as recipe="surma"')
    content_weights, style_weights = layer_weights(content_layers), layer_weights(style_layers)
    layers = content_weights | style_weights

    def loss_with(network: Backbone, photo: Tensor, painting: Tensor) -> LossFunction:
        content = content_target(network, photo, content_weights)
        style = style_target(network, painting, style_weights)

        def loss_fn(image: Tensor) -> dict[str, Tensor]:
            features = network(image, content | style)  # one forward pass for all terms
            return {
                "content": alpha * content_loss(features, content, weights=content_weights),
                "style": beta * style_loss(features, style, weights=style_weights),
                "tv": tv * total_variation(image, power=tv_power),
            }

        return loss_fn

    warm_start = is_full_size(backbone) if warm_start is None else warm_start
    cheap = cheap_network(backbone, layers) if warm_start else backbone
    warm_up = (cheap, WARM_STEPS) if warm_start else None
    announce(backbone, photo, layers, steps, painting=painting, warm_up=warm_up, **options)
    image = start_image(start, photo, painting, seed)
    if warm_start:
        warm = warmed_up(
            image, photo, painting, functools.partial(loss_with, cheap), smallest_side(cheap, layers), **options
        )
        if warm.interrupted:
            return warm
        image = warm.image
    return optimize_image(image, loss_with(backbone, photo, painting), steps=steps, **options)


def is_full_size(backbone: Backbone) -> bool:
    """Whether a network is as wide as the papers' VGGs, and a step therefore dear."""
    return max(backbone.channels.values()) >= FULL_SIZE_CHANNELS


def cheap_network(backbone: Backbone, layers: Iterable[str]) -> Backbone:
    """The compact network if it has these layers, else the one at hand."""
    compact = load_backbone("compact", device=backbone.device)
    return compact if {backbone.canonical(layer) for layer in layers} <= set(compact.layers) else backbone


def warmed_up(
    image: Tensor,
    photo: Tensor,
    painting: Tensor,
    loss_with: Callable[[Tensor, Tensor], LossFunction],
    smallest: int,
    progress: bool = True,
    **_: Any,
) -> Result:
    """Transfer small first, on a network whose steps are cheap: a start from where it is not far.

    Gatys, Ecker, Bethge, Hertzmann and Shechtman, "Controlling Perceptual Factors in Neural Style Transfer" (2017),
    section 6, go from coarse to fine.
    """
    height, width = photo.shape[-2:]

    def loss_at(photo: Tensor) -> LossFunction:
        scale = photo.shape[-2] / height
        rows, columns = (max(smallest, round(scale * side)) for side in painting.shape[-2:])
        return loss_with(photo, resize(painting, (rows, columns)))

    octaves = max(1, 1 + int(math.log2(max(height, width) / WARM_SIZE)))
    return small_first(image, photo, loss_at, octaves, smallest, steps=WARM_STEPS, progress=progress)


def apply_style_transfer(
    content_path: ImageSource,
    style_path: ImageSource,
    *,
    size: int = 256,
    painting_size: int | None = None,
    backbone: str | None = None,
    recipe: str | Recipe | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """The whole job: load two images of any kind, transfer, and return all three.

    Args:
        content_path: the photo; anything that `load_image` takes.
        style_path: the painting.
        size: the photo's longer side, in pixels.
        painting_size: the painting's longer side; by default `PAINTING_SCALE` times the photo's.
        backbone: a network's name or path, see `load_backbone`; by default the recipe's own where its weights are at
            hand.
        recipe: a published recipe by name, see `style_transfer`.
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
    network = None if recipe and backbone is None else load_backbone(backbone)
    result = style_transfer(network, content_image, style_image, recipe=recipe, **options)
    return content_image, style_image, result.image
