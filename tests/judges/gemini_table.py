"""Logical requests, in OpenAI's form as fastbatch takes them and as arguments of Google's own client."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, NamedTuple

from google.genai import types

PNG = bytes.fromhex("89504e470d0a1a0afbff")  # bytes that the two alphabets of base64 write differently
DATA_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
SCHEMA = {
    "type": "object",
    "properties": {"zip_code": {"type": "string"}, "area_km2": {"type": "number"}},
    "required": ["zip_code"],
    "additionalProperties": False,
}
PARAMETERS = {"type": "object", "properties": {"place_name": {"type": "string"}}, "required": ["place_name"]}
WEATHER = {"name": "weather", "description": "How it is there.", "parameters": PARAMETERS}
TOOLS = [{"type": "function", "function": WEATHER}]
DECLARED = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="weather", description="How it is there.", parameters_json_schema=PARAMETERS
        )
    ]
)
PLACE = {"place_name": "Paris"}


class Same(NamedTuple):
    """One request: `ours` beside a user's message, `theirs` beside the model; messages where they matter."""

    ours: dict[str, Any]
    theirs: dict[str, Any]


def said(*parts: Any, role: str = "user") -> types.Content:
    """One turn in Google's types."""
    texts = [types.Part(text=part) if isinstance(part, str) else part for part in parts]
    return types.Content(role=role, parts=texts)


def config(**fields: Any) -> dict[str, Any]:
    """A question with a configuration, in Google's types."""
    return {"contents": "Hi?", "config": types.GenerateContentConfig(**fields)}


def calling(mode: str, *names: str) -> types.ToolConfig:
    """A choice of tools in Google's types."""
    return types.ToolConfig(
        function_calling_config=types.FunctionCallingConfig(
            mode=mode, allowed_function_names=list(names) or None
        )
    )


def user(content: Any) -> dict[str, Any]:
    """A user's message."""
    return {"role": "user", "content": content}


def system(content: Any, role: str = "system") -> dict[str, Any]:
    """Instructions."""
    return {"role": role, "content": content}


def call(number: int, place: str = '{"place_name": "Paris"}') -> dict[str, Any]:
    """A tool call as OpenAI writes it."""
    return {"id": f"c{number}", "type": "function", "function": {"name": "weather", "arguments": place}}


def called(number: int, **more: Any) -> types.Part:
    """The same in Google's types."""
    return types.Part(function_call=types.FunctionCall(id=f"c{number}", name="weather", args=PLACE), **more)


def result(number: int, response: dict[str, Any]) -> types.Part:
    """What a call gave, in Google's types."""
    return types.Part(
        function_response=types.FunctionResponse(id=f"c{number}", name="weather", response=response)
    )


