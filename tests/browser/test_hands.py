"""All explorers in one open notebook: every control by the mouse alone and by the keyboard alone, and what fits."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_explorers import (
    CALLS,
    CELL,
    HANDLE,
    OUTPUT,
    PROMPT,
    SETUP,
    Explorer,
    assert_fits,
    assert_keys_lead,
    slider,
)
from test_live_runs import button, write_cell

pytestmark = pytest.mark.browser

BENCH = [
    SETUP
    + """
from nst_lessons.widgets import explore_atlas, explore_content, explore_style, explore_transfer

painting = paintings["night_swirls"]
results = {
    layer: reconstruct_content(backbone, photo, layer, steps=13, snapshots=range(0, 13, 4), progress=False)
    for layer in ("relu1_1", "relu3_1")
}""",
    "1",
]
AT_ONCE = [*CALLS, "explore_reconstructions(results, photo)", "explore_atlas(backbone)"]
LIVE = ["explore_content(backbone, photo)", "explore_style(backbone, painting)", "explore_transfer(backbone)"]
MOVED = f"{OUTPUT} :is(select, {HANDLE}, input[type=checkbox]):not([disabled] *, .ui-state-disabled *)"
PRESSED = f"{OUTPUT} :is(.widget-button, .widget-play button:first-child):enabled"
VALUE = """control => control.type == "checkbox" ? control.checked
    : control.value ?? control.closest(".widget-inline-hbox").innerText"""
IS_BEFORE_FOCUS = """control =>
    control.compareDocumentPosition(document.activeElement) & Node.DOCUMENT_POSITION_FOLLOWING"""
PLACES = f"""pictures => pictures.map(picture => {{
    const place = picture.getBoundingClientRect(), page = picture.closest("{OUTPUT}").getBoundingClientRect()
    return [place.x - page.x, place.y - page.y, place.width, place.height].map(Math.round)
}})"""
# Playwright cannot see the menu that the browser opens beside the page; of this kind it is within the page.
MENUS_WITHIN = "select, ::picker(select) { appearance: base-select !important }"


def by_mouse(page: Any, control: Any) -> None:
    """Click a control, choose another option of a menu, drag a slider's handle towards the further end."""
    if control.evaluate(f"control => control.matches('{HANDLE}')"):
        control.hover()
        handle, track = control.bounding_box(), control.locator("xpath=../..").bounding_box()
        way = 0.4 * track["width"] * (1 if handle["x"] < track["x"] + track["width"] / 2 else -1)
        page.mouse.down()
        page.mouse.move(handle["x"] + way, handle["y"] + 2, steps=5)
        page.mouse.up()
        return
    if control.evaluate("control => control.localName") != "select":
        control.click()
        return
    style = page.add_style_tag(content=MENUS_WITHIN)
    control.click()
    control.locator("option:not(:checked)").first.click()
    style.evaluate("style => style.remove()")


def by_keyboard(page: Any, control: Any) -> None:
    """Tab to a control and press a key, or what a menu needs; a slider that cannot go left goes right."""
    control.wait_for()
    for _ in range(60):
        if control.evaluate("control => control == document.activeElement"):
            break
        page.keyboard.press("Shift+Tab" if control.evaluate(IS_BEFORE_FOCUS) else "Tab")
    else:
        pytest.fail("no way by the keyboard")
    if control.evaluate(f"control => control.matches('{HANDLE}')"):
        before = control.evaluate(VALUE)
        page.keyboard.press("ArrowLeft")
        if control.evaluate(VALUE) == before:
            page.keyboard.press("ArrowRight")
    else:
        # On a closed menu JupyterLab takes the arrows, to go to another cell.
        kind = control.evaluate("control => control.localName")
        for key in {"select": ("Space", "ArrowDown", "Enter"), "input": ("Space",)}.get(kind, ("Enter",)):
            page.keyboard.press(key)


HANDS = pytest.mark.parametrize("hand", [by_mouse, by_keyboard])


def show(page: Any, call: str) -> Explorer:
    """The explorer that a call makes, in place of the one before."""
    cell = page.locator(CELL).nth(1)
    (run,) = re.findall(r"\d+", cell.locator(PROMPT, has_text=re.compile(r"\d")).inner_text())
    write_cell(page, 1, call)
    page.keyboard.press("Control+Enter")
    cell.locator(PROMPT, has_text=f"[{int(run) + 1}]").wait_for()
    return Explorer(page)


@HANDS
@pytest.mark.parametrize("call", AT_ONCE, ids=lambda call: call.split("(")[0])
def test_every_control(bench: Any, hand: Callable, call: str) -> None:
    explorer = show(bench, call)
    pictures = bench.locator("img.jupyter-widgets")
    places = pictures.evaluate_all(PLACES)
    for control in [*bench.locator(MOVED).all(), *bench.locator(PRESSED).all()]:
        hand(bench, control)
        explorer.wait_for_change(pictures=False, words=False)
        assert pictures.evaluate_all(PLACES) == places  # nothing jumps
    explorer.assert_clean()


@HANDS
@pytest.mark.parametrize("call", LIVE, ids=lambda call: call.split("(")[0])
def test_every_control_of_a_live_run(bench: Any, hand: Callable, call: str) -> None:
    explorer = show(bench, call)
    for upload in bench.locator(f"{OUTPUT} .widget-upload").all():
        with bench.expect_file_chooser():
            hand(bench, upload)
    for control in bench.locator(MOVED).all():
        before = control.evaluate(VALUE)
        hand(bench, control)
        assert control.evaluate(VALUE) != before
        if before is True:
            hand(bench, control)
    explorer.shown = explorer.look()
    hand(bench, button(bench, "Start"))
    for _ in range(2):
        explorer.wait_for_change()
    for name in ("Pause", "Resume", "Stop"):
        hand(bench, button(bench, name))
    bench.get_by_text("The run has ended").wait_for()
    explorer.shown = explorer.look()
    for label in ("back to step", "before | after"):
        hand(bench, slider(bench, label))
        explorer.wait_for_change(words=False)
    save(bench, hand, "Save this picture")
    hand(bench, button(bench, "Make an animation"))
    save(bench, hand, "Save the animation")
    explorer.assert_clean()


def save(page: Any, hand: Callable, words: str) -> None:
    """Save what a link has."""
    with page.expect_download():
        hand(page, page.get_by_role("link", name=words))


@pytest.mark.parametrize("call", [*AT_ONCE, *LIVE], ids=lambda call: call.split("(")[0])
def test_widths_themes_and_the_keyboard(bench: Any, tmp_path: Path, call: str) -> None:
    explorer = show(bench, call)
    for theme in ("light", "dark"):
        bench.emulate_media(color_scheme=theme)
        bench.locator(f"body[data-jp-theme-light={str(theme == 'light').lower()}]").wait_for(state="attached")
        for width in (1280, 768):
            assert_fits(explorer, width, tmp_path / f"{theme}{width}.png", beside=call in AT_ONCE[:-1])
    assert_keys_lead(bench)
    bench.screenshot(path=tmp_path / "focus.png")
