"""The check of returned notebooks: copies of the stored lessons, as students might hand them in."""

import json
from copy import deepcopy
from pathlib import Path
from uuid import UUID

import nbformat
import pytest
from nbformat import NotebookNode

from check_returned import LESSONS, check, code_cells, compare, main
from nst_lessons.editions import read_source

STORED = {path.name: nbformat.read(path, as_version=4) for path in sorted(LESSONS.glob("*.ipynb"))}
SOURCES = sorted((LESSONS / "source").glob("*.py"))
NAME = "03_content_reconstruction.ipynb"


@pytest.fixture
def returned() -> NotebookNode:
    """A lesson as it is stored, which is as "Restart Kernel and Run All Cells" leaves it."""
    return deepcopy(STORED[NAME])


PRINTS = next(n for n, cell in enumerate(code_cells(STORED[NAME])) if cell.source.startswith("target = backbone"))


def problems(returned: NotebookNode) -> list[str]:
    return compare(returned, STORED[NAME]).problems


def save(notebook: NotebookNode, path: Path) -> Path:
    nbformat.write(notebook, path)
    return path


@pytest.mark.parametrize("name", STORED)
def test_every_stored_lesson_is_accepted_under_any_file_name(name, tmp_path, capsys):
    path = save(STORED[name], tmp_path / "mine.ipynb")
    assert check(path, STORED)
    assert capsys.readouterr().out == f"{path}: run as a whole and in order, {name}\n"


@pytest.mark.parametrize("emptied", [False, True])
def test_cleared_outputs_are_refused(emptied, returned, tmp_path, capsys):
    """pytest with nbval passes both, the second because nothing is left that could fail."""
    for cell in code_cells(returned):
        cell.outputs, cell.execution_count = [], None
        if emptied:
            cell.source = "pass"
    assert not check(save(returned, tmp_path / "mine.ipynb"), STORED)
    lines = capsys.readouterr().out.splitlines()
    every = f"all {len(code_cells(returned))} code cells"
    assert lines[1] == f"  not run: {every}"
    assert lines[2:] == [f"  changed: {every}"] * emptied


def test_a_changed_cell_is_listed_and_no_reason_to_refuse(returned):
    code_cells(returned)[5].source = "STEPS = 100\nprint(STEPS)"
    assert compare(returned, STORED[NAME]) == ([], ["changed: 6 `STEPS = 100`"])


def test_an_added_cell_is_listed_and_a_blank_one_does_not_count(returned):
    returned.cells.append(nbformat.v4.new_code_cell(" \n"))
    number = 1 + len(code_cells(STORED[NAME]))
    returned.cells.append(nbformat.v4.new_code_cell("mine = 1", execution_count=number))
    assert compare(returned, STORED[NAME]) == ([], [f"added: {number} `mine = 1`"])


def test_without_the_cells_names_their_text_tells_which_they_are(returned):
    for cell in returned.cells:
        del cell["id"]
    code_cells(returned)[5].source = "STEPS = 100"
    (problem,), changes = compare(returned, STORED[NAME])
    before = code_cells(STORED[NAME])[5].source.splitlines()[0]
    assert problem.startswith(f"missing, by the lesson's numbers: 6 `{before}")
    assert changes == ["added: 6 `STEPS = 100`"]


def test_colab_stores_the_cells_names_elsewhere(returned):
    for cell in returned.cells:
        cell.metadata["id"] = cell.pop("id")
    code_cells(returned)[5].source = "STEPS = 100"
    assert compare(returned, STORED[NAME]) == ([], ["changed: 6 `STEPS = 100`"])


def saved_by_colab(notebook: NotebookNode) -> str:
    """The file that Colab makes of a notebook that was run there, by the look of those on GitHub.

    Names are among the cells' metadata, a link comes first, and the state of widgets lacks the key "state".
    """
    saved = nbformat.from_dict(deepcopy(notebook))
    saved.nbformat_minor = 0
    widget = {"model_module": "@jupyter-widgets/controls", "model_name": "IntSliderModel", "state": {"value": 3}}
    saved.metadata |= {
        "accelerator": "GPU",
        "colab": {"provenance": [], "gpuType": "T4"},
        "widgets": {"application/vnd.jupyter.widget-state+json": {"0342ed73509448aebad7813f3e469dde": widget}},
    }
    for cell in saved.cells:
        cell.metadata["id"] = cell.pop("id")
        if cell.get("outputs"):
            cell.metadata |= {"outputId": str(UUID(int=0)), "colab": {"base_uri": "https://localhost:8080/"}}
    link = nbformat.v4.new_markdown_cell("<a href='...'>Open In Colab</a>", metadata={"id": "view-in-github"})
    del link["id"]
    return json.dumps({**saved, "cells": [link, *saved.cells]})


