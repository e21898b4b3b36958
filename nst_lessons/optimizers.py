"""Optimisers: three ways to walk downhill over an image, each a generator that stops between its iterations.

What is walked over are the image's parameters, by default its pixels, within the bounds of their `Coordinates`. What a
walk yields is its state, from which `saved` lets it go on as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import scipy.optimize
import torch
from torch import Tensor

from nst_lessons.checks import check_choice, check_number, shown
from nst_lessons.coordinates import Bounds
from nst_lessons.history import Ending

State: TypeAlias = dict[str, Any]
LBFGS_HISTORY = 10  # pairs of images, as in SciPy; twenty take a twentieth longer and come within 1 % of the same loss
LBFGS_BYTES = 1e9  # pairs of a large image are fewer
LINE_SEARCH_STEPS = 25
SPRING = 1000.0
FIRST_STEP = 0.01  # of a parameter, on average
LEG_ITERATIONS = 50


class Stop(Exception):
    """Ends a stage from within: the kind of its ending, and the reason in words."""

    def __init__(self, ending: Ending, words: str) -> None:
        super().__init__(words)
        self.ending = ending


class Evaluate(Protocol):
    """Gives the loss and the gradient at an image's parameters; each call is a step, or raises `Stop`."""

    @property
    def steps(self) -> int:
        """How many steps the run has taken."""

    def __call__(self, parameters: Tensor) -> tuple[float, Tensor]:
        """Loss and gradient ``(1, 3, H, W)`` at parameters ``(1, 3, H, W)``."""


def remembered_pairs(values: int) -> int:
    """How many changes of image and gradient L-BFGS remembers of images with so many float32 values."""
    return max(1, min(LBFGS_HISTORY, int(LBFGS_BYTES / (2 * 4 * values))))


def walk_adam(
    evaluate: Evaluate, parameters: Tensor, learning_rate: float, bounds: Bounds, saved: State
) -> Iterator[State]:
    """Adam (Kingma and Ba, 2015), with parameters clamped to their bounds after each step."""
    optimizer = torch.optim.Adam([parameters], lr=learning_rate)
    if saved:
        optimizer.load_state_dict(saved["optimizer"])
    while True:
        yield {"optimizer": optimizer.state_dict()}
        _, parameters.grad = evaluate(parameters)
        optimizer.step()
        # The moments know nothing of the border, so unlike L-BFGS it may be enforced at any time.
        parameters.clamp_(*bounds)


def walk_lbfgs(
    evaluate: Evaluate, parameters: Tensor, learning_rate: float, bounds: Bounds, saved: State
) -> Iterator[State]:
    """torch's L-BFGS (Liu and Nocedal, 1989) with a strong Wolfe line search.

    L-BFGS knows no bounds, and clamping its parameters would falsify the curvature that it has gathered. So it walks
    freely over z and sees ``L(clamp(z)) + SPRING mean((z - clamp(z))^2)``: what is evaluated is always within bounds,
    and what strays is pulled back.
    """
    optimizer = torch.optim.LBFGS(
        [parameters],
        # torch spreads a first step of length 1 over all parameters: too short to be seen.
        lr=FIRST_STEP * parameters.numel(),
        max_iter=1,
        max_eval=1 + LINE_SEARCH_STEPS,
        # Relative losses have gradients of about 1e-6 a pixel, where torch's default tolerances would stop at once.
        tolerance_grad=0,
        tolerance_change=0,
        history_size=remembered_pairs(parameters.numel()),
        line_search_fn="strong_wolfe",
    )
    last: tuple[Tensor, float, Tensor] | None = None
    if saved:
        optimizer.load_state_dict(saved["optimizer"])
        last = saved["last"]

    def closure() -> float:
        nonlocal last
        # Each iteration begins where the last line search ended: known already.
        if last is None or not torch.equal(last[0], parameters):
            inside = parameters.clamp(*bounds)
            astray = parameters - inside
            loss, gradient = evaluate(inside)
            spring = SPRING * float(astray.square().mean())
            gradient = torch.where(astray == 0, gradient, 2 * SPRING / astray.numel() * astray)
            last = parameters.clone(), loss + spring, gradient
        parameters.grad = last[2]
        return last[1]

    while True:
        yield {"optimizer": optimizer.state_dict(), "last": last}
        steps = evaluate.steps
        optimizer.step(closure)
        optimizer.param_groups[0]["lr"] = learning_rate
        if steps == evaluate.steps:
            raise Stop(Ending.STALLED, f"L-BFGS found no way down from step {steps - 1}")


