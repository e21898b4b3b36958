"""Plots: the figures of the lessons, with a title above, a caption below and alt text behind.

Every ``show_*`` and ``plot_*`` function draws a figure, displays it in the notebook and returns None. Title, caption
and labels are part of the picture, so that they are seen wherever the picture is. Lines differ by dashes and markers
and cells carry their numbers: nothing is said by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from typing_extensions import Unpack

from nst_lessons.checks import check_mapping, shown
from nst_lessons.figures import FAINT, INK, LABEL_SIZE, LINES, WIDTH, Words, grid, legend_beside, number, present
from nst_lessons.history import History, Label
from nst_lessons.image_files import to_pil


def show_images(images: Mapping[Label, Tensor], *, columns: int | None = None, **words: Unpack[Words]) -> None:
    """Images side by side, each under its label.

    Args:
        images: ``{label: (1, 3, H, W)}`` in [0, 1] (what lies outside is clamped); an int as label reads "step 10".
        columns: in a row; by default up to five, in rows that are about equally full.
        words: see `Words`.

    Raises:
        ValueError: when there are no images.
        ImageError: for a tensor that is no image.
    """
    check_mapping("images", images)
    labels = [f"step {label}" if isinstance(label, int) else str(label) for label in images]
    pictures = [to_pil(image) for image in images.values()]
    tallest = max((picture.height / picture.width for picture in pictures), default=1.0)
    figure, axes = grid(len(pictures), columns, tallest)
    for ax, label, picture in zip(axes, labels, pictures, strict=False):
        ax.imshow(picture)
        ax.set_title(label, fontsize=LABEL_SIZE, color=INK)
    present(figure, f"Pictures: {', '.join(labels)}", **words)


def show_feature_maps(
    maps: Tensor, *, channels: Iterable[int] | None = None, count: int = 16, **words: Unpack[Words]
) -> None:
    """A layer's channels as pictures, bright where active, each from its own smallest value to its largest.

    Args:
        maps: ``(1, C, H, W)``, any range.
        channels: which; by default the first ones.
        count: how many, at most.
        words: see `Words`; the shape is added to the title.

    Raises:
        ValueError: for a tensor of another shape, or a channel that is not there.
    """
    if not isinstance(maps, Tensor) or maps.ndim != 4 or len(maps) != 1:
        raise ValueError(f"feature maps have shape (1, C, H, W), not {shown(maps)}")
    chosen = list(range(maps.shape[1]) if channels is None else channels)[:count]
    if absent := [channel for channel in chosen if not 0 <= channel < maps.shape[1]]:
        raise ValueError(f"no channels {absent}; there are 0 to {maps.shape[1] - 1}")
    figure, axes = grid(len(chosen), min(8, max(4, len(chosen))), maps.shape[2] / maps.shape[3], largest=1.6)
    for ax, channel in zip(axes, chosen, strict=False):
        ax.imshow(maps[0, channel].detach().float().cpu().numpy(), cmap="magma")
        ax.set_title(str(channel), fontsize=LABEL_SIZE - 1, color=INK, pad=3)
    shape = f"{maps.shape[1]} channels of {maps.shape[3]} x {maps.shape[2]}"
    words["title"] = f"{words['title']}: {shape}" if words.get("title") else shape
    present(figure, f"Activation maps of channels {', '.join(map(str, chosen))}", **words)


def show_filters(weight: Tensor, *, columns: int | None = None, **words: Unpack[Words]) -> None:
    """First-layer filters as little RGB images: mid-grey is 0, each filter scaled by its largest weight.

    Args:
        weight: ``(C, 3, h, w)``, such as ``backbone.conv1_1.weight``.
        columns: in a row; by default 8, or 16 from 33 filters on.
        words: see `Words`.

    Raises:
        ValueError: for a tensor of another shape.
    """
    if not isinstance(weight, Tensor) or weight.ndim != 4 or weight.shape[1] != 3:
        raise ValueError(f"first-layer filters have shape (C, 3, h, w), not {shown(weight)}")
    weight = weight.detach().float().cpu()
    largest = weight.abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
    columns = columns or (16 if len(weight) > 32 else 8)
    figure, axes = grid(len(weight), columns, weight.shape[2] / weight.shape[3], largest=1.0)
    for n, (ax, pixels) in enumerate(zip(axes, 0.5 + 0.5 * weight / largest, strict=False)):
        ax.imshow(pixels.permute(1, 2, 0).numpy(), interpolation="nearest")
        ax.set_title(str(n), fontsize=LABEL_SIZE - 2, color=INK, pad=2)
    present(figure, f"{len(weight)} filters as small RGB images", **words)


def show_boxes(image: Tensor, boxes: Mapping[str, tuple[int, int, int, int]], **words: Unpack[Words]) -> None:
    """An image with labelled boxes on it, such as receptive fields.

    Args:
        image: ``(1, 3, H, W)`` in [0, 1].
        boxes: ``{label: (top, left, bottom, right)}`` in pixels; bottom and right are the first ones outside.
        words: see `Words`.

    Raises:
        ImageError: for a tensor that is no image.
    """
    picture = to_pil(image)
    check_mapping("boxes", boxes)
    figure, (ax,) = grid(1, 1, picture.height / picture.width, largest=5.5)
    figure.set_figwidth(WIDTH)
    ax.imshow(picture)
    for n, (label, (top, left, bottom, right)) in enumerate(boxes.items()):
        place, line = ((left - 0.5, top - 0.5), right - left, bottom - top), LINES[n % len(LINES)]
        ax.add_patch(Rectangle(*place, fill=False, edgecolor="white", linewidth=4))
        style: dict[str, Any] = {"edgecolor": line["color"], "linestyle": line["linestyle"], "linewidth": 2}
        ax.add_patch(Rectangle(*place, fill=False, **style, label=label))
    legend_beside(ax)
    places = (
        f"{label}: rows {top} to {bottom - 1}, columns {left} to {right - 1}"
        for label, (top, left, bottom, right) in boxes.items()
    )
    present(figure, *places, **words)


def show_matrix(matrices: Mapping[str, Tensor], **words: Unpack[Words]) -> None:
    """Matrices as pictures, each with its own colour bar.

    Matrices without negative values, such as Gram matrices of ReLU layers, are drawn on a square-root scale, because
    a few large values would leave all others dark; others from blue (negative) over white (0) to red (positive).

    Args:
        matrices: ``{label: (N, M) or (1, N, M)}``.
        words: see `Words`.

    Raises:
        ValueError: for a tensor of another shape.
    """
    check_mapping("matrices", matrices)
    figure, axes = grid(len(matrices), None, 0.85)
    words_of_each = []
    for ax, (label, tensor) in zip(axes, matrices.items(), strict=False):
        if not isinstance(tensor, Tensor) or tensor.shape[:-2] not in ((), (1,)) or tensor.ndim < 2:
            raise ValueError(f"{label}: a matrix has shape (N, M) or (1, N, M), not {shown(tensor)}")
        values = tensor.detach().float().cpu().reshape(tensor.shape[-2:])
        low, high = map(float, values.aminmax())
        draw_matrix(ax, values, max(abs(low), abs(high)) or 1.0, signed=low < 0)
        ax.set_title(f"{label}\n{values.shape[0]} x {values.shape[1]}", fontsize=LABEL_SIZE, color=INK)
        words_of_each.append(f"{label}: {values.shape[0]} x {values.shape[1]} values from {low:.2g} to {high:.2g}")
    present(figure, *words_of_each, **words)


def draw_matrix(ax: Axes, values: Tensor, largest: float, *, signed: bool) -> None:
    """One matrix ``(N, M)`` and its colour bar, up to the largest absolute value."""
    norm = Normalize(-largest, largest) if signed else PowerNorm(0.5, vmin=0, vmax=largest)
    drawn = ax.imshow(values.numpy(), cmap="RdBu_r" if signed else "magma", norm=norm)
    bar = ax.figure.colorbar(drawn, ax=ax, fraction=0.05, pad=0.03, ticks=MaxNLocator(4))
    bar.ax.tick_params(labelsize=LABEL_SIZE - 2, colors=INK)
    bar.outline.set_visible(False)


def show_heat_map(
    values: Mapping[str, Mapping[str, float]], *, darkest: float | None = None, **words: Unpack[Words]
) -> None:
    """A table whose cells are darker where the number in them is larger.

    With negative numbers among them, from blue (negative) over white (0) to red (positive).

    Args:
        values: ``{row: {column: value}}``; every row has the same columns.
        darkest: from which absolute value on a cell is darkest; by default the largest.
        words: see `Words`.

    Raises:
        ValueError: when there are no values, or rows differ in their columns.
    """
    check_table("values", values)
    rows = {str(row): dict(cells) for row, cells in values.items()}
    columns = list(next(iter(rows.values()), {}))
    if not columns or any(list(cells) != columns for cells in rows.values()):
        raise ValueError("every row must have the same columns, and there must be one at least")
    table = torch.tensor([list(cells.values()) for cells in rows.values()])
    figure = Figure(figsize=(min(WIDTH, 2.2 + 0.95 * len(columns)), 0.5 + 0.45 * len(rows)), layout="constrained")
    ax = figure.add_subplot()
    largest = darkest or float(table.abs().max()) or 1.0
    draw_cells(ax, table, Normalize(-largest if bool((table < 0).any()) else 0, largest, clip=True))
    ax.set_xticks(range(len(columns)), columns, fontsize=LABEL_SIZE, color=INK)
    ax.set_yticks(range(len(rows)), list(rows), fontsize=LABEL_SIZE, color=INK)
    cells_in_words = (
        f"{row}: {', '.join(f'{c} {number(v)}' for c, v in cells.items())}" for row, cells in rows.items()
    )
    present(figure, *cells_in_words, **words)


def check_table(name: str, table: Mapping[str, Mapping[Label, float]]) -> None:
    """Raise ValueError for what is no dict of dicts."""
    check_mapping(name, table)
    for row, cells in table.items():
        check_mapping(str(row), cells)


def draw_cells(ax: Axes, table: Tensor, scale: Normalize) -> None:
    """The cells of a table ``(N, M)``, shaded, with their numbers in them and white lines between them."""
    cmap = colormaps["RdBu_r" if (scale.vmin or 0) < 0 else "Blues"]
    ax.imshow(table.numpy(), cmap=cmap, norm=scale, aspect="auto")
    for i, cells in enumerate(table.tolist()):
        for j, value in enumerate(cells):
            ink = "white" if luminance(cmap(scale(value))) < 0.18 else "black"  # a contrast of 4.5 to 1 or more
            ax.text(j, i, number(value), ha="center", va="center", fontsize=LABEL_SIZE, color=ink)
    ax.set_xticks([j - 0.5 for j in range(1, table.shape[1])], minor=True)
    ax.set_yticks([i - 0.5 for i in range(1, table.shape[0])], minor=True)
    ax.grid(which="minor", color="white", linewidth=2)
    ax.xaxis.tick_top()
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)


def luminance(rgba: tuple[float, ...]) -> float:
    """Relative luminance of a colour, 0 (black) to 1 (white); WCAG 2.1."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgba[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def plot_losses(histories: History | Mapping[str, History], **words: Unpack[Words]) -> None:
    """Losses by step, on a logarithmic scale: one run's weighted terms and their sum, or the sums of several runs.

    Terms that are never positive, such as those of weight 0, are left out: a logarithmic scale has no place for them.
    A thin line marks where a stage of one run begins.

    Args:
        histories: of one run, or ``{label: history}``.
        words: see `Words`.

    Raises:
        ValueError: when there is nothing to draw.
    """
    begins = histories.stages[1:] if isinstance(histories, History) else []
    lines = loss_lines(histories)
    figure, ax = line_figure(lines, "step", "loss", log=True)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    parts = ["Losses by step, on a logarithmic scale", *line_words(lines)]
    for stage, step in enumerate(begins, start=2):
        ax.axvline(step, color=FAINT, linewidth=0.8, zorder=1)
        top = ax.get_xaxis_transform()
        ax.text(step, 1, f"stage {stage}", transform=top, ha="center", va="bottom", size=LABEL_SIZE - 1, color=INK)
        parts.append(f"A thin line at step {step}: stage {stage} begins")
    if begins:
        parts.append("Losses of two stages cannot be compared")
    present(figure, *parts, **words)


