"""The network: a VGG that turns an image into features, ``{layer name: (B, C, H, W)}``.

Layer names are the literature's: ``conv4_2`` is before the ReLU, ``relu4_2`` after it, ``pool4`` at the end of
block 4. Keras fuses the activation into its convolutions, so its ``block4_conv2`` is an alias of ``relu4_2``.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2015).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import groupby
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute_in_backward

from nst_lessons.checks import check_choice, shown
from nst_lessons.images import CONVENTIONS, check_images, preprocess
from nst_lessons.scaled_gradient import Pass

# Gatys et al. (2016), section 2, found that average pooling gives slightly more appealing results.
POOLING = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}
Padding = Literal["zeros", "reflect", "replicate", "circular"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
RECOMPUTED_FROM = 1024 * 1024  # pixels; a smaller image's activations fit into any laptop's memory


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
        blocks: the channels of each block's convolutions; VGG11 is ``[[64], [128], [256] * 2, [512] * 2, [512] * 2]``.
        pooling, padding, convention, precision: see `nst_lessons.load_backbone`. The features returned are float32
            whatever the precision.

    Attributes:
        channels: ``{layer: number of its channels}``.
        stride: ``{layer: pixels of the image from one of its positions to the next}``.
        receptive_field: ``{layer: side, in pixels, of the square of the image that one position depends on}``.

    Raises:
        ValueError: for an unknown pooling, padding, convention or precision.
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
        check_choice("pooling", pooling, POOLING)
        check_choice("padding", padding, get_args(Padding))
        check_choice("convention", convention, CONVENTIONS)
        check_choice("precision", precision, get_args(Precision))
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
        """All layer names, from the first to the last."""
        return tuple(self.channels)

    @property
    def device(self) -> torch.device:
        """The device of the weights; an image is moved there before the first layer."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights, which images must have, too."""
        return next(self.parameters()).dtype

    def layers_down_to(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """All layers from the first to the deepest of those wanted, under the literature's names."""
        return self.layers[: 1 + max(map(self.layers.index, wanted))]

    def layers_by_block(self, kind: str, i: int) -> list[str]:
        """The i-th layer of a kind in each block: ``("relu", 1) -> ["relu1_1", "relu2_1", ...]``."""
        return [layer for layer in self.layers if re.fullmatch(rf"{kind}\d+_{i}", layer)]

    def canonical(self, layer: str) -> str:
        """The literature's name of a layer: ``block4_conv2`` becomes ``relu4_2``; ValueError for an unknown one."""
        name = re.sub(r"^block(\d+)_conv(\d+)$", r"relu\1_\2", str(layer))
        name = re.sub(r"^block(\d+)_pool$", r"pool\1", name)
        if name not in self.channels:
            raise ValueError(f"unknown layer {shown(layer)}; choose from {', '.join(self.layers)}")
        return name

    def forward(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Features of an image at the requested layers; nothing beyond the deepest of them is computed.

        Args:
            image: ``(B, 3, H, W)``, RGB in [0, 1].
            layers: layer names, or a dict of targets whose keys they are.

        Returns:
            ``{layer: (B, C, H / stride, W / stride)}`` under the names and in the order requested.

        Raises:
            ImageError: for what is no image.
            ValueError: for an unknown layer, or an image too small for the deepest layer.
        """
        check_images(image, dtypes=(self.dtype,))  # its values may be wrong on purpose, as in lesson 1
        return self.features(preprocess(image.to(self.device), self.convention), layers)

    def features(self, x: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """The same of an image that is preprocessed already, and on the network's device."""
        if isinstance(layers, str):
            raise ValueError(f"layers must be a list of names; write [{layers!r}]")
        names = {layer: self.canonical(layer) for layer in layers}
        if not names:
            return {}
        computed = self.layers_down_to(names.values())
        height, width = x.shape[-2:]
        if min(height, width) < (smallest := self.stride[computed[-1]]):
            raise ValueError(
                f"an image of {width}x{height} pixels is too small for {computed[-1]}; "
                f"its shorter side must be at least {smallest}"
            )
        compute = partial(self.compute, set(names.values()))
        if (dtype := self.activation_dtype()) == torch.float16:
            features = Pass(compute, self.use_float32).features(x)
        else:
            features = compute(x, dtype)
        return {layer: features[name] for layer, name in names.items()}

    def compute(self, wanted: Collection[str], x: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
        """The features of the wanted layers, which are float32, with activations of a dtype."""
        features: dict[str, Tensor] = {}
        large = x[0, 0].numel() > RECOMPUTED_FROM
        with nullcontext() if dtype == torch.float32 else torch.autocast(self.device.type, dtype):
            for _, block in groupby(self.layers_down_to(wanted), key=block_number):
                run = partial(self.run_layers, list(block), wanted)
                if x.requires_grad and large:
                    # A large image's activations are computed again in the backward pass rather than kept.
                    x, found = recompute_in_backward(run, x, use_reentrant=False)
                else:
                    x, found = run(x)
                features |= found
        return features

    def run_layers(self, layers: Iterable[str], wanted: Collection[str], x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Run activations through some layers; the output, and the features of the wanted layers."""
        features: dict[str, Tensor] = {}
        for layer in layers:
            x = self.get_submodule(layer)(x)
            if layer in wanted:
                features[layer] = x.float()
        return x, features

    def activation_dtype(self) -> torch.dtype:
        """The dtype of activations inside the network."""
        dtype: torch.dtype = getattr(torch, self.precision, None) or fastest_dtype(self.device)
        return dtype

    def use_float32(self) -> None:
        """Give float16 up, and say so; it is not asked for again, so this is said once."""
        if self.precision != "float32":
            self.precision = "float32"
            warnings.warn("activations overflowed float16, so this network goes on in float32", stacklevel=2)


def check_network(network: object) -> None:
    """Raise TypeError for what is no `Backbone`."""
    if not isinstance(network, Backbone):
        raise TypeError(f"a Backbone is wanted, not {shown(network)}; load_backbone gives one of a name or a path")


def block_number(layer: str) -> int:
    """``relu4_2`` is in block 4, and so are ``pool4`` and ``conv4_2.weight``."""
    return int(re.findall(r"\d+", layer)[0])


def fastest_dtype(device: torch.device) -> torch.dtype:
    """The dtype of activations for which the hardware has the fastest instructions: bfloat16 if any."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch cannot say
    multiplies = device.type == "cpu" and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return torch.bfloat16 if multiplies else torch.float32
