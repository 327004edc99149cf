"""The bulk path: rows that the cache answers, or that are answered already, cost no object of their own."""

import asyncio
import json
import sqlite3

import pytest
from fakes import FakeTransport, answer_to, manager_on

from fastbatch import DiskCache, InMemoryCache
from fastbatch.cache import schema
from fastbatch.engine import filejobs, inputfile, intake, run
from fastbatch.engine.done import Answers
from fastbatch.engine.index import RowTable
from fastbatch.engine.inputfile import InputFile, Row
from fastbatch.engine.journal.entries import Counted
from fastbatch.engine.journal.journal import Journal
from fastbatch.engine.looked import Known
from fastbatch.errors import InvalidRequest
from fastbatch.formats.rows import RowSettings

COUNT = 2000
BLOCK = 512

BATCH_LINE = {"method": "POST", "url": "/v1/chat/completions"}
KINDS = {
    "batch lines": lambda n: {
        "custom_id": f"row-{n}",
        **BATCH_LINE,
        "body": {"model": "m", "messages": [{"role": "user", "content": str(n)}]},
    },
    "prompts": lambda n: {"id": f"row-{n}", "prompt": str(n), "temperature": 0.5},
    "with columns": lambda n: {"id": f"row-{n}", "prompt": str(n), "topic": "x"},
    "without an id": lambda n: {"prompt": str(n)},
    "an id behind": lambda n: {"prompt": str(n), "id": f"row-{n}"},
    "an id to escape": lambda n: {"id": f'"{n}\\', "prompt": str(n)},
    "a number for an id": lambda n: {"id": n, "prompt": str(n)},
    "replayed": lambda n: {
        "id": f"row-{n}",
        "prompt": str(n),
        "error": {"class": "X"},
        "fastbatch": {"row": n + 7},
    },
}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def said(path):
    """What an output says of each row, but for how its answer came and what depends on that."""
    lines = read(path)
    for line in lines:
        for measured in ("cached", "attempts", "latency_s", "cost_usd", "at", "crc"):
            del line["fastbatch"][measured]
    return sorted(lines, key=lambda line: line["custom_id"])


@pytest.fixture
def rows(tmp_path):
    return tmp_path / "rows.jsonl"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.mark.parametrize("kind", KINDS)
async def test_kept_answers_are_written_as_bought_ones_are(rows, out, tmp_path, kind):
    """Whatever its rows look like, a cached run writes what the first one wrote, and sends nothing."""
    write(rows, map(KINDS[kind], range(50)))
    cache, again = InMemoryCache(), tmp_path / "again.jsonl"
    await manager_on(FakeTransport(), cache=cache).run_file_async(rows, out)
    transport = FakeTransport()
    summary = await manager_on(transport, cache=cache).run_file_async(rows, again)
    assert (summary.ok, summary.cached, transport.calls) == (50, 50, [])
    assert said(again) == said(out)
    assert all(line["fastbatch"]["cached"] for line in read(again))
    third = await manager_on(transport, cache=cache).run_file_async(rows, again)
    assert (third.skipped, transport.calls) == (50, [])


async def test_without_a_cache_a_kept_answer_is_shared(rows, out):
    """A row like one that was answered a good while before takes its answer, and says so."""
    row = KINDS["prompts"]
    write(rows, [row(n) for n in range(600)] + [{**row(n), "id": f"twin-{n}"} for n in range(50)])
    transport = FakeTransport()
    summary = await manager_on(transport).run_file_async(rows, out)
    assert (summary.ok, summary.shared, len(transport.calls)) == (650, 50, 600)
    twins = [line["fastbatch"] for line in read(out) if line["custom_id"].startswith("twin")]
    assert all(ours["shared"] and not ours["cached"] for ours in twins)


