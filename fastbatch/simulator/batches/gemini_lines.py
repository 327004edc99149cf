"""How Gemini writes the rows of a batch and their results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from xxhash import xxh3_64_intdigest

from fastbatch.simulator.batches.forms import Outcome, Row, WrongLine
from fastbatch.simulator.dialects.base import Dialect
from fastbatch.simulator.dialects.gemini import GEMINI
from fastbatch.simulator.dialects.gemini_content import GENERATE
from fastbatch.simulator.incoming import NONE_KEPT, Incoming

FAMILY = "gemini"
_MOST_ROWS = 1_000_000  # Google names no bound
# An error in a line or an operation is a google.rpc.Status, whose codes are those of gRPC.
_CODES = {0: 4, 400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 429: 8, 500: 13, 503: 14}
CANCELLED, WRONG, LATE, BROKEN = 1, 3, 4, 13


class GeminiForm:
    """The lines of Gemini's batch files, or requests inside a batch, see `Form`."""

    family = FAMILY
    dialect: Dialect = GEMINI
    operation = GENERATE
    one_model = True
    one_file = True
    counts_at_once = True
    most_rows = _MOST_ROWS
    prefix = "files/batch-"
    request = Incoming("POST", "", None, b"", 0.0, NONE_KEPT)

    def __init__(self, version: str, model: str, *, inline: bool) -> None:
        self._model = model
        self.purpose = "" if inline else "GENERATED"
        self._salt = xxh3_64_intdigest(f"/{version}/models/{model}:generateContent".encode())

    def read(self, line: bytes | Mapping[str, Any]) -> Row:
        """`{key, request}`; a model in the request must be the batch's."""
        try:
            said = orjson.loads(line) if isinstance(line, bytes) else line
        except orjson.JSONDecodeError:
            said = None
        if not isinstance(said, dict) or not isinstance(said.get("request"), dict):
            raise WrongLine("INVALID_ARGUMENT", "A line must be an object with a key and a request.")
        if not isinstance(said.get("key"), str) or not said["key"]:
            raise WrongLine("INVALID_ARGUMENT", "A line must have a key.")
        model = said["request"].get("model", f"models/{self._model}")
        if model != f"models/{self._model}":
            raise WrongLine("INVALID_ARGUMENT", f"The model {model} is not that of the batch.")
        return Row(said["key"], self._model, said["request"], self._salt)

    def result(self, name: str, outcome: Outcome, number: str) -> bytes:
        """`{key, response}` or `{key, error}`."""
        if outcome.answered:
            return _line({"key": name, "response": outcome.body})
        message = "Deadline exceeded."
        if outcome.status:
            message = orjson.loads(orjson.dumps(outcome.body))["error"]["message"]
        return _line({"key": name, "error": {"code": _CODES[outcome.status], "message": message}})

    def undone(self, name: str, state: str, number: str) -> bytes:
        """An error where it was cancelled; another batch says nothing of what it left undone."""
        if state != "cancelled":
            return b""
        return _line({"key": name, "error": {"code": CANCELLED, "message": "The batch was cancelled."}})


def _line(said: Any) -> bytes:
    return orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE)
