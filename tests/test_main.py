"""The arguments, errors and exit codes of the command line; what a transfer makes is in test_main_transfer."""

import hashlib
import re
import socket
import threading
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from inspect import signature
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.models import vgg16

from nst_lessons import (
    Ending,
    History,
    Result,
    apply_style_transfer,
    estimate,
    optimize,
    record,
    weight_files,
)
from nst_lessons import __main__ as command_line
from nst_lessons.__main__ import TRANSFER_OPTIONS, exit_code, main, source_and_weight
from nst_lessons.published import TransferOptions
from nst_lessons.transfer import TRANSFER_DEFAULTS


def transfer(*further: str) -> int:
    """A transfer that is over in no time."""
    return main(["transfer", "chelsea", "night_swirls", "-o", "out.png", "--size", "48", "--steps", "4", *further])


def test_the_namespace_has_the_options_that_were_given_and_no_others():
    parse = command_line.command_line().parse_args
    parsed = vars(parse(["transfer", "a", "b", "-o", "c.png"]))
    assert not parsed.keys() & TransferOptions.__annotations__.keys()
    assert parsed["size"] == signature(apply_style_transfer).parameters["size"].default
    assert (parsed["backbone"], parsed["recipe"], parsed["painting_size"]) == (None, None, None)
    parsed = vars(parse(["transfer", "a", "b", "-o", "c.png", "--beta", "25", "--style-layers", "relu1_1,relu2_1"]))
    given = {name: value for name, value in parsed.items() if name in TransferOptions.__annotations__}
    assert given == {"beta": 25, "style_layers": ("relu1_1", "relu2_1")}


