"""Answers the first rows of a file at once: `python finished.py INPUT OUTPUT ROWS ADDRESS MODEL`."""

from __future__ import annotations

import sys

from load import reply

from fastbatch import OpenAIProvider, RequestManager
from fastbatch.models.http import HTTPCall, HTTPReply


class Instant:
    """A transport that is its own server."""

    def __init__(self) -> None:
        self._reply = HTTPReply(200, {"content-type": "application/json"}, reply())

    async def open(self, *, connections: int) -> None:
        """Nothing is needed."""

    async def send(self, call: HTTPCall, timeout: float) -> HTTPReply:
        """The same reply to everything."""
        return self._reply

    async def close(self) -> None:
        """Nothing is held."""


def main(input: str, output: str, rows: int, address: str, model: str) -> None:
    """Answer them."""
    provider = OpenAIProvider("none", base_url=address, env={})
    manager = RequestManager(provider, model=model, concurrency=256, transport=Instant)
    summary = manager.run_file(input, output, limit=rows, durability="process")
    assert summary.ok == rows, summary


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
