"""Choosing a picture: a menu of samples, and uploads of the reader's own."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import PurePath
from typing import Any

import ipywidgets as widgets
from torch import Tensor

from nst_lessons.image_files import load_image
from nst_lessons.images import ImageError
from nst_lessons.samples import sample
from nst_lessons.widgets.calls import Argument
from nst_lessons.widgets.layout import frame, helped, paragraph, show

ACCEPTED = "image/*,.heic,.heif,.avif"  # of the last ones not every system knows that they are images
THUMBNAIL = 156  # the side of a chosen picture, in pixels
# Of the notebook server's messages: ours, see `nst_lessons.lab`, that of others, and as users of Colab report.
UPLOAD_LIMITS = "Uploads: up to 100 MB in JupyterLab opened by nst-lessons lab, 10 MB elsewhere, 1 MB in Colab."


class PictureChooser:
    """A menu of samples, an upload of the reader's own, and a thumbnail of what is chosen."""

    def __init__(self, label: str, samples: Iterable[str]) -> None:
        self.own: dict[str, bytes] = {}
        self.menu = helped(widgets.Dropdown(options=list(samples), description=label), "a sample, or what you uploaded")
        self.upload = helped(
            widgets.FileUpload(accept=ACCEPTED, description=f"your own {label}"),
            "a picture from your disk or phone",
        )
        self.thumbnail = frame(THUMBNAIL)
        self.words = widgets.HTML(paragraph(UPLOAD_LIMITS))
        self.controls = [self.menu, self.upload, self.words]
        self.menu.observe(self.update, "value")
        self.upload.observe(self.take, "value")
        self.update()

    def load(self, size: int) -> Tensor:
        """The chosen picture, ``(1, 3, H, W)``, its longer side of `size` pixels.

        Raises:
            ImageError: when its shorter side is too small.
        """
        name = self.menu.value
        return load_image(self.own[name] if name in self.own else sample(name, size), size)

    def argument(self, name: str, size: int) -> Argument:
        """The chosen picture, as the argument of a call.

        Raises:
            ImageError: when its shorter side is too small.
        """
        chosen = self.menu.value
        if chosen not in self.own:
            return sample_argument(name, chosen, size)
        line = f"{name} = load_image({chosen!r}, {size})  # your file, under this name beside this notebook"
        return Argument(self.load(size), name, (line,))

    def update(self, _: object = None) -> None:
        """Show what is chosen."""
        show(self.thumbnail, self.load(THUMBNAIL))

    def take(self, _: object = None) -> None:
        """Add an uploaded picture to the menu and choose it, or say why it cannot be used."""
        self.words.value = paragraph(UPLOAD_LIMITS)
        for name, data in uploaded_files(self.upload.value):
            try:
                with warnings.catch_warnings(record=True) as said:
                    warnings.simplefilter("always")  # of transparent parts; a notebook hides what a button prints
                    load_image(data, THUMBNAIL)
            except ImageError as error:
                self.words.value = paragraph(f"{name} cannot be used: {str(error).removeprefix('the bytes: ')}.")
                continue
            if any("laid on white" in str(warning.message) for warning in said):
                self.words.value = paragraph(f"{name}: transparent parts are laid on white. {UPLOAD_LIMITS}")
            label = self.label(name, data)
            self.own[label] = data
            self.menu.options = list(dict.fromkeys([*self.menu.options, label]))
            self.menu.value = label

    def label(self, name: str, data: bytes) -> str:
        """What to call an uploaded picture: its file's name, with a number where another picture has it already."""
        path = PurePath(name)
        numbered = (name if n == 1 else f"{path.stem} ({n}){path.suffix}" for n in count(1))
        return next(label for label in numbered if label not in self.menu.options or self.own.get(label) == data)


def sample_argument(name: str, chosen: str, size: int) -> Argument:
    """A sample, as the argument of a call."""
    line = f"{name} = load_image(sample({chosen!r}, {size}), {size})"
    return Argument(load_image(sample(chosen, size), size), name, (line,))


def uploaded_files(value: Any) -> list[tuple[str, bytes]]:
    """Names and contents of a FileUpload's value: ipywidgets 7 has a dict by name, 8 a tuple of dicts."""
    if isinstance(value, Mapping):
        return [(name, bytes(file["content"])) for name, file in value.items()]
    return [(file["name"], bytes(file["content"])) for file in value]
