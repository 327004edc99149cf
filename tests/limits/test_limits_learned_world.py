"""Hidden limits that headers state, in virtual time: the whole quota is used and hardly anything refused.

Against sliding windows, buckets and fixed windows, which write their headers at their decision or with the
reply, round them to milliseconds or to whole seconds, and let requests overtake each other. What left before
anything was heard is nobody's fault: it is left aside in the refusals.
"""

from __future__ import annotations

from itertools import product
from random import Random

import pytest
from headers_world import METERS, Server, World

from fastbatch.limits.cost import Cost

# Limit, seconds of the window, latency of answers, concurrency. In each the latency is short beside the
# window (but for one that shows what transit costs) and the concurrency reaches the limit.
LOADS = [
    (20, 1.0, (0.005, 0.01), 64),
    (300, 1.0, (0.05, 0.1), 1000),
    (3000, 1.0, (0.005, 0.01), 1000),
    (20, 5.0, (0.05, 0.2), 64),
    (300, 5.0, (0.05, 0.2), 1000),
    (20, 60.0, (5, 20), 1000),
    (300, 60.0, (0.5, 1), 64),
    (3000, 60.0, (2, 5), 1000),
]
KINDS = sorted(METERS)


def world(
    kind: str,
    load: tuple[int, float, tuple[float, float], int],
    *,
    rounding: str = "ms",
    at_reply: bool = False,
    others: float = 0.0,
    seed: int = 0,
) -> World:
    limit, per, latency, concurrency = load
    return World(
        Server(kind, {"requests": limit}, per, rounding=rounding, at_reply=at_reply),
        concurrency=concurrency,
        latency=latency,
        way=(0.001, min(0.02, per / 50)),
        others=others,
        seed=seed,
    )


def best(per: float, latency: tuple[float, float]) -> float:
    """The part of limit × time that can be used: a place comes back one window after its reply.

    Of a reply that takes longer than a request's longest way (2 s) one window after that.
    """
    return per / (per + min(2.0, sum(latency) / 2 + min(0.04, per / 25)))


