"""Reconstructions: that each run gets there, at growing sizes, from every start."""

from functools import partial

import pytest
import torch
from torch import Tensor

from nst_lessons import (
    CheckpointError,
    gram_matrix,
    mean_and_deviation,
    noise_like,
    reconstruct_content,
    reconstruct_style,
)
from nst_lessons.reconstruct import start_image


def relative(x: Tensor, target: Tensor) -> float:
    return float((x - target).square().sum() / target.square().sum())


def test_content_is_reconstructed_from_noise(tiny_backbone, small_image):
    before = small_image.clone()
    result = reconstruct_content(tiny_backbone, small_image, "conv1_1", tv=0.0, steps=200, progress=False)
    assert torch.equal(small_image, before)
    assert result.history.totals[-1] < result.history.totals[0] / 1000
    noise = noise_like(small_image, 0)
    assert (result.image - small_image).square().mean() < (noise - small_image).square().mean() / 10


def test_the_seed_is_the_noises(tiny_backbone, small_image):
    def first_loss(**options) -> float:
        result = reconstruct_content(tiny_backbone, small_image, "conv2_1", steps=1, progress=False, **options)
        return result.losses["content"]

    target = tiny_backbone(small_image, ["conv2_1"])["conv2_1"]
    found = tiny_backbone(noise_like(small_image, 7), ["conv2_1"])["conv2_1"]
    assert first_loss(seed=7) == pytest.approx(relative(found, target), rel=1e-5)
    assert first_loss(seed=8) != first_loss(seed=7)
    assert first_loss(start="photo") == 0


def small_sizes(call, **options) -> list[tuple[int, int]]:
    sizes: list[tuple[int, int]] = []
    result = call(
        octaves=4, steps=3, progress=False, callback=lambda step: sizes.append(tuple(step.image.shape[-2:])), **options
    )
    assert result.image.shape[-2:] == sizes[-1]
    distinct = list(dict.fromkeys(sizes))
    assert len(result.history.losses) == 4 * 3
    assert result.history.stages == [0, 3, 6, 9]
    return distinct


def test_octaves_double_up_to_the_photos_size_and_reach_the_layer(tiny_backbone, small_image, other_image):
    content = small_sizes(partial(reconstruct_content, tiny_backbone, small_image, "relu2_1"))
    assert content == [(2, 2), (3, 4), (6, 8), (12, 17)]  # a pixel of relu2_1 stands for 2 x 2
    style = small_sizes(partial(reconstruct_style, tiny_backbone, other_image, ["relu1_1", "pool2"]))
    assert style == [(4, 4), (7, 5), (14, 10)]


def test_octaves_find_a_plain_colour_that_the_walk_alone_does_not(tiny_backbone):
    photo = torch.tensor([0.9, 0.2, 0.1]).view(1, 3, 1, 1).expand(1, 3, 48, 36).contiguous()
    direct, octaves = (
        reconstruct_content(tiny_backbone, photo, "relu2_2", octaves=n, tv=0.0, steps=20, progress=False)
        for n in (1, 4)
    )
    assert octaves.losses["content"] < direct.losses["content"] / 2


def test_an_interrupt_ends_all_octaves_with_an_image_of_full_size(tiny_backbone, small_image):
    def interrupt(step):
        if step.index == 2:
            raise KeyboardInterrupt

    result = reconstruct_content(
        tiny_backbone, small_image, "relu1_2", octaves=3, callback=interrupt, steps=9, progress=False
    )
    assert result.image.shape == small_image.shape
    assert result.stopped == "interrupted at step 3"
    with pytest.raises(ValueError, match="octaves must be an integer from 1 to 12, not 0"):
        reconstruct_content(tiny_backbone, small_image, "relu1_2", octaves=0)


@pytest.mark.parametrize("statistic", [gram_matrix, mean_and_deviation])
def test_style_is_reconstructed_and_not_the_arrangement(tiny_backbone, small_image, statistic):
    layers = ["relu1_1", "relu2_1"]
    result = reconstruct_style(tiny_backbone, small_image, layers, statistic=statistic, steps=300, progress=False)
    assert result.history.totals[-1] < result.history.totals[0] / 100
    assert (result.image - small_image).abs().mean() > 0.05
    found, target = tiny_backbone(result.image, layers), tiny_backbone(small_image, layers)
    for layer in layers:
        assert relative(statistic(found[layer]), statistic(target[layer])) < 0.1


def test_starts(small_image, other_image):
    assert start_image("photo", small_image) is small_image
    assert torch.equal(start_image("noise", small_image, seed=5), noise_like(small_image, 5))
    assert start_image("painting", small_image, other_image).shape == small_image.shape
    grey = start_image("grey", small_image, seed=5)
    torch.testing.assert_close(grey.mean((0, 2, 3)), torch.tensor([0.485, 0.456, 0.406]), atol=0.003, rtol=0)
    assert 1 / 255 < grey.std((2, 3)).max() < 3 / 255
    assert not torch.equal(grey, start_image("grey", small_image, seed=6))
    assert start_image(small_image * 0.5, small_image).max() <= 0.5
    with pytest.raises(ValueError, match="unknown start 'white'; choose from photo, noise, painting"):
        start_image("white", small_image, other_image)
    with pytest.raises(ValueError, match=r"shape \(1, 3, 14, 10\), the photo \(1, 3, 12, 17\)"):
        start_image(other_image, small_image)


def test_options_reach_the_optimiser(tiny_backbone, small_image):
    steps = []
    result = reconstruct_content(
        tiny_backbone,
        small_image,
        "relu1_1",
        optimizer="adam",
        steps=6,
        snapshots=[0, 5],
        callback=steps.append,
        progress=False,
        tv=0.5,
    )
    assert list(result.history.snapshots) == [0, 5]
    assert len(steps) == 6
    assert set(result.losses) == {"content", "tv"}


def test_a_checkpoint_of_other_stages_is_refused(tiny_backbone, small_image, tmp_path):
    options = {"steps": 3, "progress": False, "checkpoint": tmp_path / "run.pt"}
    reconstruct_content(tiny_backbone, small_image, "relu1_1", octaves=2, **options)
    with pytest.raises(CheckpointError, match=r"sizes: \[\(6, 8\), \(12, 17\)\], not \[\(12, 17\)\]"):
        reconstruct_content(tiny_backbone, small_image, "relu1_1", **options)
