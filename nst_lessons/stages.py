"""Stages: the parts of a run, small before large, a cheap network before a costly one.

A large plain area, far from the right colour, changes features only a little, and pixel by pixel the walk takes for
ever; at a quarter of the size it is found in a few steps. Gatys, Ecker, Bethge, Hertzmann and Shechtman, "Controlling
Perceptual Factors in Neural Style Transfer" (2017), section 6, go from coarse to fine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nst_lessons.checks import check_number
from nst_lessons.losses import LossFunction
from nst_lessons.network import Backbone

Size = tuple[int, int]
MOST_OCTAVES = 12  # which make a side of 4,096 pixels out of 2


@dataclass(frozen=True)
class Stage:
    """A part of a run: an image of ``(height, width)`` takes so many steps down the loss there.

    `loss_at` makes the loss function, with its targets, when the stage begins. `network`, the `layers` that it is asked
    for and the sizes of the paintings that it is shown tell what the stage will cost; a loss of your own needs none.
    """

    size: Size
    steps: int
    loss_at: Callable[[], LossFunction]
    network: Backbone | None = None
    layers: tuple[str, ...] = ()
    painting_sizes: tuple[Size, ...] = ()


def scaled_size(full: Size, scale: float, smallest: int) -> Size:
    """A size ``(height, width)`` made smaller, but no side shorter than so many pixels, unless the full one is."""
    height, width = (min(side, max(smallest, round(scale * side))) for side in full)
    return height, width


def octave_scales(octaves: int, ratio: float = 2.0) -> list[float]:
    """Growing scales, each `ratio` times the one before, the last one 1.

    Raises:
        ValueError: for a number of octaves that is not 1 to MOST_OCTAVES.
    """
    check_number("octaves", octaves, 1, MOST_OCTAVES, whole=True)
    return [ratio**-octave for octave in reversed(range(octaves))]
