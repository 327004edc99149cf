"""What goes out to Ollama's own API: bodies as it documents them; what it has no words for is refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch import LLMRequest
from fastbatch.errors import InvalidRequest
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, KNOWN, MODERATIONS, RESPONSES
from fastbatch.providers.ollama import OllamaProvider
from fastbatch.providers.ollama_request import UNSAID

PROVIDER = OllamaProvider(env={})
HI = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def call(id: str, name: str = "f", arguments: Any = '{"b":1,"a":[2]}') -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*made: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(made)}


def result(id: str, content: Any = "Rain.") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


def body(endpoint: str = CHAT, **said: Any) -> dict[str, Any]:
    """What is sent for a body."""
    asked = LLMRequest(endpoint, {"messages": [HI], **said} if endpoint == CHAT else said)
    sent: dict[str, Any] = orjson.loads(PROVIDER.build(asked).body)
    return sent


def messages(*said: Any) -> list[dict[str, Any]]:
    """What becomes of a conversation."""
    sent: list[dict[str, Any]] = body(messages=list(said))["messages"]
    return sent


def test_a_whole_body() -> None:
    """Everything that it has words for, in its own."""
    assert body(
        model="qwen3:8b",
        messages=[{"role": "system", "content": "Be brief."}, HI],
        temperature=0.5,
        top_p=0.9,
        seed=7,
        stop="END",
        max_completion_tokens=32,
        presence_penalty=1,
        frequency_penalty=-1,
        tools=[TOOL],
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        reasoning_effort="low",
        logprobs=True,
        top_logprobs=2,
        options={"num_ctx": 8192},
        keep_alive="1h",
    ) == {
        "model": "qwen3:8b",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "stream": False,
        "tools": [TOOL],
        "options": {
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 7,
            "presence_penalty": 1,
            "frequency_penalty": -1,
            "stop": ["END"],
            "num_predict": 32,
            "num_ctx": 8192,
        },
        "format": {"type": "object"},
        "think": "low",
        "logprobs": True,
        "top_logprobs": 2,
        "keep_alive": "1h",
    }


def test_a_short_body() -> None:
    """Nothing is added but that the answer comes whole, which is not Ollama's default."""
    assert body(model="m") == {"model": "m", "messages": [HI], "stream": False}
    streamed = PROVIDER.build(LLMRequest(CHAT, {"messages": [HI]}), stream=True)
    assert orjson.loads(streamed.body) == {"messages": [HI], "stream": True}


def test_nulls_say_nothing() -> None:
    """Those of OpenAI's parameters; the API's own stay."""
    nothing = dict.fromkeys(KNOWN[CHAT] - {"messages", "model"})
    assert body(**nothing, x_own=None) == {"messages": [HI], "stream": False, "x_own": None}


def test_what_is_so_anyway() -> None:
    """A value that says what Ollama does anyway is no reason to refuse."""
    assert body(n=1, tool_choice="auto", parallel_tool_calls=True, tools=[TOOL])["tools"] == [TOOL]
    assert body(response_format={"type": "text"}) == body()


@pytest.mark.parametrize("name", sorted(UNSAID))
def test_what_it_has_no_word_for(name: str) -> None:
    """Is refused with the reason, by the check of a run as well."""
    values: dict[str, Any] = {
        "n": 2,
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "logit_bias": {"1": 2},
        "function_call": "auto",
        "functions": [{"name": "f"}],
        "modalities": ["text"],
        "store": True,
        "audio": {"voice": "v"},
        "prediction": {"type": "content"},
        "web_search_options": {},
        "stream_options": {"include_usage": True},
    }
    asked = LLMRequest(CHAT, {"messages": [HI], name: values.get(name, "x")})
    for refuse in (PROVIDER.check, PROVIDER.build):
        with pytest.raises(
            InvalidRequest, match=f"^{name} cannot be said to Ollama's own API: {UNSAID[name]}"
        ):
            refuse(asked)


