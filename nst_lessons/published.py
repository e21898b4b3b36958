"""Published recipes: what each write-up does, as a row of data, and its weights in this package's units.

The engine minimises relative losses. A published loss is ``weight * factor(N, M) * |x - t|^2`` at each layer, which is
a relative loss with the weight ``weight * factor(N, M) * |t|^2``. So a recipe is run by converting its weights, once:
`transfer_settings` turns a row into the arguments of `style_transfer`, whose loss is then the published one, number by
number.

The features at hand may be another size than the published ones, because the write-up fed its network pixels on
another scale, or because another network stands in. One number a layer, the `gains`, takes care of both: features
``r`` times as large make a content loss ``r^2`` and a style loss ``r^4`` times as large.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nst_lessons.images import STD, deprocess, resize
from nst_lessons.losses import Weights, gram_matrix
from nst_lessons.network import Backbone
from nst_lessons.normalisations import LayerSize, convert_weights
from nst_lessons.optimize import loss_below
from nst_lessons.weight_files import cached_weights, default_backbone

PIXEL_LEVELS = 255
# What a network's features grow by when it is fed Caffe's pixels, 0 to 255 minus the mean, instead of torchvision's,
# which are divided by their standard deviation too. Exact but for the convolutions' biases.
SCALES = {"torchvision": 1.0, "caffe": PIXEL_LEVELS * sum(STD) / len(STD)}
BLOCK_CHANNELS = (64, 128, 256, 512, 512)  # of VGG16 and VGG19


@dataclass(frozen=True)
class Recipe:
    """One write-up. Options of the same name given to `style_transfer` take the place of a row's values.

    All weights are the published ones, in the write-up's own units: see ``normalisation`` and ``scale``.
    """

    network: str  # "vgg16" or "vgg19"
    content_layers: Mapping[str, float]
    style_layers: Mapping[str, float]
    alpha: float  # weight of the content
    beta: float  # weight of the style
    normalisation: str  # a row of `nst_lessons.losses.NORMALISATIONS`
    scale: str  # of the pixels: "torchvision" or "caffe"
    pooling: str
    start: str
    optimizer: str
    steps: int  # evaluations of loss and gradient
    source: str
    note: str
    learning_rate: float | None = None  # Adam's, of pixels in [0, 1]
    stop_below: float | None = None  # the loss at which the run ends
    tv: float = 0.0  # weight of the summed, not averaged, total variation
    tv_power: float = 1.0
    same_shape: bool = True  # the painting is stretched to the photo's shape


def equal(layers: Iterable[str]) -> dict[str, float]:
    names = list(layers)
    return dict.fromkeys(names, 1 / len(names))


FIRST_OF_BLOCK = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
JOHNSON_LAYERS = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3")

PUBLISHED: dict[str, Recipe] = {
    "surma": Recipe(
        network="vgg16",
        content_layers={"block2_conv2": 1.0},
        style_layers=equal(JOHNSON_LAYERS),
        alpha=0.02,
        beta=4.5,
        tv=0.995,
        tv_power=1.25,
        normalisation="keras",
        scale="caffe",
        pooling="max",
        start="noise",
        optimizer="scipy",
        steps=200,
        source="Surma, Style Transfer: Styling Images with Convolutional Neural Networks (2019); gsurma/style_transfer",
        note="10 iterations of 20 evaluations, here in longer ones. Its start is uniform noise, ours "
        "normal. Its sums belong to 500 x 500 pixels: on smaller ones style weighs more. It swaps the means of red and "
        "blue, which is not copied.",
    ),
    "shrimal": Recipe(
        network="vgg19",
        content_layers={"conv4_2": 1.0},
        style_layers={"conv1_1": 1.0, "conv2_1": 0.75, "conv3_1": 0.2, "conv4_1": 0.2, "conv5_1": 0.2},
        alpha=1.0,
        beta=1e4,
        normalisation="udacity",
        scale="torchvision",
        pooling="max",
        start="photo",
        optimizer="adam",
        learning_rate=0.003 * 0.226,  # 0.003 of pixels that were divided by their standard deviation
        steps=5000,
        source="Shrimal, Style-Transfer: VGG19 in PyTorch, after the paper",
        note="Layers as they are named, before the ReLU; code that reads them off torchvision's network, whose ReLU "
        "overwrites its input, sees them after it. Chosen: layer weights, learning rate and normalisation, from "
        "Udacity's course, which has the same layers, start and kind of alpha and beta.",
    ),
    "bits_to_brains": Recipe(
        network="vgg19",
        content_layers={"relu4_2": 1.0},
        style_layers=equal(FIRST_OF_BLOCK),
        alpha=1.0,
        beta=5.0,
        normalisation="relative",
        scale="torchvision",
        pooling="avg",
        start="noise",
        optimizer="lbfgs",
        steps=1000,
        stop_below=0.6,
        source="From Bits to Brains: reconstructions first, then four styles on one photo; after the paper of 2015",
        note="Chosen: layers and pooling (the paper's), the optimiser, the weights and the threshold, with relative "
        "losses because there a threshold means the same at every size. Published: white noise, the stop below a "
        "threshold, 1000 iterations at most.",
    ),
    "hannover": Recipe(
        network="vgg19",
        content_layers={"relu4_2": 1.0},
        style_layers=equal(FIRST_OF_BLOCK),
        alpha=5.0,
        beta=100.0,
        normalisation="johnson",
        scale="caffe",
        pooling="max",
        start="noise",
        optimizer="lbfgs",
        steps=1000,
        source="A write-up from Hannover: two weighted terms, random start, an early and a later iteration",
        note="Chosen: everything but the two terms, the VGG and the random start. Weights and losses are those of "
        "Johnson's neural-style, the program that most people began with.",
    ),
    "keras_prisma": Recipe(
        network="vgg16",
        content_layers={"block2_conv2": 1.0},
        style_layers=dict(zip(JOHNSON_LAYERS, (0.05, 0.2, 0.2, 0.25, 0.3), strict=True)),
        alpha=1 / 10,
        beta=1.0,
        normalisation="johnson",
        scale="caffe",
        pooling="max",
        start="grey",
        optimizer="scipy",
        steps=200,
        source="Katariya, Neural Style Transfer: Prisma-like pictures with Keras (2017)",
        note="10 iterations of 20 evaluations, here in longer ones. It saves the picture after each: "
        "snapshots=range(20, 200, 20).",
    ),
    "gatys2016": Recipe(
        network="vgg19",
        content_layers={"relu4_2": 1.0},
        style_layers=equal(FIRST_OF_BLOCK),
        alpha=1e-3,
        beta=1.0,
        normalisation="paper",
        scale="caffe",
        pooling="avg",
        start="noise",
        optimizer="scipy",
        steps=500,
        source="Gatys, Ecker and Bethge, Image Style Transfer Using Convolutional Neural Networks (CVPR 2016)",
        note="Chosen: the features' scale. The paper normalised its network until each filter's mean was 1, but with "
        "its equations and its ratio of 1e-3 that leaves little but content; the network as it came, with Caffe's "
        "pixels, gives the paper's kind of picture at its 512 pixels. Steps as in the authors' code.",
    ),
}
PUBLISHED["keras_prisma_2"] = dataclasses.replace(
    PUBLISHED["keras_prisma"],
    content_layers={"block4_conv2": 1.0},
    style_layers=dict(zip(JOHNSON_LAYERS, (0.05, 0.15, 0.2, 0.3, 0.3), strict=True)),
    alpha=1 / 5,
    note="The author's second setting: a deeper content layer, a fifth of the content.",
)


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


def find_recipe(recipe: str | Recipe, **changes: Any) -> Recipe:
    """A row of `PUBLISHED` by name, or your own, with changes.

    A learning rate belongs to an optimiser: another optimiser, unless with a rate of its own, takes its default.

    Raises:
        ValueError: for an unknown name, which lists the known ones.
    """
    if isinstance(recipe, str):
        if recipe not in PUBLISHED:
            raise ValueError(f"unknown recipe {recipe!r}; choose from {', '.join(PUBLISHED)}")
        recipe = PUBLISHED[recipe]
    if changes.get("optimizer", recipe.optimizer) != recipe.optimizer:
        changes = {"learning_rate": None} | changes
    return dataclasses.replace(recipe, **changes)


def recipe_network(recipe: Recipe) -> str:
    """The name of the recipe's own network if its weights are in torch's cache, else, saying so, of the default one.

    Nothing is downloaded: half a gigabyte is fetched only by who asks for it.
    """
    if cached_weights(recipe.network).exists():
        return recipe.network
    stand_in = default_backbone()
    print(
        f"this recipe's own network, {recipe.network}, is not on this machine: {stand_in} stands in, layer by layer; "
        f"`nst-lessons fetch {recipe.network}` brings it"
    )
    return stand_in


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
        ValueError: for a layer that either network does not have.
    """
    layers = list(layers)
    names = {layer: backbone.canonical(layer) for layer in layers}
    known = LAYER_NORMS[recipe.network]
    if absent := [layer for layer in layers if names[layer] not in known]:
        raise ValueError(f"{recipe.network} has no layer {absent[0]!r}; choose from {', '.join(known)}")
    noise = deprocess(SCALES[backbone.convention] * reference_input(), backbone.convention)
    features = with_max_pooling(backbone)(noise, layers)
    return {
        layer: SCALES[recipe.scale] * known[names[layer]] / float(maps.float().square().sum().sqrt())
        for layer, maps in features.items()
    }


