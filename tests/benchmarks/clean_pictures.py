"""What keeps pictures clean? Padding, pooling, total variation, octaves and Fourier coordinates, measured in one run.

    python tests/benchmarks/clean_pictures.py [--judge vgg16] [--picture .github/clean_pictures.jpg]

Every figure is a mean over two pictures of 192 pixels, from 60 steps of L-BFGS. With ``--judge`` a full-size network
also measures the style of the transfers. With ``--picture`` the picture before and after is written. About 12 minutes.

- *crackle*: power above 0.4 cycles per pixel, near the checkerboard's 0.5, by that of the photo or painting; from 1 on
  there is more of it than there should be.
- *rim*: squared differences of neighbouring pixels in the outer 3 pixels by those inside, by the photo's own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import product
from typing import Any

import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from nst_lessons import (
    FOURIER,
    PIXELS,
    Backbone,
    Result,
    gram_matrix,
    load_backbone,
    load_image,
    reconstruct_content,
    reconstruct_style,
    resize,
    sample,
    style_loss,
    style_transfer,
    total_variation,
)
from nst_lessons.figures import INK, LABEL_SIZE, finish, grid
from nst_lessons.image_files import to_pil
from nst_lessons.losses import TV
from nst_lessons.network import Padding
from nst_lessons.reconstruct import start_image
from nst_lessons.visualize import maximise_activation

SIZE, STEPS, OCTAVES = 192, 60, 3
PAIRS = (("astronaut", "night_swirls"), ("coffee", "woodblock_wave"))
STYLE = dict(zip(("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"), (0.4, 0.3, 0.2, 0.08, 0.02), strict=True))
CONTENT = ("relu3_1", "relu4_2")
DEPTHS = ("relu3_2", "relu4_2", "relu5_2")
CHANNELS = (("conv3_2", 5), ("conv4_2", 3), ("conv4_2", 20), ("conv5_2", 7))
CLOSE_UP = (..., slice(20, 116), slice(40, 136))
QUIET: dict[str, Any] = {"steps": STEPS, "progress": False}


def crackle(image: Tensor, like: Tensor) -> float:
    """Power near the checkerboard's frequencies, relative to another picture's."""
    return high_power(image) / high_power(like)


def high_power(image: Tensor) -> float:
    """Mean squared size of what is above 0.4 cycles per pixel, down or across; a window hides the borders."""
    height, width = image.shape[-2:]
    window = torch.hann_window(height)[:, None] * torch.hann_window(width)
    spectrum = torch.fft.rfft2((image - image.mean((2, 3), keepdim=True)) * window, norm="ortho")
    high = (torch.fft.fftfreq(height).abs()[:, None] > 0.4) | (torch.fft.rfftfreq(width) > 0.4)
    return float(spectrum[..., high].abs().square().sum()) / (height * width)


def rim(image: Tensor, like: Tensor, width: int = 3) -> float:
    """How rough the outer pixels are, by those inside, relative to another picture's."""

    def ratio(image: Tensor) -> float:
        rough = image.diff(dim=2)[..., :-1].square() + image.diff(dim=3)[..., :-1, :].square()
        inside = torch.zeros(rough.shape[-2:], dtype=torch.bool)
        inside[width:-width, width:-width] = True
        return float(rough[..., ~inside].mean() / rough[..., inside].mean())

    return ratio(image) / ratio(like)


def ssim(image: Tensor, photo: Tensor) -> float:
    """Structural similarity with the photo: 1 is identical."""
    a, b = (x[0].permute(1, 2, 0).numpy() for x in (image, photo))
    return float(structural_similarity(a, b, data_range=1, channel_axis=2))


def table(title: str, columns: Iterable[str], rows: Iterable[tuple[str, Iterable[float]]]) -> None:
    """Print rows as they come, as a Markdown table."""
    heads = [title, *columns]
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    for name, values in rows:
        print(f"| {name} | {' | '.join('' if value != value else f'{value:.2g}' for value in values)} |", flush=True)


