"""The providers' own SDKs run batches against the simulator, from the upload to the results."""

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from fastbatch.simulator import BatchConfig, SimulatorConfig, SimulatorThread

COUNT = 30
NAMES = {f"row-{number}" for number in range(COUNT)}
ENDS = {"completed", "failed", "expired", "cancelled"}


@pytest.fixture
def simulators() -> Iterator:
    """Simulators with batches like this; call it with fields of both configs."""
    with ExitStack() as stack:

        def start(**config):
            batches = {name: config.pop(name) for name in set(config) & set(BatchConfig.__dataclass_fields__)}
            made = SimulatorThread(SimulatorConfig(batches=BatchConfig(**batches), **config))
            stack.enter_context(made)
            return stack, made

        yield start


def openai_client(simulator, stack, name):
    """A client of OpenAI's SDK that never tries again."""
    if name == "openai":
        client = openai.OpenAI(api_key="k", base_url=simulator.base_url, max_retries=0)
    elif name == "azure":
        client = openai.AzureOpenAI(
            api_key="k", azure_endpoint=simulator.root_url, api_version="2024-10-21", max_retries=0
        )
    else:
        client = openai.OpenAI(api_key="k", base_url=f"{simulator.root_url}/openai/v1/", max_retries=0)
    return stack.enter_context(client)


def openai_lines():
    """An input file."""
    return "\n".join(
        json.dumps(
            {
                "custom_id": name,
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "m", "messages": [{"role": "user", "content": f"What of {name}?"}]},
            }
        )
        for name in sorted(NAMES)
    ).encode()


def polled(look, ended):
    """Look again and again, as users do; the simulator needs milliseconds."""
    while not ended(found := look()):
        pass
    return found


def openai_results(client, file):
    """The lines of a file of results."""
    return [json.loads(line) for line in client.files.content(file).text.splitlines()] if file else []


