"""The quota is used and not overshot, in any weather: real sockets, strict limits, short windows.

Windows are 1.5 s instead of a minute and latencies shortened with them, because what a request's way takes
of a window cannot be used. `python3 dev.py quota` plays the same at full length.
"""

import json

import pytest
from commandline import fastbatch, write_rows
from quotalab.scene import Scene, play

from fastbatch import Limits, Window
from fastbatch.simulator import SimulatedLimit, SimulatorConfig, Spell

PER = 1.5
LIMIT = 600
LATENCY = 0.01  # 0.4 s, if the window were a minute
HALVED = Spell(kind="limits", begins=2 * PER, lasts=2 * PER)


def scene(
    *,
    windows=3.1,
    kind="sliding",
    declared=None,
    per=PER,
    amount=LIMIT,
    concurrency=256,
    patience=30.0,
    **config,
):
    """A job of so many windows against a server with one limit."""
    limit = SimulatedLimit(requests=amount, per=per, kind=kind)
    return Scene(
        rows=int(windows * amount),
        limit=limit,
        declared=declared,
        concurrency=concurrency,
        patience=patience,
        config=SimulatorConfig(limits=(limit,), latency=LATENCY, latency_sigma=0.3, **config),
    )


def told(outcome):
    """The outcome, its figures printed (`-s` shows them); no row of any scene may fail."""
    print("\n" + outcome.told())
    assert outcome.failed == 0
    return outcome


# Declared


@pytest.mark.parametrize("kind", ["sliding", "bucket"])
def test_a_declared_limit_is_used_and_never_refused(kind):
    """No request is refused, and 97 per cent of the limit are used over three windows."""
    outcome = told(play(scene(kind=kind, declared=Limits(windows=(Window(requests=LIMIT, per=PER),)))))
    assert outcome.stats.refused_429 == 0
    assert outcome.use(0, 3 * PER) >= 0.97
    assert outcome.record.busiest(PER) <= LIMIT


