"""Visualise: what a network's channels respond to; tensors in, tensors out.

Activation maps are drawn by `nst_lessons.plots`; here are the questions about them: which channels are strongest
or most selective, which pixels a value sees, what changes when the image does, and which image excites a channel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate
from typing_extensions import Unpack

from nst_lessons.checks import check_mapping, check_number, shown
from nst_lessons.coordinates import FOURIER
from nst_lessons.history import Result
from nst_lessons.images import check_image, check_images, check_pixels, noise_like, per_channel
from nst_lessons.losses import check_features, relative_error, total_variation
from nst_lessons.network import Backbone, check_network
from nst_lessons.optimize import run_stages
from nst_lessons.options import RunOptions, check_options
from nst_lessons.stages import Stage

Channels = int | Iterable[int] | Mapping[int, float]

FAINT = 0.03  # the noise that a search starts from, in Fourier parameters
TURN, ZOOM, SHIFT = 15.0, 0.15, 16.0  # how far views differ: degrees, a fraction, pixels


def top_channels(features: Tensor, count: int) -> list[int]:
    """The channels with the largest mean activation, strongest first; all of them where there are fewer than `count`.

    Features are ``(B, C, H, W)``, of one image or several. Raises ValueError for another shape, or a count below 1.
    """
    return highest(channel_means(features), count)


def selective_channels(features: Tensor, count: int) -> list[int]:
    """The channels with the highest peak over their mean, so those that answer to little, but to that strongly.

    `top_channels` tends to find those that answer to brightness, which is everywhere. Here a channel that is silent,
    or no more than 0 on average, as may be before a ReLU, is never chosen; so there may be fewer than `count`.

    Features are ``(B, C, H, W)``, of one image or several. Raises ValueError for another shape, or a count below 1.
    """
    means = channel_means(features)
    selectivity = torch.where(means > 0, features.amax((0, 2, 3)) / means, 0)
    return highest(selectivity, count)[: int((means > 0).sum())]


def channel_means(features: Tensor) -> Tensor:
    """Each channel's mean over images and positions, ``(B, C, H, W) -> (C,)``; ValueError for another shape."""
    check_features(features)
    return features.mean((0, 2, 3))


def highest(values: Tensor, count: int) -> list[int]:
    """Where the largest values are, the largest first; ValueError for a count below 1."""
    check_number("count", count, 1, whole=True)
    places: list[int] = values.argsort(descending=True, stable=True)[:count].tolist()
    return places


def activation_overlay(photo: Tensor, activation: Tensor) -> Tensor:
    """The photo darkened, and highlighted where a channel is active: fully from its 99th percentile on.

    The photo, and the result, are ``(1, 3, H, W)`` in [0, 1]; the activation is ``(1, 1, h, w)``, of any range.
    Raises ValueError for another shape.
    """
    check_image(photo, "the photo")
    check_features(activation)
    if activation.shape[:2] != (1, 1):
        raise ValueError(f"one channel (1, 1, h, w) is wanted, not {tuple(activation.shape)}; take maps[:, c : c + 1]")
    low, high = activation.min(), quantile(activation, 0.99)  # a single peak would leave all else in the dark
    active = ((activation - low) / (high - low).clamp_min(torch.finfo(activation.dtype).tiny)).clamp(0, 1)
    active = interpolate(active.to(photo), photo.shape[-2:], mode="bilinear", align_corners=False)
    dark, yellow = 0.3 * photo, per_channel((1.0, 0.85, 0.3), photo)
    return torch.lerp(dark, 0.5 * photo + 0.5 * yellow, active)


def quantile(values: Tensor, fraction: float) -> Tensor:
    """As `torch.quantile`, which computes in float64, as no Apple GPU can, and takes no more than 16 million values."""
    ordered = values.flatten().sort().values
    place = fraction * (len(ordered) - 1)
    return torch.lerp(ordered[math.floor(place)], ordered[math.ceil(place)], place % 1)


