"""A request as it came over the wire, whichever dialect it is in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

NONE_KEPT: Mapping[bytes, bytes] = MappingProxyType({})


class Incoming(NamedTuple):
    """A request, read to its end at `now` (monotonic seconds).

    Attributes:
        path: without the query.
        headers: those of `KEPT` that it has besides `authorization`, about files and batches also those of
            `KEPT_AT_DESKS`; their names in lower case.
        query: what follows the `?`, as it came.
    """

    method: str
    path: str
    authorization: bytes | None
    body: bytes
    now: float
    headers: Mapping[bytes, bytes] = NONE_KEPT
    query: bytes = b""

    @property
    def bearer(self) -> bytes | None:
        """The bearer token it came with."""
        scheme, _, token = (self.authorization or b"").partition(b" ")
        return token.strip() if scheme.lower() == b"bearer" else None


# What the dialects look at besides `authorization`; no other header is kept.
KEPT = frozenset((b"x-api-key", b"anthropic-version", b"x-goog-api-key", b"api-key"))
# What is looked at besides where there are files and batches.
KEPT_AT_DESKS = frozenset(
    (
        *(b"content-type", b"host", b"x-goog-upload-protocol", b"x-goog-upload-command"),
        *(b"x-goog-upload-offset", b"x-goog-upload-header-content-length"),
        b"x-goog-upload-header-content-type",
    )
)


def at_desk(target: bytes) -> bool:
    """Whether a request's target may be about files or batches."""
    return b"/files" in target or b"/batches" in target or b":batch" in target
