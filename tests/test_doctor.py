"""The machine report."""

import hashlib
from argparse import Namespace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch

import nst_lessons
from nst_lessons import __main__ as command_line
from nst_lessons import doctor, weight_files
from nst_lessons.__main__ import main

COMPACT = Path(nst_lessons.__file__).parent / "weights" / "compact.safetensors"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """torch's cache of weights, empty; and a transfer that is over in no time."""
    monkeypatch.setattr(command_line, "SIZE", 32)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    return cache


def report(capsys) -> dict[str, str]:
    """What `doctor` says of each subject."""
    assert main(["doctor"]) == 0
    return dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())


def test_doctor_tells_what_there_is(cache, monkeypatch, capsys):
    weights = b"weights whose name has the beginning of their hash"
    name = f"vgg16-{hashlib.sha256(weights).hexdigest()[:8]}.pth"
    monkeypatch.setitem(weight_files.DOWNLOADS, "vgg16", Namespace(url=f"http://localhost/{name}"))
    (cache / name).write_bytes(weights)
    weight_files.cached_weights("vgg19").write_bytes(b"half a download")
    found = report(capsys)
    assert found["nst-lessons"].startswith(nst_lessons.__version__)
    assert found["torch"] == version("torch")
    assert found["threads"].startswith(f"{torch.get_num_threads()} of ")
    assert found["vgg16"] == f"cached and whole: {cache / name}"
    assert "is damaged" in found["vgg19"]
    assert hashlib.sha256(COMPACT.read_bytes()).hexdigest() in found["compact"]
    assert "compact, 32 x 32 pixels, 100 steps; extrapolated" in found["standard"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_doctor_says_what_the_package_makes_of_the_machine(dtype, cache, monkeypatch, capsys):
    answer = dtype == torch.bfloat16
    monkeypatch.setattr(command_line, "keep_freed_memory", lambda: answer)
    monkeypatch.setattr(doctor, "fastest_dtype", lambda device: dtype)
    found = report(capsys)
    word = "yes" if answer else "no"
    assert found["bfloat16"] == f"{word}: features are computed in {'it' if answer else str(dtype)[6:]}"
    assert f"512 MB that a step frees are kept for the next step: {word}" in found["memory"]


def test_doctor_names_what_is_missing(cache, monkeypatch, capsys):
    def nothing_installed(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", nothing_installed)
    found = report(capsys)
    assert found["jupyterlab"].startswith('missing; pip install "nst-lessons[lab,test]"')
    assert found["vgg19"] == "not cached; `nst-lessons fetch vgg19` downloads about 550 MB"
