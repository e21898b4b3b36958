"""A question of the bank at the end of a lesson, which says at once whether an answer is right, and why."""

from __future__ import annotations

import ipywidgets as widgets
from IPython.display import display

from nst_lessons.checks import check_choice
from nst_lessons.questions import questions
from nst_lessons.widgets.choice import Choice
from nst_lessons.widgets.layout import paragraph

VIEW = "application/vnd.jupyter.widget-view+json"


class QuickCheck(Choice):
    """A question of the bank; a click on an answer shows the verdict below it."""

    def __init__(self, name: str) -> None:
        bank = {question.id: question for question in questions()}
        check_choice("question", name, bank)
        self.entry = bank[name]
        super().__init__(self.entry.question, self.entry.choices)
        below = widgets.HTML()
        self.buttons.observe(lambda _: setattr(below, "value", paragraph(self.verdict)), "value")
        box = widgets.VBox([widgets.HTML(paragraph(self.question)), self.buttons, below])
        words = "\n".join([self.question, *(f"- {choice}" for choice in self.choices)])  # where there are no widgets
        view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
        display({"text/plain": words, VIEW: view}, raw=True)

    @property
    def verdict(self) -> str:
        """Whether the reader's answer is right, and why."""
        if self.guess is None:
            return "Not answered yet."
        return f"{'Right.' if self.guess == self.entry.answer else 'Not right.'} {self.entry.why}"


def quick_check(name: str) -> QuickCheck:
    """Ask a question of the bank, by its id; without buttons, set `guess` and look at `verdict`.

    Raises:
        ValueError: for an id that the bank does not have.
    """
    return QuickCheck(name)
