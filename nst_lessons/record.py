"""What a transfer leaves: the image and, beside it, its record in JSON.

===============  =================================================================================================
photo            ``source``, as it was given, and ``size``, ``[width, height]`` as the network was shown it
paintings        the same of each painting, and its ``weight``
recipe           the published recipe's name, or null
backbone         the network's name or path; ``weights_sha256`` is its file's, and ``convention`` how images were
                 normalised for it, torchvision or caffe
alpha, seed ...  the settings of `style_transfer`, given, decided by the recipe, or by default; null leaves one to the
                 run; a recipe's weights are in this package's units
device           what it ran on, with ``versions``
losses           the image's weighted losses by name; null for one that is not finite
steps_taken      evaluations of the loss, in ``seconds``
ending           steps, rule, stalled, interrupted or failed, see `nst_lessons.history.Ending`; ``stopped`` says it in
                 words
===============  =================================================================================================
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from torch import Tensor

from nst_lessons import __version__
from nst_lessons.files import check_writable, whole_file
from nst_lessons.history import Result
from nst_lessons.image_files import check_suffix, save_image
from nst_lessons.images import ImageError
from nst_lessons.transfer import TRANSFER_DEFAULTS, Transfer
from nst_lessons.weight_files import sha256, weights_file

# They decide nothing about the picture, or, like a stop rule, are no JSON.
NOT_RECORDED = ("callback", "checkpoint", "checkpoint_every", "coordinates", "progress", "snapshots", "stop")


def plan_record(
    plan: Transfer, photo: str, paintings: Iterable[str], recipe: str | None, start: object = None
) -> dict[str, object]:
    """What is known of a transfer before it begins; `photo`, `paintings` and `start` are as they were given."""
    settings: dict[str, object] = {**TRANSFER_DEFAULTS, **plan.options}
    if start is not None:
        settings["start"] = start
    return {
        "photo": {"source": photo, "size": width_height(plan.photo)},
        "paintings": [
            {"source": source, "weight": style.weight, "size": width_height(style.image)}
            for source, style in zip(paintings, plan.styles, strict=True)
        ],
        "recipe": recipe,
        "backbone": plan.network,
        "weights_sha256": plan.network and sha256(weights_file(plan.network)),
        "convention": plan.backbone.convention,
        **{name: value for name, value in settings.items() if name not in NOT_RECORDED},
        "device": str(plan.backbone.device),
        "versions": {"python": platform.python_version(), "nst-lessons": __version__}
        | {name: version(name) for name in ("torch", "torchvision")},
    }


def result_record(result: Result) -> dict[str, object]:
    """What is known of a transfer once it is over."""
    return {
        "losses": {name: loss if math.isfinite(loss) else None for name, loss in result.losses.items()},
        "steps_taken": len(result.history.losses),
        "seconds": round(result.history.seconds, 3),
        "ending": result.ending.name.lower(),
        "stopped": result.stopped,
    }


def width_height(image: Tensor) -> list[int]:
    """The size ``[width, height]`` of an image ``(1, 3, H, W)``."""
    return [image.shape[-1], image.shape[-2]]


def record_path(out: Path) -> Path:
    """Where an image's record lies: beside it."""
    return out.with_name(f"{out.name}.json")


def check_outputs(
    out: Path, checkpoint: str | os.PathLike[str] | None, inputs: Sequence[str], *, transparent: bool = False
) -> None:
    """Raise ValueError for what could not be written, or would overwrite another file of the transfer."""
    check_suffix(out, transparent)
    taken = {Path(source).resolve() for source in inputs}
    for path in (out, record_path(out), *([] if checkpoint is None else [Path(checkpoint)])):
        check_writable(path)
        if path.resolve() in taken:
            raise ValueError(f"{path} would overwrite another file of this run; choose another name")
        taken.add(path.resolve())


def keep(image: Tensor, record: dict[str, object], out: Path, alpha: Tensor | None = None) -> Path:
    """Write an image and its record; where that fails, in a new folder, here or among the temporary ones.

    With `alpha`, see `save_image`. Returns the image's path. Raises ImageError or OSError when no place is left.
    """

    def write(out: Path) -> Path:
        save_image(image, out, alpha=alpha)
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
                    kept = write(folder / f"picture{out.suffix}")  # the name may be what was wrong
                except (ImageError, OSError):
                    shutil.rmtree(folder)
                    raise
                print(f"nst-lessons: {error}; the image is kept in {folder}", file=sys.stderr)
                return kept
        raise
