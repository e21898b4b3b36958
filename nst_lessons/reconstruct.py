"""Reconstructions: what layers keep of a photo, and what statistics keep of a painting, each as one call.

Each makes the stages of a run, and `run_stages` walks through them; the options of `optimize_image` (``optimizer``,
``stop``, ``snapshots``, ``callback``, ``progress``, ``checkpoint``, ...) can be given to each.

Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks" (CVPR 2016).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from torch import Tensor
from typing_extensions import Unpack

from nst_lessons.checks import check_callable, check_number, shown
from nst_lessons.coordinates import PIXELS, in_grey
from nst_lessons.history import Result
from nst_lessons.images import MEAN, check_image, is_grey, noise_like, per_channel, resize
from nst_lessons.losses import LossFunction, Statistics, content_loss, gram_matrix, style_loss, total_variation
from nst_lessons.network import Backbone, check_network
from nst_lessons.optimize import run_stages
from nst_lessons.options import RunOptions, check_options
from nst_lessons.stages import Size, Stage, octave_scales, scaled_size
from nst_lessons.styles import (
    Layers,
    Styles,
    as_styles,
    content_target,
    layer_weights,
    scaled_styles,
    style_sizes,
    style_target,
)

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
STARTS = ("photo", "noise", "painting", "grey")
GREY_NOISE = 0.04  # of white noise: one or two of 255 levels


def start_image(start: str | Tensor, photo: Tensor, painting: Tensor | None = None, seed: int = 0) -> Tensor:
    """The image to begin with, in the photo's size: "photo", "noise", "painting", "grey", or an image.

    "grey" is ImageNet's mean colour with a trace of noise: a network's input of almost 0.

    Raises:
        ValueError: for another word, or an image of another size.
    """
    if isinstance(start, Tensor):
        check_image(start, "the start")
        if start.shape != photo.shape:
            raise ValueError(
                f"start has shape {tuple(start.shape)}, the photo {tuple(photo.shape)}; resize one of them"
            )
        return start
    noise = noise_like(photo, seed)
    if start == "photo":
        return photo
    if start == "noise":
        return noise
    if start == "grey":
        return per_channel(MEAN, photo) + GREY_NOISE * (noise - 0.5)
    if start == "painting" and painting is not None:
        return resize(painting, image_size(photo))
    raise ValueError(f"unknown start {shown(start)}; choose from {', '.join(STARTS)}, or give an image")


def kept_grey(options: RunOptions, images: Iterable[Tensor]) -> RunOptions:
    """The options of a run after these images; where all are grey, so is what it makes.

    Features alone would leave specks of colour. Errors are those of `check_options`.
    """
    check_options(options)
    if not all(map(is_grey, images)):
        return options
    return {**options, "coordinates": in_grey(options.get("coordinates", PIXELS))}


def image_size(image: Tensor) -> Size:
    """An image's ``(height, width)``."""
    return image.shape[-2], image.shape[-1]


def smallest_side(network: Backbone, layers: Iterable[str]) -> int:
    """The shortest side, in pixels, of an image that reaches the deepest of these layers."""
    return max(network.stride[network.canonical(layer)] for layer in layers)


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
    **options: Unpack[RunOptions],
) -> Result:
    """An image with the photo's features at one layer: what the layer still knows of the photo.

    Gatys et al. (2016), section 2.1 and figure 1; before them Mahendran and Vedaldi (2015).

    Args:
        backbone: gives the features.
        photo: ``(1, 3, H, W)`` in [0, 1]; the result of a grey one is grey.
        layer: whose features are matched.
        start: ``"noise"``, ``"photo"``, or an image of the photo's shape.
        tv: weight of the total variation; without it, noise that pooling averages away stays in the picture.
        octaves: how many sizes, each twice the one before; 3 begin at a quarter of the photo's size, and get much
            closer than 1.
        steps: at most so many, of each octave.
        seed: of the noise.

    Raises:
        ImageError: for what is no image.
        TypeError: for an option that does not exist, or a network that is none.
        ValueError: for an unknown layer, start or option's value, or a number of octaves that is not 1 to 12.
    """
    check_network(backbone)
    check_image(photo, "the photo")
    check_number("tv", tv, 0)
    options = kept_grey(options, [photo])

    def loss_at(size: Size) -> LossFunction:
        target = content_target(backbone, resize(photo, size), [layer])

        def loss_fn(image: Tensor) -> dict[str, Tensor]:
            losses = {"content": content_loss(backbone(image, target), target)}
            return losses | ({"tv": tv * total_variation(image)} if tv else {})

        return loss_fn

    smallest = smallest_side(backbone, [layer])
    sizes = [scaled_size(image_size(photo), scale, smallest) for scale in octave_scales(octaves)]
    stages = [Stage(size, steps, partial(loss_at, size), backbone, (layer,)) for size in sizes]
    return run_stages(stages, start_image(start, photo, seed=seed), **options)


def reconstruct_style(
    backbone: Backbone,
    painting: Styles,
    layers: Layers = STYLE_LAYERS,
    *,
    start: str | Tensor = "noise",
    statistic: Statistics = gram_matrix,
    tv: float = 0.0,
    octaves: int = 1,
    steps: int = 150,
    seed: int = 0,
    **options: Unpack[RunOptions],
) -> Result:
    """An image with the painting's statistics: its texture, without its arrangement.

    Gatys et al. (2016), section 2.2 and figure 1; Gatys, Ecker and Bethge, "Texture Synthesis Using Convolutional
    Neural Networks" (2015).

    Args:
        backbone: gives the features.
        painting: ``(1, 3, H, W)`` in [0, 1], a `Style`, or a list of either; the result has the first one's size,
            and is grey where all are.
        layers: a list (equal weights that sum to 1) or ``{layer: weight}``.
        start: ``"noise"``, ``"painting"``, or an image of the painting's shape.
        statistic: what of a layer's features makes the style, see `style_loss`.
        tv: weight of the total variation; 0.1 takes out most of the noise that pooling averages away.
        octaves: how many sizes, each twice the one before; 3 begin at a quarter of the painting's size, and get much
            closer than 1. Deep layers see all of a small painting: its arrangement may come back in part.
        steps: at most so many, of each octave.
        seed: of the noise.

    Raises:
        ImageError: for what is no image.
        TypeError: for an option that does not exist, or a network that is none.
        ValueError: for an unknown layer, start or option's value, or a number of octaves that is not 1 to 12.
    """
    check_network(backbone)
    check_number("tv", tv, 0)
    for function in statistic.values() if isinstance(statistic, Mapping) else [statistic]:
        check_callable("statistic", function)
    weights, styles = layer_weights(layers), as_styles(painting)
    options = kept_grey(options, (style.image for style in styles))
    smallest = smallest_side(backbone, weights)

    def loss_at(scale: float) -> LossFunction:
        target = style_target(backbone, scaled_styles(styles, scale, smallest), weights, statistic)

        def loss_fn(image: Tensor) -> dict[str, Tensor]:
            losses = {"style": style_loss(backbone(image, target), target, statistic, weights=weights)}
            return losses | ({"tv": tv * total_variation(image)} if tv else {})

        return loss_fn

    def stage(scale: float) -> Stage:
        sizes = style_sizes(styles, scale, smallest)
        return Stage(sizes[0], steps, partial(loss_at, scale), backbone, tuple(weights), sizes)

    first = styles[0].image
    return run_stages(
        [stage(scale) for scale in octave_scales(octaves)], start_image(start, first, first, seed), **options
    )
