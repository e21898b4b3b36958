"""Live runs in a real JupyterLab: the picture grows, stands still, changes its course and ends, as it is told to."""

import re
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from test_explorers import CELL, EDITOR, HANDLE, OUTPUT, PROMPT, READ_IMAGES, Explorer, options, slider

from nst_lessons import load_image

pytestmark = pytest.mark.browser

SETUP = """import itertools
import random
import resource
import threading

from nst_lessons import load_backbone, load_image, sample
from nst_lessons.widgets import explore_content, explore_style, explore_transfer
from nst_lessons.widgets.transfer import Studio

photo, painting = (load_image(sample(name), 256) for name in ("astronaut", "night_swirls"))
backbone = load_backbone("compact")
asked = itertools.count(1)"""
COUNT = """for thread in threading.enumerate():
    if thread.name == "live run":
        thread.join(5)  # a run that was told to end ends with its step
print("asked", next(asked), "alive", sum(thread.name == "live run" for thread in threading.enumerate()))"""


def button(page: Any, name: str, n: int = 0) -> Any:
    """The n-th button of a name."""
    return page.locator(".widget-button", has_text=re.compile(f"^ *{name} *$")).nth(n)


def words(page: Any) -> str:
    """All text of the explorers."""
    return " ".join(page.locator(".widget-html p").all_inner_texts())


def step_shown(page: Any) -> int:
    """The step that a run says it has reached."""
    found = re.findall(r"Step (\d+) of", words(page))
    return int(found[-1]) if found else 0


def wait_for_step(page: Any, step: int) -> None:
    """Until a run says that it is so far."""
    deadline = time.monotonic() + 120
    while step_shown(page) < step:
        assert time.monotonic() < deadline, words(page)
        time.sleep(0.2)


def run_cell(page: Any, n: int, answer: str) -> None:
    """Run a cell by the keyboard, and wait for what it prints."""
    cell = page.locator(CELL).nth(n)
    cell.locator(EDITOR).click()
    page.keyboard.press("Shift+Enter")
    cell.locator(OUTPUT, has_text=answer).wait_for()


def write_cell(page: Any, n: int, source: str) -> Any:
    """Replace a cell's source, by the keyboard; the cell."""
    cell = page.locator(CELL).nth(n)
    cell.locator(EDITOR).click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(source)
    return cell


def runs_alive(page: Any, n: int, asked: int = 2) -> int:
    """How many runs are alive, by what a cell says that has been asked so many times, this one included."""
    run_cell(page, n, f"asked {asked} alive")
    return int(page.locator(CELL).nth(n).locator(OUTPUT).inner_text().split()[-1])


def endless(page: Any) -> None:
    """As many steps as there can be."""
    slider(page, "steps").press("End")


def test_studio(open_notebook: Callable, tmp_path: Path) -> None:
    page = open_notebook(SETUP, "explore_transfer(backbone)", "print(6 * 7)")
    explorer = Explorer(page)
    page.screenshot(path=tmp_path / "opened.png")
    page.get_by_label("photo", exact=True).select_option("coffee")
    explorer.wait_for_change(words=False)
    page.get_by_label("painting", exact=True).select_option("stained_glass")
    explorer.wait_for_change(words=False)
    upload_three(page, explorer, tmp_path)
    page.get_by_label("photo", exact=True).select_option("coffee")
    for label in ("network", "recipe"):
        page.get_by_label(label, exact=True).select_option(index=2)
        explorer.wait_for_change(pictures=False)
        page.get_by_label(label, exact=True).select_option(index=0)
    slider(page, "size").press("End")  # a small picture is done before it can be paused
    endless(page)
    explorer.shown = explorer.look()
    button(page, "Start").press("Enter")
    for _ in range(2):
        explorer.wait_for_change()
    assert button(page, "Start").is_disabled()
    run_cell(page, 2, "42")  # the kernel is free
    page.get_by_label("content layer").select_option("relu2_2")
    for label in ("alpha / beta", "total variation"):
        slider(page, label).press("ArrowRight")
    page.get_by_label("second style").select_option("mosaic")
    explorer.wait_for_change()
    page.screenshot(path=tmp_path / "running.png")

    button(page, "Pause").press("Enter")
    button(page, "Resume").wait_for()
    time.sleep(2)
    still = explorer.look()
    time.sleep(2)
    assert explorer.look() == still
    button(page, "Resume").press("Enter")
    explorer.shown = still
    explorer.wait_for_change()
    button(page, "Stop").press("Enter")
    page.get_by_text("stopped by hand").wait_for()
    assert button(page, "Start").is_enabled()
    assert button(page, "Stop").is_disabled()
    explorer.shown = explorer.look()
    time.sleep(1)
    assert explorer.look() == explorer.shown

    assert page.locator(".widget-html svg[aria-label^='Losses by step']").is_visible()
    for label, key in (("before | after", "Home"), ("before | after", "End"), ("back to step", "Home")):
        slider(page, label).press(key)
        explorer.wait_for_change(words=False)
    slider(page, "back to step").press("End")
    page.screenshot(path=tmp_path / "stopped.png")
    assert "style_transfer(backbone, photo, [painting, Style(second" in page.get_by_label("in Python").input_value()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save this picture").click()
    saved = load_image(download.value.path())
    assert saved.shape[-1] == 512
    button(page, "Make an animation").press("Enter")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the animation").click()
    assert Image.open(download.value.path()).n_frames > 3
    explorer.assert_clean()
    cell = write_cell(page, 2, page.get_by_label("in Python").input_value())
    page.keyboard.press("Control+Enter")
    cell.locator(f"{OUTPUT} img").wait_for()
    (made,) = cell.locator(f"{OUTPUT} img").evaluate_all(READ_IMAGES)
    assert torch.equal(load_image(b64decode(made)), saved)


