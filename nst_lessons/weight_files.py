"""Weights files: `load_backbone` finds or downloads a network's weights, reads them and checks them.

A weights file is a ``.pth`` or ``.safetensors`` of a plain VGG under torchvision's names or the literature's, whole or
features only, also within a training script's checkpoint; no code in it is executed.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import socket
import struct
import textwrap
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import groupby, pairwise
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor
from torchvision.models import VGG16_Weights, VGG19_Weights

from nst_lessons.checks import check_choice, shown
from nst_lessons.console import say
from nst_lessons.images import CONVENTIONS
from nst_lessons.network import Backbone, Padding, Precision, block_number

DOWNLOADS = {"vgg16": VGG16_Weights.IMAGENET1K_V1, "vgg19": VGG19_Weights.IMAGENET1K_V1}
DOWNLOAD_MEGABYTES = 550
ACCEPTED = "expected the weights of torchvision's vgg11, vgg13, vgg16 or vgg19 (without batch norm)"
CUT_SHORT = "is cut short; download or copy it again"
WRAPPERS = ("state_dict", "model_state_dict", "model", "weights")  # training scripts' names; they go before others

# What is taken for a weights file: how it ends, how it begins, and what to say of it.
FOREIGN_FILES: tuple[tuple[str, bytes, str], ...] = (
    ("", rb"\Z", "is empty; download or copy it again"),
    ("", rb"version https://git-lfs", "is a Git LFS pointer, not the weights; run `git lfs pull` where it came from"),
    ("", rb"(?i)\W*<(!doctype|html|head|\?xml)", "is a web page, not the weights; download the file that it links to"),
    (
        ".keras",
        rb"\x89HDF",
        "is a Keras or HDF5 file, which PyTorch cannot read; save a state dict of conv1_1.weight (output, input, "
        'height, width), conv1_1.bias, ... with torch.save, and load that with the convention "caffe"',
    ),
    (
        ".caffemodel",
        rb"\n[\x01-\x1f]VGG",
        "is a Caffe model (protobuf), which PyTorch cannot read; convert it to a state dict first, and load that with "
        'the convention "caffe"',
    ),
    (".mat", rb"MATLAB ", "is a MATLAB file, which PyTorch cannot read; convert it to a state dict first"),
    (".npy", rb"\x93NUMPY", "is a NumPy file, which is not read here; convert it to a state dict first"),
    (".npz", rb"\x93NUMPY", "is a NumPy file, which is not read here; convert it to a state dict first"),
    ("", rb"\x1f\x8b|BZh|\xfd7zXZ", "is compressed; unpack it first"),
)

# The first filter of Caffe's VGG16: its kernel of blue, row by row, and its bias.
CAFFE_FILTER = (0.429471, 0.373467, -0.06136, 0.27477, 0.038681, -0.367223, -0.057468, -0.26225, -0.350097, 0.734298)


class WeightsError(RuntimeError):
    """A network's weights are missing or unusable; the message says what was requested and what to do."""