def loss_lines(histories: History | Mapping[str, History]) -> dict[str, dict[int, float]]:
    """The lines of `plot_losses`, ``{label: {step: loss}}``."""
    if isinstance(histories, History):
        names = dict.fromkeys(name for losses in histories.losses for name in losses)
        lines = {name: [losses.get(name, math.nan) for losses in histories.losses] for name in names}
    else:
        check_mapping("histories", histories)
        if strange := [history for history in histories.values() if not isinstance(history, History)]:
            raise ValueError(f"a run's losses are its History, not {shown(strange[0])}; give its .history")
        lines = {str(label): history.totals for label, history in histories.items()}
    positive = {label: dict(enumerate(line)) for label, line in lines.items() if any(value > 0 for value in line)}
    if isinstance(histories, History) and len(positive) > 1:
        positive["sum"] = dict(enumerate(histories.totals))
    return positive


def plot_lines(
    lines: Mapping[str, Mapping[Label, float]], *, xlabel: str, ylabel: str, log: bool = False, **words: Unpack[Words]
) -> None:
    """Lines with markers, told apart by dashes, markers and colour.

    Args:
        lines: ``{label: {x: y}}``; x may be numbers, or words such as layer names.
        xlabel: below the horizontal axis.
        ylabel: beside the vertical axis.
        log: logarithmic vertical axis.
        words: see `Words`; in numbers, the alt text has first, last, smallest and largest value of every line.

    Raises:
        ValueError: when there is nothing to draw.
    """
    figure, _ = line_figure(lines, xlabel, ylabel, log=log)
    present(figure, f"{ylabel} by {xlabel}", *line_words(lines), **words)


