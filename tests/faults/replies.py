"""Replies that arrive whole and are no answer, and odd ones that are."""

from __future__ import annotations

import json

from faults.acts import sick_always, sick_once
from faults.clinic import Visit, good_body
from faults.evidence import Evidence
from faults.fault import Act, Fault

_JSON = "Content-Type: application/json"


def whole(body: bytes | str, *headers: str, status: str = "200 OK") -> Act:
    """A reply of the right length; KEY in it stands for the key that came with the request."""
    data = body.encode() if isinstance(body, str) else body

    async def behave(visit: Visit) -> None:
        await visit.line.reply(data.replace(b"KEY", visit.key.encode()), status, *(headers or (_JSON,)))

    return behave


def raw(*pieces: bytes) -> Act:
    """Bytes as they are; GOOD in them stands for the good answer."""

    async def behave(visit: Visit) -> None:
        await visit.line.send(b"".join(pieces).replace(b"GOOD", good_body(visit.prompt)))
        visit.line.end()

    return behave


def error(code: object, kind: str = "error") -> str:
    """A body that holds an error."""
    return json.dumps({"error": {"message": "no, not with KEY", "type": kind, "code": code}})


def begins_with(start: str) -> object:
    """The error record quotes the reply's beginning."""

    def check(ran: Evidence) -> list[str]:
        said = [str(told["message"]) for _, told in ran.failed]
        return [] if said and all(start in text for text in said) else [f"{start!r} is not quoted in {said}"]

    return check


# name: body, headers, and what of it the error record quotes
BROKEN: dict[str, tuple[bytes | str, tuple[str, ...], str]] = {
    "cut JSON of the right length": ('{"choices": [{"message": {"content": "x', (), '{"choices": [{"mess'),
    "no JSON": ("this is KEY's answer", (), "this is …'s"),
    "HTML with 200": ("<html><body>Sign in, KEY</body></html>", ("Content-Type: text/html",), "<html><body>"),
    "nothing": ("", (), "empty"),
    "null": ("null", (), ""),
    "a list": ("[]", (), ""),
    "an empty object": ("{}", (), ""),
    "NaN": ('{"choices": [{"message": {"content": "x"}}], "logprob": NaN}', (), "NaN"),
    "no choices": ('{"id": "c", "choices": []}', (), ""),
    "choices that are null": ('{"id": "c", "choices": null}', (), ""),
    "a choice that is null": ('{"id": "c", "choices": [null]}', (), ""),
    "a choice without a message": ('{"id": "c", "choices": [{"index": 0}]}', (), ""),
    "JSON a hundred thousand deep": ("[" * 100_000 + "]" * 100_000, (), "[[[["),
    "an answer a hundred thousand deep": (
        '{"choices": [{"message": {"content": "x"}}], "deep": ' + "[" * 100_000 + "]" * 100_000 + "}",
        (),
        '{"choices"',
    ),
    "bad UTF-8": (b'{"choices": [{"message": {"content": "\xff\xfe"}}]}', (), '{"choices"'),
    "lone surrogates": ('{"choices": [{"message": {"content": "\\ud800"}}]}', (), '{"choices"'),
    "a gzip that is none": ("this is no gzip", ("Content-Encoding: gzip",), ""),
}

_GOOD_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_CHUNKED = _GOOD_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

ODD: dict[str, Act] = {
    "JSON that calls itself text": raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nGOOD"),
    "JSON that does not say what it is": raw(b"HTTP/1.1 200 OK\r\n\r\nGOOD"),
    "no length, ended by closing": raw(_GOOD_HEAD, b"\r\nGOOD"),
    "an interim reply first": raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", _GOOD_HEAD, b"\r\nGOOD"),
    "a byte order mark": raw(_GOOD_HEAD, b"\r\n\xef\xbb\xbfGOOD"),
    "HTTP/1.0": raw(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\nGOOD"),
}


def _broken_faults() -> list[Fault]:
    found = []
    for name, (body, headers, quoted) in BROKEN.items():
        lost = "gzip" in name
        found.append(
            Fault(
                name=f"{name}, every time",
                row="replies that are no answer",
                act=sick_always(whole(body, *headers)),
                attempts=5,
                code=1,
                kind="ConnectionLost" if lost else "BadResponse",
                billed=True,
                sent=(2, 5) if lost else (2, 2),
                holds=(begins_with(quoted),) if quoted else (),  # type: ignore[arg-type]
            )
        )
    found.append(
        Fault(
            name="HTML with 200, once",
            row="replies that are no answer",
            act=sick_once(whole(*BROKEN["HTML with 200"][:1], "Content-Type: text/html")),
            sent=(2, 2),
        )
    )
    return found


REPLIES = (
    *_broken_faults(),
    *(Fault(name=name, row="odd but good", act=sick_always(act)) for name, act in ODD.items()),
    Fault(
        name="no HTTP at all",
        row="replies that are no answer",
        act=sick_always(raw(b"SSH-2.0-OpenSSH_9.6\r\n")),
        attempts=5,
        code=1,
        kind="BadResponse",
        billed=True,
        sent=(2, 2),
    ),
    Fault(
        name="an error in a 200, too fast",
        row="an error in a 200",
        act=sick_once(whole(error("rate_limit_exceeded"))),
        sent=(2, 2),
    ),
    Fault(
        name="an error in a 200, its status as the code",
        row="an error in a 200",
        act=sick_always(whole(error(400))),
        code=1,
        kind="BadRequest",
    ),
    Fault(
        name="an error in a 200, the context is too long",
        row="an error in a 200",
        act=sick_always(whole(error("context_length_exceeded", "invalid_request_error"))),
        code=1,
        kind="BadRequest",
    ),
    Fault(
        name="an error in a 200, no money left",
        row="an error in a 200",
        act=sick_always(whole(error("insufficient_quota"))),
        code=4,
        sent=(1, 1),
        cause="QuotaExhausted",
        says="quota|credit",
    ),
    Fault(
        name="an error in a choice of a 200",
        row="an error in a 200",
        act=sick_always(whole('{"choices": [{"error": {"code": 400, "message": "refused"}}]}')),
        code=1,
        kind="BadRequest",
    ),
    Fault(
        name="no choices, but usage",
        row="replies that are no answer",
        act=sick_always(whole('{"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}')),
        code=1,
        kind="BadResponse",
        billed=True,
        sent=(2, 2),
    ),
)
