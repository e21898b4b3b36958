import os

import pytest

from nst_lessons.files import whole_file


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "picture.png"
    path.write_text("old")
    return path


def test_a_file_is_replaced_only_when_all_is_written(old):
    with whole_file(old) as file:
        file.write_text("new")
        assert old.read_text() == "old"
        assert file.parent == old.parent, "another disk could not be swapped in one step"
    assert old.read_text() == "new"
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_what_breaks_off_leaves_no_trace(old, fault):
    with pytest.raises(type(fault)), whole_file(old) as file:
        file.write_text("half")
        raise fault
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


def test_it_is_on_the_disk_before_it_is_in_its_place(old, monkeypatch):
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: contents.append((os.fstat(descriptor).st_size, old.read_text()))
    )
    contents = []
    with whole_file(old) as file:
        file.write_text("longer")
    assert contents == [(6, "old")]


def test_what_a_killed_process_left_is_cleared_away(old):
    with pytest.raises(KeyboardInterrupt), whole_file(old) as file:
        leftover = file
        raise KeyboardInterrupt
    leftover.write_text("half, and then the process was killed")
    with whole_file(old) as file:
        file.write_text("new")
    assert old.read_text() == "new"
    assert list(old.parent.iterdir()) == [old]


def test_the_longest_name_that_a_system_allows_can_be_written(tmp_path):
    path = tmp_path / f"{'a' * 251}.txt"
    with whole_file(path) as file:
        file.write_text("new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "new"


def test_files_with_names_alike_are_written_side_by_side(tmp_path):
    first, second = tmp_path / f"{'a' * 250}1.txt", tmp_path / f"{'a' * 250}2.txt"
    with whole_file(first) as one, whole_file(second) as two:
        one.write_text("1")
        two.write_text("2")
        assert one.name.startswith(".")
        assert two.name.startswith(".")
    assert (first.read_text(), second.read_text()) == ("1", "2")


def test_a_missing_folder_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "gone" / "a.txt") as file:
        file.write_text("a")
