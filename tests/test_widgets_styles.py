"""The explorer of lesson 4 without a front end: what a shuffle changes and what it does not."""

import re
from typing import Any

import pytest
import torch
from matplotlib import colormaps
from torch import Tensor
from widget_tree import assert_changes, control, pictures, words

from nst_lessons import Backbone, gram_matrix
from nst_lessons.widgets import explore_statistics, render_statistics
from nst_lessons.widgets.styles import PIXELS, SHUFFLES, matrix_picture, shuffled, side_by_side

LAYERS = [PIXELS, "relu1_1", "relu2_1"]


def changes(text: str) -> dict[str, tuple[str, str]]:
    """What the words say: ``{layer: (change of the features, change of the statistic)}`` in percent."""
    found = re.findall(r"(\w+): the features change by ([\d.]+)%, the [\w ]+ by ([\d.]+)%", text)
    return {layer: (features, statistic) for layer, features, statistic in found}


@pytest.mark.parametrize("statistic", ["Gram matrix", "mean and deviation"])
@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_a_shuffle_changes_features_and_not_what_forgets_positions(
    tiny_backbone: Backbone, photo: Tensor, statistic: str, shuffle: str
) -> None:
    panels, text = render_statistics(tiny_backbone, photo, layers=LAYERS, statistic=statistic, shuffle=shuffle)
    before, after, old, new = panels.values()
    assert list(panels) == ["features", "features, after the shuffle", statistic, f"{statistic}, after the shuffle"]
    said = changes(text)
    assert list(said) == LAYERS
    if shuffle == "nothing":
        assert torch.equal(before, after) and torch.equal(old, new)
        assert set(said.values()) == {("0", "0.0")}
    elif shuffle == "positions of the features":
        assert not torch.allclose(before, after) and torch.equal(old, new)
        assert all(float(features) > 5 and change == "0.0" for features, change in said.values())
    else:
        assert not torch.allclose(before, after) and not torch.allclose(old, new)
        assert said[PIXELS][1] == "0.0"  # the palette stays
        assert all(float(said[layer][1]) > 1 for layer in LAYERS[1:])


def test_shuffled_positions_are_the_same_in_all_channels(small_image: Tensor) -> None:
    place = torch.arange(12 * 17).view(1, 1, 12, 17)
    mixed = shuffled(torch.cat([place, place + 1000], dim=1))
    assert torch.equal(mixed[:, 1] - mixed[:, 0], torch.full((1, 12, 17), 1000))
    assert torch.equal(mixed[:, :1].flatten().sort().values, place.flatten())
    assert not torch.equal(mixed[:, :1], place)
    assert torch.equal(shuffled(small_image), shuffled(small_image))


def test_words_say_how_many_numbers_are_kept(tiny_backbone: Backbone, photo: Tensor) -> None:
    _, text = render_statistics(tiny_backbone, photo, layers=LAYERS[1:], statistic="Gram matrix", shuffle="nothing")
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", text)
    strongest = int(tiny_backbone(photo, ["relu2_1"])["relu2_1"].mean((0, 2, 3)).argmax())
    assert cells[-4:] == ["relu2_1", f"{6 * 20 * 28:,}", "36", f"channel {strongest}"]


def test_pictures_of_layers_stand_in_one_square() -> None:
    white, black = torch.ones(1, 3, 3, 5), torch.zeros(1, 3, 90, 90)
    square = side_by_side([white, black, white])
    quarters = square[0, 0, [80, 80, 240, 240], [80, 240, 80, 240]]
    assert square.shape[-2] == square.shape[-1]
    assert quarters.tolist() == [1.0, 0.0, 1.0, 0.5]
    assert (side_by_side([]) == 0.5).all()


def test_matrices_have_the_colours_of_the_figures() -> None:
    matrix = torch.tensor([[[1.0, 0.25], [0.25, 0.0]]]).double()
    picture = matrix_picture(matrix, 4 * matrix)
    for place, share in (((0, 0), 0.5), ((0, 1), 0.25), ((1, 1), 0.0)):
        colour = torch.tensor(colormaps["magma"](share)[:3]).double()
        torch.testing.assert_close(picture[0, :, place[0], place[1]], colour)
    signed = matrix_picture(-matrix, matrix - 1)
    torch.testing.assert_close(signed[0, :, 0, 0], torch.tensor(colormaps["RdBu_r"](0.0)[:3]).double())


def test_every_control_of_styles_matters(tiny_backbone: Backbone, photo: Tensor) -> None:
    explorer = explore_statistics(tiny_backbone, {"a": photo, "b": photo.flip(1).square()})
    for name, value in (
        ("painting", "b"),
        ("statistic", "mean and deviation"),
        ("shuffle", "positions of the features"),
        ("shuffle", "pixels of the painting"),
        ("relu2_1", True),
        (PIXELS, False),
        ("relu1_1", False),
        ("relu2_1", False),
    ):
        assert_changes(explorer, lambda name=name, value=value: setattr(control(explorer, name), "value", value))
    assert "Tick at least one layer." in words(explorer)


def test_shuffling_leaves_the_picture_of_the_gram_matrix_byte_by_byte(tiny_backbone: Backbone, photo: Tensor) -> None:
    explorer = explore_statistics(tiny_backbone, {"a": photo})
    features, _, matrices, _ = pictures(explorer)
    control(explorer, "shuffle").value = "positions of the features"
    now = pictures(explorer)
    assert now[0] == features != now[1]
    assert now[2] == now[3] == matrices


def test_a_statistic_of_ones_own(tiny_backbone: Backbone, photo: Tensor) -> None:
    def centred(features: Tensor) -> Tensor:
        assert features.dtype == torch.float64  # so that sums hardly depend on their order
        return gram_matrix(features - features.mean((2, 3), keepdim=True))

    settings: dict[str, Any] = {"layers": ["relu1_1"], "shuffle": "positions of the features"}
    panels, text = render_statistics(tiny_backbone, photo, {"covariance": centred}, statistic="covariance", **settings)
    assert changes(text)["relu1_1"][1] == "0.0"
    assert "covariance, after the shuffle" in panels
