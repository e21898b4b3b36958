"""How do a transfer's time and memory grow with the image? Measured, and as `nst_lessons.estimate` foretells them.

    TORCH_HOME=... python tests/benchmarks/growth.py [--networks compact vgg19] [--sizes 128 256 512 768 1024]
        [--optimizers adam] [--steps 3] [--plot .github/growth.png] [--threads N] [--quick]

Each size runs in a process of its own: a few steps of `style_transfer` on noise, the painting as large as the photo.
Memory is the peak of what the process occupies, less what it occupied before, with the network loaded and warm; on
CUDA it is torch's own count. L-BFGS' memory of pairs of images takes as many steps to fill: for the whole of it
``--optimizers lbfgs --steps 60``, or ``--memory-of-lbfgs SIZE``, where the network is replaced by a cheap loss and only
the optimiser's part is measured.

The 2048 px row of README.md: ``--networks vgg19 --sizes 2048 --steps 1``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import torch
from matplotlib.figure import Figure
from plain_loop import machine, row

from nst_lessons import load_backbone, optimize_image, style_transfer
from nst_lessons.estimate import run_bytes, run_seconds
from nst_lessons.figures import LABEL_SIZE, LINES, finish, to_png
from nst_lessons.reconstruct import STYLE_LAYERS
from nst_lessons.transfer import CONTENT_LAYERS

LAYERS = [*CONTENT_LAYERS, *STYLE_LAYERS]
WARM_SIZE = 64
LONGEST_WAIT = 3600
FORETOLD = {"linestyle": ":", "linewidth": 1.2, "markerfacecolor": "none"}  # hollow markers


@contextmanager
def peak_memory(found: dict[str, float]) -> Iterator[None]:
    """Put the bytes that were occupied at most, beyond those at the beginning, into ``found["bytes"]``."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield
        found["bytes"] = torch.cuda.max_memory_allocated() - before
        return
    process, done = psutil.Process(), Event()
    before = found["bytes"] = process.memory_info().rss

    def watch() -> None:
        while not done.wait(0.002):
            found["bytes"] = max(found["bytes"], process.memory_info().rss)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        found["bytes"] -= before


def measure(network: str, size: int, optimizer: str, steps: int) -> dict[str, float]:
    """Bytes at the peak and seconds a step, measured and expected."""
    backbone = load_backbone(network)
    photo = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(backbone.device)
    options: dict[str, Any] = {"optimizer": optimizer, "warm_start": False, "progress": False}
    small = photo[..., :WARM_SIZE, :WARM_SIZE].clone()
    style_transfer(backbone, small, small, steps=2, **options)
    found = {
        "expected_bytes": float(run_bytes(backbone, (size, size), LAYERS, optimizer=optimizer)),
        "expected_seconds": run_seconds(backbone, (size, size), LAYERS, 1),
    }
    ticks = []
    with peak_memory(found):
        style_transfer(
            backbone, photo, photo.flip(2), steps=steps, callback=lambda _: ticks.append(time.perf_counter()), **options
        )
    # The first step also pays for what is prepared once.
    found["seconds"] = (ticks[-1] - ticks[0]) / (len(ticks) - 1) if len(ticks) > 1 else float("nan")
    return found


def memory_of_lbfgs(size: int, steps: int = 60) -> dict[str, float]:
    """Bytes at the peak of L-BFGS with a full memory, the loss being as good as free."""
    generator = torch.Generator().manual_seed(0)
    start, target, weight = (torch.rand(1, 3, size, size, generator=generator) for _ in range(3))
    found: dict[str, float] = {}
    with peak_memory(found):
        optimize_image(
            start, lambda image: {"": (weight * (image - target).abs() ** 3).mean()}, steps=steps, progress=False
        )
    return found


def in_own_process(*arguments: object) -> dict[str, float]:
    """The result of this script with ``--child``.

    Raises:
        RuntimeError: with what the child said, when it failed.
    """
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_WAIT, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}, code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def draw(curves: dict[str, dict[int, dict[str, float]]], path: Path) -> None:
    """Write two panels, memory and seconds over the size: measured with full markers, expected with hollow ones."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    panels = figure.subplots(1, 2)
    for ax, quantity, scale, label in zip(
        panels, ("bytes", "seconds"), (1e9, 1), ("peak memory in GB", "seconds a step"), strict=True
    ):
        for n, (name, points) in enumerate(curves.items()):
            style = LINES[n % len(LINES)]
            sizes = list(points)
            ax.plot(sizes, [points[size][quantity] / scale for size in sizes], **style, ms=5, label=f"{name}, measured")
            expected = [points[size][f"expected_{quantity}"] / scale for size in sizes]
            ax.plot(sizes, expected, **style | FORETOLD, ms=7, label=f"{name}, expected")
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.set_xlabel("sides of the image in pixels", fontsize=LABEL_SIZE)
        ax.set_ylabel(label, fontsize=LABEL_SIZE)
        ax.grid(color="#e5e5e5", linewidth=0.8)
        ax.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=LABEL_SIZE - 1)
    finish(figure, "A transfer's memory and time grow with the number of pixels", f"Measured on {machine()}.")
    path.write_bytes(to_png(figure))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["compact", "vgg19"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[128, 256, 512, 768, 1024])
    parser.add_argument("--optimizers", nargs="+", default=["adam"])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="write the plot there")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the processor")
    parser.add_argument("--quick", action="store_true", help="64 and 128 pixels, 2 steps: to see that it works")
    parser.add_argument("--memory-of-lbfgs", type=int, metavar="SIZE", help="of the optimiser alone")
    parser.add_argument("--child", nargs=4, metavar=("NETWORK", "SIZE", "OPTIMIZER", "STEPS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # for the children
    if args.child:
        network, size, optimizer, steps = args.child
        print(json.dumps(measure(network, int(size), optimizer, int(steps))))
        return
    if args.memory_of_lbfgs:
        found = memory_of_lbfgs(args.memory_of_lbfgs)["bytes"]
        print(f"L-BFGS at {args.memory_of_lbfgs} px: {found / 1e9:.2f} GB")
        return
    sizes, steps = ([64, 128], 2) if args.quick else (args.sizes, args.steps)
    print(f"{machine()}\n")
    row("network", "optimiser", "size", "peak memory", "expected", "seconds a step", "expected")
    row(*["---"] * 7)
    curves: dict[str, dict[int, dict[str, float]]] = {}
    for network in args.networks:
        for optimizer in args.optimizers:
            for size in sizes:
                found = in_own_process(network, size, optimizer, steps)
                name = network if len(args.optimizers) == 1 else f"{network}, {optimizer}"
                curves.setdefault(name, {})[size] = found
                memory = f"{found['bytes'] / 1e9:.2f} GB", f"{found['expected_bytes'] / 1e9:.2f} GB"
                row(
                    network,
                    optimizer,
                    f"{size} px",
                    *memory,
                    f"{found['seconds']:.2f}",
                    f"{found['expected_seconds']:.2f}",
                )
    if args.plot:
        draw(curves, args.plot)


if __name__ == "__main__":
    main()
