"""The network: its layers and their names, what it computes, and in which precision."""

import pytest
import torch
from torch import nn

from nst_lessons import Backbone, load_backbone, network, preprocess
from nst_lessons.network import fastest_dtype


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


def test_too_small_an_image_is_refused_with_the_least_size():
    backbone = load_backbone("compact", device="cpu")
    with pytest.raises(ValueError, match=r"40x12 pixels is too small for relu5_1.*at least 16"):
        backbone(torch.rand(1, 3, 12, 40), ["relu1_1", "relu5_1"])
    assert backbone(torch.rand(1, 3, 16, 40), ["relu5_1"])["relu5_1"].shape[-2:] == (1, 2)


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
    assert fastest_dtype(torch.device("cpu")) == torch.float32
    assert fastest_dtype(torch.device("mps")) == torch.float32


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)],  # T4, A100, H100
)
def test_a_gpu_without_bfloat16_gets_float16(capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert fastest_dtype(torch.device("cuda")) == expected


def test_unknown_names_are_refused_with_the_choice(tiny_backbone, small_image):
    with pytest.raises(ValueError, match=r"unknown layer 'conv6_1'; choose from conv1_1, relu1_1"):
        tiny_backbone(small_image, ["conv6_1"])
    with pytest.raises(ValueError, match="unknown pooling 'mean'; choose from avg, max"):
        Backbone([[4]], pooling="mean")
    with pytest.raises(ValueError, match="unknown padding 'mirror'; choose from zeros, reflect, replicate, circular"):
        Backbone([[4]], padding="mirror")
    with pytest.raises(ValueError, match="unknown convention 'tf'; choose from torchvision, caffe"):
        Backbone([[4]], convention="tf")
    with pytest.raises(ValueError, match="unknown precision 'double'; choose from auto, float32, bfloat16, float16"):
        Backbone([[4]], precision="double")


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
