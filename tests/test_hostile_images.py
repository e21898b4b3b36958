"""Files and servers that lie, stall or break off: `ImageError` or a valid tensor, and nothing else."""

import os
import re
import struct
import threading
import warnings
import zlib
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO, StringIO

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from nst_lessons import image_files, images
from nst_lessons.image_files import load_image
from nst_lessons.images import MAX_PIXELS, ImageError

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns of much of what follows

Image.init()
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 27, 3), dtype=np.uint8)
MODES = ("RGB", "RGBA", "P", "L", "CMYK", "1", "F")


@cache
def encoded(file_format, mode="RGB"):
    """A small file, or None where the format cannot hold the mode."""
    buffer = BytesIO()
    try:
        Image.fromarray(PIXELS).convert(mode).save(buffer, file_format)
    except (OSError, KeyError, ValueError):
        return None
    return buffer.getvalue()


def readable(data):
    """Whether the bytes load; fails for any exception but ImageError, and for an image that is not one."""
    try:
        image = load_image(data)
    except ImageError as error:
        assert "; expected " in str(error)
        return False
    assert image.ndim == 4
    assert image.shape[:2] == (1, 3)
    assert image.dtype == torch.float32
    assert min(image.shape[2:]) >= 16
    assert image.shape[2] * image.shape[3] <= MAX_PIXELS
    assert 0 <= image.min() <= image.max() <= 1
    return True


def read_only_files(width, height, grey, rgb):
    """Small files in the formats that Pillow reads and does not write, by format; grey and RGB are their pixels."""
    words = [0, 4, *[0] * 6, height, width, 1, 0, 0, 1, *[0] * 19, 256, *[0] * 30]
    rows = [f"{'a' * min(width, 100)}" for _ in range(min(height, 100))]
    icon, pcx = BytesIO(), BytesIO()
    Image.new("RGB", (20, 27)).save(icon, "ICO", bitmap_format="bmp", sizes=[(20, 27)])
    Image.new("RGB", (20, 27)).save(pcx, "PCX")
    cards = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", f"NAXIS1  = {width}", f"NAXIS2  = {height}", "END"]
    flic = struct.pack("<IHHHHHH", 0, 0xAF11, 1, width & 0xFFFF, height & 0xFFFF, 8, 3).ljust(128, b"\0")
    frame = struct.pack("<IHH8xIH", 22 + len(grey), 0xF1FA, 1, 6 + len(grey), 16) + grey
    pixar = bytearray(b"\200\350\0\0".ljust(1024, b"\0"))
    struct.pack_into("<HH4xHH", pixar, 416, height & 0xFFFF, width & 0xFFFF, 14, 2)
    return {
        "CUR": b"\0\0\2\0" + icon.getvalue()[4:],
        "DCX": struct.pack("<III", 0x3ADE68B1, 12, 0) + pcx.getvalue(),
        "FITS": "".join(card.ljust(80) for card in cards).encode().ljust(2880) + grey.ljust(2880),
        "FLI": flic + frame,
        "FTEX": struct.pack("<4s8i", b"FTEX", 1, width, height, 1, 1, 1, 32, len(rgb)) + rgb,
        "GBR": struct.pack(">5I4sI", 29, 2, width, height, 1, b"GIMP", 10) + b"\0" + grey,
        "IMT": f"* IMT\nwidth {width}\nheight {height}\npixel n8\n\x0c".encode() + grey,
        "MCIDAS": struct.pack("!64i", *words) + grey,
        "MPEG": b"\0\0\1\xb3" + ((width & 0xFFF) << 12 | height & 0xFFF).to_bytes(3, "big") + grey,
        "PCD": bytes(2048) + b"PCD_".ljust(1540, b"\0") + grey,
        "PIXAR": bytes(pixar) + rgb,
        "PSD": struct.pack(">4sH6xHIIHHIIIH", b"8BPS", 1, 3, height, width, 8, 3, 0, 0, 0, 0) + rgb,
        "SUN": struct.pack(">8I", 0x59A66A95, width, height, 24, 0, 1, 0, 0) + rgb + bytes(1000),
        "XPM": f'/* XPM */\n"{width} {height} 1 1",\n"a c #102030",\n'.encode()
        + "".join(f'"{row}",\n' for row in rows).encode(),
        "XVTHUMB": f"P7 332\n#c\n{width} {height} 255\n".encode() + grey,
    }


