"""Where a transfer writes, and what it does when it cannot; what the record says of a picture is in test_main."""

import errno
import json
import re
from pathlib import Path

import pytest
import torch

from nst_lessons import ImageError, load_image, record, save_image
from nst_lessons.files import whole_file
from nst_lessons.history import Ending, History, Result
from nst_lessons.record import check_outputs, keep, result_record

IMAGE = torch.full((1, 3, 32, 48), 0.5)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_image_and_its_record_lie_side_by_side(folder):
    assert keep(IMAGE, {"seed": 7}, Path("out.png")) == Path("out.png")
    assert names(folder) == ["out.png", "out.png.json"]
    assert load_image("out.png").shape == IMAGE.shape
    assert json.loads(Path("out.png.json").read_text()) == {"seed": 7}


def fail_in(place: str, error: Exception):
    """`save_image`, but in one folder it fails."""

    def save(image, path, *, alpha=None):
        if Path(path).parent.resolve() == Path(place).resolve():
            raise error
        save_image(image, path)

    return save


def test_an_image_that_cannot_be_written_where_it_was_asked_for_is_kept(folder, monkeypatch, capsys):
    (folder / "results").mkdir()
    full = ImageError("results/out.png could not be saved: No space left on device")
    monkeypatch.setattr(record, "save_image", fail_in("results", full))
    kept = keep(IMAGE, {"seed": 7}, Path("results/out.png"))
    assert capsys.readouterr().err == f"nst-lessons: {full}; the image is kept in {kept.parent}\n"
    assert kept.parent.parent == folder
    assert load_image(kept).shape == IMAGE.shape
    assert json.loads(kept.with_name("picture.png.json").read_text()) == {"seed": 7}
    assert names(folder / "results") == []


@pytest.mark.parametrize("working_folder_too", [False, True])
def test_where_nothing_can_be_written_the_temporary_folder_is_next(
    working_folder_too, folder, tmp_path_factory, monkeypatch
):
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    real = record.tempfile.mkdtemp

    def mkdtemp(prefix, dir):
        if working_folder_too and dir == ".":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(prefix=prefix, dir=dir)

    monkeypatch.setattr(record.tempfile, "mkdtemp", mkdtemp)
    kept = keep(IMAGE, {}, Path("gone/out.png"))
    assert kept.parent.parent == (temporary if working_folder_too else folder)
    assert names(kept.parent) == ["picture.png", "picture.png.json"]


def test_a_record_that_cannot_be_written_is_kept_with_its_image(folder, monkeypatch, capsys):
    def read_only(path):
        if path.parent == Path():
            raise PermissionError(errno.EACCES, "Permission denied")
        return whole_file(path)

    monkeypatch.setattr(record, "whole_file", read_only)
    kept = keep(IMAGE, {}, Path("out.png"))
    assert "Permission denied; the image is kept in" in capsys.readouterr().err
    assert kept.read_bytes() == Path("out.png").read_bytes()
    assert kept.with_name("picture.png.json").exists()


def test_nothing_is_left_where_no_place_is_left(folder, tmp_path_factory, monkeypatch):
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    def disk_full(image, path, *, alpha=None):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record, "save_image", disk_full)
    with pytest.raises(OSError, match="No space left on device"):
        keep(IMAGE, {}, Path("out.png"))
    assert names(folder) == names(temporary) == []


@pytest.mark.parametrize(
    ("out", "checkpoint", "message"),
    [
        ("out.gif", None, "cannot save 'out.gif'; expected a name that ends in .png, .jpg, .jpeg, .webp"),
        ("out", None, "cannot save 'out'; expected a name that ends in"),
        ("missing/out.png", None, "there is no folder missing"),
        ("folder.png", None, "folder.png is a folder"),
        ("photo.png", None, "photo.png would overwrite another file"),
        ("./folder.png/../painting.jpg", None, "would overwrite another file"),
        ("out.png", "gone/run.pt", "there is no folder gone"),
        ("out.png", ".", ". is a folder"),
        ("out.png", "out.png", "out.png would overwrite another file"),
        ("out.png", "out.png.json", "out.png.json would overwrite another file"),
        ("out.png", "photo.png", "photo.png would overwrite another file"),
    ],
)
def test_a_place_where_nothing_may_be_written_is_refused(out, checkpoint, message, folder):
    Path("folder.png").mkdir()
    with pytest.raises(ValueError, match=re.escape(message)):
        check_outputs(Path(out), checkpoint, ["photo.png", "painting.jpg", "http://localhost/a.png"])


def test_places_of_their_own_are_fine(folder):
    check_outputs(Path("out.PNG"), "run.pt", ["photo.png"])


def test_the_ending_is_a_word_and_an_infinite_loss_null():
    history = History(losses=[{"content": 1.5, "style": float("inf")}], seconds=0.12345)
    result = Result(IMAGE, history, Ending.FAILED, "the loss was no longer a finite number")
    assert result_record(result) == {
        "losses": {"content": 1.5, "style": None},
        "steps_taken": 1,
        "seconds": 0.123,
        "ending": "failed",
        "stopped": "the loss was no longer a finite number",
    }
