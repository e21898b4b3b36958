"""Published recipes: what each write-up does, as a row of data in the write-up's own units."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor

from nst_lessons.checks import check_choice
from nst_lessons.losses import Weights
from nst_lessons.options import RunOptions
from nst_lessons.styles import Layers, layer_weights


class TransferOptions(RunOptions, total=False):
    """What a user may ask of a transfer; see `nst_lessons.transfer.style_transfer`."""

    content_layers: Layers
    style_layers: Layers
    alpha: float
    beta: float
    tv: float
    tv_power: float
    start: str | Tensor
    warm_start: bool
    steps: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One write-up. The defaults are the values of `gatys2016`; a row says what differs.

    All weights are the published ones, in the write-up's own units: see ``normalisation`` and ``scale``.
    """

    network: str = "vgg19"  # or "vgg16"
    content_layers: Mapping[str, float] = field(default_factory=lambda: {"relu4_2": 1.0})
    style_layers: Mapping[str, float] = field(default_factory=lambda: {f"relu{block}_1": 0.2 for block in range(1, 6)})
    alpha: float  # weight of the content
    beta: float  # weight of the style
    normalisation: str  # a row of `nst_lessons.normalisations.NORMALISATIONS`
    scale: str = "caffe"  # of the pixels; or "torchvision"
    pooling: str = "avg"  # or "max"
    start: str | Tensor = "noise"
    optimizer: str
    steps: int  # evaluations of loss and gradient
    source: str
    note: str
    learning_rate: float | None = None  # Adam's, of pixels in [0, 1]
    stop_below: float | None = None  # the loss at which the run ends
    tv: float = 0.0  # weight of the summed, not averaged, total variation
    tv_power: float = 1.0
    same_shape: bool = True  # the painting is stretched to the photo's shape


JOHNSON_LAYERS = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3")

PUBLISHED: dict[str, Recipe] = {
    "surma": Recipe(
        network="vgg16",
        content_layers={"block2_conv2": 1.0},
        style_layers=layer_weights(JOHNSON_LAYERS),
        alpha=0.02,
        beta=4.5,
        tv=0.995,
        tv_power=1.25,
        normalisation="keras",
        pooling="max",
        optimizer="scipy",
        steps=200,
        source="Surma, Style Transfer: Styling Images with Convolutional Neural Networks (2019); gsurma/style_transfer",
        note="Ten calls of L-BFGS-B with 20 evaluations each, which here is restarted less often. Its start is uniform "
        "noise, ours normal. Its sums belong to 500 x 500 pixels: on smaller ones style weighs more. It swaps the "
        "means of red and blue, which is not copied.",
    ),
    "shrimal": Recipe(
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
        alpha=1.0,
        beta=5.0,
        normalisation="relative",
        scale="torchvision",
        optimizer="lbfgs",
        steps=1000,
        stop_below=1.0,
        source="From Bits to Brains: reconstructions first, then four styles on one photo; after the paper of 2015",
        note="Chosen: layers and pooling (the paper's), the optimiser, the weights and the threshold, with relative "
        "losses because there a threshold means the same at every size. Published: white noise, the stop below a "
        "threshold, 1000 iterations at most.",
    ),
    "hannover": Recipe(
        style_layers={f"relu{block}_1": 1.0 for block in range(1, 6)},
        alpha=5.0,
        beta=100.0,
        normalisation="johnson",
        pooling="max",
        optimizer="lbfgs",
        steps=1000,
        source="A write-up from Hannover: two weighted terms, random start, an early and a later iteration",
        note="Chosen: everything but the two terms, the VGG and the random start. Weights and losses are those of "
        "Johnson's neural-style (2015).",
    ),
    "keras_prisma": Recipe(
        network="vgg16",
        content_layers={"block2_conv2": 1.0},
        style_layers=dict(zip(JOHNSON_LAYERS, (0.05, 0.2, 0.2, 0.25, 0.3), strict=True)),
        alpha=1 / 10,
        beta=1.0,
        normalisation="johnson",
        pooling="max",
        start="grey",
        optimizer="scipy",
        steps=200,
        source="Katariya, Neural Style Transfer: Prisma-like pictures with Keras (2017)",
        note="Ten calls of L-BFGS-B with 20 evaluations each, as for surma. It saves the picture after each: "
        "snapshots=range(20, 200, 20).",
    ),
    "gatys2016": Recipe(
        alpha=1e-3,
        beta=1.0,
        normalisation="paper",
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


def find_recipe(recipe: str | Recipe) -> Recipe:
    """A row of `PUBLISHED` by name, or your own; ValueError for an unknown name."""
    if isinstance(recipe, Recipe):
        return recipe
    check_choice("recipe", recipe, PUBLISHED)
    return PUBLISHED[recipe]


def with_changes(recipe: Recipe, options: TransferOptions) -> tuple[Recipe, TransferOptions]:
    """A recipe with those options that are values of its row, and the other options.

    A learning rate belongs to an optimiser: another optimiser, unless with a rate of its own, takes its default.
    """
    changes = {name: value for name, value in options.items() if name in Recipe.__annotations__}
    for layers in changes.keys() & {"content_layers", "style_layers"}:
        changes[layers] = layer_weights(cast(Layers, changes[layers]))
    if changes.get("optimizer", recipe.optimizer) != recipe.optimizer:
        changes = {"learning_rate": None, **changes}
    others = {name: value for name, value in options.items() if name not in changes}
    return dataclasses.replace(recipe, **cast("dict[str, Any]", changes)), cast(TransferOptions, others)


def recipe_table(recipes: Mapping[str, Recipe] = PUBLISHED) -> str:
    """The recipes as a table in Markdown, one row each."""
    rows = [{"recipe": f"`{name}`", **recipe_cells(recipe)} for name, recipe in recipes.items()]
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def recipe_cells(recipe: Recipe) -> dict[str, str]:
    """A recipe in words, ``{heading: cell}``."""
    ends = f"{recipe.steps} steps" + (f", or loss < {recipe.stop_below:g}" if recipe.stop_below else "")
    smooth = f"; tv {recipe.tv:g}, power {recipe.tv_power:g}" if recipe.tv else ""
    return {
        "network": f"{recipe.network}, {recipe.pooling} pooling",
        "content": weights_in_words(recipe.content_layers),
        "style": weights_in_words(recipe.style_layers),
        "alpha : beta": f"{recipe.alpha:g} : {recipe.beta:g}{smooth}",
        "losses": recipe.normalisation,
        "features": recipe.scale,
        "start": str(recipe.start),
        "optimiser": f"{recipe.optimizer}, {ends}",
    }


def weights_in_words(weights: Weights) -> str:
    """``relu1_1, relu2_1 (0.5 each)``, or each layer with its weight."""
    values = set(weights.values())
    if len(values) > 1:
        return ", ".join(f"{layer} ({weight:g})" for layer, weight in weights.items())
    each = "" if values == {1.0} else f" ({values.pop():g} each)"
    return ", ".join(weights) + each
