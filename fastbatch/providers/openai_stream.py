"""Folds of OpenAI-shaped streams: chunks of chats and texts, and the events of a response.

What comes out is the reply that would have come whole. A stream of chunks is over at `[DONE]`, or at the
chunk that holds the usage and no choice, since some servers leave `[DONE]` out, or where the server ends its
reply and every choice has said why it ends; one of a response at the event that carries all of it. Comments
(`: OPENROUTER PROCESSING`) never reach a fold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastbatch.errors import BadResponse, InvalidRequest
from fastbatch.models.http import HTTPReply
from fastbatch.models.params import CHAT, COMPLETIONS, RESPONSES
from fastbatch.models.stream import Delta, Fold
from fastbatch.providers.folding import EventFold
from fastbatch.providers.openai_errors import status_of
from fastbatch.providers.openai_types import responses_end

# What a piece of a message adds to an answer, by the name that all dialects have for it.
_SAID = {
    "content": "content",
    "refusal": "refusal",
    "reasoning_content": "reasoning_content",
    "reasoning": "reasoning_content",
    "tool_calls": "tool_calls",
    "function_call": "function_call",
    "audio": "audio",
}
# Said once, though some servers repeat them with every piece.
_ONCE = frozenset(("id", "type", "role", "index", "expires_at", "format", "signature"))
_DELTAS_OF_RESPONSES = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning_content",
    "response.reasoning_summary_text.delta": "reasoning_content",
}
_PADDING = "obfuscation"  # OpenAI hides the size of a chunk with it; no whole reply has it


class ChunkFold(EventFold):
    """What chats and texts share: choices by number, usage in the last chunk or in each, errors inside.

    A reply that ends after the reasons of all its choices is an answer, without `[DONE]` and usage too: some
    servers that know no `stream_options`, and some proxies, send neither, and the answer is paid for; its
    usage is unknown. As with Gemini, a choice of which nothing was seen cannot be missed. After `[DONE]`
    every choice has a reason, or none has, as with servers that give none; then each has said something.
    """

    kind = ""
    """The `object` of a whole reply, where the chunks have one."""

    def __init__(self) -> None:
        super().__init__()
        self._reply: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def take(self, event: str, said: Any) -> Sequence[Delta]:
        """As `EventFold.take`."""
        if not isinstance(said, dict):
            raise BadResponse("an event of the stream is no object")
        choices = said.get("choices")
        choices = choices if isinstance(choices, list) else []
        broken = next((one for one in choices if isinstance(one, dict) and one.get("error")), said)
        if broken.get("error"):
            self._fail(broken["error"])
            return ()
        if event == "error":
            self._fail({key: value for key, value in said.items() if key != "choices"})
            return ()
        for key, value in said.items():
            if value is not None and key not in ("choices", _PADDING):
                self._reply[key] = value
        deltas: list[Delta] = []
        for one in choices:
            index = one.get("index", 0) if isinstance(one, dict) else None
            if type(index) is not int or index < 0:
                raise BadResponse("a choice of the stream is none")
            choice = self._choices.setdefault(index, {"index": index})
            deltas += self._said(index, choice, one)
        finished = self._choices and all(one.get("finish_reason") for one in self._choices.values())
        if finished and not choices and said.get("usage"):
            self.complete = True
        return deltas

    def end(self, status: int, headers: Mapping[str, str]) -> HTTPReply | None:
        """As `Fold.end`."""
        choices = self._choices.values()
        if choices and self.error is None:
            ended = [bool(choice.get("finish_reason")) for choice in choices]
            spoke = not any(ended) and all(map(self._spoke, choices))
            self.complete = all(ended) or (self.complete and spoke)
        return super().end(status, headers)

    def whole(self) -> dict[str, Any]:
        """As `EventFold.whole`."""
        reply = {**self._reply}
        if self.kind and "object" in reply:
            reply["object"] = self.kind
        usage = reply.pop("usage", None)
        reply["choices"] = [self._choices[index] for index in sorted(self._choices)]
        return reply if usage is None else {**reply, "usage": usage}

    def _fail(self, error: Any) -> None:
        body = {"error": error}
        if usage := self._reply.get("usage"):
            body["usage"] = usage
        self.error = status_of(error), body

    def _said(self, index: int, choice: dict[str, Any], said: dict[str, Any]) -> Sequence[Delta]:
        """Put one chunk's choice into what is known of it; what it adds."""
        raise NotImplementedError

    def _spoke(self, choice: Mapping[str, Any]) -> bool:
        """Whether there is anything of an answer."""
        raise NotImplementedError

    def _around(self, choice: dict[str, Any], said: Mapping[str, Any], *but: str) -> str | None:
        """What stands beside the answer, such as `logprobs`; why it ends, where that is new."""
        reason = said.get("finish_reason")
        new = isinstance(reason, str) and choice.get("finish_reason") is None
        for key, value in said.items():
            if key in but or key in ("index", "finish_reason"):
                continue
            before = choice.get(key)
            if key == "logprobs":
                _merge(choice, key, value)
            elif isinstance(before, dict) and isinstance(value, dict):  # what Azure's filter says, each time
                choice[key] = {**before, **value}
            elif value is not None or key not in choice:
                choice[key] = value
        if new or "finish_reason" not in choice:
            choice["finish_reason"] = reason
        return reason if new else None


