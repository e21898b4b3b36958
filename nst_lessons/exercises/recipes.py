"""Lesson 6: a weight under another normalisation, and the balance of style and content that a recipe implies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import permutations
from numbers import Real
from typing import Literal

import torch
from torch import Tensor

from nst_lessons.exercises.checking import Answer, Draw, exercise, expect, expect_value
from nst_lessons.exercises.style import plain_gram
from nst_lessons.normalisations import NORMALISATIONS, LayerSize

Factor = Callable[[int, int], float]  # of N and M
Pair = tuple[str, str]  # source and target
PUBLICATIONS = ("paper", "johnson", "udacity")
PAIRS = list(permutations(PUBLICATIONS, 2))


def published(name: str, term: Literal["content", "style"]) -> Factor:
    """What stands before a term's sum of squares."""
    factor = getattr(NORMALISATIONS[name], term)
    return lambda N, M: factor(LayerSize(N, M, pixels=0, energy=0.0))


FACTORS = {name: published(name, "style") for name in PUBLICATIONS}
# {sentence: factors with this mistake}; the others are right.
WRONG_FACTORS: dict[str, dict[str, Factor]] = {
    "the paper's factor of 4 is missing": {"paper": lambda N, M: 1 / (N**2 * M**2)},
    "the paper's N and M are squared, and here they are not": {"paper": lambda N, M: 1 / (4 * N * M)},
    "the paper's 4 is squared with N and M; only N and M are": {"paper": lambda N, M: 1 / (16 * N**2 * M**2)},
    "the paper's Gram matrix is divided by M as well; only the loss is": {"paper": lambda N, M: 1 / (4 * N**2 * M**4)},
    "Johnson's mean is over N^2 entries, and here it is missing": {"johnson": lambda N, M: 1 / (N**2 * M**2)},
    "Johnson's mean is over N^2 entries, and here it is over N": {"johnson": lambda N, M: 1 / (N**3 * M**2)},
    "Johnson divides the Gram matrix by N M, so its square is divided by (N M)^2": {
        "johnson": lambda N, M: 1 / (N**3 * M)
    },
    "Johnson's division by N M counts twice; it is in the Gram matrix already": {
        "johnson": lambda N, M: 1 / (N**6 * M**4)
    },
    "Udacity's mean is over N^2 entries, and here it is missing": {"udacity": lambda N, M: 1 / (N * M)},
    "Udacity's mean is over N^2 entries, and here it is over N": {"udacity": lambda N, M: 1 / (N**2 * M)},
    "Udacity divides the loss by N M, and not the Gram matrix; so nothing is squared": {
        "udacity": lambda N, M: 1 / (N**4 * M**2)
    },
    "N and M are exchanged: N is the number of channels, M that of positions": {
        "paper": lambda N, M: FACTORS["paper"](M, N),
        "johnson": lambda N, M: FACTORS["johnson"](M, N),
        "udacity": lambda N, M: FACTORS["udacity"](M, N),
    },
    "these are the content's factors; it is a weight of the style": {
        name: published(name, "content") for name in PUBLICATIONS
    },
}


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
    weight, channels, positions = draw.number(2, 9), draw.random.randint(5, 9), draw.random.randint(11, 19)

    def ask(weight: float, source: str, target: str) -> float:
        return as_number(convert_weight(weight, channels, positions, source, target), "the weight")

    found = {pair: ask(weight, *pair) for pair in PAIRS}
    right = all_weights(channels, positions, lambda source, target: weight * source / target)
    if not agree(found, right):
        for sentence, wrong in wrong_conversions(weight, channels, positions).items():
            expect(not agree(found, wrong), sentence)
        expect(len(set(found.values())) > 1, "all publications get the same weight: are source and target used?")
        expect(
            not agree(found, {pair: float(math.floor(value)) for pair, value in right.items()}),
            "the weight is rounded down to a whole number: / divides, and // rounds, too",
        )
        source, target = next(pair for pair in PAIRS if not math.isclose(found[pair], right[pair], rel_tol=1e-4))
        times = found[source, target] / right[source, target]
        expect(
            False,
            f"from {source} to {target}, with N = {channels} and M = {positions}, the loss becomes {times:.3g} times "
            "as large; the same loss was asked",
        )
    for name in PUBLICATIONS:
        stays = math.isclose(ask(weight, name, name), weight, rel_tol=1e-4)
        expect(stays, f"from {name} to {name} the weight must stay as it is")
    expect(
        agree({pair: ask(3 * weight, *pair) for pair in PAIRS}, {pair: 3 * value for pair, value in right.items()}),
        "three times the weight does not give three times the result: is something added, or remembered?",
    )


