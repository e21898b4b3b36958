"""How soon does the explorer of lesson 2 answer? From a key press on a slider to the new pictures, in Chromium.

    python tests/benchmarks/explorers.py [--size 256] [--quick]

The page itself measures: from the key's event to the load event of the first new picture, and of the last of them.
What is between is all that a reader waits for: the front end, the server, the kernel, and the pictures' way back.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from plain_loop import machine, row

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))

from conftest import run_notebook, running_chromium, running_lab

MOVES = 30
WANTED = "150 ms"
SETTLED = 500  # ms after which no further picture is expected
LAYERS = ("relu1_1", "relu3_1", "relu5_1")
CELL = """from nst_lessons import load_backbone, load_image, sample
from nst_lessons.widgets import explore_features

explore_features(load_backbone("compact"), load_image(sample("astronaut"), {size}))"""
WATCH = """() => {
    window.loads = []
    document.addEventListener("keydown", () => { window.pressed = performance.now(); window.loads = [] }, true)
    document.addEventListener("load", event => {
        if (event.target.matches?.("img.jupyter-widgets")) window.loads.push(performance.now() - window.pressed)
    }, true)
}"""


def answers(page: Any, slider: str, moves: int) -> Iterator[tuple[float, float]]:
    """Milliseconds until the first and the last new picture after each of some moves, there and back."""
    handle = page.locator(".widget-inline-hbox", has=page.get_by_text(slider, exact=True)).locator(".noUi-handle")
    handle.press("Home")
    page.wait_for_timeout(2 * SETTLED)
    for move in range(moves):
        handle.press("ArrowRight" if move < moves // 2 else "ArrowLeft")
        page.wait_for_function("loads.length > 0")
        page.wait_for_timeout(SETTLED)
        loads = page.evaluate("loads")
        yield min(loads), max(loads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="the photo's longer side, in pixels")
    parser.add_argument("--quick", action="store_true", help="a few moves, to see that all works")
    arguments = parser.parse_args()
    print(machine())
    row("explorer of lesson 2", "first picture: median", "all pictures: median", "all pictures: worst", "wanted")
    row(*["---"] * 5)
    with TemporaryDirectory() as folder, running_chromium() as browser:
        home, notebooks = Path(folder) / "home", Path(folder) / "notebooks"
        notebooks.mkdir()
        with running_lab(home, notebooks) as lab:
            page = browser.new_page(viewport={"width": 1360, "height": 1200})
            run_notebook(page, lab, "explorer.ipynb", [CELL.format(size=arguments.size)])
            page.locator("img.jupyter-widgets").first.wait_for()
            page.evaluate(WATCH)
            for layer in LAYERS:
                page.get_by_label("layer", exact=True).select_option(layer)
                for slider in ("channel", "row"):
                    found = answers(page, slider, 4 if arguments.quick else MOVES)
                    first, last = zip(*found, strict=True)
                    times = (f"{time:.0f} ms" for time in (median(first), median(last), max(last)))
                    row(f"{arguments.size} px, {layer}, {slider}", *times, WANTED)


if __name__ == "__main__":
    main()
