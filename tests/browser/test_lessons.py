"""The lessons as they are, in a real JupyterLab: every cell runs, and every explorer is there.

By default only lesson 1, which takes seconds: nbval runs them all. With `LESSONS=all` in the environment, all six.
"""

import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

pytestmark = pytest.mark.browser

LESSONS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
PATIENCE_SECONDS = 900  # for a whole lesson
VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_in_the_browser(chromium: Any, lab: tuple[str, str, Path], tmp_path: Path, lesson: Path) -> None:
    if lesson != LESSONS[0] and os.environ.get("LESSONS") != "all":
        pytest.skip("takes minutes; LESSONS=all runs it")
    address, token, folder = lab
    copy = Path(shutil.copy(lesson, folder))
    page = chromium.new_page(viewport={"width": 1360, "height": 1000})
    page.goto(f"{address}/doc/tree/{lesson.name}?token={token}")
    page.get_by_text("(ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.get_by_text("(ipykernel) | Busy").wait_for()
    page.get_by_text("(ipykernel) | Idle").wait_for(timeout=1000 * PATIENCE_SECONDS)
    before = copy.stat().st_mtime_ns
    page.keyboard.press("Control+s")
    deadline = time.monotonic() + 60
    while copy.stat().st_mtime_ns == before and time.monotonic() < deadline:
        time.sleep(0.2)
    cells = [cell for cell in nbformat.read(copy, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    explorers = sum(len(re.findall(r"^explore_\w+\(", cell.source, re.M)) for cell in cells)
    assert explorers >= 1
    assert sum(VIEW in output.get("data", {}) for output in outputs) > explorers  # and what asks questions
    page.screenshot(path=tmp_path / "lesson.png")
    page.close()
