"""Replies that are meant to hurt: too large, bombs, endless headers, several at once."""

from __future__ import annotations

import functools
import zlib

from faults.acts import sick_always
from faults.clinic import Visit
from faults.fault import STALL, Act, Fault

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_PIECE = b" " * (1 << 20)


def large(megabytes: int, *, chunked: bool) -> Act:
    """A body of spaces, with its length or in chunks."""

    async def behave(visit: Visit) -> None:
        how = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (megabytes << 20)
        await visit.line.send(_HEAD + how + b"\r\n\r\n")
        for _ in range(megabytes):
            await visit.line.send(b"100000\r\n" + _PIECE + b"\r\n" if chunked else _PIECE)
        await visit.line.send(b"0\r\n\r\n" if chunked else b"")

    return behave


@functools.cache
def bomb(coding: str, megabytes: int) -> bytes:
    """Zeros, packed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if coding == "gzip" else 15)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(megabytes)), packer.flush()])


def packed(coding: str, megabytes: int) -> Act:
    """A bomb."""

    async def behave(visit: Visit) -> None:
        await visit.line.reply(bomb(coding, megabytes), "200 OK", f"Content-Encoding: {coding}")

    return behave


async def many_headers(visit: Visit) -> None:
    """Twenty thousand of them."""
    lines = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 40) for number in range(20_000))
    await visit.line.send(_HEAD + lines + b"Content-Length: 2\r\n\r\n{}")


async def endless_header(visit: Visit) -> None:
    """One of eight megabytes."""
    await visit.line.send(_HEAD + b"X: " + b"x" * (8 << 20) + b"\r\nContent-Length: 2\r\n\r\n{}")


def _hostile(
    name: str,
    act: Act,
    kind: str,
    sick: int = 1,
    sent: tuple[int, int] = (1, 1),
    memory: int = 64 << 20,
    stall: float = STALL,
) -> Fault:
    return Fault(
        name=name,
        row="hostile sizes",
        act=sick_always(act),
        rows=8 + sick,
        sick=sick,
        concurrency=8,
        timeout=20.0,
        code=1,
        kind=kind,
        billed=True,
        sent=sent,
        memory=memory,
        stall=stall,
    )


HOSTILE = (
    _hostile("100 MB with its length", large(100, chunked=False), "ResponseTooLarge"),
    _hostile("100 MB in chunks", large(100, chunked=True), "ResponseTooLarge"),
    _hostile("a gzip bomb of 200 MB", packed("gzip", 200), "ResponseTooLarge"),
    _hostile("a deflate bomb of 200 MB", packed("deflate", 200), "ResponseTooLarge"),
    _hostile("five gzip bombs at once", packed("gzip", 200), "ResponseTooLarge", sick=5),
    # A reply within the bound is parsed in one go: 30 MB of it keep the loop for as long as that takes. What
    # is alive at once is 75 MiB, with the JSON parser's error, which has all the text in it; glibc, which
    # keeps chunks of the size of one that was freed before, makes 105 to 137 of it. Not in turns: 175 to 290.
    _hostile(
        *("five of 30 MB in chunks at once", large(30, chunked=True), "BadResponse", 5, (2, 2)),
        memory=160 << 20,
        stall=0.2,
    ),
    _hostile("20,000 headers", many_headers, "BadResponse", sent=(2, 2)),
    _hostile("a header of 8 MB", endless_header, "BadResponse", sent=(2, 2)),
)
