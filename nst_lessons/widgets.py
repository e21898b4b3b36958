"""Explorers: the lessons' controls, over plain functions that turn settings into pictures and words.

Each ``explore_*`` function returns a widget to stand as a cell's last expression. What the first three show comes from
a ``render_*`` function, which knows nothing of widgets: panels ``{caption: image}``, and a text that says in words and
numbers what is to be seen, for those who cannot see it. The last watches `style_transfer` at work.

Only what ipywidgets 7.7 (Google Colab) and 8 (JupyterLab) share is used. Pictures are PNG bytes in an `Image`, never
an `Output`: a thread may set them, and nothing flickers.
"""

from __future__ import annotations

import math
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from inspect import signature
from threading import Event, Thread
from typing import Any, TypeAlias

import ipywidgets as widgets
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nst_lessons.history import History, Result, Step
from nst_lessons.images import MEAN, ImageError, deprocess, load_image, per_channel, preprocess, resize
from nst_lessons.network import Backbone
from nst_lessons.plots import to_png
from nst_lessons.samples import PAINTINGS, PHOTOS, sample
from nst_lessons.transfer import CONTENT_LAYERS, PAINTING_SCALE, style_transfer
from nst_lessons.visualize import activation_overlay, layer_sensitivity, receptive_field_box, top_channels
from nst_lessons.weight_files import load_backbone

Panels: TypeAlias = Mapping[str, Tensor]

PANEL = 320  # the side of a picture on the page, in pixels
THUMBNAIL = 156  # the side of a chosen picture
CONTROLS = 340  # the width of the column of controls, in pixels
SIZES = (32, 48, 64, 96, 128, 192, 256, 384, 512)
REFRESH_SECONDS = 0.3
DEFAULTS = {name: parameter.default for name, parameter in signature(style_transfer).parameters.items()}
WIDE = {"description_width": "110px"}
DASHES = ("none", "8 4", "2 3")

# What the network is given, when all is well and when not: (image, convention) -> its input.
MISTAKES: dict[str, Callable[[Tensor, str], Tensor]] = {
    "none": preprocess,
    "channels swapped": lambda image, convention: preprocess(image.flip(1), convention),
    "0 to 255 instead of 0 to 1": lambda image, convention: preprocess(255 * image, convention),
    "means swapped": lambda image, convention: preprocess(
        image + per_channel(MEAN, image) - per_channel(MEAN[::-1], image), convention
    ),
    "no normalisation": lambda image, convention: image,
    "the other convention": lambda image, convention: preprocess(
        image, "caffe" if convention == "torchvision" else "torchvision"
    ),
}


def explore_preprocessing(photo: Tensor, backbone: Backbone | None = None) -> widgets.VBox:
    """Lesson 1: what the network is given, for a size, a convention and a deliberate mistake.

    Args:
        photo: ``(1, 3, H, W)`` in [0, 1].
        backbone: whose features are compared; by default the compact one.
    """
    network = backbone or load_backbone()
    height, width = photo.shape[-2:]
    largest = max(height, width)
    smallest = max(network.stride.values()) * largest / min(height, width)
    sizes = [size for size in SIZES if smallest <= size < largest] + [largest]
    controls = {
        "size": slider("size", sizes, sizes[-1]),
        "antialias": widgets.Checkbox(value=True, description="antialias", style=WIDE, layout=fill()),
        "convention": menu("convention", ("torchvision", "caffe")),
        "mistake": menu("mistake", MISTAKES),
    }
    return explorer(lambda **settings: render_preprocessing(network, photo, **settings), controls)


@torch.no_grad()
def render_preprocessing(
    backbone: Backbone, photo: Tensor, *, size: int, antialias: bool, convention: str, mistake: str
) -> tuple[Panels, str]:
    """The photo, the image that a network takes its input for, and how far this puts its features wrong.

    Args:
        backbone: stands for a network that was trained in the convention.
        photo: ``(1, 3, H, W)`` in [0, 1].
        size: the longer side that it is given, in pixels.
        antialias: see `nst_lessons.images.resize`.
        convention: "torchvision" or "caffe".
        mistake: one of `MISTAKES`.
    """
    x = MISTAKES[mistake](resize(photo, size, antialias=antialias), convention)
    # Whatever is in its input, the network reads it by the convention.
    seen = deprocess(x, convention)
    layers = backbone.layers_by_block("relu", 1)
    changes = layer_sensitivity(backbone, resize(photo, size), {"seen": seen}, layers)["seen"]
    height, width = x.shape[-2:]
    text = (
        f"Convention {convention}, mistake: {mistake}, {'with' if antialias else 'without'} antialiasing. "
        f"The network is given {width} x {height} pixels, numbers from {x.min():.3g} to {x.max():.3g}, "
        f"{x.mean():.3g} in the mean. Its features are wrong by "
        f"{', '.join(f'{change:.2f} ({layer})' for layer, change in changes.items())}, "
        "where 0 is right and 1, a full bar, is as wrong as no features at all."
    )
    return {"the photo": photo, "what the network takes it for": seen}, paragraph(text) + bars(changes)


