"""Ollama's own dialect: no keys, no limits that it speaks of, and errors as `{"error": "…"}`."""

from __future__ import annotations

import orjson

from fastbatch.simulator.admission import Refusal
from fastbatch.simulator.asks import Rejected
from fastbatch.simulator.dialects.base import Said
from fastbatch.simulator.headers import Style
from fastbatch.simulator.incoming import Incoming


class Ollama:
    """The words of Ollama's API, see `Dialect`."""

    style: Style = "silent"
    request_id = b""
    needs_key = False

    def key(self, request: Incoming) -> bytes | None:
        """A bearer token, which the server on a machine of one's own does not ask for."""
        return request.bearer

    def unauthorized(self, request: Incoming) -> Rejected:
        """As the service in the cloud says it."""
        return Rejected("unauthorized", status=401)

    def unknown_model(self, model: str) -> Rejected:
        """404: it is not on this machine."""
        return Rejected(f"model '{model}' not found", status=404)

    def rejection(self, rejected: Rejected) -> Said:
        """A sentence, and nothing to tell it by but the status."""
        return rejected.status, error_body(rejected.message)

    def refusal(self, refusal: Refusal, model: str, *, say_wait: bool) -> Said:
        """503: the queue is full, which is all that a server of one's own has for a limit."""
        return self.busy(503)

    def busy(self, status: int) -> Said:
        """503, whichever status was asked for."""
        return 503, error_body("server busy, please try again.  maximum pending requests exceeded")

    def quota(self) -> Said:
        """402, which a server of one's own never says."""
        return 402, error_body("the usage limit is reached, upgrade for higher limits")

    def failure(self, kind: str, wait: int | None = None) -> Said:
        """A runner that ended, a full queue, or too many requests."""
        return FAILURES[kind]


def error_body(message: str) -> bytes:
    """An error in Ollama's shape."""
    return orjson.dumps({"error": message})


FAILURES: dict[str, Said] = {
    "500": (500, error_body("llama runner process has terminated")),
    "503": (503, error_body("server busy, please try again.  maximum pending requests exceeded")),
    "429": (429, error_body("too many requests")),
}
OLLAMA = Ollama()