class ChatFold(ChunkFold):
    """A chat completion out of its chunks."""

    kind = "chat.completion"

    def _said(self, index: int, choice: dict[str, Any], said: dict[str, Any]) -> Sequence[Delta]:
        delta = said.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        message = choice.setdefault("message", {"role": "assistant", "content": None})
        for key, value in delta.items():
            if key == "tool_calls" and value is not None:
                _add_calls(message, value)
            else:
                _merge(message, key, value)
        reason = self._around(choice, said, "delta")
        adds = {_SAID[key]: value for key, value in delta.items() if value and key in _SAID}
        return (Delta(adds, reason, index),) if adds or reason else ()

    def _spoke(self, choice: Mapping[str, Any]) -> bool:
        return any(value for key, value in choice["message"].items() if key != "role")

    def whole(self) -> dict[str, Any]:
        """As `EventFold.whole`."""
        reply = super().whole()
        for choice in reply["choices"]:
            calls = choice["message"].get("tool_calls")
            for call in calls if isinstance(calls, list) else ():
                call.pop("index", None)
        return reply


class TextFold(ChunkFold):
    """A text completion out of its chunks."""

    def _said(self, index: int, choice: dict[str, Any], said: dict[str, Any]) -> Sequence[Delta]:
        text = said.get("text")
        text = text if isinstance(text, str) else ""
        choice["text"] = choice.get("text", "") + text
        reason = self._around(choice, said, "text")
        return (Delta({"content": text} if text else {}, reason, index),) if text or reason else ()

    def _spoke(self, choice: Mapping[str, Any]) -> bool:
        return bool(choice["text"])


class ResponseFold(EventFold):
    """A response, which its last event holds whole."""

    def __init__(self) -> None:
        super().__init__()
        self._response: dict[str, Any] = {}
        self._calls: dict[Any, int] = {}  # numbers of the calls, by their places in the output

    def take(self, event: str, said: Any) -> Sequence[Delta]:
        """As `EventFold.take`."""
        if not isinstance(said, dict):
            raise BadResponse("an event of the stream is no object")
        kind = said.get("type")
        kind = kind if kind and isinstance(kind, str) else event
        if kind == "error" or said.get("error"):
            inner = said.get("error")
            error = inner if isinstance(inner, dict) else {k: v for k, v in said.items() if k != "type"}
            self.error = status_of(error), {"error": error}
            return ()
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            return self._ended(said.get("response"))
        piece = said.get("delta")
        if isinstance(piece, str) and piece:
            if name := _DELTAS_OF_RESPONSES.get(kind):
                return (Delta({name: piece}),)
            place = said.get("output_index")
            number = self._calls.get(place) if type(place) is int else None
            if kind == "response.function_call_arguments.delta" and number is not None:
                return (Delta({"tool_calls": [{"index": number, "function": {"arguments": piece}}]}),)
        item = said.get("item")
        if kind == "response.output_item.added" and isinstance(item, dict):
            return self._called(item, said.get("output_index"))
        return ()

    def whole(self) -> dict[str, Any]:
        """As `EventFold.whole`."""
        return self._response

    def _ended(self, response: Any) -> Sequence[Delta]:
        if not isinstance(response, dict):
            raise BadResponse("the last event of the stream holds no response")
        if response.get("error"):
            self.error = status_of(response["error"]), response
            return ()
        self._response, self.complete = response, True
        reason = responses_end(response)
        return (Delta({}, reason),) if reason else ()

    def _called(self, item: dict[str, Any], place: Any) -> Sequence[Delta]:
        if item.get("type") != "function_call" or type(place) is not int:
            return ()
        number = self._calls.setdefault(place, len(self._calls))
        function = {"name": item.get("name"), "arguments": item.get("arguments") or ""}
        call = {"index": number, "id": item.get("call_id"), "type": "function", "function": function}
        return (Delta({"tool_calls": [call]}),)