def load_backbone(
    name: str | os.PathLike[str] | None = None,
    *,
    pooling: str = "avg",
    padding: Padding = "zeros",
    convention: str | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "auto",
) -> Backbone:
    """Load a network with fixed weights.

    Args:
        name: ``"compact"`` (shipped with the package), ``"vgg16"`` or ``"vgg19"`` (torchvision's ImageNet
            weights, downloaded once, about 550 MB), or the path of a weights file. Without a name, the environment
            variable ``NST_LESSONS_BACKBONE`` decides, else ``"compact"``.
        pooling: ``"avg"`` or ``"max"`` (as the networks were trained).
        padding: ``"zeros"`` (as the networks were trained), ``"replicate"``, ``"reflect"`` or ``"circular"``.
        convention: ``"torchvision"`` or ``"caffe"``: how the images were normalised that the network was trained on.
            By default a weights file's is guessed, and a guess of Caffe's is printed: see `guess_convention`. For the
            network of ``NST_LESSONS_BACKBONE``, the environment variable ``NST_LESSONS_CONVENTION`` says it.
        device: by default a GPU where there is one.
        precision: of the activations; ``"auto"`` is bfloat16 where the hardware multiplies it, float16 on other CUDA
            GPUs (until it overflows, see `nst_lessons.scaled_gradient`) and float32 elsewhere; ``"float32"`` is exact
            everywhere.

    Raises:
        WeightsError: when the weights cannot be read or downloaded; the message names the remedy.
        ValueError: for an unknown pooling, padding, convention or precision, or Caffe's convention for a network that
            has torchvision's.
    """
    if not isinstance(name, str | os.PathLike | None):
        raise TypeError(f"a network is given by its name or path, not by {shown(name)}")
    name = os.fspath(name or default_backbone())
    convention = known_convention(name, convention)
    weights = name_convolutions(read_weights(name), name)
    backbone = Backbone(
        architecture(weights),
        pooling=pooling,
        padding=padding,
        convention=convention or "torchvision",
        precision=precision,
    )
    try:
        backbone.load_state_dict(weights)
    except RuntimeError as error:
        problem = textwrap.shorten(str(error).splitlines()[1], 170)  # torch names every tensor that does not fit
        raise WeightsError(f"{name} is not a plain VGG; {ACCEPTED}: {problem}") from None
    backbone.requires_grad_(False).eval()
    if convention is None and guess_convention(weights) == "caffe":
        backbone.convention = "caffe"
        say(
            f"{name} begins like Caffe's VGG, so it is given Caffe's pixels (BGR, 0 to 255 minus the mean); "
            'convention="torchvision", or --convention torchvision, overrules this guess'
        )
    # Channels last suits the CPU's convolutions: the same features in about half the time.
    return backbone.to(memory_format=torch.channels_last).to(device or default_device())


def default_backbone() -> str:
    """The network that the environment variable ``NST_LESSONS_BACKBONE`` names, else ``"compact"``."""
    return os.environ.get("NST_LESSONS_BACKBONE") or "compact"


def known_convention(name: str, asked: str | None) -> str | None:
    """The convention that was asked for, or is known without a look at the weights; None where it is to be guessed.

    Raises:
        ValueError: for an unknown one, or Caffe's for a network that has torchvision's.
    """
    if asked is None and name == os.environ.get("NST_LESSONS_BACKBONE"):
        asked = os.environ.get("NST_LESSONS_CONVENTION") or None
    if asked is not None:
        check_choice("convention", asked, CONVENTIONS)
    if name in ("compact", *DOWNLOADS):
        if asked not in (None, "torchvision"):
            raise ValueError(f"{name} was trained with torchvision's convention; {asked!r} is for weights files")
        return "torchvision"
    return asked


def guess_convention(weights: Mapping[str, Tensor]) -> str:
    """``"caffe"`` for the original VGG16 and VGG19 and what descends from them, else ``"torchvision"``.

    Both were trained from one smaller network (Simonyan and Zisserman, 2015, section 3.1), and their first filters, as
    vectors of a kernel and its bias, still have a cosine of 0.995. It stays where a file scales its filters, as that of
    Gatys et al. does, or ends early. torchvision's VGG16 has -0.26, Caffe's first filter converted to torchvision's
    pixels 0.77, and two million random filters 0.971 at most. A Caffe network with a first filter of its own is not
    recognised, and neither is the order of the colours: this filter is nearly grey.

    What the features do tells less. A Caffe network that is fed torchvision's pixels, 58 times too small, has nearly
    the same deepest features for all photos, but so have small random ones; and its first layer is like that of
    torchvision's VGG16, where kernels and biases have the same proportion.
    """
    first = torch.cat([weights["conv1_1.weight"][0, 0].flatten(), weights["conv1_1.bias"][:1]])
    cosine = torch.cosine_similarity(first, first.new_tensor(CAFFE_FILTER), dim=0)
    return "caffe" if cosine > 0.98 else "torchvision"


def default_device() -> torch.device:
    """A CUDA GPU, else an Apple GPU, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def read_weights(name: str) -> dict[str, Tensor]:
    """The state dict of a network, given by name or path, as it was saved; WeightsError if it cannot be had."""
    if name in DOWNLOADS:
        return fetch_weights(name)
    path = weights_file(name)
    try:
        if path.suffix or path.exists():
            return read_weights_file(path)
    except OSError as error:  # before Python 3.12, of a name that is too long
        raise WeightsError(f"a name of {len(name)} letters is no weights file: {error.strerror}") from error
    raise WeightsError(
        f"unknown network {name!r}; choose compact, {', '.join(DOWNLOADS)} or the path of a weights file"
    )


def weights_file(name: str) -> Path:
    """The file of a network; a name other than ``compact``, ``vgg16`` and ``vgg19`` is itself the path."""
    if name in DOWNLOADS:
        return cached_weights(name)
    return Path(__file__).parent / "weights" / "compact.safetensors" if name == "compact" else Path(name)


def cached_weights(name: str) -> Path:
    """Where torch keeps the weights of ``vgg16`` or ``vgg19`` once they are downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(DOWNLOADS[name].url).name


