"""llama.cpp's own HTTP server inside this process: the only owner of xllamacpp.

What follows from its construction (xllamacpp 2026.10, read and measured) and is handled here:

- It loads while holding the interpreter's lock, so a large model stops the event loop while it loads, from
  any thread (0.3 s for the default model).
- Destroying it waits for its requests and they for their clients: with a request in flight, for ever. So its
  connections are shut first; its handlers look once a second, so a busy server takes about a second to stop.
- Destroying it before its loop has begun hangs too, and it says that it is ready before that; so it is asked
  something that only the loop answers.
- A file that it cannot load raises RuntimeError, whatever is wrong with the file; the reason is only in its
  log, which is switched off, because it goes to stdout and stderr.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastbatch.errors import MissingExtra, ServiceError

_HOST = "127.0.0.1"
_SILENT = -1  # below every level of its log

# How often a thread of the OpenMP team looks for its next piece of work before it sleeps; libgomp's default
# is 300,000. With as many threads as cores, anything else that runs on the machine makes a spinning team wait
# for whole time slices: beside two busy processes, 40 answers of 16 tokens on two cores took 10 to 74 s by
# default and 6 s with 300; alone 2.5 s with either. (OMP_WAIT_POLICY=passive: 7 and 4 s.) Read when libgomp
# is loaded.
_SPINS = ("GOMP_SPINCOUNT", "300")
_CHOSEN = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")  # who has set one of these knows better


@dataclass(frozen=True, slots=True)
class Load:
    """What a server is made for.

    Attributes:
        slots: requests that are answered at the same time.
        context: tokens of prompt and answer together that one slot holds.
        connections: open connections that are served; each takes one of the server's threads.
        threads: cores that compute.
    """

    slots: int
    context: int
    connections: int
    threads: int


class LlamaServer:
    """A running server; listens on a port of 127.0.0.1 that the system chose.

    Raises:
        MissingExtra: xllamacpp is not installed.
        ServiceError: the file is no model that can be loaded.
    """

    def __init__(self, file: Path, alias: str, load: Load) -> None:
        _check(file)
        engine = _engine()
        try:
            self._server: Any = engine.Server(_parameters(engine, file, alias, load))
        except RuntimeError as error:
            raise ServiceError(
                f"{file} could not be loaded: it is cut off or damaged, of an architecture that the embedded "
                f"engine does not know, or needs more memory than is free ({load.slots} slots of "
                f"{load.context:,} tokens); fetch the file again, or update the engine with: "
                "pip install -U xllamacpp"
            ) from error
        self._server.handle_metrics()  # comes back when the loop runs
        self.base_url = f"{self._server.listening_address}/v1"

    def stop(self) -> None:
        """End the server and free its memory and port; requests in flight lose their connection."""
        if self._server is not None:
            _hang_up(urlsplit(self.base_url).port or 0)
            self._server = None  # the destructor joins its threads


def _parameters(engine: Any, file: Path, alias: str, load: Load) -> Any:
    wanted = engine.CommonParams()
    wanted.model.path = str(file)
    wanted.model_alias = {alias}
    wanted.hostnames = [_HOST]
    wanted.port = 0
    wanted.verbosity = _SILENT
    wanted.ui = False
    wanted.endpoint_slots = False  # it would show everybody's prompts to anybody on this machine
    wanted.endpoint_metrics = True  # numbers only; what the constructor asks for
    wanted.cors_origins = ""  # no web page may read from it
    wanted.n_parallel = load.slots
    wanted.n_ctx = load.slots * load.context
    wanted.n_threads_http = load.connections
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = load.threads
    # Chat, completions and embeddings from one server; an embedding must fit into one batch.
    wanted.embedding = True
    wanted.pooling_type = engine.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    wanted.n_batch = wanted.n_ubatch = load.context
    # Up to 8 GiB of earlier prompts by default. The prompts of a batch do not come back; what neighbours have
    # in common is still reused within a slot.
    wanted.cache_ram_mib = 0
    return wanted


def _check(file: Path) -> None:
    """Say what is wrong with a file that is no model at all, as the engine would not."""
    try:
        with file.open("rb") as opened:
            magic = opened.read(4)
    except OSError as error:
        raise ServiceError(f"the model file {file} cannot be read: {error.strerror or error}") from error
    if magic != b"GGUF":  # https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
        raise ServiceError(f"{file} is not a GGUF model file (it does not begin with 'GGUF'); fetch it again")


def _engine() -> Any:
    with _sleepy_team(os.environ):
        try:
            import xllamacpp
        except ModuleNotFoundError as missing:
            if missing.name != "xllamacpp":
                raise
            raise MissingExtra("the embedded model's engine (xllamacpp)", "local") from missing
        except ImportError as error:
            raise ServiceError(
                f"the embedded model's engine (xllamacpp) does not load: {error}. "
                "Where libgomp.so.1 is missing, install the system's library: apt-get install libgomp1"
            ) from error
    return xllamacpp


@contextmanager
def _sleepy_team(env: MutableMapping[str, str]) -> Iterator[None]:
    """Have libgomp, which the engine's import loads, put idle threads to sleep; unless the person chose."""
    if any(name in env for name in _CHOSEN):
        yield
        return
    name, value = _SPINS
    env[name] = value
    try:
        yield
    finally:
        env.pop(name, None)  # not for the processes that are started from here


def _hang_up(port: int) -> None:
    """Shut the server's side of every connection to `port`, the listening one first so that none is added.

    The server's sockets belong to its library and are known by nothing but their local address.
    """
    for listening in (True, False):
        for entry in Path("/dev/fd").iterdir():
            with suppress(OSError):  # no socket, closed meanwhile, or no longer connected
                _shut(int(entry.name), port, listening)


def _shut(number: int, port: int, listening: bool) -> None:
    own = os.dup(number)  # holds the open file, whatever its owner does with the number meanwhile
    try:
        found = socket.socket(fileno=own)
    except OSError:
        os.close(own)
        raise
    with found:
        ours = found.family == socket.AF_INET and found.getsockname() == (_HOST, port)
        if ours and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == listening:
            found.shutdown(socket.SHUT_RDWR)
