"""The checkpoint: the file of a run, from which it goes on after an interrupt, a crash or a power cut.

It holds the optimiser's state as it was between two of its iterations, and the evaluations since: replayed from there,
a run that was killed takes the very steps that it would have taken. It holds no code.
"""

from __future__ import annotations

import math
import os
import time
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from nst_lessons.files import check_writable, whole_file
from nst_lessons.losses import LossFunction
from nst_lessons.optimizers import State

FORMAT = "nst_lessons checkpoint 4"
SAME_IMAGE = 1e-3  # of the pixels' range
SAME_LOSS = 1e-3  # relatively; processors and numbers of threads differ by less
REMEDY = "delete it to begin anew, or choose another path"
OTHER_FILE = "choose another path or, if it is a checkpoint, delete it to begin anew"


class CheckpointError(ValueError):
    """A checkpoint that this run cannot go on from; the message says what came and what is accepted."""


class Checkpoint:
    """The file of one run, which its start and settings tell from others; written every so many seconds."""

    def __init__(
        self, path: str | os.PathLike[str], seconds: float, start: Tensor, settings: Mapping[str, object]
    ) -> None:
        self.path, self.seconds, self.start, self.settings = checkpoint_path(path), seconds, start, settings
        self.due = time.perf_counter() + seconds
        self.failed = False

    def write(self, contents: State) -> None:
        """Replace the file by a whole new one; warn, once, where that cannot be."""
        try:
            with whole_file(self.path) as file:
                torch.save({"format": FORMAT, "start": self.start, "settings": self.settings, **contents}, file)
        except (OSError, RuntimeError) as error:  # the latter is torch's word for a file that broke off
            if not self.failed:
                self.failed = True
                warnings.warn(f"{self.path} could not be written ({error}); the run goes on", stacklevel=2)
        self.due = time.perf_counter() + self.seconds

    def read(self) -> State:
        """What was written, once it is known to be whole and of this run; empty where there is no file yet.

        Raises:
            CheckpointError: for a damaged file, or one of another run.
        """
        saved = read_checkpoint(self.path, self.start.device)
        if not saved:
            return saved
        start, other = (f"shape {tuple(image.shape)} of {image.dtype}" for image in (saved["start"], self.start))
        self.check_same("start", start, other)
        if not torch.allclose(saved["start"], self.start, rtol=0, atol=SAME_IMAGE):
            self.check_same("start", "another image", "this one")
        for name, ours in self.settings.items():
            self.check_same(name, saved["settings"][name], ours)
        return saved

    def check_same(self, name: str, theirs: object, ours: object) -> None:
        """Raise CheckpointError when what the file has under a name is not what this run has."""
        if theirs != ours:
            raise CheckpointError(f"{self.path} is of another run ({name}: {theirs}, not {ours}); {REMEDY}")

    def check_losses(self, saved: State, loss_fn: LossFunction) -> None:
        """Hold the losses of the saved best image to those that it has here: images, weights and layers may differ.

        Raises:
            CheckpointError: when they differ.
        """
        # At the start, a photo, its content loss would be 0 whatever its weight; so the best image is asked.
        image, theirs = saved["best"]["image"], saved["best"]["losses"]
        ours = {name: float(loss) for name, loss in loss_fn(image).items()}
        if ours.keys() != theirs.keys() or any(
            not math.isclose(ours[name], loss, rel_tol=SAME_LOSS, abs_tol=1e-12) for name, loss in theirs.items()
        ):
            raise CheckpointError(
                f"{self.path} is of a run with other images, weights or layers (its best image had the losses "
                f"{theirs}, and here has {ours}); {REMEDY}"
            )


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> State:
    """What a checkpoint holds, with its images on a device; empty where there is no file yet.

    Raises:
        CheckpointError: for a damaged file, or another one.
    """
    if not path.exists():
        return {}
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load itself does not look for flipped bits
            damaged = archive.testzip()
        saved = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # whatever zipfile, pickle and torch stumble over
        raise CheckpointError(f"{path} is damaged or no checkpoint of a run; {OTHER_FILE}") from error
    if damaged or not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise CheckpointError(f"{path} is damaged or no checkpoint of a run; {OTHER_FILE}")
    return saved


def checkpoint_path(path: str | os.PathLike[str]) -> Path:
    """The path of a checkpoint, whether it exists or is to be made; CheckpointError where that cannot be."""
    try:
        path = Path(path)
        check_writable(path)
    except (OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"a checkpoint cannot be kept there: {error}") from error
    return path
