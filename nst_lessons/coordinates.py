"""Coordinates: how an image is made from the parameters that an optimiser walks over.

The steepest way down a loss is another one in other coordinates. Pixels are the plain choice. In Fourier coordinates
equal steps in all directions add up to what photographs have: strong coarse structure, weak fine structure, and colours
that vary together. Olah, Mordvintsev and Schubert, "Feature Visualization" (Distill, 2017), and their library, lucid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Bounds = tuple[float, float]

# The square root of the covariance of red, green and blue over ImageNet's pixels, as published in lucid.
COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
# Black and white lie infinitely far out before the sigmoid; a quarter of one of 255 levels is near enough.
DARKEST = 1e-3


@dataclass(frozen=True)
class Coordinates:
    """How an image is made from parameters of the same shape ``(1, 3, H, W)``, and back.

    `encode` takes an image in [0, 1] to its parameters, `decode` parameters to their image; `bounds` are the lowest and
    the highest value that a parameter may have. The `name` tells a checkpoint's coordinates from others.
    """

    name: str
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    bounds: Bounds


def hartley(x: Tensor) -> Tensor:
    """The 2-D Hartley transform: real, of the same shape, and its own inverse; Hartley (1942), Bracewell (1983)."""
    spectrum = torch.fft.fft2(x, norm="ortho")
    return spectrum.real - spectrum.imag


def amplitudes(x: Tensor) -> Tensor:
    """How strong a photograph's frequencies are, ``(H, W)``: as long as their waves; the mean counts as the longest."""
    height, width = x.shape[-2:]
    down, right = (torch.fft.fftfreq(side, dtype=x.dtype, device=x.device) for side in (height, width))
    return 1 / torch.hypot(down[:, None], right).clamp_min(1 / max(height, width))


def mix_colours(matrix: Tensor, x: Tensor) -> Tensor:
    """A ``(3, 3)`` matrix times every pixel."""
    return torch.einsum("ij,bjhw->bihw", matrix, x)


def colours(x: Tensor) -> Tensor:
    """The matrix that correlates three independent channels as a photograph's red, green and blue are, ``(3, 3)``."""
    root = x.new_tensor(COLOURS)
    return root / root.norm(dim=0).max()


def decode_fourier(parameters: Tensor) -> Tensor:
    """The image in (0, 1) of Fourier parameters."""
    return mix_colours(colours(parameters), hartley(amplitudes(parameters) * parameters)).sigmoid()


def encode_fourier(image: Tensor) -> Tensor:
    """The Fourier parameters of an image in [0, 1]."""
    logits = image.clamp(DARKEST, 1 - DARKEST).logit()
    return hartley(mix_colours(colours(image).inverse(), logits)) / amplitudes(image)


PIXELS = Coordinates("pixels", lambda image: image, lambda parameters: parameters, (0.0, 1.0))
FOURIER = Coordinates("fourier", encode_fourier, decode_fourier, (-torch.inf, torch.inf))


def in_grey(coordinates: Coordinates) -> Coordinates:
    """The same coordinates for an image whose red, green and blue are equal: the mean of what they were."""

    def decode(parameters: Tensor) -> Tensor:
        return coordinates.decode(parameters).mean(1, keepdim=True).expand(-1, 3, -1, -1)

    return replace(coordinates, name=f"{coordinates.name}, grey", decode=decode)
