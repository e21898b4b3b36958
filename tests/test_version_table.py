"""The script that runs the tests on other versions: what it installs, with which Python, and what it reads in a log."""

import os
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import version_table
from version_table import activated, counts, find_python, lower_bound, lowest_pins, main, run_tests

PROJECT = {
    "requires-python": ">=3.10",
    "dependencies": ["torch>=2.2", "scikit-image >= 0.22.1"],
    "optional-dependencies": {"lab": ["jupyterlab>=4"], "test": ["pytest>=8"]},
}


def test_lower_bounds_become_pins():
    assert lowest_pins(PROJECT) == ["torch==2.2", "scikit-image==0.22.1", "pytest==8"]


@pytest.mark.parametrize("bounds", ["", "<3", "==1.2", ">=1,<2"])
def test_other_bounds_are_refused(bounds):
    with pytest.raises(ValueError, match="one lower bound"):
        lower_bound(SpecifierSet(bounds))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "===== 2 failed, 840 passed, 3 skipped, 7 warnings in 61.20s (0:01:01) =====",
            "2 failed, 840 passed, 3 skipped",
        ),
        ("1 passed, 1 error in 0.12s", "1 passed, 1 error"),
        ("===== no tests ran in 0.01s =====", "no test was run"),
    ],
)
def test_counts_are_those_of_the_last_line(line, expected):
    assert counts(f"FAILED test_x.py - 9 failed\n{line}\n\n") == expected


def interpreter(path: Path, code: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_pythons_are_found_on_the_path_or_among_pyenvs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert find_python("3.10") is None
    interpreter(tmp_path / "versions/3.10.9/bin/python", 0)
    newer = interpreter(tmp_path / "versions/3.10.13/bin/python", 0)
    interpreter(tmp_path / "versions/3.1.0/bin/python", 0)
    assert find_python("3.10") == newer
    interpreter(tmp_path / "bin/python3.10", 127)  # as a shim of pyenv for a version that is not chosen
    assert find_python("3.10") == newer
    on_path = interpreter(tmp_path / "bin/python3.10", 0)
    assert find_python("3.10") == on_path


def test_the_activated_environment_comes_first_and_nothing_before_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("PATH", "/usr/bin")
    env = activated(tmp_path)
    assert env["PATH"].split(os.pathsep) == [f"{tmp_path}/bin", "/usr/bin"]
    assert "PYTHONPATH" not in env


def test_what_cannot_be_installed_is_said_and_logged(monkeypatch, tmp_path):
    monkeypatch.setattr(version_table, "ROOT", tmp_path)
    passed, cells = run_tests(interpreter(tmp_path / "python3.99", 1), [], tmp_path / "log")
    assert not passed
    assert cells == " |  |  |  |  | could not be installed"
    assert (tmp_path / "log").exists()


def test_the_table_has_a_row_for_each_python_that_is_there(monkeypatch, tmp_path, capsys):
    def fake_run(python, pins, log):
        log.write_text("".join(f"line {i}\n" for i in range(100)) + "FAILED test_x.py\n")
        return not pins, f"{python} | 2 | 1 | 1 | 8 | {len(pins)} pins"

    monkeypatch.setattr("sys.argv", ["version_table.py", "3.13", "3.99", "lowest"])
    monkeypatch.setattr(version_table.tempfile, "mkdtemp", lambda prefix: str(tmp_path))
    monkeypatch.setattr(version_table, "find_python", lambda version: None if version == "3.99" else version)
    monkeypatch.setattr(version_table, "run_tests", fake_run)
    monkeypatch.setattr(version_table, "read_project", lambda: PROJECT)
    with pytest.raises(SystemExit, match="not passed: lowest"):
        main()
    out, err = capsys.readouterr()
    rows = out.splitlines()[2:]
    assert rows == [
        "| 3.13 | 3.13 | 2 | 1 | 1 | 8 | 0 pins |",
        "| lowest | 3.10 | 2 | 1 | 1 | 8 | 3 pins |",
    ]
    assert "3.99: left out" in err
    assert err.endswith("line 99\nFAILED test_x.py\n")
    assert err.count("FAILED") == 1  # nothing of the run that passed
    assert "line 1\n" not in err
