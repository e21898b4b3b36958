"""How the compact backbone was trained: knowledge distillation from a VGG's features.

    python tools/distil.py --images DIR --teacher vgg16 --out compact.safetensors

The student has VGG16's thirteen convolutions and their names, with far fewer channels. For each ReLU layer a linear
map, thrown away afterwards, takes the student's features to the teacher's; what is minimised is

    sum over layers l of  |map_l(student_l(x)) - teacher_l(x)|^2 / |teacher_l(x)|^2

with less weight for the last two layers, and, because it is for style transfer, the same for the Gram matrices of the
first ReLU layer of each block. It is after Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network"
(2015), and Romero et al., "FitNets" (2015). Two things are ours. The student does not start at random: each layer
keeps the teacher's channels that explain most of its features (QR with pivoting) and is fitted to them by least
squares, after He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks" (2017). And part of each
batch are canvases: images that are being optimised with the student itself, because an optimisation walks to where a
network was never trained. Some of their paintings are dead leaves, discs that hide one another: flat colours and hard
edges, as a painter's, which photographs lack (Lee, Mumford and Huang, "Occlusion Models for Natural Images", 2001).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import scipy.linalg
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm, trange

from muon import Muon
from nst_lessons.console import forgiving_output
from nst_lessons.files import whole_file
from nst_lessons.images import preprocess
from nst_lessons.losses import gram_matrix, relative_error
from nst_lessons.network import Backbone
from nst_lessons.weight_files import load_backbone
from training_images import Canvases, augment, half_precision, random_crops, read_photos

BLOCKS = ((24, 48), (64, 96), (128, 128, 160), (320, 256, 320), (256, 192, 128))
HELD_OUT_EVERY = 20
SAMPLED_POSITIONS = 1024  # of each image
LAYER_WEIGHTS = {"relu5_2": 0.5, "relu5_3": 0.25}  # the others' are 1
GRAM_WEIGHT = 1.0
CANVAS_GROUPS = 3  # taking turns, so that successive steps see different pictures
SAVE_EVERY = 50
WARM_UP = 40

Maps = nn.ModuleDict


def shared_layers(student: Backbone, teacher: Backbone) -> list[str]:
    """The ReLU layers that both have."""
    return [layer for layer in student.layers if layer.startswith("relu") and layer in teacher.layers]


def as_rows(features: Tensor) -> Tensor:
    """``(B, C, H, W)`` to ``(B * H * W, C)``: a row a position."""
    return features.permute(0, 2, 3, 1).flatten(0, 2)


def least_squares(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Weights ``(D, C)`` and bias ``(D,)`` that take inputs ``(N, C)`` to targets ``(N, D)`` with least error."""
    design = F.pad(inputs.double(), (0, 1), value=1.0)
    normal = design.mT @ design
    normal.diagonal().add_(1e-6 * normal.diagonal().mean())
    solution = torch.linalg.solve(normal, design.mT @ targets.double()).float()
    return solution[:-1].mT.contiguous(), solution[-1].contiguous()


def telling_channels(features: Tensor, count: int) -> list[int]:
    """The channels of ``(N, C)`` that, greedily, explain most of all of them: QR with column pivoting."""
    _, order = scipy.linalg.qr(features.numpy(), mode="r", pivoting=True)
    return sorted(order[:count].tolist())


@torch.no_grad()
def start_from_teacher(student: Backbone, teacher: Backbone, images: Tensor) -> None:
    """Fit each of the student's convolutions, in closed form, to the teacher's most telling channels.

    Raises:
        ValueError: where the student is wider than the teacher.
    """
    for layer, channels in student.channels.items():
        if channels > teacher.channels[layer]:
            raise ValueError(
                f"{layer} of the student has {channels} channels, of its start only {teacher.channels[layer]}"
            )
    inputs_of = dict(zip(student.layers, ("", *student.layers), strict=False))
    for conv in tqdm([layer for layer in student.layers if layer.startswith("conv")], desc="closed form"):
        previous = inputs_of[conv]
        patches, responses = [], []
        for batch in images.split(16):
            inputs = student(batch, [previous])[previous] if previous else preprocess(batch)
            response = teacher(batch, [conv])[conv]
            height, width = response.shape[-2:]
            rows, columns = torch.randint(height, (64,)), torch.randint(width, (64,))
            windows = F.pad(inputs, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1)  # (B, C, H, W, 3, 3), a view
            patches.append(windows[:, :, rows, columns].transpose(1, 2).flatten(0, 1).flatten(1))
            responses.append(response[:, :, rows, columns].mT.flatten(0, 1))
        targets = torch.cat(responses)
        kept = telling_channels(targets.relu(), student.channels[conv])
        module = cast(nn.Conv2d, student.get_submodule(conv))
        weight, bias = least_squares(torch.cat(patches), targets[:, kept])
        module.load_state_dict({"weight": weight.view_as(module.weight), "bias": bias})


