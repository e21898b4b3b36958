"""nbgrader, end to end: an assignment from a lesson's source, three hand-ins, their marks and what they are told.

nbgrader is not installed with the package; where `NBGRADER` names its command, or it is on the path, these tests run.
Only the exercises are handed in, not the whole lesson, whose experiments take minutes.
"""

import csv
import os
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest

from nst_lessons.editions import read_source, write

COMMAND = os.environ.get("NBGRADER") or shutil.which("nbgrader")
pytestmark = pytest.mark.skipif(COMMAND is None, reason="nbgrader is not installed; NBGRADER may name its command")
LESSON = Path(__file__).parents[2] / "notebooks" / "source" / "04_style_reconstruction.py"
CONFIG = """
c = get_config()
c.CourseDirectory.course_id = "nst"
c.Execute.timeout = 120
"""
SOLUTION = re.compile(r"[ \t]*### BEGIN SOLUTION\n(.*?)[ \t]*### END SOLUTION", re.S)


def exercises() -> nbformat.NotebookNode:
    """The lesson's imports, its exercises and their checks."""
    notebook = read_source(LESSON)
    imports = next(cell for cell in notebook.cells if "import torch" in cell.source)
    imports.source = "import torch\nfrom nst_lessons import *\nfrom nst_lessons.exercises import *"
    notebook.cells = [imports, *(cell for cell in notebook.cells if "nbgrader" in cell.metadata)]
    return notebook


def nbgrader(course: Path, *arguments: str) -> str:
    """Run a command of nbgrader's in a course's folder."""
    environment = os.environ | {"PATH": f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [COMMAND, *arguments], cwd=course, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course in which three hand-ins are graded."""
    course = tmp_path_factory.mktemp("course")
    (course / "nbgrader_config.py").write_text(CONFIG)
    solved = exercises()
    (course / "source" / "style").mkdir(parents=True)
    write(solved, course / "source" / "style" / "style.ipynb")
    nbgrader(course, "generate_assignment", "style", "--create")
    release = nbformat.read(course / "release" / "style" / "style.ipynb", as_version=4)
    assert not any("SOLUTION" in cell.source for cell in release.cells)
    solutions = {
        cell.metadata.nbgrader["grade_id"]: cell.source for cell in solved.cells if "nbgrader" in cell.metadata
    }

    def hand_in(student: str, change) -> None:
        notebook = nbformat.from_dict(release)
        for cell in notebook.cells:
            mark = cell.metadata.get("nbgrader", {})
            if mark.get("solution") and not mark.get("grade"):
                cell.source = change(mark["grade_id"], solutions[mark["grade_id"]])
        if student == "grace":
            notebook.cells.insert(1, nbformat.v4.new_code_cell("answer = 6 * 7"))
        folder = course / "submitted" / student / "style"
        folder.mkdir(parents=True)
        write(notebook, folder / "style.ipynb")

    hand_in("ada", lambda name, solution: solution)
    hand_in("alan", lambda name, solution: WRONG.get(name, solution))
    hand_in("grace", lambda name, solution: solution.replace("features", "activations"))
    nbgrader(course, "autograde", "style", "--create")
    nbgrader(course, "generate_feedback", "style")
    nbgrader(course, "export", "--to", "grades.csv")
    return course


WRONG = {
    "gram_matrix_by_hand": "def gram_matrix_by_hand(features):\n"
    "    F = features.flatten(2)\n    return F.transpose(1, 2) @ F / F.shape[2]",
    "layer_style_loss": "def layer_style_loss(gram, target):\n    while True:\n        pass",
}


def test_marks_are_as_expected(course: Path) -> None:
    with (course / "grades.csv").open() as file:
        marks = {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(file)}
    whole = marks["ada"][1]
    assert whole > 0
    assert marks["ada"] == marks["grace"] == (whole, whole)
    lost = sum(
        cell.metadata.nbgrader["points"]
        for cell in exercises().cells
        if cell.metadata.get("nbgrader", {}).get("grade") and any(name in cell.source for name in WRONG)
    )
    assert marks["alan"] == (whole - lost, whole)
    assert 0 < marks["alan"][0] < whole


def test_feedback_has_the_checks_sentence(course: Path) -> None:
    feedback = (course / "feedback" / "alan" / "style" / "style.html").read_text()
    assert "it is transposed, C x C was asked" in feedback
    assert "is there a loop that never ends?" in feedback
    assert "AssertionError" not in (course / "feedback" / "ada" / "style" / "style.html").read_text()
