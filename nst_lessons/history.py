"""What a run tells: its losses, its images, and why it ended; and the rules that may end it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from torch import Tensor

from nst_lessons.checks import check_callable, check_number

Label = TypeVar("Label", bound=Hashable)


class Ending(Enum):
    """The kind of a run's end; `Result.stopped` has the words."""

    STEPS = "all steps were taken"
    RULE = "a stop rule gave a reason"
    STALLED = "the loss no longer fell"
    INTERRUPTED = "Ctrl-C or the notebook's stop button"
    FAILED = "the loss or its gradient was no longer finite"


@dataclass(frozen=True)
class Step:
    """What a callback is given: one step of a run.

    `index` counts from 0 over all stages, `steps` is how many are planned; `image` is a copy, clamped, in the size of
    its stage; `losses` are weighted, by name.
    """

    index: int
    image: Tensor
    losses: dict[str, float]
    steps: int


@dataclass
class History:
    """The weighted losses of every step, by name, over all stages, and the images that were asked for, by step.

    `stages` are the steps with which the stages so far began; losses of two stages cannot be compared. `final` tells
    whether the last of the planned stages has begun.
    """

    losses: list[dict[str, float]] = field(default_factory=list)
    snapshots: dict[int, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    stages: list[int] = field(default_factory=lambda: [0])
    final: bool = True
    _totals: list[float] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def totals(self) -> list[float]:
        """The sum of the losses at every step."""
        self._totals.extend(sum(losses.values()) for losses in self.losses[len(self._totals) :])
        return self._totals.copy()

    @property
    def stage_totals(self) -> list[float]:
        """The sum of the losses at every step of the stage at hand."""
        return self.totals[self.stages[-1] :]


@dataclass(frozen=True)
class Result:
    """The best image of the last stage, ``(1, 3, H, W)`` in [0, 1]; how it came about; why the run ended."""

    image: Tensor
    history: History
    ending: Ending
    stopped: str

    @property
    def losses(self) -> dict[str, float]:
        """The weighted losses of the best step, by name; empty when there was none."""

        def total(losses: dict[str, float]) -> float:
            value = sum(losses.values())
            return value if math.isfinite(value) else math.inf

        return min(self.history.losses[self.history.stages[-1] :], key=total, default={})

    @property
    def interrupted(self) -> bool:
        """Whether somebody stopped the run, and is not waiting for more."""
        return self.ending is Ending.INTERRUPTED


StopRule = Callable[[History], str]


def loss_below(threshold: float) -> StopRule:
    """Stop when the sum of the losses falls below a threshold, in the last stage. ValueError for what is no number."""
    check_number("threshold", threshold)
    return lambda history: (
        f"the loss fell below {threshold:g}" if history.final and history.totals[-1] < threshold else ""
    )


def improvement_below(fraction: float, steps: int = 20) -> StopRule:
    """Stop when the best loss of the last ``steps`` steps is less than ``fraction`` better than the best before.

    Only the last stage counts: in the others there is more to come. ValueError for a negative fraction or no steps.
    """
    check_number("fraction", fraction, 0)
    check_number("steps", steps, 1, whole=True)

    def rule(history: History) -> str:
        totals = history.stage_totals if history.final else []
        if len(totals) <= steps or min(totals[-steps:]) <= (1 - fraction) * min(totals[:-steps]):
            return ""
        return f"the loss fell by less than {fraction:.2%} in {steps} steps"

    return rule


def out_of_time(seconds: float) -> StopRule:
    """Stop after so many seconds, in whichever stage. ValueError for what is no number of seconds."""
    check_number("seconds", seconds, 0)
    return lambda history: f"{seconds:g} seconds were over" if history.seconds >= seconds else ""


def out_of_steps(steps: int) -> StopRule:
    """Stop after so many steps, counted over all stages. ValueError for fewer than one."""
    check_number("steps", steps, 1, whole=True)
    return lambda history: f"{steps} steps were over" if len(history.losses) >= steps else ""


def sweep(run: Callable[[Label], Result], choices: Iterable[Label]) -> dict[Label, Result]:
    """One run for each choice; an interrupt ends the run at hand and the sweep.

    Args:
        run: takes a choice, returns its `Result`.
        choices: such as weights or layer names.

    Returns:
        ``{choice: result}`` of the runs that began, the interrupted one included.
    """
    check_callable("run", run)
    results: dict[Label, Result] = {}
    for choice in choices:
        results[choice] = run(choice)
        if results[choice].interrupted:
            break
    return results
