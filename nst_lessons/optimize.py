"""Image optimisation: walk downhill in the space of images.

A run is a list of stages. In each, an image's loss and gradient are handed to an optimiser until a rule says stop. A
*step* is one evaluation of the loss and its gradient, whatever the optimiser: that is what costs time.

The same start, loss, settings, machine and number of threads give the same image, bit for bit. Another number of
threads, another processor or graphics card, or another version of torch may add in another order and so round
differently; an optimisation magnifies such a difference, to pixels that are seen to differ after some hundred steps.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm
from typing_extensions import Unpack

from nst_lessons.checks import check_callable, check_number, shown
from nst_lessons.console import forgiving
from nst_lessons.coordinates import PIXELS, Coordinates
from nst_lessons.estimate import check_memory, report
from nst_lessons.history import Ending, History, Result, Step, StopRule
from nst_lessons.images import check_image, resize
from nst_lessons.losses import LossFunction
from nst_lessons.optimizers import OPTIMIZERS, State, Stop, learning_rate_of
from nst_lessons.options import RunOptions, check_options, stop_rules
from nst_lessons.run_file import Checkpoint
from nst_lessons.stages import Stage

STALL_STEPS = 50
STALL_FRACTION = 1e-7


@dataclass(frozen=True)
class Evaluation:
    """One step: its weighted losses, their sum, the gradient ``(1, 3, H, W)``, and when it was known."""

    losses: dict[str, float]
    total: float
    gradient: Tensor
    seconds: float


@dataclass(frozen=True)
class Best:
    """The best image of a stage so far, its losses and their sum, and since which step it has hardly fallen."""

    image: Tensor
    losses: dict[str, float]
    total: float
    step: int


@dataclass
class Run:
    """What goes through all stages: the coordinates, the history, those who watch it, and the file.

    The walk is on the network's device; what is handed out is on the start's, its `home`.
    """

    stages: Sequence[Stage]
    home: torch.device
    coordinates: Coordinates
    history: History
    rules: tuple[StopRule, ...]
    snapshots: frozenset[int]
    callback: Callable[[Step], object] | None
    file: Checkpoint | None
    bar: tqdm[Any]
    began: float

    def enter(self, image: Tensor, evaluation: Evaluation) -> None:
        """Enter a step into the history, and show it."""
        index = len(self.history.losses)
        self.history.losses.append(evaluation.losses)
        self.history.seconds = evaluation.seconds
        if index in self.snapshots:
            self.history.snapshots[index] = self.copy(image)
        self.bar.update()
        self.bar.set_postfix(loss=f"{evaluation.total:.3g}", refresh=False)
        if self.callback:
            steps = sum(stage.steps for stage in self.stages)
            self.callback(Step(index, self.copy(image), evaluation.losses, steps))

    def copy(self, image: Tensor) -> Tensor:
        """An image as it is handed out."""
        return image.detach().clamp(0, 1).to(self.home)


class Evaluator:
    """Hands out the loss and gradient at an image's parameters in one stage, and ends the stage when it is time to."""

    def __init__(self, run: Run, number: int, loss_fn: LossFunction, saved: State) -> None:
        self.run, self.number, self.loss_fn = run, number, loss_fn
        self.limit = run.stages[number].steps
        self.best = Best(**saved["standing"]) if saved.get("standing") else None
        self.replay = [Evaluation(**evaluation) for evaluation in saved.get("since", ())]
        self.since: list[Evaluation] = []
        self.safe: State = {}

    @property
    def steps(self) -> int:
        """How many steps the run has taken."""
        return len(self.run.history.losses)

    def __call__(self, parameters: Tensor) -> tuple[float, Tensor]:
        """Loss and gradient at the parameters ``(1, 3, H, W)`` of an image; one step.

        Raises:
            Stop: when it is time to end.
        """
        index = self.steps
        if index - self.run.history.stages[-1] >= self.limit:
            raise Stop(Ending.STEPS, f"all {index} steps were taken")
        evaluation = self.replay.pop(0) if self.replay else self.evaluate(parameters)
        self.since.append(evaluation)
        image = self.run.coordinates.decode(parameters.detach())
        self.best = better(self.best, index, image, evaluation)
        self.run.enter(image, evaluation)
        check_finite(index, evaluation)
        if self.run.file and time.perf_counter() > self.run.file.due:
            self.save()
        for reason in (rule(self.run.history) for rule in self.run.rules):
            if reason:
                raise Stop(Ending.RULE, f"{reason} at step {index}")
        if self.best and index - self.best.step >= STALL_STEPS:
            raise Stop(Ending.STALLED, f"the loss has not fallen since step {self.best.step}")
        return evaluation.total, evaluation.gradient

    def evaluate(self, parameters: Tensor) -> Evaluation:
        """The work of a step: the loss forwards, the gradient backwards."""
        with torch.enable_grad():
            variable = parameters.detach().requires_grad_()
            terms = self.loss_fn(self.run.coordinates.decode(variable))
            # A loss of one's own may compare features on a GPU and pixels on the processor.
            total = torch.stack([term.reshape(()).to(variable.device) for term in terms.values()]).sum()
            (gradient,) = torch.autograd.grad(total, variable)
        losses = {name: float(term.detach()) for name, term in terms.items()}
        seconds = time.perf_counter() - self.run.began
        # A channels-last network gives its gradient channels last.
        return Evaluation(losses, float(total.detach()), gradient.contiguous(), seconds)

    def between_iterations(self, parameters: Tensor, walk: State) -> None:
        """Remember where the optimiser stands: from here its steps can be taken again."""
        self.since = []
        if self.run.file:
            standing = self.best and vars(self.best)
            self.safe = {
                "parameters": parameters.clone(),
                "walk": frozen(walk),
                "taken": self.steps,
                "standing": standing,
            }

    def save(self) -> None:
        """Write the checkpoint, once there is something to lose."""
        if self.run.file and self.best:
            history = self.run.history
            self.run.file.write(
                {
                    "stage": self.number,
                    **self.safe,
                    "since": [vars(evaluation) for evaluation in self.since],
                    "best": vars(self.best),
                    "losses": history.losses,
                    "stages": history.stages,
                    "snapshots": history.snapshots,
                    "seconds": history.seconds,
                }
            )


