"""The providers' own SDKs judge their batch APIs: the same calls, and the same reading of what comes back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anthropic
import openai
import orjson
import pytest
from anthropic.types import Message
from google import genai
from google.genai import types
from openai.types import Batch
from openai.types.chat import ChatCompletion
from wire import Seen, Wire

from fastbatch import LLMRequest, OpenAIProvider
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.params import CHAT
from fastbatch.providers.anthropic import AnthropicProvider
from fastbatch.providers.azure import AzureProvider
from fastbatch.providers.batches import NativeBatches
from fastbatch.providers.gemini import GeminiProvider
from fastbatch.providers.openai_batches import OpenAIBatches
from fastbatch.testing.providers.steps import driven

KEY = "judged-0123456789"
LINES = b'{"custom_id":"r-1"}\n{"custom_id":"r-2"}\n'
ID = "batch 1/x"  # of which the address keeps no part for itself
OPENAI = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "input_file_id": "file-1",
    "completion_window": "24h",
    "status": "completed",
    "output_file_id": "file-o",
    "error_file_id": "file-e",
    "created_at": 1711471533,
    "request_counts": {"total": 3, "completed": 2, "failed": 1},
    "metadata": {"fastbatch": "run-1"},
    "errors": {"object": "list", "data": [{"code": "c", "line": 7, "message": "Wrong."}]},
}
ANTHROPIC = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "ended",
    "request_counts": {"processing": 0, "succeeded": 1, "errored": 2, "canceled": 3, "expired": 4},
    "created_at": "2024-09-24T18:37:24.100435Z",
    "expires_at": "2024-09-25T18:37:24.100435Z",
    "results_url": "…",
}
GEMINI: dict[str, Any] = {
    "name": "batches/b1",
    "done": True,
    "metadata": {
        "model": "models/gemini-2.5-flash",
        "displayName": "run-1",
        "createTime": "2025-07-10T20:55:42.187894Z",
        "state": "BATCH_STATE_SUCCEEDED",
        "output": {"responsesFile": "files/out"},
    },
}


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with Wire() as listening:
        yield listening


@pytest.fixture
def client(wire: Wire) -> Iterator[openai.OpenAI]:
    wire.answer(OPENAI)
    with openai.OpenAI(api_key=KEY, base_url=f"{wire.url}/v1", max_retries=0) as made:
        yield made


@pytest.fixture
def batches(wire: Wire) -> OpenAIBatches:
    found = OpenAIProvider(KEY, base_url=f"{wire.url}/v1", env={}).batches
    assert found is not None
    return found


@pytest.fixture
def claude(wire: Wire) -> Iterator[anthropic.Anthropic]:
    wire.answer(ANTHROPIC)
    with anthropic.Anthropic(api_key=KEY, base_url=wire.url, max_retries=0) as made:
        yield made


@pytest.fixture
def google(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[genai.Client]:
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"):
        monkeypatch.delenv(name, raising=False)
    wire.answer(GEMINI)
    options = types.HttpOptions(base_url=wire.url, api_version="v1beta")
    with genai.Client(api_key=KEY, http_options=options) as made:
        yield made


def assert_same(call: HTTPCall, seen: Seen, *headers: str) -> None:
    """Method, address and body, and the headers that matter."""
    ours, theirs = urlsplit(call.url), urlsplit(seen.path)
    assert (call.method, ours.path) == (seen.method, theirs.path)
    assert sorted(parse_qsl(ours.query)) == sorted(parse_qsl(theirs.query))
    assert (orjson.loads(call.body) if call.body else None) == seen.body
    sent = {name.lower(): value for name, value in call.headers.items()}
    for name in headers:
        assert sent[name] == seen.headers[name], name


def form(headers: Any, body: bytes) -> list[tuple[Any, ...]]:
    """The fields of a form in their order, as Python's own library reads them."""
    head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
    parts: Any = message_from_bytes(head + body).get_payload()
    return [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part.get_payload(decode=True),
        )
        for part in parts
    ]