def explore_features(backbone: Backbone, photo: Tensor) -> widgets.VBox:
    """Lesson 2: any channel of any layer over the photo.

    Args:
        backbone: gives the features, of all layers in one forward pass.
        photo: ``(1, 3, H, W)`` in [0, 1].
    """
    layers = [layer for layer in backbone.layers if backbone.stride[layer] <= min(photo.shape[-2:])]
    with torch.no_grad():
        features = {layer: maps.cpu() for layer, maps in backbone(photo, layers).items()}
    layer = menu("layer", layers, "relu3_1" if "relu3_1" in layers else layers[-1])
    channel = whole("channel", 0, 0, 1)
    strongest = widgets.Button(description="strongest channel", icon="arrow-up", layout=fill())

    def go_to_strongest(_: object = None) -> None:
        channel.max = backbone.channels[layer.value] - 1
        channel.value = top_channels(features[layer.value], 1)[0]

    go_to_strongest()
    strongest.on_click(go_to_strongest)
    layer.observe(go_to_strongest, "value")
    return explorer(
        lambda **settings: render_features(backbone, photo, features, **settings),
        {"layer": layer, "channel": channel},
        [strongest],
    )


def render_features(
    backbone: Backbone, photo: Tensor, features: Mapping[str, Tensor], *, layer: str, channel: int
) -> tuple[Panels, str]:
    """One channel's activation, over the photo and by itself, with its shape, receptive field and statistics.

    Args:
        backbone: that the features are from.
        photo: ``(1, 3, H, W)`` in [0, 1].
        features: ``{layer: (1, C, h, w)}`` of the photo.
        layer: which layer.
        channel: which of its C channels.
    """
    maps = features[layer]
    activation = maps[:, channel : channel + 1]
    low, high = map(float, activation.aminmax())
    grey = (activation - low).expand(-1, 3, -1, -1) / max(high - low, 1e-12)
    place = divmod(int(activation.argmax()), activation.shape[-1])
    top, left, bottom, right = receptive_field_box(backbone, layer, place, (photo.shape[-2], photo.shape[-1]))
    lit = activation_overlay(photo, activation)
    lit[..., [top, bottom - 1], left:right] = 1
    lit[..., top:bottom, [left, right - 1]] = 1
    ranking = top_channels(maps, maps.shape[1])
    field, stride = backbone.receptive_field[layer], backbone.stride[layer]
    text = (
        f"{layer} has shape {tuple(maps.shape)}: {maps.shape[1]} channels of {maps.shape[3]} x {maps.shape[2]} values, "
        f"one every {stride} pixel{'s' if stride > 1 else ''}, each seeing {field} x {field} pixels of the photo. "
        f"Channel {channel}: values from {low:.3g} to {high:.3g}, mean {activation.mean():.3g}, "
        f"above zero at {(activation > 0).float().mean():.0%} of the places; "
        f"number {ranking.index(channel) + 1} of {len(ranking)} by mean activation. "
        f"Its largest value sees columns {left} to {right - 1} and rows {top} to {bottom - 1}: the white frame. "
        f"The strongest channels: {', '.join(map(str, ranking[:5]))}."
    )
    return {"the photo, lit where the channel is active": lit, f"{layer}, channel {channel}": grey}, paragraph(text)


def explore_reconstructions(results: Mapping[str, Result], original: Tensor | None = None) -> widgets.VBox:
    """Lessons 3 and 4: step through the snapshots of runs.

    Args:
        results: runs by name, such as the layer; each with snapshots, from ``reconstruct_content(...,
            snapshots=range(0, 150, 10))``.
        original: ``(1, 3, H, W)`` in [0, 1], shown beside them.

    Raises:
        ValueError: when there is no run, or one has no snapshots.
    """
    bare = [name for name, result in results.items() if not result.history.snapshots]
    if bare or not results:
        raise ValueError(f"no snapshots of {', '.join(bare) or 'any run'}; make runs with snapshots=range(0, 150, 10)")
    steps = {name: sorted(result.history.snapshots) for name, result in results.items()}
    name = menu("layers", results)
    step = slider("step", steps[name.value], steps[name.value][-1])
    play = widgets.Play(min=0, max=len(step.options) - 1, value=step.index, interval=400, description="play the run")
    widgets.link((play, "value"), (step, "index"))

    def change_run(_: object) -> None:
        if list(step.options) != steps[name.value]:
            play.max = len(steps[name.value]) - 1
            step.options = steps[name.value]

    name.observe(change_run, "value")
    return explorer(
        lambda **settings: render_reconstruction(results, original, **settings), {"name": name, "step": step}, [play]
    )


