"""The bank of questions: quick checks in the lessons, and a quiz for a teacher. They are data, in `questions.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from nst_lessons.checks import check_choice, check_number

QUESTIONS = Path(__file__).with_name("questions.json")
LESSONS = 6


@dataclass(frozen=True)
class Question:
    """A question with three or four choices, of which one is right.

    `why` is one sentence. It ends with the place that shows it, ``(figure: its title)`` or ``(section: its heading)``.
    """

    id: str
    lesson: int
    question: str
    choices: tuple[str, ...]
    answer: str
    why: str

    def __post_init__(self) -> None:
        """Raise ValueError for an answer that is none of the choices."""
        check_choice(f"answer to the question {self.id!r}:", self.answer, self.choices)


def questions(lesson: int | None = None) -> list[Question]:
    """The questions of one lesson, or of all, in the file's order.

    Raises:
        ValueError: for a lesson other than 1 to 6, or where the file has an answer that is none of its choices.
    """
    if lesson is not None:
        check_number("lesson", lesson, 1, LESSONS, whole=True)
    entries = json.loads(QUESTIONS.read_text(encoding="utf-8"))
    bank = [Question(**entry | {"choices": tuple(entry["choices"])}) for entry in entries]
    return [question for question in bank if lesson in (None, question.lesson)]
