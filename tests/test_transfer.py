"""The transfer: its losses against the same written out by hand, and its stages killed, stopped and resumed."""

from functools import partial

import pytest
import torch
from torch import Tensor

from nst_lessons import (
    Backbone,
    Ending,
    ImageError,
    apply_style_transfer,
    gram_matrix,
    improvement_below,
    load_backbone,
    load_image,
    loss_below,
    noise_like,
    optimize,
    out_of_time,
    reconstruct_content,
    reconstruct_style,
    sample,
    save_image,
    style_transfer,
    styles,
    total_variation,
)
from nst_lessons import transfer as transfer_module
from nst_lessons.optimizers import OPTIMIZERS


def relative(x: Tensor, target: Tensor) -> float:
    return float((x - target).square().sum() / target.square().sum())


def test_the_first_losses_of_a_transfer_by_hand(tiny_backbone, small_image, other_image):
    weights = {"relu1_1": 0.25, "conv2_2": 2.0}
    result = style_transfer(
        tiny_backbone,
        small_image,
        other_image,
        content_layers=["relu1_2", "relu2_1"],
        style_layers=weights,
        alpha=3.0,
        beta=0.5,
        tv=7.0,
        tv_power=1.5,
        start="noise",
        seed=4,
        steps=1,
        progress=False,
    )
    image = noise_like(small_image, 4)
    layers = ["relu1_2", "relu2_1", *weights]
    found, photo, painting = (tiny_backbone(x, layers) for x in (image, small_image, other_image))
    expected = {
        "content": 3
        * (relative(found["relu1_2"], photo["relu1_2"]) + relative(found["relu2_1"], photo["relu2_1"]))
        / 2,
        "style": 0.5
        * sum(w * relative(gram_matrix(found[layer]), gram_matrix(painting[layer])) for layer, w in weights.items()),
        "tv": 7 * float(total_variation(image, power=1.5)),
    }
    assert result.history.losses == [pytest.approx(expected, rel=1e-4)]


def test_a_transfer_moves_towards_both(tiny_backbone, small_image, other_image):
    layers = {"content_layers": ["relu2_1"], "style_layers": ["relu1_1", "relu2_2"]}
    options = {**layers, "beta": 3.0, "tv": 0.0, "progress": False}
    result = style_transfer(tiny_backbone, small_image, other_image, start="noise", steps=150, **options)
    first, best = result.history.losses[0], result.losses
    assert best["content"] < first["content"] / 3
    assert best["style"] < first["style"] / 3
    assert result.image.shape == small_image.shape
    assert result.image.min() >= 0 and result.image.max() <= 1


def test_more_beta_is_more_style(tiny_backbone, small_image, other_image):
    options = {"content_layers": ["relu2_1"], "style_layers": ["relu1_1", "relu2_2"], "steps": 150, "progress": False}
    styles = [
        style_transfer(tiny_backbone, small_image, other_image, beta=beta, **options).losses["style"] / beta
        for beta in (0.1, 1.0, 10.0)
    ]
    assert styles[0] > styles[1] > styles[2]


def test_one_forward_pass_a_step(tiny_backbone, small_image, other_image):
    passes = []
    tiny_backbone.conv1_1.register_forward_hook(lambda *_: passes.append(1))
    options = {"content_layers": ["relu2_1"], "style_layers": ["relu1_1"]}
    style_transfer(tiny_backbone, small_image, other_image, steps=5, progress=False, **options)
    assert len(passes) == 2 + 5  # the two targets once


def test_apply_style_transfer_does_the_whole_job(tmp_path):
    photo, painting = torch.rand(1, 3, 40, 60), torch.rand(1, 3, 30, 20)
    save_image(photo, tmp_path / "photo.png")
    save_image(painting, tmp_path / "painting.jpg")
    content, style, target = apply_style_transfer(
        tmp_path / "photo.png", tmp_path / "painting.jpg", size=48, steps=3, progress=False
    )
    assert content.shape == target.shape == (1, 3, 32, 48)
    assert style.shape == (1, 3, 48, 32)
    assert not torch.equal(content, target)
    with pytest.raises(ImageError):
        apply_style_transfer(tmp_path / "missing.png", tmp_path / "painting.jpg")