def mean(rows: Iterable[Iterable[float]]) -> list[float]:
    """The mean of each column."""
    means: list[float] = torch.tensor([list(row) for row in rows]).mean(0).tolist()
    return means


def pictures() -> list[tuple[Tensor, Tensor]]:
    """Photos and paintings; a painting at twice the size has strokes that can be seen."""
    return [(load_image(sample(photo), SIZE), load_image(sample(painting), 2 * SIZE)) for photo, painting in PAIRS]


def transfer(backbone: Backbone, photo: Tensor, painting: Tensor, tv: float = TV) -> Result:
    return style_transfer(backbone, photo, painting, content_layers=CONTENT, style_layers=STYLE, tv=tv, **QUIET)


@torch.no_grad()
def judged(judge: Backbone, image: Tensor, painting: Tensor) -> float:
    """Style loss as another network measures it, summed over five layers."""
    target = {layer: gram_matrix(maps) for layer, maps in judge(painting, STYLE).items()}
    return float(style_loss(judge(image, target), target, weights=dict.fromkeys(STYLE, 1.0)))


def compare_borders(name: str, judges: list[Backbone]) -> Iterator[tuple[str, list[float]]]:
    borders: list[tuple[Padding, str]] = [("zeros", "avg"), ("reflect", "avg"), ("replicate", "avg"), ("zeros", "max")]
    for padding, pooling in borders:
        backbone = load_backbone(name, padding=padding, pooling=pooling)
        rows = []
        for photo, painting in pictures():
            painted = transfer(backbone, photo, painting)
            found = [reconstruct_content(backbone, photo, layer, octaves=OCTAVES, **QUIET) for layer in DEPTHS[:2]]
            rims = [rim(painted.image, photo), *(rim(run.image, photo) for run in found)]
            losses = [run.losses["content"] for run in found]
            style = [judged(judge, painted.image, painting) for judge in judges]
            rows.append([*rims, crackle(painted.image, painting), *losses, *style])
        yield f"{padding}, {pooling}", mean(rows)


def compare_tv(backbone: Backbone) -> Iterator[tuple[str, list[float]]]:
    for tv in (0.0, 5.0, 15.0, 30.0, 60.0):
        rows = []
        for photo, painting in pictures():
            run = transfer(backbone, photo, painting, tv)
            rows.append([crackle(run.image, painting), run.losses["style"] / 25, run.losses["content"]])
        yield f"transfer, tv = {tv:g}", mean(rows)
    for tv in (0.0, 0.1, 1.0):
        rows = []
        for _, painting in pictures():
            small = resize(painting, SIZE)
            run = reconstruct_style(backbone, small, STYLE, tv=tv, **QUIET)
            rows.append([crackle(run.image, small), run.losses["style"], torch.nan])
        yield f"style, tv = {tv:g}", mean(rows)
    for tv in (0.0, 1.0, 10.0):
        rows = []
        for photo, _ in pictures():
            run = reconstruct_content(backbone, photo, "relu3_2", tv=tv, **QUIET)
            rows.append([crackle(run.image, photo), torch.nan, run.losses["content"]])
        yield f"content, tv = {tv:g}", mean(rows)


def compare_coordinates(backbone: Backbone) -> Iterator[tuple[str, list[float]]]:
    ways = list(product((PIXELS, FOURIER), (1, OCTAVES)))
    for layer, (coordinates, octaves) in product(DEPTHS, ways):
        rows = []
        for photo, _ in pictures():
            start = start_image("grey", photo)
            options = {"octaves": octaves, "coordinates": coordinates, **QUIET}
            run = reconstruct_content(backbone, photo, layer, start=start, **options)
            rows.append([run.losses["content"], ssim(run.image, photo), crackle(run.image, photo)])
        yield f"content {layer}, {coordinates.name}, {octaves} octave{'s' * (octaves > 1)}", mean(rows)
    for coordinates, octaves in ways:
        rows = []
        for _, painting in pictures():
            small = resize(painting, SIZE)
            start = start_image("grey", small)
            options = {"octaves": octaves, "coordinates": coordinates, "tv": 0.1, **QUIET}
            run = reconstruct_style(backbone, small, STYLE, start=start, **options)
            rows.append([run.losses["style"], torch.nan, crackle(run.image, small)])
        yield f"style, {coordinates.name}, {octaves} octave{'s' * (octaves > 1)}", mean(rows)


