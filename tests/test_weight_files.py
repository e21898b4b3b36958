"""Weights files against torchvision's own networks, and every way in which weights can be missing or wrong."""

import json
import re
import socket
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision.models import resnet18, squeezenet1_1, vgg11_bn, vgg16, vgg19

from nst_lessons import Backbone, WeightsError, deprocess, load_backbone, load_image, preprocess, sample
from nst_lessons.images import CAFFE_MEAN, CONVENTIONS, MEAN, STD
from nst_lessons.weight_files import cached_weights, check_hash, guess_convention, read_weights, sha256, weights_file

NETWORKS = {"vgg16": vgg16, "vgg19": vgg19}


@pytest.fixture(autouse=True)
def no_choice_from_outside(monkeypatch):
    monkeypatch.delenv("NST_LESSONS_BACKBONE", raising=False)
    monkeypatch.delenv("NST_LESSONS_CONVENTION", raising=False)


@pytest.fixture
def torch_home(tmp_path, monkeypatch) -> Path:
    """An empty cache of weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path


def seeded(network) -> nn.Module:
    """torchvision's network with random weights and no classifier; biases too are random."""
    torch.manual_seed(0)
    model = network(init_weights=False)
    model.classifier = nn.Sequential(nn.Linear(4, 2))
    for parameter in model.features.parameters():
        nn.init.normal_(parameter, std=(2 / max(1, parameter[0].numel())) ** 0.5 if parameter.ndim == 4 else 0.1)
    return model.eval()


