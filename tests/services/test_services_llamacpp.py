"""The embedded model, for real: loaded in this process and asked over HTTP."""

import asyncio
import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fastbatch.errors import MissingExtra, ServiceError
from fastbatch.services import llama_server, llamacpp
from fastbatch.services.llamacpp import LlamaCppService, load_for, usable_cores
from fastbatch.services.model_files import SMOLLM2, fetch_smollm2, models_folder

# Taken before any fixture hides the user's cache directory, so that the file is fetched once per machine.
MODELS = models_folder()


@pytest.fixture(scope="module")
def model_file():
    """The default model's file; skips aloud where it cannot be had."""
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed (the extra `local`)")
    try:
        return fetch_smollm2(MODELS)
    except ServiceError as error:
        pytest.skip(f"the model file cannot be had: {error}")


@pytest.fixture(autouse=True)
def cached_models(monkeypatch):
    """The model file of this machine is the one that services find."""
    monkeypatch.setenv("FASTBATCH_MODELS", str(MODELS))


@pytest.fixture(scope="module")
def server(model_file):
    """The address of a server with 8 slots, `/v1` left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTBATCH_MODELS", str(MODELS))
        service = LlamaCppService("smollm2")
        base_url = asyncio.run(service.start(slots=8))
    assert base_url.startswith("http://127.0.0.1:")
    assert base_url.endswith("/v1")
    yield urlsplit(base_url).netloc
    asyncio.run(service.stop())


def ask(address, path, body, connection=None):
    """Status and body of one POST."""
    asked = connection or http.client.HTTPConnection(address, timeout=100)
    try:
        asked.request("POST", f"/v1/{path}", json.dumps(body), {"Content-Type": "application/json"})
        reply = asked.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        if connection is None:
            asked.close()


def chat(text, **more):
    return {"model": "smollm2", "messages": [{"role": "user", "content": text}], "temperature": 0, **more}


def test_a_chat_has_an_answer_and_its_usage(server):
    """The reply is a chat completion with text and counted tokens."""
    status, reply = ask(server, "chat/completions", chat("What is the capital of France?", max_tokens=12))
    assert status == 200
    assert reply["model"] == "smollm2"
    assert reply["choices"][0]["message"]["content"].strip()
    assert 0 < reply["usage"]["completion_tokens"] <= 12


def test_completions_and_embeddings_work_on_the_same_server(server):
    """One server answers every endpoint of ours; an embedding may be as long as the context."""
    status, reply = ask(server, "completions", {"prompt": "One, two,", "max_tokens": 3})
    assert status == 200
    assert reply["choices"][0]["text"]
    status, reply = ask(server, "embeddings", {"model": "smollm2", "input": ["cat", "word " * 600]})
    assert status == 200
    assert [len(row["embedding"]) for row in reply["data"]] == [576, 576]


def test_64_connections_at_once_all_get_an_answer(server):
    """More connections than slots wait in the server; none is refused or dropped."""
    everybody = threading.Barrier(64)

    def one(number):
        connection = http.client.HTTPConnection(server, timeout=100)
        connection.connect()
        everybody.wait(60)
        with connection.sock:
            return ask(server, "chat/completions", chat(f"Say {number}", max_tokens=1), connection)[0]

    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(one, range(64))) == [200] * 64


def test_a_prompt_longer_than_the_context_is_refused(server):
    """2,048 tokens are a slot's; more is a clean 400, not an answer to half a prompt."""
    status, reply = ask(server, "chat/completions", chat("word " * 2100))
    assert status == 400
    assert reply["error"]["type"] == "exceed_context_size_error"
    assert reply["error"]["n_ctx"] == 2048


def test_other_pages_and_people_see_no_prompts(server):
    """No page from elsewhere may read from the server, and nobody the prompts in its slots."""
    connection = http.client.HTTPConnection(server, timeout=60)
    connection.request("GET", "/v1/models", headers={"Origin": "http://elsewhere.example"})
    reply = connection.getresponse()
    reply.read()
    assert not reply.getheader("Access-Control-Allow-Origin")
    connection.request("GET", "/slots")
    assert connection.getresponse().status == 501
    connection.close()


async def test_start_twice_is_one_server_and_stop_frees_the_port(model_file, capfd):
    """Concurrent starts share a server; after stop nobody listens, and stopping again is allowed."""
    service = LlamaCppService("smollm2")
    first, second = await asyncio.gather(service.start(slots=1), service.start(slots=64))
    assert first == second
    port = urlsplit(first).port
    with socket.create_connection(("127.0.0.1", port)):
        pass
    await service.stop()
    await service.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert capfd.readouterr() == ("", "")


