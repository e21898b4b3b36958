"""Image tensors: their range and shape, what a network is fed, sizes, noise.

Everywhere in this package an image is a tensor `(1, 3, H, W)`, float32, RGB, in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nst_lessons.checks import check_choice, check_number, shown

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, in the order R, G, B
CAFFE_MEAN = (103.939, 116.779, 123.68)  # ImageNet's on the scale 0-255, in the order B, G, R
CONVENTIONS = ("torchvision", "caffe")
MAX_PIXELS = 64_000_000  # 0.8 GB as float32, and about twice that while it is decoded
Dtypes = tuple[torch.dtype, ...]
EXACT: Dtypes = (torch.float32, torch.float64)
FLOATS: Dtypes = (*EXACT, torch.float16, torch.bfloat16)
ROUNDING = 0.01  # so far beyond [0, 1] arithmetic may carry a pixel


class ImageError(ValueError):
    """An image that cannot be used; the message says what came and what was expected."""


def check_image(image: Tensor, role: str = "the image", dtypes: Dtypes = (torch.float32,)) -> None:
    """Raise ImageError for anything but one image (1, 3, H, W), float32, finite, in [0, 1]; `role` names it."""
    check_images(image, role, dtypes)
    if len(image) > 1:
        raise ImageError(f"{role} is a batch of {len(image)}; expected one image (1, 3, H, W)")
    check_values(image, role)


def check_images(images: Tensor, role: str = "the image", dtypes: Dtypes = (torch.float32,)) -> None:
    """Raise ImageError for anything but a batch (B, 3, H, W) of one of these dtypes; its values are not looked at."""
    if not isinstance(images, Tensor):
        result = isinstance(getattr(images, "image", None), Tensor)
        remedy = "give its .image" if result else "load_image makes one of a file, an array or a PIL picture"
        raise ImageError(f"{role} is of type {type(images).__name__}; expected a tensor (1, 3, H, W): {remedy}")
    if images.ndim != 4 or images.shape[1] != 3 or not images.numel():
        shape = tuple(images.shape)
        raise ImageError(f"{role} has the shape {shape}; expected (1, 3, H, W): load_image gives it to any picture")
    if images.dtype not in dtypes:
        remedy = (
            f"convert it with .to({dtypes[0]})" if images.is_floating_point() else "divide by 255, or use load_image"
        )
        raise ImageError(f"{role} has the dtype {images.dtype}; expected {dtypes[0]} from 0 to 1: {remedy}")


def check_values(images: Tensor, role: str = "the image", slack: float = ROUNDING) -> None:
    """Raise ImageError for NaN, infinity, and values further than `slack` beyond [0, 1]."""
    low, high = map(float, images.detach().aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ImageError(f"{role} has NaN or infinity among its pixels; expected numbers from 0 to 1")
    if low < -slack or high > 1 + slack:
        remedy = "clamp it with .clamp(0, 1)"
        if low < -0.5:
            remedy = "if preprocess made them, deprocess undoes it; networks normalise images themselves"
        elif high > 2:
            remedy = "divide by 255, or use load_image"
        raise ImageError(f"{role} has values from {low:.3g} to {high:.3g}; expected 0 to 1: {remedy}")


def preprocess(image: Tensor, convention: str = "torchvision") -> Tensor:
    """Normalise an RGB image (B, 3, H, W) in [0, 1] as the images that a network was trained on.

    "torchvision": (image - mean) / std, RGB. "caffe" (Simonyan and Zisserman's original VGG): 255 * image in
    the order BGR, minus the mean. Raises ValueError for any other convention, ImageError for another
    shape. `deprocess` is the inverse.
    """
    check_choice("convention", convention, CONVENTIONS)
    check_images(image, dtypes=FLOATS)
    if convention == "torchvision":
        return (image - per_channel(MEAN, image)) / per_channel(STD, image)
    return 255 * image.flip(1) - per_channel(CAFFE_MEAN, image)


def deprocess(x: Tensor, convention: str = "torchvision") -> Tensor:
    """Turn a network's input (B, 3, H, W) back into an RGB image in [0, 1], not clamped: see `preprocess`."""
    check_choice("convention", convention, CONVENTIONS)
    check_images(x, dtypes=FLOATS)
    if convention == "torchvision":
        return x * per_channel(STD, x) + per_channel(MEAN, x)
    return (x + per_channel(CAFFE_MEAN, x)).flip(1) / 255


def is_grey(image: Tensor) -> bool:
    """Whether red, green and blue are the same in every pixel of an image (1, 3, H, W), to half an 8-bit level."""
    return float((image.amax(1) - image.amin(1)).detach().max()) < 0.5 / 255


def per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    """One value per channel, (1, 3, 1, 1), that broadcasts over images; on the device and of the dtype of `like`."""
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, 3, 1, 1)


def noise_like(image: Tensor, seed: int) -> Tensor:
    """White noise of the image's shape: normal, mean 0.5 (mid-grey), standard deviation 0.15, clamped to [0, 1].

    Drawn on the CPU and then moved to the image's device, so that a seed gives the same noise everywhere.
    Raises ValueError for what is no seed.
    """
    check_images(image, dtypes=EXACT)
    check_number("seed", seed, -(2**63), 2**64 - 1, whole=True)
    noise = 0.5 + 0.15 * torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return noise.clamp(0, 1).to(image.device)


def resize(image: Tensor, size: int | tuple[int, int], *, antialias: bool = True) -> Tensor:
    """Resize an image (B, 3, H, W) bicubically to a longer side of `size` pixels, or to `(height, width)`.

    With `antialias` the kernel widens as the image shrinks, as in Pillow; without it most pixels are skipped, and
    fine texture turns into patterns that were never there. Raises ImageError for another size, over MAX_PIXELS, or
    for what is no image.
    """
    check_images(image, dtypes=EXACT)
    check_values(image)
    match size:
        case int() | np.integer() if size is not True and 0 < size <= MAX_PIXELS:
            sides = image.shape[-2:]
            height, width = (max(1, round(side * size / max(sides))) for side in sides)
        case (int(height), int(width)) if min(height, width) > 0 and bool not in (type(height), type(width)):
            pass
        case _:
            raise ImageError(f"size={shown(size)}; expected the longer side in pixels, or (height, width)")
    check_pixels(height, width)
    return torch.nn.functional.interpolate(image, (height, width), mode="bicubic", antialias=antialias).clamp(0, 1)


def check_pixels(height: int, width: int) -> None:
    """Raise ImageError for more than MAX_PIXELS."""
    if too_many_pixels(height, width):
        raise ImageError(f"{width} x {height} pixels are too many; expected at most {MAX_PIXELS // 10**6} million")


def too_many_pixels(height: int, width: int) -> bool:
    """Whether an image is larger than memory is meant for."""
    return height * width > MAX_PIXELS


def match_shapes(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return `a` as it is, and `b` cropped around its centre to a's proportions and resized to a's shape.

    Both are (B, 3, H, W).
    """
    check_images(a, dtypes=EXACT)
    check_images(b, dtypes=EXACT)
    (height, width), (b_height, b_width) = a.shape[-2:], b.shape[-2:]
    crop_height = max(1, min(b_height, round(b_width * height / width)))
    crop_width = max(1, min(b_width, round(b_height * width / height)))
    top, left = (b_height - crop_height) // 2, (b_width - crop_width) // 2
    return a, resize(b[..., top : top + crop_height, left : left + crop_width], (height, width))
