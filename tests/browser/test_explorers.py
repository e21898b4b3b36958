"""The explorers in a real JupyterLab: every control is moved, and what is shown must follow."""

import hashlib
import re
import time
from base64 import b64decode
from collections.abc import Callable
from io import BytesIO
from itertools import combinations
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.browser

PATIENCE_SECONDS = 120
# In JupyterLab, and in the classic Notebook.
CELL, EDITOR, PROMPT = ".jp-Cell, .code_cell", ".cm-content, .CodeMirror", ".jp-InputPrompt, .input_prompt"
HANDLE = ":is(.noUi-handle, .ui-slider-handle)"  # of ipywidgets 8, and of 7
OUTPUT = ":is(.jp-OutputArea-output, .output_subarea)"
TROUBLE = ":is([data-mime-type$='jupyter.error'], [data-mime-type$='jupyter.stderr'], .output_error, .output_stderr)"
SETUP = """from nst_lessons import load_backbone, load_image, reconstruct_content, sample
from nst_lessons.widgets import (
    explore_features, explore_preprocessing, explore_recipes, explore_reconstructions, explore_statistics
)

photo = load_image(sample("astronaut"), 256)
backbone = load_backbone("compact")
paintings = {name: load_image(sample(name), 192) for name in ("night_swirls", "stained_glass")}"""
CALLS = [
    "explore_preprocessing(photo, backbone)",
    "explore_features(backbone, photo)",
    "explore_statistics(backbone, paintings)",
    "explore_recipes(backbone, *paintings.values())",
]
READ_IMAGES = """
async pictures => Promise.all(pictures.map(async picture => {
    const blob = await (await fetch(picture.src)).blob();
    return new Promise(resolve => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result.split(",")[1]);
        reader.readAsDataURL(blob);
    });
}))
"""


class Explorer:
    """What a reader sees of the last widget on a page, and can do with it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        page.locator("img.jupyter-widgets").first.wait_for()
        self.shown = self.look()

    def look(self) -> tuple[tuple[str, ...], str]:
        """Digests of the pictures, and the words."""
        pictures = self.page.locator("img.jupyter-widgets").evaluate_all(READ_IMAGES)
        words = " ".join(self.page.locator(".widget-html p").all_inner_texts())
        return tuple(hashlib.sha256(b64decode(picture)).hexdigest() for picture in pictures), words

    def pictures(self) -> list[np.ndarray]:
        """The pictures' pixels, (height, width, 3), 0 to 255."""
        files = self.page.locator("img.jupyter-widgets").evaluate_all(READ_IMAGES)
        return [np.asarray(Image.open(BytesIO(b64decode(file))).convert("RGB")).astype(int) for file in files]

    def wait_for_change(self, *, pictures: bool = True, words: bool = True) -> None:
        """Until the words and at least one picture, one of both, or anything differs from what was seen last."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            now = self.look()
            if (
                now != self.shown
                and (now[0] != self.shown[0] or not pictures)
                and (now[1] != self.shown[1] or not words)
            ):
                self.shown = now
                return
            time.sleep(0.2)
        pytest.fail(f"nothing changed; the words are still: {self.shown[1]}")

    def assert_clean(self) -> None:
        """No cell has an error or a warning, and nothing needs a scroll bar of its own."""
        assert self.page.locator(TROUBLE).all_inner_texts() == []
        overflowing = self.page.locator(f"{OUTPUT} .jupyter-widgets").evaluate_all(
            "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth + 1 && box.clientWidth > 0 &&"
            " getComputedStyle(box).overflowX != 'visible').map(box => box.className)"
        )
        assert overflowing == []


def slider(page: Any, label: str) -> Any:
    """A slider's handle, which keys move."""
    return page.locator(".widget-inline-hbox", has=page.get_by_text(label, exact=True)).locator(HANDLE)


def options(page: Any, label: str) -> list[str]:
    """The options of a menu."""
    return page.get_by_label(label, exact=True).locator("option").all_inner_texts()


def columns_in(picture: np.ndarray) -> int:
    """How many columns of squares a picture has: it was enlarged if there are fewer than pixels."""
    return 1 + int((picture[:, 1:] != picture[:, :-1]).any((0, 2)).sum())


