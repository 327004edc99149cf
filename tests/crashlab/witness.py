"""The provider of a job in a process of its own: it counts what arrives for each row, and it may kill."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import NamedTuple

import orjson
from crashlab.board import Board
from crashlab.inputs import first_word

from fastbatch.simulator import Simulator, SimulatorConfig
from fastbatch.simulator.provider import Incoming
from fastbatch.simulator.replies import Reply
from fastbatch.simulator.thread import new_loop

_LOOK_AGAIN = 0.001  # seconds between two looks for connections that are still open


class Seen(NamedTuple):
    """Requests by their first word: `arrived` whatever became of them, `paid` those that got an answer.

    An answer is paid for when its request has arrived, whether or not anybody is there to receive it.
    """

    arrived: Counter[str]
    paid: Counter[str]


class Witness:
    """A simulator forked from this process; ends with it."""

    def __init__(self, config: SimulatorConfig, board: Board) -> None:
        self._ours, theirs = Pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._ours.close()
            try:
                with asyncio.Runner(loop_factory=new_loop) as runner:
                    runner.run(_serve(config, board, theirs))
            finally:
                os._exit(0)
        theirs.close()
        self.base_url: str = self._ours.recv()

    def seen(self) -> Seen:
        """Everything that arrived so far, asked when no connection is open any more."""
        self._ours.send(None)
        seen: Seen = self._ours.recv()
        return seen

    def close(self) -> None:
        """End it."""
        self._ours.close()
        os.waitpid(self._pid, 0)


async def _serve(config: SimulatorConfig, board: Board, parent: Connection) -> None:
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    seen = Seen(Counter(), Counter())
    simulator = Simulator(config)
    provider = simulator._provider
    provider.receive = _counting(provider.receive, seen, board, loop)  # type: ignore[method-assign]

    def answer() -> None:
        """Everything a dead client has sent is read before its connection counts as closed."""
        if provider.open_connections:
            loop.call_later(_LOOK_AGAIN, answer)
        else:
            parent.send(seen)

    def asked() -> None:
        try:
            parent.recv()
        except EOFError:
            loop.remove_reader(parent.fileno())
            over.set_result(None)
        else:
            answer()

    async with simulator:
        loop.add_reader(parent.fileno(), asked)
        parent.send(simulator.base_url)
        await over


def _counting(
    receive: Callable[[Incoming], Reply], seen: Seen, board: Board, loop: asyncio.AbstractEventLoop
) -> Callable[[Incoming], Reply]:
    def kill() -> None:
        if board.pid:
            os.kill(board.pid, signal.SIGKILL)

    def counted(request: Incoming) -> Reply:
        reply = receive(request)
        word = first_word(orjson.loads(request.body))
        seen.arrived[word] += 1
        seen.paid[word] += reply.answer
        board.arrived += 1
        if board.arrived == board.kill_at:
            if board.kill_after:
                loop.call_later(board.kill_after / 1e6, kill)
            else:
                kill()
        return reply

    return counted
