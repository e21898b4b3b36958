"""Numbers that are data and not derived: each by hand, beside where it comes from, so that a changed digit fails.

The published recipes' numbers are in test_published_rows.
"""

import re
from inspect import signature
from pathlib import Path

import pytest
import torch
from torchvision.models.vgg import cfgs

from nst_lessons import __main__ as command_line
from nst_lessons import (
    estimate,
    image_files,
    images,
    losses,
    memory,
    optimizers,
    reconstruct,
    run_file,
    transfer,
    weight_files,
)
from nst_lessons.__main__ import EXIT_CODES, main
from nst_lessons.conversion import BLOCK_CHANNELS, SCALES
from nst_lessons.coordinates import COLOURS, PIXELS
from nst_lessons.history import Step
from nst_lessons.images import ImageError, check_pixels
from nst_lessons.normalisations import NORMALISATIONS, LayerSize
from nst_lessons.optimize import optimize_image
from nst_lessons.transfer import TRANSFER_DEFAULTS, plan_transfer

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


# published


def test_the_means_are_imagenets():
    """torchvision's documentation of its weights; and the VGG authors' page on their Caffe models."""
    assert images.MEAN == (0.485, 0.456, 0.406)
    assert images.STD == (0.229, 0.224, 0.225)
    assert images.CAFFE_MEAN == (103.939, 116.779, 123.68)


def test_the_scales_are_the_pixels():
    caffe, torchvision = SCALES["caffe"], SCALES["torchvision"]
    assert (caffe, torchvision) == (pytest.approx(255 * (0.229 + 0.224 + 0.225) / 3), 1.0)
    assert SCALES.keys() == set(images.CONVENTIONS) == {"caffe", "torchvision"}


@pytest.mark.parametrize("configuration", ["D", "E"])
def test_the_channels_are_vgg16s_and_vgg19s(configuration):
    """By torchvision's own table, in which an "M" ends a block."""
    blocks = " ".join(map(str, cfgs[configuration])).split("M")
    assert [set(block.split()) for block in blocks] == [{str(width)} for width in BLOCK_CHANNELS] + [set()]
    assert BLOCK_CHANNELS == (64, 128, 256, 512, 512)


def test_the_colours_are_lucids():
    """lucid/optvis/param/color.py, color_correlation_svd_sqrt."""
    assert COLOURS == ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


@pytest.mark.parametrize(
    ("name", "content", "style"),
    [
        ("relative", 1 / 13, 1 / 13),
        ("paper", 1 / 2, 1 / (4 * 7**2 * 5**2)),
        ("authors", 1 / (7 * 5), 1 / (7**2 * 5**2)),
        ("johnson", 1 / (7 * 5), 1 / (7**4 * 5**2)),
        ("gordic", 1 / (7 * 5), 1 / (7**2 * 5**2)),
        ("udacity", 1 / (7 * 5), 1 / (7**3 * 5)),
        ("keras", 1.0, 1 / (4 * 9 * 11**2)),
    ],
)
def test_the_factors_are_the_publications(name, content, style):
    size = LayerSize(channels=7, positions=5, pixels=11, energy=13.0)
    assert NORMALISATIONS[name].content(size) == pytest.approx(content, rel=1e-12)
    assert NORMALISATIONS[name].style(size) == pytest.approx(style, rel=1e-12)


def test_every_normalisation_has_its_factors_here():
    (parameters,) = (mark.args[1] for mark in test_the_factors_are_the_publications.pytestmark)
    assert [name for name, _, _ in parameters] == list(NORMALISATIONS)


# chosen here


def test_the_weights_are_those_of_the_lessons():
    assert (losses.ALPHA, losses.BETA, losses.TV) == (1.0, 25.0, 5.0)
    defaults = signature(losses.transfer_loss).parameters
    assert [defaults[name].default for name in ("alpha", "beta", "tv", "tv_power")] == [1.0, 25.0, 5.0, 1.0]
    assert signature(losses.total_variation).parameters["power"].default == 1.0


