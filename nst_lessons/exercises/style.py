"""Lesson 4: the Gram matrix, what it forgets, and the style's loss."""

from __future__ import annotations

import torch
from torch import Tensor

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
from nst_lessons.losses import gram_matrix as reference_gram
from nst_lessons.losses import relative_error


def plain_gram(features: Tensor) -> Tensor:
    """``F F^T / (H W)`` of each item, without the fast gradient, which has no second one."""
    rows = features.flatten(2)
    return rows @ rows.mT / rows.shape[2]


@exercise("Gram matrix")
def check_gram_matrix(gram_matrix: Answer, draw: Draw) -> None:
    """``gram_matrix(features)``: ``(B, C, H, W) -> (B, C, C)``, ``G = F F^T / (H W)`` of each item of the batch."""
    features = draw.features()
    _, channels, height, width = features.shape
    G, right = gram_matrix(features), reference_gram(features)
    if isinstance(G, Tensor) and G.shape[-2:] == (height * width,) * 2:
        side = height * width
        expect(False, f"the matrix is {side}x{side}: it is transposed, C x C was asked, here {channels}x{channels}")
    if isinstance(G, Tensor) and G.shape == (channels, channels):
        expect(False, f"the matrix has no batch: the shape (1, {channels}, {channels}) was asked")
    expect_shape(G, (1, channels, channels), "the Gram matrix")
    expect_value(
        G,
        right,
        {
            "it is not divided by the number of positions, H W": right * height * width,
            "it is divided by the number of channels too; H W was asked": right / channels,
            "it is divided by the number of channels instead of H W": right * height * width / channels,
            "it is divided by the height only; H W was asked": right * width,
            "it is divided by the width only; H W was asked": right * height,
            "the sign is wrong": -right,
            "the means are taken off first: that is a covariance": covariance(features),
            "it is the root of the Gram matrix": right.clamp_min(0).sqrt(),
        },
        "the values are not those of F F^T / (H W); does each channel's row hold all of its positions?",
    )
    batch = draw.features(3)
    several = gram_matrix(batch)
    expect_shape(several, (3, batch.shape[1], batch.shape[1]), "the Gram matrix of a batch of 3")
    expect_value(
        several,
        reference_gram(batch),
        {
            "it is divided by the size of the batch too": reference_gram(batch) / 3,
            "the items of a batch mix: all have the same matrix": reference_gram(batch).mean(0).expand(3, -1, -1),
        },
        "the items of a batch mix: each must have the matrix that it has alone",
    )
    expect_gradient(lambda x: (gram_matrix(x) * right).sum(), features)


def covariance(features: Tensor) -> Tensor:
    """What comes out if each channel's mean is subtracted."""
    return plain_gram(features - features.mean((2, 3), keepdim=True))


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
    rows = features.flatten(2)
    right = rows[..., order].view_as(features)
    expect(
        not close(shuffled, rows[..., order.argsort()].view_as(features)) or close(shuffled, right),
        "the order is applied the other way round: what stood at order[0] must come first",
    )
    if not close(shuffled, right):
        kept = all(
            torch.equal(a.sort().values, b.sort().values) for a, b in zip(shuffled[0].flatten(1), rows[0], strict=True)
        )
        expect(kept, "the channels' values are not the same as before: positions are moved, and nothing else")
        expect(
            close(reference_gram(shuffled), reference_gram(features)),
            "each channel has an order of its own: what was active together no longer is, and the Gram matrix changes",
        )
        expect(False, "the positions are in another order than the one that was given")
    unchanged = torch.arange(positions)
    expect(close(shuffle_positions(features, unchanged), features), "the order 0, 1, 2, ... must change nothing")


