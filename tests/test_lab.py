"""The lessons, copied or in place, and what JupyterLab is started with."""

import io
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import nst_lessons
from nst_lessons import lab
from nst_lessons.__main__ import main


@pytest.fixture
def lessons(tmp_path, monkeypatch) -> Path:
    """Two lessons in an installed wheel."""
    lessons = tmp_path / "site-packages" / "nst_lessons" / "notebooks"
    lessons.mkdir(parents=True)
    for name in ("01_first.ipynb", "02_second.ipynb"):
        (lessons / name).write_text(f"{name} as shipped")
    (lessons / ".hidden").touch()
    (lessons / ".ipynb_checkpoints").mkdir()
    monkeypatch.setattr(lab, "PACKAGED_LESSONS", lessons)
    return lessons


@pytest.fixture
def launched(monkeypatch) -> list[list[str]]:
    """What JupyterLab would have been started with, which need not be installed; the user is not root."""
    launched = []

    def run_jupyterlab(arguments):
        assert arguments[-1:] == list(lab.LARGE_UPLOADS)
        launched.append(arguments[:-1])
        return 0

    monkeypatch.setattr(lab, "run_jupyterlab", run_jupyterlab)
    monkeypatch.setattr(lab, "find_spec", lambda name: name)
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    return launched


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_lab_copies_the_lessons_and_passes_arguments_on(folder, lessons, launched, capsys):
    assert main(["lab", "mine", "--no-browser", "--port", "9000"]) == 0
    assert launched == [["mine", "--no-browser", "--port", "9000"]]
    assert names(folder / "mine") == ["01_first.ipynb", "02_second.ipynb"]
    assert (folder / "mine" / "01_first.ipynb").read_text() == "01_first.ipynb as shipped"
    assert "copied to mine: 01_first.ipynb, 02_second.ipynb\n" in capsys.readouterr().out


@pytest.mark.parametrize("further", [["--no-browser", "--port", "9000"], ["--", "--no-browser", "--port", "9000"]])
def test_lab_without_a_folder_takes_the_default_one(further, folder, lessons, launched):
    assert main(["lab", *further]) == 0
    assert launched == [["nst_lessons_notebooks", "--no-browser", "--port", "9000"]]
    assert names(folder / "nst_lessons_notebooks") == ["01_first.ipynb", "02_second.ipynb"]


def test_lab_never_overwrites_an_edited_copy(folder, lessons, launched, capsys):
    assert main(["lab"]) == 0
    edited = folder / "nst_lessons_notebooks" / "01_first.ipynb"
    edited.write_text("my own answers")
    edited.with_name("02_second.ipynb").unlink()
    (lessons / "01_first.ipynb").write_text("a newer release")
    capsys.readouterr()
    assert main(["lab"]) == 0
    assert edited.read_text() == "my own answers"
    assert edited.with_name("02_second.ipynb").exists()
    out = capsys.readouterr().out
    assert "copied to nst_lessons_notebooks: 02_second.ipynb\n" in out
    assert "kept as they are in nst_lessons_notebooks: 01_first.ipynb (" in out


def test_a_copy_that_fails_leaves_no_half_lesson(folder, lessons, launched, monkeypatch):
    """Half a lesson would be kept for ever: it looks like a student's copy."""

    def disk_full(path, target):
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", disk_full)
    assert main(["lab", "mine"]) == 2
    assert names(folder / "mine") == []
    assert launched == []


def test_copy_only_copies_by_the_same_rules_and_opens_nothing(folder, lessons, launched, monkeypatch):
    monkeypatch.setattr(lab, "find_spec", lambda name: None)  # a hub's own command starts the server
    assert main(["lab", "mine", "--copy-only"]) == 0
    (folder / "mine" / "01_first.ipynb").write_text("my own answers")
    assert main(["lab", "mine", "--copy-only"]) == 0
    assert (folder / "mine" / "01_first.ipynb").read_text() == "my own answers"
    assert names(folder / "mine") == ["01_first.ipynb", "02_second.ipynb"]
    assert launched == []


def test_lab_in_a_clone_opens_the_lessons_themselves(folder, tmp_path, launched, monkeypatch, capsys):
    clone = tmp_path / "clone" / "notebooks"
    clone.mkdir(parents=True)
    (clone / "01_first.ipynb").touch()
    monkeypatch.setattr(lab, "PACKAGED_LESSONS", tmp_path / "clone" / "nst_lessons" / "notebooks")
    monkeypatch.setattr(lab, "CLONED_LESSONS", clone)
    assert main(["lab"]) == 0
    assert main(["lab", "clone/notebooks"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["lab", "elsewhere"]) == 0
    assert launched == [[str(clone)], ["clone/notebooks"], ["elsewhere"]]
    assert names(folder / "elsewhere") == ["01_first.ipynb"]


def test_the_pages_that_lessons_link_to_come_along(folder, launched, capsys):
    assert main(["lab", "mine"]) == 0
    assert main(["lab", "--solutions"]) == 0
    for page in ("refresher.md", "glossary.md"):
        text = (Path(__file__).parents[1] / "notebooks" / page).read_text(encoding="utf-8")
        assert (folder / "mine" / page).read_text(encoding="utf-8") == text
        solved = (folder / "nst_lessons_solutions" / page).read_text(encoding="utf-8")
        linked = re.findall(r"\]\((\d\d_\w+\.ipynb)\)", solved)
        assert linked and all((folder / "nst_lessons_solutions" / name).exists() for name in linked)
        assert solved.replace("_solutions.ipynb", ".ipynb") == text


def test_lab_knows_this_very_clone():
    assert Path(nst_lessons.__file__).parents[1] / "notebooks" == lab.CLONED_LESSONS


def test_lab_works_as_root(folder, lessons, launched, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert main(["lab", "mine", "--no-browser"]) == 0
    assert main(["lab", "mine", "--allow-root"]) == 0
    assert launched == [["mine", "--allow-root", "--no-browser"], ["mine", "--allow-root"]]


def test_lab_without_jupyterlab_names_the_remedy(folder, lessons, launched, monkeypatch, capsys):
    monkeypatch.setattr(lab, "find_spec", lambda name: None if name == "jupyterlab" else find_spec(name))
    assert main(["lab", "mine"]) == 2
    assert 'pip install "nst-lessons[lab]"' in capsys.readouterr().err
    assert launched == []
    assert not (folder / "mine").exists()


def test_lab_hands_over_to_jupyterlab(monkeypatch):
    labapp = pytest.importorskip("jupyterlab.labapp", reason="jupyterlab is not installed")
    received = []
    monkeypatch.setattr(labapp, "main", received.append)
    assert lab.run_jupyterlab(["mine", "--no-browser"]) == 0
    assert received == [["mine", "--no-browser"]]


def test_lab_help_is_ours(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["lab", "--help"])
    assert caught.value.code == 0
    assert "never overwritten" in " ".join(capsys.readouterr().out.split())


def test_a_folder_whose_name_cannot_be_printed_is_opened_all_the_same(folder, lessons, launched, monkeypatch):
    """With the output redirected in a legacy code page, the copies had been made and JupyterLab never opened."""
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="cp1252"))
    assert main(["lab", "教材"]) == 0
    assert launched == [["教材"]]
    assert names(folder / "教材") == ["01_first.ipynb", "02_second.ipynb"]
    assert buffer.getvalue().startswith(rb"copied to \u6559\u6750: 01_first.ipynb")
