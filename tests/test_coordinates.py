"""Coordinates: there and back, against a sum written out, a finite difference, and photographs' statistics."""

import math

import pytest
import torch
from torch import Tensor

from nst_lessons.coordinates import FOURIER, PIXELS, amplitudes, colours, hartley

SHAPES = [(1, 3, 12, 17), (1, 3, 9, 5), (1, 3, 1, 8), (1, 3, 16, 16)]


def random(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_hartley_is_its_own_inverse_and_keeps_lengths(shape: tuple[int, ...]) -> None:
    x = random(shape)
    assert not torch.allclose(hartley(x), x)
    torch.testing.assert_close(hartley(hartley(x)), x)
    torch.testing.assert_close(hartley(x).norm(), x.norm())


def test_hartley_is_the_sum_of_cosines_and_sines() -> None:
    height, width = 3, 5
    x = random((height, width))
    for u in range(height):
        for v in range(width):
            angles = torch.tensor(
                [[2 * math.pi * (u * i / height + v * j / width) for j in range(width)] for i in range(height)],
                dtype=x.dtype,
            )
            expected = (x * (angles.cos() + angles.sin())).sum() / math.sqrt(height * width)
            torch.testing.assert_close(hartley(x)[u, v], expected)


def test_amplitudes_are_wavelengths() -> None:
    of_a_wave = amplitudes(torch.zeros(1, 3, 8, 20))
    assert of_a_wave[0, 0] == 20, "the mean counts as the longest wave"
    assert of_a_wave[1, 0] == 8
    assert of_a_wave[0, 2] == of_a_wave[0, -2] == 10
    assert of_a_wave[4, 10] == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fourier_leads_there_and_back(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    image = random(shape).sigmoid().to(dtype)
    parameters = FOURIER.encode(image)
    assert (parameters.shape, parameters.dtype) == (image.shape, dtype)
    torch.testing.assert_close(FOURIER.decode(parameters), image, atol=1e-5, rtol=0)
    torch.testing.assert_close(FOURIER.encode(FOURIER.decode(parameters)), parameters, atol=1e-3, rtol=1e-3)


def test_black_and_white_stay_within_half_a_level() -> None:
    image = (torch.rand(1, 3, 7, 10, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    parameters = FOURIER.encode(image)
    assert parameters.isfinite().all()
    assert (FOURIER.decode(parameters) - image).abs().max() < 0.5 / 255


def test_no_parameters_are_mid_grey_and_any_are_a_picture() -> None:
    assert torch.equal(FOURIER.decode(torch.zeros(1, 3, 4, 6)), torch.full((1, 3, 4, 6), 0.5))
    image = FOURIER.decode(100 * random((1, 3, 5, 8)))
    assert 0 <= image.min() < 0.01 and 0.99 < image.max() <= 1


def test_gradient_is_that_of_finite_differences() -> None:
    parameters = (0.1 * random((1, 3, 4, 5))).requires_grad_()
    assert torch.autograd.gradcheck(FOURIER.decode, (parameters,))


def test_white_parameters_are_correlated_colours_and_coarse_structure() -> None:
    """Before the sigmoid: the covariance of the colours, and power that falls with the frequency squared."""
    shape = (200, 3, 8, 8)
    logits = FOURIER.decode(random(shape)).logit()
    waves = hartley(logits) / amplitudes(logits)
    matrix = colours(logits)
    torch.testing.assert_close(waves.transpose(0, 1).flatten(1).cov(), matrix @ matrix.T, atol=0.05, rtol=0)
    power = hartley(logits).square().mean((0, 1))
    assert power[0, 1] / power[0, 4] == pytest.approx(16, rel=0.4)


def test_colours_are_lucids() -> None:
    """The largest column, brightness, has length 1; the others are red against blue, and green against magenta."""
    matrix = colours(torch.zeros(1, dtype=torch.float64))
    assert matrix[:, 0].norm() == pytest.approx(1)
    assert (matrix[:, 0] / matrix[0, 0]).tolist() == pytest.approx([1, 27 / 26, 27 / 26])
    assert matrix[0, 1] == -matrix[2, 1] == pytest.approx(0.09 / math.sqrt(0.26**2 + 2 * 0.27**2))
    assert matrix[1, 1] == 0


def test_pixels_are_the_image_itself() -> None:
    image = torch.rand(1, 3, 4, 5)
    assert PIXELS.encode(image) is image
    assert PIXELS.decode(image) is image
    assert PIXELS.bounds == (0, 1)