def test_openai_uploads_and_begins(wire: Wire, client: openai.OpenAI, batches: OpenAIBatches) -> None:
    """The same form, and the same batch of it."""
    reply = {"id": "file-1", "object": "file", "purpose": "batch"}
    _, (upload, create) = driven(
        batches.submit(LINES, name="run-1", endpoint=CHAT, model="m", count=2), reply, OPENAI
    )
    wire.answer(reply)
    client.files.create(file=("run-1.jsonl", LINES), purpose="batch")
    ours = {name.lower(): value for name, value in upload.headers.items()}
    assert (upload.method, upload.url) == (wire.last.method, wire.url + wire.last.path)
    assert form(ours, upload.body) == form(wire.last.headers, wire.last.raw)
    assert (ours["authorization"], ours["accept"]) == (
        wire.last.headers["authorization"],
        wire.last.headers["accept"],
    )
    wire.answer(OPENAI)
    client.batches.create(
        input_file_id="file-1", endpoint=CHAT, completion_window="24h", metadata={"fastbatch": "run-1"}
    )
    assert_same(create, wire.last, "authorization", "content-type")


def test_openai_asks_about_batches(wire: Wire, client: openai.OpenAI, batches: OpenAIBatches) -> None:
    """One, a page of them, its files, and that it be cancelled."""
    client.batches.retrieve(ID)
    assert_same(next(batches.look(ID)), wire.last, "authorization")
    client.batches.cancel(ID)
    going = {**OPENAI, "status": "in_progress"}
    _, (_, stop, _) = driven(batches.cancel(ID), going, going, going)
    assert_same(stop, wire.last, "authorization")
    wire.answer({"object": "list", "data": [OPENAI], "has_more": False})
    client.batches.list(limit=100)
    assert_same(next(batches.listed()), wire.last, "authorization")
    client.batches.list(limit=100, after="batch_9")
    assert_same(next(batches.listed("batch_9")), wire.last, "authorization")
    wire.answer(LINES)
    output, _ = driven(batches.look(ID), OPENAI).came_to.outputs
    client.files.content("file-o")
    assert_same(output._replace(body=b""), wire.last._replace(raw=b""), "authorization", "accept")


def test_openai_reads_batches_as_we_do(client: openai.OpenAI, batches: OpenAIBatches) -> None:
    """Each state that it knows, its counts, files, errors and metadata."""
    states = Batch.model_fields["status"].annotation
    for state in getattr(states, "__args__", ()):
        said = {**OPENAI, "status": state}
        theirs = Batch.model_validate(said)
        ours = driven(batches.look(ID), said).came_to
        counts = theirs.request_counts
        assert (ours.id, ours.state, ours.created) == (theirs.id, theirs.status, theirs.created_at)
        assert counts is not None
        assert (ours.total, ours.answered, ours.failed) == (counts.total, counts.completed, counts.failed)
        assert {"fastbatch": ours.name} == theirs.metadata
        assert ours.ended == (state in ("completed", "failed", "expired", "cancelled"))
        if state == "failed":
            assert theirs.errors is not None
            assert theirs.errors.data is not None
            (error,) = theirs.errors.data
            assert (ours.problem.code, ours.problem.message) == (
                error.code,
                f"line {error.line}: {error.message}",
            )


