"""Weights files against torchvision's own networks, and every way in which weights can be missing or wrong."""

import json
import socket
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision.models import vgg11, vgg11_bn, vgg16, vgg19

from nst_lessons import Backbone, WeightsError, deprocess, load_backbone, load_image, preprocess, sample
from nst_lessons.weight_files import cached_weights, check_hash, read_weights, sha256, weights_file

NETWORKS = {"vgg16": vgg16, "vgg19": vgg19}


@pytest.fixture(autouse=True)
def no_choice_from_outside(monkeypatch):
    monkeypatch.delenv("NST_LESSONS_BACKBONE", raising=False)


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


class Payload:
    """Would create a file if unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_weights_files_never_execute_code(tmp_path):
    witness = tmp_path / "witness"
    torch.save({"features.0.weight": Payload(witness)}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth is damaged or not a weights file"):
        load_backbone(tmp_path / "evil.pth")
    assert not witness.exists()


def broken_weights_file(kind: str, path: Path) -> Path:
    """Write one of the files that come instead of a VGG's weights."""
    state = vgg11(init_weights=False).features.state_dict()
    if kind == "batch norm":
        state = vgg11_bn(init_weights=False).features.state_dict()
    if kind == "not a VGG":
        state = {"fc.weight": torch.ones(2, 2)}
    if kind == "wrong shape":
        state["3.weight"] = torch.ones(128, 63, 3, 3)
    if kind == "scalar":
        state["3.weight"] = torch.tensor(1.0)
    if kind == "no channels":
        state["3.weight"] = torch.ones(0, 64, 3, 3)
    if kind == "missing weight":
        del state["3.weight"]
    if kind == "missing bias":
        del state["3.bias"]
    if kind == "list":
        torch.save([1, 2], path)
        return path
    torch.save(state, path)
    content = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    if kind == "web page":
        path.write_text("<html>404 not found</html>")
    if kind == "empty":
        path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated", "damaged"),
        ("web page", "damaged"),
        ("empty", "damaged"),
        ("list", "no state dict"),
        ("not a VGG", "holds no VGG convolutions"),
        ("batch norm", "not a plain VGG"),
        ("missing bias", r'not a plain VGG; expected .*: Missing key.* "conv2_1\.bias"'),
        ("missing weight", "not a plain VGG"),
        ("scalar", r"conv2_1\.weight has shape \(\), no channels"),
        ("no channels", r"conv2_1\.weight has shape \(0, 64, 3, 3\), no channels"),
        ("wrong shape", r"conv2_1\.weight: .* shape .*\[128, 63, 3, 3\].* shape .*\[128, 64, 3, 3\]"),
    ],
)
def test_wrong_weights_files_are_named(kind, words, tmp_path):
    with pytest.raises(WeightsError, match=words):
        load_backbone(broken_weights_file(kind, tmp_path / "weights.pth"))


def test_damaged_safetensors_and_missing_files_are_named(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"not a header")
    with pytest.raises(WeightsError, match="damaged"):
        load_backbone(tmp_path / "bad.safetensors")
    with pytest.raises(WeightsError, match=r"no weights file at .*nowhere\.pth"):
        load_backbone(tmp_path / "nowhere.pth")


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
