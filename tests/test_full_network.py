"""What the full network gives: how tools/full_network.py makes pictures, with a tiny network; and those shipped."""

import dataclasses
import json
import re

import pytest
import safetensors.torch
import torch
from PIL import Image

import full_network as tool
from nst_lessons import Backbone, reconstruct_content, reconstruct_style

MEGABYTES = 2


def tiny_weights(path, seed):
    """A VGG16 of two or three channels, random."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Backbone([[2, 3], [3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]])
    for name, weight in network.named_parameters():
        weight.data = weight.data.abs() if name.endswith("bias") else 3 * weight.data  # no layer is silent
    safetensors.torch.save_file(network.state_dict(), path)
    return path


@pytest.fixture
def network(tmp_path):
    return tiny_weights(tmp_path / "tiny.safetensors", seed=0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where pictures go; checkpoints go beside it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / "pictures"


@pytest.fixture
def jobs(monkeypatch):
    """Two small jobs in the place of all."""
    few = {
        "content": tool.Job(reconstruct_content, {"photo": tool.Source("chelsea", 24)}, {"layer": "relu2_2"}),
        "style": tool.Job(reconstruct_style, {"painting": tool.Source("fjord", 20)}, {"layers": ["relu1_1"]}),
    }
    few = {name: dataclasses.replace(job, options={**job.options, "steps": 5}) for name, job in few.items()}
    monkeypatch.setattr(tool, "JOBS", few)
    return few


@pytest.fixture
def run(network, folder, monkeypatch, capsys):
    """Run the command; gives the names of the pictures that it made."""

    def command(*arguments, network=network):
        monkeypatch.setattr("sys.argv", ["full_network.py", "--network", str(network), *arguments, str(folder)])
        tool.main()
        return capsys.readouterr().err.split()

    return command


def stored(folder):
    return json.loads((folder / "settings.json").read_text())


def interrupted_at(step):
    def interrupt(history):
        if len(history.losses) == step:
            raise KeyboardInterrupt
        return ""

    return interrupt


def test_pictures_are_stored_with_their_settings(run, folder, jobs, network):
    assert run() == ["content", "style"]
    assert sorted(path.name for path in folder.iterdir()) == ["content.webp", "settings.json", "style.webp"]
    with Image.open(folder / "content.webp") as picture:
        assert (picture.format, picture.size) == ("WEBP", (24, 16))
    entry = stored(folder)["content"]
    assert entry["settings"] == {
        "function": "reconstruct_content",
        "network": str(network),
        "weights_sha256": tool.sha256(network)[:16],
        "pooling": "avg",
        "photo": {"sample": "chelsea", "size": 24, "crop": None},
        "layer": "relu2_2",
        "steps": 5,
    }
    assert entry["result"].keys() == {"losses", "steps_taken", "stopped"}
    assert entry["result"]["losses"].keys() == {"content", "tv"}
    assert entry["result"]["steps_taken"] == 5


def test_the_plan_says_beforehand_what_is_made_and_how_long_it_takes(network, folder, jobs, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["full_network.py", "--network", str(network), str(folder)])
    monkeypatch.setattr(tool, "render", lambda name, *_: print(f"made {name}"))
    tool.main()
    plan, _, made = capsys.readouterr().out.partition("2 pictures, about 1 s in all\n")
    assert re.findall(r"(\w+) +about 1 s\n", plan) == ["content", "style"]
    assert made == "made content\nmade style\n"


def test_time_grows_with_size_steps_and_depth(jobs, monkeypatch):
    """Of three octaves the small ones take a quarter and a sixteenth of the last one's time."""
    asked = []
    monkeypatch.setattr(tool, "load_backbone", lambda network, pooling: network)
    monkeypatch.setattr(tool, "run_seconds", lambda *arguments: asked.append(arguments) or 1.0)
    job = jobs["content"]
    job.seconds("tiny")
    dataclasses.replace(job, options={**job.options, "steps": 160, "octaves": 3}).seconds("tiny")
    recipe = tool.recipe_jobs()["recipe_surma"]
    recipe.seconds("tiny")
    tool.channel_jobs()["channels_conv3_2"].seconds("tiny")
    assert asked[:2] == [("tiny", (16, 24), ["relu2_2"], 5), ("tiny", (16, 24), ["relu2_2"], 210)]
    _, size, layers, steps = asked[2]
    assert (size, steps, len(layers), layers[-1]) == ((384, 384), 200, 6, "block5_conv3")
    assert asked[3] == ("tiny", (128, 128), ["conv3_2"], 800)


def test_what_is_there_is_not_made_again(run, folder, jobs):
    run()
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert run() == []
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_missing_picture_is_made_again(run, folder, jobs):
    run()
    (folder / "style.webp").unlink()
    assert run() == ["style"]
    assert (folder / "style.webp").exists()


