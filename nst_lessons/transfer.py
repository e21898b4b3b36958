"""The transfer: a photo's content in a painting's style, by this package's defaults or by a published recipe.

Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks" (CVPR 2016).
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor
from typing_extensions import Unpack

from nst_lessons.checks import shown
from nst_lessons.console import say
from nst_lessons.conversion import transfer_settings
from nst_lessons.history import Result
from nst_lessons.image_files import ImageSource, load_image
from nst_lessons.images import check_image, resize
from nst_lessons.losses import ALPHA, BETA, TV, LossFunction, transfer_loss
from nst_lessons.network import Backbone
from nst_lessons.optimize import run_stages
from nst_lessons.optimizers import learning_rate_of
from nst_lessons.options import RunOptions, check_options
from nst_lessons.published import Recipe, TransferOptions, find_recipe, with_changes
from nst_lessons.reconstruct import STYLE_LAYERS, image_size, kept_grey, smallest_side, start_image
from nst_lessons.run_file import checkpoint_path, read_checkpoint
from nst_lessons.stages import Stage, octave_scales, scaled_size
from nst_lessons.styles import (
    Layers,
    Style,
    Styles,
    as_styles,
    content_target,
    layer_weights,
    scaled_styles,
    style_sizes,
    style_target,
)
from nst_lessons.weight_files import cached_weights, default_backbone, load_backbone

CONTENT_LAYERS = ("relu4_2",)
FULL_SIZE_CHANNELS = 512  # of the papers' VGGs
WARM_STEPS = 80  # of each octave
WARM_SIZE = 192  # pixels; the longer side of the smallest octave is less than twice this


def weighted_transfer(
    backbone: Backbone,
    photo: Tensor,
    styles: list[Style],
    *,
    content_layers: Layers = CONTENT_LAYERS,
    style_layers: Layers = STYLE_LAYERS,
    alpha: float = ALPHA,
    beta: float = BETA,
    tv: float = TV,
    tv_power: float = 1.0,
    start: str | Tensor = "photo",
    warm_start: bool = True,
    steps: int = 100,
    seed: int = 0,
    **options: Unpack[RunOptions],
) -> Result:
    """The transfer itself, with this package's defaults; `style_transfer` explains the options."""
    content_weights, style_weights = layer_weights(content_layers), layer_weights(style_layers)
    layers, full = (*content_weights, *style_weights), image_size(photo)
    options = kept_grey(options, (photo, *(style.image for style in styles)))

    def loss_at(network: Backbone, scale: float, smallest: int) -> LossFunction:
        small_photo = resize(photo, scaled_size(full, scale, smallest))
        return transfer_loss(
            network,
            content_target(network, small_photo, content_weights),
            style_target(network, scaled_styles(styles, scale, smallest), style_weights),
            content_weights=content_weights,
            style_weights=style_weights,
            alpha=alpha,
            beta=beta,
            tv=tv,
            tv_power=tv_power,
        )

    def stage(network: Backbone, scale: float, steps: int) -> Stage:
        smallest = smallest_side(network, layers)
        loss, size = partial(loss_at, network, scale, smallest), scaled_size(full, scale, smallest)
        return Stage(size, steps, loss, network, layers, style_sizes(styles, scale, smallest))

    warm = warm_up(backbone, layers, max(full)) if warm_start else []
    stages = [stage(network, scale, WARM_STEPS) for network, scale in warm] + [stage(backbone, 1.0, steps)]
    return run_stages(stages, start_image(start, photo, styles[0].image, seed), **options)


TRANSFER_DEFAULTS = {
    name: parameter.default
    for function in (run_stages, weighted_transfer)
    for name, parameter in inspect.signature(function).parameters.items()
    if parameter.default is not parameter.empty
}


def is_full_size(backbone: Backbone) -> bool:
    """Whether a network is as wide as the papers' VGGs, and each step expensive."""
    return max(backbone.channels.values()) >= FULL_SIZE_CHANNELS


def cheap_network(backbone: Backbone, layers: Iterable[str]) -> Backbone:
    """The compact network if it has these layers, else the one at hand."""
    compact = load_backbone("compact", device=backbone.device)
    return compact if {backbone.canonical(layer) for layer in layers} <= set(compact.layers) else backbone


def warm_up(backbone: Backbone, layers: Iterable[str], side: int) -> list[tuple[Backbone, float]]:
    """The networks and scales of a warm start, coarse to fine, for a photo whose longer side is so many pixels.

    Each side is twice the one before. Of a network as wide as the papers' VGGs the compact one takes the place, at full
    size too.
    """
    scales = octave_scales(max(1, 1 + int(math.log2(side / WARM_SIZE))))
    if is_full_size(backbone):
        cheap = cheap_network(backbone, layers)
        return [(cheap, scale) for scale in scales]
    return [(backbone, scale) for scale in scales[:-1]]


@dataclass(frozen=True)
class Transfer:
    """A transfer with everything decided: the network, the images as it is shown them, and the options.

    `network` is the network's name, where it was loaded by one.
    """

    network: str | None
    backbone: Backbone
    photo: Tensor
    styles: list[Style]
    options: TransferOptions

    def run(self) -> Result:
        """Make the picture."""
        return weighted_transfer(self.backbone, self.photo, self.styles, **self.options)


