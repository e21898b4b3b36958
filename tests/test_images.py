import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.functional import normalize

from nst_lessons.images import ImageError, check_image, deprocess, match_shapes, noise_like, preprocess, resize

HEIGHT, WIDTH = 18, 23


@pytest.fixture
def pixels():
    """Random 8-bit RGB pixels, (18, 23, 3)."""
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def image(pixels):
    """The same pixels as an image tensor, made without the code under test."""
    return torch.tensor(pixels).permute(2, 0, 1)[None] / 255


def test_a_size_beyond_all_memory(image):
    with pytest.raises(ImageError, match="expected at most 64 million"):
        resize(image, 1_000_000)
    with pytest.raises(ImageError, match="expected at most 64 million"):
        resize(image, (10**9, 10**9))


def test_numpy_integers_are_sizes(image):
    assert resize(image, np.int64(46)).shape == (1, 3, 36, 46)


@pytest.mark.parametrize("shape", [(9, 31), (40, 50), (7, 5), (18, 23)])
def test_resize_agrees_with_pillow(shape, image):
    def pillow(plane):
        return np.asarray(Image.fromarray(plane).resize(shape[::-1], Image.Resampling.BICUBIC))

    expected = np.stack([pillow(plane) for plane in image[0].numpy()]).clip(0, 1)
    np.testing.assert_allclose(resize(image, shape)[0].numpy(), expected, atol=1e-5)


def test_antialiasing_turns_a_fine_checkerboard_grey():
    rows, columns = torch.meshgrid(torch.arange(120), torch.arange(160), indexing="ij")
    board = ((rows + columns) % 2).float().expand(1, 3, -1, -1)
    smooth, rough = resize(board, 32), resize(board, 32, antialias=False)
    assert (smooth - 0.5).abs().max() < 0.01
    assert (rough - 0.5).abs().max() > 0.3


def test_resized_values_stay_in_range():
    stripe = torch.zeros(1, 3, 20, 20)
    stripe[..., 10:] = 1  # bicubic overshoots at edges
    enlarged = resize(stripe, 77)
    assert enlarged.min() == 0
    assert enlarged.max() == 1


@given(*[st.integers(1, 60)] * 4)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_match_shapes_gives_equal_shapes(height, width, other_height, other_width):
    a, b = torch.rand(1, 3, height, width), torch.rand(1, 3, other_height, other_width)
    same, matched = match_shapes(a, b)
    assert same is a
    assert matched.shape == a.shape
    assert matched.min() >= 0
    assert matched.max() <= 1


def test_match_shapes_keeps_the_centre_and_the_proportions(image):
    wide = torch.rand(1, 3, 12, 40)
    assert torch.equal(match_shapes(torch.rand(1, 3, 12, 17), wide)[1], resize(wide[..., 11:28], (12, 17)))
    tall = wide.transpose(2, 3)
    assert torch.equal(match_shapes(torch.rand(1, 3, 34, 24), tall)[1], resize(tall[:, :, 11:28], (34, 24)))
    assert torch.equal(match_shapes(torch.rand(1, 3, 36, 46), image)[1], resize(image, (36, 46)))


def test_match_shapes_with_a_strip_stays_small():
    assert match_shapes(torch.rand(1, 3, 200, 200), torch.rand(1, 3, 16, 65_000))[1].shape == (1, 3, 200, 200)


# ---- noise


def test_noise_has_the_documented_statistics():
    noise = noise_like(torch.zeros(1, 3, 211, 307), seed=3)
    assert noise.shape == (1, 3, 211, 307)
    assert noise.dtype == torch.float32
    assert noise.min() >= 0
    assert noise.max() <= 1
    assert noise.mean().item() == pytest.approx(0.5, abs=0.002)
    assert noise.std().item() == pytest.approx(0.15, abs=0.002)
    within_one_deviation = ((noise - 0.5).abs() < 0.15).float().mean().item()
    assert within_one_deviation == pytest.approx(0.6827, abs=0.005)
    neighbours = torch.corrcoef(torch.stack([noise[..., :-1].flatten(), noise[..., 1:].flatten()]))[0, 1]
    assert abs(neighbours) < 0.01  # white: a pixel knows nothing of the next


def test_a_seed_means_the_same_noise_and_leaves_the_global_generator_alone(image):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = noise_like(image, seed=1)
    torch.manual_seed(6)
    assert torch.equal(first, noise_like(image, seed=1))
    assert not torch.equal(first, noise_like(image, seed=2))
    torch.manual_seed(5)
    noise_like(image, seed=9)
    assert torch.equal(torch.get_rng_state(), before)


# ---- the networks' conventions

