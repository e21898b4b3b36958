"""Lesson 4's checks: each wrong solution is caught with its own sentence, each right one passes."""

import functools

import numpy as np
import pytest
import torch
from answers import assert_caught, assert_right

from nst_lessons.exercises import (
    check_gram_matrix,
    check_layer_style_loss,
    check_shuffle_positions,
    check_style_loss,
)


def gram_by_matmul(features):
    F = features.flatten(2)
    return F @ F.transpose(1, 2) / F.shape[2]


def gram_by_einsum(features):
    return torch.einsum("bihw,bjhw->bij", features, features) / (features.shape[2] * features.shape[3])


def gram_by_loops(features):
    batch, channels, height, width = features.shape
    rows = [
        torch.stack([(item[i] * item[j]).sum() / (height * width) for j in range(channels)])
        for item in features
        for i in range(channels)
    ]
    return torch.stack(rows).view(batch, channels, channels)


def gram_in_float32(features):
    """Filled in, entry by entry, in torch's default dtype; a gradient has to cope with it."""
    batch, channels, height, width = features.shape
    G = torch.zeros(batch, channels, channels)
    for i in range(channels):
        for j in range(channels):
            G[:, i, j] = (features[:, i] * features[:, j]).sum((1, 2)) / (height * width)
    return G


class Style:
    """A method, with an option of its own."""

    def gram(self, features, *, divide=True, **_):
        G = features.flatten(2).bmm(features.flatten(2).transpose(1, 2))
        return G / features[0, 0].numel() if divide else G


class Kept(torch.Tensor):
    """A class of the student's own."""


def gram_of_a_mixed_batch(features):
    """PyTorch's tutorial: view(a * b, c * d)."""
    a, b, c, d = features.size()
    F = features.view(a * b, c * d)
    G = F @ F.t() / (c * d)
    return torch.stack([G[i * b : (i + 1) * b, :b] for i in range(a)])


def gram_in_place(features):
    features -= 0.1
    return gram_by_matmul(features + 0.1)


def gram_in_one_row(features):
    F = features.reshape(features.shape[0], -1, features.shape[1]).transpose(1, 2)
    return F @ F.transpose(1, 2) / F.shape[2]


def gram_detached(features):
    return gram_by_matmul(features.detach())


def gram_half_detached(features):
    F = features.flatten(2)
    return F @ F.detach().transpose(1, 2) / F.shape[2]


def gram_overwritten(features):
    F = features.flatten(2).clone()
    G = F @ F.transpose(1, 2) / F.shape[2]
    F.zero_()
    return G


def gram_on_a_view(features):
    F = features.flatten(2)
    F -= F.mean(2, keepdim=True)
    return gram_by_matmul(features)


def gram_by_numpy(features):
    F = features.detach().numpy()
    return torch.from_numpy(np.einsum("bihw,bjhw->bij", F, F) / F[0, 0].size)


class KeptByShape:
    def __init__(self):
        self.kept = {}

    def __call__(self, features):
        return self.kept.setdefault(features.shape, gram_by_matmul(features.detach()))


def gram_of_noise(features):
    return gram_by_matmul(features + 0 * torch.randn(3).sum())


def gram_without_return(features):
    gram_by_matmul(features)


def gram_with_an_error(features):
    F = features.flatten(2)
    return F @ F / F.shape[2]


