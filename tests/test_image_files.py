import threading
import warnings
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from nst_lessons import image_files
from nst_lessons.image_files import load_alpha, load_image, save_image, to_pil
from nst_lessons.images import ImageError, resize

HEIGHT, WIDTH = 18, 23


@pytest.fixture
def pixels():
    """Random 8-bit RGB pixels, (18, 23, 3)."""
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def image(pixels):
    """The same pixels as an image tensor, made without the code under test."""
    return torch.tensor(pixels).permute(2, 0, 1)[None] / 255


def encoded(picture, file_format="PNG", **options):
    buffer = BytesIO()
    picture.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def flat(mode, colour, size=(WIDTH, HEIGHT)):
    return Image.new(mode, size, colour)


def colour_of(tensor):
    """The one colour of a flat image, as a list of three floats."""
    assert tensor.shape[:2] == (1, 3)
    assert torch.equal(tensor.amin((2, 3)), tensor.amax((2, 3)))
    return tensor[0, :, 0, 0].tolist()


# ---- what every source gives


@pytest.mark.parametrize("kind", ["str", "path", "bytes", "bytearray", "file object", "open file", "PIL"])
def test_every_kind_of_source_gives_the_same_pixels(kind, pixels, image, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(Image.fromarray(pixels)))
    with path.open("rb") as file:
        source = {
            "str": str(path),
            "path": path,
            "bytes": path.read_bytes(),
            "bytearray": bytearray(path.read_bytes()),
            "file object": BytesIO(path.read_bytes()),
            "open file": file,
            "PIL": Image.fromarray(pixels),
        }[kind]
        loaded = load_image(source)
    assert loaded.dtype == torch.float32
    assert loaded.is_contiguous()
    torch.testing.assert_close(loaded, image, rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool", "float16", "float32", "float64", ">u2"])
def test_arrays_are_scaled_by_their_dtype(dtype, pixels):
    white = {"uint8": 255, "uint16": 65535, ">u2": 65535}.get(dtype, 1)
    expected = pixels / 255 if white > 1 else (pixels > 127).astype(float)
    loaded = load_image((expected * white).astype(dtype))
    assert loaded.dtype == torch.float32
    np.testing.assert_allclose(loaded[0].permute(1, 2, 0).numpy(), expected, atol=1 / 65535)


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_arrays_of_one_three_and_four_channels(channels, pixels):
    array = np.dstack([pixels, pixels[..., :1]]) / 255
    array = array[..., 0] if channels is None else array[..., :channels]
    loaded = load_image(array)[0].permute(1, 2, 0).numpy()
    if channels == 4:
        expected = array[..., :3] * array[..., 3:] + (1 - array[..., 3:])  # over white
    else:
        expected = np.broadcast_to(array.reshape(HEIGHT, WIDTH, -1), (HEIGHT, WIDTH, 3))
    np.testing.assert_allclose(loaded, expected, atol=1e-6)


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float32, torch.bfloat16])
def test_tensors_agree_with_arrays(dtype, channels, batch, image):
    values = torch.cat([image, image[:, :1]], 1)[:, :channels]
    tensor = (255 * values).round().byte() if dtype == torch.uint8 else values.round().to(dtype)
    array = tensor[0].permute(1, 2, 0).to(torch.float32 if dtype == torch.bfloat16 else dtype).numpy()
    assert torch.equal(load_image(tensor if batch else tensor[0]), load_image(array))


