"""Lesson 4's check of a whole search: from noise to an image with a painting's Gram matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate

from nst_lessons.exercises.checking import Answer, Draw, Mistake, close, exercise, expect
from nst_lessons.exercises.style import covariance
from nst_lessons.exercises.watching import (
    WatchedNetwork,
    expect_result,
    expect_search,
    expect_untouched,
    left_alone,
    near,
)
from nst_lessons.losses import gram_matrix, mean_and_deviation

STEPS, FEW_STEPS = 60, 4
LAYERS = ["relu1_1", "relu2_1"]
# {sentence: what is compared instead of Gram matrices}
OTHER_STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "the features are compared place by place, as for content; compare their Gram matrices": lambda F: F,
    "the matrices multiply positions with positions; channels with channels was asked": lambda F: (
        F.flatten(2).mT @ F.flatten(2)
    ),
    "only the channels' means are compared; the whole Gram matrices were asked": lambda F: F.mean((2, 3)),
    "means and deviations are compared; Gram matrices were asked": mean_and_deviation,
    "the means are taken off first, so covariances are compared; Gram matrices were asked": covariance,
    "only the diagonals of the Gram matrices are compared; all their entries were asked": lambda F: F.square().mean(
        (2, 3)
    ),
}


class StyleNetwork(WatchedNetwork):
    """A watched network that also notes the first gradient which comes back to each layer's features.

    Attributes:
        returned: ``{layer: gradient}``, of what is computed from these features alone, not from deeper ones.
    """

    def __init__(self, draw: Draw) -> None:
        super().__init__(draw, ((8, 8), (12, 12)))
        self.returned: dict[str, Tensor] = {}

    def forward(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """The features, see `Backbone`."""
        features = {layer: maps.clone() for layer, maps in super().forward(image, layers).items()}
        for layer, maps in features.items():
            if maps.requires_grad:
                maps.register_hook(partial(self.note, layer))
        return features

    def note(self, layer: str, gradient: Tensor) -> None:
        """A gradient has come back to a layer's features."""
        self.returned.setdefault(layer, gradient.detach().clone())


@exercise("Style reconstruction")
def check_style_reconstruction(reconstruct_style: Answer, draw: Draw) -> None:
    """``reconstruct_style(network, painting, layers, start, steps) -> image``: from the start to the painting's style.

    All images are ``(1, 3, H, W)`` in [0, 1]; the result has the start's size, which may not be the painting's. The
    start is noise, and stays as it is; any optimiser of torch changes a copy of it until the Gram matrices of the
    network's features at the layers are the painting's. The sum over the layers of ``|G - A|^2 / |A|^2`` must fall
    below a quarter of the start's, and below 1. Gatys et al. (2016), section 2.2.
    """
    network, noise = StyleNetwork(draw), draw.image(16, 24)
    painting = painting_like(noise, draw)
    result = searched(reconstruct_style, network, painting, LAYERS, noise, STEPS)
    expect_gram_losses(network, painting)
    expect(
        likeness(result, painting) < 0.5,
        "the result has things where the painting has them, and Gram matrices do not know where; is the painting mixed "
        "in?",
    )
    expect_fall(network, painting, noise, result)
    evaluations = len(network.searches)
    searched(reconstruct_style, network, painting, ["relu2_2"], draw.image(10, 15), FEW_STEPS)
    expect(
        len(network.searches) < evaluations,
        f"{FEW_STEPS} steps and {STEPS} steps are the same number of steps; is `steps` used?",
    )


def searched(
    reconstruct_style: Answer, network: StyleNetwork, painting: Tensor, layers: list[str], noise: Tensor, steps: int
) -> Tensor:
    """A reconstruction's result, an image that was searched for from the noise on."""
    network.passes.clear()
    with left_alone(network):
        result = reconstruct_style(network, painting, list(layers), noise, steps)
    expect_untouched(noise, "the start")
    expect_untouched(painting, "the painting")
    if isinstance(result, Tensor) and result.shape == painting.shape != noise.shape:
        raise Mistake("the result has the painting's shape; the start's was asked: does the search begin at the start?")
    expect_result(result, noise)
    if network.searches:
        expect_search(network, noise, "the start that was given", {"the painting": painting})
    expect(not near(result, painting), "the result is the painting itself; only its Gram matrices may be used")
    if close(result, noise):
        expect(bool(network.searches), "the start is returned as it is: no image is optimised")
        raise Mistake("the result is the start; is the target the painting's, and is it the copy that is returned?")
    expect(bool(network.searches), "no image that requires a gradient goes through the network: none is optimised")
    for layer in layers:
        asked = any(layer in each.layers for each in network.searches)
        expect(asked, f"the network was not asked for {layer} of the image; the layers that are given count")
    image: Tensor = result
    return image


