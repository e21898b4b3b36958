"""The page of a live run: Start, Pause and Stop, a picture and curves that grow, and steps to go back through."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from html import escape
from io import BytesIO

import ipywidgets as widgets
from PIL import Image
from torch import Tensor

from nst_lessons.figures import to_jpeg, to_png
from nst_lessons.history import History, Result, Step
from nst_lessons.image_files import to_pil
from nst_lessons.optimizers import OPTIMIZERS
from nst_lessons.widgets.calls import Call, code
from nst_lessons.widgets.curves import loss_curves
from nst_lessons.widgets.layout import enlarge, fit, frame, help_list, helped, page, paragraph, row
from nst_lessons.widgets.live import LiveRun, notebook

PICTURE = 480  # the side of the live picture on the page, in pixels
PICTURE_SECONDS = 0.06
CURVE_SECONDS = 0.25  # the browser takes longer for them than for the picture
WORDS_SECONDS = 1.0  # a screen reader reads them out
MOST_FRAMES = 120
SMOOTHNESS = "how much neighbouring pixels may not differ: more is smoother"
FRAME_MILLISECONDS = 80
LAST_FRAME_MILLISECONDS = 1500


def step_slider(steps: int) -> widgets.IntSlider:
    """How many steps a run takes at most."""
    chosen = widgets.IntSlider(value=steps, min=1, max=500, description="steps", continuous_update=False)
    return helped(chosen, "at most so many; those of a warm start, from 384 pixels on, come before them")


def optimizer_menu() -> widgets.Dropdown:
    """The optimisers by name."""
    return helped(widgets.Dropdown(options=list(OPTIMIZERS), description="optimiser"), "how to walk downhill")


class LiveExplorer:
    """Controls, the run that they ask for, and what is seen of it.

    Args:
        plan: what the controls ask for; raises ValueError, in words, for what cannot be.
        live: controls that count from the next step on when they are moved during a run.
        fixed: controls that wait for the run to end.
        beside: what is shown beside the picture.
    """

    def __init__(
        self,
        plan: Callable[[], Call],
        live: Sequence[widgets.Widget],
        fixed: Sequence[widgets.Widget],
        beside: Sequence[widgets.Widget] = (),
    ) -> None:
        self.plan, self.live, self.fixed, self.beside = plan, live, fixed, beside
        cells = notebook()
        self.cell = cells.cell if cells else ""
        self.run: LiveRun | None = None
        self.frames: dict[int, bytes] = {}
        self.history = History()
        self.before: Image.Image | None = None
        self.pictures = self.every = 1
        self.began = self.pictured = self.drawn = self.worded = 0.0
        self.start = helped(
            widgets.Button(description="Start", icon="play", button_style="primary"), "a run with these settings"
        )
        self.pause = helped(
            widgets.Button(description="Pause", icon="pause", disabled=True), "rest after the step at hand, or go on"
        )
        self.stop = helped(
            widgets.Button(description="Stop", icon="stop", disabled=True), "end with the best picture so far"
        )
        self.picture, self.words, self.curves = frame(PICTURE, "jpeg"), widgets.HTML(), widgets.HTML()
        self.step = helped(
            widgets.SelectionSlider(options=[0], description="back to step", disabled=True), "of the run that has ended"
        )
        self.wipe = helped(
            widgets.IntSlider(value=100, description="before | after", disabled=True),
            "to the left, more of what there was before the run",
        )
        self.animate = helped(
            widgets.Button(description="Make an animation", icon="film", disabled=True), "of the run, to be saved"
        )
        self.links = widgets.HTML()
        self.code = helped(
            widgets.Textarea(description="in Python", disabled=True, rows=8),
            "copy this into a cell: it makes the same picture again",
        )
        self.start.on_click(self.begin)
        self.pause.on_click(self.rest)
        self.stop.on_click(lambda _: self.run and self.run.stop())
        self.animate.on_click(self.link_animation)
        for control in live:
            control.observe(self.change, "value")
        for control in (self.step, self.wipe):
            control.observe(self.look_back, "value")

    def page(self, picture: Tensor, invitation: str) -> widgets.VBox:
        """All of it, before the first run: with a picture ``(1, 3, H, W)``, and words below it."""
        self.picture.value = to_jpeg(enlarge(picture))
        self.say(invitation)
        buttons = [self.start, self.pause, self.stop]
        for button in buttons:
            button.layout.width = "31%"
        afterwards = [self.step, self.wipe, self.animate, self.links, self.code]
        for control in (self.step, self.wipe, self.code):
            fit(control)
        self.animate.layout.width = "auto"
        helps = help_list([self.step, self.wipe, self.animate, self.code])
        pictures = [row([*self.beside, self.picture]), self.words, self.curves, *afterwards, *helps]
        return page([*self.fixed, *self.live, row(buttons)], pictures)

    def say(self, words: str) -> None:
        """Words below the picture."""
        self.words.value = paragraph(words, live=True)

    def planned(self) -> Call | None:
        """What the controls ask for; None, and words, for what cannot be."""
        try:
            return self.plan()
        except ValueError as error:
            self.say(f"{error}.")
            return None

    def begin(self, _: object) -> None:
        """Start a run."""
        if self.run and self.run.is_alive():  # a second click that was on its way
            return
        call = self.planned()
        if call is None:
            return
        self.frames, self.history, self.pictures, self.every = {}, History(), 0, 1
        self.before = to_pil(enlarge(call.before))
        self.curves.value = self.links.value = self.code.value = ""
        self.show_state(running=True)
        self.began = self.pictured = self.drawn = self.worded = time.monotonic()
        self.run = LiveRun(call, self.cell, self.watch, self.end)
        self.run.start()

    def show_state(self, *, running: bool) -> None:
        """Which controls can be moved now."""
        self.pause.description, self.pause.icon = "Pause", "pause"
        self.start.disabled = running
        self.pause.disabled = self.stop.disabled = not running
        for control in self.fixed:
            control.disabled = running
        for control in (self.step, self.wipe, self.animate, self.code):
            control.disabled = running or not self.frames

    def rest(self, _: object) -> None:
        """Pause, or go on."""
        if self.run is None:
            return
        if self.run.going.is_set():
            self.run.pause()
            self.pause.description, self.pause.icon = "Resume", "play"
        else:
            self.run.resume()
            self.pause.description, self.pause.icon = "Pause", "pause"

    def change(self, _: object) -> None:
        """A control was moved: during a run, it counts from the next step on."""
        if self.run and self.run.is_alive():
            call = self.planned()
            if call is not None:
                self.run.change(call)

    def watch(self, step: Step, history: History) -> None:
        """Show a step of the run; this is called in its thread."""
        now = time.monotonic()
        if step.index == 0 or now - self.pictured >= PICTURE_SECONDS:
            self.pictured = now
            self.picture.value = to_jpeg(enlarge(step.image))
            self.keep(step.index, self.picture.value)
        if step.index == 0 or now - self.drawn >= CURVE_SECONDS:
            self.drawn = now
            self.curves.value = loss_curves(history)
        if step.index == 0 or now - self.worded >= WORDS_SECONDS:
            self.worded = now
            self.say(progress_words(step, now - self.began))

    def keep(self, index: int, picture: bytes) -> None:
        """Keep a step's picture, to go back to; of many only every second, fourth, ... one."""
        if self.pictures % self.every == 0:
            self.frames[index] = picture
        self.pictures += 1
        if len(self.frames) > MOST_FRAMES:
            self.frames, self.every = dict([*self.frames.items()][::2]), 2 * self.every

    def end(self, outcome: Result | Exception) -> None:
        """Show how the run ended; this is called in its thread."""
        run = self.run
        assert run  # it is the run that calls
        if isinstance(outcome, Exception):
            self.say(f"This run failed: {str(outcome) or type(outcome).__name__}.")
        else:
            self.history = run.history
            last = max(0, len(run.history.losses) - 1)
            self.frames[last] = to_jpeg(enlarge(outcome.image))
            self.step.options = list(self.frames)
            self.step.value, self.wipe.value = last, 100
            self.look_back()
            self.links.value = link("Save this picture", "picture.png", "image/png", to_png(outcome.image))
            self.code.value = code(run.legs)
            counted = " (counted from the last change)" if len(run.legs) > 1 else ""
            ended = f"{outcome.stopped}{counted}, after {run.history.seconds:.0f} s"
            self.say(f"The run has ended: {ended}. {loss_words(outcome.losses)}.")
        self.show_state(running=False)

    def look_back(self, _: object = None) -> None:
        """Show the step that is chosen, and on the left of the wipe what there was before."""
        shown = self.frames.get(self.step.value)
        if shown is None:
            return
        after = Image.open(BytesIO(shown)).convert("RGB")
        if self.before and self.wipe.value < 100:
            left = round(after.width * (100 - self.wipe.value) / 100)
            after.paste(self.before.resize(after.size).crop((0, 0, left, after.height)))
            file = BytesIO()
            after.save(file, "JPEG", quality=92)
            shown = file.getvalue()
        self.picture.value = shown
        self.curves.value = loss_curves(self.history, at=self.step.value)

    def link_animation(self, _: object) -> None:
        """Offer the run as an animation."""
        self.animate.disabled = True
        pictures = [Image.open(BytesIO(frame)).convert("RGB") for frame in self.frames.values()]
        self.links.value += " " + link("Save the animation", "run.webp", "image/webp", animation(pictures))


