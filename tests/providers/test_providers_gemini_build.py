"""Gemini's provider builds: address, key, and the body of a chat in Gemini's dialect."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastbatch import LLMRequest
from fastbatch.errors import ConfigError, InvalidRequest
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES
from fastbatch.models.stream import StreamedCall
from fastbatch.providers.gemini import GeminiProvider
from fastbatch.providers.gemini_request import UNSAID

GEMINI = GeminiProvider("k1", env={})
HOME = "https://generativelanguage.googleapis.com/v1beta"
HI = {"role": "user", "content": "Hi?"}
HI_THERE = {"role": "user", "parts": [{"text": "Hi?"}]}
FUNCTION = {"name": "f", "parameters": {"type": "object"}}
NAMED = {"type": "function", "function": {"name": "f"}}
TOOL = {"type": "function", "function": FUNCTION}


def request(**body: Any) -> LLMRequest:
    return LLMRequest(CHAT, {"model": "gemini-2.5-flash", "messages": [HI], **body})


def body(**given: Any) -> dict[str, Any]:
    """What is sent for a chat."""
    said: dict[str, Any] = orjson.loads(GEMINI.build(request(**given)).body)
    return said


def config(**given: Any) -> dict[str, Any]:
    """The `generationConfig` that is sent for a chat, in which nothing else stands."""
    said = body(**given)
    assert said.pop("contents") == [HI_THERE]
    found: dict[str, Any] = said.pop("generationConfig")
    assert said == {}
    return found


def refused(**given: Any) -> str:
    """Why a chat is not sent; `check` says the same."""
    asked = request(**given)
    with pytest.raises(InvalidRequest) as built:
        GEMINI.build(asked)
    with pytest.raises(InvalidRequest) as checked:
        GEMINI.check(asked)
    assert str(built.value) == str(checked.value)
    return str(built.value)


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://generativelanguage.googleapis.com", HOME),
        ("https://generativelanguage.googleapis.com/v1beta/", HOME),
        (" HTTPS://GenerativeLanguage.googleapis.com/v1 ", "https://generativelanguage.googleapis.com/v1"),
        ("http://h:80/google/", "http://h:80/google/v1beta"),
        ("http://h/v1beta1", "http://h/v1beta1"),
        ("http://h/v1alpha", "http://h/v1alpha"),
        ("http://h/vertex", "http://h/vertex/v1beta"),
    ],
)
def test_an_address_with_or_without_its_version(given: str, base: str) -> None:
    """Both are the same endpoint."""
    provider = GeminiProvider("k", base_url=given, env={})
    assert (provider.base_url, provider.identity) == (base, base)
    assert GEMINI.at(given).base_url == base


@pytest.mark.parametrize("given", ["", "nowhere", "http://h?key=1", "ftp://h"])
def test_what_is_no_address(given: str) -> None:
    """Said when the provider is made."""
    with pytest.raises(ConfigError, match="base_url"):
        GeminiProvider("k", base_url=given, env={})


@pytest.mark.parametrize(
    ("env", "key"),
    [
        ({"GEMINI_API_KEY": "gemini"}, "gemini"),
        ({"GEMINI_API_KEY": "gemini", "GOOGLE_API_KEY": "google"}, "google"),
        ({"GEMINI_API_KEY": "gemini", "GOOGLE_API_KEY": " "}, "gemini"),
    ],
)
def test_the_key_goes_into_googles_header(env: dict[str, str], key: str) -> None:
    """The variable that Google's client prefers wins."""
    sent = dict(GeminiProvider(env=env).build(request()).headers)
    assert sent["x-goog-api-key"] == key
    assert "Authorization" not in sent
    assert dict(GeminiProvider("mine", env=env).build(request()).headers)["x-goog-api-key"] == "mine"


def test_an_address_from_the_environment() -> None:
    """By the name that Google's client reads."""
    env = {"GOOGLE_GEMINI_BASE_URL": "http://h/x"}
    assert GeminiProvider("k", env=env).base_url == "http://h/x/v1beta"
    assert GeminiProvider("k", base_url="http://other", env=env).base_url == "http://other/v1beta"


def test_headers_of_ones_own_are_stronger() -> None:
    """A gateway's key in place of Google's."""
    provider = GeminiProvider("k", headers={"X-Goog-Api-Key": "theirs"}, env={})
    assert {n.lower(): v for n, v in provider.build(request()).headers.items()}["x-goog-api-key"] == "theirs"
    assert GeminiProvider(headers={"Authorization": "Bearer t"}, env={}).credential


