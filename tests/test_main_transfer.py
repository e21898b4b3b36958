"""What ``nst-lessons transfer`` makes: the library's picture and its record, also after an interrupt or a fault."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import nst_lessons
from nst_lessons import (
    Backbone,
    Style,
    apply_style_transfer,
    load_alpha,
    load_backbone,
    load_image,
    record,
    resize,
    sample,
    style_transfer,
    to_pil,
)
from nst_lessons import __main__ as command_line
from nst_lessons import transfer as transfer_module
from nst_lessons.__main__ import main
from nst_lessons.published import TransferOptions
from nst_lessons.transfer import plan_transfer

COMPACT = Path(nst_lessons.__file__).parent / "weights" / "compact.safetensors"


def transfer(*further: str) -> int:
    """A transfer that is over in no time."""
    return main(["transfer", "chelsea", "night_swirls", "-o", "out.png", "--size", "48", "--steps", "4", *further])


def read_record() -> dict:
    return json.loads(Path("out.png.json").read_text(), parse_constant=pytest.fail)


def assert_written(expected: Tensor) -> None:
    """Hold the picture in out.png to an image."""
    np.testing.assert_allclose(np.asarray(Image.open("out.png"), int), np.asarray(to_pil(expected), int), atol=1)


def test_transfer_is_what_the_library_computes(folder, capsys):
    assert transfer() == 0
    photo, painting = sample("chelsea", 48), sample("night_swirls", 48)
    _, _, expected = apply_style_transfer(photo, painting, size=48, steps=4, progress=False)
    assert_written(expected)
    out = capsys.readouterr().out
    assert "48 x 32 pixels, compact on" in out
    assert ", 4 steps; Ctrl-C" in out
    assert "all 4 steps were taken" in out
    assert sorted(path.name for path in folder.iterdir()) == ["out.png", "out.png.json"]


def test_the_record_says_how_to_do_it_again(folder):
    settings = {
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
    assert transfer("--painting-size=64", *(f"--{name.replace('_', '-')}={text}" for name, text in texts.items())) == 0
    found = read_record()
    settings["steps"] = 4
    assert {name: found[name] for name in settings} == settings
    assert found["photo"] == {"source": "chelsea", "size": [48, 32]}
    assert found["paintings"] == [{"source": "night_swirls", "weight": 1, "size": [64, 64]}]
    assert (found["recipe"], found["backbone"]) == (None, "compact")
    assert found["weights_sha256"] == hashlib.sha256(COMPACT.read_bytes()).hexdigest()
    assert found["versions"] == {
        "python": ".".join(map(str, sys.version_info[:3])),
        **{name: version(name) for name in ("torch", "torchvision", "nst-lessons")},
    }
    photo, painting = load_image(sample("chelsea", 48)), load_image(sample("night_swirls", 64))
    again = style_transfer("compact", photo, painting, progress=False, **settings)
    assert found["losses"] == pytest.approx(again.losses, rel=1e-3)
    assert (found["ending"], found["stopped"]) == ("steps", again.stopped)
    assert found["steps_taken"] == 4
    assert found["seconds"] > 0


def test_a_recipe_takes_the_place_of_the_defaults_only(folder, monkeypatch, capsys):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder))  # without a VGG
    assert transfer("--recipe", "surma", "--beta", "9") == 0
    out = capsys.readouterr().out
    assert out.count("vgg16, is not on this machine: compact takes its place") == 1
    assert "48 x 32 pixels, compact on" in out
    assert ", 4 steps;" in out
    found = read_record()
    expected = {"recipe": "surma", "backbone": "compact", "beta": 9, "steps": 4, "start": "noise", "optimizer": "scipy"}
    assert {name: found[name] for name in expected} == expected
    photo, painting = load_image(sample("chelsea", 48)), load_image(sample("night_swirls", 48))
    again = style_transfer("compact", photo, painting, recipe="surma", beta=9.0, steps=4, progress=False)
    assert found["losses"] == pytest.approx(again.losses, rel=1e-3)


def test_the_record_says_what_the_network_was_given(folder, capsys):
    """Most recipes stretch the painting: the record has the size that the network saw, not the one asked for."""
    assert transfer("--recipe", "hannover", "--painting-size", "80", "--backbone", "compact") == 0
    assert "hannover stretches paintings to the photo's shape: --painting-size is" in capsys.readouterr().out
    found = read_record()
    assert found["photo"] == {"source": "chelsea", "size": [48, 32]}
    assert found["paintings"] == [{"source": "night_swirls", "weight": 1, "size": [48, 32]}]
    assert "painting_size" not in found
    # Without the recipe, what it decided gives the same losses.
    settings = {name: value for name, value in found.items() if name in TransferOptions.__annotations__}
    photo, painting = load_image(sample("chelsea", 48)), resize(load_image(sample("night_swirls", 80)), (32, 48))
    again = style_transfer(load_backbone("compact", pooling="max"), photo, painting, progress=False, **settings)
    assert found["losses"] == pytest.approx(again.losses, rel=1e-3)
    assert transfer("--recipe", "hannover", "--backbone", "compact") == 0
    assert "stretches" not in capsys.readouterr().out


def test_a_recipe_on_a_weights_file_pools_as_the_library_does(folder):
    assert transfer("--recipe", "surma", "--backbone", str(COMPACT)) == 0
    options = {"backbone": str(COMPACT), "recipe": "surma", "size": 48, "steps": 4, "progress": False}
    _, _, expected = apply_style_transfer(sample("chelsea", 48), sample("night_swirls", 48), **options)
    assert_written(expected)


def test_a_recipe_on_a_network_that_is_named(folder, capsys):
    assert transfer("--recipe", "shrimal", "--backbone", "compact", "--start", "noise") == 0
    assert "takes its place" not in capsys.readouterr().out
    assert (read_record()["recipe"], read_record()["start"]) == ("shrimal", "noise")
    with pytest.raises(SystemExit):
        transfer("--recipe", "gatys")
    assert "invalid choice: 'gatys' (choose from" in capsys.readouterr().err


def test_the_environment_chooses_the_backbone(folder, tmp_path, monkeypatch):
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(COMPACT.read_bytes())
    monkeypatch.setenv("NST_LESSONS_BACKBONE", str(weights))
    assert transfer() == 0
    assert read_record()["backbone"] == str(weights)


def test_the_convention_of_a_weights_file_is_an_option(folder, capsys):
    Path("mine.safetensors").write_bytes(COMPACT.read_bytes())
    assert transfer("--backbone", "mine.safetensors") == 0
    assert read_record()["convention"] == "torchvision"
    assert transfer("--backbone", "mine.safetensors", "--convention", "caffe") == 0
    assert read_record()["convention"] == "caffe"
    options = {"backbone": Path("mine.safetensors"), "convention": "caffe", "size": 48, "steps": 4, "progress": False}
    _, _, expected = apply_style_transfer(sample("chelsea", 48), sample("night_swirls", 48), **options)
    assert_written(expected)
    capsys.readouterr()
    assert transfer("--convention", "caffe") == 2
    assert "compact was trained with torchvision's convention" in capsys.readouterr().err


def test_a_network_that_is_loaded_keeps_its_convention(tiny_backbone, small_image, other_image):
    with pytest.raises(ValueError, match="a loaded network keeps its convention, here torchvision; give its path"):
        style_transfer(tiny_backbone, small_image, other_image, convention="caffe")


def test_paths_are_images_too(folder):
    sample("rocket", 40).save("mine.jpg")
    assert main(["transfer", "mine.jpg", "cubist", "-o", "out.webp", "--size", "40", "--steps", "1"]) == 0
    assert load_image("out.webp").shape == load_image("mine.jpg").shape


def test_paintings_are_blended(folder):
    sample("rocket", 40).save("mine.jpg")
    assert transfer("--and", "mosaic:0.5", "--and", "mine.jpg") == 0
    mine = load_image("mine.jpg", 48)
    styles = [load_image(sample("night_swirls", 48)), Style(load_image(sample("mosaic", 48)), 0.5), mine]
    result = style_transfer("compact", load_image(sample("chelsea", 48)), styles, steps=4, progress=False)
    assert_written(result.image)
    assert read_record()["paintings"] == [
        {"source": "night_swirls", "weight": 1, "size": [48, 48]},
        {"source": "mosaic", "weight": 0.5, "size": [48, 48]},
        {"source": "mine.jpg", "weight": 1, "size": [mine.shape[3], mine.shape[2]]},
    ]


# interrupts, faults, checkpoints


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
    found = json.loads(Path("out.png.json").read_text())
    assert found["ending"] == "interrupted"
    assert found["stopped"].startswith("interrupted at step")
    assert 0 < found["steps_taken"] < 1000000
    assert load_image("out.png").shape == (1, 3, 21, 32)


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no folder that is worked in")
@pytest.mark.parametrize("working_folder_too", [False, True])
def test_a_folder_that_goes_away_during_the_run(working_folder_too, folder, tmp_path_factory, monkeypatch, capsys):
    gone = folder / "gone"
    gone.mkdir()
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    if working_folder_too:
        monkeypatch.chdir(gone)

    def planned_meanwhile(*args, **options):
        shutil.rmtree(gone, ignore_errors=True)
        return plan_transfer(*args, **options)

    monkeypatch.setattr(command_line, "plan_transfer", planned_meanwhile)
    assert transfer("-o", "out.png" if working_folder_too else "gone/out.png") == 1
    assert "could not be saved: [Errno 2] No such file or directory" in capsys.readouterr().err
    (kept,) = (temporary if working_folder_too else folder).glob("nst-lessons-*")
    assert sorted(path.name for path in kept.iterdir()) == ["picture.png", "picture.png.json"]
    monkeypatch.chdir(folder)


def test_a_loss_that_is_no_number_is_exit_code_1_with_the_best_image(folder, capsys):
    assert transfer("--beta", "1e39") == 1
    assert "no longer a finite number at step 0 (style)" in capsys.readouterr().out
    assert (read_record()["ending"], read_record()["losses"]["style"]) == ("failed", None)
    np.testing.assert_allclose(load_image("out.png"), load_image(sample("chelsea", 48)), atol=0.003)


def test_a_stall_is_no_fault(folder, monkeypatch, capsys):
    assert transfer("--alpha", "0", "--beta", "0", "--tv", "0", "--steps", "60") == 0
    assert "stopped after" in capsys.readouterr().out
    assert read_record()["ending"] == "stalled"


def test_the_same_command_goes_on_from_its_checkpoint(folder, capsys):
    assert transfer("--steps", "9") == 0
    whole = Path("out.png").read_bytes()
    assert transfer("--checkpoint", "run.pt") == 0
    Path("out.png").unlink()
    assert transfer("--checkpoint", "run.pt", "--steps", "9") == 0
    assert Path("out.png").read_bytes() == whole
    assert read_record()["steps_taken"] == 9
    capsys.readouterr()
    before = Path("run.pt").read_bytes()
    assert transfer("--checkpoint", "run.pt", "--beta", "7") == 2
    assert "run.pt is of a run with other images, weights or layers" in capsys.readouterr().err
    assert transfer("--checkpoint", "run.pt", "--optimizer", "adam") == 2
    assert "run.pt is of another run (optimizer: lbfgs, not adam)" in capsys.readouterr().err
    assert Path("run.pt").read_bytes() == before
    assert Path("out.png").read_bytes() == whole


@pytest.fixture
def wide(folder, monkeypatch) -> str:
    """The weights file of a network as wide as the papers', so that a run has a short warm start on the compact one."""
    monkeypatch.setattr(transfer_module, "WARM_STEPS", 6)
    torch.manual_seed(0)
    torch.save(Backbone([[4], [4], [4], [4, 4], [transfer_module.FULL_SIZE_CHANNELS]]).state_dict(), "wide.pth")
    return "wide.pth"


