"""Acme's voices for fastbatch.

What Acme's API looks like:

    POST /converse    {"voice": "echo", "rules": "Be brief.", "turns": [{"who": "human", "says": "Hello"}],
                       "most_words": 32, "warmth": 0.5, "ends": ["END"], "aloud": false}
    200               {"id": "a-1", "says": "Hello", "end": "done" | "full" | "withheld",
                       "counted": {"heard": 3, "known": 1, "spoken": 2}}
    4xx, 5xx          {"problem": {"kind": "too_fast", "text": "Not so fast."}}
    aloud             data: {"more": "Hel"}     data: {"id": "a-1", "end": "done", "counted": {…}}
    GET /voices       {"voices": [{"name": "echo", "memory": 8000}], "more": "page-2" | null}
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from fastbatch import LLMRequest
from fastbatch.errors import InvalidRequest
from fastbatch.providers import (
    Body,
    Delta,
    EventFold,
    HostedProvider,
    HTTPCall,
    HTTPReply,
    Keys,
    Model,
    ModelPage,
    ResponseWrapper,
    StreamedCall,
    Structured,
    Usage,
    can_be_recorded,
    count_of,
    loaded,
    parts_of,
    wire_bytes,
)

BASE_URL = "https://api.acme.example/v1"
KEYS = Keys(("ACME_API_KEY",), header="Acme-Key", scheme="")
UNSAID: Mapping[str, str] = {
    "tools": "its voices call nothing",
    "seed": "its voices are never the same twice",
}
"""Why parameters of OpenAI's have no counterpart; those that are not listed have none either."""

_ROLES = {"user": "human", "assistant": "voice"}
_ENDS = {"done": "stop", "full": "length", "withheld": "content_filter"}


class AcmeReader:
    """Reads Acme's replies."""

    def text(self, body: Any) -> str | None:
        """What the voice says."""
        says = body.get("says") if isinstance(body, dict) else None
        return says if isinstance(says, str) else None

    def message(self, body: Any) -> dict[str, Any] | None:
        """That, as an assistant's message."""
        text = self.text(body)
        return None if text is None else {"role": "assistant", "content": text}

    def finish_reason(self, body: Any) -> str | None:
        """Why it ends, in OpenAI's words."""
        end = body.get("end") if isinstance(body, dict) else None
        return _ENDS.get(end) if isinstance(end, str) else None

    def typed(self, raw: bytes) -> dict[str, Any]:
        """The reply's JSON: Acme has no types of its own."""
        body: dict[str, Any] = loaded(HTTPReply(200, {}, raw))[1]
        return body


class AcmeFold(EventFold):
    """A reply that is spoken aloud: pieces of text, then everything else."""

    def __init__(self) -> None:
        super().__init__()
        self._said: list[str] = []
        self._rest: dict[str, Any] = {}

    def take(self, event: str, said: Any) -> Sequence[Delta]:
        """A piece, the end, or a problem."""
        if not isinstance(said, dict):
            return ()
        if "problem" in said:
            self.error = (503, said)
        elif isinstance(more := said.get("more"), str):
            self._said.append(more)
            return (Delta({"content": more}),)
        elif isinstance(end := said.get("end"), str):
            self._rest = said
            self.complete = True
            return (Delta({}, _ENDS.get(end)),)
        return ()

    def whole(self) -> Any:
        """The reply as it would have been written."""
        return {"says": "".join(self._said), **self._rest}