def test_the_model_is_in_the_address() -> None:
    """Whole and as a stream; a name may say what kind of model it is of."""
    assert GEMINI.build(request()).url == f"{HOME}/models/gemini-2.5-flash:generateContent"
    streamed = GEMINI.build(request(), stream=True)
    assert isinstance(streamed, StreamedCall)
    assert streamed.url == f"{HOME}/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    assert streamed.body == GEMINI.build(request()).body
    assert GEMINI.build(request(model="tunedModels/m-1")).url == f"{HOME}/tunedModels/m-1:generateContent"
    assert GEMINI.build(request(model="modèle")).url == f"{HOME}/models/mod%C3%A8le:generateContent"


@pytest.mark.parametrize("model", ["a/../b", "m?key=1", "m&x", "m#x", "a b", "m%2f", "/m", "a\nb"])
def test_a_model_that_would_be_another_address(model: str) -> None:
    """Is refused."""
    assert "no name" in refused(model=model)


def test_a_chat_without_a_model() -> None:
    """Is refused: it has no address."""
    with pytest.raises(InvalidRequest, match="model None"):
        GEMINI.build(LLMRequest(CHAT, {"messages": [HI]}))


@pytest.mark.parametrize("endpoint", [COMPLETIONS, RESPONSES, MODERATIONS])
def test_endpoints_without_a_counterpart(endpoint: str) -> None:
    """Only chats and embeddings can be said."""
    with pytest.raises(InvalidRequest, match=f"nothing like {endpoint}"):
        GEMINI.build(
            LLMRequest(endpoint, {"model": "m", "prompt" if endpoint == COMPLETIONS else "input": "Hi"})
        )


def test_a_whole_body() -> None:
    """All in one, as it goes over the wire."""
    schema = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "string"}}}
    said = body(
        messages=[{"role": "system", "content": "Be brief."}, HI],
        temperature=0,
        max_tokens=9,
        stop="END",
        reasoning_effort="low",
        tools=[{"type": "function", "function": {"name": "f", "description": "d", "parameters": schema}}],
        tool_choice="required",
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    )
    assert said == {
        "contents": [HI_THERE],
        "systemInstruction": {"role": "user", "parts": [{"text": "Be brief."}]},
        "tools": [
            {"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": schema}]}
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {
            "temperature": 0,
            "maxOutputTokens": 9,
            "stopSequences": ["END"],
            "responseMimeType": "application/json",
            "responseJsonSchema": schema,
            "thinkingConfig": {"thinkingBudget": 1024},
        },
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    }
    # The order of a schema's properties steers the answer.
    assert list(said["generationConfig"]["responseJsonSchema"]["properties"]) == ["b", "a"]


