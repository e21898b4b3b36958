"""Weights files: `load_backbone` finds or downloads a network's weights, reads them and checks them.

A weights file is torchvision's ``.pth``, whole or features only, or ``.safetensors``; no code in it is executed.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import textwrap
from collections.abc import Mapping
from itertools import groupby, pairwise
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor
from torchvision.models import VGG16_Weights, VGG19_Weights

from nst_lessons.network import Backbone, Padding, Precision, block_number

DOWNLOADS = {"vgg16": VGG16_Weights.IMAGENET1K_V1, "vgg19": VGG19_Weights.IMAGENET1K_V1}
DOWNLOAD_MEGABYTES = 550
ACCEPTED = "expected the weights of torchvision's vgg11, vgg13, vgg16 or vgg19 (without batch norm)"


class WeightsError(RuntimeError):
    """A network's weights are missing or unusable; the message says what was requested and what to do."""


def load_backbone(
    name: str | os.PathLike[str] | None = None,
    *,
    pooling: str = "avg",
    padding: Padding = "zeros",
    convention: str = "torchvision",
    device: str | torch.device | None = None,
    precision: Precision = "auto",
) -> Backbone:
    """Load a network with fixed weights.

    Args:
        name: ``"compact"`` (shipped with the package), ``"vgg16"`` or ``"vgg19"`` (torchvision's ImageNet
            weights, downloaded once, about 550 MB), or the path of a weights file. Without a name, the environment
            variable ``NST_LESSONS_BACKBONE`` decides, else ``"compact"``.
        pooling: ``"avg"`` or ``"max"`` (as the networks were trained).
        padding: ``"zeros"`` (as the networks were trained), ``"replicate"``, ``"reflect"`` or ``"circular"``.
        convention: ``"torchvision"`` or ``"caffe"``: how the images were normalised that the network was trained on.
        device: by default a GPU where there is one.
        precision: of the activations; ``"auto"`` is bfloat16 where the hardware multiplies it and float32
            elsewhere, ``"float32"`` is exact everywhere.

    Raises:
        WeightsError: when the weights cannot be read or downloaded; the message names the remedy.
        ValueError: for an unknown pooling, padding, convention or precision.
    """
    name = os.fspath(name or default_backbone())
    weights = name_convolutions(read_weights(name), name)
    backbone = Backbone(
        architecture(weights), pooling=pooling, padding=padding, convention=convention, precision=precision
    )
    try:
        backbone.load_state_dict(weights)
    except RuntimeError as error:
        problem = textwrap.shorten(str(error).splitlines()[1], 200)  # torch names every tensor that does not fit
        raise WeightsError(f"{name} is not a plain VGG; {ACCEPTED}: {problem}") from None
    backbone.requires_grad_(False).eval()
    # Channels last suits the CPU's convolutions: the same features in about half the time.
    return backbone.to(memory_format=torch.channels_last).to(device or default_device())


def default_backbone() -> str:
    """The network that the environment variable ``NST_LESSONS_BACKBONE`` names, else ``"compact"``."""
    return os.environ.get("NST_LESSONS_BACKBONE") or "compact"


def default_device() -> torch.device:
    """A CUDA GPU, else an Apple GPU, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def read_weights(name: str) -> dict[str, Tensor]:
    """The state dict of a network, given by name or path, as it was saved; WeightsError if it cannot be had."""
    if name in DOWNLOADS:
        return fetch_weights(name)
    path = weights_file(name)
    if path.suffix or path.exists():
        return read_weights_file(path)
    raise WeightsError(
        f"unknown network {name!r}; choose compact, {', '.join(DOWNLOADS)} or the path of a weights file"
    )


def weights_file(name: str) -> Path:
    """The file of a network; a name other than ``compact``, ``vgg16`` and ``vgg19`` is itself the path."""
    if name in DOWNLOADS:
        return cached_weights(name)
    return Path(__file__).parent / "weights" / "compact.safetensors" if name == "compact" else Path(name)


def cached_weights(name: str) -> Path:
    """Where torch keeps the weights of ``vgg16`` or ``vgg19`` once they are downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(DOWNLOADS[name].url).name


