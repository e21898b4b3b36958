"""Activations in float16, for GPUs that cannot multiply bfloat16, such as Colab's T4; everything else stays float32.

float16 ends at 65504, and below 6e-8 there is only zero. So the gradient of a loss, which may have any size, is scaled
where it enters the network, by the power of two that brings its largest value to between 1/2 and 1, and scaled back in
float32 where it leaves (after Micikevicius et al., "Mixed Precision Training", 2018, whose scale is one for all steps).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Compute = Callable[[Tensor, torch.dtype], dict[str, Tensor]]


class Pass:
    """One pass through a network, forwards and backwards.

    Args:
        compute: ``(image, dtype) -> {layer: float32 features}``, with activations of that dtype.
        warn: is called when a feature or a gradient overflows; all of them are then computed in float32.
    """

    def __init__(self, compute: Compute, warn: Callable[[], None]) -> None:
        self.compute, self.warn = compute, warn
        self.scale = torch.ones(())
        self.gradients: tuple[Tensor, ...] = ()

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Features of an image."""
        features = self.compute(Leave.apply(x, self), torch.float16)
        if all_finite(*features.values()) or not all_finite(x):
            return dict(zip(features, Enter.apply(self, *features.values()), strict=True))
        self.warn()
        return self.compute(x, torch.float32)

    def gradient(self, x: Tensor) -> Tensor:
        """What the gradient of the last backward pass is in float32."""
        with torch.enable_grad():
            variable = x.detach().requires_grad_()
            features = self.compute(variable, torch.float32)
            return torch.autograd.grad(list(features.values()), variable, self.gradients)[0]


class Enter(torch.autograd.Function):
    """The features as they are; the gradient is scaled."""

    @staticmethod
    def forward(run: Pass, *features: Tensor) -> tuple[Tensor, ...]:
        return tuple(maps.view_as(maps) for maps in features)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.run = inputs[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        largest = torch.stack([gradient.detach().abs().max() for gradient in gradients]).max()
        ctx.run.scale = torch.ldexp(torch.ones_like(largest), -torch.frexp(largest).exponent)
        ctx.run.gradients = gradients
        return None, *(gradient * ctx.run.scale for gradient in gradients)


class Leave(torch.autograd.Function):
    """The image as it is; its gradient is scaled back, or computed again in float32 if it overflowed."""

    @staticmethod
    def forward(x: Tensor, run: Pass) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Pass], output: Tensor) -> None:
        x, ctx.run = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        if all_finite(gradient) or not all_finite(*ctx.run.gradients):
            return gradient / ctx.run.scale, None
        ctx.run.warn()
        return ctx.run.gradient(*ctx.saved_tensors), None


def all_finite(*tensors: Tensor) -> bool:
    """Whether no value is infinite or NaN."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)
