"""Files, web addresses, bytes and arrays become image tensors, and image tensors become files."""

from __future__ import annotations

import warnings
from concurrent import futures
from contextlib import suppress
from functools import cache
from http.client import HTTPException, HTTPMessage
from io import BytesIO
from os import PathLike
from pathlib import Path
from threading import Thread
from typing import IO, Any, BinaryIO, NamedTuple, TypeAlias
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from nst_lessons.checks import check_number, shown
from nst_lessons.files import whole_file
from nst_lessons.images import (
    FLOATS,
    MAX_PIXELS,
    ImageError,
    check_images,
    check_pixels,
    check_values,
    resize,
    too_many_pixels,
)

MIN_SIDE = 16  # a VGG halves the image four times before its deepest block
MAX_BYTES = 100_000_000
DOWNLOAD_SECONDS = 30.0
WHITES = {"bool": 1, "uint8": 255, "uint16": 65535, "float16": 1, "float32": 1, "float64": 1}
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}

ImageSource: TypeAlias = "str | PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[Any] | Tensor"


class Planes(NamedTuple):
    """An image (1, 3, H, W), on white, and how opaque it was, (1, 1, H, W), where a file tells."""

    image: Tensor
    alpha: Tensor | None


def load_image(source: ImageSource, size: int | None = None) -> Tensor:
    """Load an image as a tensor (1, 3, H, W), float32, RGB, in [0, 1].

    Args:
        source: a path, an http(s) address, bytes, a binary file object, a PIL image, an array (H, W) or
            (H, W, 1 | 3 | 4), or a tensor (1 | 3 | 4, H, W) or (1, 1 | 3 | 4, H, W). Arrays and tensors are
            uint8, uint16, bool, or float in [0, 1]. Orientation and colour profile are applied, transparent
            parts become white, with a warning (`load_alpha` has them), grey becomes RGB, and of an animation the first
            frame is taken. HEIC needs the package pillow-heif, AVIF Pillow 11.3.
        size: the longer side in pixels, resized with antialiasing; None keeps the size.

    Raises:
        ImageError: for anything that cannot be read, is damaged, truncated or has more than MAX_PIXELS (a JPEG file
            may have more if the size is smaller), and for a shorter side under MIN_SIDE pixels (before or after
            resizing): too small for a VGG's deepest layer.
    """
    image, alpha = read(source, size)
    if alpha is not None and bool((alpha < 1).any()):
        words = "transparent parts are laid on white; load_alpha has them, and --keep-alpha keeps a photo's"
        warnings.warn(f"{source_name(source)}: {words}", stacklevel=2)
    return fit(image, size, source_name(source))


def load_alpha(source: ImageSource, size: int | None = None) -> Tensor:
    """How opaque an image is, ``(1, 1, H, W)`` in [0, 1], of any that `load_image` takes, and as large; else all 1.

    Raises:
        ImageError: as `load_image` does.
    """
    image, alpha = read(source, size)
    opaque = torch.ones_like(image[:, :1]) if alpha is None else alpha
    return fit(opaque.expand_as(image), size, source_name(source))[:, :1]


def source_name(source: ImageSource) -> str:
    """What to call an image in a message."""
    return str(source) if isinstance(source, str | PathLike) else f"the {type(source).__name__}"


def fit(image: Tensor, size: int | None, name: str) -> Tensor:
    """Resize an image unless the size is None; ImageError when it is too small before or afterwards."""
    came = f"{image.shape[3]} x {image.shape[2]} pixels"
    if size is not None and min(image.shape[2:]) >= MIN_SIDE:  # a few pixels enlarged are still no picture
        image = resize(image, size)
        came += f", resized to {image.shape[3]} x {image.shape[2]}"
    if min(image.shape[2:]) < MIN_SIDE:
        raise ImageError(f"{name}: {came}; expected a shorter side of at least {MIN_SIDE} pixels")
    return image


def read(source: ImageSource, size: int | None) -> Planes:
    """Read an image, and its transparency if it has one; the size only spares decoding more than is needed."""
    name = source_name(source)
    try:
        if isinstance(source, Tensor):
            return from_tensor(source)
        if isinstance(source, np.ndarray):
            return from_array(source)
        if isinstance(source, Image.Image):
            return from_pil(source)
        with open_picture(read_bytes(source), size) as picture:
            return from_pil(picture)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except Exception as error:  # on damaged files Pillow raises whatever its decoders stumble over
        raise ImageError(f"{name}: unreadable ({type(error).__name__}: {error}); expected an intact image") from error