READ_ONLY = read_only_files(27, 20, PIXELS[..., 0].tobytes(), PIXELS.tobytes())
FILES = {(f, mode): encoded(f, mode) for f in sorted(Image.SAVE) for mode in MODES if encoded(f, mode)}
FILES |= {(f, "RGB"): data for f, data in READ_ONLY.items()}
# Pillow knows the first four by their headers, and has nothing to decode them with; the last is an envelope.
BEGINNINGS = {"BUFR": b"BUFR", "GRIB": b"GRIB\0\0\0\1", "HDF5": b"\x89HDF\r\n\x1a\n", "WMF": b"\xd7\xcd\xc6\x9a\0\0"}
BEGINNINGS |= {"IPTC": b"\x1c\3"}
BY_FORMAT = {f: [data for (name, _), data in FILES.items() if name == f] for f, _ in FILES}


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "JPEG2000"])
def test_common_formats_are_read_whole_and_refused_cut_short(file_format):
    data = encoded(file_format)
    assert readable(data)
    for length in (1, 10, len(data) // 4, len(data) // 2, len(data) * 3 // 4):
        assert not readable(data[:length])


@pytest.mark.parametrize("file_format", READ_ONLY)
def test_formats_that_pillow_only_reads(file_format):
    incomplete = ("MPEG", "PCD")  # Pillow knows no more than MPEG's header; a Photo CD is never small
    assert readable(READ_ONLY[file_format]) == (file_format not in incomplete)


def test_every_format_that_pillow_reads_is_mutated():
    read_only = {"QOI", "HEIF", "AVIF"}  # Pillow 10 reads QOI and cannot write it, nor AVIF with an old pillow-heif
    assert set(Image.OPEN) - set(BY_FORMAT) <= {*BEGINNINGS, *read_only}


@pytest.mark.parametrize("file_format", BY_FORMAT)
@given(draw=st.data())
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_cut_and_mutated_files(file_format, draw):
    data = bytearray(draw.draw(st.sampled_from(BY_FORMAT[file_format])))
    near_the_header = st.integers(0, min(len(data), 200) - 1)
    anywhere = st.integers(0, len(data) - 1)
    value = st.sampled_from([0, 1, 0x7F, 0x80, 0xFE, 0xFF]) | st.integers(0, 255)
    for position, byte in draw.draw(st.lists(st.tuples(near_the_header | anywhere, value), max_size=8)):
        data[position] = byte
    cut = draw.draw(st.just(len(data)) | anywhere)
    readable(bytes(data[:cut]))  # its assertions are the test


@given(st.binary(max_size=200), st.sampled_from(sorted({data[:8] for data in FILES.values()} | {*BEGINNINGS.values()})))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_noise_behind_a_true_beginning(noise, beginning):
    assert not readable(beginning + noise)


def test_eps_is_never_handed_to_ghostscript(monkeypatch):
    ran = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *arguments: ran.append(arguments))
    assert not readable(encoded("EPS"))
    assert not ran


