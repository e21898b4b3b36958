"""Published recipes: each loss against its publication's own formula; weights carried to other scales and networks.

The networks are tiny. A "publication" feeds one of them larger pixels, or has a wider one; what must agree is the
number of the loss and every pixel's gradient.
"""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nst_lessons import (
    NORMALISATIONS,
    PUBLISHED,
    Backbone,
    Recipe,
    apply_style_transfer,
    content_loss,
    conversion,
    gram_matrix,
    load_backbone,
    load_image,
    noise_like,
    recipe_table,
    resize,
    sample,
    style_loss,
    style_transfer,
)
from nst_lessons.conversion import (
    LAYER_NORMS,
    SCALES,
    gains,
    reference_input,
    relative_weights,
    transfer_settings,
)
from nst_lessons.published import find_recipe, with_changes
from nst_lessons.transfer import plan_transfer, recipe_network

STATISTICS = json.loads((Path(__file__).parent / "vgg_layer_statistics.json").read_text())
CONTENT, STYLE = {"relu2_1": 1.0}, {"relu1_2": 0.3, "relu2_2": 0.7}
each_recipe = pytest.mark.parametrize("name", PUBLISHED)


def own(**changes) -> Recipe:
    """A recipe for the tiny network."""
    fields = {
        "network": "vgg16",
        "content_layers": CONTENT,
        "style_layers": STYLE,
        "alpha": 2.0,
        "beta": 3.0,
        "normalisation": "paper",
        "scale": "torchvision",
        "pooling": "avg",
        "start": "noise",
        "optimizer": "lbfgs",
        "steps": 40,
        "source": "",
        "note": "",
    }
    return Recipe(**(fields | changes))


def without_gains(monkeypatch) -> None:
    """As if the network at hand were the published one, fed as published."""
    monkeypatch.setattr(conversion, "gains", lambda recipe, backbone, layers: dict.fromkeys(layers, 1.0))


def with_channels(monkeypatch, *channels: int) -> None:
    """As if the published network had so many channels in its blocks."""
    monkeypatch.setattr(conversion, "BLOCK_CHANNELS", channels)


