"""The command line in process, and in a process of its own where signals are the point."""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from importlib.util import find_spec
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import vgg16

import nst_lessons
from nst_lessons import __main__ as command_line
from nst_lessons import (
    apply_style_transfer,
    estimate,
    load_image,
    optimize_image,
    recipes,
    sample,
    style_transfer,
    to_pil,
    weight_files,
)
from nst_lessons.__main__ import main
from nst_lessons.files import whole_file

COMPACT = Path(nst_lessons.__file__).parent / "weights" / "compact.safetensors"


@pytest.fixture(autouse=True)
def no_choice_from_outside(monkeypatch):
    monkeypatch.delenv("NST_LESSONS_BACKBONE", raising=False)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def transfer(*further: str) -> int:
    """A transfer that is over in no time."""
    return main(["transfer", "chelsea", "night_swirls", "-o", "out.png", "--size", "48", "--steps", "4", *further])


# transfer


def test_transfer_is_what_the_library_computes(folder, capsys):
    assert transfer() == 0
    photo, painting = sample("chelsea", 48), sample("night_swirls", 96)
    _, _, expected = apply_style_transfer(photo, painting, size=48, steps=4, progress=False)
    np.testing.assert_allclose(np.asarray(Image.open("out.png")), np.asarray(to_pil(expected)), atol=1)
    out = capsys.readouterr().out
    assert "48 x 32 pixels, compact on" in out
    assert ", 4 steps; Ctrl-C" in out
    assert "all 4 steps were taken" in out
    assert sorted(path.name for path in folder.iterdir()) == ["out.png", "out.png.json"]


def test_the_record_says_how_to_do_it_again(folder):
    settings = {
        "painting_size": 64,
        "alpha": 2,
        "beta": 0.5,
        "tv": 0.25,
        "seed": 7,
        "start": "noise",
        "optimizer": "adam",
        "content_layers": ["relu1_2", "block2_conv2"],
        "style_layers": ["relu1_1", "relu2_1"],
    }
    texts = {name: ",".join(value) if isinstance(value, list) else value for name, value in settings.items()}
    assert transfer(*(f"--{name.replace('_', '-')}={text}" for name, text in texts.items())) == 0
    record = json.loads(Path("out.png.json").read_text())
    settings |= {"photo": "chelsea", "painting": "night_swirls", "size": 48, "steps": 4, "backbone": "compact"}
    assert {name: record[name] for name in settings} == settings
    assert record["weights_sha256"] == hashlib.sha256(COMPACT.read_bytes()).hexdigest()
    assert record["versions"] == {
        "python": ".".join(map(str, sys.version_info[:3])),
        **{name: version(name) for name in ("torch", "torchvision", "nst-lessons")},
    }
    options = {name: settings[name] for name in command_line.TRANSFER_OPTIONS}
    photo, painting = load_image(sample("chelsea", 48)), load_image(sample("night_swirls", 64))
    again = style_transfer(nst_lessons.load_backbone("compact"), photo, painting, progress=False, **options)
    assert record["losses"] == pytest.approx(again.losses, rel=1e-3)
    assert record["stopped"] == again.stopped
    assert record["steps_taken"] == 4
    assert record["seconds"] > 0


def test_every_default_is_the_functions_own():
    parsed = command_line.command_line().parse_args(["transfer", "a", "b", "-o", "c.png"])
    assert parsed.size == signature(apply_style_transfer).parameters["size"].default
    assert parsed.backbone == "compact"
    assert parsed.optimizer == signature(optimize_image).parameters["optimizer"].default
    for name in ("steps", "alpha", "beta", "tv", "seed", "start", "content_layers", "style_layers"):
        assert getattr(parsed, name) == signature(style_transfer).parameters[name].default


