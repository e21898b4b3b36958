"""The engine of the checks: whatever a student's function does, it ends in one sentence."""

import functools
import linecache
import random
import sys

import numpy as np
import pytest
import torch

from nst_lessons import exercises
from nst_lessons.exercises import checking
from nst_lessons.exercises.checking import Check, Draw, exercise, expect_gradient, expect_shape, expect_value

CHECKS = {name: check for name, check in vars(exercises).items() if isinstance(check, Check)}


@exercise("Doubling")
def check_double(double, draw):
    """``double(x)``: twice as much."""
    x = draw.features()
    value = double(x)
    expect_shape(value, tuple(x.shape), "the result")
    expect_value(value, 2 * x, {"it is halved": x / 2}, "it is not doubled")


@exercise("Anything")
def check_anything(answer, draw):
    """Whatever comes back is right, unless the function does something else, too."""
    answer(torch.ones(3), [1, torch.ones(2)], {"a": torch.ones(2), "w": 0.5}, np.ones(4), (torch.ones(2), "name"))


def double(x):
    return 2 * x


def unwritten(*_):
    raise NotImplementedError("write your code here")


def endless(*_):
    while True:
        pass


@pytest.fixture
def student(monkeypatch):
    """No variable of nbgrader's, nor of the tests', is set."""
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    monkeypatch.delenv("NST_LESSONS_VARIANT", raising=False)


def cell(number, source, scope):
    """Run source as a notebook does: its lines are known by the name of a file that does not exist."""
    name = f"/tmp/ipykernel_1/{number}.py"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), scope)
    return scope


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_every_check_says_what_is_asked_and_cuts_off_what_never_ends(check, student, monkeypatch):
    assert check.title and check.examine.__doc__.startswith("``")
    assert not check.verdict(unwritten).attempted
    monkeypatch.setattr(checking, "SECONDS", 0.2)
    sentence = check.verdict(endless).sentence
    assert sentence == f"{check.title}: still at work after 0.2 s; is there a loop that never ends?"


def test_titles_differ():
    assert len({check.title for check in CHECKS.values()}) == len(CHECKS)


def test_what_is_right_or_wrong_or_not_attempted_is_said(student, capsys):
    check_double(double)
    check_double(lambda x: x / 2)
    check_double(unwritten)
    said = ["Doubling: right.", "Doubling: it is halved."]
    assert capsys.readouterr().out.splitlines() == [
        *said,
        "Doubling: not attempted yet.",
    ]


def test_a_helper_that_is_not_written_yet_is_not_attempted_either():
    assert not check_double.verdict(lambda x: unwritten(x)).attempted


def test_what_torch_has_not_implemented_is_an_attempt():
    verdict = check_double.verdict(lambda x: torch.empty(2, device="meta").tolist())
    assert verdict.attempted and "raises NotImplementedError: Cannot copy" in verdict.sentence
    assert "NotImplementedError" in check_double.verdict(lambda x: torch.nn.Module()(x)).sentence


@pytest.mark.parametrize("given", [torch.ones(2), None, "double", 3, [double]])
def test_what_is_no_function(given, student, capsys):
    check_double(given)
    assert capsys.readouterr().out == "Doubling: give the check your function itself, without calling it.\n"


class Doubler:
    def __call__(self, x):
        return self.double(x)

    def double(self, x, factor=2, *more, **options):
        return factor * x


@pytest.mark.parametrize(
    "answer",
    [
        lambda x, power=1: 2 * x**power,
        Doubler(),
        Doubler().double,
        functools.partial(Doubler().double, factor=2),
        functools.lru_cache(double),
        torch.no_grad()(double),
        functools.singledispatch(double),
        lambda *x: torch.stack([*x, *x]).sum(0),
    ],
)
def test_a_function_is_whatever_can_be_called(answer):
    assert check_double.verdict(answer).right


def test_a_check_within_no_grad_follows_gradients():
    @exercise("Square")
    def check_square(square, draw):
        expect_gradient(lambda x: square(x).sum(), draw.features())

    with torch.no_grad():
        assert check_square.verdict(lambda x: x**2).right


def fails_in_torch(x):
    y = 2 * x
    return torch.nn.functional.conv2d(
        y,
        y.int(),
    )


