"""What cannot be printed is lost, and changes neither what is done nor the exit code."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

from nst_lessons import load_backbone
from nst_lessons.__main__ import main
from nst_lessons.console import Forgiving, forgiving_output, say
from nst_lessons.weight_files import CAFFE_FILTER

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
        assert isinstance(sys.stdout, Forgiving)
        assert isinstance(sys.stderr, Forgiving)
    assert sys.stdout is None
    say("words")


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


@pytest.mark.skipif(os.name != "posix", reason="the shell is POSIX's")
@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-"])
def test_a_closed_output_is_no_error(folder, closed):
    """A progress bar on a closed standard error once ended the run, and the picture was lost."""
    done = subprocess.run(["sh", "-c", f"{' '.join(TRANSFER)} -o out.png {closed}"], capture_output=True, timeout=120)
    assert done.returncode == 0
    assert Path("out.png.json").exists()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["lab", "教材", "--copy-only"], 0),
        (["lab", "教材", "--solutions", "--copy-only"], 0),
        (["assignment", "教材", "--exercises-only"], 0),
        (["publish", "--repo", "教/材", "--ref", "v1"], 2),
        (["fetch", "vgg16"], 2),
        (["doctor"], 0),
    ],
)
def test_every_command_prints_what_the_code_page_lacks(folder, monkeypatch, command, code):
    cached = Path("教/hub/checkpoints/vgg16-397923af.pth")
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"damaged")
    monkeypatch.setenv("TORCH_HOME", "教")
    buffer = io.BytesIO()
    output = io.TextIOWrapper(buffer, encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", output)
    assert main(command) == code
    assert rb"\u6559" in buffer.getvalue()


# in a program of one's own

RUN = """
from nst_lessons import apply_style_transfer, sample
apply_style_transfer(sample("chelsea", 32), sample("mosaic", 32), size=32, steps=2, backbone="ネットワーク.pth")
open("done", "w").close()
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("outputs", ["", ">/dev/full", "2>/dev/full", "2>&-", ">&-"])
def test_a_run_in_ones_own_program_ends_whatever_can_be_printed(folder, outputs):
    """What it would say: that the network is Caffe's, by a file name that the code page lacks; and a progress bar."""
    weights = load_backbone("compact").state_dict()
    weights["conv1_1.weight"][0, 0] = torch.tensor(CAFFE_FILTER[:9]).view(3, 3)
    weights["conv1_1.bias"][0] = CAFFE_FILTER[9]
    torch.save(weights, "ネットワーク.pth")
    Path("run.py").write_text(RUN, encoding="utf-8")
    command = f"{sys.executable} run.py {outputs}"
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert Path("done").exists()


def test_tools_print_any_name_too(tmp_path):
    lesson = Path(__file__).parents[1] / "notebooks" / "01_preprocessing.ipynb"
    returned = tmp_path / "陳大文.ipynb"
    returned.write_bytes(lesson.read_bytes())
    command = [sys.executable, Path(__file__).parents[1] / "tools" / "check_returned.py", returned]
    done = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "cp1252"}, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert b"run as a whole and in order" in done.stdout
