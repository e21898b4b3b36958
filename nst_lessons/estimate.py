"""Estimates: what a run will cost in seconds and memory, before it begins.

Memory follows from the network's shape alone. Time is measured: a few steps on a small image, scaled by the number of
pixels.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from nst_lessons import network
from nst_lessons.console import say
from nst_lessons.images import noise_like
from nst_lessons.losses import gram_matrix
from nst_lessons.memory import free_bytes
from nst_lessons.network import Backbone, block_number
from nst_lessons.optimizers import remembered_pairs
from nst_lessons.stages import Size, Stage

LONG_SECONDS = 20.0  # a shorter run is over before anybody has read how long it takes
NEVER_LONG = 100_000  # values times steps, which even a VGG19 computes in time; not worth a measurement
TRIAL_SHARE, TRIAL_SHORTEST, TRIAL_LONGEST = 1 / 2, 64, 256  # sides of the image that is timed; the last two in pixels
TRIALS = 3
SIZE_STEP = 32


@dataclass(frozen=True)
class Estimate:
    """The expected cost of a run: seconds, and bytes at the peak."""

    seconds: float
    bytes: float

    def __str__(self) -> str:
        """Such as ``about 4 minutes and 2.1 GB``."""
        return f"about {duration(self.seconds)} and {gigabytes(self.bytes)}"


def duration(seconds: float) -> str:
    """Seconds, or minutes or hours where there are many of them."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 100 * 60 else f"{seconds / 3600:.1f} hours"


def gigabytes(size: float) -> str:
    """Bytes as ``2.1 GB``; 1 GB is 10^9 bytes."""
    return f"{max(0.1, size / 1e9):.1f} GB"


def value_bytes(backbone: Backbone) -> int:
    """Bytes of one activation inside a backbone."""
    return backbone.activation_dtype().itemsize


