"""Lesson 1's checks: each wrong solution is caught with its own sentence, each right one passes."""

from itertools import pairwise

import pytest
import torch
from answers import assert_caught, assert_right
from torch.nn.functional import mse_loss
from torchvision.transforms.functional import normalize

from nst_lessons.exercises import check_deprocess, check_preprocess, check_preprocess_caffe, check_total_variation

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
CAFFE = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
CHANNELS_LAST = (0, 2, 3, 1)


def remembering(function):
    """A class whose answers change a little from call to call."""

    class Remembers:
        calls = 0

        def __call__(self, image):
            self.calls += 1
            return function(image) * (1 + 0.01 * (self.calls - 1))

    return Remembers


def of_one_size(function):
    """A class whose answers are right for images of the size that came first."""

    class OfOneSize:
        shape = None

        def __call__(self, image):
            self.shape = self.shape or image.shape
            return function(image) * (1 if image.shape == self.shape else 2)

    return OfOneSize


def preprocessed(x):
    return (x - MEAN) / STD


def preprocessed_colour_by_colour(image):
    colours = zip(image[0], (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
    return torch.stack([(plane - mean) / std for plane, mean, std in colours])[None]


def preprocessed_channels_last(image):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((image.movedim(1, -1) - mean) / std).movedim(-1, 1)


@pytest.mark.parametrize(
    "answer",
    [
        preprocessed,
        lambda x: normalize(x, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        preprocessed_colour_by_colour,
        preprocessed_channels_last,
    ],
)
def test_right_inputs(answer):
    assert_right(check_preprocess, answer)


def preprocessed_in_place(image):
    image -= MEAN
    image /= STD
    return image


def preprocessed_in_numpy(image):
    return torch.from_numpy((image.detach().numpy() - MEAN.numpy()) / STD.numpy())


def preprocessed_with_an_error(image):
    return (image - (0.485, 0.456, 0.406)) / STD


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: (x - STD) / MEAN, "mean and std are swapped"),
        (lambda x: x - MEAN, "not divided by std"),
        (lambda x: x / STD, "the mean is not subtracted"),
        (lambda x: x - MEAN / STD, "brackets are missing"),
        (lambda x: (x - MEAN) / STD + x * x, "not those of the formula"),
        (lambda x: x / STD - MEAN, "divided by std before the mean"),
        (lambda x: (x - MEAN.view(3)) / STD.view(3), "run along the width"),
        (lambda x: (x - MEAN.view(3, 1)) / STD.view(3, 1), "run along the height"),
        (lambda x: preprocessed(x.flip(1)), "the image is in the order BGR"),
        (lambda x: preprocessed(x).flip(1), "the result is in the order BGR"),
        (lambda x: (x - MEAN.flip(1)) / STD.flip(1), "mean and std are in the order BGR"),
        (lambda x: (x - MEAN.flip(1)) / STD, "the mean is in the order BGR"),
        (lambda x: (x - MEAN) / STD.flip(1), "std is in the order BGR"),
        (lambda x: preprocessed(255 * x), "pixels are taken from 0 to 255"),
        (lambda x: preprocessed(x / 255), "from 0 to 1 already"),
        (lambda x: (x - MEAN.mean()) / STD.mean(), "all colours share one mean and one std"),
        (lambda x: (x - MEAN.mean()) / STD, "all colours share one mean;"),
        (lambda x: (x - MEAN) / STD.mean(), "all colours share one std"),
        (lambda x: (x - MEAN) * STD, "multiplied by std"),
        (lambda x: (x + MEAN) / STD, "the mean is added"),
        (lambda x: (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True), "this image's own; ImageNet's"),
        (lambda x: (x - x.mean()) / x.std(), "this image's own, over all colours"),
        (lambda x: 2 * x - 1, "mean and std are 0.5"),
        (lambda x: (x - MEAN) / STD**2, "divided by std squared"),
        (lambda x: preprocessed(x).clamp(0, 1), "is clamped"),
        (preprocessed_in_place, "changes what it was given"),
        (preprocessed_in_numpy, "no gradient reaches the image"),
        (lambda x: preprocessed(x.double()), "float64; torch.float32 was asked"),
        (lambda x: (255 * x).byte(), "uint8; torch.float32 was asked"),
        (lambda x: preprocessed(x)[0], "(1, 3, 3, 3) was asked"),
        (lambda x: preprocessed(x).permute(CHANNELS_LAST), "the channels come last"),
        (lambda x: preprocessed(x).transpose(2, 3), "rows and columns are swapped"),
        (lambda x: x, "nothing has changed"),
        (remembering(preprocessed), "something is remembered"),
        (of_one_size(preprocessed), "wrong for a larger one"),
        (lambda x: None, "does it end with return"),
        (preprocessed_with_an_error, "`return (image - (0.485, 0.456, 0.406)) / STD`, raises TypeError"),
    ],
)
def test_wrong_inputs(answer, said):
    assert_caught(check_preprocess, answer, said)


