"""What each API says about the models it has, and about itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastbatch.simulator.headers import rfc3339


def openai_models(names: Sequence[str], created: int) -> dict[str, Any]:
    """`GET /v1/models`."""
    listed = [{"id": name, "object": "model", "created": created, "owned_by": "simulator"} for name in names]
    return {"object": "list", "data": listed}


def anthropic_models(names: Sequence[str], created: int) -> dict[str, Any]:
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
