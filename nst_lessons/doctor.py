"""The machine report: what is installed, what the hardware can do, how long a transfer takes."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from nst_lessons import __version__
from nst_lessons.estimate import duration, run_seconds
from nst_lessons.memory import KEPT
from nst_lessons.network import fastest_dtype
from nst_lessons.transfer import TRANSFER_DEFAULTS
from nst_lessons.weight_files import (
    DOWNLOAD_MEGABYTES,
    DOWNLOADS,
    WeightsError,
    cached_weights,
    check_hash,
    default_device,
    load_backbone,
    sha256,
    weights_file,
)


def report_machine(size: int, memory_kept: bool) -> None:
    """Print what this machine has, what `keep_freed_memory` said, and what a transfer at `size` pixels takes."""

    def tell(subject: str, finding: object) -> None:
        print(f"{subject:<14}{finding}", flush=True)

    tell("nst-lessons", f"{__version__} in {Path(__file__).parent}")
    tell("python", f"{platform.python_version()} on {platform.platform()}")
    for name in ("torch", "torchvision", "numpy", "ipywidgets", "jupyterlab", "nbval"):
        tell(name, installed(name))
    tell("device", device := default_device())
    tell("threads", f"{torch.get_num_threads()} of {os.cpu_count()} processor cores")
    dtype = str(fastest_dtype(device)).removeprefix("torch.")
    tell(
        "bfloat16",
        "yes: features are computed in it" if dtype == "bfloat16" else f"no: features are computed in {dtype}",
    )
    kept = "yes" if memory_kept else "no (this takes Linux with glibc, and 4 GB of free memory)"
    tell("memory", f"up to {KEPT >> 20} MB that a step frees are kept for the next step: {kept}")
    for name in DOWNLOADS:
        tell(name, cache_state(name))
    tell("compact", f"SHA-256 {sha256(weights_file('compact'))}")
    layers, steps = TRANSFER_DEFAULTS["content_layers"] + TRANSFER_DEFAULTS["style_layers"], TRANSFER_DEFAULTS["steps"]
    seconds = run_seconds(load_backbone("compact"), (size, size), layers, steps)
    basis = f"compact, {size} x {size} pixels, {steps} steps; extrapolated from a smaller image"
    tell("standard run", f"a transfer takes about {duration(seconds)} ({basis})")


def installed(name: str) -> str:
    """A distribution's version, or that it is missing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return 'missing; pip install "nst-lessons[lab,test]" installs it'


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
