"""A transport without a network, and a manager that stands on it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import orjson

from fastbatch import LLMRequest, OpenAIProvider, RequestManager
from fastbatch.errors import RequestError, RequestTimeout, ResponseTooLarge
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.transport.base import MAX_RESPONSE_BYTES
from fastbatch.transport.deadline import Deadline
from fastbatch.transport.timeout import Timeout

Answer = Callable[[HTTPCall], HTTPReply | Awaitable[HTTPReply]]


def prompt_of(call: HTTPCall) -> str:
    """What a chat call asks."""
    return orjson.loads(call.body)["messages"][-1]["content"]


def answer_to(text: str) -> HTTPReply:
    """A chat completion of three prompt and two completion tokens."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
    return HTTPReply(200, {"content-type": "application/json"}, orjson.dumps(body))


def refusal(status: int, code: str | None = None, message: str = "no", **headers: str) -> HTTPReply:
    """An error as OpenAI writes it."""
    body = {"error": {"message": message, "type": "error", "code": code}}
    return HTTPReply(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, orjson.dumps(body)
    )


def echo(call: HTTPCall) -> HTTPReply:
    """The prompt comes back."""
    return answer_to(f"You said {prompt_of(call)}")


class FakeTransport:
    """Answers calls with a function; keeps the contract of a transport (tests/contract).

    `answer` returns a reply, raises one of the transport's errors, or is a coroutine function that does.
    """

    def __init__(self, answer: Answer = echo, *, max_response_bytes: int = MAX_RESPONSE_BYTES) -> None:
        self.answer = answer
        self.calls: list[HTTPCall] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.is_open = False
        self._max_bytes = max_response_bytes

    @property
    def prompts(self) -> list[str]:
        return [prompt_of(call) for call in self.calls]

    async def open(self, *, connections: int) -> None:
        self.is_open = True

    async def send(self, call: HTTPCall, timeout: Timeout) -> HTTPReply:
        if not self.is_open:
            raise RuntimeError("the transport is not open")
        with self._under_way(call):
            try:
                with Deadline(timeout, asyncio.get_running_loop()) as deadline:
                    deadline.enter("first byte")
                    reply = self.answer(call)
                    if inspect.isawaitable(reply):
                        reply = await reply
            except TimeoutError:
                phase = "first byte" if deadline.passed == "first byte" else "total"
                seconds = timeout.first_byte if phase == "first byte" else timeout.total
                raise RequestTimeout(f"no complete reply within {seconds:g} s", phase=phase) from None
            return self._bounded(reply)

    def dispatches(self, url: str) -> bool:
        return self.is_open

    def dispatch(self, call: HTTPCall, timeout: Timeout, answer: Any) -> Sending:
        return Sending(self, call, answer)

    @contextmanager
    def _under_way(self, call: HTTPCall) -> Iterator[None]:
        self.calls.append(call)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    def _bounded(self, reply: HTTPReply) -> HTTPReply:
        if len(reply.body) > self._max_bytes:
            raise ResponseTooLarge(f"the reply is larger than {self._max_bytes} bytes", status=reply.status)
        return reply

    async def close(self) -> None:
        self.is_open = False


class Sending:
    """A call that was dispatched to a fake; it has no deadlines."""

    def __init__(self, transport: FakeTransport, call: HTTPCall, answer: Any) -> None:
        self._transport = transport
        self._answer = answer
        self._task: asyncio.Task[None] | None = None
        self._stack = ExitStack()
        self._stack.enter_context(transport._under_way(call))
        loop = asyncio.get_running_loop()
        try:
            reply = transport.answer(call)
        except RequestError as error:
            loop.call_soon(self._tell, None, error)
        else:
            if inspect.isawaitable(reply):
                self._task = loop.create_task(self._wait(reply))
            else:
                loop.call_soon(self._tell, reply, None)

    def forsake(self, answer: Any) -> None:
        self._stack.close()
        if self._task is not None:
            self._task.cancel()

    async def _wait(self, coming: Awaitable[HTTPReply]) -> None:
        try:
            self._tell(await coming, None)
        except RequestError as error:
            self._tell(None, error)

    def _tell(self, reply: HTTPReply | None, error: RequestError | None) -> None:
        self._stack.close()
        if self._answer.done():
            return
        try:
            if reply is not None:
                self._answer.set_result(self._transport._bounded(reply))
                return
        except RequestError as larger:
            error = larger
        self._answer.set_exception(error)


class Held:
    """Answers that wait until the test lets them go.

    >>> transport = FakeTransport(Held())                           # doctest: +SKIP
    """

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[HTTPReply]] = {}
        self._arrived = asyncio.Event()

    async def __call__(self, call: HTTPCall) -> HTTPReply:
        prompt = prompt_of(call)
        reply = self.waiting[prompt] = asyncio.get_running_loop().create_future()
        self._arrived.set()
        try:
            return await reply
        finally:
            del self.waiting[prompt]

    async def arrived(self, count: int) -> None:
        """Wait until `count` calls are held at once."""
        while len(self.waiting) < count:
            self._arrived.clear()
            await self._arrived.wait()

    def release(self, prompt: str, reply: HTTPReply | Exception | None = None) -> None:
        """Answer one of them."""
        if isinstance(reply, Exception):
            self.waiting[prompt].set_exception(reply)
        else:
            self.waiting[prompt].set_result(reply or answer_to(f"You said {prompt}"))

    def release_all(self) -> None:
        for prompt in list(self.waiting):
            self.release(prompt)


class SharedCache:
    """One process's view of a cache that several share; `SharedCache(other)` is another one's."""

    def __init__(self, other: SharedCache | None = None) -> None:
        self.values: dict[str, bytes] = {} if other is None else other.values
        self.held: set[str] = set() if other is None else other.held

    async def get_many(self, keys: Collection[str]) -> dict[str, bytes]:
        return {key: self.values[key] for key in keys if key in self.values}

    async def put_many(self, entries: Mapping[str, bytes]) -> None:
        self.values.update(entries)

    def claim_many(self, keys: Collection[str]) -> set[str] | None:
        taken = set(keys) - self.held
        self.held |= taken
        return taken

    def release_many(self, keys: Collection[str]) -> None:
        self.held -= set(keys)

    async def close(self) -> None:
        pass


def manager_on(
    transport: Any, *, clock: Any = None, dice: float = 0.0, **options: Any
) -> RequestManager[Any]:
    """A manager whose requests go to `transport`, on `clock` if one is given, with loaded dice."""
    provider = options.pop("provider", None) or OpenAIProvider("key", base_url="http://fake.test/v1", env={})
    options.setdefault("model", "m")
    manager: RequestManager[Any] = RequestManager(provider, transport=lambda: transport, **options)
    changes: dict[str, Any] = {"dice": lambda: dice}
    if clock is not None:
        changes["clock"] = clock
    manager._settings = replace(manager._settings, **changes)
    return manager


def asks(*prompts: str) -> list[LLMRequest]:
    """One chat request a prompt."""
    return [LLMRequest.from_prompt(prompt) for prompt in prompts]


def texts(results: Any) -> list[str | None]:
    """What was answered."""
    return [result.text for result in results]


class Collected:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def notify(self, event: Any) -> None:
        self.events.append(event)
