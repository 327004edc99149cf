"""Providers translate: `build` a request into an HTTP call, `parse` a reply into an outcome.

Law 2: both are pure functions, errors included, so that the library, a gateway and batch APIs share them.
A provider opens no connection, reads no clock and knows no other provider.

The names below are what a provider of somebody else's stands on, and they stay: the Protocol and its
values, `HostedProvider` (all but a dialect) or `OpenAIShaped` (all but an address), `Body` and its kin for
translating a request, `EventFold` for a stream, `NativeBatches` for a batch API. They load when they are
first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastbatch.hashing import wire_bytes
    from fastbatch.limits.cost import Cost
    from fastbatch.limits.stated import Stated
    from fastbatch.models.http import HTTPCall, HTTPReply
    from fastbatch.models.response import ReplyReader, ResponseWrapper, Usage
    from fastbatch.models.stream import Delta, Fold, StreamedCall
    from fastbatch.models.telling import Structured
    from fastbatch.providers.base import Model, ModelPage, Provider
    from fastbatch.providers.batches import (
        ENQUEUED_TOKENS,
        BatchBounds,
        Batching,
        BatchPage,
        BatchResult,
        BatchStatus,
        LaterCall,
        NativeBatches,
        Steps,
    )
    from fastbatch.providers.folding import EventFold
    from fastbatch.providers.hosted import HostedProvider, Keys, can_be_recorded, count_of, loaded
    from fastbatch.providers.openai_batches import BatchRules, Spoken
    from fastbatch.providers.openai_shaped import OpenAIShaped
    from fastbatch.providers.statuses import error_kind
    from fastbatch.providers.translation import (
        Body,
        Picture,
        arguments_of,
        functions_of,
        parts_of,
        picture_of,
    )
    from fastbatch.providers.waits import read_retry_after

__all__ = [
    "ENQUEUED_TOKENS",
    "BatchBounds",
    "BatchPage",
    "BatchResult",
    "BatchRules",
    "BatchStatus",
    "Batching",
    "Body",
    "Cost",
    "Delta",
    "EventFold",
    "Fold",
    "HTTPCall",
    "HTTPReply",
    "HostedProvider",
    "Keys",
    "LaterCall",
    "Model",
    "ModelPage",
    "NativeBatches",
    "OpenAIShaped",
    "Picture",
    "Provider",
    "ReplyReader",
    "ResponseWrapper",
    "Spoken",
    "Stated",
    "Steps",
    "StreamedCall",
    "Structured",
    "Usage",
    "arguments_of",
    "can_be_recorded",
    "count_of",
    "error_kind",
    "functions_of",
    "loaded",
    "parts_of",
    "picture_of",
    "read_retry_after",
    "wire_bytes",
]

_HOME = {
    "ENQUEUED_TOKENS": "providers.batches",
    "BatchBounds": "providers.batches",
    "BatchPage": "providers.batches",
    "BatchResult": "providers.batches",
    "BatchRules": "providers.openai_batches",
    "BatchStatus": "providers.batches",
    "Batching": "providers.batches",
    "Body": "providers.translation",
    "Cost": "limits.cost",
    "Delta": "models.stream",
    "EventFold": "providers.folding",
    "Fold": "models.stream",
    "HTTPCall": "models.http",
    "HTTPReply": "models.http",
    "HostedProvider": "providers.hosted",
    "Keys": "providers.hosted",
    "LaterCall": "providers.batches",
    "Model": "providers.base",
    "ModelPage": "providers.base",
    "NativeBatches": "providers.batches",
    "OpenAIShaped": "providers.openai_shaped",
    "Picture": "providers.translation",
    "Provider": "providers.base",
    "ReplyReader": "models.response",
    "ResponseWrapper": "models.response",
    "Spoken": "providers.openai_batches",
    "Stated": "limits.stated",
    "Steps": "providers.batches",
    "StreamedCall": "models.stream",
    "Structured": "models.telling",
    "Usage": "models.response",
    "arguments_of": "providers.translation",
    "can_be_recorded": "providers.hosted",
    "count_of": "providers.hosted",
    "error_kind": "providers.statuses",
    "functions_of": "providers.translation",
    "loaded": "providers.hosted",
    "parts_of": "providers.translation",
    "picture_of": "providers.translation",
    "read_retry_after": "providers.waits",
    "wire_bytes": "hashing",
}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"fastbatch.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
