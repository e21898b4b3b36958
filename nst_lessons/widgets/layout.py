"""What explorers are made of: controls, pictures and words, and how they stand on the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from html import escape
from typing import TypeAlias

import ipywidgets as widgets
from torch import Tensor
from torch.nn.functional import interpolate

from nst_lessons.figures import to_png

Panels: TypeAlias = Mapping[str, Tensor]

PANEL = 320  # the side of a picture on the page, in pixels
CONTROLS = 340  # the width of the column of controls, in pixels
SIZES = (32, 48, 64, 96, 128, 192, 256, 384, 512)


def explorer(
    render: Callable[..., tuple[Panels, str]],
    controls: Mapping[str, widgets.Widget],
    buttons: Iterable[widgets.Widget] = (),
    follow: Callable[[str], None] = lambda moved: None,
) -> widgets.VBox:
    """Controls beside pictures and words, which are drawn anew, once, when a control moves.

    Args:
        render: takes the controls' values by name, gives always as many panels, and the words below them, as HTML.
        controls: by name, from top to bottom.
        buttons: below them.
        follow: called with the name of a control that was moved, to set others before all is drawn.
    """
    pictures, words, following = row([]), widgets.HTML(), False

    def draw() -> None:
        panels, words.value = render(**{name: control.value for name, control in controls.items()})
        pictures.children = pictures.children or [widgets.VBox([widgets.Label(), frame()]) for _ in panels]
        for place, (title, image) in zip(pictures.children, panels.items(), strict=True):
            caption, picture = place.children
            caption.value = title
            show(picture, image)

    def update(moved: str, _: object) -> None:
        nonlocal following
        if not following:
            following = True
            try:
                follow(moved)
            finally:
                following = False
            draw()

    draw()
    for name, control in controls.items():
        control.observe(partial(update, name), "value")
    return page([*controls.values(), *buttons], [pictures, words])


def page(controls: Sequence[widgets.Widget], pictures: Sequence[widgets.Widget]) -> widgets.VBox:
    """Controls on the left, pictures and words on the right; on a narrow screen one above the other."""
    for control in controls:
        fit(control)
    left = widgets.VBox(controls, layout=widgets.Layout(width=f"{CONTROLS}px", margin="0 24px 12px 0"))
    right = widgets.VBox(pictures, layout=widgets.Layout(max_width=f"{2 * PANEL + 40}px"))
    return widgets.VBox([row([left, right])])


def fit(control: widgets.Widget) -> None:
    """Make a control as wide as its column, with room for its description."""
    control.layout.width = "98%"
    if hasattr(getattr(control, "style", None), "description_width"):  # a button and a row have none
        control.style.description_width = "110px"


def row(children: Sequence[widgets.Widget]) -> widgets.HBox:
    """Side by side, or below each other where there is no room."""
    return widgets.HBox(children, layout=widgets.Layout(flex_flow="row wrap"))


def slider(label: str, options: Sequence[float], value: float) -> widgets.SelectionSlider:
    """A slider over a few values."""
    return widgets.SelectionSlider(options=options, value=value, description=label, continuous_update=False)


def frame(side: int = PANEL, format: str = "png") -> widgets.Image:
    """Where a picture is shown, of a fixed width on the page."""
    return widgets.Image(format=format, layout=widgets.Layout(width=f"{side}px", margin="0 8px 8px 0"))


def show(place: widgets.Image, image: Tensor) -> None:
    """Show an image ``(1, 3, H, W)``."""
    place.value = to_png(enlarge(image))


def enlarge(image: Tensor, side: int = PANEL) -> Tensor:
    """Repeat the pixels of a small image a whole number of times, so that they stay visible as squares."""
    times = max(1, side // max(image.shape[-2:]))
    return interpolate(image.clamp(0, 1), scale_factor=times, mode="nearest") if times > 1 else image.clamp(0, 1)


def paragraph(text: str) -> str:
    """Text as HTML."""
    return f'<p style="line-height: 1.4; margin: 4px 0">{escape(text)}</p>'
