"""Lesson 1: what a network is given, in two conventions, the way back, and total variation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode

from nst_lessons.exercises.checking import (
    Answer,
    Draw,
    close,
    exercise,
    expect,
    expect_gradient,
    expect_scalar,
    expect_shape,
    expect_value,
)
from nst_lessons.images import CAFFE_MEAN, MEAN, STD, deprocess, per_channel, preprocess
from nst_lessons.losses import total_variation as reference_variation

# Three rows and three columns: three numbers fit every axis, so that one along the wrong axis gives a wrong value
# rather than an error about sizes.
ANY_AXIS = (1, 3, 3, 3)


def expect_conversion(
    convert: Answer, right: Callable[[Tensor], Tensor], small: Tensor, mistakes: Mapping[str, Tensor], draw: Draw
) -> None:
    """Raise `Mistake` unless a function converts images ``(1, 3, H, W)`` as another one does.

    Args:
        small: of the shape `ANY_AXIS`; the mistakes are what comes out of it.
    """
    wanted, found = right(small), convert(small)
    expect_shape(found, ANY_AXIS, "the result for an image of 3 x 3 pixels")
    kept = found.dtype == small.dtype
    expect(kept, f"the result has the dtype {found.dtype}; {small.dtype} was asked, as the image has")
    moved = {
        "the channels come last; the shape (1, 3, H, W) was asked": wanted.permute(0, 2, 3, 1),
        "rows and columns are swapped": wanted.mT,
        "nothing has changed: the function returns what it was given": small,
    }
    expect_value(found, wanted, {**mistakes, **moved}, "the values are not those of the formula")
    expect(close(convert(small), found), "the second call gives another result than the first: something is remembered")
    for image in (draw.image(), draw.image()):
        result = convert(image)
        expect_shape(result, tuple(image.shape), "the result")
        expect(close(result, right(image)), "it is right for one image and wrong for a larger one")
    followed = convert(small.clone().requires_grad_()).requires_grad
    expect(
        followed, "no gradient reaches the image: something is detached, or taken out of torch with .item() or numpy"
    )


@exercise("Input in torchvision's convention")
def check_preprocess(preprocess_image: Answer, draw: Draw) -> None:
    """``preprocess(image)``: RGB ``(1, 3, H, W)`` in [0, 1] -> ``(image - mean) / std`` of each colour, the same shape.

    ImageNet's numbers, in the order R, G, B: mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225). The gradient can
    be followed back to the image.

    Source: https://pytorch.org/vision/stable/models.html
    """
    x = torch.rand(ANY_AXIS, generator=draw.generator)
    mean, std = per_channel(MEAN, x), per_channel(STD, x)
    right = preprocess(x)
    mistakes = {
        "it is not divided by std": x - mean,
        "it is multiplied by std; divided was asked": (x - mean) * std,
        "mean and std are swapped": (x - std) / mean,
        "the mean is not subtracted": x / std,
        "the mean is added; subtracted was asked": (x + mean) / std,
        "only the mean is divided by std: brackets are missing around the subtraction": x - mean / std,
        "it is divided by std before the mean is subtracted; the other order was asked": x / std - mean,
        "mean and std run along the width; give them the shape (1, 3, 1, 1)": (x - mean.flatten()) / std.flatten(),
        "mean and std run along the height; give them the shape (1, 3, 1, 1)": (x - mean[0, ..., 0]) / std[0, ..., 0],
        "the image is in the order BGR; RGB was asked": preprocess(x.flip(1)),
        "the result is in the order BGR; RGB was asked": right.flip(1),
        "mean and std are in the order BGR; RGB was asked": preprocess(x.flip(1)).flip(1),
        "the mean is in the order BGR; RGB was asked": (x - mean.flip(1)) / std,
        "std is in the order BGR; RGB was asked": (x - mean) / std.flip(1),
        "pixels are taken from 0 to 255; they are from 0 to 1": preprocess(255 * x),
        "pixels are divided by 255, and they are from 0 to 1 already": preprocess(x / 255),
        "all colours share one mean and one std; each has its own": (x - mean.mean()) / std.mean(),
        "all colours share one mean; each has its own": (x - mean.mean()) / std,
        "all colours share one std; each has its own": (x - mean) / std.mean(),
        "mean and std are this image's own; ImageNet's were asked": standardised(x, (2, 3)),
        "mean and std are this image's own, over all colours; ImageNet's were asked": standardised(x, (1, 2, 3)),
        "mean and std are 0.5, another convention; ImageNet's were asked": (x - 0.5) / 0.5,
        "it is divided by std squared": (x - mean) / std.square(),
        "the result is clamped to [0, 1]; a network's input has values beyond": right.clamp(0, 1),
    }
    expect_conversion(preprocess_image, preprocess, x, mistakes, draw)


def standardised(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """An image with a mean of 0 and a standard deviation of 1 over some dimensions."""
    return (x - x.mean(dims, keepdim=True)) / x.std(dims, keepdim=True)


@exercise("Back to an image")
def check_deprocess(deprocess_input: Answer, draw: Draw) -> None:
    """``deprocess(z)``: the inverse of ``(image - mean) / std``, ``(1, 3, H, W)`` -> RGB, same shape, not clamped.

    ImageNet's numbers, in the order R, G, B: mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225). The gradient can
    be followed back to z.

    Source: https://pytorch.org/vision/stable/models.html
    """
    # From -4 to 4, in any order: beyond what images in [0, 1] give, on both sides.
    z = torch.linspace(-4, 4, 27)[draw.order(27)].view(ANY_AXIS)
    mean, std = per_channel(MEAN, z), per_channel(STD, z)
    right = deprocess(z)
    mistakes = {
        "the steps are in the wrong order: first undo the division, then the subtraction": (z + mean) * std,
        "it is divided by std; multiplied was asked": z / std + mean,
        "the mean is subtracted; added was asked": z * std - mean,
        "the mean is not added": z * std,
        "it is not multiplied by std": z + mean,
        "it is preprocessed once more; the inverse was asked": preprocess(z),
        "mean and std are swapped": z * mean + std,
        "it is clamped to [0, 1]; all values were asked": right.clamp(0, 1),
        "smallest and largest value become 0 and 1; that is no inverse, and forgets the image's contrast": rescaled(z),
        "the result is stretched to [0, 1] once more; that forgets the image's contrast": rescaled(right),
        "mean and std run along the width; give them the shape (1, 3, 1, 1)": z * std.flatten() + mean.flatten(),
        "mean and std run along the height; give them the shape (1, 3, 1, 1)": z * std[0, ..., 0] + mean[0, ..., 0],
        "the result is in the order BGR; RGB was asked": right.flip(1),
        "the input is in the order BGR; RGB was asked": deprocess(z.flip(1)),
        "mean and std are in the order BGR; RGB was asked": deprocess(z.flip(1)).flip(1),
        "all colours share one mean and one std; each has its own": z * std.mean() + mean.mean(),
        "mean and std are 0.5, another convention; ImageNet's were asked": 0.5 * z + 0.5,
        "the result is from 0 to 255; 0 to 1 was asked": 255 * right,
        "it is clamped, from 0 to 255; all values were asked, from 0 to 1": (255 * right).clamp(0, 255),
    }
    expect_conversion(deprocess_input, deprocess, z, mistakes, draw)


def rescaled(x: Tensor) -> Tensor:
    """Stretched to [0, 1], as CS231n's deprocess does."""
    return (x - x.min()) / (x.max() - x.min())


