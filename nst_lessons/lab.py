"""The lessons in JupyterLab, in place or as a copy of one's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from nst_lessons.editions import write_solutions
from nst_lessons.files import whole_file

PACKAGED_LESSONS = Path(__file__).parent / "notebooks"  # in an installed wheel
CLONED_LESSONS = Path(__file__).parents[1] / "notebooks"  # in a clone
# A picture from a phone is often larger than the 10 MB that Jupyter's server takes in one message. Beyond the 100 MB of
# `nst_lessons.image_files`, a refusal in words is better than a lost connection, too.
LARGE_UPLOADS = ("--ServerApp.tornado_settings={'websocket_max_message_size': 536870912}",)
LESSONS_FOLDER = "nst_lessons_notebooks"
SOLUTIONS, SOLUTIONS_FOLDER = "--solutions", "nst_lessons_solutions"
COPY_ONLY = "--copy-only"


def open_lessons(arguments: Sequence[str]) -> int:
    """Open the lessons in JupyterLab; returns its exit code. Raises ValueError without JupyterLab.

    The arguments are JupyterLab's; the first one, if it is no option, is the folder to copy the lessons to. With
    ``--solutions`` among them it is the solutions that are opened, in a folder of their own. With ``--copy-only`` the
    copy is all, as before a JupyterHub's own server starts.
    """
    if COPY_ONLY not in arguments and find_spec("jupyterlab") is None:
        raise ValueError('JupyterLab is missing; pip install "nst-lessons[lab]" installs it')
    options = [argument for argument in arguments if argument not in (SOLUTIONS, COPY_ONLY)]
    asked = Path(options.pop(0)) if options and not options[0].startswith("-") else None
    lessons = PACKAGED_LESSONS if PACKAGED_LESSONS.is_dir() else CLONED_LESSONS
    if SOLUTIONS in arguments:
        folder = asked or Path(SOLUTIONS_FOLDER)
        tell_copied(folder, *write_solutions(folder))
    else:
        folder = asked or (Path(LESSONS_FOLDER) if lessons == PACKAGED_LESSONS else lessons)
        if folder.resolve() != lessons.resolve():
            copy_lessons(lessons, folder)
    if COPY_ONLY in arguments:
        return 0
    if hasattr(os, "geteuid") and os.geteuid() == 0 and "--allow-root" not in options:
        options = ["--allow-root", *options]  # in a container one is root
    return run_jupyterlab([str(folder), *options, *LARGE_UPLOADS])


def run_jupyterlab(arguments: Sequence[str]) -> int:
    """Run JupyterLab in this process, so that Ctrl-C means what it always means there."""
    from jupyterlab.labapp import main as jupyterlab

    return jupyterlab(arguments) or 0


def copy_lessons(lessons: Path, folder: Path) -> None:
    """Copy the files that are not there yet, and say what was copied and what was kept."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in lessons.glob("[!.]*") if path.is_file())
    kept = [name for name in names if (folder / name).exists()]
    copied = [name for name in names if name not in kept]
    for name in copied:
        with whole_file(folder / name) as copy:
            copy.write_bytes((lessons / name).read_bytes())
    tell_copied(folder, copied, kept)


def tell_copied(folder: Path, copied: Sequence[str], kept: Sequence[str] = ()) -> None:
    """Say what was written, and what was there already."""
    if copied:
        print(f"copied to {folder}: {', '.join(copied)}", flush=True)
    if kept:
        print(f"kept as they are in {folder}: {', '.join(kept)} (rename one to get a fresh copy)", flush=True)
