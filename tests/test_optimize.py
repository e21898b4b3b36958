"""Image optimisation on losses whose answer is known, and every way in which a run can end."""

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from nst_lessons import History, improvement_below, loss_below, noise_like, optimize_image, out_of_time
from nst_lessons.optimize import LBFGS_HISTORY, OPTIMIZERS


@pytest.fixture
def start(small_image) -> Tensor:
    return noise_like(small_image, seed=3)


@pytest.fixture
def quadratic(small_image):
    """A bowl with its bottom at the image; the pixels' curvatures differ a hundredfold."""
    curvature = torch.logspace(0, 2, small_image.numel()).view_as(small_image)
    return lambda image: {"bowl": (curvature * (image - small_image).square()).mean()}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_finds_the_bottom_and_leaves_the_start_alone(optimizer, start, quadratic, small_image):
    before = start.clone()
    result = optimize_image(start, quadratic, steps=300, optimizer=optimizer, progress=False)
    assert torch.equal(start, before)
    assert min(result.history.totals) < result.history.totals[0] / 1000
    assert (result.image - small_image).abs().max() < 0.05
    assert result.losses["bowl"] == min(result.history.totals)


def test_the_evaluator_hands_scipy_the_same_numbers_as_a_plain_call(start, quadratic):
    shape, losses = start.shape, []

    def plain(pixels: np.ndarray) -> tuple[float, np.ndarray]:
        image = torch.from_numpy(pixels).float().view(shape).requires_grad_()
        loss = quadratic(image)["bowl"]
        loss.backward()
        losses.append(float(loss.detach()))
        return losses[-1], image.grad.double().numpy().ravel()

    options = {"maxfun": 40, "maxcor": LBFGS_HISTORY, "ftol": 0, "gtol": 0}
    pixels = start.double().numpy().ravel()
    scipy.optimize.minimize(plain, pixels, jac=True, method="L-BFGS-B", bounds=[(0, 1)] * pixels.size, options=options)
    ours = optimize_image(start, quadratic, steps=25, optimizer="scipy", progress=False)
    assert ours.history.totals == pytest.approx(losses[:25], rel=1e-5)


