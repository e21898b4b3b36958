"""Neural style transfer, lesson by lesson.

The house, from the ground up (a module imports only those above it):

    files         whole_file: written whole or not at all
    samples       the bundled photos, and the paintings that tools/paint.py painted
    images        files, URLs, bytes, PIL <-> tensors (1, 3, H, W) in [0, 1]; preprocess and deprocess
    network       Backbone: backbone(image, layers) -> {layer: features}
    weight_files  load_backbone("compact" | "vgg16" | "vgg19" | path): reading, downloading, hashes
    losses        gram_matrix, content_loss, style_loss, total_variation; the published normalisations
    optimize      optimize_image, the rules that stop it, and checkpoints
    published     the published recipes by name, and their weights in our units
    estimate      the seconds and the memory of a run, told before it begins
    recipes       reconstruct_content, reconstruct_style, style_transfer, apply_style_transfer
    visualize     activation grids, strongest channels, receptive fields, activation maximisation
    plots         figures with captions and alt text
    widgets       the explorers of the lessons
    __main__      nst-lessons: lab, transfer, doctor, fetch
"""

from nst_lessons.images import (
    ImageError,
    deprocess,
    load_image,
    match_shapes,
    noise_like,
    preprocess,
    resize,
    save_image,
    to_pil,
)
from nst_lessons.losses import content_loss, gram_matrix, mean_and_deviation, style_loss, total_variation
from nst_lessons.network import Backbone
from nst_lessons.normalisations import NORMALISATIONS, convert_weights
from nst_lessons.optimize import (
    CheckpointError,
    History,
    Result,
    Step,
    improvement_below,
    loss_below,
    optimize_image,
    out_of_time,
)
from nst_lessons.published import PUBLISHED, Recipe, recipe_table
from nst_lessons.recipes import apply_style_transfer, reconstruct_content, reconstruct_style, style_transfer
from nst_lessons.samples import PAINTINGS, PHOTOS, sample
from nst_lessons.weight_files import WeightsError, load_backbone

__version__ = "0.1.0"

__all__ = [
    "NORMALISATIONS",
    "PAINTINGS",
    "PHOTOS",
    "PUBLISHED",
    "Backbone",
    "CheckpointError",
    "History",
    "ImageError",
    "Recipe",
    "Result",
    "Step",
    "WeightsError",
    "apply_style_transfer",
    "content_loss",
    "convert_weights",
    "deprocess",
    "gram_matrix",
    "improvement_below",
    "load_backbone",
    "load_image",
    "loss_below",
    "match_shapes",
    "mean_and_deviation",
    "noise_like",
    "optimize_image",
    "out_of_time",
    "preprocess",
    "recipe_table",
    "reconstruct_content",
    "reconstruct_style",
    "resize",
    "sample",
    "save_image",
    "style_loss",
    "style_transfer",
    "to_pil",
    "total_variation",
]