def noise_by_hand() -> Tensor:
    """As pystiche made it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.rand(1, 3, 256, 256).double()


def first_losses(backbone: Backbone, photo: Tensor, painting: Tensor, **options) -> dict[str, float]:
    return style_transfer(backbone, photo, painting, **(options | {"steps": 1, "progress": False})).history.losses[0]


def gram(features: Tensor) -> Tensor:
    """As the paper has it, not divided."""
    rows = features.flatten(2)[0]
    return rows @ rows.T


def plain_losses(name: str, x: Tensor, photo: Tensor, painting: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
    """Content and style loss of one layer as the publications write them."""
    n, m = x.shape[1], x[0, 0].numel()
    if name == "relative":
        difference = gram(x) - gram(painting)
        return (x - photo).square().sum() / photo.square().sum(), (difference / gram(painting).norm()).square().sum()
    if name == "paper":
        return F.mse_loss(x, photo, reduction="sum") / 2, (gram(x) - gram(painting)).square().sum() / (2 * n * m) ** 2
    if name == "keras":
        style = (gram(x) - gram(painting)).square().sum() / (4.0 * 3**2 * pixels**2)
        return (x - photo).square().sum(), style
    content = F.mse_loss(x, photo)
    return content, {
        "authors": lambda: F.mse_loss(gram(x) / m, gram(painting) / m),
        "johnson": lambda: F.mse_loss(gram(x) / (n * m), gram(painting) / (n * m)),
        "gordic": lambda: F.mse_loss(gram(x) / (n * m), gram(painting) / (n * m), reduction="sum"),
        "udacity": lambda: F.mse_loss(gram(x), gram(painting)) / (n * m),
    }[name]()


def plain_total(recipe: Recipe, network: Backbone, x: Tensor, photo: Tensor, painting: Tensor) -> Tensor:
    """alpha content + beta style, with one network and no conversion."""
    pixels = x[0, 0].numel()
    features = [network(image, [*CONTENT, *STYLE]) for image in (x, photo, painting)]

    def loss(layer: str, term: int) -> Tensor:
        return plain_losses(recipe.normalisation, *(maps[layer] for maps in features), pixels)[term]

    content = sum(weight * loss(layer, 0) for layer, weight in recipe.content_layers.items())
    style = sum(weight * loss(layer, 1) for layer, weight in recipe.style_layers.items())
    return recipe.alpha * content + recipe.beta * style


def engine_total(recipe: Recipe, network: Backbone, x: Tensor, photo: Tensor, painting: Tensor) -> Tensor:
    """The same, as `style_transfer` computes it: relative losses with converted weights."""
    settings = transfer_settings(recipe, network, photo, painting)
    content = network(photo, settings["content_layers"])
    style = {layer: gram_matrix(maps) for layer, maps in network(painting, settings["style_layers"]).items()}
    features = network(x, content | style)
    return settings["alpha"] * content_loss(features, content, weights=settings["content_layers"]) + settings[
        "beta"
    ] * style_loss(features, style, weights=settings["style_layers"])


def assert_same_loss_and_gradient(plain, engine, x: Tensor) -> None:
    images = [x.clone().requires_grad_() for _ in range(2)]
    values = [total(image) for total, image in zip((plain, engine), images, strict=True)]
    gradients = [torch.autograd.grad(value, image)[0] for value, image in zip(values, images, strict=True)]
    torch.testing.assert_close(values[1], values[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-7 * float(gradients[0].abs().max()))


@pytest.fixture
def tiny(tiny_backbone, monkeypatch) -> Backbone:
    """In double precision, for gradients that agree in all their digits."""
    monkeypatch.setattr(conversion, "reference_input", noise_by_hand)
    return tiny_backbone.double()


@pytest.fixture
def photo(small_image) -> Tensor:
    return small_image.double()


@pytest.fixture
def painting(other_image, small_image) -> Tensor:
    return resize(other_image, (12, 17)).double()


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_engines_loss_is_the_published_one(normalisation, monkeypatch, tiny, photo, painting):
    without_gains(monkeypatch)
    with_channels(monkeypatch, 4, 6)
    recipe = own(normalisation=normalisation)
    x = noise_like(photo, 3).double()
    assert_same_loss_and_gradient(
        lambda image: plain_total(recipe, tiny, image, photo, painting),
        lambda image: engine_total(recipe, tiny, image, photo, painting),
        x,
    )


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_style_transfer_minimises_the_published_loss(
    normalisation, monkeypatch, tiny_backbone, small_image, other_image
):
    without_gains(monkeypatch)
    with_channels(monkeypatch, 4, 6)
    recipe = own(normalisation=normalisation)
    losses = first_losses(tiny_backbone, small_image, other_image, recipe=recipe, seed=3)
    painting = resize(other_image, (12, 17))
    expected = plain_total(recipe, tiny_backbone, noise_like(small_image, 3), small_image, painting)
    assert sum(losses.values()) == pytest.approx(float(expected), rel=1e-4)


def scaled_input(network: Backbone, scale: float) -> Backbone:
    """The same network fed pixels `scale` times as large; without biases, so that nothing else changes."""
    twin = Backbone([[4, 4], [6, 6]]).double()
    twin.load_state_dict(network.state_dict())
    twin.conv1_1.weight.data *= scale
    return twin


def without_biases(network: Backbone) -> Backbone:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.bias)
    return network


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_weights_for_caffes_pixels_are_converted(normalisation, monkeypatch, tiny, photo, painting):
    """Exact without biases: features grow by s, Gram matrices by s^2, losses by s^2 and s^4."""
    with_channels(monkeypatch, 4, 6)
    tiny = without_biases(tiny)
    norms = {layer: float(maps.norm()) for layer, maps in max_pooled(tiny, noise_by_hand(), STYLE | CONTENT)}
    monkeypatch.setitem(LAYER_NORMS, "vgg16", norms)
    recipe = own(normalisation=normalisation, scale="caffe")
    theirs = scaled_input(tiny, SCALES["caffe"])
    assert_same_loss_and_gradient(
        lambda image: plain_total(recipe, theirs, image, photo, painting),
        lambda image: engine_total(recipe, tiny, image, photo, painting),
        noise_like(photo, 3).double(),
    )


@torch.no_grad()
def max_pooled(network: Backbone, x: Tensor, layers) -> list[tuple[str, Tensor]]:
    """Features with max pooling of an input that is not normalised, in plain steps."""
    found = []
    for name in network.layers:
        x = F.max_pool2d(x, 2) if name.startswith("pool") else network.get_submodule(name)(x)
        if name in layers:
            found.append((name, x))
    return found


def test_the_scales_ratio_is_the_field_guides():
    s = SCALES["caffe"] / SCALES["torchvision"]
    assert s == pytest.approx(57.6, abs=0.1)
    assert s**2 == pytest.approx(3300, rel=0.02)  # what the balance of style and content is off when copied


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_weights_reach_a_network_of_another_width_and_scale(normalisation, monkeypatch, tiny, photo, painting):
    """The publication's network has every channel three times, and larger; both see exactly the same things."""
    copies, factor = 3, 1.7
    wide = Backbone([[4 * copies] * 2, [6 * copies] * 2]).double()
    scale = 1.0  # of the features, larger and larger
    for name, module in tiny.named_children():
        if isinstance(module, nn.Conv2d):
            twin = wide.get_submodule(name)
            inputs = 1 if name == "conv1_1" else copies
            weight = module.weight.repeat(copies, inputs, 1, 1) / inputs
            scale *= factor
            twin.weight.data, twin.bias.data = factor * weight, scale * module.bias.repeat(copies)
    with_channels(monkeypatch, 4 * copies, 6 * copies)
    norms = {layer: float(maps.norm()) for layer, maps in max_pooled(wide, noise_by_hand(), STYLE | CONTENT)}
    monkeypatch.setitem(LAYER_NORMS, "vgg16", norms)
    recipe = own(normalisation=normalisation)
    assert_same_loss_and_gradient(
        lambda image: plain_total(recipe, wide, image, photo, painting),
        lambda image: engine_total(recipe, tiny, image, photo, painting),
        noise_like(photo, 3).double(),
    )