def test_a_picture_is_made_anew_when_its_settings_change(run, folder, jobs):
    run()
    content = (folder / "content.webp").read_bytes()
    jobs["content"].options["steps"] = 9
    assert run() == ["content"]
    assert (folder / "content.webp").read_bytes() != content
    assert stored(folder)["content"]["settings"]["steps"] == 9


def test_other_weights_make_all_pictures_anew(run, folder, jobs, tmp_path):
    run()
    digest = stored(folder)["style"]["settings"]["weights_sha256"]
    assert run(network=tiny_weights(tmp_path / "tiny.safetensors", seed=1)) == ["content", "style"]
    assert stored(folder)["style"]["settings"]["weights_sha256"] != digest


def test_an_interrupted_command_goes_on_within_the_run(run, folder, jobs, monkeypatch, tmp_path):
    """The second picture is stopped at its third step; then five steps are taken in all, and the result is the same."""
    run()
    whole = (folder / "style.webp").read_bytes()
    (folder / "style.webp").unlink()

    evaluations = []

    def function(backbone, painting, **options):
        return reconstruct_style(backbone, painting, callback=lambda step: evaluations.append(step.index), **options)

    def first_try(backbone, painting, **options):
        return function(backbone, painting, stop=interrupted_at(3), **options)

    function.__name__ = first_try.__name__ = "reconstruct_style"
    monkeypatch.setitem(jobs, "style", dataclasses.replace(jobs["style"], function=first_try))
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not (folder / "style.webp").exists()
    assert len(list(tmp_path.glob("*.run"))) == 1
    monkeypatch.setitem(jobs, "style", dataclasses.replace(jobs["style"], function=function))
    assert run()[-1] == "style"
    assert (folder / "style.webp").read_bytes() == whole
    assert list(tmp_path.glob("*.run")) == []


def test_a_failure_leaves_the_old_picture_with_its_old_settings(run, folder, jobs, monkeypatch):
    run()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    jobs["style"].options["steps"] = 4

    def full_disk(self, file, **options):
        file.write_bytes(b"half a pict")
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        run()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_run_whose_loss_is_not_finite_is_no_picture(run, folder, jobs):
    jobs["content"].options["tv"] = 1e300
    with pytest.raises(SystemExit, match="content: the loss was no longer a finite number"):
        run()
    assert list(folder.iterdir()) == []


def test_pictures_can_be_chosen_by_name_or_pattern(run, jobs):
    assert run("--only", "sty*") == ["style"]
    assert run("--only", "content", "--only", "style") == ["content"]


def test_a_name_that_no_picture_has_is_answered_with_the_names_there_are(run, jobs, capsys):
    with pytest.raises(SystemExit):
        run("--only", "figure_7")
    assert "no picture is called 'figure_7'; there are content, style" in capsys.readouterr().err


@pytest.mark.parametrize("name", tool.JOBS)
def test_every_job_can_be_made(name, network, tmp_path):
    """On a tiny network, at 32 pixels, in two steps."""
    job = tool.JOBS[name]
    images = {role: dataclasses.replace(source, size=32) for role, source in job.images.items()}
    options = {**job.options, "steps": 2} | ({"size": 32} if "size" in job.options else {})
    small = dataclasses.replace(job, images=images, options=options)
    result = small.make(str(network), tmp_path / "run")
    known = {"count": len(result.losses)} if "count" in job.options else {}  # the tiny network has few channels
    width, height = sheet_size({**job.options, **known}, 32)
    assert result.image.shape == (1, 3, height, width)


def sheet_size(options, side):
    """Width and height of a picture, which may be a sheet of several squares."""
    if "shown" in options:
        return side * len(options["shown"]), side * len(options["content_layers"]) * len(options["betas"])
    squares = options.get("count", 1)
    return side * squares + tool.GAP * (squares - 1), side


def test_the_atlas_has_a_row_for_each_choice_and_a_column_for_each_number_of_steps(
    tiny_backbone, small_image, other_image, tmp_path
):
    options = {"style_layers": ["relu1_1"], "steps": 6, "warm_start": False}
    choices = {"content_layers": ["relu1_2", "relu2_1"], "betas": [0.5, 20.0], "shown": [2, 6]}
    sheet = tool.transfer_sheet(
        tiny_backbone, small_image, other_image, **choices, **options, checkpoint=tmp_path / "run", progress=False
    )
    assert sheet.image.shape == (1, 3, 4 * 12, 2 * 17)
    plain = tool.style_transfer(
        tiny_backbone, small_image, other_image, content_layers=["relu2_1"], beta=0.5, snapshots=[1, 5], **options
    )
    for column, step in enumerate((1, 5)):
        tile = sheet.image[..., 24:36, 17 * column : 17 * (column + 1)]
        assert torch.equal(tile, plain.history.snapshots[step])
    assert sheet.losses["relu2_1, beta 0.5"] == sum(plain.losses.values())
    assert not list(tmp_path.iterdir())