def alone(script, model_file):
    """What `script` told, in a process of its own, which prints nothing; an engine that hangs hangs there."""
    mine, theirs = os.pipe()
    with os.fdopen(mine) as told:
        try:
            done = subprocess.run(
                [sys.executable, "-c", script, str(model_file), str(theirs)],
                capture_output=True,
                pass_fds=[theirs],
                timeout=60,
                check=False,
            )
        finally:
            os.close(theirs)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        return json.loads(told.read())


BUSY = """
import asyncio, http.client, json, os, sys, threading
from fastbatch.services.llamacpp import LlamaCppService

def ask(address, ends):
    asked = http.client.HTTPConnection(address, timeout=50)
    body = {"prompt": "Once upon a time", "max_tokens": 2000, "ignore_eos": True}
    try:
        asked.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        ends.append(asked.getresponse().status)
    except (http.client.HTTPException, OSError):
        ends.append("lost")

def waiting(address):
    asked = http.client.HTTPConnection(address, timeout=50)
    asked.request("GET", "/metrics")
    return "llamacpp:requests_deferred 2" in asked.getresponse().read().decode()

async def main():
    service = LlamaCppService(sys.argv[1])
    address = (await service.start(slots=2)).removeprefix("http://").removesuffix("/v1")
    ends = []
    clients = [threading.Thread(target=ask, args=(address, ends)) for _ in range(4)]
    for client in clients:
        client.start()
    while not waiting(address):  # two are being answered, two wait for a slot
        pass
    await service.stop()
    for client in clients:
        client.join()
    os.write(int(sys.argv[2]), json.dumps(ends).encode())

asyncio.run(main())
"""


def test_stop_does_not_wait_for_requests_in_flight(model_file):
    """Clients that wait for long answers lose their connections; the engine alone would hang for ever."""
    assert alone(BUSY, model_file) == ["lost"] * 4


FIVE_TIMES = """
import asyncio, json, os, sys, threading
from fastbatch.services.llamacpp import LlamaCppService

async def main():
    service = LlamaCppService(sys.argv[1])
    counts = []
    for _ in range(6):
        await service.start(slots=4)
        await service.stop()
        foreign = len(os.listdir("/proc/self/task")) - threading.active_count()
        counts.append([foreign, len(os.listdir("/proc/self/fd"))])
    await service.start(slots=1)  # and never stopped: the end of the program must not hang
    os.write(int(sys.argv[2]), json.dumps([counts[0], counts[-1]]).encode())

asyncio.run(main())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
def test_starting_and_stopping_leaks_nothing_and_prints_nothing(model_file):
    """Five more starts leave as many threads and descriptors as one; nothing reaches stdout or stderr."""
    first, last = alone(FIVE_TIMES, model_file)
    assert first == last


async def test_a_file_that_is_no_model_is_named(model_file, tmp_path, capfd):
    """Not a GGUF file, cut off, empty, a directory, missing: an error that names it; the process lives."""
    (tmp_path / "text.gguf").write_bytes(b"hello")
    (tmp_path / "empty.gguf").write_bytes(b"")
    (tmp_path / "directory.gguf").mkdir()
    with model_file.open("rb") as whole:
        (tmp_path / "header.gguf").write_bytes(whole.read(1000))
        whole.seek(0)
        (tmp_path / "half.gguf").write_bytes(whole.read(SMOLLM2.size // 2))
    for name, reason in {
        "text": "is not a GGUF model file",
        "empty": "is not a GGUF model file",
        "directory": "cannot be read",
        "missing": "cannot be read",
        "header": "could not be loaded: it is cut off",
        "half": "could not be loaded: it is cut off",
    }.items():
        path = tmp_path / f"{name}.gguf"
        with pytest.raises(ServiceError) as caught:
            await LlamaCppService(str(path)).start(slots=1)
        assert str(path) in caught.value.message
        assert reason in caught.value.message
    assert capfd.readouterr() == ("", "")


async def test_a_start_that_is_cancelled_ends_its_fetch(monkeypatch):
    """The thread that fetches leaves at its next report, and no server is started."""
    begun, left, over = threading.Event(), threading.Event(), threading.Event()

    def endless(folder, report):
        begun.set()
        try:
            while not over.is_set():
                report(None)
        except Exception:
            left.set()
            raise
        raise ServiceError("nobody ended the fetch")

    monkeypatch.setattr(llamacpp, "fetch_smollm2", endless)
    starting = asyncio.create_task(LlamaCppService("smollm2", report=lambda told: None).start(slots=1))
    await asyncio.to_thread(begun.wait, 10)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    try:
        assert await asyncio.to_thread(left.wait, 10)
    finally:
        over.set()


async def test_the_models_folder_is_looked_up_in_the_environment_that_was_given(monkeypatch, tmp_path):
    """FASTBATCH_MODELS may stand in `.env` alone, which is no part of the process's environment."""
    monkeypatch.setenv("FASTBATCH_MODELS", "/nowhere")
    asked = []

    def fetch(folder, report):
        asked.append(folder)
        raise ServiceError("nothing to fetch here")

    monkeypatch.setattr(llamacpp, "fetch_smollm2", fetch)
    for env in ({"FASTBATCH_MODELS": str(tmp_path)}, None):
        with pytest.raises(ServiceError, match="nothing to fetch"):
            await LlamaCppService("smollm2", env=env).start(slots=1)
    assert asked == [tmp_path, Path("/nowhere")]


