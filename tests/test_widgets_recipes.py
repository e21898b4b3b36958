"""The explorer of lesson 6 without a front end: rows side by side, and the balance that weights imply."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from widget_tree import assert_changes, control, pictures, words

from nst_lessons import PUBLISHED, Backbone, full_network_picture, load_backbone, load_image
from nst_lessons.conversion import transfer_settings
from nst_lessons.widgets import explore_recipes, recipes, render_recipes
from nst_lessons.widgets.recipes import chosen, implied_balance, number


@pytest.fixture(scope="module")
def compact() -> Backbone:
    return load_backbone("compact", precision="float32")


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    """Two images (1, 3, 32, 32)."""
    generator = torch.Generator().manual_seed(5)
    photo, painting = torch.rand(2, 1, 3, 32, 32, generator=generator)
    return photo, painting


def test_two_rows_stand_side_by_side_with_their_pictures() -> None:
    balances = {"surma": {"relu1_1": 1.5, "relu2_1": 0.25}, "shrimal": {"conv1_1": 1234567.0}}
    panels, text = render_recipes(balances, left="surma", right="shrimal")
    assert list(panels) == ["left: surma", "right: shrimal"]
    assert torch.equal(panels["right: shrimal"], load_image(full_network_picture("recipe_shrimal")))
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in re.findall("<tr>.*?</tr>", text)]
    assert rows[0] == ["recipe", "surma", "shrimal"]
    assert ["losses", "keras", "udacity"] in rows
    assert ["start", "noise", "photo"] in rows
    assert ["style : content", "1.8 : 1", "1,234,567 : 1"] in rows
    assert rows[-1] == ["of which", "relu1_1 1.5, relu2_1 0.25", "conv1_1 1,234,567"]
    assert "surma with keras losses: style weighs 1.8 times as much as content." in text
    assert "as published" not in text


def test_another_normalisation_is_said_not_to_be_the_pictures() -> None:
    _, text = render_recipes({"surma": {"relu1_1": 1.0}}, left="surma", right="surma", normalisation="paper")
    assert "surma with paper losses" in text
    assert "The pictures were made with the losses as published." in text
    assert chosen("surma", "paper").normalisation == "paper"
    assert chosen("surma", "as published") is PUBLISHED["surma"]


def test_balance_is_that_of_an_image_without_features(compact: Backbone, pair: tuple[Tensor, Tensor]) -> None:
    for name in ("gatys2016", "surma"):
        balance = implied_balance(compact, *pair, PUBLISHED[name])
        assert list(balance) == list(PUBLISHED[name].style_layers)
        settings = transfer_settings(PUBLISHED[name], compact, *pair)
        content = settings["alpha"] * sum(settings["content_layers"].values())
        style = settings["beta"] * sum(settings["style_layers"].values())
        assert sum(balance.values()) == pytest.approx(style / content)
    relative = implied_balance(compact, *pair, PUBLISHED["bits_to_brains"])
    assert relative == pytest.approx(dict.fromkeys(relative, 1.0))  # 5 to 1, a fifth each: no features count


def test_every_control_of_recipes_matters(
    compact: Backbone, pair: tuple[Tensor, Tensor], count_renders: Callable
) -> None:
    calls = count_renders(recipes, "implied_balance")
    explorer = explore_recipes(compact, *pair)
    assert_changes(explorer, lambda: setattr(control(explorer, "left"), "value", "surma"))
    assert_changes(explorer, lambda: setattr(control(explorer, "right"), "value", "hannover"))
    before = pictures(explorer), words(explorer)
    control(explorer, "normalisation").value = "paper"
    assert pictures(explorer) == before[0] and words(explorer) != before[1]
    balance = implied_balance(compact, *pair, chosen("surma", "paper"))
    assert f">{number(sum(balance.values()))} : 1<" in words(explorer)
    asked = len(calls)
    control(explorer, "normalisation").value = "as published"
    assert words(explorer) == before[1] and len(calls) == asked  # known already


def test_ratios_have_two_digits() -> None:
    assert [number(ratio) for ratio in (0.000123, 0.5, 7.26, 46.4, 32742413.9)] == [
        "0.00012",
        "0.5",
        "7.3",
        "46",
        "32,742,414",
    ]
