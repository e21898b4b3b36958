"""Why runs end: the rules, and the interrupt that ends a sweep."""

import pytest
import torch
from torch import Tensor

from nst_lessons import (
    History,
    Result,
    improvement_below,
    loss_below,
    optimize_image,
    out_of_steps,
    out_of_time,
    reconstruct_content,
    sweep,
)


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


def test_a_sweep_is_a_run_for_each_choice(tiny_backbone, small_image):
    def run(seed: int) -> Result:
        return reconstruct_content(tiny_backbone, small_image, "relu1_1", seed=seed, steps=2, progress=False)

    results = sweep(run, [3, 4])
    assert list(results) == [3, 4]
    assert not torch.equal(results[3].image, results[4].image)


def test_one_interrupt_ends_a_sweep(tiny_backbone, small_image):
    def run(seed: int) -> Result:
        def interrupt(step) -> None:
            if seed == 1 and step.index == 2:
                raise KeyboardInterrupt

        options = {"octaves": 2, "steps": 5, "callback": interrupt, "progress": False}
        return reconstruct_content(tiny_backbone, small_image, "relu1_1", seed=seed, **options)

    results = sweep(run, range(8))
    assert list(results) == [0, 1]
    assert results[1].interrupted


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (loss_below, "0.1"),
        (improvement_below, -0.1),
        (out_of_steps, 0),
        (out_of_steps, 2.5),
        (out_of_time, -1),
        (out_of_time, None),
    ],
)
def test_a_rule_of_no_sensible_number_is_refused_before_the_run(make, wrong):
    with pytest.raises(ValueError, match="must be"):
        make(wrong)


def test_out_of_steps_counts_over_all_stages():
    rule = out_of_steps(3)
    history = History([{"a": 1.0}] * 2, stages=[0, 1])
    assert rule(history) == ""
    history.losses.append({"a": 1.0})
    assert rule(history) == "3 steps were over"
