"""Lesson 4: the Gram matrix, what it forgets, the style's loss, and the image that comes back from Gram matrices."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate

from nst_lessons.exercises.checking import (
    Answer,
    Draw,
    Mistake,
    close,
    exercise,
    expect,
    expect_function,
    expect_gradient,
    expect_scalar,
    expect_shape,
    expect_value,
)
from nst_lessons.exercises.content import relative_mistakes
from nst_lessons.exercises.watching import (
    WatchedNetwork,
    expect_result,
    expect_search,
    expect_untouched,
    left_alone,
    near,
)
from nst_lessons.losses import gram_matrix as gram
from nst_lessons.losses import mean_and_deviation, relative_error

STEPS, FEW_STEPS = 60, 4  # of the reconstruction that is checked
LAYERS = ["relu1_1", "relu2_1"]
# {sentence: what is compared instead of Gram matrices}
OTHER_STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "the features are compared place by place, as for content; compare their Gram matrices": lambda F: F,
    "the matrices multiply positions with positions; channels with channels was asked": lambda F: (
        F.flatten(2).mT @ F.flatten(2)
    ),
    "only the channels' means are compared; the whole Gram matrices were asked": lambda F: F.mean((2, 3)),
    "means and deviations are compared; Gram matrices were asked": mean_and_deviation,
    "the means are taken off first, so covariances are compared; Gram matrices were asked": lambda F: gram(centred(F)),
    "only the diagonals of the Gram matrices are compared; all their entries were asked": lambda F: F.square().mean(
        (2, 3)
    ),
}


@exercise("Gram matrix")
def check_gram_matrix(gram_matrix: Answer, draw: Draw) -> None:
    """``gram_matrix(features)``: ``(B, C, H, W) -> (B, C, C)``, ``G = F F^T / (H W)`` of each item of the batch."""
    features = draw.features()
    _, channels, height, width = features.shape
    G, right, positions = gram_matrix(features), gram(features), height * width
    if isinstance(G, Tensor) and G.shape[-2:] == (positions, positions):
        size = f"{positions}x{positions}"
        raise Mistake(f"the matrix is {size}: it is transposed, C x C was asked, here {channels}x{channels}")
    if isinstance(G, Tensor) and G.shape == (channels, channels):
        raise Mistake(f"the matrix has no batch: the shape (1, {channels}, {channels}) was asked")
    expect_function(gram_matrix, (features,), (features.flip(1) + 1,))
    expect_shape(G, (1, channels, channels), "the Gram matrix")
    otherwise = "the values are not those of F F^T / (H W); does each channel's row hold all of its positions?"
    expect_value(G, right, wrong_grams(features), otherwise)
    signed = features - 0.5
    signs_count = close(gram_matrix(signed), gram(signed))
    expect(signs_count, "features below 0 are cut off, or their sign is lost; they count as they are")
    batch = draw.features(3)
    several, right_ones = gram_matrix(batch), gram(batch)
    expect_shape(several, (3, batch.shape[1], batch.shape[1]), "the Gram matrix of a batch of 3")
    mistakes = {
        "it is divided by the size of the batch too": right_ones / 3,
        "the items of a batch mix: all have the same matrix": right_ones.mean(0).expand(3, -1, -1),
    }
    otherwise = "the items of a batch mix: each must have the matrix that it has alone"
    expect_value(several, right_ones, mistakes, otherwise)
    expect_gradient(lambda x: (gram_matrix(x) * right).sum(), features)


def wrong_grams(features: Tensor) -> dict[str, Tensor | float]:
    """``{sentence: what comes out with this mistake}`` of a Gram matrix."""
    G, (channels, height, width) = gram(features), features.shape[1:]
    return {
        "it is not divided by the number of positions, H W": G * height * width,
        "it is divided by the number of channels too; H W was asked": G / channels,
        "it is divided by the number of channels instead of H W": G * height * width / channels,
        "it is divided by the height only; H W was asked": G * width,
        "it is divided by the width only; H W was asked": G * height,
        "it is divided by H W twice": G / (height * width),
        "the sign is wrong": -G,
        "the means are taken off first: that is a covariance": gram(centred(features)),
        "it is the root of the Gram matrix": G.clamp_min(0).sqrt(),
        "only the upper half is there; a Gram matrix is symmetric": G.triu(),
        "only the diagonal is there; each channel is multiplied with every other, too": diagonal(G).diag_embed(),
    }


def centred(features: Tensor) -> Tensor:
    """Without each channel's mean."""
    return features - features.mean((2, 3), keepdim=True)