def open_picture(data: bytes, size: int | None) -> Image.Image:
    """Read a file's header. A JPEG file of too many pixels will be decoded smaller, if a smaller size is wanted."""
    if not data:
        raise ImageError("empty; expected an image file, or a file object that is at its start")
    if len(data) > MAX_BYTES:
        raise ImageError(f"more than {MAX_BYTES // 10**6} MB; expected a smaller file")
    register_plugins()
    try:
        if data.startswith(b"\xff\xd8\xff"):
            # Not Image.open, which refuses large pictures although they need not be decoded at full size.
            picture = JpegImageFile(BytesIO(data))
            if size and too_many_pixels(picture.height, picture.width):
                scale = size / max(picture.size)
                picture.draft(None, (round(scale * picture.width), round(scale * picture.height)))
            return picture
        # Pillow has Ghostscript execute an EPS file, and an IPTC file is an envelope that may hold one.
        formats = [name for name in Image.ID if name not in ("EPS", "IPTC")]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            return Image.open(BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise ImageError(f"its pixels are too many; expected at most {MAX_PIXELS // 10**6} million") from error
    except (UnidentifiedImageError, SyntaxError) as error:  # the latter of a JPEG file's header
        raise ImageError(unreadable(data)) from error


@cache
def register_plugins() -> None:
    """Let Pillow know all formats that it can read on this machine."""
    Image.init()
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()


def unreadable(data: bytes) -> str:
    """Why Pillow knows no format for a file, and the way out."""
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in HEIC_BRANDS and "HEIF" not in Image.ID:
        return 'a HEIC picture; expected PNG or JPEG, or `pip install "nst-lessons[heif]"` first'
    if brand in (b"avif", b"avis") and "AVIF" not in Image.ID:
        return "an AVIF picture; expected PNG or JPEG, or `pip install --upgrade pillow` first"
    if data.lstrip()[:1] == b"<":
        return "a web page, or a drawing in XML; expected a PNG or JPEG file"
    return "in no image format, or truncated; expected a PNG or JPEG file"


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


def from_pil(picture: Image.Image) -> Planes:
    """Turn a PIL image of any mode into planes, upright and in sRGB."""
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


def from_tensor(tensor: Tensor) -> Planes:
    """Turn a tensor (C, H, W) or (1, C, H, W), 1, 3 or 4 channels, into planes on the CPU."""
    tensor = tensor.detach().cpu()
    channels = tensor[0] if tensor.ndim == 4 and len(tensor) == 1 else tensor
    if channels.ndim != 3 or len(channels) not in (1, 3, 4):
        raise ImageError(f"shape {tuple(tensor.shape)}; expected (3, H, W) or (1, 3, H, W)")
    if channels.dtype == torch.bfloat16:
        channels = channels.float()  # numpy has no bfloat16
    return from_array(channels.permute(1, 2, 0).numpy())


def from_array(array: NDArray[Any]) -> Planes:
    """Turn an array (H, W) or (H, W, 1 | 3 | 4) into planes: white is 255, 65535, True or 1.0."""
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
    alpha = image[:, 3:] if image.shape[1] == 4 else None
    if alpha is not None:
        image = image[:, :3].mul_(alpha).add_(1 - alpha)  # in place: a photo may take a gigabyte
    return Planes(image.expand(1, 3, -1, -1).contiguous(), alpha)


def to_pil(image: Tensor, alpha: Tensor | None = None) -> Image.Image:
    """Turn an image (1, 3, H, W) into a PIL image, clamped to [0, 1] and rounded to 8 bits.

    With `alpha`, (1, 1, H, W) in [0, 1], it is transparent where that is less than 1. Raises ImageError for another
    shape, NaN, infinity, or values so far outside [0, 1] that they must be of another scale.
    """
    check_images(image, dtypes=FLOATS)
    if len(image) > 1:
        raise ImageError(f"a batch of {len(image)} images; expected one, such as images[:1]")
    check_values(image, slack=1.0)
    if alpha is not None:
        if not isinstance(alpha, Tensor) or alpha.shape != image[:, :1].shape:
            raise ImageError(f"alpha is {shown(alpha)}; expected the shape {tuple(image[:, :1].shape)}")
        image = torch.cat([image, alpha.to(image)], dim=1)
    pixels = (255 * image.detach().float().clamp(0, 1)).round().to(torch.uint8)
    return Image.fromarray(pixels[0].permute(1, 2, 0).cpu().numpy())


def save_image(image: Tensor, path: str | PathLike[str], *, quality: int = 95, alpha: Tensor | None = None) -> None:
    """Save an image (1, 3, H, W) as PNG, JPEG or WebP, whichever the path's suffix names.

    Atomic: a failure leaves the old file or none, never half a new one. `quality` (1 to 100) is for JPEG and
    WebP, `alpha` (1, 1, H, W), how opaque the image is, for PNG and WebP. Raises ImageError for another suffix,
    for what is no image, and for a file that cannot be written, ValueError for another quality.
    """
    if not isinstance(path, str | PathLike):
        raise ImageError(f"cannot save to {shown(path)}; expected a path")
    path = Path(path)
    check_suffix(path, alpha is not None)
    check_number("quality", quality, 1, 100, whole=True)
    picture = to_pil(image, alpha)
    try:
        with whole_file(path) as file:
            picture.save(file, format=SUFFIXES[path.suffix.lower()], quality=quality)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} could not be saved: {error}; try another folder or format") from error


def check_suffix(path: Path, transparent: bool = False) -> None:
    """Raise ImageError for a file name from which no format follows, or one without transparency where it is wanted."""
    if path.suffix.lower() not in SUFFIXES:
        raise ImageError(f"cannot save {path.name!r}; expected a name that ends in {', '.join(SUFFIXES)}")
    if transparent and SUFFIXES[path.suffix.lower()] == "JPEG":
        raise ImageError(f"{path.name!r}: JPEG files know no transparency; expected .png or .webp")