class AcmeProvider(HostedProvider[dict[str, Any]]):
    """Acme, at its own address or another.

    Args:
        api_key: the key; without one `ACME_API_KEY` is read.
        base_url: another address.
        headers: further headers.
        env: where variables are looked up; else the environment.
    """

    structured: tuple[Structured, ...] = ("prompt",)
    variables = KEYS.variables

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        env = os.environ if env is None else env
        super().__init__(
            name="acme",
            base_url=BASE_URL if base_url is None else base_url,
            keys=KEYS,
            key=KEYS.found(env) if api_key is None else api_key.strip(),
            reader=AcmeReader(),
            headers=headers,
            needs_key="Acme",
        )

    def check(self, request: LLMRequest) -> None:
        """Refuse what `build` would."""
        _translated(request)

    def build(self, request: LLMRequest, *, stream: bool = False) -> HTTPCall:
        """The `POST /converse` that asks for `request`."""
        body, url = _translated(request), f"{self.base_url}/converse"
        if not stream:
            return HTTPCall(url, self._headers, wire_bytes(body))
        call = StreamedCall(url, self._headers, wire_bytes({**body, "aloud": True}))
        call.fold = AcmeFold
        return call

    def parse(self, reply: HTTPReply) -> ResponseWrapper[dict[str, Any]]:
        """An answer, or the problem that there was."""
        reply, body, wrong = loaded(reply)
        said = body if isinstance(body, dict) else {}
        problem = said.get("problem")
        if problem or not 200 <= reply.status < 300:
            return self.outcome(reply, error=self.failed(reply, *_words(problem)))
        if not wrong and not (isinstance(said.get("says"), str) and isinstance(said.get("end"), str)):
            wrong = "the reply says nothing"
        elif not can_be_recorded(reply.body):
            wrong = "the reply is nested too deeply"
        counted = said.get("counted")
        usage = _usage(counted) if isinstance(counted, dict) else Usage()
        return self.outcome(reply, usage, self.broken(reply, wrong) if wrong else None)

    def ask_models(self, after: str = "") -> HTTPCall:
        """`GET /voices`, page after page."""
        page = f"?after={after}" if after else ""
        return HTTPCall(f"{self.base_url}/voices{page}", self._headers, b"", "GET")

    def read_models(self, reply: HTTPReply) -> ModelPage:
        """The voices, with how much each remembers."""
        reply, body, wrong = loaded(reply)
        if not 200 <= reply.status < 300:
            raise self.parse(reply).error or self.broken(reply, "the reply is no list of voices")
        voices = body.get("voices") if isinstance(body, dict) else None
        if not isinstance(voices, list):
            raise self.broken(reply, wrong or "the reply is no list of voices")
        found = tuple(
            Model(str(voice.get("name", "")), count_of(voice.get("memory")), kind="voice")
            for voice in voices
            if isinstance(voice, dict)
        )
        return ModelPage(found, str(body.get("more") or ""))


def _translated(request: LLMRequest) -> dict[str, Any]:
    """The body as Acme wants it; what it has no words for is refused."""
    body = Body(request.body, "Acme", request.endpoint)
    if not request.messages:
        raise body.refused(request.endpoint, "it converses and does nothing else")
    rules, turns = [], []
    for number, message in enumerate(body.take("messages")):
        role, place = message["role"], f"messages[{number}]"
        if further := message.keys() - {"role", "content"}:
            raise body.refused(f"{place}.{min(further)}")
        text = _text(message.get("content"), place, body)
        if role in _ROLES:
            turns.append({"who": _ROLES[role], "says": text})
        elif role in ("system", "developer") and not turns:
            rules.append(text)
        else:
            raise body.refused(f"{place} of the role {role}", "rules stand at the beginning")
    if not turns:
        raise InvalidRequest("Acme wants somebody to say something; there are only rules")
    most = [body.take(name) for name in ("max_completion_tokens", "max_tokens")]
    if None not in most:
        raise body.refused("max_tokens beside max_completion_tokens", "it has one of the two")
    stop = body.take("stop")
    said = {
        "voice": body.take("model"),
        "rules": "\n\n".join(rules) if rules else None,
        "turns": turns,
        "most_words": most[0] if most[1] is None else most[1],
        "warmth": body.take("temperature"),
        "ends": [stop] if isinstance(stop, str) else stop,
    }
    if body.take("response_format") not in (None, {"type": "text"}):
        raise body.refused("response_format", "its voices speak freely")
    own = body.rest(UNSAID)
    if clash := own.keys() & {*said, "aloud"}:
        raise body.refused(min(clash), "it is made from the request")
    return {**{name: value for name, value in said.items() if value is not None}, **own}


def _text(content: Any, place: str, body: Body) -> str:
    """A message's text; Acme hears nothing else."""
    parts = parts_of(content)
    for number, part in enumerate(parts):
        if part.get("type") != "text":
            raise body.refused(
                f"{place}.content[{number}] of type {part.get('type')!r}", "it hears text only"
            )
    return "".join(part["text"] for part in parts)


def _words(problem: Any) -> tuple[str, str | None]:
    """What a problem says, and its kind."""
    said = problem if isinstance(problem, dict) else {}
    text, kind = said.get("text"), said.get("kind")
    return text if isinstance(text, str) else "", kind if isinstance(kind, str) else None


def _usage(counted: Mapping[str, Any]) -> Usage:
    """Acme counts what it knew already beside what it heard; here the prompt has both."""
    known = count_of(counted.get("known"))
    return Usage(count_of(counted.get("heard")) + known, known, count_of(counted.get("spoken")), 0)