@pytest.mark.parametrize("step", [2, 7])
def test_after_an_interrupt_the_same_command_goes_on(step, wide, monkeypatch, capsys):
    """In the first warm start there was no checkpoint yet, but it was said that the same command goes on from it."""
    assert transfer("--backbone", wide) == 0
    assert read_record()["steps_taken"] == 10
    whole = Path("out.png").read_bytes()

    def interrupt(at):
        if at.index == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "plan_transfer", partial(plan_transfer, callback=interrupt))
    arguments = ("--backbone", wide, "--checkpoint", "run.pt")
    assert transfer(*arguments) == 130
    assert "the same command goes on from run.pt" in capsys.readouterr().out
    assert Path("run.pt").exists()
    assert read_record()["steps_taken"] == step + 1
    assert Path("out.png").read_bytes() != whole
    monkeypatch.setattr(command_line, "plan_transfer", plan_transfer)
    assert transfer(*arguments) == 0
    assert read_record()["steps_taken"] == 10
    assert Path("out.png").read_bytes() == whole


def test_an_interrupt_before_there_is_a_checkpoint_promises_none(folder, monkeypatch, capsys):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer_module, "style_target", interrupt)
    assert transfer("--checkpoint", "run.pt") == 130
    assert "goes on from" not in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["out.png", "out.png.json"]


