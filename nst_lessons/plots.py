"""Plots: figures with a title above, a caption below and alt text behind; the only importer of matplotlib.

Every ``show_*`` and ``plot_*`` function draws a figure, displays it in the notebook and returns None. Title, caption
and labels are part of the picture, so that they are seen wherever the picture is. Lines differ by dashes and markers
and cells carry their numbers: nothing is said by colour alone.

Figures are made with matplotlib's objects and never with pyplot, whose list of open figures neither threads nor long
sessions get along with.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any

import torch
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from nst_lessons.history import History
from nst_lessons.images import to_pil

DPI = 100
WIDTH, HEIGHT = 9.0, 8.5  # inches: the panels of a figure fit on a screen
LARGEST_PANEL = 3.4  # inches
TITLE_SIZE, LABEL_SIZE, CAPTION_SIZE = 13, 10, 10
INK, FAINT = "#222222", "#777777"
# Okabe and Ito's palette (2008), made to be told apart by colour-blind readers too.
LINES: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    {"color": "#D55E00", "linestyle": "--", "marker": "s"},
    {"color": "#009E73", "linestyle": "-.", "marker": "^"},
    {"color": "#CC79A7", "linestyle": ":", "marker": "D"},
    {"color": "#56B4E9", "linestyle": (0, (6, 1, 1, 1, 1, 1)), "marker": "v"},
    {"color": "#E69F00", "linestyle": (0, (3, 3)), "marker": "P"},
)


def to_png(picture: Tensor | Figure) -> bytes:
    """Turn an image ``(1, 3, H, W)`` in [0, 1], pixel by pixel, or a figure into a PNG file's bytes.

    Raises:
        ImageError: for a tensor that is no image.
    """
    data = BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(data, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.1, facecolor="white")
    else:
        to_pil(picture).save(data, format="PNG", compress_level=1)  # six times as fast as the default
    return data.getvalue()


def show(figure: Figure, alt: str) -> None:
    """Display a figure in the notebook.

    Args:
        figure: what to show.
        alt: what is to be seen, in words, for those who cannot see it; stored with the picture.
    """
    bundle = {"image/png": to_png(figure), "text/plain": alt}
    display(bundle, raw=True, metadata={"image/png": {"alt": alt}})


def show_images(
    images: Mapping[Any, Tensor], *, title: str = "", caption: str = "", alt: str = "", columns: int | None = None
) -> None:
    """Images side by side, each under its label.

    Args:
        images: ``{label: (1, 3, H, W)}`` in [0, 1] (what lies outside is clamped); an int as label reads "step 10".
        title: above the figure.
        caption: below the figure.
        alt: the alt text; by default the title, the labels and the caption.
        columns: in a row; by default up to five, in rows that are about equally full.

    Raises:
        ValueError: when there are no images.
        ImageError: for a tensor that is no image.
    """
    labels = [f"step {label}" if isinstance(label, int) else str(label) for label in images]
    pictures = [to_pil(image) for image in images.values()]
    tallest = max((picture.height / picture.width for picture in pictures), default=1.0)
    figure, axes = grid(len(pictures), columns, tallest)
    for ax, label, picture in zip(axes, labels, pictures, strict=False):
        ax.imshow(picture)
        ax.set_title(label, fontsize=LABEL_SIZE, color=INK)
    finish(figure, title, caption)
    show(figure, alt or sentences(title, f"Pictures: {', '.join(labels)}", caption))


def show_feature_maps(
    maps: Tensor,
    *,
    title: str = "",
    caption: str = "",
    alt: str = "",
    channels: Iterable[int] | None = None,
    count: int = 16,
) -> None:
    """A layer's channels as pictures, bright where active, each from its own smallest value to its largest.

    Args:
        maps: ``(1, C, H, W)``, any range.
        title: above the figure; the shape is added.
        caption: below the figure.
        alt: the alt text; by default the title, the channels and the caption.
        channels: which; by default the first ones.
        count: how many, at most.

    Raises:
        ValueError: for a tensor of another shape, or a channel that is not there.
    """
    if maps.ndim != 4 or len(maps) != 1:
        raise ValueError(f"feature maps have shape (1, C, H, W), not {tuple(maps.shape)}")
    chosen = list(range(maps.shape[1]) if channels is None else channels)[:count]
    if absent := [channel for channel in chosen if not 0 <= channel < maps.shape[1]]:
        raise ValueError(f"no channels {absent}; there are 0 to {maps.shape[1] - 1}")
    figure, axes = grid(len(chosen), min(8, max(4, len(chosen))), maps.shape[2] / maps.shape[3], largest=1.6)
    for ax, channel in zip(axes, chosen, strict=False):
        ax.imshow(maps[0, channel].detach().float().cpu().numpy(), cmap="magma")
        ax.set_title(str(channel), fontsize=LABEL_SIZE - 1, color=INK, pad=3)
    _, count_channels, height, width = maps.shape
    shape = f"{count_channels} channels of {width} x {height}"
    title = f"{title}: {shape}" if title else shape
    finish(figure, title, caption)
    show(figure, alt or sentences(title, f"Activation maps of channels {', '.join(map(str, chosen))}", caption))


def show_filters(
    weight: Tensor, *, title: str = "", caption: str = "", alt: str = "", columns: int | None = None
) -> None:
    """First-layer filters as little RGB images: mid-grey is 0, each filter scaled by its largest weight.

    Args:
        weight: ``(C, 3, h, w)``, such as ``backbone.conv1_1.weight``.
        title: above the figure.
        caption: below the figure.
        alt: the alt text; by default the title, the number of filters and the caption.
        columns: in a row; by default 8, or 16 from 33 filters on.

    Raises:
        ValueError: for a tensor of another shape.
    """
    if weight.ndim != 4 or weight.shape[1] != 3:
        raise ValueError(f"first-layer filters have shape (C, 3, h, w), not {tuple(weight.shape)}")
    weight = weight.detach().float().cpu()
    largest = weight.abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
    columns = columns or (16 if len(weight) > 32 else 8)
    figure, axes = grid(len(weight), columns, weight.shape[2] / weight.shape[3], largest=1.0)
    for number, (ax, pixels) in enumerate(zip(axes, 0.5 + 0.5 * weight / largest, strict=False)):
        ax.imshow(pixels.permute(1, 2, 0).numpy(), interpolation="nearest")
        ax.set_title(str(number), fontsize=LABEL_SIZE - 2, color=INK, pad=2)
    finish(figure, title, caption)
    show(figure, alt or sentences(title, f"{len(weight)} filters as small RGB images", caption))


def show_boxes(
    image: Tensor,
    boxes: Mapping[str, tuple[int, int, int, int]],
    *,
    title: str = "",
    caption: str = "",
    alt: str = "",
) -> None:
    """An image with labelled boxes on it, such as receptive fields.

    Args:
        image: ``(1, 3, H, W)`` in [0, 1].
        boxes: ``{label: (top, left, bottom, right)}`` in pixels; bottom and right are the first ones outside.
        title: above the figure.
        caption: below the figure.
        alt: the alt text; by default the title, each box in numbers, and the caption.

    Raises:
        ImageError: for a tensor that is no image.
    """
    height, width = image.shape[-2:]
    figure, (ax,) = grid(1, 1, height / width, largest=5.5)
    figure.set_figwidth(WIDTH)
    ax.imshow(to_pil(image))
    for n, (label, (top, left, bottom, right)) in enumerate(boxes.items()):
        line = LINES[n % len(LINES)]
        frame: dict[str, Any] = {
            "xy": (left - 0.5, top - 0.5),
            "width": right - left,
            "height": bottom - top,
            "fill": False,
        }
        ax.add_patch(Rectangle(**frame, edgecolor="white", linewidth=4))
        style: dict[str, Any] = {"edgecolor": line["color"], "linestyle": line["linestyle"], "linewidth": 2}
        ax.add_patch(Rectangle(**frame, **style, label=label))
    legend_beside(ax)
    finish(figure, title, caption)
    places = (
        f"{label}: rows {top} to {bottom - 1}, columns {left} to {right - 1}"
        for label, (top, left, bottom, right) in boxes.items()
    )
    show(figure, alt or sentences(title, *places, caption))


def show_matrix(matrices: Mapping[str, Tensor], *, title: str = "", caption: str = "", alt: str = "") -> None:
    """Matrices as pictures, each with its own colour bar.

    Matrices without negative values, such as Gram matrices of ReLU layers, are drawn on a square-root scale, because
    a few large values would leave all others dark; others from blue (negative) over white (0) to red (positive).

    Args:
        matrices: ``{label: (N, M) or (1, N, M)}``.
        title: above the figure.
        caption: below the figure.
        alt: the alt text; by default the title, the labels with their shapes and ranges, and the caption.

    Raises:
        ValueError: for a tensor of another shape.
    """
    figure, axes = grid(len(matrices), None, 0.85)
    words = []
    for ax, (label, tensor) in zip(axes, matrices.items(), strict=False):
        values = tensor.detach().float().cpu()
        if values.ndim == 3 and len(values) == 1:
            values = values[0]
        if values.ndim != 2:
            raise ValueError(f"{label}: a matrix has shape (N, M) or (1, N, M), not {tuple(tensor.shape)}")
        low, high = float(values.min()), float(values.max())
        largest = max(abs(low), abs(high)) or 1.0
        signed = low < 0
        norm = Normalize(-largest, largest) if signed else PowerNorm(0.5, vmin=0, vmax=largest)
        drawn = ax.imshow(values.numpy(), cmap="RdBu_r" if signed else "magma", norm=norm)
        ax.set_title(f"{label}\n{values.shape[0]} x {values.shape[1]}", fontsize=LABEL_SIZE, color=INK)
        bar = figure.colorbar(drawn, ax=ax, fraction=0.05, pad=0.03)
        bar.locator = MaxNLocator(4)
        bar.update_ticks()
        bar.ax.tick_params(labelsize=LABEL_SIZE - 2, colors=INK)
        bar.outline.set_visible(False)
        words.append(f"{label}: {values.shape[0]} x {values.shape[1]} values from {low:.2g} to {high:.2g}")
    finish(figure, title, caption)
    show(figure, alt or sentences(title, *words, caption))


def show_heat_map(
    values: Mapping[str, Mapping[str, float]],
    *,
    title: str = "",
    caption: str = "",
    alt: str = "",
    darkest: float | None = None,
) -> None:
    """A table whose cells are darker where the number in them is larger.

    Args:
        values: ``{row: {column: value}}``; every row has the same columns.
        title: above the figure.
        caption: below the figure.
        alt: the alt text; by default the title, the table in words, and the caption.
        darkest: from which value on a cell is darkest; by default the largest.

    Raises:
        ValueError: when there are no values, or rows differ in their columns.
    """
    rows = {str(row): dict(cells) for row, cells in values.items()}
    columns = list(next(iter(rows.values()), {}))
    if not columns or any(list(cells) != columns for cells in rows.values()):
        raise ValueError("every row must have the same columns, and there must be one at least")
    table = torch.tensor([list(cells.values()) for cells in rows.values()])
    scale = Normalize(0, darkest or float(table.max()) or 1.0, clip=True)
    figure = Figure(figsize=(min(WIDTH, 2.2 + 0.95 * len(columns)), 0.5 + 0.45 * len(rows)), layout="constrained")
    ax = figure.add_subplot()
    ax.imshow(table.numpy(), cmap="Blues", norm=scale, aspect="auto")
    for i, cells in enumerate(table.tolist()):
        for j, value in enumerate(cells):
            ink = "white" if scale(value) > 0.55 else INK
            ax.text(j, i, number(value), ha="center", va="center", fontsize=LABEL_SIZE, color=ink)
    ax.set_xticks(range(len(columns)), columns, fontsize=LABEL_SIZE, color=INK)
    ax.set_yticks(range(len(rows)), list(rows), fontsize=LABEL_SIZE, color=INK)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xticks([j - 0.5 for j in range(1, len(columns))], minor=True)
    ax.set_yticks([i - 0.5 for i in range(1, len(rows))], minor=True)
    ax.grid(which="minor", color="white", linewidth=2)
    ax.tick_params(which="minor", length=0)
    finish(figure, title, caption)
    words = (f"{row}: {', '.join(f'{c} {number(v)}' for c, v in cells.items())}" for row, cells in rows.items())
    show(figure, alt or sentences(title, *words, caption))


def plot_losses(
    histories: History | Mapping[str, History], *, title: str = "", caption: str = "", alt: str = ""
) -> None:
    """Losses by step, on a logarithmic scale: one run's weighted terms and their sum, or the sums of several runs.

    Terms that are never positive, such as those of weight 0, are left out: a logarithmic scale has no place for them.

    Args:
        histories: of one run, or ``{label: history}``.
        title: above the figure.
        caption: below the figure.
        alt: the alt text; by default the title, first and smallest value of every line, and the caption.

    Raises:
        ValueError: when there is nothing to draw.
    """
    if isinstance(histories, History):
        names = dict.fromkeys(name for losses in histories.losses for name in losses)
        lines = {name: [losses.get(name, math.nan) for losses in histories.losses] for name in names}
        if len(lines) > 1:
            lines["sum"] = histories.totals
    else:
        lines = {str(label): history.totals for label, history in histories.items()}
    positive = {name: values for name, values in lines.items() if any(value > 0 for value in values)}
    plot_lines(
        {name: dict(enumerate(values)) for name, values in positive.items()},
        xlabel="step",
        ylabel="loss",
        log=True,
        title=title,
        caption=caption,
        alt=alt,
    )


def plot_lines(
    lines: Mapping[str, Mapping[Any, float]],
    *,
    xlabel: str,
    ylabel: str,
    log: bool = False,
    title: str = "",
    caption: str = "",
    alt: str = "",
) -> None:
    """Lines with markers, told apart by dashes, markers and colour.

    Args:
        lines: ``{label: {x: y}}``; x may be numbers, or words such as layer names.
        xlabel: below the horizontal axis.
        ylabel: beside the vertical axis.
        log: logarithmic vertical axis.
        title: above the figure.
        caption: below the figure.
        alt: the alt text; by default the title, the axes, first, smallest, largest and last value of every line, and
            the caption.

    Raises:
        ValueError: when there is nothing to draw.
    """
    if not any(lines.values()):
        raise ValueError("no values to draw")
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    ax = figure.add_subplot()
    for n, (label, points) in enumerate(lines.items()):
        every = max(1, len(points) // 8)
        style = LINES[n % len(LINES)]
        ax.plot(list(points), list(points.values()), **style, label=label, markevery=every, ms=5, lw=1.8)
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
    finish(figure, title, caption)
    words = []
    for label, points in lines.items():
        values = list(points.values())
        words.append(
            f"{label}: {number(values[0])} at first, {number(values[-1])} at last, "
            f"from {number(min(values))} to {number(max(values))}"
        )
    show(figure, alt or sentences(title, f"{ylabel} by {xlabel}", *words, caption))


def grid(
    count: int, columns: int | None, aspect: float, *, largest: float = LARGEST_PANEL
) -> tuple[Figure, list[Axes]]:
    """A figure of panels without axes.

    Args:
        count: how many panels.
        columns: how many in a row; by default up to five, in rows that are about equally full.
        aspect: height of a panel by its width.
        largest: width of a panel at most, in inches.

    Raises:
        ValueError: for no panels.
    """
    if count < 1:
        raise ValueError("nothing to show; at least one picture is wanted")
    columns = min(count, columns) if columns else math.ceil(count / math.ceil(count / 5))
    rows = math.ceil(count / columns)
    side = min(largest, WIDTH / columns, HEIGHT / rows / aspect)
    figure = Figure(figsize=(side * columns, rows * (side * aspect + 0.25)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for ax in axes:
        ax.set_axis_off()
        ax.set_anchor("W")
    return figure, axes


def legend_beside(ax: Axes) -> None:
    """A legend to the right of the axes, where it hides nothing."""
    ax.legend(
        loc="upper left",
        bbox_to_anchor=(1.02, 1),
        borderaxespad=0,
        frameon=False,
        fontsize=LABEL_SIZE,
        labelcolor=INK,
        handlelength=3.5,
        handleheight=1.2,
        labelspacing=0.8,
    )


def finish(figure: Figure, title: str, caption: str) -> None:
    """Write title and caption on a figure, wrapped to its width; small figures grow to make room for them."""
    width, height = figure.get_size_inches()
    wide = max(width, 5.0)
    heading = textwrap.fill(title, int(9.5 * wide))
    text = textwrap.fill(caption, int(13.5 * wide))
    lines = [line for line in heading.splitlines() if line], [line for line in text.splitlines() if line]
    figure.set_size_inches(wide, height + 0.26 * len(lines[0]) + 0.2 * len(lines[1]) + 0.1)
    if heading:
        figure.suptitle(heading, x=0.01, ha="left", fontsize=TITLE_SIZE, fontweight="bold", color=INK)
    if text:
        figure.supxlabel(text, x=0.01, ha="left", fontsize=CAPTION_SIZE, color="#444444", linespacing=1.3)


def number(value: float) -> str:
    """As many digits as a reader wants: 0.0004, 0.51, 12.3, 1230."""
    size = abs(value)
    if size == 0 or 100 <= size < 1e6:
        return f"{value:.0f}"
    if 0.01 <= size < 100:
        return f"{value:.2f}" if size < 10 else f"{value:.1f}"
    return f"{value:.1g}"


def sentences(*parts: str) -> str:
    """Join what is not empty, with full stops."""
    return " ".join(part if part.endswith((".", "?", "!")) else f"{part}." for part in map(str.strip, parts) if part)
