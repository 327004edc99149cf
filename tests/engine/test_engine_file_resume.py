"""From file to file, and again: what is skipped, sent again, replaced, kept and reported."""

import asyncio
import json

import pytest
from fakes import FakeTransport, echo, manager_on, prompt_of, refusal

from fastbatch import InMemoryCache
from fastbatch.engine.filejobs import FileJobs
from fastbatch.errors import RunStopped


def write(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def read(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def answers(path):
    """custom_id -> text of an output."""
    found = {
        line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"] for line in read(path)
    }
    assert len(found) == len(read(path)), "an id stands in the output twice"
    return found


@pytest.fixture
def rows(tmp_path):
    return tmp_path / "rows.jsonl"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.jsonl"


@pytest.fixture
def errors(tmp_path):
    return tmp_path / "out.jsonl.errors.jsonl"


def refusing(*prompts):
    """A transport that refuses these prompts and echoes the others."""
    return FakeTransport(lambda call: refusal(400) if prompt_of(call) in prompts else echo(call))


def in_turn(*answers):
    """A transport whose first call is answered by the first of these, and so on."""
    left = list(answers)

    def answer(call):
        return left.pop(0)(call)

    return FakeTransport(answer)


async def run(transport, rows, out, *, manager=None, **options):
    """One run; the counts must add up."""
    summary = await (manager or manager_on(transport)).run_file_async(rows, out, **options)
    assert summary.ok + summary.failed + summary.skipped == summary.total
    assert not list(out.parent.glob("*.part")), "a temporary file was left"
    return summary


async def test_an_output_line_is_a_batch_output_line(rows, out):
    """The fields of OpenAI's batch output, the row's own metadata, and what fastbatch knows."""
    write(rows, {"id": "one", "prompt": "Hi", "page": 7})
    await run(FakeTransport(), rows, out)
    (line,) = read(out)
    ours = line.pop("fastbatch")
    assert line == {
        "id": line["id"],
        "custom_id": "one",
        "response": {
            "status_code": 200,
            "request_id": None,
            "body": line["response"]["body"],
        },
        "error": None,
        "metadata": {"page": 7},
    }
    assert line["response"]["body"]["choices"][0]["message"]["content"] == "You said Hi"
    assert (ours["row"], ours["model"], ours["provider"], ours["cached"], ours["attempts"]) == (
        1,
        "m",
        "openai",
        False,
        1,
    )


async def test_answered_rows_are_skipped(rows, out):
    """The same command again sends nothing and leaves the output as it is, byte for byte."""
    write(rows, {"prompt": "a"}, {"prompt": "b"})
    await run(FakeTransport(), rows, out)
    before = out.read_bytes()
    transport = FakeTransport()
    summary = await run(transport, rows, out)
    assert (summary.ok, summary.skipped, summary.sent, transport.calls) == (0, 2, 0, [])
    assert out.read_bytes() == before


@pytest.mark.parametrize("change", ["content", "model", "params", "system"])
async def test_changed_rows_run_again_and_replace_their_line(rows, out, change):
    """Whatever decides the answer: when it changes, the row is sent again and its old line goes."""
    write(rows, {"id": 1, "prompt": "a"}, {"id": 2, "prompt": "b"})
    await run(FakeTransport(), rows, out)
    transport, options, made = FakeTransport(), {}, {}
    if change == "content":
        write(rows, {"id": 1, "prompt": "a"}, {"id": 2, "prompt": "B"})
    elif change == "model":
        made = {"model": "another"}
    elif change == "params":
        made = {"params": {"temperature": 0}}
    else:
        options = {"system": "Be brief."}
    summary = await run(transport, rows, out, manager=manager_on(transport, **made), **options)
    again = 1 if change == "content" else 2
    assert (summary.ok, summary.skipped, len(transport.calls)) == (again, 2 - again, again)
    assert answers(out) == {"1": "You said a", "2": f"You said {'B' if change == 'content' else 'b'}"}


async def test_failed_rows_run_again(rows, out, errors):
    """A failed row is recorded beside the output and tried again; its record goes when it succeeds."""
    write(rows, {"id": "x", "prompt": "a"}, {"id": "y", "prompt": "b", "note": "keep"})
    summary = await run(refusing("b"), rows, out)
    assert (summary.ok, summary.failed, summary.errors) == (1, 1, str(errors))
    (record,) = read(errors)
    assert (record["custom_id"], record["prompt"], record["note"]) == ("y", "b", "keep")
    assert record["error"] == {
        "class": "BadRequest",
        "code": "error",
        "status": 400,
        "message": "no",
        "attempts": 1,
        "maybe_billed": False,
        "retriable": False,
        "fault": "you",
    }
    assert record["fastbatch"] == {"row": 2}
    transport = FakeTransport()
    summary = await run(transport, rows, out)
    assert (summary.ok, summary.skipped, summary.errors, transport.prompts) == (1, 1, "", ["b"])
    assert not errors.exists()
    assert answers(out) == {"x": "You said a", "y": "You said b"}


async def test_new_rows_run_and_gone_rows_stay(rows, out):
    """A row that is new is sent; the line of one that is gone stays and is reported."""
    write(rows, {"id": "a", "prompt": "a"}, {"id": "b", "prompt": "b"})
    await run(FakeTransport(), rows, out)
    write(rows, {"id": "c", "prompt": "c"}, {"id": "b", "prompt": "b"})
    transport = FakeTransport()
    summary = await run(transport, rows, out)
    assert (summary.ok, summary.skipped, summary.gone, transport.prompts) == (1, 1, 1, ["c"])
    assert answers(out) == {"a": "You said a", "b": "You said b", "c": "You said c"}


async def test_rows_without_ids_keep_their_identity(rows, out):
    """Rows inserted above, reordered or repeated change nothing for the others."""
    write(rows, {"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"})
    await run(FakeTransport(), rows, out)
    assert len(read(out)) == 3
    write(rows, {"prompt": "new"}, {"prompt": "b"}, "", {"prompt": "a"}, {"prompt": "a"})
    transport = FakeTransport()
    summary = await run(transport, rows, out)
    assert (summary.ok, summary.skipped, transport.prompts) == (1, 3, ["new"])
    assert len(read(out)) == 4


async def test_limit_takes_the_first_rows(rows, out):
    """Only they are checked, sent and counted; answers of later rows are not reported as gone."""
    write(rows, *({"prompt": str(number)} for number in range(10)))
    transport = FakeTransport()
    summary = await run(transport, rows, out, limit=3)
    assert (summary.total, transport.prompts) == (3, ["0", "1", "2"])
    await run(transport, rows, out)
    summary = await run(transport, rows, out, limit=3)
    assert (summary.total, summary.skipped, summary.gone, len(transport.calls)) == (3, 3, 0, 10)
    assert (await run(transport, rows, out, limit=0)).total == 0


async def test_an_errors_file_runs_into_the_same_output(rows, out, errors):
    """With the errors file as input the failed rows are answered, and the others stay answered."""
    write(rows, {"prompt": "a"}, {"id": 7, "prompt": "b"}, {"prompt": "c"})
    await run(refusing("b", "c"), rows, out)
    summary = await run(refusing("c"), errors, out)
    assert (summary.total, summary.ok, summary.failed) == (2, 1, 1)
    assert [record["prompt"] for record in read(errors)] == ["c"]
    summary = await run(FakeTransport(), rows, out)
    assert (summary.ok, summary.skipped, summary.gone) == (1, 2, 0), "the rows kept their identity"
    assert not errors.exists()
    assert sorted(answers(out).values()) == ["You said a", "You said b", "You said c"]


async def test_an_errors_file_runs_into_a_new_output(rows, out, errors, tmp_path):
    """The errors file is an input like any other; running it elsewhere changes nothing here."""
    write(rows, {"id": "a", "prompt": "a"}, {"id": "b", "prompt": "b", "temperature": 0.5, "note": 1})
    await run(refusing("b"), rows, out)
    record = errors.read_bytes()
    transport, new = FakeTransport(), tmp_path / "new.jsonl"
    summary = await run(transport, errors, new)
    assert (summary.ok, answers(new)) == (1, {"b": "You said b"})
    assert json.loads(transport.calls[0].body)["temperature"] == 0.5
    assert read(new)[0]["metadata"] == {"note": 1}
    assert errors.read_bytes() == record


async def test_failures_of_rows_that_were_not_run_are_kept(rows, out, errors):
    """A run of other rows into the same output does not forget whose record stands in the errors file."""
    write(rows, {"id": "a", "prompt": "a"})
    await run(refusing("a"), rows, out)
    await run(refusing("b"), write(rows, {"id": "b", "prompt": "b"}), out)
    assert [record["custom_id"] for record in read(errors)] == ["a", "b"]


async def test_a_stop_keeps_what_was_answered(rows, out, errors):
    """After a stop the answers are saved, failures recorded, and the same command goes on with the rest."""
    write(rows, *({"id": n, "prompt": str(n)} for n in range(20)))
    transport = in_turn(echo, lambda call: refusal(400), echo, lambda call: refusal(401))
    with pytest.raises(RunStopped) as stopped:
        await manager_on(transport, concurrency=1).run_file_async(rows, out)
    summary = stopped.value.summary
    assert (summary.ok, summary.failed, summary.sent, summary.total) == (2, 1, 4, 20)
    assert (sorted(answers(out)), [record["custom_id"] for record in read(errors)]) == (["0", "2"], ["1"])
    again = FakeTransport()
    summary = await run(again, rows, out)
    assert (summary.ok, summary.skipped, len(again.calls)) == (18, 2, 18)
    assert len(answers(out)) == 20


async def test_the_cache_answers_into_a_new_output(rows, out, tmp_path):
    """With a cache and a new output every row is answered without a request, and says so."""
    write(rows, *({"prompt": str(number)} for number in range(600)))
    cache, transport = InMemoryCache(), FakeTransport()
    await run(transport, rows, out, manager=manager_on(transport, cache=cache))
    again, new = FakeTransport(), tmp_path / "new.jsonl"
    summary = await run(again, rows, new, manager=manager_on(again, cache=cache))
    assert (summary.ok, summary.cached, summary.sent, again.calls) == (600, 600, 0, [])
    assert all(line["fastbatch"]["cached"] for line in read(new))
    assert answers(new) == answers(out)


async def test_samples_resume(rows, out):
    """Under identical="sample" three equal rows are three calls; when one failed, one is sent again."""
    write(rows, *[{"prompt": "a"}] * 3)
    transport = in_turn(echo, lambda call: refusal(400), echo)
    summary = await run(transport, rows, out, manager=manager_on(transport, identical="sample"))
    assert (summary.ok, summary.failed) == (2, 1)
    again = FakeTransport()
    summary = await run(again, rows, out, manager=manager_on(again, identical="sample"))
    assert (summary.ok, summary.skipped, len(again.calls)) == (1, 2, 1)
    assert len({line["fastbatch"]["key"] for line in read(out)}) == 3


async def test_identical_rows_have_a_record_each(rows, out):
    """Equal rows share a call, not a line: each id has its own."""
    write(rows, {"id": "x", "prompt": "a"}, {"id": "y", "prompt": "a"})
    transport = FakeTransport()
    summary = await run(transport, rows, out)
    assert (summary.ok, summary.shared, len(transport.calls)) == (2, 1, 1)
    assert answers(out) == {"x": "You said a", "y": "You said a"}


async def test_an_empty_input_gives_an_empty_output(rows, out):
    """Nothing to do is a success, and the output is there for whoever reads it next."""
    rows.write_bytes(b"\n  \n")
    summary = await run(FakeTransport(), rows, out)
    assert (summary.total, out.read_bytes()) == (0, b"")


async def test_the_torn_end_of_a_crash_is_cut_off(rows, out):
    """A last line without its end is dropped and its row runs again; one without its newline only stays."""
    write(rows, {"prompt": "a"}, {"prompt": "b"})
    await run(FakeTransport(), rows, out)
    whole = out.read_bytes()
    first, second = whole.splitlines(keepends=True)
    for cut, lost in ((1, 1), (10, 1), (30, 1), (len(second) - 2, 1), (len(second) - 1, 0)):
        out.write_bytes(first + second[:cut])
        transport = FakeTransport()
        assert (await manager_on(transport).file_run(rows, out).plan()).answered == 2 - lost
        summary = await run(transport, rows, out)
        assert (summary.ok, summary.skipped, len(transport.calls)) == (lost, 2 - lost, lost)
        assert len(answers(out)) == 2


async def test_a_superseded_line_of_a_crash_is_dropped(rows, out):
    """Two whole lines of one id (a run that died before its last rewrite): the later one stays."""
    write(rows, {"id": 1, "prompt": "old"})
    await run(FakeTransport(), rows, out)
    old = out.read_bytes()
    write(rows, {"id": 1, "prompt": "new"})
    await run(FakeTransport(), rows, out)
    out.write_bytes(old + out.read_bytes())
    transport = FakeTransport()
    summary = await run(transport, rows, out)
    assert (summary.skipped, transport.calls, answers(out)) == (1, [], {"1": "You said new"})


async def test_a_long_resume_lets_the_loop_live(rows, out):
    """While thousands of answered rows are skipped the loop still turns, so that signals are heard."""
    write(rows, *({"prompt": str(number)} for number in range(6000)))
    await run(FakeTransport(), rows, out, limit=5999)
    turns, over = 0, asyncio.Event()

    async def count():
        nonlocal turns
        while not over.is_set():
            turns += 1
            await asyncio.sleep(0)

    manager = manager_on(FakeTransport())
    file_run = manager.file_run(rows, out)
    seen = []
    jobs = FileJobs.blocks

    async def watched(self, *given):
        seen.append(turns)
        async for block in jobs(self, *given):
            yield block
        seen.append(turns)

    counting = asyncio.create_task(count())
    try:
        FileJobs.blocks = watched
        await file_run.run()
    finally:
        FileJobs.blocks = jobs
        over.set()
        await counting
    assert seen[1] - seen[0] >= 6000 // 1024


async def test_a_replayed_row_keeps_its_first_line(rows, out, errors):
    """What an errors file says of a row's line stands in the output, whatever its line in that file."""
    write(rows, *({"id": name, "prompt": name} for name in "abcd"))
    await run(refusing("b", "d"), rows, out)
    assert [line["fastbatch"]["row"] for line in read(errors)] == [2, 4]
    again = out.parent / "again.jsonl"
    again.write_bytes(errors.read_bytes())
    await run(refusing("d"), again, out)
    assert [line["fastbatch"]["row"] for line in read(errors)] == [4]
    assert {line["custom_id"]: line["fastbatch"]["row"] for line in read(out)} == {"a": 1, "b": 2, "c": 3}


async def test_a_run_that_stops_keeps_the_failures_of_rows_it_never_reached(rows, out, errors):
    """Five rows failed; the next run is stopped by its key at once: their records are still there."""
    write(rows, *({"id": str(n), "prompt": str(n)} for n in range(5)))
    await run(FakeTransport(lambda call: refusal(400)), rows, out)
    before = errors.read_bytes()
    with pytest.raises(RunStopped):
        await manager_on(FakeTransport(lambda call: refusal(401))).run_file_async(rows, out)
    assert errors.read_bytes() == before


async def test_a_changed_row_that_fails_keeps_its_old_answer(rows, out, errors):
    """What was paid for is not thrown away: the old answer and the new failure are both on record."""
    write(rows, {"id": "a", "prompt": "one"})
    await run(FakeTransport(), rows, out)
    write(rows, {"id": "a", "prompt": "two"})
    summary = await run(refusing("two"), rows, out)
    assert (summary.failed, summary.replaced) == (1, 0)
    assert answers(out) == {"a": "You said one"}
    assert [line["custom_id"] for line in read(errors)] == ["a"]
    summary = await run(FakeTransport(), rows, out)
    assert (summary.ok, summary.replaced) == (1, 1)
    assert answers(out) == {"a": "You said two"}
    assert not errors.exists()


async def test_a_second_row_of_an_id_never_takes_the_first_ones_place(rows, out, errors):
    """Recorded as bad, it has an id of its own, so that running its record again replaces nothing."""
    write(rows, {"id": "a", "prompt": "one"}, {"id": "a", "prompt": "two"})
    await run(FakeTransport(), rows, out, on_bad_row="record")
    assert [line["custom_id"] for line in read(errors)] == ["a-line-2"]
    again = out.parent / "again.jsonl"
    again.write_bytes(errors.read_bytes())
    await run(FakeTransport(), again, out)
    assert answers(out) == {"a": "You said one", "a-line-2": "You said two"}


async def test_the_summary_tells_the_ways_of_failing(rows, out):
    """Kind, status, code, number and the first message, the most frequent way first."""
    write(rows, *({"id": str(n), "prompt": str(n)} for n in range(5)))
    transport = FakeTransport(
        lambda call: refusal(404, "no_model", "no such model") if prompt_of(call) == "3" else refusal(400)
    )
    summary = await run(transport, rows, out)
    assert [(way.kind, way.status, way.code, way.count) for way in summary.failures] == [
        ("BadRequest", 400, summary.failures[0].code, 4),
        ("NotFound", 404, "no_model", 1),
    ]
    assert summary.failures[1].message == "no such model"


async def test_skipping_ends_when_asked(rows, out):
    """A run that is drained while it skips answered rows ends, and says that it is not whole."""
    write(rows, *({"prompt": str(number)} for number in range(3001)))
    await run(FakeTransport(), rows, out, limit=3000)
    file_run = manager_on(FakeTransport()).file_run(rows, out)
    jobs = FileJobs.blocks

    async def drained_on_the_way(self, *given):
        file_run.drain()
        async for block in jobs(self, *given):
            yield block

    try:
        FileJobs.blocks = drained_on_the_way
        summary = await file_run.run()
    finally:
        FileJobs.blocks = jobs
    assert summary.interrupted
    assert summary.skipped < 3000


async def test_a_failed_sample_is_itself(rows, out, errors):
    """Run again from the errors file it buys its own answer, and the input's next run finds it answered."""
    samples = {"cache": InMemoryCache(), "identical": "sample", "concurrency": 1}
    write(rows, *({"id": n, "prompt": "a"} for n in range(3)))
    transport = in_turn(echo, lambda call: refusal(400), echo)
    await run(transport, rows, out, manager=manager_on(transport, **samples))
    transport = FakeTransport()
    await run(transport, errors, out, manager=manager_on(transport, **samples))
    assert len(transport.calls) == 1
    assert len({line["fastbatch"]["key"] for line in read(out)}) == 3
    transport = FakeTransport()
    summary = await run(transport, rows, out, manager=manager_on(transport, **samples))
    assert (summary.skipped, transport.calls) == (3, [])


async def test_samples_belong_to_their_rows(rows, out):
    """Reordered, or with one of them gone, rows with ids keep the answers that were bought for them."""
    write(rows, *({"id": n, "prompt": "a"} for n in range(5)))
    await run(FakeTransport(), rows, out, manager=manager_on(FakeTransport(), identical="sample"))
    for kept in ((4, 3, 2, 1, 0), (3, 1, 0)):
        write(rows, *({"id": n, "prompt": "a"} for n in kept))
        transport = FakeTransport()
        summary = await run(transport, rows, out, manager=manager_on(transport, identical="sample"))
        assert (summary.skipped, transport.calls) == (len(kept), [])


ODD = {
    "an id twice, the last one counts": (
        b'{"id":"a","prompt":"x","id":"b"}',
        b'{"id":"b","prompt":"y","id":"a"}',
    ),
    "an id with an escape": (b'{"id":"a\\"b","prompt":"x"}', b'{"id":"a\\\\","prompt":"y"}'),
    "another id behind it": (
        b'{"id":"a","custom_id":"b","prompt":"x"}',
        b'{"custom_id":"a","id":"b","prompt":"y"}',
    ),
    "spaces": (b'{"id": "a", "prompt": "x"}', b'{"custom_id": "b", "prompt": "y"}'),
    "a number, none": (b'{"id":7,"prompt":"x"}', b'{"prompt":"y"}'),
}


@pytest.mark.parametrize("case", ODD)
async def test_rows_are_known_again_whatever_they_begin_with(rows, out, case):
    """Nothing is bought twice, and a changed row is bought, however its id is written."""
    rows.write_bytes(b"\n".join(ODD[case]))
    assert (await run(FakeTransport(), rows, out)).ok == 2
    transport = FakeTransport()
    assert (await run(transport, rows, out)).skipped == 2
    rows.write_bytes(b"\n".join(ODD[case]).replace(b'"x"', b'"new"'))
    summary = await run(transport, rows, out)
    assert (summary.skipped, transport.prompts, len(answers(out))) == (1, ["new"], 2)


def appending(path, *late):
    """A transport that appends rows with these prompts to the input when it is first called, and refuses
    the one that asks for it.
    """
    lines = "".join(json.dumps({"id": prompt, "prompt": prompt}) + "\n" for prompt in late)

    def answer(call):
        if len(transport.calls) == 1:
            with path.open("a") as file:
                file.write(lines)
        return refusal(401) if prompt_of(call) == "refused" else echo(call)

    transport = FakeTransport(answer)
    return transport


MANY = [{"id": number, "prompt": str(number)} for number in range(2000)]  # more than are read ahead


async def test_an_input_that_grows_is_answered_to_its_end(rows, out):
    """Rows that are appended while others are asked are rows of this run, which is complete with them."""
    write(rows, *MANY)
    summary = await manager_on(appending(rows, "late")).run_file_async(rows, out)
    assert (summary.ok, summary.total) == (2001, 2001)
    assert answers(out)["late"] == "You said late"
    assert not out.with_name("out.jsonl.journal").exists()


async def test_a_run_that_stops_in_what_was_appended_is_not_complete(rows, out):
    """All rows that there were are answered, and one of two new ones: the journal stays."""
    write(rows, *MANY)
    with pytest.raises(RunStopped) as stopped:
        await manager_on(appending(rows, "late", "refused"), concurrency=1).run_file_async(rows, out)
    assert (stopped.value.summary.ok, stopped.value.summary.total) == (2001, 2002)
    assert out.with_name("out.jsonl.journal").exists()
