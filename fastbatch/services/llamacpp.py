"""The embedded model: `local:smollm2`, or any other model as `local:PATH.gguf`."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from fastbatch.errors import ServiceError, did_you_mean
from fastbatch.services.llama_server import LlamaServer, Load
from fastbatch.services.model_files import SMOLLM2, fetch_smollm2, models_folder
from fastbatch.services.reports import FetchProgress, Report, ignore

_KNOWN = ("smollm2",)

# Tokens of prompt and answer that a slot holds. SmolLM2 was trained on 8,192, but memory is taken for all
# slots: 8 of them take 377 MB at 2,048 tokens (30 layers x 3 heads x 64 x 2 x 2 bytes = 23 kB a token).
_CONTEXT = 2048

# More slots than cores still help: each step computes all of them at once. Forty 16-token answers of the
# default model took 4.0, 3.0, 2.4 and 2.4 s with 1, 4, 8 and 16 slots on two cores, and 207, 347, 531 and
# 906 MB of memory.
_SLOTS = 8

_CONNECTIONS = (64, 512)  # the least and the most that the server keeps threads for
_SPARE = 8  # for somebody who looks at /health meanwhile


class _GaveUp(Exception):
    """The caller was cancelled; ends the fetch that runs in a thread."""


class LlamaCppService:
    """llama.cpp in this process with one model, OpenAI-shaped (chat, completions, responses, embeddings).

    Args:
        model: `smollm2`, fetched on first use; or the path of a file that ends in `.gguf`.
        report: hears how the fetch goes, from a thread.
        env: where `FASTBATCH_MODELS` is looked up; else the environment.

    Raises:
        ServiceError: no such model is known.

    >>> LlamaCppService("smollm2").identity()
    'local:sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53'
    """

    models: ClassVar[Mapping[str, int]] = dict.fromkeys(_KNOWN, _CONTEXT)
    """The models that it has of its own, each with the tokens that its context holds."""

    def __init__(
        self, model: str, *, report: Report | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self._file = Path(model).expanduser() if model.lower().endswith(".gguf") else None
        if self._file is None and model not in _KNOWN:
            raise ServiceError(
                f"unknown local model {model!r}; known are {', '.join(_KNOWN)} and the path of any file that "
                f"ends in .gguf.{did_you_mean(model, _KNOWN)}"
            )
        self.name = f"local:{model}"
        self._alias = model if self._file is None else self._file.stem
        self._report = report or ignore
        self._env = env
        self._digest: str | None = None
        self._lock = threading.Lock()  # not asyncio's: one service may be used from several loops, one by one
        self._server: LlamaServer | None = None
        self._at_exit: weakref.finalize[..., LlamaCppService] | None = None

    def identity(self) -> str:
        """`local:sha256:<digest of the model file>`; reads a file of one's own once (blocks, about 1 s a GB).

        Raises:
            ServiceError: the file cannot be read.
        """
        if self._file is None:
            return f"local:sha256:{SMOLLM2.sha256}"
        if self._digest is None:
            try:
                with self._file.open("rb") as opened:
                    self._digest = hashlib.file_digest(opened, "sha256").hexdigest()
            except OSError as error:
                raise ServiceError(
                    f"the model file {self._file} cannot be read: {error.strerror or error}"
                ) from error
        return f"local:sha256:{self._digest}"

    def slots(self, wanted: int) -> int:
        """min(wanted, max(8, usable cores)): more would wait in the server while their timeout runs."""
        return load_for(wanted, usable_cores()).slots

    async def start(self, *, slots: int) -> str:
        """Start for `slots` requests at once and return the base URL, `/v1` included.

        Computes min(slots, max(8, usable cores)) of them at a time, 2,048 tokens of prompt and answer each;
        the others wait in the server. A server that runs already stays as it is, whatever `slots` says.

        Raises:
            MissingExtra: the engine is not installed.
            ServiceError: the model could not be fetched or loaded.
        """
        given_up = threading.Event()
        try:
            return await asyncio.to_thread(self._start, slots, given_up)
        except asyncio.CancelledError:
            given_up.set()
            raise

    async def stop(self) -> None:
        """Stop the server; requests in flight lose their connection. Stopping twice is allowed."""
        await asyncio.to_thread(self._stop)

    def _start(self, slots: int, given_up: threading.Event) -> str:
        def report(progress: FetchProgress) -> None:
            if given_up.is_set():
                raise _GaveUp
            self._report(progress)

        with self._lock:
            if self._server is None:
                file = self._file or fetch_smollm2(models_folder(self._env), report)
                if given_up.is_set():
                    raise _GaveUp
                self._server = LlamaServer(file, self._alias, load_for(slots, usable_cores()))
                # A program that ends without stop() must not hang in the engine's destructor.
                self._at_exit = weakref.finalize(self, self._server.stop)
                if given_up.is_set():
                    self._end()
                    raise _GaveUp
            return self._server.base_url

    def _stop(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._at_exit is not None:
            self._at_exit()
        self._server = self._at_exit = None


def load_for(slots: int, cores: int) -> Load:
    """What to start for `slots` requests at once on `cores` cores.

    >>> load_for(64, 2)
    Load(slots=8, context=2048, connections=72, threads=2)
    """
    least, most = _CONNECTIONS
    return Load(
        slots=max(1, min(slots, max(_SLOTS, cores))),
        context=_CONTEXT,
        connections=min(max(slots, least), most) + _SPARE,
        threads=cores,
    )


def usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores this process may use: its CPU affinity, at most the container's quota (cgroup v2), at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        used, _, period = quota.read_text("ascii").strip().partition(" ")
        return max(1, min(cores, int(used) // int(period)))
    except (OSError, ValueError):  # not Linux, not cgroup v2, or no quota ("max 100000")
        return cores
