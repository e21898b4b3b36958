"""Junk at every door: a result, or one clear line that is ours; never a traceback from deep inside."""

import json
import re
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nst_lessons
from nst_lessons import FOURIER, Backbone, Stage, visualize
from nst_lessons.__main__ import TRANSFER_OPTIONS, main
from nst_lessons.normalisations import LayerSize

PACKAGE = str(Path(nst_lessons.__file__).parent)
OURS = (ValueError, TypeError, MemoryError, nst_lessons.WeightsError)
LONGEST = 700  # letters of a message
# Not for users: bookkeeping, or a class of what comes out.
NOT_CALLED = {"Ending", "History", "Result", "Step", "Coordinates", "Recipe", "Backbone", "keep_freed_memory"}
IMAGE = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(1))
NETWORK = Backbone([[4, 4], [4, 4], [4, 4, 4], [4, 4, 4], [4, 4, 4]]).requires_grad_(False).eval()
FEATURES = NETWORK(IMAGE, ["relu1_1", "relu2_1"])
GRAMS = {layer: nst_lessons.gram_matrix(maps) for layer, maps in FEATURES.items()}


def enough(history: nst_lessons.History) -> str:
    return "enough" if len(history.losses) >= 2 else ""


RESULT = nst_lessons.optimize_image(IMAGE, lambda image: {"mean": image.mean()}, steps=2, progress=False)
RUN = {
    "optimizer": "lbfgs",
    "learning_rate": None,
    "coordinates": FOURIER,
    "snapshots": [0],
    "callback": None,
    "progress": False,
    "checkpoint_every": 30.0,
    "stop": enough,
}
CALLS: dict[str, dict[str, Any]] = {
    "load_image": {"source": IMAGE, "size": 32},
    "load_alpha": {"source": IMAGE, "size": 32},
    "save_image": {"image": IMAGE, "path": "out.png", "quality": 90, "alpha": IMAGE[:, :1]},
    "to_pil": {"image": IMAGE, "alpha": None},
    "preprocess": {"image": IMAGE, "convention": "caffe"},
    "deprocess": {"x": IMAGE, "convention": "caffe"},
    "resize": {"image": IMAGE, "size": 32},
    "match_shapes": {"a": IMAGE, "b": IMAGE},
    "noise_like": {"image": IMAGE, "seed": 1},
    "sample": {"name": "coffee", "size": 32},
    "full_network_picture": {"name": "content_relu4_2"},
    "load_backbone": {"name": "compact", "pooling": "avg", "padding": "zeros", "convention": None, "precision": "auto"},
    "gram_matrix": {"features": FEATURES["relu1_1"]},
    "mean_and_deviation": {"features": FEATURES["relu1_1"]},
    "content_loss": {"features": FEATURES, "target": FEATURES, "weights": {"relu1_1": 1.0, "relu2_1": 1.0}},
    "style_loss": {"features": FEATURES, "target": GRAMS, "weights": {"relu1_1": 1.0, "relu2_1": 1.0}},
    "total_variation": {"image": IMAGE, "power": 1.0},
    "transfer_loss": {"network": NETWORK, "content_target": FEATURES, "style_target": GRAMS, "alpha": 1.0, "tv": 1.0},
    "loss_below": {"threshold": 1.0},
    "improvement_below": {"fraction": 0.1, "steps": 3},
    "out_of_steps": {"steps": 3},
    "out_of_time": {"seconds": 1.0},
    "sweep": {"run": lambda choice: RESULT, "choices": [1, 2]},
    "convert_weights": {
        "weights": {"a": 1.0},
        "sizes": {"a": LayerSize(4, 20, 400, 1.0)},
        "term": "style",
        "source": "paper",
        "to": "keras",
    },
    "recipe_table": {},
    "Stage": {"size": (20, 24), "steps": 3, "loss_at": lambda: None},
    "Style": {"image": IMAGE, "weight": 1.0},
    "optimize_image": {"start": IMAGE, "loss_fn": lambda image: {"tv": image.diff().square().mean()}, "steps": 3} | RUN,
    "run_stages": {
        "stages": [Stage((20, 24), 2, lambda: lambda image: {"tv": image.diff().square().mean()})],
        "start": IMAGE,
    }
    | RUN,
    "reconstruct_content": {
        "backbone": NETWORK,
        "photo": IMAGE,
        "layer": "relu2_1",
        "start": "noise",
        "tv": 1.0,
        "octaves": 2,
        "steps": 3,
        "seed": 1,
    }
    | RUN,
    "reconstruct_style": {
        "backbone": NETWORK,
        "painting": IMAGE,
        "layers": ["relu1_1"],
        "start": "noise",
        "statistic": nst_lessons.gram_matrix,
        "tv": 1.0,
        "octaves": 1,
        "steps": 3,
        "seed": 1,
    }
    | RUN,
    "style_transfer": {
        "backbone": NETWORK,
        "photo": IMAGE,
        "painting": [IMAGE],
        "recipe": None,
        "convention": None,
        "content_layers": ["relu2_1"],
        "style_layers": {"relu1_1": 1.0},
        "alpha": 1.0,
        "beta": 1.0,
        "tv": 1.0,
        "tv_power": 1.0,
        "start": "noise",
        "warm_start": True,
        "steps": 3,
        "seed": 1,
    }
    | RUN,
    "apply_style_transfer": {
        "content_path": IMAGE,
        "style_path": IMAGE,
        "size": 32,
        "painting_size": 32,
        "backbone": "compact",
        "recipe": None,
        "steps": 2,
    }
    | RUN,
    "selective_channels": {"features": FEATURES["relu1_1"], "count": 2},
    "top_channels": {"features": FEATURES["relu1_1"], "count": 2},
    "activation_overlay": {"photo": IMAGE, "activation": FEATURES["relu1_1"][:, :1]},
    "receptive_field_box": {"backbone": NETWORK, "layer": "relu2_1", "position": (1, 2), "image_size": (20, 24)},
    "layer_sensitivity": {
        "backbone": NETWORK,
        "image": IMAGE,
        "changed_images": {"darker": IMAGE / 2},
        "layers": ["relu1_1"],
    },
    "maximise_activation": {
        "backbone": NETWORK,
        "layer": "conv2_1",
        "channel": [1],
        "position": (2, 3),
        "size": 24,
        "start": None,
        "steps": 3,
        "tv": 1.0,
        "seed": 1,
    }
    | RUN,
}

