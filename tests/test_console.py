"""What cannot be printed is lost, and changes neither what is done nor the exit code."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from nst_lessons.console import Forgiving, forgiving_output

TRANSFER = [sys.executable, "-m", "nst_lessons", "transfer", "chelsea", "mosaic", "--size", "32", "--steps", "3"]


def test_letters_outside_the_code_page_are_escaped():
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="cp1252", newline="\n")
    print("wrote 絵é.png", file=Forgiving(stream), flush=True)
    assert buffer.getvalue() == b"wrote \\u7d75\xe9.png\n"


class Broken(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left on device"), ValueError("closed")])
def test_a_stream_that_fails_is_forgiven(monkeypatch, error):
    monkeypatch.setattr(sys, "stdout", Broken(error))
    monkeypatch.setattr(sys, "stderr", Broken(error))
    with forgiving_output():
        print("words", flush=True)
        for _ in tqdm(range(3), file=sys.stderr):
            pass
    with pytest.raises(type(error)):
        print("words")


def test_a_program_without_a_console_prints_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with forgiving_output():
        print("words")
        assert sys.stdout is None
        assert isinstance(sys.stderr, Forgiving)
    assert sys.stdout is None


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_name_outside_the_code_page_is_no_error(folder, encoding):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([*TRANSFER, "-o", "絵.png"], env=environment, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr.count(b"Error")) == (0, 0)
    assert b"wrote " in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["絵.png", "絵.png.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_behind_the_output_is_no_error(folder):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*TRANSFER, "-o", "out.png"], stdout=full, stderr=full, timeout=120)
    assert done.returncode == 0
    assert Path("out.png.json").exists()


@pytest.mark.skipif(os.name != "posix", reason="the shell is POSIX's")
def test_a_reader_that_went_away_is_no_error(folder):
    command = f"({' '.join(TRANSFER)} -o out.png; echo $? > code) 2>&1 | true"
    subprocess.run(["sh", "-c", command], timeout=120, check=True)
    assert Path("code").read_text() == "0\n"
    assert Path("out.png.json").exists()