def with_max_pooling(backbone: Backbone) -> Backbone:
    """A copy of a network, with the pooling that `LAYER_NORMS` were measured with."""
    twin = copy.deepcopy(backbone)
    for layer in twin.layers:
        if layer.startswith("pool"):
            setattr(twin, layer, nn.MaxPool2d(2))
    return twin


def published_channels(layer: str) -> int:
    """How many channels VGG16 and VGG19 have at a layer of the literature's name."""
    return BLOCK_CHANNELS[int(layer[4]) - 1]


@torch.no_grad()
def relative_weights(
    recipe: Recipe, backbone: Backbone, photo: Tensor, painting: Tensor, gains: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """A recipe's content and style weights for this package's relative losses; alpha and beta come on top.

    Args:
        recipe: whose weights are converted.
        backbone: the network at hand.
        photo: ``(1, 3, H, W)`` in [0, 1].
        painting: ``(1, 3, H', W')`` in [0, 1].
        gains: ``{layer: r}``, how many times larger the write-up's features are.

    Returns:
        ``{layer: weight}`` for `content_loss`, and for `style_loss`.
    """
    height, width = photo.shape[-2:]

    def size(layer: str, energy: float) -> LayerSize:
        name = backbone.canonical(layer)
        positions = (height // backbone.stride[name]) * (width // backbone.stride[name])
        return LayerSize(published_channels(name), positions, height * width, energy)

    contents = {
        layer: size(layer, gains[layer] ** 2 * squared_norm(maps))
        for layer, maps in backbone(photo, recipe.content_layers).items()
    }
    grams = {
        layer: size(layer, gains[layer] ** 4 * squared_norm(gram_matrix(maps)))
        for layer, maps in backbone(painting, recipe.style_layers).items()
    }
    # The published formulas take F F^T, our Gram matrices are divided by M.
    styles = {layer: one._replace(energy=one.energy * one.positions**2) for layer, one in grams.items()}
    return (
        convert_weights(recipe.content_layers, contents, "content", source=recipe.normalisation),
        convert_weights(recipe.style_layers, styles, "style", source=recipe.normalisation),
    )


def squared_norm(x: Tensor) -> float:
    return float(x.double().square().sum())


def transfer_settings(recipe: Recipe, backbone: Backbone, photo: Tensor, painting: Tensor) -> dict[str, Any]:
    """The arguments with which `style_transfer` follows a recipe; its losses are then the published ones.

    Args:
        recipe: a row of `PUBLISHED`, or your own.
        backbone: the network at hand.
        photo: ``(1, 3, H, W)`` in [0, 1].
        painting: ``(1, 3, H', W')`` in [0, 1], see `shaped_painting`.

    Raises:
        ValueError: for a layer that the recipe's network or the one at hand does not have.
    """
    layers = dict.fromkeys([*recipe.content_layers, *recipe.style_layers])
    found = gains(recipe, backbone, layers)
    content, style = relative_weights(recipe, backbone, photo, painting, found)
    height, width = photo.shape[-2:]
    levels = 1 if recipe.scale == "torchvision" else PIXEL_LEVELS
    settings = {
        "content_layers": content,
        "style_layers": style,
        # From the sum over the write-up's pixels to the mean over ours.
        "tv": recipe.tv * 3 * (height - 1) * (width - 1) * levels ** (2 * recipe.tv_power),
    }
    same = ("alpha", "beta", "tv_power", "start", "optimizer", "steps", "learning_rate")
    settings |= {name: getattr(recipe, name) for name in same}
    return settings if recipe.stop_below is None else settings | {"stop": loss_below(recipe.stop_below)}


def shaped_painting(recipe: Recipe, photo: Tensor, painting: Tensor) -> Tensor:
    """The painting in the photo's shape where the recipe wants that (stretched, as the write-ups do), else as it is."""
    return resize(painting, (photo.shape[-2], photo.shape[-1])) if recipe.same_shape else painting


def recipe_table(recipes: Mapping[str, Recipe] = PUBLISHED) -> str:
    """The recipes as a table in Markdown, one row each."""
    columns = ("recipe", "network", "content", "style", "alpha : beta", "losses", "features", "start", "optimiser")
    rows = [columns, ("---",) * len(columns)]
    for name, recipe in recipes.items():
        ends = f"{recipe.steps} steps" + (f", or loss < {recipe.stop_below:g}" if recipe.stop_below else "")
        smooth = f"; tv {recipe.tv:g}, power {recipe.tv_power:g}" if recipe.tv else ""
        rows.append(
            (
                f"`{name}`",
                f"{recipe.network}, {recipe.pooling} pooling",
                weights_in_words(recipe.content_layers),
                weights_in_words(recipe.style_layers),
                f"{recipe.alpha:g} : {recipe.beta:g}{smooth}",
                recipe.normalisation,
                recipe.scale,
                recipe.start,
                f"{recipe.optimizer}, {ends}",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def weights_in_words(weights: Weights) -> str:
    """``relu1_1, relu2_1 (0.5 each)``, or each layer with its weight."""
    values = set(weights.values())
    if len(values) > 1:
        return ", ".join(f"{layer} ({weight:g})" for layer, weight in weights.items())
    each = "" if values == {1.0} else f" ({values.pop():g} each)"
    return ", ".join(weights) + each
