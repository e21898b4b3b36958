"""Lesson 6's checks: each wrong solution is caught with its own sentence, each right one passes."""

import math

import pytest
import torch
from answers import assert_caught, assert_right

from nst_lessons import gram_matrix
from nst_lessons.exercises import check_balance, check_convert_weight
from nst_lessons.normalisations import LayerSize, convert_weights


def factors(N, M, **changed):
    return {"paper": 1 / (4 * N**2 * M**2), "johnson": 1 / (N**4 * M**2), "udacity": 1 / (N**3 * M)} | changed


def by_factors(weight, channels, positions, source, target):
    factor = factors(channels, positions)
    return weight * factor[source] / factor[target]


def by_the_package(weight, channels, positions, source, target):
    sizes = {"layer": LayerSize(channels, positions, 1, 1.0)}
    return convert_weights({"layer": weight}, sizes, "style", source=source, to=target)["layer"]


def by_losses(weight, channels, positions, source, target):
    """Computes both losses of some features."""
    F, P = torch.rand(2, 1, channels, 1, positions, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    G, A = (each[0, :, 0] @ each[0, :, 0].T for each in (F, P))

    def loss(name):
        if name == "paper":
            return (G - A).square().sum() / (4 * channels**2 * positions**2)
        if name == "johnson":
            return ((G - A) / (channels * positions)).square().mean()
        return (G - A).square().mean() / (channels * positions)

    return weight * loss(source) / loss(target)


@pytest.mark.parametrize("answer", [by_factors, by_the_package, by_losses])
def test_right_conversions(answer):
    assert_right(check_convert_weight, answer)


def with_factors(change):
    """A conversion in which some factors are others: ``change(N, M)`` gives them by name."""

    def convert(weight, channels, positions, source, target):
        factor = factors(channels, positions, **change(channels, positions))
        return weight * factor[source] / factor[target]

    return convert


def with_formula(formula):
    """A conversion with another formula of the weight and the two factors."""

    def convert(weight, channels, positions, source, target):
        factor = factors(channels, positions)
        return formula(weight, factor[source], factor[target])

    return convert


def content_factors(N, M):
    return {"paper": 1 / 2, "johnson": 1 / (N * M), "udacity": 1 / (N * M)}


def one_way_only(weight, channels, positions, source, target):
    return weight * channels**2 / 4


def one_pair_only(weight, channels, positions, source, target):
    if (source, target) == ("paper", "johnson"):
        return weight * channels**2 / 4
    return weight


class AddsUp:
    def __init__(self):
        self.calls = 0

    def __call__(self, weight, *given):
        self.calls += 1
        return by_factors(weight, *given) + (self.calls > 9)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (with_formula(lambda w, a, b: w * b / a), "the wrong way round"),
        (with_formula(lambda w, a, b: w), "not converted at all"),
        (with_formula(lambda w, a, b: a / b), "the weight itself is left out"),
        (with_formula(lambda w, a, b: w * math.sqrt(a / b)), "the root of the ratio"),
        (with_formula(lambda w, a, b: w * a), "the target's factor is left out"),
        (with_formula(lambda w, a, b: w / b), "the source's factor is left out"),
        (with_formula(lambda w, a, b: w * a * b), "are multiplied"),
        (with_formula(lambda w, a, b: w * a // b), "rounded down"),
        (with_formula(lambda w, a, b: w * a / b + 1), "the loss becomes"),
        (with_factors(lambda N, M: {"paper": 1 / (N**2 * M**2)}), "factor of 4 is missing"),
        (with_factors(lambda N, M: {"paper": 1 / (4 * N * M)}), "are squared, and here they are not"),
        (with_factors(lambda N, M: {"paper": 1 / (4 * N * M) ** 2}), "the paper's 4 is squared"),
        (
            with_factors(lambda N, M: {"paper": 1 / (4 * N**2 * M**4)}),
            "the paper's Gram matrix is divided by M as well",
        ),
        (
            with_factors(lambda N, M: {"johnson": 1 / (N * M) ** 2}),
            "Johnson's mean is over N^2 entries, and here it is m",
        ),
        (with_factors(lambda N, M: {"johnson": 1 / (N**3 * M**2)}), "and here it is over N"),
        (with_factors(lambda N, M: {"johnson": 1 / (N**3 * M)}), "so its square is divided by (N M)^2"),
        (with_factors(lambda N, M: {"johnson": 1 / (N**6 * M**4)}), "counts twice"),
        (with_factors(lambda N, M: {"udacity": 1 / (N * M)}), "Udacity's mean is over N^2 entries, and here it is m"),
        (
            with_factors(lambda N, M: {"udacity": 1 / (N**2 * M)}),
            "Udacity's mean is over N^2 entries, and here it is o",
        ),
        (with_factors(lambda N, M: {"udacity": 1 / (N**4 * M**2)}), "and not the Gram matrix; so nothing is squared"),
        (with_factors(lambda N, M: factors(M, N)), "N and M are exchanged"),
        (with_factors(content_factors), "these are the content's factors"),
        (one_way_only, "all publications get the same weight"),
        (one_pair_only, "the loss becomes"),
        (AddsUp, "is something added, or remembered"),
        (lambda w, N, M, a, b: by_factors(w, N, M, a, b) if a != b else 1.0, "the weight must stay as it is"),
        (lambda w, N, M, a, b: str(by_factors(w, N, M, a, b)), "must be one number, and is a str"),
        (lambda w, N, M, a, b: {a: by_factors(w, N, M, a, b)}, "must be one number, and is a dict"),
        (lambda *given: math.nan, "the weight is nan"),
        (lambda *given: by_factors(*given[:3], given[3], {}), "raises TypeError"),
    ],
)
def test_wrong_conversions(answer, said):
    assert_caught(check_convert_weight, answer, said)


def balance_by_formula(alpha, beta, photo, painting):
    F = painting.flatten(2)[0]
    N, M = F.shape
    style = (F @ F.T).square().sum() / (4 * N**2 * M**2)
    return float(beta * style / (alpha * photo.square().sum() / 2))


def balance_by_our_gram_matrix(alpha, beta, photo, painting):
    style = gram_matrix(painting).square().sum() / (4 * painting.shape[1] ** 2)
    return beta * style / (alpha * 0.5 * (photo**2).sum())


def balance_by_two_losses(alpha, beta, photo, painting):
    """The two losses of an image without features."""

    def content_loss(F, P):
        return 0.5 * ((F - P) ** 2).sum()

    def style_loss(F, A):
        _, N, H, W = F.shape
        G = torch.einsum("bihw,bjhw->ij", F, F)
        return ((G - A) ** 2).sum() / (4 * N**2 * (H * W) ** 2)

    A = torch.einsum("bihw,bjhw->ij", painting, painting)
    style = beta * style_loss(torch.zeros_like(painting), A)
    return (style / (alpha * content_loss(torch.zeros_like(photo), photo))).item()


@pytest.mark.parametrize("answer", [balance_by_formula, balance_by_our_gram_matrix, balance_by_two_losses])
def test_right_balances(answer):
    assert_right(check_balance, answer)


def parts(photo, painting):
    """Content, Gram matrix, N and M."""
    F = painting.flatten(2)[0]
    return photo.square().sum() / 2, F @ F.T, *F.shape


def with_parts(formula):
    """Another formula of both weights, the content's loss, the squared Gram matrix, N and M."""

    def balance(alpha, beta, photo, painting):
        content, gram, N, M = parts(photo, painting)
        return formula(alpha, beta, content, gram.square().sum(), N, M)

    return balance


def changed(change):
    """The right balance, changed."""
    return lambda *given: change(balance_by_formula(*given), *given)


def in_place(alpha, beta, photo, painting):
    photo.square_()
    return balance_by_formula(alpha, beta, photo.sqrt(), painting)


def of_sums(alpha, beta, photo, painting):
    _, gram, N, M = parts(photo, painting)
    return beta * gram.sum() / (4 * N**2 * M**2) / (alpha * photo.sum() / 2)


def of_norms(alpha, beta, photo, painting):
    _, gram, N, M = parts(photo, painting)
    return beta * gram.norm() / (4 * N**2 * M**2) / (alpha * photo.norm() / 2)


def of_features(alpha, beta, photo, painting):
    content, _, N, M = parts(photo, painting)
    return beta * painting.square().sum() / (4 * N**2 * M**2) / (alpha * content)


class Remembers:
    def __init__(self):
        self.value = None

    def __call__(self, *given):
        self.value = self.value or balance_by_formula(*given)
        return self.value


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (changed(lambda value, *_: 1 / value), "upside down"),
        (lambda a, b, photo, painting: balance_by_formula(b, a, photo, painting), "alpha and beta are exchanged"),
        (lambda a, b, photo, painting: balance_by_formula(1, 1, photo, painting), "alpha and beta are left out"),
        (lambda a, b, photo, painting: b / a, "beta / alpha alone"),
        (changed(lambda value, *_: math.log10(value)), "the power of ten"),
        (changed(lambda value, *_: math.log(value)), "the natural logarithm"),
        (changed(lambda value, *_: value / (1 + value)), "the style's share"),
        (with_parts(lambda a, b, c, s, N, M: b * s / (4 * N**2 * M**2) - a * c), "the difference of the two"),
        (with_parts(lambda a, b, c, s, N, M: b * s / (4 * N**2 * M**2) / (a * 2 * c)), "the content's 1/2 is missing"),
        (with_parts(lambda a, b, c, s, N, M: b * s / (N * M) ** 2 / (a * c)), "the style's 1/4 is missing"),
        (with_parts(lambda a, b, c, s, N, M: b * s / (N * M) ** 2 / (a * 2 * c)), "1/2 and the style's 1/4"),
        (with_parts(lambda a, b, c, s, N, M: b * s / (4 * N * M) / (a * c)), "divided by N M; N^2 M^2"),
        (with_parts(lambda a, b, c, s, N, M: b * s / (4 * M**2) / (a * c)), "not divided by N^2"),
        (with_parts(lambda a, b, c, s, N, M: b * s / (4 * N**2) / (a * c)), "not divided by M^2"),
        (with_parts(lambda a, b, c, s, N, M: b * s / (a * c)), "not divided by 4 N^2 M^2"),
        (with_parts(lambda a, b, c, s, N, M: b * s / (4 * N**2 * M**4) / (a * c)), "once more by M^2"),
        (
            changed(lambda v, a, b, p, s: v * (s[0].numel() / p[0].numel()) ** 2),
            "N and M are the photo's",
        ),
        (changed(lambda value, a, b, photo, _: value * photo.numel()), "taken for the content"),
        (changed(lambda value, a, b, _, painting: value / painting.shape[1] ** 2), "taken for the style"),
        (changed(lambda v, a, b, photo, s: v * photo.numel() / s.shape[1] ** 2), "taken for both"),
        (of_norms, "norms are compared"),
        (of_sums, "sums are compared"),
        (of_features, "the entries of its Gram matrix were asked"),
        (lambda a, b, photo, painting: balance_by_formula(a, b, painting, photo), "photo and painting are exchanged"),
        (lambda a, b, photo, painting: balance_by_formula(a, b, painting, painting), "the content is the painting's"),
        (lambda a, b, photo, painting: balance_by_formula(a, b, photo, photo), "the style is the photo's"),
        (changed(lambda value, *_: 3 * value), "not that of the paper's style loss"),
        (changed(lambda value, *_: (value, 1)), "must be one number, and is a tuple"),
        (changed(lambda value, *_: torch.tensor([value, 1])), "must be one number, and is a Tensor"),
        (in_place, "changes what it was given"),
        (Remembers, "is something remembered"),
    ],
)
def test_wrong_balances(answer, said):
    assert_caught(check_balance, answer, said)
