"""The losses of a run, drawn ten times a second: matplotlib takes a tenth of a second for one figure."""

from __future__ import annotations

import math
from html import escape

from nst_lessons.figures import number, sentences
from nst_lessons.history import History
from nst_lessons.plots import line_words, loss_lines

WIDTH, HEIGHT = 660, 200
LEFT, RIGHT, TOP, BOTTOM = 60, 500, 14, 170
DASHES = ("", "9 4", "2 4", "12 4 2 4", "5 2", "2 2")  # told apart without colour, which follows the page's theme
MOST_POINTS = 200


def loss_curves(history: History, at: int | None = None) -> str:
    """The weighted losses of a run and their sum by step, on a logarithmic scale, as HTML; "" when none is positive.

    Args:
        history: of one run; a thin line marks where a stage of it begins.
        at: a step whose losses are ringed.
    """
    lines = loss_lines(history)
    drawn = {label: {step: loss for step, loss in line.items() if 0 < loss < math.inf} for label, line in lines.items()}
    values = [loss for line in drawn.values() for loss in line.values()]
    if not values:
        return ""
    last = max(1, len(history.losses) - 1)
    low, high = math.log10(min(values)), math.log10(max(values))

    def x(step: int) -> float:
        return LEFT + (RIGHT - LEFT) * step / last

    def y(loss: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (math.log10(loss) - low) / max(high - low, 1e-9)

    parts = [text(LEFT - 6, y(loss) + 4, number(loss), "end") for loss in {min(values), max(values)}]
    parts += [text(LEFT, HEIGHT - 12, "0"), text(RIGHT, HEIGHT - 12, f"step {last}", "end")]
    parts += [straight(x(step), TOP, x(step), BOTTOM, 'opacity="0.4"') for step in history.stages[1:]]
    parts.append(f'<polyline points="{LEFT},{TOP} {LEFT},{BOTTOM} {RIGHT},{BOTTOM}" opacity="0.4"/>')
    for n, (label, line) in enumerate(drawn.items()):
        dash = f'stroke-dasharray="{DASHES[n % len(DASHES)]}" stroke-width="{3 if label == "sum" else 2}"'
        every = max(1, len(line) // MOST_POINTS)
        points = " ".join(f"{x(step):.1f},{y(loss):.1f}" for step, loss in [*line.items()][::every])
        row = TOP + 10 + 20 * n
        parts.append(f'<polyline points="{points}" {dash}/>')
        parts += [straight(RIGHT + 14, row, RIGHT + 54, row, dash), text(RIGHT + 62, row + 4, label)]
        if at in line:
            parts.append(f'<circle cx="{x(at):.1f}" cy="{y(line[at]):.1f}" r="6" stroke-width="2"/>')
    words = ["Losses by step, on a logarithmic scale", *line_words(lines)]
    words += [f"A thin line at step {step}: stage {stage} begins" for stage, step in enumerate(history.stages[1:], 2)]
    words += ["Losses of two stages cannot be compared"] if len(history.stages) > 1 else []
    words += [f"Rings mark step {at}"] if at is not None else []
    return (
        f'<svg role="img" aria-label="{escape(sentences(*words))}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        'style="display: block; max-width: 100%; height: auto" fill="none" stroke="currentColor" font-size="13">'
        f"{''.join(parts)}</svg>"
    )


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    """Words at a place of a drawing."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="currentColor" stroke="none">{escape(words)}</text>'


def straight(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """A straight line of a drawing."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'
