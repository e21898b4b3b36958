"""Live runs: in a thread beside the notebook's cells, to be watched, paused, changed and stopped.

A run walks in legs. A change ends the leg at hand with its next step, and another leg, with its own losses and a fresh
optimiser, goes on from the image so far. Runs take turns, step by step: two at once on the same cores would slow each
other down far more than twofold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache
from threading import Event, Lock, Thread
from typing import Any
from weakref import WeakSet

from IPython.core.getipython import get_ipython

from nst_lessons.history import History, Result, Step
from nst_lessons.widgets.calls import Call, Leg, code

RUNS: WeakSet[LiveRun] = WeakSet()


class Turns:
    """A lock that is fair: first come, first served."""

    def __init__(self) -> None:
        self.guard, self.queue = Lock(), deque[Event]()

    def take(self) -> None:
        """Wait for one's turn."""
        mine = Event()
        with self.guard:
            self.queue.append(mine)
            if self.queue[0] is mine:
                mine.set()
        mine.wait()

    def leave(self) -> None:
        """Let the next one have it."""
        with self.guard:
            self.queue.popleft()
            if self.queue:
                self.queue[0].set()


PROCESSOR = Turns()


class LiveRun(Thread):
    """A run, in a thread of its own.

    Args:
        call: its first leg.
        cell: the notebook's cell that it belongs to.
        watch: called after each step, in the run's thread, with the step and the run's history.
        done: called at the end with the last leg's result, or with the error that ended the run.
    """

    def __init__(
        self,
        call: Call,
        cell: str,
        watch: Callable[[Step, History], object],
        done: Callable[[Result | Exception], object],
    ) -> None:
        super().__init__(name="live run", daemon=True)
        self.call = self.asked = call
        self.cell, self.watch, self.done = cell, watch, done
        self.legs: list[Leg] = []
        self.history = History()
        self.step: Step | None = None
        self.changed: Call | None = None
        self.warm_steps = 0
        self.stopping, self.going = Event(), Event()
        self.going.set()
        RUNS.add(self)

    def pause(self) -> None:
        """Rest after the step at hand, until `resume` or `stop`."""
        self.going.clear()

    def resume(self) -> None:
        """Go on after a pause."""
        self.going.set()

    def stop(self) -> None:
        """End after the step at hand, with the best image so far."""
        self.stopping.set()
        self.going.set()

    def change(self, call: Call) -> None:
        """Go on by another call after the step at hand, if it is another and can go on from an image."""
        if call.again is not None and code([Leg(call)]) != code([Leg(self.asked)]):
            self.asked = self.changed = call

    def run(self) -> None:
        """What the thread does."""
        PROCESSOR.take()
        try:
            outcome: Result | Exception = self.walk_legs()
        except Exception as error:  # a thread has nobody else to tell
            outcome = error
        finally:
            PROCESSOR.leave()
        self.done(outcome)

    def walk_legs(self) -> Result:
        """All legs, until one ends by itself or is stopped; the last one's result."""
        result = self.walk({})
        while self.changed and not self.stopping.is_set():
            call, self.changed = self.changed, None
            steps = self.warm_steps + call.options["steps"] - len(self.history.losses)
            if steps < 1:
                break
            self.call = replace(call, options={**call.options, "steps": steps})
            result = self.walk({**(call.again or {}), "start": result.image})
        return result

    def walk(self, options: dict[str, Any]) -> Result:
        """One leg."""
        result = self.call.make(**options, callback=self.see, stop=self.rule, progress=False)
        steps = len(result.history.losses)
        ended_by_hand = self.stopping.is_set() or self.changed is not None
        self.legs.append(Leg(self.call, steps if ended_by_hand else 0))
        self.history = self.whole(result.history)
        return result

    def whole(self, leg: History) -> History:
        """The history of the legs before, and of the one at hand."""
        before = len(self.history.losses)
        return History(
            losses=self.history.losses + leg.losses,
            seconds=self.history.seconds + leg.seconds,
            stages=[*(self.history.stages if before else []), *(before + step for step in leg.stages)],
        )

    def see(self, step: Step) -> None:
        """The callback of a leg: only this is shown the image."""
        self.step = step

    def rule(self, history: History) -> str:
        """The stop rule of a leg: only this is shown the history, and can end it."""
        assert self.step  # the callback comes first
        if not self.legs:
            self.warm_steps = self.step.steps - self.call.options.get("steps", self.step.steps)
        before = len(self.history.losses)
        step = Step(before + self.step.index, self.step.image, self.step.losses, before + self.step.steps)
        self.watch(step, self.whole(history))
        PROCESSOR.leave()
        if not self.stopping.is_set():
            self.going.wait()
        PROCESSOR.take()
        if self.stopping.is_set():
            return "stopped by hand"
        return "changed by hand" if self.changed else ""


def stop_runs(cells: Collection[str] | None = None) -> None:
    """Stop the runs that belong to some cells of the notebook, or all runs."""
    for run in list(RUNS):
        if cells is None or run.cell in cells:
            run.stop()


class Notebook:
    """What a kernel knows of its notebook: the cell that it runs, and which were deleted.

    JupyterLab names the cell in its request, and those that were deleted since the last one. Elsewhere a cell is known
    by its source, and the run of a deleted one goes on to its last step.
    """

    def __init__(self, shell: Any) -> None:
        self.shell, self.cell = shell, ""
        self.remember()
        shell.events.register("pre_run_cell", self.begin)
        shell.events.register("post_run_cell", self.end)
        # A kernel that runs no cell ignores an interrupt. What it is about to restore when this cell is over:
        if hasattr(shell.kernel, "saved_sigint_handler"):
            shell.kernel.saved_sigint_handler = self.interrupt

    def remember(self) -> list[str]:
        """Keep the name of the cell that is run; the names of those that were deleted."""
        request = self.shell.get_parent() if hasattr(self.shell, "get_parent") else {}
        names = request.get("metadata", {})
        self.cell = names.get("cellId") or request.get("content", {}).get("code", "")
        return list(names.get("deletedCells", []))

    def begin(self, _: object) -> None:
        """Before a cell is run: its run of before, and those of deleted cells, are over."""
        deleted = self.remember()
        stop_runs({self.cell, *deleted} - {""})

    def end(self, result: Any) -> None:
        """After a cell was interrupted, so are all runs."""
        if isinstance(result.error_in_exec, KeyboardInterrupt):
            stop_runs()

    def interrupt(self, signal_number: int, frame: object) -> None:
        """An interrupt while no cell is run."""
        stop_runs()


@cache
def notebook() -> Notebook | None:
    """The kernel's notebook; None outside a kernel."""
    shell = get_ipython()
    return Notebook(shell) if shell is not None and hasattr(shell, "kernel") else None
