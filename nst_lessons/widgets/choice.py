"""A question with a few answers, of which the reader chooses one: what predictions and quick checks share."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets

from nst_lessons.checks import check_choice


class Choice:
    """A question and its answers as buttons; without widgets, the answer is chosen by setting `guess`."""

    def __init__(self, question: str, choices: Sequence[str]) -> None:
        self.question, self.choices = question, tuple(choices)
        self.buttons = widgets.RadioButtons(options=self.choices, value=None, layout=widgets.Layout(width="auto"))

    @property
    def guess(self) -> str | None:
        """What the reader has chosen; None before. Setting it chooses; ValueError for what is no answer."""
        return self.buttons.value

    @guess.setter
    def guess(self, answer: str) -> None:
        check_choice("answer", answer, self.choices)
        self.buttons.value = answer
