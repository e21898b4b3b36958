"""Lesson 2: what a position sees, which channels are selective, and the gradient that goes to the pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from nst_lessons.exercises.checking import Answer, Draw, Mistake, close, exercise, expect, expect_shape, expect_value
from nst_lessons.exercises.watching import WatchedNetwork, left_alone
from nst_lessons.images import STD, per_channel
from nst_lessons.network import Backbone
from nst_lessons.visualize import selective_channels, top_channels

Rule = Callable[[int, int], int]  # field and stride before a layer -> field after it


@exercise("Receptive field")
def check_receptive_field(receptive_field: Answer, draw: Draw) -> None:
    """``receptive_field(layers)``: the side, in pixels, of the square that one position after these layers depends on.

    A list of "conv", "relu" and "pool", from the first layer to the last, as in a VGG: a convolution is 3x3 with
    stride 1, pooling is 2x2 with stride 2. Without any layer it is 1.

    Source: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019).
    """
    networks = [vgg_layers_and_field(draw) for _ in range(4)]
    plain = [[kind for kind in layers if kind != "relu"] for layers, _ in networks]
    fields = torch.tensor([field for _, field in networks]).double()
    found = torch.tensor([whole_number(receptive_field(layers)) for layers in plain]).double()
    expect_value(found, fields, field_mistakes(plain, fields), "the field is not that of these layers")
    with_relu = [whole_number(receptive_field(layers)) for layers, _ in networks]
    expect(with_relu == fields.tolist(), 'a "relu" must change nothing: it looks at one position only')
    expect(whole_number(receptive_field([])) == 1, "without any layer, a position is one pixel: 1 was asked")


def vgg_layers_and_field(draw: Draw) -> tuple[list[str], int]:
    """The kinds of layers of a VGG, down to one in its third block or fourth, and the field there."""
    with torch.device("meta"):  # a network's shape, without weights
        network = Backbone([[1] * draw.random.randint(1, 3) for _ in range(4)])
    deep = [layer for layer in network.layers if layer.startswith(("conv3", "pool3", "conv4"))]
    last = draw.random.choice(deep)
    kinds = [layer.rstrip("_0123456789") for layer in network.layers_down_to([last])]
    return kinds, network.receptive_field[last]


def whole_number(value: object) -> float:
    """A field that a function returns, as a number; `Mistake` for anything else."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise Mistake(f"the field must be one whole number, and is a {type(value).__name__}") from None


def field_of(
    layers: Iterable[str],
    conv: Rule = lambda r, s: r + 2 * s,
    pool: Rule = lambda r, s: r + s,
    further: Callable[[int], int] = lambda s: 2 * s,
) -> tuple[int, int]:
    """Receptive field r and stride s of layers, by rules that may be wrong: of both layers, and of pooling's stride."""
    r = s = 1
    for kind in layers:
        if kind == "conv":
            r = conv(r, s)
        elif kind == "pool":
            r, s = pool(r, s), further(s)
    return r, s


def field_mistakes(networks: list[list[str]], right: Tensor) -> dict[str, Tensor]:
    """What wrong rules give for some networks."""

    def of_each(field: Callable[[list[str]], int]) -> Tensor:
        return torch.tensor([field(layers) for layers in networks]).double()

    def by(**rules: Callable[..., int]) -> Tensor:
        return of_each(lambda layers: field_of(layers, **rules)[0])

    return {
        "strides are ignored: pooling doubles every later step": by(conv=lambda r, s: r + 2, pool=lambda r, s: r + 1),
        "a convolution adds 2 steps, which are 2 pixels only before any pooling": by(conv=lambda r, s: r + 2),
        "pooling adds 1 step, which is 1 pixel only in the first block": by(pool=lambda r, s: r + 1),
        "pooling widens the field, too: its window is 2 wide": by(pool=lambda r, s: r),
        "pooling adds too much: its window is 2 wide, not 3, and its stride counts only for the layers after it": by(
            pool=lambda r, s: r + 2 * s
        ),
        "that is the field of the same layers in reverse; going backwards, pooling doubles the field": of_each(
            lambda layers: field_of(layers[::-1])[0]
        ),
        "a layer adds one step less than its window is wide: k - 1, not k": by(
            conv=lambda r, s: r + 3 * s, pool=lambda r, s: r + 2 * s
        ),
        "a convolution reaches one step to each side, so it adds two": by(conv=lambda r, s: r + s),
        "strides are multiplied; here 2 is added for each pooling": by(further=lambda s: s + 2),
        "strides are multiplied; here 1 is added for each pooling": by(further=lambda s: s + 1),
        "off by one: the field begins with 1 pixel, not with 0": right - 1,
        "off by one: the field is a pixel too wide": right + 1,
        "that is the number of pixels in the square; its side was asked": right.square(),
        "that is the stride, from one position to the next; the field was asked": of_each(lambda x: field_of(x)[1]),
        "the last layer is left out": of_each(lambda layers: field_of(layers[:-1])[0]),
        "the first layer is left out": of_each(lambda layers: field_of(layers[1:])[0]),
    }