def features_bytes(backbone: Backbone, size: Size, layers: Iterable[str], bytes_each: int = 4) -> list[int]:
    """Bytes of each layer's activations for an image of ``(H, W)``; the features handed out are float32."""
    height, width = size
    return [
        bytes_each * backbone.channels[layer] * (height // backbone.stride[layer]) * (width // backbone.stride[layer])
        for layer in layers
    ]


def step_bytes(backbone: Backbone, size: Size, layers: Iterable[str]) -> int:
    """Peak of one step: the loss of the features at some layers and its gradient, for an image of ``(H, W)``.

    Autograd keeps every ReLU's and pooling layer's output in the network's precision; of a large image only what
    comes out of each block, and computes one block at a time again. The features wanted are float32, and turn one
    after the other into their gradients.
    """
    wanted = {backbone.canonical(layer) for layer in layers}
    computed = backbone.layers_down_to(wanted)

    def activations(chosen: Iterable[str]) -> list[int]:
        return features_bytes(backbone, size, chosen, value_bytes(backbone))

    features = features_bytes(backbone, size, wanted)
    gram_peak = sum(features) + 3 * max(features)  # a Gram matrix' gradient is two products, G F and (F^T G)^T, summed
    if not recomputes(size):
        return sum(activations(kept(computed))) + gram_peak
    blocks = [list(block) for _, block in groupby(computed, key=block_number)]
    # A convolution has gradients on both sides.
    block_peaks = [sum(activations(kept(block))) + 2 * max(activations(block)) for block in blocks]
    between_blocks = sum(activations(layer for layer in computed if layer.startswith("pool")))
    return between_blocks + max(gram_peak, max(block_peaks) + max(features))


def kept(layers: Iterable[str]) -> list[str]:
    """The layers whose output the way back needs: a ReLU's takes the place of its convolution's."""
    return [layer for layer in layers if not layer.startswith("conv")]


def recomputes(size: Size) -> bool:
    """Whether a backbone computes the activations of an image of ``(H, W)`` twice rather than keep them."""
    return size[0] * size[1] > network.RECOMPUTED_FROM


def target_bytes(backbone: Backbone, size: Size, layers: Iterable[str]) -> int:
    """Peak of the features at some layers without a gradient, as for a painting of ``(H, W)``."""
    wanted = {backbone.canonical(layer) for layer in layers}
    features = features_bytes(backbone, size, wanted)
    activations = features_bytes(backbone, size, backbone.layers_down_to(wanted), value_bytes(backbone))
    # Early on, a convolution's output and its ReLU's stand beside the first features; in the end, all features.
    return max(sum(features), max(features) + 2 * max(activations))


def optimizer_images(optimizer: str, values: int) -> int:
    """How many images of so many values an optimiser keeps."""
    pairs = remembered_pairs(values)
    # L-BFGS has some 15 more at work in a line search. SciPy's are double precision.
    return {"lbfgs": 2 * pairs + 15, "adam": 2, "scipy": 4 * pairs + 30}.get(optimizer, 0)


def run_bytes(
    backbone: Backbone,
    size: Size,
    layers: Iterable[str],
    *,
    painting_sizes: Iterable[Size] = (),
    optimizer: str = "lbfgs",
) -> int:
    """Peak of a whole run: the larger of its targets and its steps, and what the optimiser remembers.

    The image and the photo are ``(H, W)``, the paintings ``(H', W')``. Raises ValueError for an unknown layer.
    """
    layers = list(layers)
    values = 3 * size[0] * size[1]
    weights = value_bytes(backbone) * sum(weight.numel() for weight in backbone.parameters())  # once more, rearranged
    images = 10 + optimizer_images(optimizer, values)  # the best, the current, their gradients, clamped copies
    walk = step_bytes(backbone, size, layers) + 4 * values * images
    targets = max(target_bytes(backbone, target, layers) for target in (size, *painting_sizes))
    return weights + max(walk, targets)


def stage_bytes(stage: Stage, optimizer: str, scale: float = 1.0) -> int:
    """Peak of a stage, or of what it would be with all its images smaller or larger; 0 for one without a network."""
    if stage.network is None:
        return 0
    size, *paintings = (
        (round(scale * height), round(scale * width)) for height, width in (stage.size, *stage.painting_sizes)
    )
    return run_bytes(stage.network, size, stage.layers, painting_sizes=paintings, optimizer=optimizer)


def largest_side(stage: Stage, optimizer: str, free: float) -> int:
    """The longer side of the largest image of a stage's proportions that fits into so many bytes; 0 if none does."""
    longest = max(stage.size)
    sides = range(longest // SIZE_STEP * SIZE_STEP, 0, -SIZE_STEP)
    return next((side for side in sides if stage_bytes(stage, optimizer, side / longest) <= free), 0)


def one_step(backbone: Backbone, image: Tensor, layers: Iterable[str]) -> float:
    """Seconds of one forward and backward pass with Gram matrices."""
    began = time.perf_counter()
    with torch.enable_grad():
        variable = image.detach().clone().requires_grad_()
        loss = torch.stack([gram_matrix(maps).square().sum() for maps in backbone(variable, layers).values()]).sum()
        (gradient,) = torch.autograd.grad(loss, variable)
    float(gradient.sum())  # a GPU is waited for
    return time.perf_counter() - began


def run_seconds(backbone: Backbone, size: Size, layers: Iterable[str], steps: int) -> float:
    """Seconds of so many steps at ``(H, W)``, measured on a small image and scaled by the number of pixels.

    A single trial decides whether the run is a short one; only a long one is worth the median of several.
    """
    layers = list(layers)
    height, width = size
    share = min(1, max(min(TRIAL_SHARE, TRIAL_LONGEST / max(size)), TRIAL_SHORTEST / min(size)))
    image = noise_like(torch.empty(1, 3, round(share * height), round(share * width)), seed=0)
    # Computed twice, the way forward: the way back, without gradients of weights, costs as much.
    scale = 3 * height * width / image.numel() * (1.5 if recomputes(size) else 1)
    seconds = steps * scale * one_step(backbone, image, layers)
    if seconds < LONG_SECONDS:
        return seconds
    return steps * scale * statistics.median(one_step(backbone, image, layers) for _ in range(TRIALS))


def estimate(stages: Sequence[Stage], optimizer: str = "lbfgs") -> Estimate:
    """The cost of all stages with a network: the sum of their seconds, and their highest peak of memory."""
    seconds = sum(
        run_seconds(stage.network, stage.size, stage.layers, stage.steps) for stage in stages if stage.network
    )
    return Estimate(seconds, max(stage_bytes(stage, optimizer) for stage in stages))


def check_memory(stages: Sequence[Stage], optimizer: str = "lbfgs") -> None:
    """Raise MemoryError for a run that does not fit, saying which size would; ValueError for an unknown layer."""
    for stage in reversed(stages):  # the last has the size that was asked for
        if stage.network is None:
            continue
        needed, free = stage_bytes(stage, optimizer), free_bytes(stage.network.device)
        if needed > free:
            side = largest_side(stage, optimizer, free)
            remedy = f"a longer side of {side} pixels fits" if side else "close other programs"
            raise MemoryError(
                f"{stage.size[1]}x{stage.size[0]} pixels need about {gigabytes(needed)} of memory, "
                f"and {gigabytes(free)} are free; {remedy}"
            )


def report(stages: Sequence[Stage], optimizer: str = "lbfgs") -> None:
    """Print what a run will cost, if it is a long one; a short one is not worth the measurement."""
    if sum(stage.steps * 3 * stage.size[0] * stage.size[1] for stage in stages if stage.network) < NEVER_LONG:
        return
    expected = estimate(stages, optimizer)
    if expected.seconds >= LONG_SECONDS:
        height, width = stages[-1].size
        steps = sum(stage.steps for stage in stages)
        say(f"{steps} steps at {'up to ' * (len(stages) > 1)}{width}x{height} pixels: {expected}")