@torch.no_grad()
def normalise_activations(student: Backbone, images: Tensor) -> None:
    """Scale the layers so that each ReLU layer has a mean activation of 1 on these images.

    A ReLU network allows it: ``relu(s x) = s relu(x)`` for s > 0, and the next layer divides by s.
    """
    before = 1.0
    for conv in (layer for layer in student.layers if layer.startswith("conv")):
        module, relu = cast(nn.Conv2d, student.get_submodule(conv)), conv.replace("conv", "relu")
        module.weight.div_(before)
        before = float(student(images, [relu])[relu].mean().reciprocal())
        for parameter in module.parameters():
            parameter.mul_(before)


def untrained_maps(student: Backbone, teacher: Backbone) -> Maps:
    """A linear map, channels to channels, for each layer that both have."""
    layers = shared_layers(student, teacher)
    return nn.ModuleDict({layer: nn.Linear(student.channels[layer], teacher.channels[layer]) for layer in layers})


@torch.no_grad()
def fit_maps(student: Backbone, teacher: Backbone, images: Tensor) -> Maps:
    """The linear maps from the student's features to the teacher's, in closed form."""
    layers = shared_layers(student, teacher)
    features: dict[str, tuple[list[Tensor], list[Tensor]]] = {layer: ([], []) for layer in layers}
    for batch in images.split(8):
        pairs = student(batch, layers), teacher(batch, layers)
        for layer, (inputs, targets) in features.items():
            rows = torch.randperm(pairs[0][layer][:, 0].numel())[:2048]
            inputs.append(as_rows(pairs[0][layer])[rows])
            targets.append(as_rows(pairs[1][layer])[rows])
    maps = untrained_maps(student, teacher)
    for layer, (inputs, targets) in features.items():
        weight, bias = least_squares(torch.cat(inputs), torch.cat(targets))
        maps[layer].load_state_dict({"weight": weight, "bias": bias})
    return maps


def paired_features(
    maps: Maps, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], positions: int | None = None
) -> dict[str, tuple[Tensor, Tensor]]:
    """The mapped student's and the teacher's features, ``(B, C, P)``, at all positions or at a random choice."""
    pairs = {}
    for layer, linear in maps.items():
        inputs, targets = student[layer].flatten(2), teacher[layer].flatten(2)
        if positions and inputs.shape[2] > positions:
            chosen = torch.randint(inputs.shape[2], (positions,))
            inputs, targets = inputs[:, :, chosen], targets[:, :, chosen]
        pairs[layer] = linear(inputs.float().mT).mT, targets.float()
    return pairs


