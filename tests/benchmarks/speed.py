"""How fast is a transfer? Ratios to the loop that every tutorial has, `plain_loop.py`, in one run.

    TORCH_HOME=... python tests/benchmarks/speed.py [reach] [rate] [precision] [--quick] [--threads N]

reach       on VGG16 at 384 px, for eight pairs: seconds until `style_transfer` with its defaults has the loss that the
            plain loop has after 150 steps, as a part of the plain loop's seconds. Both images are judged by the same
            float32 loss.
rate        steps per second of the compact network against plain VGG19, at 256 px.
precision   the float32 loss after equal steps from the photo in bfloat16 and in float32, and the time; VGG16 and
            compact at 256 px, means over eight pairs, because single runs differ by a percent either way.

Loading networks is not counted; targets, warm start and all else that `style_transfer` does are. Each measurement is
repeated ``--rounds`` times, the two sides in turn, and the median ratio is given. What is printed are the rows of
README.md's table. ``--quick`` tries everything at small sizes and few steps; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import torch
from plain_loop import ALPHA, BETA, TV, machine, plain_loss, plain_transfer, plain_vgg, row
from torch import Tensor

from nst_lessons import (
    PAINTINGS,
    PHOTOS,
    Backbone,
    History,
    Step,
    content_loss,
    keep_freed_memory,
    load_backbone,
    load_image,
    sample,
    style_loss,
    style_transfer,
    total_variation,
)
from nst_lessons.network import Precision
from nst_lessons.reconstruct import STYLE_LAYERS
from nst_lessons.styles import content_target, style_target
from nst_lessons.transfer import CONTENT_LAYERS
from nst_lessons.weight_files import default_device

PAIRS = [(PHOTOS[(n + 1) % len(PHOTOS)], painting) for n, painting in enumerate(PAINTINGS)]


@dataclass(frozen=True)
class Plan:
    """Sizes in pixels, and numbers of steps."""

    reach_size: int = 384
    rate_size: int = 256
    steps: int = 150
    rate_steps: int = 30


QUICK = Plan(reach_size=96, rate_size=64, steps=30, rate_steps=3)


def pair(size: int, names: tuple[str, str] = PAIRS[0]) -> tuple[Tensor, Tensor]:
    photo, painting = (load_image(sample(name), size) for name in names)
    return photo, painting


class Watch:
    """Stops a transfer once its image, as another loss judges it, is good enough; judging does not count as time."""

    def __init__(self, judge: Callable[[Tensor], Tensor], target: float, last_stage: int) -> None:
        self.judge, self.target, self.last_stage = judge, target, last_stage
        self.began, self.judging = time.perf_counter(), 0.0
        self.steps, self.best, self.reached_after = 0, float("inf"), float("inf")

    @torch.no_grad()
    def __call__(self, step: Step) -> None:
        now = time.perf_counter()
        self.steps += 1
        # A step of the warm start, or far off by its own losses, need not be judged.
        if step.index >= step.steps - self.last_stage and sum(step.losses.values()) < 1.02 * self.target:
            self.best = min(self.best, float(self.judge(step.image.to(default_device()))))
            if self.best <= self.target:
                self.reached_after = now - self.began - self.judging
            self.judging += time.perf_counter() - now

    def rule(self, history: History) -> str:
        return "the loss of the plain loop is reached" if self.best <= self.target else ""


def reach(plan: Plan, rounds: int) -> None:
    """Seconds to the plain loop's loss, on eight pairs."""
    keep_freed_memory()  # for both sides
    vgg, backbone = plain_vgg("vgg16"), load_backbone("vgg16")
    device = default_device()
    ratios = []
    for names in PAIRS * rounds:
        photo, painting = pair(plan.reach_size, names)
        judge = plain_loss(vgg, "vgg16", photo.to(device), painting.to(device))
        plain_transfer(vgg, "vgg16", photo, painting, 2)  # the first steps at a size are slow, on both sides
        style_transfer(backbone, photo, painting, steps=2, warm_start=False, progress=False)
        image, seconds = plain_transfer(vgg, "vgg16", photo, painting, plan.steps)
        plain, target = seconds[-1], float(judge(image).detach())
        watch = Watch(judge, target, plan.steps)
        style_transfer(backbone, photo, painting, steps=plan.steps, callback=watch, stop=watch.rule, progress=False)
        reached = watch.best <= target
        ours = f"{watch.reached_after:.1f} s, {watch.steps} steps" if reached else f"not in {watch.steps} steps"
        ratios.append(watch.reached_after / plain)
        name = f"VGG16, {plan.reach_size} px, {' and '.join(names)}: time to the loss {target:.4g}"
        row(name, f"{plain:.1f} s, {plan.steps} steps", ours, f"{ratios[-1]:.2f}", "at most 0.18")
    print(f"median ratio {statistics.median(ratios):.2f}")


def steps_per_second(seconds: list[float]) -> float:
    """From the times at which steps ended: without targets and the first step."""
    return (len(seconds) - 1) / (seconds[-1] - seconds[0])