def render_reconstruction(
    results: Mapping[str, Result], original: Tensor | None, *, name: str, step: int
) -> tuple[Panels, str]:
    """The snapshot of one step of one run, beside the original if there is one, and the loss at that step."""
    result = results[name]
    history, total = result.history, result.history.totals[step]
    text = (
        f"{name}, step {step} of {len(history.totals) - 1}: loss {total:.3g}, "
        f"{total / max(history.totals[0], 1e-30):.2%} of the loss at the start. It ended: {result.stopped}."
    )
    panels = {"the original": original} if original is not None else {}
    curves = loss_curves(history.losses, at=step)
    return {f"step {step}": history.snapshots[step]} | panels, paragraph(text) + curves


class PictureChooser:
    """A menu of samples, an upload of the reader's own, and a thumbnail of what is chosen."""

    def __init__(self, label: str, samples: Iterable[str]) -> None:
        self.own: dict[str, bytes] = {}
        self.menu = menu(label, samples)
        self.upload = widgets.FileUpload(accept="image/*", description=f"your own {label}", layout=fill())
        self.thumbnail = frame(THUMBNAIL)
        self.words = widgets.HTML()
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
        self.words.value = ""
        for name, data in uploaded_files(self.upload.value):
            try:
                load_image(data, THUMBNAIL)
            except ImageError as error:
                self.words.value = paragraph(f"{name} cannot be used: {str(error).removeprefix('the bytes: ')}.")
                continue
            self.own[name] = data
            self.menu.options = list(dict.fromkeys([*self.menu.options, name]))
            self.menu.value = name


def uploaded_files(value: Any) -> list[tuple[str, bytes]]:
    """Names and contents of a FileUpload's value: ipywidgets 7 has a dict by name, 8 a tuple of dicts."""
    if isinstance(value, Mapping):
        return [(name, bytes(file["content"])) for name, file in value.items()]
    return [(file["name"], bytes(file["content"])) for file in value]


def explore_transfer(backbone: Backbone) -> widgets.VBox:
    """Lesson 5: a transfer, with the weights, layers and pictures of one's choice, while one watches.

    The run is in a thread: the kernel stays free for other cells. Stop ends it with the best image so far.

    Args:
        backbone: gives the features.
    """
    photo, painting = PictureChooser("photo", PHOTOS), PictureChooser("painting", PAINTINGS)
    layers = [layer for layer in backbone.layers if layer.startswith("relu")]
    ratio = widgets.FloatLogSlider(
        value=DEFAULTS["alpha"] / DEFAULTS["beta"],
        min=-3,
        max=2,
        step=0.1,
        description="alpha / beta",
        readout_format=".3g",
        continuous_update=False,
        style=WIDE,
        layout=fill(),
    )
    content_layer = menu("content layer", layers, CONTENT_LAYERS[0])
    tv = slider("total variation", sorted({0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, DEFAULTS["tv"]}), DEFAULTS["tv"])
    size = slider("size", [size for size in SIZES if size >= 64], 192)
    steps = whole("steps", DEFAULTS["steps"], 1, 500)
    run = widgets.Button(description="Run", icon="play", button_style="primary", layout=fill())
    stop = widgets.Button(description="Stop", icon="stop", disabled=True, layout=fill())
    picture, words = frame(), widgets.HTML()
    show(picture, photo.load(PANEL))
    words.value = paragraph("Choose, and press Run: the picture starts as the photo and takes on the style.")
    stopping = Event()

    def work(options: dict[str, Any]) -> None:
        losses: list[dict[str, float]] = []
        began = shown = time.monotonic()

        def watch(step: Step) -> None:
            nonlocal shown
            losses.append(step.losses)
            now = time.monotonic()
            if now - shown >= REFRESH_SECONDS or step.index == 0:
                shown = now
                text = progress_words(step, options["steps"], now - began)
                show(picture, step.image)
                words.value = paragraph(text) + loss_curves(losses)

        def by_hand(history: History) -> str:
            return "stopped by hand" if stopping.is_set() else ""

        try:
            result = style_transfer(backbone, **options, callback=watch, stop=by_hand, progress=False)
            text = f"Done: {result.stopped}, {result.history.seconds:.0f} s. {loss_words(result.losses)}."
            show(picture, result.image)
            words.value = paragraph(text) + loss_curves(result.history.losses) + save_link(to_png(result.image))
        except Exception as error:  # a thread has nobody else to tell
            words.value = paragraph(f"This run failed. {error}")
        finally:
            run.disabled, stop.disabled = False, True

    def start(_: object) -> None:
        if run.disabled:  # a second click that was on its way
            return
        try:
            options = {
                "photo": photo.load(size.value),
                "painting": painting.load(PAINTING_SCALE * size.value),
                "beta": DEFAULTS["alpha"] / ratio.value,
                "tv": tv.value,
                "content_layers": [content_layer.value],
                "steps": steps.value,
            }
        except ImageError as error:
            words.value = paragraph(str(error))
            return
        stopping.clear()
        run.disabled, stop.disabled = True, False
        Thread(target=work, args=(options,), name="style transfer", daemon=True).start()

    run.on_click(start)
    stop.on_click(lambda _: stopping.set())
    settings = [ratio, content_layer, tv, size, steps]
    chosen = widgets.VBox([photo.thumbnail, painting.thumbnail])
    return page([*photo.controls, *painting.controls, *settings, run, stop], [row([chosen, picture]), words])


