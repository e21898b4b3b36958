"""Every lesson must fit into the 2 GB of memory that Binder and a hub's example give a student.

nbval runs each lesson in a kernel of its own; when its last cell has run, the kernel is asked for the memory that it
has occupied at most, PyTorch's libraries included. A tenth is left for the Jupyter server beside it. Where a lesson
runs on a GPU, CUDA's own memory comes on top, and nothing is asserted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nst_lessons.memory import peak_bytes

LESSONS = Path(__file__).parent / "notebooks"
MOST = 1.8e9
PEAKS = pytest.StashKey[dict[str, float]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    kernel = getattr(item.parent, "kernel", None)  # of nbval; the teardown ends it
    last = item.path.parent == LESSONS and (nextitem is None or nextitem.parent is not item.parent)
    peak = peak_bytes(kernel.km.provisioner.pid) if last and kernel and kernel.is_alive() else 0
    yield
    if peak:
        item.config.stash.setdefault(PEAKS, {})[item.path.name] = peak
    too_much = peak > MOST and not torch.cuda.is_available()
    assert not too_much, f"{item.path.name} took {peak / 1e9:.2f} GB of memory; {MOST / 1e9:g} GB must do"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if PEAKS in config.stash:
        terminalreporter.section("memory of the kernels at the peak")
        for lesson, peak in config.stash[PEAKS].items():
            terminalreporter.line(f"{peak / 1e9:.2f} GB {lesson}")
