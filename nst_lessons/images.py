"""Files, web addresses, bytes and arrays become image tensors, and image tensors become files.

Everywhere in this package an image is a tensor `(1, 3, H, W)`, float32, RGB, in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent import futures
from contextlib import suppress
from http.client import HTTPException, HTTPMessage
from io import BytesIO
from os import PathLike
from pathlib import Path
from threading import Thread
from typing import IO, Any, BinaryIO, TypeAlias
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from nst_lessons.files import whole_file

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, in the order R, G, B
CAFFE_MEAN = (103.939, 116.779, 123.68)  # ImageNet's on the scale 0-255, in the order B, G, R
CONVENTIONS = ("torchvision", "caffe")

MIN_SIDE = 16  # a VGG halves the image four times before its deepest block
MAX_PIXELS = 64_000_000  # 0.8 GB as float32, and about twice that while it is decoded
MAX_BYTES = 100_000_000
DOWNLOAD_SECONDS = 30.0
WHITES = {"bool": 1, "uint8": 255, "uint16": 65535, "float16": 1, "float32": 1, "float64": 1}
SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}

ImageSource: TypeAlias = "str | PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[Any] | Tensor"


class ImageError(ValueError):
    """An image that cannot be used; the message says what came and what was expected."""


def preprocess(image: Tensor, convention: str = "torchvision") -> Tensor:
    """Normalise an RGB image (B, 3, H, W) in [0, 1] as the images that a network was trained on.

    "torchvision": (image - mean) / std, RGB. "caffe" (Simonyan and Zisserman's original VGG): 255 * image in
    the order BGR, minus the mean. Raises ValueError for any other convention. `deprocess` is the inverse.
    """
    if convention == "torchvision":
        return (image - per_channel(MEAN, image)) / per_channel(STD, image)
    if convention == "caffe":
        return 255 * image.flip(1) - per_channel(CAFFE_MEAN, image)
    raise ValueError(f"unknown convention {convention!r}; choose from {', '.join(CONVENTIONS)}")


def deprocess(x: Tensor, convention: str = "torchvision") -> Tensor:
    """Turn a network's input (B, 3, H, W) back into an RGB image in [0, 1], not clamped: see `preprocess`."""
    if convention == "torchvision":
        return x * per_channel(STD, x) + per_channel(MEAN, x)
    if convention == "caffe":
        return (x + per_channel(CAFFE_MEAN, x)).flip(1) / 255
    raise ValueError(f"unknown convention {convention!r}; choose from {', '.join(CONVENTIONS)}")


def per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    """One value per channel, (1, 3, 1, 1), that broadcasts over images; on the device and of the dtype of `like`."""
    return like.new_tensor(values).view(1, 3, 1, 1)


def noise_like(image: Tensor, seed: int) -> Tensor:
    """White noise of the image's shape: normal, mean 0.5 (mid-grey), standard deviation 0.15, clamped to [0, 1].

    Drawn on the CPU and then moved to the image's device, so that a seed gives the same noise everywhere.
    """
    noise = 0.5 + 0.15 * torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return noise.clamp(0, 1).to(image.device)


def resize(image: Tensor, size: int | tuple[int, int], *, antialias: bool = True) -> Tensor:
    """Resize an image (B, 3, H, W) bicubically to a longer side of `size` pixels, or to `(height, width)`.

    With `antialias` the kernel widens as the image shrinks, as in Pillow; without it most pixels are skipped, and
    fine texture turns into patterns that were never there. Raises ImageError for another size, or over MAX_PIXELS.
    """
    match size:
        case int() | np.integer() if 0 < size <= MAX_PIXELS:
            sides = image.shape[-2:]
            height, width = (max(1, round(side * size / max(sides))) for side in sides)
        case (int(height), int(width)) if min(height, width) > 0:
            pass
        case _:
            raise ImageError(f"size={size!r}; expected the longer side in pixels, or (height, width)")
    check_pixels(height, width)
    return torch.nn.functional.interpolate(image, (height, width), mode="bicubic", antialias=antialias).clamp(0, 1)


def check_pixels(height: int, width: int) -> None:
    """Raise ImageError for more than MAX_PIXELS."""
    if height * width > MAX_PIXELS:
        raise ImageError(f"{width} x {height} pixels are too many; expected at most {MAX_PIXELS // 10**6} million")


def match_shapes(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return `a` as it is, and `b` cropped around its centre to a's proportions and resized to a's shape.

    Both are (B, 3, H, W).
    """
    (height, width), (b_height, b_width) = a.shape[-2:], b.shape[-2:]
    crop_height = max(1, min(b_height, round(b_width * height / width)))
    crop_width = max(1, min(b_width, round(b_height * width / height)))
    top, left = (b_height - crop_height) // 2, (b_width - crop_width) // 2
    return a, resize(b[..., top : top + crop_height, left : left + crop_width], (height, width))


def load_image(source: ImageSource, size: int | None = None) -> Tensor:
    """Load an image as a tensor (1, 3, H, W), float32, RGB, in [0, 1].

    Args:
        source: a path, an http(s) address, bytes, a binary file object, a PIL image, an array (H, W) or
            (H, W, 1 | 3 | 4), or a tensor (1 | 3 | 4, H, W) or (1, 1 | 3 | 4, H, W). Arrays and tensors are
            uint8, uint16, bool, or float in [0, 1]. Orientation and colour profile are applied, transparent
            parts become white, grey becomes RGB, and of an animation the first frame is taken.
        size: the longer side in pixels, resized with antialiasing; None keeps the size.

    Raises:
        ImageError: for anything that cannot be read, is damaged, truncated or has more than MAX_PIXELS, and
            for a shorter side under MIN_SIDE pixels (before or after resizing): too small for a VGG's deepest layer.
    """
    name = str(source) if isinstance(source, str | PathLike) else f"the {type(source).__name__}"
    try:
        image = read_image(source)
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: in no image format, or truncated; expected a PNG or JPEG file") from error
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:  # on damaged files Pillow raises whatever its decoders stumble over
        raise ImageError(f"{name}: unreadable ({type(error).__name__}: {error}); expected an intact image") from error
    came = f"{image.shape[3]} x {image.shape[2]} pixels"
    if size is not None and min(image.shape[2:]) >= MIN_SIDE:  # a few pixels enlarged are still no picture
        image = resize(image, size)
        came += f", resized to {image.shape[3]} x {image.shape[2]}"
    if min(image.shape[2:]) < MIN_SIDE:
        raise ImageError(f"{name}: {came}; expected a shorter side of at least {MIN_SIDE} pixels")
    return image


def read_image(source: ImageSource) -> Tensor:
    """`load_image` without resizing; the readers' errors are passed on as they are."""
    if isinstance(source, Tensor):
        return from_tensor(source)
    if isinstance(source, np.ndarray):
        return from_array(source)
    if isinstance(source, Image.Image):
        return from_pil(source)
    data = read_bytes(source)
    if not data:
        raise ImageError("empty; expected an image file, or a file object that is at its start")
    if len(data) > MAX_BYTES:
        raise ImageError(f"more than {MAX_BYTES // 10**6} MB; expected a smaller file")
    Image.init()
    # Pillow has Ghostscript execute an EPS file, and an IPTC file is an envelope that may hold one.
    formats = [name for name in Image.ID if name not in ("EPS", "IPTC")]
    with Image.open(BytesIO(data), formats=formats) as picture:
        return from_pil(picture)


def read_bytes(source: str | PathLike[str] | bytes | BinaryIO) -> bytes:
    """The bytes of a file, web address or file object; MAX_BYTES + 1 of them if there are more than MAX_BYTES."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, str) and "://" in source:
        return download(source)
    if isinstance(source, str | PathLike):
        path = Path(source)
        if not path.is_file():
            problem = "is a folder" if path.is_dir() else "is not a file"
            raise ImageError(f"{path.absolute()} {problem}; expected an image file")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    if hasattr(source, "read"):
        return bytes(source.read(MAX_BYTES + 1))
    raise ImageError("not an image; expected a path, address, bytes, file object, PIL image, array or tensor")


def download(url: str) -> bytes:
    """Fetch an image from an http(s) address: at most MAX_BYTES + 1 bytes, in at most DOWNLOAD_SECONDS."""
    result: futures.Future[bytes] = futures.Future()

    def work() -> None:
        try:
            result.set_result(fetch(url))
        except Exception as error:
            result.set_exception(error)

    # A socket's timeout bounds each wait, not their sum: a server could send byte after byte for ever.
    Thread(target=work, daemon=True).start()  # Python would not exit before an executor's thread ends
    try:
        return result.result(DOWNLOAD_SECONDS)
    except futures.TimeoutError as error:
        raise ImageError(f"did not arrive within {DOWNLOAD_SECONDS:g} seconds; use a local file") from error
    except (OSError, HTTPException) as error:
        raise ImageError(f"{error}; use the http(s) address of an image, or a local file") from error


def fetch(url: str) -> bytes:
    """Fetch what an http(s) server calls an image: MAX_BYTES + 1 bytes of it at most."""
    # Not requests or pooch: they limit neither size nor total time, and read a redirect's body to its end.
    with build_opener(Redirects).open(web_request(url), timeout=DOWNLOAD_SECONDS) as response:
        kind = response.headers.get_content_type()
        if not (kind.startswith("image/") or kind.endswith("/octet-stream")):
            raise ImageError(f"{kind}; use the address of the image itself, not of a page about it")
        if (response.length or 0) > MAX_BYTES:
            raise ImageError(f"{response.length} bytes; expected at most {MAX_BYTES // 10**6} MB")
        return response.read(MAX_BYTES + 1)


def web_request(url: str) -> Request:
    """A request for an http(s) address, under our own name, because some image hosts refuse urllib's."""
    if not url.lower().startswith(("http://", "https://")):
        raise URLError(f"neither http nor https: {url}")  # urllib would open file:, ftp: and data: as well
    return Request(quote(url, safe=":/?#[]@!$&'()*+,;=%~"), headers={"User-Agent": "nst-lessons"})


class Redirects(HTTPRedirectHandler):
    """Follows at most ten redirects, to http(s) only, and leaves their bodies unread: one might have no end."""

    inf_msg = "too many redirects: "  # urllib's own takes three lines

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request:
        fp.close()
        return web_request(newurl)


def from_pil(picture: Image.Image) -> Tensor:
    """Turn a PIL image of any mode into an image tensor, upright and in sRGB."""
    check_pixels(picture.height, picture.width)  # of the header, before anything is decoded
    picture = ImageOps.exif_transpose(picture)
    if picture.mode == "I":
        levels = np.asarray(picture)
        if levels.min() < 0 or levels.max() > 65535:
            raise ImageError(f"grey levels from {levels.min()} to {levels.max()}; expected 0 to 65535")
        return from_array(levels.astype(np.uint16))
    if picture.mode == "F" or picture.mode.startswith("I;16"):
        return from_array(np.asarray(picture))
    profile = picture.info.get("icc_profile")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
    elif picture.mode not in ("L", "RGB", "CMYK"):
        picture = picture.convert("RGB")
    if profile:
        picture = to_srgb(picture, profile)
    return from_array(np.asarray(picture if picture.mode == "RGBA" else picture.convert("RGB")))


def to_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """Convert from an ICC profile to sRGB; a damaged or foreign profile is ignored, as in browsers."""
    with suppress(ImageCms.PyCMSError, OSError):
        source, target = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        mode = "RGBA" if picture.mode == "RGBA" else "RGB"
        return ImageCms.profileToProfile(picture, source, target, outputMode=mode) or picture
    return picture


def from_tensor(tensor: Tensor) -> Tensor:
    """Turn a tensor (C, H, W) or (1, C, H, W), 1, 3 or 4 channels, into an image tensor on the CPU."""
    tensor = tensor.detach().cpu()
    channels = tensor[0] if tensor.ndim == 4 and len(tensor) == 1 else tensor
    if channels.ndim != 3 or len(channels) not in (1, 3, 4):
        raise ImageError(f"shape {tuple(tensor.shape)}; expected (3, H, W) or (1, 3, H, W)")
    if channels.dtype == torch.bfloat16:
        channels = channels.float()  # numpy has no bfloat16
    return from_array(channels.permute(1, 2, 0).numpy())


def from_array(array: NDArray[Any]) -> Tensor:
    """Turn an array (H, W) or (H, W, 1 | 3 | 4) into an image tensor: white is 255, 65535, True or 1.0."""
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or pixels.size == 0:
        raise ImageError(f"shape {array.shape}; expected (H, W) or (H, W, 3)")
    if array.dtype.name not in WHITES:
        raise ImageError(f"dtype {array.dtype}; expected uint8, uint16, bool or float")
    check_pixels(pixels.shape[0], pixels.shape[1])
    if array.dtype.kind == "f" and not 0 <= array.min() <= array.max() <= 1:
        raise ImageError(f"values from {array.min():g} to {array.max():g}; expected floats from 0 to 1")
    planes = pixels.transpose(2, 0, 1).astype(np.float32, order="C")
    image = torch.from_numpy(planes).unsqueeze(0).div_(WHITES[array.dtype.name])
    if image.shape[1] == 4:
        alpha = image[:, 3:]
        image = image[:, :3].mul_(alpha).add_(1 - alpha)  # in place: a photo may take a gigabyte
    return image.expand(1, 3, -1, -1).contiguous()


def to_pil(image: Tensor) -> Image.Image:
    """Turn an image (1, 3, H, W) into a PIL image, clamped to [0, 1] and rounded to 8 bits.

    Raises ImageError for another shape, NaN or infinity.
    """
    if image.ndim != 4 or image.shape[:2] != (1, 3):
        raise ImageError(f"shape {tuple(image.shape)}; expected (1, 3, H, W)")
    if not image.isfinite().all():
        raise ImageError("NaN or infinity among the pixels; expected finite numbers")
    pixels = (255 * image.detach().float().clamp(0, 1)).round().to(torch.uint8)
    return Image.fromarray(pixels[0].permute(1, 2, 0).cpu().numpy())


def save_image(image: Tensor, path: str | PathLike[str], *, quality: int = 95) -> None:
    """Save an image (1, 3, H, W) as PNG, JPEG or WebP, whichever the path's suffix names.

    Atomic: a failure leaves the old file or none, never half a new one. `quality` (1 to 100) is for JPEG and
    WebP. Raises ImageError for another suffix or quality, and for a file that cannot be written.
    """
    path = Path(path)
    if (suffix := path.suffix.lower()) not in SUFFIXES:
        raise ImageError(f"cannot save {path.name!r}; expected a name that ends in {', '.join(SUFFIXES)}")
    if not 1 <= quality <= 100:
        raise ImageError(f"quality={quality}; expected 1 to 100")
    picture = to_pil(image)
    try:
        with whole_file(path) as file:
            picture.save(file, format=SUFFIXES[suffix], quality=quality)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} could not be saved: {error}; try another folder or format") from error