def explorer(
    render: Callable[..., tuple[Panels, str]], controls: Mapping[str, widgets.Widget], buttons: Iterable[Any] = ()
) -> widgets.VBox:
    """Controls beside the panels that ``render(**values)`` returns, its words below; drawn anew when one moves."""
    panels, _ = render(**{name: control.value for name, control in controls.items()})
    captions, pictures = [widgets.Label() for _ in panels], [frame() for _ in panels]
    words = widgets.HTML()

    def update(_: object = None) -> None:
        panels, text = render(**{name: control.value for name, control in controls.items()})
        for caption, picture, (title, image) in zip(captions, pictures, panels.items(), strict=True):
            caption.value = title
            show(picture, image)
        words.value = text

    for control in controls.values():
        control.observe(update, "value")
    update()
    frames = [widgets.VBox(list(pair)) for pair in zip(captions, pictures, strict=True)]
    return page([*controls.values(), *buttons], [row(frames), words])


def page(controls: Sequence[Any], pictures: Sequence[Any]) -> widgets.VBox:
    """Controls on the left, pictures and words on the right; on a narrow screen one above the other."""
    left = widgets.VBox(controls, layout=widgets.Layout(width=f"{CONTROLS}px", margin="0 24px 12px 0"))
    right = widgets.VBox(pictures, layout=widgets.Layout(max_width=f"{2 * PANEL + 40}px"))
    return widgets.VBox([row([left, right])])


def row(children: Sequence[Any]) -> widgets.HBox:
    """Side by side, or below each other where there is no room."""
    return widgets.HBox(children, layout=widgets.Layout(flex_flow="row wrap"))


def fill() -> widgets.Layout:
    """As wide as the column of controls."""
    return widgets.Layout(width="98%")


def menu(label: str, options: Iterable[str], value: str | None = None) -> widgets.Dropdown:
    """A menu of names; the first is chosen unless a value is given."""
    names = list(options)
    return widgets.Dropdown(options=names, value=value or names[0], description=label, style=WIDE, layout=fill())


def slider(label: str, options: Sequence[Any], value: Any) -> widgets.SelectionSlider:
    """A slider over a few values."""
    return widgets.SelectionSlider(
        options=options, value=value, description=label, continuous_update=False, style=WIDE, layout=fill()
    )


def whole(label: str, value: int, low: int, high: int) -> widgets.IntSlider:
    """A slider over the whole numbers from low to high."""
    return widgets.IntSlider(
        value=value, min=low, max=high, description=label, continuous_update=False, style=WIDE, layout=fill()
    )


def frame(side: int = PANEL) -> widgets.Image:
    """Where a picture is shown, of a fixed width on the page."""
    return widgets.Image(format="png", layout=widgets.Layout(width=f"{side}px", margin="0 8px 8px 0"))


def show(place: widgets.Image, image: Tensor) -> None:
    """Show an image ``(1, 3, H, W)``."""
    place.value = to_png(enlarge(image))