def test_the_noise_is_pystiches():
    assert torch.equal(reference_input().double(), noise_by_hand())


def test_the_published_norms_are_pystiches():
    for network, norms in LAYER_NORMS.items():
        assert norms == {layer: float(row[2]) for layer, row in STATISTICS[network].items()}


def test_gains_of_a_network_by_itself_are_its_pixels_scale(monkeypatch, tiny_backbone):
    layers = ["conv1_2", "relu2_2"]
    found = max_pooled(tiny_backbone, noise_by_hand().float(), layers)
    monkeypatch.setitem(LAYER_NORMS, "vgg16", {layer: float(maps.norm()) for layer, maps in found})
    assert gains(own(), tiny_backbone, layers) == pytest.approx(dict.fromkeys(layers, 1.0), rel=1e-4)
    caffe = dict.fromkeys(layers, 255 * (0.229 + 0.224 + 0.225) / 3)
    assert gains(own(scale="caffe"), tiny_backbone, layers) == pytest.approx(caffe, rel=1e-4)
    before = tiny_backbone(reference_input(), ["pool1"])["pool1"]
    gains(own(), tiny_backbone, layers)
    assert torch.equal(tiny_backbone(reference_input(), ["pool1"])["pool1"], before)  # its pooling is left alone


def test_a_network_that_is_fed_as_the_write_up_fed_its_own_needs_no_conversion(monkeypatch, tiny_backbone):
    tiny = without_biases(tiny_backbone)
    layers = ["relu2_1"]
    found = dict(max_pooled(tiny, SCALES["caffe"] * noise_by_hand().float(), layers))
    monkeypatch.setitem(LAYER_NORMS, "vgg16", {"relu2_1": float(found["relu2_1"].norm()) / SCALES["caffe"]})
    tiny.convention = "caffe"
    assert gains(own(scale="caffe"), tiny, layers)["relu2_1"] == pytest.approx(1, rel=1e-4)


def test_layers_that_a_network_lacks_are_named(tiny_backbone, small_image):
    with pytest.raises(ValueError, match="unknown layer 'relu3_1'; choose from conv1_1"):
        style_transfer(tiny_backbone, small_image, small_image, recipe=own(content_layers={"relu3_1": 1.0}))
    deep = Backbone([[2, 2], [2, 2], [2, 2, 2, 2]])
    with pytest.raises(ValueError, match="vgg16 has no layer 'relu3_4'; choose from conv1_1"):
        style_transfer(deep, small_image, small_image, recipe=own(content_layers={"relu3_4": 1.0}))


def test_a_silent_layer_is_named(tiny_backbone, small_image):
    torch.nn.init.constant_(tiny_backbone.conv2_1.weight, 0)
    torch.nn.init.constant_(tiny_backbone.conv2_1.bias, -1)
    with pytest.raises(ValueError, match="relu2_1 of this network is silent on noise"):
        style_transfer(tiny_backbone, small_image, small_image, recipe=own())


# total variation


def test_total_variation_is_the_published_sum(monkeypatch, tiny_backbone, small_image, other_image):
    """Keras' example: pixels from 0 to 255, both squares of a pixel added, to the power of 1.25, summed."""
    recipe = own(scale="caffe", tv=0.5, tv_power=1.25)
    losses = first_losses(tiny_backbone, small_image, other_image, recipe=recipe, seed=3)
    x = 255 * noise_like(small_image, 3).double()
    a = (x[:, :, :-1, :-1] - x[:, :, 1:, :-1]) ** 2
    b = (x[:, :, :-1, :-1] - x[:, :, :-1, 1:]) ** 2
    assert losses["tv"] == pytest.approx(0.5 * float(((a + b) ** 1.25).sum()), rel=1e-4)


