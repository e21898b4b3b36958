"""What the tests share: a tiny seeded network, and an image whose sides differ."""

import pytest
import torch
from torch import Tensor

from nst_lessons import Backbone


@pytest.fixture
def tiny_backbone() -> Backbone:
    """Two blocks of two convolutions, 4 and 6 channels, random but always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Backbone((4, 6), (2, 2))
    return backbone.requires_grad_(False).eval()


@pytest.fixture
def small_image() -> Tensor:
    """(1, 3, 12, 17) in [0, 1]."""
    return torch.rand(1, 3, 12, 17, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def other_image() -> Tensor:
    """(1, 3, 14, 10) in [0, 1]."""
    return torch.rand(1, 3, 14, 10, generator=torch.Generator().manual_seed(2)) ** 3