def module_outputs(model: nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    """What each of torchvision's modules gives, cloned because its ReLUs overwrite their input."""
    outputs, x = [], preprocess(image)
    for module in model.features:
        x = module(x.clone())
        outputs.append(x.clone())
    return outputs


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("part", ["whole", "features only", "state dict of the features"])
def test_layer_by_layer_the_same_as_torchvision(name, part, tmp_path):
    model = seeded(NETWORKS[name])
    state = model.features.state_dict() if part == "state dict of the features" else model.state_dict()
    if part == "features only":
        state = {key: tensor for key, tensor in state.items() if key.startswith("features")}
    torch.save(state, tmp_path / "vgg.pth")
    backbone = load_backbone(tmp_path / "vgg.pth", pooling="max", device="cpu", precision="float32")
    image = torch.rand(1, 3, 48, 37)
    features = backbone(image, backbone.layers)
    outputs = module_outputs(model, image)
    assert len(features) == len(outputs)
    for (layer, found), expected in zip(features.items(), outputs, strict=True):
        # Another memory layout sums in another order.
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max(), layer


@pytest.mark.parametrize("name", NETWORKS)
def test_real_weights_give_the_published_statistics(name):
    """Published by pystiche for ``torch.manual_seed(0); torch.rand(1, 3, 256, 256)``, not normalised, max pooling."""
    if not cached_weights(name).exists():
        pytest.skip(f"the weights of {name} are not in torch's cache; `nst-lessons fetch {name}` downloads them")
    if not sha256(cached_weights(name)).startswith(cached_weights(name).stem[-8:]):
        pytest.skip(f"the weights of {name} in torch's cache are others than torchvision's")
    published = json.loads((Path(__file__).parent / "vgg_layer_statistics.json").read_text())[name]
    torch.manual_seed(0)
    image = deprocess(torch.rand(1, 3, 256, 256))  # the backbone normalises: undo it beforehand
    backbone = load_backbone(name, pooling="max", device="cpu", precision="float32")
    assert set(published) == set(backbone.layers)
    for layer, features in backbone(image, backbone.layers).items():
        found = features.min(), features.max(), features.norm()
        assert [float(value) for value in found] == pytest.approx([float(v) for v in published[layer]], rel=6e-3), layer


@pytest.mark.parametrize("name", NETWORKS)
def test_torchvisions_cache_is_the_real_loading_path(name, torch_home):
    model = seeded(NETWORKS[name])
    torch.save(model.state_dict(), cached_weights(name))
    backbone = load_backbone(name, device="cpu")
    last = backbone.layers_by_block("conv", 1)[-1]
    assert last == "conv5_1"
    assert {key.split(".")[0] for key in backbone.state_dict()} == {k for k in backbone.layers if k.startswith("conv")}
    torch.testing.assert_close(backbone.state_dict()["conv1_1.weight"], model.features[0].weight)
    torch.testing.assert_close(backbone.state_dict()["conv1_1.bias"], model.features[0].bias)


def test_compact_has_vgg16s_thirteen_layers_and_is_scaled_on_photos():
    backbone = load_backbone("compact", device="cpu")
    relus = [layer for layer in backbone.layers if layer.startswith("relu")]
    assert backbone.layers == Backbone([[2, 2], [2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2]]).layers
    means = torch.stack(
        [
            torch.stack([f.mean() for f in backbone(load_image(sample(name), 224), relus).values()])
            for name in ("astronaut", "chelsea", "coffee", "rocket")
        ]
    ).mean(0)
    assert ((means > 0.4) & (means < 2.5)).all()
    assert weights_file("compact").stat().st_size < 8_000_000


def test_environment_variable_chooses(monkeypatch, tmp_path):
    path = tmp_path / "tiny.safetensors"
    safetensors.torch.save_file(Backbone([[3], [5, 5]]).state_dict(), path)
    monkeypatch.setenv("NST_LESSONS_BACKBONE", str(path))
    assert load_backbone().layers == Backbone([[3], [5, 5]]).layers
    assert load_backbone("compact").channels["relu1_1"] != 3


def test_safetensors_and_half_precision_round_trip(tmp_path, small_image, tiny_backbone):
    state = {key: tensor.half() for key, tensor in tiny_backbone.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "half.safetensors")
    loaded = load_backbone(tmp_path / "half.safetensors", device="cpu")
    found, expected = loaded(small_image, ["relu2_2"]), tiny_backbone(small_image, ["relu2_2"])
    torch.testing.assert_close(found["relu2_2"], expected["relu2_2"], rtol=1e-2, atol=1e-2)
    assert found["relu2_2"].dtype == torch.float32


def test_unread_weights_are_not_kept(tmp_path):
    model = seeded(vgg16)
    torch.save(model.state_dict(), tmp_path / "whole.pth")
    assert any(key.startswith("classifier") for key in read_weights(str(tmp_path / "whole.pth")))
    assert not any("classifier" in key for key in load_backbone(tmp_path / "whole.pth").state_dict())


def test_an_unknown_network_is_refused_with_the_choice():
    with pytest.raises(WeightsError, match=r"unknown network 'vgg17'; choose compact, vgg16, vgg19 or the path"):
        load_backbone("vgg17")


def test_dead_network_names_the_remedies(torch_home, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(
        WeightsError, match=r"could not download.*compact.*nst-lessons fetch vgg19.*local weights file"
    ) as caught:
        load_backbone("vgg19")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert list((torch_home / "hub" / "checkpoints").iterdir()) == []


# what training scripts save


def small_vgg() -> nn.Sequential:
    """The beginning of torchvision's VGG11: two convolutions, 64 and 128 channels."""
    torch.manual_seed(0)
    blocks = [(nn.Conv2d(n, m, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)) for n, m in ((3, 64), (64, 128))]
    return nn.Sequential(*(module for block in blocks for module in block))


def renamed(prefix: str) -> dict[str, torch.Tensor]:
    """Its state dict, with something before each name."""
    return {f"{prefix}{key}": tensor for key, tensor in small_vgg().state_dict().items()}


def assert_is_small_vgg(path: str) -> None:
    found, expected = load_backbone(path, device="cpu").state_dict(), small_vgg().state_dict()
    assert list(found) == ["conv1_1.weight", "conv1_1.bias", "conv2_1.weight", "conv2_1.bias"]
    for tensor, other in zip(found.values(), expected.values(), strict=True):
        torch.testing.assert_close(tensor, other)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state},
        lambda state: {"epoch": 3, "model_state_dict": state, "optimizer": {"state": {0: {"step": 7}}, "lr": 0.1}},
        lambda state: {"model": {"weights": state}, "best": 0.5},
        lambda state: {"net": state, "acc": 92.4, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        lambda state: {"module": {"params": state}, "state": {0: {"exp_avg": torch.ones(2)}, 1: {"step": 7}}},
        lambda state: {"params_ema": state, "state_dict": None, "counts": {"seen": torch.tensor(7)}},
        lambda state: {**state, "epoch": 3, 7: torch.ones(2)},
    ],
)
def test_a_state_dict_is_unwrapped(wrap, folder):
    torch.save(wrap(small_vgg().state_dict()), "checkpoint.pth")
    assert_is_small_vgg("checkpoint.pth")