def expect_gram_losses(network: StyleNetwork, painting: Tensor) -> None:
    """Raise `Mistake` unless the gradient at each layer's features is that of a loss of their Gram matrix."""
    for layer in LAYERS:
        expect(
            layer in network.returned and bool(network.returned[layer].any()),
            f"{layer} has no part in the loss; does the sum begin anew in the loop, or does it end too early?",
        )
        F, P = (network.features_of(image, layer) for image in (network.searches[0].image, painting))
        gradient = network.returned[layer]
        for sentence, statistic in OTHER_STATISTICS.items():
            expect(not parallel(gradient, gradient_of(statistic, F, P)), sentence)
        uphill = parallel(gradient, -gradient_of(gram_matrix, F, P))
        expect(not uphill, "the loss grows from step to step: its sign is wrong")
        # What depends on G = F F^T alone has a gradient S F: each map's is a mix of the feature maps.
        maps, slopes = F[0].flatten(1).double(), gradient[0].flatten(1).double()
        rest = slopes - slopes @ torch.linalg.pinv(maps) @ maps
        expect(
            float(rest.norm()) < 0.01 * float(slopes.norm()),
            f"the loss at {layer} is not one of the Gram matrix: something else than F F^T counts",
        )


def expect_fall(network: StyleNetwork, painting: Tensor, noise: Tensor, result: Tensor) -> None:
    """Raise `Mistake` unless the style loss has fallen below a quarter, and below 1."""
    loss, at_start = (float(network.style_errors(image, painting, LAYERS).sum()) for image in (result, noise))
    asked = min(at_start / 4, 1.0)
    if loss < asked:
        return
    F, P = (network.features_of(image, LAYERS[0]) for image in (network.searches[0].image, painting))
    downwards = gradient_of(gram_matrix, F, P, square=False)
    expect(
        not parallel(network.returned[LAYERS[0]], downwards),
        "the square is missing: the matrices' differences are summed as they are, and become smaller than 0",
    )
    raise Mistake(
        f"after {STEPS} steps the style loss has only gone from {at_start:.2f} to {loss:.2f}, and {asked:.2f} was "
        "asked; is the learning rate too small or too large?"
    )


def gradient_of(statistic: Callable[[Tensor], Tensor], F: Tensor, P: Tensor, square: bool = True) -> Tensor:
    """The gradient of the summed (squared) differences of a statistic with respect to features F."""
    variable = F.detach().clone().requires_grad_()
    difference = statistic(variable) - statistic(P)
    (gradient,) = torch.autograd.grad((difference.square() if square else difference).sum(), variable)
    return gradient


def parallel(gradient: Tensor, other: Tensor) -> bool:
    """Whether two gradients have the same direction."""
    return bool(cosine_similarity(gradient.flatten(), other.flatten(), dim=0) > 0.999)


def painting_like(noise: Tensor, draw: Draw) -> Tensor:
    """A painting of an image's size: squares of a few colours, in a tint."""
    height, width = noise.shape[-2:]
    squares = torch.rand(1, 3, -(-height // 4), -(-width // 4), generator=draw.generator).round()
    tint = torch.tensor([1.0, 0.6, 0.3])[draw.order(3)].view(1, 3, 1, 1)
    return 0.2 + 0.6 * tint * interpolate(squares, scale_factor=4)[..., :height, :width]


def likeness(image: Tensor, painting: Tensor) -> float:
    """The correlation of two images' pixels, beyond their mean colours: 1 for the same image."""
    a, b = ((each - each.mean((2, 3), keepdim=True)).flatten() for each in (image, painting))
    return float(cosine_similarity(a, b, dim=0))
