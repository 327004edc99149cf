"""`--mode batch` by a clock that is turned: splitting, sharing, failures, expiry, deadlines, going on."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from batchfakes import Bureau, Office, names, rows, turned
from fakes import Collected, SharedCache

from fastbatch import OpenAIProvider, RetryPolicy
from fastbatch.engine.batches import filling, opening, shelf
from fastbatch.errors import ConfigError, ConnectFailed, ConnectionLost, OutputError, RunStopped
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.providers.anthropic import AnthropicProvider
from fastbatch.simulator.incoming import Incoming
from fastbatch.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


async def test_rows_are_answered_by_one_batch(tmp_path: Path, clock: ManualClock) -> None:
    """Every row has its answer, nothing was asked online, and nothing but the output is left."""
    office, bureau = Office(tmp_path, rows(50)), Bureau(clock, seconds=3600)
    summary = await office.run(bureau)
    assert (summary.ok, summary.batched, summary.batches) == (50, 50, 0)
    assert office.ids == names(50)
    assert office.modes == {"batch": 50}
    assert (bureau.stats.batches["created"], bureau.stats.batches["answered"]) == (1, 50)
    assert bureau.online == 0
    assert office.files == ["out.jsonl", "rows.jsonl"]


async def test_answers_stand_with_their_rows(tmp_path: Path, clock: ManualClock) -> None:
    """Results come in another order than requests; each says what its row asked, with its columns."""
    given = [{**row, "colour": f"c{n}"} for n, row in enumerate(rows(40))]
    office = Office(tmp_path, given)
    await office.run(Bureau(clock, seconds=60), options={"ordered": True})
    assert [line["custom_id"] for line in office.lines] == names(40)
    for n, line in enumerate(office.lines):
        said = line["response"]["body"]["choices"][0]["message"]["content"]
        assert re.search(rf"What is {n}\b", said)
        assert line["metadata"] == {"colour": f"c{n}"}


async def test_rows_of_other_forms_come_back_whole(tmp_path: Path, clock: ManualClock) -> None:
    """Without ids, with columns that are carried, with a failure: records are as those of a run online."""
    given = [{"prompt": f"What is {n}?", "colour": f"c\t{n}"} for n in range(8)]
    given[3]["model"] = "gone"
    lines: dict[str, list[dict[str, Any]]] = {}
    for mode in ("online", "batch"):
        (tmp_path / mode).mkdir()
        office = Office(tmp_path / mode, given)
        await office.run(Bureau(clock, models=("m",)), options={"mode": mode, "ordered": True})
        lines[mode] = [*office.lines, *office.errors]
        for line in lines[mode]:
            line.get("response", {}).update(request_id=None, body=None)
            for measured in ("latency_s", "crc", "at", "mode", "cost_usd"):
                line["fastbatch"].pop(measured, None)
    assert len(lines["batch"]) == 8
    assert lines["batch"] == lines["online"]


async def test_looks_become_rarer(tmp_path: Path, clock: ManualClock) -> None:
    """A batch of a day is looked at every minute or so, not every two seconds."""
    office, bureau = Office(tmp_path, rows(3)), Bureau(clock, seconds=36_000)
    await office.run(bureau)
    assert 600 <= bureau.paths["GET batches"] <= 700


async def test_identical_rows_share_one_request(tmp_path: Path, clock: ManualClock) -> None:
    """Of fifty rows that ask ten things ten are bought, and the first of each has the answer as its own."""
    office, bureau = Office(tmp_path, rows(50, different=10)), Bureau(clock)
    summary = await office.run(bureau)
    assert (summary.ok, summary.shared, summary.batched) == (50, 40, 10)
    assert bureau.stats.batches["answered"] == 10
    own = [line["custom_id"] for line in office.lines if not line["fastbatch"]["shared"]]
    assert sorted(own) == names(10)


async def test_hashes_that_only_look_alike_are_told_apart(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were all requests of one number, each row still had its own answer."""
    monkeypatch.setattr(shelf, "key_number", lambda key: 7)
    office, bureau = Office(tmp_path, rows(4)), Bureau(clock)
    await office.run(bureau)
    for line in office.lines:
        said = line["response"]["body"]["choices"][0]["message"]["content"]
        assert re.search(rf"What is {int(line['custom_id'][-4:])}\b", said)
    assert bureau.stats.billed_again == 0


