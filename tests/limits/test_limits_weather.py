"""The weather of one endpoint by tables: what makes an outage, who may look, and when patience ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch.limits.weather import RowWeather, Weather


def parked(now: float = 0.0, *, answered: bool = True, **options: float) -> Weather:
    """In an outage since `now`, with nobody looking yet."""
    weather = Weather(**options)
    if answered:
        weather.answered(now)
    weather.failed("connect", now)
    assert weather.failed("connect", now)
    return weather


@pytest.mark.parametrize(
    ("failures", "outage"),
    [
        (["connect"], False),
        (["connect"] * 2, True),
        (["down"] * 4, False),
        (["down"] * 5, True),
        (["maybe"] * 4, False),
        (["maybe"] * 5, True),
        (["down", "maybe"] * 2, False),
        (["connect", "down"], False),
        (["connect", "down", "maybe"], True),
        (["down", "connect", "down"], True),
    ],
)
def test_what_makes_an_outage(failures: list[str], outage: bool) -> None:
    """Two refused connections, or five failures in a row; a refused one weighs three."""
    weather = Weather()
    told = [weather.failed(how, 0.0) for how in failures]
    assert told[-1] == weather.parked == outage
    assert weather.allows(0.0) != outage


def test_an_answer_in_between_begins_the_count_anew() -> None:
    """Four failures, an answer, four failures: no outage."""
    weather = Weather()
    for _ in range(10):
        for _ in range(4):
            assert not weather.failed("down", 0.0)
        assert not weather.answered(0.0), "there was none to end"
    assert weather.away(9.0) == 0.0


def test_one_looks_at_a_time() -> None:
    """While a probe is under way nobody else leaves, whatever the time; its end lets the next one go."""
    weather = parked()
    assert [weather.allows(0.24), weather.allows(0.25)] == [False, True]
    assert weather.left()
    assert not weather.allows(99.0)
    assert weather.next_change(99.0) == float("inf")
    weather.failed("down", 1.0)
    weather.ended()
    assert weather.next_change(1.0) == 1.5
    assert weather.allows(1.5)


def test_a_probe_that_was_never_sent_makes_room() -> None:
    """Cancelled before it left: the next one may look at once."""
    weather = parked()
    weather.left()
    weather.ended()
    assert weather.allows(0.25)


def test_a_request_of_fair_weather_is_no_probe() -> None:
    """Who leaves in fair weather ends no probe and begins none."""
    weather = Weather()
    assert not weather.left()
    weather.failed("connect", 0.0)
    weather.failed("connect", 0.0)
    assert weather.allows(0.25)


def test_the_probe_of_an_earlier_outage_counts_as_under_way() -> None:
    """The endpoint answered somebody else and failed again: still one request looks at a time."""
    weather = parked()
    assert weather.left()
    assert weather.answered(1.0, sent=0.5)
    assert not weather.left()
    for _ in range(2):
        weather.failed("connect", 2.0)
    assert not weather.allows(10.0)
    weather.ended()
    assert weather.allows(10.0)


def test_intervals_grow_with_the_outage_to_five_seconds() -> None:
    """Half the time it has lasted: a server that is just starting is found quickly."""
    weather, now, gaps = parked(), 0.0, []
    for _ in range(12):
        due = weather.next_change(now)
        gaps.append(due - now)
        now = due
        weather.left()
        weather.failed("down", now)
        weather.ended()
    assert gaps[0] == gaps[1] == 0.25
    assert gaps[-1] == 5.0
    assert gaps == sorted(gaps)


@pytest.mark.parametrize("order", [(30.0, 0.0), (0.0, 30.0)])
def test_a_stated_wait_is_kept_whoever_fails_after_it(order: tuple[float, float]) -> None:
    """Several fail at once and one of them is told when to come back."""
    weather = Weather()
    for _ in range(4):
        weather.failed("down", 0.0)
    for stated in order:
        weather.failed("down", 0.0, stated)
    assert not weather.allows(29.9)
    assert weather.allows(30.0)


def test_an_answer_clears_a_stated_wait() -> None:
    """The endpoint is back before the time it named: nobody waits for that."""
    weather = parked()
    weather.failed("down", 0.0, 300.0)
    assert weather.answered(1.0)
    assert weather.allows(1.0)
    for _ in range(2):
        weather.failed("connect", 2.0)
    assert weather.allows(2.25)


@pytest.mark.parametrize(("sent", "ends"), [(9.9, False), (10.0, True), (11.0, True)])
def test_what_left_before_an_outage_does_not_end_it(sent: float, ends: bool) -> None:
    """A long generation that ends well while nothing new is taken says nothing of now."""
    weather = parked(10.0)
    assert weather.answered(12.0, sent=sent) == ends
    assert weather.parked != ends


def test_a_first_answer_of_all_ends_everything() -> None:
    """Nobody had been answered before: it shows that the address is right."""
    weather = parked(10.0, answered=False)
    assert weather.answered(12.0, sent=1.0)


@pytest.mark.parametrize(
    ("answered", "max_outage", "patience"),
    [(True, 600.0, 600.0), (False, 600.0, 30.0), (True, 10.0, 10.0), (False, 10.0, 10.0), (True, 0.0, 0.0)],
)
def test_patience(answered: bool, max_outage: float, patience: float) -> None:
    """As long as was asked for; half a minute at most where nobody has ever answered."""
    weather = parked(100.0, answered=answered, max_outage=max_outage)
    assert not weather.over(100.0 + patience)
    assert weather.over(100.1 + patience)
    assert weather.lasted(107.0) == 7.0


@pytest.mark.parametrize(("stated", "over"), [(500.0, True), (9.0, False)])
def test_a_stated_wait_beyond_the_patience_is_not_waited_for(stated: float, over: bool) -> None:
    """Nothing is sent until then, so that nothing else would end the run in time."""
    weather = parked(max_outage=10.0)
    weather.failed("down", 1.0, stated)
    assert weather.over(1.0) == over
    if over:
        assert weather.verdict(1.0) == "asked to wait 500 s"
        weather.begins(20.0)
        assert weather.allows(20.0)


def test_who_says_when_it_is_back_has_the_whole_patience() -> None:
    """A server that is starting and says so is no wrong address."""
    weather = parked(answered=False)
    weather.failed("down", 1.0, 120.0)
    assert not weather.over(1.0)
    assert weather.next_change(1.0) == 121.0


def test_only_an_outage_is_ever_over() -> None:
    """Single failures do not end a run, however long ago the first was."""
    weather = Weather()
    weather.failed("down", 0.0)
    assert not weather.over(1e6)


def test_the_next_run_has_patience_of_its_own() -> None:
    """An outage that ended one run is borne anew by the next; its probe may go at once."""
    weather = parked(0.0)
    assert weather.over(700.0)
    weather.begins(700.0)
    assert not weather.over(1300.0)
    assert weather.over(1300.1)
    assert weather.allows(700.0)
    fair = Weather()
    fair.begins(5.0)
    assert (fair.parked, fair.lasted(9.0)) == (False, 0.0)


def test_what_it_says() -> None:
    """What is wrong, for how long, and when the next try is."""
    weather = Weather()
    assert weather.waiting_reason(0.0) == ""
    for _ in range(5):
        weather.failed("down", 10.0)
    assert weather.waiting_reason(10.0) == "the endpoint has failed for 0 s, next try in 0 s"
    weather.left()
    assert weather.waiting_reason(14.0) == "the endpoint has failed for 4 s, trying again"
    weather.failed("maybe", 20.0)
    weather.ended()
    assert weather.waiting_reason(21.0) == "no answer has come for 11 s, next try in 4 s"
    assert weather.verdict(45.0) == "no answer has come for 35 s"
    assert parked(answered=False).verdict(31.0) == "the endpoint cannot be reached"
    assert parked().verdict(601.0) == "no connection for 601 s"


def test_time_away_adds_up() -> None:
    """All outages together, the one that lasts included."""
    weather = parked(0.0)
    weather.answered(10.0)
    for _ in range(2):
        weather.failed("connect", 100.0)
    assert weather.away(105.0) == 15.0
    weather.answered(120.0)
    assert weather.away(500.0) == 30.0


words = st.sampled_from(["connect", "down", "maybe", "answer", "leave", "end"])


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.tuples(words, st.floats(0, 40)), max_size=60))
def test_in_whatever_order_things_happen_somebody_may_look(story: list[tuple[str, float]]) -> None:
    """It never closes for good: with no probe under way the next look is at most five seconds off."""
    weather, now, out = Weather(), 0.0, 0
    for word, later in story:
        now += later
        if word == "answer":
            weather.answered(now)
        elif word == "leave":
            if weather.allows(now) and weather.left():
                out += 1
        elif word == "end":
            if out:
                out -= 1
                weather.ended()
        else:
            weather.failed(word, now)
        assert out <= 1
        if not out:
            assert weather.next_change(now) <= now + 5.0
            assert weather.allows(max(now, weather.next_change(now)))


def test_failures_of_a_row_count_while_others_are_answered() -> None:
    """Once for each time that somebody was answered in between; nothing, while nobody is."""
    weather, row = Weather(), RowWeather()
    assert [row.counts(weather, now) for now in (0.0, 1.0, 29.9)] == [True, False, False]
    weather.answered(2.0)
    assert [row.counts(weather, now) for now in (30.0, 31.0)] == [True, False]


def test_a_row_that_is_alone_is_counted_every_half_minute() -> None:
    """So that it ends even when nothing shows whether it is the row or the endpoint."""
    weather, row = parked(), RowWeather()
    moments = [now for now in range(0, 200, 5) if row.counts(weather, float(now), probe=now > 0)]
    assert moments == [0, 30, 60, 90, 120, 150, 180]


def test_a_probe_is_no_attempt() -> None:
    """A row that did nothing but look, once, has lost nothing, though others were answered before."""
    weather, row = parked(), RowWeather()
    weather.answers = 1000
    assert [row.counts(weather, now, probe=True) for now in (5.0, 10.0, 34.9, 35.0)] == [
        False,
        False,
        False,
        True,
    ]
