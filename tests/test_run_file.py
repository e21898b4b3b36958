"""Checkpoints: killed, interrupted, damaged, of another run; what goes on ends as if it had never stopped."""

import errno
import itertools
import math
import os
import shutil
import signal
import sys
import zipfile
from multiprocessing import get_context
from threading import RLock
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from tqdm.auto import tqdm

from nst_lessons import (
    FOURIER,
    PIXELS,
    CheckpointError,
    ImageError,
    Result,
    loss_below,
    noise_like,
    optimize,
    optimize_image,
    out_of_time,
    run_file,
    style_transfer,
)
from nst_lessons.optimizers import OPTIMIZERS


def run(start, loss_fn, steps=60, **options):
    return optimize_image(start, loss_fn, steps=steps, progress=False, **options)


def assert_same(ours, theirs) -> None:
    """Bit for bit; all but the time that it took."""
    assert torch.equal(ours.image, theirs.image)
    assert ours.history.losses == theirs.history.losses
    assert ours.stopped == theirs.stopped
    assert ours.history.snapshots.keys() == theirs.history.snapshots.keys()
    assert all(torch.equal(image, theirs.history.snapshots[i]) for i, image in ours.history.snapshots.items())


class Killed(BaseException):
    """Ends a run as no handler expects."""


@pytest.fixture
def banana(small_image):
    """Not a bowl: line searches of several evaluations, and an optimiser that needs its memory."""

    def loss_fn(image: Tensor) -> dict[str, Tensor]:
        x, y = (image - small_image + 0.5).reshape(2, -1)
        return {"valley": 10 * (y - x.square()).square().mean(), "slope": (0.7 - x).square().mean()}

    return loss_fn


def killed_at(step, loss_fn):
    """The loss function, which dies in its evaluation of that number."""
    calls = iter(range(10**6))

    def dying(image: Tensor) -> dict[str, Tensor]:
        if next(calls) == step:
            raise Killed
        return loss_fn(image)

    return dying


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("coordinates", [PIXELS, FOURIER], ids=["pixels", "fourier"])
@pytest.mark.parametrize("steps", [[1, 2, 3, 5, 8], [57], [30, 30]])
def test_a_resumed_run_ends_as_if_it_had_never_stopped(optimizer, coordinates, steps, start, banana, tmp_path):
    options = {"steps": 120, "optimizer": optimizer, "coordinates": coordinates, "snapshots": [0, 31, 58, 119]}
    whole = run(start, banana, **options)
    file = tmp_path / "run.pt"
    for step in steps:
        with pytest.raises(Killed):
            run(start, killed_at(step, banana), checkpoint=file, **options)
    assert_same(run(start, banana, checkpoint=file, **options), whole)
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_more_steps_go_on_from_where_fewer_ended(optimizer, start, banana, tmp_path):
    options = {"optimizer": optimizer, "checkpoint": tmp_path / "run.pt"}
    for steps in (1, 7, 62, 90):
        continued = run(start, banana, steps, **options)
        assert_same(continued, run(start, banana, steps, optimizer=optimizer))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("rule", [[], [loss_below(0.05)]])
def test_a_run_that_was_over_gives_its_result_again_at_once(optimizer, rule, start, banana, tmp_path):
    file, calls = tmp_path / "run.pt", []

    def counted(image: Tensor) -> dict[str, Tensor]:
        calls.append(image)
        return banana(image)

    first = run(start, banana, optimizer=optimizer, stop=rule, checkpoint=file)
    again = run(start, counted, optimizer=optimizer, stop=rule, checkpoint=file)
    assert_same(again, first)
    assert again.history.seconds == first.history.seconds
    assert len(calls) == 1, "the one that tells whether it is the same loss"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_interrupted_run_loses_no_evaluation(optimizer, start, banana, tmp_path):
    file, calls = tmp_path / "run.pt", []

    def counted(image: Tensor) -> dict[str, Tensor]:
        calls.append(image)
        if len(calls) == 41:
            raise KeyboardInterrupt
        return banana(image)

    assert run(start, counted, optimizer=optimizer, checkpoint=file).stopped == "interrupted at step 40"
    assert_same(run(start, counted, optimizer=optimizer, checkpoint=file), run(start, banana, optimizer=optimizer))
    assert len(calls) == 41 + 1 + 20


def test_a_run_that_failed_fails_again_and_keeps_its_image(start, quadratic, tmp_path):
    def loss_fn(image: Tensor) -> dict[str, Tensor]:
        losses = quadratic(image)
        return losses | {"style": image.sum() * (math.nan if losses["bowl"] < 0.5 else 0)}

    results = [run(start, loss_fn, checkpoint=tmp_path / "run.pt") for _ in range(2)]
    assert "no longer a finite number" in results[1].stopped
    assert torch.equal(results[0].image, results[1].image)
    assert results[0].stopped == results[1].stopped