def receptive_field_box(
    backbone: Backbone, layer: str, position: tuple[int, int], image_size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The pixels that the value at ``(row, column)`` of a layer sees, of an image of ``(height, width)``.

    Every padded 3x3 convolution looks one step further on both sides, and pooling looks at whole cells, so the field
    lies centrally around the ``stride x stride`` pixels that the value stands for.
    Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019).

    Returns:
        ``(top, left, bottom, right)``, clipped to the image; bottom and right are the first ones outside.

    Raises:
        ValueError: for an unknown layer, or a position outside its map.
    """
    check_network(backbone)
    layer = backbone.canonical(layer)
    if not isinstance(image_size, Sequence) or len(image_size) != 2:
        raise ValueError(f"image_size must be (height, width), not {shown(image_size)}")
    for side in image_size:
        check_number("a side of the image", side, 1, whole=True)
    height, width = image_size
    stride, field = backbone.stride[layer], backbone.receptive_field[layer]
    check_position(position, layer, height // stride, width // stride)
    reach = (field - stride) // 2
    (top, bottom), (left, right) = (
        (max(0, place * stride - reach), min(side, place * stride - reach + field))
        for place, side in zip(position, (height, width), strict=True)
    )
    return top, left, bottom, right


def check_position(position: tuple[int, int], layer: str, rows: int, columns: int) -> None:
    """Raise ValueError for what is no ``(row, column)`` of a layer's map."""
    match position:
        case (int() | np.integer() as row, int() | np.integer() as column) if 0 <= row < rows and 0 <= column < columns:
            return
    raise ValueError(f"{layer} has {rows} x {columns} positions on this image; {shown(position)} is not one of them")


def channel_weights(channels: Channels, layer: str, count: int) -> dict[int, float]:
    """``{channel: weight}`` of one channel or several; ValueError unless they are some of a layer's `count`."""
    several = channels if isinstance(channels, Iterable) and not isinstance(channels, str) else [channels]
    weights = dict(several) if isinstance(several, Mapping) else dict.fromkeys(several, 1.0)
    if not weights:
        raise ValueError(f"at least one channel is needed; {layer} has channels 0 to {count - 1}")
    for channel, weight in weights.items():
        if not isinstance(channel, int | np.integer) or not 0 <= channel < count:
            raise ValueError(f"{layer} has channels 0 to {count - 1}, not {shown(channel)}")
        check_number(f"the weight of channel {channel}", weight)
    return weights


@torch.no_grad()
def layer_sensitivity(
    backbone: Backbone, image: Tensor, changed_images: Mapping[str, Tensor], layers: Iterable[str]
) -> dict[str, dict[str, float]]:
    """Which layer notices which change: ``|F' - F| / |F|`` of the features, the root of `relative_error`.

    0 is no change; 1 is as far as from the features to no features at all. All images are ``(1, 3, H, W)``.

    Returns:
        ``{change: {layer: relative change}}``.

    Raises:
        ValueError: for an unknown layer, or a changed image of another shape.
    """
    check_network(backbone)
    check_mapping("changed_images", changed_images)
    features = backbone(image, layers)
    changes = {}
    for name, changed in changed_images.items():
        check_images(changed, name)
        if changed.shape != image.shape:
            raise ValueError(f"{name}: shape {tuple(changed.shape)}, the image has {tuple(image.shape)}; resize it")
        others = backbone(changed, features)
        changes[name] = {layer: float(relative_error(others[layer], features[layer]).sqrt()) for layer in features}
    return changes


def random_view(image: Tensor, generator: torch.Generator) -> Tensor:
    """The image turned, zoomed and shifted a little at random, with its mirror image around it."""
    height, width = image.shape[-2:]
    turn, zoom, right, down = (2 * torch.rand(4, generator=generator) - 1).tolist()
    scale, angle = 1 + ZOOM * zoom, math.radians(TURN * turn)
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    # Both sides count from -1 to 1, so that a turn has to undo the image's proportions.
    view = [
        [cosine, -sine * height / width, 2 * SHIFT * right / width],
        [sine * width / height, cosine, 2 * SHIFT * down / height],
    ]
    grid = affine_grid(image.new_tensor([view]), list(image.shape), align_corners=False)
    return grid_sample(image, grid, padding_mode="reflection", align_corners=False)


