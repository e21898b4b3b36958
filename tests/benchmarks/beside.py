"""Networks beside ImageNet's VGG16, in one picture.

    PYTHONPATH=tools python tests/benchmarks/beside.py .github/compact.jpg compact OLDER.safetensors

In the first row is what `tools/full_network.py` made with VGG16 and the package ships; below, a row a network, the same
with the compact one, or others by name or path. A row takes about two minutes on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from full_network import GAP, JOBS
from nst_lessons import full_network_picture, keep_freed_memory, load_image, resize, save_image

COLUMNS = ("content_relu4_2", "style_relu4_1", "style_relu5_1", "ratio_1_10")
SIDE = 256


def tile(image: Tensor) -> Tensor:
    """A picture in the sheet's size, with a white rim."""
    return pad(resize(image, (SIDE, SIDE)), (GAP, GAP, GAP, GAP), value=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("networks", nargs="*", default=["compact"])
    args = parser.parse_args()
    keep_freed_memory()
    rows = [[load_image(full_network_picture(name)) for name in COLUMNS]]
    for network in args.networks:
        with tempfile.TemporaryDirectory() as folder:
            rows.append([JOBS[name].make(network, Path(folder) / name).image for name in COLUMNS])
    save_image(torch.cat([torch.cat([tile(image) for image in row], 3) for row in rows], 2), args.out)


if __name__ == "__main__":
    main()
