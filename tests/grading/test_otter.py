"""otter-grader, end to end: what `otter assign` makes of the sources, hand-ins graded by `otter run`, without Docker.

otter-grader is not installed with the package; where `OTTER` names its command, or it is on the path, these tests run.
"""

import json
import os
import shutil
import zipfile
from pathlib import Path

import nbformat
import pytest
from hand_ins import GREEDY, LESSONS, STYLE, TRANSPOSED, answered, points, renamed, run, stored_answers, tampered

from nst_lessons.__main__ import main
from nst_lessons.editions import write

COMMAND = os.environ.get("OTTER") or shutil.which("otter")
pytestmark = pytest.mark.skipif(COMMAND is None, reason="otter-grader is not installed; OTTER may name its command")
NAME = f"{STYLE.stem}_exercises"


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course with a notebook for `otter assign` for each lesson."""
    course = tmp_path_factory.mktemp("course")
    assert main(["assignment", str(course), "--for", "otter", "--exercises-only"]) == 0
    return course


@pytest.fixture(scope="module")
def assign(course: Path):
    """Assign a lesson's exercises; otter refuses where the solutions don't get all points."""
    made = {}

    def assign(lesson: Path) -> Path:
        if lesson not in made:
            name = f"{lesson.stem}_exercises"
            run(COMMAND, "assign", f"source/{name}/{name}.ipynb", f"dist/{name}", folder=course)
            made[lesson] = course / "dist" / name
        return made[lesson]

    return assign


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_is_assigned_without_its_solutions(assign, lesson: Path) -> None:
    made = assign(lesson)
    student = nbformat.read(made / "student" / f"{lesson.stem}_exercises.ipynb", as_version=4)
    assert not any(mark in cell.source for cell in student.cells for mark in ("SOLUTION", "PROMPT", "otter"))
    stubs = [cell for cell in student.cells if "# YOUR CODE HERE\n    raise NotImplementedError()" in cell.source]
    assert len(stubs) == len(points(lesson))
    (autograder,) = (made / "autograder").glob("*.zip")
    with zipfile.ZipFile(autograder) as archive:  # what Gradescope asks for
        assert {"setup.sh", "run_autograder"} | {f"tests/{check}.py" for check in points(lesson)} <= {
            *archive.namelist()
        }


def grade(assign, tmp_path: Path, change) -> tuple[dict[str, float], str]:
    """The points of a hand-in, and what its student is told."""
    made = assign(STYLE)
    (autograder,) = (made / "autograder").glob("*.zip")
    write(change(nbformat.read(made / "student" / f"{NAME}.ipynb", as_version=4)), tmp_path / "mine.ipynb")
    run(COMMAND, "run", "-a", str(autograder), "mine.ipynb", folder=tmp_path)
    tests = json.loads((tmp_path / "results.json").read_text())["tests"]
    return {test["name"]: test["score"] for test in tests if "score" in test}, "\n".join(
        test.get("output", "") for test in tests
    )


def test_renamed_variables_and_extra_cells_do_not_matter(assign, tmp_path: Path) -> None:
    assert grade(assign, tmp_path, renamed)[0] == points(STYLE)


def test_wrong_answers_lose_their_points_and_no_others(assign, tmp_path: Path) -> None:
    wrong = {
        "gram_matrix_by_hand": TRANSPOSED,
        "weighted_style_loss": GREEDY,
        "shuffle_positions": stored_answers(),
    }
    score, said = grade(assign, tmp_path, lambda release: answered(release, wrong))
    lost = dict.fromkeys(["check_gram_matrix", "check_style_loss", "check_shuffle_positions"], 0)
    assert score == points(STYLE) | lost
    assert "it is transposed, C x C was asked" in said
    assert "raises MemoryError" in said


def test_tampering_with_checks_gains_nothing(assign, tmp_path: Path) -> None:
    lost = dict.fromkeys(["check_gram_matrix", "check_shuffle_positions", "check_layer_style_loss"], 0)
    assert grade(assign, tmp_path, tampered)[0] == points(STYLE) | lost
