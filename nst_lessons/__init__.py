"""Neural style transfer, lesson by lesson.

The house, from the ground up (a module imports only those above it):

    files           whole_file: written whole or not at all; check_writable
    checks          of numbers, names and functions: what came, what would be accepted
    console         an output that may fail
    memory          what is free for a run; keep_freed_memory
    samples         the bundled photos and paintings, and what the full network made of them
    images          tensors (1, 3, H, W) in [0, 1], and the check of that; preprocess and deprocess; resize
    image_files     files, URLs, bytes, PIL <-> image tensors
    gram_gradient   a faster gradient of the Gram matrix
    losses          gram_matrix, content_loss, style_loss, total_variation, transfer_loss: start reading here
    scaled_gradient float16 for GPUs that cannot multiply bfloat16
    network         Backbone: backbone(image, layers) -> {layer: features}
    weight_files    load_backbone("compact" | "vgg16" | "vgg19" | path): reading, downloading, hashes
    stages          Stage: a part of a run
    styles          Style; the targets of one painting or several
    history         Step, History, Result, Ending; stop rules; sweep
    coordinates     PIXELS, FOURIER: how an image is made from the parameters that an optimiser walks over
    optimizers      L-BFGS, Adam and SciPy's L-BFGS-B as walks over parameters
    run_file        the checkpoint, from which a killed run goes on
    estimate        the seconds and the memory of stages
    options         what a user may ask of any run, and the check of it
    optimize        run_stages, and optimize_image, a run of one stage
    normalisations  what published implementations divide by
    published       the published recipes, row by row
    conversion      their weights in this package's units
    reconstruct     reconstruct_content, reconstruct_style
    transfer        style_transfer, apply_style_transfer
    visualize       strongest and most selective channels, receptive fields, activation maximisation
    figures         the paper, panels and words of every plot
    plots           figures with captions and alt text
    questions       a bank of questions with answers, as data
    widgets         the explorers, predictions and quick checks of the lessons
    exercises       checks of what students write, lesson by lesson
    record          what a transfer writes: the picture, and how it was made
    editions        a lesson's source as students, teachers and graders get it
    publish         badges, links and install source of a teacher's own copy on GitHub
    lab             the lessons in JupyterLab
    doctor          what this machine has, and how fast it is
    __main__        nst-lessons: lab, transfer, assignment, publish, doctor, fetch
"""

import os

# GNU's OpenMP, with which torch computes on Linux, reads this when torch is loaded: how long its threads wait at work
# before they sleep. By default so long that two notebooks that compute on the same two cores slow each other down
# sixtyfold. Like this one alone is 6 % slower, and two have half its speed each.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from nst_lessons.coordinates import FOURIER, PIXELS, Coordinates
from nst_lessons.history import (
    Ending,
    History,
    Result,
    Step,
    improvement_below,
    loss_below,
    out_of_steps,
    out_of_time,
    sweep,
)
from nst_lessons.image_files import load_alpha, load_image, save_image, to_pil
from nst_lessons.images import ImageError, deprocess, match_shapes, noise_like, preprocess, resize
from nst_lessons.losses import content_loss, gram_matrix, mean_and_deviation, style_loss, total_variation, transfer_loss
from nst_lessons.memory import keep_freed_memory
from nst_lessons.network import Backbone
from nst_lessons.normalisations import NORMALISATIONS, convert_weights
from nst_lessons.optimize import optimize_image, run_stages
from nst_lessons.published import PUBLISHED, Recipe, recipe_table
from nst_lessons.reconstruct import reconstruct_content, reconstruct_style
from nst_lessons.run_file import CheckpointError
from nst_lessons.samples import PAINTINGS, PHOTOS, full_network_picture, sample
from nst_lessons.stages import Stage
from nst_lessons.styles import Style
from nst_lessons.transfer import apply_style_transfer, style_transfer
from nst_lessons.visualize import selective_channels
from nst_lessons.weight_files import WeightsError, load_backbone

__version__ = "0.1.0"
