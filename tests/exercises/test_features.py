"""Lesson 2's checks of numbers: each wrong solution is caught with its own sentence, each right one passes."""

import pytest
import torch
from answers import assert_caught, assert_right

from nst_lessons.exercises import (
    check_most_selective,
    check_receptive_field,
)
from nst_lessons.exercises.checking import Draw
from nst_lessons.exercises.features import field_of, vgg_layers_and_field

WINDOW, STRIDE = {"conv": 3, "relu": 1, "pool": 2}, {"conv": 1, "relu": 1, "pool": 2}


def field_forwards(layers):
    field = stride = 1
    for layer in layers:
        field += (WINDOW[layer] - 1) * stride
        stride *= STRIDE[layer]
    return field


def field_backwards(layers):
    field = 1
    for layer in reversed(layers):
        field = (field - 1) * STRIDE[layer] + WINDOW[layer]
    return field


def field_by_pixels(layers):
    """The pixels themselves, from the position back to the image."""
    first, last = 100, 100
    for layer in reversed(layers):
        if layer == "conv":
            first, last = first - 1, last + 1
        elif layer == "pool":
            first, last = 2 * first, 2 * last + 1
    return last - first + 1


def field_by_counting(layers):
    return 1 + sum((WINDOW[layer] - 1) * 2 ** layers[:n].count("pool") for n, layer in enumerate(layers))


def field_by_a_gradient(layers):
    """How many values of a row one value in the middle depends on."""
    row = torch.ones(1, 1, 256, requires_grad=True)
    x = row
    for layer in layers:
        if layer == "conv":
            x = torch.conv1d(x, torch.ones(1, 1, 3), padding=1) / 3
        elif layer == "pool":
            x = torch.avg_pool1d(x, 2)
    x[0, 0, x.shape[2] // 2].backward()
    return (row.grad > 0).sum()


@pytest.mark.parametrize(
    "answer", [field_forwards, field_backwards, field_by_pixels, field_by_counting, field_by_a_gradient]
)
def test_right_fields(answer):
    assert_right(check_receptive_field, answer)


def field_by(conv=2, pool=1, relu=0, first=1, stride_first=False, further=lambda stride: 2 * stride):
    """The loop, with something wrong in it: how many steps layers add, or what pooling does with the stride."""

    def answer(layers):
        field, stride = first, 1
        for layer in layers:
            if layer == "pool" and stride_first:
                stride = further(stride)
            field += {"conv": conv, "pool": pool, "relu": relu}[layer] * stride
            if layer == "pool" and not stride_first:
                stride = further(stride)
        return field

    return answer


def field_of_pixels_only(conv, pool):
    """The loop without strides, or with pooling's alone."""

    def answer(layers):
        field, stride = 1, 1
        for layer in layers:
            if layer == "conv":
                field += conv
            elif layer == "pool":
                field, stride = pool(field, stride), 2 * stride
        return field

    return answer


def field_in_place(layers):
    field = 1
    while layers:
        layer = layers.pop()
        field = (field - 1) * STRIDE[layer] + WINDOW[layer]
    return field


def field_of_a_network_with_something(layers):
    return field_forwards(layers) if layers else None


class RemembersTheField:
    """A stride that is not set back."""

    def __init__(self):
        self.stride = 1

    def __call__(self, layers):
        field = 1
        for layer in layers:
            field += (WINDOW[layer] - 1) * self.stride
            self.stride *= STRIDE[layer]
        return field


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (field_by(further=lambda stride: stride), "strides are ignored"),
        (field_of_pixels_only(2, lambda field, stride: field + stride), "a convolution adds 2 steps"),
        (lambda x: field_by(pool=0)(x) + x.count("pool"), "pooling adds 1 step"),
        (field_by(pool=0), "pooling widens the field, too"),
        (field_by(pool=2), "pooling adds too much"),
        (field_by(stride_first=True), "its stride counts only for the layers after it"),
        (
            field_of_pixels_only(2, lambda field, stride: 2 * field),
            "the same layers in reverse; going backwards, pooling doubles the field",
        ),
        (field_by(conv=3, pool=2), "k - 1, not k"),
        (field_by(conv=1), "a convolution reaches one step to each side"),
        (field_by(further=lambda stride: stride + 2), "here 2 is added"),
        (field_by(further=lambda stride: stride + 1), "here 1 is added"),
        (field_by(first=0), "the field begins with 1 pixel"),
        (field_by(first=2), "a pixel too wide"),
        (lambda x: field_forwards(x) ** 2, "the number of pixels in the square"),
        (lambda x: 2 ** x.count("pool"), "that is the stride"),
        (lambda x: field_forwards(x[:-1]), "the last layer is left out"),
        (lambda x: field_forwards(x[1:]), "the first layer is left out"),
        (lambda x: field_forwards(x[::-1]), "the same layers in reverse"),
        (field_by(relu=2), '"relu" must change nothing'),
        (lambda x: field_forwards(x) if x else 0, "without any layer"),
        (lambda x: (field_forwards(x), 1), "must be one whole number, and is a tuple"),
        (field_in_place, "changes what it was given"),
        (field_of_a_network_with_something, "returns nothing"),
        (RemembersTheField, "not that of these layers"),
        (lambda x: field_forwards(x) + 0.5, "not that of these layers"),
    ],
)
def test_wrong_fields(answer, said):
    assert_caught(check_receptive_field, answer, said)


def test_the_rule_that_mistakes_are_made_of_is_right_without_one():
    for n in range(20):
        layers, field = vgg_layers_and_field(Draw(str(n)))
        assert field_of(layers)[0] == field