def test_an_image_too_small_for_the_style_layers_is_named():
    with pytest.raises(ValueError, match="too small for relu5_1"):
        style_transfer(load_backbone("compact"), torch.rand(1, 3, 64, 64), torch.rand(1, 3, 12, 64))


@pytest.fixture
def photo_and_painting() -> tuple[torch.Tensor, torch.Tensor]:
    """Of different shapes, large enough for two octaves of a warm start."""
    return load_image(sample("chelsea"), size=80), load_image(sample("fjord"), size=96)


@pytest.fixture
def short_warm_start(monkeypatch):
    monkeypatch.setattr(transfer_module, "WARM_STEPS", 12)
    monkeypatch.setattr(transfer_module, "WARM_SIZE", 40)
    monkeypatch.setattr(transfer_module, "FULL_SIZE_CHANNELS", 1)  # so that the compact network goes first


def test_a_warm_start_is_a_head_start_and_not_counted_among_the_steps(photo_and_painting, short_warm_start):
    backbone, steps = load_backbone("compact", precision="float32"), []
    cold = style_transfer(backbone, *photo_and_painting, steps=6, warm_start=False, progress=False)
    warm = style_transfer(
        backbone,
        *photo_and_painting,
        steps=6,
        warm_start=True,
        callback=steps.append,
        snapshots=[0, 24],
        progress=False,
    )
    assert warm.history.stages == [0, 12, 24]  # two octaves of 12
    assert [step.index for step in steps] == list(range(24 + 6)) == list(range(len(warm.history.losses)))
    assert {step.steps for step in steps} == {24 + 6}
    assert warm.image.shape == photo_and_painting[0].shape
    assert warm.history.totals[24] < 0.8 * min(cold.history.totals)
    assert warm.losses == min(warm.history.losses[24:], key=lambda losses: sum(losses.values()))
    assert not torch.equal(warm.history.snapshots[24], photo_and_painting[0])


WARM = {"warm_start": True, "steps": 4, "progress": False}


@pytest.mark.parametrize("step", [0, 11, 12, 20, 25])
def test_a_stop_rule_ends_the_run_in_whichever_stage(step, photo_and_painting, short_warm_start):
    backbone = load_backbone("compact")

    def enough(history) -> str:
        return "interrupted by teacher" if len(history.losses) > step else ""

    result = style_transfer(backbone, *photo_and_painting, stop=enough, **WARM)
    assert (result.ending, result.stopped) == (Ending.RULE, f"interrupted by teacher at step {step}")
    assert not result.interrupted
    assert len(result.history.losses) == step + 1
    assert result.image.shape == photo_and_painting[0].shape


def test_time_is_over_in_the_warm_start_too(photo_and_painting, short_warm_start):
    result = style_transfer(load_backbone("compact"), *photo_and_painting, stop=out_of_time(0), **WARM)
    assert (result.ending, len(result.history.losses)) == (Ending.RULE, 1)


def test_rules_about_the_loss_wait_for_the_last_stage(photo_and_painting, short_warm_start):
    rules = [loss_below(1e9), improvement_below(0.9999, steps=2)]
    result = style_transfer(load_backbone("compact"), *photo_and_painting, stop=rules, **WARM)
    assert result.stopped == "the loss fell below 1e+09 at step 24"
    result = style_transfer(load_backbone("compact"), *photo_and_painting, stop=rules[1:], **WARM)
    assert result.stopped == "the loss fell by less than 99.99% in 2 steps at step 26"


def test_the_optimiser_is_that_of_all_stages(photo_and_painting, short_warm_start):
    images = []
    style_transfer(
        load_backbone("compact"),
        *photo_and_painting,
        optimizer="adam",
        learning_rate=0.03,
        callback=lambda step: images.append(step.image),
        **WARM,
    )
    for first, second in ((0, 1), (12, 13), (24, 25)):  # Kingma and Ba (2015): the first step is the learning rate
        assert (images[second] - images[first]).abs().max() == pytest.approx(0.03, abs=1e-3)


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"stpes": 3}, "unknown option 'stpes'; choose from optimizer, learning_rate"),
        ({"optimizer": "sgd"}, "unknown optimizer 'sgd'"),
        ({"steps": 0}, "steps must be an integer of at least 1, not 0"),
        ({"learning_rate": 0}, "learning_rate must be more than 0"),
        ({"learning_rate": -1.0}, "learning_rate must be a number of at least 0, not -1"),
        ({"optimizer": "scipy", "learning_rate": 0.1}, "scipy finds its own step lengths; leave learning_rate=0.1 out"),
        ({"checkpoint": "no/such/folder/run.pt"}, "there is no folder no/such/folder"),
        ({"start": "nowhere"}, "unknown start 'nowhere'"),
    ],
)
def test_wrong_options_are_refused_before_any_work(option, error, photo_and_painting, monkeypatch):
    monkeypatch.setattr(Backbone, "forward", lambda *args: pytest.fail("work began"))
    backbone = Backbone([[4], [6], [6], [6, 6], [6]])
    with pytest.raises((TypeError, ValueError), match=error):
        style_transfer(backbone, *photo_and_painting, **{"warm_start": True, **option})