@pytest.mark.parametrize(
    "answer",
    [
        gram_by_matmul,
        gram_by_einsum,
        gram_by_loops,
        gram_in_float32,
        lambda features: gram_by_matmul(features.float()),
        Style().gram,
        functools.partial(lambda power, features: gram_by_matmul(features) ** power, 1),
        functools.lru_cache(gram_by_matmul),
        lambda features: gram_by_matmul(features).as_subclass(Kept),
    ],
)
def test_right_gram_matrices(answer):
    assert_right(check_gram_matrix, answer)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: x.flatten(2).mT @ x.flatten(2) / x[0, 0].numel(), "transposed, C x C was asked"),
        (lambda x: gram_by_matmul(x)[0], "has no batch"),
        (lambda x: gram_by_matmul(x) * x[0, 0].numel(), "not divided by the number of positions"),
        (lambda x: gram_by_matmul(x) / x.shape[1], "divided by the number of channels too"),
        (lambda x: gram_by_matmul(x) * x.shape[3], "divided by the height only"),
        (lambda x: -gram_by_matmul(x), "the sign is wrong"),
        (lambda x: gram_by_matmul(x - x.mean((2, 3), keepdim=True)), "covariance"),
        (lambda x: gram_by_matmul(x) / len(x), "divided by the size of the batch too"),
        (lambda x: gram_by_matmul(x).mean(0).expand(len(x), -1, -1), "the items of a batch mix"),
        (gram_of_a_mixed_batch, "the items of a batch mix"),
        (gram_in_place, "changes what it was given"),
        (gram_in_one_row, "does each channel's row hold all of its positions"),
        (gram_detached, "no gradient reaches the input"),
        (gram_half_detached, "is a part detached"),
        (torch.no_grad()(gram_by_matmul), "no gradient reaches the input"),
        (gram_by_numpy, "or taken out of torch with .item() or numpy"),
        (lambda x: torch.nn.Parameter(gram_by_matmul(x)), "no gradient reaches the input"),
        (gram_overwritten, "the gradient cannot be computed, RuntimeError"),
        (gram_on_a_view, "changes what it was given"),
        (KeptByShape, "or remembered from an earlier call"),
        (lambda x: torch.eye(x.shape[1])[None], "two different inputs give the same result"),
        (lambda x: gram_by_matmul(x.half()), "rounds too much; use float32 or float64"),
        (lambda x: (1e6 * gram_by_matmul(x)).long(), "rounds too much"),
        (lambda x: gram_by_matmul(x.abs()), "features below 0 are cut off, or their sign is lost"),
        (lambda x: gram_by_matmul(x.relu()), "features below 0 are cut off, or their sign is lost"),
        (lambda x: gram_by_matmul(x).triu(), "only the upper half"),
        (lambda x: torch.diag_embed(x.square().mean((2, 3))), "only the diagonal"),
        (lambda x: gram_by_matmul(x) / x[0, 0].numel(), "divided by H W twice"),
        (lambda x: gram_by_matmul(x).to_sparse(), "the check cannot work with what comes back"),
        (lambda x: torch.set_grad_enabled(False) and gram_by_matmul(x), "calls torch.set_grad_enabled"),
        (gram_of_noise, "torch's global random numbers"),
        (gram_without_return, "returns nothing; does it end with return"),
        (gram_with_an_error, "`return F @ F / F.shape[2]`, raises RuntimeError"),
        (lambda x: gram_by_matmul(x).tolist(), "must be a tensor, and is a list"),
    ],
)
def test_wrong_gram_matrices(answer, said):
    assert_caught(check_gram_matrix, answer, said)


def shuffled_by_index(features, order):
    return features.flatten(2)[..., order].reshape(features.shape)


def shuffled_by_gather(features, order):
    rows = features.flatten(2)
    return rows.gather(2, order.expand(rows.shape)).view_as(features)


def shuffled_by_loop(features, order):
    rows = features.flatten(2)
    return torch.stack([rows[..., place] for place in order.tolist()], dim=2).view_as(features)


@pytest.mark.parametrize("answer", [shuffled_by_index, shuffled_by_gather, shuffled_by_loop])
def test_right_shuffles(answer):
    assert_right(check_shuffle_positions, answer)


