"""One source, three editions: what students get, the solutions, and what nbgrader is given.

A lesson's source is a Python file in Jupytext's percent format. In it a solution stands between the marks that
nbgrader knows. Students get the marked regions as a stub; the solutions edition has them without the marks; nbgrader,
which makes its own stubs, gets them as they are. Cells with the tag ``answer`` are in the solutions edition only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nst_lessons.files import whole_file

if TYPE_CHECKING:
    import nbformat  # as jupytext, it is there with JupyterLab only

STUB = "# YOUR CODE HERE\nraise NotImplementedError()"  # as nbgrader has it
SOLUTION = re.compile(r"^(?P<indent>[ \t]*)### BEGIN SOLUTION\n(?P<code>.*?)^[ \t]*### END SOLUTION$", re.M | re.S)
PACKAGED_SOURCE = Path(__file__).parent / "notebooks" / "source"  # in an installed wheel
CLONED_SOURCE = Path(__file__).parents[1] / "notebooks" / "source"  # in a clone
LINK = re.compile(r"(\]\(\d\d_\w+)\.ipynb\)")  # to another lesson
ANSWER = "answer"  # the tag of a cell that answers the one before it


def sources() -> list[Path]:
    """The lessons' sources, in order."""
    folder = PACKAGED_SOURCE if PACKAGED_SOURCE.is_dir() else CLONED_SOURCE
    return sorted(folder.glob("*.py"))


def read_source(path: Path, answers: bool = False) -> nbformat.NotebookNode:
    """A lesson as it is written, with its marks and no outputs; cells are numbered, so that editions compare.

    Args:
        path: the source.
        answers: keep the cells that answer a question; their number is that of the question.

    Raises:
        ValueError: without Jupytext.
    """
    if find_spec("jupytext") is None:
        raise ValueError('Jupytext is missing; pip install "nst-lessons[lab]" installs it')
    import jupytext

    notebook = jupytext.read(path)
    notebook.metadata.pop("jupytext", None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    topic = path.stem.partition("_")[2]
    n = -1
    for cell in notebook.cells:
        answer = ANSWER in cell.metadata.get("tags", [])
        n += not answer
        cell.id = f"{topic}-{n:02}" + answer * f"-{ANSWER}"
        for name in cell.metadata.keys() - {"tags", "nbgrader"}:  # how the text was laid out
            del cell.metadata[name]
    if not answers:
        notebook.cells = [cell for cell in notebook.cells if not cell.id.endswith(ANSWER)]
    return notebook


def student_source(code: str) -> str:
    """A cell with a stub in place of each solution."""
    return SOLUTION.sub(lambda match: re.sub("^", match["indent"], STUB, flags=re.M), code)


def solved_source(code: str) -> str:
    """A cell with its solution, and without the marks."""
    return SOLUTION.sub(lambda match: match["code"].rstrip("\n"), code)


def student_edition(path: Path) -> nbformat.NotebookNode:
    """A lesson with stubs, as students get it; not executed."""
    return edition(path, student_source)


def solutions_edition(path: Path) -> nbformat.NotebookNode:
    """A lesson with its solutions and answers, and links to those of other lessons; not executed."""
    notebook = edition(path, solved_source, answers=True)
    for cell in notebook.cells:
        cell.source = LINK.sub(r"\1_solutions.ipynb)", cell.source)
    return notebook


def edition(path: Path, change: Callable[[str], str], answers: bool = False) -> nbformat.NotebookNode:
    """A lesson whose code cells are changed, without nbgrader's marks."""
    notebook = read_source(path, answers)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = change(cell.source)
        cell.metadata.pop("nbgrader", None)
    return notebook


def write_solutions(folder: Path) -> tuple[list[str], list[str]]:
    """Write the solutions edition into a folder, which is made.

    Returns:
        The names of the files that were written, and of those that were there already and are left as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = {f"{path.stem}_solutions.ipynb": path for path in sources()}
    kept = [name for name in names if (folder / name).exists()]
    written = [name for name in names if name not in kept]
    for name in written:
        write(solutions_edition(names[name]), folder / name)
    return written, kept


def write_assignment(folder: Path) -> list[Path]:
    """Write nbgrader's tree, ``source/LESSON/LESSON.ipynb``, into a folder; nothing that is there is overwritten.

    Raises:
        ValueError: where there is a source tree already.
    """
    if (folder / "source").exists():
        raise ValueError(f"{folder / 'source'} exists already; choose another folder")
    written = []
    for path in sources():
        target = folder / "source" / path.stem / f"{path.stem}.ipynb"
        target.parent.mkdir(parents=True)
        write(read_source(path), target)
        written.append(target)
    return written


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook, whole or not at all."""
    import nbformat

    with whole_file(path) as file:
        nbformat.write(notebook, file)