def test_misspelt_options_are_refused_by_every_recipe(tiny_backbone, small_image):
    for call in (
        partial(reconstruct_content, tiny_backbone, small_image, "relu1_1"),
        partial(reconstruct_style, tiny_backbone, small_image, ["relu1_1"]),
        partial(style_transfer, None, small_image, small_image, recipe="surma"),
        partial(apply_style_transfer, "nobody.jpg", "nobody.jpg"),
    ):
        with pytest.raises(TypeError, match="stpes"):
            call(stpes=3)


def test_small_first_and_cheap_first_unless_a_recipe_is_followed(photo_and_painting, monkeypatch):
    backbone = load_backbone("compact")
    widest = max(backbone.channels.values())
    monkeypatch.setattr(transfer_module, "WARM_STEPS", 1)
    monkeypatch.setattr(transfer_module, "WARM_SIZE", 20)

    def stages(**options) -> int:
        result = style_transfer(backbone, *photo_and_painting, steps=1, progress=False, **options)
        return len(result.history.stages)

    monkeypatch.setattr(transfer_module, "FULL_SIZE_CHANNELS", widest + 1)
    assert stages() == 3  # at 20, 40 and 80 pixels
    monkeypatch.setattr(transfer_module, "FULL_SIZE_CHANNELS", widest)
    assert stages() == 4  # at 80 pixels the cheap network, too
    assert stages(warm_start=False) == stages(recipe="shrimal") == 1


def test_the_published_networks_are_full_size_and_the_compact_one_is_not():
    assert transfer_module.is_full_size(Backbone([[64], [128], [256], [512], [512]]))
    assert not transfer_module.is_full_size(load_backbone("compact"))


def test_layers_that_the_compact_network_lacks_are_warmed_up_on_the_network_itself(
    photo_and_painting, short_warm_start, monkeypatch
):
    monkeypatch.setattr(transfer_module, "WARM_STEPS", 2)
    deep = Backbone([[4], [4], [4], [4, 4, 4, 4]]).requires_grad_(False)
    seen = []
    deep.register_forward_hook(lambda module, inputs, output: seen.append(tuple(inputs[0].shape[-2:])))
    style_transfer(
        deep, *photo_and_painting, content_layers=["conv4_4"], style_layers=["relu1_1"], steps=1, warm_start=True,
        progress=False,
    )  # fmt: skip
    height, width = photo_and_painting[0].shape[-2:]
    assert (round(height / 2), round(width / 2)) in seen
    assert seen.index((round(height / 2), round(width / 2))) < len(seen) - seen[::-1].index((height, width)) - 1


@pytest.mark.parametrize("step", [4, 15])
def test_an_interrupted_warm_start_ends_the_transfer_with_its_image(step, photo_and_painting, short_warm_start):
    def interrupt(taken) -> None:
        if taken.index == step:
            raise KeyboardInterrupt

    result = style_transfer(load_backbone("compact"), *photo_and_painting, callback=interrupt, **WARM)
    assert result.interrupted
    assert result.stopped == f"interrupted at step {step + 1}"
    assert len(result.history.losses) == step + 1
    assert result.image.shape == photo_and_painting[0].shape
    assert not torch.equal(result.image, photo_and_painting[0])