def line_figure(
    lines: Mapping[str, Mapping[Label, float]], xlabel: str, ylabel: str, *, log: bool
) -> tuple[Figure, Axes]:
    """A figure of lines, see `plot_lines`, and its axes."""
    check_table("lines", lines)
    if not any(lines.values()):
        raise ValueError("no values to draw")
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    ax = figure.add_subplot()
    for n, (label, points) in enumerate(lines.items()):
        x: list[Any] = list(points)
        every, style = max(1, len(x) // 8), LINES[n % len(LINES)]
        ax.plot(x, list(points.values()), **style, label=label, markevery=every, ms=5, lw=1.8)
    if log:
        ax.set_yscale("log")
    ax.set_xlabel(xlabel, fontsize=LABEL_SIZE, color=INK)
    ax.set_ylabel(ylabel, fontsize=LABEL_SIZE, color=INK)
    ax.tick_params(labelsize=LABEL_SIZE - 1, colors=INK)
    ax.grid(color="#e5e5e5", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)
    if len(lines) > 1:
        legend_beside(ax)
    return figure, ax


def line_words(lines: Mapping[str, Mapping[Label, float]]) -> list[str]:
    """First, last, smallest and largest value of every line; the last two among its finite ones."""
    words = []
    for label, points in lines.items():
        values = list(points.values())
        finite = [value for value in values if math.isfinite(value)] or values
        words.append(
            f"{label}: {number(values[0])} at first, {number(values[-1])} at last, "
            f"from {number(min(finite))} to {number(max(finite))}"
        )
    return words
