"""Which endpoints have answered: known to all members when one of them knows."""

import pytest

from fastbatch import OpenAIProvider
from fastbatch.engine.crew.reached import Reached
from fastbatch.engine.lane import Lane


@pytest.fixture
def lanes():
    return [Lane(OpenAIProvider("key", base_url=f"http://{n}.test/v1", env={})) for n in range(2)]


@pytest.fixture
def told():
    return []


@pytest.fixture
def reached(told):
    return Reached(told.append)


def test_what_answers_is_told_once(reached, lanes, told):
    """By the number of its lane."""
    reached.begin(lanes)
    reached.look()
    lanes[1].weather.answered(1.0)
    reached.look()
    reached.look()
    assert told == [1]


@pytest.mark.parametrize("heard_first", [True, False])
def test_what_has_answered_others_is_waited_for_as_long(reached, lanes, told, heard_first):
    """More than the 30 seconds for what may be a wrong address; before there are lanes, or after."""
    if heard_first:
        reached.hear([0])
    reached.begin(lanes)
    for lane in lanes:
        lane.weather.failed("connect", now=0.0)
        lane.weather.failed("connect", now=0.0)
    reached.hear([0])
    assert [lane.weather.over(31.0) for lane in lanes] == [False, True]
    assert lanes[0].weather.over(601.0)
    reached.look()
    assert told == []