def test_adam_takes_the_published_first_step(start):
    """Kingma and Ba (2015): the first step is the learning rate, against the gradient's sign."""
    images = []
    optimize_image(
        start,
        lambda image: {"sum": image.sum()},
        steps=2,
        optimizer="adam",
        learning_rate=0.03,
        callback=lambda step: images.append(step.image),
        progress=False,
    )
    torch.testing.assert_close(images[1], (start - 0.03).clamp(0, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_only_pictures_are_evaluated_also_where_the_bottom_lies_outside(optimizer, start):
    seen = []
    bottom = torch.where(start > 0.5, 1.4, 0.3)

    def loss_fn(image: Tensor) -> dict[str, Tensor]:
        seen.append((float(image.detach().min()), float(image.detach().max())))
        return {"bowl": (image - bottom).square().mean()}

    result = optimize_image(start, loss_fn, steps=100, optimizer=optimizer, progress=False)
    assert min(low for low, _ in seen) >= 0
    assert max(high for _, high in seen) <= 1
    assert (result.image - bottom.clamp(0, 1)).square().mean() < 1e-4


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_is_one_evaluation(optimizer, start, quadratic):
    calls = []

    def loss_fn(image: Tensor) -> dict[str, Tensor]:
        calls.append(image.detach().clone())
        return quadratic(image)

    result = optimize_image(start, loss_fn, steps=17, optimizer=optimizer, progress=False)
    assert len(calls) == len(result.history.losses) == 17
    assert torch.equal(calls[0].view(-1), start.view(-1))
    assert not any(torch.equal(a, b) for a, b in pairwise(calls)), "work done twice"
    assert result.stopped == "all 17 steps were taken"


def test_history_holds_each_term_and_the_totals(start):
    result = optimize_image(
        start, lambda image: {"a": image.square().mean(), "b": 2 * image.mean()}, steps=3, progress=False
    )
    assert result.history.losses[0] == pytest.approx(
        {"a": float(start.square().mean()), "b": 2 * float(start.mean())}, rel=1e-5
    )
    assert result.history.totals == [sum(losses.values()) for losses in result.history.losses]


def test_snapshots_are_copies_of_their_steps(start, quadratic):
    images = {}
    result = optimize_image(
        start,
        quadratic,
        steps=12,
        optimizer="adam",
        snapshots=[0, 5, 11, 99],
        callback=lambda step: images.update({step.index: step.image}),
        progress=False,
    )
    assert list(result.history.snapshots) == [0, 5, 11]
    assert torch.equal(result.history.snapshots[0], start)
    assert all(torch.equal(image, images[step]) for step, image in result.history.snapshots.items())
    assert not torch.equal(images[5], images[11])


def test_callback_is_given_a_small_record(start, quadratic):
    steps = []
    result = optimize_image(start, quadratic, steps=4, callback=steps.append, progress=False)
    assert [step.index for step in steps] == [0, 1, 2, 3]
    assert [step.losses for step in steps] == result.history.losses
    assert all(step.image.shape == start.shape and not step.image.requires_grad for step in steps)


def test_stops_when_the_loss_falls_below_a_threshold(start, quadratic):
    result = optimize_image(start, quadratic, steps=300, stop=loss_below(0.1), progress=False)
    assert result.history.totals[-1] < 0.1 <= result.history.totals[-2]
    assert result.stopped == f"the loss fell below 0.1 at step {len(result.history.totals) - 1}"


def test_stops_when_nothing_more_is_gained(start, quadratic):
    rule = improvement_below(0.2, steps=5)

    def floored(image: Tensor) -> dict[str, Tensor]:
        return quadratic(image) | {"floor": 0.1 + 0 * image.sum()}

    result = optimize_image(start, floored, steps=300, optimizer="adam", stop=rule, progress=False)
    totals = result.history.totals
    assert "20.00% in 5 steps" in result.stopped
    assert min(totals[-5:]) > 0.8 * min(totals[:-5])
    assert all(min(totals[n - 5 : n]) <= 0.8 * min(totals[: n - 5]) for n in range(6, len(totals)))
    assert len(totals) > 10


def test_stops_when_the_time_is_over(start, quadratic):
    assert out_of_time(5)(History(seconds=4.9)) == ""
    result = optimize_image(start, quadratic, steps=300, stop=out_of_time(0), progress=False)
    assert (len(result.history.losses), result.stopped) == (1, "0 seconds were over at step 0")


def test_several_rules_and_a_rule_of_ones_own(start, quadratic):
    rules = [loss_below(0), lambda history: "enough" if len(history.losses) == 4 else ""]
    assert optimize_image(start, quadratic, stop=rules, progress=False).stopped == "enough at step 3"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_interrupt_keeps_the_best_image(optimizer, start, quadratic):
    images = {}

    def callback(step) -> None:
        images[step.index] = step.image
        if step.index == 9:
            raise KeyboardInterrupt

    result = optimize_image(start, quadratic, optimizer=optimizer, callback=callback, progress=False)
    best = min(range(10), key=lambda step: result.history.totals[step])
    assert torch.equal(result.image, images[best])
    assert result.stopped == "interrupted at step 10"


def test_an_interrupt_before_the_first_loss_gives_the_start_back(start):
    def interrupt(image: Tensor) -> dict[str, Tensor]:
        raise KeyboardInterrupt

    result = optimize_image(start, interrupt, progress=False)
    assert torch.equal(result.image, start)
    assert result.losses == {}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_keeps_the_best_image_and_says_why(optimizer, bad, start, quadratic):
    def loss_fn(image: Tensor) -> dict[str, Tensor]:
        losses = quadratic(image)
        return losses | {"style": image.sum() * (bad if losses["bowl"] < 0.5 else 0)}

    result = optimize_image(start, loss_fn, steps=300, optimizer=optimizer, progress=False)
    assert result.stopped.startswith("the loss was no longer a finite number at step")
    assert "(style)" in result.stopped
    assert torch.isfinite(result.image).all()
    assert result.losses["bowl"] == min(t for t in result.history.totals if math.isfinite(t))


def test_a_gradient_that_is_no_number_is_named(start):
    result = optimize_image(start, lambda image: {"l": (image - image).abs().sqrt().sum()}, progress=False)
    assert "gradient was no longer finite at step 0" in result.stopped
    assert torch.equal(result.image, start)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stall_is_noticed(optimizer, start):
    result = optimize_image(start, lambda image: {"flat": 1 + 0 * image.sum()}, optimizer=optimizer, progress=False)
    assert len(result.history.losses) < 100
    assert "step" in result.stopped and "all 200" not in result.stopped
    assert torch.equal(result.image, start)


def test_a_slice_with_gaps_in_memory_is_welcome(quadratic, start):
    wide = torch.rand(1, 3, 24, 34)
    result = optimize_image(wide[..., ::2, ::2], quadratic, steps=20, progress=False)
    assert result.history.totals[-1] < result.history.totals[0] / 10


def test_the_same_start_gives_the_same_image(start, quadratic):
    runs = [optimize_image(start, quadratic, steps=15, progress=False) for _ in range(2)]
    assert torch.equal(runs[0].image, runs[1].image)
    assert runs[0].history.losses == runs[1].history.losses


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": "sgd"}, "unknown optimizer 'sgd'; choose from lbfgs, adam, scipy"),
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"start": torch.zeros(3, 4, 5)}, r"not \(3, 4, 5\)"),
        ({"start": torch.zeros(1, 3, 4, 5, dtype=torch.uint8)}, "uint8"),
    ],
)
def test_wrong_options_are_named(options, words, start, quadratic):
    with pytest.raises(ValueError, match=words):
        optimize_image(options.pop("start", start), quadratic, **options)
