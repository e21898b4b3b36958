"""What the tests of checks ask: that a right answer passes, and a wrong one hears its own sentence.

Most searches for an image are one of two loops, with this loss or that.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nst_lessons.exercises.checking import Check

VARIANTS = ("", "another", "a third")


def assert_right(check: Check, answer: Callable[..., Any]) -> None:
    """Right is right on whatever shapes and numbers."""
    for variant in VARIANTS:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("NST_LESSONS_VARIANT", variant)
            verdict = check.verdict(answer)
            assert verdict.right, verdict.sentence


def assert_caught(check: Check, answer: Callable[..., Any], said: str) -> None:
    """Wrong is wrong on whatever shapes and numbers, and for the same reason."""
    for variant in VARIANTS:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("NST_LESSONS_VARIANT", variant)
            verdict = check.verdict(answer() if isinstance(answer, type) else answer)  # a class remembers
            assert verdict.attempted and not verdict.right
            assert said in verdict.sentence
            assert verdict.sentence.startswith(f"{check.title}: ") and verdict.sentence.endswith((".", "?"))
            assert "\n" not in verdict.sentence


def adam(
    start: Tensor,
    loss_fn: Callable[[Tensor], Tensor],
    steps: int,
    rate: float = 0.02,
    zero: bool = True,
    clamp: bool = True,
) -> Tensor:
    """What Adam makes of a copy of the start."""
    image = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=rate)
    for _ in range(steps):
        if zero:
            optimizer.zero_grad()
        loss_fn(image).backward()
        optimizer.step()
        if clamp:
            image.data.clamp_(0, 1)
    return image.detach()


def lbfgs(start: Tensor, loss_fn: Callable[[Tensor], Tensor], steps: int, line_search: str | None = None) -> Tensor:
    """What L-BFGS makes of a copy of the start."""
    image = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.LBFGS([image], max_iter=steps, line_search_fn=line_search)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_fn(image)
        loss.backward()
        return loss

    optimizer.step(closure)
    return image.data.clamp(0, 1)
