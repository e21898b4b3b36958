"""Exercises and predictions in a real JupyterLab: what a student reads after a wrong answer, and after a right one."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from mistakes import MISTAKES
from test_explorers import CELL, EDITOR, OUTPUT, TROUBLE

from nst_lessons.editions import read_source, solved_source, student_source

pytestmark = pytest.mark.browser

SETUP = """import torch
from nst_lessons import *
from nst_lessons.exercises import *
from nst_lessons.widgets import predict"""
WRONG = """def gram_matrix_by_hand(features):
    F = features.flatten(2)
    return F.transpose(1, 2) @ F

check_gram_matrix(gram_matrix_by_hand)"""
BROKEN = """def gram_matrix_by_hand(features):
    rows = features.flaten(2)
    return rows

check_gram_matrix(gram_matrix_by_hand)"""
ENDLESS = """import nst_lessons.exercises.checking as checking
checking.SECONDS = 1

def gram_matrix_by_hand(features):
    while True:
        pass

check_gram_matrix(gram_matrix_by_hand)"""


def exercises(lesson: str, change: Callable[[str], str]) -> list[str]:
    """A lesson's exercises and checks, as an edition has them."""
    (path,) = (Path(__file__).parents[2] / "notebooks" / "source").glob(f"{lesson}_*.py")
    return [change(cell.source) for cell in read_source(path).cells if "nbgrader" in cell.metadata]


def mistaken(code: str) -> str:
    """An exercise's cell with a solution that is wrong, and how it is used."""
    solved = solved_source(code)
    for name, (right, wrong, _) in MISTAKES.items():
        if f"def {name}(" in code:
            assert right in solved
            return solved.replace(right, wrong, 1)
    return solved


def one_by_one(wrong: list[str], solved: list[str]) -> list[str]:
    """Each mistake with its check, and the right function again, which later exercises call."""
    cells = []
    for exercise, check, right in zip(wrong[::2], wrong[1::2], solved[::2], strict=True):
        cells += [exercise, check, right]
    return cells


@pytest.mark.parametrize("lesson", ["01", "02", "03", "04", "05", "06"])
def test_stubs_speak_mistakes_are_named_and_solutions_are_right(
    open_notebook: Callable, tmp_path: Path, lesson: str
) -> None:
    stubs, wrong, solved = (exercises(lesson, change) for change in (student_source, mistaken, solved_source))
    page = open_notebook(SETUP, *stubs, *one_by_one(wrong, solved), *solved, 'print("the end")')
    page.set_viewport_size({"width": 1360, "height": 9000})  # JupyterLab draws only the cells that are in sight
    page.locator(OUTPUT, has_text="the end").wait_for()
    text = " ".join(page.locator(OUTPUT).all_inner_texts())
    assert text.count(": not attempted yet.") == text.count(": right.") == len(stubs) // 2
    said = [MISTAKES[name][2] for name in re.findall(r"def (\w+)", " ".join(stubs)) if name in MISTAKES]
    assert len(said) == len(stubs) // 2
    for sentence in said:
        assert f": {sentence}" in " ".join(text.split())
    assert page.locator(TROUBLE).all_inner_texts() == []
    page.screenshot(path=tmp_path / "solved.png")


def test_mistakes_are_named(open_notebook: Callable, tmp_path: Path) -> None:
    page = open_notebook(SETUP, WRONG, BROKEN, ENDLESS, 'print("the end")')
    page.locator(OUTPUT, has_text="the end").wait_for()
    text = " ".join(" ".join(page.locator(OUTPUT).all_inner_texts()).split())
    assert "it is transposed, C x C was asked" in text
    assert "line 2, `rows = features.flaten(2)`, raises AttributeError" in text
    assert "still at work after 1 s; is there a loop that never ends?" in text
    assert page.locator(TROUBLE).all_inner_texts() == []
    page.screenshot(path=tmp_path / "mistakes.png")


def test_a_guess_is_committed_and_revealed(open_notebook: Callable, tmp_path: Path) -> None:
    page = open_notebook(SETUP, 'guess = predict("Which is larger?", ["left", "right"])', 'guess.reveal("left")')
    page.get_by_text("Your guess: none yet. Measured: left.").wait_for()
    page.get_by_label("right", exact=True).check()
    page.locator(CELL).nth(2).locator(EDITOR).click()
    page.keyboard.press("Shift+Enter")
    page.get_by_text("Your guess: right. Measured: left.").wait_for()
    page.screenshot(path=tmp_path / "revealed.png")


def test_a_quick_check_says_at_once_whether_it_is_right(open_notebook: Callable, tmp_path: Path) -> None:
    page = open_notebook('from nst_lessons.widgets import quick_check\n\ncheck = quick_check("batch-trap")')
    output = page.locator(OUTPUT)
    output.get_by_text("What is wrong with it?").wait_for()  # once: the words for readers without widgets are not shown
    assert "matrix is 128 x 128" not in output.inner_text()
    page.get_by_label("nothing, because a Gram matrix has no positions").check()
    output.get_by_text("Not right. The matrix is 128 x 128").wait_for()
    page.get_by_label("half of its entries mix the two paintings").check()
    output.get_by_text(re.compile("^Right. The matrix is 128 x 128")).wait_for()
    assert "Not right." not in output.inner_text()
    page.screenshot(path=tmp_path / "checked.png")
