"""Gemini's streamed replies, put together: each event is a small `GenerateContentResponse`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastbatch.errors import BadResponse
from fastbatch.models.http import HTTPReply
from fastbatch.models.stream import Delta
from fastbatch.providers.folding import EventFold
from fastbatch.providers.gemini_messages import call_of
from fastbatch.providers.gemini_types import parts_in, reason_of

_TEXT = frozenset(("text", "thought"))


class GeminiFold(EventFold):
    """The reply of `streamGenerateContent` as `generateContent` would have sent it.

    A stream has no mark at its end: it is whole when every answer in it says why it ends. What no answer was
    seen of cannot be missed, so that of several answers (`n`) a late one may be.
    """

    def __init__(self) -> None:
        super().__init__()
        self._body: dict[str, Any] = {}
        self._candidates: dict[int, dict[str, Any]] = {}
        self._calls: dict[int, int] = {}
        self._reasons: dict[int, str] = {}

    def take(self, event: str, said: Any) -> Sequence[Delta]:
        """Add one event."""
        if isinstance(said, list) and len(said) == 1:
            said = said[0]
        if not isinstance(said, dict):
            raise BadResponse(f"an event of the stream is no object: {said!r:.200}")
        error = said.get("error")
        if error:
            code = error.get("code") if isinstance(error, dict) else None
            self.error = code if type(code) is int and 400 <= code < 600 else 500, said
            return ()
        # Everything but the answers is told anew: the last usage counts.
        self._body.update({key: value for key, value in said.items() if key != "candidates"})
        deltas: list[Delta] = []
        candidates = said.get("candidates")
        for place, told in enumerate(candidates if isinstance(candidates, list) else ()):
            if isinstance(told, dict):
                index = told.get("index")
                deltas += self._add(index if type(index) is int else place, told)
        return deltas

    def end(self, status: int, headers: Mapping[str, str]) -> HTTPReply | None:
        """As `Fold.end`."""
        feedback = self._body.get("promptFeedback")
        blocked = isinstance(feedback, dict) and bool(feedback.get("blockReason"))
        ended = [candidate.get("finishReason") for candidate in self._candidates.values()]
        self.complete = self.error is not None or (all(ended) if ended else blocked)
        return super().end(status, headers)

    def whole(self) -> Any:
        """The reply; candidates first, as Google writes it."""
        candidates = [self._candidates[index] for index in sorted(self._candidates)]
        return {"candidates": candidates, **self._body} if candidates else self._body

    def _add(self, index: int, told: dict[str, Any]) -> list[Delta]:
        """What an event says of one answer."""
        known = self._candidates.setdefault(index, {})
        deltas: list[Delta] = []
        said = told.get("content")
        if isinstance(said, dict):
            content = known.setdefault("content", {})
            content.update({key: value for key, value in said.items() if key != "parts"})
            for part in parts_in(told):
                if (delta := self._delta(index, part)) is not None:
                    deltas.append(delta)
                _join(content.setdefault("parts", []), part)
        known.update({key: value for key, value in told.items() if key != "content" and value is not None})
        reason = reason_of(known, parts_in(known))
        if told.get("finishReason") and reason and self._reasons.get(index) != reason:
            self._reasons[index] = reason
            deltas.append(Delta({}, reason, index))
        return deltas

    def _delta(self, index: int, part: dict[str, Any]) -> Delta | None:
        call = part.get("functionCall")
        if isinstance(call, dict):
            number = self._calls.get(index, 0)
            self._calls[index] = number + 1
            reply = self._body.get("responseId")
            said = call_of(call, number, reply if isinstance(reply, str) else "")
            return Delta({"tool_calls": [{"index": number, **said}]}, choice=index)
        text = part.get("text")
        if not isinstance(text, str) or not text:
            return None
        return Delta({"reasoning_content" if part.get("thought") is True else "content": text}, choice=index)


def _join(parts: list[dict[str, Any]], part: dict[str, Any]) -> None:
    """Add a part; text goes on where text of its kind stopped, but nothing is joined to what is signed."""
    last = parts[-1] if parts else {}
    texts = isinstance(part.get("text"), str) and isinstance(last.get("text"), str)
    if texts and part.keys() <= _TEXT >= last.keys() and part.get("thought") == last.get("thought"):
        last["text"] += part["text"]
    else:
        parts.append(dict(part))
