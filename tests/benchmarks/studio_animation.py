"""Film the studio of lesson 5 at work, in Chromium: ``python tests/benchmarks/studio_animation.py [OUT]``.

A transfer is started, alpha / beta is moved while it runs, and at the end the photo is wiped across the picture. The
film is the README's, `.github/studio.webp`.
"""

import sys
from io import BytesIO
from pathlib import Path
from statistics import median_low
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))

from conftest import run_notebook, running_chromium, running_lab

CELL = """from nst_lessons import load_backbone
from nst_lessons.widgets import explore_transfer

explore_transfer(load_backbone("compact"))"""
SECONDS = 0.35  # between two pictures
WIDTH = 800  # pixels
STEPS_BEFORE_THE_CHANGE, STEPS_AFTER_IT = 16, 18  # pictures of the film
WIPED = ("Home", *["PageUp"] * 9)


def film(page: Any) -> list[Image.Image]:
    """The pictures of the film."""
    frames: list[Image.Image] = []
    explorer = page.locator(".jp-OutputArea-output").last

    def wait(pictures: int = 1) -> None:
        for _ in range(pictures):
            page.wait_for_timeout(1000 * SECONDS)
            frames.append(Image.open(BytesIO(explorer.screenshot())).convert("RGB"))

    def slide(label: str, *keys: str) -> None:
        handle = page.locator(".widget-inline-hbox", has=page.get_by_text(label, exact=True)).locator(".noUi-handle")
        for key in keys:
            handle.press(key)

    page.get_by_label("photo", exact=True).select_option("chelsea")
    slide("steps", "End")
    wait(3)
    page.locator(".widget-button", has_text="Start").click()
    wait(STEPS_BEFORE_THE_CHANGE)
    slide("alpha / beta", "PageDown", "PageDown")
    wait(STEPS_AFTER_IT)
    page.locator(".widget-button", has_text="Stop").click()
    page.get_by_text("stopped by hand").wait_for()
    wait(2)
    for key in WIPED:
        slide("before | after", key)
        wait()
    wait(4)
    return frames


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / ".github" / "studio.webp"
    with TemporaryDirectory() as folder, running_chromium() as browser:
        home, notebooks = Path(folder) / "home", Path(folder) / "notebooks"
        notebooks.mkdir()
        with running_lab(home, notebooks) as lab:
            page = browser.new_page(viewport={"width": 1200, "height": 1500})
            run_notebook(page, lab, "studio.ipynb", [CELL])
            page.locator("img.jupyter-widgets").nth(2).wait_for()
            frames = film(page)
    left, top, right, bottom = 0, 0, frames[0].width, median_low(frame.height for frame in frames)
    size = WIDTH, round(WIDTH * bottom / right)
    pages = [frame.crop((left, top, right, bottom)).resize(size, Image.Resampling.LANCZOS) for frame in frames]
    milliseconds = round(1000 * SECONDS)
    pages[0].save(out, save_all=True, append_images=pages[1:], duration=milliseconds, loop=0, quality=60, method=6)
    print(f"{out}: {len(pages)} pictures, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
