"""How the compact backbone was trained: knowledge distillation from a VGG's features.

    python -m nst_lessons.distillation --images DIR --teacher vgg16 --out compact.safetensors

The student has VGG16's thirteen convolutions and their names, with far fewer channels. For each ReLU layer a linear
map, thrown away afterwards, takes the student's features to the teacher's; what is minimised is

    sum over layers l of  |map_l(student_l(x)) - teacher_l(x)|^2 / |teacher_l(x)|^2

and, because it is for style transfer, the same for the Gram matrices of the first ReLU layer of each block. This is
after Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), and Romero et al., "FitNets"
(2015). Two things are ours. The student does not start at random: each layer keeps the teacher's channels that
explain most of its features (QR with pivoting) and is fitted to them by least squares, after He, Zhang and Sun,
"Channel Pruning for Accelerating Very Deep Neural Networks" (2017). And part of each batch are canvases: images that
are being optimised with the student itself, because an optimisation walks to where a network was never trained. Some
of their paintings are dead leaves, discs that hide one another: flat colours and hard edges, as a painter's, which
photographs lack (Lee, Mumford and Huang, "Occlusion Models for Natural Images", 2001).
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

from nst_lessons.files import whole_file
from nst_lessons.images import ImageError, load_image, preprocess
from nst_lessons.losses import content_loss, gram_matrix, relative_error, style_loss
from nst_lessons.network import Backbone
from nst_lessons.weight_files import load_backbone

BLOCKS = ((16, 32), (64, 64), (80, 80, 80), (128, 128, 128), (128, 128, 128))
PHOTO_SIZE = 256
CROP = 128
HELD_OUT_EVERY = 20
SAMPLED_POSITIONS = 1024  # of each image
GRAM_WEIGHT = 1.0
CANVAS_LIFE = 120
LEAVES = 300
SAVE_EVERY = 200
WARM_UP = 300

Maps = nn.ModuleDict


def read_photos(folder: Path) -> list[Tensor]:
    """All images below a folder, ``(3, H, W)`` uint8 with a longer side of 256; unreadable ones are left out.

    Raises:
        SystemExit: when fewer than two dozen images are large enough to crop.
    """
    photos = []
    for path in sorted(folder.rglob("*")):
        try:
            photo = load_image(path, size=PHOTO_SIZE) if path.is_file() else torch.empty(1, 3, 0, 0)
        except ImageError:
            continue
        if min(photo.shape[-2:]) >= CROP:
            photos.append((photo[0] * 255).round().byte())
    if len(photos) < 24:
        raise SystemExit(f"{folder} has {len(photos)} usable images; some hundreds of photos are wanted")
    return photos


def random_crop(photos: list[Tensor], generator: torch.Generator) -> Tensor:
    """One crop, mirrored half of the time, ``(3, CROP, CROP)`` in [0, 1]."""

    def draw(end: int) -> int:
        return int(torch.randint(end, (), generator=generator))

    photo = photos[draw(len(photos))]
    top, left = draw(photo.shape[1] - CROP + 1), draw(photo.shape[2] - CROP + 1)
    crop = photo[:, top : top + CROP, left : left + CROP].float() / 255
    return crop.flip(-1) if draw(2) else crop


def random_crops(photos: list[Tensor], count: int, generator: torch.Generator) -> Tensor:
    """``(count, 3, CROP, CROP)`` in [0, 1]."""
    return torch.stack([random_crop(photos, generator) for _ in range(count)])


def dead_leaves(generator: torch.Generator) -> Tensor:
    """Discs of random colours and sizes, each upon the ones before; ``(3, CROP, CROP)`` in [0, 1]."""
    grid = torch.arange(CROP)
    image = torch.zeros(3, CROP, CROP)
    largest = CROP * 0.5 ** (1 + 4 * torch.rand((), generator=generator))
    colours = torch.rand(int(torch.randint(2, 12, (), generator=generator)), 3, generator=generator)
    for _ in range(LEAVES):
        row, column, radius = torch.rand(3, generator=generator) * torch.tensor([CROP, CROP, 1.0])
        disc = (grid[:, None] - row) ** 2 + (grid - column) ** 2 < (largest * (0.2 + 0.8 * radius)) ** 2
        colour = colours[torch.randint(len(colours), (), generator=generator)]
        image = torch.where(disc, colour[:, None, None], image)
    return image


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mix pairs, turn colours and add noise: an optimisation passes through such images."""
    count = len(images)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    share = random(count, 1, 1, 1) * (random(count, 1, 1, 1) < 0.3) / 2
    images = torch.lerp(images, images.roll(1, 0), share)
    colours = torch.eye(3) + 0.4 * (random(count, 3, 3) - 0.5) * (random(count, 1, 1) < 0.5)
    images = torch.einsum("bdc,bchw->bdhw", colours, images - 0.5) + 0.5
    noise = torch.randn(images.shape, generator=generator) * 0.15 * random(count, 1, 1, 1) ** 2
    return (images + noise * (random(count, 1, 1, 1) < 0.5)).clamp(0, 1)


