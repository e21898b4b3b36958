"""Live runs without a front end: turns, pauses, changes, ends, and what a notebook's cells have to do with them."""

import re
import signal
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from IPython.core.events import EventManager, available_events
from torch import Tensor

from nst_lessons import Backbone, History, Result, Step, reconstruct_content
from nst_lessons.widgets import live
from nst_lessons.widgets.calls import Argument, Call, code
from nst_lessons.widgets.live import LiveRun, Notebook, Turns, stop_runs

PATIENCE = 60  # seconds


@pytest.fixture
def plan(tiny_backbone: Backbone, small_image: Tensor) -> Callable[..., Call]:
    """A call of `reconstruct_content` on a tiny image."""

    def plan(layer: str = "relu2_1", **options: Any) -> Call:
        given = Argument(tiny_backbone, "backbone"), Argument(small_image, "photo"), Argument(layer, repr(layer))
        return Call("reconstruct_content", reconstruct_content, given, {"steps": 12, **options}, small_image, again={})

    return plan


class Seen:
    """What a run tells those who watch it; at some steps it is interfered with."""

    def __init__(self, call: Call, at: dict[int, Callable[[LiveRun], object]] | None = None, cell: str = "") -> None:
        self.steps: list[Step] = []
        self.outcome: Any = None
        self.at = at or {}
        self.run = LiveRun(call, cell, self.watch, self.end)

    def watch(self, step: Step, history: History) -> None:
        self.steps.append(step)
        assert len(history.losses) == len(self.steps)
        self.at.pop(step.index, lambda run: None)(self.run)

    def end(self, outcome: Any) -> None:
        self.outcome = outcome

    def to_the_end(self) -> "Seen":
        self.run.start()
        self.run.join(PATIENCE)
        assert not self.run.is_alive()
        return self


@pytest.fixture(autouse=True)
def no_run_is_left() -> Iterator[None]:
    yield
    stop_runs()
    assert not any(thread.name == "live run" and thread.join(PATIENCE) for thread in threading.enumerate())


def test_a_run_nobody_touches_is_the_plain_call(plan: Callable[..., Call]) -> None:
    seen = Seen(plan()).to_the_end()
    assert torch.equal(seen.outcome.image, plan().make(progress=False).image)
    assert [step.index for step in seen.steps] == list(range(12))
    assert code(seen.run.legs) == (
        "from nst_lessons import reconstruct_content, to_pil\n\n"
        "result = reconstruct_content(backbone, photo, 'relu2_1', steps=12)\nto_pil(result.image)"
    )


def test_stop_keeps_the_best_image_and_the_code_stops_there_too(
    plan: Callable[..., Call], tiny_backbone: Backbone, small_image: Tensor
) -> None:
    seen = Seen(plan(), {4: LiveRun.stop}).to_the_end()
    assert seen.outcome.stopped == "stopped by hand at step 4"
    assert "stop=out_of_steps(5)" in code(seen.run.legs)
    assert torch.equal(remade(seen, tiny_backbone, small_image).image, seen.outcome.image)


def remade(seen: Seen, backbone: Backbone, photo: Tensor) -> Result:
    """The result of a run's own code."""
    scope = {"backbone": backbone, "photo": photo}
    exec(code(seen.run.legs).replace("steps=", "progress=False, steps="), scope)
    return scope["result"]


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "scipy"])
def test_a_change_counts_from_the_next_step_and_the_code_makes_the_same_picture(
    plan: Callable[..., Call], tiny_backbone: Backbone, small_image: Tensor, optimizer: str
) -> None:
    changes = {
        2: lambda run: run.change(plan("relu1_1", optimizer=optimizer, tv=0.3)),
        7: lambda run: run.change(plan("relu1_2", optimizer=optimizer, tv=3.0)),
    }
    seen = Seen(plan(optimizer=optimizer), changes).to_the_end()
    assert len(seen.run.legs) == 3
    assert [step.index for step in seen.steps] == list(range(12))
    assert seen.run.history.stages == [0, 3, 8]
    assert [leg.ended_after for leg in seen.run.legs] == [3, 5, 0]
    assert seen.steps[3].losses != pytest.approx(seen.steps[2].losses)
    result = remade(seen, tiny_backbone, small_image)
    assert torch.equal(result.image, seen.outcome.image)
    assert code(seen.run.legs).count("start=result.image") == 2


def test_more_steps_are_a_change_too(plan: Callable[..., Call]) -> None:
    seen = Seen(plan(), {3: lambda run: run.change(plan(steps=20))}).to_the_end()
    assert len(seen.steps) == 20
    fewer = Seen(plan(), {6: lambda run: run.change(plan(steps=5))}).to_the_end()
    assert len(fewer.steps) == 7


def test_what_changes_nothing_begins_no_leg(plan: Callable[..., Call]) -> None:
    seen = Seen(plan(), {3: lambda run: run.change(plan())}).to_the_end()
    assert len(seen.run.legs) == 1


def test_what_cannot_go_on_from_an_image_does_not_change(plan: Callable[..., Call]) -> None:
    fixed = Call("f", reconstruct_content, plan().arguments, {"steps": 3}, plan().before)
    seen = Seen(plan(), {3: lambda run: run.change(fixed)}).to_the_end()
    assert (len(seen.run.legs), len(seen.steps)) == (1, 12)


def test_a_pause_rests_and_changes_nothing(plan: Callable[..., Call]) -> None:
    seen = Seen(plan(), {3: LiveRun.pause})
    seen.run.start()
    seen.run.join(0.5)
    assert (len(seen.steps), seen.run.is_alive()) == (4, True)
    other = Seen(plan()).to_the_end()  # it does not hold the processor meanwhile
    seen.run.resume()
    seen.run.join(PATIENCE)
    assert torch.equal(seen.outcome.image, other.outcome.image)


