"""The pages of live runs without a front end: what a reader starts, moves, goes back to and takes away."""

import re
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from widget_tree import control, walk, words

from nst_lessons import (
    Backbone,
    Ending,
    History,
    Result,
    Style,
    full_network_picture,
    load_backbone,
    load_image,
    reconstruct_content,
    sample,
    to_pil,
    widgets,
)
from nst_lessons.samples import FULL_NETWORK
from nst_lessons.widgets import (
    explore_atlas,
    explore_content,
    explore_features,
    explore_preprocessing,
    explore_recipes,
    explore_reconstructions,
    explore_statistics,
    explore_style,
    explore_transfer,
    live_explorer,
    transfer,
)
from nst_lessons.widgets.atlas import Atlas
from nst_lessons.widgets.curves import loss_curves
from nst_lessons.widgets.layout import help_trait
from nst_lessons.widgets.live import stop_runs
from nst_lessons.widgets.live_explorer import LiveExplorer, animation, link
from nst_lessons.widgets.transfer import Studio


@pytest.fixture
def five_blocks() -> Backbone:
    """A network with the blocks and layers of VGG16's first two rows, 3 to 7 channels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Backbone([[3, 3], [4, 4], [5, 5], [6, 6], [7, 7]])
    return backbone.requires_grad_(False).eval()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every step is shown; and no run is left behind."""
    monkeypatch.setattr(live_explorer, "PICTURE_SECONDS", 0)
    monkeypatch.setattr(live_explorer, "CURVE_SECONDS", 0)
    monkeypatch.setattr(live_explorer, "WORDS_SECONDS", 0)
    yield
    stop_runs()
    wait_until_done()