@pytest.mark.parametrize("at_reply", [False, True])
@pytest.mark.parametrize("rounding", ["ms", "s up", "s down"])
@pytest.mark.parametrize("load", LOADS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_steady_limits(
    kind: str, load: tuple[int, float, tuple[float, float], int], rounding: str, at_reply: bool
) -> None:
    """At most 1 % refused and 95 % of what can be used, over eight windows from the first request on."""
    limit, per, latency, _ = load
    run = world(kind, load, rounding=rounding, at_reply=at_reply).run(8 * per)
    assert run.refusals <= 0.01
    assert run.used(0, 8 * per) >= 0.95 * best(per, latency)
    (term,) = run.learned.terms()
    assert (term.what, term.limit) == ("requests", limit)
    assert term.per == pytest.approx(per, rel=0.25 if rounding != "ms" and per < 10 else 0.05)


@pytest.mark.parametrize("at_reply", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_many_requests_a_minute(kind: str, at_reply: bool) -> None:
    """Ten thousand a minute, a thousand at once, answers of half a second to a second."""
    run = world(kind, (10_000, 60.0, (0.5, 1), 1000), at_reply=at_reply).run(240.0)
    assert run.refusals <= 0.01
    assert run.used(0, 240.0) >= 0.95
    assert run.learned.terms()[0].per == 60.0


@pytest.mark.parametrize("at_reply", [False, True])
@pytest.mark.parametrize("load", [(300, 5.0, (0.05, 0.1), 64), (3000, 60.0, (0.5, 1), 1000)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_another_client_uses_the_same_key(
    kind: str, load: tuple[int, float, tuple[float, float], int], at_reply: bool
) -> None:
    """It asks for 30 % of the quota all the time: hardly one of ours is refused, and nothing lies idle."""
    limit, per, _, _ = load
    run = world(kind, load, at_reply=at_reply, others=0.3).run(10 * per)
    assert run.refusals <= 0.01
    assert run.server.counted["requests"] >= 0.95 * limit * 10
    if kind == "bucket":
        assert run.others_refused == 0


@pytest.mark.parametrize("at_reply", [False, True])
@pytest.mark.parametrize("load", [(300, 5.0, (0.05, 0.1), 64), (1000, 1.0, (0.005, 0.01), 64)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_that_halves_and_comes_back(
    kind: str, load: tuple[int, float, tuple[float, float], int], at_reply: bool
) -> None:
    """From one window after each change at least 85 % of the new limit is used, and 1 % refused in all."""
    limit, per, latency, _ = load
    run = world(kind, load, at_reply=at_reply)
    meter = run.server.meters["requests"]

    def now_allows(most: int) -> None:
        meter.limit = most

    run.events += [(3.3 * per, lambda: now_allows(limit // 2)), (11.3 * per, lambda: now_allows(limit))]
    run.run(20 * per)
    assert run.refusals <= 0.01
    # A window is used in one burst, so that a stretch holds one burst more or less than it has windows.
    assert 2 * run.used(4.3 * per, 11.3 * per) >= 0.85 * best(per, latency)
    assert run.used(12.3 * per, 20 * per) >= 0.85 * best(per, latency)


def tokens(dice: Random) -> Cost:
    """A prompt of any size and a stated maximum."""
    return Cost(dice.randint(100, 900), 200)


@pytest.mark.parametrize("at_reply", [False, True])
@pytest.mark.parametrize(
    ("limit", "of_tokens", "per", "latency", "concurrency"),
    [
        (300, 150_000, 5.0, (0.05, 0.1), 64),
        (3000, 1_000_000, 60.0, (2, 5), 1000),
        (300, 10**7, 5.0, (0.05, 0.1), 64),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_requests_and_tokens_at_once(
    kind: str,
    limit: int,
    of_tokens: int,
    per: float,
    latency: tuple[float, float],
    concurrency: int,
    at_reply: bool,
) -> None:
    """Whichever is the tighter one is used up, and neither refuses."""
    server = Server(kind, {"requests": limit, "tokens": of_tokens}, per, at_reply=at_reply)
    run = World(server, concurrency=concurrency, latency=latency, way=(0.001, 0.02), cost=tokens).run(6 * per)
    assert run.refusals <= 0.01
    shares = [server.counted[what] / (most * 6) for what, most in server.limits.items()]
    assert max(shares) >= 0.95 * best(per, latency)


def test_a_server_that_keeps_what_was_not_used() -> None:
    """It counts all of `max_tokens`, we were told that it gives back: nothing stalls, few are refused."""
    for kind, at_reply in product(KINDS, (False, True)):
        server = Server(kind, {"requests": 3000, "tokens": 1_000_000}, 60.0, at_reply=at_reply)
        run = World(
            server, concurrency=1000, latency=(2, 5), way=(0.001, 0.02), cost=tokens, settles=0.3
        ).run(360.0)
        assert run.refusals <= 0.01
        assert server.counted["tokens"] >= 0.92 * 6_000_000


@pytest.mark.parametrize("at_reply", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_documented_windows_need_no_reading(kind: str, at_reply: bool) -> None:
    """Where a provider documents the minute, the first reply is enough."""
    run = world(kind, (300, 60.0, (0.5, 1), 64), rounding="s down", at_reply=at_reply)
    run.server.states_per = True
    run.run(240.0)
    assert run.refusals <= 0.01
    assert run.used(0, 240.0) >= 0.95


@pytest.mark.parametrize("seed", range(20))
def test_other_dice(seed: int) -> None:
    """Random kinds, loads, roundings and writers of headers, each with its own ways and latencies."""
    dice = Random(seed)
    kind, load = dice.choice(KINDS), dice.choice(LOADS)
    rounding, at_reply = dice.choice(["exact", "ms", "s up", "s down"]), dice.random() < 0.5
    run = world(kind, load, rounding=rounding, at_reply=at_reply, seed=seed).run(8 * load[1])
    assert run.refusals <= 0.01
    assert run.used(0, 8 * load[1]) >= 0.95 * best(load[1], load[2])
