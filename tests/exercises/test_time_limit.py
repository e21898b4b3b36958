"""What never ends is cut off, whatever it catches; nothing of it is left afterwards, and Ctrl-C works as ever."""

import signal
import sys
import threading
import time

import pytest
import torch

from nst_lessons.exercises import checking
from nst_lessons.exercises.checking import exercise
from nst_lessons.exercises.time_limit import ALARM, TimeLimit, TimeOver


@exercise("Anything")
def check_anything(answer, draw):
    """Whatever comes back is right."""
    answer()
    answer()


@pytest.fixture
def soon(monkeypatch):
    """The time is over soon."""
    monkeypatch.setattr(checking, "SECONDS", 0.2)


def in_a_loop():
    while True:
        pass


def caught_in_the_loop():
    while True:
        try:
            sum(range(100))
        except:  # noqa: E722
            pass


def caught_around_a_loop():
    while True:
        try:
            for _ in range(100):
                torch.ones(30, 30) @ torch.ones(30, 30)
        except BaseException:
            continue


def caught_and_said():
    while True:
        try:
            torch.nn.functional.conv2d(torch.ones(1, 1, 30, 30), torch.ones(1, 1, 3, 3))
        except:  # noqa: E722
            print("caught")


def caught_once():
    """It ends as if nothing had happened."""
    try:
        in_a_loop()
    except:  # noqa: E722
        return 1


def caught_in_the_end():
    try:
        in_a_loop()
    finally:
        in_a_loop()


def asleep():
    time.sleep(60)


LOOPS = [in_a_loop, caught_in_the_loop, caught_around_a_loop, caught_and_said, caught_once, caught_in_the_end, asleep]


@pytest.mark.parametrize("function", LOOPS)
@pytest.mark.skipif(sys.platform == "win32", reason="only a signal from outside wakes what is asleep")
def test_what_never_ends_is_cut_off(function, soon):
    tracer, handler, began = sys.gettrace(), signal.getsignal(ALARM), time.monotonic()
    verdict = check_anything.verdict(function)
    assert verdict.sentence == "Anything: still at work after 0.2 s; is there a loop that never ends?"
    assert time.monotonic() - began < 5
    assert (sys.gettrace(), signal.getsignal(ALARM)) == (tracer, handler)
    assert not any(thread.daemon and "sound" in thread.name for thread in threading.enumerate())


def test_the_time_is_that_of_all_calls_together(soon):
    verdict = check_anything.verdict(lambda: time.sleep(0.15) or 1)
    assert "still at work after 0.2 s" in verdict.sentence
    assert check_anything.verdict(lambda: time.sleep(0.02) or 1).right


def test_no_interrupt_comes_late():
    """Functions that end just when their time does."""
    ended = interrupted = 0
    for n in range(300):
        seconds = 0.002 + n * 1e-6
        try:
            with TimeLimit(0.002):
                began = time.perf_counter()
                while time.perf_counter() - began < seconds:
                    pass
            ended += 1
        except TimeOver:
            interrupted += 1
        for _ in range(2000):
            pass
    assert ended + interrupted == 300 and interrupted


@pytest.fixture
def ctrl_c():
    """Ctrl-C raises KeyboardInterrupt, also in a process that a shell has started in the background."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


def test_ctrl_c_is_not_swallowed(ctrl_c):
    def stopped():
        signal.raise_signal(signal.SIGINT)
        in_a_loop()

    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        check_anything.verdict(stopped)
    with pytest.raises(KeyboardInterrupt):
        check_anything(lambda: torch.rand(1) * signal.raise_signal(signal.SIGINT))
    assert torch.equal(torch.get_rng_state(), state)
    assert check_anything.verdict(lambda: 1).right


def test_in_another_thread_there_is_no_limit():
    found = []
    thread = threading.Thread(target=lambda: found.append(check_anything.verdict(lambda: 1)))
    thread.start()
    thread.join()
    assert found[0].right


def test_a_limit_within_a_limit():
    with TimeLimit(30):
        with pytest.raises(TimeOver), TimeLimit(0.1):
            in_a_loop()
    with pytest.raises(TimeOver), TimeLimit(0.1), TimeLimit(30):
        in_a_loop()