def test_a_loaded_tensor_shares_nothing_with_its_source(image):
    source = image.clone().requires_grad_()
    loaded = load_image(source)
    assert torch.equal(loaded, image)
    assert not loaded.requires_grad
    loaded.zero_()
    assert torch.equal(source, image)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (np.full((20, 20, 3), 1.5), "from 1.5 to 1.5"),
        (np.full((20, 20), -0.1), "from -0.1 to -0.1"),
        (np.full((20, 20), np.nan), "nan"),
        (np.where(np.eye(20), np.inf, 0.0), "inf"),
        (np.zeros((20, 20), dtype=np.int64), "dtype int64"),
        (np.zeros((20, 20), dtype=complex), "dtype complex128"),
        (np.array([[None] * 20] * 20), "dtype object"),
        (np.zeros((20, 20, 2)), r"shape \(20, 20, 2\)"),
        (np.zeros((3, 20, 20)), r"shape \(3, 20, 20\)"),
        (np.zeros((0, 20, 3)), r"shape \(0, 20, 3\)"),
        (np.float32(np.nan), "float32"),
        (np.array(np.nan), r"shape \(\)"),
        (torch.full((3, 20, 20), 2.0), "from 2 to 2"),
        (torch.full((1, 3, 20, 20), float("nan")), "nan"),
        (torch.zeros(2, 3, 20, 20), r"shape \(2, 3, 20, 20\)"),
        (torch.zeros(20, 20, 3), r"shape \(20, 20, 3\)"),
        (torch.zeros(3, 20, 0), r"shape \(20, 0, 3\)"),
        (torch.zeros(3, 20, 20, dtype=torch.int64), "dtype int64"),
        (torch.zeros(3, 20, 20, device="meta"), "meta"),
        (None, "NoneType"),
        (42, "int"),
        ([[0.5]], "list"),
    ],
)
def test_what_is_no_image_is_refused(source, said):
    with pytest.raises(ImageError, match=said) as caught:
        load_image(source)
    assert "; expected " in str(caught.value)


# ---- every mode of file


def test_grey_of_8_bits(pixels):
    grey = pixels[..., 0]
    loaded = load_image(encoded(Image.fromarray(grey)))
    expected = np.repeat(grey[None, None] / 255, 3, axis=1)
    np.testing.assert_allclose(loaded.numpy(), expected, atol=1e-7)
    assert loaded.is_contiguous()


def test_black_and_white_of_1_bit(pixels):
    bits = pixels[..., 0] > 127
    loaded = load_image(encoded(Image.fromarray(bits)))
    assert np.array_equal(loaded[0, 1].numpy(), bits.astype(np.float32))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_grey_of_16_bits_is_scaled_and_not_clipped(file_format):
    levels = np.linspace(0, 65535, HEIGHT * WIDTH).round().astype(np.uint16).reshape(HEIGHT, WIDTH)
    if file_format == "PPM":  # Pillow 10 cannot write it
        data = f"P5 {WIDTH} {HEIGHT} 65535\n".encode() + levels.astype(">u2").tobytes()
    else:
        data = encoded(Image.fromarray(levels), file_format)
    np.testing.assert_allclose(load_image(data)[0, 2].numpy(), levels / 65535, atol=1e-6)


def test_grey_of_32_bits_counts_as_16_bits_where_it_fits():
    levels = np.linspace(0, 65535, HEIGHT * WIDTH).round().astype(np.int32).reshape(HEIGHT, WIDTH)
    loaded = load_image(Image.fromarray(levels))
    np.testing.assert_allclose(loaded[0, 0].numpy(), levels / 65535, atol=1e-6)
    with pytest.raises(ImageError, match="1 to 65536; expected 0 to 65535"):
        load_image(Image.fromarray(levels + 1))
    with pytest.raises(ImageError, match="-1 to 65534"):
        load_image(Image.fromarray(levels - 1))


