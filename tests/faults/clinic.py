"""The server of one fault, in a thread of its own: it counts who asks, and lets the fault's act answer."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from faults.fault import Act
from faultserver import FaultServer, Line

T = TypeVar("T")

_TICK = 0.01


class Arrival(NamedTuple):
    """A request as the server counts it; `nth` of this prompt, `at` on the monotonic clock."""

    prompt: str
    nth: int
    at: float
    key: str


@dataclass(frozen=True, slots=True)
class Visit:
    """One request at the server: all that an act needs to know, and what it can do."""

    clinic: Clinic
    line: Line
    prompt: str
    nth: int
    number: int

    @property
    def sick(self) -> bool:
        return self.prompt.startswith("sick")

    @property
    def lasted(self) -> float:
        """Seconds since the first request of the run arrived."""
        return self.line.request.at - self.clinic.arrivals[0].at

    @property
    def key(self) -> str:
        """The key that came with it; hostile servers like to print it."""
        return self.line.request.headers.get("authorization", "").removeprefix("Bearer ")

    async def answer(self, *headers: str, after: float = 0.0) -> None:
        """A good answer."""
        if after:
            await asyncio.sleep(after)
        kind = "Content-Type: application/json"
        await self.line.reply(good_body(self.prompt), "200 OK", kind, *headers)

    async def refuse(self, status: str, code: str | None = None, *headers: str, kind: str = "error") -> None:
        """An error as OpenAI writes it, with the key in it."""
        error = {"message": f"no, not with {self.key}", "type": kind, "code": code}
        body = json.dumps({"error": error}).encode()
        self.clinic.refusals.append(time.monotonic())
        await self.line.reply(body, status, "Content-Type: application/json", *headers)


def good_body(prompt: str) -> bytes:
    """A chat completion that says the prompt again."""
    message = {"role": "assistant", "content": f"You said {prompt}"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return json.dumps({"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()


class Clinic:
    """`with Clinic(act) as clinic:` serves at `clinic.url` until the end.

    Attributes:
        arrivals: every request since the last `heal`, in order.
        refusals: when `Visit.refuse` began to answer.
        late_by: seconds by which a timer of the server's was late at most: the machine is that busy.
        held: seconds that clients stayed with a request that an act had not answered.
        pid: the process that asks, for acts that stop it.
    """

    def __init__(self, act: Act, *, tls: ssl.SSLContext | None = None) -> None:
        self.act: Act | None = act
        self.arrivals: list[Arrival] = []
        self.refusals: list[float] = []
        self.held: list[float] = []
        self.late_by = 0.0
        self.pid = 0
        self._counts: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="clinic")
        self.server = FaultServer(self._behave, tls=tls)
        self.elsewhere = FaultServer(_good)
        self._errands: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"{self.server.url}/v1"

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the server's thread and wait for it."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(timeout=30)

    def later(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something in the background; called in the server's thread."""
        task = self._loop.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    def late(self, seconds: float) -> None:
        """Nobody listens for so long, from now."""

        async def back() -> None:
            await asyncio.sleep(seconds)
            await self.server.open()

        async def away() -> None:
            await self.server.shut()
            self.later(back())

        self.call(away())

    def heal(self, *, plain: bool) -> None:
        """From now on everybody is answered, and counted anew, `plain` without TLS."""

        async def heal() -> None:
            await self.server.shut()
            if plain:
                self.server.tls = None
            self.act = None
            self.arrivals, self.refusals, self.held = [], [], []
            self._counts.clear()
            await self.server.open()

        self.call(heal())

    def _tick(self, due: float) -> None:
        now = self._loop.time()
        self.late_by = max(self.late_by, now - due)
        self._loop.call_later(_TICK, self._tick, now + _TICK)

    async def _behave(self, line: Line) -> None:
        prompt = json.loads(line.request.body)["messages"][-1]["content"]
        self._counts[prompt] += 1
        visit = Visit(self, line, prompt, self._counts[prompt], len(self.arrivals) + 1)
        self.arrivals.append(Arrival(prompt, visit.nth, line.request.at, visit.key))
        await (visit.answer() if self.act is None else self.act(visit))

    def __enter__(self) -> Self:
        self._thread.start()
        self._loop.call_soon_threadsafe(self._tick, float("inf"))
        self.call(self.server.open())
        self.call(self.elsewhere.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async def end() -> None:
            for task in self._errands:
                task.cancel()
            await self.server.close()
            await self.elsewhere.close()

        self.call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _good(line: Line) -> None:
    await line.reply(good_body("elsewhere"))