def deprocessed(z):
    return z * STD + MEAN


def deprocessed_colour_by_colour(z):
    colours = zip(z[0], (0.229, 0.224, 0.225), (0.485, 0.456, 0.406), strict=True)
    return torch.stack([std * plane + mean for plane, std, mean in colours]).unsqueeze(0)


@pytest.mark.parametrize(
    "answer",
    [
        deprocessed,
        lambda z: normalize(z, (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225), (1 / 0.229, 1 / 0.224, 1 / 0.225)),
        deprocessed_colour_by_colour,
        lambda z: torch.addcmul(MEAN, z, STD),
    ],
)
def test_right_ways_back(answer):
    assert_right(check_deprocess, answer)


def deprocessed_in_place(z):
    return z.mul_(STD).add_(MEAN)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda z: (z + MEAN) * STD, "the steps are in the wrong order"),
        (lambda z: (z - z.min()) / (z.max() - z.min()), "smallest and largest value become 0 and 1"),
        (lambda z: (d := deprocessed(z)).sub(d.min()) / (d.max() - d.min()), "stretched to [0, 1] once more"),
        (lambda z: deprocessed(z).clamp(0, 1), "it is clamped to [0, 1]"),
        (lambda z: (255 * deprocessed(z)).clamp(0, 255), "it is clamped, from 0 to 255"),
        (lambda z: z / STD + MEAN, "divided by std"),
        (lambda z: z * STD - MEAN, "the mean is subtracted"),
        (lambda z: z * STD, "the mean is not added"),
        (lambda z: z + MEAN, "not multiplied by std"),
        (preprocessed, "preprocessed once more"),
        (lambda z: z * MEAN + STD, "mean and std are swapped"),
        (lambda z: z * STD.view(3) + MEAN.view(3), "along the width"),
        (lambda z: z * STD.view(3, 1) + MEAN.view(3, 1), "along the height"),
        (lambda z: deprocessed(z).flip(1), "the result is in the order BGR"),
        (lambda z: deprocessed(z.flip(1)), "the input is in the order BGR"),
        (lambda z: z * STD.flip(1) + MEAN.flip(1), "mean and std are in the order BGR"),
        (lambda z: z * STD.mean() + MEAN.mean(), "all colours share"),
        (lambda z: z / 2 + 0.5, "mean and std are 0.5"),
        (lambda z: 255 * deprocessed(z), "from 0 to 255; 0 to 1 was asked"),
        (lambda z: deprocessed(z).permute(CHANNELS_LAST), "the channels come last"),
        (lambda z: deprocessed(z).squeeze(0), "(1, 3, 3, 3) was asked"),
        (lambda z: (255 * deprocessed(z)).clamp(0, 255).byte(), "uint8"),
        (lambda z: deprocessed(z).detach().numpy(), "must be a tensor, and is a ndarray"),
        (lambda z: deprocessed(z).detach(), "no gradient reaches"),
        (deprocessed_in_place, "changes what it was given"),
        (remembering(deprocessed), "something is remembered"),
        (lambda z: (z + 1) * STD + MEAN, "not those of the formula"),
    ],
)
def test_wrong_ways_back(answer, said):
    assert_caught(check_deprocess, answer, said)


def caffe(x):
    return 255 * x.flip(1) - CAFFE


def caffe_colour_by_colour(image):
    red, green, blue = 255 * image[0]
    return torch.stack([blue - 103.939, green - 116.779, red - 123.68])[None]


def caffe_by_a_matrix(image):
    """As a convolution of 1 x 1 pixels: its weights swap and scale, its bias is minus the mean."""
    swapped = 255 * torch.eye(3).flip(0).view(3, 3, 1, 1)
    return torch.conv2d(image, swapped, bias=-CAFFE.flatten())


@pytest.mark.parametrize(
    "answer",
    [caffe, caffe_colour_by_colour, caffe_by_a_matrix, lambda x: (255 * x - CAFFE.flip(1))[:, [2, 1, 0]]],
)
def test_right_caffe_inputs(answer):
    assert_right(check_preprocess_caffe, answer)


