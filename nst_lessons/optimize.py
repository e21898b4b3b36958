"""Image optimisation: walk downhill in the space of images.

`optimize_image` hands an image's loss and gradient to an optimiser until a rule says stop. A *step* is one
evaluation of the loss and its gradient, whatever the optimiser: that is what costs time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.optimize
import torch
from torch import Tensor
from tqdm.auto import tqdm

LossFunction = Callable[[Tensor], Mapping[str, Tensor]]
STALL_STEPS = 50
STALL_FRACTION = 1e-7
LBFGS_HISTORY = 50
LINE_SEARCH_STEPS = 25
SPRING = 1000.0
FIRST_STEP = 0.01  # of the pixels' range, on average


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

    @property
    def totals(self) -> list[float]:
        """The sum of the losses at every step."""
        return [sum(losses.values()) for losses in self.losses]


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


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf


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
    ) -> None:
        self.loss_fn, self.steps, self.callback, self.bar = loss_fn, steps, callback, bar
        self.stop, self.snapshots = tuple(stop), frozenset(snapshots)
        self.history = History()
        self.best: Tensor | None = None
        self.best_loss = math.inf
        self.best_step = 0
        self.began = time.perf_counter()

    def __call__(self, image: Tensor) -> tuple[float, Tensor]:
        """Loss and gradient at an image ``(1, 3, H, W)``; one step.

        Raises:
            _Stop: when it is time to end.
        """
        index = len(self.history.losses)
        if index == self.steps:
            raise _Stop(f"all {self.steps} steps were taken")
        with torch.enable_grad():
            variable = image.detach().requires_grad_()
            terms = self.loss_fn(variable)
            total = torch.stack([term.reshape(()) for term in terms.values()]).sum()
            (gradient,) = torch.autograd.grad(total, variable)
        losses = {name: float(term.detach()) for name, term in terms.items()}
        self.record(index, image, losses, float(total.detach()))
        if not torch.isfinite(gradient).all():
            raise _Stop(
                f"the gradient was no longer finite at step {index}; a smaller weight or learning rate would do"
            )
        for reason in (rule(self.history) for rule in self.stop):
            if reason:
                raise _Stop(f"{reason} at step {index}")
        if index - self.best_step >= STALL_STEPS:
            raise _Stop(f"the loss has not fallen since step {self.best_step}")
        return float(total.detach()), gradient.contiguous()  # a channels-last network gives it channels last

    def record(self, index: int, image: Tensor, losses: dict[str, float], total: float) -> None:
        """Enter a step into the books.

        Raises:
            _Stop: when the loss is no number.
        """
        self.history.losses.append(losses)
        self.history.seconds = time.perf_counter() - self.began
        if index in self.snapshots:
            self.history.snapshots[index] = image.detach().clamp(0, 1).clone()
        if total < self.best_loss:
            if not total > self.best_loss * (1 - STALL_FRACTION):
                self.best_step = index
            self.best, self.best_loss = image.detach().clone(), total
        if self.callback:
            self.callback(Step(index, image.detach().clamp(0, 1).clone(), losses))
        self.bar.update()
        self.bar.set_postfix(loss=f"{total:.3g}", refresh=False)
        if not math.isfinite(total):
            bad = ", ".join(name for name, value in losses.items() if not math.isfinite(value)) or "the sum"
            raise _Stop(f"the loss was no longer a finite number at step {index} ({bad}); smaller weights would do")


def walk_adam(evaluate: Evaluator, image: Tensor, learning_rate: float) -> None:
    """Adam (Kingma and Ba, 2015), with pixels clamped to [0, 1] after each step."""
    optimizer = torch.optim.Adam([image], lr=learning_rate)
    while True:
        _, image.grad = evaluate(image)
        optimizer.step()
        # The moments know nothing of the border, so unlike L-BFGS it may be enforced at any time.
        image.clamp_(0, 1)


def walk_lbfgs(evaluate: Evaluator, image: Tensor, learning_rate: float) -> None:
    """torch's L-BFGS (Liu and Nocedal, 1989) with a strong Wolfe line search.

    L-BFGS knows no borders, and clamping its image would falsify the curvature that it has gathered. So it walks
    freely over z and sees ``L(clamp(z)) + SPRING mean((z - clamp(z))^2)``: what is evaluated is always a picture,
    and what strays is pulled back.
    """
    optimizer = torch.optim.LBFGS(
        [image],
        lr=learning_rate,
        max_iter=1,
        max_eval=1 + LINE_SEARCH_STEPS,
        # Relative losses have gradients of about 1e-6 a pixel, where torch's default tolerances would stop at once.
        tolerance_grad=0,
        tolerance_change=0,
        history_size=LBFGS_HISTORY,
        line_search_fn="strong_wolfe",
    )
    last: tuple[Tensor, float, Tensor] | None = None

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
        image.grad = last[2].clone()
        return last[1]

    # torch spreads a first step of length 1 over all pixels: too short to be seen.
    optimizer.param_groups[0]["lr"] = FIRST_STEP * image.numel()
    while True:
        steps = len(evaluate.history.losses)
        optimizer.step(closure)
        optimizer.param_groups[0]["lr"] = learning_rate
        if steps == len(evaluate.history.losses):
            raise _Stop(f"L-BFGS found no way down from step {steps - 1}")


def walk_scipy(evaluate: Evaluator, image: Tensor, learning_rate: float) -> None:
    """SciPy's L-BFGS-B (Byrd, Lu, Nocedal and Zhu, 1995), in double precision; it finds its own step lengths."""

    def loss_and_gradient(pixels: np.ndarray) -> tuple[float, np.ndarray]:
        image.copy_(torch.from_numpy(pixels).view_as(image))
        loss, gradient = evaluate(image)
        return loss, gradient.cpu().double().numpy().ravel()

    outcome = scipy.optimize.minimize(
        loss_and_gradient,
        image.detach().cpu().double().numpy().ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=scipy.optimize.Bounds(0, 1),
        options={
            "maxiter": evaluate.steps,
            "maxfun": 2 * evaluate.steps,
            "ftol": 0,
            "gtol": 0,
            "maxcor": LBFGS_HISTORY,
        },
    )
    raise _Stop(f"L-BFGS-B ended at step {len(evaluate.history.losses) - 1}: {outcome.message}")


