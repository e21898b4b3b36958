"""Make the student edition of lessons and store it with its pictures: ``python tools/store_notebooks.py [FILE ...]``.

A file is a lesson's source, ``notebooks/source/04_style_reconstruction.py``, or the notebook made from it. Lessons run
from a fresh kernel; where only text has changed since they were stored, their outputs are kept.

What belongs to a live session is left out: widget state (GitHub calls such a file invalid), widget views and progress
bars; the words that a quick check has for readers without widgets are kept. Large pictures are stored as JPEG. An error
stops the storing and leaves the file as it was.
"""

import argparse
import re
from base64 import b64decode, b64encode
from datetime import datetime
from io import BytesIO
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

from nst_lessons.console import forgiving_output
from nst_lessons.editions import student_edition, write

LESSONS = Path(__file__).parents[1] / "notebooks"
ESTIMATE = re.compile(r"^\d+ steps at .* pixels: about .*\n", re.MULTILINE)  # see nst_lessons.estimate.report
WIDGET = "application/vnd.jupyter.widget-view+json"
LIMIT_MEGABYTES = 3.0
LARGE_PICTURE = 150_000  # characters of base64


def seconds(cell: nbformat.NotebookNode) -> float:
    """How long a cell ran."""
    times = cell.metadata.pop("execution", {})
    stamps = [times.get(f"iopub.{name}") for name in ("execute_input", "status.idle")]
    if not all(stamps):
        return 0.0
    began, ended = (datetime.fromisoformat(stamp.replace("Z", "+00:00")) for stamp in stamps)
    return (ended - began).total_seconds()


def without_estimates(output: nbformat.NotebookNode) -> bool:
    """Take out what a run prints of its duration, which holds for this machine; whether anything is left."""
    if output.output_type == "stream":
        output.text = ESTIMATE.sub("", output.text)
    return output.output_type != "stream" or bool(output.text)


def without_view(output: nbformat.NotebookNode) -> bool:
    """Take out a widget's view; whether words are left: more than the one line that names the widget."""
    data = output.get("data", {})
    return data.pop(WIDGET, None) is None or "\n" in data.get("text/plain", "")


def lighten(output: nbformat.NotebookNode) -> None:
    """Turn a large PNG into a JPEG, which needs a fifth of the bytes for pictures full of noise."""
    data = output.get("data", {})
    if len(data.get("image/png", "")) > LARGE_PICTURE:
        jpeg = BytesIO()
        picture = Image.open(BytesIO(b64decode(data.pop("image/png")))).convert("RGB")
        picture.save(jpeg, format="JPEG", quality=82)
        data["image/jpeg"] = b64encode(jpeg.getvalue()).decode()
        output.metadata["image/jpeg"] = output.metadata.pop("image/png", {})


def codes(notebook: nbformat.NotebookNode) -> list[tuple[str, list[str]]]:
    """The code cells' sources and tags."""
    return [(cell.source, cell.metadata.get("tags", [])) for cell in notebook.cells if cell.cell_type == "code"]


def keep_outputs(notebook: nbformat.NotebookNode, stored: nbformat.NotebookNode) -> None:
    """Give the code cells what they gave when they were stored."""
    old = (cell for cell in stored.cells if cell.cell_type == "code")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            was = next(old)
            cell.outputs, cell.execution_count = was.outputs, was.execution_count


def store(path: Path) -> None:
    """Make one lesson from its source, and run it unless its code is as it was."""
    notebook = student_edition(LESSONS / "source" / f"{path.stem}.py")
    path = LESSONS / f"{path.stem}.ipynb"
    if path.exists() and codes(stored := nbformat.read(path, as_version=4)) == codes(notebook):
        keep_outputs(notebook, stored)
        write(notebook, path)
        print(f"{path}: only text has changed")
        return
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    total = 0.0
    for n, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.outputs = [
            output
            for output in cell.outputs
            if without_view(output) and output.get("name") != "stderr" and without_estimates(output)
        ]
        for output in cell.outputs:
            lighten(output)
        total += (spent := seconds(cell))
        if spent > 1:
            print(f"  cell {n}: {spent:.0f} s  {cell.source.strip().splitlines()[0][:70]}")
    text = nbformat.writes(notebook) + "\n"
    megabytes = len(text) / 1e6
    print(f"{path}: {total:.0f} s, {megabytes:.2f} MB")
    if megabytes > LIMIT_MEGABYTES:
        raise SystemExit(f"{path} would be larger than {LIMIT_MEGABYTES} MB; draw smaller figures")
    write(notebook, path)


@forgiving_output()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="lessons; all unless given")
    for path in parser.parse_args().files or sorted((LESSONS / "source").glob("*.py")):
        store(path)


if __name__ == "__main__":
    main()
