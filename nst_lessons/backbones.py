"""Backbones: VGG networks that turn an image into features, ``{layer name: (B, C, H, W)}``.

Layer names are the literature's: ``conv4_2`` is before the ReLU, ``relu4_2`` after it, ``pool4`` closes
block 4. Keras fuses the activation into its convolutions, so its ``block4_conv2`` is an alias of ``relu4_2``.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2015).
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Literal, get_args

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models import VGG16_Weights, VGG19_Weights

from nst_lessons.images import preprocess

BACKBONE_VARIABLE = "NST_LESSONS_BACKBONE"
DOWNLOADS = {"vgg16": VGG16_Weights.IMAGENET1K_V1, "vgg19": VGG19_Weights.IMAGENET1K_V1}
DOWNLOAD_MEGABYTES = 550
SOCKET_TIMEOUT_SECONDS = 30
# Gatys et al. (2016), section 2, found that average pooling gives slightly more appealing results.
POOLING = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}
Padding = Literal["zeros", "reflect", "replicate", "circular"]
Precision = Literal["auto", "float32", "bfloat16"]
RECOMPUTED_FROM = 1024 * 1024  # pixels; a smaller image's activations fit into any laptop's memory


class WeightsError(RuntimeError):
    """A network's weights could not be had; the message says what was asked for and what would have done."""


def vgg_layers(blocks: Sequence[Sequence[int]], pooling: str, padding: Padding) -> Iterator[tuple[str, nn.Module]]:
    """Yield ``(name, module)`` of a VGG: blocks of 3x3 convolutions with a ReLU each, then a pooling layer."""
    channels = 3
    for block, widths in enumerate(blocks, start=1):
        for i, width in enumerate(widths, start=1):
            yield f"conv{block}_{i}", nn.Conv2d(channels, width, 3, padding=1, padding_mode=padding)
            yield f"relu{block}_{i}", nn.ReLU()
            channels = width
        yield f"pool{block}", POOLING[pooling](2)


