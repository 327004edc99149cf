"""Makes the calls of a provider's `Steps` without any network: a script of replies stands in for it."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.providers.batches import Steps


class Driven(NamedTuple):
    """What steps came to, and the calls that they made."""

    came_to: Any
    calls: list[HTTPCall]


class StillGoing(AssertionError):
    """Steps want another reply, and there is none left."""


def driven(steps: Steps[Any], *replies: HTTPReply | tuple[int, Any] | Any) -> Driven:
    """Drive `steps`, each call answered with the next reply: a whole one, a status with a body, or a body.

    A body is bytes, or JSON's document; without a status it is a success.

    Raises:
        RequestError: the steps end so.
        StillGoing: they take more replies than there are.
        AssertionError: they take fewer.
    """
    calls: list[HTTPCall] = []
    waiting = list(map(_reply, replies))
    try:
        calls.append(next(steps))
        while waiting:
            calls.append(steps.send(waiting.pop(0)))
    except StopIteration as end:
        assert not waiting, f"{len(waiting)} replies were not asked for"
        return Driven(end.value, calls)
    raise StillGoing(f"no reply is left for {calls[-1]!r}")


def _reply(said: Any) -> HTTPReply:
    if isinstance(said, HTTPReply):
        return said
    status, body = said if isinstance(said, tuple) else (200, said)
    return HTTPReply(status, {}, body if isinstance(body, bytes) else orjson.dumps(body))
