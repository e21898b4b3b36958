"""How soon does the explorer of lesson 2 answer, and how many pictures a second do live runs bring? In Chromium.

    python tests/benchmarks/explorers.py [--size 256] [--quick]

The page itself measures: from the key's event to the load event of the first new picture, and of the last of them.
What is between is all that a reader waits for: the front end, the server, the kernel, and the pictures' way back.
"""

from __future__ import annotations

import argparse
import re
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
LIVE = """from nst_lessons import keep_freed_memory, load_backbone, load_image, sample
from nst_lessons.widgets.transfer import Studio

keep_freed_memory()
backbone = load_backbone("compact")
for studio in [Studio(backbone) for _ in range({runs})]:
    studio.steps.value = 500
    display(studio.explorer.page(load_image(sample("astronaut"), 256), "Press Start."))"""
COUNT_LOADS = """() => {
    window.counts = new Map()
    document.addEventListener("load", event => {
        if (event.target.matches?.("img.jupyter-widgets"))
            counts.set(event.target, (counts.get(event.target) ?? 0) + 1)
    }, true)
}"""
COUNT = """() => Object.fromEntries(
    [...document.querySelectorAll("img.jupyter-widgets")].map((picture, n) => [n, counts.get(picture) ?? 0])
)"""
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


def live_rates(page: Any, runs: int, seconds: float) -> list[str]:
    """Pictures a second, and steps a second, of each of some live runs at once."""
    starts = page.locator(".widget-button", has_text="Start")
    words = page.locator(".widget-html p", has_text="Step ")
    for n in range(runs):
        starts.nth(n).press("Enter")
    page.wait_for_timeout(3000)
    before, shown = [steps_taken(text) for text in words.all_inner_texts()], page.evaluate(COUNT)
    page.wait_for_timeout(1000 * seconds)
    after, now = [steps_taken(text) for text in words.all_inner_texts()], page.evaluate(COUNT)
    for n in range(runs):
        page.locator(".widget-button", has_text="Stop").nth(n).press("Enter")
    page.wait_for_timeout(2000)
    pictures = sorted(((now[name] - shown[name]) / seconds for name in now), reverse=True)[:runs]
    steps = [(new - old) / seconds for old, new in zip(before, after, strict=True)][:runs]
    return [" and ".join(f"{value:.1f}" for value in values) for values in (pictures, steps)]


def steps_taken(words: str) -> int:
    """The step in a live run's words."""
    found = re.search(r"Step (\d+) of", words)
    return int(found[1]) if found else 0


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
            page.close()
            print()
            row("live run of lesson 5", "pictures a second", "steps a second", "wanted")
            row(*["---"] * 4)
            for runs in (1, 2):
                page = browser.new_page(viewport={"width": 1360, "height": 1000 * runs})
                run_notebook(page, lab, f"live{runs}.ipynb", [LIVE.format(runs=runs)])
                page.locator("img.jupyter-widgets").nth(3 * runs - 1).wait_for()
                page.evaluate(COUNT_LOADS)
                rates = live_rates(page, runs, 3 if arguments.quick else 10)
                row(f"256 px, {runs} at once", *rates, "8 pictures" if runs == 1 else "half of one alone")
                page.close()


if __name__ == "__main__":
    main()