def fetch_weights(name: str) -> dict[str, Tensor]:
    """Read torchvision's weights from torch's cache; if they are not there, download them and check their hash.

    Raises:
        WeightsError: when the download fails or the cached file is damaged.
    """
    path = cached_weights(name)
    if path.exists():
        try:
            return read_weights_file(path)
        except WeightsError:
            check_hash(path)  # its name says whether it is as it was published
            raise
    say(f"downloading {name} (about {DOWNLOAD_MEGABYTES} MB, once) to {path}")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # seconds of every wait; torch's downloader sets no limit of its own
    try:
        return DOWNLOADS[name].get_state_dict(progress=True, check_hash=True, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError) as error:
        # Only the reason, not the traceback: a classroom without internet is not a fault in the program.
        raise WeightsError(
            f"could not download the weights of {name} ({error}). Use the network that is shipped with the package, "
            f'load_backbone("compact"); or run `nst-lessons fetch {name}` where there is internet and copy the file '
            f"to {path}; or give the path of a local weights file"
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def read_weights_file(path: Path) -> dict[str, Tensor]:
    """Read a weights file onto the CPU; WeightsError, with the reason, if it is missing or something else."""
    if not path.is_file():
        raise WeightsError(f"no weights file at {path}; give an existing .pth or .safetensors file")
    with path.open("rb") as file:
        beginning = file.read(256)
    refuse_foreign(path, beginning)
    try:
        if beginning[8:9] == b"{":  # of the header of safetensors, behind its length
            return safetensors.torch.load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch asks to report files that are not its own
            saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers may raise anything on a file that is not theirs
        raise WeightsError(f"{path} {reading_problem(error)}") from error
    if not (state := unwrap(saved)):
        holds = f"a dict of {names(map(str, saved))}" if isinstance(saved, Mapping) else f"a {type(saved).__name__}"
        raise WeightsError(
            f"{path} holds {holds} and not one state dict; save one: torch.save(model.state_dict(), path)"
        )
    return state


def refuse_foreign(path: Path, beginning: bytes) -> None:
    """Raise WeightsError for what is not weights, by its name and its first bytes, or for an archive cut short."""
    for suffix, pattern, problem in FOREIGN_FILES:
        if re.match(pattern, beginning) or path.suffix == suffix != "":
            raise WeightsError(f"{path} {problem}")
    if beginning.startswith(b"PK"):
        if not zipfile.is_zipfile(path):  # its directory comes last
            raise WeightsError(f"{path} {CUT_SHORT}")
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise WeightsError(
                    f"{path} is a program (TorchScript); save its weights alone: "
                    "torch.save(torch.jit.load(path).state_dict(), other_path)"
                )


def reading_problem(error: Exception) -> str:
    """What an error of torch's or safetensors' reader says about the file."""
    message = str(error)
    if code := re.search(r"Unsupported (?:global: GLOBAL|class) ([\w.]+)", message):
        return (
            f"holds more than tensors ({code[1]}), as a whole model does, so that reading it would run code; where you "
            "trust it, load it and save the weights alone: torch.save(model.state_dict(), path)"
        )
    ended = re.search(r"(?i)unexpected EOF|truncated|incomplete|header.?length", message)
    if ended or isinstance(error, (EOFError, IndexError, struct.error)):
        return CUT_SHORT
    # What torch says of bytes that are no pickle helps nobody.
    foreign = isinstance(error, (pickle.UnpicklingError, KeyError)) or not message
    details = "" if foreign else f" ({type(error).__name__}: {textwrap.shorten(message, 80)})"
    return f"cannot be read as a PyTorch or safetensors file{details}"


def unwrap(saved: object) -> dict[str, Tensor]:
    """The tensors of the one state dict in a file, also in a checkpoint, ``{"epoch": 3, "net": ...}``; may be empty."""
    if not isinstance(saved, Mapping):
        return {}
    for key in WRAPPERS:
        if isinstance(saved.get(key), Mapping):
            return unwrap(saved[key])
    named = {key: value for key, value in saved.items() if isinstance(key, str)}  # an optimiser's state has numbers
    tensors = {key: value for key, value in named.items() if isinstance(value, Tensor) and value.is_floating_point()}
    found = [] if tensors else [inner for value in named.values() if (inner := unwrap(value))]
    return found[0] if len(found) == 1 else tensors


def names(all_names: Iterable[str]) -> str:
    """The first few names."""
    return textwrap.shorten(", ".join(all_names), 70, placeholder=" ...")


def name_convolutions(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The convolutions of a weights file under the literature's names, in order and float32, without the classifier.

    Raises:
        WeightsError: where there is no VGG or more than one, or a tensor has no channels or is not finite.
    """
    modules = vgg_modules(state, source)
    named = {key: tensor for key, tensor in modules.items() if key.startswith("conv")} or rename_modules(modules)
    # conv2_1 comes after conv1_10.
    in_order = sorted(named, key=lambda key: [int(number) for number in re.findall(r"\d+", key)])
    weights = {key: named[key].float() for key in in_order}
    for key, tensor in weights.items():
        if key.endswith("weight") and not (tensor.ndim and tensor.numel()):
            raise WeightsError(f"{source}: {key} has shape {tuple(tensor.shape)}, no channels; {ACCEPTED}")
        if not tensor.isfinite().all():
            raise WeightsError(
                f"{source}: {key} holds NaN or infinity; give weights that were saved before the training diverged"
            )
    return weights


def vgg_modules(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The tensors of the one VGG in a state dict, without what their names begin with: ``{"0.weight": ..., ...}``.

    A VGG is a sequence of convolutions that differ in a number only, ``module.backbone.features.0.weight``, or have the
    literature's names. A sequence called ``features`` goes before others.

    Raises:
        WeightsError: where there is none or more than one, or one with batch normalisation.
    """
    sequences: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in state.items():
        if match := re.fullmatch(r"((?:.+\.)?)((?:conv\d+_\d+|\d+)\.\w+)", key):
            sequences[match[1]][match[2]] = tensor
    found = [prefix for prefix, modules in sequences.items() if any(tensor.ndim == 4 for tensor in modules.values())]
    found = [prefix for prefix in found if prefix.endswith("features.")] or found
    # Other networks, such as SqueezeNet, have modules with names of their own within the numbered ones.
    if len(found) != 1 or any(re.match(rf"{re.escape(found[0])}\d+\.\w+\.", key) for key in state):
        raise WeightsError(f"{source} holds no plain VGG, or several: it has {names(state)}; {ACCEPTED}")
    modules = sequences[found[0]]
    if any(key.endswith("running_mean") for key in modules):
        raise WeightsError(f"{source} is a VGG with batch normalisation; {ACCEPTED}")
    return modules


def rename_modules(modules: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn torchvision's numbered modules into the literature's names: ``0.weight`` is ``conv1_1.weight``.

    A convolution and its ReLU take two numbers, so a larger gap is a pooling layer, where the next block begins.
    """
    parts = {(int(number), part): modules[key] for key in modules for number, part in [key.split(".")]}
    layers: dict[int, str] = {}
    block, i = 1, 0
    for previous, number in pairwise([-2, *sorted({number for number, _ in parts})]):
        block, i = (block, i + 1) if number - previous == 2 else (block + 1, 1)
        layers[number] = f"conv{block}_{i}"
    return {f"{layers[number]}.{part}": tensor for (number, part), tensor in parts.items()}


def architecture(weights: Mapping[str, Tensor]) -> list[list[int]]:
    """The blocks of the VGG whose weights are ``{"conv1_1.weight": ..., "conv1_1.bias": ..., ...}``, in this order."""
    kernels = (key for key in weights if key.endswith("weight"))
    return [[len(weights[key]) for key in block] for _, block in groupby(kernels, key=block_number)]


def check_hash(path: Path) -> None:
    """Raise WeightsError unless a file's SHA-256 begins as its name says: ``vgg16-397923af.pth``."""
    expected, found = path.stem.rpartition("-")[2], sha256(path)
    if not found.startswith(expected):
        raise WeightsError(
            f"{path} is damaged: its SHA-256 begins {found[:8]}, not {expected}; delete it and try again"
        )


def sha256(path: Path) -> str:
    """A file's SHA-256, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
