"""The atlas of lesson 5: transfers that the full network made beforehand, and any of them computed live."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
from PIL import Image

from nst_lessons.figures import to_jpeg
from nst_lessons.image_files import load_image
from nst_lessons.network import Backbone, check_network
from nst_lessons.samples import full_network_picture, full_network_settings, sample
from nst_lessons.transfer import style_transfer
from nst_lessons.widgets.calls import Argument, Call
from nst_lessons.widgets.layout import enlarge, frame, helped, paragraph
from nst_lessons.widgets.live_explorer import LiveExplorer


def explore_atlas(backbone: Backbone) -> widgets.VBox:
    """Lesson 5: content layer by alpha / beta by steps, at once from the full network's atlas, or live.

    Args:
        backbone: gives the features of the live run.

    Raises:
        TypeError: for a network that is none.
    """
    check_network(backbone)
    atlas = Atlas(backbone)
    return atlas.explorer.page(atlas.photo.value, "Start computes the same with the lesson's network, to compare.")


class Atlas:
    """The atlas' controls, its picture for them, and the call that computes the same."""

    def __init__(self, backbone: Backbone) -> None:
        self.settings, self.sheet = full_network_settings("atlas"), full_network_picture("atlas")
        self.backbone = Argument(backbone, "backbone")
        self.photo, self.painting = (source_argument(name, self.settings[name]) for name in ("photo", "painting"))
        ratios = [(f"{self.settings['alpha'] / beta:g}", beta) for beta in self.settings["betas"]]
        self.layer = helped(
            widgets.Dropdown(options=self.settings["content_layers"], description="content layer"),
            "whose features of the photo are kept",
        )
        self.beta = helped(widgets.SelectionSlider(options=ratios, description="alpha / beta"), "content by style")
        self.steps = helped(
            widgets.SelectionSlider(options=self.settings["shown"], description="steps"), "from the photo"
        )
        self.layer.value, self.beta.value, self.steps.value = "relu4_2", 10.0, self.settings["shown"][-1]
        self.picture, self.words = frame(format="jpeg"), widgets.HTML()
        controls = [self.layer, self.beta, self.steps]
        for control in controls:
            control.observe(self.look_up, "value")
        self.look_up()
        self.explorer = LiveExplorer(self.call, controls, [], [widgets.VBox([self.picture, self.words])])

    def look_up(self, _: object = None) -> None:
        """Show what the full network made."""
        self.picture.value = to_jpeg(enlarge(load_image(self.tile())))
        self.words.value = paragraph(
            f"Made beforehand with the full network, VGG16: content from {self.layer.value}, alpha / beta = "
            f"{self.beta.label}, {self.steps.value} steps from the photo.",
            live=True,
        )

    def tile(self) -> Image.Image:
        """The chosen part of the sheet: a row for each layer and beta, a column for each number of steps."""
        layers, betas, shown = (self.settings[name] for name in ("content_layers", "betas", "shown"))
        width, height = self.sheet.width // len(shown), self.sheet.height // (len(layers) * len(betas))
        row = layers.index(self.layer.value) * len(betas) + betas.index(self.beta.value)
        left, top = shown.index(self.steps.value) * width, row * height
        return self.sheet.crop((left, top, left + width, top + height))

    def call(self) -> Call:
        """The same, with the lesson's network."""
        options = {name: self.settings[name] for name in ("style_layers", "tv", "start", "warm_start")}
        options |= {"content_layers": [self.layer.value], "beta": self.beta.value, "steps": self.steps.value}
        given = self.backbone, self.photo, self.painting
        return Call("style_transfer", style_transfer, given, options, self.photo.value, again={})


def source_argument(name: str, source: dict[str, Any]) -> Argument:
    """A picture, as the settings name it, as the argument of a call."""
    chosen, size, crop = source["sample"], source["size"], source["crop"]
    picture = sample(chosen).crop(crop) if crop else sample(chosen)
    cut = f".crop({tuple(crop)})" if crop else ""
    return Argument(load_image(picture, size), name, (f"{name} = load_image(sample({chosen!r}){cut}, {size})",))
