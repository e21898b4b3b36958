"""What the compact backbone is trained on: crops of photos, and canvases on their way to another image's style."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from nst_lessons.image_files import load_image
from nst_lessons.images import ImageError, resize
from nst_lessons.losses import content_loss, gram_matrix, style_loss
from nst_lessons.network import Backbone

PHOTO_SIZE = 256
CROP = 160  # at 128, every position of block 5 sees the border
CANVAS_LIFE = 120
AIM_EVERY = 10
LEAVES = 300


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
    """One square of any size from CROP up, scaled to CROP and mirrored half of the time, ``(3, CROP, CROP)``."""

    def draw(end: int) -> int:
        return int(torch.randint(end, (), generator=generator))

    photo = photos[draw(len(photos))]
    side = CROP + draw(min(photo.shape[1:]) - CROP + 1)
    top, left = draw(photo.shape[1] - side + 1), draw(photo.shape[2] - side + 1)
    square = photo[None, :, top : top + side, left : left + side].float() / 255
    crop = resize(square, (CROP, CROP))[0]
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
        self.photos, self.count, self.generator = photos, count, generator
        self.restart()

    def restart(self) -> None:
        """Take new photos and paintings."""
        self.age = 0
        self.photo = random_crops(self.photos, self.count, self.generator)
        paintings = random_crops(self.photos, self.count, self.generator)
        paintings[::3] = torch.stack([dead_leaves(self.generator) for _ in paintings[::3]])
        self.painting = augment(paintings, self.generator)
        noise = 0.5 + 0.15 * torch.randn(self.photo.shape, generator=self.generator)
        from_noise = torch.rand(self.count, 1, 1, 1, generator=self.generator) < 0.3
        self.images = torch.where(from_noise, noise, self.photo).clamp(0, 1).requires_grad_()
        self.optimizer = torch.optim.Adam([self.images], lr=0.04)

    @torch.no_grad()
    def aim(self, student: Backbone) -> None:
        """Take the targets as the student sees them now."""
        with half_precision():
            styles = student(self.painting, student.layers_by_block("relu", 1))
            self.content = student(self.photo, ["relu4_2"])
        self.grams = {layer: gram_matrix(features) for layer, features in styles.items()}

    def step(self, student: Backbone) -> Tensor:
        """Walk one step and return the images, ``(count, 3, CROP, CROP)``."""
        if self.age == CANVAS_LIFE:
            self.restart()
        if self.age % AIM_EVERY == 0:  # the student changes, but slowly
            self.aim(student)
        self.age += 1
        with half_precision():
            features = student(self.images, [*self.content, *self.grams])
        style = style_loss(features, self.grams, weights=dict.fromkeys(self.grams, 3.0))
        loss = content_loss(features, self.content) + style
        (self.images.grad,) = torch.autograd.grad(loss, [self.images])
        self.optimizer.step()
        with torch.no_grad():
            return self.images.clamp_(0, 1).clone()


def half_precision() -> torch.autocast:
    """bfloat16 convolutions: the noise of rounding is far below that of a batch."""
    return torch.autocast("cuda" if torch.cuda.is_available() else "cpu", torch.bfloat16)
