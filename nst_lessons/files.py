"""Files are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to, and put what was written there in the place of ``path`` in one step.

    When anything fails on the way, what was at ``path`` before is still there, and nothing else.

    Args:
        path: the file to make or to replace; its folder must be there.
    """
    unfinished = path.with_name(f".{path.name}.part")  # what a killed process leaves, the next one overwrites
    try:
        yield unfinished
        with unfinished.open("r+b") as file:
            os.fsync(file.fileno())  # a crash of the system, too, finds the old file or the new one
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