numbers = st.one_of(
    st.sampled_from([0, -1, 1, 10**9, 10**30, 2**63, 0.0, -0.5, 1e-30, 1e300, float("nan"), float("inf"), True]),
    st.integers(),
    st.floats(),
)
names = st.one_of(st.sampled_from(["", " ", "relu9_9", "a\0b", "x" * 300, "..", "/", "絵"]), st.text(max_size=8))
junk = st.recursive(
    st.one_of(st.none(), numbers, names, st.binary(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(names, inner, max_size=2)
    ),
    max_leaves=4,
)
tensors = st.sampled_from(
    [
        255 * IMAGE,
        (255 * IMAGE).to(torch.uint8),
        IMAGE.double(),
        IMAGE.half(),
        torch.full_like(IMAGE, torch.nan),
        IMAGE[0],
        IMAGE[:, :1],
        IMAGE[..., :1],
        IMAGE[..., :0],
        torch.cat([IMAGE, IMAGE]),
        torch.tensor(3.0),
        IMAGE.numpy(),
    ]
)


def function(name: str) -> Callable[..., object]:
    return getattr(nst_lessons, name, None) or getattr(visualize, name)


def test_every_public_function_is_called() -> None:
    public = {name for name, value in vars(nst_lessons).items() if callable(value) and not name.startswith("_")}
    public -= {name for name in public if name.isupper() or name.endswith("Error")}
    assert public - NOT_CALLED <= CALLS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_the_calls_are_good_without_junk(name: str, folder: Path) -> None:
    result = function(name)(**CALLS[name])
    assert (result is None) == (name == "save_image")
    assert [path.name for path in folder.iterdir()] == ["out.png"] * (name == "save_image")


@pytest.mark.parametrize("name", [name for name, arguments in CALLS.items() if arguments])
@given(data=st.data())
@settings(
    max_examples=300, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_junk_gives_a_result_or_one_clear_line(name: str, data: st.DataObject, folder: Path) -> None:
    argument = data.draw(st.sampled_from(sorted(CALLS[name])))
    if argument == "stop" and name != "Stage":
        value = data.draw(st.one_of(numbers, names))  # a list of no rules would be a run without end
    else:
        value = data.draw(st.one_of(junk, tensors))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(name)(**CALLS[name] | {argument: value})
    except OURS as error:
        where = traceback.extract_tb(error.__traceback__)[-1].filename
        plain = "iteration over a 0-d tensor" in str(error)  # torch's own words for a tensor in place of a list
        assert where.startswith(PACKAGE) or plain, f"{argument}={value!r}: {type(error).__name__} in {where}: {error}"
        text = str(error)
        assert text and "\n" not in text and len(text) < LONGEST, text
    except Exception as error:
        pytest.fail(f"{name}({argument}={value!r}): {type(error).__name__}: {error}")


ARGUMENTS = ["--size", "--painting-size", "--recipe", "--backbone", "--convention", "--and", "-o"]
ARGUMENTS += [f"--{name.replace('_', '-')}" for name in TRANSFER_OPTIONS]
WORDS = """0 -1 1 nan inf 1e39 -1e39 1000000000000000000000000000000 surma vgg99 relu1_1,,relu2_1 noise chelsea
mosaic:0 mosaic:-1 mosaic:nan out.png photo.png /dev/full/x.png a.png/b.png notes.txt . .. 絵 http://127.0.0.1:9/a.png"""
texts = st.one_of(st.sampled_from([*WORDS.split(), "", "x" * 300, "\udcff.png"]), st.text(max_size=6))


@given(option=st.sampled_from([*ARGUMENTS, "PHOTO", "PAINTING"]), text=texts)
@settings(
    max_examples=250, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_junk_on_the_command_line(
    option: str, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = nst_lessons.__main__.plan_transfer

    def plan_of_two_steps(*args: Any, **options: Any) -> Any:
        found = plan(*args, **options)
        found.options["stop"] = enough
        return found

    for path in folder.iterdir():
        path.unlink()
    nst_lessons.sample("coffee", 40).save("photo.png")
    Path("notes.txt").write_text("buy milk")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    photo, painting = (
        text if option == kind else name for kind, name in (("PHOTO", "chelsea"), ("PAINTING", "mosaic"))
    )
    argv = ["transfer", "--size", "32", "--steps", "2"]
    argv += [f"{option}={text}"] if option.startswith("--") else [option, text] if option == "-o" else []
    argv += [] if option == "-o" else ["-o", "out.png"]
    with monkeypatch.context() as patched:
        patched.setattr(nst_lessons.__main__, "plan_transfer", plan_of_two_steps)
        try:
            code = main([*argv, "--", photo, painting])
        except SystemExit as usage:
            code = usage.code
    out, err = capsys.readouterr()
    assert code in (0, 1, 2)
    assert "Traceback" not in err
    after = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name in ("photo.png", "notes.txt"):
        assert after[name] == before[name]
    if code == 2:
        assert after == before
        assert re.search(r"^nst-lessons( transfer)?: ", err, re.MULTILINE)
    else:
        assert "wrote " in out
    for name, data in after.items():
        if name.endswith(".json"):
            json.loads(data, parse_constant=pytest.fail)
        assert not name.endswith(".part")


COMMANDS: dict[str, Callable[[str], list[str]]] = {
    "lab DIR": lambda text: ["lab", f"a/b/c/{text}", "--copy-only"],  # where .. leads to is the test's own, too
    "assignment DIR": lambda text: ["assignment", f"a/b/c/{text}", "--exercises-only"],
    "assignment --for": lambda text: ["assignment", "graded", f"--for={text}"],
    "publish --repo": lambda text: ["publish", f"--repo={text}", "--ref=spring"],
    "publish --ref": lambda text: ["publish", "--repo=ada/nst", f"--ref={text}"],
    "fetch": lambda text: ["fetch", "--", text],
    "doctor": lambda text: ["doctor", f"--{text}"],
    "": lambda text: ["--", text],
}


@given(command=st.sampled_from(sorted(COMMANDS)), text=texts)
@settings(
    max_examples=100, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_junk_to_the_other_commands(
    command: str, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    monkeypatch.setattr(nst_lessons.publish, "ROOT", folder / "clone")
    (folder / "clone" / "notebooks" / "source").mkdir(parents=True, exist_ok=True)
    (folder / "clone" / "README.md").write_text("# A course\n")
    try:
        code = main(COMMANDS[command](text))
    except SystemExit as usage:
        code = usage.code
    err = capsys.readouterr().err
    assert code in (0, 2)
    assert "Traceback" not in err
    assert code == 0 or err.strip()
    assert not list(folder.rglob("*.part*"))