def test_a_recipe_takes_the_place_of_the_defaults_only(folder, monkeypatch, capsys):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder))  # without a VGG
    assert transfer("--recipe", "surma", "--beta", "9") == 0
    out = capsys.readouterr().out
    assert out.count("vgg16, is not on this machine: compact stands in") == 1
    assert ", 4 steps;" in out
    record = json.loads(Path("out.png.json").read_text())
    assert {name: record[name] for name in ("recipe", "beta", "steps", "backbone")} == {
        "recipe": "surma",
        "beta": 9,
        "steps": 4,
        "backbone": "compact",
    }
    assert "start" not in record  # the row's
    photo, painting = load_image(sample("chelsea", 48)), load_image(sample("night_swirls", 96))
    compact = nst_lessons.load_backbone("compact", pooling="max")
    again = style_transfer(compact, photo, painting, recipe="surma", beta=9.0, steps=4, progress=False)
    assert record["losses"] == pytest.approx(again.losses, rel=1e-3)


def test_a_recipe_on_a_network_that_is_named(folder, capsys):
    assert transfer("--recipe", "shrimal", "--backbone", "compact", "--start", "noise") == 0
    assert "stands in" not in capsys.readouterr().out
    record = json.loads(Path("out.png.json").read_text())
    assert (record["recipe"], record["start"]) == ("shrimal", "noise")
    with pytest.raises(SystemExit):
        transfer("--recipe", "gatys")
    assert "invalid choice: 'gatys' (choose from" in capsys.readouterr().err


def test_the_environment_chooses_the_backbone(folder, tmp_path, monkeypatch):
    checkpoint = tmp_path / "mine.safetensors"
    checkpoint.write_bytes(COMPACT.read_bytes())
    monkeypatch.setenv("NST_LESSONS_BACKBONE", str(checkpoint))
    assert transfer() == 0
    assert json.loads(Path("out.png.json").read_text())["backbone"] == str(checkpoint)


def test_paths_are_images_too(folder):
    sample("rocket", 40).save("mine.jpg")
    assert main(["transfer", "mine.jpg", "cubist", "-o", "out.webp", "--size", "40", "--steps", "1"]) == 0
    assert load_image("out.webp").shape == load_image("mine.jpg").shape


