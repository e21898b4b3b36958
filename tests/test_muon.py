"""The optimiser of the compact backbone's training."""

import pytest
import torch
from torch import nn

from muon import OF_ADAM, Muon, orthogonalise


@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_singular_values_become_alike(shape):
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(size, 6)).Q for size in shape)
    matrix = left @ torch.diag(torch.logspace(0, -1.5, 6)) @ right.mT
    found = orthogonalise(matrix)
    assert found.shape == shape
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5 and values.max() < 1.3
    assert (left.mT @ found @ right).diagonal().min() > 0.5  # each in its own direction


def test_a_kernel_moves_by_a_share_of_its_norm_whatever_the_gradient():
    for size in (1e-6, 1e6):
        kernel = nn.Parameter(torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(1)))
        before = kernel.detach().clone()
        optimizer = Muon([kernel], lr=0.01)
        (size * (kernel * torch.linspace(-1, 1, kernel.numel()).view_as(kernel)).sum()).backward()
        optimizer.step()
        assert (kernel.detach() - before).norm() == pytest.approx(0.01 * float(before.norm()), rel=1e-4)


def test_everything_else_moves_as_with_adam():
    bias = nn.Parameter(torch.tensor([1.0, 2.0, -3.0]))
    first_kernel = nn.Parameter(torch.ones(2, 3, 3, 3))
    twins = [nn.Parameter(parameter.detach().clone()) for parameter in (bias, first_kernel)]
    optimizer = Muon([bias, first_kernel], lr=0.1)
    adam = torch.optim.Adam(twins, lr=OF_ADAM * 0.1, betas=(0.9, 0.99))
    for _ in range(5):
        for stepper, parameters in ((optimizer, (bias, first_kernel)), (adam, twins)):
            stepper.zero_grad()
            sum((parameter**3).sum() for parameter in parameters).backward()
            stepper.step()
    torch.testing.assert_close([bias, first_kernel], twins)