@exercise("Shuffled positions")
def check_shuffle_positions(shuffle_positions: Answer, draw: Draw) -> None:
    """``shuffle_positions(features, order)``: ``(1, C, H, W)`` with its positions, row by row, in another order.

    The order is a permutation ``(H W,)``, the same for all channels: what stood at ``order[0]`` comes first.
    """
    features = draw.features()
    positions = features[0, 0].numel()
    order = draw.order(positions)
    shuffled = shuffle_positions(features, order)
    expect_shape(shuffled, tuple(features.shape), "the result")
    rows, by_columns = features.flatten(2), features.mT.flatten(2)[..., order]
    if not close(shuffled, rows[..., order].view_as(features)):
        put_back, inverse = by_columns.view_as(features.mT).mT, rows[..., order.argsort()]
        mistakes = {
            "the order is applied the other way round: what stood at order[0] must come first": inverse,
            "the positions are counted column by column; row by row was asked": by_columns,
            "the positions are read and put back column by column; row by row was asked": put_back,
        }
        for sentence, wrong in mistakes.items():
            expect(not close(shuffled, wrong.reshape(features.shape)), sentence)
        kept = close(shuffled.flatten(2).sort().values, rows.sort().values)
        expect(kept, "the channels' values are not the same as before: positions are moved, and nothing else")
        expect(
            close(gram(shuffled), gram(features)),
            "each channel has an order of its own: what was active together no longer is, and the Gram matrix changes",
        )
        raise Mistake("the positions are in another order than the one that was given")
    unchanged = torch.arange(positions)
    expect(close(shuffle_positions(features, unchanged), features), "the order 0, 1, 2, ... must change nothing")


@exercise("Style loss of one layer")
def check_layer_style_loss(layer_style_loss: Answer, draw: Draw) -> None:
    """``layer_style_loss(gram, target)``: ``|G - A|^2 / |A|^2``, for Gram matrices ``(1, C, C)``; a scalar."""
    (channels,), scale = draw.sizes(1), draw.number()
    G, A = random_gram(channels, draw), random_gram(channels, draw)
    loss = layer_style_loss(G, A)
    expect_scalar(loss, "the loss")
    expect_function(layer_style_loss, (G, A), (2 * A, A))
    expect_value(loss, relative_error(G, A), wrong_layer_losses(G, A), "the value is not |G - A|^2 / |A|^2")
    expect(float(layer_style_loss(A, A).abs()) < 1e-9, "equal matrices must have a loss of 0")
    expect(close(layer_style_loss(scale * G, scale * A), loss), "a larger scale of both must not change the loss")
    expect_gradient(lambda x: layer_style_loss(x, A), G)


def wrong_layer_losses(G: Tensor, A: Tensor) -> dict[str, Tensor | float]:
    """``{sentence: what comes out with this mistake}`` of the style loss of one layer."""
    difference, norm, four_N2 = G - A, A.square().sum(), 4 * G.shape[1] ** 2
    squares = difference.square()
    return relative_mistakes(G, A, "G", "A") | {
        "it is divided by the number of entries too": squares.mean() / norm,
        "the square is missing above and below: |G - A| and |A| are summed": difference.abs().sum() / A.abs().sum(),
        "the sums are squared; square each entry, then sum": difference.sum().square() / A.sum().square(),
        "the squares' difference is taken; the difference's square was asked": (G.square() - A.square()).sum() / norm,
        "@ multiplies matrices; each entry must be squared by itself": (difference @ difference).sum() / (A @ A).sum(),
        "only the diagonal counts; all entries were asked": relative_error(diagonal(G), diagonal(A)),
        "each entry is divided by its own target; divide the sum by |A|^2": (difference / A).square().sum(),
        "each entry is divided by its own target, and the mean is taken": (difference / A).square().mean(),
        "this is the paper's 1 / (4 N^2); ours is divided by the target's |A|^2 instead": squares.sum() / four_N2,
    }


def diagonal(G: Tensor) -> Tensor:
    """The mean square of each channel."""
    return G.diagonal(dim1=1, dim2=2)