def test_stop_ends_a_pause(plan: Callable[..., Call]) -> None:
    seen = Seen(plan(), {3: LiveRun.pause})
    seen.run.start()
    while len(seen.steps) < 4:
        seen.run.join(0.01)
    seen.run.stop()
    seen.run.join(PATIENCE)
    assert seen.outcome.stopped == "stopped by hand at step 3"


def test_an_error_is_handed_over(plan: Callable[..., Call]) -> None:
    seen = Seen(plan(layer="relu9_9")).to_the_end()
    assert isinstance(seen.outcome, ValueError)
    assert "relu9_9" in str(seen.outcome)
    Seen(plan()).to_the_end()  # the processor is free again


def test_two_runs_take_turns(plan: Callable[..., Call]) -> None:
    order: list[str] = []
    both = threading.Barrier(2)

    def first_step(run: LiveRun) -> None:
        live.PROCESSOR.leave()  # so that the other one begins too
        both.wait(PATIENCE)
        live.PROCESSOR.take()

    seen = {name: Seen(plan(), {0: first_step}) for name in "ab"}
    for name, one in seen.items():
        watch = one.run.watch
        one.run.watch = lambda step, history, name=name, watch=watch: order.append(name) or watch(step, history)
        one.run.start()
    for one in seen.values():
        one.run.join(PATIENCE)
    steps = "".join(order)
    assert len(steps) == 24
    together = steps[steps.index("a", 1) : min(steps.rindex("a"), steps.rindex("b"))]
    assert len(together) >= 4
    assert "aa" not in together
    assert "bb" not in together


def test_turns_are_taken_in_the_order_in_which_they_were_asked_for() -> None:
    turns, order = Turns(), []
    turns.take()

    def work(name: str) -> None:
        turns.take()
        order.append(name)
        turns.leave()

    threads = []
    for n, name in enumerate("cabd", start=2):
        threads.append(threading.Thread(target=work, args=(name,)))
        threads[-1].start()
        while len(turns.queue) < n:
            threads[-1].join(0.001)
    assert order == []
    turns.leave()
    for thread in threads:
        thread.join(PATIENCE)
    assert order == list("cabd")
    assert not turns.queue


# The notebook's cells.


class Shell:
    """As much of a kernel's shell as is asked: events, the request at hand, the handler that it will restore."""

    def __init__(self) -> None:
        self.events = EventManager(self, available_events)
        self.kernel = SimpleNamespace(saved_sigint_handler=signal.SIG_IGN)
        self.request: dict[str, Any] = {}
        self.source = ""

    def get_parent(self) -> dict[str, Any]:
        return {"metadata": self.request, "content": {"code": self.source}}

    def run_cell(self, source: str, error: BaseException | None = None, **request: Any) -> None:
        self.request, self.source = request, source
        self.events.trigger("pre_run_cell", SimpleNamespace(raw_cell=source))
        self.events.trigger("post_run_cell", SimpleNamespace(error_in_exec=error))


@pytest.fixture
def shell() -> Shell:
    return Shell()


@pytest.fixture
def paused(plan: Callable[..., Call]) -> Callable[[str], Seen]:
    """A run of a cell that is under way, for as long as nobody stops it."""

    def begin(cell: str) -> Seen:
        seen = Seen(plan(), {0: LiveRun.pause}, cell)
        seen.run.start()
        return seen

    return begin


def is_over(seen: Seen) -> bool:
    if seen.run.stopping.is_set():
        seen.run.join(PATIENCE)
    return not seen.run.is_alive()


def test_the_run_of_a_cell_that_is_run_again_is_over(shell: Shell, paused: Callable[[str], Seen]) -> None:
    notebook = Notebook(shell)
    shell.run_cell("explore()", cellId="one")
    assert notebook.cell == "one"
    mine, other = paused("one"), paused("two")
    shell.run_cell("6 * 7", cellId="three")
    assert not is_over(mine)
    shell.run_cell("explore()", cellId="one")
    assert is_over(mine)
    assert not is_over(other)


def test_the_run_of_a_deleted_cell_is_over_when_the_next_cell_is_run(
    shell: Shell, paused: Callable[[str], Seen]
) -> None:
    Notebook(shell)
    mine, other = paused("one"), paused("two")
    shell.run_cell("6 * 7", cellId="three", deletedCells=["one", "nine"])
    assert is_over(mine)
    assert not is_over(other)


def test_without_names_of_cells_their_source_is_theirs(shell: Shell, paused: Callable[[str], Seen]) -> None:
    shell.source = "explore()"
    notebook = Notebook(shell)  # while a cell is run: the first that has an explorer
    assert notebook.cell == "explore()"
    mine = paused(notebook.cell)
    shell.run_cell("6 * 7")
    assert not is_over(mine)
    shell.run_cell("explore()")
    assert is_over(mine)


@pytest.mark.parametrize("while_a_cell_runs", [True, False])
def test_an_interrupt_ends_all_runs(shell: Shell, paused: Callable[[str], Seen], while_a_cell_runs: bool) -> None:
    Notebook(shell)
    runs = [paused("one"), paused("two")]
    shell.run_cell("1 / 0", ZeroDivisionError())
    assert not any(map(is_over, runs))
    if while_a_cell_runs:
        shell.run_cell("while True: pass", KeyboardInterrupt())
    else:
        shell.kernel.saved_sigint_handler(signal.SIGINT, None)
    assert all(map(is_over, runs))
    assert all(re.match("stopped by hand", seen.outcome.stopped) for seen in runs)


def test_there_is_no_notebook_outside_a_kernel() -> None:
    assert live.notebook() is None
