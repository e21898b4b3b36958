"""The explorer of lesson 6: two published recipes side by side, and the balance that their weights imply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import ipywidgets as widgets
from torch import Tensor

from nst_lessons.conversion import transfer_settings
from nst_lessons.image_files import load_image
from nst_lessons.images import check_image
from nst_lessons.network import Backbone, check_network
from nst_lessons.normalisations import NORMALISATIONS
from nst_lessons.published import PUBLISHED, Recipe, recipe_cells
from nst_lessons.samples import full_network_picture
from nst_lessons.styles import layer_weights
from nst_lessons.widgets.layout import Panels, explorer, helped, paragraph, table

AS_PUBLISHED = "as published"


def explore_recipes(backbone: Backbone, photo: Tensor, painting: Tensor) -> widgets.VBox:
    """Lesson 6: two write-ups side by side, and what their weights would mean under another normalisation.

    Args:
        backbone: whose features the balance is computed from.
        photo, painting: ``(1, 3, H, W)`` in [0, 1], of one shape.
    """
    check_network(backbone)
    check_image(photo, "the photo")
    check_image(painting, "the painting")
    balance = cache(lambda name, normalisation: implied_balance(backbone, photo, painting, chosen(name, normalisation)))

    def render(left: str, right: str, normalisation: str) -> tuple[Panels, str]:
        balances = {name: balance(name, normalisation) for name in (left, right)}
        return render_recipes(balances, left=left, right=right, normalisation=normalisation)

    controls = {
        side: helped(
            widgets.Dropdown(options=list(PUBLISHED), value=name, description=side), f"the recipe on the {side}"
        )
        for side, name in (("left", "keras_prisma"), ("right", "gatys2016"))
    }
    controls["normalisation"] = helped(
        widgets.Dropdown(options=[AS_PUBLISHED, *NORMALISATIONS], description="normalisation"),
        "what the losses are divided by, while the weights stay as published",
    )
    return explorer(render, controls)


def render_recipes(
    balances: Mapping[str, Mapping[str, float]], *, left: str, right: str, normalisation: str = AS_PUBLISHED
) -> tuple[Panels, str]:
    """The pictures that the full network made by two recipes, their rows, and the balance of style and content.

    Args:
        balances: of both recipes by name, see `implied_balance`.
        left, right: names of `PUBLISHED`.
        normalisation: one of `NORMALISATIONS` for both, with the weights as published, or `AS_PUBLISHED`.
    """
    recipes = {name: chosen(name, normalisation) for name in (left, right)}
    totals = {name: sum(balances[name].values()) for name in recipes}
    panels = {
        f"{side}: {name}": load_image(full_network_picture(f"recipe_{name}"))
        for side, name in (("left", left), ("right", right))
    }
    text = " ".join(
        f"{name} with {recipe.normalisation} losses: style weighs {number(totals[name])} times as much as content."
        for name, recipe in recipes.items()
    )
    if normalisation != AS_PUBLISHED:
        text += " The pictures were made with the losses as published."
    cells = {name: recipe_cells(recipe) for name, recipe in recipes.items()}
    rows = [(heading, cells[left][heading], cells[right][heading]) for heading in cells[left]]
    rows.append(("style : content", f"{number(totals[left])} : 1", f"{number(totals[right])} : 1"))
    by_layer = {
        name: ", ".join(f"{layer} {number(share)}" for layer, share in balances[name].items()) for name in recipes
    }
    rows.append(("of which", by_layer[left], by_layer[right]))
    return panels, paragraph(text, live=True) + table(("recipe", left, right), rows)


def number(ratio: float) -> str:
    """Two digits of a ratio, and all digits of whole ones."""
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"


def chosen(name: str, normalisation: str) -> Recipe:
    """A published recipe, perhaps under another normalisation with its weights unchanged."""
    recipe = PUBLISHED[name]
    return recipe if normalisation == AS_PUBLISHED else replace(recipe, normalisation=normalisation)


def implied_balance(backbone: Backbone, photo: Tensor, painting: Tensor, recipe: Recipe) -> dict[str, float]:
    """Each layer's style loss by the whole content loss, if both are as wrong as no features at all.

    Photo and painting are ``(1, 3, H, W)`` in [0, 1], of one shape; the result is ``{style layer: ratio}``.
    """
    settings = transfer_settings(recipe, backbone, photo, painting)
    content = settings["alpha"] * sum(layer_weights(settings["content_layers"]).values())
    style = layer_weights(settings["style_layers"])
    return {layer: settings["beta"] * weight / content for layer, weight in style.items()}