def compare_feature_visualization(backbone: Backbone) -> Iterator[tuple[str, list[float]]]:
    """Mean activation of four channels, and the total variation of the images."""
    for coordinates in (PIXELS, FOURIER):
        rows = []
        for layer, channel in CHANNELS:
            options = {"coordinates": coordinates, "progress": False}
            image = maximise_activation(backbone, layer, channel, size=96, **options).image
            rows.append([float(backbone(image, [layer])[layer][:, channel].mean()), float(total_variation(image))])
        yield coordinates.name, mean(rows)


def before_and_after(backbone: Backbone, path: str) -> None:
    """Three panels a row: what was given, before, after."""
    (astronaut, _), (coffee, wave) = pictures()
    small = resize(wave, SIZE)
    content = partial(reconstruct_content, backbone, astronaut, **QUIET)
    style = partial(reconstruct_style, backbone, small, STYLE, **QUIET)
    panels: list[tuple[str, Tensor]] = [
        ("transfer: the photo, enlarged", coffee[CLOSE_UP]),
        ("before: tv = 0", transfer(backbone, coffee, wave, 0.0).image[CLOSE_UP]),
        (f"after: tv = {TV:g}", transfer(backbone, coffee, wave).image[CLOSE_UP]),
        ("style: the painting", small),
        ("before: tv = 0", style().image),
        ("after: 3 octaves, tv = 0.1", style(octaves=OCTAVES, tv=0.1).image),
    ]
    for layer in DEPTHS[:2]:
        panels += [
            (f"content of {layer}: the photo", astronaut),
            ("before: tv = 0", content(layer=layer, tv=0.0).image),
            ("after: 3 octaves, tv = 1", content(layer=layer, octaves=OCTAVES).image),
        ]
    figure, axes = grid(len(panels), 3, 1.0)
    for ax, (label, image) in zip(axes, panels, strict=True):
        ax.imshow(to_pil(image), interpolation="nearest")
        ax.set_title(label, fontsize=LABEL_SIZE, color=INK)
    finish(
        figure, "Before and after", f"{SIZE} pixels, {STEPS} steps of L-BFGS an octave, from white noise or the photo."
    )
    figure.savefig(path, dpi=110, facecolor="white", pil_kwargs={"quality": 80, "optimize": True})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="compact")
    parser.add_argument("--judge", help="a full-size network that measures the transfers' style")
    parser.add_argument("--picture", help="where to write the picture before and after")
    args = parser.parse_args()
    backbone = load_backbone(args.backbone)
    if args.picture:
        before_and_after(backbone, args.picture)
    paddings: tuple[Padding, ...] = ("zeros", "replicate") if args.judge else ()
    judges = [load_backbone(args.judge, padding=padding) for padding in paddings]
    rims = ["rim, transfer", *(f"rim, {layer}" for layer in DEPTHS[:2])]
    losses = [f"content loss, {layer}" for layer in DEPTHS[:2]]
    heads = [*rims, "crackle, transfer", *losses, *(f"style, judge with {padding}" for padding in paddings)]
    table("padding, pooling", heads, compare_borders(args.backbone, judges))
    table("total variation", ["crackle", "style loss", "content loss"], compare_tv(backbone))
    table("reconstruction", ["loss", "SSIM", "crackle"], compare_coordinates(backbone))
    table("feature visualization", ["activation", "roughness"], compare_feature_visualization(backbone))


if __name__ == "__main__":
    main()
