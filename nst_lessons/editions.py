"""One source, three editions: what students get, the solutions, and what nbgrader or otter-grader is given.

A lesson's source is a Python file in Jupytext's percent format. In it a solution stands between the marks that
nbgrader knows. Students get the marked regions as a stub; the solutions edition has them without the marks; nbgrader,
which makes its own stubs, gets them as they are, and otter-grader with its own marks. Cells with the tag ``answer`` are
in the solutions edition only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from nst_lessons.files import whole_file

if TYPE_CHECKING:
    import nbformat  # as jupytext, it is there with JupyterLab only

STUB = "# YOUR CODE HERE\nraise NotImplementedError()"  # as nbgrader has it
SOLUTION = re.compile(r"^(?P<indent>[ \t]*)### BEGIN SOLUTION\n(?P<code>.*?)^[ \t]*### END SOLUTION$", re.M | re.S)
Grader = Literal["nbgrader", "otter"]
PACKAGED_SOURCE = Path(__file__).parent / "notebooks" / "source"  # in an installed wheel
CLONED_SOURCE = Path(__file__).parents[1] / "notebooks" / "source"  # in a clone
LINK = re.compile(r"(\]\(\d\d_\w+)\.ipynb\)")  # to another lesson
ANSWER = "answer"  # the tag of a cell that answers the one before it
EXERCISES_ONLY = "The lesson itself is `{}`. Write your answers here, and hand in this file; it runs within seconds."
OTTER_CONFIG = """# ASSIGNMENT CONFIG
name: {}
init_cell: false
export_cell: false
tests:
  ok_format: false"""
OTTER_SOLUTION = """\
{indent}\""" # BEGIN PROMPT
{stub}
{indent}\"""; # END PROMPT
{indent}# BEGIN SOLUTION NO PROMPT
{code}{indent}# END SOLUTION"""
OTTER_TEST = """\
def test_{check}({function}):
    from nst_lessons.exercises import {check}

    {check}.grade({function})"""
CHECK_CALL = re.compile(r"^(?P<check>check_\w+)\((?P<function>\w+)\)$", re.M)


def source_folder() -> Path:
    """Where the lessons' sources are."""
    return PACKAGED_SOURCE if PACKAGED_SOURCE.is_dir() else CLONED_SOURCE


def sources() -> list[Path]:
    """The lessons' sources, in order."""
    return sorted(source_folder().glob("*.py"))


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
    return SOLUTION.sub(stub, code)


