"""The twin of Colab: what is installed, from where, and which outputs the solved lessons are compared with."""

import subprocess
import sys
from zipfile import ZipFile

import nbformat
import pytest
from packaging.requirements import Requirement

import colab_twin
from colab_twin import (
    PREINSTALLED,
    SOURCES,
    check_installed,
    main,
    only_index,
    requirements,
    solved_lesson,
    write_index,
)
from nst_lessons.editions import read_source
from version_table import read_project


def test_the_twin_has_what_the_package_needs_and_no_jupyterlab():
    wanted = list(map(Requirement, requirements(read_project())))
    names = {requirement.name for requirement in wanted}
    assert {"scipy", "scikit-image", "safetensors", "nbval"} < names
    assert "jupyterlab" not in names
    pins = {requirement.name: requirement.specifier for requirement in map(Requirement, PREINSTALLED)}
    for requirement in wanted:  # pip would find no solution
        (pin,) = pins.get(requirement.name, ["=="])
        assert str(pin) == "==" or requirement.specifier.contains(pin.version), requirement


def test_pip_finds_the_wheel_in_the_index_and_nowhere_else(monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))  # where it would be found, too
    wheel = tmp_path / "nst_lessons-9.9-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        archive.writestr(
            "nst_lessons-9.9.dist-info/METADATA", "Metadata-Version: 2.1\nName: nst-lessons\nVersion: 9.9\n"
        )
        archive.writestr("nst_lessons-9.9.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")

    def found(index):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "nst-lessons", "--dest", tmp_path / "found"]
        return (
            subprocess.run(command, env=only_index(colab_twin.os.environ, index), capture_output=True).returncode == 0
        )

    assert not found((tmp_path / "empty").as_uri())
    assert found(write_index(tmp_path / "index", wheel))
    assert (tmp_path / "found" / wheel.name).exists()


def test_the_first_cell_may_add_the_package_and_nothing_else(capsys):
    before = ["numpy==2.1.3", "torch==2.11.0"]
    check_installed(before, ["nst-lessons==0.1.0", *before])
    assert "nst-lessons==0.1.0, and 2 packages are as they were" in capsys.readouterr().out
    moved = ["nst-lessons==0.1.0", "numpy==2.2.0", "torch==2.11.0"]
    for after in (before, moved, ["nst-lessons==0.1.0", "torch==2.11.0"]):
        with pytest.raises(SystemExit, match="only nst-lessons should have been added"):
            check_installed(before, after)
    with pytest.raises(SystemExit):
        check_installed(["nst-lessons==0.1.0", *before], before)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_solved_lesson_expects_every_check_to_be_right_and_all_else_as_stored(path):
    stored = nbformat.read(path.parents[1] / f"{path.stem}.ipynb", as_version=4)
    lessons = (solved_lesson(path), stored, read_source(path))
    cells = ([cell for cell in lesson.cells if cell.cell_type == "code"] for lesson in lessons)
    for cell, student, marked in zip(*cells, strict=True):
        if marked.metadata.get("nbgrader", {}).get("grade"):
            assert [output.text.rpartition(": ")[2] for output in cell.outputs] == ["right.\n"]
            assert "nbval-check-output" in cell.metadata.tags
        else:
            assert cell.outputs == student.outputs
        assert "raise NotImplementedError()" not in cell.source


def test_without_the_python_of_colab_the_twin_is_left_out(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["colab_twin.py"])
    monkeypatch.setattr(colab_twin, "find_python", lambda version: None)
    main()
    assert "left out: there is no python3.13" in capsys.readouterr().err


def test_a_twin_in_which_a_test_fails_fails(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["colab_twin.py", str(tmp_path)])
    monkeypatch.setattr(colab_twin, "run_twin", lambda twin, folder: twin != tmp_path)
    with pytest.raises(SystemExit, match="twin failed"):
        main()
