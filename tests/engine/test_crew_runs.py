"""Runs whose requests are sent by worker processes: the library's doors, and how such runs end."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import crewfakes
import pytest
from commandline import read_lines, write_rows
from fakes import Collected, FakeTransport, texts

from fastbatch import OpenAIProvider, RequestManager
from fastbatch.engine.crew.forms import write_error
from fastbatch.engine.crew.run import CrewRun
from fastbatch.engine.events import Notice, Progressed, RunFinished, RunStarted
from fastbatch.errors import BadRequest, RunStopped, Uncertain


def manager(transport=FakeTransport, workers=2, **options):
    provider = OpenAIProvider("key", base_url="http://fake.test/v1", env={})
    options = {"model": "m", "concurrency": 8, **options}
    return RequestManager(provider, transport=transport, workers=workers, **options)


def prompts(*texts):
    return [{"prompt": text} for text in texts]


async def test_results_are_those_of_one_process():
    """In their order, each with what it says of itself; identical rows share one call."""
    rows = [{"id": f"r{n}", "prompt": f"{n % 31}", "topic": n} for n in range(62)]
    rows += [{"prompt": "refused"}, {"prompt": 5}]
    one = await manager(crewfakes.mixed, workers=1).run_async(rows)
    two = await manager(crewfakes.mixed).run_async(rows)

    def shown(result):
        error = result.error and (type(result.error), str(result.error), write_error(result.error))
        return (result.index, result.custom_id, result.text, result.key, result.metadata, result.model, error)

    assert list(map(shown, two)) == list(map(shown, one))
    assert sum(result.shared for result in two) == 31
    assert sum(result.usage.total_tokens for result in two) == 31 * 5
    assert isinstance(two[62].error, BadRequest)
    assert two[62].error.request_id == "req-7"


async def test_files_are_those_of_one_process(tmp_path):
    """The records of refused rows too, which hold the whole row."""
    rows = [{"id": f"r{n}", "prompt": str(n), "temperature": 0.5} for n in range(20)]
    rows += [{"id": "no", "prompt": "refused", "temperature": 1}, {"prompt": "refused", "topic": "x"}]
    write_rows(tmp_path / "rows.jsonl", *rows)
    written = []
    for workers in (1, 2):
        output = tmp_path / f"{workers}.jsonl"
        await manager(crewfakes.mixed, workers=workers).run_file_async(tmp_path / "rows.jsonl", output)
        failed = read_lines(output.with_name(output.name + ".errors.jsonl"))
        answered = read_lines(output)
        for line in answered:
            del line["fastbatch"]["latency_s"], line["fastbatch"]["at"], line["fastbatch"]["crc"]
        written.append([sorted(lines, key=lambda line: line["custom_id"]) for lines in (answered, failed)])
    assert written[0] == written[1]
    assert list(map(len, written[0])) == [20, 2]


async def test_a_listener_hears_one_run():
    """Its start, its end, and the sums of all workers."""
    listener = Collected()
    await manager(progress=listener).run_async(prompts(*map(str, range(50))))
    kinds = [type(event) for event in listener.events if not isinstance(event, Progressed)]
    assert kinds == [RunStarted, RunFinished]
    last = listener.events[-1].snapshot
    assert (last.ok, last.sent, last.in_flight, last.total) == (50, 50, 0, 50)


async def test_workers_tell_that_their_endpoint_answers(monkeypatch):
    """By the number of its lane; a refusal is an answer, too: the endpoint is there."""
    heard = []
    hear = CrewRun._hear

    def listen(run, hand, head, raw):
        heard.append(head)
        hear(run, hand, head, raw)

    monkeypatch.setattr(CrewRun, "_hear", listen)
    other = OpenAIProvider("key", base_url="http://other.test/v1", env={}, name="other")
    for transport, numbers in ((FakeTransport, {0}), (crewfakes.elsewhere, {0, 1})):
        one = manager(transport, fallback=[other])
        assert all(result.ok for result in await one.run_async(prompts(*map(str, range(20)))))
        assert {head[1] for head in heard if head[0] == "reached"} == numbers
        heard.clear()


async def test_nobody_is_started_for_nothing(tmp_path):
    """A run whose rows are all answered, or all bad, has no workers."""
    rows = write_rows(tmp_path / "rows.jsonl", *prompts("a", "b"))
    await manager().run_file_async(rows, tmp_path / "out.jsonl")
    summary = await manager(crewfakes.deadly).run_file_async(rows, tmp_path / "out.jsonl")
    assert (summary.skipped, summary.sent) == (2, 0)


async def test_a_journalled_stream_is_recorded_and_goes_on(tmp_path):
    """What is yielded is in the journal; the next run has it from there."""
    journal = tmp_path / "journal.jsonl"
    seen = []
    stream = manager().stream(prompts(*map(str, range(40))), journal=journal)
    async for result in stream:
        seen.append(result)
        if len(seen) == 5:
            break
    await stream.aclose()
    results = await manager().run_async(prompts(*map(str, range(40))), journal=journal)
    assert texts(results) == [f"You said {number}" for number in range(40)]
    assert sum(result.recorded for result in results) >= 5
    assert len(read_lines(journal)) == 40


async def test_the_key_is_refused_with_the_same_words(caplog):
    """A worker that must stop stops all of them, as one process would have stopped; none is missed."""
    ends = []
    for workers in (1, 2):
        with pytest.raises(RunStopped) as stopped:
            await manager(crewfakes.no_key, workers=workers).run_async(prompts(*map(str, range(40))))
        ends.append((str(stopped.value), type(stopped.value.cause), stopped.value.results))
    assert ends[0] == ends[1]
    assert not caplog.records


async def test_rows_go_to_the_fallback_as_ever():
    """It answers under its own name, and is counted."""
    listener = Collected()
    other = OpenAIProvider("key", base_url="http://other.test/v1", env={}, name="other")
    one = manager(crewfakes.elsewhere, fallback=[other], progress=listener)
    results = await one.run_async(prompts(*map(str, range(20))))
    assert {(result.ok, result.provider) for result in results} == {(True, "other")}
    assert listener.events[-1].snapshot.weather.fallbacks == 20


async def test_samples_are_bought_one_by_one():
    """Equal rows are asked each for itself."""
    results = await manager(identical="sample").run_async(prompts("a", "a", "a"))
    assert [(result.ok, result.shared, result.attempts) for result in results] == [(True, False, 1)] * 3


async def test_workers_that_cannot_live_end_the_run():
    """Each of them is killed by its first request; that is said after three."""
    with pytest.raises(
        RunStopped, match=r"worker \d ended unexpectedly \(signal 9: Killed\), as the 2 before"
    ):
        await manager(crewfakes.deadly).run_async(prompts(*map(str, range(10))))


async def test_a_row_that_kills_workers_fails_and_the_others_are_answered(tmp_path):
    """It is not asked for ever; what the dead ones had sent is counted."""
    rows = [{"id": f"r{n}", "prompt": str(n)} for n in range(60)] + [{"id": "bad", "prompt": "poison"}]
    write_rows(tmp_path / "rows.jsonl", *rows)
    one_at_a_time = manager(crewfakes.poisoned, concurrency=2)
    summary = await one_at_a_time.run_file_async(tmp_path / "rows.jsonl", tmp_path / "out.jsonl")
    assert (summary.ok, summary.failed) == (60, 1)
    assert (summary.sent, summary.usage.retries) == (60 + 3, 2)
    (failed,) = read_lines(tmp_path / "out.jsonl.errors.jsonl")
    assert (failed["custom_id"], failed["error"]["class"]) == ("bad", Uncertain.__name__)


async def test_without_a_journal_a_row_that_kills_workers_fails_alone():
    """It is known which rows had left: the others that its worker had been dealt are answered."""
    rows = prompts(*map(str, range(60)), "poison")
    results = await manager(crewfakes.poisoned, concurrency=2).run_async(rows)
    assert [result.ok for result in results] == [True] * 60 + [False]
    assert isinstance(results[60].error, Uncertain)


async def test_a_killed_worker_of_a_stream_is_replaced():
    """Every row is answered, and people are told."""
    listener = Collected()
    stream = manager(progress=listener).stream(prompts(*map(str, range(2000))))
    count = 0
    async for _ in stream:
        count += 1
        if count == 100:
            os.kill(_children()[0], signal.SIGKILL)
    assert count == 2000
    told = [event.text for event in listener.events if isinstance(event, Notice)]
    assert any("ended unexpectedly (signal 9: Killed)" in text for text in told), told


async def test_a_cancelled_run_leaves_nobody_behind():
    """Its workers are gone when it is, though their requests were never answered."""
    running = asyncio.ensure_future(manager(crewfakes.silent).run_async(prompts("a", "b", "c", "d")))
    while not (children := await asyncio.to_thread(_children)):
        assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not set(children) & set(_children())


def test_the_synchronous_door_works_as_well():
    """In a thread of its own, from which processes are started."""
    assert texts(manager().run(prompts("a", "b"))) == ["You said a", "You said b"]


def _children():
    """The worker processes of this process."""
    lists = Path("/proc/self/task").glob("*/children")
    return [int(pid) for path in lists for pid in path.read_text().split()]


def test_one_process_knows_nothing_of_crews(tmp_path):
    """What is not asked for is not imported."""
    program = """
import sys
from fakes import FakeTransport
from fastbatch import OpenAIProvider, RequestManager
provider = OpenAIProvider("key", base_url="http://fake.test/v1", env={})
manager = RequestManager(provider, model="m", transport=FakeTransport)
manager.run_file("rows.jsonl", "out.jsonl")
print(*manager.run([{"prompt": "a"}]), [name for name in sys.modules if "crew" in name])
"""
    write_rows(tmp_path / "rows.jsonl", *prompts("a", "b"))
    here = str(Path(__file__).parents[1])
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": here},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ran.stdout.endswith(" []\n")
