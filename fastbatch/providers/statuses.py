"""What an HTTP status alone says of a failure; a body may know better."""

from __future__ import annotations

from collections.abc import Mapping

from fastbatch.errors import (
    AuthenticationFailed,
    BadRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestError,
    RequestTooLarge,
    ServerError,
)

BY_STATUS: Mapping[int, type[RequestError]] = {
    401: AuthenticationFailed,
    402: QuotaExhausted,
    403: PermissionDenied,
    404: NotFound,
    408: ServerError,
    409: ServerError,  # a lock timeout, retried by OpenAI's own client
    413: RequestTooLarge,
    429: RateLimited,
    529: Overloaded,
}


def error_kind(status: int) -> type[RequestError]:
    """The error of a reply with this status whose body says nothing; a success is none, so the server failed.

    >>> error_kind(429).__name__, error_kind(422).__name__, error_kind(502).__name__
    ('RateLimited', 'BadRequest', 'ServerError')
    """
    return BY_STATUS.get(status) or (ServerError if status >= 500 or status < 300 else BadRequest)


def plain_words(status: int, headers: Mapping[str, str], raw: bytes) -> str:
    """A sentence for a reply without words of its own."""
    if 300 <= status < 400:
        return (
            f"HTTP {status}: a redirect to {headers.get('location', 'nowhere')}, which is not followed; "
            "correct the base URL"
        )
    start = raw[:1500].decode("utf-8", "replace").strip()
    return f"HTTP {status}: {start}" if start else f"HTTP {status} without a body"
