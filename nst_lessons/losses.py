"""Losses: the distance of features (content), of their statistics (style), and the roughness of an image.

Features are dicts ``{layer: (B, C, H, W)}``. A target is a dict with the layers that count. By default losses are
*relative*: 0 is a perfect match, 1 is as bad as no features at all, on every layer of every network.

Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks" (CVPR 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from nst_lessons.checks import check_mapping, check_number, shown
from nst_lessons.gram_gradient import fast_gradient

Features = Mapping[str, Tensor]
Weights = Mapping[str, float]
Statistic = Callable[[Tensor], Tensor]
Statistics = Statistic | Mapping[str, Statistic]
LossFunction = Callable[[Tensor], Mapping[str, Tensor]]
ALPHA, BETA, TV = 1.0, 25.0, 5.0  # weights of content, style and total variation; chosen by looking at pictures


@fast_gradient
def gram_matrix(features: Tensor) -> Tensor:
    """Which channels are active together, wherever that is: ``G = F F^T / (H W)``, one for each item of the batch.

    Gatys et al. (2016), equation 3, do not divide; the mean over positions lets images of different sizes be compared.

    Args:
        features: ``(B, C, H, W)``.

    Returns:
        ``(B, C, C)``, symmetric.

    Raises:
        ValueError: for another shape.
    """
    check_features(features)
    F = features.flatten(2)
    return F @ F.mT / F.shape[2]


def mean_and_deviation(features: Tensor) -> Tensor:
    """Each channel's mean and standard deviation over the positions: a style without co-activations.

    Li, Wang, Liu and Hou, "Demystifying Neural Style Transfer" (2017), match these instead of the Gram matrix.

    Args:
        features: ``(B, C, H, W)``.

    Returns:
        ``(B, 2, C)``.

    Raises:
        ValueError: for another shape.
    """
    check_features(features)
    F = features.flatten(2)
    return torch.stack([F.mean(2), F.std(2, correction=0)], dim=1)


def relative_error(x: Tensor, target: Tensor) -> Tensor:
    """``|x - t|^2 / |t|^2``: 0 is a perfect match, 1 is as bad as all zeros; a scalar.

    Gatys et al. (2016), equation 1, take ``1/2 |x - t|^2``, whose size differs fiftyfold from layer to layer. A target
    of one item serves a whole batch, whose mean error this is.
    """
    target = target.expand_as(x)
    # A layer that is silent on the target has no scale of its own.
    scale = target.square().sum().clamp_min(torch.finfo(target.dtype).tiny)
    return (x - target).square().sum() / scale


def content_loss(features: Features, target: Features, *, weights: Weights | None = None) -> Tensor:
    """Distance of features, ``sum over l of w_l |F_l - P_l|^2 / |P_l|^2``: Gatys et al. (2016), equation 1, relative.

    Args:
        features: ``{layer: (B, ...)}``, at least the target's layers.
        target: ``{layer: (B, ...) or (1, ...)}``, otherwise of the same shapes.
        weights: ``{layer: w}``; by default equal weights that sum to 1.

    Returns:
        A scalar; 0 for equal features.

    Raises:
        ValueError: when a layer's features and target differ in shape, or a layer or weight is missing.
    """
    check_mapping("the target", target)
    weights = dict.fromkeys(target, 1 / max(1, len(target))) if weights is None else weights
    check_match(features, target, weights)
    return torch.stack([weights[layer] * relative_error(features[layer], target[layer]) for layer in target]).sum()


def layer_statistics(features: Features, layers: Iterable[str], statistic: Statistics) -> dict[str, Tensor]:
    """The statistic of each layer's features, ``{layer: statistic}``; layers without features are left out.

    Raises ValueError where one statistic a layer is given, and none for one of these.
    """
    layers = list(layers)
    functions = statistic if isinstance(statistic, Mapping) else dict.fromkeys(features, statistic)
    if absent := [layer for layer in layers if layer in features and layer not in functions]:
        raise ValueError(f"no statistic for {absent[0]!r}, only for {', '.join(functions)}")
    return {layer: functions[layer](features[layer]) for layer in layers if layer in features}


def style_loss(
    features: Features,
    target: Features,
    statistic: Statistics = gram_matrix,
    *,
    weights: Weights | None = None,
) -> Tensor:
    """The content loss of the statistics: positions are gone, co-activations stay.

    Gatys et al. (2016), equations 4 and 5, relative to the target.

    Args:
        features: ``{layer: (B, C, H, W)}``, at least the target's layers.
        target: ``{layer: statistic of the painting's features}``, of a batch of B or of 1.
        statistic: what of a layer's features makes the style: one function, or ``{layer: function}`` where it depends
            on the layer, for instance on a mask in the layer's size.
        weights: ``{layer: w}``; by default equal weights that sum to 1, the paper's 1/5.

    Returns:
        A scalar; 0 for equal statistics.
    """
    check_mapping("features", features)
    check_mapping("the target", target)
    return content_loss(layer_statistics(features, target, statistic), target, weights=weights)


def total_variation(image: Tensor, *, power: float = 1.0) -> Tensor:
    """Mean squared difference of neighbouring pixels, downwards plus across: 2 for a checkerboard of 0 and 1.

    Mahendran and Vedaldi, "Understanding Deep Image Representations by Inverting Them" (2015), equation 4 with
    beta = 2; the mean lets images of different sizes be compared.

    Args:
        image: ``(B, C, H, W)``, at least 2 pixels a side.
        power: their beta / 2. Above 1, each pixel's sum of both squares is raised to it before the mean over the
            pixels that have both neighbours, and large steps cost more than small ones; Keras' example takes 1.25.

    Returns:
        A scalar.

    Raises:
        ValueError: for another shape, or a power below 1, which has no gradient where neighbours are equal.
    """
    check_features(image)
    if min(image.shape[-2:]) < 2:
        raise ValueError(f"an image of {image.shape[-1]} x {image.shape[-2]} pixels has no neighbours to differ")
    check_number("power", power, 1)
    if power == 1:
        return mse_loss(image[..., 1:, :], image[..., :-1, :]) + mse_loss(image[..., 1:], image[..., :-1])
    down, across = image.diff(dim=-2).square(), image.diff(dim=-1).square()
    return (down[..., :-1] + across[..., :-1, :]).pow(power).mean()


def transfer_loss(
    network: Callable[[Tensor, Iterable[str]], Features],
    content_target: Features,
    style_target: Features,
    *,
    content_weights: Weights | None = None,
    style_weights: Weights | None = None,
    alpha: float = ALPHA,
    beta: float = BETA,
    tv: float = TV,
    tv_power: float = 1.0,
) -> LossFunction:
    """The loss of a transfer, ``alpha L_content + beta L_style + tv L_tv``: Gatys et al. (2016), equation 7.

    To replace a term, wrap the result: ``lambda image: loss_fn(image) | {"style": my_style(image)}``.

    Args:
        network: gives the features, ``network(image, layers)``.
        content_target: ``{layer: the photo's features}``.
        style_target: ``{layer: Gram matrix of the painting's features}``.
        content_weights: ``{layer: w}``; by default equal weights that sum to 1.
        style_weights: likewise.
        alpha, beta, tv: weights of content, style and total variation.
        tv_power: see `total_variation`.

    Returns:
        A function from an image ``(1, 3, H, W)`` to its weighted losses, ``{"content": ..., "style": ..., "tv": ...}``.
    """

    def loss_fn(image: Tensor) -> dict[str, Tensor]:
        features = network(image, [*content_target, *style_target])  # one forward pass for all terms
        return {
            "content": alpha * content_loss(features, content_target, weights=content_weights),
            "style": beta * style_loss(features, style_target, weights=style_weights),
            "tv": tv * total_variation(image, power=tv_power),
        }

    return loss_fn


def check_features(features: Tensor) -> None:
    """Raise ValueError for anything but features, or images, ``(B, C, H, W)``."""
    if not (isinstance(features, Tensor) and features.ndim == 4 and features.numel() and features.is_floating_point()):
        raise ValueError(f"features are floats of the shape (B, C, H, W), not {shown(features)}")


def check_match(features: Features, target: Features, weights: Weights) -> None:
    """Raise ValueError, saying which layer, unless every target has features of its shape and a weight."""
    check_mapping("features", features)
    check_mapping("weights", weights)
    if not target:
        raise ValueError("the target has no layers; ask the backbone for at least one")
    for layer in target:
        if layer not in features:
            raise ValueError(f"no features of {layer!r}, only of {', '.join(features)}; ask the backbone for it too")
        if layer not in weights:
            raise ValueError(f"no weight for {layer!r}, only for {', '.join(weights)}")
        shape, expected = features[layer].shape, target[layer].shape
        if shape[1:] != expected[1:] or expected[0] not in (1, shape[0]):
            raise ValueError(
                f"{layer}: the features' shape {tuple(shape)} differs from the target's {tuple(expected)}; "
                "compare images of one size, or statistics"
            )