def test_an_error_is_shown_with_the_students_own_line():
    sentence = check_double.verdict(fails_in_torch).sentence
    assert "`return torch.nn.functional.conv2d(`, raises RuntimeError: " in sentence or "`y.int()" in sentence
    assert f"line {fails_in_torch.__code__.co_firstlineno + 2}, " in sentence
    assert "\n" not in sentence
    for function in (
        functools.partial(lambda unused, x: 1 / 0, None),
        torch.no_grad()(lambda x: 1 / 0),
        functools.lru_cache(lambda x: 1 / 0),
    ):
        assert "1 / 0" in check_double.verdict(function).sentence
    assert "`return 3 * x[5]`, raises IndexError" in check_double.verdict(type("", (), {"__call__": broken})()).sentence


def broken(self, x):
    return 3 * x[5]


def test_a_line_of_a_notebook_and_of_a_helper_in_another_cell():
    scope = cell(1, "def helper(x):\n    y = x.flatten()\n    return y @ x\n", {"__name__": "__main__"})
    scope = cell(2, "def double(x):\n    return helper(x)\n", scope)
    sentence = check_double.verdict(scope["double"]).sentence
    assert sentence.startswith("Doubling: line 3, `return y @ x`, raises RuntimeError: ")
    stub = cell(3, "def stub(x):\n    # your code\n    raise NotImplementedError\n", scope)["stub"]
    assert not check_double.verdict(stub).attempted


def test_a_line_that_is_not_known():
    scope = {}
    exec("def double(x):\n    return x.no_such_thing\n", scope)
    assert "line 2 raises AttributeError: 'Tensor' object" in check_double.verdict(scope["double"]).sentence


def test_too_few_parameters():
    sentence = check_double.verdict(lambda: 1).sentence
    assert "the function raises TypeError: " in sentence and "takes 0 positional arguments but 1 was given" in sentence


class Odd(BaseException):
    """An error that is no `Exception`, and cannot be printed."""

    def __str__(self):
        raise ValueError


class Incomparable:
    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None


def endless_recursion(x):
    return endless_recursion(x)


def raising(error):
    def function(*_):
        raise error

    return function


def swallowing(x):
    try:
        return x.no_such_thing
    except:  # noqa: E722
        return 2 * x


def printing(x):
    print("here I am")
    return 2 * x


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (raising(SystemExit), "`raise error`, raises SystemExit: no details."),
        (lambda x: sys.exit("enough"), "raises SystemExit: enough."),
        (raising(StopIteration), "raises StopIteration: no details."),
        (lambda x: next(iter([])), "raises StopIteration: no details."),
        (raising(GeneratorExit), "raises GeneratorExit: no details."),
        (raising(Odd), "raises Odd: no details."),
        (raising(ValueError("first line\nsecond line")), "raises ValueError: first line."),
        (raising(ValueError(300 * "long ")), "raises ValueError: long "),
        (raising(MemoryError()), "raises MemoryError"),
        (endless_recursion, "`return endless_recursion(x)`, raises RecursionError: maximum recursion depth exceeded"),
        (lambda x: None, "returns nothing; does it end with return?"),
        (lambda x: Incomparable(), "the result must be a tensor, and is a Incomparable."),
        (lambda x: [2 * x], "the result must be a tensor, and is a list."),
        (lambda x: (yield x), "and is a generator."),
        (lambda x: (2 * x).numpy(), "and is a ndarray."),
        (lambda x: (2 * x)[0], "the result has the shape"),
        (lambda x: (2 * x).to("meta"), "the check cannot work with what comes back, "),
        (lambda x: (2 * x).half(), "the result is torch.float16, which rounds too much"),
        (lambda x: (2 * x).int(), "the result is torch.int32, which rounds too much"),
        (lambda x: 2 * x * torch.nan, "it is not doubled"),
    ],
)
def test_whatever_a_function_raises_or_returns_ends_in_one_sentence(answer, said):
    verdict = check_double.verdict(answer)
    assert verdict.attempted and not verdict.right
    assert said in verdict.sentence and "\n" not in verdict.sentence and len(verdict.sentence) < 400


def test_a_function_that_prints_or_catches_its_own_errors_is_right(capsys):
    assert check_double.verdict(printing).right
    assert capsys.readouterr().out == "here I am\n"
    assert check_double.verdict(swallowing).right