def better(best: Best | None, index: int, image: Tensor, evaluation: Evaluation) -> Best | None:
    """The better of the best image so far and that of one more step."""
    so_far = best.total if best else math.inf
    if not evaluation.total < so_far:
        return best
    hardly = best is not None and evaluation.total > so_far * (1 - STALL_FRACTION)
    step = best.step if best and hardly else index
    return Best(image.detach().clone(), evaluation.losses, evaluation.total, step)


def check_finite(index: int, evaluation: Evaluation) -> None:
    """Raise `Stop` when a step's loss or gradient is not finite."""
    if not math.isfinite(evaluation.total):
        bad = ", ".join(name for name, value in evaluation.losses.items() if not math.isfinite(value)) or "the sum"
        words = f"the loss was no longer a finite number at step {index} ({bad}); try smaller weights"
        raise Stop(Ending.FAILED, words)
    if not math.isfinite(float(evaluation.gradient.sum())):  # as only a sum of finite values is
        words = f"the gradient was no longer finite at step {index}; try a smaller weight or learning rate"
        raise Stop(Ending.FAILED, words)


def frozen(state: Any) -> Any:
    """A copy that the next iteration leaves as it is: torch changes tensors in place, but not those in its lists."""
    if isinstance(state, Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {name: frozen(value) for name, value in state.items()}
    return state.copy() if isinstance(state, list) else state


def run_stages(
    stages: Sequence[Stage],
    start: Tensor,
    *,
    optimizer: str = "lbfgs",
    learning_rate: float | None = None,
    coordinates: Coordinates = PIXELS,
    stop: StopRule | Collection[StopRule] = (),
    snapshots: Collection[int] = (),
    callback: Callable[[Step], object] | None = None,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 30.0,
) -> Result:
    """Walk through stages, each from what the one before has found, enlarged.

    The options, see `optimize_image`, hold over all of them. A stage that has taken its steps, or stalls, gives way to
    the next; a stop rule, an interrupt or a loss that is not finite ends the run.

    Args:
        stages: at least one; the last one's size is the result's.
        start: ``(1, 3, H, W)`` in [0, 1], of any size.

    Raises:
        CheckpointError, MemoryError, ValueError: see `optimize_image`; before any work.
    """
    check_options(
        {
            "optimizer": optimizer,
            "learning_rate": learning_rate,
            "coordinates": coordinates,
            "stop": stop,
            "snapshots": snapshots,
            "callback": callback,
            "progress": progress,
            "checkpoint": checkpoint,
            "checkpoint_every": checkpoint_every,
        }
    )
    rate = learning_rate_of(optimizer, learning_rate)
    check_stages(stages, start)
    check_memory(stages, optimizer)
    settings = {
        "optimizer": optimizer,
        "learning_rate": rate,
        "coordinates": coordinates.name,
        "sizes": [stage.size for stage in stages],
    }
    home, start = start.device, start.detach().clone().to(device_of(stages, start))
    file = None if checkpoint is None else Checkpoint(checkpoint, checkpoint_every, start, settings)
    saved = file.read() if file else {}
    if progress and not saved:
        report(stages, optimizer)
    history, rules = saved_history(saved), stop_rules(stop)
    total = sum(stage.steps for stage in stages)
    console = sys.stderr and forgiving(sys.stderr)  # there is none in a program without a console
    with tqdm(
        total=total,
        initial=len(history.losses),
        file=console,
        disable=not progress or console is None,
        leave=False,
        unit="step",
        dynamic_ncols=True,
    ) as bar:
        began = time.perf_counter() - history.seconds
        run = Run(stages, home, coordinates, history, rules, frozenset(snapshots), callback, file, bar, began)
        return walk_stages(run, start, optimizer, rate, saved)


def walk_stages(run: Run, start: Tensor, optimizer: str, rate: float, saved: State) -> Result:
    """Walk from the stage in which `saved` was written, else from the first, until a stage ends the run."""
    image, parameters = (saved["best"]["image"], saved["parameters"]) if saved else (start, start)
    full = run.stages[-1].size
    try:
        for number in range(saved.get("stage", 0), len(run.stages)):
            stage = run.stages[number]
            loss_fn = stage.loss_at()
            run.history.final = number == len(run.stages) - 1
            if saved and run.file:
                with torch.no_grad():
                    run.file.check_losses(saved, loss_fn)
            else:
                image = resize(image, stage.size)
                parameters = run.coordinates.encode(image)
                run.history.stages[number:] = [len(run.history.losses)]
            evaluate = Evaluator(run, number, loss_fn, saved)
            ended = walk_stage(evaluate, parameters, optimizer, rate, saved.get("walk", {}))
            image = evaluate.best.image if evaluate.best else image
            if ended.ending not in (Ending.STEPS, Ending.STALLED):
                break
            saved = {}
    except KeyboardInterrupt:  # while a stage's targets were made
        ended = Stop(Ending.INTERRUPTED, f"interrupted at step {len(run.history.losses)}")
    return Result(resize(image, full).clone().to(run.home), run.history, ended.ending, str(ended))


def device_of(stages: Iterable[Stage], start: Tensor) -> torch.device:
    """Where a run walks: where its networks are, else where its start is."""
    return next((stage.network.device for stage in stages if stage.network), start.device)


def walk_stage(evaluate: Evaluator, start: Tensor, optimizer: str, rate: float, saved_walk: State) -> Stop:
    """Let an optimiser walk through one stage from the parameters of its start; why it ended."""
    # L-BFGS flattens its parameters: it wants memory without gaps.
    parameters = start.clone(memory_format=torch.contiguous_format)
    bounds = evaluate.run.coordinates.bounds
    try:
        with torch.no_grad():
            for state in OPTIMIZERS[optimizer].walk(evaluate, parameters, rate, bounds, saved_walk):
                evaluate.between_iterations(parameters, state)
        raise AssertionError("a walk ends by Stop")
    except Stop as stop:
        ended = stop
    except KeyboardInterrupt:
        ended = Stop(Ending.INTERRUPTED, f"interrupted at step {evaluate.steps}")
    finally:
        evaluate.save()
    return ended


def saved_history(saved: State) -> History:
    """The history as it was when the optimiser stood where a checkpoint has it; the evaluations since are replayed."""
    taken = saved.get("taken", 0)
    return History(
        losses=saved.get("losses", [])[:taken],
        snapshots={step: image for step, image in saved.get("snapshots", {}).items() if step < taken},
        seconds=saved.get("seconds", 0.0),
        stages=saved.get("stages", [0]),
    )


def check_stages(stages: Sequence[Stage], start: Tensor) -> None:
    """Raise ValueError for no stages, a stage without steps, or a start that is no image."""
    if not isinstance(stages, Sequence) or not stages:
        raise ValueError(f"a run needs a list of at least one Stage, not {shown(stages)}")
    for stage in stages:
        if not isinstance(stage, Stage):
            raise ValueError(f"a run's stages are of the class Stage, not {shown(stage)}")
        check_number("steps", stage.steps, 1, whole=True)
    check_image(start, "the start")


def optimize_image(start: Tensor, loss_fn: LossFunction, *, steps: int = 200, **options: Unpack[RunOptions]) -> Result:
    """Change an image until its loss is small: a run of one stage.

    An interrupt (Ctrl-C, or the notebook's stop button), a loss that is not finite and a stall end the run with the
    best image so far.

    With a checkpoint, the same call made again goes on where the last one ended, was interrupted or was killed, to
    the same result as if nothing had happened; with more ``steps`` it goes on beyond; a run that was over gives its
    result again at once. This asks for a loss that depends on the image alone: with one that draws random numbers
    (jitter, dropout) it is refused. A checkpoint that cannot be written is warned of, once, and the run goes on.

    Args:
        start: ``(1, 3, H, W)`` in [0, 1]; left as it is.
        loss_fn: takes an image, gives its weighted losses by name, ``{"content": ..., "style": ...}``; their sum is
            minimised.
        steps: at most so many evaluations of the loss and its gradient.
        optimizer: ``"lbfgs"`` (default), ``"adam"`` or ``"scipy"`` (SciPy's L-BFGS-B).
        learning_rate: by default 1 for L-BFGS, 0.02 for Adam; SciPy has none.
        coordinates: what the optimiser walks over: `PIXELS` (default) or `FOURIER` parameters. The loss, the callback
            and the result have the image. From a start without much fine structure, so not from white noise, L-BFGS
            comes down a third further in `FOURIER` on the features of deep layers.
        stop: one or more rules: `loss_below`, `improvement_below`, `out_of_steps`, `out_of_time`, or any function that
            takes the `History` and returns a reason, or an empty string to go on.
        snapshots: the steps whose images are kept in ``history.snapshots``.
        callback: called with a `Step` after every evaluation; after resuming, from the last one or few on.
        progress: show a bar, and, before a long run, how long it will take.
        checkpoint: a file that is made, brought up to date and, when it exists, resumed from; some thirty times as
            large as the image with L-BFGS. It holds no code.
        checkpoint_every: seconds between two writings, 30 by default; it is also written at the end of every stage.

    Raises:
        CheckpointError: for a checkpoint that is damaged, or of another start, loss, optimiser, learning rate or
            coordinates; it is left as it is.
        ImageError: for a start that is no image.
        ValueError: for an unknown optimiser, fewer than one step, or another option's value.
    """
    check_image(start, "the start")
    check_callable("loss_fn", loss_fn)
    size = start.shape[-2], start.shape[-1]
    return run_stages([Stage(size, steps, lambda: loss_fn)], start, **options)
