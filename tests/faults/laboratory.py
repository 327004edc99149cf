"""Many faults at once: most of a run's time is waiting, so several nurseries share the machine.

First those that do not mind company; then, four at a time, those whose figures are about time.
"""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from faults import certificates, slowness
from faults.doors import two_runs
from faults.fault import Door, Fault
from faults.invariants import wrong
from faults.nursery import Nursery

_WORKERS, _CALM = 8, 4


class Laboratory:
    """`with Laboratory(folder) as laboratory:` plays faults below `folder` until the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = folder / "authority"
        self._pools = (ThreadPoolExecutor(_WORKERS), ThreadPoolExecutor(_CALM))
        self._mine = threading.local()
        self._nurseries: list[Nursery] = []
        self._numbers = itertools.count()
        self._busy: list[Future[list[str]]] = []

    def begin(self, fault: Fault, door: Door, transport: str) -> Future[list[str]]:
        """Play a fault some time from now; calm ones when all others that were begun before are over."""
        folder = self._folder / f"{next(self._numbers)}"
        if not fault.calm:
            self._busy.append(self._pools[0].submit(self._play, fault, door, transport, folder))
            return self._busy[-1]
        return self._pools[1].submit(self._in_peace, fault, door, transport, folder, list(self._busy))

    def _in_peace(
        self, fault: Fault, door: Door, transport: str, folder: Path, others: list[Future[list[str]]]
    ) -> list[str]:
        for other in others:
            other.exception()
        return self._play(fault, door, transport, folder)

    def _play(self, fault: Fault, door: Door, transport: str, folder: Path) -> list[str]:
        if not hasattr(self._mine, "nursery"):
            self._mine.nursery = Nursery()
            self._nurseries.append(self._mine.nursery)
        folder.mkdir()
        return wrong(*two_runs(fault, door, transport, folder, self._mine.nursery, self._authority))

    def __enter__(self) -> Self:
        self._authority.mkdir()
        if not certificates.MISSING:
            certificates.make(self._authority)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)
        for nursery in self._nurseries:
            nursery.close()
        slowness.closed()
