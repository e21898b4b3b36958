"""The command line: ``nst-lessons lab | transfer | doctor | fetch``.

An error is one line on stderr. The exit code tells how it went:

====  ==============================================================================================
0     done
1     not as asked, but the best image is kept: the loss was no longer a number, or OUT could not be
      written and the image lies in another folder, which is named
2     nothing done, because of the arguments, an input or the machine; nothing is overwritten
130   interrupted; what ``transfer`` had by then is kept
====  ==============================================================================================
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from nst_lessons import PAINTINGS, PHOTOS, ImageError, __version__
from nst_lessons.estimate import duration, run_seconds
from nst_lessons.files import whole_file
from nst_lessons.images import SUFFIXES, load_image, save_image
from nst_lessons.optimize import OPTIMIZERS, optimize_image
from nst_lessons.published import PUBLISHED, find_recipe, recipe_network
from nst_lessons.recipes import PAINTING_SCALE, STARTS, apply_style_transfer, style_transfer
from nst_lessons.samples import sample
from nst_lessons.weight_files import (
    DOWNLOAD_MEGABYTES,
    DOWNLOADS,
    WeightsError,
    cached_weights,
    check_hash,
    default_backbone,
    default_device,
    fetch_weights,
    load_backbone,
    sha256,
    weights_file,
)

PACKAGED_LESSONS = Path(__file__).parent / "notebooks"  # in an installed wheel
CLONED_LESSONS = Path(__file__).parents[1] / "notebooks"  # in a clone
LESSONS_FOLDER = "nst_lessons_notebooks"

# A later function's defaults win: style_transfer decides about the steps, optimize_image about the optimizer.
DEFAULTS = {
    name: parameter.default
    for function in (optimize_image, style_transfer, apply_style_transfer)
    for name, parameter in inspect.signature(function).parameters.items()
}
STANDARD_PHOTO = "chelsea"
SOURCES = f"a path, a web address, or a sample: {', '.join(PHOTOS + PAINTINGS)}"
SIZE_HELP = "longer side of the photo, in pixels"
PAINTING_SIZE_HELP = "longer side of the painting: the larger, the broader the brush strokes (default: twice --size)"
RECIPE_HELP = "a published recipe in place of the defaults below, on its own network if that is at hand"
BACKBONE_HELP = f"compact, {', '.join(DOWNLOADS)}, or the path of a checkpoint"

CHECKPOINT_HELP = "a file that is kept up to date during the run: the same command goes on from it, also after a crash"


def layer_names(text: str) -> tuple[str, ...]:
    """``"relu3_2,relu4_2"`` as a tuple."""
    return tuple(text.split(","))


class Given(argparse.Action):
    """Store an option, and remember that it was given: a recipe takes the place of defaults only."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, values)
        namespace.given = {*namespace.given, self.dest}


