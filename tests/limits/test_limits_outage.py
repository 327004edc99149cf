"""How long an endpoint may be unreachable, and how often it is tried meanwhile."""

from __future__ import annotations

from fastbatch.limits.outage import Outage


def test_tries_become_rarer_up_to_five_seconds() -> None:
    """Half as long as the outage has lasted: quick for a server that is just starting, then every 5 s."""
    outage = Outage()
    outage.answered()
    times = [0.0, 0.25, 1.0, 3.0, 9.0, 10.0, 500.0]
    assert [outage.refused(now) for now in times] == [0.25, 0.25, 0.5, 1.5, 4.5, 5.0, 5.0]


def test_many_refusals_at_once_make_nobody_wait_longer() -> None:
    """A thousand requests that find the door shut together all come back soon."""
    outage = Outage()
    assert {outage.refused(1.0) for _ in range(1000)} == {0.25}


def test_an_endpoint_that_never_answered_gets_thirty_seconds() -> None:
    """It is most likely a wrong address."""
    outage = Outage()
    assert outage.refused(100.0) == 0.25
    assert outage.refused(130.0) is not None
    assert outage.refused(130.1) is None


def test_one_that_has_answered_gets_ten_minutes() -> None:
    """It will come back; the time counts from the first refusal after an answer."""
    outage = Outage()
    outage.answered()
    assert outage.refused(100.0) == 0.25
    assert outage.refused(700.0) is not None
    assert outage.refused(700.1) is None


def test_any_answer_ends_the_outage() -> None:
    """The next one starts from nothing."""
    outage = Outage()
    outage.refused(0.0)
    outage.refused(10.0)
    assert outage.lasted(10.0) == 10.0
    outage.answered()
    assert outage.lasted(20.0) == 0.0
    assert outage.refused(1000.0) == 0.25
    assert outage.lasted(1001.0) == 1.0