# the rows, whose values are in test_published_rows


@pytest.fixture(scope="module")
def compact() -> Backbone:
    return load_backbone("compact")


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    return load_image(sample("chelsea", 64)), load_image(sample("night_swirls", 96))


@each_recipe
def test_every_recipe_lowers_its_own_loss(name, compact, pair):
    result = style_transfer(compact, *pair, recipe=name, steps=25, progress=False)
    totals = result.history.totals
    assert min(totals) < totals[0] / (1.05 if name == "shrimal" else 2.5)  # its Adam takes very small steps
    assert result.image.shape == pair[0].shape
    assert len(totals) == 25
    assert not torch.equal(result.image, pair[0])


@each_recipe
def test_every_recipe_moves_content_and_style_in_the_common_measure(name, compact, pair):
    """Judged by relative losses at the paper's layers, the painting's style comes nearer than at the start."""
    photo, painting = pair
    layers = ["relu1_1", "relu2_1", "relu3_1", "relu4_1"]
    target = {layer: gram_matrix(maps) for layer, maps in compact(painting, layers).items()}
    options = {"learning_rate": 0.02} if name == "shrimal" else {}
    result = style_transfer(compact, photo, painting, recipe=name, steps=25, snapshots=[0], progress=False, **options)
    before, after = (
        style_loss(compact(image, layers), target) for image in (result.history.snapshots[0], result.image)
    )
    assert after < 0.7 * before


def test_starts_and_optimisers_are_the_rows(compact, pair):
    photo, _ = pair
    for name, row in PUBLISHED.items():
        result = style_transfer(compact, *pair, recipe=name, steps=1, snapshots=[0], seed=2, progress=False)
        first = result.history.snapshots[0]
        if row.start == "photo":
            torch.testing.assert_close(first, photo)
        elif row.start == "noise":
            torch.testing.assert_close(first, noise_like(photo, 2))
        else:
            assert (first - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)).abs().max() < 0.05
            assert first.std() > 0


def test_the_painting_is_stretched_to_the_photos_shape(monkeypatch, tiny_backbone, small_image, other_image):
    def style(**options) -> float:
        return first_losses(tiny_backbone, small_image, other_image, seed=1, **options)["style"]

    stretched = own()
    as_it_is = dataclasses.replace(stretched, same_shape=False)
    assert style(recipe=stretched) != pytest.approx(style(recipe=as_it_is), rel=1e-3)
    for recipe, size in ((stretched, small_image.shape[-2:]), (as_it_is, other_image.shape[-2:])):
        (shown,) = plan_transfer(tiny_backbone, small_image, other_image, recipe=recipe).styles
        assert shown.image.shape[-2:] == size


def test_bits_to_brains_stops_below_its_threshold(compact, pair):
    larger = load_image(sample("coffee", 128)), load_image(sample("fjord", 128))
    result = style_transfer(compact, *larger, recipe="bits_to_brains", progress=False)
    assert result.stopped.startswith("the loss fell below 1 at step")
    assert result.history.totals[-1] < 1 <= min(result.history.totals[:-1])
    without = dataclasses.replace(PUBLISHED["bits_to_brains"], stop_below=None)
    none = style_transfer(compact, *pair, recipe=without, steps=3, progress=False)
    assert none.stopped == "all 3 steps were taken"


def test_what_is_given_wins_over_the_row(compact, pair):
    def losses(**options) -> dict[str, float]:
        return first_losses(compact, *pair, recipe="keras_prisma", seed=1, **options)

    row = losses()
    assert losses(beta=7.0)["style"] == pytest.approx(7 * row["style"], rel=1e-4)
    assert losses(alpha=7.0)["content"] == pytest.approx(70 * row["content"], rel=1e-4)
    assert row["tv"] == 0 < losses(tv=1.0)["tv"]
    assert losses(start="photo")["content"] == 0
    result = style_transfer(compact, *pair, recipe="surma", steps=2, optimizer="adam", progress=False)
    assert result.stopped == "all 2 steps were taken"


