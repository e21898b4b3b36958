"""The memory that a graded function can take."""

import sys
from pathlib import Path

import pytest
import torch

from nst_lessons.exercises.memory_limit import BYTES, memory_limit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone limits a process's memory")


def limits() -> str:
    return Path("/proc/self/limits").read_text()


def test_more_than_the_limit_is_an_error_and_afterwards_it_is_not():
    before = limits()
    with memory_limit():
        with pytest.raises(MemoryError):
            bytearray(2 * BYTES)
        with pytest.raises(RuntimeError, match="memory"):
            torch.empty(2 * BYTES, dtype=torch.uint8)
        assert torch.ones(BYTES // 8, dtype=torch.uint8).all()
        assert limits() != before
    assert limits() == before
    assert len(bytearray(2 * BYTES)) == 2 * BYTES


def test_a_limit_within_a_smaller_one_changes_nothing():
    with memory_limit():
        before = limits()
        with memory_limit():
            assert limits() == before
        assert limits() == before


def test_the_limit_ends_with_an_error():
    before = limits()
    with pytest.raises(ValueError), memory_limit():
        raise ValueError
    assert limits() == before
