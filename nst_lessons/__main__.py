"""The command line: ``nst-lessons lab | transfer | assignment | publish | doctor | fetch``.

An error is one line on stderr. The exit code tells how it went, see `EXIT_CODES`.
"""

from __future__ import annotations

import argparse
import inspect
import math
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast, get_args

from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from nst_lessons import PAINTINGS, PHOTOS, __version__
from nst_lessons.console import forgiving_output
from nst_lessons.doctor import report_machine
from nst_lessons.editions import Grader, write_assignment
from nst_lessons.history import Ending, Result
from nst_lessons.image_files import SUFFIXES, load_alpha, load_image
from nst_lessons.images import CONVENTIONS, resize
from nst_lessons.lab import LESSONS_FOLDER, open_lessons
from nst_lessons.memory import keep_freed_memory
from nst_lessons.optimizers import OPTIMIZERS
from nst_lessons.publish import publish, withdraw
from nst_lessons.published import PUBLISHED, TransferOptions
from nst_lessons.reconstruct import STARTS
from nst_lessons.record import check_outputs, keep, plan_record, record_path, result_record
from nst_lessons.samples import sample
from nst_lessons.styles import Style
from nst_lessons.transfer import TRANSFER_DEFAULTS, apply_style_transfer, plan_transfer
from nst_lessons.weight_files import (
    DOWNLOAD_MEGABYTES,
    DOWNLOADS,
    cached_weights,
    check_hash,
    default_backbone,
    fetch_weights,
)

EXIT_CODES = (
    "Exit codes: 0 done; 1 the best image is kept, but the loss was no longer finite, or OUT could not be written and "
    "the image is in another folder, which is named; 2 nothing done and nothing overwritten, because of the arguments, "
    "an input or the machine; 130 interrupted, with the best image so far in OUT."
)
SAMPLES = PHOTOS + PAINTINGS
SIZE: int = inspect.signature(apply_style_transfer).parameters["size"].default


def finite(text: str) -> float:
    """A number that is neither infinite nor NaN; argparse wants a ValueError for others."""
    if not math.isfinite(number := float(text)):
        raise ValueError
    return number


def layer_names(text: str) -> tuple[str, ...]:
    """``"relu3_2, relu4_2"`` as a tuple."""
    return tuple(name.strip() for name in text.split(","))


