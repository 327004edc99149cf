"""`ProgressTracker`: a run's newest picture, for programs that look rather than listen."""

from __future__ import annotations

from collections import deque

from fastbatch.engine.events import Event, Notice, Progressed, RunFinished, RunStarted
from fastbatch.models.stats import Snapshot

_NOTICES = 100


class ProgressTracker:
    """A listener that keeps what it heard last; hand it to a manager and look whenever you like.

    Attributes:
        title: provider and model of the run, empty before it starts.
        snapshot: the newest picture, at most a quarter of a second old; None before the first.
        running: whether a run is under way.
        stopped: why the last run ended early, else empty.
        notices: the latest hundred sentences for people.

    >>> tracker = ProgressTracker()
    >>> manager = RequestManager("local:smollm2", progress=tracker)   # doctest: +SKIP
    >>> tracker.snapshot.done, tracker.snapshot.eta                   # doctest: +SKIP
    """

    def __init__(self) -> None:
        self.title = ""
        self.snapshot: Snapshot | None = None
        self.running = False
        self.stopped = ""
        self.notices: deque[str] = deque(maxlen=_NOTICES)

    def notify(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, Progressed):
            self.snapshot = event.snapshot
        elif isinstance(event, RunStarted):
            self.title, self.running, self.stopped = event.title, True, ""
        elif isinstance(event, RunFinished):
            self.snapshot, self.running, self.stopped = event.snapshot, False, event.stopped
        elif isinstance(event, Notice):
            self.notices.append(event.text)
