"""What the tests share: a tiny seeded network, images whose sides differ, an empty folder."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from nst_lessons import Backbone, noise_like

settings.register_profile("on any machine", deadline=None)  # however busy it is
settings.load_profile("on any machine")


@pytest.fixture
def tiny_backbone() -> Backbone:
    """Two blocks of two convolutions, 4 and 6 channels, random but always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Backbone([[4, 4], [6, 6]])
    return backbone.requires_grad_(False).eval()


@pytest.fixture
def five_blocks() -> Backbone:
    """A network with the blocks and layers of VGG16's first two rows, 3 to 7 channels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Backbone([[3, 3], [4, 4], [5, 5], [6, 6], [7, 7]])
    return backbone.requires_grad_(False).eval()


@pytest.fixture
def small_image() -> Tensor:
    """(1, 3, 12, 17) in [0, 1]."""
    return torch.rand(1, 3, 12, 17, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def other_image() -> Tensor:
    """(1, 3, 14, 10) in [0, 1]."""
    return torch.rand(1, 3, 14, 10, generator=torch.Generator().manual_seed(2)) ** 3


@pytest.fixture
def start(small_image) -> Tensor:
    """Noise of the small image's shape."""
    return noise_like(small_image, seed=3)


@pytest.fixture
def quadratic(small_image):
    """A bowl with its bottom at the image; the pixels' curvatures differ a hundredfold."""
    curvature = torch.logspace(0, 2, small_image.numel()).view_as(small_image)
    return lambda image: {"bowl": (curvature * (image - small_image).square()).mean()}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty working directory; and the environment names no network."""
    monkeypatch.delenv("NST_LESSONS_BACKBONE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bytes_kept() -> Callable[[Backbone, Tensor, Iterable[str]], int]:
    """A function that gives the bytes of the activations that autograd saves in a forward pass to some layers."""

    def count(backbone: Backbone, image: Tensor, layers: Iterable[str]) -> int:
        storages = {}

        def note(tensor: Tensor) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            features = backbone(image.clone().requires_grad_(), layers)
        assert all(maps.requires_grad for maps in features.values())
        weights = {parameter.untyped_storage().data_ptr() for parameter in backbone.parameters()}
        # The normalisation's constants and small weights in another precision are no activations either.
        smallest = image[0, 0].numel()
        return sum(
            storage.nbytes()
            for pointer, storage in storages.items()
            if pointer not in weights and storage.nbytes() >= smallest
        )

    return count


@pytest.fixture
def photo() -> Tensor:
    """(1, 3, 40, 56) in [0, 1], smooth with some noise."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 3, 5, 7, generator=generator)
    noise = 0.1 * torch.rand(1, 3, 40, 56, generator=generator)
    return 0.9 * torch.nn.functional.interpolate(coarse, (40, 56), mode="bilinear") + noise


@pytest.fixture
def count_renders(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[dict[str, Any]]]:
    """Begin to note the settings of every call of a module's render function."""

    def begin(module: Any, name: str) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []
        render = getattr(module, name)

        def counted(*args: Any, **settings: Any) -> Any:
            calls.append(settings)
            return render(*args, **settings)

        monkeypatch.setattr(module, name, counted)
        return calls

    return begin
