"""The explorer of lesson 4: what of a painting a statistic keeps, and what it forgets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import ipywidgets as widgets
import torch
from matplotlib import colormaps
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.utils import make_grid

from nst_lessons.checks import check_mapping
from nst_lessons.images import check_image
from nst_lessons.losses import Statistic, gram_matrix, mean_and_deviation, relative_error
from nst_lessons.network import Backbone, check_network
from nst_lessons.visualize import top_channels
from nst_lessons.widgets.layout import PANEL, Panels, explorer, helped, paragraph, table

STATISTICS: Mapping[str, Statistic] = {"Gram matrix": gram_matrix, "mean and deviation": mean_and_deviation}
SHUFFLES = ("nothing", "positions of the features", "pixels of the painting")
PIXELS = "pixels"  # the three colours themselves, as if they were a layer
FIRST = (PIXELS, "relu1_1", "relu3_1", "relu5_1")


def explore_statistics(
    backbone: Backbone, paintings: Mapping[str, Tensor], statistics: Mapping[str, Statistic] = STATISTICS
) -> widgets.VBox:
    """Lesson 4: the statistic of any layers' features, before and after a shuffle.

    Args:
        backbone: gives the features.
        paintings: ``{name: (1, 3, H, W)}`` in [0, 1].
        statistics: by name, functions of features ``(1, C, H, W)``, each giving one matrix ``(1, N, M)``.
    """
    check_network(backbone)
    check_mapping("paintings", paintings)
    for name, painting in paintings.items():
        check_image(painting, name)
    smallest = min(min(painting.shape[-2:]) for painting in paintings.values())
    layers = [layer for layer in backbone.layers_by_block("relu", 1) if backbone.stride[layer] <= smallest]
    ticks = {
        layer: helped(
            widgets.Checkbox(value=layer in FIRST, description=layer),
            "the three colours themselves"
            if layer == PIXELS
            else f"a place of it sees {backbone.receptive_field[layer]} pixels each way",
        )
        for layer in [PIXELS, *layers]
    }
    controls = {
        "painting": helped(widgets.Dropdown(options=list(paintings), description="painting"), "whose style"),
        "statistic": helped(
            widgets.Dropdown(options=list(statistics), description="statistic"), "what is kept of the features"
        ),
        "shuffle": helped(widgets.Dropdown(options=SHUFFLES, description="shuffle"), "what is put in random order"),
    }

    def render(painting: str, statistic: str, shuffle: str, **ticked: bool) -> tuple[Panels, str]:
        chosen = [layer for layer, tick in ticked.items() if tick]
        return render_statistics(
            backbone, paintings[painting], statistics, layers=chosen, statistic=statistic, shuffle=shuffle
        )

    return explorer(render, controls | ticks)


@torch.no_grad()
def render_statistics(
    backbone: Backbone,
    painting: Tensor,
    statistics: Mapping[str, Statistic] = STATISTICS,
    *,
    layers: Iterable[str],
    statistic: str,
    shuffle: str,
) -> tuple[Panels, str]:
    """Features and their statistic, as they are and after a shuffle, in pictures and numbers.

    Args:
        backbone: gives the features.
        painting: ``(1, 3, H, W)`` in [0, 1].
        statistics: see `explore_statistics`.
        layers: of which layers; `PIXELS` are the three colours themselves.
        statistic: one of the statistics' names.
        shuffle: one of `SHUFFLES`.
    """
    before = layer_features(backbone, painting, layers)
    if shuffle == "pixels of the painting":
        after = layer_features(backbone, shuffled(painting), layers)
    elif shuffle == "positions of the features":
        after = {layer: shuffled(maps) for layer, maps in before.items()}
    else:
        after = before
    function = statistics[statistic]
    old, new = ({layer: function(maps) for layer, maps in features.items()} for features in (before, after))
    strongest = {layer: top_channels(maps, 1)[0] for layer, maps in before.items()}

    def picture(layer: str, maps: Tensor) -> Tensor:
        """Black and white are the extremes of what is not shuffled; pixels have colours of their own."""
        if layer == PIXELS:
            return maps
        low, high = before[layer][:, strongest[layer]].aminmax()
        return ((maps[:, [strongest[layer]]] - low) / (high - low).clamp_min(1e-12)).expand(-1, 3, -1, -1)

    panels = {
        "features": side_by_side(picture(layer, maps) for layer, maps in before.items()),
        "features, after the shuffle": side_by_side(picture(layer, maps) for layer, maps in after.items()),
        statistic: side_by_side(matrix_picture(old[layer], old[layer]) for layer in old),
        f"{statistic}, after the shuffle": side_by_side(matrix_picture(new[layer], old[layer]) for layer in old),
    }
    changes = "; ".join(
        f"{layer}: the features change by {change(before[layer], after[layer]):.0%}, "
        f"the {statistic} by {change(old[layer], new[layer]):.1%}"
        for layer in old
    )
    text = f"Shuffled: {shuffle}. {changes or 'Tick at least one layer'}."
    rows = [
        (layer, f"{before[layer].numel():,}", f"{old[layer].numel():,}", f"channel {strongest[layer]}")
        for layer in before
    ]
    header = ("layer", "features", f"numbers in the {statistic}", "shown above: its strongest")
    return panels, paragraph(text, live=True) + table(header, rows)


def change(before: Tensor, after: Tensor) -> float:
    """How far values have moved, relative to what they were."""
    return float(relative_error(after, before).sqrt())


def layer_features(backbone: Backbone, painting: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """``{layer: (1, C, H, W)}``, in float64, so that sums hardly depend on their order."""
    layers = list(layers)
    features = backbone(painting, [layer for layer in layers if layer != PIXELS])
    return {layer: (painting if layer == PIXELS else features[layer]).cpu().double() for layer in layers}


def shuffled(maps: Tensor) -> Tensor:
    """The positions of ``(1, C, H, W)`` in random order, the same in all channels and every time."""
    positions = maps.flatten(2)
    order = torch.randperm(positions.shape[2], generator=torch.Generator().manual_seed(0))
    return positions[..., order].view_as(maps)


def matrix_picture(matrix: Tensor, scale: Tensor) -> Tensor:
    """A matrix ``(1, N, M)`` in the colours of `nst_lessons.plots.show_matrix`, up to the largest value of `scale`."""
    largest = scale.abs().max().clamp_min(1e-12)
    share = (matrix / largest).clamp(-1, 1).numpy()
    colours = colormaps["RdBu_r"](0.5 + share / 2) if scale.min() < 0 else colormaps["magma"](share.clip(0) ** 0.5)
    return torch.from_numpy(colours[..., :3]).permute(0, 3, 1, 2)


def side_by_side(pictures: Iterable[Tensor]) -> Tensor:
    """Images ``(1, 3, H, W)`` of any sizes as parts of one square, row by row; grey where there are none."""
    images = list(pictures)
    columns = max(1, math.ceil(math.sqrt(len(images))))
    squares = torch.full((columns**2, 3, PANEL // columns, PANEL // columns), 0.5)
    for square, image in zip(squares, images, strict=False):
        square[:] = interpolate(image.float(), squares.shape[-2:], mode="area")[0]
    return make_grid(squares, nrow=columns, padding=2, pad_value=0.5).unsqueeze(0)
