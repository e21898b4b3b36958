"""A run where the network is: images of the processor in and out, and no float64 where there may be none."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nst_lessons import (
    FOURIER,
    PUBLISHED,
    Style,
    load_backbone,
    mean_and_deviation,
    noise_like,
    optimize_image,
    reconstruct_content,
    reconstruct_style,
    resize,
    style_transfer,
    to_pil,
)
from nst_lessons.optimizers import OPTIMIZERS
from nst_lessons.visualize import activation_overlay, layer_sensitivity, maximise_activation
from nst_lessons.weight_files import default_device
from nst_lessons.widgets import explore_features, explore_preprocessing, explore_recipes

on_gpu = pytest.mark.skipif(default_device().type == "cpu", reason="this machine has no GPU")


class NoFloat64(TorchDispatchMode):
    """Refuses float64 tensors, as an Apple GPU does; of all devices, because the processor plays the GPU here."""

    passed = 0  # operations that it has let pass

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.passed += 1
        if any(isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64 for leaf in tree_leaves((args, out))):
            raise TypeError(f"float64 in {func}")
        return out


@pytest.fixture(scope="module")
def compact():
    return load_backbone("compact")


@pytest.fixture
def photo() -> torch.Tensor:
    return torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def painting() -> torch.Tensor:
    return torch.rand(1, 3, 48, 40, generator=torch.Generator().manual_seed(2)) ** 2


def test_the_guard_refuses_float64(photo):
    with NoFloat64(), pytest.raises(TypeError, match="float64"):
        photo.double()


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_recipes_need_no_float64(compact, photo, painting, recipe):
    with NoFloat64():
        result = style_transfer(compact, photo, painting, recipe=recipe, steps=3, progress=False)
    assert len(result.history.losses) == 3


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_resumes_without_float64(tiny_backbone, photo, tmp_path, optimizer):
    def run(steps, **options):
        layer = "relu2_1"
        return reconstruct_content(tiny_backbone, photo, layer, steps=steps, optimizer=optimizer, **options).image

    quiet = {"progress": False}
    with NoFloat64():
        run(60, checkpoint=tmp_path / "run", **quiet)
        resumed = run(80, checkpoint=tmp_path / "run", **quiet)
    assert torch.equal(resumed, run(80, **quiet))


@pytest.mark.parametrize(
    "make",
    [
        lambda net, photo: maximise_activation(net, "conv3_1", [1, 2], position=(2, 2), size=48, steps=2),
        lambda net, photo: style_transfer(net, photo, [photo, Style(1 - photo, 0.5)], steps=2, coordinates=FOURIER),
        lambda net, photo: reconstruct_style(net, photo, steps=2, statistic=mean_and_deviation, octaves=2),
        lambda net, photo: reconstruct_content(net, photo[:, :1].expand_as(photo), "relu2_1", steps=2),
        lambda net, photo: layer_sensitivity(net, photo, {"darker": photo / 2}, ["relu1_1"]),
        lambda net, photo: activation_overlay(photo, photo[:, :1]),
        explore_features,
        lambda net, photo: explore_preprocessing(photo, net),
        lambda net, photo: explore_recipes(net, photo, 1 - photo),
        lambda net, photo: to_pil(resize(noise_like(photo, 1), 20)),
    ],
)
def test_nothing_else_needs_float64_either(compact, photo, make):
    with NoFloat64() as guard:
        make(compact, photo)
    assert guard.passed > 5  # the work was done under its eyes


def test_terms_of_a_loss_may_be_on_several_devices(small_image):
    device = default_device()

    def loss_fn(image):
        return {"far": (image.to(device) - 0.3).square().mean(), "near": image.cpu().diff().square().mean()}

    result = optimize_image(small_image, loss_fn, steps=5, progress=False)
    assert result.image.device == small_image.device
    assert result.losses.keys() == {"far", "near"}


@on_gpu
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", ["transfer", "content", "style"])
def test_images_come_back_to_where_the_photo_is(compact, photo, painting, tmp_path, kind, optimizer):
    steps = []

    def run(count, **options):
        common = {"optimizer": optimizer, "progress": False, "snapshots": [1], "callback": steps.append}
        if kind == "transfer":
            return style_transfer(compact, photo, painting, steps=count, **common, **options)
        if kind == "content":
            return reconstruct_content(compact, photo, "relu3_1", steps=count, **common, **options)
        return reconstruct_style(compact, painting, steps=count, **common, **options)

    result = run(60, checkpoint=tmp_path / "run")
    assert compact.device.type == "cuda"
    images = [result.image, result.history.snapshots[1], *(step.image for step in steps)]
    assert {image.device for image in images} == {photo.device}
    torch.testing.assert_close(run(70, checkpoint=tmp_path / "run").image, run(70).image, rtol=0, atol=0.02)


@on_gpu
def test_pictures_of_features_on_a_gpu(compact, photo):
    maps = compact(photo, ["relu3_1"])["relu3_1"]
    assert activation_overlay(photo, maps[:, :1]).device == photo.device
    assert layer_sensitivity(compact, photo, {"darker": photo / 2}, ["relu1_1"])["darker"]["relu1_1"] > 0
    assert maximise_activation(compact, "conv3_1", 2, size=48, steps=3, progress=False).image.device == photo.device


@on_gpu
def test_a_run_in_float16_on_a_gpu_ends_with_the_loss_that_it_has_in_float32(photo, painting):
    """As on a GPU that cannot multiply bfloat16, such as Colab's T4."""

    def final_loss(precision):
        backbone = load_backbone("compact", precision=precision)
        result = style_transfer(backbone, photo, painting, steps=50, optimizer="adam", progress=False)
        assert backbone.precision == precision
        return sum(result.losses.values())

    assert final_loss("float16") == pytest.approx(final_loss("float32"), rel=5e-3)
