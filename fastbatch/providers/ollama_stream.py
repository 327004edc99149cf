"""Ollama's streamed reply: a JSON object a line, the last of which says that it is done, with the usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from fastbatch.errors import BadResponse, ResponseTooLarge
from fastbatch.models.http import HTTPReply
from fastbatch.models.stream import Delta
from fastbatch.providers.ollama_types import calls_of, end_of
from fastbatch.transport.base import MAX_RESPONSE_BYTES

_FAILED = 500  # an error that comes when the answer has begun has no status of its own


class OllamaFold:
    """The lines of one `POST /api/chat` with `stream`."""

    def __init__(self) -> None:
        self._line: list[bytes] = []  # the pieces of one that is not complete
        self._size = 0
        self._message: dict[str, Any] = {"role": "assistant", "content": ""}
        self._spoke = False  # whether a line had a message; without one the stream is no answer
        self._logprobs: list[Any] = []
        self._whole: dict[str, Any] | None = None
        self._error: dict[str, Any] | None = None

    @property
    def complete(self) -> bool:
        """As `Fold.complete`."""
        return self._whole is not None or self._error is not None

    def feed(self, piece: bytes) -> Sequence[Delta]:
        """As `Fold.feed`."""
        self._size += len(piece)
        if self._size > MAX_RESPONSE_BYTES:
            raise ResponseTooLarge(f"the reply is larger than {MAX_RESPONSE_BYTES} bytes")
        deltas: list[Delta] = []
        for line in piece.splitlines(keepends=True):
            self._line.append(line)
            if line.endswith(b"\n"):
                whole = b"".join(self._line).strip()
                self._line.clear()
                if whole and not self.complete:
                    deltas += self._take(whole)
        return deltas

    def end(self, status: int, headers: Mapping[str, str]) -> HTTPReply | None:
        """As `Fold.end`."""
        if self._error is not None:
            return HTTPReply(_FAILED, headers, orjson.dumps(self._error))
        return None if self._whole is None else HTTPReply(status, headers, orjson.dumps(self._whole))

    def _take(self, line: bytes) -> Sequence[Delta]:
        try:
            said = orjson.loads(line)
        except orjson.JSONDecodeError as problem:
            start = line[:200].decode("utf-8", "replace")
            raise BadResponse(f"a line of the stream is not JSON ({problem}): {start}") from None
        if not isinstance(said, dict):
            raise BadResponse("a line of the stream is no object")
        if said.get("error"):
            self._error = said
            return ()
        message = said.get("message")
        self._spoke = self._spoke or isinstance(message, dict)
        message = message if isinstance(message, dict) else {}
        adds = self._add(message)
        if isinstance(logprobs := said.get("logprobs"), list):
            self._logprobs += logprobs
        if said.get("done") is not True:
            return (Delta(adds),) if adds else ()
        more: dict[str, Any] = {"message": self._message} if self._spoke else {}
        if self._logprobs:
            more["logprobs"] = self._logprobs
        self._whole = {**said, **more}
        reason = end_of(said, called="tool_calls" in self._message)
        return (Delta(adds, reason),) if adds or reason else ()

    def _add(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Put a piece into the message; what it adds, in the form of OpenAI's chunks."""
        adds: dict[str, Any] = {}
        for key, value in message.items():
            before = self._message.get(key)
            if key == "tool_calls" and isinstance(value, list):
                known = before if isinstance(before, list) else []
                if value:
                    self._message[key] = known + value
                if calls := calls_of(self._message)[len(known) :]:
                    adds[key] = [{"index": len(known) + n, **call} for n, call in enumerate(calls)]
            elif key == "role" or not isinstance(value, str):
                if value is not None:
                    self._message[key] = value
            elif value:
                self._message[key] = before + value if isinstance(before, str) else value
                name = {"content": "content", "thinking": "reasoning_content"}.get(key)
                if name:
                    adds[name] = value
        return adds
