"""Visualise: what a network's channels respond to; tensors in, tensors out.

Activation maps are drawn by `nst_lessons.plots`; here are the questions about them: which channels are strongest,
which pixels a value sees, what changes when the image does, and which image excites a channel most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from typing_extensions import Unpack

from nst_lessons.history import Result
from nst_lessons.images import noise_like, per_channel
from nst_lessons.losses import relative_error, total_variation
from nst_lessons.network import Backbone
from nst_lessons.optimize import RunOptions, run_stages
from nst_lessons.stages import Stage, octave_scales, scaled_size


def top_channels(features: Tensor, count: int) -> list[int]:
    """The channels with the largest mean activation, strongest first; all of them where there are fewer than `count`.

    Features are ``(1, C, H, W)``. Raises ValueError for another shape, or a count below 1.
    """
    if features.ndim != 4 or len(features) != 1:
        raise ValueError(f"features have shape (1, C, H, W), not {tuple(features.shape)}")
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    channels: list[int] = features.mean((0, 2, 3)).argsort(descending=True, stable=True)[:count].tolist()
    return channels


def activation_overlay(photo: Tensor, activation: Tensor) -> Tensor:
    """The photo by night, lit by a lamp where a channel is active: fully from the channel's 99th percentile on.

    The photo, and the result, are ``(1, 3, H, W)`` in [0, 1]; the activation is ``(1, 1, h, w)``, of any range.
    Raises ValueError for another shape.
    """
    if activation.ndim != 4 or activation.shape[:2] != (1, 1):
        raise ValueError(f"one channel (1, 1, h, w) is wanted, not {tuple(activation.shape)}; take maps[:, c : c + 1]")
    low, high = activation.min(), activation.quantile(0.99)  # a single peak would leave all else in the dark
    active = ((activation - low) / (high - low).clamp_min(torch.finfo(activation.dtype).tiny)).clamp(0, 1)
    active = interpolate(active.to(photo), photo.shape[-2:], mode="bilinear", align_corners=False)
    night, lamp = 0.3 * photo, per_channel((1.0, 0.85, 0.3), photo)
    return torch.lerp(night, 0.5 * photo + 0.5 * lamp, active)


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
    layer = backbone.canonical(layer)
    stride, field = backbone.stride[layer], backbone.receptive_field[layer]
    rows, columns = (side // stride for side in image_size)
    if not (0 <= position[0] < rows and 0 <= position[1] < columns):
        raise ValueError(f"{layer} has {rows} x {columns} positions on this image; {position} is not one of them")
    reach = (field - stride) // 2
    (top, bottom), (left, right) = (
        (max(0, place * stride - reach), min(side, place * stride - reach + field))
        for place, side in zip(position, image_size, strict=True)
    )
    return top, left, bottom, right


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
    features = backbone(image, layers)
    changes = {}
    for name, changed in changed_images.items():
        if changed.shape != image.shape:
            raise ValueError(f"{name}: shape {tuple(changed.shape)}, the image has {tuple(image.shape)}; resize it")
        others = backbone(changed, features)
        changes[name] = {layer: float(relative_error(others[layer], features[layer]).sqrt()) for layer in features}
    return changes


def maximise_activation(
    backbone: Backbone,
    layer: str,
    channel: int,
    *,
    size: int = 96,
    start: Tensor | None = None,
    octaves: int = 3,
    steps: int = 60,
    tv: float = 30.0,
    jitter: int = 4,
    seed: int = 0,
    **options: Unpack[RunOptions],
) -> Result:
    """An image that excites one channel of a layer as much as it can: what the channel looks for.

    Erhan, Bengio, Courville and Vincent, "Visualizing Higher-Layer Features of a Deep Network" (2009). Unhindered, it
    would end in noise that only networks see. The restraints are those of Olah, Mordvintsev and Schubert, "Feature
    Visualization" (Distill, 2017): total variation, jitter, and octaves, from a small image to the full one. A layer
    before its ReLU, such as "conv3_1", always has a slope to follow; after it, a silent channel stays silent.

    Args:
        backbone, layer, channel: whose activation is maximised.
        size: height and width in pixels, when there is no start.
        start: ``(1, 3, H, W)`` in [0, 1], left as it is; by default faint noise around mid-grey.
        octaves: how many sizes, each 1.5 times the one before.
        steps: of each octave.
        tv: weight of the total variation.
        jitter: the image is rolled by up to so many pixels at every step.
        seed: of noise and jitter.
        options: those of `optimize_image`, but no checkpoint, because jitter is random. The optimiser is Adam by
            default, which keeps the pixels in [0, 1] at every step: without a border no image is the most exciting.

    Returns:
        A `Result` whose loss "activation" is minus the channel's mean by the layer's root mean square on the start.

    Raises:
        ValueError: for an unknown layer or channel, fewer than one octave, or a checkpoint.
    """
    layer = backbone.canonical(layer)
    if not 0 <= channel < backbone.channels[layer]:
        raise ValueError(f"{layer} has channels 0 to {backbone.channels[layer] - 1}, not {channel}")
    if options.get("checkpoint") is not None:
        raise ValueError("a run with random jitter cannot be resumed; leave the checkpoint out")
    image = 0.4 + 0.2 * noise_like(torch.empty(1, 3, size, size), seed) if start is None else start
    with torch.no_grad():
        scale = backbone(image, [layer])[layer].square().mean().sqrt()
    generator = torch.Generator().manual_seed(seed)

    def loss_fn(image: Tensor) -> dict[str, Tensor]:
        down, right = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
        maps = backbone(image.roll((down, right), (2, 3)), [layer])[layer]
        return {"activation": -maps[:, channel].mean() / scale, "tv": tv * total_variation(image)}

    height, width = image.shape[-2:]
    sizes = [scaled_size((height, width), octave, backbone.stride[layer]) for octave in octave_scales(octaves, 1.5)]
    stages = [Stage(size, steps, lambda: loss_fn, backbone, (layer,)) for size in sizes]
    with_adam: RunOptions = {"optimizer": "adam", **options}
    return run_stages(stages, image, **with_adam)
