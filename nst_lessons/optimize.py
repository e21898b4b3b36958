"""Image optimisation: walk downhill in the space of images.

`optimize_image` hands an image's loss and gradient to an optimiser until a rule says stop. A *step* is one
evaluation of the loss and its gradient, whatever the optimiser: that is what costs time.

The same start, loss, settings, machine and number of threads give the same image, bit for bit. Another number of
threads, another processor or graphics card, or another version of torch may add in another order and so round
differently; an optimisation magnifies such a difference, to pixels that are seen to differ after some hundred steps.

A checkpoint holds the optimiser's state as it was between two of its iterations, and the evaluations since: replayed
from there, a run that was killed takes the very steps that it would have taken.
"""

from __future__ import annotations

import ctypes
import math
import os
import time
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import scipy.optimize
import torch
from torch import Tensor
from tqdm.auto import tqdm

from nst_lessons.files import whole_file

LossFunction = Callable[[Tensor], Mapping[str, Tensor]]
State: TypeAlias = dict[str, Any]
STALL_STEPS = 50
STALL_FRACTION = 1e-7
LBFGS_HISTORY = 10  # pairs of images, as in SciPy; twenty take a twentieth longer and come within 1 % of the same loss
LBFGS_BYTES = 1e9  # pairs of a large image are fewer
LINE_SEARCH_STEPS = 25
SPRING = 1000.0
FIRST_STEP = 0.01  # of the pixels' range, on average
LEG_ITERATIONS = 50
CHECKPOINT_FORMAT = "nst_lessons checkpoint 1"
SAME_IMAGE = 1e-3  # of the pixels' range
SAME_LOSS = 1e-3  # relatively; processors and numbers of threads differ by less


@dataclass(frozen=True)
class Step:
    """What a callback is given: the step's number, from 0, its image (a copy, clamped) and its weighted losses."""

    index: int
    image: Tensor
    losses: dict[str, float]