@exercise("Style loss of one layer")
def check_layer_style_loss(layer_style_loss: Answer, draw: Draw) -> None:
    """``layer_style_loss(gram, target)``: ``|G - A|^2 / |A|^2``, for Gram matrices ``(1, C, C)``; a scalar."""
    (channels, *_), scale = draw.sizes(3), draw.number()
    G, A = (plain_gram(torch.randn(1, channels, 40, 2, generator=draw.generator).double()) for _ in range(2))
    loss = layer_style_loss(G, A)
    expect_scalar(loss, "the loss")
    squares, norm = (G - A).square(), A.square().sum()
    expect_value(
        loss,
        relative_error(G, A),
        {
            "the square is missing: differences are taken as they are": (G - A).sum() / norm,
            "the square is missing: absolute differences are summed": (G - A).abs().sum() / norm,
            "it is not divided by the target's |A|^2": squares.sum(),
            "it is divided by |A|, without the square": squares.sum() / norm.sqrt(),
            "the root of the loss was not asked": (squares.sum() / norm).sqrt(),
            "it is divided by |G|^2 instead of the target's |A|^2": squares.sum() / G.square().sum(),
            "it is the mean of the squares; their sum by |A|^2 was asked": squares.mean(),
            "it is divided by the number of entries too": squares.mean() / norm,
            "the sign is wrong": -squares.sum() / norm,
            "there is a factor of 1/2 too many": squares.sum() / norm / 2,
        },
        "the value is not |G - A|^2 / |A|^2",
    )
    expect(float(layer_style_loss(A, A).abs()) < 1e-9, "equal matrices must have a loss of 0")
    expect(close(layer_style_loss(scale * G, scale * A), loss), "a larger scale of both must not change the loss")
    expect_gradient(lambda x: layer_style_loss(x, A), G)


@exercise("Weighted style loss")
def check_style_loss(style_loss: Answer, draw: Draw) -> None:
    """``style_loss(grams, targets, weights)``: ``sum over l of w_l |G_l - A_l|^2 / |A_l|^2``; dicts by layer's name.

    Only the layers of `weights` count; `grams` and `targets` may have more.
    """
    names = ["relu1_1", "relu2_1", "relu3_1"]
    grams = {name: random_gram(draw) for name in names}
    targets = {name: random_gram_like(grams[name], draw) for name in names}
    weights = {names[0]: draw.number(), names[1]: draw.number(3.5, 6.0)}
    loss = style_loss(grams, targets, weights)
    expect_scalar(loss, "the loss")
    each = {name: relative_error(grams[name], targets[name]) for name in names}
    right = torch.stack([weight * each[name] for name, weight in weights.items()]).sum()
    whole = sum(weights.values())
    plain = torch.stack([each[name] for name in weights])
    expect_value(
        loss,
        right,
        {
            "the weights are left out": plain.sum(),
            "the weights are left out, and the mean is taken": plain.mean(),
            "it is divided by the sum of the weights": right / whole,
            "it is divided by the number of layers": right / len(weights),
            "layers without a weight count too; only those of the weights are asked": right + each[names[2]],
            "each layer has the weight of the other": weights[names[1]] * each[names[0]]
            + weights[names[0]] * each[names[1]],
            "the weights are squared": torch.stack([weight**2 * each[name] for name, weight in weights.items()]).sum(),
            "only the last layer counts: does the sum begin anew in the loop?": weights[names[1]] * each[names[1]],
            "only the first layer counts: does the function return within the loop?": weights[names[0]]
            * each[names[0]],
        },
        "the value is not the weighted sum of the layers' losses",
    )
    expect(
        close(style_loss(grams, targets, weights), loss),
        "the second call gives another value than the first: something is remembered",
    )
    expect(float(style_loss(targets, targets, weights).abs()) < 1e-9, "equal matrices must have a loss of 0")
    expect_gradient(lambda x: style_loss({**grams, names[1]: x}, targets, weights), grams[names[1]])


def random_gram(draw: Draw) -> Tensor:
    """A Gram matrix ``(1, C, C)``, float64."""
    return plain_gram(draw.features())


def random_gram_like(gram: Tensor, draw: Draw) -> Tensor:
    """Another one of the same size."""
    features = torch.randn(1, gram.shape[1], 40, 2, generator=draw.generator, dtype=torch.float64)
    return plain_gram(features)
