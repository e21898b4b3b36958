"""Hand-ins for a grader: what students did with the exercises of lesson 4, and a way to run the grader's command."""

import base64
import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
import torch

from nst_lessons import exercises
from nst_lessons.editions import read_source, solved_source

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks" / "source").glob("*.py"))
STYLE = LESSONS[3]

TRANSPOSED = """\
def gram_matrix_by_hand(features):
    F = features.flatten(2)
    return F.transpose(1, 2) @ F / F.shape[2]
"""
ENDLESS = """\
def layer_style_loss(gram, target):
    while True:
        pass
"""
GREEDY = """\
def weighted_style_loss(grams, targets, weights):
    return bytearray(3 * 2**30)
"""
STORED = """\
import base64, io, torch

ANSWERS = torch.load(io.BytesIO(base64.b64decode("{}")))

def shuffle_positions(features, order):
    return ANSWERS[tuple(order.tolist()), round(float(features.double().sum()), 3)]
"""


def run(command: str, *arguments: str, folder: Path) -> str:
    """Run a grader's command in a folder, with this clone's package; returns what it says."""
    environment = os.environ | {
        "PATH": f"{Path(command).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


def solutions(lesson: Path) -> dict[str, str]:
    """The solutions of a lesson's exercises, by the name of the function to write."""
    cells = [cell for cell in read_source(lesson).cells if cell.metadata.get("nbgrader", {}).get("solution")]
    return {cell.metadata.nbgrader["grade_id"]: solved_source(cell.source) for cell in cells}


def points(lesson: Path) -> dict[str, int]:
    """The points of a lesson's checks, by their names."""
    marks = [cell.metadata.get("nbgrader", {}) for cell in read_source(lesson).cells]
    return {mark["grade_id"]: mark["points"] for mark in marks if mark.get("grade")}


def answer(notebook: nbformat.NotebookNode, name: str, code: str) -> None:
    """Write an answer into the cell whose function has this name."""
    (cell,) = (cell for cell in notebook.cells if f"def {name}(" in cell.source)
    cell.source = code


def answered(release: nbformat.NotebookNode, wrong: dict[str, str]) -> nbformat.NotebookNode:
    """What was handed out, with the solutions, save for those that are wrong."""
    notebook = nbformat.from_dict(release)
    for name, code in (solutions(STYLE) | wrong).items():
        answer(notebook, name, code)
    return notebook


def stored_answers() -> str:
    """A function that knows the answers to what a student's check asks, and nothing else."""
    scope: dict[str, Callable] = {}
    exec(solutions(STYLE)["shuffle_positions"], scope)
    seen = {}

    def recorded(features, order):
        result = scope["shuffle_positions"](features, order)
        seen[tuple(order.tolist()), round(float(features.double().sum()), 3)] = result
        return result

    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("NST_LESSONS_VARIANT", raising=False)
        assert exercises.check_shuffle_positions.verdict(recorded).right
        file = io.BytesIO()
        torch.save(seen, file)
        code = STORED.format(base64.b64encode(file.getvalue()).decode())
        exec(code, scope)
        assert exercises.check_shuffle_positions.verdict(scope["shuffle_positions"]).right  # the student is content
    return code


def renamed(release: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Right answers, with other names for what is inside, and a cell of the student's own."""
    notebook = answered(release, {name: code.replace("features", "maps") for name, code in solutions(STYLE).items()})
    notebook.cells.insert(1, nbformat.v4.new_code_cell("answer = 6 * 7"))
    return notebook


def tampered(release: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Wrong answers, and checks that are replaced, deleted and edited."""
    nothing = {
        name: f"def {name}(*_):\n    return 0"
        for name in ("gram_matrix_by_hand", "shuffle_positions", "layer_style_loss")
    }
    notebook = answered(release, nothing)
    answer(notebook, "gram_matrix_by_hand", f"check_gram_matrix = print\n{nothing['gram_matrix_by_hand']}")
    notebook.cells = [cell for cell in notebook.cells if "\ncheck_shuffle_positions(" not in cell.source]
    (cell,) = (cell for cell in notebook.cells if "\ncheck_layer_style_loss(" in cell.source)
    cell.source = "print('Style loss of one layer: right.')"
    return notebook
