"""The explorer of lesson 5: a transfer that is watched while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from itertools import count
from threading import Event, Thread
from typing import Any

import ipywidgets as widgets
from torch import Tensor

from nst_lessons.figures import to_png
from nst_lessons.history import History, Step
from nst_lessons.image_files import load_image
from nst_lessons.images import ImageError
from nst_lessons.network import Backbone
from nst_lessons.published import TransferOptions
from nst_lessons.samples import PAINTINGS, PHOTOS, sample
from nst_lessons.transfer import CONTENT_LAYERS, TRANSFER_DEFAULTS, style_transfer
from nst_lessons.widgets.layout import PANEL, SIZES, data_url, frame, loss_curves, page, paragraph, row, show, slider

THUMBNAIL = 156  # the side of a chosen picture, in pixels
REFRESH_SECONDS = 0.3
CURVE_SECONDS = 2.0  # drawing the curves takes 0.1 to 0.2 s, during which the run waits
# Of the notebook server's messages: ours, see `nst_lessons.lab`, that of others, and as users of Colab report.
UPLOAD_LIMITS = "Uploads: up to 100 MB in JupyterLab opened by nst-lessons lab, 10 MB elsewhere, 1 MB in Colab."
TV_WEIGHTS = sorted({0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, TRANSFER_DEFAULTS["tv"]})


def explore_transfer(backbone: Backbone) -> widgets.VBox:
    """Lesson 5: a transfer, with the weights, layers and pictures of one's choice, while one watches.

    The run is in a thread: the kernel stays free for other cells. Stop ends it with the best image so far.

    Args:
        backbone: gives the features.
    """
    return TransferExplorer(backbone).page()


class TransferExplorer:
    """A transfer's controls; its run, in a thread; and the picture, words, curves and link that show it."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.photo, self.painting = PictureChooser("photo", PHOTOS), PictureChooser("painting", PAINTINGS)
        ratio = TRANSFER_DEFAULTS["alpha"] / TRANSFER_DEFAULTS["beta"]
        self.ratio = widgets.FloatLogSlider(
            value=ratio, min=-3, max=2, description="alpha / beta", readout_format=".3g", continuous_update=False
        )
        layers = [layer for layer in backbone.layers if layer.startswith("relu")]
        self.layer = widgets.Dropdown(options=layers, value=CONTENT_LAYERS[0], description="content layer")
        self.tv = slider("total variation", TV_WEIGHTS, TRANSFER_DEFAULTS["tv"])
        self.size = slider("size", [size for size in SIZES if size >= 64], 192)
        self.steps = widgets.IntSlider(
            value=TRANSFER_DEFAULTS["steps"], min=1, max=500, description="steps", continuous_update=False
        )
        self.run = widgets.Button(description="Run", icon="play", button_style="primary")
        self.stop = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.stopping = Event()
        self.picture, self.words, self.curves, self.link = frame(), widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.began = self.shown = self.drawn = 0.0

    def page(self) -> widgets.VBox:
        """All of it, before the first run."""
        self.run.on_click(self.start)
        self.stop.on_click(lambda _: self.stopping.set())
        show(self.picture, self.photo.load(PANEL))
        self.say("Choose, and press Run: the picture starts as the photo and takes on the style.")
        weights = [self.ratio, self.layer, self.tv, self.size, self.steps]
        controls = [*self.photo.controls, *self.painting.controls, *weights, self.run, self.stop]
        chosen = widgets.VBox([self.photo.thumbnail, self.painting.thumbnail])
        return page(controls, [row([chosen, self.picture]), self.words, self.curves, self.link])

    def say(self, text: str) -> None:
        """Words below the picture."""
        self.words.value = paragraph(text)

    def start(self, _: object) -> None:
        """Begin a run of what the controls say."""
        if self.run.disabled:  # a second click that was on its way
            return
        try:
            pictures = self.photo.load(self.size.value), self.painting.load(self.size.value)
        except ImageError as error:
            self.say(f"{error}.")
            return
        options: TransferOptions = {
            "beta": TRANSFER_DEFAULTS["alpha"] / self.ratio.value,
            "tv": self.tv.value,
            "content_layers": [self.layer.value],
            "steps": self.steps.value,
        }
        self.stopping.clear()
        self.run.disabled, self.stop.disabled = True, False
        self.curves.value = self.link.value = ""
        self.began = self.drawn = time.monotonic()
        Thread(target=self.work, args=(*pictures, options), name="style transfer", daemon=True).start()

    def work(self, photo: Tensor, painting: Tensor, options: TransferOptions) -> None:
        """The run, from its first step to what it leaves on the page."""
        options |= {"callback": self.watch, "stop": self.by_hand, "progress": False}
        try:
            result = style_transfer(self.backbone, photo, painting, **options)
            show(self.picture, result.image)
            self.curves.value = loss_curves(result.history)
            self.link.value = save_link(to_png(result.image))
            seconds = result.history.seconds
            self.say(f"The run has ended: {result.stopped}, after {seconds:.0f} s. {loss_words(result.losses)}.")
        except Exception as error:  # a thread has nobody else to tell
            self.say(f"This run failed: {error}.")
        finally:
            self.run.disabled, self.stop.disabled = False, True

    def watch(self, step: Step) -> None:
        """The run's callback: show its picture, and where it stands."""
        now = time.monotonic()
        if step.index == 0 or now - self.shown >= REFRESH_SECONDS:
            self.shown = now
            show(self.picture, step.image)
            self.say(progress_words(step, now - self.began))

    def by_hand(self, history: History) -> str:
        """The stop rule behind the button. It draws the curves too: only a rule is shown the history."""
        if time.monotonic() - self.drawn >= CURVE_SECONDS:
            self.curves.value = loss_curves(history)
            self.drawn = time.monotonic()
        return "stopped by hand" if self.stopping.is_set() else ""


