"""The studio of lesson 5: a transfer with everything of one's choice, while one watches."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
from torch import Tensor
from typing_extensions import Unpack

from nst_lessons.history import Result
from nst_lessons.network import Backbone, check_network
from nst_lessons.published import PUBLISHED, TransferOptions
from nst_lessons.reconstruct import STARTS
from nst_lessons.samples import PAINTINGS, PHOTOS
from nst_lessons.styles import Style
from nst_lessons.transfer import CONTENT_LAYERS, TRANSFER_DEFAULTS, style_transfer
from nst_lessons.weight_files import DOWNLOAD_MEGABYTES, DOWNLOADS, cached_weights, load_backbone
from nst_lessons.widgets.calls import Argument, Call
from nst_lessons.widgets.layout import PANEL, SIZES, helped, paragraph, slider
from nst_lessons.widgets.live_explorer import SMOOTHNESS, LiveExplorer, optimizer_menu, step_slider
from nst_lessons.widgets.pictures import PictureChooser, sample_argument

TV_WEIGHTS = sorted({0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, TRANSFER_DEFAULTS["tv"]})
SECOND_WEIGHTS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
ALONE, OURS, NO_RECIPE = "none", "this lesson's", "none: the controls below"


def explore_transfer(backbone: Backbone) -> widgets.VBox:
    """Lesson 5: a transfer, with the weights, layers and pictures of one's choice, while one watches.

    The run is in a thread: the kernel stays free for other cells. Weights that are moved during the run count from the
    next step on.

    Args:
        backbone: gives the features, unless another network is chosen.
    """
    check_network(backbone)
    studio = Studio(backbone)
    return studio.explorer.page(
        studio.photo.load(PANEL), "Choose, and press Start: the picture starts as the photo and takes on the style."
    )


class Studio:
    """A transfer's controls, and the call that they ask for."""

    def __init__(self, backbone: Backbone) -> None:
        self.networks = {OURS: backbone}
        self.photo = PictureChooser("photo", PHOTOS)
        self.painting = PictureChooser("painting", PAINTINGS)
        self.second = helped(
            widgets.Dropdown(options=[ALONE, *PAINTINGS], description="second style"),
            "another painting, whose statistics are blended with the first one's",
        )
        self.second_weight = helped(slider("its weight", SECOND_WEIGHTS, 1.0), "of the second style; the first has 1")
        ratio = TRANSFER_DEFAULTS["alpha"] / TRANSFER_DEFAULTS["beta"]
        self.ratio = helped(
            widgets.FloatLogSlider(
                value=ratio, min=-3, max=2, description="alpha / beta", readout_format=".3g", continuous_update=False
            ),
            "content by style: to the left more style, to the right more of the photo",
        )
        layers = [layer for layer in backbone.layers if layer.startswith("relu")]
        self.layer = helped(
            widgets.Dropdown(options=layers, value=CONTENT_LAYERS[0], description="content layer"),
            "whose features of the photo are kept: shallow ones keep edges, deep ones the gist",
        )
        self.tv = helped(slider("total variation", TV_WEIGHTS, TRANSFER_DEFAULTS["tv"]), SMOOTHNESS)
        self.steps = step_slider(TRANSFER_DEFAULTS["steps"])
        self.size = helped(slider("size", [size for size in SIZES if size >= 64], 256), "the longer side, in pixels")
        self.begin = helped(widgets.Dropdown(options=STARTS, description="start"), "the image to begin with")
        self.optimizer = optimizer_menu()
        self.network = helped(
            widgets.Dropdown(options=[OURS, "compact", *DOWNLOADS], description="network"), "what gives the features"
        )
        self.recipe = helped(
            widgets.Dropdown(options=[NO_RECIPE, *PUBLISHED], description="recipe"),
            "a published write-up, with its own layers, weights, losses, start and optimiser",
        )
        self.note = widgets.HTML()
        self.weights = [self.second, self.second_weight, self.ratio, self.layer, self.tv, self.steps]
        fixed = [
            *self.photo.controls,
            *self.painting.controls,
            self.size,
            self.begin,
            self.optimizer,
            self.network,
            self.recipe,
            self.note,
        ]
        chosen = widgets.VBox([self.photo.thumbnail, self.painting.thumbnail])
        self.explorer = LiveExplorer(self.call, self.weights, fixed, [chosen])
        for menu in (self.network, self.recipe):
            menu.observe(self.choose, "value")

    def choose(self, _: object) -> None:
        """What a network or a recipe means for the rest."""
        notes = []
        if self.recipe.value != NO_RECIPE:
            notes.append(f"{PUBLISHED[self.recipe.value].source}. Only pictures, size and network count beside it.")
        name = self.network.value
        if name in DOWNLOADS and not cached_weights(name).exists():
            notes.append(f"Start downloads the weights of {name} first: {DOWNLOAD_MEGABYTES} MB, once.")
        self.note.value = paragraph(" ".join(notes)) if notes else ""

    def call(self) -> Call:
        """What the controls ask for.

        Raises:
            ImageError: for a picture whose shorter side is too small.
        """
        photo, painting = (
            chooser.argument(name, self.size.value)
            for name, chooser in (("photo", self.photo), ("painting", self.painting))
        )
        if self.second.value != ALONE:
            painting = self.blend(painting)
        options: dict[str, Any]
        again: dict[str, Any] | None = {"warm_start": False}
        if self.recipe.value == NO_RECIPE:
            options = {
                "beta": TRANSFER_DEFAULTS["alpha"] / self.ratio.value,
                "tv": self.tv.value,
                "content_layers": [self.layer.value],
                "start": self.begin.value,
                "optimizer": self.optimizer.value,
                "steps": self.steps.value,
            }
        else:
            options, again = {"recipe": self.recipe.value}, None
        code = "backbone" if self.network.value == OURS else repr(self.network.value)
        network = Argument(self.network.value, code)
        return Call(
            "style_transfer",
            self.transfer,
            (network, photo, painting),
            options,
            before=photo.value,
            again=again,
        )

    def blend(self, painting: Argument) -> Argument:
        """Two paintings, the second with its weight."""
        size, weight = self.size.value, self.second_weight.value
        second = sample_argument("second", self.second.value, size)
        styles = [painting.value, Style(second.value, weight=weight)]
        return Argument(styles, f"[painting, Style(second, weight={weight})]", (*painting.lines, *second.lines))

    def transfer(
        self, name: str, photo: Tensor, painting: Tensor | list[Tensor | Style], **options: Unpack[TransferOptions]
    ) -> Result:
        """`style_transfer` by a network of the menu, which is loaded once."""
        if "recipe" in options and name != OURS:  # it pools in its own way
            return style_transfer(name, photo, painting, **options)
        if name not in self.networks:
            self.explorer.say(f"Loading {name}.")
            self.networks[name] = load_backbone(name)
        return style_transfer(self.networks[name], photo, painting, **options)
