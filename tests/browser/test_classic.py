"""The explorers in the classic Notebook with ipywidgets 7, as on Colab: the same tests as in JupyterLab.

`tools/colab_twin.py` runs them. The classic Notebook does not tell its kernel of deleted cells.
"""

from pathlib import Path
from typing import Any

import pytest
from test_exercises import test_a_guess_is_committed_and_revealed, test_a_quick_check_says_at_once_whether_it_is_right
from test_explorers import (
    assert_fits,
    assert_keys_lead,
    test_features,
    test_preprocessing,
    test_recipes,
    test_reconstructions,
    test_statistics,
)
from test_hands import AT_ONCE, BENCH, LIVE, show, test_every_control, test_every_control_of_a_live_run
from test_live_runs import test_content_and_style_live_at_once, test_no_run_outlives_its_cell, test_soak, test_studio

pytestmark = pytest.mark.browser
__all__ = [
    "BENCH",
    "test_a_guess_is_committed_and_revealed",
    "test_a_quick_check_says_at_once_whether_it_is_right",
    "test_content_and_style_live_at_once",
    "test_every_control",
    "test_every_control_of_a_live_run",
    "test_features",
    "test_no_run_outlives_its_cell",
    "test_preprocessing",
    "test_recipes",
    "test_reconstructions",
    "test_soak",
    "test_statistics",
    "test_studio",
]


@pytest.fixture(scope="module")
def lab(classic: Any) -> Any:
    """The server that `open_notebook` uses here."""
    return classic


@pytest.mark.parametrize("call", [*AT_ONCE, *LIVE], ids=lambda call: call.split("(")[0])
def test_widths_and_the_keyboard(bench: Any, tmp_path: Path, call: str) -> None:
    explorer = show(bench, call)
    for width in (1280, 768):
        assert_fits(explorer, width, tmp_path / f"{width}.png", beside=call in AT_ONCE[:-1])
    assert_keys_lead(bench)
    bench.screenshot(path=tmp_path / "focus.png")