@pytest.mark.parametrize("name", ["openai", "azure", "azure-v1"])
def test_openai_runs_a_batch(simulators, name):
    """Every row is in one of the two files, and every answer is one that the SDK reads."""
    stack, simulator = simulators(failure_rates={"500": 0.3})
    client = openai_client(simulator, stack, name)
    file = client.files.create(file=("in.jsonl", openai_lines()), purpose="batch")
    assert (file.filename, file.bytes) == ("in.jsonl", len(openai_lines()))
    assert client.files.content(file.id).content == openai_lines()
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"}
    )
    assert batch.metadata == {"a": "b"}
    batch = polled(lambda: client.batches.retrieve(batch.id), lambda batch: batch.status in ENDS)
    assert batch.status == "completed"
    done, failed = (openai_results(client, file) for file in (batch.output_file_id, batch.error_file_id))
    assert {line["custom_id"] for line in done + failed} == NAMES
    assert (batch.request_counts.completed, batch.request_counts.failed) == (len(done), len(failed))
    for line in done:
        answer = openai.types.chat.ChatCompletion.model_validate(line["response"]["body"])
        assert line["custom_id"] in answer.choices[0].message.content
    assert {line["response"]["status_code"] for line in failed} == {500}
    used = [line["response"]["body"]["usage"] for line in done]
    assert batch.usage.input_tokens == sum(usage["prompt_tokens"] for usage in used)
    assert batch.usage.output_tokens == sum(usage["completion_tokens"] for usage in used)
    assert [listed.id for listed in client.batches.list(limit=1)] == [batch.id]
    assert {listed.id for listed in client.files.list(purpose="batch_output")} == {
        batch.output_file_id,
        batch.error_file_id,
    }
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_openai_cancels_a_batch(simulators):
    """Nothing was done yet, so all is in the error file; a second cancellation is a conflict."""
    stack, simulator = simulators(seconds=1e9, expires=2e9)
    client = openai_client(simulator, stack, "openai")
    file = client.files.create(file=("in.jsonl", openai_lines()), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert client.batches.cancel(batch.id).status == "cancelling"
    batch = polled(lambda: client.batches.retrieve(batch.id), lambda batch: batch.status in ENDS)
    assert (batch.status, batch.output_file_id) == ("cancelled", None)
    assert {line["custom_id"] for line in openai_results(client, batch.error_file_id)} == NAMES
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


def test_openai_is_told_why_a_batch_failed(simulators):
    """The SDK has every wrong line with its code."""
    stack, simulator = simulators()
    client = openai_client(simulator, stack, "openai")
    lines = openai_lines().splitlines()
    file = client.files.create(file=("in.jsonl", b"\n".join([*lines, b"{", lines[3]])), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    batch = polled(lambda: client.batches.retrieve(batch.id), lambda batch: batch.status in ENDS)
    assert [(problem.code, problem.line) for problem in batch.errors.data] == [
        ("invalid_json_line", COUNT + 1),
        ("duplicate_custom_id", COUNT + 2),
    ]


def messages():
    """Requests of a message batch."""
    return [
        {
            "custom_id": name,
            "params": {
                "model": "m",
                "max_tokens": 100,
                "messages": [{"role": "user", "content": f"What of {name}?"}],
            },
        }
        for name in sorted(NAMES)
    ]


def anthropic_client(simulator, stack):
    """A client of Anthropic's SDK that never tries again."""
    return stack.enter_context(anthropic.Anthropic(api_key="k", base_url=simulator.root_url, max_retries=0))


def ended(batch):
    """Whether a message batch is done."""
    return batch.processing_status == "ended"


def test_anthropic_runs_a_batch(simulators):
    """Results are read through the address that the batch names; each is a message or a typed error."""
    stack, simulator = simulators(failure_rates={"503": 0.3})
    batches = anthropic_client(simulator, stack).messages.batches
    batch = batches.create(requests=messages())
    batch = polled(lambda: batches.retrieve(batch.id), ended)
    results = list(batches.results(batch.id))
    assert {line.custom_id for line in results} == NAMES
    told = [line.result for line in results]
    done = [result.message for result in told if result.type == "succeeded"]
    failed = [result.error for result in told if result.type == "errored"]
    assert (batch.request_counts.succeeded, batch.request_counts.errored) == (len(done), len(failed))
    assert len(done) + len(failed) == COUNT
    assert all(isinstance(message, anthropic.types.Message) for message in done)
    assert {error.error.type for error in failed} == {"overloaded_error"}
    assert [listed.id for listed in batches.list(limit=1)] == [batch.id]
    assert batches.delete(batch.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        batches.retrieve(batch.id)


def test_anthropic_cancels_a_batch(simulators):
    """While nothing has ended there are no results; then all are canceled."""
    stack, simulator = simulators(seconds=1e9, expires=2e9, cancel_seconds=0.05)
    batches = anthropic_client(simulator, stack).messages.batches
    batch = batches.create(requests=messages())
    assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", COUNT)
    assert batches.cancel(batch.id).processing_status == "canceling"
    with pytest.raises(anthropic.AnthropicError, match="results_url"):
        batches.results(batch.id)
    batch = polled(lambda: batches.retrieve(batch.id), ended)
    assert batch.request_counts.canceled == COUNT
    assert {line.result.type for line in batches.results(batch.id)} == {"canceled"}


def gemini_client(simulator, stack):
    """A client of Google's SDK that never tries again."""
    options = types.HttpOptions(base_url=simulator.root_url, retry_options=types.HttpRetryOptions(attempts=1))
    return stack.enter_context(closing(genai.Client(api_key="k", http_options=options)))


def gemini_lines():
    """An input file."""
    return "\n".join(
        json.dumps({"key": name, "request": {"contents": [{"parts": [{"text": f"What of {name}?"}]}]}})
        for name in sorted(NAMES)
    ).encode()


def gemini_done(job):
    """Whether a job is done."""
    return job.state.name not in ("JOB_STATE_PENDING", "JOB_STATE_RUNNING")


def test_gemini_runs_a_batch_from_a_file(simulators):
    """The file goes up by the SDK's own resumable upload and comes down from where the job says."""
    stack, simulator = simulators(failure_rates={"500": 0.3})
    client = gemini_client(simulator, stack)
    file = client.files.upload(
        file=io.BytesIO(gemini_lines()), config={"mime_type": "application/jsonl", "display_name": "rows"}
    )
    assert (file.size_bytes, file.display_name) == (len(gemini_lines()), "rows")
    job = client.batches.create(model="m", src=file.name, config={"display_name": "mine"})
    assert (job.display_name, job.model) == ("mine", "models/m")
    job = polled(lambda: client.batches.get(name=job.name), gemini_done)
    assert job.state == types.JobState.JOB_STATE_SUCCEEDED
    lines = [json.loads(line) for line in client.files.download(file=job.dest.file_name).splitlines()]
    assert {line["key"] for line in lines} == NAMES
    answered = [line for line in lines if "response" in line]
    for line in answered:
        answer = types.GenerateContentResponse._from_response(response=line["response"], kwargs={})
        assert line["key"] in answer.text
    assert {line["error"]["code"] for line in lines if "error" in line} == {13}
    assert 0 < len(answered) < COUNT
    assert [listed.name for listed in client.batches.list(config={"page_size": 1})] == [job.name]
    client.files.delete(name=file.name)
    client.batches.delete(name=job.name)
    assert list(client.batches.list()) == []


def test_gemini_uploads_in_pieces(simulators):
    """A file larger than the SDK's pieces arrives whole."""
    stack, simulator = simulators()
    client = gemini_client(simulator, stack)
    content = b"x" * (9 * 1024 * 1024)
    config = {"mime_type": "application/jsonl"}
    assert client.files.upload(file=io.BytesIO(content), config=config).size_bytes == len(content)


def test_gemini_runs_a_batch_inline(simulators):
    """Answers stand in the job, in the order of the requests."""
    stack, simulator = simulators()
    client = gemini_client(simulator, stack)
    texts = [f"What of {name}?" for name in sorted(NAMES)]
    job = client.batches.create(
        model="m", src=[{"contents": [{"parts": [{"text": text}], "role": "user"}]} for text in texts]
    )
    job = polled(lambda: client.batches.get(name=job.name), gemini_done)
    answers = [response.response.text for response in job.dest.inlined_responses]
    assert len(answers) == COUNT
    assert all(name in text for name, text in zip(sorted(NAMES), answers, strict=True))


def test_gemini_cancels_a_batch(simulators):
    """The job ends as cancelled, with an error for each request."""
    stack, simulator = simulators(seconds=1e9, expires=2e9)
    client = gemini_client(simulator, stack)
    config = {"mime_type": "application/jsonl"}
    file = client.files.upload(file=io.BytesIO(gemini_lines()), config=config)
    job = client.batches.create(model="m", src=file.name)
    client.batches.cancel(name=job.name)
    job = polled(lambda: client.batches.get(name=job.name), gemini_done)
    assert job.state == types.JobState.JOB_STATE_CANCELLED
    lines = [json.loads(line) for line in client.files.download(file=job.dest.file_name).splitlines()]
    assert {line["error"]["code"] for line in lines} == {1}
