"""How does a lesson do when several students run it at once on this machine? Measured, without a hub around it.

    python tests/benchmarks/class.py notebooks/04_style_reconstruction.ipynb [--students 1 2 4 8]
        [--threads 1]

Each student has a kernel of their own, with so many threads, and runs all cells; all begin together. A row has the
seconds until the first and until the last is done, the memory that the largest kernel has occupied at most, PyTorch's
libraries included (which kernels on one machine share), and how busy the processor was.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from plain_loop import machine, row

from nst_lessons.memory import peak_bytes


async def run_class(lesson: Path, students: int, threads: int) -> list[tuple[float, float]]:
    """Seconds, and bytes at the peak, of each student's kernel; they begin when all are there."""
    place = {"metadata": {"path": str(lesson.parent)}}
    clients = [NotebookClient(nbformat.read(lesson, 4), timeout=None, resources=place) for _ in range(students)]
    env = os.environ | {"OMP_NUM_THREADS": str(threads)}
    async with AsyncExitStack() as kernels:
        await asyncio.gather(*(kernels.enter_async_context(one.async_setup_kernel(env=env)) for one in clients))
        return await asyncio.gather(*map(run_lesson, clients))


async def run_lesson(client: NotebookClient) -> tuple[float, float]:
    """Run all cells in a kernel that is there; seconds, and bytes at the peak."""
    start = time.perf_counter()
    for index, cell in enumerate(client.nb.cells):
        await client.async_execute_cell(cell, index)
    return time.perf_counter() - start, peak_bytes(client.km.provisioner.pid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lesson", type=Path)
    parser.add_argument("--students", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    args = parser.parse_args()
    print(machine())
    row("students", "threads each", "first done", "last done", "memory each", "processor busy")
    for students in args.students:
        for threads in args.threads:
            psutil.cpu_percent()  # from here
            measured = asyncio.run(run_class(args.lesson, students, threads))
            busy = psutil.cpu_percent()  # to here
            seconds, peaks = zip(*measured, strict=True)
            times = (f"{min(seconds):.0f} s", f"{max(seconds):.0f} s")
            row(students, threads, *times, f"{max(peaks) / 1e9:.2f} GB", f"{busy:.0f} %")


if __name__ == "__main__":
    main()