def test_nothing_is_said_that_nobody_said() -> None:
    """No default of ours."""
    assert body() == {"contents": [HI_THERE]}
    assert body(temperature=None, tools=None, stream=False, n=None) == {"contents": [HI_THERE]}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"temperature": 0.5}, {"temperature": 0.5}),
        ({"top_p": 1}, {"topP": 1}),
        ({"seed": 0}, {"seed": 0}),
        ({"n": 2}, {"candidateCount": 2}),
        ({"presence_penalty": -1}, {"presencePenalty": -1}),
        ({"frequency_penalty": 1.5}, {"frequencyPenalty": 1.5}),
        ({"logprobs": True, "top_logprobs": 0}, {"responseLogprobs": True, "logprobs": 0}),
        ({"logprobs": False}, {"responseLogprobs": False}),
        ({"max_tokens": 9}, {"maxOutputTokens": 9}),
        ({"max_completion_tokens": 9}, {"maxOutputTokens": 9}),
        ({"max_completion_tokens": 9, "max_tokens": 9}, {"maxOutputTokens": 9}),
        ({"stop": ""}, {"stopSequences": [""]}),
        ({"stop": ["a", "b"]}, {"stopSequences": ["a", "b"]}),
        ({"modalities": ["text", "audio"]}, {"responseModalities": ["TEXT", "AUDIO"]}),
        ({"response_format": {"type": "text"}}, {"responseMimeType": "text/plain"}),
        ({"response_format": {"type": "json_object"}}, {"responseMimeType": "application/json"}),
        ({"reasoning_effort": "none"}, {"thinkingConfig": {"thinkingBudget": 0}}),
        ({"reasoning_effort": "minimal"}, {"thinkingConfig": {"thinkingBudget": 1024}}),
        ({"reasoning_effort": "medium"}, {"thinkingConfig": {"thinkingBudget": 8192}}),
        ({"reasoning_effort": "low", "model": "gemini-3-pro"}, {"thinkingConfig": {"thinkingLevel": "LOW"}}),
        ({"reasoning_effort": "xhigh", "model": "gemini-4"}, {"thinkingConfig": {"thinkingLevel": "XHIGH"}}),
        (
            {"reasoning_effort": "high", "model": "gemini-flash-latest"},
            {"thinkingConfig": {"thinkingLevel": "HIGH"}},
        ),
        (
            {"reasoning_effort": "high", "model": "models/gemini-2.5-pro"},
            {"thinkingConfig": {"thinkingBudget": 24576}},
        ),
    ],
)
def test_parameters_by_gemini_names(given: dict[str, Any], said: dict[str, Any]) -> None:
    """The values stay."""
    assert config(**given) == said


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"max_tokens": 9, "max_completion_tokens": 8}, "say two things"),
        ({"reasoning_effort": "xhigh"}, "reasoning_effort 'xhigh' cannot be said to Gemini"),
        ({"reasoning_effort": "none", "model": "gemini-3-pro"}, "gemini-3-pro always thinks"),
        ({"modalities": ["smell"]}, "modalities with 'smell'"),
        ({"service_tier": "scale"}, "service_tier 'scale'"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls false"),
        ({"response_format": {"type": "grammar"}}, "response_format of type 'grammar'"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "has no schema"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {}, "description": "d"},
                }
            },
            "json_schema.description cannot be said to Gemini: say it in the schema's own description",
        ),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, r"tools[0] of type 'custom'"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function has no name"),
        ({"tool_choice": "perhaps"}, "tool_choice 'perhaps'"),
        ({"tool_choice": {"type": "custom"}}, "tool_choice of type 'custom'"),
        ({"tool_choice": {"type": "function"}}, "tool_choice names no function"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}}, "needs a mode"),
        ({"temperature": 1, "generationConfig": {"temperature": 1}}, "generationConfig.temperature"),
        ({"top_p": 1, "generation_config": {"top_p": 1}}, "generation_config.top_p"),
        (
            {
                "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"a": 1}}},
                "generationConfig": {"responseJsonSchema": {"b": 1}},
            },
            "generationConfig.responseJsonSchema",
        ),
        (
            {"tools": [{"type": "function", "function": {**FUNCTION, "parametersJsonSchema": {}}}]},
            "tools[0].function has parameters twice",
        ),
        ({"contents": []}, "contents cannot be said to Gemini: other parameters of the request say it"),
        (
            {
                "tools": [TOOL],
                "tool_choice": "auto",
                "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
            },
            "toolConfig.functionCallingConfig.mode",
        ),
        ({"model": "gemini-3", "reasoning_effort": "low", "generationConfig": 7}, "generationConfig"),
    ],
)
def test_what_cannot_be_said_is_refused(given: dict[str, Any], why: str) -> None:
    """Before anything is sent, with the place and the reason."""
    assert why in refused(**given)


@pytest.mark.parametrize("name", UNSAID)
def test_parameters_without_a_counterpart(name: str) -> None:
    """Each is refused with its reason, and passed over where it is null."""
    values: dict[str, Any] = {
        "audio": {"voice": "x"},
        "function_call": "auto",
        "functions": [{"name": "f"}],
        "logit_bias": {"1": 1},
        "parallel_tool_calls": False,
        "prediction": {"type": "content", "content": "x"},
        "stream_options": {"include_usage": True},
        "web_search_options": {},
    }
    assert f"cannot be said to Gemini: {UNSAID[name]}" in refused(**{name: values.get(name, "x")})
    assert body(**{name: None}) == {"contents": [HI_THERE]}


def test_what_it_does_anyway_needs_no_words() -> None:
    """A model that may call functions may call several."""
    assert body(parallel_tool_calls=True) == body()


