"""The lessons as they are, in a real JupyterLab: every cell runs, and every explorer is there.

By default only lesson 1, which takes seconds: nbval runs them all. With `LESSONS=all` in the environment, all six.
"""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

pytestmark = pytest.mark.browser

LESSONS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
PATIENCE_SECONDS = 900  # for a whole lesson
VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_in_the_browser(lab: Any, open_file: Callable, tmp_path: Path, lesson: Path) -> None:
    if lesson != LESSONS[0] and os.environ.get("LESSONS") != "all":
        pytest.skip("takes minutes; LESSONS=all runs it")
    copy = lab.folder / lesson.name
    notebook = nbformat.read(lesson, as_version=4)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, copy)
    page = open_file(lesson.name)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not code_cells(notebook)[-1].outputs:  # it asks questions
        assert time.monotonic() < deadline
        page.wait_for_timeout(2000)
        page.keyboard.press("Control+s")
        notebook = nbformat.read(copy, as_version=4)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    explorers = sum(len(re.findall(r"^explore_\w+\(", cell.source, re.M)) for cell in cells)
    assert explorers >= 1
    assert sum(VIEW in output.get("data", {}) for output in outputs) > explorers  # and what asks questions
    page.screenshot(path=tmp_path / "lesson.png")
    page.close()


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """A notebook's code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]
