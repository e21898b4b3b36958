"""Make the pictures of `nst_lessons/full_network`: ``python tools/full_network.py [--only NAME ...] [OUT_DIR]``.

They are the lessons' experiments, made once with ImageNet's VGG16, which takes longer than a lesson has. Its weights
must be in torch's cache: `nst-lessons fetch vgg16` puts them there, or `tools/imagenet_vgg16.py`.

What is to be made is printed first, with the time that it takes, measured on this machine. A picture is made only if it
is missing or was made with other settings or weights, which `settings.json`, beside the pictures, tells. After an
interrupt the same command goes on where it was, even within a run.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nst_lessons import (
    PUBLISHED,
    Backbone,
    Ending,
    History,
    Result,
    keep_freed_memory,
    load_backbone,
    load_image,
    reconstruct_content,
    reconstruct_style,
    sample,
    style_transfer,
    sweep,
    to_pil,
)
from nst_lessons.console import forgiving_output
from nst_lessons.estimate import duration, run_seconds
from nst_lessons.files import whole_file
from nst_lessons.stages import octave_scales
from nst_lessons.visualize import maximise_activation, selective_channels
from nst_lessons.weight_files import sha256, weights_file

SHIPPED = Path(__file__).parents[1] / "nst_lessons" / "full_network"
QUALITY = 92  # of WebP
HASH_DIGITS = 16
CONTENT_LAYERS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")
CHANNEL_LAYERS = ("conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2")
STYLE_WEIGHTS = {"relu1_1": 0.4, "relu2_1": 0.3, "relu3_1": 0.2, "relu4_1": 0.08, "relu5_1": 0.02}  # as in lesson 4
TRANSFER = {  # as in lesson 5
    "content_layers": ["relu3_1", "relu4_2"],
    "style_layers": {"relu1_1": 0.1, "relu2_1": 0.2, "relu3_1": 0.4, "relu4_1": 0.25, "relu5_1": 0.05},
    "tv": 3.0,
}
RATIOS = {"10": 0.1, "1": 1.0, "1_10": 10.0, "1_100": 100.0, "1_1000": 1000.0}  # alpha / beta: beta
ATLAS_LAYERS = ("relu2_2", "relu3_1", "relu4_2", "relu5_2")
ATLAS_STEPS = (10, 40, 200)
GAP = 4  # pixels between the squares of a sheet
NOT_DONE = ("network", "pooling", "source", "note")  # of a recipe's row: the tool's own network, and words

Settings = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """A sample picture: its name, its longer side in pixels, and what is cut out of it: left, top, right, bottom."""

    sample: str
    size: int
    crop: tuple[int, int, int, int] | None = None

    def load(self) -> Tensor:
        """The picture as an image ``(1, 3, H, W)``."""
        return load_image(sample(self.sample).crop(self.crop), self.size)


@dataclass(frozen=True)
class Job:
    """A picture to be made: a function, the images that it is called with, and its options."""

    function: Callable[..., Result]
    images: dict[str, Source]
    options: Settings
    published: Settings = field(default_factory=dict)  # what a recipe's name stands for
    pooling: str = "avg"
    runs: int = 1

    def settings(self, network: str, digest: str) -> Settings:
        """All that the picture depends on, as JSON has it; `digest` is the SHA-256 of the network's weights file."""
        settings = {
            "function": self.function.__name__,
            "network": network,
            "weights_sha256": digest,
            "pooling": self.pooling,
            **{role: dataclasses.asdict(source) for role, source in self.images.items()},
            **self.published,
            **self.options,
        }
        return json.loads(json.dumps(settings))

    def seconds(self, network: str) -> float:
        """What the picture will take, from a few steps that are timed."""
        options = self.published | self.options
        layers = [*options.get("layers", ()), *options.get("content_layers", ()), *options.get("style_layers", ())]
        layers += [options["layer"]] if "layer" in options else []
        steps = options["steps"] * sum(scale**2 for scale in octave_scales(options.get("octaves", 1)))
        image = next(iter(self.images.values())).load()
        height, width = (options["size"],) * 2 if "size" in options else image.shape[-2:]
        backbone = load_backbone(network, pooling=self.pooling)
        return run_seconds(backbone, (height, width), layers, self.runs * round(steps))

    def make(self, network: str, checkpoint: Path) -> Result:
        """Make the picture, or go on from the checkpoint."""
        images = [source.load() for source in self.images.values()]
        backbone = load_backbone(network, pooling=self.pooling)
        return self.function(backbone, *images, **self.options, checkpoint=checkpoint, progress=sys.stderr.isatty())


