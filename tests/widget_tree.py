"""What is in an explorer, without a front end: its controls, pictures and words."""

from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets


def walk(widget: Any) -> Iterator[Any]:
    """A widget and all within it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def control(explorer: Any, description: str) -> Any:
    """The one control of a description."""
    (found,) = (widget for widget in walk(explorer) if getattr(widget, "description", None) == description)
    return found


def pictures(explorer: Any) -> list[bytes]:
    """The PNG files that are shown."""
    return [bytes(widget.value) for widget in walk(explorer) if isinstance(widget, ipywidgets.Image)]


def words(explorer: Any) -> str:
    """All text on the page."""
    return " ".join(widget.value for widget in walk(explorer) if isinstance(widget, ipywidgets.HTML))


def assert_changes(explorer: Any, change: Callable[[], object]) -> None:
    """Something must change both in the pictures and in the words."""
    before = pictures(explorer), words(explorer)
    change()
    assert pictures(explorer) != before[0]
    assert words(explorer) != before[1]