def test_its_own_parameters_go_as_they_stand() -> None:
    """At the top, and beside ours in the objects that both fill."""
    own = {"cachedContent": "cachedContents/1", "labels": {"a": "b"}, "safety_settings": []}
    assert body(**own) == {"contents": [HI_THERE], **own}
    assert body(generation_config={"top_k": 3}) == {"contents": [HI_THERE], "generation_config": {"top_k": 3}}
    assert config(
        temperature=1,
        reasoning_effort="low",
        generationConfig={"topK": 3, "thinkingConfig": {"includeThoughts": True}},
    ) == {"temperature": 1, "topK": 3, "thinkingConfig": {"thinkingBudget": 1024, "includeThoughts": True}}
    said = body(tools=[TOOL], tool_choice="none", toolConfig={"retrievalConfig": {"languageCode": "fr"}})
    assert said["toolConfig"] == {
        "functionCallingConfig": {"mode": "NONE"},
        "retrievalConfig": {"languageCode": "fr"},
    }
    assert body(systemInstruction={"parts": []})["systemInstruction"] == {"parts": []}


@pytest.mark.parametrize(
    ("tier", "said"), [("default", "standard"), ("flex", "flex"), ("priority", "priority")]
)
def test_tiers(tier: str, said: str) -> None:
    """By Gemini's words."""
    assert body(service_tier=tier)["serviceTier"] == said


def test_store() -> None:
    """AI Studio can be told whether to log a request."""
    assert body(store=False)["store"] is False


def test_tools() -> None:
    """Functions with their schemas, Gemini's own as they stand, a strict one by the mode for that."""
    schema = {"type": "object"}
    functions = [
        {"type": "function", "function": {"name": "f", "parameters": schema, "strict": None}},
        {"type": "function", "function": {"name": "g", "strict": True, "behavior": "BLOCKING"}},
    ]
    said = body(tools=[{"googleSearch": {}}, *functions])
    assert said["tools"] == [
        {"googleSearch": {}},
        {
            "functionDeclarations": [
                {"name": "f", "parametersJsonSchema": schema},
                {"name": "g", "behavior": "BLOCKING"},
            ]
        },
    ]
    assert said["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert "toolConfig" not in body(tools=functions[:1])
    assert body(tools=[]) == body()


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "f"}}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}},
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NAMED]}},
            {"mode": "VALIDATED", "allowedFunctionNames": ["f"]},
        ),
    ],
)
def test_tool_choices(choice: Any, said: dict[str, Any]) -> None:
    """Whether a tool is called, and which."""
    assert body(tools=[TOOL], tool_choice=choice)["toolConfig"] == {"functionCallingConfig": said}


def embedded(**given: Any) -> tuple[str, dict[str, Any]]:
    """Where and what is sent for embeddings."""
    call = GEMINI.build(LLMRequest(EMBEDDINGS, {"model": "gemini-embedding-001", **given}))
    return call.url, orjson.loads(call.body)


def test_embeddings() -> None:
    """One request holds a list; what is said of all is said of each."""
    url, said = embedded(input=["a", ""], dimensions=3, encoding_format="float", taskType="CLUSTERING")
    assert url == f"{HOME}/models/gemini-embedding-001:batchEmbedContents"
    each = {"model": "models/gemini-embedding-001", "outputDimensionality": 3, "taskType": "CLUSTERING"}
    assert said == {
        "requests": [
            {**each, "content": {"role": "user", "parts": [{"text": "a"}]}},
            {**each, "content": {"role": "user", "parts": [{"text": ""}]}},
        ]
    }
    assert len(embedded(input="a")[1]["requests"]) == 1


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"input": [1, 2]}, "input as tokens cannot be said to Gemini: it has a vocabulary of its own"),
        ({"input": [[1]]}, "input as tokens"),
        ({"input": "a", "encoding_format": "base64"}, "encoding_format base64"),
        ({"input": "a", "user": "x"}, "user cannot be said to Gemini"),
        ({"input": "a", "requests": []}, "requests cannot be said to Gemini"),
    ],
)
def test_embeddings_that_cannot_be_asked_for(given: dict[str, Any], why: str) -> None:
    """Are refused."""
    with pytest.raises(InvalidRequest) as found:
        embedded(**given)
    assert why in str(found.value)


def test_vectors_are_not_streamed() -> None:
    """Who asks for that is told."""
    with pytest.raises(InvalidRequest, match="/v1/embeddings gives no streams"):
        GEMINI.build(LLMRequest(EMBEDDINGS, {"model": "m", "input": "a"}), stream=True)
