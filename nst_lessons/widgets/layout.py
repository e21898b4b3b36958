"""What explorers are made of: controls, pictures and words, and how they stand on the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from html import escape
from typing import TypeAlias, TypeVar

import ipywidgets as widgets
from torch import Tensor
from torch.nn.functional import interpolate

from nst_lessons.figures import to_png

Panels: TypeAlias = Mapping[str, Tensor]
Control = TypeVar("Control", bound=widgets.Widget)

PANEL = 320  # the side of a picture on the page, in pixels
CONTROLS = 340  # the width of the column of controls, in pixels
# ipywidgets takes the outline away that shows where the keyboard is, and its white handles are lost on a white page.
FOCUS = """<style>
.jupyter-widgets :is(.noUi-handle, .ui-slider-handle) { border-color: #0072B2 !important }
.jupyter-widgets :is(.noUi-handle, .ui-slider-handle, input, select, button, summary):focus-visible,
button.jupyter-widgets:focus-visible { outline: 3px solid #0072B2 !important; outline-offset: -1px }
</style>"""
# On a closed menu JupyterLab takes the arrows, to go to another cell.
KEYS = "By the keyboard: Tab goes on; arrows move a slider; Space opens a menu, then arrows and Enter choose."
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
        pictures.children = pictures.children or [panel() for _ in panels]
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
    left = widgets.VBox(
        [*controls, *help_list(controls)], layout=widgets.Layout(width=f"{CONTROLS}px", margin="0 24px 12px 0")
    )
    # It shrinks before it goes below the controls, or the page would jump when a picture's words become longer.
    right = widgets.VBox(pictures, layout=widgets.Layout(flex=f"1 1 {PANEL}px", max_width=f"{2 * PANEL + 40}px"))
    return widgets.VBox([widgets.HTML(FOCUS, layout=widgets.Layout(height="0", margin="0")), row([left, right])])


def helped(control: Control, text: str) -> Control:
    """The control, with a help text: under the pointer where the front end shows it there, and in `help_list`."""
    setattr(control, help_trait(control), text)
    return control


def help_trait(control: widgets.Widget) -> str:
    """Where a control keeps its help text: ipywidgets 7 has another name, except for buttons, and 8 warns of that."""
    return "tooltip" if control.has_trait("tooltip") else "description_tooltip"


def help_list(controls: Iterable[widgets.Widget]) -> list[widgets.HTML]:
    """All help texts, folded, if any: front ends hide those of menus from the pointer, and all from the keyboard."""
    texts = {
        control.description: getattr(control, help_trait(control), None)
        for place in controls
        for control in getattr(place, "children", [place])
        if hasattr(control, "description")
    }
    lines = "".join(f"<li><b>{escape(name)}</b>: {escape(text)}</li>" for name, text in texts.items() if text)
    style = "line-height: 1.4; margin: 4px 0; padding-left: 20px"
    summary = '<summary style="display: list-item">What the controls do</summary>'  # the classic Notebook has block
    folded = f'<details>{summary}<ul style="{style}">{lines}<li>{KEYS}</li></ul></details>'
    return [widgets.HTML(folded, layout=widgets.Layout(margin="4px 0 0 0"))] if lines else []


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


def panel() -> widgets.VBox:
    """A caption and where its picture is shown; two stand side by side even on a narrow screen."""
    picture = frame()
    picture.layout.max_width = "calc(100% - 8px)"  # its margin
    return widgets.VBox([widgets.Label(), picture], layout=widgets.Layout(max_width="49%"))


def show(place: widgets.Image, image: Tensor) -> None:
    """Show an image ``(1, 3, H, W)``."""
    place.value = to_png(enlarge(image))


def enlarge(image: Tensor, side: int = PANEL) -> Tensor:
    """Repeat the pixels of a small image a whole number of times, so that they stay visible as squares."""
    times = max(1, side // max(image.shape[-2:]))
    return interpolate(image.clamp(0, 1), scale_factor=times, mode="nearest") if times > 1 else image.clamp(0, 1)


def paragraph(text: str, *, live: bool = False) -> str:
    """Text as HTML; screen readers announce a live one whenever it changes."""
    announced = ' aria-live="polite"' if live else ""
    return f'<p style="line-height: 1.4; margin: 4px 0"{announced}>{escape(text)}</p>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as HTML; the first cell of a row is its heading."""
    style = 'style="text-align: left; vertical-align: top; padding: 2px 12px 2px 0; line-height: 1.4"'

    def line(cells: Sequence[str], headings: int) -> str:
        kinds = [f'th scope="{"col" if headings > 1 else "row"}"' if n < headings else "td" for n in range(len(cells))]
        tags = zip(kinds, cells, strict=True)
        return f"<tr>{''.join(f'<{kind} {style}>{escape(cell)}</{kind[:2]}>' for kind, cell in tags)}</tr>"

    return f"<table>{line(header, len(header))}{''.join(line(cells, 1) for cells in rows)}</table>"