def enlarge(image: Tensor, side: int = PANEL) -> Tensor:
    """Repeat the pixels of a small image a whole number of times, so that they stay visible as squares."""
    times = max(1, side // max(image.shape[-2:]))
    return interpolate(image.clamp(0, 1), scale_factor=times, mode="nearest") if times > 1 else image.clamp(0, 1)


def paragraph(text: str) -> str:
    """Text as HTML."""
    return f'<p style="line-height: 1.4; margin: 4px 0">{escape(text)}</p>'


def bars(values: Mapping[str, float]) -> str:
    """Names and bars, full at 1, as HTML; the numbers belong into the text."""
    rows = (
        f'<div style="line-height: 1.5; display: flex; align-items: center"><span style="width: 64px">{escape(name)}'
        f'</span><div style="height: 10px; width: {PANEL * min(value, 1):.0f}px; background: currentColor"></div></div>'
        for name, value in values.items()
    )
    return f'<div aria-hidden="true">{"".join(rows)}</div>'


def loss_curves(losses: Sequence[Mapping[str, float]], at: int | None = None) -> str:
    """The losses of a run by step, on a log scale, as an SVG drawing; terms differ by their dashes, not by colour.

    Args:
        losses: weighted terms by name, one dict a step; terms of weight 0 are left out.
        at: a step to mark.
    """
    curves = {name: {step: terms[name] for step, terms in enumerate(losses)} for name in losses[0]}
    # A logarithm has no zero: the content loss of the photo itself, or a term without weight.
    curves = {name: {step: y for step, y in curve.items() if 0 < y < math.inf} for name, curve in curves.items()}
    curves = {name: curve for name, curve in curves.items() if curve}
    if not curves:
        return ""
    values = [value for curve in curves.values() for value in curve.values()]
    high = max(values)
    low = max(min(values), high / 1e4)
    left, top, width, height = 64, 24, 2 * PANEL - 80, 110
    per_step, per_log = width / max(1, len(losses) - 1), height / max(math.log(high / low), 1e-9)

    def place(step: int, value: float) -> tuple[float, float]:
        return left + per_step * step, top + per_log * math.log(high / max(value, low))

    drawing = [
        f'<path d="M{left} {top}v{height}h{width}" stroke-width="1"/>',
        label(left - 6, top + 10, f"{high:.2g}", "end"),
        label(left - 6, top + height, f"{low:.2g}", "end"),
        label(left, top + height + 16, "step 0", "start"),
        label(left + width, top + height + 16, f"step {len(losses) - 1}", "end"),
    ]
    for n, (name, curve) in enumerate(curves.items()):
        points = " ".join("{:.1f},{:.1f}".format(*place(step, value)) for step, value in curve.items())
        x, dash = left + 20 + 120 * n, DASHES[n % len(DASHES)]
        drawing += [
            f'<polyline points="{points}" stroke-dasharray="{dash}"/>',
            f'<path d="M{x} 10h32" stroke-dasharray="{dash}"/>',
            label(x + 38, 14, name, "start"),
        ]
        if at in curve:
            drawing.append('<circle cx="{:.1f}" cy="{:.1f}" r="4" fill="currentColor"/>'.format(*place(at, curve[at])))
    return (
        f'<svg viewBox="0 0 {left + width + 10} {top + height + 20}" width="{left + width + 10}" '
        'style="max-width: 100%; font-size: 12px" fill="none" stroke="currentColor" stroke-width="2" '
        f'role="img" aria-label="losses by step, on a log scale">{"".join(drawing)}</svg>'
    )


def label(x: float, y: float, text: str, anchor: str) -> str:
    """Text in an SVG drawing, which starts or ends at a place."""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="currentColor" stroke="none">{escape(text)}</text>'


def progress_words(step: Step, steps: int, seconds: float) -> str:
    """Where a run stands, its losses, and how long it will go on at most."""
    remaining = seconds / (step.index + 1) * (steps - step.index - 1)
    return f"Step {step.index + 1} of {steps}, at most {remaining:.0f} s to go. {loss_words(step.losses)}."


def loss_words(losses: Mapping[str, float]) -> str:
    """The weighted terms and their sum."""
    terms = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
    return f"Loss {sum(losses.values()):.3g} ({terms})"


def save_link(png: bytes) -> str:
    """A link that saves a picture to the reader's disk, as HTML."""
    data = b64encode(png).decode()
    link = f'<a download="transfer.png" href="data:image/png;base64,{data}" style="text-decoration: underline">'
    return f"<p>{link}Save this picture</a></p>"