def test_preprocessing(open_notebook: Callable, tmp_path: Path) -> None:
    page = open_notebook(SETUP, CALLS[0])
    explorer = Explorer(page)
    photo, seen = explorer.pictures()
    assert abs(seen - photo).max() <= 1
    curves = page.locator("svg[role=img] polyline")
    drawn = curves.evaluate_all("lines => lines.map(line => line.getAttribute('points'))")
    assert len(set(drawn)) == 3
    for n, mistake in enumerate(options(page, "mistake")[1:]):
        page.get_by_label("mistake").select_option(mistake)
        explorer.wait_for_change()
        seen = explorer.pictures()[1]
        if mistake == "channels swapped":
            assert abs(seen - photo[..., ::-1]).max() <= 1
        if mistake == "0 to 255 instead of 0 to 1":
            assert np.isin(seen, (0, 255)).mean() > 0.9
        page.screenshot(path=tmp_path / f"mistake{n}.png")
    assert drawn != curves.evaluate_all("lines => lines.map(line => line.getAttribute('points'))")
    page.get_by_label("mistake").select_option("none")
    explorer.wait_for_change()
    slider(page, "size").press("Home")
    explorer.wait_for_change()
    assert columns_in(explorer.pictures()[1]) == 32
    page.get_by_label("antialias").uncheck()
    explorer.wait_for_change()
    page.get_by_label("convention").select_option("caffe")
    explorer.wait_for_change(pictures=False)  # each convention is undone by itself
    explorer.assert_clean()


def test_features(open_notebook: Callable, tmp_path: Path) -> None:
    page = open_notebook(SETUP, CALLS[1])
    explorer = Explorer(page)
    columns = []
    for layer in ("relu1_1", "conv3_2", "pool4", "relu5_2"):
        page.get_by_label("layer").select_option(layer)
        explorer.wait_for_change()
        page.get_by_text(f"{layer}, channel").first.wait_for()
        columns.append(columns_in(explorer.pictures()[1]))
        page.screenshot(path=tmp_path / f"{layer}.png")
    assert columns == [256, 64, 16, 16]  # a deeper layer is coarser
    slider(page, "channel").press("Home")
    explorer.wait_for_change()
    assert "Channel 0:" in explorer.shown[1]
    slider(page, "channel").press("ArrowRight")
    explorer.wait_for_change()
    assert "Channel 1:" in explorer.shown[1]
    for button in ("most selective channel", "strongest channel"):
        page.get_by_role("button", name=button).press("Enter")
        explorer.wait_for_change()
    assert "number 1 of" in explorer.shown[1]

    page.get_by_label("layer").select_option("relu3_1")
    explorer.wait_for_change()
    for label in ("row", "column"):
        slider(page, label).press("Home")
        explorer.wait_for_change()
    for label in ("row", "column"):
        slider(page, label).press("PageUp")
        explorer.wait_for_change()
    page.wait_for_timeout(500)
    explorer.shown = explorer.look()
    left, right, top, bottom = frame_of(explorer.shown[1])
    assert 0 < left < right < 100 and 0 < top < bottom < 100
    lit, _, gradient, _ = explorer.pictures()
    assert (lit[[top, bottom], left : right + 1] == 255).all() and (lit[top : bottom + 1, [left, right]] == 255).all()
    assert columns_in(gradient) <= 24  # the field of relu3_1
    explorer.assert_clean()


def frame_of(words: str) -> tuple[int, ...]:
    """Left, right, top and bottom of the white frame, as the words have it."""
    (numbers,) = re.findall(r"It sees columns (\d+) to (\d+) and rows (\d+) to (\d+)", words)
    return tuple(map(int, numbers))


def test_statistics(open_notebook: Callable, tmp_path: Path) -> None:
    page = open_notebook(SETUP, CALLS[2])
    explorer = Explorer(page)
    page.get_by_label("shuffle").select_option("positions of the features")
    explorer.wait_for_change()
    features, mixed, before, after = explorer.shown[0]
    assert features != mixed and before == after
    assert explorer.shown[1].count("the Gram matrix by 0.0%") == 4
    page.screenshot(path=tmp_path / "positions.png")
    page.get_by_label("shuffle").select_option("pixels of the painting")
    explorer.wait_for_change()
    page.get_by_text("Shuffled: pixels of the painting.").wait_for()
    assert explorer.look()[0][2] == before != explorer.look()[0][3]
    page.screenshot(path=tmp_path / "pixels.png")
    for label, choice in (("statistic", "mean and deviation"), ("painting", "stained_glass")):
        explorer.shown = explorer.look()
        page.get_by_label(label, exact=True).select_option(choice)
        explorer.wait_for_change()
    for layer in ("pixels", "relu1_1", "relu5_1"):
        page.get_by_label(layer).uncheck()
        explorer.wait_for_change()
    page.screenshot(path=tmp_path / "one.png")
    page.get_by_label("relu2_1").check()
    explorer.wait_for_change()
    assert explorer.shown[1].count("the features change") == 2
    explorer.assert_clean()