@exercise("Weighted style loss")
def check_style_loss(style_loss: Answer, draw: Draw) -> None:
    """``style_loss(grams, targets, weights)``: ``sum over l of w_l |G_l - A_l|^2 / |A_l|^2``; dicts by layer's name.

    Only the layers of `weights` count; `grams` and `targets` may have more.
    """
    names, (u, v) = ["relu1_1", "relu2_1", "relu3_1"], (draw.number(), draw.number(3.5, 6.0))
    sizes = dict(zip(names, draw.sizes(3), strict=True))
    grams, targets = ({name: random_gram(sizes[name], draw) for name in order} for order in (names, names[::-1]))
    weights, w = {names[0]: u, names[1]: v}, torch.tensor([u, v], dtype=torch.float64)
    loss = style_loss(grams, targets, weights)
    expect_scalar(loss, "the loss")
    others = {name: G + 1 for name, G in grams.items()}
    expect_function(style_loss, (grams, targets, weights), (others, targets, weights))
    *asked, (unasked_G, unasked_A) = [(grams[name], targets[name]) for name in names]
    losses = torch.stack([relative_error(G, A) for G, A in asked])
    by_own_norm = torch.stack([relative_error(A, G) for G, A in asked])
    undivided = torch.stack([(G - A).square().sum() for G, A in asked])
    all_layers = w @ losses + relative_error(unasked_G, unasked_A)
    mistakes = wrong_sums(losses, w) | {
        "layers without a weight count too; only those of the weights are asked": all_layers,
        "it is divided by |G|^2 instead of the target's |A|^2": w @ by_own_norm,
        "a layer's loss is not divided by its target's |A|^2": w @ undivided,
    }
    expect_value(loss, w @ losses, mistakes, "the value is not the weighted sum of the layers' losses")
    expect(float(style_loss(targets, targets, weights).abs()) < 1e-9, "equal matrices must have a loss of 0")
    for name in weights:
        expect_gradient(lambda x, name=name: style_loss({**grams, name: x}, targets, weights), grams[name])  # type: ignore[misc]


def wrong_sums(losses: Tensor, w: Tensor) -> dict[str, Tensor | float]:
    """``{sentence: what comes out with this mistake}`` of the weighted sum of two layers' losses, each ``(2,)``."""
    right, plain = w @ losses, losses.sum()
    of_sums = w.sum() * plain
    return {
        "the weights are left out": plain,
        "the weights are left out, and the mean is taken": plain / 2,
        "it is divided by the sum of the weights": right / w.sum(),
        "it is divided by the number of layers": right / 2,
        "each layer has the weight of the other": w.flip(0) @ losses,
        "all layers have the weight of the last one": w[1] * plain,
        "the weights are squared": w**2 @ losses,
        "the sum of the weights is multiplied by that of the losses; each layer has a weight of its own": of_sums,
        "only the last layer counts: does the sum begin anew in the loop?": w[1] * losses[1],
        "only the first layer counts: does the function return within the loop?": w[0] * losses[0],
        "the root of the loss was not asked": right.sqrt(),
    }


def random_gram(channels: int, draw: Draw) -> Tensor:
    """A Gram matrix ``(1, C, C)``, float64."""
    return gram(torch.randn(1, channels, 40, 2, generator=draw.generator, dtype=torch.float64))


@exercise("Style reconstruction")
def check_style_reconstruction(reconstruct_style: Answer, draw: Draw) -> None:
    """``reconstruct_style(network, painting, layers, start, steps) -> image``: from the start to the painting's style.

    All images are ``(1, 3, H, W)`` in [0, 1]; the result has the start's size, which may not be the painting's. The
    start is noise, and stays as it is; any optimiser of torch changes a copy of it until the Gram matrices of the
    network's features at the layers are the painting's. The sum over the layers of ``|G - A|^2 / |A|^2`` must fall
    below a quarter of the start's, and below 1. Gatys et al. (2016), section 2.2.
    """
    network, noise = WatchedNetwork(draw, ((8, 8), (12, 12))), draw.image(16, 24)
    painting = painting_like(noise, draw)
    result = searched(reconstruct_style, network, painting, LAYERS, noise, STEPS)
    expect_gram_losses(network, painting)
    expect(
        likeness(result, painting) < 0.5,
        "the result has things where the painting has them, and Gram matrices do not know where; is the painting mixed "
        "in?",
    )
    expect_fall(network, painting, noise, result)
    evaluations = len(network.searches)
    searched(reconstruct_style, network, painting, ["relu2_2"], draw.image(10, 15), FEW_STEPS)
    fewer = len(network.searches) < evaluations
    expect(fewer, f"{FEW_STEPS} steps and {STEPS} steps are the same number of steps; is `steps` used?")


