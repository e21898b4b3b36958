"""float16, on the processor: gradients of any size come through, and what overflows is computed in float32."""

import warnings

import pytest
import torch

from nst_lessons import Backbone, load_backbone, load_image, network, sample, style_transfer
from nst_lessons.scaled_gradient import Pass


def processor_computes_float16() -> bool:
    try:
        with warnings.catch_warnings(), torch.autocast("cpu", torch.float16):
            warnings.simplefilter("ignore")  # older torch disables this autocast
            maps = torch.nn.functional.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3))
            return torch.nn.functional.avg_pool2d(maps.to(memory_format=torch.channels_last), 1).dtype == torch.float16
    except RuntimeError:
        return False


pytestmark = pytest.mark.skipif(not processor_computes_float16(), reason="this torch has no float16 on the processor")


@pytest.fixture
def half() -> Backbone:
    return load_backbone("compact", device="cpu", precision="float16")


@pytest.fixture
def exact() -> Backbone:
    return load_backbone("compact", device="cpu", precision="float32")


@pytest.fixture
def photo() -> torch.Tensor:
    return torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))


LAYERS = ["relu1_1", "relu3_1", "relu5_1"]


def gradient(backbone: Backbone, image: torch.Tensor, weight: float) -> torch.Tensor:
    """That of a weighted mean square of features, with respect to the pixels."""
    variable = image.clone().requires_grad_()
    features = backbone(variable, LAYERS)
    loss = torch.stack([maps.square().mean() for maps in features.values()]).sum()
    return torch.autograd.grad(weight * loss, variable)[0]


def test_features_are_close_to_those_of_float32_but_not_the_same(half, exact, photo):
    found, expected = half(photo, LAYERS), exact(photo, LAYERS)
    for layer in LAYERS:
        assert found[layer].dtype == torch.float32
        error = (found[layer] - expected[layer]).norm() / expected[layer].norm()
        assert 1e-6 < error < 2e-3, layer


@pytest.mark.parametrize("weight", [1e-20, 1.0, 1e12])
def test_gradients_of_any_size_come_through(half, exact, photo, weight):
    """Unscaled, the first would be zero and the last infinite."""
    found, expected = gradient(half, photo, weight), gradient(exact, photo, weight)
    assert (found - expected).norm() < 3e-2 * expected.norm()  # a few ReLUs open or close; bfloat16 has 4.5e-2
    assert half.precision == "float16"


def test_a_power_of_two_changes_no_digit(half, photo):
    assert torch.equal(gradient(half, photo, 2.0**-40) * 2.0**40, gradient(half, photo, 1.0))


def test_a_gradient_of_zero_stays_zero(half, photo):
    assert not gradient(half, photo, 0.0).any()


def test_transforms_and_second_backward_passes_work(half, photo):
    def loss(image):
        return half(image, LAYERS)["relu3_1"].square().mean()

    variable = photo.clone().requires_grad_()
    total = loss(variable)
    first, second = (torch.autograd.grad(total, variable, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.func.grad(loss)(photo), first)


def brighter(backbone: Backbone, factor: float) -> Backbone:
    """The same network, but for what its first convolution gives."""
    backbone.conv1_1.weight *= factor
    backbone.conv1_1.bias *= factor
    return backbone


def test_features_that_overflow_are_computed_in_float32_and_this_is_said_once(half, exact, photo):
    half, exact = brighter(half, 1e5), brighter(exact, 1e5)
    with pytest.warns(UserWarning, match="overflowed float16, so this network goes on in float32") as warned:
        found = gradient(half, photo, 1.0)
        half(photo, LAYERS)
    assert len(warned) == 1
    assert torch.equal(found, gradient(exact, photo, 1.0))


def test_a_gradient_that_overflows_is_computed_in_float32(photo):
    def compute(x, dtype):
        """Small numbers forwards; backwards, three gradients of 30,000 meet, and 65,504 is the largest number."""
        small = x.to(dtype) * 1e-4
        return {name: (small * 6e4).float() for name in "abc"}

    warned = []
    variable = photo.clone().requires_grad_()
    features = Pass(compute, lambda: warned.append("overflow")).features(variable)
    assert warned == []
    (found,) = torch.autograd.grad(sum(maps.sum() for maps in features.values()), variable)
    assert warned == ["overflow"]
    torch.testing.assert_close(found, torch.full_like(photo, 18.0))


def test_what_is_not_finite_from_outside_is_no_overflow(half, photo):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not gradient(half, photo * torch.nan, 1.0).isfinite().any()
        assert not gradient(half, photo, torch.inf).isfinite().all()
    assert half.precision == "float16"


def test_recomputing_activations_changes_nothing(half, photo, monkeypatch):
    kept = gradient(half, photo, 1.0)
    monkeypatch.setattr(network, "RECOMPUTED_FROM", 32 * 50)
    assert torch.equal(gradient(half, photo, 1.0), kept)


def test_a_run_ends_with_the_loss_that_it_has_in_float32(half, exact):
    """With Adam; while it is far from its end, L-BFGS magnifies any difference."""
    photo, painting = (load_image(sample(name), size=48) for name in ("chelsea", "night_swirls"))

    def final_loss(backbone):
        result = style_transfer(backbone, photo, painting, steps=50, optimizer="adam", progress=False)
        return sum(result.losses.values())

    assert final_loss(half) == pytest.approx(final_loss(exact), rel=5e-3)
    assert half.precision == "float16"