def test_openai_reads_answers_as_we_do(batches: OpenAIBatches) -> None:
    """A line's body is a completion: text and usage."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "gpt-5",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Ho"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 14, "completion_tokens": 9, "total_tokens": 23},
    }
    line = {"custom_id": "r-1", "response": {"status_code": 200, "request_id": "q", "body": body}}
    theirs = ChatCompletion.model_validate(body)
    (found,) = batches.results(orjson.dumps(line))
    assert found.reply is not None
    ours = OpenAIProvider(KEY, env={}).parse(found.reply)
    assert theirs.usage is not None
    assert ours.text == theirs.choices[0].message.content
    assert ours.tokens[:3:2] == (theirs.usage.prompt_tokens, theirs.usage.completion_tokens)
    assert ours.provider_request_id == "q"


@pytest.mark.parametrize("version", [None, "2024-10-21"])
def test_azure_in_both_forms(wire: Wire, version: str | None) -> None:
    """`OpenAI(base_url=…/openai/v1)`, and `AzureOpenAI` with a version; neither names a deployment."""
    batches = AzureProvider(KEY, base_url=wire.url, api_version=version, env={}).batches
    wire.answer(OPENAI)
    client: openai.OpenAI
    if version:
        client = openai.AzureOpenAI(api_key=KEY, azure_endpoint=wire.url, api_version=version, max_retries=0)
    else:
        client = openai.OpenAI(api_key=KEY, base_url=f"{wire.url}/openai/v1", max_retries=0)
    key = ("api-key",) if version else ()
    steps = batches.submit(LINES, name="run-1", endpoint=CHAT, model="m", count=2)
    _, (upload, create) = driven(steps, {"id": "file-1"}, OPENAI)
    with client:
        client.files.create(file=("run-1.jsonl", LINES), purpose="batch")
        assert upload.url == wire.url + wire.last.path
        client.batches.create(
            input_file_id="file-1",
            endpoint="/chat/completions",  # type: ignore[arg-type]  # as Azure's guide has it
            completion_window="24h",
            metadata={"fastbatch": "run-1"},
        )
        assert_same(create, wire.last, *key)
        client.batches.retrieve(ID)
        assert_same(next(batches.look(ID)), wire.last, *key)
        client.batches.cancel(ID)
        going = {**OPENAI, "status": "in_progress"}
        assert_same(driven(batches.cancel(ID), going, going, going).calls[1], wire.last, *key)
        client.files.content("file-o")
        assert_same(driven(batches.look(ID), OPENAI).came_to.outputs[0], wire.last, *key)
        wire.answer({"object": "list", "data": [OPENAI], "has_more": False})
        client.batches.list(limit=100, after="batch_9")
        assert_same(next(batches.listed("batch_9")), wire.last, *key)


def anthropics(wire: Wire) -> tuple[AnthropicProvider, NativeBatches]:
    """Our provider, and its batches."""
    provider = AnthropicProvider(KEY, base_url=wire.url, env={})
    return provider, provider.batches


def test_anthropic_begins(wire: Wire, claude: anthropic.Anthropic) -> None:
    """One call with all requests."""
    _, batches = anthropics(wire)
    asked = [
        LLMRequest.from_prompt(text, model="claude-opus-5-5", max_tokens=8, system="Be brief.")
        for text in ("Hi", 'a\n{"b"}\r\n\u2028')
    ]
    lines = b"".join(batches.line(request, f"r-{number}") for number, request in enumerate(asked))
    claude.messages.batches.create(
        requests=[
            {
                "custom_id": f"r-{number}",
                "params": {
                    "model": "claude-opus-5-5",
                    "max_tokens": 8,
                    "system": "Be brief.",
                    "messages": request.body["messages"][1:],
                },
            }
            for number, request in enumerate(asked)
        ]
    )
    call = next(batches.submit(lines, name="run-1", endpoint=CHAT, model="m", count=2))
    assert_same(call, wire.last, "anthropic-version", "content-type", "accept")


def test_anthropic_asks_about_batches(wire: Wire, claude: anthropic.Anthropic) -> None:
    """One, a page of them, its results, and that it be cancelled."""
    _, batches = anthropics(wire)
    claude.messages.batches.retrieve(ID)
    assert_same(next(batches.look(ID)), wire.last, "anthropic-version")
    claude.messages.batches.cancel(ID)
    going = {**ANTHROPIC, "processing_status": "in_progress"}
    _, (_, stop, _) = driven(batches.cancel(ID), going, going, going)
    assert_same(stop, wire.last, "anthropic-version")
    wire.answer({"data": [ANTHROPIC], "has_more": False, "first_id": "a", "last_id": "b"})
    claude.messages.batches.list(limit=1000)
    assert_same(next(batches.listed()), wire.last, "anthropic-version")
    claude.messages.batches.list(limit=1000, after_id="b")
    assert_same(next(batches.listed("b")), wire.last, "anthropic-version")
    there = f"{wire.url}/v1/messages/batches/msgbatch_1/results"
    wire.answer({**ANTHROPIC, "results_url": there})
    list(claude.messages.batches.results("msgbatch_1"))
    (call,) = driven(batches.look("msgbatch_1"), {**ANTHROPIC, "results_url": there}).came_to.outputs
    assert_same(call, wire.last._replace(raw=b""), "anthropic-version", "accept")


def test_anthropic_reads_batches_as_we_do(wire: Wire, claude: anthropic.Anthropic) -> None:
    """State, time and counts."""
    theirs = claude.messages.batches.retrieve("msgbatch_1")
    ours = driven(anthropics(wire)[1].look("msgbatch_1"), ANTHROPIC).came_to
    assert (ours.id, ours.state) == (theirs.id, theirs.processing_status)
    assert ours.created == theirs.created_at.timestamp()
    counts = theirs.request_counts
    assert (ours.answered, ours.failed) == (counts.succeeded, counts.errored)
    assert ours.total == sum(counts.model_dump().values()) == 10


def test_anthropic_reads_results_as_we_do(wire: Wire, claude: anthropic.Anthropic) -> None:
    """Each kind of result that it knows, in one file."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [{"type": "text", "text": "Ho"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 30, "output_tokens": 2},
    }
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "No."}, "request_id": "q"}
    lines = [
        {"custom_id": "r-1", "result": {"type": "succeeded", "message": message}},
        {"custom_id": "r-2", "result": {"type": "errored", "error": error}},
        {"custom_id": "r-3", "result": {"type": "canceled"}},
        {"custom_id": "r-4", "result": {"type": "expired"}},
    ]
    provider, batches = anthropics(wire)
    for line in lines:
        # Their reader takes one document as a file of one line, whatever was asked before.
        wire.answer({**ANTHROPIC, **line, "results_url": f"{wire.url}/v1/messages/batches/b/results"})
        (theirs,) = claude.messages.batches.results("b")
        (ours,) = batches.results(orjson.dumps(line))
        assert ours.name == theirs.custom_id
        told = theirs.result
        if told.type == "succeeded":
            assert ours.reply is not None
            outcome = provider.parse(ours.reply)
            assert isinstance(told.message, Message)
            assert outcome.text == told.message.content[0].text  # type: ignore[union-attr]
            usage = told.message.usage
            assert outcome.tokens.prompt_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)
        elif told.type == "errored":
            assert ours.reply is not None
            problem = provider.parse(ours.reply).error
            assert problem is not None
            assert (problem.code, problem.message) == (told.error.error.type, told.error.error.message)
            assert problem.request_id == told.error.request_id
        else:
            assert (ours.reply, ours.undone) == (None, told.type.replace("canceled", "cancelled"))