def caffe_by_a_negative_step(image):
    return 255 * image[:, ::-1] - CAFFE


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: 255 * x - CAFFE.flip(1), "in the order RGB; BGR was asked"),
        (lambda x: 255 * x - CAFFE, "the mean fits BGR, and the image is in the order RGB still"),
        (lambda x: 255 * x.flip(1) - CAFFE.flip(1), "the mean is in the order RGB"),
        (lambda x: (255 * x - CAFFE).flip(1), "the mean is in the order RGB"),  # flipped too late
        (lambda x: x.flip(1) - CAFFE, "not multiplied by 255"),
        (lambda x: x.flip(1) - CAFFE / 255, "all is divided by 255"),
        (lambda x: 255 * (x.flip(1) - CAFFE), "subtracted before pixels are multiplied"),
        (lambda x: x.flip(1) / 255 - CAFFE, "pixels are divided by 255"),
        (lambda x: 255 * x.flip(1), "the mean is not subtracted"),
        (lambda x: 255 * x.flip(1) + CAFFE, "the mean is added"),
        (lambda x: caffe(x) / STD, "divided by std;"),
        (lambda x: caffe(x) / STD.flip(1), "divided by std, in the order BGR"),
        (lambda x: caffe(x) / (255 * STD.flip(1)), "divided by 255 * std"),
        (lambda x: 255 * x.flip(-1) - CAFFE, "flipped from left to right"),
        (lambda x: 255 * x.flip(2) - CAFFE, "upside down"),
        (lambda x: 255 * x.flip(1, 2, 3) - CAFFE, "all axes are reversed"),
        (lambda x: 255 * x.flip(1) - CAFFE.view(3), "runs along the width"),
        (lambda x: 255 * x.flip(1) - CAFFE.view(3, 1), "runs along the height"),
        (lambda x: 255 * x.flip(1) - CAFFE.mean(), "share one mean"),
        (lambda x: 255 * x[:, [1, 0, 2]] - CAFFE, "only two channels are swapped"),
        (lambda x: 255 * x.roll(1, 1) - CAFFE, "shifted by one"),
        (lambda x: (255 * x.flip(1)).round() - CAFFE, "rounded to whole numbers"),
        (lambda x: (255 * x.flip(1)).byte() - CAFFE, "cut off to whole numbers"),
        (preprocessed, "torchvision's convention"),
        (lambda x: x.mul_(255).flip(1) - CAFFE, "changes what it was given"),
        (lambda x: caffe(x.detach()), "no gradient reaches"),
        (caffe_by_a_negative_step, "`return 255 * image[:, ::-1] - CAFFE`, raises ValueError"),
        (remembering(caffe), "something is remembered"),
        (lambda x: 256 * x.flip(1) - CAFFE, "not those of the formula"),
    ],
)
def test_wrong_caffe_inputs(answer, said):
    assert_caught(check_preprocess_caffe, answer, said)


def variation(x):
    return (x[:, :, 1:] - x[:, :, :-1]).square().mean() + (x[..., 1:] - x[..., :-1]).square().mean()


def variation_by_convolution(image):
    planes = image.transpose(0, 1)
    steps = torch.tensor([-1, 1], dtype=image.dtype)
    down, across = torch.conv2d(planes, steps.view(1, 1, 2, 1)), torch.conv2d(planes, steps.view(1, 1, 1, 2))
    return (down**2).mean() + (across**2).mean()


def variation_by_roll(image):
    """Rolled, and the pairs across the border taken off again."""
    _, channels, height, width = image.shape
    down = (image - image.roll(-1, 2))[:, :, :-1] ** 2
    across = (image - image.roll(-1, 3))[:, :, :, :-1] ** 2
    return down.sum() / (channels * (height - 1) * width) + across.sum() / (channels * height * (width - 1))


def variation_by_direction(image):
    total = 0
    for dim in (2, 3):
        length = image.shape[dim] - 1
        total = total + mse_loss(image.narrow(dim, 1, length), image.narrow(dim, 0, length))
    return total


@pytest.mark.parametrize(
    "answer",
    [
        variation,
        variation_by_convolution,
        variation_by_roll,
        variation_by_direction,
        lambda x: sum(x.diff(dim=dim).pow(2).mean() for dim in (2, 3)),
    ],
)
def test_right_variations(answer):
    assert_right(check_total_variation, answer)


def variation_by_rows(image):
    _, _, height, width = image.shape
    down = torch.stack([(image[:, :, r + 1] - image[:, :, r]).square() for r in range(height - 1)])
    across = torch.stack([(image[..., s + 1] - image[..., s]).square() for s in range(width - 1)])
    return down.mean() + across.mean()


def variation_by_pixels(image):
    _, channels, height, width = image.shape
    down = across = 0
    for r in range(height):
        for s in range(width):
            if r + 1 < height:
                down = down + (image[0, :, r + 1, s] - image[0, :, r, s]).square().sum()
            if s + 1 < width:
                across = across + (image[0, :, r, s + 1] - image[0, :, r, s]).square().sum()
    return down / (channels * (height - 1) * width) + across / (channels * height * (width - 1))