def test_a_float_tiff_is_read_if_its_values_are_in_range():
    values = np.linspace(0, 1, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    assert np.array_equal(load_image(encoded(Image.fromarray(values), "TIFF"))[0, 1].numpy(), values)
    with pytest.raises(ImageError, match="from 0 to 2; expected floats from 0 to 1"):
        load_image(encoded(Image.fromarray(2 * values), "TIFF"))


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_composited_on_white(file_format):
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    data = encoded(flat("RGBA", (255, 51, 0, 102)), file_format, **options)  # alpha 0.4
    assert colour_of(load_image(data)) == pytest.approx([1, 0.4 * 0.2 + 0.6, 0.6], abs=1e-6)


def test_grey_with_alpha():
    assert colour_of(load_image(encoded(flat("LA", (51, 102))))) == pytest.approx([0.68] * 3, abs=1e-6)


def test_wholly_transparent_is_white_whatever_lies_under_it():
    assert colour_of(load_image(encoded(flat("RGBA", (0, 0, 0, 0))))) == [1, 1, 1]


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette(file_format):
    picture = flat("P", 1)
    picture.putpalette([0, 0, 0, 51, 102, 204])
    assert colour_of(load_image(encoded(picture, file_format))) == pytest.approx([0.2, 0.4, 0.8], abs=1e-6)


def test_palette_with_transparency():
    picture = flat("P", 1)
    picture.putpalette([0, 0, 0, 255, 51, 0])
    half = load_image(encoded(picture, "PNG", transparency=bytes([255, 102])))
    assert colour_of(half) == pytest.approx([1, 0.68, 0.6], abs=1e-6)
    whole = load_image(encoded(picture, "GIF", transparency=1))
    assert colour_of(whole) == [1, 1, 1]


def test_rgb_with_a_transparent_colour():
    data = encoded(flat("RGB", (10, 20, 30)), "PNG", transparency=(10, 20, 30))
    assert colour_of(load_image(data)) == [1, 1, 1]


@pytest.mark.parametrize(("file_format", "error"), [("TIFF", 0), ("JPEG", 0.02)])
def test_cmyk(file_format, error):
    data = encoded(flat("CMYK", (255, 0, 51, 0)), file_format)  # full cyan, a fifth of yellow
    assert colour_of(load_image(data)) == pytest.approx([0, 1, 0.8], abs=error + 1e-6)


@pytest.mark.parametrize(("mode", "colour"), [("YCbCr", (76, 85, 255)), ("HSV", (0, 255, 255))])
def test_other_colour_spaces(mode, colour):
    assert colour_of(load_image(flat(mode, colour))) == pytest.approx([1, 0, 0], abs=0.01)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation(file_format):
    red, blue = flat("RGB", (255, 0, 0)), flat("RGB", (0, 0, 255))
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(red, file_format, save_all=True, append_images=[blue, blue], **options)
    with Image.open(BytesIO(data)) as picture:
        assert picture.n_frames >= 2
    assert colour_of(load_image(data)) == [1, 0, 0]


UPRIGHT = {  # EXIF 2.3, tag 0x0112: how the stored rows and columns become the visible ones
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_exif_orientation(orientation, file_format, pixels):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(file_format, {})
    loaded = load_image(encoded(Image.fromarray(pixels), file_format, exif=exif, **options))
    expected = UPRIGHT[orientation](pixels) / 255
    np.testing.assert_allclose(loaded[0].permute(1, 2, 0).numpy(), expected, atol=0.03)


def test_16_bit_grey_is_turned_upright_too():
    levels = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH)
    exif = Image.Exif()
    exif[0x0112] = 6
    loaded = load_image(encoded(Image.fromarray(levels), "PNG", exif=exif))
    np.testing.assert_allclose(loaded[0, 0].numpy(), np.rot90(levels, -1) / 65535, atol=1e-7)


def profile_with_red_and_blue_swapped():
    """An sRGB profile whose first channel is blue and whose third is red."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"swap").replace(b"bXYZ", b"rXYZ").replace(b"swap", b"bXYZ")


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_the_icc_profile_is_applied(file_format):
    options = {"lossless": True} if file_format == "WEBP" else {}
    picture = flat("RGB", (255, 0, 0))
    plain = load_image(encoded(picture, file_format, **options))
    swapped = load_image(encoded(picture, file_format, icc_profile=profile_with_red_and_blue_swapped(), **options))
    assert colour_of(plain) == pytest.approx([1, 0, 0], abs=0.02)
    assert colour_of(swapped) == pytest.approx([0, 0, 1], abs=0.02)


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_the_icc_profile_is_applied_with_alpha_and_palette(mode):
    picture = flat(mode, (255, 0, 0, 102) if mode == "RGBA" else 1)
    if mode == "P":
        picture.putpalette([0, 0, 0, 255, 0, 0])
    loaded = load_image(encoded(picture, icc_profile=profile_with_red_and_blue_swapped()))
    expected = [0.6, 0.6, 1] if mode == "RGBA" else [0, 0, 1]
    assert colour_of(loaded) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_damaged_or_unfitting_profile_is_ignored(mode, pixels):
    picture = Image.fromarray(pixels).convert(mode)
    plain = load_image(encoded(picture, "TIFF"))
    assert torch.equal(load_image(encoded(picture, "TIFF", icc_profile=b"not a profile")), plain)
    if mode != "RGB":
        rgb_profile = profile_with_red_and_blue_swapped()
        assert torch.equal(load_image(encoded(picture, "TIFF", icc_profile=rgb_profile)), plain)


def test_a_pil_image_is_left_as_it_was(pixels):
    picture = Image.fromarray(pixels)
    picture.getexif()[0x0112] = 6
    assert load_image(picture).shape == (1, 3, WIDTH, HEIGHT)
    assert picture.size == (WIDTH, HEIGHT)
    assert np.array_equal(np.asarray(picture), pixels)


# ---- sizes


@pytest.mark.parametrize(("size", "expected"), [(46, (36, 46)), (20, (16, 20)), (23, (18, 23))])
def test_size_is_the_longer_side(size, expected, pixels, image):
    assert load_image(pixels, size).shape[2:] == expected
    assert load_image(pixels.swapaxes(0, 1), size=size).shape[2:] == expected[::-1]
    assert torch.equal(load_image(pixels, size), resize(load_image(pixels), size))


@pytest.mark.parametrize(
    "size", [0, True, (True, True), -1, 2.5, "256", float("nan"), 10**400, (0, 5), (5,), (1, 2, 3), (5.0, 5)]
)
def test_sizes_that_are_none(size, image):
    with pytest.raises(ImageError, match="expected the longer side in pixels"):
        resize(image, size)
    with pytest.raises(ImageError, match="expected the longer side in pixels"):
        load_image(image, size)


# ---- saving


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg", ".jpeg", ".webp"])
def test_save_and_load(suffix, image, tmp_path):
    smooth = resize(resize(image, (3, 4)), (48, 64))
    save_image(smooth, tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as picture:
        assert picture.format == {".png": "PNG", ".webp": "WEBP"}.get(suffix.lower(), "JPEG")
    error = (load_image(tmp_path / f"out{suffix}") - smooth).abs()
    assert error.max() <= (0.5 / 255 + 1e-6 if suffix.lower() == ".png" else 0.15)
    assert error.mean() < 0.02
    assert [path.name for path in tmp_path.iterdir()] == [f"out{suffix}"]


def test_8_bit_pixels_survive_a_round_trip(pixels, image):
    every_level = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(np.asarray(to_pil(load_image(every_level)))[..., 0], every_level)
    assert np.array_equal(np.asarray(to_pil(image)), pixels)


def test_to_pil_clamps_and_rounds():
    values = torch.tensor([-0.3, 0.4 / 255, 0.6 / 255, 254.4 / 255, 254.6 / 255, 1.7])
    picture = to_pil(values.expand(1, 3, 2, -1))
    assert picture.mode == "RGB"
    assert np.asarray(picture)[1, :, 2].tolist() == [0, 0, 1, 254, 255, 255]


def test_to_pil_takes_images_with_gradients_and_other_dtypes(image, pixels):
    assert np.array_equal(np.asarray(to_pil(image.double().requires_grad_())), pixels)
    assert np.asarray(to_pil(torch.ones(1, 3, 2, 5, dtype=torch.bfloat16))).shape == (2, 5, 3)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (torch.zeros(3, 20, 20), r"\(3, 20, 20\); expected \(1, 3, H, W\)"),
        (torch.zeros(2, 3, 20, 20), r"a batch of 2 images; expected one"),
        (torch.zeros(1, 1, 20, 20), r"\(1, 1, 20, 20\); expected \(1, 3, H, W\)"),
        (torch.full((1, 3, 20, 20), 255.0), "divide by 255"),
        (torch.zeros(1, 3, 20, 20, dtype=torch.uint8), "divide by 255"),
        (torch.full((1, 3, 20, 20), -2.1), "deprocess"),
        (SimpleNamespace(image=torch.zeros(1, 3, 20, 20)), "type SimpleNamespace.*give its .image"),
        (np.zeros((20, 20, 3)), "type ndarray.*load_image"),
        (torch.full((1, 3, 20, 20), float("nan")), "NaN"),
        (torch.full((1, 3, 20, 20), float("inf")), "infinity"),
    ],
)
def test_what_cannot_be_a_picture(bad, said, tmp_path):
    with pytest.raises(ImageError, match=said):
        to_pil(bad)
    with pytest.raises(ImageError, match=said):
        save_image(bad, tmp_path / "out.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out", "out.gif", "out.png.txt", ".png"])
def test_other_suffixes_are_refused(name, image, tmp_path):
    with pytest.raises(ImageError, match=r"expected a name that ends in \.png, \.jpg, \.jpeg, \.webp"):
        save_image(image, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_quality_decides_the_size_of_a_file(image, tmp_path):
    for suffix in ("jpg", "webp"):
        save_image(image, tmp_path / f"good.{suffix}", quality=95)
        save_image(image, tmp_path / f"poor.{suffix}", quality=10)
        assert (tmp_path / f"poor.{suffix}").stat().st_size < (tmp_path / f"good.{suffix}").stat().st_size
    with pytest.raises(ValueError, match="quality must be an integer from 1 to 100, not 101"):
        save_image(image, tmp_path / "out.jpg", quality=101)


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_a_failing_encoder_leaves_the_old_file_and_nothing_else(error, image, tmp_path, monkeypatch):
    def fail(picture, path, **options):
        Path(path).write_bytes(b"half a pict")
        raise error

    path = tmp_path / "out.png"
    path.write_bytes(b"the old file")
    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(ImageError if isinstance(error, OSError) else KeyboardInterrupt):
        save_image(image, path)
    assert path.read_bytes() == b"the old file"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_half_a_file(image, tmp_path):
    path = tmp_path / "out.png"
    save_image(image, path)
    done, seen = threading.Event(), []

    def read():
        while not done.is_set():
            seen.append(load_image(path).shape)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(30):
        save_image(image, path)
    done.set()
    reader.join()
    assert set(seen) == {image.shape}


def test_what_an_encoder_refuses_is_an_image_error(tmp_path):
    with pytest.raises(ImageError, match="could not be saved"):  # WebP ends at 16,383 pixels
        save_image(torch.zeros(1, 3, 16, 16_384), tmp_path / "out.webp")
    assert not list(tmp_path.iterdir())


def test_saving_into_a_folder_that_is_not_there(image, tmp_path):
    with pytest.raises(ImageError, match=r"gone.out\.png could not be saved: .*No such file"):
        save_image(image, tmp_path / "gone" / "out.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match="could not be saved"):
        save_image(image, tmp_path / "folder.png")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_the_smallest_side_is_what_a_vgg_needs():
    assert image_files.MIN_SIDE == 2**4
    assert load_image(np.zeros((16, 40))).shape == (1, 3, 16, 40)
    with pytest.raises(ImageError, match="40 x 15 pixels; expected a shorter side of at least 16"):
        load_image(np.zeros((15, 40)))
    with pytest.raises(ImageError, match="100 x 200 pixels, resized to 15 x 30"):
        load_image(np.zeros((200, 100)), size=30)
    with pytest.raises(ImageError, match="1 x 1 pixels; expected a shorter side of at least 16"):
        load_image(np.ones((1, 1)), size=20)


@pytest.fixture
def cut_out() -> Image.Image:
    """A red picture, transparent on the left, half transparent in the middle."""
    picture = Image.new("RGBA", (30, 20), (255, 0, 0, 255))
    picture.paste((255, 0, 0, 0), (0, 0, 10, 20))
    picture.paste((255, 0, 0, 102), (10, 0, 20, 20))
    return picture


def test_that_transparency_is_lost_is_said(cut_out):
    with pytest.warns(UserWarning, match="transparent parts are laid on white; load_alpha"):
        image = load_image(cut_out)
    assert image[0, :, 3, 4].tolist() == [1, 1, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opaque = load_image(cut_out.convert("RGB"))
        unhidden = load_image(cut_out.crop((20, 0, 30, 20)).resize((20, 20)))  # has an alpha channel, but hides nothing
    assert colour_of(opaque) == colour_of(unhidden) == [1, 0, 0]


def test_alpha_is_how_opaque_each_pixel_is(cut_out, tmp_path):
    alpha = load_alpha(encoded(cut_out, "PNG"))
    assert alpha.shape == (1, 1, 20, 30)
    assert alpha[0, 0, 3, [4, 14, 24]].tolist() == pytest.approx([0, 0.4, 1])
    assert load_alpha(cut_out, 60).shape == (1, 1, 40, 60)
    assert torch.equal(load_alpha(cut_out.convert("RGB")), torch.ones(1, 1, 20, 30))


@pytest.mark.filterwarnings("ignore:.*laid on white")
@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_transparency_can_be_saved_again(cut_out, suffix, tmp_path):
    save_image(load_image(cut_out), tmp_path / f"out.{suffix}", alpha=load_alpha(cut_out))
    torch.testing.assert_close(load_alpha(tmp_path / f"out.{suffix}"), load_alpha(cut_out), rtol=0, atol=0.01)


def test_what_cannot_be_transparent_is_refused(image, tmp_path):
    alpha = torch.ones_like(image[:, :1])
    with pytest.raises(ImageError, match="JPEG files know no transparency"):
        save_image(image, tmp_path / "out.jpg", alpha=alpha)
    with pytest.raises(ImageError, match="alpha is a Tensor of the shape"):
        save_image(image, tmp_path / "out.png", alpha=alpha[..., 1:])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_file_of_too_many_pixels_is_decoded_smaller_if_asked(monkeypatch, orientation):
    x = np.linspace(0, 255, 800, dtype=np.uint8)
    picture = Image.fromarray(np.broadcast_to(x[None, :, None], (600, 800, 3)).copy())
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture, "JPEG", quality=95, exif=exif)
    expected = load_image(data, 100)
    monkeypatch.setattr("nst_lessons.images.MAX_PIXELS", 200_000)
    assert load_image(data, 100).shape == expected.shape
    torch.testing.assert_close(load_image(data, 100), expected, rtol=0, atol=0.02)
    for size in (None, 700):  # as large as that it would not be small enough
        with pytest.raises(ImageError, match="800 x 600 pixels are too many"):
            load_image(data, size)


def test_a_jpeg_file_of_200_megapixels_is_read_small():
    """Pillow itself refuses to open as many."""
    picture = Image.new("L", (16_000, 12_500), 130)
    image = load_image(encoded(picture, "JPEG"), 160)
    assert image.shape == (1, 3, 125, 160)
    assert float((image - 130 / 255).abs().max()) < 0.01


def test_a_phone_picture_is_read_where_a_plug_in_can(image):
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = BytesIO()
    pillow_heif.from_pillow(to_pil(image).resize((64, 48))).save(buffer, quality=90)
    assert load_image(buffer.getvalue()).shape == (1, 3, 48, 64)


@pytest.mark.parametrize(
    ("brand", "said"),
    [
        (b"heic", r"a HEIC picture; .*nst-lessons\[heif\]"),
        (b"mif1", "HEIC"),
        (b"avif", "an AVIF picture; .*upgrade pillow"),
    ],
)
def test_a_phone_picture_that_cannot_be_read_is_called_by_its_name(monkeypatch, brand, said):
    monkeypatch.setattr(image_files, "register_plugins", lambda: None)
    Image.init()
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name not in ("HEIF", "AVIF")])
    with pytest.raises(ImageError, match=said):
        load_image(b"\0\0\0\x18ftyp" + brand + bytes(100))


def test_a_web_page_is_called_a_web_page():
    with pytest.raises(ImageError, match="a web page"):
        load_image(b"\n<!DOCTYPE html><html><body>Not found</body></html>")