def plan_transfer(
    network: Backbone | str | os.PathLike[str] | None,
    photo: Tensor,
    painting: Styles,
    *,
    recipe: str | Recipe | None = None,
    convention: str | None = None,
    **options: Unpack[TransferOptions],
) -> Transfer:
    """Decide everything about a transfer: the one place where a recipe is looked up and its network chosen.

    Args:
        network: gives the features; or its name or path, see `load_backbone`; None chooses the recipe's own if its
            weights are at hand, else the default one. A network that is loaded here pools as the recipe does.
        photo, painting, recipe, convention, options: see `style_transfer`.

    Raises:
        TypeError: for an option that does not exist.
        ValueError: for an unknown recipe or layer, or a convention that the network does not have.
        WeightsError: for weights that cannot be had.
    """
    check_options(options, TransferOptions)
    check_image(photo, "the photo")
    styles = as_styles(painting)
    row = None if recipe is None else find_recipe(recipe)
    if (checkpoint := options.get("checkpoint")) is not None:
        read_checkpoint(checkpoint_path(checkpoint))
    start_image(options.get("start", "photo"), photo, styles[0].image, options.get("seed", 0))
    if isinstance(network, Backbone):
        name, backbone = None, network
        if convention is not None:
            raise ValueError(f"a loaded network keeps its convention, here {network.convention}; give its path instead")
    else:
        if network is None:
            network = recipe_network(row) if row else default_backbone()
        if not isinstance(network, str | os.PathLike):
            raise TypeError(f"a network is a Backbone, a name or a path, not {shown(network)}")
        name = os.fspath(network)
        backbone = load_backbone(name, pooling=row.pooling if row else "avg", convention=convention)
    if row:
        row, options = with_changes(row, options)
        learning_rate_of(row.optimizer, row.learning_rate)
        if row.same_shape:
            styles = [replace(style, image=resize(style.image, image_size(photo))) for style in styles]
        # The write-ups had no warm start.
        options = {"warm_start": False, **transfer_settings(row, backbone, photo, styles), **options}
    return Transfer(name, backbone, photo, styles, options)


def recipe_network(recipe: Recipe) -> str:
    """The name of the recipe's own network if its weights are in torch's cache, else, saying so, of the default one.

    Nothing is downloaded: half a gigabyte is fetched only on request.
    """
    if cached_weights(recipe.network).exists():
        return recipe.network
    substitute = default_backbone()
    say(
        f"this recipe's own network, {recipe.network}, is not on this machine: {substitute} takes its place, layer by "
        f"layer; `nst-lessons fetch {recipe.network}` downloads it"
    )
    return substitute


def style_transfer(
    backbone: Backbone | str | os.PathLike[str] | None,
    photo: Tensor,
    painting: Styles,
    *,
    recipe: str | Recipe | None = None,
    convention: str | None = None,
    **options: Unpack[TransferOptions],
) -> Result:
    """The photo's content in the painting's style: ``alpha L_content + beta L_style + tv L_tv``.

    Gatys et al. (2016), equation 7, with relative losses: a weight means the same at every layer of every network.

    Args:
        backbone: gives the features, or its name or path; None is the recipe's own network if its weights are at hand,
            else the default one.
        photo: ``(1, 3, H, W)`` in [0, 1]; the result has its size.
        painting: ``(1, 3, H', W')`` in [0, 1], of any size; its brush strokes keep their size in pixels. A list of
            paintings, or of `Style` with weights, blends them: the target is the weighted mean of their statistics.
            Where all images are grey, so is the result.
        recipe: a published write-up, whose losses and row in `nst_lessons.published.PUBLISHED` take the place of the
            defaults. Options given beside it win; weights are then in the write-up's own units. Most recipes stretch
            the painting to the photo's shape.
        convention: of the images that a weights file's network was trained on, where `backbone` is its path; see
            `load_backbone`.
        content_layers: ``["relu4_2"]``; a list (equal weights that sum to 1) or ``{layer: weight}``.
        style_layers: the first of each block; likewise.
        alpha, beta, tv: weights of content (1), style (25) and total variation (5).
        tv_power: 1; see `total_variation`.
        start: ``"photo"`` (default), ``"noise"``, ``"painting"``, ``"grey"``, or an image of the photo's shape.
        warm_start: walk from coarse to fine, which finds large shapes early; a network as wide as the papers' VGGs lets
            the compact one go first. On by default, unless a recipe is followed.
        steps: 100; at most so many, not counting those of the warm start.
        seed: 0; of the noise.
        options: further ones are those of `optimize_image`.

    Raises:
        ImageError: for what is no image.
        TypeError: for an option that does not exist.
        ValueError: for an unknown recipe, layer, start or option's value, a convention that the network does not have,
            or an image too small for the deepest layer.
    """
    return plan_transfer(backbone, photo, painting, recipe=recipe, convention=convention, **options).run()


def apply_style_transfer(
    content_path: ImageSource,
    style_path: ImageSource,
    *,
    size: int = 256,
    painting_size: int | None = None,
    backbone: str | os.PathLike[str] | None = None,
    recipe: str | Recipe | None = None,
    convention: str | None = None,
    **options: Unpack[TransferOptions],
) -> tuple[Tensor, Tensor, Tensor]:
    """The whole job: load two images of any kind, transfer, and return all three.

    Args:
        content_path: the photo; anything that `load_image` takes.
        style_path: the painting.
        size: the photo's longer side, in pixels.
        painting_size: the painting's longer side; by default the photo's.
        backbone: a network's name or path, see `load_backbone`.
        recipe: a published recipe by name.
        convention: ``"torchvision"`` or ``"caffe"``, of a weights file; see `load_backbone`.
        options: and all others, see `style_transfer`.

    Returns:
        ``(content_image, style_image, target_image)``, each ``(1, 3, H, W)`` in [0, 1].

    Raises:
        ImageError: for an image that cannot be used.
        WeightsError: for weights that cannot be had.
    """
    check_options(options, TransferOptions)
    photo = load_image(content_path, size)
    painting = load_image(style_path, size if painting_size is None else painting_size)
    result = style_transfer(backbone, photo, painting, recipe=recipe, convention=convention, **options)
    return photo, painting, result.image