def each_channel_differently(features, order):
    rows = features.flatten(2)
    return torch.stack([row[order.roll(n)] for n, row in enumerate(rows[0])]).view_as(features)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x, order: x, "in another order"),
        (lambda x, order: x.flatten(2).float()[..., order.flip(0)].view_as(x), "in another order"),
        (lambda x, order: x.mT.flatten(2)[..., order].view_as(x), "counted column by column"),
        (lambda x, order: x.mT.flatten(2)[..., order].view_as(x.mT).mT, "read and put back column by column"),
        (lambda x, order: x.flatten(2)[..., order].view_as(x).roll(1, 1), "not the same as before"),
        (lambda x, order: x.flatten(2)[..., order.argsort()].view_as(x), "the other way round"),
        (each_channel_differently, "each channel has an order of its own"),
        (lambda x, order: x.flatten()[torch.argsort(order.repeat(x.shape[1]))].view_as(x), "not the same as before"),
        (lambda x, order: x.flatten(2)[..., order], "has the shape"),
        (lambda x, order: x.flatten(2)[..., order.flip(0)].view_as(x), "in another order"),
        (lambda x, order: x.flatten(2)[..., torch.randperm(len(order))].view_as(x), "global random numbers"),
        (lambda x, order: x.copy_(x.flatten(2)[..., order].view_as(x)), "changes what it was given"),
    ],
)
def test_wrong_shuffles(answer, said):
    assert_caught(check_shuffle_positions, answer, said)


def loss_by_squares(G, A):
    return ((G - A) ** 2).sum() / (A**2).sum()


@pytest.mark.parametrize(
    "answer",
    [
        loss_by_squares,
        lambda G, A: (
            torch.linalg.norm(G - A) ** 2 / torch.linalg.norm(A) ** 2 if not torch.equal(G, A) else 0 * G.sum()
        ),
        lambda G, A: sum((g - a).square().sum() for g, a in zip(G[0], A[0], strict=True)) / A.square().sum(),
    ],
)
def test_right_losses_of_a_layer(answer):
    assert_right(check_layer_style_loss, answer)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda G, A: (G - A).sum() / (A**2).sum(), "the square is missing: differences"),
        (lambda G, A: (G - A).abs().sum() / (A**2).sum(), "the square is missing: absolute"),
        (lambda G, A: ((G - A) ** 2).sum(), "not divided by the target's"),
        (lambda G, A: ((G - A) ** 2).sum() / (A**2).sum().sqrt(), "without the square"),
        (lambda G, A: loss_by_squares(G, A).sqrt(), "the root of the loss"),
        (lambda G, A: loss_by_squares(A, G), r"divided by |G|^2 instead"),
        (lambda G, A: ((G - A) ** 2).mean(), "the mean of the squares"),
        (lambda G, A: -loss_by_squares(G, A), "the sign is wrong"),
        (lambda G, A: loss_by_squares(G, A) / 2, "a factor of 1/2"),
        (lambda G, A: loss_by_squares(G.detach(), A), "no gradient reaches"),
        (lambda G, A: (G - A) ** 2 / (A**2).sum(), "must be one number"),
        (lambda G, A: torch.tensor(loss_by_squares(G, A).item()), "no gradient reaches"),
        (lambda G, A: (G - A).abs().sum() / A.abs().sum(), "missing above and below"),
        (lambda G, A: (G - A).sum() ** 2 / A.sum() ** 2, "the sums are squared"),
        (lambda G, A: (G**2 - A**2).sum() / (A**2).sum(), "the squares' difference"),
        (lambda G, A: ((G - A) @ (G - A)).sum() / (A @ A).sum(), "@ multiplies matrices"),
        (lambda G, A: loss_by_squares(G.diagonal(dim1=1, dim2=2), A.diagonal(dim1=1, dim2=2)), "only the diagonal"),
        (lambda G, A: (((G - A) / A) ** 2).sum(), "by its own target; divide"),
        (lambda G, A: (((G - A) / A) ** 2).mean(), "and the mean is taken"),
        (lambda G, A: ((G - A) ** 2).sum() / (4 * len(A[0]) ** 2), "this is the paper's"),
        (lambda G, A: float(loss_by_squares(G, A)), "must be a tensor, so that its gradient"),
        (lambda G, A: loss_by_squares(G, A) + 0.01, "not |G - A|^2 / |A|^2"),
    ],
)
def test_wrong_losses_of_a_layer(answer, said):
    assert_caught(check_layer_style_loss, answer, said)


def weighted_by_loop(grams, targets, weights):
    total = 0
    for layer, weight in weights.items():
        total = total + weight * loss_by_squares(grams[layer], targets[layer])
    return total