def channel_sheet(
    backbone: Backbone,
    photo: Tensor,
    *,
    layer: str,
    count: int,
    size: int,
    steps: int,
    seed: int,
    checkpoint: Path,
    progress: bool,
) -> Result:
    """What the most selective channels of a layer look for, side by side; which they are, the names of the losses tell.

    The channels are those that are most selective on the photo. There is no checkpoint: such runs are random.
    """
    relu = layer.replace("conv", "relu")
    runs = sweep(
        lambda channel: maximise_activation(
            backbone, layer, channel, size=size, steps=steps, seed=seed, progress=progress
        ),
        selective_channels(backbone(photo, [relu])[relu], count),
    )
    for run in runs.values():
        if run.ending in (Ending.INTERRUPTED, Ending.FAILED):
            return run
    gap = torch.ones(1, 3, size, GAP)
    sheet = torch.cat([part for run in runs.values() for part in (gap, run.image)][1:], dim=3)
    losses = {f"channel {channel}": run.losses["activation"] for channel, run in runs.items()}
    return Result(sheet, History([losses]), Ending.STEPS, f"all {steps} steps of each channel were taken")


def transfer_sheet(
    backbone: Backbone,
    photo: Tensor,
    painting: Tensor,
    *,
    content_layers: list[str],
    betas: list[float],
    shown: list[int],
    checkpoint: Path,
    progress: bool,
    **options: Any,
) -> Result:
    """An atlas of transfers: a row for each content layer and beta, a column for each number of steps.

    The names of the losses tell the rows. There is one checkpoint for each row, so that little is lost.
    """
    choices = [(layer, beta) for layer in content_layers for beta in betas]
    runs = sweep(
        lambda choice: style_transfer(
            backbone,
            photo,
            painting,
            **{**options, "content_layers": [choice[0]], "beta": choice[1], "snapshots": [step - 1 for step in shown]},
            checkpoint=checkpoint.with_suffix(f".{choice[0]}.{choice[1]:g}.run"),
            progress=progress,
        ),
        choices,
    )
    for run in runs.values():
        if run.ending in (Ending.INTERRUPTED, Ending.FAILED):
            return run
    rows = [
        torch.cat([run.history.snapshots.get(step - 1, run.image) for step in shown], dim=3) for run in runs.values()
    ]
    losses = {f"{layer}, beta {beta:g}": sum(run.losses.values()) for (layer, beta), run in runs.items()}
    for layer, beta in choices:
        checkpoint.with_suffix(f".{layer}.{beta:g}.run").unlink(missing_ok=True)
    steps = options["steps"]
    return Result(torch.cat(rows, dim=2), History([losses]), Ending.STEPS, f"all {steps} steps of each row were taken")


def content_jobs() -> dict[str, Job]:
    """The photo from five depths: Gatys et al. (2015), figure 1, below; small first, as in lesson 3."""
    photo = {"photo": Source("astronaut", 256)}
    options = {"tv": 1.0, "octaves": 3, "steps": 200, "optimizer": "lbfgs", "seed": 0}
    return {
        f"content_{layer}": Job(reconstruct_content, photo, {"layer": layer, **options}) for layer in CONTENT_LAYERS
    }


def style_jobs() -> dict[str, Job]:
    """The painting's style from one to five layers: Gatys et al. (2015), figure 1, above.

    Straight from noise: at the small sizes of octaves deep layers see all of the painting, and its arrangement returns.
    """
    painting = {"painting": Source("night_swirls", 256)}
    options = {"tv": 0.0, "octaves": 1, "steps": 300, "optimizer": "lbfgs", "seed": 0}
    weights = list(STYLE_WEIGHTS.items())
    return {
        f"style_{layer}": Job(reconstruct_style, painting, {"layers": dict(weights[: index + 1]), **options})
        for index, layer in enumerate(STYLE_WEIGHTS)
    }


def ratio_jobs() -> dict[str, Job]:
    """From content to style: Gatys et al. (2016), figure 4, as in lesson 5."""
    images = portrait_and_painting(320, 400)
    options = {**TRANSFER, "alpha": 1.0, "start": "photo", "warm_start": False, "optimizer": "lbfgs", "seed": 0}
    return {
        f"ratio_{ratio}": Job(style_transfer, images, {**options, "beta": beta, "steps": 200})
        for ratio, beta in RATIOS.items()
    }


def atlas_jobs() -> dict[str, Job]:
    """Content layer by alpha / beta by steps, for the atlas of lesson 5."""
    options = {**TRANSFER, "alpha": 1.0, "start": "photo", "warm_start": False, "optimizer": "lbfgs", "seed": 0}
    choices = {"content_layers": list(ATLAS_LAYERS), "betas": list(RATIOS.values()), "shown": list(ATLAS_STEPS)}
    count = len(ATLAS_LAYERS) * len(RATIOS)
    return {
        "atlas": Job(
            transfer_sheet,
            portrait_and_painting(128, 160),
            {**options, **choices, "steps": ATLAS_STEPS[-1]},
            runs=count,
        )
    }