def test_every_parameter_is_said_or_told() -> None:
    """Of OpenAI's chat none is forgotten."""
    said = {"model", "messages", "stream", "temperature", "top_p", "seed", "stop", "max_tokens", "tools"}
    said |= {"max_completion_tokens", "presence_penalty", "frequency_penalty", "response_format"}
    said |= {"reasoning_effort", "logprobs", "top_logprobs"}
    assert said | set(UNSAID) == set(KNOWN[CHAT])
    assert not said & set(UNSAID)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"max_tokens": 1, "max_completion_tokens": 2}, "say two things"),
        ({"temperature": 1, "options": {"temperature": 0}}, r"options\.temperature cannot be said"),
        ({"response_format": {"type": "json_object"}, "format": "json"}, "format cannot be said"),
        ({"reasoning_effort": "low", "think": True}, "think cannot be said"),
        ({"reasoning_effort": "minimal"}, "'minimal' cannot be said .* it knows none, low, medium, high"),
        ({"response_format": {"type": "grammar"}}, "of type 'grammar'"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "has no schema"),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "of type 'custom'"),
        ({"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]}, "as strict"),
    ],
)
def test_what_contradicts_itself_or_means_nothing(given: dict[str, Any], says: str) -> None:
    """Is refused with the place."""
    with pytest.raises(InvalidRequest, match=says):
        body(**given)