@dataclass
class History:
    """The weighted losses of every step, by name, and the images that were asked for, by step."""

    losses: list[dict[str, float]] = field(default_factory=list)
    snapshots: dict[int, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    _totals: list[float] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def totals(self) -> list[float]:
        """The sum of the losses at every step."""
        self._totals.extend(sum(losses.values()) for losses in self.losses[len(self._totals) :])
        return self._totals.copy()


@dataclass(frozen=True)
class Result:
    """The best image, ``(1, 3, H, W)`` in [0, 1]; how it came about; why it stopped, in words."""

    image: Tensor
    history: History
    stopped: str

    @property
    def losses(self) -> dict[str, float]:
        """The weighted losses of the best step, by name."""
        return min(self.history.losses, key=lambda losses: _finite(sum(losses.values())), default={})

    @property
    def interrupted(self) -> bool:
        """Whether somebody stopped it, and is not waiting for more."""
        return self.stopped.startswith("interrupted")


StopRule = Callable[[History], str]


def loss_below(threshold: float) -> StopRule:
    """Stop when the sum of the losses falls below a threshold."""
    return lambda history: f"the loss fell below {threshold:g}" if history.totals[-1] < threshold else ""


def improvement_below(fraction: float, steps: int = 20) -> StopRule:
    """Stop when the best loss of the last ``steps`` steps is less than ``fraction`` better than the best before."""

    def rule(history: History) -> str:
        totals = history.totals
        if len(totals) <= steps or min(totals[-steps:]) <= (1 - fraction) * min(totals[:-steps]):
            return ""
        return f"the loss fell by less than {fraction:.2%} in {steps} steps"

    return rule


def out_of_time(seconds: float) -> StopRule:
    """Stop after so many seconds."""
    return lambda history: f"{seconds:g} seconds were over" if history.seconds >= seconds else ""


class _Stop(Exception):
    """Ends an optimiser from within an evaluation; its text is the reason."""


class CheckpointError(ValueError):
    """A checkpoint that this run cannot go on from; the message says what came and what would do."""


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf


@dataclass
class Evaluation:
    """One step: its weighted losses, their sum, the gradient ``(1, 3, H, W)``, and when it was known."""

    losses: dict[str, float]
    total: float
    gradient: Tensor
    seconds: float


class Checkpoint:
    """The file of one run, which its optimiser, learning rate and start tell from others."""

    def __init__(self, path: str | os.PathLike[str], seconds: float, **run: Any) -> None:
        self.path, self.seconds, self.run = Path(path), seconds, run
        self.due = time.perf_counter() + seconds
        self.failed = False
        if not self.path.parent.is_dir():
            raise CheckpointError(f"there is no folder {self.path.parent} for the checkpoint; make it first")

    def write(self, contents: State) -> None:
        """Replace the file by a whole new one; warn, once, where that cannot be."""
        try:
            with whole_file(self.path) as file:
                torch.save({"format": CHECKPOINT_FORMAT} | self.run | contents, file)
        except (OSError, RuntimeError) as error:  # the latter is torch's word for a file that broke off
            if not self.failed:
                self.failed = True
                warnings.warn(f"{self.path} could not be written ({error}); the run goes on", stacklevel=2)
        self.due = time.perf_counter() + self.seconds

    def load(self, loss_fn: LossFunction) -> State:
        """What was written, once it is known to be whole and of this very run; nothing in it is executed.

        Raises:
            CheckpointError: otherwise.
        """
        remedy = "delete it to begin anew, or choose another path"
        device = self.run["start"].device
        try:
            with zipfile.ZipFile(self.path) as archive:  # torch.load itself does not look for flipped bits
                damaged = archive.testzip()
            saved = torch.load(self.path, map_location=device, weights_only=True)
        except Exception as error:  # whatever zipfile, pickle and torch stumble over
            raise CheckpointError(f"{self.path} is damaged or no checkpoint of a run; {remedy}") from error
        if damaged or not isinstance(saved, dict) or saved.get("format") != CHECKPOINT_FORMAT:
            raise CheckpointError(f"{self.path} is damaged or no checkpoint of a run; {remedy}")
        for name, ours in self.run.items():
            theirs = saved[name]
            if isinstance(ours, Tensor):
                if theirs.shape != ours.shape or theirs.dtype != ours.dtype:
                    theirs, ours = (f"shape {tuple(image.shape)} of {image.dtype}" for image in (theirs, ours))
                elif not torch.allclose(theirs, ours, rtol=0, atol=SAME_IMAGE):
                    theirs, ours = "another image", "this one"
                else:
                    continue
            if theirs != ours:
                raise CheckpointError(f"{self.path} is of another run ({name}: {theirs}, not {ours}); {remedy}")
        # At the start, a photo, its content loss would be 0 whatever its weight; so the best image is asked.
        losses = {name: float(loss) for name, loss in loss_fn(saved["best"]).items()}
        if losses.keys() != saved["best_losses"].keys() or any(
            not math.isclose(losses[name], loss, rel_tol=SAME_LOSS, abs_tol=1e-12)
            for name, loss in saved["best_losses"].items()
        ):
            raise CheckpointError(
                f"{self.path} is of a run with other images, weights or layers (its best image had the losses "
                f"{saved['best_losses']}, and here has {losses}); {remedy}"
            )
        return saved


def frozen(state: Any) -> Any:
    """A copy that the next iteration leaves as it is: torch changes tensors in place, but not those in its lists."""
    if isinstance(state, Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {name: frozen(value) for name, value in state.items()}
    return state.copy() if isinstance(state, list) else state


class Evaluator:
    """Hands out an image's loss and gradient, and keeps the books: history, snapshots, best image, stop rules."""

    def __init__(
        self,
        loss_fn: LossFunction,
        steps: int,
        stop: Iterable[StopRule],
        snapshots: Iterable[int],
        callback: Callable[[Step], object] | None,
        bar: tqdm[Any],
        checkpoint: Checkpoint | None,
        saved: State,
    ) -> None:
        self.loss_fn, self.steps, self.callback, self.bar = loss_fn, steps, callback, bar
        self.stop, self.snapshots = tuple(stop), frozenset(snapshots)
        self.checkpoint = checkpoint
        self.history = History()
        self.best: Tensor | None = None
        self.best_loss = math.inf
        self.best_losses: dict[str, float] = {}
        self.best_step = 0
        self.replay: list[Evaluation] = []
        self.safe: State = {}
        if saved:
            self.history = History(saved["history"], saved["snapshots"], saved["seconds"])
            self.best, self.best_loss, self.best_losses, self.best_step = saved["standing"]
            self.replay = [Evaluation(**evaluation) for evaluation in saved["since"]]
        self.began = time.perf_counter() - saved.get("seconds", 0.0)

    def __call__(self, image: Tensor) -> tuple[float, Tensor]:
        """Loss and gradient at an image ``(1, 3, H, W)``; one step.

        Raises:
            _Stop: when it is time to end.
        """
        index = len(self.history.losses)
        if index >= self.steps:
            raise _Stop(f"all {self.steps} steps were taken")
        evaluation = self.replay.pop(0) if self.replay else self.evaluate(image)
        self.record(index, image, evaluation)
        if not math.isfinite(float(evaluation.gradient.sum())):  # as only a sum of finite values is
            raise _Stop(
                f"the gradient was no longer finite at step {index}; a smaller weight or learning rate would do"
            )
        if self.checkpoint:
            self.safe["since"].append(vars(evaluation))
            if time.perf_counter() > self.checkpoint.due:
                self.save()
        for reason in (rule(self.history) for rule in self.stop):
            if reason:
                raise _Stop(f"{reason} at step {index}")
        if index - self.best_step >= STALL_STEPS:
            raise _Stop(f"the loss has not fallen since step {self.best_step}")
        return evaluation.total, evaluation.gradient

    def evaluate(self, image: Tensor) -> Evaluation:
        """The work of a step: the loss forwards, the gradient backwards."""
        with torch.enable_grad():
            variable = image.detach().requires_grad_()
            terms = self.loss_fn(variable)
            total = torch.stack([term.reshape(()) for term in terms.values()]).sum()
            (gradient,) = torch.autograd.grad(total, variable)
        losses = {name: float(term.detach()) for name, term in terms.items()}
        seconds = time.perf_counter() - self.began
        # A channels-last network gives its gradient channels last.
        return Evaluation(losses, float(total.detach()), gradient.contiguous(), seconds)

    def record(self, index: int, image: Tensor, evaluation: Evaluation) -> None:
        """Enter a step into the books.

        Raises:
            _Stop: when the loss is no number.
        """
        losses, total = evaluation.losses, evaluation.total
        self.history.losses.append(losses)
        self.history.seconds = evaluation.seconds
        if index in self.snapshots:
            self.history.snapshots[index] = image.detach().clamp(0, 1)
        if total < self.best_loss:
            if not total > self.best_loss * (1 - STALL_FRACTION):
                self.best_step = index
            self.best, self.best_loss, self.best_losses = image.detach().clone(), total, losses
        if self.callback:
            self.callback(Step(index, image.detach().clamp(0, 1), losses))
        self.bar.update()
        self.bar.set_postfix(loss=f"{total:.3g}", refresh=False)
        if not math.isfinite(total):
            bad = ", ".join(name for name, value in losses.items() if not math.isfinite(value)) or "the sum"
            raise _Stop(f"the loss was no longer a finite number at step {index} ({bad}); smaller weights would do")

    def between_iterations(self, image: Tensor, walk: State) -> None:
        """Remember where the optimiser stands: from here its steps can be taken again."""
        if self.checkpoint:
            self.safe = {
                "image": image.clone(),
                "walk": frozen(walk),
                "history": self.history.losses.copy(),
                "snapshots": self.history.snapshots.copy(),
                "standing": (self.best, self.best_loss, self.best_losses, self.best_step),
                "since": [],
            }

    def save(self) -> None:
        """Write the checkpoint, once there is something to lose."""
        if self.checkpoint and self.best is not None:
            self.checkpoint.write(
                self.safe | {"seconds": self.history.seconds, "best": self.best, "best_losses": self.best_losses}
            )


def remembered_pairs(values: int) -> int:
    """How many changes of image and gradient L-BFGS remembers of images with so many float32 values."""
    return max(1, min(LBFGS_HISTORY, int(LBFGS_BYTES / (2 * 4 * values))))


def keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next step.

    Otherwise activations are given back to the system and asked for again page by page, a quarter of a step's time.
    """
    trim_threshold, mmap_threshold = -1, -3  # their numbers in malloc.h
    with suppress(OSError, AttributeError):  # other systems' C libraries have no such knobs
        glibc = ctypes.CDLL("libc.so.6")
        glibc.mallopt(mmap_threshold, 32 << 20)
        glibc.mallopt(trim_threshold, 512 << 20)


def walk_adam(evaluate: Evaluator, image: Tensor, learning_rate: float, saved: State) -> Iterator[State]:
    """Adam (Kingma and Ba, 2015), with pixels clamped to [0, 1] after each step."""
    optimizer = torch.optim.Adam([image], lr=learning_rate)
    if saved:
        optimizer.load_state_dict(saved["optimizer"])
    while True:
        yield {"optimizer": optimizer.state_dict()}
        _, image.grad = evaluate(image)
        optimizer.step()
        # The moments know nothing of the border, so unlike L-BFGS it may be enforced at any time.
        image.clamp_(0, 1)


def walk_lbfgs(evaluate: Evaluator, image: Tensor, learning_rate: float, saved: State) -> Iterator[State]:
    """torch's L-BFGS (Liu and Nocedal, 1989) with a strong Wolfe line search.

    L-BFGS knows no borders, and clamping its image would falsify the curvature that it has gathered. So it walks
    freely over z and sees ``L(clamp(z)) + SPRING mean((z - clamp(z))^2)``: what is evaluated is always a picture,
    and what strays is pulled back.
    """
    optimizer = torch.optim.LBFGS(
        [image],
        # torch spreads a first step of length 1 over all pixels: too short to be seen.
        lr=FIRST_STEP * image.numel(),
        max_iter=1,
        max_eval=1 + LINE_SEARCH_STEPS,
        # Relative losses have gradients of about 1e-6 a pixel, where torch's default tolerances would stop at once.
        tolerance_grad=0,
        tolerance_change=0,
        history_size=remembered_pairs(image.numel()),
        line_search_fn="strong_wolfe",
    )
    last: tuple[Tensor, float, Tensor] | None = None
    if saved:
        optimizer.load_state_dict(saved["optimizer"])
        last = saved["last"]

    def closure() -> float:
        nonlocal last
        # Each iteration begins where the last line search ended: known already.
        if last is None or not torch.equal(last[0], image):
            picture = image.clamp(0, 1)
            astray = image - picture
            loss, gradient = evaluate(picture)
            spring = SPRING * float(astray.square().mean())
            gradient = torch.where(astray == 0, gradient, 2 * SPRING / astray.numel() * astray)
            last = image.clone(), loss + spring, gradient
        image.grad = last[2]
        return last[1]

    while True:
        yield {"optimizer": optimizer.state_dict(), "last": last}
        steps = len(evaluate.history.losses)
        optimizer.step(closure)
        optimizer.param_groups[0]["lr"] = learning_rate
        if steps == len(evaluate.history.losses):
            raise _Stop(f"L-BFGS found no way down from step {steps - 1}")


def walk_scipy(evaluate: Evaluator, image: Tensor, learning_rate: float, saved: State) -> Iterator[State]:
    """SciPy's L-BFGS-B (Byrd, Lu, Nocedal and Zhu, 1995), in double precision; it finds its own step lengths.

    What it has learnt of the curvature is kept where Python cannot reach it, and so cannot be saved. So it walks in
    legs of `LEG_ITERATIONS`, each with a fresh memory. On three pairs at 96 px on the compact network that costs 0.3 to
    2.4 % of the loss after 100 steps and 0.8 to 5.7 % after 150; Keras' legs of 20 would cost 2.6 to 13 %.
    """
    last: tuple[np.ndarray, float, np.ndarray] | None = None
    pixels = image.cpu().double().numpy().ravel()
    if saved:
        pixels, slope = saved["pixels"].cpu().numpy(), saved["slope"].cpu().numpy()
        last = pixels, saved["loss"], slope

    def loss_and_gradient(pixels: np.ndarray) -> tuple[float, np.ndarray]:
        # Each leg begins where the last one ended: known already.
        if last and np.array_equal(last[0], pixels):
            return last[1], last[2]
        image.copy_(torch.from_numpy(pixels).view_as(image))
        loss, gradient = evaluate(image)
        return loss, gradient.cpu().double().numpy().ravel()

    while True:
        yield {} if last is None else dict(zip(("pixels", "loss", "slope"), map(torch.as_tensor, last), strict=True))
        outcome = scipy.optimize.minimize(
            loss_and_gradient,
            pixels,
            jac=True,
            method="L-BFGS-B",
            bounds=scipy.optimize.Bounds(0, 1),
            options={"maxiter": LEG_ITERATIONS, "ftol": 0, "gtol": 0, "maxcor": remembered_pairs(image.numel())},
        )
        if outcome.status != 1:  # a leg's end
            raise _Stop(f"L-BFGS-B ended at step {len(evaluate.history.losses) - 1}: {outcome.message}")
        pixels = outcome.x
        last = pixels, outcome.fun, outcome.jac


OPTIMIZERS: dict[str, tuple[Callable[[Evaluator, Tensor, float, State], Iterator[State]], float]] = {
    "lbfgs": (walk_lbfgs, 1.0),
    "adam": (walk_adam, 0.02),
    "scipy": (walk_scipy, 1.0),
}


def optimize_image(
    start: Tensor,
    loss_fn: LossFunction,
    *,
    steps: int = 200,
    optimizer: str = "lbfgs",
    learning_rate: float | None = None,
    stop: StopRule | Iterable[StopRule] = (),
    snapshots: Iterable[int] = (),
    callback: Callable[[Step], object] | None = None,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 30.0,
) -> Result:
    """Change an image until its loss is small.

    An interrupt (Ctrl-C, or the notebook's stop button), a loss that is no number and a stall end the walk with the
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
        optimizer: ``"lbfgs"``, ``"adam"`` or ``"scipy"`` (SciPy's L-BFGS-B).
        learning_rate: by default 1 for L-BFGS, 0.02 for Adam; SciPy has none.
        stop: one or more rules: `loss_below`, `improvement_below`, `out_of_time`, or any function that takes the
            `History` and returns a reason, or an empty string to go on.
        snapshots: the steps whose images are kept in ``history.snapshots``.
        callback: called with a `Step` after every evaluation; after resuming, from the last one or few on.
        progress: show a bar.
        checkpoint: a file that is made, brought up to date and, when it exists, resumed from; some thirty times as
            large as the image with L-BFGS. It holds no code.
        checkpoint_every: seconds between two writings; it is also written at the end, whatever the reason.

    Raises:
        CheckpointError: for a checkpoint that is damaged, or of another start, loss, optimiser or learning rate; it
            is left as it is.
        ValueError: for an unknown optimiser, fewer than one step, or a start that is no image.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {optimizer!r}; choose from {', '.join(OPTIMIZERS)}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if start.ndim != 4 or not start.is_floating_point():
        raise ValueError(f"start must be a float image (1, 3, H, W), not {tuple(start.shape)} of {start.dtype}")
    keep_freed_memory()
    walk, default_rate = OPTIMIZERS[optimizer]
    rate = float(learning_rate or default_rate)
    file = (
        None
        if checkpoint is None
        else Checkpoint(
            checkpoint, checkpoint_every, optimizer=optimizer, learning_rate=rate, start=start.detach().clone()
        )
    )
    with torch.no_grad():
        saved = file.load(loss_fn) if file and file.path.exists() else {}
    # L-BFGS flattens its parameters: it wants memory without gaps.
    image = (saved or {"image": start})["image"].detach().clone(memory_format=torch.contiguous_format)
    rules = [stop] if callable(stop) else stop
    done = len(saved.get("history", ()))
    with tqdm(total=steps, initial=done, disable=not progress, leave=False, unit="step", desc="optimising") as bar:
        evaluate = Evaluator(loss_fn, steps, rules, snapshots, callback, bar, file, saved)
        try:
            with torch.no_grad():
                for state in walk(evaluate, image, rate, saved.get("walk", {})):
                    evaluate.between_iterations(image, state)
        except _Stop as reason:
            stopped = str(reason)
        except KeyboardInterrupt:
            stopped = f"interrupted at step {len(evaluate.history.losses)}"
        finally:
            evaluate.save()
    best = start.detach() if evaluate.best is None else evaluate.best
    return Result(best.clamp(0, 1).clone(), evaluate.history, stopped)
