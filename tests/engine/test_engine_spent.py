"""What an output has cost is not forgotten: whatever a run leaves, the next one's budget begins with it."""

import asyncio
from contextlib import suppress

import orjson
import pytest
from fakes import FakeTransport, Held, answer_to, echo, manager_on, prompt_of, refusal
from prices import book

from fastbatch import RetryPolicy, RunStopped
from fastbatch.engine.journal.places import costs_path, journal_path
from fastbatch.errors import OutputError, RequestTimeout
from fastbatch.models.http import HTTPReply
from fastbatch.models.money import dollars

ANSWER = 3 * 100 + 2 * 1000  # pico-dollars


class Desk:
    """An input, its output, and runs that go on with it."""

    def __init__(self, folder, count, **row):
        self.source, self.out = folder / "in", folder / "out"
        self.rows(count, **row)

    def rows(self, count, **more):
        rows = [{"id": str(n), "prompt": str(n), "max_tokens": 10, **more} for n in range(count)]
        self.source.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))

    async def run(self, answer=echo, budget=10**12, **options):
        """What it had cost before, and the purse afterwards."""
        options = {"retry": RetryPolicy(attempts=1), "prices": book(), "concurrency": 1, **options}
        budget = {} if budget is None else {"budget_usd": dollars(budget)}
        self.transport = FakeTransport(answer)
        manager = manager_on(self.transport, **budget, **options)
        with suppress(RunStopped):
            await manager.run_file_async(self.source, self.out)
        return None if not budget else manager._settings.purse.look()

    async def before(self):
        """What a run with nothing to do says that the output has cost; no request is sent."""
        manager = manager_on(FakeTransport(), prices=book(), budget_usd=0)
        try:
            summary = await manager.run_file_async(self.source, self.out)
        except RunStopped as stopped:
            summary = stopped.summary
        return int(summary.bill.before * 10**12)

    @property
    def beside(self):
        path = costs_path(self.out)
        return orjson.loads(path.read_bytes())["beside_usd"] if path.exists() else None


def silent(call):
    """An answer that does not say its tokens."""
    body = orjson.loads(answer_to("Hi").body)
    del body["usage"]
    return HTTPReply(200, {}, orjson.dumps(body))


async def test_a_plain_run_leaves_nothing_beside_its_lines(tmp_path):
    """What they tell is all that it has cost."""
    desk = Desk(tmp_path, 3)
    await desk.run()
    assert (await desk.before(), desk.beside) == (3 * ANSWER, None)


async def test_answers_that_state_no_tokens(tmp_path):
    """They count at their worst, in the next run as in their own."""
    desk = Desk(tmp_path, 3)
    spent = (await desk.run(silent)).spent
    assert spent > 3 * 10 * 1000
    assert [await desk.before(), await desk.before()] == [spent, spent]


@pytest.mark.parametrize("budget", [10**12, None])
async def test_what_may_have_been_billed(tmp_path, budget):
    """It is remembered when the row is answered and the run complete, and through a run without a budget."""
    desk = Desk(tmp_path, 1)

    def late(call):
        raise RequestTimeout("late")

    spent = (await desk.run(late)).spent
    assert await desk.before() == spent > 0
    await desk.run(budget=budget)
    assert await desk.before() == spent + ANSWER
    assert not journal_path(desk.out).exists()


async def test_failed_rows_that_cost(tmp_path):
    """Their record is replaced by the next one, their cost is not."""
    desk = Desk(tmp_path, 2)
    schema = {"response_format": {"type": "object", "required": ["a"]}, "reasks": 0}
    for runs in (1, 2, 3):
        await desk.run(**schema)
        assert await desk.before() == runs * 2 * ANSWER
    await desk.run(lambda call: answer_to('{"a": 1}'), **schema)
    assert await desk.before() == 4 * 2 * ANSWER


@pytest.mark.parametrize("ordered", [False, True])
async def test_answers_that_others_replace(tmp_path, ordered):
    """Their lines go, what they cost stays."""
    desk = Desk(tmp_path, 3)
    await desk.run()
    desk.rows(3, temperature=0.5)
    manager = manager_on(FakeTransport(), prices=book(), budget_usd=1)
    await manager.run_file_async(desk.source, desk.out, ordered=ordered)
    assert len(desk.out.read_bytes().splitlines()) == 3
    assert await desk.before() == 6 * ANSWER


