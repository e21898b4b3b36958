"""Estimates against what autograd really keeps, and what is said before a run."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nst_lessons import (
    Backbone,
    estimate,
    gram_matrix,
    network,
    reconstruct_content,
    reconstruct_style,
    style_transfer,
)
from nst_lessons.estimate import Estimate, check_memory, largest_side, report, run_bytes, run_seconds, step_bytes
from nst_lessons.optimizers import LBFGS_HISTORY
from nst_lessons.stages import Stage

LAYERS = ["relu1_1", "relu2_1", "conv2_2"]


def seeded(precision: str = "float32") -> Backbone:
    return Backbone([[4, 4], [6, 6]], precision=precision).requires_grad_(False)


def stage_of(backbone: Backbone | None, size: tuple[int, int], steps: int = 1, layers=LAYERS) -> Stage:
    return Stage(size, steps, lambda: pytest.fail("it began"), backbone, tuple(layers), (size,))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_activations_are_those_that_autograd_keeps(precision, bytes_kept):
    backbone, size = seeded(precision), (48, 64)
    each = {"float32": 4, "bfloat16": 2}[precision]
    full, quarter = 48 * 64, 24 * 32
    # relu1_1, relu1_2, pool1, relu2_1; and the image that goes into the first convolution.
    activations = each * (4 * full + 4 * full + 4 * quarter + 6 * quarter)
    kept = bytes_kept(backbone, torch.rand(1, 3, *size), LAYERS)
    assert activations <= kept <= activations + (4 + each) * 3 * full
    # The features, and three times the largest for the gradient of its Gram matrix.
    features = 4 * (4 * full + 6 * quarter + 6 * quarter)
    assert step_bytes(backbone, size, LAYERS) == activations + features + 3 * 4 * 4 * full


def test_odd_sizes_are_rounded_down_as_pooling_does():
    assert estimate.features_bytes(seeded(), (13, 17), ["relu1_1", "relu2_1"]) == [4 * 4 * 13 * 17, 4 * 6 * 6 * 8]


def test_a_single_convolution_has_a_price():
    assert run_bytes(seeded(), (48, 64), ["conv1_1"]) < run_bytes(seeded(), (48, 64), ["relu1_1"])


def test_keras_names_cost_what_their_aliases_cost():
    assert step_bytes(seeded(), (48, 64), ["block2_conv1"]) == step_bytes(seeded(), (48, 64), ["relu2_1"])


def test_recomputing_costs_less_memory_and_more_time(monkeypatch):
    monkeypatch.setattr(estimate, "one_step", lambda *args: 0.1)
    backbone, size = seeded(), (200, 300)
    kept, fast = step_bytes(backbone, size, LAYERS), run_seconds(backbone, size, LAYERS, 10)
    monkeypatch.setattr(network, "RECOMPUTED_FROM", 0)
    assert step_bytes(backbone, size, LAYERS) < kept
    assert run_seconds(backbone, size, LAYERS, 10) == pytest.approx(1.5 * fast)


sides = st.integers(16, 900)


@given(height=sides, width=sides, more=st.integers(0, 100), optimizer=st.sampled_from(["adam", "lbfgs", "scipy"]))
def test_more_pixels_never_cost_less(height, width, more, optimizer):
    backbone = seeded()
    smaller = run_bytes(backbone, (height, width), LAYERS, optimizer=optimizer)
    assert run_bytes(backbone, (height + more, width), LAYERS, optimizer=optimizer) >= smaller
    painting = (height + more, width)
    assert run_bytes(backbone, (height, width), LAYERS, painting_sizes=[painting], optimizer=optimizer) >= smaller


def test_targets_hold_the_first_features_and_two_activations_or_all_features():
    backbone, full, quarter = seeded(), 48 * 64, 24 * 32
    assert estimate.target_bytes(backbone, (48, 64), ["relu1_1"]) == 4 * (4 * full + 2 * 4 * full)
    every = [layer for layer in backbone.layers if not layer.startswith("pool")]
    assert estimate.target_bytes(backbone, (48, 64), every) == 4 * (4 * 4 * full + 4 * 6 * quarter)


def test_a_large_painting_counts():
    small = run_bytes(seeded(), (32, 32), LAYERS, optimizer="adam")
    assert run_bytes(seeded(), (32, 32), LAYERS, painting_sizes=[(9, 9), (640, 640)], optimizer="adam") > 20 * small


def test_an_optimiser_that_remembers_costs_more():
    adam, lbfgs = (run_bytes(seeded(), (64, 48), LAYERS, optimizer=name) for name in ("adam", "lbfgs"))
    assert lbfgs - adam == (2 * LBFGS_HISTORY + 15 - 2) * 3 * 64 * 48 * 4


@given(free=st.floats(1e5, 1e8), height=sides, width=sides)
def test_the_largest_size_fits_and_the_next_does_not(free, height, width):
    backbone, size = seeded(), (height, width)
    side = largest_side(stage_of(backbone, size), "adam", free)

    def fits(side: int) -> bool:
        scaled = (round(side / max(size) * height), round(side / max(size) * width))
        return run_bytes(backbone, scaled, LAYERS, optimizer="adam") <= free

    assert side == 0 or fits(side)
    assert side + estimate.SIZE_STEP > max(size) or not fits(side + estimate.SIZE_STEP)


@pytest.mark.parametrize(
    ("seconds", "size", "words"),
    [
        (0.2, 1e6, "about 1 s and 0.1 GB"),
        (42.4, 7.96e8, "about 42 s and 0.8 GB"),
        (240, 2.1e9, "about 4 minutes and 2.1 GB"),
        (9000, 1.25e10, "about 2.5 hours and 12.5 GB"),
    ],
)
def test_an_estimate_reads_like_speech(seconds, size, words):
    assert str(Estimate(seconds, size)) == words


def test_time_is_scaled_by_pixels_and_steps(monkeypatch):
    timed = []

    def one_step(backbone, image, layers):
        timed.append(tuple(image.shape[-2:]))
        return 0.1

    monkeypatch.setattr(estimate, "one_step", one_step)
    assert run_seconds(seeded(), (200, 300), LAYERS, 10) == pytest.approx(0.1 * 4 * 10)
    assert timed == [(100, 150)]  # a short run: one trial is enough
    assert run_seconds(seeded(), (200, 300), LAYERS, 100) == pytest.approx(0.1 * 4 * 100)
    assert timed == [(100, 150)] * (2 + estimate.TRIALS)
    assert run_seconds(seeded(), (40, 50), LAYERS, 2) == pytest.approx(0.2)
    run_seconds(seeded(), (600, 1200), LAYERS, 1)
    assert timed[-2:] == [(40, 50), (128, 256)]


def test_a_real_measurement_is_a_time():
    assert 0 < run_seconds(seeded(), (64, 80), LAYERS, 1) < 60


RUNS = {
    "transfer": lambda backbone, image, **options: style_transfer(
        backbone, image, image.flip(3), content_layers=["relu2_2"], style_layers=LAYERS, **options
    ),
    "content": lambda backbone, image, **options: reconstruct_content(backbone, image, "relu2_2", **options),
    "style": lambda backbone, image, **options: reconstruct_style(backbone, image, LAYERS, **options),
}
each_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


@each_run
def test_a_short_run_begins_unannounced_and_unmeasured(run, tiny_backbone, small_image, monkeypatch, capsys):
    monkeypatch.setattr(estimate, "one_step", lambda *args: pytest.fail("measured"))
    assert len(run(tiny_backbone, small_image, steps=3).history.losses) == 3
    assert capsys.readouterr().out == ""


@each_run
def test_a_long_run_is_announced_once_and_on_request_not_at_all(run, tiny_backbone, monkeypatch, capsys):
    image = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(estimate, "one_step", lambda *args: 30.0)
    run(tiny_backbone, image, steps=3)
    # A trial at half the sides but at least 64 pixels, 64 by 85: 2.26 times 3 steps of 30 s.
    assert capsys.readouterr().out == "3 steps at 128x96 pixels: about 3 minutes and 0.1 GB\n"
    run(tiny_backbone, image, steps=3, progress=False)
    assert capsys.readouterr().out == ""


@each_run
@pytest.mark.parametrize("progress", [True, False])
def test_what_does_not_fit_is_refused_before_it_begins(run, progress, tiny_backbone, monkeypatch):
    monkeypatch.setattr(estimate, "free_bytes", lambda device: 50_000_000.0)
    monkeypatch.setattr(Backbone, "forward", lambda *args: pytest.fail("it began"))
    words = r"^640x480 pixels need about 0\.\d GB of memory, and 0\.1 GB are free; a longer side of \d+ pixels fits$"
    with pytest.raises(MemoryError, match=words):
        run(tiny_backbone, torch.rand(1, 3, 480, 640), progress=progress)


def test_where_no_size_fits_the_error_says_what_helps(tiny_backbone, monkeypatch):
    monkeypatch.setattr(estimate, "free_bytes", lambda device: 100.0)
    with pytest.raises(MemoryError, match="close other programs"):
        check_memory([stage_of(tiny_backbone, (12, 17))])
    check_memory([stage_of(None, (12, 17))])  # nothing is known of a loss of one's own


def test_every_stage_must_fit(tiny_backbone, monkeypatch):
    monkeypatch.setattr(estimate, "free_bytes", lambda device: 50_000_000.0)
    with pytest.raises(MemoryError, match=r"^640x480 pixels"):
        check_memory([stage_of(tiny_backbone, (480, 640)), stage_of(tiny_backbone, (48, 64))])


def test_unknown_layers_are_named(tiny_backbone):
    with pytest.raises(ValueError, match="unknown layer 'relu9_1'"):
        check_memory([stage_of(tiny_backbone, (12, 17), layers=["relu9_1"])])


def test_stages_are_summed_in_time_and_not_in_memory(monkeypatch, capsys):
    monkeypatch.setattr(estimate, "one_step", lambda backbone, image, layers: 1.0 if backbone is cheap else 10.0)
    cheap, costly = seeded(), seeded()
    stages = [stage_of(cheap, (64, 64), 30), stage_of(None, (64, 64), 1000), stage_of(costly, (64, 64), 6)]
    expected = estimate.estimate(stages, "adam")
    assert expected.seconds == 30 * 1.0 + 6 * 10.0
    assert expected.bytes == run_bytes(costly, (64, 64), LAYERS, optimizer="adam")
    report(stages)
    assert capsys.readouterr().out == "1036 steps at up to 64x64 pixels: about 90 s and 0.1 GB\n"


def test_a_timed_step_is_one_forward_pass_of_gram_matrices(tiny_backbone, small_image, monkeypatch):
    seen = []
    monkeypatch.setattr(estimate, "gram_matrix", lambda maps: seen.append(maps.shape) or gram_matrix(maps))
    assert estimate.one_step(tiny_backbone, small_image, LAYERS) > 0
    assert seen == [(1, 4, 12, 17), (1, 6, 6, 8), (1, 6, 6, 8)]
