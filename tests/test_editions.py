"""One source, three editions: what students get, the solutions, and a grader's tree."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from nst_lessons import editions, lab
from nst_lessons.__main__ import main
from nst_lessons.editions import (
    exercises_of,
    otter_master,
    read_source,
    solutions_edition,
    solved_source,
    student_edition,
    student_source,
    write,
)

LESSON = '''# %% [markdown]
# # A lesson
#
# What is twice two? The [next](02_second.ipynb) asks more.

# %% [markdown] tags=["answer"]
# **Answer.** Four.

# %% tags=["nbval-check-output"]
print("given")

# %% nbgrader={"grade": false, "grade_id": "double", "locked": false, "schema_version": 3, "solution": true}
def double(x):
    """Twice as much."""
    ### BEGIN SOLUTION
    if x:
        return 2 * x
    return x
    ### END SOLUTION


first = 1
### BEGIN SOLUTION
second = double(first)
### END SOLUTION
'''


@pytest.fixture
def source(tmp_path, monkeypatch):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "01_first.py").write_text(LESSON)
    monkeypatch.setattr(editions, "PACKAGED_SOURCE", folder)
    return folder / "01_first.py"


def test_students_get_a_stub_where_a_solution_was(source):
    (_, given, exercise) = student_edition(source).cells
    assert given.source == 'print("given")'
    assert given.metadata == {"tags": ["nbval-check-output"]}
    assert exercise.source == (
        'def double(x):\n    """Twice as much."""\n    # YOUR CODE HERE\n    raise NotImplementedError()\n\n\n'
        "first = 1\n# YOUR CODE HERE\nraise NotImplementedError()"
    )
    assert exercise.metadata == {}


def test_answers_are_in_the_solutions_only_and_move_no_number(source):
    title, answer, *rest = solutions_edition(source).cells
    assert answer.source == "**Answer.** Four."
    assert "[next](02_second_solutions.ipynb)" in title.source
    assert answer.id == f"{title.id}-answer"
    for cells in (student_edition(source).cells, read_source(source).cells):
        assert [cell.id for cell in cells] == [title.id, *(cell.id for cell in rest)]
        assert "[next](02_second.ipynb)" in cells[0].source
        assert not any("Four" in cell.source for cell in cells)


def test_the_solutions_are_without_marks(source):
    exercise = solutions_edition(source).cells[-1]
    assert "SOLUTION" not in exercise.source
    scope = {}
    exec(exercise.source, scope)
    assert scope["second"] == 2


def test_code_without_marks_stays_as_it_is():
    code = "x = 1  # BEGIN SOLUTION\n"
    assert student_source(code) == solved_source(code) == code


def test_nbgrader_gets_its_marks(source, folder, capsys):
    assert main(["assignment", "course"]) == 0
    assert "wrote 1 lessons into course/source" in capsys.readouterr().out
    notebook = nbformat.read("course/source/01_first/01_first.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[-1].metadata.nbgrader.grade_id == "double"
    assert notebook.cells[-1].source.count("### BEGIN SOLUTION") == 2
    assert not any("Four" in cell.source for cell in notebook.cells)
    assert main(["assignment", "course"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_graders_tree_is_written_whole_or_not_at_all(folder, monkeypatch, capsys):
    """Half a tree would be taken for a whole one, and stand in the way of the next."""
    written = []

    def write_two(notebook, path):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        write(notebook, path)
        written.append(path)

    monkeypatch.setattr(editions, "write", write_two)
    assert main(["assignment", "course"]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list(Path("course").iterdir())
    monkeypatch.undo()
    assert main(["assignment", str(folder / "course")]) == 0
    assert [path.name for path in Path(folder, "course").iterdir()] == ["source"]


@pytest.mark.parametrize("options", [[], ["--exercises-only"]])
def test_otters_tree_is_named_as_nbgraders(folder, capsys, options):
    assert main(["assignment", "mine", *options]) == main(["assignment", "other", "--for", "otter", *options]) == 0
    assert "as otter wants them" in capsys.readouterr().out
    mine, other = (sorted(path.relative_to(top) for path in Path(top).rglob("*.ipynb")) for top in ("mine", "other"))
    assert mine == other
    assert len(mine) == 6
    assert all(path.stem.endswith("_exercises") == bool(options) for path in mine)


def test_solutions_are_opened_in_a_folder_of_their_own(source, folder, monkeypatch, capsys):
    launched = []
    monkeypatch.setattr(lab, "find_spec", lambda name: name)  # JupyterLab need not be installed
    monkeypatch.setattr(lab, "run_jupyterlab", lambda arguments: launched.append(arguments[0]) or 0)
    assert main(["lab", "--solutions", "--no-browser"]) == 0
    file = folder / "nst_lessons_solutions" / "01_first_solutions.ipynb"
    assert "copied to nst_lessons_solutions: 01_first_solutions.ipynb" in capsys.readouterr().out
    file.write_text("my own notes")
    assert main(["lab", "mine", "--solutions"]) == 0
    assert main(["lab", "--solutions"]) == 0
    assert "kept as they are" in capsys.readouterr().out
    assert file.read_text() == "my own notes"
    assert launched == ["nst_lessons_solutions", "mine", "nst_lessons_solutions"]


@pytest.mark.parametrize("command", [["assignment", "course"], ["lab", "--solutions"]])
def test_without_jupytext_the_remedy_is_named(source, folder, monkeypatch, capsys, command):
    monkeypatch.setattr(editions, "find_spec", lambda name: None)
    assert main(command) == 2
    assert 'pip install "nst-lessons[lab]"' in capsys.readouterr().err


NOTEBOOKS = Path(__file__).parents[1] / "notebooks"  # of the clone, also where an installed wheel is tested
LESSONS = sorted((NOTEBOOKS / "source").glob("*.py"))


def test_each_lesson_has_a_source():
    stored = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    assert [path.stem for path in LESSONS] == stored
    assert len(stored) == 6


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_stored_lesson_is_its_source_without_the_solutions(path):
    stored = nbformat.read(path.parents[1] / f"{path.stem}.ipynb", as_version=4)
    made = student_edition(path)
    assert len(stored.cells) == len(made.cells)
    for ours, theirs in zip(stored.cells, made.cells, strict=True):
        assert (ours.cell_type, ours.source, ours.id) == (theirs.cell_type, theirs.source, theirs.id)
        assert ours.metadata.get("tags") == theirs.metadata.get("tags")
    assert not any("SOLUTION" in cell.source for cell in stored.cells)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_graded_cells_have_names_of_their_own(path):
    marks = [cell.metadata.nbgrader for cell in read_source(path).cells if "nbgrader" in cell.metadata]
    names = [mark["grade_id"] for mark in marks]
    assert len(set(names)) == len(names)
    for mark in marks:
        assert mark["schema_version"] == 3
        assert ("points" in mark) == mark["grade"]


OPEN_QUESTION = re.compile(r"^## Try it$|^\*\*Try it\.\*\*", re.M)
NUMBERS = re.compile(r"^\d(?=\. )", re.M)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_whatever_is_to_be_tried_has_an_answer(path):
    cells = solutions_edition(path).cells
    asked = [n for n, cell in enumerate(cells) if OPEN_QUESTION.search(cell.source)]
    answers = [n for n, cell in enumerate(cells) if cell.id.endswith("answer")]
    assert asked and {n + 1 for n in asked} <= set(answers)
    for n in answers:
        assert cells[n].cell_type == "markdown" and cells[n].source.startswith("**Answer.**")
    for n in asked:
        question = OPEN_QUESTION.split(cells[n].source)[1].partition("<details>")[0]
        assert NUMBERS.findall(cells[n + 1].source) == NUMBERS.findall(question)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_exercises_alone_are_graded_as_in_the_lesson(path):
    lesson, alone = read_source(path), exercises_of(read_source(path), "lesson.ipynb")
    nbformat.validate(alone)
    marked = [[cell for cell in notebook.cells if "nbgrader" in cell.metadata] for notebook in (lesson, alone)]
    assert marked[0] == marked[1]
    headings = [cell.source.split()[0] for cell in alone.cells if cell.cell_type == "markdown"]
    assert headings == ["#", *["##"] * (len(marked[0]) // 2)]
    assert len(alone.cells) < len(lesson.cells) / 2
    assert "lesson.ipynb" in alone.cells[0].source


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_otter_gets_each_exercise_as_a_question(path):
    marks = [cell.metadata.nbgrader for cell in read_source(path).cells if "nbgrader" in cell.metadata]
    made = otter_master(read_source(path), path.stem)
    nbformat.validate(made)
    blocks = [cell.source.splitlines() for cell in made.cells if cell.cell_type == "raw"]
    assert blocks.pop(0)[:2] == ["# ASSIGNMENT CONFIG", f"name: {path.stem}"]
    questions = [block[1:3] for block in blocks if block[0] == "# BEGIN QUESTION"]
    assert questions == [[f"name: {m['grade_id']}", f"points: {m['points']}"] for m in marks if m["grade"]]
    assert len(blocks) == 6 * len(questions)  # question, solution and tests begin and end
    for code in (cell.source for cell in made.cells if cell.cell_type == "code" and "%pip" not in cell.source):
        ast.parse(code)
        assert "###" not in code
    ignored = [cell for cell in made.cells if "otter_ignore" in cell.metadata.get("tags", [])]
    assert [cell.source.splitlines()[-1].partition("(")[0] for cell in ignored] == [q[0][6:] for q in questions]


def said(path, change, capsys):
    """What the checks of a lesson say of its solutions, or of its stubs."""
    scope = {"__name__": "__main__"}  # as in a notebook
    exec("import torch\nfrom nst_lessons import *\nfrom nst_lessons.exercises import *", scope)
    for cell in read_source(path).cells:
        if "nbgrader" in cell.metadata:
            exec(change(cell.source), scope)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_check_is_green_with_the_solutions_and_none_with_the_stubs(path, capsys):
    checks = [cell for cell in read_source(path).cells if cell.metadata.get("nbgrader", {}).get("grade")]
    solved, stubs = said(path, solved_source, capsys), said(path, student_source, capsys)
    assert len(solved) == len(stubs) == len(checks)
    assert all(line.endswith(": right.") for line in solved)
    assert all(line.endswith(": not attempted yet.") for line in stubs)