async def test_an_answer_whose_row_stays_open(tmp_path):
    """It did not fit, and there was no money to ask again: it was paid for all the same."""
    desk = Desk(tmp_path, 1)
    shape = {"type": "object", "required": ["a"]}
    for budget in range(20_000, 100_000, 500):  # until it is just enough for the first question
        look = await desk.run(budget=budget, response_format=shape)
        if desk.transport.calls:
            break
    assert (look.spent, desk.out.read_bytes(), len(desk.transport.calls)) == (ANSWER, b"", 1)
    assert await desk.before() == ANSWER


async def test_two_runs_that_died(tmp_path):
    """What both had on their way counts, although the second had not told anything yet."""
    desk = Desk(tmp_path, 1)
    held = Held()
    manager = manager_on(FakeTransport(held), prices=book(), budget_usd=1)
    work = asyncio.ensure_future(manager.run_file_async(desk.source, desk.out))
    await held.arrived(1)
    died, worst = journal_path(desk.out).read_bytes(), manager._settings.purse.look().held
    held.release_all()
    await work

    def as_killed():
        desk.out.write_bytes(b"")
        journal_path(desk.out).write_bytes(died)

    as_killed()
    manager = manager_on(FakeTransport(), prices=book(), budget_usd=1)
    run = manager.file_run(desk.source, desk.out)
    journal = run._journal()
    journal.open(input="in", model="m")
    died = journal_path(desk.out).read_bytes()  # the second one died here
    journal.close()
    as_killed()
    assert await desk.before() == worst > 0


async def test_failed_rows_of_a_run_that_died(tmp_path):
    """Their records are lost with it, what they had cost is not."""
    desk = Desk(tmp_path, 3)
    held = Held()
    manager = manager_on(
        FakeTransport(lambda call: held(call) if prompt_of(call) == "2" else echo(call)),
        prices=book(),
        budget_usd=1,
        concurrency=1,
        response_format={"type": "object", "required": ["a"]},
        reasks=0,
    )
    work = asyncio.ensure_future(manager.run_file_async(desk.source, desk.out))
    await held.arrived(1)  # its entry in the journal came after what the others had cost
    died, look = journal_path(desk.out).read_bytes(), manager._settings.purse.look()
    held.release_all()
    await work
    desk.out.with_name("out.errors.jsonl").unlink()
    costs_path(desk.out).unlink(missing_ok=True)
    journal_path(desk.out).write_bytes(died)
    assert look.spent == 2 * ANSWER
    assert await desk.before() == look.spent + look.held


async def test_costs_that_are_not_as_written(tmp_path):
    """They are refused before anything is sent: a budget could not be kept."""
    desk = Desk(tmp_path, 1)
    await desk.run(silent)
    costs_path(desk.out).write_bytes(b'{"beside_usd": "x"}')
    with pytest.raises(OutputError, match=r"out\.costs\.json is not as it was written"):
        await desk.run()
    assert desk.transport.calls == []


async def test_nonsense_in_a_record_costs_nothing(tmp_path):
    """What somebody has written into the errors file neither ends a run nor makes its cap larger."""
    desk = Desk(tmp_path, 1)
    await desk.run(lambda call: refusal(400))
    errors = desk.out.with_name("out.errors.jsonl")
    record = orjson.loads(errors.read_bytes())
    for cost in (True, -5, "1", None, [], float("inf")):
        record["fastbatch"]["cost_usd"] = cost if cost != float("inf") else 1e400
        errors.write_bytes(orjson.dumps(record) + b"\n")
        assert await desk.before() == 0


async def test_a_run_that_is_cancelled_counts_once(tmp_path):
    """The same manager goes on with its output: the purse knows already what it has paid."""
    desk = Desk(tmp_path, 2)
    held = Held()
    manager = manager_on(
        FakeTransport(lambda call: echo(call) if prompt_of(call) == "0" else held(call)),
        prices=book(),
        budget_usd=1,
    )
    work = asyncio.ensure_future(manager.run_file_async(desk.source, desk.out))
    await held.arrived(1)
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work
    doubted = manager._settings.purse.look().doubtful
    assert doubted > 0
    transport = FakeTransport()
    object.__setattr__(manager._settings, "transport", lambda: transport)
    await manager.run_file_async(desk.source, desk.out)
    assert manager._settings.purse.look().spent == 2 * ANSWER + doubted
