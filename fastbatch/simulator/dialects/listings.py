"""What each API says about the models it has, and about itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastbatch.simulator.asks import load
from fastbatch.simulator.dialects.ollama import OLLAMA
from fastbatch.simulator.headers import rfc3339
from fastbatch.simulator.incoming import Incoming


def openai_models(names: Sequence[str], created: int, request: Incoming) -> dict[str, Any]:
    """`GET /v1/models`."""
    listed = [{"id": name, "object": "model", "created": created, "owned_by": "simulator"} for name in names]
    return {"object": "list", "data": listed}


def anthropic_models(names: Sequence[str], created: int, request: Incoming) -> dict[str, Any]:
    """The same with `anthropic-version`: a page, which is the last."""
    listed = [
        {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": rfc3339(created),
            "lifecycle": "active",
            "max_input_tokens": 200_000,
            "max_tokens": 64_000,
        }
        for name in names
    ]
    return {"data": listed, "has_more": False, "first_id": names[0], "last_id": names[-1]}


def gemini_models(names: Sequence[str], created: int, request: Incoming) -> dict[str, Any]:
    """`GET /v1beta/models` of AI Studio: a page, which is the last."""
    listed = [
        {
            "name": f"models/{name}",
            "version": "001",
            "displayName": name,
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "embedContent", "batchEmbedContents"],
        }
        for name in names
    ]
    return {"models": listed}


def vertex_models(names: Sequence[str], created: int, request: Incoming) -> dict[str, Any]:
    """`GET /v1beta1/publishers/google/models` of Vertex AI."""
    listed = [{"name": f"publishers/google/models/{name}", "versionId": "default"} for name in names]
    return {"publisherModels": listed}


def ollama_tags(names: Sequence[str], created: int, request: Incoming) -> dict[str, Any]:
    """`GET /api/tags`: what is on the machine."""
    listed = [
        {
            "name": name,
            "model": name,
            "modified_at": rfc3339(created),
            "size": 1_000_000_000,
            "digest": f"{index:064x}",
            "details": _DETAILS,
        }
        for index, name in enumerate(names)
    ]
    return {"models": listed}


def ollama_running(names: Sequence[str], created: int, request: Incoming) -> dict[str, Any]:
    """`GET /api/ps`: what is in memory, which is nothing."""
    return {"models": []}


def ollama_version(names: Sequence[str], created: int, request: Incoming) -> dict[str, Any]:
    """`GET /api/version`."""
    return {"version": "0.6.0"}


def ollama_show(names: Sequence[str], created: int, request: Incoming) -> dict[str, Any]:
    """`POST /api/show`: one model."""
    body = load(request.body)
    name = body.get("model") or body.get("name")
    if name not in names:
        raise OLLAMA.unknown_model(str(name))
    return {
        "modified_at": rfc3339(created),
        "template": "{{ .Prompt }}",
        "details": _DETAILS,
        "model_info": {"general.architecture": "simulator", "simulator.context_length": 8192},
        "capabilities": ["completion", "tools"],
    }


_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "simulator",
    "families": ["simulator"],
    "parameter_size": "1B",
    "quantization_level": "Q4_0",
}
