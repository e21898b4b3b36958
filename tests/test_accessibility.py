"""What a program can see of accessibility, in every lesson: headings, links, colours, words for pictures."""

import re
from itertools import pairwise, takewhile
from pathlib import Path

import nbformat
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from nst_lessons import figures, plots

LESSONS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SAFE_COLOUR_MAPS = {"magma", "Blues", "RdBu_r"}  # even steps in lightness, no red beside green
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)]+)\)")


def markdown(path: Path) -> list[str]:
    notebook = nbformat.read(path, as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.S)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_headings_are_in_order(path):
    text = "\n".join(map(without_code, markdown(path)))
    levels = [len(marks) for marks in re.findall(r"^(#+) ", text, re.M)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_links_say_where_they_lead(path):
    for text, address in LINK.findall("\n".join(markdown(path))):
        assert text.lower().strip() not in {"here", "link", "this", "click here", "more"}, address
        assert not text.startswith("http"), address


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_each_picture_has_words_of_its_own(path):
    notebook = nbformat.read(path, as_version=4)
    words = [
        output.metadata.get(kind, {}).get("alt", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        for kind in ("image/png", "image/jpeg")
        if kind in output.get("data", {})
    ]
    assert words and min(map(len, words)) > 20
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_what_is_folded_says_what_it_is(path):
    text = "\n".join(markdown(path))
    assert (
        text.count("<details>")
        == text.count("</details>")
        == len(re.findall(r"<details><summary>[^<]+</summary>", text))
    )


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_under_each_explorer_is_a_figure_for_those_who_have_no_kernel(path):
    cells = nbformat.read(path, as_version=4).cells
    explorers = [n for n, cell in enumerate(cells, 1) if re.search(r"^explore_\w+\(", cell.source, re.M)]
    assert explorers
    for n in explorers:
        section = takewhile(lambda cell: cell.cell_type == "code" or not re.search("^#", cell.source, re.M), cells[n:])
        outputs = [output for cell in section for output in cell.get("outputs", [])]
        assert any(
            "image/png" in output.get("data", {}) or "image/jpeg" in output.get("data", {}) for output in outputs
        )


def contrast(colour: str, other: str = "white") -> float:
    """The contrast of two colours by the Web Content Accessibility Guidelines, 1 to 21."""

    def luminance(name: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(name)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(colour), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_words_on_figures_have_contrast():
    assert contrast("black") == pytest.approx(21)
    assert contrast(figures.INK) >= 4.5


def test_colour_maps_survive_print_and_colour_blindness():
    source = "".join(Path(module.__file__).read_text() for module in (plots, figures))
    used = {name for name in re.findall(r'"(\w+)"', source) if name in colormaps}
    assert used and used <= SAFE_COLOUR_MAPS
