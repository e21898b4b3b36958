"""How good is a small network? Optimise with it, and let a full-size one judge the picture.

    TORCH_HOME=... python tests/benchmarks/judge_backbone.py [--student compact] [--judge vgg16] [--pairs 8]

Transfers at 320 px, 150 L-BFGS steps from the photo, relative losses content : style = 1 : 3, style summed over
relu1_1 ... relu5_1, content at relu4_2. Printed for each pair: the losses as the judge measures them, and how well
things keep their place (SSIM of the luminance with the photo's, at a quarter of the size); with an untouched photo
(the start) and the judge's own optimisation for comparison where ``--compare`` is given. Then the SSIM between each
photo and its reconstructions from noise (160 px, 150 steps) from three layers: do the deep ones still know the photo?
The images are the package's own samples, none of which the compact backbone has seen in training.
"""

from __future__ import annotations

import argparse
from itertools import islice

import torch
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
RECONSTRUCTED_SIZE, RECONSTRUCTED_LAYERS = 160, ("relu3_2", "relu4_2", "relu5_1")
STYLE_WEIGHTS = dict.fromkeys(STYLE_LAYERS, 1.0)


def pairs() -> list[tuple[str, str]]:
    """Every painting once, the photos in turn."""
    return [(PHOTOS[n % len(PHOTOS)], painting) for n, painting in enumerate(PAINTINGS)]


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


def reconstruction_similarity(backbone: Backbone, layer: str) -> float:
    """Mean `similarity` between the sample photos and their reconstructions from noise."""
    photos = [load_image(sample(name), size=RECONSTRUCTED_SIZE) for name in PHOTOS]
    images = [reconstruct_content(backbone, photo, layer, steps=STEPS, progress=False).image for photo in photos]
    return sum(similarity(image, photo) for image, photo in zip(images, photos, strict=True)) / len(photos)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", default="compact")
    parser.add_argument("--judge", default="vgg16")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--compare", action="store_true", help="also measure the start and the judge's own transfer")
    args = parser.parse_args()
    judge = load_backbone(args.judge, precision="float32")
    networks = {args.student: load_backbone(args.student)} | ({args.judge: judge} if args.compare else {})
    scores: dict[str, list[tuple[float, float, float]]] = {}
    for photo_name, painting_name in islice(pairs(), args.pairs):
        photo, painting = (load_image(sample(name), size=SIZE) for name in (photo_name, painting_name))
        images = {name: transfer(backbone, photo, painting) for name, backbone in networks.items()}
        for name, image in (images | ({"start": photo} if args.compare else {})).items():
            style, content = judged(judge, image, photo, painting)
            place = kept_place(image, photo)
            scores.setdefault(name, []).append((style, content, place))
            print(f"{photo_name:10} {painting_name:15} {name:10} {report(style, content, place)}", flush=True)
    for name, values in scores.items():
        print(f"{'mean':26} {name:10} {report(*torch.tensor(values).mean(0).tolist())}")
    for name, backbone in networks.items():
        for layer in RECONSTRUCTED_LAYERS:
            print(
                f"reconstructed from {layer} {name:10} SSIM {reconstruction_similarity(backbone, layer):.3f}",
                flush=True,
            )


def report(style: float, content: float, place: float) -> str:
    """Three measures in words."""
    return f"style {style:7.3f}  content {content:.3f}  kept place {place:.3f}"


if __name__ == "__main__":
    main()