def plain_rate(plan: Plan, names: tuple[str, str]) -> float:
    """The plain loop's steps per second on VGG19."""
    photo, painting = pair(plan.rate_size, names)
    vgg = plain_vgg("vgg19")
    plain_transfer(vgg, "vgg19", photo, painting, 2)
    _, seconds = plain_transfer(vgg, "vgg19", photo, painting, plan.rate_steps)
    return steps_per_second(seconds)


def compact_rate(plan: Plan, names: tuple[str, str]) -> float:
    """`style_transfer`'s steps per second on the compact network, in a process set up as the lessons' are."""
    keep_freed_memory()
    photo, painting = pair(plan.rate_size, names)
    backbone = load_backbone("compact")
    style_transfer(backbone, photo, painting, steps=2, progress=False)
    seconds: list[float] = []
    style_transfer(
        backbone,
        photo,
        painting,
        steps=12 * plan.rate_steps,
        progress=False,
        callback=lambda _: seconds.append(time.perf_counter()),
    )
    return steps_per_second(seconds)


def in_new_process(rate: Callable[[Plan, tuple[str, str]], float], *args: Any) -> float:
    """Call it where nothing has run before: `keep_freed_memory` tunes the C library for its whole process."""
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (torch.get_num_threads(),)) as process:
        return process.submit(rate, *args).result()


def rate(plan: Plan, rounds: int) -> None:
    """Steps per second, on a square photo and on one of three to two."""
    for names in PAIRS[3], PAIRS[0]:
        height, width = pair(plan.rate_size, names)[0].shape[-2:]
        ratios = []
        for _ in range(rounds):
            plain, ours = (in_new_process(kind, plan, names) for kind in (plain_rate, compact_rate))
            ratios.append(ours / plain)
            name = f"plain VGG19 and compact, {width} x {height}: steps per second"
            row(name, f"{plain:.2f}", f"{ours:.2f}", f"{ratios[-1]:.1f}", "at least 6")
        print(f"median ratio {statistics.median(ratios):.1f}")


@torch.no_grad()
def exact_loss(backbone: Backbone, image: Tensor, photo: Tensor, painting: Tensor) -> float:
    """The loss that `style_transfer` minimises by default, by a float32 network."""
    features = backbone(image, [*CONTENT_LAYERS, *STYLE_LAYERS])
    content = content_loss(features, content_target(backbone, photo, CONTENT_LAYERS))
    style = style_loss(features, style_target(backbone, painting, STYLE_LAYERS))
    return float(ALPHA * content + BETA * style + TV * total_variation(image).to(content.device))


def precision(plan: Plan, rounds: int) -> None:
    """bfloat16 against float32, from the photo; once, because the loss is the same every time."""
    from_photo: dict[str, Any] = {"warm_start": False, "progress": False}
    kinds: tuple[Precision, Precision] = ("float32", "bfloat16")
    for name in ("vgg16", "compact"):
        networks = {kind: load_backbone(name, precision=kind) for kind in kinds}
        results: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
        for photo, painting in (pair(plan.rate_size, names) for names in PAIRS):
            for kind, backbone in networks.items():
                style_transfer(backbone, photo, painting, steps=2, **from_photo)
                began = time.perf_counter()
                image = style_transfer(backbone, photo, painting, steps=plan.steps, **from_photo).image
                seconds = time.perf_counter() - began
                results[kind].append((exact_loss(networks["float32"], image, photo, painting), seconds))
        exact, rough = (torch.tensor(found) for found in results.values())
        (exact_value, exact_seconds), (loss, seconds) = exact.mean(0).tolist(), rough.mean(0).tolist()
        differences = rough[:, 0] / exact[:, 0] - 1
        label = f"{name}, {plan.rate_size} px, {plan.steps} steps, mean of {len(PAIRS)} pairs"
        difference = f"{differences.mean():+.2%} (deviation {differences.std():.2%})"
        row(f"{label}: float32 loss", f"{exact_value:.5g}", f"{loss:.5g}", difference, "within 0.5 %")
        ratio = f"{seconds / exact_seconds:.2f}"
        row(f"{label}: time", f"{exact_seconds:.1f} s", f"{seconds:.1f} s", ratio, "no more than 1")


PARTS = {"reach": reach, "rate": rate, "precision": precision}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes, few steps: to see that it works")
    parser.add_argument("--threads", type=int, help="of the processor (default: torch's choice)")
    parser.add_argument("--rounds", type=int, default=1, help="so often each (default: %(default)s)")
    args = parser.parse_args()
    if unknown := set(args.parts) - PARTS.keys():
        parser.error(f"unknown part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    if args.threads:
        torch.set_num_threads(args.threads)
    print(f"{machine()}\n")
    row("measure", "plain", "ours", "ratio", "wanted")
    row(*["---"] * 5)
    for part in args.parts or PARTS:
        PARTS[part](QUICK if args.quick else Plan(), args.rounds)


if __name__ == "__main__":
    main()
