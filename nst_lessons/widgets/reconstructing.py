"""Lessons 3 and 4, live: a photo or a style from noise, while one watches."""

from __future__ import annotations

import ipywidgets as widgets
from torch import Tensor

from nst_lessons.images import check_image
from nst_lessons.network import Backbone, check_network
from nst_lessons.reconstruct import STYLE_LAYERS, reconstruct_content, reconstruct_style
from nst_lessons.widgets.calls import Argument, Call
from nst_lessons.widgets.layout import helped, slider
from nst_lessons.widgets.live_explorer import SMOOTHNESS, LiveExplorer, optimizer_menu, step_slider
from nst_lessons.widgets.styles import STATISTICS

TV_WEIGHTS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


def explore_content(backbone: Backbone, photo: Tensor) -> widgets.VBox:
    """Lesson 3: a photo from noise by the features of one layer, live.

    The Python code that it gives calls them ``backbone`` and ``photo``.

    Args:
        backbone: gives the features.
        photo: ``(1, 3, H, W)`` in [0, 1].
    """
    check_network(backbone)
    check_image(photo, "the photo")
    layers = [layer for layer in backbone.layers if layer.startswith("relu")]
    layer = helped(
        widgets.Dropdown(options=layers, value=layers[len(layers) // 2], description="layer"),
        "whose features of the photo the image is to have",
    )
    tv, steps = helped(slider("total variation", TV_WEIGHTS, 1.0), SMOOTHNESS), step_slider(150)
    start = helped(widgets.Dropdown(options=["noise", "grey", "photo"], description="start"), "the image to begin with")
    optimizer = optimizer_menu()

    def plan() -> Call:
        options = {"tv": tv.value, "start": start.value, "optimizer": optimizer.value, "steps": steps.value}
        given = (Argument(backbone, "backbone"), Argument(photo, "photo"), Argument(layer.value, repr(layer.value)))
        return Call("reconstruct_content", reconstruct_content, given, options, photo, again={})

    explorer = LiveExplorer(plan, [layer, tv, steps], [start, optimizer])
    return explorer.page(photo, "Press Start: from noise, an image is made with the photo's features at one layer.")


def explore_style(backbone: Backbone, painting: Tensor) -> widgets.VBox:
    """Lesson 4: a painting's style from noise by the layers, weights and statistic of one's choice, live.

    The Python code that it gives calls them ``backbone`` and ``painting``.

    Args:
        backbone: gives the features.
        painting: ``(1, 3, H, W)`` in [0, 1].
    """
    check_network(backbone)
    check_image(painting, "the painting")
    ticks = {
        layer: helped(widgets.Checkbox(value=True, description=layer, indent=False), "whether it counts")
        for layer in STYLE_LAYERS
    }
    weights = {
        layer: helped(slider(f"{layer} weight", (0.05, 0.1, 0.2, 0.5, 1.0, 2.0), 0.2), "how much it counts")
        for layer in STYLE_LAYERS
    }
    statistic = helped(
        widgets.Dropdown(options=list(STATISTICS), description="statistic"), "what of a layer's features is the style"
    )
    tv, steps = helped(slider("total variation", TV_WEIGHTS, 0.1), SMOOTHNESS), step_slider(150)
    optimizer = optimizer_menu()

    def plan() -> Call:
        layers = {layer: weights[layer].value for layer in STYLE_LAYERS if ticks[layer].value}
        options = {
            "statistic": STATISTICS[statistic.value],
            "tv": tv.value,
            "optimizer": optimizer.value,
            "steps": steps.value,
        }
        if not layers:
            raise ValueError("no layer is ticked; tick at least one")
        given = (Argument(backbone, "backbone"), Argument(painting, "painting"), Argument(layers, repr(layers)))
        return Call("reconstruct_style", reconstruct_style, given, options, painting, again={})

    controls = [control for layer in STYLE_LAYERS for control in (ticks[layer], weights[layer])]
    explorer = LiveExplorer(plan, [*controls, statistic, tv, steps], [optimizer])
    return explorer.page(
        painting, "Press Start: from noise, an image is made with the painting's statistics at these layers."
    )
