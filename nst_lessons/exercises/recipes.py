"""Lesson 6: a weight under another normalisation, and the balance of style and content that a recipe implies."""

from __future__ import annotations

import math
from itertools import permutations
from numbers import Real
from typing import Literal

import torch
from torch import Tensor

from nst_lessons.exercises.checking import Answer, Draw, Mistake, exercise, expect, expect_value
from nst_lessons.losses import gram_matrix
from nst_lessons.normalisations import NORMALISATIONS, LayerSize

PUBLICATIONS = ("paper", "johnson", "udacity")
PAIRS = list(permutations(PUBLICATIONS, 2))  # source and target


def as_number(value: object, what: str) -> float:
    """What a function returns as a float; `Mistake` unless it is one finite number, in a tensor or not."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    expect(isinstance(value, Real), f"{what} must be one number, and is a {type(value).__name__}")
    number = float(value)  # type: ignore[arg-type]
    expect(math.isfinite(number), f"{what} is {number}; is something divided by 0?")
    return number


@exercise("Weight under another normalisation")
def check_convert_weight(convert_weight: Answer, draw: Draw) -> None:
    """``convert_weight(weight, channels, positions, source, target) -> float``: the same style loss, another weight.

    `weight` was published by `source` for one style layer with N channels and M positions. Returned is the weight that
    gives the same loss, and so the same gradient, with the formula of `target`. The formulas:

    - ``"paper"`` (Gatys et al. 2016, equations 3 and 4): with Gram matrices ``F F^T``, the sum of the squared
      differences by ``4 N^2 M^2``;
    - ``"johnson"`` (Johnson's neural-style): with Gram matrices ``F F^T / (N M)``, the mean of the squared differences;
    - ``"udacity"`` (Udacity's course): with Gram matrices ``F F^T``, the mean of the squared differences by ``N M``.
    """
    # No number of positions is twice one of channels: two mistakes would give the same weights.
    weight, channels, positions = draw.number(2, 9), draw.random.randint(5, 9), draw.random.choice((11, 13, 17, 19))

    def ask(weight: float, source: str, target: str) -> float:
        return as_number(convert_weight(weight, channels, positions, source, target), "the weight")

    def ask_all(weight: float) -> Tensor:
        return torch.tensor([ask(weight, *pair) for pair in PAIRS], dtype=torch.float64)

    found, right = ask_all(weight), converted(weight, published_factors(channels, positions))
    if not agree(found, right):
        for sentence, wrong in wrong_conversions(weight, channels, positions).items():
            expect(not agree(found, wrong), sentence)
        expect(len(found.unique()) > 1, "all publications get the same weight: are source and target used?")
        rounded = agree(found, right.floor())
        expect(not rounded, "the weight is rounded down to a whole number: / divides, and // rounds, too")
        n = next(n for n in range(len(PAIRS)) if not agree(found[n], right[n]))
        raise Mistake(
            f"from {PAIRS[n][0]} to {PAIRS[n][1]}, with N = {channels} and M = {positions}, the loss becomes "
            f"{found[n] / right[n]:.3g} times as large; the same loss was asked"
        )
    for name in PUBLICATIONS:
        stays = math.isclose(ask(weight, name, name), weight, rel_tol=1e-4)
        expect(stays, f"from {name} to {name} the weight must stay as it is")
    linear = agree(ask_all(3 * weight), 3 * right)
    expect(linear, "three times the weight does not give three times the result: is something added, or remembered?")


def published_factors(N: int, M: int, term: Literal["content", "style"] = "style") -> dict[str, float]:
    """What stands before a term's sum of squares in each publication."""
    size = LayerSize(N, M, pixels=0, energy=0.0)
    return {name: getattr(NORMALISATIONS[name], term)(size) for name in PUBLICATIONS}


def by_pair(factors: dict[str, float]) -> Tensor:
    """``(2, pairs)``: the source's factor and the target's."""
    pairs = [[factors[source], factors[target]] for source, target in PAIRS]
    return torch.tensor(pairs, dtype=torch.float64).T


def converted(weight: float, factors: dict[str, float]) -> Tensor:
    """``(pairs,)``: the weights that give the same loss with these factors."""
    a, b = by_pair(factors)
    return weight * a / b


def wrong_conversions(weight: float, N: int, M: int) -> dict[str, Tensor]:
    """``{sentence: the weights (pairs,) that come out with this mistake}``."""
    right = published_factors(N, M)
    a, b = by_pair(right)
    wrong_factors = {
        "paper": {
            "the paper's factor of 4 is missing": 1 / (N**2 * M**2),
            "the paper's N and M are squared, and here they are not": 1 / (4 * N * M),
            "the paper's 4 is squared with N and M; only N and M are": 1 / (16 * N**2 * M**2),
            "the paper's Gram matrix is divided by M as well; only the loss is": 1 / (4 * N**2 * M**4),
        },
        "johnson": {
            "Johnson's mean is over N^2 entries, and here it is missing": 1 / (N**2 * M**2),
            "Johnson's mean is over N^2 entries, and here it is over N": 1 / (N**3 * M**2),
            "Johnson divides the Gram matrix by N M, so its square is divided by (N M)^2": 1 / (N**3 * M),
            "Johnson's division by N M counts twice; it is in the Gram matrix already": 1 / (N**6 * M**4),
        },
        "udacity": {
            "Udacity's mean is over N^2 entries, and here it is missing": 1 / (N * M),
            "Udacity's mean is over N^2 entries, and here it is over N": 1 / (N**2 * M),
            "Udacity divides the loss by N M, and not the Gram matrix; so nothing is squared": 1 / (N**4 * M**2),
        },
    }
    by_factor = {
        sentence: converted(weight, right | {name: factor})
        for name, mistakes in wrong_factors.items()
        for sentence, factor in mistakes.items()
    }
    exchanged, of_content = published_factors(M, N), published_factors(N, M, "content")
    return {
        "the ratio is the wrong way round: the source's factor by the target's was asked": weight * b / a,
        "the weight is not converted at all": weight + 0 * a,
        "the weight itself is left out; this is the ratio alone": a / b,
        "this is the root of the ratio; is a square missing in each formula?": weight * (a / b).sqrt(),
        "the target's factor is left out": weight * a,
        "the source's factor is left out": weight / b,
        "the two factors are multiplied; divide the source's by the target's": weight * a * b,
        **by_factor,
        "N and M are exchanged: N is the number of channels, M that of positions": converted(weight, exchanged),
        "these are the content's factors; it is a weight of the style": converted(weight, of_content),
    }


def agree(found: Tensor, other: Tensor) -> bool:
    """Whether all weights are the same; each counts by itself, because they differ by orders of magnitude."""
    return torch.allclose(found, other, rtol=1e-4, atol=0)


@exercise("Balance of a recipe")
def check_balance(balance: Answer, draw: Draw) -> None:
    """``balance(alpha, beta, photo_features, painting_features) -> float``: style by content, both equally wrong.

    That is: for an image without any features, so that ``|F - P|^2 = |P|^2`` and ``|G - A|^2 = |A|^2``. The losses are
    the paper's (Gatys et al. 2016, equations 1, 3 and 4) with one layer each: ``alpha 1/2 |F - P|^2`` for the content,
    ``beta |G - A|^2 / (4 N^2 M^2)`` with Gram matrices ``F F^T`` for the style. P are the photo's features
    ``(1, C, H, W)`` at the content layer; A is the Gram matrix of the painting's features ``(1, N, H', W')`` at the
    style layer, and ``M = H' W'``.
    """
    alpha, beta, scale = draw.number(0.1, 0.4), draw.number(20, 90), draw.number(1.5, 3)
    sizes = draw.random.sample((3, 5, 7, 11), 4)  # primes, so that no product of sizes can be taken for another
    photo, painting = (
        torch.rand(1, *three, generator=draw.generator, dtype=torch.float64) for three in (sizes[:3], sizes[1:])
    )

    def answer(*given: float | Tensor) -> Tensor:
        return torch.tensor(as_number(balance(*given), "the balance"), dtype=torch.float64)

    right = style_energy(painting) * beta / (content_energy(photo) * alpha)
    expect_value(
        answer(alpha, beta, photo, painting),
        right,
        wrong_balances(alpha, beta, photo, painting),
        "the value is not that of the paper's style loss, times beta, by that of its content loss, times alpha",
    )
    scaled = answer(alpha, beta, scale * photo, scale * painting)
    remembered = {"a second call gives what the first gave: is something remembered?": right}
    otherwise = "features s times as large make style gain s^2 on content, and here they do not"
    expect_value(scaled, scale**2 * right, remembered, otherwise)


def content_energy(features: Tensor) -> Tensor:
    """The paper's content loss of an image without features."""
    return features.square().sum() / 2


def style_energy(features: Tensor) -> Tensor:
    """The paper's style loss of an image without features."""
    return gram_matrix(features).square().sum() / (4 * features.shape[1] ** 2)


def wrong_balances(alpha: float, beta: float, photo: Tensor, painting: Tensor) -> dict[str, Tensor | float]:
    """``{sentence: what comes out with this mistake}`` of a recipe's balance."""
    content, style = content_energy(photo), style_energy(painting)
    right, ratio = beta * style / (alpha * content), beta / alpha
    (N, M), (C, K) = ((each.shape[1], each[0, 0].numel()) for each in (painting, photo))
    gram, squares, by_paper = gram_matrix(painting) * M, painting.square().sum(), ratio / (4 * N**2 * M**2)
    return {
        "it is upside down: content by style; style by content was asked": 1 / right,
        "alpha and beta are exchanged: alpha is the content's weight, beta the style's": style / content / ratio,
        "alpha and beta are left out": style / content,
        "beta / alpha alone is not the balance: the losses count, too": ratio,
        "this is the power of ten; the number itself was asked": right.log10(),
        "this is the natural logarithm; the number itself was asked": right.log(),
        "this is the style's share of the sum; style by content was asked": right / (1 + right),
        "this is the difference of the two; style by content was asked": beta * style - alpha * content,
        "the content's 1/2 is missing": right / 2,
        "the style's 1/4 is missing": 4 * right,
        "the content's 1/2 and the style's 1/4 are missing": 2 * right,
        "the style is divided by N M; N^2 M^2 was asked": right * N * M,
        "the style is not divided by N^2": right * N**2,
        "the style is not divided by M^2": right * M**2,
        "the style is not divided by 4 N^2 M^2": right * 4 * N**2 * M**2,
        "the Gram matrix is divided by M, and the style once more by M^2; the paper's is F F^T": right / M**2,
        "N and M are the photo's; the painting's were asked": right * (N * M / (C * K)) ** 2,
        "the mean of the squares is taken for the content; the paper has their sum": right * photo.numel(),
        "the mean of the squares is taken for the style; the paper has their sum": right / N**2,
        "the mean of the squares is taken for both; the paper has their sums": right * photo.numel() / N**2,
        "the squares are missing: norms are compared": by_paper * gram.norm() / (photo.norm() / 2),
        "the squares are missing: sums are compared": by_paper * gram.sum() / (photo.sum() / 2),
        "the painting's features are squared; the entries of its Gram matrix were asked": by_paper * squares / content,
        "photo and painting are exchanged": ratio * style_energy(photo) / content_energy(painting),
        "the content is the painting's; the photo's was asked": ratio * style / content_energy(painting),
        "the style is the photo's; the painting's was asked": ratio * style_energy(photo) / content,
    }