def test_calls_and_results() -> None:
    """Arguments are objects; a result names its tool, found by the id of the call."""
    assert messages(
        HI, calls(call("1"), call("2", "g", "")), result("2"), result("1", [{"type": "text", "text": "Sun."}])
    )[1:] == [
        {
            "role": "assistant",
            "tool_calls": [
                {"function": {"name": "f", "arguments": {"b": 1, "a": [2]}}},
                {"function": {"name": "g", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "Rain.", "tool_name": "g"},
        {"role": "tool", "content": "Sun.", "tool_name": "f"},
    ]


def test_results_of_one_tool_in_their_order() -> None:
    """Names do not tell them apart, the order does; out of it they are refused."""
    made = calls(call("1"), call("2"))
    said = messages(HI, made, result("1", "one"), result("2", "two"))
    assert [one["content"] for one in said[2:]] == ["one", "two"]
    with pytest.raises(InvalidRequest, match="out of the order of the calls"):
        messages(HI, made, result("2"), result("1"))


def test_a_result_that_names_its_tool() -> None:
    """Needs no call before it; a name that is not the call's is refused."""
    named = {**result("9"), "name": "f"}
    assert messages(HI, named)[1] == {"role": "tool", "content": "Rain.", "tool_name": "f"}
    assert messages(HI, calls(call("9")), named)[2] == {"role": "tool", "content": "Rain.", "tool_name": "f"}
    own = {"role": "tool", "tool_name": "f", "content": "Rain."}
    assert messages(HI, own)[1] == own
    old = {"role": "function", "name": "f", "content": "Rain."}
    assert messages(HI, old)[1] == {"role": "tool", "content": "Rain.", "tool_name": "f"}
    with pytest.raises(InvalidRequest, match=r"messages\[2\]\.name cannot be said .* the call is of g"):
        messages(HI, calls(call("9", "g")), named)


def test_texts_and_pictures() -> None:
    """A message of several texts is several; each has the pictures that stand behind it."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "auto"}}
    other = {"type": "image_url", "image_url": "data:image/jpeg,%00%01"}
    one, two = ({"type": "text", "text": text} for text in ("One.", "Two."))
    assert messages({"role": "user", "content": [picture, one, other, two]}) == [
        {"role": "user", "images": ["AAAA", "AAE="], "content": "One."},
        {"role": "user", "content": "Two."},
    ]
    assert messages({"role": "user", "content": [picture]}) == [
        {"role": "user", "images": ["AAAA"], "content": ""}
    ]


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({**HI, "name": "anna"}, r"messages\[0\]\.name cannot be said"),
        ({"role": "assistant", "refusal": "No."}, r"\.refusal cannot"),
        ({"role": "assistant", "content": "a", "reasoning_content": "Hm"}, "its word is thinking"),
        (result("1"), "the result of no call before it"),
        (calls({"id": "1", "type": "custom", "custom": {}}), "of type 'custom'"),
        (calls(call("1", arguments="[1]")), "is no JSON object"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://h/a.png"}}]},
            r"content\[0\], an image at an address cannot be said .* send a data: URL",
        ),
        (
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:a/b;base64,AAAA"}}],
            },
            "it takes images",
        ),
        ({"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}, "of type 'file'"),
    ],
)
def test_messages_that_cannot_be_said(message: Any, says: str) -> None:
    """Are refused with the place."""
    with pytest.raises(InvalidRequest, match=says):
        messages(message)


def test_thoughts_go_back() -> None:
    """What a reply's message holds of Ollama's own goes back in it; empty lists of OpenAI's say nothing."""
    said = {"role": "assistant", "content": "Ho", "thinking": "Hm.", "annotations": [], "refusal": None}
    assert messages(HI, said)[1] == {"role": "assistant", "content": "Ho", "thinking": "Hm."}


def test_embeddings() -> None:
    """Text, or texts, with what is Ollama's own; vectors are numbers."""
    said = body(EMBEDDINGS, model="m", input=["a", ""], dimensions=8, encoding_format="float", truncate=False)
    assert said == {"model": "m", "input": ["a", ""], "dimensions": 8, "truncate": False}
    for wrong in (
        {"input": [1, 2]},
        {"input": "a", "encoding_format": "base64"},
        {"input": "a", "user": "u"},
    ):
        with pytest.raises(InvalidRequest, match="cannot be said to Ollama's own API"):
            body(EMBEDDINGS, **wrong)


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [(COMPLETIONS, {"prompt": "a"}), (RESPONSES, {"input": "a"}), (MODERATIONS, {"input": "a"})],
)
def test_other_endpoints(endpoint: str, said: dict[str, Any]) -> None:
    """Are refused, with where they are."""
    with pytest.raises(InvalidRequest, match="ollama:MODEL"):
        body(endpoint, **said)


WORDS = st.text("abcdefg", min_size=3, max_size=8)
PARTS = st.lists(WORDS.map(lambda text: {"type": "text", "text": text}), min_size=1, max_size=3)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant"]), "content": WORDS | PARTS},
    optional={"name": WORDS, "thinking": WORDS, "reasoning": WORDS, "own": WORDS},
)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "model": WORDS,
        "stop": WORDS | st.lists(WORDS, max_size=2),
        "user": WORDS,
        "keep_alive": WORDS,
        "options": st.dictionaries(WORDS, WORDS, max_size=2),
        "response_format": st.fixed_dictionaries(
            {
                "type": st.just("json_schema"),
                "json_schema": st.fixed_dictionaries(
                    {"schema": st.dictionaries(WORDS, WORDS, max_size=2)}, optional={"description": WORDS}
                ),
            }
        ),
        "x_own": st.recursive(WORDS, lambda inner: st.lists(inner, max_size=2), max_leaves=3),
    },
)


def strings(value: Any) -> list[str]:
    """Every text in a value, but for the words of OpenAI's form."""
    if isinstance(value, str):
        return [] if value in ("text", "json_schema", "developer") else [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in strings(one)]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(MESSAGES, min_size=1, max_size=3), PARAMETERS)
def test_nothing_is_dropped(said: list[dict[str, Any]], parameters: dict[str, Any]) -> None:
    """Every text of a request is in what is sent, as often, or the request is refused."""
    asked = {"messages": said, **parameters}
    try:
        sent = strings(body(**asked))
    except InvalidRequest:
        return
    for text in set(strings(asked)):
        assert sent.count(text) >= strings(asked).count(text), text
