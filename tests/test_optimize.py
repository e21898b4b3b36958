"""Image optimisation on losses whose answer is known, and every way in which a run can end."""

import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from nst_lessons import FOURIER, Ending, Stage, noise_like, optimize, optimize_image, run_stages
from nst_lessons.optimizers import LBFGS_HISTORY, OPTIMIZERS, remembered_pairs


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
def test_in_fourier_coordinates_everything_that_is_seen_is_the_image(optimizer, start, quadratic, small_image):
    evaluated, called = [], []

    def loss_fn(image: Tensor) -> dict[str, Tensor]:
        evaluated.append(image.detach().clone())
        return quadratic(image)

    options = {"optimizer": optimizer, "snapshots": [0, 7], "callback": called.append, "progress": False}
    result = optimize_image(start, loss_fn, steps=300, coordinates=FOURIER, **options)
    assert min(result.history.totals) < result.history.totals[0] / 20
    assert len(evaluated) == len(called) == len(result.history.losses)
    torch.testing.assert_close(evaluated[0], start, atol=0.002, rtol=0)
    for image, step in zip(evaluated, called, strict=True):
        assert 0 <= image.min() <= image.max() <= 1
        torch.testing.assert_close(step.image, image, atol=1e-6, rtol=0)
    torch.testing.assert_close(result.history.snapshots[7], evaluated[7], atol=1e-6, rtol=0)
    best = min(range(len(evaluated)), key=lambda step: result.history.totals[step])
    torch.testing.assert_close(result.image, evaluated[best], atol=1e-6, rtol=0)
    assert (result.image - small_image).square().mean() < (start - small_image).square().mean() / 3


def test_fourier_coordinates_lead_on_from_a_small_image_to_a_large_one(small_image):
    sizes = [(6, 8), (12, 17)]
    goals = [optimize.resize(small_image, size) for size in sizes]
    stages = [
        Stage(size, 60, lambda goal=goal: lambda image: {"bowl": (image - goal).square().mean()})
        for size, goal in zip(sizes, goals, strict=True)
    ]
    start = 0.5 + 0.02 * (noise_like(small_image, 0) - 0.5)
    result = run_stages(stages, start, coordinates=FOURIER, progress=False)
    assert result.history.stages == [0, 60]
    small_to_large = (optimize.resize(goals[0], sizes[1]) - small_image).square().mean()
    assert result.history.totals[60] == pytest.approx(float(small_to_large), rel=0.1)
    assert result.losses["bowl"] < result.history.totals[60] / 5


def test_an_interrupt_before_the_first_loss_gives_the_start_back_in_any_coordinates(start):
    def interrupt(image: Tensor) -> dict[str, Tensor]:
        raise KeyboardInterrupt

    assert torch.equal(optimize_image(start, interrupt, coordinates=FOURIER, progress=False).image, start)


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
    assert (result.ending, result.stopped) == (Ending.STEPS, "all 17 steps were taken")


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
    assert (result.ending, result.stopped) == (Ending.INTERRUPTED, "interrupted at step 10")


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
    assert result.ending is Ending.FAILED
    assert result.stopped.startswith("the loss was no longer a finite number at step")
    assert "(style)" in result.stopped
    assert torch.isfinite(result.image).all()
    assert result.losses["bowl"] == min(t for t in result.history.totals if math.isfinite(t))


def test_a_gradient_that_is_no_number_is_named(start):
    result = optimize_image(start, lambda image: {"l": (image - image).abs().sqrt().sum()}, progress=False)
    assert result.ending is Ending.FAILED
    assert "gradient was no longer finite at step 0" in result.stopped
    assert torch.equal(result.image, start)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stall_is_noticed(optimizer, start):
    result = optimize_image(start, lambda image: {"flat": 1 + 0 * image.sum()}, optimizer=optimizer, progress=False)
    assert len(result.history.losses) < 100
    assert result.ending is Ending.STALLED
    assert "step" in result.stopped
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
        ({"steps": 0}, "steps must be an integer of at least 1, not 0"),
        ({"learning_rate": 0}, "learning_rate must be more than 0"),
        ({"learning_rate": math.nan}, "learning_rate must be a number"),
        ({"optimizer": "scipy", "learning_rate": 1.0}, "scipy finds its own step lengths; leave learning_rate=1.0 out"),
        ({"start": torch.zeros(3, 4, 5)}, r"the shape \(3, 4, 5\)"),
        ({"start": torch.zeros(1, 3, 4, 5, dtype=torch.uint8)}, "uint8"),
    ],
)
def test_wrong_options_are_named(options, words, start, quadratic):
    with pytest.raises(ValueError, match=words):
        optimize_image(options.pop("start", start), quadratic, **options)


SCRIPT = """
import sys
import torch
from nst_lessons import load_backbone, load_image, sample, style_transfer
from nst_lessons.__main__ import main
torch.set_num_threads(1)
torch.rand(int(sys.argv[1]))  # torch's own generator has no part in it
photo, painting = load_image(sample("coffee", 32)), load_image(sample("mosaic", 32))
for optimizer in ("lbfgs", "adam", "scipy"):
    options = {"start": "noise", "seed": 5, "steps": 6, "optimizer": optimizer, "progress": False}
    result = style_transfer(load_backbone("compact"), photo, painting, **options)
    print(result.image.numpy().tobytes().hex(), result.history.losses)
main(["transfer", "coffee", "mosaic", "-o", "out.png", "--size", "32", "--steps", "4", "--start", "noise"])
"""


def test_the_same_seed_gives_the_same_bits_in_every_process(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(optimize.__file__).parents[1])}
    said, pictures = [], []
    for run_number in ("1", "2"):
        folder = tmp_path / run_number
        folder.mkdir()
        finished = subprocess.run(
            [sys.executable, "-c", SCRIPT, run_number], cwd=folder, env=environment, capture_output=True, check=True
        )
        said.append(finished.stdout.splitlines()[:3])
        pictures.append((folder / "out.png").read_bytes())
    assert said[0] == said[1]
    assert len(set(said[0])) == 3
    assert pictures[0] == pictures[1]


def test_lbfgs_remembers_fewer_pairs_of_a_large_image():
    assert remembered_pairs(3 * 256 * 256) == LBFGS_HISTORY
    assert remembered_pairs(3 * 2048 * 2048) == 9
    assert 2 * 4 * 3 * 2048 * 2048 * 9 <= 1e9
    assert remembered_pairs(3 * 40_000 * 40_000) == 1