@exercise("Input in Caffe's convention")
def check_preprocess_caffe(preprocess_caffe: Answer, draw: Draw) -> None:
    """``preprocess_caffe(image)``: RGB ``(1, 3, H, W)`` in [0, 1] -> ``255 * image`` in the order BGR, minus the mean.

    The same shape; the mean of blue, green and red is (103.939, 116.779, 123.68). The gradient can be followed back to
    the image.

    Source: Simonyan and Zisserman's original VGG; https://keras.io/api/applications/vgg/
    """
    x = torch.rand(ANY_AXIS, generator=draw.generator)
    bgr, mean, std = x.flip(1), per_channel(CAFFE_MEAN, x), per_channel(STD, x)
    reference = partial(preprocess, convention="caffe")
    right = reference(x)
    mistakes = {
        "the channels are in the order RGB; BGR was asked": 255 * x - mean.flip(1),
        "the mean fits BGR, and the image is in the order RGB still": 255 * x - mean,
        "the mean is in the order RGB; BGR was asked": 255 * bgr - mean.flip(1),
        "pixels are not multiplied by 255": bgr - mean,
        "all is divided by 255; pixels were to be multiplied by it, and the mean left as it is": bgr - mean / 255,
        "the mean is subtracted before pixels are multiplied by 255": 255 * (bgr - mean),
        "pixels are divided by 255; multiplied was asked": bgr / 255 - mean,
        "the mean is not subtracted": 255 * bgr,
        "the mean is added; subtracted was asked": 255 * bgr + mean,
        "it is divided by std; this convention has none": right / std,
        "it is divided by std, in the order BGR; this convention has none": right / std.flip(1),
        "it is divided by 255 * std; this convention has none": right / (255 * std.flip(1)),
        "the image is flipped from left to right; its channels were to be reversed": 255 * x.flip(3) - mean,
        "the image is turned upside down; its channels were to be reversed": 255 * x.flip(2) - mean,
        "all axes are reversed; only the channels were to be": 255 * x.flip(1, 2, 3) - mean,
        "the mean runs along the width; give it the shape (1, 3, 1, 1)": 255 * bgr - mean.flatten(),
        "the mean runs along the height; give it the shape (1, 3, 1, 1)": 255 * bgr - mean[0, ..., 0],
        "all colours share one mean; each has its own": 255 * bgr - mean.mean(),
        "only two channels are swapped, and not blue and red": 255 * x[:, [1, 0, 2]] - mean,
        "the channels are shifted by one; blue, green, red was asked": 255 * x[:, [2, 0, 1]] - mean,
        "pixels are rounded to whole numbers": (255 * bgr).round() - mean,
        "pixels are cut off to whole numbers": (255 * bgr).floor() - mean,
        "this is torchvision's convention; Caffe's was asked": preprocess(x),
    }
    expect_conversion(preprocess_caffe, reference, x, mistakes, draw)