@pytest.mark.parametrize(
    "prefix",
    ["module.", "model.", "net.encoder.", "features.", "backbone.features.", "module.model.backbone.features."],
)
def test_what_names_begin_with_does_not_matter(prefix, folder):
    torch.save(renamed(prefix), "prefixed.pth")
    assert_is_small_vgg("prefixed.pth")


def test_the_literatures_names_may_have_a_prefix_too(folder, tiny_backbone):
    state = {f"module.vgg.{key}": tensor for key, tensor in tiny_backbone.state_dict().items()}
    torch.save(state, "prefixed.pth")
    loaded = load_backbone("prefixed.pth", device="cpu")
    torch.testing.assert_close(loaded.state_dict(), tiny_backbone.state_dict())


def test_of_a_larger_network_the_features_are_taken(folder):
    others = {"decoder.0.weight": torch.ones(3, 64, 3, 3), "classifier.0.weight": torch.ones(9, 128)}
    torch.save({**others, **renamed("vgg.features.")}, "larger.pth")
    assert_is_small_vgg("larger.pth")


def test_how_a_file_was_saved_does_not_matter(folder):
    safetensors.torch.save_file(small_vgg().state_dict(), "safe.pth")
    torch.save(small_vgg().state_dict(), "old.pth", _use_new_zipfile_serialization=False)
    for path in ("safe.pth", "old.pth"):
        assert_is_small_vgg(path)


# refusals


class Payload:
    """Would create a file if unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_weights_files_never_execute_code(tmp_path):
    witness = tmp_path / "witness"
    torch.save({"features.0.weight": Payload(witness)}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth holds more than tensors.*run code"):
        load_backbone(tmp_path / "evil.pth")
    assert not witness.exists()


def refusal(path: str) -> str:
    """What is said of a file that is refused: in one line, of few words, and not that a whole file is damaged."""
    with pytest.raises(WeightsError) as caught:
        load_backbone(path)
    message = str(caught.value)
    assert message.startswith(path)
    assert "\n" not in message
    assert len(message) <= 300
    assert "damaged" not in message
    return message


def changed(**tensors: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """The small VGG's state dict with other tensors at ``3.``, or, where they are None, without."""
    state = small_vgg().state_dict() | {f"3.{part}": tensor for part, tensor in tensors.items()}
    return {key: tensor for key, tensor in state.items() if tensor is not None}


PLAIN = r"expected the weights of torchvision's .*\(without batch norm\)"
WRONG_STATES = {
    "list": ([1, 2], "holds a list and not one state dict; save one"),
    "training state": ({"epoch": 3, "lr": 0.1}, "holds a dict of epoch, lr and not one state dict; save one"),
    "two networks": ({"ema": renamed(""), "net": renamed("")}, "holds a dict of ema, net and not one state dict"),
    "whole numbers": ({"0.weight": torch.ones(2, 3, 3, 3, dtype=torch.int8)}, "holds a dict of 0.weight and not one"),
    "no VGG": ({"fc.weight": torch.ones(2, 2)}, f"holds no plain VGG, .*it has fc.weight; {PLAIN}"),
    "Keras' names": ({"block1_conv1.kernel": torch.ones(3, 3, 3, 64)}, "holds no plain VGG, .*block1_conv1.kernel"),
    "two VGGs": (renamed("a.features.") | renamed("b.features."), r"or several: it has a\.features\.0\.weight"),
    "wrong shape": (
        changed(weight=torch.ones(128, 63, 3, 3)),
        r"conv2_1\.weight: .* shape .*\[128, 63, 3, 3\].* shape .*\[128, 64, 3, 3\]",
    ),
    "scalar": (changed(weight=torch.tensor(1.0)), r"conv2_1\.weight has shape \(\), no channels"),
    "no channels": (changed(weight=torch.ones(0, 64, 3, 3)), r"conv2_1\.weight has shape \(0, 64, 3, 3\), no channels"),
    "missing weight": (changed(weight=None), "not a plain VGG"),
    "missing bias": (changed(bias=None), r'not a plain VGG; expected .*: Missing key.* "conv2_1\.bias"'),
    "NaN": (changed(bias=torch.full((128,), torch.nan)), r"conv2_1\.bias holds NaN or infinity"),
    "infinity": (changed(weight=torch.full((128, 64, 3, 3), -torch.inf)), r"conv2_1\.weight holds NaN or infinity"),
}


