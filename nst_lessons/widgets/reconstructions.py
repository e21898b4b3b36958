"""The explorer of lessons 3 and 4: the snapshots of runs."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as widgets
from torch import Tensor

from nst_lessons.checks import check_mapping, shown
from nst_lessons.history import Result
from nst_lessons.images import check_image
from nst_lessons.widgets.curves import loss_curves
from nst_lessons.widgets.layout import Panels, explorer, helped, paragraph, slider


def explore_reconstructions(results: Mapping[str, Result], original: Tensor | None = None) -> widgets.VBox:
    """Lessons 3 and 4: step through the snapshots of runs.

    Args:
        results: runs by name, such as the layer; each with snapshots, from ``reconstruct_content(...,
            snapshots=range(0, 150, 10))``.
        original: ``(1, 3, H, W)`` in [0, 1], shown beside them.

    Raises:
        ValueError: when there is no run, or one has no snapshots.
    """
    check_mapping("results", results)
    for name, result in results.items():
        if not isinstance(result, Result):
            raise ValueError(f"{name} must be a Result, not {shown(result)}")
    if original is not None:
        check_image(original, "the original")
    bare = [name for name, result in results.items() if not result.history.snapshots]
    if bare or not results:
        raise ValueError(f"no snapshots of {', '.join(bare) or 'any run'}; make runs with snapshots=range(0, 150, 10)")
    steps = {name: sorted(result.history.snapshots) for name, result in results.items()}
    name = helped(widgets.Dropdown(options=list(results), description="layers"), "which of the runs")
    step = helped(slider("step", steps[name.value], steps[name.value][-1]), "of the run, from its first to its last")
    play = widgets.Play(min=0, max=len(step.options) - 1, value=step.index, interval=400, description="play the run")
    helped(play, "step by step")
    widgets.link((play, "value"), (step, "index"))

    def follow(moved: str) -> None:
        if moved == "name" and list(step.options) != steps[name.value]:
            play.max = len(steps[name.value]) - 1
            step.options = steps[name.value]

    return explorer(
        lambda **settings: render_reconstruction(results, original, **settings),
        {"name": name, "step": step},
        [play],
        follow,
    )


def render_reconstruction(
    results: Mapping[str, Result], original: Tensor | None, *, name: str, step: int
) -> tuple[Panels, str]:
    """The snapshot of one step of one run, beside the original if there is one, and the loss at that step.

    Losses of two stages cannot be compared: the loss is set against that with which its stage began.
    """
    result = results[name]
    history, totals = result.history, result.history.totals
    begin = max(begin for begin in history.stages if begin <= step)
    text = (
        f"{name}, step {step} of {len(totals) - 1}: loss {totals[step]:.3g}, "
        f"{totals[step] / max(totals[begin], 1e-30):.2%} of the loss at step {begin}"
        f"{', where its stage began' if begin else ''}. The run has ended: {result.stopped}."
    )
    panels = {"the original": original} if original is not None else {}
    words = paragraph(text, live=True) + loss_curves(history, at=step)
    return {f"step {step}": history.snapshots[step]} | panels, words