def geminis(wire: Wire) -> tuple[GeminiProvider, NativeBatches]:
    """Our provider, and its batches."""
    provider = GeminiProvider(KEY, base_url=wire.url, env={})
    return provider, provider.batches


def test_gemini_uploads_and_begins(wire: Wire, google: genai.Client) -> None:
    """The two calls of an upload, to the place that the first one names, and the batch of it."""
    _, batches = geminis(wire)
    told = {
        "x-goog-upload-url": f"{wire.url}/upload/v1beta/files?upload_id=7&upload_protocol=resumable",
        "x-goog-upload-status": "final",
    }
    file = {"file": {"name": "files/f1"}}
    wire.answer(file, headers=told)
    google.files.upload(
        file=io.BytesIO(LINES),
        config=types.UploadFileConfig(display_name="run-1", mime_type="application/jsonl"),
    )
    started, sent = wire.seen[-2:]
    reply = HTTPReply(200, told, orjson.dumps(file))
    steps = batches.submit(LINES, name="run-1", endpoint=CHAT, model="gemini-2.5-flash", count=2)
    _, (start, upload, create) = driven(steps, reply, reply, GEMINI)
    goog = [name for name in started.headers if name.startswith("x-goog-upload")]
    assert len(goog) == 4
    said = {name: str(value) for name, value in started.body["file"].items()}
    names = {"display_name": "displayName", "mime_type": "mimeType", "size_bytes": "sizeBytes"}
    assert orjson.loads(start.body)["file"] == {names[name]: value for name, value in said.items()}
    assert_same(start._replace(body=b""), started._replace(raw=b""), *goog, "x-goog-api-key")
    assert upload.body == sent.raw == LINES
    same = ("x-goog-upload-command", "x-goog-upload-offset")
    assert_same(upload._replace(body=b""), sent._replace(raw=b""), *same)
    wire.answer(GEMINI)
    google.batches.create(
        model="gemini-2.5-flash", src="files/f1", config=types.CreateBatchJobConfig(display_name="run-1")
    )
    assert_same(create, wire.last, "x-goog-api-key", "content-type")