@pytest.mark.parametrize("kind", WRONG_STATES)
def test_wrong_state_dicts_are_named(kind, folder):
    state, words = WRONG_STATES[kind]
    torch.save(state, "weights.pth")
    message = refusal("weights.pth")
    assert re.search(words, message), message
    assert "download" not in message


@pytest.mark.parametrize("part", ["whole", "features"])
@pytest.mark.parametrize(
    ("network", "words"),
    [
        (vgg11_bn, f"is a VGG with batch normalisation; {PLAIN}"),
        (resnet18, f"holds no plain VGG, .*it has conv1.weight, bn1.weight, .* ...; {PLAIN}"),
        (squeezenet1_1, "holds no plain VGG, .*0.weight, .*3.squeeze.weight"),
    ],
)
def test_other_networks_are_named(network, words, part, folder):
    with torch.device("meta"):
        model = network()
    model = model.features if part == "features" and network is not resnet18 else model
    state = {key: torch.zeros(tensor.shape) for key, tensor in model.state_dict().items() if "classifier" not in key}
    torch.save(state, "other.pth")
    message = refusal("other.pth")
    assert re.search(words, message), message


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("vgg.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "is a Keras or HDF5 file, .*save a state dict of conv1_1.weight"),
        ("vgg.keras", b"PK\x03\x04" + bytes(99), "is a Keras or HDF5 file"),
        ("vgg.caffemodel", b"\n\x14VGG_ILSVRC_16_layers\x12", r"is a Caffe model \(protobuf\), .*convert it"),
        ("vgg.pth", b"\n\x14VGG_ILSVRC_19_layers\x12", "is a Caffe model"),
        ("vgg.pth", b"\r\n<!DOCTYPE html><p>Sign in", "is a web page, not the weights; download the file"),
        ("vgg.h5", b"<html>404 not found</html>", "is a web page"),
        ("vgg.pth", b"version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer, .*`git lfs pull`"),
        ("vgg.pth", b"", "is empty; download or copy it again"),
        ("imagenet-vgg-verydeep-19.mat", b"MATLAB 5.0 MAT-file" + bytes(99), "is a MATLAB file, .*convert it"),
        ("vgg19.npy", b"\x93NUMPY\x01\x00" + bytes(99), "is a NumPy file, .*convert it"),
        ("vgg16.npz", b"PK\x03\x04" + bytes(99), "is a NumPy file"),
        ("vgg.pth", b"\x1f\x8b\x08" + bytes(99), "is compressed; unpack it first"),
        ("vgg.onnx", b"\x08\x07\x12\x07pytorch", "cannot be read as a PyTorch or safetensors file$"),
        ("vgg.pth", b"\x80\x04\x95junk", "cannot be read as a PyTorch or safetensors file$"),
        ("vgg.pth", b"my diary\n", "cannot be read as a PyTorch or safetensors file$"),
        ("vgg.safetensors", b"not a header", "cannot be read as a PyTorch or safetensors file"),
    ],
)
def test_other_files_are_named(name, content, words, folder):
    Path(name).write_bytes(content)
    message = refusal(name)
    assert re.search(words, message), message


