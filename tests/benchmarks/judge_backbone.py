"""How good is a small network? Optimise with it, and let a full-size one judge the picture.

    TORCH_HOME=... python tests/benchmarks/judge_backbone.py [--student compact] [--judge vgg16] [--paintings DIR]

Transfers at 320 px, 150 L-BFGS steps from the photo, relative losses content : style = 1 : 3, style summed over
relu1_1 ... relu5_1, content at relu4_2. The package's photos take turns, with its paintings, or with those of a folder
and as many of the package's: paintings by other hands that took no part in the training, because the package's painters
may have painted for it. Printed for each pair: the losses as the
judge measures them, and how well things keep their place (SSIM of the luminance with the photo's, at a quarter of the
size); for the untouched photo (the start) and the judge's own optimisation too where ``--compare`` is given. Then, of
reconstructions of `astronaut` from noise (192 px, three octaves): the luminance's SSIM, and how far the mean colour is
off. The bars stand in the last lines.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from skimage.metrics import structural_similarity
from torch import Tensor

from nst_lessons import (
    PAINTINGS,
    PHOTOS,
    Backbone,
    content_loss,
    load_backbone,
    load_image,
    reconstruct_content,
    resize,
    sample,
    style_loss,
    style_transfer,
)
from nst_lessons.reconstruct import STYLE_LAYERS
from nst_lessons.styles import content_target, style_target
from nst_lessons.transfer import CONTENT_LAYERS

SIZE, STEPS = 320, 150
RECONSTRUCTED, RECONSTRUCTED_SIZE, OCTAVES = "astronaut", 192, 3
COLOUR_BARS = {"relu3_2": 0.03, "relu4_2": 0.05, "relu5_2": 0.08}
SIMILARITY_BARS = {"relu3_2": 0.75, "relu4_2": 0.24}
STYLE_BAR, CONTENT_BAR = 0.38, 0.82
STYLE_WEIGHTS = dict.fromkeys(STYLE_LAYERS, 1.0)


Picture = Image.Image | Path


def pairs(folder: Path | None) -> list[tuple[str, str, Picture]]:
    """A photo's name, a painting's name, and the painting: the package's, or as many of them as the folder has."""
    own: list[tuple[str, Picture]] = [(name, sample(name)) for name in PAINTINGS]
    others: list[tuple[str, Picture]] = [(path.stem, path) for path in sorted(folder.iterdir())] if folder else []
    paintings = own[: len(others) or None] + others
    return [(PHOTOS[n % len(PHOTOS)], *painting) for n, painting in enumerate(paintings)]


@torch.no_grad()
def judged(judge: Backbone, image: Tensor, photo: Tensor, painting: Tensor) -> tuple[float, float]:
    """Style and content loss of an image as the judge measures them."""
    features = judge(image, [*CONTENT_LAYERS, *STYLE_LAYERS])
    style = style_loss(features, style_target(judge, painting, STYLE_LAYERS), weights=STYLE_WEIGHTS)
    return float(style), float(content_loss(features, content_target(judge, photo, CONTENT_LAYERS)))


def transfer(backbone: Backbone, photo: Tensor, painting: Tensor) -> Tensor:
    """The benchmark's transfer with one backbone."""
    result = style_transfer(
        backbone, photo, painting, style_layers=STYLE_WEIGHTS, alpha=1.0, beta=3.0, tv=0.0, steps=STEPS, progress=False
    )
    return result.image


def similarity(image: Tensor, photo: Tensor) -> float:
    """SSIM of the luminance."""
    luminances = ((0.299 * x[0, 0] + 0.587 * x[0, 1] + 0.114 * x[0, 2]).numpy() for x in (image, photo))
    return float(structural_similarity(*luminances, data_range=1.0))


def kept_place(image: Tensor, photo: Tensor) -> float:
    """`similarity` at a quarter of the size, where brush strokes are gone."""
    height, width = photo.shape[-2:]
    return similarity(*(resize(x, (height // 4, width // 4)) for x in (image, photo)))


def reconstruction(backbone: Backbone, layer: str) -> tuple[float, float]:
    """A reconstruction's `similarity` to its photo, and how far its mean colour is off (the mean over RGB)."""
    photo = load_image(sample(RECONSTRUCTED), size=RECONSTRUCTED_SIZE)
    image = reconstruct_content(backbone, photo, layer, octaves=OCTAVES, steps=STEPS, progress=False).image
    return similarity(image, photo), float((image - photo).mean((2, 3)).abs().mean())


def report(style: float, content: float, place: float) -> str:
    """Three measures in words."""
    return f"style {style:7.3f}  content {content:.3f}  kept place {place:.3f}"


def judge_transfers(networks: Mapping[str, Backbone], judge: Backbone, folder: Path | None, compare: bool) -> None:
    """Print the table of transfers, pair by pair, and its means."""
    scores: dict[str, list[tuple[float, float, float]]] = {}
    for photo_name, painting_name, picture in pairs(folder):
        photo, painting = load_image(sample(photo_name), size=SIZE), load_image(picture, size=SIZE)
        images = {name: transfer(backbone, photo, painting) for name, backbone in networks.items()}
        for name, image in (images | ({"start": photo} if compare else {})).items():
            style, content = judged(judge, image, photo, painting)
            scores.setdefault(name, []).append((style, content, kept_place(image, photo)))
            print(f"{photo_name:10} {painting_name:15} {name:10} {report(*scores[name][-1])}", flush=True)
    for name, values in scores.items():
        print(f"{'mean':26} {name:10} {report(*torch.tensor(values).mean(0).tolist())}")
    print(f"{'wanted at most':37} style {STYLE_BAR:7.3f}  content {CONTENT_BAR:.3f}")


def judge_reconstructions(networks: Mapping[str, Backbone]) -> None:
    """Print how much of a photo the deep layers still know."""
    for layer, colour_bar in COLOUR_BARS.items():
        wanted = f"SSIM {SIMILARITY_BARS.get(layer, 0):.2f} and colour {colour_bar} wanted"
        for name, backbone in networks.items():
            likeness, colour = reconstruction(backbone, layer)
            print(f"from {layer} {name:10} SSIM {likeness:.3f}  colour off by {colour:.3f}  ({wanted})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", default="compact")
    parser.add_argument("--judge", default="vgg16")
    parser.add_argument("--paintings", type=Path, metavar="DIR", help="paintings by other hands")
    parser.add_argument("--compare", action="store_true", help="also measure the start and the judge's own pictures")
    args = parser.parse_args()
    judge = load_backbone(args.judge, precision="float32")
    networks = {args.student: load_backbone(args.student)} | ({args.judge: judge} if args.compare else {})
    judge_transfers(networks, judge, args.paintings, args.compare)
    judge_reconstructions(networks)


if __name__ == "__main__":
    main()