async def test_samples_buy_one_each(tmp_path: Path, clock: ManualClock) -> None:
    """Asked for samples, identical rows share nothing."""
    office, bureau = Office(tmp_path, rows(6, different=1)), Bureau(clock)
    await office.run(bureau, identical="sample")
    assert bureau.stats.batches["answered"] == 6


async def test_the_cache_answers_first_and_keeps_what_was_bought(tmp_path: Path, clock: ManualClock) -> None:
    """What a batch has answered is not bought again by the next output."""
    cache, bureau = SharedCache(), Bureau(clock)
    await Office(tmp_path, rows(20)).run(bureau, cache=cache)
    (tmp_path / "other").mkdir()
    second = Office(tmp_path / "other", rows(25))
    summary = await second.run(bureau, cache=cache)
    assert (summary.ok, summary.cached, summary.batched) == (25, 20, 5)
    assert bureau.stats.batches["answered"] == 25


async def test_batches_are_cut_by_the_bounds(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By rows, by bytes, and one for each model."""
    given = [{**row, "model": f"m{n % 2}"} for n, row in enumerate(rows(60))]
    office, bureau = Office(tmp_path, given), Bureau(clock)
    monkeypatch.setattr(filling, "_SIZE", 2500)  # about twelve lines
    await office.run(bureau)
    assert office.ids == names(60)
    assert bureau.stats.batches["created"] == 4


async def test_a_row_that_no_batch_can_ask_goes_online(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is too large for a batch; the others are not."""
    monkeypatch.setattr(filling, "_SIZE", 1000)
    office, bureau = Office(tmp_path, [*rows(3), {"id": "row-0003", "prompt": "x" * 2000}]), Bureau(clock)
    await office.run(bureau)
    assert office.ids == names(4)
    assert office.modes == {"batch": 3, "online": 1}


@pytest.mark.parametrize("kind", ["500", "503", "429", "timeout", "error", "empty"])
async def test_passing_failures_are_asked_again(tmp_path: Path, clock: ManualClock, kind: str) -> None:
    """A third of the rows fail once; another batch answers them, and no row is paid for twice."""
    office, bureau = Office(tmp_path, rows(60)), Bureau(clock, failure_rates={kind: 0.3})
    summary = await office.run(bureau)
    assert (summary.ok, summary.failed) == (60, 0)
    assert office.modes == {"batch": 60}
    assert bureau.stats.batches["created"] == 2
    assert bureau.stats.billed_again == 0


async def test_what_fails_in_three_batches_is_asked_online(tmp_path: Path, clock: ManualClock) -> None:
    """Then the attempts that are left are made there; each attempt counts."""
    office = Office(tmp_path, rows(4))
    bureau = Bureau(clock, failure_rates={"500": 1.0}, failures_per_row=3)
    await office.run(bureau)
    assert office.modes == {"online": 4}
    assert {line["fastbatch"]["attempts"] for line in office.lines} == {4}
    assert bureau.stats.batches["created"] == 3


async def test_attempts_have_an_end(tmp_path: Path, clock: ManualClock) -> None:
    """With two attempts a row that fails in two batches is a failed row."""
    office = Office(tmp_path, rows(4))
    bureau = Bureau(clock, failure_rates={"500": 1.0}, failures_per_row=None)
    summary = await office.run(bureau, retry=RetryPolicy(attempts=2))
    assert (summary.ok, summary.failed) == (0, 4)
    assert {record["error"]["attempts"] for record in office.errors} == {2}
    assert bureau.online == 0


async def test_final_refusals_fail_their_rows(tmp_path: Path, clock: ManualClock) -> None:
    """An unknown model is a row's failure; the errors file has the row as it was."""
    given = [{**row, "model": "gone" if n == 1 else "m"} for n, row in enumerate(rows(4))]
    office, bureau = Office(tmp_path, given), Bureau(clock, models=("m",))
    summary = await office.run(bureau)
    assert (summary.ok, summary.failed) == (3, 1)
    assert [(record["custom_id"], record["error"]["class"]) for record in office.errors] == [
        ("row-0001", "NotFound")
    ]
    assert not office.batches.exists()


async def test_expired_rows_go_into_another_batch(tmp_path: Path, clock: ManualClock) -> None:
    """At 60 % a batch expires; what it has answered is taken, the rest asked again, nothing paid twice."""
    office, bureau = Office(tmp_path, rows(100)), Bureau(clock, seconds=1000, share=0.6, expires=2000)
    summary = await office.run(bureau)
    assert summary.ok == 100
    assert office.ids == names(100)
    assert bureau.stats.batches["created"] > 2
    assert bureau.stats.billed_again == 0


async def test_rows_that_nobody_answers_go_online(tmp_path: Path, clock: ManualClock) -> None:
    """After three batches that expire without one answer."""
    office, bureau = Office(tmp_path, rows(10)), Bureau(clock, seconds=1000, share=0.0, expires=2000)
    await office.run(bureau)
    assert office.modes == {"online": 10}
    assert bureau.stats.batches["created"] == 3


@pytest.mark.parametrize("missing", [("output",), ("errors",)])
async def test_either_file_may_be_missing(
    tmp_path: Path, clock: ManualClock, missing: tuple[Any, ...]
) -> None:
    """Rows that stand in no file are asked again, in batches and at last online."""
    office = Office(tmp_path, rows(30))
    bureau = Bureau(clock, seconds=100, share=0.5, expires=200, missing=missing)
    summary = await office.run(bureau, options={"deadline": 4000})
    assert summary.ok == 30
    assert office.ids == names(30)
    assert bureau.stats.billed_again == 0


@pytest.mark.parametrize(
    "spoils",
    [
        lambda body: b"<html>\n<body>Please log in</body>\n</html>\n",
        lambda body: b"<br>\n" * 100,
        lambda body: b"",
        lambda body: body[: len(body) // 2],
        lambda body: b"<br>" + body,
    ],
)
@pytest.mark.parametrize("times", [1, 3, 5])
async def test_results_that_cannot_be_read_are_fetched_again(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, spoils: Any, times: int
) -> None:
    """Their rows were paid for: none is asked a second time while nothing is to be read, or there is hope."""
    office, bureau, fetches = Office(tmp_path, rows(20)), Bureau(clock), count(1)
    plain = bureau._ask

    def ask(call: HTTPCall) -> HTTPReply:
        reply = plain(call)
        if call.url.endswith("/content") and next(fetches) <= times:
            return reply._replace(body=spoils(reply.body))
        return reply

    monkeypatch.setattr(bureau, "_ask", ask)
    some_can_be_read = b"custom_id" in spoils(b'{"custom_id": "r"}\n' * 2)
    if times == 5 and some_can_be_read:
        assert (await office.run(bureau)).ok == 20
        assert bureau.stats.batches["created"] == 2
        return
    if times == 5:
        with pytest.raises(RunStopped, match="cannot be had"):
            await office.run(bureau)
    assert (await office.run(bureau)).ok == 20
    assert bureau.stats.batches["created"] == 1


async def test_the_deadline_finishes_online(tmp_path: Path, clock: ManualClock) -> None:
    """In time batches are cancelled; half of the rows are theirs, the others are asked online."""
    office, bureau = Office(tmp_path, rows(100)), Bureau(clock, seconds=8000, cancel_seconds=300)
    began = clock.time()
    summary = await office.run(bureau, options={"deadline": "90m"})
    assert summary.ok == 100
    assert clock.time() - began < 5400
    assert 30 < office.modes["batch"] < 70
    assert office.modes["online"] == 100 - office.modes["batch"]
    assert bureau.stats.billed_again == 0


async def test_a_deadline_that_has_passed_sends_all_online(tmp_path: Path, clock: ManualClock) -> None:
    """Nothing is submitted any more."""
    office, bureau = Office(tmp_path, rows(5)), Bureau(clock)
    await office.run(bureau, options={"deadline": "2001-01-01T00:00"})
    assert office.modes == {"online": 5}
    assert bureau.stats.batches["created"] == 0


async def test_declared_tokens_wait_for_each_other(tmp_path: Path, clock: ManualClock) -> None:
    """No more than so many tokens are at the provider at once, which is never asked for more."""
    office, bureau = Office(tmp_path, rows(60)), Bureau(clock, seconds=50, tokens=300)
    await office.run(bureau, options={"batch_tokens": 150})
    assert office.ids == names(60)
    assert bureau.stats.batches["created"] >= 3
    assert bureau.stats.batches["answered"] == 60


async def test_without_a_word_batches_become_smaller(tmp_path: Path, clock: ManualClock) -> None:
    """A batch that the account has no room for is cut in two until there is."""
    office, bureau = Office(tmp_path, rows(60)), Bureau(clock, seconds=50, tokens=200)
    await office.run(bureau)
    assert office.ids == names(60)
    assert bureau.stats.billed_again == 0


async def test_an_answer_without_its_shape_is_asked_again_online(tmp_path: Path, clock: ManualClock) -> None:
    """It was paid for, and its tokens are the row's."""
    shape = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    office, bureau = Office(tmp_path, rows(30)), Bureau(clock, failure_rates={"invalid": 0.4})
    summary = await office.run(bureau, response_format=shape)
    assert summary.ok == 30
    assert 5 < office.modes["online"] < 25
    assert summary.usage.reasks == office.modes["online"]


async def test_failed_looks_are_repeated(tmp_path: Path, clock: ManualClock) -> None:
    """An hour without the provider costs an hour, and nothing else."""
    office, bureau = Office(tmp_path, rows(10)), Bureau(clock, seconds=600)
    began = clock.time()

    def away(call: Any) -> None:
        if began + 100 < clock.time() < began + 3700:
            raise ConnectFailed("nobody is there")

    bureau.before = away
    heard = Collected()
    assert (await office.run(bureau, progress=heard)).ok == 10
    told = {event.snapshot.waiting_for for event in heard.events if hasattr(event, "snapshot")}
    assert "openai, which cannot be asked just now: nobody is there" in told
    assert bureau.stats.batches["created"] == 1


async def test_a_refused_key_stops_the_run(tmp_path: Path, clock: ManualClock) -> None:
    """As online; the next run, with the right one, goes on."""
    office, bureau = Office(tmp_path, rows(10)), Bureau(clock, require_key="another")
    with pytest.raises(RunStopped, match="key"):
        await office.run(bureau)
    bureau = Bureau(clock)
    assert (await office.run(bureau)).ok == 10


async def test_a_quota_that_is_used_up_stops_the_run(tmp_path: Path, clock: ManualClock) -> None:
    """What was answered is kept; with more credit the next run asks the others, and those alone."""
    office, bureau = Office(tmp_path, rows(20)), Bureau(clock, stop_after=12)
    with pytest.raises(RunStopped, match="quota") as stopped:
        await office.run(bureau)
    assert stopped.value.summary is not None
    assert stopped.value.summary.ok == 12
    bureau = Bureau(clock)
    assert (await office.run(bureau)).ok == 8
    assert office.ids == names(20)
    assert bureau.stats.batches["answered"] == 8


@pytest.mark.parametrize("size", [500, 1 << 20])
async def test_what_no_batch_may_cost_is_said(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Rows beyond the budget are not left open without a word, whether they filled a batch or not."""
    monkeypatch.setattr(filling, "_SIZE", size)
    given = [{**row, "model": "gpt-4o-mini", "max_tokens": 9} for row in rows(5)]
    office, bureau = Office(tmp_path, given), Bureau(clock)
    with pytest.raises(RunStopped, match="budget"):
        await office.run(bureau, budget_usd="0.000001")
    assert bureau.stats.batches["created"] == 0


async def test_after_a_line_at_fault_batches_are_large_again(tmp_path: Path, clock: ManualClock) -> None:
    """What has to be asked later goes together, however small the batches were that found it."""
    office, bureau = Office(tmp_path, rows(16)), Bureau(clock)
    bureau.changes = spoiled("What is 7?")
    run = office.begin(bureau)
    summary = await turned(clock, run.run())
    assert summary is not None
    assert (summary.ok, summary.failed) == (15, 1)
    assert bureau.stats.batches["created"] == 9
    assert run._batches is not None
    assert run._batches._filling.most_rows == 50_000


async def test_drained_it_goes_on_at_the_provider(tmp_path: Path, clock: ManualClock) -> None:
    """The next run collects it and buys nothing."""
    office, bureau = Office(tmp_path, rows(30)), Bureau(clock, seconds=3600)
    run = office.begin(bureau)
    bureau.drains(run)
    summary = await turned(clock, run.run())
    assert (summary.interrupted, summary.batches, summary.ok) == (True, 1, 0)
    summary = await office.run(bureau)
    assert (summary.ok, summary.batched) == (30, 30)
    assert bureau.stats.batches["created"] == 1
    assert bureau.stats.billed_again == 0
    assert not office.batches.exists()


async def test_drained_among_its_results_it_goes_on_with_them(tmp_path: Path, clock: ManualClock) -> None:
    """Rows that are on record stay so, the others are taken from what was fetched."""
    office, bureau = Office(tmp_path, rows(1500)), Bureau(clock)

    class Forgetful(SharedCache):
        """Keeps nothing, and has the run drained at its third block of answers."""

        blocks = 0

        async def put_many(self, entries: Any) -> None:
            self.blocks += 1
            if self.blocks == 3:
                run.drain()

    run = office.begin(bureau, cache=Forgetful(), concurrency=8)
    summary = await turned(clock, run.run())
    assert summary is not None
    assert (summary.interrupted, 0 < summary.ok < 1500) == (True, True)
    before = len(bureau.calls)
    assert (await office.run(bureau)).ok == 1500 - summary.ok
    assert len(bureau.calls) == before
    assert office.ids == names(1500)


async def test_a_changed_input_keeps_what_still_holds(tmp_path: Path, clock: ManualClock) -> None:
    """Of a batch that is under way rows that went are dropped, rows that changed or came are bought."""
    office, bureau = Office(tmp_path, rows(10)), Bureau(clock, seconds=3600)
    run = office.begin(bureau)
    bureau.drains(run)
    await turned(clock, run.run())
    changed = [*rows(12)[2:], {"id": "row-0001", "prompt": "Something else?"}]
    office.write(changed)
    heard = Collected()
    await office.run(bureau, progress=heard)
    assert any(getattr(event, "text", "").startswith("2 answers of batches") for event in heard.events)
    assert office.ids == names(12)[1:]
    assert bureau.stats.batches["answered"] == 10 + 3
    [line] = [line for line in office.lines if line["custom_id"] == "row-0001"]
    assert "Something else" in line["response"]["body"]["choices"][0]["message"]["content"]


async def test_a_run_of_some_rows_leaves_the_answers_of_the_others(
    tmp_path: Path, clock: ManualClock
) -> None:
    """What a batch has answered to rows beyond the limit is there for the run that reads them."""
    office, bureau = Office(tmp_path, rows(10)), Bureau(clock, seconds=3600)
    run = office.begin(bureau)
    bureau.drains(run)
    await turned(clock, run.run())
    assert (await office.run(bureau, options={"limit": 3})).ok == 3
    assert office.batches.exists()
    assert (await office.run(bureau)).ok == 7
    assert bureau.stats.batches["answered"] == 10
    assert office.files == ["out.jsonl", "rows.jsonl"]


async def test_open_batches_are_not_run_online(tmp_path: Path, clock: ManualClock) -> None:
    """Their rows would be paid for twice; nor are they asked of another endpoint."""
    office, bureau = Office(tmp_path, rows(10)), Bureau(clock, seconds=3600)
    run = office.begin(bureau)
    bureau.drains(run)
    await turned(clock, run.run())
    with pytest.raises(OutputError, match="--mode batch"):
        await office.run(bureau, options={"mode": "online"})
    elsewhere = OpenAIProvider("key", base_url="http://elsewhere.test/v1", env={})
    with pytest.raises(OutputError, match="under way at openai"):
        await office.run(bureau, provider=elsewhere)
    assert (await office.run(bureau)).ok == 10


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_submission_without_an_answer_is_looked_for(
    tmp_path: Path, clock: ManualClock, lost: int
) -> None:
    """Batches of which nobody heard that they were begun are found by their name."""
    office, bureau = Office(tmp_path, rows(10)), Bureau(clock, lose_replies=lost)
    assert (await office.run(bureau)).ok == 10
    assert bureau.stats.batches["created"] == 1


async def test_a_submission_that_never_arrived_is_made_again(tmp_path: Path, clock: ManualClock) -> None:
    """Not found, after a while, it is not there."""
    office, bureau = Office(tmp_path, rows(10)), Bureau(clock)
    losses = [1]

    def lose(call: Any) -> None:
        if call.method == "POST" and call.url.endswith("/batches") and losses:
            losses.pop()
            raise ConnectionLost("gone")

    bureau.before = lose
    assert (await office.run(bureau)).ok == 10
    assert bureau.stats.batches["created"] == 1


async def test_what_waits_is_told(tmp_path: Path, clock: ManualClock) -> None:
    """The display hears of the batches, and how many requests are done."""
    office, bureau, heard = Office(tmp_path, rows(20)), Bureau(clock, seconds=1000), Collected()
    await office.run(bureau, progress=heard)
    told = {event.snapshot.waiting_for for event in heard.events if hasattr(event, "snapshot")}
    assert any("1 batch at openai, 0 of 20 requests done" in each for each in told)


async def test_a_batch_refused_as_a_whole_is_cut_in_two(tmp_path: Path, clock: ManualClock) -> None:
    """Until the line at fault stands alone; here nothing is, once they are short enough."""
    office, bureau = Office(tmp_path, rows(40)), Bureau(clock, rows=10)
    summary = await office.run(bureau)
    assert (summary.ok, summary.failed) == (40, 0)
    assert bureau.stats.billed_again == 0


async def test_a_line_that_its_batch_is_refused_for_fails_alone(tmp_path: Path, clock: ManualClock) -> None:
    """The others are answered by batches that do not hold it."""
    office, bureau = Office(tmp_path, rows(40)), Bureau(clock)

    bureau.changes = spoiled("What is 7?")
    summary = await office.run(bureau)
    assert (summary.ok, summary.failed) == (39, 1)
    assert [record["custom_id"] for record in office.errors] == ["row-0007"]
    assert bureau.stats.billed_again == 0


def spoiled(asked: str) -> Callable[[HTTPCall], HTTPCall]:
    """Makes the line that asks this one for which a batch is refused."""

    def line(text: bytes) -> bytes:
        return text.replace(b'"method":"POST"', b'"method":"GET"') if asked.encode() in text else text

    return lambda call: call._replace(body=b"\n".join(map(line, call.body.split(b"\n"))))


async def test_what_every_batch_is_refused_for_fails_all_rows(tmp_path: Path, clock: ManualClock) -> None:
    """After a few that were refused as a whole nobody looks for a single line at fault any more."""
    office, bureau = Office(tmp_path, rows(300)), Bureau(clock)
    bureau.changes = lambda call: call._replace(body=call.body.replace(b'"method":"POST"', b'"method":"GET"'))
    summary = await office.run(bureau)
    assert (summary.ok, summary.failed) == (0, 300)
    assert bureau.stats.batches["created"] < 20


async def test_where_no_names_are_kept_answers_tell_whose_a_batch_is(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Somebody else's batch of as many requests is looked at, and left alone."""
    bureau = Bureau(clock, lose_replies=1, seconds=30)
    office = Office(tmp_path, [{**row, "max_tokens": 9} for row in rows(3)])
    others = count(1)

    def another(call: HTTPCall) -> None:
        if call.method == "POST" and call.url.endswith("/batches") and next(others) == 1:
            bureau.after = lambda call: None
            clock.advance(1.0)
            params = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Mine?"}]}
            body = {"requests": [{"custom_id": f"x{n}", "params": params} for n in range(3)]}
            bureau._ask(call._replace(body=json.dumps(body).encode()))

    bureau.after = another
    provider = AnthropicProvider("key", base_url="http://fake.test", env={})
    summary = await office.run(bureau, provider=provider)
    assert summary.ok == 3
    assert bureau.stats.batches["created"] == 2
    assert bureau.stats.batches["answered"] == 6


async def test_what_was_fetched_of_somebody_else_is_left_alone_later_too(
    tmp_path: Path, clock: ManualClock
) -> None:
    """A run that died before it looked whose results it had fetched leaves them to the next one."""
    bureau = Bureau(clock, lose_replies=1, seconds=1000)
    office = Office(tmp_path, [{**row, "max_tokens": 9} for row in rows(3)])
    provider = AnthropicProvider("key", base_url="http://fake.test", env={})
    run = office.begin(bureau, provider=provider)
    bureau.drains(run)
    await turned(clock, run.run())
    bureau.after = lambda call: None
    other = {"custom_id": "x1", "result": {"type": "canceled"}}
    (office.batches / "1.results").write_text(json.dumps(other) + "\n")
    assert (await office.run(bureau, provider=provider)).ok == 3
    assert bureau.stats.batches["created"] == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [({"workers": 2}, "workers"), ({"streamed": True}, "stream")],
)
def test_what_batches_cannot_do_is_refused(
    tmp_path: Path, clock: ManualClock, options: dict[str, Any], why: str
) -> None:
    """Before anything is looked at."""
    with pytest.raises(ConfigError, match=why):
        Office(tmp_path, rows(1)).begin(Bureau(clock), **options)


async def test_a_cancelled_batch_stops_the_run(tmp_path: Path, clock: ManualClock) -> None:
    """Whoever cancels it while a run waits wants no other one; the next run asks what is left."""
    office, bureau = Office(tmp_path, rows(20)), Bureau(clock, seconds=1000)
    looks = count(1)

    def cancel(call: Any) -> None:
        if call.method == "GET" and "/batches/" in call.url and next(looks) == 10:
            path = urlsplit(call.url).path + "/cancel"
            bureau.provider.receive(Incoming("POST", path, None, b"", clock.time()))

    bureau.after = cancel
    with pytest.raises(RunStopped, match="was cancelled"):
        await office.run(bureau)
    bureau.after = lambda call: None
    assert (await office.run(bureau)).total == 20
    assert office.ids == names(20)
    assert bureau.stats.billed_again == 0


async def test_where_names_are_kept_a_nameless_batch_is_nobodys_of_ours(
    tmp_path: Path, clock: ManualClock
) -> None:
    """A submission that never arrived is not looked for among those of others: it is made again."""
    bureau = Bureau(clock, seconds=30)
    office = Office(tmp_path, rows(3))
    begins = count(1)

    def lost(call: HTTPCall) -> None:
        if call.method == "POST" and call.url.endswith("/batches") and next(begins) == 1:
            given = json.loads(call.body)
            bureau.before = lambda call: None
            bureau._ask(call._replace(body=json.dumps({**given, "metadata": None}).encode()))  # somebody's
            raise ConnectionLost("the connection broke")

    bureau.before = lost
    summary = await office.run(bureau)
    assert (summary.ok, bureau.stats.batches["created"]) == (3, 2)


async def test_a_clock_that_is_ahead_of_the_providers(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By half an hour: a batch whose beginning nobody heard of is found, and not bought twice."""
    monkeypatch.setattr(opening, "time", SimpleNamespace(time=lambda: time.time() + 1800))
    bureau = Bureau(clock, lose_replies=1, seconds=30)
    office = Office(tmp_path, [{**row, "max_tokens": 9} for row in rows(3)])
    provider = AnthropicProvider("key", base_url="http://fake.test", env={})
    summary = await office.run(bureau, provider=provider)
    assert (summary.ok, bureau.stats.batches["created"]) == (3, 1)
