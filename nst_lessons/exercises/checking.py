"""What a check of an exercise is: it calls the student's function, and answers in one sentence.

A check tests properties, on shapes and numbers that differ from grading to grading, and names the likely mistake. It
takes the function itself, so that it may have any name. Nothing attempted yet is no mistake and stops no notebook.
Where nbgrader grades, a check raises; where a student works, it only speaks.
"""

from __future__ import annotations

import _thread
import inspect
import os
import random
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Timer
from typing import Any

import torch
from torch import Tensor

SECONDS = 20.0  # for one check; a right answer takes a fraction of that
CLOSE = 1e-4  # relatively, of the largest value


class Mistake(Exception):
    """What is wrong with an answer: the likely reason, in one sentence."""


@dataclass(frozen=True)
class Verdict:
    """What a check found: whether the answer is right, whether there is one, and the sentence."""

    right: bool
    attempted: bool
    sentence: str


@dataclass(frozen=True)
class Check:
    """The check of one exercise; call it with your function."""

    title: str
    examine: Callable[[Answer, Draw], None]

    def __call__(self, function: Callable[..., Any]) -> None:
        """Say what is wrong with a function, or that it is right.

        Raises:
            AssertionError: where nbgrader grades, unless it is right.
        """
        verdict = self.verdict(function)
        if grading() and not verdict.right:
            raise AssertionError(verdict.sentence)
        print(verdict.sentence)

    def verdict(self, function: Callable[..., Any]) -> Verdict:
        """What the check finds, without a word."""
        if not callable(function):
            return Verdict(False, True, f"{self.title}: give the check your function itself, without calling it.")
        state = torch.random.get_rng_state()
        try:
            with time_limit(SECONDS):
                self.examine(Answer(function), Draw(self.title))
        except NotImplementedError:
            return Verdict(False, False, f"{self.title}: not attempted yet.")
        except Mistake as mistake:
            return Verdict(False, True, f"{self.title}: {mistake}{'' if str(mistake).endswith('?') else '.'}")
        finally:
            torch.random.set_rng_state(state)
        return Verdict(True, True, f"{self.title}: right.")


def exercise(title: str) -> Callable[[Callable[[Answer, Draw], None]], Check]:
    """Make a check of a function that raises `Mistake` for a wrong answer."""
    return lambda examine: Check(title, examine)


def grading() -> bool:
    """Whether nbgrader runs this notebook to grade it."""
    return bool(os.environ.get("NBGRADER_EXECUTION"))


class Answer:
    """The student's function, watched: what it does beside returning a value is a mistake."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *inputs: Any) -> Any:
        """Call it.

        Raises:
            Mistake: when it raises an error, returns nothing, changes what it was given, or draws random numbers.
            NotImplementedError: when it is not written yet.
        """
        before, state = [copy_of(value) for value in inputs], torch.random.get_rng_state()
        try:
            value = self.function(*inputs)
        except (Mistake, NotImplementedError):
            raise
        except Exception as error:
            raise Mistake(where_it_failed(error, self.function)) from error
        if value is None:
            raise Mistake("the function returns nothing; does it end with return?")
        if any(not same(given, copy) for given, copy in zip(inputs, before, strict=True)):
            raise Mistake("the function changes what it was given; work on a copy, without operations in place")
        if not torch.equal(torch.random.get_rng_state(), state):
            raise Mistake(
                "the function draws from torch's global random numbers; the same input must give the same result"
            )
        return value


def copy_of(value: Any) -> Any:
    """A copy of tensors, alone, in a dict or in a list; anything else as it is."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: copy_of(inner) for key, inner in value.items()}
    return [copy_of(inner) for inner in value] if isinstance(value, list) else value


def same(value: Any, copy: Any) -> bool:
    """Whether a value is still what its copy is."""
    if isinstance(value, Tensor):
        return value.shape == copy.shape and torch.equal(value.detach(), copy)
    if isinstance(value, Mapping):
        return value.keys() == copy.keys() and all(same(value[key], copy[key]) for key in copy)
    if isinstance(value, list):
        return len(value) == len(copy) and all(map(same, value, copy))
    return True


def where_it_failed(error: Exception, function: Callable[..., Any]) -> str:
    """An error, with the last line of the student's own code that led to it."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code and frame.filename == code.co_filename]
    message = str(error).strip().splitlines()[0] if str(error).strip() else "no details"
    place = f"line {own[-1].lineno}, `{own[-1].line}`, raises " if own else "the function raises "
    return f"{place}{type(error).__name__}: {message.rstrip('.')}"


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt what runs for too long.

    Raises:
        Mistake: when the time is over.
    """
    over = False

    def interrupt() -> None:
        nonlocal over
        over = True
        _thread.interrupt_main()

    timer = Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        if not over:
            raise
        raise Mistake(f"still at work after {seconds:g} s; is there a loop that never ends?") from None
    finally:
        timer.cancel()


