"""The bank of questions: whole, unambiguous, and each answer with a place in its lesson that shows it."""

import json
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import nbformat
import pytest

from nst_lessons import questions as bank
from nst_lessons.questions import LESSONS, questions

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PLACE = re.compile(r" \((figure|section): ([^()]+)\)\.$")
HEADING = re.compile(r"^#+ (?:\d+\. )?(.+)$", re.M)
TITLE = re.compile(r'title="([^"]+)"')
NUMBER = re.compile(r"(?<![\w.])\d[\d.,]*\d")  # of two digits or more, and no part of a layer's name

each_question = pytest.mark.parametrize("question", questions(), ids=lambda question: question.id)


def lesson_cells(lesson: int) -> list[nbformat.NotebookNode]:
    (path,) = NOTEBOOKS.glob(f"{lesson:02}_*.ipynb")
    return nbformat.read(path, as_version=4).cells


def places(lesson: int) -> dict[str, list[str]]:
    """The headings and the figures' titles of a lesson."""
    kinds = {"section": (HEADING, "markdown"), "figure": (TITLE, "code")}
    return {
        name: [
            found for cell in lesson_cells(lesson) if cell.cell_type == kind for found in pattern.findall(cell.source)
        ]
        for name, (pattern, kind) in kinds.items()
    }


def words(lesson: int) -> str:
    """What a lesson says: its text and code, what it prints, and the descriptions of its figures."""
    said = []
    for cell in lesson_cells(lesson):
        said.append(cell.source)
        for output in cell.get("outputs", []):
            said += [
                output.get("text", ""),
                output.get("data", {}).get("text/markdown", ""),
                str(output.get("metadata")),
            ]
    return "\n".join(said)


PLACES = {lesson: places(lesson) for lesson in range(1, LESSONS + 1)}
WORDS = {lesson: words(lesson) for lesson in range(1, LESSONS + 1)}


def test_there_are_enough_for_every_lesson():
    counts = Counter(question.lesson for question in questions())
    assert counts.keys() == set(range(1, LESSONS + 1))
    assert min(counts.values()) >= 4
    assert sum(counts.values()) >= 30


def test_ids_and_questions_differ():
    for field in ("id", "question"):
        values = [getattr(question, field) for question in questions()]
        assert len(set(values)) == len(values)


@each_question
def test_one_of_three_or_four_choices_is_right(question):
    assert len(question.choices) in (3, 4)
    assert len({choice.casefold().strip() for choice in question.choices}) == len(question.choices)
    assert question.choices.count(question.answer) == 1
    assert question.question.endswith("?")


@each_question
def test_a_place_in_the_lesson_shows_the_answer(question):
    """A heading may go on, as `How much style? The ratio ...` does; a figure's title is given as it is."""
    kind, name = PLACE.search(question.why).groups()
    found = PLACES[question.lesson][kind]
    assert any(place == name if kind == "figure" else place.startswith(name) for place in found), found


@each_question
def test_the_numbers_of_an_answer_are_the_lessons(question):
    """A lesson that is stored anew may have other ones."""
    numbers = NUMBER.findall(f"{question.answer}; {PLACE.sub('', question.why)}")
    assert [
        number for number in numbers if not re.search(rf"(?<![\d.,]){re.escape(number)}", WORDS[question.lesson])
    ] == []


def test_neither_place_nor_length_gives_the_answer_away():
    everything = questions()
    at = Counter(question.choices.index(question.answer) for question in everything)
    assert max(at.values()) < len(everything) / 2
    longest = [question.id for question in everything if max(question.choices, key=len) == question.answer]
    assert len(longest) < len(everything) / 3


def test_one_lessons_questions_are_those_of_all():
    assert [question for lesson in range(1, LESSONS + 1) for question in questions(lesson)] == questions()
    assert {question.lesson for question in questions(3)} == {3}


@pytest.mark.parametrize("lesson", [0, 7, 1.0, "1", True])
def test_an_unknown_lesson_is_refused(lesson):
    with pytest.raises(ValueError, match="lesson must be an integer from 1 to 6"):
        questions(lesson)


def test_an_answer_that_is_no_choice_is_named(tmp_path, monkeypatch):
    wrong = asdict(questions()[0]) | {"answer": "none"}
    monkeypatch.setattr(bank, "QUESTIONS", tmp_path / "questions.json")
    bank.QUESTIONS.write_text(json.dumps([wrong]), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"{wrong['id']}.*'none'; choose from"):
        questions()