def test_recipes(open_notebook: Callable) -> None:
    page = open_notebook(SETUP, CALLS[3])
    explorer = Explorer(page)
    left, right = explorer.shown[0]
    page.get_by_label("right").select_option("surma")
    explorer.wait_for_change()
    assert explorer.shown[0][0] == left and explorer.shown[0][1] != right
    page.get_by_label("left").select_option("surma")
    explorer.wait_for_change()
    assert len(set(explorer.shown[0])) == 1
    balance = page.get_by_role("row", name="style : content")
    published = balance.inner_text()
    page.get_by_label("normalisation").select_option("johnson")
    explorer.wait_for_change(pictures=False)
    assert balance.inner_text() != published
    assert page.get_by_role("row", name="losses").get_by_role("cell").all_inner_texts() == ["johnson", "johnson"]
    explorer.assert_clean()


def assert_fits(explorer: Explorer, width: int, picture: Path, *, beside: bool = True) -> None:
    """In a window of a width the words can be read, and no picture covers another; the first two can stand beside."""
    page = explorer.page
    page.set_viewport_size({"width": width, "height": 1300})
    page.wait_for_timeout(500)
    page.screenshot(path=picture)
    words = page.locator(".widget-html p[aria-live=polite]").first
    dark, light = Image.open(BytesIO(words.screenshot())).convert("L").getextrema()
    assert light - dark > 150
    boxes = [picture.bounding_box() for picture in page.locator("img.jupyter-widgets").all()]
    for one, other in combinations(boxes, 2):
        first, second = sorted((one, other), key=itemgetter("x"))
        upper, lower = sorted((one, other), key=itemgetter("y"))
        assert first["x"] + first["width"] <= second["x"] or upper["y"] + upper["height"] <= lower["y"]
    assert not beside or boxes[0]["y"] == boxes[1]["y"]
    assert all(box["x"] + box["width"] <= width for box in boxes)
    explorer.assert_clean()


def assert_keys_lead(page: Any) -> None:
    """The keyboard opens the help, which has the mark of what can be opened, and one sees where it is."""
    summary = page.get_by_text("What the controls do").first
    assert summary.evaluate("box => getComputedStyle(box).display") == "list-item"
    summary.press("Enter")
    assert page.locator(".widget-html li").count() >= 3
    first = page.locator(".widget-vbox .widget-vbox").locator(f"select, {HANDLE}, input").first
    while not first.evaluate("control => control == document.activeElement"):
        page.keyboard.press("Shift+Tab")
        focus = "[document.activeElement.className, getComputedStyle(document.activeElement).outlineStyle]"
        name, outline = page.evaluate(focus)
        assert outline != "none", name


def test_reconstructions(open_notebook: Callable, tmp_path: Path) -> None:
    page = open_notebook(
        SETUP,
        """layers = ["relu1_1", "relu3_1"]
        options = dict(steps=13, snapshots=range(0, 13, 4), progress=False)
        results = {layer: reconstruct_content(backbone, photo, layer, **options) for layer in layers}
        explore_reconstructions(results, photo)""".replace("\n        ", "\n"),
    )
    explorer = Explorer(page)
    page.get_by_label("layers").select_option("relu3_1")
    explorer.wait_for_change()
    page.screenshot(path=tmp_path / "run.png")
    for key, step in (("Home", "step 0 of"), ("End", "step 12 of")):
        slider(page, "step").press(key)
        explorer.wait_for_change()
        assert step in explorer.shown[1]
    curves = page.get_by_role("img", name="Losses by step")
    assert "Rings mark step 12." in curves.get_attribute("aria-label")
    assert 500 < curves.bounding_box()["width"] <= 680  # a front end may be narrower
    page.locator(".widget-play button").first.press("Enter")
    explorer.wait_for_change()
    page.get_by_text("step 12 of").wait_for()  # from the first snapshot to the last, by itself
    explorer.assert_clean()
