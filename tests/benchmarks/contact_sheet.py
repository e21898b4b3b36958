"""Which settings make the best pictures? Pairs side by side, a row a candidate, to be judged by eye.

    python tests/benchmarks/contact_sheet.py sheet.png "" "beta=50" "beta=10, content_layers=['relu3_1', 'relu4_2']"

A candidate is what `style_transfer` is given beside photo and painting, as in a call; ``painting_size`` may be among
it, in pixels, and an empty one is the defaults. The first row shows photo and painting. The seconds a picture took are
written under it.
"""

from __future__ import annotations

import argparse
import ast
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nst_lessons import Backbone, load_backbone, load_image, resize, sample, style_transfer
from nst_lessons.figures import LABEL_SIZE, finish, grid, to_png
from nst_lessons.files import whole_file
from nst_lessons.image_files import to_pil

PAIRS = (
    ("chelsea", "night_swirls"),
    ("coffee", "stained_glass"),
    ("astronaut", "woodblock_wave"),
    ("chelsea", "fjord"),
    ("rocket", "pointillist"),
    ("coffee", "cubist"),
    ("astronaut", "mosaic"),
)


def read_options(candidate: str) -> dict[str, Any]:
    """The keyword arguments in a text like ``beta=50, tv=3``.

    Raises:
        ValueError: where it is none.
    """
    try:
        call = ast.parse(f"dict({candidate})", mode="eval").body
        assert isinstance(call, ast.Call) and not call.args
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (AssertionError, SyntaxError, ValueError) as error:
        raise ValueError(f"{candidate!r} is no list of options like 'beta=50, tv=3'") from error


def transfer(backbone: Backbone, photo: Tensor, painting_name: str, options: dict[str, Any]) -> tuple[Tensor, float]:
    """The picture, and the seconds it took."""
    size = options.get("painting_size", max(photo.shape[-2:]))
    painting = load_image(sample(painting_name), size=size)
    rest = {name: value for name, value in options.items() if name != "painting_size"}
    result = style_transfer(backbone, photo, painting, progress=False, **rest)
    return result.image, result.history.seconds


def photo_and_painting(photo: Tensor, painting_name: str) -> Tensor:
    """Both side by side, the painting as high as the photo."""
    height = photo.shape[-2]
    return torch.cat([photo, load_image(sample(painting_name, size=height))], dim=3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheet", type=Path, help="the PNG to write")
    parser.add_argument("candidates", nargs="*", default=[""], help="options of style_transfer; a row each")
    parser.add_argument("--backbone", default=None)
    parser.add_argument("--size", type=int, default=320, help="of the photos (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=len(PAIRS), help="how many of the pairs (default: all)")
    args = parser.parse_args()
    options = {candidate or "the defaults": read_options(candidate) for candidate in args.candidates}
    backbone, pairs = load_backbone(args.backbone), PAIRS[: args.pairs]
    photos = [load_image(sample(name), size=args.size) for name, _ in pairs]
    panels = [
        (f"{name} and {painting}", resize(photo_and_painting(photo, painting), args.size))
        for photo, (name, painting) in zip(photos, pairs, strict=True)
    ]
    for candidate, chosen in options.items():
        for photo, (_, painting) in zip(photos, pairs, strict=True):
            image, seconds = transfer(backbone, photo, painting, chosen)
            panels.append((f"{candidate}\n{seconds:.0f} s", image))
        print(f"{candidate}: done", flush=True)
    figure, axes = grid(len(panels), len(pairs), 1.0, largest=3.2)
    figure.set_size_inches(3.2 * len(pairs), 3.5 * (1 + len(options)))
    for ax, (label, image) in zip(axes, panels, strict=True):
        ax.imshow(to_pil(image))
        ax.set_title(label, loc="left", fontsize=LABEL_SIZE)
    finish(figure, "", "")
    with whole_file(args.sheet) as file:
        file.write_bytes(to_png(figure))


if __name__ == "__main__":
    main()
