"""What a check of an exercise is: it calls the student's function, and answers in one sentence.

A check tests properties, on shapes and numbers that differ from grading to grading, and names the likely mistake. It
takes the function itself, so that it may have any name. Nothing attempted yet is no mistake and stops no notebook.
Where nbgrader grades, a check raises; where a student works, it only speaks.
"""

from __future__ import annotations

import dis
import inspect
import linecache
import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from textwrap import shorten
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nst_lessons.exercises.memory_limit import memory_limit
from nst_lessons.exercises.time_limit import TimeLimit, TimeOver

SECONDS = 20.0  # for one check; a right answer takes a fraction of that
CLOSE = 1e-4  # relatively, of the largest value

DRAWS = "the function draws from {}'s global random numbers; the same input must give the same result"
LEAVES = "the function calls {}, which stays so for all that comes after it"
# {what a function has done that changes it: (how it is read, how it is set)}
GLOBAL_STATE: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    DRAWS.format("torch"): (torch.get_rng_state, torch.set_rng_state),
    DRAWS.format("NumPy"): (np.random.get_state, np.random.set_state),
    DRAWS.format("Python"): (random.getstate, random.setstate),
    LEAVES.format("torch.set_grad_enabled"): (torch.is_grad_enabled, torch.set_grad_enabled),
    LEAVES.format("torch.set_default_dtype"): (torch.get_default_dtype, torch.set_default_dtype),
}


class NotWritten(Exception):
    """There is no answer yet. It is no NotImplementedError, which torch raises, too."""


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
        """Say what is wrong with a function, or that it is right; where nbgrader runs this, `grade` it."""
        if grading():
            self.grade(function)
        else:
            print(self.verdict(function).sentence)

    def grade(self, function: Callable[..., Any]) -> None:
        """Check a function with other shapes and numbers than a student has seen, and with little memory.

        Raises:
            AssertionError: with the sentence, unless it is right.
        """
        with memory_limit():
            verdict = self.verdict(function, "graded")
        if not verdict.right:
            raise AssertionError(verdict.sentence)
        print(verdict.sentence)

    def verdict(self, function: Callable[..., Any], variant: str = "shown") -> Verdict:
        """What the check finds, without a word; the variant decides on shapes and numbers."""
        if not callable(function):
            return Verdict(False, True, f"{self.title}: give the check your function itself, without calling it.")
        try:
            with torch.enable_grad():
                self.examine(Answer(function), Draw(self.title, variant))
        except NotWritten:
            return Verdict(False, False, f"{self.title}: not attempted yet.")
        except Mistake as mistake:
            return Verdict(False, True, f"{self.title}: {mistake}{'' if str(mistake).endswith('?') else '.'}")
        except Exception as error:  # from a tensor on another device, an object that cannot be compared, ...
            return Verdict(False, True, f"{self.title}: the check cannot work with what comes back, {in_words(error)}.")
        return Verdict(True, True, f"{self.title}: right.")


def exercise(title: str) -> Callable[[Callable[[Answer, Draw], None]], Check]:
    """Make a check of a function that raises `Mistake` for a wrong answer."""
    return partial(Check, title)


def grading() -> bool:
    """Whether nbgrader runs this notebook to grade it."""
    return bool(os.environ.get("NBGRADER_EXECUTION"))


class Answer:
    """The student's function, watched: what it does beside returning a value is a mistake."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.limit = TimeLimit(SECONDS)

    def __call__(self, *inputs: Any) -> Any:
        """Call it.

        Raises:
            Mistake: when it raises an error, never ends, returns nothing, or changes what it was given or what belongs
                to all, such as the random numbers; those are as before afterwards.
            NotWritten: when it still raises NotImplementedError.
        """
        before, state = list(map(copy_of, inputs)), {what: get() for what, (get, _) in GLOBAL_STATE.items()}
        try:
            with self.limit:
                value = self.function(*inputs)
        except (Mistake, KeyboardInterrupt):  # of what the function was given, and of Ctrl-C
            raise
        except TimeOver:
            raise Mistake(f"still at work after {self.limit.seconds:g} s; is there a loop that never ends?") from None
        except BaseException as error:
            if is_unwritten(error, self.function):
                raise NotWritten from error
            raise Mistake(where_it_failed(error, self.function)) from error
        finally:
            changed = [what for what, (get, _) in GLOBAL_STATE.items() if not same(get(), state[what])]
            for what in changed:
                GLOBAL_STATE[what][1](state[what])
        expect(value is not None, "the function returns nothing; does it end with return?")
        untouched = all(map(same, inputs, before))
        expect(untouched, "the function changes what it was given; work on a copy, without operations in place")
        if changed:
            raise Mistake(changed[0])
        return value


def copy_of(value: Any) -> Any:
    """A copy of tensors and arrays, alone, in a dict, a list or a tuple; anything else as it is."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        return {key: copy_of(inner) for key, inner in value.items()}
    return list(map(copy_of, value)) if isinstance(value, (list, tuple)) else value


def same(value: Any, copy: Any) -> bool:
    """Whether a value is still what its copy is."""
    if isinstance(copy, Tensor):
        kind = isinstance(value, Tensor) and (value.shape, value.dtype)
        return kind == (copy.shape, copy.dtype) and torch.equal(value, copy)
    if isinstance(copy, np.ndarray):
        return isinstance(value, np.ndarray) and value.dtype == copy.dtype and np.array_equal(value, copy)
    if isinstance(copy, Mapping):
        return isinstance(value, Mapping) and value.keys() == copy.keys() and all(same(value[k], copy[k]) for k in copy)
    if isinstance(copy, (list, tuple)):
        return isinstance(value, (list, tuple)) and len(value) == len(copy) and all(map(same, value, copy))
    return value is copy or (type(value) is type(copy) and bool(value == copy))