def test_gemini_says_requests_as_we_do(wire: Wire, google: genai.Client) -> None:
    """Beside its key a line has what their client sends of a request in a batch."""
    _, batches = geminis(wire)
    asked = LLMRequest.from_prompt("Hi?", model="gemini-2.5-flash", max_tokens=8, temperature=0.5)
    config = types.GenerateContentConfig(max_output_tokens=8, temperature=0.5)
    content = types.Content(role="user", parts=[types.Part(text="Hi?")])
    google.batches.create(
        model="gemini-2.5-flash", src=[types.InlinedRequest(contents=[content], config=config)]
    )
    (theirs,) = wire.last.body["batch"]["inputConfig"]["requests"]["requests"]
    assert orjson.loads(batches.line(asked, "r-1"))["request"] == theirs["request"]


def test_gemini_asks_about_batches(wire: Wire, google: genai.Client) -> None:
    """One, a page of them, its results, and that it be cancelled."""
    _, batches = geminis(wire)
    google.batches.get(name="batches/b1")
    assert_same(next(batches.look("batches/b1")), wire.last, "x-goog-api-key")
    google.batches.cancel(name="batches/b1")
    going = {**GEMINI, "done": False, "metadata": {"state": "BATCH_STATE_RUNNING"}}
    _, (_, stop, _) = driven(batches.cancel("batches/b1"), going, {}, going)
    assert_same(stop, wire.last, "x-goog-api-key")
    wire.answer({"operations": [GEMINI]})
    google.batches.list(config=types.ListBatchJobsConfig(page_size=100))
    assert_same(next(batches.listed()), wire.last, "x-goog-api-key")
    google.batches.list(config=types.ListBatchJobsConfig(page_size=100, page_token="t"))
    assert_same(next(batches.listed("t")), wire.last, "x-goog-api-key")
    wire.answer(LINES)
    google.files.download(file="files/out")
    (call,) = driven(batches.look("batches/b1"), GEMINI).came_to.outputs
    assert_same(call, wire.last._replace(raw=b""), "x-goog-api-key")


def test_gemini_reads_batches_as_we_do(wire: Wire, google: genai.Client) -> None:
    """Each state that it knows, name, time, file."""
    _, batches = geminis(wire)
    for word in ("PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"):
        said = {**GEMINI, "metadata": {**GEMINI["metadata"], "state": f"BATCH_STATE_{word}"}}
        said["done"] = word not in ("PENDING", "RUNNING")
        wire.answer(said)
        theirs = google.batches.get(name="batches/b1")
        ours = driven(batches.look("batches/b1"), said).came_to
        assert (ours.id, ours.name) == (theirs.name, theirs.display_name)
        assert theirs.create_time is not None
        assert ours.created == theirs.create_time.timestamp()
        assert ours.ended == theirs.done, word
        assert theirs.dest is not None
        assert all(f"/{theirs.dest.file_name}:download" in call.url for call in ours.outputs)


def test_gemini_reads_answers_as_we_do(wire: Wire) -> None:
    """A line's response is a reply of the API: text and usage."""
    response = {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "Ho"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 2, "thoughtsTokenCount": 5},
    }
    provider, batches = geminis(wire)
    theirs = types.GenerateContentResponse.model_validate(response)
    (found,) = batches.results(orjson.dumps({"key": "r-1", "response": response}))
    assert found.reply is not None
    ours = provider.parse(found.reply)
    usage = theirs.usage_metadata
    assert usage is not None
    assert ours.text == theirs.text
    assert ours.tokens.prompt_tokens == usage.prompt_token_count
    assert ours.tokens.completion_tokens == (usage.candidates_token_count or 0) + (
        usage.thoughts_token_count or 0
    )
