"""Figures: the paper, the panels and the words of every plot, and how it is shown in a notebook.

Figures are made with matplotlib's objects and never with pyplot, whose list of open figures neither threads nor long
sessions get along with.
"""

from __future__ import annotations

import math
import textwrap
from io import BytesIO
from typing import Any, TypedDict

from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from nst_lessons.image_files import to_pil

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


def to_jpeg(image: Tensor) -> bytes:
    """Turn an image ``(1, 3, H, W)`` in [0, 1] into a JPEG file's bytes: a fifth of a PNG's, and made in half the time.

    Raises:
        ImageError: for a tensor that is no image.
    """
    data = BytesIO()
    to_pil(image).save(data, format="JPEG", quality=92)
    return data.getvalue()


class Words(TypedDict, total=False):
    """What any figure can be given: a title above, a caption below, and alt text behind.

    The alt text says what is to be seen, for those who cannot see it. By default it has the title, what the figure
    shows in words and numbers, and the caption.
    """

    title: str
    caption: str
    alt: str


def present(figure: Figure, *shown: str, title: str = "", caption: str = "", alt: str = "") -> None:
    """Write title and caption on a figure, and display it with its alt text.

    Args:
        figure: what to show.
        shown: what is to be seen, in phrases or sentences.
        title, caption, alt: see `Words`.
    """
    finish(figure, title, caption)
    alt = alt or sentences(title, *shown, caption)
    display({"image/png": to_png(figure), "text/plain": alt}, raw=True, metadata={"image/png": {"alt": alt}})


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
    """As many digits as a reader wants: 0.00042, 0.51, 12.3, 1230."""
    size = abs(value)
    if size == 0 or 100 <= size < 1e6:
        return f"{value:.0f}"
    if 0.1 <= size < 100:
        return f"{value:.2f}" if size < 10 else f"{value:.1f}"
    return f"{value:.2g}"


def sentences(*parts: str) -> str:
    """Join what is not empty, with full stops."""
    return " ".join(part if part.endswith((".", "?", "!")) else f"{part}." for part in map(str.strip, parts) if part)