_FOLDS: Mapping[str, Callable[[], Fold]] = {CHAT: ChatFold, COMPLETIONS: TextFold, RESPONSES: ResponseFold}


def fold_of(endpoint: str) -> Callable[[], Fold]:
    """What makes a fold of an endpoint's streams.

    Raises:
        InvalidRequest: it has none.
    """
    fold = _FOLDS.get(endpoint)
    if fold is None:
        raise InvalidRequest(f"{endpoint} gives no streams; its answers come whole")
    return fold


def _merge(known: dict[str, Any], key: str, value: Any) -> None:
    """Add a piece to what is known: texts and lists grow, objects by their keys, the rest is replaced."""
    before = known.get(key)
    if value is None or before is None or key in _ONCE:
        if value is not None or key not in known:
            known[key] = value
    elif isinstance(before, str) and isinstance(value, str):
        known[key] = before + value
    elif isinstance(before, list) and isinstance(value, list):
        known[key] = _joined(before, value)
    elif isinstance(before, dict) and isinstance(value, dict):
        known[key] = merged = dict(before)
        for inner, more in value.items():
            _merge(merged, inner, more)
    else:
        known[key] = value


def _joined(known: list[Any], pieces: list[Any]) -> list[Any]:
    """A list that grows, or whose numbered items do (OpenRouter's `reasoning_details`)."""
    joined = list(known)
    for piece in pieces:
        number = piece.get("index") if isinstance(piece, dict) else None
        place = next(
            (
                place
                for place, item in enumerate(joined)
                if number is not None and isinstance(item, dict) and item.get("index") == number
            ),
            None,
        )
        if place is None:
            joined.append(piece)
        else:
            joined[place] = grown = dict(joined[place])
            for key, value in piece.items():
                _merge(grown, key, value)
    return joined


def _add_calls(message: dict[str, Any], pieces: Any) -> None:
    """Pieces of calls, each by its number; one without a number is a whole call, or goes on with the last."""
    known = message.get("tool_calls")
    calls: list[dict[str, Any]] = known if isinstance(known, list) else []
    message["tool_calls"] = calls
    if not isinstance(pieces, list) or not all(isinstance(piece, dict) for piece in pieces):
        raise BadResponse("a tool call of the stream is none")
    for piece in pieces:
        index = piece.get("index")
        call = next((one for one in calls if index is not None and one.get("index") == index), None)
        function = piece.get("function")
        if index is None and calls and not (isinstance(function, dict) and function.get("name")):
            call = calls[-1]
        if call is None:
            call = {}
            calls.append(call)
        elif isinstance(function, dict) and _names_again(call, function):
            piece = {**piece, "function": {key: said for key, said in function.items() if key != "name"}}
        for key, value in piece.items():
            _merge(call, key, value)


def _names_again(call: Mapping[str, Any], function: Mapping[str, Any]) -> bool:
    """Whether a piece repeats the whole name, as some servers do with each."""
    before = call.get("function")
    name = function.get("name")
    return isinstance(before, dict) and bool(name) and before.get("name") == name