def walk_scipy(
    evaluate: Evaluate, parameters: Tensor, learning_rate: float, bounds: Bounds, saved: State
) -> Iterator[State]:
    """SciPy's L-BFGS-B (Byrd, Lu, Nocedal and Zhu, 1995), in double precision; it finds its own step lengths.

    What it has learnt of the curvature is kept where Python cannot reach it, and so cannot be saved. So it walks in
    legs of `LEG_ITERATIONS`, each with a fresh memory. On three pairs at 96 px on the compact network that costs 0.3 to
    2.4 % of the loss after 100 steps and 0.8 to 5.7 % after 150; Keras' legs of 20 would cost 2.6 to 13 %.
    """
    last: tuple[np.ndarray, float, np.ndarray] | None = None
    values = doubles(parameters)
    if saved:
        values, slope = from_bits(saved["values"]), from_bits(saved["slope"])
        last = values, saved["loss"], slope

    def loss_and_gradient(values: np.ndarray) -> tuple[float, np.ndarray]:
        # Each leg begins where the last one ended: known already.
        if last and np.array_equal(last[0], values):
            return last[1], last[2]
        parameters.copy_(torch.from_numpy(values.astype(np.float32)).view_as(parameters))
        loss, gradient = evaluate(parameters)
        return loss, doubles(gradient)

    while True:
        yield {} if last is None else {"values": to_bits(last[0]), "loss": last[1], "slope": to_bits(last[2])}
        outcome = scipy.optimize.minimize(
            loss_and_gradient,
            values,
            jac=True,
            method="L-BFGS-B",
            bounds=scipy.optimize.Bounds(*bounds),
            options={"maxiter": LEG_ITERATIONS, "ftol": 0, "gtol": 0, "maxcor": remembered_pairs(parameters.numel())},
        )
        if outcome.status != 1:  # a leg's end
            raise Stop(Ending.STALLED, f"L-BFGS-B ended at step {evaluate.steps - 1}: {outcome.message}")
        values = outcome.x
        last = values, float(outcome.fun), outcome.jac


def doubles(values: Tensor) -> np.ndarray:
    """A tensor's values in double precision, in a row."""
    return values.cpu().numpy().astype(np.float64).ravel()


def to_bits(values: np.ndarray) -> Tensor:
    """The bits of double precision values as integers: an Apple GPU can load no tensor of float64."""
    return torch.from_numpy(values.view(np.int64).copy())


def from_bits(bits: Tensor) -> np.ndarray:
    """The inverse of `to_bits`."""
    return bits.cpu().numpy().view(np.float64)


class Optimizer(NamedTuple):
    """A walk, and its learning rate where none is given; None for a walk that finds its own step lengths."""

    walk: Callable[[Evaluate, Tensor, float, Bounds, State], Iterator[State]]
    learning_rate: float | None


OPTIMIZERS = {
    "lbfgs": Optimizer(walk_lbfgs, 1.0),
    "adam": Optimizer(walk_adam, 0.02),
    "scipy": Optimizer(walk_scipy, None),
}


def learning_rate_of(optimizer: str, learning_rate: float | None) -> float:
    """The learning rate that an optimiser will use.

    Raises:
        ValueError: for an unknown optimiser, a rate that is not positive, or any rate for SciPy.
    """
    check_choice("optimizer", optimizer, OPTIMIZERS)
    default = OPTIMIZERS[optimizer].learning_rate
    if learning_rate is None:
        return default or 1.0
    if default is None:
        raise ValueError(f"{optimizer} finds its own step lengths; leave learning_rate={shown(learning_rate)} out")
    check_number("learning_rate", learning_rate, 0)
    if learning_rate == 0:
        raise ValueError("learning_rate must be more than 0")
    return float(learning_rate)
