"""What the tests of checks ask: that a right answer passes, and a wrong one hears its own sentence."""

from collections.abc import Callable
from typing import Any

import pytest

from nst_lessons.exercises.checking import Check

VARIANTS = ("", "another", "a third")


def unwritten(*_: object) -> None:
    """An exercise that nobody has begun."""
    raise NotImplementedError


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