def stub(solution: re.Match[str]) -> str:
    """The stub for a solution, at its depth."""
    return re.sub("^", solution["indent"], STUB, flags=re.M)


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
        cell.source = linked_to_solutions(cell.source)
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
    """Write the solutions edition, with the pages that it links to, into a folder, which is made.

    Returns:
        The names of the files that were written, and of those that were there already and are left as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lessons = {f"{path.stem}_solutions.ipynb": path for path in sources()}
    pages = {path.name: path for path in sorted(source_folder().parent.glob("*.md"))}
    names = [*lessons, *pages]
    kept = [name for name in names if (folder / name).exists()]
    written = [name for name in names if name not in kept]
    for name in written:
        if name in lessons:
            write(solutions_edition(lessons[name]), folder / name)
        else:
            with whole_file(folder / name) as file:
                file.write_text(linked_to_solutions(pages[name].read_text(encoding="utf-8")), encoding="utf-8")
    return written, kept


def linked_to_solutions(text: str) -> str:
    """Markdown whose links to lessons lead to their solutions."""
    return LINK.sub(r"\1_solutions.ipynb)", text)


def write_assignment(folder: Path, grader: Grader = "nbgrader", exercises_only: bool = False) -> list[Path]:
    """Write a grader's tree, ``source/NAME/NAME.ipynb``, into a folder, all of it or, after an error, none.

    Args:
        grader: who the notebooks are for.
        exercises_only: leave out the experiments, which take minutes; ``_exercises`` is appended to the names.

    Raises:
        ValueError: where there is a source tree already, which is left as it is.
    """
    tree = folder / "source"
    if tree.exists():
        raise ValueError(f"{tree} exists already; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with TemporaryDirectory(dir=folder, prefix=".") as temporary:
        unfinished = Path(temporary) / "source"
        for path in sources():
            notebook, name = read_source(path), path.stem
            if exercises_only:
                notebook, name = exercises_of(notebook, f"{name}.ipynb"), f"{name}_exercises"
            if grader == "otter":
                notebook = otter_master(notebook, name)
            (unfinished / name).mkdir(parents=True)
            write(notebook, unfinished / name / f"{name}.ipynb")
            written.append(tree / name / f"{name}.ipynb")
        unfinished.rename(tree)
    return written


def exercises_of(lesson: nbformat.NotebookNode, file: str) -> nbformat.NotebookNode:
    """What a lesson imports and prepares before its first section, and its exercises with their checks.

    Args:
        file: the lesson's name, for readers.
    """
    start = next(n for n, cell in enumerate(lesson.cells) if cell.source.startswith("## 1. "))
    title, *opening = lesson.cells[:start]
    heading = title.source.partition("\n")[0].removeprefix("# ")
    title.source = f"# Exercises of {heading[0].lower()}{heading[1:]}\n\n{EXERCISES_ONLY.format(file)}"
    exercises = [cell for cell in lesson.cells[start:] if "nbgrader" in cell.metadata or is_exercise(cell)]
    for cell in filter(is_exercise, exercises):
        cell.source = cell.source[1:]  # a second-level heading: the lesson's sections are not here
    lesson.cells = [title, *(cell for cell in opening if cell.cell_type == "code"), *exercises]
    return lesson


def is_exercise(cell: nbformat.NotebookNode) -> bool:
    """Whether a cell is the text of an exercise."""
    return bool(cell.cell_type == "markdown" and cell.source.startswith("### Exercise"))


def otter_master(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """A notebook for ``otter assign``: each exercise is a question, and its check the question's test.

    Students have the check as a cell, too, which does without otter-grader; otter skips it.
    """
    from nbformat.v4 import new_raw_cell

    cells = notebook.cells
    notebook.cells = [new_raw_cell(OTTER_CONFIG.format(name))]
    for cell, check in zip(cells, [*cells[1:], None], strict=True):
        mark = cell.metadata.pop("nbgrader", {})
        if mark.get("solution"):
            notebook.cells += otter_question(cell, check)
        else:
            notebook.cells.append(cell)
        if mark.get("grade"):
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "otter_ignore"]
    return notebook


def otter_question(answer: nbformat.NotebookNode, check: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """An exercise's answer, its name, its points and its test, each between the cells that ``otter assign`` knows."""
    from nbformat.v4 import new_code_cell, new_raw_cell

    mark, call = check.metadata["nbgrader"], CHECK_CALL.search(check.source)
    assert call, f"{check.source!r} calls no check of a function"
    answer.source = SOLUTION.sub(otter_solution, answer.source)
    test = new_code_cell(OTTER_TEST.format(**call.groupdict()))
    blocks = [new_raw_cell(f"# BEGIN QUESTION\nname: {mark['grade_id']}\npoints: {mark['points']}\ncheck_cell: false")]
    for block, cell in (("SOLUTION", answer), ("TESTS", test)):
        blocks += [new_raw_cell(f"# BEGIN {block}"), cell, new_raw_cell(f"# END {block}")]
    return [*blocks, new_raw_cell("# END QUESTION")]


def otter_solution(solution: re.Match[str]) -> str:
    """A solution between otter's marks, with the stub that students get."""
    return OTTER_SOLUTION.format(stub=stub(solution), **solution.groupdict())


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook, whole or not at all."""
    import nbformat

    with whole_file(path) as file:
        nbformat.write(notebook, file)
