"""Files are written completely or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; afterwards the file written there replaces ``path`` in one step.

    After a failure ``path`` is as it was before, and the temporary file is gone.

    Args:
        path: the file to create or to replace; its folder must exist.
    """
    # Always the same name for a file, so that what a killed process leaves is overwritten by the next; and a
    # short one, because the file's own may already be as long as the system allows.
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    unfinished = path.with_name(f".{digest}.part")
    try:
        yield unfinished
        with unfinished.open("r+b") as file:
            os.fsync(file.fileno())  # even a crash of the system leaves the old file or the new one
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
