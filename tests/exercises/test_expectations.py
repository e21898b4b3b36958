"""What a check expects of a gradient, a value and a function."""

import pytest
import torch

from nst_lessons.exercises.checking import Answer, Mistake, close, expect_function, expect_gradient, expect_value


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: (x**2).sum(),
        lambda x: (x.float() ** 4).mean(),
        lambda x: (x.sin() * x).sum()[None],
        lambda x: (x.float() ** 2).sum() * torch.ones((), dtype=torch.float64),
        lambda x: 1e-3 * (x**3).sum() / (x**2).sum(),
    ],
)
def test_right_gradients(loss):
    for seed in range(5):
        expect_gradient(loss, torch.randn(1, 4, 5, 3, generator=torch.Generator().manual_seed(seed)).double())


class WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x**2).sum()

    @staticmethod
    def backward(ctx, gradient):
        return 2.2 * ctx.saved_tensors[0] * gradient  # 2 is right


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (WrongGradient.apply, "where finite differences of the value give"),
        (lambda x: (x * x.detach()).sum(), "is a part detached"),
        (lambda x: (x**2)[:, 0].sum() + (x.detach() ** 2)[:, 1:].sum(), "is a part detached"),
        (lambda x: (x.detach() ** 2).sum(), "no gradient reaches the input"),
        (lambda x: (x**2).sum().item(), "no gradient reaches the input"),
        (lambda x: torch.ones(1, requires_grad=True).sum(), "no gradient reaches the input"),
        (lambda x: x.pow(2).sum().mul(1j), "the gradient cannot be computed, RuntimeError"),
    ],
)
def test_wrong_gradients(loss, said):
    for seed in range(5):
        with pytest.raises(Mistake, match=said):
            expect_gradient(loss, torch.randn(1, 4, 5, 3, generator=torch.Generator().manual_seed(seed)).double())


def test_whole_numbers_and_coarse_ones_are_compared_as_they_are():
    assert not close(torch.tensor([0, 1]), torch.tensor([0.4, 1.4]))
    assert not close(torch.tensor([1.0], dtype=torch.float16), 1.0004)
    assert close(torch.tensor([1.0]), 1 + 1e-6) and not close(torch.tensor([torch.nan]), torch.nan)
    assert not close(torch.tensor([1.0]), torch.inf) and not close(torch.tensor([torch.inf]), torch.inf)
    with pytest.raises(Mistake, match="it is halved"):
        expect_value(torch.tensor([0.5]).half(), torch.ones(1), {"it is halved": 0.5}, "otherwise")


def test_what_is_no_function_of_its_inputs():
    calls = []
    for function, said in (
        (lambda x: calls.append(x) or x + len(calls), "something is remembered"),
        (lambda x: torch.ones(2), "from a variable of the notebook"),
    ):
        with pytest.raises(Mistake, match=said):
            expect_function(Answer(function), (torch.ones(2),), (torch.zeros(2),))
