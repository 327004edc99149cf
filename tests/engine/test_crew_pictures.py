"""Several members' pictures as one."""

from dataclasses import replace
from math import inf

import orjson
import pytest

from fastbatch.engine.clock import SystemClock
from fastbatch.engine.crew.pictures import Pictures, write_picture
from fastbatch.engine.events import Counters, Meter
from fastbatch.models.money import dollars
from fastbatch.models.stats import Bill, Saturation, Weather


def told(sent, *, in_flight=0, used=0.0, waiting_for="", bill=None, **weather):
    """What a member tells."""
    blank = Meter(Counters(), SystemClock()).picture()
    limits = (Saturation("requests", used, 10.0, inf, None, learned=True),)
    picture = replace(
        blank,
        sent=sent,
        in_flight=in_flight,
        saturation=limits,
        waiting_for=waiting_for,
        weather=Weather(**weather),
        bill=bill or Bill(),
    )
    return orjson.loads(orjson.dumps(write_picture(picture)))


@pytest.fixture
def counters():
    return Counters()


@pytest.fixture
def pictures(counters):
    return Pictures(counters)


def test_counters_are_sums(pictures, counters):
    """Of the newest picture of each."""
    pictures.take(1, told(3, in_flight=2, refused=1))
    pictures.take(2, told(4, in_flight=1))
    pictures.take(1, told(5, in_flight=0, refused=2))
    assert (counters.sent, counters.in_flight, counters.refused) == (9, 1, 2)


def test_what_a_member_sent_stays_sent_when_it_is_gone(pictures, counters):
    """What it had in flight does not; its successor counts from nothing."""
    pictures.take(1, told(3, in_flight=2, outage=4.0))
    pictures.gone(1)
    assert (counters.sent, counters.in_flight) == (3, 0)
    pictures.take(1, told(2, in_flight=1))
    assert (counters.sent, counters.in_flight) == (5, 1)
    assert pictures.weather().outage == 4.0


def test_what_was_sent_is_known_without_a_picture(pictures, counters):
    """With each frame of rows; and what a member that died had under way was sent, too."""
    pictures.sent(1, 4, 1)
    assert (counters.sent, counters.retries) == (4, 1)
    pictures.take(1, told(5))
    pictures.sent(1, 9, 2)
    pictures.sent(2, 1, 0)
    assert (counters.sent, counters.retries) == (10, 2)
    pictures.gone(1, 3, 1)
    assert (counters.sent, counters.retries) == (13, 3)
    pictures.sent(1, 2, 0)
    assert (counters.sent, counters.retries) == (15, 3)


def test_what_is_doubtful_and_what_is_not_in_the_cost(pictures, counters):
    """Sums, whatever their size, and which models have no price, each once."""
    much = dollars(2**80)
    pictures.take(1, told(1, bill=Bill(doubts=1, doubtful=much, untold=2, lacking=("a", "b"))))
    pictures.take(2, told(1, bill=Bill(untold=1, lacking=("b", "c"))))
    pictures.gone(1)
    assert (counters.doubts, counters.doubtful, counters.untold) == (1, 2**80, 3)
    assert tuple(counters.lacking) == ("a", "b", "c")


def test_limits_are_looked_at_together(pictures):
    """All members look at one account; the fullest look is the latest; the last one stays."""
    pictures.take(1, told(1, used=3.0))
    pictures.take(2, told(1, used=5.0))
    assert pictures.limits == (Saturation("requests", 5.0, 10.0, inf, None, learned=True),)
    pictures.gone(2)
    pictures.gone(1)
    assert [limit.used for limit in pictures.limits] == [3.0]


def test_everybody_stands_still_when_each_one_does(pictures):
    """One that goes on is enough for the run to go on."""
    pictures.take(1, told(0, waiting_for="limit of 5 requests"))
    pictures.take(2, told(0))
    assert pictures.waiting_for == ""
    pictures.take(2, told(0, waiting_for="limit of 5 requests"))
    assert pictures.waiting_for == "limit of 5 requests"


def test_weather_is_that_of_all(pictures):
    """Paces add up, the slowest is the slowest."""
    pictures.take(1, told(0, pace=2.0, latency_p50=0.1, latency_p99=0.5))
    pictures.take(2, told(0, pace=3.0, latency_p50=0.2, latency_p99=0.4))
    weather = pictures.weather()
    assert (weather.pace, weather.latency_p50, weather.latency_p99) == (5.0, 0.2, 0.5)