def save_old(state: object, path: str) -> None:
    """torch.save as it was before version 1.6: no archive."""
    torch.save(state, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("save", [torch.save, save_old, safetensors.torch.save_file])
@pytest.mark.parametrize("kept", [0.0003, 0.01, 0.5, 0.999])
def test_a_file_that_is_cut_short_is_to_be_copied_again(save, kept, folder):
    save(small_vgg().state_dict(), "cut.pth")
    content = Path("cut.pth").read_bytes()
    Path("cut.pth").write_bytes(content[: int(kept * len(content))])
    assert refusal("cut.pth") == "cut.pth is cut short; download or copy it again"


@pytest.mark.parametrize("save", [torch.save, save_old])
@pytest.mark.parametrize(
    ("contents", "name"),
    [
        (small_vgg, "torch.nn.modules.container.Sequential"),
        (lambda: {"state_dict": small_vgg().state_dict(), "args": Namespace(lr=1)}, "argparse.Namespace"),
    ],
)
def test_of_a_pickled_model_the_state_dict_is_asked_for(save, contents, name, folder):
    save(contents(), "model.pth")
    message = refusal("model.pth")
    assert f"holds more than tensors ({name}), as a whole model does, so that reading it would run code" in message
    assert message.endswith("save the weights alone: torch.save(model.state_dict(), path)")


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_torchscript_archive_is_named(folder, recwarn):
    torch.jit.script(small_vgg()).save("script.pt")
    recwarn.clear()
    assert "script.pt is a program (TorchScript); save its weights alone" in refusal("script.pt")
    assert len(recwarn) == 0


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no weights file at .*nowhere\.pth"):
        load_backbone(tmp_path / "nowhere.pth")


# conventions

# A first filter: its kernel of the first colour, row by row, and its bias. Caffe's were published with Keras' weights,
# that of torchvision's VGG16 is what torch prints of it.
PUBLISHED_FILTERS = {
    "caffe vgg16": (
        *(0.42947057, 0.373467, -0.061360113, 0.27476987, 0.038680777, -0.36722335),
        *(-0.05746817, -0.26224968, -0.35009676, 0.73429835),
    ),
    "caffe vgg19": (
        *(0.341195, 0.339992, -0.0448442, 0.232159, 0.0897821, -0.303314),
        *(-0.0726092, -0.246675, -0.336833, 0.7301776),
    ),
    "torchvision vgg16": (-0.5537, 0.1427, 0.5290, -0.5831, 0.3566, 0.7657, -0.6902, -0.0480, 0.4841, 0.4034),
}


def with_first_filter(name: str) -> dict[str, torch.Tensor]:
    """The small VGG's state dict with a published filter."""
    state, values = small_vgg().state_dict(), torch.tensor(PUBLISHED_FILTERS[name])
    state["0.weight"][0, 0], state["0.bias"][0] = values[:9].view(3, 3), values[9]
    return state


@pytest.mark.parametrize("name", PUBLISHED_FILTERS)
@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor,
        torch.Tensor.half,
        # as Gatys et al. scaled each filter, so that its mean activation is 1
        lambda tensor: tensor * torch.linspace(0.01, 3, len(tensor)).view(-1, *[1] * (tensor.ndim - 1)),
    ],
)
def test_published_first_filters_give_the_convention_away(name, change, folder):
    torch.save({key: change(tensor) for key, tensor in with_first_filter(name).items()}, "vgg.pth")
    assert load_backbone("vgg.pth").convention == name.split()[0]


def test_a_guess_of_caffe_is_said_and_can_be_overruled(folder, capsys):
    torch.save(with_first_filter("caffe vgg19"), "vgg.pth")
    guessed = load_backbone("vgg.pth", device="cpu", precision="float32")
    (line,) = capsys.readouterr().out.splitlines()
    assert re.match(r"vgg\.pth begins like Caffe's VGG.*BGR, 0 to 255 .*--convention torchvision, overrules", line)
    told = {word: load_backbone("vgg.pth", convention=word, device="cpu", precision="float32") for word in CONVENTIONS}
    assert capsys.readouterr().out == ""
    image = torch.rand(1, 3, 24, 16)
    features = {word: network(image, ["relu2_1"])["relu2_1"] for word, network in told.items()}
    torch.testing.assert_close(guessed(image, ["relu2_1"])["relu2_1"], features["caffe"])
    assert (features["torchvision"] - features["caffe"]).norm() > 0.9 * features["caffe"].norm()