def refuse_to_run(*args, **options):
    pytest.fail("work began before the arguments were checked")


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("out.gif", r"cannot write 'out\.gif'; a name that ends in \.png"),
        ("out", "cannot write 'out'; a name that ends in"),
        ("missing/out.png", "there is no folder missing"),
        ("folder.png", r"folder\.png cannot be written"),
        ("photo.png", r"photo\.png would overwrite another file"),
        ("./folder.png/../painting.jpg", "would overwrite another file"),
    ],
)
def test_out_is_checked_before_the_work(out, message, folder, monkeypatch, capsys):
    Path("folder.png").mkdir()
    Path("photo.png").write_bytes(b"mine")
    monkeypatch.setattr(command_line, "load_image", refuse_to_run)
    monkeypatch.setattr(command_line, "load_backbone", refuse_to_run)
    assert main(["transfer", "photo.png", "painting.jpg", "-o", out]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error)
    assert Path("photo.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody.jpg", "cubist"], "nobody.jpg is not a file"),
        (["text.jpg", "cubist"], "text.jpg: in no image format"),
        (["pixel.png", "cubist", "--size", "1"], "1 x 1 pixels"),
        (["http://127.0.0.1:{port}/cat.png", "cubist"], "refused"),
        (["chelsea", "cubist", "--size", "-3"], "-3"),
        (["chelsea", "cubist", "--steps", "0"], "steps must be at least 1, not 0"),
        (["chelsea", "cubist", "--start", "nowhere"], "unknown start 'nowhere'; choose from photo, noise, painting"),
        (["chelsea", "cubist", "--optimizer", "sgd"], "unknown optimizer 'sgd'; choose from lbfgs"),
        (["chelsea", "cubist", "--content-layers", "relu9_9"], "unknown layer 'relu9_9'; choose from conv1_1"),
        (["chelsea", "cubist", "--backbone", "vgg17"], "unknown network 'vgg17'"),
        (["chelsea", "cubist", "--backbone", "nobody.pth"], "no weights file at nobody.pth"),
        (["chelsea", "cubist", "--backbone", "text.jpg"], "text.jpg is damaged or not a weights file"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(arguments, message, folder, capsys):
    Path("text.jpg").write_text("I am no picture")
    Image.new("RGB", (1, 1)).save("pixel.png")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    arguments = [argument.format(port=port) for argument in arguments]
    size = [] if "--size" in arguments else ["--size", "48"]
    assert main(["transfer", *arguments, *size, "-o", "out.png"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("nst-lessons: ")
    assert message in error
    assert "Traceback" not in error
    assert error.count("\n") == 1
    assert not Path("out.png").exists()


def test_usage_errors_are_exit_code_2(capsys):
    for arguments in ([], ["paint"], ["transfer", "chelsea"], ["doctor", "--loudly"], ["fetch", "vgg13"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    assert "choose from" in capsys.readouterr().err


def test_no_record_without_an_image(folder, monkeypatch, capsys):
    def disk_full(image, path):
        raise OSError("No space left on device")

    monkeypatch.setattr(command_line, "save_image", disk_full)
    assert transfer() == 2
    assert "No space left on device" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to a process")
def test_interrupt_keeps_the_best_image(folder):
    arguments = ["transfer", "chelsea", "mosaic", "-o", "out.png", "--size", "32", "--steps", "1000000"]
    arguments += ["--checkpoint", "run.pt"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "nst_lessons", *arguments, "--optimizer", "adam", "--start", "noise"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        # A shell that starts its jobs in the background hands them a SIGINT that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        said = b""
        while b"loss=" not in said and (piece := os.read(process.stderr.fileno(), 4096)):
            said += piece
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=120)
    assert b"Traceback" not in error
    assert process.returncode == 130, error.decode()
    assert b"stopped after" in out
    assert b"interrupted at step" in out
    assert b"the same command goes on from run.pt" in out
    record = json.loads(Path("out.png.json").read_text())
    assert record["stopped"].startswith("interrupted at step")
    assert 0 < record["steps_taken"] < 1000000
    assert load_image("out.png").shape == (1, 3, 21, 32)


def test_interrupt_before_the_run_leaves_nothing(folder, monkeypatch, capsys):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "load_backbone", interrupt)
    assert transfer() == 130
    assert capsys.readouterr().err == "nst-lessons: interrupted\n"
    assert list(folder.iterdir()) == []


def test_interrupt_of_the_measurement_ends_all(folder, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipes, "announce", interrupt)
    assert transfer() == 130
    assert list(folder.iterdir()) == []


def test_what_does_not_fit_into_memory_is_refused_in_one_line(folder, monkeypatch, capsys):
    monkeypatch.setattr(estimate, "free_bytes", lambda device: 1_000_000.0)
    assert transfer() == 2
    error = capsys.readouterr().err
    assert error.startswith("nst-lessons: 48x32 pixels need about 0.1 GB of memory, and ")
    assert error.count("\n") == 1
    assert list(folder.iterdir()) == []


# faults


def fail_at(place, error):
    """`save_image`, but in one folder it fails."""

    def save(image, path):
        if Path(path).parent.resolve() == Path(place).resolve():
            raise error
        nst_lessons.save_image(image, path)

    return save


def test_an_image_that_cannot_be_written_where_it_was_asked_for_is_kept(folder, monkeypatch, capsys):
    (folder / "results").mkdir()
    full = nst_lessons.ImageError("results/out.png could not be saved: No space left on device")
    monkeypatch.setattr(command_line, "save_image", fail_at("results", full))
    assert transfer("-o", "results/out.png") == 1
    said = capsys.readouterr()
    (elsewhere,) = folder.glob("nst-lessons-*")
    assert f"nst-lessons: {full}; the image is kept in {elsewhere}\n" in said.err
    assert f"wrote {elsewhere / 'out.png'} and out.png.json" in said.out
    assert load_image(elsewhere / "out.png").shape == (1, 3, 32, 48)
    assert json.loads((elsewhere / "out.png.json").read_text())["steps_taken"] == 4
    assert list((folder / "results").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no folder that is worked in")
@pytest.mark.parametrize("working_folder_too", [False, True])
def test_a_folder_that_goes_away_during_the_run(working_folder_too, folder, tmp_path_factory, monkeypatch, capsys):
    gone = folder / "gone"
    gone.mkdir()
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    if working_folder_too:
        monkeypatch.chdir(gone)

    def style_transfer_meanwhile(*args, **options):
        shutil.rmtree(gone, ignore_errors=True)
        return style_transfer(*args, **options)

    monkeypatch.setattr(command_line, "style_transfer", style_transfer_meanwhile)
    assert transfer("-o", "out.png" if working_folder_too else "gone/out.png") == 1
    assert "could not be saved: [Errno 2] No such file or directory" in capsys.readouterr().err
    (kept,) = (temporary if working_folder_too else folder).glob("nst-lessons-*")
    assert sorted(path.name for path in kept.iterdir()) == ["out.png", "out.png.json"]
    monkeypatch.chdir(folder)


def test_a_record_that_cannot_be_written_is_kept_with_its_image(folder, monkeypatch, capsys):
    def read_only(path):
        if path.parent == Path():
            raise PermissionError(13, "Permission denied")
        return whole_file(path)

    monkeypatch.setattr(command_line, "whole_file", read_only)
    assert transfer() == 1
    assert "Permission denied; the image is kept in" in capsys.readouterr().err
    (elsewhere,) = folder.glob("nst-lessons-*")
    assert (elsewhere / "out.png").read_bytes() == (folder / "out.png").read_bytes()
    assert (elsewhere / "out.png.json").exists()


def test_a_loss_that_is_no_number_is_exit_code_1_with_the_best_image(folder, capsys):
    assert transfer("--beta", "1e39") == 1
    assert "no longer a finite number at step 0 (style)" in capsys.readouterr().out
    record = json.loads(Path("out.png.json").read_text(), parse_constant=pytest.fail)
    assert record["losses"]["style"] is None
    np.testing.assert_allclose(load_image("out.png"), load_image(sample("chelsea", 48)), atol=0.003)


def test_a_stall_is_no_fault(folder, monkeypatch, capsys):
    assert transfer("--alpha", "0", "--beta", "0", "--tv", "0", "--steps", "60") == 0
    assert "stopped after" in capsys.readouterr().out
    assert json.loads(Path("out.png.json").read_text())["stopped"] != "all 60 steps were taken"


def test_the_same_command_goes_on_from_its_checkpoint(folder, capsys):
    assert transfer("--steps", "9") == 0
    whole = Path("out.png").read_bytes()
    assert transfer("--checkpoint", "run.pt") == 0
    Path("out.png").unlink()
    assert transfer("--checkpoint", "run.pt", "--steps", "9") == 0
    assert Path("out.png").read_bytes() == whole
    assert json.loads(Path("out.png.json").read_text())["steps_taken"] == 9
    capsys.readouterr()
    before = Path("run.pt").read_bytes()
    assert transfer("--checkpoint", "run.pt", "--beta", "7") == 2
    assert "run.pt is of a run with other images, weights or layers" in capsys.readouterr().err
    assert transfer("--checkpoint", "run.pt", "--optimizer", "adam") == 2
    assert "run.pt is of another run (optimizer: lbfgs, not adam)" in capsys.readouterr().err
    assert Path("run.pt").read_bytes() == before
    assert Path("out.png").read_bytes() == whole


def test_an_interrupt_says_how_to_go_on(folder, monkeypatch, capsys):
    def interrupted(*args, callback=None, **options):
        def interrupt(step):
            raise KeyboardInterrupt

        return style_transfer(*args, callback=callback or interrupt, **options)

    monkeypatch.setattr(command_line, "style_transfer", interrupted)
    assert transfer("--checkpoint", "run.pt") == 130
    assert "the same command goes on from run.pt" in capsys.readouterr().out
    assert Path("run.pt").exists() and Path("out.png").exists()


def test_a_checkpoint_that_cannot_be_written_is_one_line_and_no_fault(folder, monkeypatch, capsys):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", no_space)
    assert transfer("--checkpoint", "run.pt") == 0
    lines = [line for line in re.split(r"[\r\n]", capsys.readouterr().err) if "run.pt" in line]
    assert lines == ["nst-lessons: run.pt could not be written ([Errno 28] No space left on device); the run goes on"]
    assert names(folder) == ["out.png", "out.png.json"]


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ("gone/run.pt", "there is no folder gone"),
        (".", "cannot be written"),
        ("out.png", "would overwrite another file"),
        ("photo.png", "would overwrite another file"),
    ],
)
def test_a_checkpoint_in_no_place_is_refused_before_the_work(checkpoint, message, folder, monkeypatch, capsys):
    monkeypatch.setattr(command_line, "load_backbone", refuse_to_run)
    Image.new("RGB", (40, 40)).save("photo.png")
    assert main(["transfer", "photo.png", "cubist", "-o", "out.png", "--checkpoint", checkpoint]) == 2
    assert message in capsys.readouterr().err


def test_a_foreign_checkpoint_is_refused_and_left_alone(folder, capsys):
    Path("run.pt").write_text("my diary")
    assert transfer("--checkpoint", "run.pt") == 2
    assert "run.pt is damaged or no checkpoint of a run; delete it to begin anew" in capsys.readouterr().err
    assert Path("run.pt").read_text() == "my diary"
    assert names(folder) == ["run.pt"]


# lab


@pytest.fixture
def lessons(tmp_path, monkeypatch) -> Path:
    """Two lessons in an installed wheel."""
    lessons = tmp_path / "site-packages" / "nst_lessons" / "notebooks"
    lessons.mkdir(parents=True)
    for name in ("01_first.ipynb", "02_second.ipynb"):
        (lessons / name).write_text(f"{name} as shipped")
    (lessons / ".hidden").touch()
    (lessons / ".ipynb_checkpoints").mkdir()
    monkeypatch.setattr(command_line, "PACKAGED_LESSONS", lessons)
    return lessons


@pytest.fixture
def launched(monkeypatch) -> list[list[str]]:
    """What JupyterLab would have been started with; the user is not root."""
    launched = []
    monkeypatch.setattr(command_line, "run_jupyterlab", lambda arguments: launched.append(list(arguments)) or 0)
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


def test_lab_in_a_clone_opens_the_lessons_themselves(folder, tmp_path, launched, monkeypatch, capsys):
    clone = tmp_path / "clone" / "notebooks"
    clone.mkdir(parents=True)
    (clone / "01_first.ipynb").touch()
    monkeypatch.setattr(command_line, "PACKAGED_LESSONS", tmp_path / "clone" / "nst_lessons" / "notebooks")
    monkeypatch.setattr(command_line, "CLONED_LESSONS", clone)
    assert main(["lab"]) == 0
    assert main(["lab", "clone/notebooks"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["lab", "elsewhere"]) == 0
    assert launched == [[str(clone)], ["clone/notebooks"], ["elsewhere"]]
    assert names(folder / "elsewhere") == ["01_first.ipynb"]


def test_lab_knows_this_very_clone():
    assert Path(nst_lessons.__file__).parents[1] / "notebooks" == command_line.CLONED_LESSONS


def test_lab_works_as_root(folder, lessons, launched, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert main(["lab", "mine", "--no-browser"]) == 0
    assert main(["lab", "mine", "--allow-root"]) == 0
    assert launched == [["mine", "--allow-root", "--no-browser"], ["mine", "--allow-root"]]


def test_lab_without_jupyterlab_names_the_remedy(folder, lessons, launched, monkeypatch, capsys):
    monkeypatch.setattr(command_line, "find_spec", lambda name: None if name == "jupyterlab" else find_spec(name))
    assert main(["lab", "mine"]) == 2
    assert 'pip install "nst-lessons[lab]"' in capsys.readouterr().err
    assert launched == []
    assert not (folder / "mine").exists()


def test_lab_hands_over_to_jupyterlab(monkeypatch):
    labapp = pytest.importorskip("jupyterlab.labapp", reason="jupyterlab is not installed")
    received = []
    monkeypatch.setattr(labapp, "main", received.append)
    assert command_line.run_jupyterlab(["mine", "--no-browser"]) == 0
    assert received == [["mine", "--no-browser"]]


def test_lab_help_is_ours(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["lab", "--help"])
    assert caught.value.code == 0
    assert "never overwritten" in " ".join(capsys.readouterr().out.split())


# doctor and fetch


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """torch's cache of weights, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    return cache


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Path]:
    """A server that takes the place of PyTorch's, with a small VGG16 under a name that tells its hash; its folder."""
    folder = tmp_path / "server"
    folder.mkdir()
    torch.save(vgg16(init_weights=False).features[:5].state_dict(), folder / "weights.pth")
    name = f"vgg16-{hashlib.sha256((folder / 'weights.pth').read_bytes()).hexdigest()[:8]}.pth"
    (folder / "weights.pth").rename(folder / name)
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setitem(
            weight_files.DOWNLOADS, "vgg16", weights_at(f"http://127.0.0.1:{server.server_port}/{name}")
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder
        server.shutdown()


def weights_at(url: str) -> Namespace:
    """What `fetch_weights` uses of torchvision's weights, at another address."""
    return Namespace(url=url, get_state_dict=partial(torch.hub.load_state_dict_from_url, url))


def test_fetch_says_the_size_downloads_once_and_verifies(cache, server, capsys):
    assert main(["fetch", "vgg16"]) == 0
    first = capsys.readouterr().out
    assert first.index("about 550 MB") < first.index("SHA-256 as it should be")
    (downloaded,) = cache.iterdir()
    assert downloaded.read_bytes() == (server / downloaded.name).read_bytes()
    (server / downloaded.name).unlink()
    assert main(["fetch", "vgg16"]) == 0
    assert "550 MB" not in capsys.readouterr().out


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"x" + data[1:], lambda _: b""])
def test_fetch_finds_damage_in_the_cache(damage, cache, server, capsys):
    assert main(["fetch", "vgg16"]) == 0
    (downloaded,) = cache.iterdir()
    downloaded.write_bytes(damage(downloaded.read_bytes()))
    capsys.readouterr()
    assert main(["fetch", "vgg16"]) == 2
    error = capsys.readouterr().err
    assert f"{downloaded} is damaged" in error
    assert "delete it" in error
    assert error.count("\n") == 1


def test_fetch_refuses_a_damaged_download(cache, server, capsys):
    (served,) = server.iterdir()
    served.write_bytes(served.read_bytes()[:-1])
    assert main(["fetch", "vgg16"]) == 2
    assert "could not download the weights of vgg16 (invalid hash" in capsys.readouterr().err
    assert list(cache.iterdir()) == []


def test_fetch_on_a_dead_network(cache, monkeypatch, capsys):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/vgg19-dcbb9e9d.pth"
    monkeypatch.setitem(weight_files.DOWNLOADS, "vgg19", weights_at(url))
    assert main(["fetch", "vgg19"]) == 2
    error = capsys.readouterr().err
    assert "could not download the weights of vgg19" in error
    assert "refused" in error
    assert "Traceback" not in error
    assert list(cache.iterdir()) == []


def test_doctor_tells_what_there_is(cache, server, monkeypatch, capsys):
    monkeypatch.setitem(command_line.DEFAULTS, "size", 32)
    assert main(["fetch", "vgg16"]) == 0
    (cache / Path(weight_files.DOWNLOADS["vgg19"].url).name).write_bytes(b"half a download")
    capsys.readouterr()
    assert main(["doctor"]) == 0
    found = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert found["nst-lessons"].startswith(nst_lessons.__version__)
    assert found["torch"] == version("torch")
    assert found["threads"].startswith(f"{torch.get_num_threads()} of ")
    assert found["bfloat16"].startswith(("yes", "no", "unknown"))
    assert found["vgg16"].startswith("cached and whole: ")
    assert "is damaged" in found["vgg19"]
    assert hashlib.sha256(COMPACT.read_bytes()).hexdigest() in found["compact"]
    assert "extrapolated" in found["standard"]


def test_doctor_names_what_is_missing(cache, monkeypatch, capsys):
    monkeypatch.setitem(command_line.DEFAULTS, "size", 32)

    def nothing_installed(name):
        raise command_line.PackageNotFoundError(name)

    monkeypatch.setattr(command_line, "version", nothing_installed)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert 'jupyterlab    missing; pip install "nst-lessons[lab,test]"' in out
    assert "vgg19         not cached; `nst-lessons fetch vgg19` downloads about 550 MB" in out


@pytest.mark.parametrize(
    ("flags", "answer"),
    [({"avx512_bf16": True, "avx2": True}, "yes: avx512_bf16 ("), ({"avx512_bf16": False, "avx2": True}, "no (")],
)
def test_bfloat16_is_read_off_the_processor(flags, answer, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    found = command_line.bfloat16_hardware(torch.device("cpu"))
    assert found.startswith(answer)
    assert "torch.cpu.get_capabilities" in found
