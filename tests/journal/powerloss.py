"""The folder of a run after its power failed, at any byte: played from a `Recording`.

The model is harder than file systems are. What was written and not synced may be there or not, sector by
sector, with any end between the old one and the new one; names may be old ones, in the order in which they
changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from journal.recording import Event

SECTOR = 512

Files = dict[str, bytes]


class _File:
    """A file as this process sees it, and as it is on the disk."""

    __slots__ = ("durable", "seen")

    def __init__(self, seen: bytes = b"", durable: bytes = b"") -> None:
        self.seen = seen
        self.durable = durable


class Disk:
    """The files of a folder while events are played."""

    def __init__(self, before: Files) -> None:
        self._files = [_File(data, data) for data in before.values()]
        self._names = {name: number for number, name in enumerate(before)}
        self._durable_names = dict(self._names)
        self._named: list[dict[str, int]] = []  # what the names were after each change since the last sync

    def play(self, event: Event) -> None:
        """Let one thing happen."""
        what, name = event.what, event.name
        if what in ("made", "image"):
            self._names[name] = len(self._files)
            self._files.append(_File(event.data, event.data))
        elif what == "write":
            file = self._files[self._names[name]]
            file.seen = file.seen[: event.at] + event.data
        elif what == "cut":
            file = self._files[self._names[name]]
            file.seen = file.seen[: event.at]
        elif what == "sync":
            file = self._files[self._names[name]]
            file.durable = file.seen
        elif what == "rename":
            self._names[event.to] = self._names.pop(name)
        elif what == "unlink":
            del self._names[name]
        elif what == "folder":
            self._durable_names = dict(self._names)
            self._named.clear()
        if what in ("made", "image", "rename", "unlink"):
            self._named.append(dict(self._names))

    def killed(self) -> Files:
        """What the end of the process leaves: everything that was written."""
        return {name: self._files[number].seen for name, number in self._names.items()}

    def lost(self) -> Files:
        """What a power failure leaves at least: only what was synced."""
        return {name: self._files[number].durable for name, number in self._durable_names.items()}

    def torn(self, dice: Random) -> Files:
        """What it may leave: some of the rest, in sectors, and some of the changes of names."""
        names = dice.choice([self._durable_names, *self._named])
        return {name: _torn(self._files[number], dice) for name, number in names.items()}


def _torn(file: _File, dice: Random) -> bytes:
    if file.seen == file.durable:
        return file.seen
    longest = max(len(file.seen), len(file.durable))
    end = dice.choice(
        (longest, len(file.seen), dice.randint(min(len(file.seen), len(file.durable)), longest))
    )
    share = dice.choice((0.0, 0.1, 0.5, 0.9, 1.0))
    made = bytearray()
    for start in range(0, end, SECTOR):
        kept = file.seen if dice.random() < share else file.durable
        made += kept[start : start + SECTOR].ljust(SECTOR, b"\0")
    return bytes(made[:end])


class Crash(NamedTuple):
    """One end of a run: after `events` whole ones and `part` bytes of the next; `how` it ended."""

    events: int
    part: int
    how: str
    files: Files


def crashes(
    before: Files, events: list[Event], dice: Random, *, bytes_apart: int, tears: int
) -> Iterator[Crash]:
    """Every end: behind each event, and inside each write every `bytes_apart` bytes from a random one on.

    Each once killed, once with all that was not synced lost, and `tears` times with some of it.
    """
    disk = Disk(before)
    for number, event in enumerate(events):
        parts = [0]
        if event.what == "write":
            parts += range(dice.randint(1, bytes_apart), len(event.data), bytes_apart)
        for part in parts:
            now = disk
            if part:
                now = _copy(disk)
                now.play(event._replace(data=event.data[:part]))
            yield Crash(number, part, "killed", now.killed())
            yield Crash(number, part, "lost", now.lost())
            for _ in range(tears):
                yield Crash(number, part, "torn", now.torn(dice))
        disk.play(event)
    yield Crash(len(events), 0, "killed", disk.killed())
    yield Crash(len(events), 0, "lost", disk.lost())


def _copy(disk: Disk) -> Disk:
    new = Disk({})
    new._files = [_File(file.seen, file.durable) for file in disk._files]
    new._names, new._durable_names = dict(disk._names), dict(disk._durable_names)
    new._named = list(disk._named)
    return new