def searched(
    reconstruct_style: Answer, network: WatchedNetwork, painting: Tensor, layers: list[str], noise: Tensor, steps: int
) -> Tensor:
    """A reconstruction's result, an image that was searched for from the noise on."""
    network.passes.clear()
    with left_alone(network):
        result = reconstruct_style(network, painting, list(layers), noise, steps)
    expect_untouched(noise, "the start")
    expect_untouched(painting, "the painting")
    if isinstance(result, Tensor) and result.shape == painting.shape != noise.shape:
        raise Mistake("the result has the painting's shape; the start's was asked: does the search begin at the start?")
    expect_result(result, noise)
    if network.searches:
        expect_search(network, noise, "the start that was given", painting, "the painting")
    expect(not near(result, painting), "the result is the painting itself; only its Gram matrices may be used")
    if close(result, noise):
        expect(bool(network.searches), "the start is returned as it is: no image is optimised")
        raise Mistake("the result is the start; is the target the painting's, and is it the copy that is returned?")
    expect(bool(network.searches), "no image that requires a gradient goes through the network: none is optimised")
    for layer in layers:
        asked = any(layer in each.layers for each in network.searches)
        expect(asked, f"the network was not asked for {layer} of the image; the layers that are given count")
    image: Tensor = result
    return image


def expect_gram_losses(network: WatchedNetwork, painting: Tensor) -> None:
    """Raise `Mistake` unless the gradient at each layer's features is that of a loss of their Gram matrix."""
    for layer in LAYERS:
        expect(
            layer in network.returned and bool(network.returned[layer].any()),
            f"{layer} has no part in the loss; does the sum begin anew in the loop, or does it end too early?",
        )
        F, P = (network.features_of(image, layer) for image in (network.searches[0].image, painting))
        gradient = network.returned[layer]
        for sentence, statistic in OTHER_STATISTICS.items():
            expect(not parallel(gradient, gradient_of(statistic, F, P)), sentence)
        uphill = parallel(gradient, -gradient_of(gram, F, P))
        expect(not uphill, "the loss grows from step to step: its sign is wrong")
        # What depends on G = F F^T alone has a gradient S F: each map's is a mix of the feature maps.
        maps, slopes = F[0].flatten(1).double(), gradient[0].flatten(1).double()
        rest = slopes - slopes @ torch.linalg.pinv(maps) @ maps
        of_gram = float(rest.norm()) < 0.01 * float(slopes.norm())
        expect(of_gram, f"the loss at {layer} is not one of the Gram matrix: something else than F F^T counts")


def expect_fall(network: WatchedNetwork, painting: Tensor, noise: Tensor, result: Tensor) -> None:
    """Raise `Mistake` unless the style loss has fallen below a quarter, and below 1."""
    loss, at_start = (float(network.style_errors(image, painting, LAYERS).sum()) for image in (result, noise))
    asked = min(at_start / 4, 1.0)
    if loss < asked:
        return
    F, P = (network.features_of(image, LAYERS[0]) for image in (network.searches[0].image, painting))
    downwards = gradient_of(gram, F, P, square=False)
    expect(
        not parallel(network.returned[LAYERS[0]], downwards),
        "the square is missing: the matrices' differences are summed as they are, and become smaller than 0",
    )
    raise Mistake(
        f"after {STEPS} steps the style loss has only gone from {at_start:.2f} to {loss:.2f}, and {asked:.2f} was "
        "asked; is the learning rate too small or too large?"
    )


def gradient_of(statistic: Callable[[Tensor], Tensor], F: Tensor, P: Tensor, square: bool = True) -> Tensor:
    """The gradient of the summed (squared) differences of a statistic with respect to features F."""
    variable = F.detach().clone().requires_grad_()
    difference = statistic(variable) - statistic(P)
    (gradient,) = torch.autograd.grad((difference.square() if square else difference).sum(), variable)
    return gradient


def parallel(gradient: Tensor, other: Tensor) -> bool:
    """Whether two gradients have the same direction."""
    return bool(cosine_similarity(gradient.flatten(), other.flatten(), dim=0) > 0.999)


def painting_like(noise: Tensor, draw: Draw) -> Tensor:
    """A painting of an image's size: squares of a few colours, in a tint."""
    height, width = noise.shape[-2:]
    squares = torch.rand(1, 3, -(-height // 4), -(-width // 4), generator=draw.generator).round()
    tint = torch.tensor([1.0, 0.6, 0.3])[draw.order(3)].view(1, 3, 1, 1)
    return 0.2 + 0.6 * tint * interpolate(squares, scale_factor=4)[..., :height, :width]


def likeness(image: Tensor, painting: Tensor) -> float:
    """The correlation of two images' pixels, beyond their mean colours: 1 for the same image."""
    return float(cosine_similarity(centred(image).flatten(), centred(painting).flatten(), dim=0))