@exercise("Total variation")
def check_total_variation(total_variation: Answer, draw: Draw) -> None:
    """``total_variation(image)``: mean squared difference of neighbouring pixels, downwards plus across; a scalar.

    ``(1, 3, H, W) -> ()``: two means, each over all the pairs of its direction. Without a loop.

    Source: Mahendran and Vedaldi, "Understanding Deep Image Representations by Inverting Them" (2015), equation 4.
    """
    images = streaked_images(draw, 3)
    values = [total_variation(image) for image in images]
    for value in values:
        expect_scalar(value, "the total variation")
    again = close(total_variation(images[0]), values[0])
    expect(again, "the second call gives another value than the first: something is remembered")
    tables = [variation_mistakes(image) for image in images]
    mistakes = {sentence: torch.stack([table[sentence] for table in tables]) for sentence in tables[0]}
    found, right = (
        torch.cat([value.reshape(1) for value in values]),
        torch.stack(list(map(reference_variation, images))),
    )
    expect_value(found, right, mistakes, "the value is not the mean of the squared differences")
    large = torch.rand(1, 3, 200, 300, generator=draw.generator)
    with FewOperations():
        found = total_variation(large)
    expect(close(found, reference_variation(large)), "it is right for one image and wrong for a larger one")
    expect(float(total_variation(torch.full((1, 3, 5, 7), 0.5)).abs()) < 1e-9, "a plain grey image must have 0")
    expect_gradient(total_variation, images[0])


