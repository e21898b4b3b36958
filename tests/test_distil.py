"""The training of the compact backbone, on networks and images small enough for a test."""

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from distil import (
    as_rows,
    distil,
    held_out_errors,
    least_squares,
    normalise_activations,
    save_weights,
    start_from_teacher,
    telling_channels,
)
from nst_lessons import Backbone, load_backbone, noise_like, save_image
from training_images import augment, random_crops, read_photos

RELUS = ["relu1_1", "relu1_2", "relu2_1"]


@pytest.fixture
def teacher() -> Backbone:
    torch.manual_seed(5)
    return Backbone([[8, 8], [10], [10], [10, 10]]).requires_grad_(False)


@pytest.fixture
def photos() -> list[torch.Tensor]:
    """Smooth random pictures, 3 x 40 x 52."""
    coarse = torch.rand(24, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    return list((F.interpolate(coarse, (40, 52), mode="bicubic").clamp(0, 1) * 255).byte())


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, value in {"training_images.CROP": 32, "training_images.CANVAS_LIFE": 4, "distil.SAVE_EVERY": 5}.items():
        monkeypatch.setattr(name, value)


def test_least_squares_recovers_a_linear_map():
    weight, bias, inputs = torch.randn(4, 6), torch.randn(4), torch.randn(100, 6)
    found, offset = least_squares(inputs, inputs @ weight.T + bias)
    torch.testing.assert_close(found, weight, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(offset, bias, atol=1e-4, rtol=1e-3)


def test_telling_channels_skip_copies_and_silence():
    strong, weak = torch.randn(200), 0.3 * torch.randn(200)
    features = torch.stack([torch.zeros(200), strong, 0.9 * strong, weak], dim=1)
    assert telling_channels(features, 2) == [1, 3]


def test_rows_are_positions():
    features = torch.arange(24.0).view(1, 2, 3, 4)
    assert as_rows(features).shape == (12, 2)
    assert as_rows(features)[5].tolist() == features[0, :, 1, 1].tolist()


def test_crops_come_from_the_photos():
    ramp = torch.arange(40).repeat(40, 1).expand(3, -1, -1).byte()  # as bright as its column is far right
    crops = 255 * random_crops([ramp], 30, torch.Generator().manual_seed(0))
    assert crops.shape == (30, 3, 32, 32)
    widths = (crops[:, 0, 16, 27] - crops[:, 0, 16, 4]) / 23  # in the photo's columns, of one of the crop's
    assert 0.99 < widths.abs().min() < 1.05 and 1.2 < widths.abs().max() < 1.26  # squares of 32 to 40 pixels
    assert widths.min() < 0 < widths.max()  # some are mirrored
    assert crops.amin((1, 2, 3)).unique().numel() > 3  # they begin here and there


def test_augmented_images_stay_images(photos):
    crops = random_crops(photos, 16, torch.Generator().manual_seed(0))
    changed = augment(crops, torch.Generator().manual_seed(1))
    assert changed.shape == crops.shape
    assert changed.min() >= 0 and changed.max() <= 1
    assert not torch.equal(changed, crops)


def test_a_student_as_wide_as_its_teacher_starts_as_its_copy(teacher, photos):
    student = Backbone([[8, 8], [10], [10], [10, 10]]).requires_grad_(False)
    images = random_crops(photos, 64, torch.Generator().manual_seed(0))
    start_from_teacher(student, teacher, images)
    for layer in RELUS:
        found, expected = student(images, [layer])[layer], teacher(images, [layer])[layer]
        assert (found - expected).square().mean() < 1e-3 * expected.square().mean(), layer


def test_a_student_wider_than_its_teacher_is_refused(teacher, photos):
    images = random_crops(photos, 2, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="conv1_2 of the student has 9 channels, of its start only 8"):
        start_from_teacher(Backbone([[8, 9], [10], [10], [10, 10]]), teacher, images)


def test_scaling_keeps_the_function_and_sets_the_means(teacher, photos):
    images = random_crops(photos, 8, torch.Generator().manual_seed(0))
    before = teacher(images, teacher.layers)
    normalise_activations(teacher, images)
    for layer, features in teacher(images, teacher.layers).items():
        if layer.startswith("relu"):
            assert features.mean() == pytest.approx(1, rel=1e-4)
            scale = features.sum() / before[layer].sum()
            torch.testing.assert_close(features, before[layer] * scale, rtol=1e-3, atol=1e-4)


def test_training_resumes_where_it_was_cut(teacher, photos, tmp_path, capsys):
    student = Backbone([[4, 4], [5], [5], [5, 5]])
    distil(student, teacher, photos, out=tmp_path / "a.safetensors", steps=10, batch=2, canvases=1)
    saved = torch.load(tmp_path / "a.training", weights_only=True)
    assert saved["step"] == 10
    again = Backbone([[4, 4], [5], [5], [5, 5]])
    distil(again, teacher, photos, out=tmp_path / "a.safetensors", steps=10, batch=2, canvases=1)
    for key, tensor in again.state_dict().items():
        assert torch.equal(tensor, student.state_dict()[key])


def test_a_second_round_begins_where_the_first_one_ended(teacher, photos, tmp_path):
    torch.manual_seed(6)
    first = Backbone([[6, 6], [7], [7], [7, 7]]).requires_grad_(False)
    second = Backbone([[6, 6], [7], [7], [7, 7]])
    options = {"steps": 1, "batch": 2, "canvases": 1, "learning_rate": 0.0}
    distil(second, teacher, photos, out=tmp_path / "second.safetensors", start=first, **options)
    images = random_crops(photos, 8, torch.Generator().manual_seed(0))
    for layer in RELUS:
        found, expected = (network(images, [layer])[layer].detach() for network in (second, first))
        expected = expected / expected.mean()  # a start is scaled
        assert (found - expected).square().mean() < 5e-3 * expected.square().mean(), layer


def test_training_brings_the_held_out_error_down(teacher, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("distil.start_from_teacher", lambda *_: None)
    images = random_crops(photos[::6], 12, torch.Generator().manual_seed(9))
    student = Backbone([[6, 6], [8], [8], [8, 8]])
    options = {"out": tmp_path / "a.safetensors", "batch": 4, "canvases": 1, "learning_rate": 3e-3}
    maps = distil(student, teacher, photos, steps=1, **options)
    before = held_out_errors(student, teacher, maps, images)
    (tmp_path / "a.training").unlink()
    maps = distil(student, teacher, photos, steps=150, **options)
    after = held_out_errors(student, teacher, maps, images)
    assert sum(after.values()) < sum(before.values())


def test_saved_weights_load_as_a_backbone(tmp_path):
    student = Backbone([[4], [5, 5]]).to(memory_format=torch.channels_last)
    save_weights(student, tmp_path / "s.safetensors")
    assert load_file(tmp_path / "s.safetensors")["conv1_1.weight"].dtype == torch.float16
    loaded = load_backbone(tmp_path / "s.safetensors", device="cpu")
    image = noise_like(torch.empty(1, 3, 20, 31), 0)
    torch.testing.assert_close(loaded(image, ["relu2_2"]), student(image, ["relu2_2"]), rtol=1e-2, atol=1e-2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.safetensors"]


def test_photos_are_read_and_too_few_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    save_image(torch.rand(1, 3, 40, 60), tmp_path / "one.png")
    with pytest.raises(SystemExit, match="has 1 usable images"):
        read_photos(tmp_path)
    for n in range(24):
        save_image(torch.rand(1, 3, 40, 60), tmp_path / f"{n}.png")
    found = read_photos(tmp_path)
    assert len(found) == 25
    assert found[0].dtype == torch.uint8 and found[0].shape == (3, 171, 256)
