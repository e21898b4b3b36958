"""The explorers in a real JupyterLab: every control is moved, and what is shown must follow."""

import hashlib
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

PATIENCE_SECONDS = 120
SETUP = """from nst_lessons import load_backbone, load_image, reconstruct_content, sample
from nst_lessons.widgets import explore_features, explore_preprocessing, explore_reconstructions

photo = load_image(sample("astronaut"), 256)
backbone = load_backbone("compact")"""
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

    def wait_for_change(self, *, pictures: bool = True, words: bool = True) -> None:
        """Until the words and at least one picture, or one of both, differ from what was seen last."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            now = self.look()
            if (now[0] != self.shown[0] or not pictures) and (now[1] != self.shown[1] or not words):
                self.shown = now
                return
            time.sleep(0.2)
        pytest.fail(f"nothing changed; the words are still: {self.shown[1]}")

    def assert_clean(self) -> None:
        """No cell has an error or a warning, and nothing needs a scroll bar of its own."""
        for kind in ("error", "stderr"):
            assert self.page.locator(f'[data-mime-type="application/vnd.jupyter.{kind}"]').count() == 0
        overflowing = self.page.locator(".jp-OutputArea-output .jupyter-widgets").evaluate_all(
            "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth + 1 && box.clientWidth > 0 &&"
            " getComputedStyle(box).overflowX != 'visible').map(box => box.className)"
        )
        assert overflowing == []


def slider(page: Any, label: str) -> Any:
    """A slider's handle, which keys move."""
    return page.locator(".widget-inline-hbox", has=page.get_by_text(label, exact=True)).locator(".noUi-handle")


def options(page: Any, label: str) -> list[str]:
    """The options of a menu."""
    return page.get_by_label(label, exact=True).locator("option").all_inner_texts()


def test_preprocessing(open_notebook: Callable, tmp_path: Path) -> None:
    page = open_notebook(SETUP, "explore_preprocessing(photo, backbone)")
    explorer = Explorer(page)
    slider(page, "size").press("ArrowLeft")
    explorer.wait_for_change()
    page.get_by_label("antialias").uncheck()
    explorer.wait_for_change()
    for n, mistake in enumerate(options(page, "mistake")[1:]):
        page.get_by_label("mistake").select_option(mistake)
        explorer.wait_for_change()
        page.screenshot(path=tmp_path / f"mistake{n}.png")
    page.get_by_label("convention").select_option("caffe")
    explorer.wait_for_change()
    explorer.assert_clean()


def test_features(open_notebook: Callable, tmp_path: Path) -> None:
    page = open_notebook(SETUP, "explore_features(backbone, photo)")
    explorer = Explorer(page)
    for layer in ("relu1_1", "conv3_2", "pool4", "relu5_1"):
        page.get_by_label("layer").select_option(layer)
        explorer.wait_for_change()
        page.screenshot(path=tmp_path / f"{layer}.png")
    slider(page, "channel").press("Home")
    explorer.wait_for_change()
    assert "Channel 0:" in explorer.shown[1]
    slider(page, "channel").press("ArrowRight")
    explorer.wait_for_change()
    assert "Channel 1:" in explorer.shown[1]
    page.get_by_role("button", name="strongest channel").press("Enter")
    explorer.wait_for_change()
    assert "number 1 of" in explorer.shown[1]
    explorer.assert_clean()


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
    curves = page.locator(".widget-html img")
    assert "Rings mark step 12." in curves.get_attribute("alt")
    assert curves.evaluate("picture => picture.naturalWidth > 600 && picture.width <= 680")
    page.locator(".widget-play button").first.press("Enter")
    explorer.wait_for_change()
    page.get_by_text("step 12 of").wait_for()  # from the first snapshot to the last, by itself
    explorer.assert_clean()
