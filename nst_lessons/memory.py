"""Memory: what is free for a run, what a process has taken, and keeping what a step frees for the next step."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import psutil
import torch

KEPT = 512 << 20  # bytes of freed memory
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # their numbers in malloc.h


def free_bytes(device: torch.device) -> float:
    """Memory that a run could take: of the GPU, or of this machine and the container around this process."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(psutil.virtual_memory().available, container_bytes(Path("/sys/fs/cgroup")))


def container_bytes(folder: Path) -> float:
    """What a container (Binder, Docker) may still take according to its control group; infinite without a limit."""
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        # The cache of files that were read gives way.
        cached = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())["inactive_file"]
        return float("inf") if limit == "max" else int(limit) - used + int(cached)
    except (OSError, ValueError, KeyError):  # no Linux, or an older one
        return float("inf")


def peak_bytes(process: int) -> float:
    """The memory that a process has occupied at most, by its number, libraries included; NaN except on Linux."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def keep_freed_memory() -> bool:
    """Let glibc keep up to 512 MB of freed memory, for the whole process and until it ends.

    Otherwise every step's activations are given back to the system and asked for again, page by page: on the compact
    network at 256 x 256 pixels, two cores took 32.0 steps a second without it and 42.7 with it (medians of three). The
    command line and the lessons call it once; `import nst_lessons` alone does not.

    Returns:
        Whether it is so now: not where less than 4 GB are free, and might be missed, nor without glibc.
    """
    if not sys.platform.startswith("linux") or free_bytes(torch.device("cpu")) < 4e9:
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return False
    largest_block = 32 << 20  # glibc's own limit
    return bool(mallopt(MMAP_THRESHOLD, largest_block) and mallopt(TRIM_THRESHOLD, KEPT))
