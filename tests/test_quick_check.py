"""Quick checks: right or not, and why; with buttons, without them, and where only the words can be shown."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from nst_lessons.editions import student_edition
from nst_lessons.questions import questions
from nst_lessons.widgets import quick_check, quick_checks
from store_notebooks import WIDGET, without_view

SOURCES = sorted((Path(__file__).parents[1] / "notebooks" / "source").glob("*.py"))
QUESTION = next(question for question in questions() if question.id == "zero-to-255")


def show(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is displayed from now on."""
    shown = []
    monkeypatch.setattr(quick_checks, "display", lambda data, raw: shown.append(data))
    return shown


@pytest.mark.parametrize("choice", QUESTION.choices)
def test_a_click_says_whether_it_is_right_and_why(monkeypatch, choice):
    show(monkeypatch)
    check = quick_check(QUESTION.id)
    assert (check.guess, check.verdict) == (None, "Not answered yet.")
    check.buttons.value = choice
    assert check.verdict.startswith("Right. " if choice == QUESTION.answer else "Not right. ")
    assert check.verdict.endswith(QUESTION.why)


def test_the_verdict_follows_every_click(monkeypatch):
    boxes = []
    monkeypatch.setattr(quick_checks.widgets, "VBox", lambda children: boxes.append(children) or Box())
    show(monkeypatch)
    check = quick_check(QUESTION.id)
    question, buttons, below = boxes[0]
    assert (below.value, buttons) == ("", check.buttons)
    assert QUESTION.question in question.value
    for choice in QUESTION.choices:
        buttons.value = choice
        assert (">Right. " in below.value) == (choice == QUESTION.answer)


class Box:
    model_id = "42"


def test_without_buttons_a_guess_is_set(monkeypatch):
    show(monkeypatch)
    check = quick_check(QUESTION.id)
    with pytest.raises(ValueError, match="unknown answer 'all'; choose from PyTorch raises an error, "):
        check.guess = "all"
    check.guess = QUESTION.answer
    assert check.verdict.startswith("Right. ")


def test_an_unknown_question_is_refused():
    with pytest.raises(ValueError, match="unknown question 'none'; choose from image-tensor, "):
        quick_check("none")


def test_what_is_stored_is_the_question_and_its_choices(tmp_path):
    code = f'from nst_lessons.widgets import quick_check\n\ncheck = quick_check("{QUESTION.id}")'
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(tmp_path))
    (output,) = notebook.cells[0].outputs
    assert WIDGET in output.data
    assert without_view(output)
    assert output.data == {"text/plain": "\n".join([QUESTION.question, *(f"- {c}" for c in QUESTION.choices)])}


def test_a_widget_that_only_names_itself_is_not_stored():
    for words in ("VBox(children=(Label(value=''),))", ""):
        assert not without_view(nbformat.v4.new_output("display_data", {"text/plain": words, WIDGET: {}}))
    assert without_view(nbformat.v4.new_output("display_data", {"text/plain": "a figure"}))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_each_lesson_ends_with_questions_of_its_own(path):
    code = "\n".join(cell.source for cell in student_edition(path).cells if cell.cell_type == "code")
    asked = re.findall(r'quick_check\("([^"]+)"\)', code)
    assert 2 <= len(asked) == len(set(asked)) <= 3
    assert set(asked) <= {question.id for question in questions(int(path.stem[:2]))}