class Backbone(nn.Module):
    """The convolutional part of a VGG; ``backbone(image, layers)`` gives the features of those layers.

    Args:
        blocks: the channels of each block's convolutions; VGG16 is ``[[64] * 2, [128] * 2, [256] * 3, [512] * 3,
            [512] * 3]``.
        pooling: ``"avg"`` (default, as Gatys et al. recommend) or ``"max"`` (as the networks were trained).
        padding: ``"zeros"`` (as the networks were trained), ``"replicate"``, ``"reflect"`` or ``"circular"``.
        convention: how the network wants its pixels, see `nst_lessons.images.preprocess`.
        precision: of the activations: ``"float32"``, ``"bfloat16"``, or ``"auto"``, bfloat16 where the hardware
            multiplies it. The features handed out are float32, and so is all arithmetic of losses.

    Raises:
        ValueError: for an unknown pooling, padding or precision.
    """

    def __init__(
        self,
        blocks: Sequence[Sequence[int]],
        *,
        pooling: str = "avg",
        padding: Padding = "zeros",
        convention: str = "torchvision",
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        if pooling not in POOLING:
            raise ValueError(f"unknown pooling {pooling!r}; choose from {', '.join(POOLING)}")
        if padding not in get_args(Padding):
            raise ValueError(f"unknown padding {padding!r}; choose from {', '.join(get_args(Padding))}")
        if precision not in get_args(Precision):
            raise ValueError(f"unknown precision {precision!r}; choose from {', '.join(get_args(Precision))}")
        self.convention, self.precision = convention, precision
        self.channels: dict[str, int] = {}
        self.stride: dict[str, int] = {}
        self.receptive_field: dict[str, int] = {}
        channels, stride, field = 3, 1, 1
        for layer, module in vgg_layers(blocks, pooling, padding):
            self.add_module(layer, module)
            if isinstance(module, nn.Conv2d):
                channels, field = module.out_channels, field + 2 * stride
            elif layer.startswith("pool"):
                field, stride = field + stride, 2 * stride
            self.channels[layer], self.stride[layer], self.receptive_field[layer] = channels, stride, field

    @property
    def layers(self) -> tuple[str, ...]:
        """All layer names, from the pixels inwards."""
        return tuple(self.channels)

    @property
    def device(self) -> torch.device:
        """Where the weights live; an image is moved there before the first layer."""
        return next(self.parameters()).device

    def layers_by_block(self, kind: str, i: int) -> list[str]:
        """One layer of each block, such as ``("relu", 1) -> ["relu1_1", "relu2_1", ...]``."""
        return [layer for layer in self.layers if re.fullmatch(rf"{kind}\d+_{i}", layer)]

    def canonical(self, layer: str) -> str:
        """The literature's name of a layer: ``block4_conv2`` becomes ``relu4_2``, others stay.

        Raises:
            ValueError: for a layer that this network does not have.
        """
        name = re.sub(r"^block(\d+)_conv(\d+)$", r"relu\1_\2", layer)
        name = re.sub(r"^block(\d+)_pool$", r"pool\1", name)
        if name not in self.channels:
            raise ValueError(f"unknown layer {layer!r}; choose from {', '.join(self.layers)}")
        return name

    def forward(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Features of an image at the layers asked for; nothing deeper than the deepest is computed.

        Args:
            image: ``(B, 3, H, W)``, RGB in [0, 1].
            layers: layer names (a dict of targets will do: its keys count).

        Returns:
            ``{layer: (B, C, H / stride, W / stride)}`` under the names and in the order asked for.

        Raises:
            ValueError: for an unknown layer, or an image too small for the deepest layer.
        """
        names = {layer: self.canonical(layer) for layer in layers}
        if not names:
            return {}
        depth = 1 + max(self.layers.index(name) for name in names.values())
        deepest = self.layers[depth - 1]
        height, width = image.shape[-2:]
        if min(height, width) < self.stride[deepest]:
            raise ValueError(
                f"an image of {width}x{height} pixels is too small for {deepest}; "
                f"its shorter side must be at least {self.stride[deepest]}"
            )
        x = preprocess(image.to(self.device), self.convention)
        features: dict[str, Tensor] = {}
        with self.arithmetic():
            for _, block in groupby(self.layers[:depth], key=block_number):
                run = partial(self.run_layers, list(block), set(names.values()))
                # A large image's activations are computed again on the way back rather than kept.
                recompute = x.requires_grad and height * width > RECOMPUTED_FROM
                x, found = checkpoint(run, x, use_reentrant=False) if recompute else run(x)
                features |= found
        return {layer: features[name] for layer, name in names.items()}

    def run_layers(self, layers: Iterable[str], wanted: Collection[str], x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Send activations through some layers: what comes out, and the features of those wanted."""
        features: dict[str, Tensor] = {}
        for layer in layers:
            x = self.get_submodule(layer)(x)
            if layer in wanted:
                features[layer] = x.float()
        return x, features

    def arithmetic(self) -> AbstractContextManager[object]:
        """The context in which activations have the network's precision."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.uses_bfloat16() else nullcontext()

    def uses_bfloat16(self) -> bool:
        """Whether activations are bfloat16, two bytes a value, and not float32."""
        return self.precision == "bfloat16" or (self.precision == "auto" and multiplies_bfloat16(self.device))


def block_number(layer: str) -> int:
    """``relu4_2`` is in block 4, and so are ``pool4`` and ``conv4_2.weight``."""
    return int(re.findall(r"\d+", layer)[0])


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware has instructions for bfloat16; elsewhere it would be slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch cannot say
    return device.type == "cpu" and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def load_backbone(
    name: str | os.PathLike[str] | None = None,
    *,
    pooling: str = "avg",
    padding: Padding = "zeros",
    convention: str = "torchvision",
    device: str | torch.device | None = None,
    precision: Precision = "auto",
) -> Backbone:
    """Load a frozen network.

    Args:
        name: ``"compact"`` (shipped with the package), ``"vgg16"`` or ``"vgg19"`` (torchvision's ImageNet
            weights, downloaded once, about 550 MB), or the path of a checkpoint (torchvision's ``.pth``, whole
            or features only, or ``.safetensors``). Without a name, the environment variable
            ``NST_LESSONS_BACKBONE`` decides, else ``"compact"``.
        pooling: ``"avg"`` or ``"max"``.
        padding: ``"zeros"``, ``"replicate"``, ``"reflect"`` or ``"circular"``.
        convention: ``"torchvision"`` or ``"caffe"``: the pixels that a checkpoint was trained on.
        device: where to put it; by default a GPU where there is one.
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
    backbone.load_state_dict(weights)
    backbone.requires_grad_(False).eval()
    # Channels last is how the processor's convolutions like it: the same features in about half the time.
    return backbone.to(memory_format=torch.channels_last).to(device or default_device())


def default_backbone() -> str:
    """The network that the environment variable ``NST_LESSONS_BACKBONE`` names, else ``"compact"``."""
    return os.environ.get(BACKBONE_VARIABLE) or "compact"


def default_device() -> torch.device:
    """A CUDA GPU, else an Apple GPU, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def architecture(weights: Mapping[str, Tensor]) -> list[list[int]]:
    """The blocks of the VGG whose weights are ``{"conv1_1.weight": ..., "conv1_1.bias": ..., ...}``, in this order."""
    kernels = (key for key in weights if key.endswith("weight"))
    return [[len(weights[key]) for key in block] for _, block in groupby(kernels, key=block_number)]


def name_convolutions(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Give a checkpoint's convolutions the literature's names, in order, and leave the classifier behind.

    torchvision counts modules: ``features.0.weight`` is ``conv1_1.weight``. Convolution and ReLU take two
    numbers, so a larger gap is a pooling layer, where the next block begins.

    Raises:
        WeightsError: when the checkpoint is not a plain VGG.
    """
    named = {key: tensor for key, tensor in state.items() if re.fullmatch(r"conv\d+_\d+\.(weight|bias)", key)}
    if not named:
        numbers = {key: int(match[1]) for key in state if (match := re.fullmatch(r"(?:features\.)?(\d+)\..*", key))}
        block, i, previous = 1, 0, -2
        for number in sorted(set(numbers.values())):
            block, i, previous = (block, i + 1, number) if number - previous == 2 else (block + 1, 1, number)
            parts = (key for key in numbers if numbers[key] == number)
            named |= {f"conv{block}_{i}.{key.rpartition('.')[2]}": state[key] for key in parts}
    weights = {key: named[key].float() for key in sorted(named, key=position_in_vgg)}
    check_is_vgg(weights, source)
    return weights


def position_in_vgg(key: str) -> tuple[int, ...]:
    """Sort ``conv2_1.weight`` after ``conv1_10.bias``, and a layer's weight before its bias."""
    return *map(int, re.findall(r"\d+", key)), key.endswith("bias")


def check_is_vgg(weights: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that do not chain into blocks of 3x3 convolutions from RGB.

    Raises:
        WeightsError: saying which tensor does not fit.
    """
    remedy = "a checkpoint of torchvision's vgg11, vgg13, vgg16 or vgg19 (without batch norm) would do"
    if not weights:
        raise WeightsError(f"{source} holds no VGG convolutions; {remedy}")
    for key, tensor in weights.items():
        if key.endswith("weight") and not (tensor.ndim and tensor.numel()):
            raise WeightsError(f"{source}: {key} has shape {tuple(tensor.shape)}, no channels; {remedy}")
    expected = Backbone(architecture(weights)).state_dict()
    if odd := sorted(expected.keys() ^ weights.keys()):
        raise WeightsError(f"{source} is not a plain VGG (see {', '.join(odd)}); {remedy}")
    for key, tensor in weights.items():
        if tensor.shape != expected[key].shape:
            raise WeightsError(
                f"{source}: {key} has shape {tuple(tensor.shape)}, expected {tuple(expected[key].shape)}; {remedy}"
            )


def read_weights(name: str) -> dict[str, Tensor]:
    """The state dict behind a network's name or path, as it was saved; no code in the file is run.

    Raises:
        WeightsError: when there is no such network, or its file cannot be read or downloaded.
    """
    if name in DOWNLOADS:
        return fetch_weights(name)
    path = weights_file(name)
    if path.suffix or path.exists():
        return read_checkpoint(path)
    raise WeightsError(f"unknown network {name!r}; choose compact, {', '.join(DOWNLOADS)} or the path of a checkpoint")


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read a ``.safetensors`` or torch checkpoint onto the processor; tensors only, never code.

    Raises:
        WeightsError: when the file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise WeightsError(f"no checkpoint at {path}; give an existing .pth or .safetensors file")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file can make the readers stumble in any way
        raise WeightsError(
            f"{path} is damaged or no checkpoint ({type(error).__name__}); delete it and fetch or copy it anew"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise WeightsError(f"{path} holds no state dict; save one with torch.save(model.state_dict(), path)")
    return state


def weights_file(name: str) -> Path:
    """The file behind a network's name; anything but ``compact``, ``vgg16`` and ``vgg19`` is a path already."""
    if name in DOWNLOADS:
        return cached_weights(name)
    return Path(__file__).parent / "weights" / "compact.safetensors" if name == "compact" else Path(name)


def sha256(path: Path) -> str:
    """A file's SHA-256, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_hash(path: Path) -> None:
    """Hold a downloaded file to the beginning of its SHA-256, which its name gives: ``vgg16-397923af.pth``.

    Raises:
        WeightsError: naming the file to delete.
    """
    expected, found = path.stem.rpartition("-")[2], sha256(path)
    if not found.startswith(expected):
        raise WeightsError(
            f"{path} is damaged: its SHA-256 begins {found[:8]}, not {expected}; delete it and try again"
        )


def cached_weights(name: str) -> Path:
    """Where torch keeps (or would keep) the downloaded weights of ``vgg16`` or ``vgg19``."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(DOWNLOADS[name].url).name


def fetch_weights(name: str) -> dict[str, Tensor]:
    """Read torchvision's weights from torch's cache, downloading them first where needed (hash checked).

    Raises:
        WeightsError: when the download fails or the cached file is damaged.
    """
    path = cached_weights(name)
    if path.exists():
        return read_checkpoint(path)
    print(f"downloading {name} (about {DOWNLOAD_MEGABYTES} MB, once) to {path}")
    try:
        with socket_timeout(SOCKET_TIMEOUT_SECONDS):
            return DOWNLOADS[name].get_state_dict(progress=True, check_hash=True, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError) as error:
        # Only the reason, not the traceback: a classroom without internet is no defect of the program.
        raise WeightsError(
            f"could not download the weights of {name} ({error}). Use the network that is shipped with the package, "
            f'load_backbone("compact"); or run `nst-lessons fetch {name}` where there is internet and copy the file '
            f"to {path}; or give the path of a local checkpoint"
        ) from None


@contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """Bound every network wait; torch's downloader sets no limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