def test_other_layers_are_in_the_rows_units(monkeypatch, tiny_backbone, small_image, other_image):
    """ "Change the layers" is what the write-ups invite to; the new ones are weighed as the old ones were."""
    without_gains(monkeypatch)
    with_channels(monkeypatch, 4, 6)
    recipe, layers = own(), ["relu1_1", "relu2_2"]
    losses = first_losses(tiny_backbone, small_image, other_image, recipe=recipe, content_layers=layers, seed=3)
    x = noise_like(small_image, 3)
    expected = sum(
        0.5 * F.mse_loss(*(tiny_backbone(image, [layer])[layer] for image in (x, small_image)), reduction="sum") / 2
        for layer in layers
    )
    assert losses["content"] == pytest.approx(recipe.alpha * float(expected), rel=1e-4)
    with pytest.raises(ValueError, match=r"write \['relu1_1'\]"):
        style_transfer(tiny_backbone, small_image, other_image, recipe=recipe, style_layers="relu1_1")


def test_a_learning_rate_belongs_to_its_optimiser():
    def rate(**changes):
        row, others = with_changes(find_recipe("shrimal"), {**changes, "seed": 3})
        assert others == {"seed": 3}
        return row.learning_rate

    assert rate() == rate(steps=3) == pytest.approx(0.003 * 0.226)
    assert rate(optimizer="lbfgs") is None
    assert rate(optimizer="lbfgs", learning_rate=0.5) == 0.5


def test_unknown_names_show_the_known_ones(tiny_backbone, small_image):
    with pytest.raises(ValueError, match=r"unknown recipe 'gatys'; choose from surma, shrimal, .*keras_prisma_2"):
        style_transfer(tiny_backbone, small_image, small_image, recipe="gatys")
    with pytest.raises(ValueError, match="unknown normalisation 'mean'; choose from relative, paper"):
        style_transfer(tiny_backbone, small_image, small_image, recipe=own(normalisation="mean"))


# whose network


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of torch's."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.delenv("NST_LESSONS_BACKBONE", raising=False)
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_without_its_network_the_compact_one_takes_its_place(cache, pair, capsys):
    result = style_transfer(None, *pair, recipe="shrimal", steps=2, progress=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert "vgg19, is not on this machine: compact takes its place" in lines[0]
    assert "nst-lessons fetch vgg19" in lines[0]
    compact = load_backbone("compact", pooling="max")
    again = style_transfer(compact, *pair, recipe="shrimal", steps=2, progress=False)
    assert result.losses == pytest.approx(again.losses, rel=1e-4)
    assert not list(cache.iterdir())  # nothing was fetched


def test_its_own_network_where_it_is_at_hand(cache, pair, capsys):
    torch.manual_seed(1)  # so narrow that with other weights a layer may be silent
    vgg19 = Backbone([[2] * 2, [3] * 2, [4] * 4, [5] * 4, [6] * 4])
    torch.save(vgg19.state_dict(), cache / "vgg19-dcbb9e9d.pth")
    assert recipe_network(PUBLISHED["gatys2016"]) == "vgg19"
    result = style_transfer(None, *pair, recipe="gatys2016", steps=2, progress=False)
    assert len(result.history.losses) == 2
    assert capsys.readouterr().out == ""


def test_apply_style_transfer_follows_a_recipe(cache, capsys):
    photo, painting = sample("chelsea", 64), sample("fjord", 96)
    options = {"size": 64, "steps": 3, "progress": False, "recipe": "surma"}
    content, style, target = apply_style_transfer(photo, painting, **options)
    assert "vgg16, is not on this machine" in capsys.readouterr().out
    assert content.shape == target.shape
    assert style.shape[3] == content.shape[3]  # as loaded
    compact = load_backbone("compact", pooling="max")
    expected = style_transfer(compact, content, style, recipe="surma", steps=3, progress=False)
    torch.testing.assert_close(target, expected.image, atol=0.02, rtol=0)
    apply_style_transfer(photo, painting, backbone="compact", **options)
    assert capsys.readouterr().out == ""  # who names a network is told nothing


def test_the_table_has_every_row():
    lines = recipe_table().splitlines()
    assert len(lines) == 2 + len(PUBLISHED)
    assert len({line.count("|") for line in lines}) == 1
    for name, line in zip(PUBLISHED, lines[2:], strict=True):
        assert line.startswith(f"| `{name}` |")
        assert PUBLISHED[name].normalisation in line
    assert "conv1_1 (1), conv2_1 (0.75)" in recipe_table()


def test_relative_weights_leave_alpha_and_beta_out(monkeypatch, tiny_backbone, small_image):
    with_channels(monkeypatch, 4, 6)
    recipe = own(normalisation="relative")
    ones = dict.fromkeys([*CONTENT, *STYLE], 1.0)
    content, style = relative_weights(recipe, tiny_backbone, small_image, small_image, ones)
    assert content == pytest.approx(CONTENT)
    assert style == pytest.approx(STYLE)