def test_eps_in_an_envelope_is_never_handed_to_ghostscript_either(monkeypatch):
    """IPTC holds a picture in any format, which Pillow opens without asking which."""
    ran = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *arguments: ran.append(arguments))

    def fields(*fields):
        return b"".join(struct.pack(">BBBH", 0x1C, *tag, len(value)) + value for tag, value in fields)

    eps = encoded("EPS", "L")
    sides = ((3, 20), (27).to_bytes(4, "big")), ((3, 30), (20).to_bytes(4, "big"))
    envelope = fields(((3, 60), b"\1\0"), *sides, ((3, 120), b"\5"), ((8, 10), eps))
    assert not readable(envelope)
    assert not ran
    with Image.open(BytesIO(envelope)) as picture:
        assert picture.format == "IPTC"
        try:
            with suppress(OSError, AssertionError):
                picture.load()
        except TypeError:
            pytest.skip("Pillow 10 stumbles over any IPTC")
    assert ran, "Pillow would have"


# ---- files that are no images


def test_zero_bytes():
    with pytest.raises(ImageError, match="empty; expected an image file"):
        load_image(b"")


def test_a_file_object_at_its_end():
    file = BytesIO(encoded("PNG"))
    file.read()
    with pytest.raises(ImageError, match="at its start"):
        load_image(file)


def test_a_text_file_named_jpg(tmp_path):
    path = tmp_path / "holiday.jpg"
    path.write_text("I am not a picture.")
    with pytest.raises(ImageError, match=r"holiday\.jpg: in no image format.*; expected a PNG or JPEG file"):
        load_image(path)


def test_a_jpeg_named_png_is_read_all_the_same(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(encoded("JPEG"))
    assert load_image(path).shape == (1, 3, 20, 27)


def test_folders_missing_files_and_impossible_names(tmp_path):
    for source, said in [
        (tmp_path, "is a folder"),
        (tmp_path / "gone.jpg", r"gone\.jpg is not a file; expected an image file"),
        ("", "is a folder"),
        ("nul\0byte.jpg", "; expected an"),
        ("x" * 5000, "; expected an"),
    ]:
        with pytest.raises(ImageError, match=said):
            load_image(source)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_that_nobody_writes_to(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="is not a file"):
        load_image(tmp_path / "pipe.png")


def test_file_objects_that_misbehave():
    closed = BytesIO(encoded("PNG"))
    closed.close()
    for source in (closed, StringIO("text"), StringIO("")):
        with pytest.raises(ImageError, match="; expected "):
            load_image(source)


def test_a_damaged_pil_image():
    with Image.open(BytesIO(encoded("PNG")[:300])) as picture, pytest.raises(ImageError, match="truncated"):
        load_image(picture)


def test_the_reason_is_kept_for_those_who_want_it():
    with pytest.raises(ImageError) as caught:
        load_image(encoded("JPEG")[:500])
    assert isinstance(caught.value.__cause__, OSError)


# ---- too large, too small


def png(width, height, idat=b""):
    """A one-bit PNG with a true header of any size, and `idat` as its compressed data."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", idat) + chunk(b"IEND", b"")


@pytest.fixture
def decoded(monkeypatch):
    """Records what gets as far as being decoded."""
    pictures, transpose = [], ImageOps.exif_transpose

    def record(picture):
        pictures.append(picture.size)
        return transpose(picture)

    monkeypatch.setattr(ImageOps, "exif_transpose", record)
    return pictures


@pytest.mark.parametrize("size", [(8001, 8000), (12_000, 12_000), (2**31 - 1, 16), (65_000, 65_000)])
def test_a_bomb_is_refused_by_its_header(size, decoded):
    with warnings.catch_warnings(), pytest.raises(ImageError, match="pixels are too many; expected at most 64 million"):
        warnings.simplefilter("error")
        load_image(png(*size))
    assert not decoded


@pytest.mark.parametrize("file_format", sorted(set(READ_ONLY) - {"CUR", "DCX", "MPEG", "PCD"}))
def test_a_bomb_in_other_formats_is_refused_by_its_header(file_format, decoded):
    data = read_only_files(60_000, 60_000, bytes(100), bytes(300))[file_format]
    assert len(data) < 20_000
    with pytest.raises(ImageError, match="pixels are too many; expected at most 64 million"):
        load_image(data)
    assert not decoded


def test_a_small_bomb_of_a_few_bytes_for_many_pixels(decoded, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 100 * 100)
    rows = zlib.compress(bytes(101 * (1 + 13)))
    with pytest.raises(ImageError, match="101 x 100 pixels are too many"):
        load_image(png(101, 100, rows))
    assert not decoded
    assert load_image(png(100, 100, rows)).shape == (1, 3, 100, 100)
    assert decoded == [(100, 100)]


def test_arrays_and_tensors_have_the_same_limit(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 400)
    assert load_image(np.zeros((20, 20))).shape == (1, 3, 20, 20)
    for source in (np.zeros((20, 21)), torch.zeros(3, 21, 20), Image.new("RGB", (20, 21))):
        with pytest.raises(ImageError, match="too many"):
            load_image(source)


def test_an_icon_that_hides_a_larger_picture(monkeypatch):
    """An icon's directory says 16 x 16; the PNG inside it has 300 x 300."""
    inside = png(300, 300, zlib.compress(bytes(300 * 39)))
    icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inside), 22) + inside
    assert load_image(icon).shape == (1, 3, 300, 300)
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    with pytest.raises(ImageError, match="300 x 300 pixels are too many"):
        load_image(icon)