def test_a_stall_is_noticed_at_the_same_step_after_resuming(start, tmp_path):
    def flat(image: Tensor) -> dict[str, Tensor]:
        return {"flat": 1 + 0 * image.sum()}

    with pytest.raises(Killed):
        run(start, killed_at(30, flat), 200, optimizer="adam", checkpoint=tmp_path / "run.pt")
    resumed = run(start, flat, 200, optimizer="adam", checkpoint=tmp_path / "run.pt")
    assert_same(resumed, run(start, flat, 200, optimizer="adam"))
    assert resumed.stopped == "the loss has not fallen since step 0"


def test_time_is_counted_over_all_parts(start, banana, tmp_path, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(optimize, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    parts = [run(start, banana, steps, checkpoint=tmp_path / "run.pt").history.seconds for steps in (20, 25, 30)]
    assert 0 < parts[0] < parts[1] < parts[2]
    resumed = run(start, banana, 40, stop=out_of_time(parts[2]), checkpoint=tmp_path / "run.pt")
    # Step 29 is taken again, and asked about, unless an iteration of the optimiser ended with it.
    assert resumed.stopped.endswith(("seconds were over at step 29", "seconds were over at step 30"))


def test_it_is_written_when_it_is_time(start, banana, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(run_file.Checkpoint, "write", lambda self, contents: written.append(len(contents["since"])))
    run(start, banana, 10, optimizer="adam", checkpoint=tmp_path / "run.pt", checkpoint_every=0)
    assert len(written) == 10 + 1
    written.clear()
    run(start, banana, 10, optimizer="adam", checkpoint=tmp_path / "run.pt")
    assert len(written) == 1, "30 seconds are never over here"


def test_nothing_is_written_before_there_is_a_loss(start, banana, tmp_path):
    with pytest.raises(Killed):
        run(start, killed_at(0, banana), checkpoint=tmp_path / "run.pt")
    assert list(tmp_path.iterdir()) == []


def refused(file, start, loss_fn, words="", **options) -> None:
    before = file.read_bytes()
    with pytest.raises(CheckpointError, match=words) as caught:
        run(start, loss_fn, checkpoint=file, **options)
    assert "delete it to begin anew" in str(caught.value)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.fixture
def written(start, banana, tmp_path):
    """The checkpoint of a run of ten steps."""
    run(start, banana, 10, checkpoint=tmp_path / "run.pt")
    return tmp_path / "run.pt"


def test_a_checkpoint_of_another_run_is_refused_and_left_alone(written, start, banana, quadratic):
    refused(written, start, banana, "optimizer: lbfgs, not adam", optimizer="adam")
    refused(written, start, banana, r"learning_rate: 1\.0, not 0\.5", learning_rate=0.5)
    refused(written, start, banana, "coordinates: pixels, not fourier", coordinates=FOURIER)
    refused(written, start[..., :-1], banana, r"start: shape \(1, 3, 12, 17\) .*, not shape \(1, 3, 12, 16\)")
    with pytest.raises(ImageError, match=r"float64; expected torch\.float32"):
        optimize_image(start.double(), banana, steps=3, progress=False, checkpoint=written)
    refused(written, noise_like(start, 4), banana, "start: another image, not this one")
    refused(written, start, quadratic, "other images, weights or layers")
    refused(written, start, lambda image: banana(image) | {"tv": 0 * image.sum()}, "other images, weights or layers")


def test_another_weight_is_noticed_also_of_a_loss_that_was_0_at_the_start(start, quadratic, tmp_path):
    def loss_fn(alpha):
        return lambda image: quadratic(image) | {"content": alpha * (image - start).square().mean()}

    run(start, loss_fn(1), 10, checkpoint=tmp_path / "run.pt")
    refused(tmp_path / "run.pt", start, loss_fn(1.01), "other images, weights or layers")


def test_another_photo_or_painting_is_noticed(tiny_backbone, small_image, other_image, tmp_path):
    options = {"content_layers": ["relu2_1"], "style_layers": ["relu1_1"], "progress": False, "steps": 5}
    options |= {"start": "noise", "checkpoint": tmp_path / "run.pt"}
    style_transfer(tiny_backbone, small_image, other_image, **options)
    for photo, painting in [(small_image.flip(3), other_image), (small_image, other_image.square())]:
        with pytest.raises(CheckpointError, match="other images, weights or layers"):
            style_transfer(tiny_backbone, photo, painting, **options)
    options["steps"] = 8
    resumed = style_transfer(tiny_backbone, small_image, other_image, **options)
    assert_same(resumed, style_transfer(tiny_backbone, small_image, other_image, **options | {"checkpoint": None}))


def test_a_loss_with_random_parts_cannot_be_resumed(start, quadratic, tmp_path):
    generator = torch.Generator().manual_seed(0)

    def loss_fn(image: Tensor) -> dict[str, Tensor]:
        return {"bowl": quadratic(image)["bowl"] * (1 + torch.rand((), generator=generator))}

    run(start, loss_fn, 10, optimizer="adam", checkpoint=tmp_path / "run.pt")
    refused(tmp_path / "run.pt", start, loss_fn, "had the losses", optimizer="adam")


def test_a_damaged_checkpoint_is_refused_and_left_alone(written, start, banana):
    whole = written.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        written.write_bytes(whole[:length])
        refused(written, start, banana, "damaged or no checkpoint")
    with zipfile.ZipFile(written.parent / "run.pt", "w") as archive:
        archive.writestr("readme.txt", "another archive")
    refused(written, start, banana, "damaged or no checkpoint")
    torch.save({"weight": torch.zeros(3)}, written)
    refused(written, start, banana, "damaged or no checkpoint")


def test_flipped_bits_are_noticed_or_harmless(written, start, banana):
    whole = written.read_bytes()
    expected = run(start, banana, 12)
    noticed = 0
    for place in np.random.default_rng(0).integers(0, len(whole), 60):
        flipped = bytearray(whole)
        flipped[place] ^= 0x10
        written.write_bytes(flipped)
        try:
            assert_same(run(start, banana, 12, checkpoint=written), expected)
        except CheckpointError:
            noticed += 1
            assert written.read_bytes() == flipped
    assert noticed > 20


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_never_executes_code(zipped, start, banana, tmp_path):
    class Malicious:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    file = tmp_path / "run.pt"
    torch.save({"format": run_file.FORMAT, "x": Malicious()}, file, _use_new_zipfile_serialization=zipped)
    refused(file, start, banana, "damaged or no checkpoint")
    torch.load(file, weights_only=False)
    assert (tmp_path / "executed").exists(), "it would have, elsewhere"


def test_a_checkpoint_without_a_folder_is_refused_before_the_work(start, banana, tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no folder .*gone"):
        run(start, killed_at(0, banana), checkpoint=tmp_path / "gone" / "run.pt")


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such folders")
def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_work(start, banana, tmp_path, monkeypatch):
    if os.geteuid() == 0:  # who may write anywhere
        monkeypatch.setattr("tempfile.TemporaryFile", forbidden)
    tmp_path.chmod(0o555)
    with pytest.raises(CheckpointError, match=r"run.pt cannot be written \(Permission denied\)"):
        run(start, killed_at(0, banana), checkpoint=tmp_path / "run.pt")
    tmp_path.chmod(0o755)


def forbidden(*_, **__):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_warned_of_once_and_the_run_goes_on(written, start, banana, monkeypatch):
    before = written.read_bytes()
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.warns(UserWarning, match="could not be written .*No space left on device.*; the run goes on") as told:
        result = run(start, banana, 30, checkpoint=written, checkpoint_every=0)
    assert len(told) == 1
    assert_same(result, run(start, banana, 30))
    assert written.read_bytes() == before, "what was there is worth more than nothing"
    assert [path.name for path in written.parent.iterdir()] == ["run.pt"]
    monkeypatch.undo()
    assert_same(run(start, banana, 30, checkpoint=written), result)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_file_that_grows_too_large_is_a_full_disk_too(start, banana, tmp_path):
    """The real thing: the system's own refusal, in the middle of the file, as torch passes it on."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.warns(UserWarning, match="could not be written"):
            result = run(start, banana, 30, checkpoint=tmp_path / "run.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert_same(result, run(start, banana, 30))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_goes_away_is_warned_of_once_and_the_run_goes_on(start, banana, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()

    def remove(step) -> None:
        if step.index == 5:
            shutil.rmtree(folder)

    with pytest.warns(UserWarning, match="could not be written .*; the run goes on") as told:
        result = run(start, banana, 30, checkpoint=folder / "run.pt", checkpoint_every=0, callback=remove)
    assert len(told) == 1
    assert_same(result, run(start, banana, 30))


# in processes of their own


def killable_run(backbone, photo, painting, optimizer, warm_start, file) -> Result:
    """A style transfer that brings its checkpoint up to date all the time."""
    # Forked processes share tqdm's own lock: one that is killed while it holds it would leave the next one waiting.
    tqdm.set_lock(RLock())
    layers = {"content_layers": ["relu2_2"], "style_layers": ["relu1_1", "relu2_1"]}
    options = {"start": "noise", "seed": 5, "steps": 400, "optimizer": optimizer, "progress": False}
    options["warm_start"] = warm_start
    return style_transfer(backbone, photo, painting, checkpoint=file, checkpoint_every=0.02, **layers, **options)


@pytest.mark.skipif(sys.platform != "linux", reason="torch can be forked safely on Linux only")
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_killed_at_random_moments_it_ends_as_if_it_had_never_been(
    optimizer, warm_start, tiny_backbone, small_image, other_image, tmp_path
):
    file, pause = tmp_path / "run.pt", np.random.default_rng(len(optimizer))
    images = tiny_backbone, small_image, other_image
    kills, written = 0, None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(6):
            process = get_context("fork").Process(target=killable_run, args=(*images, optimizer, warm_start, file))
            process.start()
            while process.is_alive() and (not file.exists() or file.stat().st_mtime_ns == written):
                process.join(0.001)
            written = file.stat().st_mtime_ns
            process.join(pause.uniform(0, 0.03))
            process.kill()
            process.join()
            kills += process.exitcode == -signal.SIGKILL
        resumed = killable_run(*images, optimizer, warm_start, file)
        whole = killable_run(*images, optimizer, warm_start, None)
    finally:
        torch.set_num_threads(threads)
    assert kills > 1
    assert_same(resumed, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]