@exercise("Most selective channels")
def check_most_selective(most_selective: Answer, draw: Draw) -> None:
    """``most_selective(features, count)``: the numbers of the channels with the highest peak over their mean.

    Features ``(B, C, H, W)`` of B images, whose peak and mean are taken over all images and positions; a list, the
    highest first, of `count` channels. Those whose mean is not above 0 are never chosen, so there may be fewer.

    Source: lesson 2, section 3.
    """
    count = 3
    several = [varied_features(draw) for _ in range(8)]
    answers = [channel_numbers(most_selective(features, count)) for features in several]
    right = [selective_channels(features, count) for features in several]
    if answers != right:
        tables = [wrong_choices(features, count) for features in several]
        for sentence in tables[0]:
            expect(not same_numbers(answers, [table[sentence] for table in tables]), sentence)
        sizes = {len(answer) for answer in answers}
        expect(sizes == {count}, f"{count} channels were asked, and {min(sizes)} are given")
        raise Mistake("these are not the channels with the highest peak over mean")
    features, silent, negative = features_without_some(draw)
    for wanted in (2, features.shape[1]):
        chosen = channel_numbers(most_selective(features, wanted))
        expect(
            silent not in chosen,
            "a channel that is silent everywhere is chosen; its peak over its mean is 0 / 0, which is no number",
        )
        below = negative & set(chosen)
        expect(not below, "a channel whose mean is below 0 is chosen; only those above 0 were asked for")
        as_before = chosen == selective_channels(features, wanted)
        expect(as_before, "where some channels are silent, the others must be chosen as before")


def varied_features(draw: Draw) -> Tensor:
    """Features ``(B, C, H, W)`` above 0; channels differ in size and in how rare peaks are, and images, too."""
    images, rows, columns, channels = sorted(draw.sizes(4, 2, 9))
    features = torch.rand(images, channels, rows, columns, generator=draw.generator, dtype=torch.float64)
    size, rest = torch.rand(2, 1, channels, 1, 1, generator=draw.generator).double()
    brightness, rarity = torch.rand(2, images, channels, 1, 1, generator=draw.generator).double()
    return 10**size * (0.3 + brightness) * (2 * rest**2 + features ** (1 + 6 * rarity))


def features_without_some(draw: Draw) -> tuple[Tensor, int, set[int]]:
    """Such features, with a channel that is silent and two whose means are below 0; and which those are."""
    features = varied_features(draw)
    silent, mostly, always = draw.order(features.shape[1])[:3].tolist()
    features[:, silent] = 0
    features[:, mostly] -= 1.02 * features[:, mostly].mean()  # barely below 0: the largest ratio without its sign
    features[:, always] *= -1
    return features, silent, {mostly, always}


def channel_numbers(value: object) -> list[float]:
    """What a function returns, as a list of numbers; `Mistake` for what is no list of numbers."""
    asked = "a list of channel numbers was asked"
    expect(isinstance(value, list | tuple | Tensor), f"{asked}; this is a {type(value).__name__}")
    try:
        return [float(number) for number in value]  # type: ignore[attr-defined]
    except (TypeError, ValueError, RuntimeError):
        raise Mistake(f"{asked}, and its entries are no numbers") from None


def same_numbers(answers: Iterable[Sequence[float]], others: Iterable[Sequence[float]]) -> bool:
    """Whether lists of numbers are equal, up to rounding."""
    return all(
        len(answer) == len(other) and all(map(math.isclose, answer, other))
        for answer, other in zip(answers, others, strict=True)
    )


def selectivity(features: Tensor, dims: tuple[int, ...] = (0, 2, 3)) -> Tensor:
    """Peak over mean; for channels, unless other dimensions are given."""
    return features.amax(dims) / features.mean(dims)


