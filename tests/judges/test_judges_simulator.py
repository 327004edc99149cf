"""The providers' own SDKs judge the simulator: they read its answers, and its failures are their errors."""

import json
from contextlib import ExitStack, closing

import anthropic
import httpx
import httpx2
import ollama
import openai
import pydantic
import pytest
from google import genai
from google.genai import errors as google
from google.genai import types

from fastbatch.simulator import SimulatedLimit, SimulatorConfig, SimulatorThread

TALK = [{"role": "user", "content": "What do we know of the old harbour?"}]
TEXT = TALK[0]["content"]
PATIENCE = 0.4  # seconds that a client waits for what never comes


class Boat(pydantic.BaseModel):
    """What answers must look like."""

    name: str = pydantic.Field(min_length=3)
    sails: int
    port: str | None
    built: list[int]


SCHEMA = Boat.model_json_schema()
FUNCTION = {"name": "moor", "parameters": SCHEMA}


class Clients:
    """A client of every SDK for one simulator; none of them tries again by itself."""

    def __init__(self, simulator, stack, timeout=10.0):
        once = {"max_retries": 0, "timeout": timeout}
        root = simulator.root_url
        self.openai = stack.enter_context(openai.OpenAI(api_key="k", base_url=simulator.base_url, **once))
        self.azure = stack.enter_context(
            openai.AzureOpenAI(api_key="k", azure_endpoint=root, api_version="2024-10-21", **once)
        )
        self.anthropic = stack.enter_context(anthropic.Anthropic(api_key="k", base_url=root, **once))
        self.gemini = self._google(root, stack, timeout)
        self.vertex = self._google(root, stack, timeout, vertexai=True)
        self.ollama = ollama.Client(host=root, timeout=timeout)
        stack.enter_context(closing(self.ollama._client))

    def _google(self, root, stack, timeout, **more):
        retry = types.HttpRetryOptions(attempts=1)
        options = types.HttpOptions(base_url=root, timeout=int(timeout * 1000), retry_options=retry)
        return stack.enter_context(closing(genai.Client(api_key="k", http_options=options, **more)))


@pytest.fixture
def clients():
    """Clients of a simulator that is like this; call it with a config's fields."""
    with ExitStack() as stack:

        def start(*, timeout=10.0, **config):
            simulator = stack.enter_context(SimulatorThread(SimulatorConfig(**config)))
            made = Clients(simulator, stack, timeout)
            made.simulator = simulator
            return made

        yield start


def whole(clients):
    """How each SDK asks for an answer at once; gives the text."""

    def chat(client):
        return client.chat.completions.create(model="m", messages=TALK).choices[0].message.content

    return {
        "openai": lambda: chat(clients.openai),
        "azure": lambda: chat(clients.azure),
        "responses": lambda: clients.openai.responses.create(model="m", input=TEXT).output_text,
        "completions": lambda: clients.openai.completions.create(model="m", prompt=TEXT).choices[0].text,
        "anthropic": lambda: (
            clients.anthropic.messages.create(model="m", max_tokens=500, messages=TALK).content[0].text
        ),
        "gemini": lambda: clients.gemini.models.generate_content(model="m", contents=TEXT).text,
        "vertex": lambda: clients.vertex.models.generate_content(model="m", contents=TEXT).text,
        "ollama": lambda: clients.ollama.chat("m", TALK).message.content,
        "generate": lambda: clients.ollama.generate("m", TEXT).response,
    }