def trail(error: BaseException) -> Iterator[TracebackType]:
    """The places that led to an error, the one where it was raised last."""
    at = error.__traceback__
    while at:
        yield at
        at = at.tb_next


def is_own(at: TracebackType, function: Callable[..., Any]) -> bool:
    """Whether a place is in the function's module, as all cells of a notebook are."""
    while isinstance(function, partial):
        function = function.func
    return at.tb_frame.f_globals.get("__name__") == getattr(inspect.unwrap(function), "__module__", None)


def is_unwritten(error: BaseException, function: Callable[..., Any]) -> bool:
    """Whether an error is the NotImplementedError of the student's own ``raise``; torch has some, too."""
    *_, at = trail(error)
    raised = dis.opname[at.tb_frame.f_code.co_code[at.tb_lasti]] == "RAISE_VARARGS"
    return isinstance(error, NotImplementedError) and raised and is_own(at, function)


def where_it_failed(error: BaseException, function: Callable[..., Any]) -> str:
    """An error, with the last line of the student's own code that led to it."""
    place = "the function raises"
    for at in trail(error):
        if is_own(at, function):
            file, scope = at.tb_frame.f_code.co_filename, at.tb_frame.f_globals
            line = shorten(linecache.getline(file, at.tb_lineno, scope), 100)
            place = f"line {at.tb_lineno}, `{line}`, raises" if line else f"line {at.tb_lineno} raises"
    return f"{place} {in_words(error)}"


def in_words(error: BaseException) -> str:
    """An error's class and the first line of its message."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:
        lines = []
    return f"{type(error).__name__}: {shorten(lines[0], 200).rstrip('.') if lines else 'no details'}"


class Draw:
    """Shapes and numbers for one check: always the same in one variant, others in another.

    The environment's `NST_LESSONS_VARIANT`, if it is set, is the variant of all checks.
    """

    def __init__(self, title: str, variant: str = "shown") -> None:
        self.random = random.Random(f"{title}, {os.environ.get('NST_LESSONS_VARIANT') or variant}")
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
    kind = type(value).__name__
    expect(isinstance(value, Tensor), f"{what} must be a tensor, so that its gradient can be followed, and is a {kind}")
    expect(value.numel() == 1, f"{what} must be one number, and has the shape {tuple(value.shape)}")  # type: ignore[attr-defined]


def close(value: Tensor, other: Tensor | float) -> bool:
    """Whether two tensors agree, up to rounding."""
    value = value.detach().cpu().double()  # first to the processor: an Apple GPU has no float64
    other = torch.as_tensor(other.detach().cpu() if isinstance(other, Tensor) else other, dtype=torch.float64)
    if value.numel() != other.numel() and value.shape != other.shape:
        return False
    if not other.isfinite().all():  # any value is close to infinity, relatively
        return False
    difference = (value.reshape(other.shape) - other).abs().max()
    return bool(difference <= CLOSE * other.abs().max().clamp_min(1e-12))


def expect_value(value: Tensor, right: Tensor | float, mistakes: Mapping[str, Tensor | float], otherwise: str) -> None:
    """Raise `Mistake` unless a value is right, with the sentence of the mistake that gives just this value.

    Args:
        value, right: of the same number of elements.
        mistakes: ``{sentence: what comes out with this mistake}``.
        otherwise: the sentence for a value that none of them gives.
    """
    if close(value, right):
        return
    for sentence, wrong in mistakes.items():
        expect(not close(value, wrong), sentence)
    fine = value.dtype in (torch.float32, torch.float64)
    expect(fine, f"the result is {value.dtype}, which rounds too much; use float32 or float64")
    raise Mistake(otherwise)


def expect_function(answer: Answer, inputs: tuple[Any, ...], others: tuple[Any, ...]) -> None:
    """Raise `Mistake` when a second call with the inputs gives something else, or when other inputs give the same.

    Both are for what comes back as a tensor; the inputs' shapes are the others'.
    """
    first, again, other = answer(*inputs), answer(*inputs), answer(*others)
    if isinstance(first, Tensor) and isinstance(again, Tensor) and isinstance(other, Tensor):
        expect(close(again, first), "the second call gives another value than the first: something is remembered")
        expect(
            not close(other, first),
            "two different inputs give the same result: is it computed from the arguments, or from a variable of the "
            "notebook, or remembered from an earlier call?",
        )


def expect_gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> None:
    """Raise `Mistake` unless a loss has the gradient that finite differences give, in two directions from a tensor.

    `at` is float64; the loss is the student's function of it, a scalar, and may have been computed in float32.
    """
    variable = at.detach().clone().requires_grad_()
    value = loss(variable)
    detached = "no gradient reaches the input: something is detached, or taken out of torch with .item() or numpy"
    expect(isinstance(value, Tensor) and value.requires_grad, detached)
    try:
        (gradient,) = torch.autograd.grad(value.sum(), variable, allow_unused=True)
    except RuntimeError as error:
        raise Mistake(f"the gradient cannot be computed, {in_words(error)}") from error
    expect(gradient is not None, detached)
    generator = torch.Generator().manual_seed(0)
    step = 3e-3 * at.detach().square().mean().sqrt()  # float32 needs no smaller ones
    for _ in range(2):
        direction = torch.randn(at.shape, generator=generator, dtype=torch.float64)
        there, back = (float(loss(at.detach() + sign * step * direction).sum()) for sign in (1, -1))
        slope, found = (there - back) / (2 * float(step)), float((gradient * direction).sum())
        expect(
            abs(found - slope) <= 0.02 * max(float(gradient.norm()), 1e-6),
            f"the gradient is {found:.4g} where finite differences of the value give {slope:.4g}; is a part detached?",
        )