def test_too_many_bytes(monkeypatch, tmp_path):
    data = encoded("PNG")
    (tmp_path / "photo.png").write_bytes(data)
    monkeypatch.setattr(image_files, "MAX_BYTES", len(data))
    assert readable(data)
    monkeypatch.setattr(image_files, "MAX_BYTES", len(data) - 1)
    for source in (data, BytesIO(data), tmp_path / "photo.png"):
        with pytest.raises(ImageError, match="more than 0 MB; expected a smaller file"):
            load_image(source)


def test_an_endless_file_object_is_not_read_to_the_end(monkeypatch):
    class Endless:
        def read(self, size):
            assert size >= 0
            return bytes(size)

    monkeypatch.setattr(image_files, "MAX_BYTES", 1000)
    with pytest.raises(ImageError, match="more than"):
        load_image(Endless())


def test_one_pixel():
    with pytest.raises(ImageError, match="1 x 1 pixels; expected a shorter side of at least 16 pixels"):
        load_image(Image.new("RGB", (1, 1)))


def test_a_strip_of_65000_pixels():
    strip = BytesIO()
    Image.new("RGB", (65_000, 16), (255, 0, 0)).save(strip, "PNG")
    assert load_image(strip.getvalue()).shape == (1, 3, 16, 65_000)
    with pytest.raises(ImageError, match="65000 x 16 pixels, resized to 256 x 1;"):
        load_image(strip.getvalue(), size=256)
    with pytest.raises(ImageError, match="65000 x 1 pixels"):
        load_image(np.zeros((1, 65_000)))


# ---- servers