RED = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("convention", "expected"),
    [
        ("torchvision", [2.248908, -2.035714, -1.804444]),  # (1 - .485) / .229, -.456 / .224, -.406 / .225
        ("caffe", [-103.939, -116.779, 131.32]),  # blue, green, and red last: 255 - 123.68
    ],
)
def test_preprocess_of_a_red_pixel(convention, expected):
    assert preprocess(RED, convention).flatten().tolist() == pytest.approx(expected, abs=1e-4)
    x = torch.tensor(expected).view(1, 3, 1, 1)
    assert deprocess(x, convention).flatten().tolist() == pytest.approx([1, 0, 0], abs=1e-6)


def test_torchvision_is_the_default_and_agrees_with_torchvision(image):
    expected = normalize(image, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    torch.testing.assert_close(preprocess(image), expected)
    torch.testing.assert_close(deprocess(expected), image)


def test_caffe_agrees_with_the_published_loop(pixels, image):
    """The recipe as Caffe users write it: swap to BGR, scale to 0-255, subtract the mean image's mean."""
    bgr = pixels[..., ::-1].astype(np.float64) - np.array([103.939, 116.779, 123.68])
    x = preprocess(image, "caffe")[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(x, bgr, atol=1e-4)


@pytest.mark.parametrize("convention", ["torchvision", "caffe"])
def test_conventions_work_on_batches_and_invert(convention, image):
    batch = torch.cat([image, 1 - image])
    torch.testing.assert_close(preprocess(batch, convention)[1:], preprocess(1 - image, convention))
    torch.testing.assert_close(deprocess(preprocess(batch, convention), convention), batch)
    assert preprocess(batch.double(), convention).dtype == torch.float64


def test_gradients_pass_through_both_conventions(image):
    for convention, slopes in {
        "torchvision": [1 / 0.229, 1 / 0.224, 1 / 0.225],
        "caffe": [255.0] * 3,
    }.items():
        x = image.clone().requires_grad_()
        preprocess(x, convention).sum().backward()
        assert x.grad is not None
        torch.testing.assert_close(x.grad, torch.tensor(slopes).view(1, 3, 1, 1).expand_as(image))


@pytest.mark.parametrize("function", [preprocess, deprocess])
def test_an_unknown_convention_is_named_with_those_that_exist(function):
    with pytest.raises(ValueError, match="unknown convention 'tf'; choose from torchvision, caffe"):
        function(RED, "tf")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda image: 255 * image, r"the photo has values from 0 to 255; expected 0 to 1: divide by 255"),
        (lambda image: (255 * image).to(torch.uint8), "torch.uint8; expected torch.float32 from 0 to 1: divide by 255"),
        (preprocess, "deprocess undoes it"),
        (lambda image: preprocess(image, "caffe"), "deprocess undoes it"),
        (lambda image: image * 1.5, r"clamp\(0, 1\)"),
        (lambda image: image.double(), r"torch.float64; expected torch.float32 .*\.to\(torch.float32\)"),
        (lambda image: image.half(), r"torch.float16; .*\.to\(torch.float32\)"),
        (lambda image: image.where(image > 0.5, torch.nan), "NaN or infinity"),
        (lambda image: image.where(image > 0.5, torch.inf), "NaN or infinity"),
        (lambda image: image[0], r"\(3, 18, 23\); expected \(1, 3, H, W\)"),
        (lambda image: image[:, :1], r"\(1, 1, 18, 23\); expected \(1, 3, H, W\)"),
        (lambda image: image.permute(0, 2, 3, 1), r"\(1, 18, 23, 3\); expected"),
        (lambda image: image[..., :0], r"\(1, 3, 18, 0\); expected"),
        (lambda image: torch.cat([image, image]), "a batch of 2; expected one image"),
        (lambda image: image.numpy(), "of type ndarray; .*load_image"),
        (lambda image: "photo.jpg", "of type str; .*load_image"),
        (lambda image: None, "of type NoneType; .*load_image"),
    ],
)
def test_the_check_says_what_came_and_what_would_do(bad, said):
    image = torch.linspace(0, 1, 3 * 18 * 23).view(1, 3, 18, 23)
    with pytest.raises(ImageError, match=f"^the photo .*{said}|^{said}"):
        check_image(bad(image), "the photo")


@pytest.mark.parametrize("convention", ["torchvision", "caffe"])
def test_the_check_lets_rounding_pass(convention):
    image = torch.rand(1, 3, 18, 23).round()
    check_image(deprocess(preprocess(image, convention), convention))
    check_image(image.contiguous(memory_format=torch.channels_last).requires_grad_())