def all_weights(
    channels: int,
    positions: int,
    formula: Callable[[float, float], float],
    factors: Mapping[str, Factor] = FACTORS,
) -> dict[Pair, float]:
    """The weights that a formula of the source's and the target's factor gives."""
    values = {name: factor(channels, positions) for name, factor in factors.items()}
    return {(source, target): formula(values[source], values[target]) for source, target in PAIRS}


def wrong_conversions(weight: float, channels: int, positions: int) -> dict[str, dict[Pair, float]]:
    """``{sentence: the weights that come out with this mistake}``."""
    formulas: dict[str, Callable[[float, float], float]] = {
        "the ratio is the wrong way round: the source's factor by the target's was asked": lambda a, b: weight * b / a,
        "the weight is not converted at all": lambda a, b: weight,
        "the weight itself is left out; this is the ratio alone": lambda a, b: a / b,
        "this is the root of the ratio; is a square missing in each formula?": lambda a, b: weight * math.sqrt(a / b),
        "the target's factor is left out": lambda a, b: weight * a,
        "the source's factor is left out": lambda a, b: weight / b,
        "the two factors are multiplied; divide the source's by the target's": lambda a, b: weight * a * b,
    }
    return {sentence: all_weights(channels, positions, formula) for sentence, formula in formulas.items()} | {
        sentence: all_weights(channels, positions, lambda a, b: weight * a / b, FACTORS | wrong)
        for sentence, wrong in WRONG_FACTORS.items()
    }


def agree(found: dict[Pair, float], other: dict[Pair, float]) -> bool:
    """Whether all weights are the same."""
    return all(math.isclose(found[pair], other[pair], rel_tol=1e-4) for pair in found)


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
    photo, painting = draw.features(), draw.features()

    def answer(*given: float | Tensor) -> Tensor:
        return torch.tensor(as_number(balance(*given), "the balance"), dtype=torch.float64)

    right = style_energy(painting) * beta / (content_energy(photo) * alpha)
    expect_value(
        answer(alpha, beta, photo, painting),
        right,
        wrong_balances(alpha, beta, photo, painting),
        "the value is not that of the paper's style loss, times beta, by that of its content loss, times alpha",
    )
    expect_value(
        answer(alpha, beta, scale * photo, scale * painting),
        scale**2 * right,
        {"a second call gives what the first gave: is something remembered?": right},
        "features s times as large make style gain s^2 on content, and here they do not",
    )


def content_energy(features: Tensor) -> Tensor:
    """The paper's content loss of an image without features."""
    return features.square().sum() / 2


def style_energy(features: Tensor) -> Tensor:
    """The paper's style loss of an image without features."""
    return plain_gram(features).square().sum() / (4 * features.shape[1] ** 2)


def wrong_balances(alpha: float, beta: float, photo: Tensor, painting: Tensor) -> dict[str, Tensor | float]:
    """``{sentence: what comes out with this mistake}`` of a recipe's balance."""
    content, style = content_energy(photo), style_energy(painting)
    right, ratio = beta * style / (alpha * content), beta / alpha
    (N, M), (C, K) = ((each.shape[1], each[0, 0].numel()) for each in (painting, photo))
    gram = plain_gram(painting) * M
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
        "the squares are missing: norms are compared": ratio * gram.norm() / (4 * N**2 * M**2) / (photo.norm() / 2),
        "the squares are missing: sums are compared": ratio * gram.sum() / (4 * N**2 * M**2) / (photo.sum() / 2),
        "the painting's features are squared; the entries of its Gram matrix were asked": ratio
        * painting.square().sum()
        / (4 * N**2 * M**2)
        / content,
        "photo and painting are exchanged": ratio * style_energy(photo) / content_energy(painting),
        "the content is the painting's; the photo's was asked": ratio * style / content_energy(painting),
        "the style is the photo's; the painting's was asked": ratio * style_energy(photo) / content,
    }