CHATS: dict[str, Same] = {
    "a question": Same({}, {"contents": "Hi?"}),
    "instructions": Same(
        {"messages": [system("Be brief."), user("Hi?")]}, config(system_instruction="Be brief.")
    ),
    "two kinds of instructions": Same(
        {"messages": [system("Be brief."), system("In French.", "developer"), user("Hi?")]},
        config(system_instruction=["Be brief.", "In French."]),
    ),
    "a conversation": Same(
        {"messages": [user("Hi?"), {"role": "assistant", "content": "Hello."}, user("And?")]},
        {"contents": [said("Hi?"), said("Hello.", role="model"), said("And?")]},
    ),
    "a picture": Same(
        {
            "messages": [
                user(
                    [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": DATA_URL}}]
                )
            ]
        },
        {"contents": [said("What?", types.Part.from_bytes(data=PNG, mime_type="image/png"))]},
    ),
    "a picture's address": Same(
        {"messages": [user([{"type": "image_url", "image_url": {"url": "https://h/a.jpg"}}])]},
        {"contents": [said(types.Part.from_uri(file_uri="https://h/a.jpg", mime_type="image/jpeg"))]},
    ),
    "a picture in detail": Same(
        {"messages": [user([{"type": "image_url", "image_url": {"url": DATA_URL, "detail": "high"}}])]},
        {
            "contents": [
                said(
                    types.Part.from_bytes(
                        data=PNG, mime_type="image/png", media_resolution="MEDIA_RESOLUTION_HIGH"
                    )
                )
            ]
        },
    ),
    "a sound": Same(
        {
            "messages": [
                user(
                    [
                        {
                            "type": "input_audio",
                            "input_audio": {"data": base64.b64encode(PNG).decode(), "format": "wav"},
                        }
                    ]
                )
            ]
        },
        {"contents": [said(types.Part.from_bytes(data=PNG, mime_type="audio/wav"))]},
    ),
    "a document": Same(
        {
            "messages": [
                user(
                    [
                        {
                            "type": "file",
                            "file": {
                                "filename": "a.pdf",
                                "file_data": f"data:application/pdf;base64,{base64.b64encode(PNG).decode()}",
                            },
                        }
                    ]
                )
            ]
        },
        {
            "contents": [
                said(
                    types.Part(
                        inline_data=types.Blob(data=PNG, mime_type="application/pdf", display_name="a.pdf")
                    )
                )
            ]
        },
    ),
    "sampling": Same(
        {"temperature": 0, "top_p": 0.5, "seed": 7, "presence_penalty": 0.1, "frequency_penalty": -0.2},
        config(temperature=0, top_p=0.5, seed=7, presence_penalty=0.1, frequency_penalty=-0.2),
    ),
    "bounds": Same(
        {"max_tokens": 9, "stop": "END", "n": 2},
        config(max_output_tokens=9, stop_sequences=["END"], candidate_count=2),
    ),
    "several stops": Same(
        {"max_completion_tokens": 9, "stop": ["a", "b"]},
        config(max_output_tokens=9, stop_sequences=["a", "b"]),
    ),
    "likelihoods": Same({"logprobs": True, "top_logprobs": 3}, config(response_logprobs=True, logprobs=3)),
    "a schema": Same(
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": SCHEMA, "strict": True},
            }
        },
        config(response_mime_type="application/json", response_json_schema=SCHEMA),
    ),
    "some JSON": Same(
        {"response_format": {"type": "json_object"}}, config(response_mime_type="application/json")
    ),
    "little thinking, by level": Same(
        {"model": "gemini-3-pro", "reasoning_effort": "low"},
        {"model": "gemini-3-pro", **config(thinking_config=types.ThinkingConfig(thinking_level="low"))},
    ),
    "much thinking, by budget": Same(
        {"reasoning_effort": "high"}, config(thinking_config=types.ThinkingConfig(thinking_budget=24576))
    ),
    "thoughts told": Same(
        {
            "reasoning_effort": "none",
            "generationConfig": {"thinkingConfig": {"includeThoughts": True}, "topK": 3},
        },
        config(top_k=3, thinking_config=types.ThinkingConfig(thinking_budget=0, include_thoughts=True)),
    ),
    "tools": Same({"tools": TOOLS}, config(tools=[DECLARED])),
    "a tool at will": Same(
        {"tools": TOOLS, "tool_choice": "auto"}, config(tools=[DECLARED], tool_config=calling("AUTO"))
    ),
    "no tool": Same(
        {"tools": TOOLS, "tool_choice": "none"}, config(tools=[DECLARED], tool_config=calling("NONE"))
    ),
    "some tool": Same(
        {"tools": TOOLS, "tool_choice": "required"}, config(tools=[DECLARED], tool_config=calling("ANY"))
    ),
    "this tool": Same(
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        config(tools=[DECLARED], tool_config=calling("ANY", "weather")),
    ),
    "a strict tool": Same(
        {"tools": [{"type": "function", "function": {**WEATHER, "strict": True}}]},
        config(tools=[DECLARED], tool_config=calling("VALIDATED")),
    ),
    "searching": Same(
        {"tools": [*TOOLS, {"googleSearch": {}}]},
        config(tools=[DECLARED, types.Tool(google_search=types.GoogleSearch())]),
    ),
    "a call and its result": Same(
        {
            "tools": TOOLS,
            "messages": [
                user("Hi?"),
                {"role": "assistant", "content": None, "tool_calls": [call(1)]},
                {"role": "tool", "tool_call_id": "c1", "content": "rain"},
            ],
        },
        {
            "contents": [said("Hi?"), said(called(1), role="model"), said(result(1, {"output": "rain"}))],
            "config": types.GenerateContentConfig(tools=[DECLARED]),
        },
    ),
    "two calls, signed": Same(
        {
            "messages": [
                user("Hi?"),
                {
                    "role": "assistant",
                    "content": "Let me see.",
                    "tool_calls": [
                        {
                            **call(1),
                            "extra_content": {
                                "google": {"thought_signature": base64.b64encode(PNG).decode()}
                            },
                        },
                        call(2),
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": '{"sky_now": "rain"}'},
                {"role": "tool", "tool_call_id": "c2", "content": "sun"},
            ],
        },
        {
            "contents": [
                said("Hi?"),
                said("Let me see.", called(1, thought_signature=PNG), called(2), role="model"),
                said(result(1, {"sky_now": "rain"}), result(2, {"output": "sun"})),
            ]
        },
    ),
    "its own parameters": Same(
        {
            "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}],
            "cachedContent": "cachedContents/c1",
            "service_tier": "flex",
            "modalities": ["text"],
        },
        config(
            safety_settings=[
                types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_ONLY_HIGH")
            ],
            cached_content="cachedContents/c1",
            service_tier="flex",
            response_modalities=["TEXT"],
        ),
    ),
}

Asked = Callable[[Any], Any]
EMBEDDINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "one text": ({"input": "A"}, {"contents": "A"}),
    "texts": ({"input": ["A", "B"]}, {"contents": ["A", "B"]}),
    "short vectors": (
        {"input": ["A", "B"], "dimensions": 3, "taskType": "RETRIEVAL_QUERY"},
        {"contents": ["A", "B"], "config": {"output_dimensionality": 3, "task_type": "RETRIEVAL_QUERY"}},
    ),
    # Of this model's, Google's client makes one text of a list of strings; a list of contents stays one.
    "texts of a model for everything": (
        {"model": "gemini-embedding-2", "input": ["A", "B"]},
        {"model": "gemini-embedding-2", "contents": [said("A"), said("B")]},
    ),
}
VERTEX_EMBEDDINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **EMBEDDINGS,
    "an older model": (
        {"model": "text-embedding-005", "input": ["A", "B"]},
        {"model": "text-embedding-005", "contents": ["A", "B"]},
    ),
    "an older model's short vectors": (
        {
            "model": "text-embedding-005",
            "input": ["A", "B"],
            "dimensions": 3,
            "taskType": "RETRIEVAL_DOCUMENT",
            "title": "T",
            "autoTruncate": False,
        },
        {
            "model": "text-embedding-005",
            "contents": ["A", "B"],
            "config": {
                "output_dimensionality": 3,
                "task_type": "RETRIEVAL_DOCUMENT",
                "title": "T",
                "auto_truncate": False,
            },
        },
    ),
}
