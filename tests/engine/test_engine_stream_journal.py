"""`stream` and `run` with a journal: recorded before they are yielded, given back instead of bought again."""

import asyncio
import json
from contextlib import aclosing

import pytest
from fakes import FakeTransport, Held, asks, manager_on, prompt_of, refusal, texts

from fastbatch import LLMRequest
from fastbatch.errors import InvalidRequest, OutputError, RunStopped, Uncertain


@pytest.fixture
def book(tmp_path):
    return tmp_path / "results.jsonl"


def journal_of(book):
    return book.with_name(book.name + ".journal")


def ids(book):
    return [json.loads(line)["custom_id"] for line in book.read_bytes().splitlines()]


async def test_answers_are_given_back_and_not_bought_again(book):
    """The second run sends only what is new; what it gives back is what was bought, marked as recorded."""
    first = await manager_on(FakeTransport()).run_async(asks("a", "b"), journal=book)
    transport = FakeTransport()
    second = await manager_on(transport).run_async(asks("b", "c", "a"), journal=book)
    assert transport.prompts == ["c"]
    assert texts(second) == ["You said b", "You said c", "You said a"]
    assert [result.recorded for result in second] == [True, False, True]
    assert (second[2].raw, second[2].tokens, second[2].key) == (first[0].raw, first[0].tokens, first[0].key)
    assert sum(result.usage.prompt_tokens for result in second) == second[1].tokens.prompt_tokens
    assert not journal_of(book).exists()


async def test_an_answer_is_recorded_before_it_is_yielded(book):
    """At the moment a caller sees a result, its line is in the file."""
    stream = manager_on(FakeTransport()).stream(asks("a", "b", "c"), journal=book)
    async with aclosing(stream):
        async for result in stream:
            assert f'"key":"{result.key}"' in book.read_text()


async def test_the_results_are_the_output_of_a_file_run(book, tmp_path):
    """A journal is an output like any other: `run_file` finds its rows answered, under the same ids."""
    rows = [{"custom_id": "x", "prompt": "a"}, {"custom_id": "y", "prompt": "b"}]
    await manager_on(FakeTransport()).run_async(rows, journal=book)
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    transport = FakeTransport()
    summary = await manager_on(transport).run_file_async(source, book)
    assert (summary.skipped, transport.calls) == (2, [])


async def test_a_row_that_asks_something_else_is_bought_again(book):
    """Its old line leaves the file; the others stay."""
    await manager_on(FakeTransport()).run_async(
        [{"id": 1, "prompt": "old"}, {"id": 2, "prompt": "b"}], journal=book
    )
    transport = FakeTransport()
    results = await manager_on(transport).run_async(
        [{"id": 1, "prompt": "new"}, {"id": 2, "prompt": "b"}], journal=book
    )
    assert (transport.prompts, texts(results)) == (["new"], ["You said new", "You said b"])
    assert sorted(ids(book)) == ["1", "2"]
    assert "You said old" not in book.read_text()


async def test_equal_rows_without_ids_are_counted(book):
    """Three times the same question is three rows, in this run and in the next."""
    await manager_on(FakeTransport()).run_async(asks("a", "a", "a"), journal=book)
    assert len(set(ids(book))) == 3
    transport = FakeTransport()
    results = await manager_on(transport).run_async(asks("a", "a", "a"), journal=book)
    assert (transport.calls, [result.recorded for result in results]) == ([], [True] * 3)


async def test_an_id_belongs_to_one_row(book):
    """A second row of the same id is a failed row; the first keeps its answer."""
    rows = [{"id": 1, "prompt": "a"}, {"id": 1, "prompt": "b"}]
    results = await manager_on(FakeTransport()).run_async(rows, journal=book)
    assert results[0].text == "You said a"
    assert isinstance(results[1].error, InvalidRequest)
    assert ids(book) == ["1"]


async def test_failed_and_bad_rows_run_again(book):
    """They leave no line and nothing open."""
    transport = FakeTransport(lambda call: refusal(400) if prompt_of(call) == "bad" else refusal(500))
    results = await manager_on(transport).run_async([{"prompt": "bad"}, {"nothing": 1}], journal=book)
    assert [result.ok for result in results] == [False, False]
    assert not journal_of(book).exists()
    again = await manager_on(FakeTransport()).run_async(asks("bad"), journal=book)
    assert again[0].text == "You said bad"


async def test_what_was_in_flight_when_the_caller_left_is_uncertain(book, caplog):
    """It is told with its number and tokens before anything is sent, and then sent again."""
    held = Held()
    stream = manager_on(FakeTransport(held), concurrency=2).stream(asks("a", "b", "c"), journal=book)
    waiting = asyncio.ensure_future(anext(stream))
    await held.arrived(2)
    held.release("a")
    assert (await waiting).text == "You said a"
    await stream.aclose()
    told = []

    def at_once(rows):
        told.extend(rows)
        return "retry"

    transport = FakeTransport()
    await manager_on(transport).run_async(asks("a", "b", "c"), journal=book, on_uncertain=at_once)
    assert {"b"} <= {asks_of(row) for row in told} <= {"b", "c"}
    assert all(row.prompt_tokens > 0 and row.attempt == 1 for row in told)
    assert sorted(transport.prompts) == ["b", "c"]


