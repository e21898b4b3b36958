"""Lesson 4: the Gram matrix, what it forgets, and the style's loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

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
from nst_lessons.losses import gram_matrix as reference_gram
from nst_lessons.losses import relative_error


@exercise("Gram matrix")
def check_gram_matrix(gram_matrix: Answer, draw: Draw) -> None:
    """``gram_matrix(features)``: ``(B, C, H, W) -> (B, C, C)``, ``G = F F^T / (H W)`` of each item of the batch."""
    features = draw.features()
    _, channels, height, width = features.shape
    G, right, positions = gram_matrix(features), reference_gram(features), height * width
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
    expect(
        close(gram_matrix(signed), reference_gram(signed)),
        "features below 0 are cut off, or their sign is lost; they count as they are",
    )
    batch = draw.features(3)
    several, right_ones = gram_matrix(batch), reference_gram(batch)
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
    G, (channels, height, width) = reference_gram(features), features.shape[1:]
    return {
        "it is not divided by the number of positions, H W": G * height * width,
        "it is divided by the number of channels too; H W was asked": G / channels,
        "it is divided by the number of channels instead of H W": G * height * width / channels,
        "it is divided by the height only; H W was asked": G * width,
        "it is divided by the width only; H W was asked": G * height,
        "it is divided by H W twice": G / (height * width),
        "the sign is wrong": -G,
        "the means are taken off first: that is a covariance": covariance(features),
        "it is the root of the Gram matrix": G.clamp_min(0).sqrt(),
        "only the upper half is there; a Gram matrix is symmetric": G.triu(),
        "only the diagonal is there; each channel is multiplied with every other, too": diagonal(G).diag_embed(),
    }


def covariance(features: Tensor) -> Tensor:
    """What comes out if each channel's mean is subtracted."""
    return reference_gram(features - features.mean((2, 3), keepdim=True))


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
    rows, columns = features.flatten(2), features.mT.flatten(2)
    if not close(shuffled, rows[..., order].view_as(features)):
        mistakes = {
            "the order is applied the other way round: what stood at order[0] must come first": rows[
                ..., order.argsort()
            ],
            "the positions are counted column by column; row by row was asked": columns[..., order],
            "the positions are read and put back column by column; row by row was asked": (
                columns[..., order].view_as(features.mT).mT
            ),
        }
        for sentence, wrong in mistakes.items():
            expect(not close(shuffled, wrong.reshape(features.shape)), sentence)
        kept = close(shuffled.flatten(2).sort().values, rows.sort().values)
        expect(kept, "the channels' values are not the same as before: positions are moved, and nothing else")
        expect(
            close(reference_gram(shuffled), reference_gram(features)),
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
    first, second, third = names = ["relu1_1", "relu2_1", "relu3_1"]
    sizes = dict(zip(names, draw.sizes(3), strict=True))
    grams, targets = ({name: random_gram(sizes[name], draw) for name in order} for order in (names, names[::-1]))
    weights = {first: draw.number(), second: draw.number(3.5, 6.0)}
    loss = style_loss(grams, targets, weights)
    expect_scalar(loss, "the loss")
    others = {name: gram + 1 for name, gram in grams.items()}
    expect_function(style_loss, (grams, targets, weights), (others, targets, weights))
    each = {name: relative_error(grams[name], targets[name]) for name in names}
    by_own_norm = {name: relative_error(targets[name], grams[name]) for name in names}
    undivided = {name: (grams[name] - targets[name]).square().sum() for name in names}
    right = weighted(each, weights)
    mistakes = wrong_sums(each, weights) | {
        "layers without a weight count too; only those of the weights are asked": each[third] + right,
        "it is divided by |G|^2 instead of the target's |A|^2": weighted(by_own_norm, weights),
        "a layer's loss is not divided by its target's |A|^2": weighted(undivided, weights),
    }
    expect_value(loss, right, mistakes, "the value is not the weighted sum of the layers' losses")
    expect(float(style_loss(targets, targets, weights).abs()) < 1e-9, "equal matrices must have a loss of 0")
    for name in weights:
        expect_gradient(lambda x, name=name: style_loss({**grams, name: x}, targets, weights), grams[name])  # type: ignore[misc]


def wrong_sums(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> dict[str, Tensor | float]:
    """``{sentence: what comes out with this mistake}`` of the weighted sum of two layers' losses."""
    (first, u), (second, v) = weights.items()
    right, plain = weighted(losses, weights), losses[first] + losses[second]
    return {
        "the weights are left out": plain,
        "the weights are left out, and the mean is taken": plain / 2,
        "it is divided by the sum of the weights": right / (u + v),
        "it is divided by the number of layers": right / 2,
        "each layer has the weight of the other": weighted(losses, {first: v, second: u}),
        "all layers have the weight of the last one": plain * v,
        "the weights are squared": weighted(losses, {first: u**2, second: v**2}),
        "the sum of the weights is multiplied by that of the losses; each layer has a weight of its own": plain
        * (u + v),
        "only the last layer counts: does the sum begin anew in the loop?": v * losses[second],
        "only the first layer counts: does the function return within the loop?": u * losses[first],
        "the root of the loss was not asked": right.sqrt(),
    }


def weighted(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The weighted sum of those losses that have a weight."""
    return torch.stack([weight * losses[name] for name, weight in weights.items()]).sum()


def random_gram(channels: int, draw: Draw) -> Tensor:
    """A Gram matrix ``(1, C, C)``, float64."""
    return reference_gram(torch.randn(1, channels, 40, 2, generator=draw.generator, dtype=torch.float64))