async def count_of(monkeypatch, work):
    """Jobs, tasks, futures, journal writes and SELECTs that `work` takes."""
    loop = asyncio.get_running_loop()
    counts = dict.fromkeys(("jobs", "tasks", "futures", "writes", "selects"), 0)

    def counted(name, original):
        def call(*args, **options):
            counts[name] += 1
            return original(*args, **options)

        return call

    class Connection(sqlite3.Connection):
        def execute(self, sql, *given):
            counts["selects"] += sql.startswith("SELECT key")
            return super().execute(sql, *given)

    connect = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(filejobs, "Job", counted("jobs", filejobs.Job))
        patch.setattr(loop, "create_future", counted("futures", loop.create_future), raising=False)
        patch.setattr(Journal, "_write", counted("writes", Journal._write))
        patch.setattr(
            schema.sqlite3, "connect", lambda *given, **how: connect(*given, factory=Connection, **how)
        )
        patch.setattr(loop, "create_task", counted("tasks", loop.create_task), raising=False)
        await work()
    return counts


@pytest.mark.parametrize("kind", ["batch lines", "with columns", "without an id"])
async def test_a_cached_row_costs_no_job_no_task_and_no_future(rows, out, tmp_path, monkeypatch, kind):
    """Of two thousand hits every four hundred or more share a lookup, and a journal entry."""
    write(rows, map(KINDS[kind], range(COUNT)))
    cache = DiskCache(tmp_path / "cache")
    await manager_on(FakeTransport(), cache=cache).run_file_async(rows, out)
    await cache.close()

    async def again():
        summary = await manager_on(FakeTransport(), cache=cache).run_file_async(rows, tmp_path / "again")
        assert summary.cached == COUNT

    counts = await count_of(monkeypatch, again)
    await cache.close()
    blocks = -(-COUNT // BLOCK)
    assert counts["jobs"] == 0
    assert counts["selects"] <= blocks + 1
    assert counts["writes"] <= blocks + 1
    assert counts["tasks"] <= 2 * blocks + 20
    assert counts["futures"] <= 8 * blocks + 40


async def test_an_answered_row_is_not_parsed(rows, out, monkeypatch):
    """Rows that begin with their id are passed over by their bytes, and the second reading looks at none."""
    write(rows, map(KINDS["batch lines"], range(COUNT)))
    await manager_on(FakeTransport(), concurrency=64).run_file_async(rows, out)

    def refuse(*_):
        raise AssertionError("a row was looked at")

    readings, original = [], inputfile.row_blocks
    monkeypatch.setattr(inputfile, "parse_row", refuse)
    monkeypatch.setattr(
        inputfile, "row_blocks", lambda path, limit: readings.append(limit) or original(path, limit)
    )
    summary = await manager_on(FakeTransport()).run_file_async(rows, out)
    assert summary.skipped == COUNT
    assert readings == [64, None]  # a glance at its beginning, and the look through it


async def test_damaged_answers_are_bought_again(rows, out, tmp_path):
    """Of a block one kept answer is no answer: its row is asked, the others are not."""
    write(rows, map(KINDS["batch lines"], range(20)))
    cache = InMemoryCache()
    await manager_on(FakeTransport(), cache=cache).run_file_async(rows, out)
    key = next(line["fastbatch"]["key"] for line in read(out) if line["custom_id"] == "row-7")
    (value,) = (await cache.get_many([key])).values()
    await cache.put_many({key: value[:-5] + b"#" + value[-4:]})
    transport = FakeTransport()
    again = tmp_path / "again.jsonl"
    summary = await manager_on(transport, cache=cache).run_file_async(rows, again)
    assert (summary.ok, summary.cached, transport.prompts) == (20, 19, ["7"])
    assert said(again) == said(out)


async def test_hits_and_misses_of_one_block(rows, out):
    """What the cache knows is written, the rest is asked once, however often it stands in the block."""
    cache = InMemoryCache()
    write(rows, [KINDS["prompts"](n) for n in range(0, 20, 2)])
    await manager_on(FakeTransport(), cache=cache).run_file_async(rows, out)
    write(rows, [{**KINDS["prompts"](n), "id": f"{n}-{twin}"} for n in range(20) for twin in "ab"])
    transport = FakeTransport()
    summary = await manager_on(transport, cache=cache).run_file_async(rows, out.with_name("new"))
    assert (summary.ok, summary.cached, summary.shared) == (40, 20, 10)
    assert sorted(map(int, transport.prompts)) == list(range(1, 20, 2))


async def test_a_kept_answer_settles_what_was_open(rows, out):
    """A row that was sent before a crash and is answered by the cache now leaves nothing uncertain."""
    write(rows, map(KINDS["batch lines"], range(3)))
    cache = InMemoryCache()
    await manager_on(FakeTransport(), cache=cache).run_file_async(rows, out.with_name("first"))
    keys = {line["custom_id"]: line["fastbatch"]["key"] for line in read(out.with_name("first"))}
    journal = Journal(out)
    journal.open(input=str(rows), model="m")
    journal.start(recorded=lambda _: None, failed=lambda _: None, count=Counted)
    await journal.sent(2, "row-1", keys["row-1"], 1, 5)
    journal._failure = RuntimeError("the process dies")
    journal.stop()
    journal.close()
    summary = await manager_on(FakeTransport(), cache=cache).run_file_async(rows, out)
    assert summary.cached == 3
    assert not out.with_name("out.jsonl.journal").exists()


class TestLooked:
    """What the first reading leaves for the second one."""

    @staticmethod
    def opened(path, **options):
        made = InputFile(
            path,
            RowSettings(model="m"),
            key=lambda endpoint, body, name: body["messages"][0]["content"],
            **options,
        )
        return made, Answers((), RowTable())

    @staticmethod
    def rows_of(made, answers):
        return [row for _, block in made.blocks(answers) for row in block]

    def test_a_plain_row_is_known(self, rows):
        """Its hash, its id and its model are at hand, and it is read no further."""
        write(rows, [{"id": "a", "prompt": "ab" * 16, "model": "other"}])
        made, answers = self.opened(rows)
        assert made.check(answers, "fail") == 1
        (known,) = self.rows_of(made, answers)
        assert isinstance(known, Known)
        assert known[:3] == (1, "a", "ab" * 16)
        assert known.model == "other"
        row = made.row(known)
        assert (row.custom_id, row.key, row.first, row.held) == ("a", "ab" * 16, 1, 0)
        assert row.request.body["model"] == "other"

    def test_what_a_row_carries_is_read_when_it_is_wanted(self, rows):
        """A row with columns is known too; they are read for its record, or with its request."""
        write(rows, [{"id": "a", "prompt": "ab" * 16, "column": 1}])
        made, answers = self.opened(rows)
        made.check(answers, "fail")
        (known,) = self.rows_of(made, answers)
        assert isinstance(known, Known)
        assert made.carried(known) == made.row(known).request.metadata == {"column": 1}

    @pytest.mark.parametrize(
        "line",
        [
            {"prompt": "ab" * 16, "id": "a"},
            {"id": "a\\", "prompt": "ab" * 16},
            {"id": "b", "custom_id": "a", "prompt": "ab" * 16},
            {"id": "a", "prompt": "ab" * 16, "error": {}},
            {"prompt": "ab" * 16, "user": "b", "id": "ab" * 15},  # at the place where an id begins
        ],
    )
    def test_any_other_row_is_read_again(self, rows, line):
        """Where the line does not begin with the id itself only its hash is kept."""
        write(rows, [line])
        made, answers = self.opened(rows)
        made.check(answers, "fail")
        (row,) = self.rows_of(made, answers)
        assert isinstance(row, Row)
        assert row.key == "ab" * 16

    def test_another_file_is_looked_at_anew(self, rows):
        """What was found holds for the bytes it was found in: a file that changed is read as if anew."""
        write(rows, [{"id": "a", "prompt": "ab" * 16}])
        made, answers = self.opened(rows)
        made.check(answers, "fail")
        write(rows, [{"id": "a", "prompt": "cd" * 16 + " "}, {"id": "b"}])
        found = self.rows_of(made, answers)
        assert [(row.custom_id, row.key) for row in found] == [("a", "cd" * 16 + " "), ("b", "")]
        assert isinstance(found[1].problem, InvalidRequest)

    def test_more_models_than_a_byte_can_name(self, rows):
        """Rows beyond the first 126 models are read again, and lose nothing but time."""
        write(rows, [{"id": str(n), "prompt": "ab" * 16, "model": f"m{n}"} for n in range(300)])
        made, answers = self.opened(rows)
        made.check(answers, "fail")
        found = self.rows_of(made, answers)
        assert sum(isinstance(row, Known) for row in found) == 126
        models = [row.model if isinstance(row, Known) else row.request.model for row in found]
        assert models == [f"m{n}" for n in range(300)]

    def test_only_what_was_looked_through_is_known(self, rows):
        """Rows behind those that were looked through are checked as they come."""
        write(rows, [{"id": str(n), "prompt": "ab" * 16} for n in range(5)] + [{"id": "bad", "prompt": 5}])
        made, answers = self.opened(rows, ahead=3)
        assert made.check(answers, "fail") == 6
        found = self.rows_of(made, answers)
        assert [isinstance(row, Known) for row in found] == [True] * 3 + [False] * 3
        assert [row.key for row in found] == ["ab" * 16] * 5 + [""]
        assert "prompt must be a string" in found[5].problem.message


class CountedCache(InMemoryCache):
    """A cache that keeps how much it was asked for."""

    def __init__(self):
        super().__init__()
        self.asked = []

    async def get_many(self, keys):
        self.asked.append(len(keys))
        return await super().get_many(keys)


async def test_kept_answers_wait_for_the_disk_in_bounded_memory(rows, out, tmp_path, monkeypatch):
    """While the journal is busy no more than some megabytes of kept answers are read ahead."""
    monkeypatch.setattr(run, "_WRITING", 10_000)
    write(rows, map(KINDS["batch lines"], range(3 * BLOCK)))
    cache = InMemoryCache()
    await manager_on(FakeTransport(), cache=cache).run_file_async(rows, out)
    waiting, most = 0, 0
    record, written = Journal.record_many, Journal._written

    def recording(self, what, lines, closes=()):
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        record(self, what, lines, closes)

    def done(self, batches):
        nonlocal waiting
        waiting -= sum(len(batch.jobs) for batch in batches)
        written(self, batches)

    monkeypatch.setattr(Journal, "record_many", recording)
    monkeypatch.setattr(Journal, "_written", done)
    again = tmp_path / "again.jsonl"
    summary = await manager_on(FakeTransport(), cache=cache).run_file_async(rows, again)
    assert summary.cached == 3 * BLOCK
    assert most == 1


async def test_large_answers_are_looked_up_in_small_portions(rows, out, tmp_path, monkeypatch):
    """However many rows a block has, about so many bytes of answers are in memory at once."""
    monkeypatch.setattr(intake, "_ROOM", 20_000)
    write(rows, map(KINDS["batch lines"], range(1000)))
    cache = CountedCache()
    await manager_on(FakeTransport(lambda call: answer_to("x" * 1000)), cache=cache).run_file_async(rows, out)
    cache.asked.clear()
    summary = await manager_on(FakeTransport(), cache=cache).run_file_async(rows, tmp_path / "again.jsonl")
    assert summary.cached == 1000
    assert max(cache.asked[1:]) < 20
    assert sum(cache.asked) == 1000


async def test_a_known_row_that_is_asked_says_what_its_line_says(rows, out):
    """What the cache does not have is sent as it stands in the file, filled up by the settings."""
    body = {"messages": [{"role": "user", "content": "a"}], "n": 1}
    lines = [{"model": "own", **body}, body, {"model": "m", **body}]
    write(rows, [{"custom_id": f"row-{n}", **BATCH_LINE, "body": body} for n, body in enumerate(lines)])
    transport = FakeTransport()
    await manager_on(transport, cache=InMemoryCache(), concurrency=1).run_file_async(rows, out)
    asked = [json.loads(call.body) for call in transport.calls]
    assert asked == [{"model": "own", **body}, {"model": "m", **body}]
    models = {line["custom_id"]: line["fastbatch"]["model"] for line in read(out)}
    assert models == {"row-0": "own", "row-1": "m", "row-2": "m"}
