"""Runs that died, from file to file: what is uncertain, in order, held, and checked."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from fakes import Collected, FakeTransport, Held, echo, manager_on, prompt_of, refusal

from fastbatch.engine import filerun, inputfile
from fastbatch.engine.events import Notice, UncertainRows
from fastbatch.engine.filerun import FileOptions
from fastbatch.errors import ConfigError, InputError, OutputError, RunStopped, StorageError


@pytest.fixture
def rows(tmp_path):
    return tmp_path / "rows.jsonl"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.jsonl"


def write(path, *contents):
    path.write_text("".join(json.dumps(content) + "\n" for content in contents))


def numbered(count, **more):
    return [{"id": f"row-{number}", "prompt": str(number), **more} for number in range(count)]


def read(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def ids(path):
    return [line["custom_id"] for line in read(path)]


def beside(out):
    """What stands in the folder, but for the input."""
    return sorted(path.name for path in out.parent.iterdir() if path.name != "rows.jsonl")


async def died(rows, out, answered, **options):
    """The files as a run leaves them that is killed with `answered` rows recorded and the others in flight.

    The files are copied at that moment, the run is then ended, and the copies take their place.
    """
    held = Held()
    manager = manager_on(FakeTransport(held), concurrency=4)
    run = asyncio.ensure_future(manager.run_file_async(rows, out, **options))
    part = out.with_name(out.name + ".part")
    answered += len(read_whole(part)) + len(read_whole(out))
    while (seen := len(read_whole(part)) + len(read_whole(out))) < answered:
        await held.arrived(1)
        held.release(min(held.waiting, key=int))
        while len(read_whole(part)) + len(read_whole(out)) == seen:  # its thread is writing  # noqa: ASYNC110
            await asyncio.sleep(0)
    await held.arrived(min(4, len(rows.read_bytes().splitlines()) - answered))
    kept = out.parent / "kept"
    kept.mkdir()
    for path in out.parent.glob("out.jsonl*"):
        shutil.copy(path, kept / path.name)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    for path in out.parent.glob("out.jsonl*"):
        path.unlink()
    for path in kept.iterdir():
        path.rename(out.parent / path.name)
    kept.rmdir()


def read_whole(path):
    data = path.read_bytes() if path.exists() else b""
    return data.splitlines() if data.endswith(b"\n") else data.splitlines()[:-1]


async def test_rows_in_flight_are_told_and_sent_again(rows, out):
    """A function is given exactly them, with line, attempt and tokens, before anything is sent."""
    write(rows, *numbered(6))
    await died(rows, out, 2)
    told, transport = [], FakeTransport()

    def ask(uncertain):
        assert transport.calls == []
        told.extend(uncertain)
        return "retry"

    summary = await manager_on(transport).run_file_async(rows, out, on_uncertain=ask)
    assert [(row.custom_id, row.row, row.attempt) for row in told] == [
        (f"row-{number}", number + 1, 1) for number in range(2, 6)
    ]
    assert all(row.prompt_tokens > 0 for row in told)
    assert (summary.ok, summary.skipped, sorted(transport.prompts)) == (4, 2, ["2", "3", "4", "5"])
    assert sorted(ids(out)) == [f"row-{number}" for number in range(6)]
    assert beside(out) == ["out.jsonl"]


async def test_a_listener_and_the_log_are_told_too(rows, out, caplog):
    """Where nobody gave a function: the log names them, and so does an event before the run starts."""
    write(rows, *numbered(3))
    await died(rows, out, 1)
    listener = Collected()
    await manager_on(FakeTransport(), progress=listener).run_file_async(rows, out)
    assert "2 rows were sent by a run that ended without recording an answer" in caplog.text
    assert "row-1, row-2" in caplog.text
    first = listener.events[0]
    assert isinstance(first, UncertainRows)
    assert [row.custom_id for row in first.rows] == ["row-1", "row-2"]


async def test_uncertain_rows_are_not_sent_when_told_so(rows, out):
    """At most once: they fail as uncertain, stay in the journal, and are not sent until somebody says so."""
    write(rows, *numbered(3))
    await died(rows, out, 1)
    for _ in range(2):
        transport = FakeTransport()
        summary = await manager_on(transport).run_file_async(rows, out, on_uncertain="skip")
        assert (summary.ok, summary.failed, summary.skipped, transport.calls) == (0, 2, 1, [])
        errors = read(out.with_name("out.jsonl.errors.jsonl"))
        assert [(e["custom_id"], e["error"]["class"], e["error"]["maybe_billed"]) for e in errors] == [
            ("row-1", "Uncertain", True),
            ("row-2", "Uncertain", True),
        ]
        assert beside(out) == ["out.jsonl", "out.jsonl.errors.jsonl", "out.jsonl.journal"]
    transport = FakeTransport()
    summary = await manager_on(transport).run_file_async(rows, out)
    assert (summary.ok, sorted(transport.prompts), beside(out)) == (2, ["1", "2"], ["out.jsonl"])


async def test_a_changed_row_is_not_the_uncertain_one(rows, out):
    """What was sent was another request: the row runs although uncertain ones are left alone."""
    write(rows, *numbered(2))
    await died(rows, out, 1)
    write(rows, {"id": "row-0", "prompt": "0"}, {"id": "row-1", "prompt": "new"})
    transport = FakeTransport()
    summary = await manager_on(transport).run_file_async(rows, out, on_uncertain="skip")
    assert (summary.ok, transport.prompts) == (1, ["new"])


async def test_a_row_that_waits_for_its_retry_is_not_uncertain(rows, out):
    """It was refused for certain; only what may have been bought is on the list."""
    write(rows, *numbered(2))
    held = Held()
    manager = manager_on(FakeTransport(held), concurrency=2, dice=1.0)
    run = asyncio.ensure_future(manager.run_file_async(rows, out))
    await held.arrived(2)
    held.release("0", refusal(500))
    journal = out.with_name("out.jsonl.journal")
    while b'"closed":[1]' not in journal.read_bytes():  # noqa: ASYNC110  (a thread writes it)
        await asyncio.sleep(0)
    kept = journal.read_bytes()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    journal.write_bytes(kept)
    told = []
    await manager_on(FakeTransport()).run_file_async(
        rows, out, on_uncertain=lambda uncertain: told.extend(uncertain) or "retry"
    )
    assert [row.custom_id for row in told] == ["row-1"]


async def test_a_refusal_does_not_settle_what_an_earlier_run_may_have_bought(rows, out):
    """Sent again it is refused, and that run dies, too: the row is still on the list of the next one."""
    write(rows, *numbered(1))
    await died(rows, out, 0)
    held = Held()
    manager = manager_on(FakeTransport(held), dice=1.0)
    run = asyncio.ensure_future(manager.run_file_async(rows, out))
    await held.arrived(1)
    held.release("0", refusal(500))
    while held.waiting:  # noqa: ASYNC110
        await asyncio.sleep(0)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    told = []
    await manager_on(FakeTransport()).run_file_async(
        rows, out, on_uncertain=lambda uncertain: told.extend(uncertain) or "retry"
    )
    assert [row.custom_id for row in told] == ["row-0"]


async def test_an_uncertain_row_that_left_the_input_stays_on_the_list(rows, out):
    """It may come back: the journal stays for it, whatever else is finished, and it is told then."""
    write(rows, *numbered(2))
    await died(rows, out, 1)
    write(rows, *numbered(1))
    for choice in ("skip", "retry"):
        await manager_on(FakeTransport()).run_file_async(rows, out, on_uncertain=choice)
        assert beside(out) == ["out.jsonl", "out.jsonl.journal"]
    write(rows, *numbered(2))
    transport = FakeTransport()
    summary = await manager_on(transport).run_file_async(rows, out, on_uncertain="skip")
    assert (summary.failed, transport.calls) == (1, [])


async def test_the_same_request_is_left_alone_whatever_its_row_is_called(rows, out):
    """A row without an id has another one as soon as a column is added; an equal row asks the same, too."""
    write(rows, {"prompt": "a"})
    await died(rows, out, 0)
    write(rows, {"prompt": "a", "label": "new"}, {"id": "twin", "prompt": "a"})
    transport = FakeTransport()
    summary = await manager_on(transport).run_file_async(rows, out, on_uncertain="skip")
    assert (summary.failed, transport.calls) == (2, [])


async def test_another_request_of_the_row_does_not_settle_the_first(rows, out):
    """Asked with other parameters it is answered; asked as before it is still uncertain."""
    write(rows, *numbered(1))
    await died(rows, out, 0)
    other = manager_on(FakeTransport(), params={"temperature": 0})
    assert (await other.run_file_async(rows, out)).ok == 1
    transport = FakeTransport()
    summary = await manager_on(transport).run_file_async(rows, out, on_uncertain="skip")
    assert (summary.failed, transport.calls) == (1, [])


@pytest.mark.parametrize("nonsense", [None, "Skip", True])
async def test_what_to_do_with_uncertain_rows_must_be_said(rows, out, nonsense):
    """By the option or by the function: nothing is sent on a misunderstanding."""
    write(rows, *numbered(2))
    await died(rows, out, 1)
    transport = FakeTransport()
    for choice in (nonsense, lambda rows: nonsense):
        with pytest.raises(ConfigError, match="on_uncertain"):
            await manager_on(transport).run_file_async(rows, out, on_uncertain=choice)
    assert transport.calls == []
    assert (await manager_on(transport).file_run(rows, out).plan()).uncertain == 1


async def test_a_scratch_name_of_the_output_is_no_input(tmp_path, out):
    """It would be overwritten: refused, and the file is as it was."""
    for name in ("out.jsonl.tmp", "out.jsonl.journal.tmp", "out.jsonl.errors.jsonl.tmp", "out.jsonl.part"):
        source = tmp_path / name
        write(source, *numbered(1))
        before = source.read_bytes()
        with pytest.raises(OutputError, match="is the input itself"):
            await manager_on(FakeTransport()).run_file_async(source, out)
        assert source.read_bytes() == before
        source.unlink()


async def test_an_interrupted_replacement_leaves_one_line_a_row(rows, out):
    """Half of the answers are replaced when the run is drained: the old lines of these are gone already."""
    write(rows, *numbered(4))
    await manager_on(FakeTransport()).run_file_async(rows, out)
    held = Held()
    run = manager_on(FakeTransport(held), concurrency=1, params={"temperature": 0}).file_run(rows, out)
    running = asyncio.ensure_future(run.run())
    await held.arrived(1)
    run.drain()
    held.release_all()
    summary = await running
    assert (summary.interrupted, summary.replaced, len(ids(out)), len(set(ids(out)))) == (True, 1, 4, 4)


async def test_uncertain_rows_of_another_input_stay_on_the_list(rows, out, tmp_path):
    """Two inputs have one output: what the first has left is told until the first has run again."""
    write(rows, *numbered(3))
    await died(rows, out, 1)
    other = tmp_path / "rows.jsonl.other"
    write(other, {"id": "other", "prompt": "o"})
    for _ in range(2):
        await manager_on(FakeTransport()).run_file_async(other, out)
    told = []
    await manager_on(FakeTransport()).run_file_async(
        rows, out, on_uncertain=lambda uncertain: told.extend(uncertain) or "retry"
    )
    assert [row.custom_id for row in told] == ["row-1", "row-2"]
    assert not out.with_name("out.jsonl.journal").exists()


async def test_a_dry_run_counts_what_is_uncertain(rows, out):
    """And leaves everything as it is."""
    write(rows, *numbered(3))
    await died(rows, out, 1)
    before = out.read_bytes()
    plan = await manager_on(FakeTransport()).file_run(rows, out).plan()
    assert (plan.uncertain, plan.answered, plan.to_send) == (2, 1, 2)
    assert plan.uncertain_tokens > 0
    plan = await manager_on(FakeTransport()).file_run(rows, out).plan()
    assert (plan.uncertain, out.read_bytes()) == (2, before)


@pytest.mark.parametrize("identical", ["share", "sample"])
async def test_an_ordered_output_is_in_the_order_of_the_input(rows, out, identical):
    """Although answers come in another one; until then the output is not there, its lines are beside it."""
    write(rows, *numbered(40))
    held = Held()
    run = asyncio.ensure_future(
        manager_on(FakeTransport(held), concurrency=40, identical=identical).run_file_async(
            rows, out, ordered=True
        )
    )
    await held.arrived(40)
    for number in sorted(range(40), key=lambda number: (number * 17) % 40):
        held.release(str(number))
    summary = await run
    assert (summary.ok, ids(out)) == (40, [f"row-{number}" for number in range(40)])
    assert beside(out) == ["out.jsonl"]


async def test_an_ordered_output_is_the_same_however_often_the_run_died(rows, out, tmp_path):
    """Byte for byte, but for how long things took."""
    write(rows, *numbered(8))
    plain = tmp_path / "plain.jsonl"
    await manager_on(FakeTransport()).run_file_async(rows, plain, ordered=True)
    await died(rows, out, 2, ordered=True)
    assert not out.exists()
    await died(rows, out, 3, ordered=True)
    await manager_on(FakeTransport()).run_file_async(rows, out, ordered=True)
    assert list(map(unmeasured, read(out))) == list(map(unmeasured, read(plain)))


def unmeasured(line):
    ours = {key: line["fastbatch"][key] for key in ("row", "key", "model", "provider", "fingerprint")}
    return {**line, "fastbatch": ours}


async def test_an_ordered_run_sorts_what_is_appended_later(rows, out):
    """Rows inserted above and below; what left the input keeps its place by the line it stood on."""
    write(rows, *numbered(3))
    await manager_on(FakeTransport()).run_file_async(rows, out, ordered=True)
    write(rows, {"id": "first", "prompt": "f"}, *numbered(2), {"id": "last", "prompt": "l"})
    transport = FakeTransport()
    summary = await manager_on(transport).run_file_async(rows, out, ordered=True)
    assert (sorted(transport.prompts), summary.gone) == (["f", "l"], 1)
    assert [name for name in ids(out) if name != "row-2"] == ["first", "row-0", "row-1", "last"]
    assert "row-2" in ids(out)


async def test_repaired_rows_of_an_ordered_run_go_to_their_places(rows, out):
    """The errors file, run into the ordered output, knows the lines that its rows stood on."""
    write(rows, *numbered(5))
    refused = FakeTransport(lambda call: refusal(400) if prompt_of(call) in "13" else echo(call))
    summary = await manager_on(refused).run_file_async(rows, out, ordered=True)
    assert (summary.failed, ids(out)) == (2, ["row-0", "row-2", "row-4"])
    errors = out.with_name("out.jsonl.errors.jsonl")
    summary = await manager_on(FakeTransport()).run_file_async(errors, out, ordered=True)
    assert (summary.ok, summary.gone) == (2, 0)
    assert ids(out) == [f"row-{number}" for number in range(5)]
    assert beside(out) == ["out.jsonl"]


async def test_a_run_may_change_to_ordered_and_back(rows, out):
    """What either mode has collected counts in the other."""
    write(rows, *numbered(6))
    await died(rows, out, 2)
    await died(rows, out, 2, ordered=True)
    assert (len(read(out)), len(read(out.with_name("out.jsonl.part")))) == (2, 2)
    transport = FakeTransport()
    summary = await manager_on(transport).run_file_async(rows, out)
    assert (summary.skipped, sorted(transport.prompts)) == (4, ["4", "5"])
    assert (sorted(ids(out)), beside(out)) == ([f"row-{number}" for number in range(6)], ["out.jsonl"])


async def test_an_ordered_run_of_nothing_makes_an_empty_file(rows, out):
    """As any other run does."""
    rows.write_bytes(b"")
    await manager_on(FakeTransport()).run_file_async(rows, out, ordered=True)
    assert (out.read_bytes(), beside(out)) == (b"", ["out.jsonl"])


async def test_a_held_output_is_refused_before_the_input_is_read(rows, out):
    """At once, whatever there is to look through; nothing is left behind."""
    write(rows, *numbered(2))
    held = Held()
    run = asyncio.ensure_future(manager_on(FakeTransport(held)).run_file_async(rows, out))
    await held.arrived(2)
    before = beside(out)
    with pytest.raises(OutputError, match="is held by another running fastbatch"):
        await manager_on(FakeTransport()).run_file_async(rows.with_name("missing.jsonl"), out)
    assert beside(out) == before
    held.release_all()
    assert (await run).ok == 2


@pytest.mark.parametrize("modes", [(True, True), (True, False), (False, True)])
async def test_another_name_of_the_output_is_the_output(rows, out, modes):
    """A hard link of it is refused while a run goes on, ordered or not on either side."""
    write(rows, *numbered(2))
    await manager_on(FakeTransport()).run_file_async(rows, out)
    link = out.with_name("link.jsonl")
    link.hardlink_to(out)
    write(rows, *numbered(4))
    held, second = Held(), FakeTransport()
    run = asyncio.ensure_future(manager_on(FakeTransport(held)).run_file_async(rows, out, ordered=modes[0]))
    await held.arrived(2)
    with pytest.raises(OutputError, match="is held by another running fastbatch"):
        await manager_on(second).run_file_async(rows, link, ordered=modes[1])
    held.release_all()
    assert ((await run).ok, second.calls) == (2, [])


async def test_a_refused_input_leaves_nothing_behind(rows, out):
    """No output, no journal: nothing was done."""
    rows.write_text("no JSON\n")
    with pytest.raises(InputError):
        await manager_on(FakeTransport()).run_file_async(rows, out)
    assert beside(out) == []


async def test_a_refused_input_leaves_an_unfinished_run_as_it_is(rows, out):
    """Its uncertain rows are still on the list."""
    write(rows, *numbered(3))
    await died(rows, out, 1)
    good = rows.read_text()
    rows.write_text(good + "no JSON\n")
    with pytest.raises(InputError):
        await manager_on(FakeTransport()).run_file_async(rows, out)
    rows.write_text(good)
    plan = await manager_on(FakeTransport()).file_run(rows, out).plan()
    assert (plan.uncertain, plan.answered) == (2, 1)


class Unopened(FakeTransport):
    """Cannot be used, as with a bad file of authorities."""

    async def open(self, *, connections):
        raise ConfigError("cannot be used", key="ca_file")


async def test_a_transport_that_does_not_open_leaves_nothing_behind(rows, out):
    """Nothing was done; of an unfinished run it is known what was."""
    write(rows, *numbered(3))
    with pytest.raises(ConfigError):
        await manager_on(Unopened()).run_file_async(rows, out)
    assert beside(out) == []
    await died(rows, out, 1)
    with pytest.raises(ConfigError):
        await manager_on(Unopened()).run_file_async(rows, out)
    plan = await manager_on(FakeTransport()).file_run(rows, out).plan()
    assert (plan.uncertain, plan.answered) == (2, 1)


async def test_duplicate_ids_can_be_told_apart(rows, out):
    """By a number, the same in every run; one that is taken already is passed over."""
    write(
        rows,
        {"id": "a", "prompt": "1"},
        {"id": "a", "prompt": "2"},
        {"id": "a-2", "prompt": "3"},
        {"id": "a", "prompt": "4"},
    )
    with pytest.raises(InputError, match=r"--dedupe \(dedupe=True in Python\) tells such rows apart"):
        await manager_on(FakeTransport()).run_file_async(rows, out)
    await manager_on(FakeTransport()).run_file_async(rows, out, dedupe=True)
    answers = {line["custom_id"]: line["response"]["body"]["choices"][0]["message"] for line in read(out)}
    said = {name: message["content"].split()[-1] for name, message in answers.items()}
    assert said == {"a": "1", "a-2": "2", "a-2-2": "3", "a-3": "4"}
    transport = FakeTransport()
    summary = await manager_on(transport).run_file_async(rows, out, dedupe=True)
    assert (summary.skipped, transport.calls) == (4, [])


async def test_a_long_input_is_checked_as_it_is_sent(rows, out, monkeypatch):
    """Behind the rows that are looked through first a bad one stops the run; what was answered is saved."""
    monkeypatch.setattr(filerun, "AHEAD", 20)
    monkeypatch.setattr(
        inputfile.InputFile.__init__,
        "__kwdefaults__",
        {
            **inputfile.InputFile.__init__.__kwdefaults__,
            "ahead": 20,
        },
    )
    good = "".join(json.dumps(row) + "\n" for row in numbered(1050))
    rows.write_text(good + "no JSON\n")
    listener = Collected()
    with pytest.raises(RunStopped, match=r"line 1051: not valid JSON.*rows before it may have") as stopped:
        await manager_on(FakeTransport(), progress=listener).run_file_async(rows, out)
    answered = stopped.value.summary.ok
    assert 0 < answered == len(read(out)) < 1050
    said = [event.text for event in listener.events if isinstance(event, Notice)]
    assert said[0].startswith("The first 20 of 1,051 rows were checked before the first request")
    rows.write_text(good)
    transport = FakeTransport()
    summary = await manager_on(transport).run_file_async(rows, out)
    assert (summary.skipped, len(transport.calls)) == (answered, 1050 - answered)


async def test_an_early_bad_row_of_a_long_input_sends_nothing(rows, out, monkeypatch):
    """Within what is looked through first it is refused as ever."""
    write(rows, {"prompt": "a"}, {"nothing": 1}, *numbered(30))
    transport = FakeTransport()
    with pytest.raises(InputError, match="line 2"):
        await manager_on(transport).run_file_async(rows, out)
    assert transport.calls == []


async def test_carried_columns_may_change_without_a_purchase(rows, out):
    """A row is answered as long as it asks the same, whatever else is written beside it."""
    write(rows, *numbered(3, label="old"))
    await manager_on(FakeTransport()).run_file_async(rows, out)
    before = out.read_bytes()
    write(rows, *numbered(3, label="new"))
    transport = FakeTransport()
    summary = await manager_on(transport).run_file_async(rows, out)
    assert (summary.skipped, transport.calls, out.read_bytes()) == (3, [], before)


async def test_other_settings_are_another_request(rows, out):
    """The bytes of a row are not all that decides what it asks."""
    write(rows, *numbered(2))
    await manager_on(FakeTransport()).run_file_async(rows, out)
    for options in ({"model": "other"}, {"params": {"temperature": 0}}):
        transport = FakeTransport()
        summary = await manager_on(transport, **options).run_file_async(rows, out)
        assert (summary.ok, summary.replaced, len(transport.calls)) == (2, 2, 2)
    transport = FakeTransport()
    summary = await manager_on(transport, params={"temperature": 0}).run_file_async(
        rows, out, system="Be brief."
    )
    assert len(transport.calls) == 2


async def test_answers_of_an_earlier_version_count(rows, out):
    """Lines without a fingerprint are known by their request hash."""
    write(rows, *numbered(3))
    await manager_on(FakeTransport()).run_file_async(rows, out)
    from zlib import crc32

    old = []
    for line in out.read_bytes().splitlines():
        head = line[: line.index(b',"fingerprint":')]
        old.append(head + b',"crc":"%08x"}}\n' % crc32(head))
    out.write_bytes(b"".join(old))
    transport = FakeTransport()
    summary = await manager_on(transport).run_file_async(rows, out)
    assert (summary.skipped, transport.calls) == (3, [])


async def test_a_failed_write_ends_the_run_before_more_is_spent(rows, out, monkeypatch):
    """Nothing leaves after it; what was recorded stays, and the next run goes on."""
    write(rows, *numbered(50))
    transport = FakeTransport()
    original = Path.stat
    from fastbatch.engine.journal.lines import LineFile

    append, calls = LineFile.append, []

    def full(self, data):
        calls.append(self.path.name)
        if len(calls) > 12:
            raise StorageError("Results cannot be written: the disk is full")
        append(self, data)

    monkeypatch.setattr(LineFile, "append", full)
    with pytest.raises(StorageError, match="disk is full"):
        await manager_on(transport, concurrency=2).run_file_async(rows, out)
    assert original is Path.stat
    spent = len(transport.calls)
    assert spent < 50
    monkeypatch.undo()
    told = []
    again = FakeTransport()
    summary = await manager_on(again).run_file_async(
        rows, out, on_uncertain=lambda uncertain: told.extend(uncertain) or "retry"
    )
    assert summary.ok + summary.skipped == 50
    assert spent + len(again.calls) - 50 <= len(told) <= 2


async def test_a_run_that_is_asked_not_to_begin_leaves_nothing(rows, out):
    """`confirm` says no: the output is as it was."""
    write(rows, *numbered(2))
    await manager_on(FakeTransport()).run_file_async(rows, out)
    before = out.read_bytes()
    write(rows, {"id": "row-0", "prompt": "new"})
    run = manager_on(FakeTransport()).file_run(rows, out, options=FileOptions())
    assert await run.run(lambda plan: False) is None
    assert (out.read_bytes(), beside(out)) == (before, ["out.jsonl"])