def streamed(clients):
    """How each SDK asks for it piece by piece; gives the pieces."""

    def chat(client):
        stream = client.chat.completions.create(model="m", messages=TALK, stream=True)
        return [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]

    def responses():
        with clients.openai.responses.stream(model="m", input=TEXT) as stream:
            pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
            assert stream.get_final_response().output_text == "".join(pieces)
        return pieces

    def completions():
        stream = clients.openai.completions.create(model="m", prompt=TEXT, stream=True)
        return [chunk.choices[0].text for chunk in stream if chunk.choices]

    def messages():
        with clients.anthropic.messages.stream(model="m", max_tokens=500, messages=TALK) as stream:
            pieces = list(stream.text_stream)
            final = stream.get_final_message()
        assert final.content[0].text == "".join(pieces)
        assert final.usage.output_tokens == -(-len(final.content[0].text) // 4)
        return pieces

    def google_client(client):
        return [part.text for part in client.models.generate_content_stream(model="m", contents=TEXT)]

    return {
        "openai": lambda: chat(clients.openai),
        "azure": lambda: chat(clients.azure),
        "responses": responses,
        "completions": completions,
        "anthropic": messages,
        "gemini": lambda: google_client(clients.gemini),
        "vertex": lambda: google_client(clients.vertex),
        "ollama": lambda: [part.message.content for part in clients.ollama.chat("m", TALK, stream=True)],
        "generate": lambda: [part.response for part in clients.ollama.generate("m", TEXT, stream=True)],
    }


def test_answers_and_streams_are_read(clients):
    """Every SDK finds the text where it looks for it, at once and in pieces, and asks for nothing unknown."""
    asked = clients()
    for name, ask in whole(asked).items():
        assert "old harbour" in ask(), name
    for name, ask in streamed(asked).items():
        pieces = ask()
        assert len(pieces) > 5, name
        assert "old harbour" in "".join(pieces), name
    stats = asked.simulator.stats()
    assert (stats.rejected, stats.failed, stats.answered) == (0, {}, stats.requests)


def test_usage_is_read(clients):
    """What each SDK reads of the tokens adds up to what the simulator bills."""
    asked = clients(cached_share=0.5, reasoning_tokens=7)
    chat = asked.openai.chat.completions.create(model="m", messages=TALK).usage
    responses = asked.openai.responses.create(model="m", input=TEXT).usage
    message = asked.anthropic.messages.create(model="m", max_tokens=500, messages=TALK).usage
    gemini = asked.gemini.models.generate_content(model="m", contents=TEXT).usage_metadata
    local = asked.ollama.chat("m", TALK)
    stats = asked.simulator.stats()
    assert stats.prompt_tokens == (
        chat.prompt_tokens
        + responses.input_tokens
        + message.input_tokens
        + message.cache_read_input_tokens
        + gemini.prompt_token_count
        + local.prompt_eval_count
    )
    assert stats.completion_tokens == (
        chat.completion_tokens
        + responses.output_tokens
        + message.output_tokens
        + gemini.candidates_token_count
        + gemini.thoughts_token_count
        + local.eval_count
    )
    assert message.output_tokens_details.thinking_tokens == gemini.thoughts_token_count == 7


def test_embeddings_are_read(clients):
    """One vector for each text, of the length that was asked for."""
    asked = clients(embedding_dimensions=16)
    two = ["a boat", "a sail"]
    lengths = {
        "openai": [len(item.embedding) for item in asked.openai.embeddings.create(model="m", input=two).data],
        "azure": [len(item.embedding) for item in asked.azure.embeddings.create(model="m", input=two).data],
        "gemini": [
            len(item.values) for item in asked.gemini.models.embed_content(model="m", contents=two).embeddings
        ],
        "vertex": [
            len(item.values)
            for item in asked.vertex.models.embed_content(model="text-embedding-005", contents=two).embeddings
        ],
        "ollama": [len(vector) for vector in asked.ollama.embed("m", two).embeddings],
    }
    assert set(map(tuple, lengths.values())) == {(16, 16)}, lengths
    config = {"output_dimensionality": 8}
    short = asked.gemini.models.embed_content(model="m", contents=two, config=config).embeddings
    assert [len(item.values) for item in short] == [8, 8]
    assert asked.simulator.stats().rejected == 0


def test_structured_answers_are_parsed(clients):
    """A schema that an SDK makes of a model is answered by what the SDK parses as that model."""
    asked = clients()
    fits = {"response_mime_type": "application/json", "response_schema": Boat}
    by_json = {"response_mime_type": "application/json", "response_json_schema": SCHEMA}
    parsed = {
        "openai": asked.openai.chat.completions.parse(model="m", messages=TALK, response_format=Boat)
        .choices[0]
        .message.parsed,
        "responses": asked.openai.responses.parse(model="m", input=TEXT, text_format=Boat).output_parsed,
        "anthropic": asked.anthropic.messages.parse(
            model="m", max_tokens=900, messages=TALK, output_format=Boat
        ).parsed_output,
        "gemini": asked.gemini.models.generate_content(model="m", contents=TEXT, config=fits).parsed,
        "gemini, JSON": Boat.model_validate(
            asked.gemini.models.generate_content(model="m", contents=TEXT, config=by_json).parsed
        ),
        "vertex": asked.vertex.models.generate_content(model="m", contents=TEXT, config=fits).parsed,
        "ollama": Boat.model_validate_json(asked.ollama.chat("m", TALK, format=SCHEMA).message.content),
    }
    assert all(isinstance(boat, Boat) for boat in parsed.values()), parsed


def test_forced_calls_have_fitting_arguments(clients):
    """Where a call is forced each SDK reads it, at once and from a stream."""
    asked = clients()
    tool = {"type": "function", "function": FUNCTION}
    chat = asked.openai.chat.completions.create(
        model="m", messages=TALK, tools=[tool], tool_choice="required"
    ).choices[0]
    assert chat.finish_reason == "tool_calls"
    flat = {"type": "function", **FUNCTION, "strict": False}
    choice = {"type": "function", "name": "moor"}
    (item,) = asked.openai.responses.create(model="m", input=TEXT, tools=[flat], tool_choice=choice).output
    there = [{"name": "moor", "input_schema": SCHEMA}]
    forced = {"tools": there, "tool_choice": {"type": "tool", "name": "moor"}}
    message = asked.anthropic.messages.create(model="m", max_tokens=900, messages=TALK, **forced)
    assert message.stop_reason == "tool_use"
    with asked.anthropic.messages.stream(model="m", max_tokens=900, messages=TALK, **forced) as stream:
        final = stream.get_final_message()
    declared = [{"function_declarations": [{"name": "moor", "parameters_json_schema": SCHEMA}]}]
    calling = {"tools": declared, "tool_config": {"function_calling_config": {"mode": "ANY"}}}
    (call,) = asked.gemini.models.generate_content(model="m", contents=TEXT, config=calling).function_calls
    (part,) = asked.gemini.models.generate_content_stream(model="m", contents=TEXT, config=calling)
    for arguments in (
        json.loads(chat.message.tool_calls[0].function.arguments),
        json.loads(item.arguments),
        message.content[0].input,
        final.content[0].input,
        call.args,
        part.function_calls[0].args,
    ):
        Boat.model_validate(arguments)


def test_invalid_answers_do_not_fit(clients):
    """ "invalid" is an answer like any other, billed, which no SDK can parse as the model."""
    asked = clients(failure_rates={"invalid": 1.0}, failures_per_row=None)
    with pytest.raises(pydantic.ValidationError):
        asked.openai.chat.completions.parse(model="m", messages=TALK, response_format=Boat)
    with pytest.raises(pydantic.ValidationError):
        asked.openai.responses.parse(model="m", input=TEXT, text_format=Boat)
    with pytest.raises(pydantic.ValidationError):
        asked.anthropic.messages.parse(model="m", max_tokens=900, messages=TALK, output_format=Boat)
    with pytest.raises(pydantic.ValidationError):
        Boat.model_validate_json(asked.ollama.chat("m", TALK, format=SCHEMA).message.content)
    stats = asked.simulator.stats()
    assert (stats.invalid, stats.answered, stats.failed) == (4, 4, {})
    assert "old harbour" in whole(asked)["openai"]()  # prose fits anything


def test_models_are_listed(clients):
    """Each SDK's list has the names."""
    asked = clients(models=("one", "two"))
    assert [model.id for model in asked.openai.models.list()] == ["one", "two"]
    assert [model.id for model in asked.anthropic.models.list()] == ["one", "two"]
    assert [model.name for model in asked.gemini.models.list()] == ["models/one", "models/two"]
    assert [model.model for model in asked.ollama.list().models] == ["one", "two"]
    assert asked.ollama.show("one").details.format == "gguf"
    with pytest.raises(ollama.ResponseError) as problem:
        asked.ollama.show("three")
    assert problem.value.status_code == 404


BROKEN = json.JSONDecodeError

# What a config makes of every answer, and the error (and status) that OpenAI's, Azure's, Anthropic's,
# Google's and Ollama's client raise.
REFUSALS = {
    "500": (
        (openai.InternalServerError, 500),
        (openai.InternalServerError, 500),
        (anthropic.InternalServerError, 500),
        (google.ServerError, 500),
        (ollama.ResponseError, 500),
    ),
    "503": (
        (openai.InternalServerError, 503),
        (openai.InternalServerError, 503),
        (anthropic.OverloadedError, 529),
        (google.ServerError, 503),
        (ollama.ResponseError, 503),
    ),
    "429": (
        (openai.RateLimitError, 429),
        (openai.RateLimitError, 429),
        (anthropic.RateLimitError, 429),
        (google.ClientError, 429),
        (ollama.ResponseError, 429),
    ),
    "limit": (
        (openai.RateLimitError, 429),
        (openai.RateLimitError, 429),
        (anthropic.RateLimitError, 429),
        (google.ClientError, 429),
        (ollama.ResponseError, 503),
    ),
    "quota": (
        (openai.RateLimitError, 429),
        (openai.RateLimitError, 429),
        (anthropic.types.EnforcedSpendLimitReachedError, 429),
        (google.ClientError, 429),
        (ollama.ResponseError, 402),
    ),
    "key": (
        (openai.AuthenticationError, 401),
        (openai.AuthenticationError, 401),
        (anthropic.AuthenticationError, 401),
        (google.ClientError, 400),
        None,
    ),
    "model": (
        (openai.NotFoundError, 404),
        (openai.NotFoundError, 404),
        (anthropic.NotFoundError, 404),
        (google.ClientError, 404),
        (ollama.ResponseError, 404),
    ),
    "too large": (
        (openai.APIStatusError, 413),
        (openai.APIStatusError, 413),
        (anthropic.ContentTooLargeError, 413),
        (google.ClientError, 413),
        (ollama.ResponseError, 413),
    ),
}
CONFIGS = {
    "limit": {"limits": (SimulatedLimit(requests=1, per=3600.0),)},
    "quota": {"stop_after": 0},
    "key": {"require_key": "another"},
    "model": {"models": ("another",)},
    "too large": {"max_body_bytes": 10},
}
NAMES = ("openai", "azure", "anthropic", "gemini", "ollama")


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("asking", [whole, streamed])
def test_refusals_are_published_errors(clients, kind, asking):
    """A status that is refused, or fails, is the error that the SDK publishes for it, for streams as well."""
    asked = clients(**CONFIGS.get(kind, {"failure_rates": {kind: 1.0}, "failures_per_row": None}))
    if kind == "limit":
        whole(asked)["openai"]()
    for name, expected in zip(NAMES, REFUSALS[kind], strict=True):
        ask = asking(asked)[name]
        if expected is None:
            ask()  # who asks for no key refuses none
            continue
        with pytest.raises(expected[0]) as problem:
            ask()
        status = getattr(problem.value, "status_code", None) or problem.value.code
        assert status == expected[1], name


@pytest.mark.parametrize(
    ("kind", "asking", "expected"),
    [
        ("timeout", whole, (
            openai.APITimeoutError, openai.APITimeoutError, anthropic.APITimeoutError, httpx2.ReadTimeout,
            httpx.ReadTimeout,
        )),
        ("reset", whole, (
            openai.APIConnectionError, openai.APIConnectionError, anthropic.APIConnectionError,
            httpx2.ReadError, httpx.ReadError,
        )),
        ("truncated", whole, (
            openai.APIConnectionError, openai.APIConnectionError, anthropic.APIConnectionError,
            httpx2.RemoteProtocolError, httpx.RemoteProtocolError,
        )),
        ("truncated", streamed, (
            openai.APIConnectionError, openai.APIConnectionError, httpx2.RemoteProtocolError,
            httpx2.RemoteProtocolError, httpx.RemoteProtocolError,
        )),
        ("malformed", whole, (BROKEN,) * 5),
        ("malformed", streamed, (BROKEN, BROKEN, BROKEN, google.UnknownApiResponseError, BROKEN)),
        ("error", streamed, (
            openai.APIError, openai.APIError, anthropic.APIStatusError, google.ServerError,
            ollama.ResponseError,
        )),
    ],
)  # fmt: skip
def test_broken_answers_are_noticed(clients, kind, asking, expected):
    """What never comes, breaks off, or is no JSON, is the SDK's error for that, or its HTTP library's."""
    asked = clients(timeout=PATIENCE, failure_rates={kind: 1.0}, failures_per_row=None)
    for name, error in zip(NAMES, expected, strict=True):
        with pytest.raises(error):
            asking(asked)[name]()
    assert asked.simulator.stats().failed == {kind: 5}


def test_empty_answers_hold_nothing(clients):
    """ "empty" is a 200 without choices: nothing in it, or no field to look into."""
    asked = clients(failure_rates={"empty": 1.0}, failures_per_row=None)
    assert asked.openai.chat.completions.create(model="m", messages=TALK).choices == []
    assert asked.openai.responses.create(model="m", input=TEXT).output == []
    assert asked.anthropic.messages.create(model="m", max_tokens=9, messages=TALK).content is None
    assert asked.gemini.models.generate_content(model="m", contents=TEXT).candidates is None
    with pytest.raises(pydantic.ValidationError):
        asked.ollama.chat("m", TALK)