def test_caffes_networks_are_recognised_whatever_their_channels(folder, small_image):
    """The compact network's first filters are those of Caffe's VGG16 for other pixels: changed back, they are found."""
    compact = load_backbone("compact", device="cpu", precision="float32")
    state = {key: tensor.clone() for key, tensor in compact.state_dict().items()}
    kernel = state["conv1_1.weight"] / (255 * torch.tensor(STD)).view(3, 1, 1)
    shift = 255 * torch.tensor(MEAN) - torch.tensor(CAFFE_MEAN).flip(0)
    state["conv1_1.bias"] -= (kernel * shift.view(3, 1, 1)).sum((1, 2, 3))
    state["conv1_1.weight"] = kernel.flip(1).contiguous()
    torch.save(state, "caffe.pth")
    caffe = load_backbone("caffe.pth", device="cpu", precision="float32")
    assert caffe.convention == "caffe"
    found = caffe(small_image, ["relu1_2"])["relu1_2"]
    expected = compact(small_image, ["relu1_2"])["relu1_2"]
    # At the border, Caffe's zeros are another grey, by half a level.
    torch.testing.assert_close(found[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], rtol=1e-3, atol=1e-3)


def test_the_compact_network_is_no_caffe_network(folder, capsys):
    Path("copy.safetensors").write_bytes(weights_file("compact").read_bytes())
    assert load_backbone("copy.safetensors").convention == "torchvision"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", NETWORKS)
def test_torchvisions_networks_are_no_caffe_networks(name):
    if not cached_weights(name).exists():
        pytest.skip(f"the weights of {name} are not in torch's cache; `nst-lessons fetch {name}` downloads them")
    assert load_backbone(cached_weights(name)).convention == "torchvision"


def leave(layer: nn.Conv2d) -> None:
    """torch's own initialisation."""


def kaiming(layer: nn.Conv2d) -> None:
    """torchvision's, of its VGGs' convolutions."""
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(layer.bias)


def small_normal(layer: nn.Conv2d) -> None:
    """torchvision's, of its VGGs' other layers."""
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)


@pytest.mark.parametrize("initialise", [leave, kaiming, small_normal])
def test_untrained_networks_are_no_caffe_networks(initialise: Callable[[nn.Conv2d], None]):
    for seed in range(300):
        torch.manual_seed(seed)
        layer = nn.Conv2d(3, 64, 3)
        initialise(layer)
        weights = {f"conv1_1.{part}": tensor.detach() for part, tensor in layer.named_parameters()}
        assert guess_convention(weights) == "torchvision"


def test_the_environments_convention_is_of_the_environments_network(folder, monkeypatch, capsys):
    torch.save(with_first_filter("torchvision vgg16"), "mine.pth")
    torch.save(with_first_filter("torchvision vgg16"), "other.pth")
    monkeypatch.setenv("NST_LESSONS_BACKBONE", "mine.pth")
    monkeypatch.setenv("NST_LESSONS_CONVENTION", "caffe")
    assert load_backbone().convention == load_backbone("mine.pth").convention == "caffe"
    assert load_backbone(convention="torchvision").convention == "torchvision"
    assert load_backbone("other.pth").convention == load_backbone("compact").convention == "torchvision"
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("NST_LESSONS_CONVENTION", "keras")
    with pytest.raises(ValueError, match="unknown convention 'keras'; choose from torchvision, caffe"):
        load_backbone()


def test_a_convention_that_a_network_does_not_have_is_refused(folder):
    assert load_backbone("compact", convention="torchvision").convention == "torchvision"
    for name in ("compact", "vgg16", "vgg19"):
        with pytest.raises(
            ValueError, match=f"{name} was trained with torchvision's convention; 'caffe' is for weights"
        ):
            load_backbone(name, convention="caffe")
    with pytest.raises(ValueError, match="unknown convention 'bgr'; choose from torchvision, caffe"):
        load_backbone("compact", convention="bgr")


# hashes


def test_a_hash_is_checked_against_the_name(tmp_path):
    path = tmp_path / "vgg16-ba7816bf.pth"
    path.write_bytes(b"abc")  # the first example of the standard, FIPS 180-2, appendix B.1
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    check_hash(path)
    path.write_bytes(b"ab")
    with pytest.raises(WeightsError, match=r"vgg16-ba7816bf\.pth is damaged: .* not ba7816bf; delete it"):
        check_hash(path)


def test_a_damaged_download_in_the_cache_is_named(torch_home):
    cached_weights("vgg16").write_bytes(b"half a download")
    with pytest.raises(WeightsError, match=r"vgg16-397923af\.pth is damaged.*delete it"):
        load_backbone("vgg16")


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".pth"])
def test_a_name_that_no_file_can_have_is_no_network(name):
    with pytest.raises(WeightsError, match=r"unknown network|no weights file|there is no file"):
        load_backbone(name)
