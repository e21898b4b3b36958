"""Backbones against torchvision's own networks, and every way in which weights can be missing or wrong."""

import json
import socket
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision.models import vgg11, vgg11_bn, vgg16, vgg19

from nst_lessons import Backbone, WeightsError, deprocess, load_backbone, network, preprocess
from nst_lessons.network import multiplies_bfloat16
from nst_lessons.weight_files import cached_weights, read_weights

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
def test_torchvisions_cache_is_the_real_loading_path(name, torch_home):
    model = seeded(NETWORKS[name])
    torch.save(model.state_dict(), cached_weights(name))
    backbone = load_backbone(name, device="cpu")
    last = backbone.layers_by_block("conv", 1)[-1]
    assert last == "conv5_1"
    assert {key.split(".")[0] for key in backbone.state_dict()} == {k for k in backbone.layers if k.startswith("conv")}
    torch.testing.assert_close(backbone.state_dict()["conv1_1.weight"], model.features[0].weight)
    torch.testing.assert_close(backbone.state_dict()["conv1_1.bias"], model.features[0].bias)


def test_layer_names_of_vgg19():
    names = Backbone([[2, 2], [2, 2], [2, 2, 2, 2], [2, 2, 2, 2], [2, 2, 2, 2]]).layers
    assert names[:5] == ("conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1")
    assert names[-3:] == ("conv5_4", "relu5_4", "pool5")
    assert len(names) == 2 * 16 + 5


def test_receptive_fields_and_strides_are_the_published_ones():
    """Receptive fields of VGG16 as in Araujo, Norris and Sim (Distill, 2019): 212 at the last pooling layer."""
    backbone = Backbone([[2, 3], [2, 2], [2, 2, 2], [2, 4, 2], [2, 2, 2]])
    fields = {layer: backbone.receptive_field[layer] for layer in ("conv1_1", "pool1", "relu3_3", "conv5_3", "pool5")}
    assert fields == {"conv1_1": 3, "pool1": 6, "relu3_3": 40, "conv5_3": 196, "pool5": 212}
    assert (backbone.stride["relu4_2"], backbone.stride["pool5"]) == (8, 32)
    assert [backbone.channels[layer] for layer in ("relu1_1", "conv1_2", "pool1", "relu4_2")] == [2, 3, 3, 4]


def test_receptive_field_against_autograd(tiny_backbone):
    image = torch.rand(1, 3, 40, 52, requires_grad=True)
    tiny_backbone(image, ["conv2_2"])["conv2_2"][0, :, 10, 13].sum().backward()
    touched = image.grad.abs().sum(1)[0] > 0
    rows, columns = touched.any(1).sum(), touched.any(0).sum()
    assert rows == columns == tiny_backbone.receptive_field["conv2_2"]


def test_conv_is_before_the_relu_and_relu_after_it_also_together(tiny_backbone, small_image):
    together = tiny_backbone(small_image, ["relu1_2", "conv1_2"])
    assert list(together) == ["relu1_2", "conv1_2"]
    assert together["conv1_2"].min() < 0
    torch.testing.assert_close(together["relu1_2"], together["conv1_2"].clamp_min(0))
    torch.testing.assert_close(tiny_backbone(small_image, ["conv1_2"])["conv1_2"], together["conv1_2"])


def test_keras_names_are_aliases(tiny_backbone, small_image):
    features = tiny_backbone(small_image, ["block2_conv1", "relu2_1", "block1_pool", "pool1"])
    assert torch.equal(features["block2_conv1"], features["relu2_1"])
    assert torch.equal(features["block1_pool"], features["pool1"])


def test_nothing_deeper_than_asked_is_computed(tiny_backbone, small_image):
    called = []
    for layer in tiny_backbone.layers:
        tiny_backbone.get_submodule(layer).register_forward_hook(lambda *_, layer=layer: called.append(layer))
    tiny_backbone(small_image, ["conv1_2", "conv1_1"])
    assert called == ["conv1_1", "relu1_1", "conv1_2"]