def upload_three(page: Any, explorer: Explorer, folder: Path) -> None:
    """Upload a picture, a large one of the same name, and what is none."""
    own = folder / "my own.png"
    Image.linear_gradient("L").save(own)
    upload(page, "your own photo", own)
    explorer.wait_for_change(words=False)
    assert [option.replace("\xa0", " ") for option in options(page, "photo")][-1] == "my own.png"
    noise = Image.effect_noise((3200, 4000), 80)  # more than Jupyter's server takes by default
    Image.merge("RGB", [noise] * 3).save(own, compress_level=0)
    assert own.stat().st_size > 30_000_000
    upload(page, "your own photo", own)
    explorer.wait_for_change(words=False)
    assert [option.replace("\xa0", " ") for option in options(page, "photo")][-1] == "my own (2).png"
    own.write_text("not a picture")
    upload(page, "your own painting", own)
    explorer.wait_for_change(pictures=False)
    assert "my own.png cannot be used" in explorer.shown[1]


def upload(page: Any, label: str, path: Path) -> None:
    """Choose a file for an upload button."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=label).click()
    chooser.value.set_files(path)


def test_content_and_style_live_at_once(open_notebook: Callable, tmp_path: Path) -> None:
    page = open_notebook(SETUP, "explore_content(backbone, photo)", "explore_style(backbone, painting)", COUNT)
    explorer = Explorer(page)
    page.locator("img.jupyter-widgets").nth(1).wait_for()
    for n in (0, 1):
        page.locator(CELL).nth(1 + n).locator(HANDLE).last.wait_for()
        button(page, "Start", n).press("Enter")
    deadline = time.monotonic() + 120
    before = explorer.look()[0]
    while any(old == new for old, new in zip(before, explorer.look()[0], strict=True)):  # both grow
        assert time.monotonic() < deadline
        time.sleep(0.2)
    page.get_by_label("layer", exact=True).select_option("relu1_1")
    page.get_by_label("relu5_1", exact=True).uncheck()
    page.screenshot(path=tmp_path / "both.png")
    for n in (0, 1):
        button(page, "Stop", n).press("Enter")
    assert runs_alive(page, 3) == 0
    explorer.assert_clean()


def open_endless_run(open_notebook: Callable) -> Any:
    """A page whose second cell has a run that goes on; the third counts the runs, the fourth never ends."""
    page = open_notebook(SETUP, "explore_content(backbone, photo)", COUNT, "while True:\n    pass")
    page.locator("img.jupyter-widgets").first.wait_for()
    page.locator(CELL).nth(2).locator(OUTPUT, has_text="asked 1 alive 0").wait_for()
    stop_kernel(page)  # the last cell, which never ends
    endless(page)
    button(page, "Start").press("Enter")
    wait_for_step(page, 2)
    return page


def test_no_run_outlives_its_deleted_cell(open_notebook: Callable) -> None:
    page = open_endless_run(open_notebook)
    page.locator(CELL).nth(1).locator(PROMPT).click()
    page.keyboard.press("d")
    page.keyboard.press("d")
    assert runs_alive(page, 1) == 0


@pytest.mark.parametrize("how", ["run again", "interrupted", "interrupted at work"])
def test_no_run_outlives_its_cell(open_notebook: Callable, how: str) -> None:
    page = open_endless_run(open_notebook)
    if how == "run again":
        cell = page.locator(CELL).nth(1)
        cell.locator(EDITOR).click()
        page.keyboard.press("Control+Enter")
        page.get_by_text("Press Start").wait_for()
    elif how == "interrupted at work":
        page.locator(CELL).nth(3).locator(EDITOR).click()
        page.keyboard.press("Control+Enter")
        page.locator(CELL).nth(3).locator(PROMPT, has_text="[*]").wait_for()
        stop_kernel(page)
    else:
        stop_kernel(page)
    assert runs_alive(page, 2) == 0
    if how != "run again":  # then the page is a new one
        assert "stopped by hand" in words(page)


def stop_kernel(page: Any) -> None:
    """The stop button."""
    page.get_by_title("interrupt the kernel").click()
    page.get_by_text("(ipykernel) | Idle").or_(page.locator(".kernel_idle_icon")).wait_for()


SOAK = """studio = Studio(backbone)
page = studio.explorer.page(photo, "soak")
studio.size.value, studio.steps.value = 64, 500
choice = random.Random(0).choice
memory = []
for n in range(200):
    control = choice([studio.ratio, studio.layer, studio.tv, studio.second, studio.second_weight, studio.recipe,
                      studio.painting.menu, studio.begin, studio.optimizer])
    control.value = choice([0.01, 0.1, 1.0]) if control is studio.ratio else choice(control.options)
    if n % 20 == 0:
        studio.recipe.value = studio.recipe.options[0]
        studio.explorer.start.click()
        while not studio.explorer.frames:
            studio.explorer.run.join(0.01)
    elif n % 20 == 10:
        studio.explorer.stop.click()
        studio.explorer.run.join(60)
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(len(memory), "runs grew by", round(memory[-1] - memory[2]), "MB")"""


def test_soak(open_notebook: Callable) -> None:
    page = open_notebook(SETUP, SOAK, COUNT)
    grown = page.locator(CELL).nth(1).locator(OUTPUT, has_text="10 runs grew by")
    grown.wait_for(timeout=400_000)
    assert int(grown.inner_text().split()[-2]) < 60  # MB
    counted = page.locator(CELL).nth(2).locator(OUTPUT, has_text="asked 1 alive")
    counted.wait_for()
    assert counted.inner_text().split()[-1] == "0"
