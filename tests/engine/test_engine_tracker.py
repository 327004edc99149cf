"""A run's newest picture, for programs that look."""

import pytest
from fakes import FakeTransport, asks, manager_on, refusal

from fastbatch import ProgressTracker, RunStopped


async def test_it_holds_the_last_picture_of_a_run():
    """Before, during and after: title, counts, and that it is over."""
    tracker = ProgressTracker()
    assert (tracker.snapshot, tracker.running, tracker.title) == (None, False, "")
    seen = []
    manager = manager_on(FakeTransport(), progress=tracker)
    async for _ in manager.stream(asks("a", "b")):
        seen.append(tracker.running)
    assert seen == [True, True]
    assert tracker.snapshot is not None
    assert (tracker.snapshot.ok, tracker.running, tracker.stopped) == (2, False, "")
    assert tracker.title


async def test_it_says_why_a_run_stopped():
    """The sentence of the exception stands on the tracker too."""
    tracker = ProgressTracker()
    with pytest.raises(RunStopped) as stopped:
        await manager_on(FakeTransport(lambda call: refusal(401)), progress=tracker).run_async(asks("a"))
    assert tracker.stopped == str(stopped.value)