def test_pooling_and_padding_are_those_asked_for(small_image):
    def features(**options: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        return Backbone([[4, 4], [6, 6]], **options)(small_image, ["relu1_2", "pool1", "conv1_1"])

    average, largest = features(pooling="avg"), features(pooling="max")
    torch.testing.assert_close(average["pool1"], nn.functional.avg_pool2d(average["relu1_2"], 2))
    torch.testing.assert_close(largest["pool1"], nn.functional.max_pool2d(largest["relu1_2"], 2))
    zeros, replicate = features(padding="zeros")["conv1_1"], features(padding="replicate")["conv1_1"]
    torch.testing.assert_close(zeros[..., 1:-1, 1:-1], replicate[..., 1:-1, 1:-1])
    assert not torch.allclose(zeros[..., 0, :], replicate[..., 0, :])


def test_convention_is_applied_inside(small_image):
    torch.manual_seed(0)
    caffe = Backbone([[4]], convention="caffe")
    raw = nn.functional.conv2d(preprocess(small_image, "caffe"), caffe.conv1_1.weight, caffe.conv1_1.bias, padding=1)
    torch.testing.assert_close(caffe(small_image, ["conv1_1"])["conv1_1"], raw)


def test_gradient_reaches_the_image_and_not_the_weights(small_image):
    backbone = load_backbone("compact", device="cpu")
    image = torch.rand(1, 3, 32, 40, requires_grad=True)
    backbone(image, ["relu3_1"])["relu3_1"].square().sum().backward()
    assert image.grad.abs().sum() > 0
    assert all(not p.requires_grad and p.grad is None for p in backbone.parameters())


def test_compact_has_vgg16s_thirteen_layers_and_is_scaled_on_photos():
    from nst_lessons import load_image, sample

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
    assert sum(p.numel() for p in backbone.parameters()) < 2_000_000


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


def test_too_small_an_image_is_refused_with_the_size_that_would_do():
    backbone = load_backbone("compact", device="cpu")
    with pytest.raises(ValueError, match=r"40x12 pixels is too small for relu5_1.*at least 16"):
        backbone(torch.rand(1, 3, 12, 40), ["relu1_1", "relu5_1"])
    assert backbone(torch.rand(1, 3, 16, 40), ["relu5_1"])["relu5_1"].shape[-2:] == (1, 2)


def test_unknown_names_are_refused_with_the_choice(tiny_backbone, small_image):
    with pytest.raises(ValueError, match=r"unknown layer 'conv6_1'; choose from conv1_1, relu1_1"):
        tiny_backbone(small_image, ["conv6_1"])
    with pytest.raises(ValueError, match="unknown pooling 'mean'; choose from avg, max"):
        load_backbone("compact", pooling="mean")
    with pytest.raises(ValueError, match="unknown padding 'mirror'"):
        load_backbone("compact", padding="mirror")
    with pytest.raises(ValueError, match="unknown precision 'double'; choose from auto, float32, bfloat16"):
        load_backbone("compact", precision="double")
    with pytest.raises(WeightsError, match=r"unknown network 'vgg17'; choose compact, vgg16, vgg19 or the path"):
        load_backbone("vgg17")


def test_dead_network_names_the_remedies(torch_home, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(
        WeightsError, match=r"could not download.*compact.*nst-lessons fetch vgg19.*checkpoint"
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


def test_checkpoints_never_run_code(tmp_path):
    witness = tmp_path / "witness"
    torch.save({"features.0.weight": Payload(witness)}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth is damaged or no checkpoint"):
        load_backbone(tmp_path / "evil.pth")
    assert not witness.exists()


def broken_checkpoint(kind: str, path: Path) -> Path:
    """Write one of the files that come instead of a checkpoint."""
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
        ("missing bias", r"see conv2_1\.bias"),
        ("missing weight", "not a plain VGG"),
        ("scalar", r"conv2_1\.weight has shape \(\), no channels"),
        ("no channels", r"conv2_1\.weight has shape \(0, 64, 3, 3\), no channels"),
        ("wrong shape", r"conv2_1\.weight has shape \(128, 63, 3, 3\), expected \(128, 64, 3, 3\)"),
    ],
)
def test_wrong_checkpoints_are_named(kind, words, tmp_path):
    with pytest.raises(WeightsError, match=words):
        load_backbone(broken_checkpoint(kind, tmp_path / "weights.pth"))


def test_damaged_safetensors_and_missing_files_are_named(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"not a header")
    with pytest.raises(WeightsError, match="damaged"):
        load_backbone(tmp_path / "bad.safetensors")
    with pytest.raises(WeightsError, match=r"no checkpoint at .*nowhere\.pth"):
        load_backbone(tmp_path / "nowhere.pth")


def test_a_damaged_download_in_the_cache_is_named(torch_home):
    cached_weights("vgg16").write_bytes(b"half a download")
    with pytest.raises(WeightsError, match=r"vgg16-397923af\.pth is damaged.*delete it"):
        load_backbone("vgg16")


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


def features_and_gradient(backbone: Backbone, image: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """All ReLU layers, and the gradient of their mean squares with respect to the pixels."""
    variable = image.clone().requires_grad_()
    features = backbone(variable, [layer for layer in backbone.layers if layer.startswith("relu")])
    loss = torch.stack([maps.square().mean() for maps in features.values()]).sum()
    return features, torch.autograd.grad(loss, variable)[0]


def test_bfloat16_is_close_to_float32_but_not_the_same():
    image = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    exact, exact_gradient = features_and_gradient(load_backbone("compact", device="cpu", precision="float32"), image)
    rough, rough_gradient = features_and_gradient(load_backbone("compact", device="cpu", precision="bfloat16"), image)
    for layer in exact:
        assert rough[layer].dtype == torch.float32
        error = (rough[layer] - exact[layer]).norm() / exact[layer].norm()
        assert 1e-5 < error < 2e-2, layer
    assert torch.cosine_similarity(rough_gradient.flatten(), exact_gradient.flatten(), dim=0) > 0.99


@pytest.mark.parametrize("capabilities", [{"avx512_bf16": True}, {"amx_bf16": True}, {"avx512_f": True}, {}])
def test_precision_auto_goes_by_the_hardware(capabilities, monkeypatch, small_image):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    has_instructions = bool({"avx512_bf16", "amx_bf16"} & capabilities.keys())
    expected = load_backbone("compact", device="cpu", precision="bfloat16" if has_instructions else "float32")
    found = load_backbone("compact", device="cpu", precision="auto")
    assert torch.equal(found(small_image, ["relu2_2"])["relu2_2"], expected(small_image, ["relu2_2"])["relu2_2"])


def test_old_torch_cannot_tell_the_hardware_and_gets_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not multiplies_bfloat16(torch.device("cpu"))
    assert not multiplies_bfloat16(torch.device("mps"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_recomputing_activations_saves_memory_and_changes_nothing(precision, monkeypatch, bytes_kept):
    image = torch.rand(1, 3, 33, 50, generator=torch.Generator().manual_seed(0))
    backbone = load_backbone("compact", device="cpu", precision=precision)
    kept, gradient = features_and_gradient(backbone, image)
    kept_bytes = bytes_kept(backbone, image, ["relu5_1"])
    monkeypatch.setattr(network, "RECOMPUTED_FROM", 32 * 50)
    again, same_gradient = features_and_gradient(backbone, image)
    assert all(torch.equal(kept[layer], again[layer]) for layer in kept)
    assert torch.equal(gradient, same_gradient)
    assert bytes_kept(backbone, image, ["relu5_1"]) < kept_bytes / 5


def test_unread_weights_are_not_kept(tmp_path):
    model = seeded(vgg16)
    torch.save(model.state_dict(), tmp_path / "whole.pth")
    assert any(key.startswith("classifier") for key in read_weights(str(tmp_path / "whole.pth")))
    assert not any("classifier" in key for key in load_backbone(tmp_path / "whole.pth").state_dict())