OPTIMIZERS: dict[str, tuple[Callable[[Evaluator, Tensor, float], None], float]] = {
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
) -> Result:
    """Change an image until its loss is small.

    An interrupt (Ctrl-C, or the notebook's stop button), a loss that is no number and a stall end the walk with the
    best image so far.

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
        callback: called with a `Step` after every evaluation.
        progress: show a bar.

    Raises:
        ValueError: for an unknown optimiser, fewer than one step, or a start that is no image.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {optimizer!r}; choose from {', '.join(OPTIMIZERS)}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if start.ndim != 4 or not start.is_floating_point():
        raise ValueError(f"start must be a float image (1, 3, H, W), not {tuple(start.shape)} of {start.dtype}")
    walk, default_rate = OPTIMIZERS[optimizer]
    # L-BFGS flattens its parameters: it wants memory without gaps.
    image = start.detach().clone(memory_format=torch.contiguous_format)
    with tqdm(total=steps, disable=not progress, leave=False, unit="step", desc="optimising") as bar:
        evaluate = Evaluator(loss_fn, steps, [stop] if callable(stop) else stop, snapshots, callback, bar)
        try:
            with torch.no_grad():
                walk(evaluate, image, learning_rate or default_rate)
        except _Stop as reason:
            stopped = str(reason)
        except KeyboardInterrupt:
            stopped = f"interrupted at step {len(evaluate.history.losses)}"
    best = start.detach() if evaluate.best is None else evaluate.best
    return Result(best.clamp(0, 1).clone(), evaluate.history, stopped)