class Canvases:
    """Images on their way from a photo or from noise to another image's style, as the student sees it."""

    def __init__(self, photos: list[Tensor], count: int, generator: torch.Generator) -> None:
        self.photos, self.count, self.generator, self.age = photos, count, generator, 0
        self.restart()

    def restart(self) -> None:
        """Take new photos and paintings."""
        self.photo = random_crops(self.photos, self.count, self.generator)
        paintings = random_crops(self.photos, self.count, self.generator)
        paintings[::2] = torch.stack([dead_leaves(self.generator) for _ in paintings[::2]])
        self.painting = augment(paintings, self.generator)
        noise = 0.5 + 0.15 * torch.randn(self.photo.shape, generator=self.generator)
        from_noise = torch.rand(self.count, 1, 1, 1, generator=self.generator) < 0.3
        self.images = torch.where(from_noise, noise, self.photo).clamp(0, 1).requires_grad_()
        self.optimizer = torch.optim.Adam([self.images], lr=0.04)

    def step(self, student: Backbone) -> Tensor:
        """Walk one step and return the images, ``(count, 3, CROP, CROP)``."""
        if self.age % CANVAS_LIFE == CANVAS_LIFE - 1:
            self.restart()
        self.age += 1
        style_layers = student.layers_by_block("relu", 1)
        with torch.no_grad(), half_precision():
            grams = {layer: gram_matrix(f.float()) for layer, f in student(self.painting, style_layers).items()}
            content = {layer: f.float() for layer, f in student(self.photo, ["relu4_2"]).items()}
        with half_precision():
            features = student(self.images, [*content, *style_layers])
        features = {layer: f.float() for layer, f in features.items()}
        loss = content_loss(features, content) + style_loss(features, grams, weights=dict.fromkeys(grams, 3.0))
        (self.images.grad,) = torch.autograd.grad(loss, [self.images])
        self.optimizer.step()
        with torch.no_grad():
            return self.images.clamp_(0, 1).clone()


def half_precision() -> torch.autocast:
    """bfloat16 convolutions: the noise of rounding is far below that of a batch."""
    return torch.autocast("cuda" if torch.cuda.is_available() else "cpu", torch.bfloat16)


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


@torch.no_grad()
def fit_maps(student: Backbone, teacher: Backbone, images: Tensor) -> Maps:
    """The linear maps from the student's features to the teacher's, in closed form."""
    layers = shared_layers(student, teacher)
    maps = nn.ModuleDict()
    features: dict[str, tuple[list[Tensor], list[Tensor]]] = {layer: ([], []) for layer in layers}
    for batch in images.split(8):
        pairs = student(batch, layers), teacher(batch, layers)
        for layer, (inputs, targets) in features.items():
            rows = torch.randperm(pairs[0][layer][:, 0].numel())[:2048]
            inputs.append(as_rows(pairs[0][layer])[rows])
            targets.append(as_rows(pairs[1][layer])[rows])
    for layer, (inputs, targets) in features.items():
        maps[layer] = nn.Linear(student.channels[layer], teacher.channels[layer])
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