CHANGES = {
    "a tensor": lambda x, items, mapping, array, pair: x.add_(1),
    "a view": lambda x, items, mapping, array, pair: x[:1].zero_(),
    "a shape": lambda x, items, mapping, array, pair: x.resize_(1),
    "a tensor in a list": lambda x, items, mapping, array, pair: items[1].zero_(),
    "a list": lambda x, items, mapping, array, pair: items.append(2) or 1,
    "an item": lambda x, items, mapping, array, pair: items.reverse() or 1,
    "a dict": lambda x, items, mapping, array, pair: mapping.pop("w"),
    "a number in a dict": lambda x, items, mapping, array, pair: mapping.update(w=1.0) or 1,
    "a tensor in a dict": lambda x, items, mapping, array, pair: mapping["a"].mul_(3),
    "what a list holds": lambda x, items, mapping, array, pair: items.__setitem__(0, Incomparable()) or 1,
    "what a dict holds": lambda x, items, mapping, array, pair: mapping.update(a=1.0) or 1,
    "an array": lambda x, items, mapping, array, pair: array.fill(0) or 1,
    "a tensor in a tuple": lambda x, items, mapping, array, pair: pair[0].zero_(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_given_must_stay_as_it_is(change):
    assert "changes what it was given" in check_anything.verdict(change).sentence
    assert check_anything.verdict(lambda *given: given).right


STATES = {
    "torch's global random numbers": lambda *_: torch.rand(1),
    "NumPy's global random numbers": lambda *_: np.random.rand(),  # noqa: NPY002
    "Python's global random numbers": lambda *_: random.random(),
    "calls torch.set_grad_enabled": lambda *_: torch.set_grad_enabled(False) or 1,
    "calls torch.set_default_dtype": lambda *_: torch.set_default_dtype(torch.float64) or 1,
}


@pytest.mark.parametrize("said", STATES)
def test_what_belongs_to_all_is_as_before(said):
    before = {what: get() for what, (get, _) in checking.GLOBAL_STATE.items()}
    assert said in check_anything.verdict(STATES[said]).sentence
    for what, (get, _) in checking.GLOBAL_STATE.items():
        assert checking.same(get(), before[what])

    def fails(*_):
        STATES[said]()
        raise ValueError

    assert "ValueError" in check_anything.verdict(fails).sentence
    for what, (get, _) in checking.GLOBAL_STATE.items():
        assert checking.same(get(), before[what])


def test_grading_raises_what_a_student_reads(monkeypatch, capsys):
    for mode in ("autograde", "validate"):
        monkeypatch.setenv("NBGRADER_EXECUTION", mode)
        check_double(double)
        for answer, said in (
            (lambda x: x / 2, "it is halved"),
            (unwritten, "not attempted yet"),
            (3, "without calling"),
        ):
            with pytest.raises(AssertionError, match=said):
                check_double(answer)
    assert capsys.readouterr().out == 2 * "Doubling: right.\n"


def test_students_get_the_same_every_time_and_the_grading_another(student):
    def drawn(variant="shown"):
        draw = Draw("Doubling", variant)
        return [*draw.sizes(4), draw.number(), draw.features(), draw.image(), draw.order(9)]

    def alike(one, other):
        return all(map(checking.same, one, map(checking.copy_of, other)))

    first = drawn()
    assert alike(drawn(), first)
    graded = drawn("graded")
    assert alike(drawn("graded"), graded)
    assert not any(alike([a], [b]) for a, b in zip(first, graded, strict=True))
    assert Draw("Halving", "graded").sizes(4) != graded[:4]


def test_a_grader_asks_otherwise_than_a_student_was_asked(student, monkeypatch):
    asked = []

    def noted(x):
        asked.append(x)
        return 2 * x

    check_double(noted)
    check_double.grade(noted)
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    check_double(noted)
    shown, graded, by_nbgrader = asked
    assert not checking.same(shown, checking.copy_of(graded))
    assert checking.same(graded, checking.copy_of(by_nbgrader))


@pytest.mark.parametrize("variant", range(30))
def test_what_is_drawn(variant, monkeypatch):
    monkeypatch.setenv("NST_LESSONS_VARIANT", str(variant))
    draw = Draw("Doubling")
    sizes = draw.sizes(5)
    assert len(set(sizes)) == 5 and min(sizes) >= 3 and max(sizes) <= 11
    features, image = draw.features(2), draw.image()
    assert features.dtype == torch.float64 and features.min() == 0 and len(features) == 2
    assert len(set(features.shape[1:])) == 3
    assert image.dtype == torch.float32 and image.min() >= 0 and image.max() <= 1
    assert image.shape[:2] == (1, 3) and image.shape[2] != image.shape[3]
    assert sorted(draw.order(9).tolist()) == list(range(9))
    assert 0.5 <= draw.number() <= 3
