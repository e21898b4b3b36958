"""What is free, and what the C library is told: once, on request, and only on machines with room."""

import ctypes
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from nst_lessons import keep_freed_memory, memory
from nst_lessons.memory import container_bytes, peak_bytes


def control_group(folder: Path, limit: str) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text("600\n")
    (folder / "memory.stat").write_text("anon 300\ninactive_file 250\n")
    return folder


def test_a_container_sets_its_own_limit(tmp_path):
    assert container_bytes(tmp_path) == math.inf
    assert container_bytes(control_group(tmp_path, "max")) == math.inf
    assert container_bytes(control_group(tmp_path, "2000")) == 2000 - 600 + 250


def test_free_memory_is_this_machines(monkeypatch):
    cpu = torch.device("cpu")
    assert 1e6 < memory.free_bytes(cpu) <= psutil.virtual_memory().total
    monkeypatch.setattr(memory, "container_bytes", lambda folder: 5.0)
    assert memory.free_bytes(cpu) == 5.0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_process_has_taken_at_least_what_it_has_now():
    assert 0.99 * psutil.Process().memory_info().rss <= peak_bytes(os.getpid()) < psutil.virtual_memory().total
    assert math.isnan(peak_bytes(2**22 + 1))  # no process has so high a number


@pytest.fixture
def mallopt(monkeypatch) -> list[tuple[int, int]]:
    """What mallopt is told, on a Linux machine with 16 GB free."""
    told: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda *setting: told.append(setting) or 1)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(memory, "free_bytes", lambda device: 16e9)
    return told


def test_freed_memory_is_kept_within_bounds(mallopt):
    assert keep_freed_memory()
    assert mallopt == [(-3, 32 * 2**20), (-1, 512 * 2**20)]  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD


def test_small_machines_and_other_systems_are_left_alone(mallopt, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2e9)
    assert not keep_freed_memory()
    monkeypatch.setattr(memory, "free_bytes", lambda device: 16e9)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())  # musl has no mallopt
    assert not keep_freed_memory()
    assert mallopt == []


def test_a_run_leaves_the_allocator_alone(mallopt, tiny_backbone, small_image):
    from nst_lessons import reconstruct_content

    reconstruct_content(tiny_backbone, small_image, "relu1_1", steps=2, progress=False)
    assert mallopt == []


@pytest.mark.parametrize("chosen", [None, "77"])
def test_threads_of_two_processes_do_not_wait_at_work_for_each_other(chosen):
    """Unless somebody has chosen otherwise; and before torch is loaded, which reads it only then."""
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment |= {} if chosen is None else {"GOMP_SPINCOUNT": chosen}
    code = (
        "import sys, importlib.abc\n"
        "class Watch(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch':\n"
        "            import os; print(os.environ.get('GOMP_SPINCOUNT'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        "import nst_lessons"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [chosen or "1000"]