def animation(pictures: Sequence[Image.Image]) -> bytes:
    """Pictures one after the other, in the last one's size, as an animated WebP file."""
    first, *others = (picture.resize(pictures[-1].size) for picture in pictures)
    durations = [FRAME_MILLISECONDS] * len(others) + [LAST_FRAME_MILLISECONDS]
    file = BytesIO()
    first.save(file, "WEBP", save_all=True, append_images=others, duration=durations, loop=0, quality=80)
    return file.getvalue()


def progress_words(step: Step, seconds: float) -> str:
    """Where a run stands, its losses, and how long it will go on at most, at the pace so far."""
    taken = step.index + 1
    remaining = seconds / taken * (step.steps - taken)
    return f"Step {taken} of {step.steps}, at most {remaining:.0f} s to go at this pace. {loss_words(step.losses)}."


def loss_words(losses: Mapping[str, float]) -> str:
    """The weighted terms and their sum."""
    terms = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
    return f"Loss {sum(losses.values()):.3g} ({terms})"


def link(words: str, name: str, kind: str, data: bytes) -> str:
    """A link that saves a file to the reader's disk, as HTML."""
    address = f"data:{kind};base64,{b64encode(data).decode()}"
    return f'<a download="{escape(name)}" href="{address}" style="text-decoration: underline">{escape(words)}</a>'
