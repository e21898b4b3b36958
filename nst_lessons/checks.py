"""Checks of what a function is given: a refusal says what came and what would be accepted."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping
from numbers import Integral, Real


def check_choice(option: str, value: object, choices: Iterable[str]) -> None:
    """Raise ValueError for a value that is not among the choices."""
    choices = tuple(choices)
    if not (isinstance(value, str) and value in choices):
        raise ValueError(f"unknown {option} {shown(value)}; choose from {', '.join(choices)}")


def check_number(
    option: str, value: object, least: float = -math.inf, most: float = math.inf, *, whole: bool = False
) -> None:
    """Raise ValueError for what is no finite number, no integer where it must be one, or out of range."""
    number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    if number and math.isfinite(value) and least <= value <= most:  # type: ignore[arg-type, operator]
        return
    wanted = "an integer" if whole else "a number"
    if least > -math.inf:
        bounds = [str(bound) if whole else f"{bound:g}" for bound in (least, most)]
        wanted += f" from {' to '.join(bounds)}" if most < math.inf else f" of at least {bounds[0]}"
    raise ValueError(f"{option} must be {wanted}, not {shown(value)}")


def check_callable(option: str, value: object) -> None:
    """Raise ValueError for what is no function."""
    if not callable(value):
        raise ValueError(f"{option} must be a function, not {shown(value)}")


def check_mapping(option: str, value: object) -> None:
    """Raise ValueError for what is no dict."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{option} must be a dict, not {shown(value)}")


def shown(value: object) -> str:
    """A value as it is shown in a message: on one line, and not all of a large one."""
    if hasattr(value, "shape"):
        return f"a {type(value).__name__} of the shape {tuple(value.shape)}"
    return textwrap.shorten(repr(value), 80, placeholder=" ...")