def wait_until_done() -> None:
    """Until the threads of all runs have ended."""
    for thread in threading.enumerate():
        if thread.name == "live run":
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture
def studio(five_blocks: Backbone) -> Studio:
    """A studio at 64 pixels, three steps."""
    studio = Studio(five_blocks)
    studio.explorer.page(torch.zeros(1, 3, 64, 64), "Press Start.")
    studio.size.value, studio.steps.value = 64, 3
    return studio


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `style_transfer` was given last; nothing is optimised."""
    given: dict[str, Any] = {}

    def style_transfer(backbone: Any, photo: Tensor, painting: Any, **options: Any) -> Result:
        given.clear()
        given.update(options, backbone=backbone, photo=photo, painting=painting)
        return Result(photo, History([{"style": 0.5}], seconds=1.0), Ending.RULE, "enough was seen")

    monkeypatch.setattr(transfer, "style_transfer", style_transfer)
    return given


def follow(explorer: LiveExplorer, act: Callable[[str], object]) -> None:
    """Call something with the words below the picture, each time they change."""
    explorer.words.observe(lambda change: act(change["new"]), "value")


def at_step(explorer: LiveExplorer, step: int, act: Callable[[], object]) -> None:
    """Do something once, when the words say that so many steps were taken."""
    done: list[object] = []
    follow(explorer, lambda words: done.append(act()) if f"Step {step} of" in words and not done else None)


def start(studio: Studio) -> LiveExplorer:
    """Press Start, and wait for the end."""
    studio.explorer.start.click()
    wait_until_done()
    return studio.explorer


def saved(explorer: LiveExplorer) -> Tensor:
    """The picture behind the link."""
    data = re.search(r'download="picture.png" href="data:image/png;base64,([^"]*)"', explorer.links.value)
    assert data
    return load_image(b64decode(data[1]))


def test_a_run_is_watched_to_its_end(studio: Studio) -> None:
    seen: list[str] = []
    follow(studio.explorer, seen.append)
    explorer = start(studio)
    assert [re.findall(r"Step \d of 3", text) for text in seen[:3]] == [[f"Step {n} of 3"] for n in (1, 2, 3)]
    assert "The run has ended: all 3 steps were taken, after " in seen[-1]
    assert list(explorer.step.options) == [0, 1, 2]
    assert explorer.picture.value == explorer.frames[2]
    assert (explorer.start.disabled, explorer.pause.disabled, explorer.stop.disabled) == (False, True, True)
    assert not any(control.disabled for control in (*explorer.fixed, explorer.step, explorer.wipe, explorer.animate))


def test_during_a_run_what_cannot_change_is_disabled_and_start_starts_no_second(studio: Studio) -> None:
    explorer, states = studio.explorer, []

    def look() -> None:
        explorer.start.click()
        states.append((explorer.start.disabled, explorer.pause.disabled, studio.size.disabled, studio.tv.disabled))
        states.append(sum(thread.name == "live run" for thread in threading.enumerate()))

    at_step(explorer, 2, look)
    start(studio)
    assert states == [(True, False, True, False), 1]
    assert len(explorer.history.losses) == 3


def test_stop_and_its_code_give_the_same_picture_bit_for_bit(studio: Studio, five_blocks: Backbone) -> None:
    studio.steps.value = 500
    studio.painting.menu.value, studio.second.value, studio.second_weight.value = "mosaic", "fjord", 0.5
    explorer = studio.explorer
    at_step(explorer, 3, lambda: setattr(studio.tv, "value", 30.0))
    at_step(explorer, 5, explorer.stop.click)
    start(studio)
    assert re.search(r"stopped by hand at step \d \(counted from the last change\), after", explorer.words.value)
    assert len(explorer.run.legs) == 2
    scope: dict[str, Any] = {"backbone": five_blocks}
    exec(explorer.code.value.replace("steps=", "progress=False, steps="), scope)
    assert torch.equal(saved(explorer), load_image(to_pil(scope["result"].image)))
    assert "Style(second, weight=0.5)" in explorer.code.value


def test_pause_becomes_resume(studio: Studio) -> None:
    explorer, labels = studio.explorer, []

    def pause() -> None:
        explorer.pause.click()
        labels.append(explorer.pause.description)

    at_step(explorer, 2, pause)
    explorer.start.click()
    while not labels:
        explorer.run.join(0.01)
    explorer.run.join(0.3)
    assert explorer.run.is_alive()
    assert len(explorer.frames) == 2
    explorer.pause.click()
    wait_until_done()
    assert labels == ["Resume"]
    assert explorer.pause.description == "Pause"
    assert "all 3 steps" in explorer.words.value


def test_one_goes_back_and_wipes_between_before_and_after(studio: Studio) -> None:
    studio.begin.value = "noise"
    explorer = start(studio)
    explorer.step.value = 1
    assert explorer.picture.value == explorer.frames[1]
    assert "Rings mark step 1." in explorer.curves.value
    explorer.step.value, explorer.wipe.value = 2, 25
    wiped, before, after = (
        np.asarray(picture.convert("RGB"), dtype=int)
        for picture in (
            Image.open(BytesIO(explorer.picture.value)),
            explorer.before,
            Image.open(BytesIO(explorer.frames[2])),
        )
    )
    edge = wiped.shape[1] * 3 // 4
    for part, theirs, others in ((slice(0, edge), before, after), (slice(edge, None), after, before)):
        distances = [abs(wiped[:, part] - picture[:, part]).mean() for picture in (theirs, others)]
        assert distances[0] < 0.5 * distances[1]  # not 0: it is a JPEG


def test_the_animation_has_the_frames(studio: Studio) -> None:
    explorer = start(studio)
    explorer.animate.click()
    data = re.search(r'download="run.webp" href="data:image/webp;base64,([^"]*)"', explorer.links.value)
    assert data
    movie = Image.open(BytesIO(b64decode(data[1])))
    assert movie.n_frames == 3
    assert movie.size == explorer.before.size
    assert explorer.animate.disabled  # it is there


def test_an_animation_has_one_size_though_a_run_begins_small() -> None:
    sizes = [(20, 10), (40, 20)]
    pictures = [Image.new("RGB", size, color) for size, color in zip(sizes, ("blue", "red"), strict=True)]
    movie = Image.open(BytesIO(animation(pictures)))
    assert (movie.size, movie.n_frames) == ((40, 20), 2)


def test_of_many_frames_every_second_one_is_kept(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_explorer, "MOST_FRAMES", 6)
    studio.steps.value = 20
    explorer = start(studio)
    assert list(explorer.step.options) == [0, 4, 8, 12, 16, 19]


def test_the_call_is_what_the_controls_say(studio: Studio, given: dict[str, Any]) -> None:
    studio.photo.menu.value, studio.painting.menu.value = "coffee", "mosaic"
    studio.ratio.value, studio.layer.value, studio.tv.value = 0.01, "relu3_1", 10.0
    studio.begin.value, studio.optimizer.value = "noise", "adam"
    explorer = start(studio)
    torch.testing.assert_close(given["photo"], load_image(sample("coffee", 64)))
    torch.testing.assert_close(given["painting"], load_image(sample("mosaic", 64)))
    assert given["beta"] == pytest.approx(100)
    assert (given["content_layers"], given["tv"], given["steps"]) == (["relu3_1"], 10.0, 3)
    assert (given["start"], given["optimizer"]) == ("noise", "adam")
    assert "The run has ended: enough was seen, after 1 s. Loss 0.5 (style 0.5)." in explorer.words.value


def test_a_second_style_has_its_weight(studio: Studio, given: dict[str, Any]) -> None:
    studio.second.value, studio.second_weight.value = "fjord", 2.0
    start(studio)
    first, second = given["painting"]
    torch.testing.assert_close(first, load_image(sample("night_swirls", 64)))
    assert isinstance(second, Style)
    assert second.weight == 2.0
    torch.testing.assert_close(second.image, load_image(sample("fjord", 64)))


def test_a_recipe_brings_its_own_settings(studio: Studio, given: dict[str, Any], five_blocks: Backbone) -> None:
    studio.recipe.value = "keras_prisma"
    assert "Only pictures, size and network count" in studio.note.value
    explorer = start(studio)
    assert given["recipe"] == "keras_prisma"
    assert given["backbone"] is five_blocks
    assert not {"beta", "tv", "steps", "start"} & given.keys()
    assert "style_transfer(backbone, photo, painting, recipe='keras_prisma')" in explorer.code.value


def test_a_network_is_loaded_once_and_by_name(
    studio: Studio, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, five_blocks: Backbone
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(transfer, "load_backbone", lambda name: loaded.append(name) or five_blocks)
    monkeypatch.setattr(transfer, "cached_weights", lambda name: SimplePath(exists=name == "vgg16"))
    studio.network.value = "vgg19"
    assert "Start downloads the weights of vgg19 first: 550 MB, once." in studio.note.value
    studio.network.value = "vgg16"
    assert studio.note.value == ""
    for _ in range(2):
        explorer = start(studio)
    assert loaded == ["vgg16"]
    assert "style_transfer('vgg16', photo, painting" in explorer.code.value


class SimplePath:
    """A file that is there, or not."""

    def __init__(self, *, exists: bool) -> None:
        self.exists = lambda: exists


@pytest.mark.parametrize(
    ("error", "said"),
    [(RuntimeError("not enough <memory>"), "not enough &lt;memory&gt;"), (MemoryError(), "MemoryError")],
)
def test_a_failing_run_says_why(studio: Studio, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    def style_transfer(*_: Any, **__: Any) -> Result:
        raise error

    monkeypatch.setattr(transfer, "style_transfer", style_transfer)
    explorer = start(studio)
    assert f"This run failed: {said}." in explorer.words.value
    assert not explorer.start.disabled
    assert explorer.step.disabled


def test_a_picture_too_narrow_for_the_size_says_so(studio: Studio) -> None:
    banner = torch.rand(1, 3, 20, 160, generator=torch.Generator().manual_seed(0))
    file = BytesIO()
    to_pil(banner).save(file, "PNG")
    studio.photo.own["banner.png"] = file.getvalue()
    studio.photo.menu.options = [*studio.photo.menu.options, "banner.png"]
    studio.photo.menu.value = "banner.png"
    studio.explorer.start.click()
    assert not studio.explorer.start.disabled
    assert "64 x 8" in studio.explorer.words.value


def test_content_from_noise_with_the_layer_changed_on_the_way(five_blocks: Backbone, small_image: Tensor) -> None:
    photo = torch.nn.functional.interpolate(small_image, (32, 48))
    page = explore_content(five_blocks, photo)
    control(page, "steps").value = 8
    layer, code = control(page, "layer"), control(page, "in Python")
    assert "relu5_2" in layer.options
    control(page, "Start").click()
    wait_until_done()
    scope: dict[str, Any] = {"backbone": five_blocks, "photo": photo}
    exec(code.value.replace("steps=", "progress=False, steps="), scope)
    assert scope["result"].history.losses[-1].keys() == {"content", "tv"}
    assert "all 8 steps were taken" in words(page)


def test_style_from_noise_by_ticked_layers_and_another_statistic(five_blocks: Backbone, small_image: Tensor) -> None:
    painting = torch.nn.functional.interpolate(small_image, (32, 48))
    page = explore_style(five_blocks, painting)
    control(page, "steps").value = 4
    control(page, "statistic").value = "mean and deviation"
    for layer in ("relu2_1", "relu4_1"):
        control(page, layer).value = False
    control(page, "Start").click()
    wait_until_done()
    code = control(page, "in Python").value
    assert "{'relu1_1': 0.2, 'relu3_1': 0.2, 'relu5_1': 0.2}" in code
    assert "statistic=mean_and_deviation" in code
    scope: dict[str, Any] = {"backbone": five_blocks, "painting": painting}
    exec(code.replace("steps=", "progress=False, steps="), scope)
    for layer in ("relu1_1", "relu3_1", "relu5_1"):
        control(page, layer).value = False
    control(page, "Start").click()
    assert "no layer is ticked; tick at least one." in words(page)


# Curves.


def test_curves_are_a_drawing_with_words() -> None:
    losses = [{"style": 1.0, "tv": 0.0}, {"style": 0.1, "tv": 0.0}, {"style": 0.01, "tv": 0.0}]
    drawing = loss_curves(History(losses), at=1)
    (spoken,) = re.findall(r'role="img" aria-label="([^"]*)"', drawing)
    assert spoken == (
        "Losses by step, on a logarithmic scale. style: 1.00 at first, 0.01 at last, from 0.01 to 1.00. "
        "Rings mark step 1."
    )
    axes, line = re.findall(r'<polyline points="([^"]*)"', drawing)
    points = [tuple(map(float, point.split(","))) for point in line.split()]
    (left, top), (_, bottom), (right, _) = (tuple(map(float, point.split(","))) for point in axes.split())
    assert points == [(left, top), ((left + right) / 2, (top + bottom) / 2), (right, bottom)]
    assert f'cx="{points[1][0]:.1f}" cy="{points[1][1]:.1f}"' in drawing


def test_curves_of_two_legs_have_a_line_between_them_and_a_sum() -> None:
    history = History([{"content": 1.0, "style": 2.0}] * 4, stages=[0, 2])
    drawing = loss_curves(history)
    assert "A thin line at step 2: stage 2 begins. Losses of two stages cannot be compared." in drawing
    assert re.findall(r">(content|style|sum)</text>", drawing) == ["content", "style", "sum"]
    dashes = re.findall(r'<polyline points="[^"]*" stroke-dasharray="([^"]*)"', drawing)
    assert len(set(dashes)) == 3


def test_words_of_curves_are_no_markup() -> None:
    drawing = loss_curves(History([{'<">': 2.0}]))
    assert "&lt;&quot;&gt;: 2.00 at first" in drawing
    assert '<">' not in drawing


@pytest.mark.parametrize("losses", [[], [{"tv": 0.0}], [{"tv": float("nan")}]])
def test_nothing_is_drawn_of_losses_that_are_not_positive(losses: list[dict[str, float]]) -> None:
    assert loss_curves(History(losses)) == ""


def test_a_link_has_the_file() -> None:
    assert link("Save", "a.png", "image/png", bytes([0, 1, 2])) == (
        '<a download="a.png" href="data:image/png;base64,AAEC" style="text-decoration: underline">Save</a>'
    )


# The atlas.


@pytest.mark.parametrize(
    ("layer", "beta", "steps"), [("relu2_2", 0.1, 10), ("relu4_2", 10.0, 40), ("relu5_2", 1000.0, 200)]
)
def test_the_atlas_shows_the_tile_and_computes_the_same_call(layer: str, beta: float, steps: int) -> None:
    atlas = Atlas(load_backbone("compact"))
    sheet = full_network_picture("atlas")
    atlas.layer.value, atlas.beta.value, atlas.steps.value = layer, beta, steps
    row = ["relu2_2", "relu3_1", "relu4_2", "relu5_2"].index(layer) * 5 + [0.1, 1, 10, 100, 1000].index(beta)
    column = [10, 40, 200].index(steps)
    assert atlas.tile() == sheet.crop((128 * column, 128 * row, 128 * (column + 1), 128 * (row + 1)))
    assert f"content from {layer}, alpha / beta = {1 / beta:g}, {steps} steps" in atlas.words.value
    call = atlas.call()
    assert (call.options["content_layers"], call.options["beta"], call.options["steps"]) == ([layer], beta, steps)
    scope: dict[str, Any] = {}
    exec("from nst_lessons import load_image, sample\n" + "\n".join((*atlas.photo.lines, *atlas.painting.lines)), scope)
    assert torch.equal(scope["photo"], atlas.photo.value)
    assert torch.equal(scope["painting"], atlas.painting.value)


def test_the_atlas_is_small_and_whole() -> None:
    assert (FULL_NETWORK / "atlas.webp").stat().st_size <= 1_000_000
    assert full_network_picture("atlas").size == (3 * 128, 20 * 128)


def test_every_control_has_a_help_text(five_blocks: Backbone) -> None:
    image = load_image(sample("mosaic", 64))
    run = reconstruct_content(five_blocks, image, "relu1_1", steps=2, snapshots=[0, 1], progress=False)
    explorers = [
        explore_atlas(five_blocks),
        explore_content(five_blocks, image),
        explore_features(five_blocks, image),
        explore_preprocessing(image, five_blocks),
        explore_recipes(load_backbone("compact"), image, image),
        explore_reconstructions({"one": run}),
        explore_statistics(five_blocks, {"one": image}),
        explore_style(five_blocks, image),
        explore_transfer(five_blocks),
    ]
    assert len(explorers) == sum(name.startswith("explore_") for name in widgets.__all__)
    for page in explorers:
        for widget in walk(page):
            if getattr(widget, "description", ""):
                assert getattr(widget, help_trait(widget)), widget.description