def maximise_activation(
    backbone: Backbone,
    layer: str,
    channel: Channels,
    *,
    position: tuple[int, int] | None = None,
    size: int = 160,
    start: Tensor | None = None,
    steps: int = 120,
    tv: float = 5.0,
    seed: int = 0,
    **options: Unpack[RunOptions],
) -> Result:
    """An image that excites a channel of a layer as much as it can: what the channel looks for.

    Erhan et al., "Visualizing Higher-Layer Features of a Deep Network" (2009), with the restraints of Olah, Mordvintsev
    and Schubert, "Feature Visualization" (Distill, 2017): Fourier coordinates, another view of the image at every step,
    and a little total variation. Unlike theirs, the activation is divided by the root of the layer's root mean square:
    sheer contrast, which excites all channels alike, gains less. A layer before its ReLU, such as "conv3_1", always has
    a slope to follow; after it, a silent channel stays silent.

    Args:
        backbone, layer, channel: whose activation is maximised; of several channels, ``[3, 7]``, the sum, or the
            weighted sum, ``{3: 1.0, 7: 0.5}``. A negative weight asks for what silences a channel: ``{3: -1.0}``.
        position: ``(row, column)`` of the layer's map, where alone the activation counts; by default its mean does.
        size, start: the side of mid-grey with a trace of noise, in pixels, or an image ``(1, 3, H, W)`` in [0, 1].
        steps, tv, seed: at most so many; the weight of the total variation; of the noise and of the views.
        options: those of `optimize_image`, but no checkpoint; by default Adam walks over `FOURIER` coordinates.

    Returns:
        A `Result`; its loss "activation" is minus the channel's, by the mean of the layer's contrasts on both images.

    Raises:
        ImageError, TypeError: for a start that is no image, or too large; for an unknown option, or no network.
        ValueError: for an unknown layer, channel or position, channels that are silent on the start, or a checkpoint.
    """
    check_network(backbone)
    layer = backbone.canonical(layer)
    weights = channel_weights(channel, layer, backbone.channels[layer])
    check_number("tv", tv, 0)
    check_options(options)
    if options.get("checkpoint") is not None:
        raise ValueError("a run with random views cannot be resumed; leave the checkpoint out")
    start = faint_noise(size, seed) if start is None else start
    check_image(start, "the start")
    with torch.no_grad():
        maps = backbone(start, [layer])[layer]
    if position is not None:
        check_position(position, layer, *maps.shape[-2:])
    check_awake(backbone, layer, maps, weights, position)
    usual, generator = maps.square().mean(), torch.Generator().manual_seed(seed)

    def loss_fn(image: Tensor) -> dict[str, Tensor]:
        maps = backbone(random_view(image, generator), [layer])[layer]
        scale = (usual * maps.square().mean()).pow(1 / 4)
        return {"activation": -excitation(maps, weights, position) / scale, "tv": tv * total_variation(image)}

    stage = Stage((start.shape[-2], start.shape[-1]), steps, lambda: loss_fn, backbone, (layer,))
    with_adam: RunOptions = {"optimizer": "adam", "coordinates": FOURIER, **options}
    return run_stages([stage], start, **with_adam)


def faint_noise(size: int, seed: int) -> Tensor:
    """Mid-grey with a trace of noise, ``(1, 3, size, size)``; ValueError for a size that no image has."""
    check_number("size", size, 1, whole=True)
    check_pixels(size, size)
    return FOURIER.decode(FAINT * (noise_like(torch.empty(1, 3, size, size), seed) - 0.5))


def looked_at(maps: Tensor, position: tuple[int, int] | None) -> Tensor:
    """Features ``(1, C, H, W)``, or only those at one position, ``(1, C)``."""
    return maps if position is None else maps[..., position[0], position[1]]


def excitation(maps: Tensor, weights: Mapping[int, float], position: tuple[int, int] | None) -> Tensor:
    """The weighted sum of channels' means, or of what they have at one position, ``(1, C, H, W) -> ()``."""
    there = looked_at(maps, position)
    return torch.stack([weight * there[:, channel].mean() for channel, weight in weights.items()]).sum()


def check_awake(
    backbone: Backbone, layer: str, maps: Tensor, channels: Iterable[int], position: tuple[int, int] | None
) -> None:
    """Raise ValueError where all of these channels are silent: behind a ReLU nothing can wake them."""
    channels = list(channels)
    if not looked_at(maps, position)[:, channels].any():
        place = "" if position is None else f" at {position}"
        conv = next(name for name in reversed(backbone.layers_down_to([layer])) if name.startswith("conv"))
        raise ValueError(
            f"{layer} is silent on the start in channel {', '.join(map(str, channels))}{place}, so there is no slope "
            f"to follow; {conv} has one"
        )
