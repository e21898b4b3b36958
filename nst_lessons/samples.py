"""Pictures to start with: four photographs, which come with scikit-image, and eight paintings, in `paintings/`.

And pictures to compare with: what the lessons' experiments give on ImageNet's VGG16, in `full_network/`.
"""

import json
from pathlib import Path
from typing import Any

from PIL import Image
from skimage import data

from nst_lessons.checks import check_choice, check_number

LARGEST = 8000  # pixels; the side of a square of as many as `nst_lessons.images` allows
FULL_NETWORK = Path(__file__).parent / "full_network"
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
PAINTINGS = (
    "night_swirls",
    "pointillist",
    "stained_glass",
    "woodblock_wave",
    "cubist",
    "ink_hatching",
    "fjord",
    "mosaic",
)


def sample(name: str, size: int | None = None) -> Image.Image:
    """A photograph or a painting by name, as an RGB picture.

    Args:
        name: one of `PHOTOS` or `PAINTINGS`.
        size: the longer side in pixels; without it a picture has its own, which is 1,024 for the paintings (they are
            square). Beyond its own size a picture is enlarged and shows no more than before; `tools/paint.py` paints
            the paintings anew at any size.

    Raises:
        ValueError: if the name is unknown or the size is not 1 to LARGEST.
    """
    check_choice("sample", name, PHOTOS + PAINTINGS)
    if size is not None:
        check_number("size", size, 1, LARGEST, whole=True)
    if name in PHOTOS:
        picture = Image.fromarray(getattr(data, name)())
    else:
        picture = Image.open(Path(__file__).parent / "paintings" / f"{name}.webp").convert("RGB")
    if size is None:
        return picture
    width, height = (max(1, round(side * size / max(picture.size))) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def full_network_picture(name: str) -> Image.Image:
    """A lesson's experiment, made with ImageNet's VGG16: an RGB picture, such as ``"content_relu4_2"``.

    The card in `full_network/` says what there is; `settings.json`, beside it, how each picture was made.

    Raises:
        ValueError: if the name is unknown.
    """
    check_choice("picture", name, sorted(path.stem for path in FULL_NETWORK.glob("*.webp")))
    return Image.open(FULL_NETWORK / f"{name}.webp").convert("RGB")


def full_network_settings(name: str) -> dict[str, Any]:
    """How a picture of `full_network_picture` was made: the function, its images and its options.

    Raises:
        ValueError: if the name is unknown.
    """
    settings = json.loads((FULL_NETWORK / "settings.json").read_text(encoding="utf-8"))
    check_choice("picture", name, settings)
    return dict(settings[name]["settings"])
