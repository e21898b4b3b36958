"""Files, web addresses, bytes and arrays in; image tensors out, and back.

Everywhere in this package an image is a tensor `(1, 3, H, W)`, float32, RGB, in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, in the order R, G, B
CAFFE_MEAN = (103.939, 116.779, 123.68)  # ImageNet's on the scale 0-255, in the order B, G, R


def preprocess(image: Tensor, convention: str = "torchvision") -> Tensor:
    """Turn an RGB image (B, 3, H, W) in [0, 1] into what a network was trained on.

    "torchvision": (image - mean) / std, RGB. "caffe" (Simonyan & Zisserman's original VGG): 255 * image in the
    order BGR, minus the mean. Raises ValueError for any other convention. `deprocess` is the inverse.
    """
    if convention == "torchvision":
        return (image - per_channel(MEAN, image)) / per_channel(STD, image)
    if convention == "caffe":
        return 255 * image.flip(1) - per_channel(CAFFE_MEAN, image)
    raise ValueError(f"unknown convention {convention!r}; there are 'torchvision' and 'caffe'")


def deprocess(x: Tensor, convention: str = "torchvision") -> Tensor:
    """Turn a network's input (B, 3, H, W) back into an RGB image in [0, 1], not clamped: see `preprocess`."""
    if convention == "torchvision":
        return x * per_channel(STD, x) + per_channel(MEAN, x)
    if convention == "caffe":
        return (x + per_channel(CAFFE_MEAN, x)).flip(1) / 255
    raise ValueError(f"unknown convention {convention!r}; there are 'torchvision' and 'caffe'")


def per_channel(values: tuple[float, float, float], like: Tensor) -> Tensor:
    """One value for each channel, shaped (1, 3, 1, 1) to meet images (B, 3, H, W) of `like`'s device and dtype."""
    return like.new_tensor(values).view(1, 3, 1, 1)


def noise_like(image: Tensor, seed: int) -> Tensor:
    """White noise of the image's shape: normal around mid-grey 0.5, standard deviation 0.15, clamped to [0, 1].

    Drawn on the processor and then moved to the image's device, so that a seed means the same everywhere.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = 0.5 + 0.15 * torch.randn(image.shape, generator=generator)
    return noise.clamp(0, 1).to(image.device)