TRANSFER_OPTIONS: dict[str, tuple[Callable[[str], Any], str]] = {
    "steps": (int, "at most so many steps"),
    "alpha": (float, "weight of the content"),
    "beta": (float, "weight of the style"),
    "tv": (float, "weight of the total variation, which smooths"),
    "content_layers": (layer_names, "where the content is compared; names with commas between them"),
    "style_layers": (layer_names, "where the style is compared; names with commas between them"),
    "start": (str, f"the image to begin with: {', '.join(STARTS)}"),
    "optimizer": (str, f"who takes the steps: {', '.join(OPTIMIZERS)}"),
    "seed": (int, "of the noise to begin with"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1, 2 or 130, see above."""
    parser = command_line()
    args, further = parser.parse_known_args(argv)
    if further and args.command is not lab:
        parser.error(f"unrecognized arguments: {' '.join(further)}")
    args.further = [argument for argument in further if argument != "--"]
    try:
        return args.command(args)
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
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "lab",
        help="open the lessons in JupyterLab",
        usage="nst-lessons lab [DIR] [JupyterLab's options ...]",
        description="Open the lessons in JupyterLab. In a clone they are opened where they are; with DIR, or without "
        f"a clone, they are first copied into DIR (default: {LESSONS_FOLDER}), where a file that is already there is "
        "never overwritten. All further arguments, such as --no-browser --port 9000, go to JupyterLab.",
    )
    command.set_defaults(command=lab)

    command = commands.add_parser(
        "transfer",
        help="a photo in a painting's style",
        description=f"Paint PHOTO in the style of PAINTING. Each is {SOURCES}. Beside OUT, OUT.json records the "
        "settings, versions and losses. Ctrl-C ends the run early and keeps the best image so far.",
        epilog="Exit codes: 0 done; 1 not as asked, but the best image is kept (the loss was no longer a number, or "
        "OUT could not be written and the image lies in another folder, which is named); 2 nothing done, because of "
        "the arguments, an input or the machine; 130 interrupted, with the best image so far in OUT.",
    )
    command.set_defaults(command=transfer, given=set())
    command.add_argument("photo", metavar="PHOTO")
    command.add_argument("painting", metavar="PAINTING")
    command.add_argument("-o", "--out", metavar="OUT", type=Path, required=True, help=f"{', '.join(SUFFIXES)}")
    command.add_argument("--size", type=int, default=DEFAULTS["size"], help=f"{SIZE_HELP} (default: %(default)s)")
    command.add_argument("--painting-size", type=int, metavar="SIZE", help=PAINTING_SIZE_HELP)
    command.add_argument("--recipe", choices=tuple(PUBLISHED), help=RECIPE_HELP)
    command.add_argument(
        "--backbone", action=Given, default=default_backbone(), help=f"{BACKBONE_HELP} (default: %(default)s)"
    )
    for name, (kind, help_text) in TRANSFER_OPTIONS.items():
        default = DEFAULTS[name]
        shown = default if isinstance(default, str | int | float) else ",".join(default)
        flag, value = f"--{name.replace('_', '-')}", name.split("_")[-1].upper()
        text = f"{help_text} (default: {shown})"
        command.add_argument(flag, type=kind, action=Given, default=default, metavar=value, help=text)

    command.add_argument("--checkpoint", metavar="PATH", type=Path, help=CHECKPOINT_HELP)

    command = commands.add_parser("doctor", help="what this machine has, and how fast it is")
    command.set_defaults(command=doctor)

    command = commands.add_parser("fetch", help="download a VGG's weights, once, and verify them")
    command.set_defaults(command=fetch)
    command.add_argument("network", choices=tuple(DOWNLOADS))
    return parser


def lab(args: argparse.Namespace) -> int:
    """Open the lessons in JupyterLab."""
    if find_spec("jupyterlab") is None:
        raise ValueError('JupyterLab is missing; pip install "nst-lessons[lab]" installs it')
    lessons = PACKAGED_LESSONS if PACKAGED_LESSONS.is_dir() else CLONED_LESSONS
    folder, options = lessons, args.further
    if options and not options[0].startswith("-"):
        folder, options = Path(options[0]), options[1:]
    elif lessons == PACKAGED_LESSONS:
        folder = Path(LESSONS_FOLDER)
    if folder.resolve() != lessons.resolve():
        copy_lessons(lessons, folder)
    if hasattr(os, "geteuid") and os.geteuid() == 0 and "--allow-root" not in options:
        options = ["--allow-root", *options]  # in a container one is root
    return run_jupyterlab([str(folder), *options])


def run_jupyterlab(arguments: Sequence[str]) -> int:
    """Run JupyterLab in this process, so that Ctrl-C means what it always means there."""
    from jupyterlab.labapp import main as jupyterlab

    return jupyterlab(arguments) or 0


def copy_lessons(lessons: Path, folder: Path) -> None:
    """Copy what is not there yet, and say what was copied and what was kept."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in lessons.glob("[!.]*") if path.is_file())
    kept = [name for name in names if (folder / name).exists()]
    copied = [name for name in names if name not in kept]
    for name in copied:
        with whole_file(folder / name) as copy:
            copy.write_bytes((lessons / name).read_bytes())
    if copied:
        print(f"copied to {folder}: {', '.join(copied)}", flush=True)
    if kept:
        print(f"kept as they are in {folder}: {', '.join(kept)} (rename one to get a fresh copy)", flush=True)


def transfer(args: argparse.Namespace) -> int:
    """Paint a photo in a painting's style; writes the image and its record."""
    check_out(args.out, inputs=(args.photo, args.painting))
    if args.checkpoint:
        check_place(args.checkpoint, inputs=(args.photo, args.painting, args.out))
    painting_size = args.painting_size or PAINTING_SCALE * args.size
    photo, painting = open_image(args.photo, args.size), open_image(args.painting, painting_size)
    options = {name: getattr(args, name) for name in TRANSFER_OPTIONS if args.recipe is None or name in args.given}
    steps, pooling = args.steps, "avg"
    if args.recipe:
        recipe = find_recipe(args.recipe)
        steps, pooling = options.get("steps", recipe.steps), recipe.pooling
        args.backbone = args.backbone if "backbone" in args.given else recipe_network(recipe)
        options["recipe"] = args.recipe
    backbone = load_backbone(args.backbone, pooling=pooling)
    print(
        f"{photo.shape[3]} x {photo.shape[2]} pixels, {args.backbone} on {backbone.device}, {steps} steps; "
        "Ctrl-C keeps the best image so far",
        flush=True,
    )
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: tqdm.write(f"nst-lessons: {message}", file=sys.stderr)
        result = style_transfer(backbone, photo, painting, checkpoint=args.checkpoint, **options)
    record = {
        "photo": args.photo,
        "painting": args.painting,
        "size": args.size,
        "painting_size": painting_size,
        "backbone": args.backbone,
        "weights_sha256": sha256(weights_file(args.backbone)),
        **options,
        "device": str(backbone.device),
        "versions": {
            "python": platform.python_version(),
            "torch": version("torch"),
            "torchvision": version("torchvision"),
            "nst-lessons": __version__,
        },
        "losses": {name: loss if math.isfinite(loss) else None for name, loss in result.losses.items()},
        "steps_taken": len(result.history.losses),
        "seconds": round(result.history.seconds, 3),
        "stopped": result.stopped,
    }
    out = keep(result.image, record, args.out)
    terms = " + ".join(f"{loss:.4g} {name}" for name, loss in result.losses.items())
    print(f"stopped after {result.history.seconds:.1f} s: {result.stopped}")
    print(f"loss {sum(result.losses.values()):.4g} = {terms}")
    print(f"wrote {out} and {record_path(out).name}")
    if result.interrupted:
        if args.checkpoint:
            print(f"the same command goes on from {args.checkpoint}")
        return 130
    return 0 if out == args.out and "finite" not in result.stopped else 1


def record_path(out: Path) -> Path:
    """Where an image's record lies: beside it."""
    return out.with_name(f"{out.name}.json")


def keep(image: Tensor, record: dict[str, Any], out: Path) -> Path:
    """Write an image and its record; where that fails, in a new folder, here or among the temporary ones.

    Returns:
        The image's path.

    Raises:
        ImageError, OSError: when no place is left.
    """

    def write(out: Path) -> Path:
        save_image(image, out)
        with whole_file(record_path(out)) as file:
            file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return out

    try:
        return write(out)
    except (ImageError, OSError) as error:
        for parent in (".", None):
            with suppress(ImageError, OSError):
                folder = Path(tempfile.mkdtemp(prefix="nst-lessons-", dir=parent)).resolve()
                try:
                    kept = write(folder / out.name)
                except (ImageError, OSError):
                    shutil.rmtree(folder)
                    raise
                print(f"nst-lessons: {error}; the image is kept in {folder}", file=sys.stderr)
                return kept
        raise


def check_out(out: Path, inputs: Sequence[str]) -> None:
    """Refuse what could not be written, or what would overwrite another file of this run, before any work is done.

    Raises:
        ValueError: saying what would do.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise ImageError(f"cannot write {out.name!r}; a name that ends in {', '.join(SUFFIXES)} would do")
    check_place(out, inputs)


def check_place(path: Path, inputs: Sequence[str | Path]) -> None:
    """Refuse a path where no file could be written, or which would overwrite another one of this run.

    Raises:
        ValueError: saying what would do.
    """
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent}; make it first, or choose another")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path} cannot be written; another name or folder would do")
    if path.resolve() in [Path(source).resolve() for source in inputs]:
        raise ValueError(f"{path} would overwrite another file of this run; another name would do")


def open_image(source: str, size: int) -> Tensor:
    """Load a sample by name, or an image from a path or web address, ``(1, 3, H, W)``."""
    return load_image(sample(source, size) if source in PHOTOS + PAINTINGS else source, size)


def doctor(args: argparse.Namespace) -> int:
    """Print what this machine has, and what a standard run takes."""

    def tell(subject: str, finding: object) -> None:
        print(f"{subject:<14}{finding}", flush=True)

    tell("nst-lessons", f"{__version__} in {Path(__file__).parent}")
    tell("python", f"{platform.python_version()} on {platform.platform()}")
    for name in ("torch", "torchvision", "numpy", "ipywidgets", "jupyterlab", "nbval"):
        tell(name, installed(name))
    tell("device", device := default_device())
    tell("threads", f"{torch.get_num_threads()} of {os.cpu_count()} processor cores")
    tell("bfloat16", bfloat16_hardware(device))
    for name in DOWNLOADS:
        tell(name, cache_state(name))
    tell("compact", f"SHA-256 {sha256(weights_file('compact'))}")
    size, steps = DEFAULTS["size"], DEFAULTS["steps"]
    photo, layers = open_image(STANDARD_PHOTO, size), [*DEFAULTS["content_layers"], *DEFAULTS["style_layers"]]
    seconds = run_seconds(load_backbone("compact"), photo, layers, steps)
    basis = f"compact, {size} pixels, {steps} steps; extrapolated from a smaller image"
    tell("standard run", f"a transfer takes about {duration(seconds)} ({basis})")
    return 0


def installed(name: str) -> str:
    """A distribution's version, or that it is missing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return 'missing; pip install "nst-lessons[lab,test]" brings it'


def bfloat16_hardware(device: torch.device) -> str:
    """Whether the device has instructions for bfloat16, and how that was found out."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"{'yes' if major >= 8 else 'no'} (CUDA compute capability {major}.{minor}; 8.0 brought it)"
    cpuinfo = Path("/proc/cpuinfo")
    if hasattr(torch.cpu, "get_capabilities"):
        flags = {flag for flag, present in torch.cpu.get_capabilities().items() if present}
        source = "torch.cpu.get_capabilities"
    elif cpuinfo.exists():
        flags, source = set(cpuinfo.read_text().split()), str(cpuinfo)
    else:
        return "unknown (neither this torch nor this system tells)"
    found = sorted(flags & {"amx_bf16", "avx512_bf16", "bf16"})
    return f"{'yes: ' + ', '.join(found) if found else 'no'} (processor, from {source})"


def cache_state(name: str) -> str:
    """Whether torch's cache has a network's weights, and whether they are whole."""
    path = cached_weights(name)
    if not path.exists():
        return f"not cached; `nst-lessons fetch {name}` downloads about {DOWNLOAD_MEGABYTES} MB"
    try:
        check_hash(path)
    except WeightsError as error:
        return str(error)
    return f"cached and whole: {path}"


def fetch(args: argparse.Namespace) -> int:
    """Download a VGG's weights unless they are there, and verify their hash."""
    fetch_weights(args.network)
    path = cached_weights(args.network)
    check_hash(path)
    print(f"{args.network}: {path.stat().st_size / 1e6:.0f} MB, SHA-256 as it should be: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
