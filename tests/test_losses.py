"""Losses against values known by hand, finite differences and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nst_lessons import (
    content_loss,
    gram_matrix,
    mean_and_deviation,
    style_loss,
    total_variation,
)
from nst_lessons.losses import relative_error


def random_features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_gram_matrix_by_hand():
    features = torch.tensor([[[[1.0, 2.0, 0.0, 1.0]], [[0.0, 1.0, 3.0, 0.0]]]])  # two channels, four positions
    assert gram_matrix(features).tolist() == [[[6 / 4, 2 / 4], [2 / 4, 10 / 4]]]


def test_gram_matrix_is_the_mean_outer_product_of_the_positions():
    features = random_features(1, 4, 3, 5)
    columns = features.flatten(2)[0].T.numpy()
    expected = np.mean([np.outer(column, column) for column in columns], axis=0)
    np.testing.assert_allclose(gram_matrix(features)[0], expected, rtol=1e-12)


def test_gram_matrix_never_mixes_the_items_of_a_batch():
    batch = random_features(3, 4, 5, 7)
    alone = torch.cat([gram_matrix(item[None]) for item in batch])
    torch.testing.assert_close(gram_matrix(batch), alone)
    changed = batch.clone()
    changed[1] += 1
    torch.testing.assert_close(gram_matrix(changed)[[0, 2]], alone[[0, 2]])


@given(st.integers(0, 2**32 - 1))
def test_gram_matrix_forgets_where(seed: int):
    features = random_features(2, 3, 4, 6, seed=seed)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(seed))
    shuffled = features.flatten(2)[..., order].view_as(features)
    torch.testing.assert_close(gram_matrix(shuffled), gram_matrix(features))


@given(arrays.arrays(np.float64, (1, 3, 2, 5), elements=st.floats(-10, 10)))
def test_gram_matrix_is_symmetric_and_positive(values: np.ndarray):
    gram = gram_matrix(torch.from_numpy(values))[0]
    torch.testing.assert_close(gram, gram.T)
    assert torch.linalg.eigvalsh(gram).min() >= -1e-9


def test_gram_matrix_does_not_depend_on_the_image_size():
    features = random_features(1, 4, 3, 5)
    torch.testing.assert_close(gram_matrix(features.repeat(1, 1, 2, 3)), gram_matrix(features))


def test_mean_and_deviation_against_numpy():
    features = random_features(2, 3, 4, 5)
    statistic = mean_and_deviation(features)
    assert statistic.shape == (2, 2, 3)
    np.testing.assert_allclose(statistic[:, 0], features.numpy().mean((2, 3)))
    np.testing.assert_allclose(statistic[:, 1], features.numpy().std((2, 3)))


def test_relative_error_of_nothing_is_one_and_of_the_double_too():
    target = random_features(1, 4, 3, 5)
    assert relative_error(torch.zeros_like(target), target) == 1
    assert relative_error(2 * target, target) == pytest.approx(1)
    assert relative_error(target, target) == 0


def test_relative_error_of_a_silent_layer_is_finite_at_the_target():
    silence = torch.zeros(1, 2, 3, 3)
    assert relative_error(silence, silence) == 0


def test_content_loss_by_hand():
    features = {"a": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([[0.0]]), "ignored": torch.tensor([[9.0]])}
    target = {"a": torch.tensor([[1.0, 1.0]]), "b": torch.tensor([[2.0]])}
    assert content_loss(features, target) == pytest.approx((0.5 + 1) / 2)
    assert content_loss(features, target, weights={"a": 4.0, "b": 0.5}) == pytest.approx(4 * 0.5 + 0.5)


def test_content_loss_gradient_is_its_closed_form():
    features = random_features(1, 4, 3, 5).requires_grad_()
    target = random_features(1, 4, 3, 5, seed=1)
    content_loss({"l": features}, {"l": target}).backward()
    torch.testing.assert_close(features.grad, 2 * (features.detach() - target) / target.square().sum())


def test_gram_matrix_has_the_gradients_of_its_equation():
    """Of each item by itself, for any function of it, also one that does not treat it as symmetric; and once more."""
    features = random_features(3, 4, 3, 5).requires_grad_()
    assert torch.autograd.gradcheck(gram_matrix, features)
    assert torch.autograd.gradgradcheck(gram_matrix, features)
    weights = random_features(3, 4, 4, seed=1)
    rows = features.flatten(2)
    by_the_equation = (weights * (rows @ rows.mT) / 15).sum()
    (expected,) = torch.autograd.grad(by_the_equation, features)
    (found,) = torch.autograd.grad((weights * gram_matrix(features)).sum(), features)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_gram_matrix_gives_its_gradient_in_the_features_layout(layout):
    """Otherwise every layer below would have to turn it round."""
    features = random_features(1, 4, 3, 5).contiguous(memory_format=layout).requires_grad_()
    (gradient,) = torch.autograd.grad(gram_matrix(features).square().sum(), features)
    assert gradient.stride() == features.stride()


def test_style_loss_gradient_is_the_papers_closed_form():
    """Gatys et al. (2016), equation 6, for our normalisation: 4 / (M |A|^2) (G - A) F."""
    features = random_features(1, 4, 3, 5).requires_grad_()
    target = gram_matrix(random_features(1, 4, 7, 6, seed=1))
    style_loss({"l": features}, {"l": target}).backward()
    rows = features.detach().flatten(2)
    difference = gram_matrix(features.detach()) - target
    expected = 4 / (15 * target.square().sum()) * difference @ rows
    torch.testing.assert_close(features.grad.flatten(2), expected)


@pytest.mark.parametrize("statistic", [gram_matrix, mean_and_deviation])
def test_gradients_against_finite_differences(statistic):
    target = {"a": random_features(1, 4, 3, 5, seed=2), "b": random_features(1, 6, 2, 3, seed=3)}
    styles = {layer: statistic(tensor) for layer, tensor in target.items()}

    def losses(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        features = {"a": a, "b": b}
        return content_loss(features, target) + style_loss(features, styles, statistic) + total_variation(a)

    inputs = tuple(random_features(*target[layer].shape, seed=5).requires_grad_() for layer in target)
    assert torch.autograd.gradcheck(losses, inputs)


def test_one_style_serves_a_batch_whose_mean_loss_it_gives():
    batch, painting = random_features(3, 4, 5, 7), random_features(1, 4, 6, 6, seed=1)
    target = {"relu1_1": gram_matrix(painting)}
    each = [style_loss({"relu1_1": item}, target) for item in batch.split(1)]
    torch.testing.assert_close(style_loss({"relu1_1": batch}, target), torch.stack(each).mean())
    with pytest.raises(
        ValueError, match=r"relu1_1: the features' shape \(1, 4, 4\) differs from the target's \(3, 4, 4\)"
    ):
        style_loss({"relu1_1": painting}, {"relu1_1": gram_matrix(batch)})


def test_style_loss_compares_images_of_different_sizes(tiny_backbone, small_image, other_image):
    layers = ["relu1_1", "relu2_1"]
    target = {layer: gram_matrix(f) for layer, f in tiny_backbone(other_image, layers).items()}
    assert style_loss(tiny_backbone(other_image, layers), target) == 0
    assert style_loss(tiny_backbone(small_image, layers), target) > 0.01


def test_checkerboard_has_total_variation_two():
    rows, cols = torch.meshgrid(torch.arange(6), torch.arange(9), indexing="ij")
    assert total_variation(((rows + cols) % 2).float()[None, None]) == 2.0


def test_total_variation_counts_both_directions_and_squares():
    ramp = torch.arange(5.0).expand(1, 3, 4, 5) * 3
    assert total_variation(ramp) == 9.0
    assert total_variation(ramp.mT) == 9.0
    assert total_variation(torch.full((1, 3, 4, 5), 0.7)) == 0.0


def test_total_variation_of_noise():
    noise = torch.randn(1, 1, 300, 400, generator=torch.Generator().manual_seed(0))
    assert math.isclose(total_variation(noise), 4.0, rel_tol=0.02)  # E (x - y)^2 = 2, in both directions


def test_total_variation_to_a_power_by_hand():
    image = torch.tensor([[[[0.0, 2.0, 5.0], [1.0, 4.0, 9.0]]]])
    # Two pixels have a neighbour below and one to the right: 1 and 2, then 2 and 3.
    assert total_variation(image, power=1.25) == pytest.approx(((1 + 4) ** 1.25 + (4 + 9) ** 1.25) / 2)
    assert total_variation(3 * image, power=1.25) == pytest.approx(9**1.25 * float(total_variation(image, power=1.25)))


def test_total_variation_to_a_power_of_a_flat_image_has_a_gradient():
    flat = torch.full((1, 3, 4, 5), 0.7, requires_grad=True)
    (gradient,) = torch.autograd.grad(total_variation(flat, power=1.25), flat)
    assert torch.equal(gradient, torch.zeros_like(flat))
    with pytest.raises(ValueError, match=r"power must be a number of at least 1, not 0\.5"):
        total_variation(flat, power=0.5)


@pytest.mark.parametrize(
    ("features", "target", "weights", "words"),
    [
        ({"a": torch.ones(1, 2, 3, 4)}, {"a": torch.ones(1, 2, 4, 3)}, None, "differs from the target's"),
        ({"a": torch.ones(1)}, {"b": torch.ones(1)}, None, "no features of 'b', only of a"),
        ({"a": torch.ones(1)}, {"a": torch.ones(1)}, {"b": 1.0}, "no weight for 'a', only for b"),
        ({"a": torch.ones(1)}, {}, None, "no layers"),
    ],
)
def test_what_does_not_match_is_named(features, target, weights, words):
    with pytest.raises(ValueError, match=words):
        content_loss(features, target, weights=weights)


def test_style_loss_names_a_missing_layer():
    with pytest.raises(ValueError, match="no features of 'b'"):
        style_loss({"a": torch.ones(1, 2, 3, 4)}, {"b": torch.ones(1, 2, 2)})
