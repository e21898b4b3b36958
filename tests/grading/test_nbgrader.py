"""nbgrader, end to end: assignments from the sources, hand-ins, their marks and what students are told.

nbgrader is not installed with the package; where `NBGRADER` names its command, or it is on the path, these tests run.
"""

import csv
import os
import shutil
from pathlib import Path

import nbformat
import pytest
from hand_ins import (
    ENDLESS,
    GREEDY,
    LESSONS,
    STYLE,
    TRANSPOSED,
    answered,
    points,
    renamed,
    run,
    stored_answers,
    tampered,
)

from nst_lessons.__main__ import main
from nst_lessons.editions import write

COMMAND = os.environ.get("NBGRADER") or shutil.which("nbgrader")
pytestmark = pytest.mark.skipif(COMMAND is None, reason="nbgrader is not installed; NBGRADER may name its command")
CONFIG = """
c = get_config()
c.CourseDirectory.course_id = "nst"
c.Execute.timeout = 120
"""


def hand_in(course: Path, student: str, assignment: str, notebook: nbformat.NotebookNode) -> None:
    folder = course / "submitted" / student / assignment
    folder.mkdir(parents=True)
    write(notebook, folder / f"{assignment}.ipynb")


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course with an assignment for each lesson: the teacher's solutions are graded, and for one lesson hand-ins."""
    course = tmp_path_factory.mktemp("course")
    (course / "nbgrader_config.py").write_text(CONFIG)
    assert main(["assignment", str(course), "--exercises-only"]) == 0
    for lesson in LESSONS:
        name = f"{lesson.stem}_exercises"
        run(COMMAND, "generate_assignment", name, "--create", folder=course)
        release = nbformat.read(course / "release" / name / f"{name}.ipynb", as_version=4)
        assert not any("SOLUTION" in cell.source for cell in release.cells)
        hand_in(course, "teacher", name, nbformat.read(course / "source" / name / f"{name}.ipynb", as_version=4))
        if lesson == STYLE:
            wrong = {"gram_matrix_by_hand": TRANSPOSED, "layer_style_loss": ENDLESS, "weighted_style_loss": GREEDY}
            hand_in(course, "ada", name, answered(release, {}))
            hand_in(course, "alan", name, answered(release, wrong))
            hand_in(course, "eve", name, answered(release, {"shuffle_positions": stored_answers()}))
            hand_in(course, "grace", name, renamed(release))
            hand_in(course, "mallory", name, tampered(release))
        run(COMMAND, "autograde", name, "--create", folder=course)
    run(COMMAND, "generate_feedback", f"{STYLE.stem}_exercises", folder=course)
    run(COMMAND, "export", "--to", "grades.csv", folder=course)
    return course


@pytest.fixture(scope="module")
def marks(course: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """Score and maximum, by student and assignment."""
    with (course / "grades.csv").open() as file:
        return {
            (row["student_id"], row["assignment"]): (float(row["score"]), float(row["max_score"]))
            for row in csv.DictReader(file)
        }


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_right_answers_get_all_points(marks, lesson: Path) -> None:
    whole = sum(points(lesson).values())
    assert whole > 0
    assert marks["teacher", f"{lesson.stem}_exercises"] == (whole, whole)


@pytest.mark.parametrize(
    ("student", "lost"),
    [
        ("ada", []),
        ("grace", []),
        ("alan", ["check_gram_matrix", "check_layer_style_loss", "check_style_loss"]),
        ("eve", ["check_shuffle_positions"]),
        ("mallory", ["check_gram_matrix", "check_shuffle_positions", "check_layer_style_loss"]),
    ],
)
def test_marks_are_as_expected(marks, student: str, lost: list[str]) -> None:
    given = points(STYLE)
    whole = sum(given.values())
    assert marks[student, f"{STYLE.stem}_exercises"] == (whole - sum(given[check] for check in lost), whole)
    assert sum(given[check] for check in lost) < whole


def feedback(course: Path, student: str) -> str:
    name = f"{STYLE.stem}_exercises"
    return (course / "feedback" / student / name / f"{name}.html").read_text()


def test_feedback_has_the_checks_sentences(course: Path) -> None:
    said = feedback(course, "alan")
    assert "it is transposed, C x C was asked" in said
    assert "is there a loop that never ends?" in said
    assert "raises MemoryError" in said
    assert "AssertionError" not in feedback(course, "ada")
