"""Predict, commit, reveal: a guess before the cell that answers it, and both side by side afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets
from IPython.display import display

from nst_lessons.checks import check_choice
from nst_lessons.widgets.choice import Choice
from nst_lessons.widgets.layout import paragraph


class Prediction(Choice):
    """A question whose answer is measured later."""

    def __init__(self, question: str, choices: Sequence[str]) -> None:
        super().__init__(question, choices)
        display(widgets.VBox([widgets.HTML(paragraph(question)), self.buttons]))

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