class Draw:
    """Shapes and numbers for one check: always the same where a student works, others where answers are graded."""

    def __init__(self, title: str) -> None:
        variant = os.environ.get("NST_LESSONS_VARIANT") or ("graded" if grading() else "shown")
        self.random = random.Random(f"{title}, {variant}")
        self.generator = torch.Generator().manual_seed(self.random.getrandbits(32))

    def sizes(self, count: int, least: int = 3, most: int = 11) -> list[int]:
        """Numbers that all differ, so that no axis can be taken for another."""
        return self.random.sample(range(least, most + 1), count)

    def features(self, batch: int = 1) -> Tensor:
        """Features ``(B, C, H, W)`` as after a ReLU: positive or 0, float64, with three different sizes."""
        return torch.randn(batch, *self.sizes(3), generator=self.generator, dtype=torch.float64).clamp_min(0)

    def image(self, least: int = 12, most: int = 24) -> Tensor:
        """An image ``(1, 3, H, W)`` in [0, 1], float32, higher or wider, but never square."""
        return torch.rand(1, 3, *self.sizes(2, least, most), generator=self.generator)

    def number(self, low: float = 0.5, high: float = 3.0) -> float:
        """A number that no one would guess."""
        return self.random.uniform(low, high)

    def order(self, count: int) -> Tensor:
        """A random order of ``0 ... count - 1``."""
        return torch.randperm(count, generator=self.generator)


def expect(condition: bool, sentence: str) -> None:
    """Raise `Mistake` with the sentence unless the condition holds."""
    if not condition:
        raise Mistake(sentence)


def expect_shape(value: object, shape: tuple[int, ...], what: str) -> None:
    """Raise `Mistake` unless a value is a tensor of this shape."""
    expect(isinstance(value, Tensor), f"{what} must be a tensor, and is a {type(value).__name__}")
    found = tuple(getattr(value, "shape", ()))
    expect(found == shape, f"{what} has the shape {found}; {shape} was asked")


def expect_scalar(value: object, what: str) -> None:
    """Raise `Mistake` unless a value is a tensor with one number, of any shape."""
    expect(isinstance(value, Tensor), f"{what} must be a tensor, so that its gradient can be followed")
    expect(value.numel() == 1, f"{what} must be one number, and has the shape {tuple(value.shape)}")  # type: ignore[attr-defined]


def close(value: Tensor, other: Tensor | float) -> bool:
    """Whether two tensors agree, up to rounding."""
    other = torch.as_tensor(other, dtype=value.dtype)
    if value.numel() != other.numel() and value.shape != other.shape:
        return False
    if not other.isfinite().all():  # any value is close to infinity, relatively
        return False
    difference = (value.detach().reshape(other.shape) - other.detach()).abs().max()
    return bool(difference <= CLOSE * other.detach().abs().max().clamp_min(1e-12))


def expect_value(value: Tensor, right: Tensor | float, mistakes: Mapping[str, Tensor | float], otherwise: str) -> None:
    """Raise `Mistake` unless a value is right, with the sentence of the mistake that gives just this value.

    Args:
        value, right: of the same number of elements.
        mistakes: ``{sentence: what comes out with this mistake}``.
        otherwise: the sentence for a value that none of them gives.
    """
    if close(value, right):
        return
    raise Mistake(next((sentence for sentence, wrong in mistakes.items() if close(value, wrong)), otherwise))


def expect_gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> None:
    """Raise `Mistake` unless a loss has the gradient that finite differences give, at three places of a tensor.

    `at` is float64; the loss is the student's function of it, a scalar.
    """
    variable = at.detach().clone().requires_grad_()
    value = loss(variable)
    detached = "no gradient reaches the input: something is detached, or taken out of torch with .item() or numpy"
    expect(isinstance(value, Tensor) and value.requires_grad, detached)
    (gradient,) = torch.autograd.grad(value.sum(), variable, allow_unused=True)
    expect(gradient is not None, detached)
    flat, step = at.detach().flatten(), 1e-5
    for place in (0, flat.numel() // 2, flat.numel() - 1):
        moved = []
        for sign in (1, -1):
            there = flat.clone()
            there[place] += sign * step
            moved.append(float(loss(there.view_as(at)).sum()))
        slope = (moved[0] - moved[1]) / (2 * step)
        found = float(gradient.flatten()[place])
        expect(
            abs(found - slope) <= 1e-3 * max(abs(slope), 1e-3),
            f"the gradient is {found:.4g} where finite differences of the value give {slope:.4g}; is a part detached?",
        )
