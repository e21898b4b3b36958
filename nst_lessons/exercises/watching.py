"""What a check watches where a network is at work: the images that it is shown, and what becomes of its weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nst_lessons.exercises.checking import Draw, Mistake, expect, expect_shape
from nst_lessons.losses import gram_matrix, relative_error
from nst_lessons.network import Backbone

NEAR = 0.02  # of an image's range: a search that begins this close begins there


@dataclass(frozen=True)
class Pass:
    """One image that a network was shown, the layers that were asked for, and whether a gradient was to follow."""

    image: Tensor
    layers: tuple[str, ...]
    searching: bool


class WatchedNetwork(Backbone):
    """A tiny frozen network with random weights that notes what it is shown, and which gradients come back.

    Args:
        draw: gives the weights.
        blocks: with the default, a deep layer has far fewer values than the image: another image can match it.

    Attributes:
        passes: the images it has been shown, with the layers asked for.
        returned: ``{layer: the first gradient that came back to its features}``, not from deeper ones.
        gradients_add_up: whether an image's ``.grad`` was not emptied between two passes.
    """

    def __init__(self, draw: Draw, blocks: Sequence[Sequence[int]] = ((4, 4), (6, 6))) -> None:
        with torch.random.fork_rng(devices=[]):
            super().__init__(blocks)
        for weights in self.requires_grad_(False).eval().parameters():
            scale = math.sqrt(2 / weights[0].numel()) if weights.ndim > 1 else 0.1
            weights.copy_(scale * torch.randn(weights.shape, generator=draw.generator))
        self.passes: list[Pass] = []
        self.returned: dict[str, Tensor] = {}
        self.gradients_add_up = self.first_since_the_pass = False

    def forward(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """The features, see `Backbone`."""
        features = {layer: maps.clone() for layer, maps in super().forward(image, layers).items()}
        searching = image.requires_grad and torch.is_grad_enabled()
        self.passes.append(Pass(image.detach().clone(), tuple(features), searching))
        if searching:
            self.watch_gradient(image)
            for layer, maps in features.items():
                maps.register_hook(partial(self.note_returned, layer))
        return features

    def note_returned(self, layer: str, gradient: Tensor) -> None:
        """A gradient has come back to a layer's features."""
        self.returned.setdefault(layer, gradient.detach().clone())

    def watch_gradient(self, image: Tensor) -> None:
        """Be told when a gradient reaches the ``.grad`` of an image, or of what it was clamped from or the like."""
        self.first_since_the_pass = True
        node = image.view_as(image).grad_fn
        while node is not None and not hasattr(node, "variable"):
            node = node.next_functions[0][0] if node.next_functions else None
        if node is not None:
            node.register_prehook(partial(self.note_addition, node.variable))

    def note_addition(self, leaf: Tensor, _: tuple[Tensor, ...]) -> None:
        """A gradient is about to be added to an image's ``.grad``, which should be empty."""
        # Two terms may be followed by one .backward() each: only the first can tell.
        if self.first_since_the_pass and leaf.grad is not None:
            self.gradients_add_up |= bool(leaf.grad.any())
        self.first_since_the_pass = False

    def features_of(self, image: Tensor, layer: str) -> Tensor:
        """One layer's features, unnoticed."""
        return super().forward(image, [layer])[layer]

    def content_error(self, image: Tensor, photo: Tensor, layer: str) -> Tensor:
        """``|F - P|^2 / |P|^2`` at a layer, unnoticed."""
        return relative_error(self.features_of(image, layer), self.features_of(photo, layer))

    def style_errors(self, image: Tensor, painting: Tensor, layers: Iterable[str]) -> Tensor:
        """``|G - A|^2 / |A|^2`` at each layer, ``(layers,)``, unnoticed."""
        grams = [[gram_matrix(self.features_of(each, layer)) for each in (image, painting)] for layer in layers]
        return torch.stack([relative_error(G, A) for G, A in grams])

    @property
    def searches(self) -> list[Pass]:
        """The passes that a gradient was to follow."""
        return [each for each in self.passes if each.searching]


@contextmanager
def left_alone(
    network: Backbone,
    changed: str = "the network's weights have changed: it is the image that is optimised, and never the network",
    frozen: str = "the network is frozen now, and was not before; a gradient with respect to the image alone needs no "
    "change",
    with_gradient: str = "the network's weights have got a gradient: ask for the image's alone, as in "
    "torch.autograd.grad(loss, image)",
) -> Iterator[None]:
    """Watch that a network is the same afterwards.

    Raises:
        Mistake: when its weights have changed, have got a gradient, or ask for one otherwise than before.
    """
    before = [(weights.detach().clone(), weights.requires_grad) for weights in network.parameters()]
    yield
    after = list(network.parameters())
    expect(all(torch.equal(weights.detach(), old) for weights, (old, _) in zip(after, before, strict=True)), changed)
    for weights, (_, asked) in zip(after, before, strict=True):
        expect(asked or not weights.requires_grad, "the network is no longer frozen: its weights require gradients now")
        expect(weights.requires_grad or not asked, frozen)
    expect(all(weights.grad is None for weights in after), with_gradient)


def expect_untouched(image: Tensor, what: str) -> None:
    """Raise `Mistake` when an image that was given has been made to ask for a gradient."""
    expect(
        not image.requires_grad and image.grad is None,
        f"{what} that was given requires a gradient now; work on a copy of it, .clone().requires_grad_()",
    )


def expect_result(result: object, like: Tensor) -> None:
    """Raise `Mistake` unless a result is an image of the same shape, in [0, 1], without a graph."""
    expect_shape(result, tuple(like.shape), "the result")
    assert isinstance(result, Tensor)
    expect(not result.requires_grad, "the result still requires a gradient; return image.detach()")
    expect(bool(result.isfinite().all()), "the result has values that are no numbers; is the learning rate too large?")
    low, high = float(result.min()), float(result.max())
    expect(low >= 0 and high <= 1, f"the result leaves [0, 1], with values from {low:.2f} to {high:.2f}; clamp it")


def expect_search(network: WatchedNetwork, start: Tensor, asked: str, other: Tensor, name: str) -> None:
    """Raise `Mistake` unless a network was shown one image after another, from the start on, each with a new gradient.

    Args:
        asked: what the start is called.
        other, name: an image that the search may have begun at instead, and what it is called.
    """
    searches = network.searches
    expect(bool(searches), "no image that requires a gradient goes through the network: nothing is searched for")
    first = searches[0].image.split(1)  # photo and image may go through the network side by side
    if not any(near(each, start) for each in first):
        expect(not near(first[0], other), f"the search begins at {name}; it must begin at {asked}")
        raise Mistake(f"the search begins at another image than {asked}")
    expect(
        len(searches) > 1,
        "the image goes through the network only once; each step must compute its features anew. "
        "Is the loop missing, or the return inside it?",
    )
    expect(not network.gradients_add_up, "gradients add up from step to step; call optimizer.zero_grad() in each one")


def near(image: Tensor, other: Tensor) -> bool:
    """Whether two images are almost the same."""
    return image.shape == other.shape and bool((image - other).abs().max() <= NEAR)
