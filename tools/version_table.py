"""Do the unit tests pass on other versions? ``python tools/version_table.py [3.10 3.13 lowest]``.

Each run installs the package with its test requirements into a fresh virtual environment: the newest releases for the
Python that is named, or, for ``lowest``, the oldest releases and the oldest Python that pyproject.toml allows. Then it
runs all tests but the browser's and the notebooks, and prints a row of a Markdown table. Without arguments all three
are run. A run takes minutes, two of them for the tests, and several gigabytes while it lasts, most of them for torch.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest there

ROOT = Path(__file__).parents[1]
LAST_LINES = 40  # of a failed run's log, which are shown
SHOWN = ("torch", "numpy", "scipy", "ipywidgets")
TELL_VERSIONS = f"""
import platform
from importlib.metadata import version
print(platform.python_version(), *map(version, {SHOWN}), sep=" | ")
"""


def read_project() -> Mapping[str, Any]:
    """The table ``project`` of pyproject.toml."""
    project: Mapping[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def lower_bound(specifiers: SpecifierSet) -> str:
    """The version in a lone ``>=version``.

    Raises:
        ValueError: if there is another bound, or none.
    """
    if [specifier.operator for specifier in specifiers] != [">="]:
        raise ValueError(f"{str(specifiers) or 'no bound'!r}; one lower bound such as '>=1.2' is wanted")
    return next(iter(specifiers)).version


def lowest_pins(project: Mapping[str, Any]) -> list[str]:
    """``name==version`` with the lowest version of each run-time and test requirement of a pyproject.toml's project."""
    texts = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    return [f"{requirement.name}=={lower_bound(requirement.specifier)}" for requirement in map(Requirement, texts)]


def find_python(version: str) -> Path | None:
    """An interpreter of a version such as 3.10 that starts, on the path or among pyenv's; the newest of several."""
    found = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    patches = sorted(pyenv.glob(f"{version}.*/bin/python"), key=lambda path: [*map(int, re.findall(r"\d+", str(path)))])
    for python in [*([Path(found)] if found else []), *reversed(patches)]:
        if subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:  # pyenv's shims may lead nowhere
            return python
    return None


def activated(folder: str | Path) -> dict[str, str]:
    """The environment variables of a shell in which a virtual environment is activated.

    There is no PYTHONPATH, which could put another copy of the package before the installed one.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return env | {"VIRTUAL_ENV": str(folder), "PATH": f"{folder}/bin{os.pathsep}{env['PATH']}"}


def succeeds(log: Path, env: Mapping[str, str], *command: str | Path) -> bool:
    """Run a command in the project's folder, its output at the end of the log."""
    with log.open("a", encoding="utf-8") as file:
        return subprocess.run(command, cwd=ROOT, env=env, stdout=file, stderr=subprocess.STDOUT).returncode == 0


def counts(log: str) -> str:
    """What pytest's last line counts, such as "1 failed, 20 passed"."""
    last = log.rstrip().rpartition("\n")[2]
    return ", ".join(re.findall(r"\d+ (?:failed|passed|skipped|xfailed|errors?)\b", last)) or "no test was run"


def run_tests(python: Path, pins: Sequence[str], log: Path) -> tuple[bool, str]:
    """Install and test in a fresh environment, deleted afterwards: whether all went well, and the cells of its row."""
    with tempfile.TemporaryDirectory(prefix="nst-lessons-venv-") as folder:
        env, scripts = activated(folder), Path(folder, "bin")
        pip_install = scripts / "pip", "install", "--disable-pip-version-check", "--progress-bar=off"
        made = succeeds(log, env, python, "-m", "venv", folder)
        if not (made and succeeds(log, env, *pip_install, ".[test]", *pins)):
            return False, " | " * (len(SHOWN) + 1) + "could not be installed"
        versions = subprocess.check_output([scripts / "python", "-c", TELL_VERSIONS], env=env, text=True)
        passed = succeeds(log, env, scripts / "pytest", "tests", "--ignore=tests/browser")
        return passed, f"{versions.strip()} | {counts(log.read_text(encoding='utf-8'))}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="a Python version, such as 3.13, or 'lowest'")
    names = parser.parse_args().runs or ["3.10", "3.13", "lowest"]
    project = read_project()
    logs = Path(tempfile.mkdtemp(prefix="nst-lessons-logs-"))
    print(f"logs: {logs}", file=sys.stderr)
    failures = []
    print("| run | Python |", " | ".join(SHOWN), "| result |\n|" + "---|" * (len(SHOWN) + 3), flush=True)
    for name in names:
        lowest = name == "lowest"
        version = lower_bound(SpecifierSet(project["requires-python"])) if lowest else name
        python = find_python(version)
        if python is None:
            print(f"{name}: left out, there is no python{version} on the path or among pyenv's", file=sys.stderr)
            continue
        log = logs / f"{name}.log"
        passed, cells = run_tests(python, lowest_pins(project) if lowest else [], log)
        print(f"| {name} | {cells} |", flush=True)
        if not passed:
            failures.append(name)
            print(*log.read_text(encoding="utf-8").splitlines()[-LAST_LINES:], sep="\n", file=sys.stderr)
    if failures:
        raise SystemExit(f"not passed: {', '.join(failures)}; see {logs}")


if __name__ == "__main__":
    main()