def test_a_declared_limit_that_is_checked_by_the_second():
    """The same against a server that also checks every second, when both windows are declared."""
    windows = (Window(requests=LIMIT, per=2.0), Window(requests=LIMIT // 2, per=1.0))
    outcome = told(play(scene(per=2.0, declared=Limits(windows=windows), sub_window=1.0)))
    assert outcome.stats.refused_429 == 0
    assert outcome.use(0, 3 * 2.0) >= 0.97
    assert outcome.record.busiest(1.0) <= LIMIT // 2


# Hidden, and told in the headers


@pytest.mark.parametrize("kind", ["sliding", "bucket", "fixed"])
def test_limits_are_learned_from_headers(kind):
    """With nothing declared at most one request in a hundred is refused, and 95 per cent are used."""
    outcome = told(play(scene(kind=kind)))
    assert outcome.refused <= 0.01
    assert outcome.use(0, 3 * PER) >= 0.95


def test_a_limit_that_halves_and_comes_back_is_followed():
    """One window after each change in the headers the new limit is used to 95 per cent."""
    outcome = told(play(scene(windows=5.1, weather=(HALVED,))))
    assert outcome.use(3 * PER, 4 * PER, factor=0.5) >= 0.95
    assert outcome.use(5 * PER, 6 * PER) >= 0.95
    assert outcome.refused <= 0.03


# Hidden, and told by nobody. The first touch of the limit costs about what is in flight, so that it must be
# small beside a window, as 64 are beside any limit a minute that is worth waiting for.


SILENT = {"amount": 900, "concurrency": 64, "limit_headers": "none", "retry_after": False}


@pytest.mark.parametrize(("kind", "retry_after"), [("sliding", True), ("sliding", False), ("bucket", False)])
def test_limits_are_found_without_headers(kind, retry_after):
    """Without a word about limits at most three in a hundred are refused, and soon 85 per cent are used."""
    windows = 5.1 if kind == "bucket" else 4.1  # a bucket gives a window's worth more at the start
    outcome = told(play(scene(windows=windows, **SILENT | {"kind": kind, "retry_after": retry_after})))
    assert outcome.refused <= 0.03
    assert outcome.use(PER, 4 * PER) >= 0.85


def test_a_hidden_limit_that_halves_and_comes_back_is_found():
    """From one window after each change on the new limit is used to 85 per cent, without a word about it.

    A window of four seconds: finding takes some, however short a window is. Over several of them, since what
    filled one in one go leaves it in one go.
    """
    per = 4.0
    halved = Spell(kind="limits", begins=2.5 * per, lasts=4 * per)
    outcome = told(play(scene(windows=7.2, per=per, weather=(halved,), patience=70.0, **SILENT)))
    assert outcome.use(3.5 * per, 6.5 * per, factor=0.5) >= 0.85
    assert outcome.use(7.5 * per, 9 * per) >= 0.85
    assert outcome.refused <= 0.03


# The command line, with nothing said at all


def by_command_line(folder, *options):
    """Runs a scene as a person types it."""

    def run(given, base_url):
        write_rows(folder / "rows.jsonl", *given.prompts())
        ran = fastbatch(
            *("run", "rows.jsonl", "-o", "out.jsonl", "-m", "openai:m", "--base-url", base_url),
            *("--concurrency", given.concurrency, "--progress", "json", *options),
            cwd=folder,
            timeout=60,
        )
        assert ran.code == 0, ran.err
        return json.loads(ran.err.splitlines()[-1])["ok"]

    return run


def test_the_command_line_needs_no_configuration(tmp_path):
    """A person who declares nothing gets 95 per cent of a limit that only the headers tell of."""
    outcome = told(play(scene(), by_command_line(tmp_path)))
    assert outcome.refused <= 0.01
    assert outcome.use(0, 3 * PER) >= 0.95


# Weather


def stormy(*spells, windows=4, trouble=0.0, patience=15.0, **config):
    """A job of four windows of a second under a declared limit, in bad weather."""
    limit = SimulatedLimit(requests=LIMIT, per=1.0)
    return Scene(
        rows=windows * LIMIT,
        limit=limit,
        declared=Limits(windows=(Window(requests=LIMIT, per=1.0),)),
        trouble=trouble,
        patience=patience,
        config=SimulatorConfig(limits=(limit,), latency=LATENCY, weather=spells, **config),
    )


@pytest.mark.parametrize("kind", ["outage", "refuse"])
def test_an_outage_costs_its_time_and_nothing_else(kind):
    """Two seconds of nobody home: no row fails, few requests are lost, and soon all is as before."""
    outcome = told(play(stormy(Spell(kind=kind, begins=1.5, lasts=2.0), trouble=2.0)))
    assert outcome.attempts <= 1.15
    assert outcome.lasted <= outcome.ideal + 3.0


@pytest.mark.parametrize("retry_after", [None, 0.5])
def test_a_storm_of_refusals_passes(retry_after):
    """Two seconds of 429 for everybody cost at most a fifth more requests, and soon all is as before."""
    spell = Spell(kind="429", begins=5.5, lasts=2.0, retry_after=retry_after)
    outcome = told(play(stormy(spell, windows=10, trouble=2.0)))
    assert outcome.attempts <= 1.2
    assert outcome.use(spell.ends + 2.0, spell.ends + 3.0) >= 0.8


def test_one_in_ten_fails():
    """With 500 for a tenth of all requests each row is answered, at 1.2 requests a row."""
    outcome = told(play(stormy(failure_rates={"500": 0.1}, failures_per_row=None)))
    assert outcome.attempts <= 1.2


def test_every_second_is_refused_for_no_reason():
    """With 429 for half of all requests each row is answered, at 2.1 requests a row."""
    outcome = told(play(stormy(patience=25.0, failure_rates={"429": 0.5}, failures_per_row=None)))
    assert outcome.attempts <= 2.1
