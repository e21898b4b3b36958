"""The published normalisations, each against its publication's own formula, and the conversion between them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nst_lessons import (
    NORMALISATIONS,
    convert_weights,
)
from nst_lessons.normalisations import LayerSize


def random_features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain_loss(convention: str, term: str, x: torch.Tensor, target: torch.Tensor, pixels: int) -> torch.Tensor:
    """One layer's loss as a publication writes it, with its own Gram matrix, its own sum or mean, its own fraction."""
    channels, positions = x.shape[1], x.shape[2] * x.shape[3]
    if term == "style":
        x, target = (rows @ rows.mT for rows in (x.flatten(2), target.flatten(2)))
    total = (x - target).square().sum()
    if convention == "relative":
        return total / target.square().sum()
    if term == "content":
        return {"paper": total / 2, "keras": total}.get(convention, (x - target).square().mean())
    return {
        "paper": total / (4 * channels**2 * positions**2),
        "authors": ((x - target) / positions).square().mean(),
        "johnson": ((x - target) / (channels * positions)).square().mean(),
        "gordic": ((x - target) / (channels * positions)).square().sum(),
        "udacity": (x - target).square().mean() / (channels * positions),
        "keras": total / (4 * 3**2 * pixels**2),
    }[convention]


@st.composite
def two_layers(draw: st.DrawFn) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Features and targets of two layers whose shapes differ."""
    shapes = draw(st.lists(st.tuples(*[st.integers(1, 6)] * 3), min_size=2, max_size=2, unique=True))
    seed, size = draw(st.integers(0, 1000)), draw(st.floats(0.01, 100))
    return [tuple(size * random_features(1, *shape, seed=seed + i) for i in (0, 1)) for shape in shapes]


@pytest.mark.parametrize("term", ["content", "style"])
@pytest.mark.parametrize("source", NORMALISATIONS)
@pytest.mark.parametrize("to", NORMALISATIONS)
@given(layers=two_layers(), weights=st.tuples(st.floats(0.01, 1e4), st.floats(0.01, 1e4)))
@settings(max_examples=10, deadline=None)
def test_converted_weights_give_the_same_loss_and_gradient(term, source, to, layers, weights):
    pixels = 4 * max(x.shape[2] * x.shape[3] for x, _ in layers)

    def size(x: torch.Tensor, target: torch.Tensor) -> LayerSize:
        rows = target.flatten(2)
        energy = float((rows @ rows.mT if term == "style" else target).square().sum())
        return LayerSize(x.shape[1], x.shape[2] * x.shape[3], pixels, energy)

    def loss_and_gradients(convention: str, chosen: dict[int, float]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        variables = [x.clone().requires_grad_() for x, _ in layers]
        terms = [plain_loss(convention, term, x, t, pixels) for x, (_, t) in zip(variables, layers, strict=True)]
        loss = sum(chosen[i] * one for i, one in enumerate(terms))
        return loss, list(torch.autograd.grad(loss, variables))

    published = dict(enumerate(weights))
    converted = convert_weights(
        published, {i: size(*pair) for i, pair in enumerate(layers)}, term, source=source, to=to
    )
    loss, gradients = loss_and_gradients(source, published)
    same_loss, same_gradients = loss_and_gradients(to, converted)
    torch.testing.assert_close(same_loss, loss, rtol=1e-9, atol=0)
    for one, other in zip(same_gradients, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9 * float(other.abs().max()))


@pytest.mark.parametrize("term", ["content", "style"])
def test_copied_weights_give_another_gradient(term):
    """The reason for the table: no two of its rows mean the same, but for the two that do."""
    sizes = {"shallow": LayerSize(64, 4096, 4096, 2.0), "deep": LayerSize(512, 16, 4096, 3.0)}
    ones = dict.fromkeys(sizes, 1.0)
    ratios = {}
    for name in NORMALISATIONS:
        converted = convert_weights(ones, sizes, term, source=name)
        ratios[name] = converted["shallow"] / converted["deep"]
    if term == "style":
        assert len({f"{ratio:.6g}" for ratio in ratios.values()}) == len(ratios) - 2  # paper = 1/4 authors = 1/4 gordic
        assert ratios["johnson"] / ratios["authors"] == pytest.approx(64)
    else:
        assert ratios["paper"] == pytest.approx(ratios["keras"])
        assert ratios["relative"] / ratios["paper"] == pytest.approx(3 / 2)


def test_conversion_there_and_back_is_nothing():
    sizes = {"a": LayerSize(3, 20, 80, 7.0), "b": LayerSize(5, 6, 80, 0.3)}
    weights = {"a": 0.2, "b": 3.0}
    there = convert_weights(weights, sizes, "style", source="keras", to="johnson")
    assert there != pytest.approx(weights)
    assert convert_weights(there, sizes, "style", source="johnson", to="keras") == pytest.approx(weights)
    with pytest.raises(ValueError, match="unknown normalisation 'gatys'; choose from relative, paper"):
        convert_weights(weights, sizes, "style", source="gatys")


@pytest.mark.parametrize("name", ["channels", "positions", "pixels"])
def test_nothing_is_divided_by_zero(name):
    size = LayerSize(channels=7, positions=5, pixels=11, energy=0.0)  # a silent layer's energy is 0
    for term in ("content", "style"):
        (weight,) = convert_weights({"a": 1.0}, {"a": size}, term, source="paper").values()
        assert 0 <= weight < math.inf
    with pytest.raises(ValueError, match=f"a: {name} must be a number of at least 1, not 0"):
        convert_weights({"a": 1.0}, {"a": size._replace(**{name: 0})}, "content", source="paper")
