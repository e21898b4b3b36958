"""The published rows, value by value, in each source's own numbers and units; and apart from them what was chosen here.

`SAID` has what a write-up says, shows in its code, or leaves as its network has it. `CHOSEN` has what it leaves open or
what this package does otherwise: taken from the program that a comment names, or decided here. Every value of a row
stands in one of the two, so a changed number fails, and so does a new field.
"""

import dataclasses

import pytest

from nst_lessons import PUBLISHED, Recipe

BY_WORDS = {"source", "note"}  # fields without a value that a run depends on
ABSENT = {"tv": 0.0, "tv_power": 1.0, "learning_rate": None, "stop_below": None}  # no such term, no such rule

PAPER_LAYERS = {"relu1_1": 1 / 5, "relu2_1": 1 / 5, "relu3_1": 1 / 5, "relu4_1": 1 / 5, "relu5_1": 1 / 5}

SAID = {
    # gsurma/style_transfer, style-transfer.ipynb
    "surma": {
        "network": "vgg16",
        "content_layers": {"block2_conv2": 1.0},
        "style_layers": {  # 4.5 by the number of layers
            "block1_conv2": 1 / 5,
            "block2_conv2": 1 / 5,
            "block3_conv3": 1 / 5,
            "block4_conv3": 1 / 5,
            "block5_conv3": 1 / 5,
        },
        "alpha": 0.02,
        "beta": 4.5,
        "tv": 0.995,
        "tv_power": 1.25,
        "normalisation": "keras",  # sums; 4 * 3^2 * (500 * 500)^2 at every layer
        "scale": "caffe",  # 0 to 255 minus the mean
        "pooling": "max",  # as Keras' VGG16 has it
        "optimizer": "scipy",  # fmin_l_bfgs_b
        "steps": 10 * 20,  # iterations, with maxfun=20
        "learning_rate": None,
        "stop_below": None,
        "same_shape": True,  # both 500 x 500; here as the photo is
    },
    # AkankshaShrimal/Style-Transfer, its README; alpha, beta and steps stand in a picture of it
    "shrimal": {
        "network": "vgg19",
        "content_layers": {"conv4_2": 1.0},
        "alpha": 1.0,
        "beta": 1e4,
        "start": "photo",
        "steps": 5000,
        "tv": 0.0,
        "tv_power": 1.0,
        "stop_below": None,
    },
    # From Bits to Brains
    "bits_to_brains": {
        "network": "vgg19",
        "start": "noise",
        "steps": 1000,  # at most
        **{name: ABSENT[name] for name in ("tv", "tv_power", "learning_rate")},
    },
    # Hannover: two terms, a VGG, a random start
    "hannover": {"start": "noise", **ABSENT},
    # Katariya's post and yashk2810/Neural-Style-Transfer
    "keras_prisma": {
        "network": "vgg16",
        "content_layers": {"block2_conv2": 1.0},
        "style_layers": {
            "block1_conv2": 0.05,
            "block2_conv2": 0.2,
            "block3_conv3": 0.2,
            "block4_conv3": 0.25,
            "block5_conv3": 0.3,
        },
        "alpha": 1 / 10,
        "beta": 1.0,
        "normalisation": "johnson",  # means; Gram matrix by the number of the layer's values
        "scale": "caffe",
        "pooling": "max",  # as Keras' VGG16 has it
        "start": "grey",  # uniform from -2.5 to 2.5 of 255 around the mean; here normal, as wide
        "optimizer": "scipy",  # fmin_l_bfgs_b
        "steps": 10 * 20,  # iterations, with maxfun=20
        "same_shape": True,
        **ABSENT,
    },
    # Gatys, Ecker and Bethge (2016)
    "gatys2016": {
        "network": "vgg19",
        "content_layers": {
            "relu4_2": 1.0
        },  # "conv4_2", and so all layers; in the authors' code they are after the ReLU
        "style_layers": PAPER_LAYERS,  # w_l = 1/5
        "alpha": 1e-3,  # alpha/beta of figure 3, B
        "beta": 1.0,
        "normalisation": "paper",  # equations 1 and 4
        "pooling": "avg",  # section 2
        "start": "noise",
        "same_shape": True,  # section 2.3: the style image is resized to the content image's size
        **ABSENT,
    },
}
SAID["keras_prisma_2"] = SAID["keras_prisma"] | {
    "content_layers": {"block4_conv2": 1.0},
    "style_layers": {
        "block1_conv2": 0.05,
        "block2_conv2": 0.15,
        "block3_conv3": 0.2,
        "block4_conv3": 0.3,
        "block5_conv3": 0.3,
    },
    "alpha": 1 / 5,  # "1/5th of the original content"
}

CHOSEN = {
    "surma": {"start": "noise"},  # the notebook's is uniform, from 0 to 255 minus 128
    # Udacity's course, deep-learning-v2-pytorch/style-transfer, which the README refers to
    "shrimal": {
        # That layers have weights, and these layers, is said.
        "style_layers": {"conv1_1": 1.0, "conv2_1": 0.75, "conv3_1": 0.2, "conv4_1": 0.2, "conv5_1": 0.2},
        "normalisation": "udacity",
        "scale": "torchvision",  # divided by the standard deviation
        "pooling": "max",  # as torchvision's VGG19 has it
        "optimizer": "adam",
        # 0.003 of pixels divided by their standard deviation, which is this on average.
        "learning_rate": pytest.approx(0.003 * (0.229 + 0.224 + 0.225) / 3, rel=1e-12),
        "same_shape": True,
    },
    "bits_to_brains": {
        "content_layers": {"relu4_2": 1.0},  # the paper's, as pooling and style layers
        "style_layers": PAPER_LAYERS,
        "pooling": "avg",
        "same_shape": True,
        "optimizer": "lbfgs",
        "alpha": 1.0,
        "beta": 5.0,
        "normalisation": "relative",
        "scale": "torchvision",
        "stop_below": 1.0,  # that it stops below a threshold is said
    },
    # jcjohnson/neural-style, neural_style.lua
    "hannover": {
        "network": "vgg19",
        "content_layers": {"relu4_2": 1.0},
        "alpha": 5.0,
        "beta": 100.0,
        "normalisation": "johnson",
        "scale": "caffe",
        "pooling": "max",
        "optimizer": "lbfgs",
        "steps": 1000,
        "style_layers": {f"relu{block}_1": 1.0 for block in range(1, 6)},  # style_weight counts in full at each layer
        "same_shape": True,  # otherwise in neural-style: a painting keeps its own
    },
    "keras_prisma": {},
    "keras_prisma_2": {},
    "gatys2016": {
        "scale": "caffe",  # the authors' code; the paper's network is normalised
        "steps": 500,  # the authors' code
        "optimizer": "scipy",  # L-BFGS is said, and not whose
    },
}


def test_every_row_is_pinned():
    assert PUBLISHED.keys() == SAID.keys() == CHOSEN.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_value_is_the_sources_or_one_that_was_chosen(name):
    row = {field.name: getattr(PUBLISHED[name], field.name) for field in dataclasses.fields(Recipe)}
    assert not SAID[name].keys() & CHOSEN[name].keys()
    assert {field: value for field, value in row.items() if field not in BY_WORDS} == SAID[name] | CHOSEN[name]
    assert all(row[field] for field in BY_WORDS)