def test_the_defaults_of_a_transfer():
    assert TRANSFER_DEFAULTS == {
        "content_layers": ("relu4_2",),
        "style_layers": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
        "alpha": 1.0,
        "beta": 25.0,
        "tv": 5.0,
        "tv_power": 1.0,
        "start": "photo",
        "warm_start": True,
        "steps": 100,
        "seed": 0,
        "optimizer": "lbfgs",
        "learning_rate": None,
        "coordinates": PIXELS,
        "stop": (),
        "snapshots": (),
        "callback": None,
        "progress": True,
        "checkpoint": None,
        "checkpoint_every": 30.0,
    }
    assert command_line.SIZE == 256


def test_a_run_begins_small():
    assert (transfer.WARM_STEPS, transfer.WARM_SIZE, transfer.FULL_SIZE_CHANNELS) == (80, 192, 512)
    assert f"A run begins small, from {2 * transfer.WARM_SIZE} pixels on" in README


def test_the_grey_start_is_as_faint_as_katariyas():
    """Uniform from -2.5 to 2.5 of 255 levels has a standard deviation of 5 / sqrt(12); noise_like's is 0.15."""
    assert reconstruct.GREY_NOISE == 0.04
    levels = 255 * 0.15 * reconstruct.GREY_NOISE
    assert levels == pytest.approx(5 / 12**0.5, rel=0.1)


def test_the_optimisers_settings():
    rates = {name: optimizer.learning_rate for name, optimizer in optimizers.OPTIMIZERS.items()}
    assert rates == {"lbfgs": 1.0, "adam": 0.02, "scipy": None}
    assert optimizers.LBFGS_HISTORY == 10


# promised


def test_the_limits_of_an_image():
    assert image_files.MIN_SIDE == 16  # what this means for load_image: test_image_files
    assert images.MAX_PIXELS == 64_000_000
    check_pixels(8000, 8000)
    with pytest.raises(ImageError, match="8000 x 8001 pixels are too many; expected at most 64 million"):
        check_pixels(8001, 8000)
    assert image_files.MAX_BYTES == 100_000_000
    assert image_files.DOWNLOAD_SECONDS == 30.0
    assert image_files.WHITES == {"bool": 1, "uint8": 255, "uint16": 65535, "float16": 1, "float32": 1, "float64": 1}


@pytest.mark.parametrize(
    ("number", "promise"),
    [
        (estimate.LONG_SECONDS, "exceed {:g} seconds"),
        (memory.KEPT / 2**20, "keeps up to {:g} MB of freed memory"),
        (weight_files.DOWNLOAD_MEGABYTES, "about {} MB each"),
    ],
)
def test_the_readme_says_the_number(number, promise):
    assert promise.format(number) in " ".join(README.split())


def test_another_content_of_a_checkpoint_is_another_format(small_image, quadratic, tmp_path):
    """A file of an older version is refused by its number, so raise it with every change of what is in the file."""
    optimize_image(small_image, quadratic, steps=2, checkpoint=tmp_path / "run.pt", progress=False)
    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    assert saved["format"] == run_file.FORMAT == "nst_lessons checkpoint 4"
    content = "start settings stage parameters walk taken standing since best losses stages snapshots seconds"
    assert saved.keys() == {"format", *content.split()}
    assert saved["settings"].keys() == {"optimizer", "learning_rate", "coordinates", "sizes"}
    assert saved["best"].keys() == {"image", "losses", "total", "step"}


def test_the_exit_codes_are_those_of_the_readme_and_each_is_reached(folder, monkeypatch):
    def run(*further: str) -> int:
        return main(["transfer", "chelsea", "mosaic", "-o", "out.png", "--size", "48", "--steps", "2", *further])

    def interrupt(step: Step) -> None:
        raise KeyboardInterrupt

    codes = [run(), run("--beta", "1e39"), run("--start", "nowhere")]
    monkeypatch.setattr(
        command_line, "plan_transfer", lambda *args, **options: plan_transfer(*args, callback=interrupt, **options)
    )
    codes.append(run())
    assert codes == [0, 1, 2, 130]
    assert [*map(int, re.findall(r"^\| (\d+) \|", README, flags=re.MULTILINE))] == codes
    assert [*map(int, re.findall(r"(?:: |; )(\d+) ", EXIT_CODES))] == codes