def variation_of_numbers(image):
    rows = image[0].tolist()
    down = [(a - b) ** 2 for plane in rows for x, y in pairwise(plane) for a, b in zip(x, y)]
    across = [(a - b) ** 2 for plane in rows for x in plane for a, b in pairwise(x)]
    return torch.tensor(sum(down) / len(down) + sum(across) / len(across))


def down(x):
    return x.diff(dim=2)


def across(x):
    return x.diff(dim=3)


def one_mean(x):
    return torch.cat([down(x).flatten(), across(x).flatten()]).square().mean()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: down(x).abs().mean() + across(x).abs().mean(), "absolute differences are taken"),
        (lambda x: down(x).mean() + across(x).mean(), "differences are taken as they are"),
        (lambda x: down(x).mean() ** 2 + across(x).mean() ** 2, "the means are squared"),
        (lambda x: down(x).square().sum() + across(x).square().sum(), "the differences are summed"),
        (lambda x: down(x).abs().sum() + across(x).abs().sum(), "absolute differences are summed"),
        (lambda x: down(x).square().mean(), "differences across are missing"),
        (lambda x: across(x).square().mean(), "differences downwards are missing"),
        (lambda x: sum((x - x.roll(1, dim)).square().mean() for dim in (2, 3)), "compared with the opposite one"),
        (
            lambda x: sum(x.diff(dim=dim, append=0 * x.narrow(dim, 0, 1)).square().mean() for dim in (2, 3)),
            "with zeros",
        ),
        (lambda x: sum(x.diff(dim=dim).square().mean() for dim in (1, 2, 3)), "colours are compared with one another,"),
        (lambda x: sum(x.diff(dim=dim).square().mean() for dim in (1, 2)), "only pixels of one colour are neighbours"),
        (lambda x: (down(x).square().sum() + across(x).square().sum()) / x.numel(), "by all the image's values"),
        (lambda x: (down(x).square().sum() + across(x).square().sum()) / x[0, 0].numel(), "divided by H W"),
        (one_mean, "one mean over both directions"),
        (lambda x: variation(x) * 3, "the colours are summed"),
        (lambda x: variation(x) / 2, "it is halved"),
        (lambda x: down(x).square().mean() * across(x).square().mean(), "the two means are multiplied"),
        (lambda x: down(x).square().mean() - across(x).square().mean(), "the difference of the two means"),
        (lambda x: variation(x).sqrt(), "the root of it was not asked"),
        (lambda x: down(x).square().mean().sqrt() + across(x).square().mean().sqrt(), "the roots of the two means"),
        (lambda x: torch.hypot(down(x)[..., :-1], across(x)[..., :-1, :]).mean(), "another total variation"),
        (lambda x: (down(x)[..., :-1] ** 2 + across(x)[..., :-1, :] ** 2).mean(), "left out of some pairs"),
        (lambda x: mse_loss(x[:, :, 2:], x[:, :, :-2]) + mse_loss(x[..., 2:], x[..., :-2]), "pixels two apart"),
        (
            lambda x: mse_loss(x[:, :, 1:-1], x[:, :, :-2]) + mse_loss(x[..., 1:-1], x[..., :-2]),
            "last row and the last",
        ),
        (
            lambda x: mse_loss(x[:, :, 2:], x[:, :, 1:-1]) + mse_loss(x[..., 2:], x[..., 1:-1]),
            "first row and the first",
        ),
        (lambda x: mse_loss(x[..., 1:, 1:], x[..., :-1, :-1]), "the one at its corner"),
        (lambda x: -variation(x), "the sign is wrong"),
        (variation_by_rows, "compared in a loop"),
        (variation_by_pixels, "compared in a loop"),
        (variation_of_numbers, "no gradient reaches the input"),
        (lambda x: variation(x.detach()), "no gradient reaches the input"),
        (lambda x: mse_loss(x[:, :, 1:], x[:, :, :-1].detach()) + across(x).square().mean(), "is a part detached"),
        (lambda x: down(x).square().mean((2, 3)) + across(x).square().mean((2, 3)), "must be one number"),
        (lambda x: float(variation(x)), "must be a tensor, so that its gradient"),
        (lambda x: variation(x.mul_(1)) + 0 * x.copy_(down(x).sum().expand_as(x)).sum(), "changes what it was given"),
        (remembering(variation), "something is remembered"),
        (of_one_size(variation), "wrong for a larger one"),
        (lambda x: variation(x) + 1e-6, "a plain grey image must have 0"),
        (lambda x: variation(x) + 0.1, "not the mean of the squared differences"),
    ],
)
def test_wrong_variations(answer, said):
    assert_caught(check_total_variation, answer, said)
