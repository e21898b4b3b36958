"""Was a returned notebook run, and what was changed in it? ``python tools/check_returned.py FILE [FILE ...]``.

Each notebook is compared with the lesson that it is a copy of: the one with which it shares most cells. It is refused,
and the exit code is 1, unless every code cell was run, in order and from a fresh kernel, without an error and with
output wherever the lesson has some, and no code cell of the lesson is missing. Cells that were changed or added are
listed, and are no reason to refuse it.

Only the file is read and nothing is run. So this does not tell whether an answer is right, or whether an output is what
its cell prints; ``pytest --nbval-lax --nbval-current-env FILE`` runs the cells again.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

from nst_lessons.console import forgiving_output

LESSONS = Path(__file__).parents[1] / "notebooks"


class Findings(NamedTuple):
    """What was found in a notebook, a line each."""

    problems: list[str]  # reasons to refuse it
    changes: list[str]


def source(cell: NotebookNode) -> str:
    return cell.source.strip()


def identity(cell: NotebookNode) -> str | None:
    """The name that a cell keeps when it is edited; Colab stores it among the metadata."""
    return cell.get("id") or cell.metadata.get("id")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Those that are not blank, which are all that Jupyter counts when it runs a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and source(cell)]


def find_lesson(returned: NotebookNode, lessons: Mapping[str, NotebookNode]) -> str:
    """The name of the lesson with which a notebook has most cells in common, of any type.

    Raises:
        ValueError: if it has none but the setup, which all lessons share.
    """
    cells = {source(cell) for cell in returned.cells}
    shared = {name: len(cells & {source(cell) for cell in lesson.cells}) for name, lesson in lessons.items()}
    best = max(shared, key=lambda name: shared[name])
    if shared[best] < 2:
        raise ValueError(f"its cells are no lesson's; expected a copy of one of {', '.join(lessons)}")
    return best


def pair_cells(returned: Sequence[NotebookNode], lesson: Sequence[NotebookNode]) -> dict[int, int]:
    """Which cell of the lesson a returned one is, by their indices: the one with its text, or else with its name."""
    pairs: dict[int, int] = {}
    alike: Iterable[Callable[[NotebookNode], str | None]] = (source, identity)
    for key in alike:
        free = {key(cell): j for j, cell in enumerate(lesson) if j not in pairs.values()}
        for i, cell in enumerate(returned):
            if i not in pairs and key(cell) in free:
                pairs[i] = free.pop(key(cell))
    return pairs


def numbered(cells: Sequence[NotebookNode], indices: Sequence[int]) -> str:
    """Cells by their numbers, from 1 and without the blank ones, and their first lines."""
    if len(indices) == len(cells):
        return f"all {len(cells)} code cells"
    return "; ".join(f"{i + 1} `{source(cells[i]).splitlines()[0][:50]}`" for i in indices)


def compare(returned: NotebookNode, lesson: NotebookNode) -> Findings:
    """What speaks against a run of the whole notebook, and how its code differs from the lesson's."""
    ours, theirs = code_cells(returned), code_cells(lesson)
    pairs = pair_cells(ours, theirs)
    counts = [cell.get("execution_count") for cell in ours]
    not_run = [i for i, count in enumerate(counts) if count is None]
    silent = [i for i, j in sorted(pairs.items()) if theirs[j].outputs and not ours[i].outputs and i not in not_run]
    errors = [i for i, cell in enumerate(ours) if any(output.output_type == "error" for output in cell.outputs)]
    problems = {
        "not run": numbered(ours, not_run),
        "no output, where the lesson has some": numbered(ours, silent),
        "stopped with an error": numbered(ours, errors),
        "missing, by the lesson's numbers": numbered(theirs, sorted(set(range(len(theirs))) - set(pairs.values()))),
    }
    if not not_run and counts != list(range(1, len(ours) + 1)):
        numbers = ", ".join(map(str, counts))
        problems["not run once, in order and from a fresh kernel"] = f"the cells' numbers are {numbers}"
    changes = {
        "changed": numbered(ours, [i for i, j in sorted(pairs.items()) if source(ours[i]) != source(theirs[j])]),
        "added": numbered(ours, [i for i in range(len(ours)) if i not in pairs]),
        "saved with widgets": "Colab stores their state; GitHub cannot show it"
        if "widgets" in returned.metadata
        else "",
    }
    return Findings(*([f"{what}: {cells}" for what, cells in found.items() if cells] for found in (problems, changes)))


def check(path: Path, lessons: Mapping[str, NotebookNode]) -> bool:
    """Print what is found in a notebook; whether it is accepted."""
    try:
        returned = nbformat.read(path, as_version=4)
        name = find_lesson(returned, lessons)
        findings = compare(returned, lessons[name])
    except (OSError, ValueError, AttributeError, nbformat.ValidationError) as error:
        print(f"{path}: REFUSED, {str(error).splitlines()[0]}")
        return False
    verdict = "REFUSED" if findings.problems else "run as a whole and in order"
    print(f"{path}: {verdict}, {name}", *(findings.problems + findings.changes), sep="\n  ")
    return not findings.problems


@forgiving_output()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="notebooks that students returned")
    files = parser.parse_args().files
    lessons = {path.name: nbformat.read(path, as_version=4) for path in sorted(LESSONS.glob("*.ipynb"))}
    accepted = [check(path, lessons) for path in files]
    if not all(accepted):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