def wrong_choices(x: Tensor, count: int) -> dict[str, Sequence[float]]:
    """``{sentence: the list that comes out with this mistake}`` of the most selective channels of features."""
    right, ratio = selective_channels(x, count), selectivity(x)
    peak, mean, deviation = x.amax((0, 2, 3)), x.mean((0, 2, 3)), x.std((0, 2, 3))
    of_each = selectivity(x, (2, 3)).mean(0)
    ranked_by = {
        "these are the least selective ones, or the mean is divided by the peak": -ratio,
        "these are the channels with the highest peak; it was to be divided by the mean": peak,
        "the mean is subtracted from the peak; divided was asked": peak - mean,
        "the peak is divided by the standard deviation; by the mean was asked": peak / deviation,
        "only the first image counts; peak and mean are over all of them": selectivity(x[:1]),
        "only the last image counts; peak and mean are over all of them": selectivity(x[-1:]),
        "the images are averaged before the peak is taken; it is over all of them": x.mean(0).amax((1, 2)) / mean,
        "the ratio is taken of each image and then averaged; one peak and one mean were asked": of_each,
        "the wrong axis is left: these are columns of the maps; channels were asked": selectivity(x, (0, 1, 2)),
        "the wrong axis is left: these are rows of the maps; channels were asked": selectivity(x, (0, 1, 3)),
        "the wrong axis is left: these are images; channels were asked": selectivity(x, (1, 2, 3)),
    }
    return {
        "the least selective of them comes first": right[::-1],
        "they are sorted by number; the most selective first was asked": sorted(right),
        "these are the channels with the largest mean; the peak over the mean was asked": top_channels(x, count),
        "channels are counted from 1; the first one is 0": [1 + channel for channel in right],
        "all channels are given; count says how many": selective_channels(x, x.shape[1]),
        "these are the ratios; the channels' numbers were asked": ratio.sort(descending=True).values[:count].tolist(),
    } | {sentence: values.argsort(descending=True)[:count].tolist() for sentence, values in ranked_by.items()}


@exercise("Gradient of a channel")
def check_image_gradient(image_gradient: Answer, draw: Draw) -> None:
    """``image_gradient(network, image, layer, channel)``: the gradient of a channel's mean by the pixels.

    ``(1, 3, H, W) -> (1, 3, H, W)``; the mean is over the channel's positions, ``network(image, [layer])[layer]`` are
    the layer's features. The gradient is asked for the image alone: the network, frozen or not, is left as it came,
    without gradients on its weights, and so is the image.

    Source: Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks" (2013), https://arxiv.org/abs/1312.6034
    """
    for frozen in (True, False):
        network, image, layer, channel = network_and_channel(draw)
        network.requires_grad_(not frozen)
        right, of_others = channel_gradients(network, image, layer, channel)
        positions = network(image, [layer])[layer][0, 0].numel()
        mistakes = {
            "it is the gradient of the channel's sum; of its mean was asked": positions * right,
            "the sign is wrong: the gradient points to where the channel's mean grows": -right,
            "it is divided by its length; the gradient itself was asked": right / right.norm(),
            "only its size is returned, without the sign": right.abs(),
            "only its sign is returned": right.sign(),
            "it is the gradient by the normalised input; by the pixels was asked": right * per_channel(STD, image),
            "it is the image after a step; the gradient was asked": image + right,
            **of_others,
        }
        with as_they_came(network, image):
            gradient = image_gradient(network, image, layer, channel)
            expect_shape(gradient, tuple(image.shape), "the gradient")
            expect_value(gradient, right, mistakes, "the values are not those of the gradient of the channel's mean")
        expect_no_graph(gradient, "the gradient")
        again = close(image_gradient(network, image, layer, channel), right)
        expect(again, "the second call gives another gradient than the first: something is remembered")


@exercise("A step of gradient ascent")
def check_activation_step(activation_step: Answer, draw: Draw) -> None:
    """``activation_step(network, image, layer, channel, step_size)``: ``image + step_size * g / |g|``.

    ``(1, 3, H, W) -> (1, 3, H, W)``, a new image: g is the gradient of the channel's mean by the pixels, ``|g|`` the
    root of the sum of its squares, ``network(image, [layer])[layer]`` are the layer's features. Nothing is clamped.
    Network and image are left as they came.

    Source: Erhan, Bengio, Courville and Vincent, "Visualizing Higher-Layer Features of a Deep Network" (2009).
    """
    (network, image, layer, channel), size = network_and_channel(draw), draw.number(1.2, 3.0)
    g, of_others = channel_gradients(network, image, layer, channel)
    wrong = step_mistakes(image, g, size) | {said: size * other / other.norm() for said, other in of_others.items()}
    with as_they_came(network, image):
        result = activation_step(network, image, layer, channel, size)
        expect_shape(result, tuple(image.shape), "the new image")
        expect_value(result.detach() - image, size * g / g.norm(), wrong, "the step is not step_size * g / |g|")
    expect_no_graph(result, "the new image")
    again = close(activation_step(network, image, layer, channel, size), result)
    expect(again, "the second call gives another image than the first: something is remembered")