@pytest.mark.parametrize("name", STORED)
def test_a_notebook_saved_by_colab_is_accepted_and_its_widgets_are_named(name, tmp_path, capsys):
    path = tmp_path / "Copy of a lesson.ipynb"
    path.write_text(saved_by_colab(STORED[name]))
    assert check(path, STORED)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{path}: run as a whole and in order, {name}",
        "  saved with widgets: Colab stores their state; GitHub cannot show it",
    ]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_marks_of_nbgrader_survive_colab(source):
    lesson = read_source(source)
    returned = nbformat.reads(saved_by_colab(lesson), as_version=4)
    nbformat.validate(returned)
    marks = [[cell.metadata.get("nbgrader") for cell in notebook.cells] for notebook in (lesson, returned)]
    assert marks[1] == [None, *marks[0]]
    assert any(marks[0])


def test_one_cell_that_was_not_run(returned):
    cell = code_cells(returned)[PRINTS]
    cell.outputs, cell.execution_count = [], None
    assert problems(returned) == [f"not run: {PRINTS + 1} `{cell.source.splitlines()[0]}`"]


def test_output_that_was_taken_away(returned):
    cell = code_cells(returned)[PRINTS]
    cell.outputs = []
    assert problems(returned) == [f"no output, where the lesson has some: {PRINTS + 1} `{cell.source.splitlines()[0]}`"]


def test_an_error(returned):
    code_cells(returned)[1].outputs.append(nbformat.v4.new_output("error", ename="NameError", evalue="", traceback=[]))
    assert problems(returned) == ["stopped with an error: 2 `import torch`"]


def test_a_missing_cell(returned):
    returned.cells.remove(code_cells(returned)[1])
    first, second = problems(returned)
    assert first == "missing, by the lesson's numbers: 2 `import torch`"
    assert second.startswith("not run once, in order and from a fresh kernel: the cells' numbers are 1, 3, 4,")


@pytest.mark.parametrize("counts", [[2, 1], [2, 3], [1, 3]])
def test_cells_that_were_run_in_another_order_or_twice(counts):
    """The last two: in a kernel that was not restarted, and with one cell run again."""
    lesson = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in "ab"])
    returned = deepcopy(lesson)
    for cell, count in zip(returned.cells, counts, strict=True):
        cell.execution_count = count
    numbers = f"the cells' numbers are {counts[0]}, {counts[1]}"
    assert compare(returned, lesson) == ([f"not run once, in order and from a fresh kernel: {numbers}"], [])


@pytest.mark.parametrize("text", ["", "my answers", "[]", "{}", '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}'])
def test_what_is_no_notebook_is_one_line_and_the_others_are_still_checked(text, tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.ipynb").write_text(text)
    files = [tmp_path / "broken.ipynb", tmp_path / "nowhere.ipynb", LESSONS / NAME]
    monkeypatch.setattr("sys.argv", ["check_returned.py", *map(str, files)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith(f"{path}: ") for line, path in zip(lines, files, strict=True)] == [True] * 3
    assert ["REFUSED" in line for line in lines] == [True, True, False]


def test_a_notebook_of_ones_own_is_no_lesson(tmp_path, capsys):
    own = nbformat.v4.new_notebook(cells=[code_cells(STORED[NAME])[0], nbformat.v4.new_code_cell("print(1)")])
    assert not check(save(own, tmp_path / "own.ipynb"), STORED)
    said = capsys.readouterr().out
    assert "REFUSED, its cells are no lesson's; expected a copy of one of 01_preprocessing.ipynb, " in said


def test_all_accepted_is_exit_code_0(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["check_returned.py", *map(str, sorted(LESSONS.glob("*.ipynb")))])
    main()
    assert capsys.readouterr().out.count("run as a whole and in order") == len(STORED) >= 6