def test_an_interrupted_transfer_is_no_atlas(tiny_backbone, small_image, other_image, tmp_path):
    sheet = tool.transfer_sheet(
        tiny_backbone,
        small_image,
        other_image,
        content_layers=["relu2_1"],
        betas=[1.0, 2.0],
        shown=[1, 6],
        style_layers=["relu1_1"],
        steps=6,
        stop=interrupted_at(2),
        checkpoint=tmp_path / "run",
        progress=False,
    )
    assert sheet.interrupted


def test_a_sheet_has_the_most_selective_channels_side_by_side(tiny_backbone, small_image, tmp_path):
    relu = tiny_backbone(small_image, ["relu2_2"])["relu2_2"]
    chosen = tool.selective_channels(relu, 2)
    options = {"size": 20, "steps": 3, "seed": 4}
    sheet = tool.channel_sheet(
        tiny_backbone, small_image, layer="conv2_2", count=2, checkpoint=tmp_path / "run", progress=False, **options
    )
    runs = [tool.maximise_activation(tiny_backbone, "conv2_2", channel, **options) for channel in chosen]
    assert list(sheet.losses) == [f"channel {channel}" for channel in chosen]
    assert list(sheet.losses.values()) == [run.losses["activation"] for run in runs]
    assert torch.equal(sheet.image[..., :20], runs[0].image)
    assert torch.equal(sheet.image[..., 20 + tool.GAP :], runs[1].image)
    assert (sheet.image[..., 20 : 20 + tool.GAP] == 1).all()


def test_an_interrupted_channel_is_no_sheet(tiny_backbone, small_image, tmp_path, monkeypatch):
    def interrupted(*arguments, maximise=tool.maximise_activation, **options):
        return maximise(*arguments, stop=interrupted_at(2), **options)

    monkeypatch.setattr(tool, "maximise_activation", interrupted)
    options = {"layer": "conv2_2", "count": 2, "size": 20, "steps": 3, "seed": 4}
    sheet = tool.channel_sheet(tiny_backbone, small_image, checkpoint=tmp_path / "run", progress=False, **options)
    assert sheet.interrupted


def test_ratios_differ_in_nothing_but_the_weight_of_the_style():
    options = [job.options for job in tool.ratio_jobs().values()]
    assert [{**option, "beta": None} for option in options] == [{**options[0], "beta": None}] * 5
    assert [option["beta"] for option in options] == sorted({option["beta"] for option in options})


def test_recipes_tell_what_their_name_stands_for(monkeypatch):
    """A row that changes makes its picture anew."""
    before = tool.recipe_jobs()["recipe_hannover"].settings("vgg16", "")
    assert (before["recipe"], before["steps"], before["beta"], before["pooling"]) == ("hannover", 1000, 100.0, "max")
    changed = dataclasses.replace(tool.PUBLISHED["hannover"], beta=7.0)
    monkeypatch.setitem(tool.PUBLISHED, "hannover", changed)
    assert tool.recipe_jobs()["recipe_hannover"].settings("vgg16", "") == before | {"beta": 7.0}


def test_each_shipped_picture_has_settings_and_the_other_way_round():
    pictures = {path.stem for path in tool.SHIPPED.glob("*.webp")}
    assert pictures == stored(tool.SHIPPED).keys() == tool.JOBS.keys()
    assert {path.suffix for path in tool.SHIPPED.iterdir()} == {".webp", ".json", ".md"}


@pytest.mark.parametrize("name", stored(tool.SHIPPED))
def test_shipped_pictures_were_made_as_the_tool_would_make_them_now(name):
    settings = stored(tool.SHIPPED)[name]["settings"]
    digest = settings["weights_sha256"]
    assert re.fullmatch(r"[0-9a-f]{16}", digest)
    assert settings == tool.JOBS[name].settings("vgg16", digest)
    with Image.open(tool.SHIPPED / f"{name}.webp") as picture:
        assert (picture.format, picture.mode) == ("WEBP", "RGB")
        side = settings.get("size", settings.get("photo", settings.get("painting"))["size"])
        assert picture.size == sheet_size(settings, side)


def test_all_shipped_pictures_are_of_one_network_which_the_card_names():
    (digest,) = {entry["settings"]["weights_sha256"] for entry in stored(tool.SHIPPED).values()}
    assert digest in (tool.SHIPPED / "README.md").read_text(encoding="utf-8")


def test_shipped_pictures_are_small():
    assert sum(path.stat().st_size for path in tool.SHIPPED.iterdir()) < MEGABYTES * 1e6
