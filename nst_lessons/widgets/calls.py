"""Calls: what an explorer's controls ask for, as a call that is made, and as the Python code that makes it again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

import nst_lessons
from nst_lessons.history import Result


@dataclass(frozen=True)
class Argument:
    """A value, how it is written in code, and the lines that define the names in it."""

    value: Any
    code: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    """A call of one of this package's functions, whose name it is written with.

    `before` is what the result is compared with, ``(1, 3, H, W)``; `again` are further options for going on from an
    image, None where that cannot be.
    """

    name: str
    function: Callable[..., Result]
    arguments: Sequence[Argument]
    options: Mapping[str, Any]
    before: Tensor
    again: Mapping[str, Any] | None = None

    def make(self, **more: Any) -> Result:
        """Make the call, with more options, which win."""
        return self.function(*(argument.value for argument in self.arguments), **{**self.options, **more})


@dataclass(frozen=True)
class Leg:
    """A part of a live run: a call, and after how many steps the reader ended it; 0 where it ended by itself."""

    call: Call
    ended_after: int = 0


def code(legs: Sequence[Leg]) -> str:
    """The lines of Python that make the picture of a run, bit for bit on the same machine."""
    lines = dict.fromkeys(line for leg in legs for argument in leg.call.arguments for line in argument.lines)
    calls = [call_code(leg, first=leg is legs[0]) for leg in legs]
    body = "\n".join([*lines, *calls, "to_pil(result.image)"])  # shown below a cell
    names = sorted({name for name in re.findall(r"\w+", body) if callable(getattr(nst_lessons, name, None))})
    return f"from nst_lessons import {', '.join(names)}\n\n{body}"


def call_code(leg: Leg, *, first: bool) -> str:
    """One call, as an assignment to ``result``."""
    call = leg.call
    options = {name: getattr(value, "__name__", repr(value)) for name, value in call.options.items()}
    if not first:
        options |= {name: repr(value) for name, value in (call.again or {}).items()} | {"start": "result.image"}
    if leg.ended_after:
        options["stop"] = f"out_of_steps({leg.ended_after})"
    given = [*(argument.code for argument in call.arguments), *(f"{name}={value}" for name, value in options.items())]
    return f"result = {call.name}({', '.join(given)})"