def recipe_jobs() -> dict[str, Job]:
    """The published recipes, as in lesson 6, those with few steps first."""
    images = portrait_and_painting(384, 384)
    return {
        f"recipe_{name}": Job(
            style_transfer,
            images,
            {"recipe": name, "seed": 0},
            {key: value for key, value in dataclasses.asdict(recipe).items() if key not in NOT_DONE},
            recipe.pooling,
        )
        for name, recipe in sorted(PUBLISHED.items(), key=lambda item: item[1].steps)
    }


def portrait_and_painting(size: int, painting_size: int) -> dict[str, Source]:
    """The pair of lessons 5 and 6: the astronaut's head and shoulders, and the night."""
    photo = Source("astronaut", size, crop=(70, 0, 390, 320))
    return {"photo": photo, "painting": Source("night_swirls", painting_size)}


def channel_jobs() -> dict[str, Job]:
    """What channels look for, at five depths, as in lesson 2."""
    photo = {"photo": Source("astronaut", 256)}
    options = {"count": 4, "size": 128, "steps": 200, "seed": 0}
    return {
        f"channels_{layer}": Job(channel_sheet, photo, {"layer": layer, **options}, runs=4) for layer in CHANNEL_LAYERS
    }


JOBS = content_jobs() | style_jobs() | channel_jobs() | ratio_jobs() | atlas_jobs() | recipe_jobs()


def read_settings(folder: Path) -> dict[str, Settings]:
    """What is known of the pictures in a folder: ``{name: {"settings": ..., "result": ...}}``."""
    file = folder / "settings.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def unmade(jobs: dict[str, Job], folder: Path, network: str, digest: str) -> dict[str, Job]:
    """The jobs whose picture is missing, or was made with other settings or weights."""
    known = read_settings(folder)
    return {
        name: job
        for name, job in jobs.items()
        if not (folder / f"{name}.webp").exists()
        or known.get(name, {}).get("settings") != job.settings(network, digest)
    }


def render(name: str, job: Job, folder: Path, network: str, digest: str) -> None:
    """Make a picture and store it with its settings.

    Raises:
        KeyboardInterrupt: when somebody stopped the run.
        SystemExit: when its loss was no longer finite.
    """
    settings = job.settings(network, digest)
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:HASH_DIGITS]
    checkpoint = Path(tempfile.gettempdir()) / f"nst-lessons-{name}-{key}.run"
    result = job.make(network, checkpoint)
    if result.interrupted:
        raise KeyboardInterrupt
    if result.ending is Ending.FAILED:
        raise SystemExit(f"{name}: {result.stopped}")
    with whole_file(folder / f"{name}.webp") as file:
        to_pil(result.image).save(file, format="WEBP", quality=QUALITY, method=6)
    known = read_settings(folder)
    outcome = {
        "losses": {term: float(f"{loss:.3g}") for term, loss in result.losses.items()},
        "steps_taken": len(result.history.losses),
        "stopped": result.stopped,
    }
    known[name] = {"settings": settings, "result": outcome}
    with whole_file(folder / "settings.json") as file:
        in_order = {name: known[name] for name in JOBS if name in known}
        file.write_text(json.dumps(in_order, indent=1) + "\n", encoding="utf-8")
    checkpoint.unlink(missing_ok=True)


def choose(patterns: Iterable[str]) -> dict[str, Job]:
    """The jobs whose names fit a pattern, such as ``content_*``; ValueError for a pattern that none fits."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in JOBS):
            raise ValueError(f"no picture is called {pattern!r}; there are {', '.join(JOBS)}")
    return {name: job for name, job in JOBS.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}


@forgiving_output()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="a picture, or a pattern such as 'content_*'; may be repeated"
    )
    parser.add_argument("--network", default="vgg16", help="a name or a weights file (default: %(default)s)")
    parser.add_argument(
        "folder", nargs="?", type=Path, default=SHIPPED, metavar="OUT_DIR", help="(default: %(default)s)"
    )
    args = parser.parse_args()
    try:
        jobs = choose(args.only or ["*"])
    except ValueError as error:
        parser.error(str(error))
    args.folder.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    digest = sha256(weights_file(args.network))[:HASH_DIGITS]
    jobs = unmade(jobs, args.folder, args.network, digest)
    total = 0.0
    for name, job in jobs.items():
        total += (seconds := job.seconds(args.network))
        print(f"{name:24} about {duration(seconds)}", flush=True)
    print(f"{len(jobs)} pictures, about {duration(total)} in all", flush=True)
    for name, job in jobs.items():
        print(name, file=sys.stderr)
        render(name, job, args.folder, args.network, digest)


if __name__ == "__main__":
    main()
