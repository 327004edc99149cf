"""Logical requests: our endpoint and body, and the SDK's method with its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
HI: dict[str, Any] = {"role": "user", "content": "Hi"}
PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": PLACE, "strict": True},
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"place":"Bonn"}'}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACE, "strict": True}}


class Asked(NamedTuple):
    """A request; `theirs` where the SDK's arguments are not the body's parameters."""

    endpoint: str
    body: dict[str, Any]
    theirs: dict[str, Any] | None = None


def chat(**body: Any) -> Asked:
    """A chat that begins with Hi."""
    return Asked(CHAT, {"messages": [HI], **body})


METHODS: Mapping[str, tuple[str, ...]] = {
    CHAT: ("chat", "completions"),
    RESPONSES: ("responses",),
    COMPLETIONS: ("completions",),
    EMBEDDINGS: ("embeddings",),
    MODERATIONS: ("moderations",),
}

REQUESTS: Mapping[str, Asked] = {
    "a prompt": chat(),
    "roles": chat(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Be kind."},
            HI,
            {"role": "assistant", "content": "Ho"},
            {"role": "user", "content": "", "name": "anna"},
        ]
    ),
    "pictures": chat(
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What?"},
                    {"type": "image_url", "image_url": {"url": "https://e.test/a.png", "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                ],
            }
        ]
    ),
    "a sound and a file": chat(
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:x;base64,AAAA"}},
                ],
            }
        ]
    ),
    "tools": chat(tools=[WEATHER], tool_choice="auto", parallel_tool_calls=False),
    "a tool that must be called": chat(
        tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "weather"}}
    ),
    "what a tool said": chat(
        messages=[
            HI,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "Rain."},
        ],
        tools=[WEATHER],
    ),
    "a schema": chat(response_format=SCHEMA),
    "some JSON": chat(response_format={"type": "json_object"}),
    "how words are drawn": chat(
        temperature=0, top_p=0.5, seed=7, stop=["a", "b"], n=2, frequency_penalty=-1, presence_penalty=1.5
    ),
    "thinking": chat(reasoning_effort="low", verbosity="low", max_completion_tokens=64),
    "logprobs": chat(logprobs=True, top_logprobs=3, logit_bias={"50256": -100}),
    "who asks": chat(user="u", safety_identifier="s", store=True, service_tier="flex", prompt_cache_key="k"),
    "audio": chat(modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"}),
    "metadata and another API's own": Asked(
        CHAT,
        {"messages": [HI], "metadata": {"a": "b"}, "top_k": 40},
        {"messages": [HI], "metadata": {"a": "b"}, "extra_body": {"top_k": 40}},
    ),
    "nulls": chat(temperature=None, stop=None),
    "a response": Asked(
        RESPONSES,
        {"input": "Hi", "instructions": "Be brief.", "max_output_tokens": 64, "reasoning": {"effort": "low"}},
    ),
    "a response with items, tools and a format": Asked(
        RESPONSES,
        {
            "input": [HI, {"type": "function_call_output", "call_id": "c", "output": "Rain."}],
            "tools": [{"type": "function", "name": "weather", "parameters": PLACE, "strict": True}],
            "text": {"format": {"type": "json_schema", "name": "p", "schema": PLACE, "strict": True}},
            "previous_response_id": "resp_1",
            "include": ["reasoning.encrypted_content"],
            "truncation": "auto",
        },
    ),
    "a text to go on with": Asked(
        COMPLETIONS, {"prompt": "Once", "max_tokens": 9, "echo": True, "suffix": ".", "logprobs": 2}
    ),
    "texts as tokens": Asked(COMPLETIONS, {"prompt": [[1, 2], [3]], "best_of": 2}),
    "a vector": Asked(EMBEDDINGS, {"input": "Hi", "encoding_format": "float", "dimensions": 8}),
    "vectors as base64": Asked(EMBEDDINGS, {"input": ["Hi", "Ho"], "encoding_format": "base64"}),
    "a judgement": Asked(MODERATIONS, {"input": ["Hi", "Ho"]}),
}