def fetch_weights(name: str) -> dict[str, Tensor]:
    """Read torchvision's weights from torch's cache; if they are not there, download them and check their hash.

    Raises:
        WeightsError: when the download fails or the cached file is damaged.
    """
    path = cached_weights(name)
    if path.exists():
        return read_weights_file(path)
    print(f"downloading {name} (about {DOWNLOAD_MEGABYTES} MB, once) to {path}")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # seconds of every wait; torch's downloader sets no limit of its own
    try:
        return DOWNLOADS[name].get_state_dict(progress=True, check_hash=True, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError) as error:
        # Only the reason, not the traceback: a classroom without internet is not a fault in the program.
        raise WeightsError(
            f"could not download the weights of {name} ({error}). Use the network that is shipped with the package, "
            f'load_backbone("compact"); or run `nst-lessons fetch {name}` where there is internet and copy the file '
            f"to {path}; or give the path of a local weights file"
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def read_weights_file(path: Path) -> dict[str, Tensor]:
    """Read a ``.safetensors`` or ``.pth`` file onto the CPU; WeightsError if it is missing, damaged or another file."""
    if not path.is_file():
        raise WeightsError(f"no weights file at {path}; give an existing .pth or .safetensors file")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers may raise anything on a file that is not theirs
        raise WeightsError(
            f"{path} is damaged or not a weights file ({type(error).__name__}); delete it and download or copy it again"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise WeightsError(f"{path} holds no state dict; save one with torch.save(model.state_dict(), path)")
    return state


def name_convolutions(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The convolutions of a weights file under the literature's names, in order and float32, without the classifier.

    Raises:
        WeightsError: when there are none, or one has no channels.
    """
    named = {key: tensor for key, tensor in state.items() if re.fullmatch(r"conv\d+_\d+\.(weight|bias)", key)}
    named = named or rename_modules(state)
    # conv2_1 comes after conv1_10.
    in_order = sorted(named, key=lambda key: [int(number) for number in re.findall(r"\d+", key)])
    weights = {key: named[key].float() for key in in_order}
    if not weights:
        raise WeightsError(f"{source} holds no VGG convolutions; {ACCEPTED}")
    for key, tensor in weights.items():
        if key.endswith("weight") and not (tensor.ndim and tensor.numel()):
            raise WeightsError(f"{source}: {key} has shape {tuple(tensor.shape)}, no channels; {ACCEPTED}")
    return weights


def rename_modules(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn torchvision's numbered modules into the literature's names: ``features.0.weight`` is ``conv1_1.weight``.

    A convolution and its ReLU take two numbers, so a larger gap is a pooling layer, where the next block begins.
    """
    matches = {key: re.fullmatch(r"(?:features\.)?(\d+)\.(.+)", key) for key in state}
    parts = {(int(match[1]), match[2]): state[key] for key, match in matches.items() if match}
    names: dict[int, str] = {}
    block, i = 1, 0
    for previous, number in pairwise([-2, *sorted({number for number, _ in parts})]):
        block, i = (block, i + 1) if number - previous == 2 else (block + 1, 1)
        names[number] = f"conv{block}_{i}"
    return {f"{names[number]}.{part}": tensor for (number, part), tensor in parts.items()}


def architecture(weights: Mapping[str, Tensor]) -> list[list[int]]:
    """The blocks of the VGG whose weights are ``{"conv1_1.weight": ..., "conv1_1.bias": ..., ...}``, in this order."""
    kernels = (key for key in weights if key.endswith("weight"))
    return [[len(weights[key]) for key in block] for _, block in groupby(kernels, key=block_number)]


def check_hash(path: Path) -> None:
    """Raise WeightsError unless a file's SHA-256 begins as its name says: ``vgg16-397923af.pth``."""
    expected, found = path.stem.rpartition("-")[2], sha256(path)
    if not found.startswith(expected):
        raise WeightsError(
            f"{path} is damaged: its SHA-256 begins {found[:8]}, not {expected}; delete it and try again"
        )


def sha256(path: Path) -> str:
    """A file's SHA-256, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
