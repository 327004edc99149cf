"""Limits that change, storms and outages, in virtual time: what was known is found again soon."""

from __future__ import annotations

import pytest
from virtual import Bucket, Client, Fixed, InFlight, Sliding, Storm, Unlimited, drive

from fastbatch.limits.adaptive import Adaptive

KINDS = {"sliding": Sliding, "bucket": Bucket, "fixed": Fixed}


def client(concurrency: int) -> Client:
    """One that has never heard of the server."""
    return Client(Adaptive(ceiling=concurrency, slow_start=True), concurrency)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stated", ["none", "exact", "whole"])
@pytest.mark.parametrize("limit", [1000, 3000])
def test_a_limit_that_halves_and_comes_back_is_found_within_a_window(kind, stated, limit):
    """From one window after each change most of the new limit is used, and hardly more is refused."""
    server = KINDS[kind](limit, 60.0)
    one = client(1000)

    def become(new):
        return lambda: setattr(server, "limit", new)

    changes = [(378.0, become(limit // 2)), (738.0, become(limit))]
    drive([one], server, until=1080.0, latency=(0.2, 0.8), stated=stated, changes=changes)
    halved = one.rate(438, 738) * 60 / (limit // 2)
    back = one.rate(798, 1080) * 60 / limit
    assert min(halved, back) >= 0.8, (halved, back)
    assert (halved + back) / 2 >= 0.85, (halved, back)
    assert one.share_refused(60) <= 0.03


@pytest.mark.parametrize("stated", ["none", "exact"])
def test_after_a_storm_an_unlimited_server_gets_its_rate_at_once(stated):
    """Thirty seconds of refusals cost a few tries; ten seconds later everything goes as before."""
    one = client(64)
    drive([one], Storm(60.0, 90.0), until=150.0, latency=(0.3, 1.5), stated=stated)
    before = one.rate(30, 60)
    assert sum(60.1 <= at < 90 for at in one.refused) <= 25  # of 4,000 before them
    assert one.rate(100, 110) >= 0.9 * before
    assert one.rate(110, 150) >= 0.9 * before


@pytest.mark.parametrize(
    "load", [(64, (0.04, 0.06)), (64, (0.3, 1.5)), (1000, (0.3, 1.5)), (1000, (3.0, 7.0))]
)
@pytest.mark.parametrize("begins", [0.3, 1.0, 3.0, 10.0, 25.0])
@pytest.mark.parametrize("lasts", [2.0, 5.0, 15.0, 30.0])
@pytest.mark.parametrize("way", [(0.001, 0.004), (0.1, 0.2)])
def test_a_storm_soon_after_the_start_is_not_taken_for_a_full_window(load, begins, lasts, way):
    """However little was let in before it: from ten seconds after it everything goes as before."""
    concurrency, (short, long) = load
    one, ends = client(concurrency), begins + lasts
    drive([one], Storm(begins, ends), until=ends + 40, latency=(short, long), way=way)
    tried = begins + 0.1 + 2 * sum(way)  # before that came what was on its way
    assert sum(tried <= at < ends for at in one.refused) <= 25
    alone = concurrency / ((short + long) / 2 + sum(way))
    assert one.rate(ends + 10, ends + 40) >= 0.85 * alone
    assert len([at for at in one.refused if at >= ends]) == 0


@pytest.mark.parametrize("at", [72.0, 85.0, 100.0, 110.0])
def test_an_outage_while_a_window_is_made_sure_of_is_not_taken_for_its_length(at):
    """Whatever was going on when the endpoint came back: two minutes later the window is used."""
    one = client(64)
    drive(
        [one],
        Sliding(1000, 60.0),
        until=900.0,
        latency=(0.3, 0.7),
        changes=[(at, lambda: one.adaptive.reopen(at))],
    )
    assert one.rate(240, 900) * 60 / 1000 >= 0.9


class Idle(Adaptive):
    """With nothing to send from `begins` on, for two hours."""

    begins = 0.0

    def allows(self, in_flight: int, now: float) -> bool:
        return not self.begins <= now < self.begins + 7200 and super().allows(in_flight, now)

    def next_change(self, in_flight: int, now: float) -> float:
        return max(now, self.begins + 7200) if now >= self.begins else super().next_change(in_flight, now)


@pytest.mark.parametrize("begins", [10.0, 30.0, 61.0, 70.0, 100.0, 300.0])
def test_two_hours_without_work_are_not_taken_for_a_window(begins):
    """A notebook: the next batch gets the limit from its second minute on."""
    adaptive = Idle(ceiling=64, slow_start=True)
    adaptive.begins = begins
    one = Client(adaptive, 64)
    drive([one], Sliding(1000, 60.0), until=begins + 7200 + 900, latency=(0.3, 0.7))
    again = begins + 7200
    assert one.rate(again + 120, again + 900) * 60 / 1000 >= 0.9
    assert one.share_refused(again) <= 0.03


@pytest.mark.parametrize(("most", "latency"), [(20, (20.0, 40.0)), (20, (1.0, 2.0)), (50, (5.0, 10.0))])
def test_a_bound_on_the_number_in_flight_is_no_window(most, latency):
    """It is found at the price of a few tries: who is refused beside as many as before is beside too many."""
    one = client(1000)
    drive([one], InFlight(most), until=120.0, latency=latency)
    assert len(one.refused) <= 25
    assert one.rate(0, 120) >= 0.9 * most / (sum(latency) / 2)


def test_a_second_storm_while_the_first_is_looked_into_is_over_when_it_is_over():
    """Nobody waits for the end of a window that is none."""

    class Two(Storm):
        def judge(self, now):
            rehearsal = one.adaptive._rehearsal
            if self.again is None and rehearsal is not None and rehearsal.likely:
                self.again = now
            if self.again is not None and self.again <= now < self.again + 2:
                return 1.0
            return super().judge(now)

    one, server = client(64), Two(25.0, 145.0)
    server.again = None
    drive([one], server, until=300.0, latency=(0.3, 1.5))
    assert server.again is not None
    first = min(at for at in one.accepted if at > server.again + 0.1)
    assert first <= server.again + 7.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stated", ["none", "exact"])
def test_after_a_storm_the_rate_that_was_found_before_is_taken_up(kind, stated):
    """A pace that has held for minutes is not forgotten: most of it is back within ten seconds."""
    one = client(64)
    server = Storm(400.0, 430.0, KINDS[kind](2000, 60.0))
    drive([one], server, until=500.0, latency=(0.3, 1.5), stated=stated)
    before = one.rate(340, 400)
    assert sum(400.1 <= at < 430 for at in one.refused) <= 12
    assert one.rate(440, 450) >= 0.8 * before


def test_a_storm_while_nothing_is_known_yet_is_survived():
    """Refused from the first request on: a try every few seconds, then slow start as ever."""
    one = client(64)
    drive([one], Storm(0.0, 60.0), until=100.0, latency=(0.3, 1.5))
    assert len([at for at in one.refused if at < 60]) <= 8 + 20
    assert one.rate(80, 100) >= 0.8 * 64 / 0.92


def test_after_an_outage_it_rises_again_from_a_few():
    """What was learned stands, but not everything leaves at once."""
    adaptive = Adaptive(ceiling=64, slow_start=False)
    assert adaptive.concurrency == 64
    adaptive.left(0.0)
    adaptive.dropped(1.0)
    adaptive.reopen(10.0)
    assert adaptive.concurrency == 8
    assert not adaptive.allows(8, 10.0)
    assert adaptive.allows(63, 10.7)


def test_without_slow_start_and_without_limits_nothing_is_held_back():
    """Who declared limits gets the ceiling at once."""
    one = Client(Adaptive(ceiling=1000, slow_start=False), 1000)
    drive([one], Unlimited(), until=0.01, latency=(3.0, 7.0))
    assert (one.most, one.adaptive.waiting_reason()) == (1000, "")


@pytest.mark.parametrize("stall", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("try_", [1, 2, 3])
@pytest.mark.parametrize("begins", [0.05, 0.3])
def test_a_refusal_that_comes_late_is_one_all_the_same(begins, try_, stall):
    """A try in a storm is refused while our machine stands still: the pace is as before soon after it."""
    ends, latency, way = begins + 6.0, (0.02, 0.06), (0.005, 0.03)

    def storm(stalls):
        one = Client(Adaptive(ceiling=16, slow_start=False), 16)
        drive([one], Storm(begins, ends), until=ends + 14, latency=latency, way=way, stalls=stalls)
        return one

    tries = [at for at in storm([]).refused if at > begins + 0.1]
    late = tries[try_ - 1]
    one = storm([(late, late + stall)])
    assert one.rate(ends + 8, ends + 14) >= 0.85 * 16 / (sum(latency) / 2 + sum(way))