TRANSFER_OPTIONS: dict[str, tuple[Callable[[str], object], str]] = {
    "steps": (int, "take at most so many steps"),
    "alpha": (finite, "weight of the content"),
    "beta": (finite, "weight of the style"),
    "tv": (finite, "weight of the total variation, which smooths the image"),
    "content_layers": (layer_names, "layers at which the content is compared, separated by commas"),
    "style_layers": (layer_names, "layers at which the style is compared, separated by commas"),
    "start": (str, f"image to begin with: {', '.join(STARTS)}, or a picture of the photo's proportions"),
    "optimizer": (str, f"method that takes the steps: {', '.join(OPTIMIZERS)}"),
    "seed": (int, "seed of the noise to begin with"),
    "checkpoint": (Path, "file kept up to date during the run: the same command goes on from it, also after a crash"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1, 2 or 130, see `EXIT_CODES`."""
    with forgiving_output(), warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: tqdm.write(f"nst-lessons: {message}", file=sys.stderr)
        return run(argv)


def run(argv: Sequence[str] | None) -> int:
    """`main`, with an output that may fail."""
    parser = command_line()
    args, further = parser.parse_known_args(argv)
    if further and args.command != "lab":
        parser.error(f"unrecognized arguments: {' '.join(further)}")
    try:
        if args.command == "lab":
            return open_lessons([argument for argument in further if argument != "--"])
        if args.command == "fetch":
            return fetch(args.network)
        if args.command == "assignment":
            written = write_assignment(args.folder, args.grader, args.exercises_only)
            print(f"wrote {len(written)} lessons into {args.folder / 'source'}, as {args.grader} wants them")
            return 0
        if args.command == "publish":
            return publish_lessons(args.repo, args.ref)
        memory_kept = keep_freed_memory()
        if args.command == "transfer":
            return transfer(args)
        report_machine(SIZE, memory_kept)
        return 0
    except KeyboardInterrupt:
        print("nst-lessons: interrupted", file=sys.stderr)
        return 130
    except (OSError, ValueError, RuntimeError, MemoryError) as error:  # RuntimeError is also torch's word for no memory
        message = str(error).strip() or type(error).__name__
        print(f"nst-lessons: {message.splitlines()[0]}", file=sys.stderr)
        return 2


def command_line() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser("nst-lessons", description="Neural style transfer, lesson by lesson.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "lab",
        help="open the lessons in JupyterLab",
        usage="nst-lessons lab [DIR] [--solutions] [--copy-only] [JupyterLab's options ...]",
        description="Open the lessons in JupyterLab. In a clone they are opened where they are; with DIR, or without "
        f"a clone, they are first copied into DIR (default: {LESSONS_FOLDER}), where a file that is already there is "
        "never overwritten. With --solutions the solutions are opened, in a folder of their own. With --copy-only "
        "nothing is opened. All further arguments, such as --no-browser --port 9000, go to JupyterLab.",
    )
    command = commands.add_parser(
        "transfer",
        help="paint a photo in a painting's style",
        description="Paint PHOTO in the style of PAINTING. Each is a path, a web address, or a sample: "
        f"{', '.join(SAMPLES)}. Beside OUT, OUT.json records the settings, versions and losses. Ctrl-C ends the run "
        "early and keeps the best image so far.",
        epilog=EXIT_CODES,
    )
    add_transfer_options(command)
    text = "write the lessons as a grader's source tree, with solutions and graded cells"
    command = commands.add_parser("assignment", help=text, description=text)
    command.add_argument("folder", type=Path, metavar="DIR", help="a course's folder, in which source/ is made")
    text = "the program that grades (default: %(default)s)"
    command.add_argument("--for", choices=get_args(Grader), default="nbgrader", dest="grader", help=text)
    text = "leave out the experiments: a hand-in is then graded in seconds"
    command.add_argument("--exercises-only", action="store_true", help=text)
    text = "write Colab's and Binder's badges, links and install source for a copy of this repository on GitHub"
    more = "; in a clone. Without --repo and --ref, take them out again."
    command = commands.add_parser("publish", help=text, description=text + more)
    command.add_argument("--repo", metavar="OWNER/NAME", help="the copy on GitHub")
    command.add_argument("--ref", metavar="TAG", help="the tag that students open")
    text = "show what is installed, what the hardware can do and how long a transfer takes"
    commands.add_parser("doctor", help=text, description=text)
    text = "download a VGG's weights, once, and verify them"
    command = commands.add_parser("fetch", help=text, description=text)
    command.add_argument("network", choices=tuple(DOWNLOADS), help=f"about {DOWNLOAD_MEGABYTES} MB each")
    return parser


def add_transfer_options(command: argparse.ArgumentParser) -> None:
    """The arguments of ``transfer``. Of `TransferOptions`, the namespace has those that were given, and no others."""
    add = command.add_argument
    add("photo", metavar="PHOTO", help="picture that gives the content")
    add("painting", metavar="PAINTING", help="picture that gives the style")
    add("-o", "--out", type=Path, metavar="OUT", required=True, help=f"picture to write: {', '.join(SUFFIXES)}")
    text = "blend in another painting; its weight (default: 1) is relative to the first one's 1; can be repeated"
    add("--and", action="append", default=[], dest="others", metavar="PAINTING[:WEIGHT]", help=text)
    add("--size", type=int, default=SIZE, help="longer side of the photo, in pixels (default: %(default)s)")
    text = "longer side of the paintings: the larger, the broader the brush strokes (default: --size)"
    add("--painting-size", type=int, metavar="SIZE", help=text)
    text = "a published recipe in place of the defaults below, on its own network if that is on this machine"
    add("--recipe", choices=tuple(PUBLISHED), help=text)
    text = "give the picture the photo's transparency, instead of a white ground (PNG and WebP)"
    add("--keep-alpha", action="store_true", help=text)
    networks = ", ".join(("compact", *DOWNLOADS))
    text = f"{networks}, or the path of a weights file (default: the recipe's network, or {default_backbone()})"
    add("--backbone", help=text)
    text = "how images were normalised for the network of a weights file (default: a guess, which is printed if caffe)"
    add("--convention", choices=CONVENTIONS, help=text)
    for name, (kind, text) in TRANSFER_OPTIONS.items():
        default = TRANSFER_DEFAULTS[name]
        if default is not None:
            text += f" (default: {','.join(default) if isinstance(default, tuple) else default})"
        flag, metavar = f"--{name.replace('_', '-')}", name.split("_")[-1].upper()
        add(flag, type=kind, default=argparse.SUPPRESS, metavar=metavar, help=text)


def transfer(args: argparse.Namespace) -> int:
    """Paint a photo in the style of one painting or several; writes the image and its record."""
    given = {name: value for name, value in vars(args).items() if name in TransferOptions.__annotations__}
    options = cast(TransferOptions, given)
    checkpoint = options.get("checkpoint")
    weights = [(args.painting, 1.0), *map(source_and_weight, args.others)]
    sources = [source for source, _ in weights]
    start = options.get("start")
    inputs = [args.photo, *sources, *([start] if isinstance(start, str) and start not in STARTS else [])]
    check_outputs(args.out, checkpoint, inputs, transparent=args.keep_alpha)
    painting_size = args.size if args.painting_size is None else args.painting_size
    photo, alpha = open_photo(args.photo, args.size, args.keep_alpha)
    if isinstance(start, str) and start not in STARTS:
        options["start"] = open_start(start, photo)
    styles = [Style(open_image(source, painting_size), weight) for source, weight in weights]
    plan = plan_transfer(
        args.backbone or None, photo, styles, recipe=args.recipe, convention=args.convention, **options
    )
    if args.painting_size is not None and args.recipe and PUBLISHED[args.recipe].same_shape:
        print(f"{args.recipe} stretches paintings to the photo's shape: --painting-size is their size before that")
    print(
        f"{plan.photo.shape[3]} x {plan.photo.shape[2]} pixels, {plan.network} on {plan.backbone.device}, "
        f"{plan.options.get('steps', TRANSFER_DEFAULTS['steps'])} steps; Ctrl-C keeps the best image so far",
        flush=True,
    )
    record = plan_record(plan, args.photo, sources, args.recipe, start=start)
    result = plan.run()
    out = keep(result.image, record | result_record(result), args.out, alpha)
    terms = " + ".join(f"{loss:.4g} {name}" for name, loss in result.losses.items())
    print(f"stopped after {result.history.seconds:.1f} s: {result.stopped}")
    print(f"loss {sum(result.losses.values()):.4g} = {terms}")
    print(f"wrote {out} and {record_path(out).name}")
    if result.interrupted and checkpoint and Path(checkpoint).exists():
        print(f"the same command goes on from {checkpoint}")
    return exit_code(result, in_place=out == args.out)


def exit_code(result: Result, in_place: bool) -> int:
    """The exit code of a transfer, whose image was, or was not, written where it was asked for."""
    if result.interrupted:
        return 130
    return 0 if in_place and result.ending is not Ending.FAILED else 1


def source_and_weight(text: str) -> tuple[str, float]:
    """``"mosaic:0.5"`` as ``("mosaic", 0.5)``; without a number behind the last colon, all of it and 1.

    Raises:
        ValueError: for a weight that is not positive, or no number though an image stands before the colon.
    """
    source, _, weight = text.rpartition(":")
    if not source or re.fullmatch(r"https?://[^/]*", source):  # no colon, or that of a port
        return text, 1.0
    try:
        number = float(weight)
    except ValueError:
        if source not in SAMPLES and not Path(source).is_file():  # the colon of an address, a drive or a name
            return text, 1.0
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"--and {text}: the weight is {weight!r}; give a positive number, such as {source}:0.5")
    return source, number


def open_image(source: str, size: int) -> Tensor:
    """Load a sample by name, or an image from a path or web address, ``(1, 3, H, W)``."""
    return load_image(sample_or_path(source, size), size)


def open_photo(source: str, size: int, keep_alpha: bool) -> tuple[Tensor, Tensor | None]:
    """Load the photo and, if it is to be kept, its transparency, ``(1, 1, H, W)``."""
    if not keep_alpha:
        return open_image(source, size), None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*laid on white")
        return open_image(source, size), load_alpha(sample_or_path(source, size), size)


def sample_or_path(source: str, size: int) -> Image.Image | str:
    """The sample of this name, else the path or address."""
    return sample(source, size) if source in SAMPLES else source


def open_start(source: str, photo: Tensor) -> Tensor:
    """Load the image to begin with, and give it the photo's size; ValueError for one of other proportions."""
    if source not in SAMPLES and "://" not in source and not Path(source).is_file():
        raise ValueError(f"unknown start {source!r}; choose from {', '.join(STARTS)}, or give a picture")
    height, width = photo.shape[-2:]
    start = open_image(source, max(height, width))
    if max(abs(start.shape[-2] - height), abs(start.shape[-1] - width)) > 0.02 * max(height, width):
        raise ValueError(
            f"--start {source} has the proportions {start.shape[-1]} : {start.shape[-2]}, and the photo "
            f"{width} : {height}; crop one of them, or choose from {', '.join(STARTS)}"
        )
    return resize(start, (height, width))


def publish_lessons(repository: str | None, ref: str | None) -> int:
    """Let the lessons refer to a copy on GitHub, or to none.

    Raises:
        ValueError: if only one of the two is given, and see `publish`.
    """
    if (repository is None) != (ref is None):
        raise ValueError("--repo OWNER/NAME and --ref TAG belong together")
    if repository is None or ref is None:
        print(f"took badges and links out of {len(withdraw())} files")
        return 0
    print(f"wrote badges and links to {repository} at {ref} into {len(publish(repository, ref))} files")
    print(
        f"students can open them after: git commit -am 'Published as {ref}' && git tag {ref} && git push origin {ref}"
    )
    return 0


def fetch(network: str) -> int:
    """Download a VGG's weights unless they are there, and verify their hash."""
    fetch_weights(network)
    path = cached_weights(network)
    check_hash(path)
    print(f"{network}: {path.stat().st_size / 1e6:.0f} MB, SHA-256 verified: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