async def test_a_missing_engine_is_named_with_its_cure(monkeypatch, tmp_path):
    """Without xllamacpp: the extra to install; with one that does not load: its reason and libgomp."""
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    service = LlamaCppService(str(tmp_path / "m.gguf"))
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtra, match=r"pip install 'fastbatch\[local\]'"):
        await service.start(slots=1)
    monkeypatch.delitem(sys.modules, "xllamacpp")
    (tmp_path / "xllamacpp.py").write_text(
        "raise ImportError('libgomp.so.1: cannot open shared object file')"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ServiceError, match=r"libgomp.so.1: cannot open.*apt-get install libgomp1"):
        await service.start(slots=1)


def test_identity_is_the_digest_of_the_file(tmp_path):
    """The default model's needs no file; one's own file is read, wherever it lies."""
    assert LlamaCppService("smollm2").identity() == f"local:sha256:{SMOLLM2.sha256}"
    for name in ("a.gguf", "b.GGUF"):
        (tmp_path / name).write_bytes(b"GGUF")
        own = LlamaCppService(str(tmp_path / name))
        assert own.identity() == f"local:sha256:{hashlib.sha256(b'GGUF').hexdigest()}"
    with pytest.raises(ServiceError, match=r"missing\.gguf cannot be read: No such file"):
        LlamaCppService(str(tmp_path / "missing.gguf")).identity()


def test_the_digest_that_is_written_down_is_the_files(model_file):
    """The constant that stands for the default model is true."""
    with model_file.open("rb") as opened:
        assert hashlib.file_digest(opened, "sha256").hexdigest() == SMOLLM2.sha256


def test_an_unknown_model_is_refused_with_a_suggestion():
    """A name that is neither known nor a .gguf path."""
    with pytest.raises(ServiceError, match=r"unknown local model 'smolm2'; known are smollm2.*Did you mean"):
        LlamaCppService("smolm2")


def test_how_much_is_started():
    """Slots: as many as asked, at most 8 or one a core; a thread for every connection a client may hold."""
    table = [
        # asked, cores -> slots, connections, threads
        ((1, 2), (1, 72, 2)),
        ((8, 2), (8, 72, 2)),
        ((64, 2), (8, 72, 2)),
        ((64, 32), (32, 72, 32)),
        ((256, 4), (8, 264, 4)),
        ((10_000, 4), (8, 520, 4)),
        ((0, 1), (1, 72, 1)),
    ]
    for (asked, cores), expected in table:
        load = load_for(asked, cores)
        assert (load.slots, load.connections, load.threads) == expected


def test_a_container_s_quota_bounds_the_cores(tmp_path):
    """cgroup v2: 150 ms of every 100 ms is one whole core; no quota leaves the affinity."""
    quota = tmp_path / "cpu.max"
    mine = usable_cores(tmp_path / "absent")
    assert mine >= 1
    for text, expected in (
        ("100000 100000", 1),
        ("150000 100000", 1),
        ("5000 100000", 1),
        ("max 100000", mine),
    ):
        quota.write_text(text)
        assert usable_cores(quota) == expected


def test_idle_threads_sleep_unless_the_person_chose():
    """The variable is there while the engine's library is loaded, and for nobody else."""
    for env in ({}, {"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}):
        before = dict(env)
        with llama_server._sleepy_team(env):
            assert env == (before or {"GOMP_SPINCOUNT": "300"})
        assert env == before