def peak(features):
    return features.amax((0, 2, 3))


def mean(features):
    return features.mean((0, 2, 3))


def selective_by_masking(features, count):
    active = mean(features) > 0
    ratio = torch.where(active, peak(features) / mean(features), -1)
    return ratio.argsort(descending=True)[: min(count, int(active.sum()))].tolist()


def selective_by_sorting(features, count):
    ratios = {}
    for channel in range(features.shape[1]):
        maps = features[:, channel]
        if maps.mean() > 0:
            ratios[channel] = float(maps.max() / maps.mean())
    return sorted(ratios, key=ratios.get, reverse=True)[:count]


def selective_by_topk(features, count):
    rows = features.transpose(0, 1).flatten(1)
    candidates = (rows.sum(1) > 0).nonzero().flatten()
    ratio = rows[candidates].max(dim=1).values / rows[candidates].mean(1)
    return candidates[ratio.topk(min(count, len(candidates))).indices]


@pytest.mark.parametrize("answer", [selective_by_masking, selective_by_sorting, selective_by_topk])
def test_right_choices(answer):
    assert_right(check_most_selective, answer)


def ranked(values):
    """A choice by these values of the features, of which nothing is left out."""
    return lambda x, count: values(x).argsort(descending=True)[:count].tolist()


def selective_with_one_ratio(features, count):
    """Divided by absolute means, where they are not 0."""
    means = mean(features).abs()
    ratio = torch.where(means > 0, peak(features).abs() / means, 0)
    return ratio.argsort(descending=True)[:count].tolist()


def selective_unless_silent(features, count):
    active = features.abs().sum((0, 2, 3)).nonzero().flatten()
    ratio = peak(features)[active] / mean(features)[active]
    return active[ratio.argsort(descending=True)][:count].tolist()


def selective_until_silent(features, count):
    """Taken out too late, so that others are missing."""
    chosen = ranked(lambda x: peak(x) / mean(x))(features, count)
    return [channel for channel in chosen if mean(features)[channel] > 0]


def selective_in_place(features, count):
    features /= features.mean((0, 2, 3), keepdim=True)
    return peak(features).argsort(descending=True)[:count].tolist()


def selective_with_an_error(features, count):
    ratio = [float(maps.max()) / float(maps.mean()) for maps in features.transpose(0, 1)]
    return sorted(range(len(ratio)), key=lambda channel: -ratio[channel])[:count]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x, n: (peak(x) / mean(x)).argsort()[:n].tolist(), "the least selective ones"),
        (ranked(lambda x: mean(x) / peak(x)), "the mean is divided by the peak"),
        (lambda x, n: selective_by_masking(x, n)[::-1], "the least selective of them comes first"),
        (lambda x, n: sorted(selective_by_masking(x, n)), "sorted by number"),
        (ranked(mean), "the channels with the largest mean"),
        (ranked(peak), "the channels with the highest peak"),
        (ranked(lambda x: peak(x) - mean(x)), "the mean is subtracted from the peak"),
        (ranked(lambda x: peak(x) / x.std((0, 2, 3))), "divided by the standard deviation"),
        (ranked(lambda x: x[0].amax((1, 2)) / x[0].mean((1, 2))), "only the first image counts"),
        (ranked(lambda x: x[-1].amax((1, 2)) / x[-1].mean((1, 2))), "only the last image counts"),
        (ranked(lambda x: x.mean(0).amax((1, 2)) / mean(x)), "the images are averaged before the peak"),
        (ranked(lambda x: (x.amax((2, 3)) / x.mean((2, 3))).mean(0)), "the ratio is taken of each image"),
        (ranked(lambda x: x.amax((0, 1, 2)) / x.mean((0, 1, 2))), "columns of the maps"),
        (ranked(lambda x: x.amax((0, 1, 3)) / x.mean((0, 1, 3))), "rows of the maps"),
        (ranked(lambda x: x.amax((1, 2, 3)) / x.mean((1, 2, 3))), "these are images"),
        (lambda x, n: [1 + channel for channel in selective_by_masking(x, n)], "counted from 1"),
        (lambda x, n: selective_by_masking(x, x.shape[1]), "all channels are given"),
        (lambda x, n: selective_by_masking(x, n - 1), "3 channels were asked, and 2 are given"),
        (lambda x, n: (peak(x) / mean(x)).topk(n).values, "these are the ratios"),
        (lambda x, n: (peak(x) / mean(x)).topk(n), "its entries are no numbers"),
        (lambda x, n: set(selective_by_masking(x, n)), "this is a set"),
        (ranked(lambda x: peak(x) / mean(x)), "silent everywhere is chosen"),  # 0 / 0 comes first
        (ranked(lambda x: peak(x) / (mean(x) + 1e-9)), "silent everywhere is chosen"),  # 0, and so not the last one
        (selective_with_one_ratio, "whose mean is below 0 is chosen"),
        (ranked(lambda x: peak(x) / mean(x).clamp_min(1e-9)), "whose mean is below 0 is chosen"),
        (selective_unless_silent, "whose mean is below 0 is chosen"),
        (selective_until_silent, "the others must be chosen as before"),
        (selective_with_an_error, "raises ZeroDivisionError"),
        (selective_in_place, "changes what it was given"),
        (lambda x, n: torch.randperm(x.shape[1])[:n].tolist(), "global random numbers"),
        (lambda x, n: list(range(n)), "not the channels with the highest peak over mean"),
    ],
)
def test_wrong_choices(answer, said):
    assert_caught(check_most_selective, answer, said)