def test_an_interrupt_while_a_stages_targets_are_made_keeps_the_image_of_the_one_before(
    photo_and_painting, short_warm_start, monkeypatch
):
    calls = []

    def style_target(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return styles.style_target(*args)

    monkeypatch.setattr(transfer_module, "style_target", style_target)
    result = style_transfer(load_backbone("compact"), *photo_and_painting, **WARM)
    assert result.interrupted
    assert result.history.stages == [0]
    assert sum(result.losses.values()) == min(result.history.totals)
    assert result.image.shape == photo_and_painting[0].shape


def killed_in_stages(file, kills, networks, images, **options):
    """A transfer from coarse to fine that dies at each of these evaluations in turn, and then goes on to its end."""
    calls = []

    def dying(step) -> None:
        calls.append(step.index)
        if kills and step.index == kills[0]:
            kills.pop(0)
            raise Killed

    while True:
        try:
            result = style_transfer(*networks, *images, checkpoint=file, callback=dying, **options)
        except Killed:
            continue
        return result, calls


class Killed(BaseException):
    """Ends a run as no handler expects."""


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_killed_in_every_kind_of_stage_ends_as_if_it_had_never_been(
    optimizer, photo_and_painting, short_warm_start, tmp_path
):
    """Small on the cheap network, full size on the cheap one, full size on the real one; also at each first step."""
    torch.manual_seed(3)
    real = Backbone([[4], [6], [6], [6, 6], [6]]).requires_grad_(False)
    options = {**WARM, "steps": 9, "optimizer": optimizer, "snapshots": [3, 20, 30]}
    whole = style_transfer(real, *photo_and_painting, **options)
    assert whole.history.stages == [0, 12, 24]
    file = tmp_path / "run.pt"
    resumed, _ = killed_in_stages(file, [0, 5, 12, 17, 24, 29], [real], photo_and_painting, **options)
    assert torch.equal(resumed.image, whole.image)
    assert resumed.history.losses == whole.history.losses
    assert (resumed.history.stages, resumed.ending, resumed.stopped) == (
        whole.history.stages,
        whole.ending,
        whole.stopped,
    )
    assert resumed.history.snapshots.keys() == whole.history.snapshots.keys()
    assert all(torch.equal(image, whole.history.snapshots[i]) for i, image in resumed.history.snapshots.items())


def test_resuming_does_not_walk_the_warm_start_again(photo_and_painting, short_warm_start, tmp_path, monkeypatch):
    evaluations = []
    evaluate = optimize.Evaluator.evaluate
    monkeypatch.setattr(
        optimize.Evaluator, "evaluate", lambda self, image: evaluations.append(self.number) or evaluate(self, image)
    )
    options = {**WARM, "checkpoint": tmp_path / "run.pt"}
    first = style_transfer(load_backbone("compact"), *photo_and_painting, **options)
    assert evaluations == [0] * 12 + [1] * 12 + [2] * 4
    evaluations.clear()
    again = style_transfer(load_backbone("compact"), *photo_and_painting, **options)
    assert evaluations == []
    assert torch.equal(again.image, first.image)
    assert again.history.seconds == first.history.seconds
    further = style_transfer(load_backbone("compact"), *photo_and_painting, **{**options, "steps": 7})
    assert evaluations == [2] * 3
    assert len(further.history.losses) == 24 + 7


def test_a_run_that_ended_in_the_warm_start_gives_its_result_again(photo_and_painting, short_warm_start, tmp_path):
    def enough(history) -> str:
        return "enough" if len(history.losses) > 5 else ""

    options = {**WARM, "stop": enough, "checkpoint": tmp_path / "run.pt"}
    first, again = (style_transfer(load_backbone("compact"), *photo_and_painting, **options) for _ in range(2))
    assert again.stopped == first.stopped == "enough at step 5"
    assert torch.equal(first.image, again.image)


def test_another_number_of_threads_can_resume_a_warm_run(photo_and_painting, short_warm_start, tmp_path, monkeypatch):
    """The start that is compared is the one that was given, not what a warm start, which rounds, made of it."""
    options = {**WARM, "checkpoint": tmp_path / "run.pt"}
    style_transfer(load_backbone("compact"), *photo_and_painting, **options)
    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    assert torch.equal(saved["start"], photo_and_painting[0])
    saved["parameters"] += 1e-2  # as another processor might have rounded, magnified
    torch.save(saved, tmp_path / "run.pt")
    assert (
        style_transfer(load_backbone("compact"), *photo_and_painting, **{**options, "steps": 6}).image.isfinite().all()
    )
