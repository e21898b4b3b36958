"""Files are written completely or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def check_writable(path: Path) -> None:
    """Raise ValueError unless a file of this name can be written."""
    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent}; make it first, or choose another")
    try:
        with suppress(FileNotFoundError):
            path.lstat()  # complains of a name that is too long
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{path} cannot be written ({reason}); choose another name or folder") from error
    if path.is_dir():
        raise ValueError(f"{path} is a folder; choose another name")
