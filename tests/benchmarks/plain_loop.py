"""The loop that every tutorial has, written out: what the speed benchmarks measure against.

float32 in the default layout, torchvision's VGG as a list of modules, torch's L-BFGS with pixels clamped inside the
closure as in PyTorch's own tutorial, from the photo. Two settings are to its advantage: a strong Wolfe line search,
because without one it now and then diverges, and the best image counts, not the last. The losses are this package's
relative ones, so that values compare; they are scaled, as tutorials do with a style weight of a million, because
L-BFGS' default tolerances would stop at once.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from nst_lessons.weight_files import default_device, read_weights

CONFIGURATIONS = {"vgg16": "D", "vgg19": "E"}
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
# The places of relu1_1 ... relu5_1 and of relu4_2 among torchvision's modules.
STYLE = {"vgg16": (1, 6, 11, 18, 25), "vgg19": (1, 6, 11, 20, 29)}
CONTENT = {"vgg16": 20, "vgg19": 22}
ALPHA, BETA, TV = 1.0, 25.0, 5.0  # style_transfer's defaults
LOSS_SCALE = 1e6


def plain_vgg(name: str) -> nn.Sequential:
    """torchvision's convolutional layers, frozen, with average pooling."""
    layers = make_layers(cfgs[CONFIGURATIONS[name]], batch_norm=False)
    state = {key.removeprefix("features."): tensor for key, tensor in read_weights(name).items() if "fea" in key}
    layers.load_state_dict(state)
    plain = [nn.AvgPool2d(2) if isinstance(layer, nn.MaxPool2d) else layer for layer in layers]
    plain = [nn.ReLU() if isinstance(layer, nn.ReLU) else layer for layer in plain]  # not in place
    return nn.Sequential(*plain).requires_grad_(False).eval().to(default_device())


def plain_features(vgg: nn.Sequential, name: str, image: Tensor) -> list[Tensor]:
    """The style layers' activations, then the content layer's."""
    x = (image - MEAN.to(image.device)[:, None, None]) / STD.to(image.device)[:, None, None]
    found = {}
    for n, layer in enumerate(vgg[: STYLE[name][-1] + 1]):
        x = layer(x)
        if n in (*STYLE[name], CONTENT[name]):
            found[n] = x
    return [found[n] for n in (*STYLE[name], CONTENT[name])]


def gram(maps: Tensor) -> Tensor:
    flat = maps.view(maps.shape[1], -1)
    return flat @ flat.t() / flat.shape[1]


def plain_loss(vgg: nn.Sequential, name: str, photo: Tensor, painting: Tensor) -> Callable[[Tensor], Tensor]:
    """The loss of an image: ``ALPHA content + BETA style + TV total variation``, relative."""
    with torch.no_grad():
        *maps, _ = plain_features(vgg, name, painting)
        style_targets = [gram(x) for x in maps]
        content_target = plain_features(vgg, name, photo)[-1]

    def loss_fn(image: Tensor) -> Tensor:
        *style_maps, content_map = plain_features(vgg, name, image)
        content = (content_map - content_target).square().sum() / content_target.square().sum()
        style = torch.zeros((), device=image.device)
        for x, target in zip(style_maps, style_targets, strict=True):
            style = style + (gram(x) - target).square().sum() / target.square().sum() / len(style_targets)
        tv = image.diff(dim=-2).square().mean() + image.diff(dim=-1).square().mean()
        return ALPHA * content + BETA * style + TV * tv

    return loss_fn


def plain_transfer(
    vgg: nn.Sequential, name: str, photo: Tensor, painting: Tensor, steps: int
) -> tuple[Tensor, list[float]]:
    """The best image of so many evaluations of the loss, and the seconds from the beginning to each."""
    began = time.perf_counter()
    photo, painting = photo.to(default_device()), painting.to(default_device())
    loss_fn = plain_loss(vgg, name, photo, painting)
    image = photo.clone().requires_grad_()
    best, best_loss = photo, float("inf")
    optimizer = torch.optim.LBFGS([image], line_search_fn="strong_wolfe")
    seconds: list[float] = []

    def closure() -> float:
        nonlocal best, best_loss
        with torch.no_grad():
            image.clamp_(0, 1)
        optimizer.zero_grad()
        loss = LOSS_SCALE * loss_fn(image)
        loss.backward()
        value = float(loss.detach())  # a GPU is waited for
        if len(seconds) < steps and value < best_loss:
            best, best_loss = image.detach().clone(), value
        seconds.append(time.perf_counter() - began)
        return value

    while len(seconds) < steps:  # the last line search may go beyond
        optimizer.step(closure)
    return best, seconds[:steps]


def machine() -> str:
    """Processor, cores, threads, torch, and the GPU where there is one: what a table's figures depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    processor = next(iter(models), platform.processor() or platform.machine())
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{processor}, cores: {psutil.cpu_count(logical=False) or os.cpu_count()}, threads: {torch.get_num_threads()}, "
        f"torch {torch.__version__}{gpu}"
    )


def row(*cells: object) -> None:
    """Print one row of a Markdown table."""
    print("|", " | ".join(map(str, cells)), "|", flush=True)