@pytest.mark.parametrize(
    "answer",
    [
        weighted_by_loop,
        lambda grams, targets, weights: sum(w * loss_by_squares(grams[k], targets[k]) for k, w in weights.items()),
        lambda grams, targets, weights: torch.stack(
            [w * loss_by_squares(grams[k], targets[k]) for k, w in weights.items()]
        ).sum(),
    ],
)
def test_right_weighted_losses(answer):
    assert_right(check_style_loss, answer)


def first_layer_only(grams, targets, weights):
    for layer, weight in weights.items():
        return weight * loss_by_squares(grams[layer], targets[layer])


def last_layer_only(grams, targets, weights):
    for layer, weight in weights.items():
        total = 0
        total = total + weight * loss_by_squares(grams[layer], targets[layer])
    return total


class Remembers:
    """A sum that goes on from call to call."""

    def __init__(self):
        self.total = 0.0

    def __call__(self, grams, targets, weights):
        value = weighted_by_loop(grams, targets, weights)
        self.total += 1e-3 * float(value)
        return value + self.total - 1e-3 * float(value)


def grams_in_place(grams, targets, weights):
    value = weighted_by_loop(grams, targets, weights)
    for layer in weights:
        grams[layer] = targets[layer]
    return value


def weights_in_place(grams, targets, weights):
    total = sum(weights.values())
    for layer in weights:
        weights[layer] /= total
    return total * weighted_by_loop(grams, targets, weights)


def weights_taken_out(grams, targets, weights):
    total = 0
    while weights:
        layer, weight = weights.popitem()
        total = total + weight * loss_by_squares(grams[layer], targets[layer])
    return total


def second_layer_detached(grams, targets, weights):
    second = list(weights)[1]
    return weighted_by_loop({**grams, second: grams[second].detach()}, targets, weights)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda g, t, w: weighted_by_loop(g, t, dict.fromkeys(w, 1.0)), "the weights are left out"),
        (lambda g, t, w: weighted_by_loop(g, t, dict.fromkeys(w, 0.5)), "and the mean is taken"),
        (lambda g, t, w: weighted_by_loop(g, t, w) / sum(w.values()), "divided by the sum of the weights"),
        (lambda g, t, w: weighted_by_loop(g, t, w) / len(w), "divided by the number of layers"),
        (lambda g, t, w: weighted_by_loop(g, t, dict.fromkeys(g, 1.0) | w), "layers without a weight count too"),
        (
            lambda g, t, w: weighted_by_loop(g, t, dict(zip(w, reversed(w.values()), strict=True))),
            "the weight of the other",
        ),
        (lambda g, t, w: weighted_by_loop(g, t, {k: v * v for k, v in w.items()}), "the weights are squared"),
        (first_layer_only, "only the first layer counts"),
        (last_layer_only, "only the last layer counts"),
        (grams_in_place, "changes what it was given"),
        (weights_in_place, "changes what it was given"),
        (weights_taken_out, "changes what it was given"),
        (second_layer_detached, "no gradient reaches"),
        (lambda g, t, w: weighted_by_loop(t, g, w), r"divided by |G|^2 instead"),
        (lambda g, t, w: sum(v * ((g[k] - t[k]) ** 2).sum() for k, v in w.items()), "is not divided by its target's"),
        (lambda g, t, w: sum(w.values()) * weighted_by_loop(g, t, dict.fromkeys(w, 1.0)), "a weight of its own"),
        (lambda g, t, w: weighted_by_loop(g, t, dict.fromkeys(w, [*w.values()][-1])), "the weight of the last one"),
        (lambda g, t, w: weighted_by_loop(g, t, w).sqrt(), "the root of the loss"),
        (lambda g, t, w: {k: loss_by_squares(g[k], t[k]) for k in w}, "and is a dict"),
        (Remembers, "something is remembered"),
        (lambda g, t, w: weighted_by_loop({k: v.detach() for k, v in g.items()}, t, w), "no gradient reaches"),
        (lambda g, t, w: weighted_by_loop(g, t, w) + 0.1, "not the weighted sum"),
    ],
)
def test_wrong_weighted_losses(answer, said):
    assert_caught(check_style_loss, answer, said)
