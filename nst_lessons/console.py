"""What is printed may be lost, and nothing else with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from io import TextIOBase
from pathlib import Path
from typing import TextIO


class Forgiving(TextIOBase):
    """A stream in front of another: what that one cannot take, on a closed pipe or a full disk, is lost.

    Letters that its code page does not have are written as escapes.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except UnicodeEncodeError:
            encoding = self.stream.encoding
            return self.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError):  # the latter of a closed file
            self.give_up()
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except (OSError, ValueError):
            self.give_up()

    def give_up(self) -> None:
        """Let the rest go nowhere, also what Python itself writes when it ends."""
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding


def forgiving(stream: TextIO) -> Forgiving:
    """The stream, in which nothing that is printed raises an error."""
    return stream if isinstance(stream, Forgiving) else Forgiving(stream)


@contextmanager
def forgiving_output() -> Iterator[None]:
    """Let nothing that is printed here raise an error."""
    with ExitStack() as stack:
        for stream, redirect in ((sys.stdout, redirect_stdout), (sys.stderr, redirect_stderr)):
            if stream is None:  # in a program without a console
                stream = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(redirect(forgiving(stream)))
            stack.callback(forgiving(stream).flush)
        yield


def say(text: str) -> None:
    """Print a line; where that cannot be, nothing else fails."""
    if sys.stdout is not None:
        print(text, file=forgiving(sys.stdout), flush=True)
