"""The options of a run, and their check before any work: a wrong one is refused in words."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import Any, TypedDict, cast

from nst_lessons.checks import check_callable, check_number, shown
from nst_lessons.coordinates import PIXELS, Coordinates
from nst_lessons.history import Step, StopRule
from nst_lessons.optimizers import learning_rate_of
from nst_lessons.run_file import checkpoint_path


class RunOptions(TypedDict, total=False):
    """What a user may ask of any run; see `nst_lessons.optimize.optimize_image`."""

    optimizer: str
    learning_rate: float | None
    coordinates: Coordinates
    stop: StopRule | Collection[StopRule]
    snapshots: Collection[int]
    callback: Callable[[Step], object] | None
    progress: bool
    checkpoint: str | os.PathLike[str] | None
    checkpoint_every: float


NUMBERS = {  # of the options that are numbers: the least that makes sense
    "alpha": 0.0,
    "beta": 0.0,
    "tv": 0.0,
    "tv_power": 1.0,
    "checkpoint_every": 0.0,
}


def check_options(options: Mapping[str, Any], kind: type[RunOptions] = RunOptions) -> None:
    """Raise an error for what can be known to be wrong before any work: mypy sees some of it, a notebook nothing.

    Raises:
        TypeError: for an option that a kind of options does not have.
        CheckpointError, ValueError: for a value that an option cannot have.
    """
    if unknown := [name for name in options if name not in kind.__annotations__]:
        raise TypeError(f"unknown option {unknown[0]!r}; choose from {', '.join(kind.__annotations__)}")
    for name in options.keys() & NUMBERS.keys():
        check_number(name, options[name], NUMBERS[name])
    if "steps" in options:
        check_number("steps", options["steps"], 1, whole=True)
    if "optimizer" in options or options.get("learning_rate") is not None:
        learning_rate_of(options.get("optimizer", "lbfgs"), options.get("learning_rate"))
    stop_rules(options.get("stop", ()))
    for step in as_collection("snapshots", options.get("snapshots", ())):
        check_number("a snapshot's step", step, 0, whole=True)
    for name in ("progress", "warm_start"):
        if not isinstance(options.get(name, True), bool):
            raise ValueError(f"{name} must be True or False, not {shown(options[name])}")
    if options.get("callback") is not None:
        check_callable("callback", options["callback"])
    if not isinstance(options.get("coordinates", PIXELS), Coordinates):
        raise ValueError(f"coordinates must be PIXELS or FOURIER, not {shown(options['coordinates'])}")
    if options.get("checkpoint") is not None:
        checkpoint_path(options["checkpoint"])


def stop_rules(stop: StopRule | Collection[StopRule]) -> tuple[StopRule, ...]:
    """One rule or several, as a tuple; ValueError for what is no function."""
    rules = tuple(stop) if isinstance(stop, Sequence | Set) and not isinstance(stop, str) else (stop,)
    for rule in rules:
        check_callable("stop", rule)
    return cast("tuple[StopRule, ...]", rules)


def as_collection(option: str, value: Collection[int]) -> Collection[int]:
    """The value, which can be gone through more than once; ValueError for one that cannot."""
    if not isinstance(value, Sequence | Set) or isinstance(value, str):
        raise ValueError(f"{option} must be a list or a range of steps, not {shown(value)}")
    return value