@torch.no_grad()
def held_out_errors(student: Backbone, teacher: Backbone, maps: Maps, images: Tensor) -> dict[str, float]:
    """Relative squared error of each layer over images that took no part in the training."""
    batches = images.split(8)
    sums = dict.fromkeys(maps, 0.0)
    for batch in batches:
        errors = relative_errors(paired_features(maps, student(batch, maps), teacher(batch, maps)))
        sums = {layer: sums[layer] + float(error) / len(batches) for layer, error in errors.items()}
    return sums


def training_state(out: Path) -> Path:
    """Where an interrupted training keeps what it needs to go on."""
    return out.with_suffix(".training")


def distil(
    student: Backbone,
    teacher: Backbone,
    photos: list[Tensor],
    *,
    out: Path,
    steps: int = 9000,
    batch: int = 4,
    canvases: int = 4,
    learning_rate: float = 5e-4,
    seed: int = 0,
    start: Backbone | None = None,
) -> Maps:
    """Train the student; an interrupted run goes on where ``out``'s training state was last saved.

    Args:
        student: a `Backbone` with the teacher's layer names; its weights are changed.
        teacher: a frozen `Backbone`.
        photos: ``(3, H, W)`` uint8, at least ``CROP`` a side.
        out: the weights' path; the training state lies beside it.
        steps: of Adam, whose learning rate rises for a while, not to spoil the start, then falls linearly to zero.
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
        images = random_crops(photos, 384, generator)
        images[::2] = augment(images[::2], generator)
        start_from_teacher(student, start or teacher, images)
        normalise_activations(student, images)
        maps = fit_maps(student, teacher, images)
    else:
        maps = nn.ModuleDict(
            {
                layer: nn.Linear(student.channels[layer], teacher.channels[layer])
                for layer in shared_layers(student, teacher)
            }
        )
        student.load_state_dict(saved["student"])
        maps.load_state_dict(saved["maps"])
        generator.manual_seed(seed + saved["step"])
    optimizer = torch.optim.Adam([*student.parameters(), *maps.parameters()], lr=learning_rate)
    if saved is not None:
        optimizer.load_state_dict(saved["optimizer"])
    student.to(memory_format=torch.channels_last)
    walking = Canvases(photos, canvases, generator)
    progress = trange(saved["step"] if saved else 0, steps, initial=saved["step"] if saved else 0, total=steps)
    for step in progress:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1 - step / steps, (step + 1) / WARM_UP)
        images = torch.cat([augment(random_crops(photos, batch, generator), generator), walking.step(student)])
        with half_precision():
            with torch.no_grad():
                targets = teacher(images, maps)
            features = student(images, maps)
        pairs = paired_features(maps, features, targets, SAMPLED_POSITIONS)
        errors, of_grams = relative_errors(pairs), gram_errors(pairs)
        loss = torch.stack([*errors.values()]).sum() + GRAM_WEIGHT * torch.stack([*of_grams.values()]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress.set_postfix(
            {layer: f"{float(error.detach()):.3f}" for layer, error in errors.items() if layer[-2:] == "_1"}
        )
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            state = {
                "student": student.state_dict(),
                "maps": maps.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step + 1,
            }
            with whole_file(state_path) as file:
                torch.save(state, file)
    return maps


def save_weights(student: Backbone, path: Path) -> None:
    """Write the weights as float16, half the size; their rounding is far below the distillation's error."""
    weights = {key: tensor.half().contiguous() for key, tensor in student.state_dict().items()}
    with whole_file(path) as file:
        file.write_bytes(save(weights))


def main() -> None:
    """Train on a folder of images and print the held-out error of each layer."""
    parser = argparse.ArgumentParser(prog="python -m nst_lessons.distillation", description=main.__doc__)
    parser.add_argument("--images", type=Path, required=True, help="a folder of photos (and paintings)")
    parser.add_argument("--teacher", default="vgg16", help="vgg16, vgg19 or the path of a checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="where to write the .safetensors")
    parser.add_argument("--steps", type=int, default=9000, help="of Adam (default: %(default)s)")
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