def relative_errors(pairs: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """``|map(s) - t|^2 / |t|^2`` of each layer."""
    return {layer: relative_error(mapped, target) for layer, (mapped, target) in pairs.items()}


def gram_errors(pairs: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """The relative errors of the Gram matrices of each block's first ReLU layer."""
    return {
        layer: relative_error(gram_matrix(mapped[..., None]), gram_matrix(target[..., None]))
        for layer, (mapped, target) in pairs.items()
        if layer.endswith("_1")
    }


def distillation_loss(student: Backbone, teacher: Backbone, maps: Maps, images: Tensor) -> Tensor:
    """What is minimised, as the module's docstring has it."""
    with half_precision():
        with torch.no_grad():
            targets = teacher(images, maps)
        features = student(images, maps)
    pairs = paired_features(maps, features, targets, SAMPLED_POSITIONS)
    errors, of_grams = relative_errors(pairs), gram_errors(pairs)
    loss = sum((LAYER_WEIGHTS.get(layer, 1.0) * error for layer, error in errors.items()), torch.tensor(0.0))
    return loss + GRAM_WEIGHT * torch.stack([*of_grams.values()]).sum()


@torch.no_grad()
def held_out_errors(student: Backbone, teacher: Backbone, maps: Maps, images: Tensor) -> dict[str, float]:
    """Relative squared error of each layer over images that took no part in the training."""
    batches = images.split(8)
    sums = dict.fromkeys(maps, 0.0)
    for batch in batches:
        errors = relative_errors(paired_features(maps, student(batch, maps), teacher(batch, maps)))
        sums = {layer: sums[layer] + float(error) / len(batches) for layer, error in errors.items()}
    return sums


def start_in_closed_form(
    student: Backbone, teacher: Backbone, start: Backbone, photos: list[Tensor], generator: torch.Generator
) -> Maps:
    """Fit the student to the start, scale it, and fit the maps that take it to the teacher."""
    images = random_crops(photos, 384, generator)
    images[::2] = augment(images[::2], generator)
    start_from_teacher(student, start, images)
    normalise_activations(student, images)
    return fit_maps(student, teacher, images)


def training_state(out: Path) -> Path:
    """Where an interrupted training keeps what it needs to go on."""
    return out.with_suffix(".training")


def save_state(path: Path, step: int, student: nn.Module, maps: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Keep what a training needs to go on, in place of what was kept before."""
    state = {"student": student.state_dict(), "maps": maps.state_dict(), "optimizer": optimizer.state_dict()}
    with whole_file(path) as file:
        torch.save(state | {"step": step}, file)


def distil(
    student: Backbone,
    teacher: Backbone,
    photos: list[Tensor],
    *,
    out: Path,
    steps: int = 9000,
    batch: int = 3,
    canvases: int = 3,
    learning_rate: float = 5e-3,
    seed: int = 0,
    start: Backbone | None = None,
) -> Maps:
    """Train the student; an interrupted run goes on from ``out``'s training state.

    Args:
        student: a `Backbone` with the teacher's layer names; its weights are changed.
        teacher: a frozen `Backbone`, scaled as `normalise_activations` does it; otherwise the maps, whose weights
            must be as large as its features, learn next to nothing.
        photos: ``(3, H, W)`` uint8, as `read_photos` gives them.
        out: the weights' path; the training state lies beside it.
        steps: of Muon, whose learning rate rises for a while, not to spoil the start, then falls linearly to zero.
        batch, canvases: photos and canvases a step.
        start: what the closed form fits the student to instead of the teacher, such as a wider student trained before.

    Returns:
        The linear maps from student to teacher.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    state_path = training_state(out)
    saved = torch.load(state_path, weights_only=True) if state_path.exists() else None
    if saved is None:
        maps = start_in_closed_form(student, teacher, start or teacher, photos, generator)
    else:
        maps = untrained_maps(student, teacher)
        student.load_state_dict(saved["student"])
        maps.load_state_dict(saved["maps"])
        generator.manual_seed(seed + saved["step"])
    optimizer = Muon([*student.parameters(), *maps.parameters()], lr=learning_rate)
    if saved is not None:
        optimizer.load_state_dict(saved["optimizer"])
    student.to(memory_format=torch.channels_last)
    groups = [Canvases(photos, canvases, generator) for _ in range(CANVAS_GROUPS)]
    done = saved["step"] if saved else 0
    progress = trange(done, steps, initial=done, total=steps)
    for step in progress:
        optimizer.param_groups[0]["lr"] = learning_rate * min(1 - step / steps, (step + 1) / WARM_UP)
        walked = groups[step % CANVAS_GROUPS].step(student)
        images = torch.cat([augment(random_crops(photos, batch, generator), generator), walked])
        loss = distillation_loss(student, teacher, maps, images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress.set_postfix(loss=f"{float(loss.detach()):.3f}")
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            save_state(state_path, step + 1, student, maps, optimizer)
    return maps


def save_weights(student: Backbone, path: Path) -> None:
    """Write the weights as float16, half the size; their rounding is far below the distillation's error."""
    weights = {key: tensor.half().contiguous() for key, tensor in student.state_dict().items()}
    with whole_file(path) as file:
        file.write_bytes(save(weights))


@forgiving_output()
def main() -> None:
    """Train on a folder of images and print the held-out error of each layer."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--images", type=Path, required=True, help="a folder of photos (and paintings)")
    parser.add_argument("--teacher", default="vgg16", help="vgg16, vgg19 or the path of a checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="where to write the .safetensors")
    parser.add_argument("--steps", type=int, default=9000, help="of Muon (default: %(default)s)")
    parser.add_argument(
        "--start", type=Path, help="begin as this network, as far as the widths allow, not as the teacher"
    )
    args = parser.parse_args()
    photos = read_photos(args.images)
    held_out = photos[::HELD_OUT_EVERY]
    training = [photo for n, photo in enumerate(photos) if n % HELD_OUT_EVERY]
    print(f"{len(training)} images to train on, {len(held_out)} held out")
    teacher = load_backbone(args.teacher)
    student = Backbone(BLOCKS).to(teacher.device)
    start = load_backbone(args.start) if args.start else None
    normalise_activations(teacher, random_crops(training, 64, torch.Generator().manual_seed(2)))
    maps = distil(student, teacher, training, out=args.out, steps=args.steps, start=start)
    evaluation = random_crops(held_out, 4 * len(held_out), torch.Generator().manual_seed(1))
    for layer, error in held_out_errors(student, teacher, maps, evaluation).items():
        print(f"{layer}  {error:.3f}")
    normalise_activations(student, random_crops(training, 64, torch.Generator().manual_seed(2)))
    save_weights(student, args.out)
    training_state(args.out).unlink()
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
