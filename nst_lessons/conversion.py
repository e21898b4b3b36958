"""Conversion: a published recipe's weights in this package's units.

The engine minimises relative losses. A published loss is ``weight * factor(N, M) * |x - t|^2`` at each layer, which is
a relative loss with the weight ``weight * factor(N, M) * |t|^2``. So a recipe is run by converting its weights, once:
`transfer_settings` turns a row into the options of `style_transfer`, whose loss is then the published one, number by
number.

The features at hand may be another size than the published ones, because the write-up fed its network pixels on
another scale, or because another network takes the place of its own. One number a layer, the `gains`, takes care of
both: features ``r`` times as large make a content loss ``r^2`` and a style loss ``r^4`` times as large.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from nst_lessons.history import loss_below
from nst_lessons.images import STD
from nst_lessons.network import Backbone, block_number
from nst_lessons.normalisations import LayerSize, convert_weights
from nst_lessons.published import Recipe, TransferOptions
from nst_lessons.styles import Styles, style_target

# What a network's features grow by when it is fed Caffe's pixels, 0 to 255 minus the mean, instead of torchvision's,
# which are divided by their standard deviation too. Exact but for the convolutions' biases.
SCALES = {"torchvision": 1.0, "caffe": 255 * sum(STD) / len(STD)}
BLOCK_CHANNELS = (64, 128, 256, 512, 512)  # of VGG16 and VGG19


def norms(table: str) -> dict[str, float]:
    words = table.split()
    return dict(zip(words[::2], map(float, words[1::2]), strict=True))


# |F| of torchvision's networks for `reference_input`, with max pooling; figures published by pystiche.
LAYER_NORMS = {
    "vgg16": norms("""
        conv1_1 1460  relu1_1 866  conv1_2 3260  relu1_2 2110  pool1 1720
        conv2_1 5560  relu2_1 2140  conv2_2 5710  relu2_2 2740  pool2 2150
        conv3_1 5580  relu3_1 2680  conv3_2 7050  relu3_2 2600  conv3_3 8950  relu3_3 1240  pool3 953
        conv4_1 2970  relu4_1 887  conv4_2 2710  relu4_2 716  conv4_3 3020  relu4_3 316  pool4 234
        conv5_1 615  relu5_1 192  conv5_2 618  relu5_2 136  conv5_3 574  relu5_3 53  pool5 37.6
    """),
    "vgg19": norms("""
        conv1_1 1420  relu1_1 896  conv1_2 3380  relu1_2 2070  pool1 1700
        conv2_1 5320  relu2_1 2110  conv2_2 5740  relu2_2 2510  pool2 2010
        conv3_1 5770  relu3_1 2450  conv3_2 6320  relu3_2 2380  conv3_3 5830  relu3_3 2200
        conv3_4 8460  relu3_4 1050  pool3 777
        conv4_1 1990  relu4_1 865  conv4_2 2550  relu4_2 792  conv4_3 2360  relu4_3 583
        conv4_4 2490  relu4_4 259  pool4 192
        conv5_1 408  relu5_1 167  conv5_2 450  relu5_2 155  conv5_3 431  relu5_3 130
        conv5_4 571  relu5_4 48.5  pool5 34.9
    """),
}


def reference_input() -> Tensor:
    """What `LAYER_NORMS` were measured on: uniform noise, ``(1, 3, 256, 256)``, as the first layer sees it."""
    return torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def gains(recipe: Recipe, backbone: Backbone, layers: Iterable[str]) -> dict[str, float]:
    """How many times larger the write-up's features are than those at hand, ``{layer: r}``.

    The published network's norm by this network's, on one and the same noise, times the scale of the write-up's
    pixels. Between the compact network and its teacher, this ratio differs from that on photos by less than a tenth
    in blocks 1 to 3, a fifth in block 4 and a half in block 5.

    Raises:
        ValueError: for a layer that either network does not have, or that is silent.
    """
    layers = list(layers)
    names = {layer: backbone.canonical(layer) for layer in layers}
    known = LAYER_NORMS[recipe.network]
    if absent := [layer for layer in layers if names[layer] not in known]:
        raise ValueError(f"{recipe.network} has no layer {absent[0]!r}; choose from {', '.join(known)}")
    noise = SCALES[backbone.convention] * reference_input()
    features = with_max_pooling(backbone).features(noise.to(backbone.device, backbone.dtype), layers)
    found = {layer: float(maps.float().square().sum().sqrt()) for layer, maps in features.items()}
    if silent := [layer for layer, norm in found.items() if norm == 0]:
        raise ValueError(f"{silent[0]} of this network is silent on noise, so its weight cannot be converted")
    return {layer: SCALES[recipe.scale] * known[names[layer]] / found[layer] for layer in layers}


def with_max_pooling(backbone: Backbone) -> Backbone:
    """A copy of a network, with the pooling that `LAYER_NORMS` were measured with."""
    twin = copy.deepcopy(backbone)
    for layer in twin.layers:
        if layer.startswith("pool"):
            setattr(twin, layer, nn.MaxPool2d(2))
    return twin


@torch.no_grad()
def relative_weights(
    recipe: Recipe, backbone: Backbone, photo: Tensor, paintings: Styles, gains: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """A recipe's content and style weights for `content_loss` and `style_loss`; alpha and beta come on top.

    Images are as for `transfer_settings`, gains as `gains` returns them.
    """
    height, width = photo.shape[-2:]

    def sizes(targets: Mapping[str, Tensor], power: int) -> dict[str, LayerSize]:
        """Of targets in which features enter to a power: 1, or 2 as in Gram matrices, which are here divided by M."""
        found = {}
        for layer, target in targets.items():
            name = backbone.canonical(layer)
            positions = (height // backbone.stride[name]) * (width // backbone.stride[name])
            energy = gains[layer] ** (2 * power) * float(np.square(target.cpu().numpy(), dtype=np.float64).sum())
            energy *= positions ** (2 * power - 2)  # the published formulas take F F^T
            found[layer] = LayerSize(BLOCK_CHANNELS[block_number(name) - 1], positions, height * width, energy)
        return found

    contents = sizes(backbone(photo, recipe.content_layers), power=1)
    styles = sizes(style_target(backbone, paintings, recipe.style_layers), power=2)
    return (
        convert_weights(recipe.content_layers, contents, "content", source=recipe.normalisation),
        convert_weights(recipe.style_layers, styles, "style", source=recipe.normalisation),
    )


def transfer_settings(recipe: Recipe, backbone: Backbone, photo: Tensor, paintings: Styles) -> TransferOptions:
    """The options with which `style_transfer` follows a recipe; its losses are then the published ones.

    The photo is ``(1, 3, H, W)`` in [0, 1]; a painting is ``(1, 3, H', W')``, in the shape that the recipe wants.

    Raises:
        ValueError: for a layer that the recipe's network or the one at hand does not have.
    """
    found = gains(recipe, backbone, {**recipe.content_layers, **recipe.style_layers})
    content, style = relative_weights(recipe, backbone, photo, paintings, found)
    height, width = photo.shape[-2:]
    levels = 1 if recipe.scale == "torchvision" else 255
    settings = TransferOptions(
        content_layers=content,
        style_layers=style,
        alpha=recipe.alpha,
        beta=recipe.beta,
        # From the sum over the write-up's pixels to the mean over ours.
        tv=recipe.tv * 3 * (height - 1) * (width - 1) * levels ** (2 * recipe.tv_power),
        tv_power=recipe.tv_power,
        start=recipe.start,
        optimizer=recipe.optimizer,
        learning_rate=recipe.learning_rate,
        steps=recipe.steps,
    )
    return settings if recipe.stop_below is None else {**settings, "stop": loss_below(recipe.stop_below)}
