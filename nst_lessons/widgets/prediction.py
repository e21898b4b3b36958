"""Predict, commit, reveal: a guess before the cell that answers it, and both side by side afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets
from IPython.display import display

from nst_lessons.checks import check_choice
from nst_lessons.widgets.layout import paragraph


class Prediction:
    """A question with a few answers, of which the reader chooses one; without widgets, by setting `guess`."""

    def __init__(self, question: str, choices: Sequence[str]) -> None:
        self.question, self.choices = question, tuple(choices)
        self.buttons = widgets.RadioButtons(options=self.choices, value=None, layout=widgets.Layout(width="auto"))
        display(widgets.VBox([widgets.HTML(paragraph(question)), self.buttons]))

    @property
    def guess(self) -> str | None:
        """What the reader has chosen; None before. Setting it chooses; ValueError for what is no answer."""
        return self.buttons.value

    @guess.setter
    def guess(self, answer: str) -> None:
        check_choice("answer", answer, self.choices)
        self.buttons.value = answer

    def reveal(self, answer: str) -> None:
        """Print the guess beside what was measured, an answer.

        Raises:
            ValueError: for what is none of the answers.
        """
        check_choice("answer", answer, self.choices)
        print(f"{self.question} Your guess: {self.guess or 'none yet'}. Measured: {answer}.")


def predict(question: str, choices: Sequence[str]) -> Prediction:
    """Ask for a guess, with buttons; `Prediction.reveal` shows it later beside the answer.

    Args:
        question: one sentence, with its question mark.
        choices: the answers to choose from.
    """
    return Prediction(question, choices)