class FewOperations(TorchFunctionMode):
    """A context that allows 150 of torch's operations, on tensors of any size: no loop over pixels needs so few.

    Raises:
        Mistake: at the first operation beyond.
    """

    left = 150

    def __torch_function__(
        self, function: Callable[..., Any], types: object, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Count, and call."""
        self.left -= 1
        expect(self.left >= 0, "rows or pixels are compared in a loop; shift the whole image by one pixel instead")
        return function(*args, **(kwargs or {}))


def streaked_images(draw: Draw, count: int) -> list[Tensor]:
    """Images of one size, float64, that change more downwards than across, so that the two can be told apart."""
    size, generator = draw.image().shape, draw.generator
    return [
        (torch.rand(size, generator=generator) + 2 * torch.rand(*size[:3], 1, generator=generator)).double() / 3
        for _ in range(count)
    ]


def variation_mistakes(x: Tensor) -> dict[str, Tensor]:
    """What wrong formulas give for an image ``(1, 3, H, W)``."""

    def means(down: Tensor, across: Tensor) -> Tensor:
        return down.square().mean() + across.square().mean()

    down, across, right = x.diff(dim=2), x.diff(dim=3), reference_variation(x)
    rows, columns, colours = down.square(), across.square(), x.diff(dim=1).square().mean()
    whole, both = rows.sum() + columns.sum(), rows[..., :-1] + columns[..., :-1, :]
    framed, corner = pad(x, (0, 1, 0, 1)), x[..., 1:, 1:] - x[..., :-1, :-1]
    with_zeros = means(framed[..., :-1].diff(dim=2), framed[..., :-1, :].diff(dim=3))
    with_opposite = means(x - x.roll(1, 2), x - x.roll(1, 3))
    two_apart = means(x[..., 2:, :] - x[..., :-2, :], x[..., 2:] - x[..., :-2])
    return {
        "the square is missing: absolute differences are taken": down.abs().mean() + across.abs().mean(),
        "the square is missing: differences are taken as they are": down.mean() + across.mean(),
        "the means are squared; squares were to be averaged": down.mean().square() + across.mean().square(),
        "the differences are summed; their mean was asked": whole,
        "absolute differences are summed; the mean of their squares was asked": down.abs().sum() + across.abs().sum(),
        "only rows are compared: differences across are missing": rows.mean(),
        "only columns are compared: differences downwards are missing": columns.mean(),
        "the border is compared with the opposite one; it has no neighbour there": with_opposite,
        "the border is compared with zeros; it has no neighbour there": with_zeros,
        "colours are compared with one another, too": right + colours,
        "colours are compared with one another; only pixels of one colour are neighbours": colours + rows.mean(),
        "the sums are divided by all the image's values; each mean has its own number of pairs": whole / x.numel(),
        "the sums are divided by H W; each mean has its own number of pairs": whole / x[0, 0].numel(),
        "it is one mean over both directions; two means were to be added": whole / (rows.numel() + columns.numel()),
        "the colours are summed; their mean was asked": 3 * right,
        "it is halved: the two means were to be added": right / 2,
        "the two means are multiplied; added was asked": rows.mean() * columns.mean(),
        "the difference of the two means is taken; added was asked": rows.mean() - columns.mean(),
        "the root of it was not asked": right.sqrt(),
        "the roots of the two means are added; no root was asked": rows.mean().sqrt() + columns.mean().sqrt(),
        "the root of each pixel's two squares is taken; that is another total variation": both.sqrt().mean(),
        "the last row and column are left out of some pairs; each mean is over all of its pairs": both.mean(),
        "off by one: pixels two apart are compared": two_apart,
        "off by one: the last row and the last column are never compared": means(down[..., :-1, :], across[..., :-1]),
        "off by one: the first row and the first column are never compared": means(down[..., 1:, :], across[..., 1:]),
        "each pixel is compared with the one at its corner; downwards and across were asked": corner.square().mean(),
        "the sign is wrong": -right,
    }