def test_help_shows_the_functions_own_defaults(monkeypatch, capsys):
    monkeypatch.setitem(TRANSFER_DEFAULTS, "beta", 26.5)
    with pytest.raises(SystemExit):
        main(["transfer", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for name in TRANSFER_OPTIONS.keys() - {"checkpoint", "content_layers", "style_layers"}:
        assert re.search(rf"--{name} [A-Z]+ [^()]+ \(default: {TRANSFER_DEFAULTS[name]}\)", said), name
    assert "(default: relu1_1,relu2_1,relu3_1,relu4_1,relu5_1)" in said
    assert "None" not in said
    assert "SUPPRESS" not in said


@pytest.mark.parametrize(
    ("text", "source", "weight"),
    [
        ("mosaic", "mosaic", 1),
        ("mosaic:0.5", "mosaic", 0.5),
        ("mosaic:2e1", "mosaic", 20),
        ("my:own.jpg", "my:own.jpg", 1),
        ("7", "7", 1),
        ("https://host/a.jpg", "https://host/a.jpg", 1),
        ("https://host/a.jpg:3", "https://host/a.jpg", 3),
        ("http://localhost:8000/a.jpg", "http://localhost:8000/a.jpg", 1),
        ("http://localhost:8000/a.jpg:3", "http://localhost:8000/a.jpg", 3),
        ("http://localhost:8000", "http://localhost:8000", 1),
        (r"C:\a.jpg", r"C:\a.jpg", 1),
        (r"C:\a.jpg:3", r"C:\a.jpg", 3),
        ("C:a.jpg", "C:a.jpg", 1),
    ],
)
def test_only_a_number_at_the_end_is_a_weight(text, source, weight):
    assert source_and_weight(text) == (source, weight)


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf", "much", "1/2", ""])
def test_a_weight_that_is_no_positive_number_is_refused(weight, folder, monkeypatch, capsys):
    monkeypatch.setattr(command_line, "load_image", refuse_to_run)
    assert transfer("--and", f"mosaic:{weight}") == 2
    expected = f"--and mosaic:{weight}: the weight is {weight!r}; give a positive number, such as mosaic:0.5"
    assert capsys.readouterr().err == f"nst-lessons: {expected}\n"
    Path("mine.jpg").touch()
    with pytest.raises(ValueError, match=r"such as mine\.jpg:0\.5"):
        source_and_weight(f"mine.jpg:{weight}")


def refuse_to_run(*args, **options):
    pytest.fail("work began before the arguments were checked")


@pytest.mark.parametrize("arguments", [["-o", "photo.png"], ["-o", "out.png", "--checkpoint", "photo.png"]])
def test_outputs_are_checked_before_the_work(arguments, folder, monkeypatch, capsys):
    Path("photo.png").write_bytes(b"mine")
    monkeypatch.setattr(command_line, "load_image", refuse_to_run)
    monkeypatch.setattr(command_line, "plan_transfer", refuse_to_run)
    for pictures in (["photo.png", "cubist"], ["chelsea", "photo.png"], ["chelsea", "cubist", "--and", "photo.png:2"]):
        assert main(["transfer", *pictures, *arguments]) == 2
        error = capsys.readouterr().err
        assert error == "nst-lessons: photo.png would overwrite another file of this run; choose another name\n"
    assert Path("photo.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody.jpg", "cubist"], "nobody.jpg is not a file"),
        (["text.jpg", "cubist"], "text.jpg: in no image format"),
        (["pixel.png", "cubist", "--size", "1"], "1 x 1 pixels"),
        (["http://127.0.0.1:{port}/cat.png", "cubist"], "refused"),
        (["chelsea", "cubist", "--size", "-3"], "-3"),
        (["chelsea", "cubist", "--painting-size", "0"], "size must be an integer from 1 to 8000, not 0"),
        (["chelsea", "cubist", "--and", "nobody.jpg:2"], "nobody.jpg is not a file"),
        (["chelsea", "cubist", "--steps", "0"], "steps must be an integer of at least 1, not 0"),
        (["chelsea", "cubist", "--start", "nowhere"], "unknown start 'nowhere'; choose from photo, noise, painting"),
        (["chelsea", "cubist", "--optimizer", "sgd"], "unknown optimizer 'sgd'; choose from lbfgs"),
        (["chelsea", "cubist", "--content-layers", "relu9_9"], "unknown layer 'relu9_9'; choose from conv1_1"),
        (["chelsea", "cubist", "--backbone", "vgg17"], "unknown network 'vgg17'"),
        (["chelsea", "cubist", "--backbone", "nobody.pth"], "no weights file at nobody.pth"),
        (["chelsea", "cubist", "--backbone", "text.jpg"], "text.jpg cannot be read as a PyTorch or safetensors"),
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
    for arguments, message in (
        ([], "required: COMMAND"),
        (["paint"], "invalid choice: 'paint'"),
        (["transfer", "chelsea"], "required: PAINTING"),
        (["transfer", "chelsea", "cubist", "-o", "out.png", "--beta", "nan"], "invalid finite value: 'nan'"),
        (["doctor", "--loudly"], "unrecognized arguments: --loudly"),
        (["fetch", "vgg13"], "invalid choice: 'vgg13' (choose from"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert message in capsys.readouterr().err


def test_no_record_without_an_image(folder, monkeypatch, capsys):
    def disk_full(image, path, *, alpha=None):
        raise OSError("No space left on device")

    monkeypatch.setattr(record, "save_image", disk_full)
    assert transfer() == 2
    assert "No space left on device" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("ending", "in_place", "code"),
    [
        (Ending.STEPS, True, 0),
        (Ending.RULE, True, 0),
        (Ending.STALLED, True, 0),
        (Ending.FAILED, True, 1),
        (Ending.STEPS, False, 1),
        (Ending.INTERRUPTED, True, 130),
        (Ending.INTERRUPTED, False, 130),
    ],
)
@pytest.mark.parametrize("words", ["interrupted by teacher", "no finite number was asked for", ""])
def test_the_exit_code_is_the_endings_and_not_the_words(ending, in_place, code, words):
    assert exit_code(Result(torch.zeros(1, 3, 32, 32), History(), ending, words), in_place) == code


def test_interrupt_before_the_run_leaves_nothing(folder, monkeypatch, capsys):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "plan_transfer", interrupt)
    assert transfer() == 130
    assert capsys.readouterr().err == "nst-lessons: interrupted\n"
    assert list(folder.iterdir()) == []


def test_interrupt_of_the_measurement_ends_all(folder, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(optimize, "report", interrupt)
    assert transfer() == 130
    assert list(folder.iterdir()) == []


def test_what_does_not_fit_into_memory_is_refused_in_one_line(folder, monkeypatch, capsys):
    monkeypatch.setattr(estimate, "free_bytes", lambda device: 1_000_000.0)
    assert transfer() == 2
    error = capsys.readouterr().err
    assert error.startswith("nst-lessons: 48x32 pixels need about 0.1 GB of memory, and ")
    assert error.count("\n") == 1
    assert list(folder.iterdir()) == []


# memory, fetch


def test_freed_memory_is_kept_once_where_a_network_runs(monkeypatch):
    asked = []
    monkeypatch.setattr(command_line, "keep_freed_memory", lambda: bool(asked.append(None)))
    commands = ("open_lessons", "transfer", "report_machine", "fetch")
    for name in commands:
        monkeypatch.setattr(command_line, name, lambda *args, name=name: asked.append(name) or 0)
    for arguments in (["lab"], ["fetch", "vgg16"], ["transfer", "a", "b", "-o", "c.png"], ["doctor"]):
        assert main(arguments) == 0
    assert asked == ["open_lessons", "fetch", None, "transfer", None, "report_machine"]


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
    assert first.index("about 550 MB") < first.index("SHA-256 verified")
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
