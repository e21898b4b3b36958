"""Do the lessons run on Colab? ``python tools/colab_twin.py [DIR]``.

Makes an environment with Colab's Python and the versions that Colab preinstalls, without JupyterLab. In its kernels
`google.colab` is imported, as there. In it the lessons' first cell installs the package, from a package index and from
a wheel beside the notebook, and must change nothing else. Then all tests but the browser's, the graders' and the hub's
are run, and all lessons with their exercises solved, which proves that the solutions run from top to bottom, too. Where
Chromium is, it tries the explorers in the classic Notebook, driven from the environment that runs this. With DIR, the
environment is made there unless it exists, and kept; otherwise its several gigabytes last as long as the run.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from packaging.requirements import Requirement

from nst_lessons.console import forgiving_output
from nst_lessons.editions import solutions_edition, write
from nst_lessons.publish import refer
from store_notebooks import keep_outputs
from version_table import ROOT, activated, find_python, read_project

PYTHON = "3.13"
# googlecolab/backend-info, 2026-08-19. Later releases of notebook bring JupyterLab.
PREINSTALLED = (
    "torch==2.11.0",
    "torchvision==0.26.0",
    "numpy==2.1.3",
    "pillow==11.3.0",
    "matplotlib==3.10.0",
    "ipywidgets==7.7.1",
    "ipython==7.34.0",
    "ipykernel==6.17.1",
    "traitlets==5.7.1",
    "nbformat==5.11.1",
    "nbclient==0.10.4",
    "notebook==6.5.7",
    "pytest==8.4.2",
    "tqdm==4.67.3",
)
NOT_ON_COLAB = {"jupyterlab", "playwright", "ruff", "mypy"}
SOURCES = sorted((ROOT / "notebooks" / "source").glob("*.py"))


def requirements(project: Mapping[str, Any]) -> list[str]:
    """What to install: Colab's versions, and what else the package and its tests need of a pyproject.toml's project."""
    needed = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    return [*PREINSTALLED, *(text for text in needed if Requirement(text).name not in NOT_ON_COLAB)]


def make_twin(folder: Path, python: Path) -> None:
    """Make the environment, with a `google.colab` that is imported whenever Python starts."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    pip(folder, "install", "--quiet", "--progress-bar=off", *requirements(read_project()))
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "google" / "colab").mkdir(parents=True)
    (packages / "google" / "colab" / "__init__.py").touch()
    (packages / "colab.pth").write_text("import google.colab\n")


def pip(twin: Path, *arguments: str | Path) -> str:
    """Run pip in the environment; what it prints."""
    command: list[str | Path] = [twin / "bin" / "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, env=activated(twin), check=True, stdout=subprocess.PIPE, text=True).stdout


def write_index(folder: Path, wheel: Path) -> str:
    """Make a package index that has one wheel, by its link; the index's address."""
    page = folder / "nst-lessons" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="{wheel.as_uri()}">{wheel.name}</a>')
    return folder.as_uri()


def only_index(env: Mapping[str, str], address: str) -> dict[str, str]:
    """Environment variables with which pip finds packages in one index, and nowhere else."""
    others = {name: value for name, value in env.items() if not name.startswith("PIP_")}
    return others | {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": address}


def run_first_cell(twin: Path, folder: Path, index: str) -> None:
    """Run the lessons' first code cell in a folder, in a kernel of the twin that knows one package index.

    Raises:
        SystemExit: if this changes more than that the package is there.
    """
    cell = next(cell for cell in solutions_edition(SOURCES[0]).cells if cell.cell_type == "code")
    cell.source = refer(cell.source, "", "")  # in a published copy it would install from GitHub
    notebook = folder / "first_cell.ipynb"
    write(nbformat.v4.new_notebook(cells=[cell]), notebook)
    pip(twin, "uninstall", "--quiet", "--yes", "nst-lessons")
    before = pip(twin, "list", "--format=freeze").splitlines()
    command: list[str | Path] = [twin / "bin" / "jupyter", "execute", notebook]
    subprocess.run(command, env=only_index(activated(twin), index), check=True)
    check_installed(before, pip(twin, "list", "--format=freeze").splitlines())


def check_installed(before: list[str], after: list[str]) -> None:
    """Raise SystemExit unless the package is all that was added, and nothing else has changed."""
    changed = sorted(set(before) ^ set(after))
    if [line.partition("==")[0] for line in changed] != ["nst-lessons"] or changed[0] in before:
        raise SystemExit(f"the first cell changed {changed}; only nst-lessons should have been added")
    print(f"the first cell installed {changed[0]}, and {len(before)} packages are as they were", flush=True)


def solved_lesson(source: Path) -> NotebookNode:
    """A lesson with its solutions, and with the outputs to expect: the stored ones, with every exercise right."""
    notebook = solutions_edition(source)
    keep_outputs(notebook, nbformat.read(source.parents[1] / f"{source.stem}.ipynb", as_version=4))
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = output.text.replace(": not attempted yet.", ": right.")
    return notebook


def run_tests(twin: Path, *arguments: str | Path) -> bool:
    """Run pytest in the environment; whether all passed."""
    command: list[str | Path] = [twin / "bin" / "pytest", "--disable-warnings", *arguments]
    return subprocess.run(command, cwd=ROOT, env=activated(twin)).returncode == 0


def run_browser(twin: Path) -> bool:
    """Run the tests of the twin's classic Notebook, from this environment, which has Playwright; whether all passed."""
    command = [sys.executable, "-m", "pytest", "--disable-warnings", "tests/browser/test_classic.py"]
    env = os.environ | {"CLASSIC": str(twin / "bin" / "python")}
    return subprocess.run(command, cwd=ROOT, env=env).returncode == 0


def run_twin(twin: Path, folder: Path) -> bool:
    """Install the package in the environment in both ways and run everything; whether all passed."""
    pip(twin, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder / "dist", ROOT)
    (wheel,) = (folder / "dist").glob("*.whl")
    lessons = folder / "lessons"
    lessons.mkdir()
    run_first_cell(twin, lessons, write_index(folder / "index", wheel))
    beside = wheel.rename(lessons / wheel.name)
    run_first_cell(twin, lessons, (folder / "empty").as_uri())
    print(f"from {beside.name} beside the notebook, too", flush=True)
    (lessons / "first_cell.ipynb").unlink()
    for source in SOURCES:
        write(solved_lesson(source), lessons / f"{source.stem}.ipynb")
    tests = run_tests(twin, "tests", "--ignore=tests/browser", "--ignore=tests/grading", "--ignore=tests/hub")
    browser = run_browser(twin)
    solved = run_tests(twin, "--config-file=pyproject.toml", f"--rootdir={lessons}", "--durations=10", lessons)
    return tests and browser and solved


@forgiving_output()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="environment to make, or made earlier")
    kept = parser.parse_args().folder
    python = find_python(PYTHON)
    if python is None:
        print(f"left out: there is no python{PYTHON}, Colab's, on the path or among pyenv's", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="nst-lessons-colab-") as folder:
        twin = (kept or Path(folder, "twin")).absolute()
        if not twin.exists():
            make_twin(twin, python)
        if not run_twin(twin, Path(folder)):
            raise SystemExit("Colab's twin failed")


if __name__ == "__main__":
    main()