def test_a_checkpoint_that_cannot_be_written_is_one_line_and_no_fault(folder, monkeypatch, capsys):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", no_space)
    assert transfer("--checkpoint", "run.pt") == 0
    lines = [line for line in re.split(r"[\r\n]", capsys.readouterr().err) if "run.pt" in line]
    assert lines == ["nst-lessons: run.pt could not be written ([Errno 28] No space left on device); the run goes on"]
    assert sorted(path.name for path in folder.iterdir()) == ["out.png", "out.png.json"]


def test_a_foreign_checkpoint_is_refused_and_left_alone(folder, capsys):
    Path("run.pt").write_text("my diary")
    assert transfer("--checkpoint", "run.pt") == 2
    assert "run.pt is damaged or no checkpoint of a run; choose another path or, if it is" in capsys.readouterr().err
    assert Path("run.pt").read_text() == "my diary"
    assert sorted(path.name for path in folder.iterdir()) == ["run.pt"]


@pytest.mark.parametrize("name", ["絵" * 81 + ".png", "x" * 246 + ".png"])
def test_the_longest_names_are_written_with_their_record(folder, name):
    """A file's name may have 255 bytes, and the record's is five longer than the picture's."""
    assert main(["transfer", "chelsea", "mosaic", "-o", name, "--size", "32", "--steps", "2"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == [name, f"{name}.json"]


@pytest.mark.parametrize("name", ["絵" * 82 + "xxx.png", "x" * 247 + ".png", "絵" * 200 + ".png", "a\0b.png"])
def test_a_name_that_no_file_can_have_is_refused_before_the_work(folder, capsys, monkeypatch, name):
    monkeypatch.setattr(command_line, "plan_transfer", pytest.fail)
    assert main(["transfer", "chelsea", "mosaic", "-o", name, "--size", "32"]) == 2
    assert re.fullmatch(r"nst-lessons: .*choose another name or folder\n", capsys.readouterr().err)
    assert not list(folder.iterdir())


def test_a_picture_that_cannot_be_written_after_all_is_kept_under_a_short_name(folder, monkeypatch):
    """The name was fine before the run; now the file system refuses it."""
    save = record.save_image

    def only_short_names(image, path, **options):
        if len(Path(path).name) > 20:
            raise OSError(36, "File name too long")
        save(image, path, **options)

    monkeypatch.setattr(record, "save_image", only_short_names)
    assert main(["transfer", "chelsea", "mosaic", "-o", "x" * 30 + ".png", "--size", "32", "--steps", "2"]) == 1
    (kept,) = folder.iterdir()
    assert sorted(path.name for path in kept.iterdir()) == ["picture.png", "picture.png.json"]


def test_a_picture_can_be_the_start(folder, capsys):
    assert transfer() == 0
    shutil.move("out.png", "before.png")
    assert transfer("--start", "before.png") == 0
    found = read_record()
    assert found["start"] == "before.png"
    photo, painting = sample("chelsea", 48), sample("night_swirls", 48)
    start = load_image("before.png")
    _, _, expected = apply_style_transfer(photo, painting, size=48, steps=4, start=start, progress=False)
    assert_written(expected)
    assert transfer("--start", "mosaic") == 2
    assert "--start mosaic has the proportions 48 : 48, and the photo 48 : 32" in capsys.readouterr().err
    assert transfer("--start", "out.png") == 2
    assert "out.png would overwrite another file" in capsys.readouterr().err
    assert transfer("--start", "gone.png") == 2
    assert "unknown start 'gone.png'; choose from photo, noise, painting, grey, or give a picture" in (
        capsys.readouterr().err
    )


def test_names_in_a_quoted_list_may_have_spaces(folder):
    assert transfer("--style-layers", "relu1_1, relu2_1", "--content-layers", " relu3_1") == 0
    assert (read_record()["style_layers"], read_record()["content_layers"]) == (["relu1_1", "relu2_1"], ["relu3_1"])


def test_transparency_is_kept_on_request_and_its_loss_is_said_once(folder, capsys):
    picture = sample("chelsea", 60).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    picture.save("photo.png")
    arguments = ["transfer", "photo.png", "mosaic", "--size", "48", "--steps", "2"]
    assert main([*arguments, "-o", "out.png"]) == 0
    assert capsys.readouterr().err.count("transparent parts are laid on white") == 1
    assert Image.open("out.png").mode == "RGB"
    assert main([*arguments, "-o", "out.png", "--keep-alpha"]) == 0
    assert "laid on white" not in capsys.readouterr().err
    np.testing.assert_allclose(load_alpha("out.png"), load_alpha("photo.png", 48), atol=0.003)
    assert main([*arguments, "-o", "out.jpg", "--keep-alpha"]) == 2
    assert "JPEG files know no transparency" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["4096", "9000"])
def test_a_refusal_for_want_of_memory_names_the_size_that_was_typed(folder, capsys, monkeypatch, size):
    monkeypatch.setattr("nst_lessons.estimate.free_bytes", lambda device: 1e9)
    assert main(["transfer", "chelsea", "mosaic", "-o", "out.png", "--size", size]) == 2
    assert f"{size}" in capsys.readouterr().err.replace(" ", "")