class Server(BaseHTTPRequestHandler):
    """Answers by path; `patience` ends the endless answers when the test is over."""

    patience = threading.Event()
    hung_up = threading.Event()

    def do_GET(self):
        getattr(self, "get_" + self.path.strip("/").split("/")[0])()

    def answer(self, body=b"", kind="image/png", status=200, **headers):
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def get_photo(self):
        self.answer(encoded("PNG"))

    def get_stream(self):
        self.answer(encoded("PNG"), "application/octet-stream")

    def get_agent(self):
        blocked = self.headers["User-Agent"].startswith("Python-urllib")
        self.answer(encoded("PNG"), status=403 if blocked else 200)

    def get_page(self):
        self.answer(encoded("PNG"), "text/html; charset=utf-8")

    def get_broken(self):
        self.answer(encoded("PNG")[:200])

    def get_short(self):
        self.answer(encoded("PNG")[:200], Content_Length="5000")

    def get_missing(self):
        self.answer(b"no such thing", status=404)

    def get_once(self):
        self.answer(status=302, Location="/photo")

    def get_loop(self):
        self.answer(status=302, Location="/loop")

    def get_chain(self):
        self.answer(status=302, Location=self.path + "/x")

    def get_local(self):
        self.answer(status=302, Location="file:///etc/hostname")

    def get_ftp(self):
        self.answer(status=302, Location="ftp://127.0.0.1/photo.png")

    def get_bloated(self):
        self.answer(status=302, Location="/photo")
        try:
            while not self.patience.is_set():
                self.wfile.write(bytes(100_000))
        except ConnectionError:
            self.hung_up.set()

    def get_large(self):
        self.answer(bytes(100), Content_Length=str(10**12))

    def get_endless(self):
        self.answer()
        while not self.patience.is_set():
            self.wfile.write(bytes(10_000))

    def get_drip(self):
        self.answer()
        while not self.patience.wait(0.05):
            self.wfile.write(b"\x89")

    def get_drippinghead(self):
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
        while not self.patience.wait(0.05):
            self.wfile.write(b"z")

    def get_silence(self):
        self.patience.wait()

    def get_garbage(self):
        self.wfile.write(b"\x00\xff" * 100)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as httpd:
        httpd.handle_error = lambda *arguments: None  # clients that hang up are the point here
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        Server.patience.set()
        httpd.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def straight_to_the_server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize("path", ["photo", "once", "stream", "agent", "photo/with space/and ü.png?size=1#top"])
def test_an_address(path, server):
    torch.testing.assert_close(load_image(f"{server}/{path}"), load_image(PIXELS))


def test_an_address_in_capitals(server):
    assert load_image(server.replace("http", "HTTP") + "/photo", size=54).shape == (1, 3, 40, 54)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("page", "text/html; use the address of the image itself"),
        ("missing", "404"),
        ("loop", "too many redirects"),
        ("chain", "too many redirects"),
        ("local", "file:///etc/hostname"),
        ("ftp", "ftp"),
        ("broken", "unreadable"),
        ("short", "unreadable"),
        ("large", "1000000000000 bytes; expected at most 100 MB"),
        ("garbage", r"use the http\(s\) address of an image, or a local file"),
        ("nosuchmethod", r"use the http\(s\) address of an image, or a local file"),
    ],
)
def test_answers_that_are_no_image(path, said, server):
    with pytest.raises(ImageError, match=said) as caught:
        load_image(f"{server}/{path}")
    assert str(caught.value).startswith(f"{server}/{path}: ")
    assert "\n" not in str(caught.value)
    assert re.search("; (expected|use) ", str(caught.value))


def test_an_answer_without_end_is_cut_off_while_streaming(server, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_BYTES", 100_000)
    with pytest.raises(ImageError, match="more than 0 MB"):
        load_image(f"{server}/endless")


def test_a_redirect_is_followed_without_reading_what_comes_with_it(server):
    Server.hung_up.clear()
    assert load_image(f"{server}/bloated").shape == (1, 3, 20, 27)
    assert Server.hung_up.wait(5), "the endless body is still being read"


@pytest.mark.parametrize("path", ["silence", "drip", "drippinghead"])
def test_slow_answers_are_given_up(path, server, monkeypatch):
    monkeypatch.setattr(image_files, "DOWNLOAD_SECONDS", 0.3)
    with pytest.raises(ImageError, match=r"within 0\.3 seconds|timed out"):
        load_image(f"{server}/{path}")


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/hostname",
        "ftp://127.0.0.1/photo.png",
        "data://image/png;base64,AAAA",
        "javascript://photo",
        "http://",
        "http://127.0.0.1:1/photo.png",
        "http://127.0.0.1:99999/photo.png",
    ],
)
def test_addresses_that_lead_nowhere(address):
    with pytest.raises(ImageError, match=r"use the http\(s\) address of an image, or a local file"):
        load_image(address)


@pytest.mark.parametrize("address", ["http://[::1/photo.png", "://photo.png"])
def test_addresses_that_are_none(address):
    with pytest.raises(ImageError, match=r"; (expected|use) "):
        load_image(address)
