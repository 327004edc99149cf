"""What a member tells beside its rows: pictures, sentences for people, warnings."""

from __future__ import annotations

import logging

from fastbatch.engine.crew.link import Link
from fastbatch.engine.crew.pictures import write_picture
from fastbatch.engine.crew.reached import Reached
from fastbatch.engine.events import Event, Notice, Outage, Progressed, RunFinished


class Teller:
    """The listener of a member's session: pictures and what else concerns people go to the parent."""

    def __init__(self, link: Link, reached: Reached) -> None:
        self._link = link
        self._reached = reached

    def notify(self, event: Event) -> None:
        """Pass on one event."""
        if isinstance(event, Progressed | RunFinished):
            self._link.send(["picture", write_picture(event.snapshot)])
            self._reached.look()
        elif isinstance(event, Notice):
            self._link.send(["notice", event.text])
        elif isinstance(event, Outage):
            self._link.send(["outage", event.where, event.lasted, event.over])


class Warnings(logging.Handler):
    """Warnings of the library are the parent's to show."""

    def __init__(self, link: Link) -> None:
        super().__init__(logging.WARNING)
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on one warning."""
        self._link.send(["warning", record.name, record.getMessage()])
