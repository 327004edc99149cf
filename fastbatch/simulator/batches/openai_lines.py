"""How OpenAI and Azure write the rows of a batch and their results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from fastbatch.simulator.batches.forms import Outcome, Row, WrongLine
from fastbatch.simulator.dialects.azure import AZURE
from fastbatch.simulator.dialects.base import Dialect, Operation
from fastbatch.simulator.dialects.openai_chat import CHAT
from fastbatch.simulator.dialects.openai_completions import COMPLETIONS
from fastbatch.simulator.dialects.openai_embeddings import EMBEDDINGS
from fastbatch.simulator.dialects.openai_responses import RESPONSES
from fastbatch.simulator.incoming import Incoming

OPERATIONS = {
    "chat/completions": CHAT,
    "responses": RESPONSES,
    "completions": COMPLETIONS,
    "embeddings": EMBEDDINGS,
}
_UNDONE = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed before the batch was cancelled."),
}

Salted = Callable[[str, str], int]
"""The salt of an operation's path, given its name and the model."""


class OpenAIForm:
    """The lines of OpenAI's batch files, see `Form`."""

    one_model = True
    one_file = False
    counts_at_once = False
    request = Incoming("POST", "", None, b"", 0.0)
    purpose = "batch_output"
    prefix = "file-"

    def __init__(self, dialect: Dialect, endpoint: str, salted: Salted) -> None:
        self.family = family(dialect)
        self.dialect = dialect
        self.name = operation_name(dialect, endpoint)
        self.operation: Operation = OPERATIONS[self.name]
        self.most_rows = 100_000 if dialect is AZURE else 50_000
        self._salted = salted

    def read(self, line: bytes) -> Row:
        """`{custom_id, method, url, body}`, the url that of the batch."""
        try:
            said = orjson.loads(line)
        except orjson.JSONDecodeError:
            said = None
        if not isinstance(said, dict):
            raise WrongLine("invalid_json_line", "This line is not parseable as valid JSON.")
        for name, kind in (("custom_id", str), ("method", str), ("url", str), ("body", dict)):
            if not isinstance(said.get(name), kind) or said[name] == "":
                raise WrongLine("missing_required_parameter", f"Missing required parameter: '{name}'.", name)
        if said["method"] != "POST":
            raise WrongLine("invalid_method", f"The method '{said['method']}' is not supported.", "method")
        if operation_name(self.dialect, said["url"]) != self.name:
            message = f"The URL '{said['url']}' does not match the endpoint of the batch."
            raise WrongLine("url_mismatch", message, "url")
        model = said["body"].get("model")
        if not isinstance(model, str) or not model:
            message = "Missing required parameter: 'body.model'."
            raise WrongLine("missing_required_parameter", message, "body.model")
        # A list of numbers is one text, in tokens.
        given = said["body"].get("input") if self.name == "embeddings" else None
        inputs = len(given) if isinstance(given, list) and not all(type(one) is int for one in given) else 1
        return Row(said["custom_id"], model, said["body"], self._salted(self.name, model), inputs)

    def result(self, name: str, outcome: Outcome, number: str) -> bytes:
        """`{id, custom_id, response, error}`: an error with a status is a response, too."""
        if not outcome.status:
            message = "The request timed out."
            return _line(name, number, error={"code": "request_timeout", "message": message})
        response = {
            "status_code": outcome.status,
            "request_id": f"req_{number}",
            "body": outcome.body,
        }
        return _line(name, number, response=response)

    def undone(self, name: str, state: str, number: str) -> bytes:
        """An error without a response."""
        if state not in _UNDONE:
            return b""
        code, message = _UNDONE[state]
        return _line(name, number, error={"code": code, "message": message})


def operation_name(dialect: Dialect, endpoint: str) -> str:
    """`chat/completions` of `/v1/chat/completions`; Azure's have no `/v1` as a rule."""
    if dialect is AZURE and not endpoint.startswith("/v1/"):
        return endpoint.removeprefix("/")
    return endpoint.removeprefix("/v1/") if endpoint.startswith("/v1/") else ""


def _line(name: str, number: str, *, response: Any = None, error: Any = None) -> bytes:
    said = {"id": f"batch_req_{number}", "custom_id": name, "response": response, "error": error}
    return orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE)


def family(dialect: Dialect) -> str:
    """Whose files and batches are seen in this dialect."""
    return "azure" if dialect is AZURE else "openai"