def step_mistakes(image: Tensor, g: Tensor, size: float) -> dict[str, Tensor]:
    """By what an image changes in wrong steps along a gradient."""
    step, by_root_mean_square = size * g / g.norm(), size * g / g.square().mean().sqrt()
    by_colour = size * g / g.norm(dim=(2, 3), keepdim=True)
    return {
        "it goes down: minus the gradient makes the channel's mean smaller": -step,
        "the gradient is not divided by its length |g|": size * g,
        "the gradient is divided by |g| squared; by |g| was asked": step / g.norm(),
        "the gradient is divided by the sum of its absolute values; by |g| was asked": size * g / g.abs().sum(),
        "the gradient is divided by its root mean square; |g| is the root of the sum of squares": by_root_mean_square,
        "the gradient is divided by its mean absolute value; by |g| was asked": size * g / g.abs().mean(),
        "the gradient is divided by its largest value; by |g| was asked": size * g / g.abs().max(),
        "the gradient is divided by its standard deviation; |g| is the root of the sum of squares": size * g / g.std(),
        "only the gradient's sign is used; g / |g| was asked": size * g.sign(),
        "each colour is divided by a length of its own; |g| is of all colours": by_colour,
        "step_size is left out": g / g.norm(),
        "step_size is left out, and the gradient is not divided by |g|": g,
        "the new image is clamped; nothing was to be": (image + step).clamp(0, 1) - image,
        "only the step is returned; the image plus the step was asked": step - image,
        "the gradient is returned; a new image was asked": g - image,
        "nothing has changed: the function returns the image that it was given": torch.zeros_like(image),
    }


def network_and_channel(draw: Draw) -> tuple[Backbone, Tensor, str, int]:
    """A network, an image, a layer before its ReLU, and a channel in its middle that is above 0 in some places only."""
    while True:
        network, image = WatchedNetwork(draw), draw.image()
        layer = draw.random.choice(["conv1_2", "conv2_1", "conv2_2"])
        channel = draw.random.randint(2, network.channels[layer] - 2)
        active = (network(image, [layer])[layer][:, channel] > 0).float().mean()
        if 0.2 < active < 0.8:
            return network, image, layer, channel


def channel_gradients(network: Backbone, image: Tensor, layer: str, channel: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The gradient of a channel's mean, and those of what might be taken for it, ``{sentence: gradient}``."""
    variable = image.clone().requires_grad_()
    maps = network(variable, [layer])[layer]
    own = maps[:, channel]
    middle = own[0, own.shape[1] // 2, own.shape[2] // 2]
    aims = {
        "the largest value of the channel is followed; its mean was asked": own.max(),
        "the squares of the channel are followed; its mean was asked": own.square().mean(),
        "only what is above 0 is followed, as after a ReLU; the mean of this layer was asked": own.clamp_min(0).mean(),
        "only the position in the middle is followed; the mean of all was asked": middle,
        "all channels of the layer are followed; one was asked": maps.mean(),
        "the wrong channel is followed: the one before; they are counted from 0": maps[:, channel - 1].mean(),
        "the wrong channel is followed: the next one; they are counted from 0": maps[:, channel + 1].mean(),
        "the first channel is followed, whichever was asked": maps[:, 0].mean(),
    }
    right, *others = (torch.autograd.grad(aim, variable, retain_graph=True)[0] for aim in (own.mean(), *aims.values()))
    return right, dict(zip(aims, others, strict=True))


@contextmanager
def as_they_came(network: Backbone, image: Tensor) -> Iterator[None]:
    """Watch that network and image are the same afterwards; a `Mistake` within comes first."""
    with left_alone(
        network,
        changed="the network's weights have changed; only the image may",
        frozen="the network's weights are frozen afterwards, and were not before",
        with_gradient="gradients are left on the network's weights; ask torch.autograd.grad for the image's alone",
    ):
        yield
    expect(
        image.grad is None,
        "the gradient stays on the image that was given, in image.grad, where the next call's is added to it; "
        "work on a copy",
    )
    expect(
        not image.requires_grad,
        "the image that was given requires gradients afterwards; work on a copy, image.clone().requires_grad_()",
    )


def expect_no_graph(result: Tensor, what: str) -> None:
    """Raise `Mistake` when a result holds on to what it was computed by."""
    expect(
        not result.requires_grad,
        f"{what} holds on to the graph that it was computed by, and a loop would keep all of them; detach it",
    )
