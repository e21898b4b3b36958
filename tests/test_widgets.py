"""The explorers without a front end: what they share, snapshots of runs, and guesses."""

import re
from collections.abc import Callable
from typing import Any

import ipywidgets
import pytest
import torch
from torch import Tensor
from widget_tree import assert_changes, control, walk, words

from nst_lessons import Backbone, Ending, History, Result, reconstruct_content
from nst_lessons.widgets import explore_reconstructions, predict, reconstructions, render_reconstruction
from nst_lessons.widgets.layout import KEYS, enlarge, helped, page, paragraph, table

# Reconstructions.


@pytest.fixture
def results(tiny_backbone: Backbone, small_image: Tensor) -> dict[str, Result]:
    options: dict[str, Any] = {"steps": 6, "progress": False}
    return {
        "relu1_1": reconstruct_content(tiny_backbone, small_image, "relu1_1", snapshots=(0, 2, 4), **options),
        "relu2_1": reconstruct_content(tiny_backbone, small_image, "relu2_1", snapshots=(0, 3, 4, 5), **options),
    }


def test_reconstruction_shows_the_snapshot_and_its_loss(results: dict[str, Result], small_image: Tensor) -> None:
    panels, text = render_reconstruction(results, small_image, name="relu2_1", step=3)
    history = results["relu2_1"].history
    assert panels["step 3"] is history.snapshots[3]
    assert panels["the original"] is small_image
    assert f"loss {history.totals[3]:.3g}, {history.totals[3] / history.totals[0]:.2%} of" in text
    assert "of the loss at step 0. The run has ended: all 6 steps were taken" in text


def test_reconstruction_sets_a_loss_against_those_of_its_stage(small_image: Tensor) -> None:
    history = History([{"style": loss} for loss in (8.0, 4.0, 20.0, 5.0)], {3: small_image}, stages=[0, 2], seconds=1.0)
    results = {"octaves": Result(small_image, history, Ending.STEPS, "all 4 steps were taken")}
    _, text = render_reconstruction(results, None, name="octaves", step=3)
    assert "octaves, step 3 of 3: loss 5, 25.00% of the loss at step 2, where its stage began." in text
    assert "A thin line at step 2: stage 2 begins." in text
    assert "Rings mark step 3." in text


def test_every_control_of_reconstructions_matters(results: dict[str, Result]) -> None:
    explorer = explore_reconstructions(results)
    layers, step = control(explorer, "layers"), control(explorer, "step")
    (play,) = (widget for widget in walk(explorer) if isinstance(widget, ipywidgets.Play))
    assert step.value == 4
    assert_changes(explorer, lambda: setattr(layers, "value", "relu2_1"))
    assert list(step.options) == [0, 3, 4, 5]
    assert_changes(explorer, lambda: setattr(step, "value", 5))
    assert (play.value, play.max) == (3, 3)
    assert_changes(explorer, lambda: setattr(play, "value", 1))
    assert step.value == 3
    assert "relu2_1, step 3 of 5" in words(explorer)
    assert_changes(explorer, lambda: setattr(layers, "value", "relu1_1"))
    assert play.max == 2


def test_reconstructions_are_rendered_once_a_change(results: dict[str, Result], count_renders: Callable) -> None:
    calls = count_renders(reconstructions, "render_reconstruction")
    explorer = explore_reconstructions(results)
    (play,) = (widget for widget in walk(explorer) if isinstance(widget, ipywidgets.Play))
    assert calls == [{"name": "relu1_1", "step": 4}]
    control(explorer, "step").value = 2
    play.value = 0
    assert calls[1:] == [{"name": "relu1_1", "step": 2}, {"name": "relu1_1", "step": 0}]
    control(explorer, "step").value = 4
    calls.clear()
    control(explorer, "layers").value = "relu2_1"
    assert calls == [{"name": "relu2_1", "step": control(explorer, "step").value}]
    play.value = 3
    control(explorer, "layers").value = "relu1_1"
    assert calls[1:] == [
        {"name": "relu2_1", "step": 5},
        {"name": "relu1_1", "step": control(explorer, "step").value},
    ]


def test_runs_without_snapshots_are_refused(small_image: Tensor) -> None:
    bare = Result(small_image, History(), Ending.STEPS, "")
    with pytest.raises(ValueError, match=r"no snapshots of relu1_1; make runs with snapshots="):
        explore_reconstructions({"relu1_1": bare})
    with pytest.raises(ValueError, match="no snapshots of any run"):
        explore_reconstructions({})


# Drawing.


def test_small_pictures_are_enlarged_in_squares(small_image: Tensor) -> None:
    large = enlarge(small_image, 60)
    assert large.shape == (1, 3, 36, 51)
    assert torch.equal(large[..., 1::3, 1::3], small_image)
    assert torch.equal(large[..., ::3, 2::3], small_image)
    assert enlarge(small_image, 16).shape == small_image.shape


def test_help_is_listed_below_the_controls() -> None:
    controls = [
        helped(ipywidgets.Checkbox(description="antialias"), "smooth & slow"),
        ipywidgets.Dropdown(description="bare"),
        helped(ipywidgets.Button(description="Run"), "begin"),
    ]
    assert re.findall("<li>.*?</li>", words(page(controls, []))) == [
        "<li><b>antialias</b>: smooth &amp; slow</li>",
        "<li><b>Run</b>: begin</li>",
        f"<li>{KEYS}</li>",
    ]


def test_screen_readers_are_told_what_is_live() -> None:
    assert 'aria-live="polite">a &lt; b</p>' in paragraph("a < b", live=True)
    assert "aria-live" not in paragraph("a < b")


def test_cells_of_a_table_have_headings() -> None:
    text = re.sub(' style="[^"]*"', "", table(("layer", "size"), [("relu1_1", "<24>")]))
    assert text == (
        '<table><tr><th scope="col">layer</th><th scope="col">size</th></tr>'
        '<tr><th scope="row">relu1_1</th><td>&lt;24&gt;</td></tr></table>'
    )


def test_a_guess_is_shown_beside_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    prediction = predict("Which is larger?", ["left", "right"])
    assert prediction.guess is None
    prediction.reveal("left")
    prediction.buttons.value = "right"  # a click
    prediction.reveal("left")
    prediction.guess = "left"
    prediction.reveal("left")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Which")]
    assert lines == [
        f"Which is larger? Your guess: {guess}. Measured: left." for guess in ("none yet", "right", "left")
    ]
    for wrong in ("up", None, 1):
        with pytest.raises(ValueError, match=r"unknown answer .*; choose from left, right"):
            prediction.guess = wrong
        with pytest.raises(ValueError, match="unknown answer"):
            prediction.reveal(wrong)
    assert prediction.guess == "left"
