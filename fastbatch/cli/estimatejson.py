"""An estimate as JSON: the values as they are, dollars as text, so that no digit is lost."""

from __future__ import annotations

import json
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from fastbatch.estimating.values import Estimate


def told(found: Estimate) -> str:
    """One object; every key is there, null where nothing is known."""
    return json.dumps(_plain(asdict(found)), ensure_ascii=False, indent=2)


def _plain(value: Any) -> Any:
    """Without named tuples, which JSON would take for lists."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
