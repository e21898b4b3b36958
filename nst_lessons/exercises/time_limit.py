"""A time limit on a student's function, which no `except:` of theirs outlives."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from types import FrameType

ALARM = getattr(signal, "SIGALRM", signal.SIGTERM)  # Windows has no SIGALRM, and never sends SIGTERM
AGAIN = 0.005  # seconds from one alarm to the next


class TimeOver(BaseException):
    """The time is over. It is no `Exception`, so that `except Exception:` lets it pass."""


class TimeLimit:
    """So many seconds, from now on, for whatever runs in ``with limit: ...``, once or several times.

    Ctrl-C works as ever, because the limit has a signal of its own. Only Python's main thread can be interrupted; in
    others nothing is.

    Raises:
        TimeOver: within, and at the latest on leaving, when the time is over.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    def __enter__(self) -> None:
        self.within = self.over = False
        self.left = threading.Event()
        self.caller, self.tracer = sys._getframe(1), sys.gettrace()
        self.watch = threading.Thread(target=self.sound, daemon=True)
        self.in_main_thread = threading.current_thread() is threading.main_thread()
        if self.in_main_thread:
            self.handler = signal.signal(ALARM, self.stop)
            self.watch.start()
        self.within = True

    def __exit__(self, *error: object) -> None:
        self.within = False  # from here on an alarm does nothing
        self.left.set()
        if self.in_main_thread:
            self.watch.join()
            signal.signal(ALARM, self.handler)
        if self.over:
            sys.settrace(self.tracer)
            raise TimeOver from None

    def sound(self) -> None:
        """Sound the alarm when the time is over, again and again until the function is left."""
        if self.left.wait(self.end - time.monotonic()):
            return
        self.over = True
        while not self.left.wait(AGAIN):
            if sys.platform == "win32":
                _thread.interrupt_main(ALARM)
            else:  # this one wakes a sleeping function, too
                signal.pthread_kill(threading.main_thread().ident or 0, ALARM)

    def stop(self, signum: int, frame: FrameType | None) -> None:
        """Interrupt the function, and at its next line once more: it may have caught the first interrupt."""
        if not self.over and callable(self.handler):
            self.handler(signum, frame)  # the alarm of a limit around this one
        if not (self.within and self.over) or (frame and frame.f_globals is globals()):
            return
        while frame and frame is not self.caller:
            frame.f_trace, frame = self.interrupt_line, frame.f_back
        sys.settrace(lambda *_: None)
        raise TimeOver

    def interrupt_line(self, frame: FrameType, event: str, argument: object) -> object:
        """Trace a frame; torch's frames below the function's may come first."""
        if event == "line":
            raise TimeOver
        return self.interrupt_line
