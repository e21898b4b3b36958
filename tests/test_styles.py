"""Styles: blends of several paintings, statistics by layer, and the loss that is assembled from them."""

import pytest
import torch
from torch import Tensor

from nst_lessons import (
    Style,
    gram_matrix,
    mean_and_deviation,
    noise_like,
    optimize_image,
    reconstruct_style,
    style_loss,
    style_transfer,
    total_variation,
    transfer_loss,
)
from nst_lessons.styles import layer_weights, style_target


def relative(x: Tensor, target: Tensor) -> float:
    return float((x - target).square().sum() / target.square().sum())


def test_two_styles_are_the_weighted_mean_of_their_statistics(tiny_backbone, small_image, other_image):
    layers = ["relu1_1", "relu2_2"]
    both = style_target(tiny_backbone, [Style(small_image, 3.0), other_image], layers)
    one, two = (style_target(tiny_backbone, image, layers) for image in (small_image, other_image))
    for layer in layers:
        torch.testing.assert_close(both[layer], 0.75 * one[layer] + 0.25 * two[layer])
    alone = style_target(tiny_backbone, [Style(other_image, 0.2)], layers)
    assert all(torch.equal(alone[layer], two[layer]) for layer in layers)


def test_a_statistic_may_depend_on_the_layer(tiny_backbone, small_image):
    statistics = {"relu1_1": gram_matrix, "relu2_1": mean_and_deviation}
    target = style_target(tiny_backbone, small_image, statistics, statistics)
    assert target["relu1_1"].shape == (1, 4, 4)
    assert target["relu2_1"].shape == (1, 2, 6)
    result = reconstruct_style(
        tiny_backbone, small_image, list(statistics), statistic=statistics, steps=60, progress=False
    )
    assert result.history.totals[-1] < result.history.totals[0] / 20


def test_a_blend_is_nearer_to_both_styles_than_they_are_to_each_other(tiny_backbone, small_image, other_image):
    layers = {"content_layers": ["relu2_1"], "style_layers": ["relu1_1", "relu2_1"]}
    options = {**layers, "alpha": 0.0, "tv": 0.0, "start": "noise", "steps": 200, "progress": False}
    blend = style_transfer(tiny_backbone, small_image, [Style(small_image), Style(other_image)], **options).image
    targets = [style_target(tiny_backbone, image, layers["style_layers"]) for image in (small_image, other_image)]

    def distance(image: Tensor, target: dict[str, Tensor]) -> float:
        return float(style_loss(tiny_backbone(image, target), target))

    apart = max(distance(small_image, targets[1]), distance(other_image, targets[0]))
    assert max(distance(blend, target) for target in targets) < apart / 1.5


def test_wrong_styles_are_named(tiny_backbone, small_image):
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="a style's weight must be"):
            style_target(tiny_backbone, Style(small_image, weight), ["relu1_1"])
    with pytest.raises(ValueError, match="at least one painting"):
        style_transfer(tiny_backbone, small_image, [])
    with pytest.raises(ValueError, match="masks are not supported yet"):
        style_transfer(tiny_backbone, small_image, Style(small_image, mask=small_image[:, :1]))


def test_the_assembled_loss_lets_a_term_be_replaced(tiny_backbone, small_image, other_image):
    content, style = tiny_backbone(small_image, ["relu2_1"]), style_target(tiny_backbone, other_image, ["relu1_1"])
    loss_fn = transfer_loss(tiny_backbone, content, style, alpha=2.0, beta=3.0, tv=0.5)
    x = noise_like(small_image, 1)
    found = tiny_backbone(x, ["relu2_1", "relu1_1"])
    expected = {
        "content": 2 * relative(found["relu2_1"], content["relu2_1"]),
        "style": 3 * relative(gram_matrix(found["relu1_1"]), style["relu1_1"]),
        "tv": 0.5 * float(total_variation(x)),
    }
    assert {name: float(term) for name, term in loss_fn(x).items()} == pytest.approx(expected, rel=1e-5)
    own = optimize_image(x, lambda image: loss_fn(image) | {"style": image.square().mean()}, steps=2, progress=False)
    assert own.history.losses[0]["style"] == pytest.approx(float(x.square().mean()))


def test_layer_weights():
    assert layer_weights(["a", "b"]) == {"a": 0.5, "b": 0.5}
    assert layer_weights({"a": 3, "b": 0.1}) == {"a": 3, "b": 0.1}
    with pytest.raises(ValueError, match=r"write \['relu4_2'\]"):
        layer_weights("relu4_2")
    with pytest.raises(ValueError, match="at least one layer"):
        layer_weights([])
