"""Paint the style images that the package ships: ``python tools/paint.py [NAME ...]``.

A painting follows from its name and a seed, at any size; the shipped ones have 1,024 pixels and seed 0. All eight take
about ten seconds on one core, half of it for `stained_glass`, which needs every pixel's distance from the lead.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image

from nst_lessons.console import forgiving_output
from nst_lessons.files import whole_file
from painters import cubist, fjord, ink_hatching, mosaic, night_swirls, pointillist, stained_glass, woodblock_wave

PAINTERS: dict[str, Callable[[Generator, int], Image.Image]] = {
    "night_swirls": night_swirls.paint,
    "pointillist": pointillist.paint,
    "stained_glass": stained_glass.paint,
    "woodblock_wave": woodblock_wave.paint,
    "cubist": cubist.paint,
    "ink_hatching": ink_hatching.paint,
    "fjord": fjord.paint,
    "mosaic": mosaic.paint,
}
SHIPPED = Path(__file__).parents[1] / "nst_lessons" / "paintings"
SIZE = 1024
QUALITY = 90  # of WebP; JPEGs of the same size have twice its error of luminance, with noise around lines


def paint(name: str, size: int = SIZE, seed: int = 0) -> Image.Image:
    """One of the `PAINTERS`' paintings, RGB, size x size pixels: painted twice as large and halved, for smooth edges.

    Raises:
        ValueError: if the name is unknown or the size is not positive.
    """
    if name not in PAINTERS:
        raise ValueError(f"unknown painting {name!r}; there are {', '.join(PAINTERS)}")
    if size < 1:
        raise ValueError(f"a painting of {size} pixels; ask for a size of 1 or more")
    return PAINTERS[name](np.random.default_rng(seed), 2 * size).reduce(2)


@forgiving_output()
def main() -> None:
    """Paint and store pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all unless given: {', '.join(PAINTERS)}")
    parser.add_argument("--size", type=int, default=SIZE, help="of a side, in pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another painting (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder (default: the package's own)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or PAINTERS:
        try:
            picture = paint(name, args.size, args.seed)
        except ValueError as error:
            parser.error(str(error))
        path = args.out / f"{name}.webp"
        with whole_file(path) as file:
            picture.save(file, format="WEBP", quality=QUALITY, method=6)
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