class PictureChooser:
    """A menu of samples, an upload of the reader's own, and a thumbnail of what is chosen."""

    def __init__(self, label: str, samples: Iterable[str]) -> None:
        self.own: dict[str, bytes] = {}
        self.menu = widgets.Dropdown(options=list(samples), description=label)
        self.upload = widgets.FileUpload(accept="image/*", description=f"your own {label}")
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

    def update(self, _: object = None) -> None:
        """Show what is chosen."""
        show(self.thumbnail, self.load(THUMBNAIL))

    def take(self, _: object = None) -> None:
        """Add an uploaded picture to the menu and choose it, or say why it cannot be used."""
        self.words.value = paragraph(UPLOAD_LIMITS)
        for name, data in uploaded_files(self.upload.value):
            try:
                load_image(data, THUMBNAIL)
            except ImageError as error:
                self.words.value = paragraph(f"{name} cannot be used: {str(error).removeprefix('the bytes: ')}.")
                continue
            label = self.label(name, data)
            self.own[label] = data
            self.menu.options = list(dict.fromkeys([*self.menu.options, label]))
            self.menu.value = label

    def label(self, name: str, data: bytes) -> str:
        """What to call an uploaded picture: its file's name, with a number where another picture has it already."""
        numbered = (name if n == 1 else f"{name} ({n})" for n in count(1))
        return next(label for label in numbered if label not in self.menu.options or self.own.get(label) == data)


def uploaded_files(value: Any) -> list[tuple[str, bytes]]:
    """Names and contents of a FileUpload's value: ipywidgets 7 has a dict by name, 8 a tuple of dicts."""
    if isinstance(value, Mapping):
        return [(name, bytes(file["content"])) for name, file in value.items()]
    return [(file["name"], bytes(file["content"])) for file in value]


def progress_words(step: Step, seconds: float) -> str:
    """Where a run stands, its losses, and how long it will go on at most, at the pace so far."""
    taken = step.index + 1
    remaining = seconds / taken * (step.steps - taken)
    return f"Step {taken} of {step.steps}, at most {remaining:.0f} s to go at this pace. {loss_words(step.losses)}."


def loss_words(losses: Mapping[str, float]) -> str:
    """The weighted terms and their sum."""
    terms = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
    return f"Loss {sum(losses.values()):.3g} ({terms})"


def save_link(png: bytes) -> str:
    """A link that saves a picture to the reader's disk, as HTML."""
    return f'<a download="transfer.png" href="{data_url(png)}" style="text-decoration: underline">Save this picture</a>'
