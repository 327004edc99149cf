"""Runs against a simulated Google: answers, streams, tools, shapes, vectors; AI Studio and Vertex AI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from fastbatch import LLMRequest, RequestManager
from fastbatch.errors import RunStopped
from fastbatch.models.params import EMBEDDINGS
from fastbatch.providers.gemini import GeminiProvider
from fastbatch.providers.gemini_vertex import VertexProvider
from fastbatch.simulator import SimulatorConfig, SimulatorThread

Make = Callable[[str], Any]
TOOL = {
    "type": "function",
    "function": {
        "name": "find",
        "parameters": {"type": "object", "properties": {"what": {"type": "string"}}},
    },
}
PROVIDERS: dict[str, Make] = {
    "gemini": lambda url: GeminiProvider("k1", base_url=url, env={}),
    "vertex": lambda url: VertexProvider(
        access_token="t1", project="p1", location="eu", base_url=url, env={}
    ),
    "express": lambda url: VertexProvider("k1", base_url=url, env={}),
}


class Found(BaseModel):
    count: int


@pytest.fixture
def origin(fastbatch_simulator: SimulatorThread) -> str:
    return fastbatch_simulator.base_url.removesuffix("/v1")


@pytest.fixture(params=PROVIDERS.values(), ids=PROVIDERS.keys())
def provider(request: pytest.FixtureRequest, origin: str) -> Any:
    return request.param(origin)


def manager(provider: Any, model: str = "gemini-2.5-flash", **settings: Any) -> RequestManager:
    return RequestManager(provider, model=model, progress=None, **settings)


@pytest.mark.parametrize("streamed", [False, True])
def test_chats(provider: Any, streamed: bool) -> None:
    """Each is answered, with its tokens and its end."""
    asked = [LLMRequest.from_prompt(f"Hello {n}?", system="Be brief.", max_tokens=40) for n in range(20)]
    results = manager(provider, streamed=streamed).run(asked)
    assert all(result.ok and f"Hello {n}" in (result.text or "") for n, result in enumerate(results))
    assert {result.finish_reason for result in results} <= {"stop", "length"}
    assert all(result.tokens.prompt_tokens and result.tokens.completion_tokens for result in results)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_is_called_and_answered(provider: Any, streamed: bool) -> None:
    """The model's message goes back with the result of its call."""
    asking = manager(provider, streamed=streamed)
    question = {"role": "user", "content": "Okapis?"}
    [first] = asking.run([LLMRequest.from_messages([question], tools=[TOOL], tool_choice="required")])
    assert first.finish_reason == "tool_calls"
    message = first.message
    assert message is not None
    [call] = message["tool_calls"]
    assert call["function"]["name"] == "find"
    result = {"role": "tool", "tool_call_id": call["id"], "content": "four"}
    [second] = asking.run([LLMRequest.from_messages([question, message, result], tools=[TOOL])])
    assert second.ok
    assert "four" in (second.text or "")


@pytest.mark.parametrize("way", ["strict", "tool"])
def test_an_answer_with_a_shape(provider: Any, way: str) -> None:
    """As a schema that the server keeps to, or as the arguments of a tool."""
    [result] = manager(provider, response_format=Found, structured=way).run(
        [LLMRequest.from_prompt("How many?")]
    )
    assert isinstance(result.parsed, Found)


@pytest.mark.parametrize("model", ["gemini-embedding-001", "text-embedding-005"])
@pytest.mark.parametrize("texts", ["one", ["one", "two"]])
def test_vectors(provider: Any, model: str, texts: Any) -> None:
    """One for each text, as long as was asked for."""
    asked = LLMRequest(EMBEDDINGS, {"input": texts, "dimensions": 4})
    [result] = manager(provider, model).run([asked])
    assert [len(vector.values) for vector in result.response.embeddings] == [4] * (
        1 + isinstance(texts, list)
    )


@pytest.mark.parametrize("make", PROVIDERS.values(), ids=PROVIDERS.keys())
def test_a_wrong_key_stops_the_run(make: Make, fastbatch_simulators: Callable[..., SimulatorThread]) -> None:
    """With the first answer: AI Studio says so with a 400."""
    strict = fastbatch_simulators(SimulatorConfig(require_key="another"))
    with pytest.raises(RunStopped) as stopped:
        manager(make(strict.base_url.removesuffix("/v1"))).run([LLMRequest.from_prompt("Hello?")])
    assert type(stopped.value.cause).__name__ == "AuthenticationFailed"