def asks_of(row):
    """The prompt of an uncertain row, by its line."""
    return "abc"[row.row - 1]


async def test_uncertain_rows_can_be_left_alone(book, caplog):
    """With `skip` they fail, are not sent, and stay on the list until somebody says retry."""
    held = Held()
    stream = manager_on(FakeTransport(held)).stream(asks("a"), journal=book)
    waiting = asyncio.ensure_future(anext(stream))
    await held.arrived(1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await stream.aclose()
    for _ in range(2):
        transport = FakeTransport()
        rows = asks("before", "a")
        before, result = await manager_on(transport).run_async(rows, journal=book, on_uncertain="skip")
        assert (before.text, before.index, result.index) == ("You said before", 0, 1)
        assert isinstance(result.error, Uncertain)
        assert result.error.maybe_billed
        assert "a" not in transport.prompts
        assert journal_of(book).exists()
    assert "1 rows were sent by a run that ended without recording an answer" in caplog.text
    (result,) = await manager_on(FakeTransport()).run_async(asks("a"), journal=book)
    assert (result.text, journal_of(book).exists()) == ("You said a", False)


async def test_a_stopped_run_goes_on(book):
    """A key that is refused stops it; what was answered is in the journal, nothing is uncertain."""
    answers = iter([None, refusal(401)])

    def once(call):
        reply = next(answers, refusal(401))
        return reply or FakeTransport().answer(call)

    with pytest.raises(RunStopped):
        await manager_on(FakeTransport(once), concurrency=1).run_async(asks("a", "b", "c"), journal=book)
    transport = FakeTransport()
    results = await manager_on(transport).run_async(
        asks("a", "b", "c"), journal=book, on_uncertain=lambda rows: pytest.fail(f"uncertain: {rows}")
    )
    assert (transport.prompts, [result.recorded for result in results]) == (["b", "c"], [True, False, False])


async def test_a_journal_in_use_is_refused(book):
    """Naming who holds it: another stream of this very process."""
    held = Held()
    stream = manager_on(FakeTransport(held)).stream(asks("a"), journal=book)
    waiting = asyncio.ensure_future(anext(stream))
    await held.arrived(1)
    with pytest.raises(OutputError, match="is held by another running fastbatch"):
        await manager_on(FakeTransport()).run_async(asks("a"), journal=book)
    held.release_all()
    assert (await waiting).ok
    await stream.aclose()


async def test_a_journal_of_something_else_is_refused(book):
    """Not one byte of it changes."""
    book.write_text("my diary\n")
    transport = FakeTransport()
    with pytest.raises(OutputError, match="does not hold result lines"):
        await manager_on(transport).run_async(asks("a"), journal=book)
    assert (book.read_text(), transport.calls, journal_of(book).exists()) == ("my diary\n", [], False)


async def test_a_reply_is_given_back_byte_for_byte(book):
    """Also one that looks inside like what stands behind it in the line."""
    from fakes import answer_to

    reply = answer_to("x")
    tricky = reply.body.replace(b'"id":', b'"a":{"b":{}},"error":null,"metadata":{},"id":')
    transport = FakeTransport(lambda call: type(reply)(200, reply.headers, tricky))
    request = LLMRequest.from_prompt("a", metadata={"c": {"d": {}}, "error": None})
    await manager_on(transport).run_async([request], journal=book)
    (result,) = await manager_on(FakeTransport()).run_async([request], journal=book)
    assert (result.recorded, result.raw) == (True, tricky)


def test_run_is_the_same_for_synchronous_code(book):
    """`run` takes a journal too."""
    manager_on(FakeTransport()).run(asks("a"), journal=book)
    transport = FakeTransport()
    assert manager_on(transport).run(asks("a"), journal=book)[0].recorded
    assert transport.calls == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"metadata": {"n": 10**30}}, "the metadata cannot be written"),
        ({"metadata": {1: "one"}}, "the metadata cannot be written"),
        ({"metadata": {"t": "\ud800"}}, "the metadata cannot be written"),
        ({"custom_id": "\ud800"}, "is no text"),
    ],
)
async def test_what_no_journal_can_hold_is_refused_before_it_is_bought(book, wrong, says):
    """The row fails by itself; the others run, and nothing of it is sent again and again."""
    rows = [LLMRequest.from_prompt(str(number), model="m") for number in range(9)]
    rows[4] = LLMRequest.from_prompt("4", model="m", **wrong)
    transport = FakeTransport()
    results = await manager_on(transport).run_async(rows, journal=book)
    assert [result.index for result in results if not result.ok] == [4]
    assert isinstance(results[4].error, InvalidRequest)
    assert says in str(results[4].error)
    assert "4" not in transport.prompts
    assert len(ids(book)) == 8
    assert not journal_of(book).exists()
