"""What has nothing to wait for leaves and comes back in batches; all else goes the pipeline's way."""

import asyncio

import orjson
import pytest
from fakes import FakeTransport, Held, asks, echo, prompt_of, refusal, texts
from fakes import manager_on as slow_manager_on
from skies import assert_clean, lanes_of

from fastbatch import Limits, LLMRequest, OpenAIProvider, RetryPolicy, Window
from fastbatch.cache.memory import InMemoryCache
from fastbatch.engine import dispatcher
from fastbatch.engine.dispatcher import Dispatcher
from fastbatch.engine.journal.journal import Journal
from fastbatch.engine.pipeline import Pipeline
from fastbatch.errors import BadRequest, ConnectionLost, InvalidRequest, StorageError
from fastbatch.models.http import HTTPReply
from fastbatch.testing import ManualClock


class Ways:
    """Which rows were dispatched, and which of them the pipeline sent."""

    def __init__(self, monkeypatch):
        self.dispatched, self.attempted = [], []
        leave, attempt = Dispatcher._leave, Pipeline.attempt

        def leaving(sender, departures):
            self.dispatched.append([departure.job.index for departure in departures])
            leave(sender, departures)

        async def attempting(pipeline, job):
            self.attempted.append(job.index)
            return await attempt(pipeline, job)

        monkeypatch.setattr(Dispatcher, "_leave", leaving)
        monkeypatch.setattr(Pipeline, "attempt", attempting)


@pytest.fixture
def ways(monkeypatch):
    return Ways(monkeypatch)


@pytest.fixture
def clock():
    return ManualClock()


def manager_on(transport, **options):
    """A manager that does not start slowly, since it was told a limit that is never reached."""
    return slow_manager_on(transport, **{"limits": Limits(rpm=1_000_000, tpm=1_000_000_000), **options})


def rows(number):
    return ({"prompt": str(each)} for each in range(number))


def written(folder, number):
    """An input file of so many rows."""
    path = folder / "in.jsonl"
    lines = [orjson.dumps({"custom_id": f"r{each}", "prompt": str(each)}) for each in range(number)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


class Picky(OpenAIProvider):
    """Builds no request for some prompts, and breaks at others."""

    def __init__(self, wrong):
        super().__init__("key", base_url="http://fake.test/v1", env={})
        self.wrong = wrong

    def build(self, request):
        error = self.wrong.get(request.body["messages"][-1]["content"])
        if error is not None:
            raise error
        return super().build(request)


class Unwilling(FakeTransport):
    """Refuses to write some calls."""

    def dispatch(self, call, timeout, answer):
        if prompt_of(call) == "3":
            raise InvalidRequest("a header has a line break")
        return super().dispatch(call, timeout, answer)


async def test_a_usual_run_goes_in_batches(ways):
    """Each batch is as large as there is room in flight; the pipeline has nothing to do."""
    transport = FakeTransport()
    results = await manager_on(transport, concurrency=10).run_async(rows(95))
    assert texts(results) == [f"You said {number}" for number in range(95)]
    assert ways.attempted == []
    assert [len(batch) for batch in ways.dispatched] == [10] * 9 + [5]
    assert transport.most_in_flight == 10


async def test_what_leaves_together_is_one_word_to_the_journal(ways, tmp_path, monkeypatch):
    """And it is on disk before any of it leaves."""
    told, on_disk = [], []
    leave, write = Journal.leave, Journal._write

    def leaving(journal, leaving_rows, then):
        told.append(len(leaving_rows))
        leave(journal, leaving_rows, then)

    def writing(journal, batches):
        write(journal, batches)
        on_disk.extend(sent[2] for batch in batches for sent in batch.sent)

    def answer(call):
        assert f"r{prompt_of(call)}" in on_disk
        return echo(call)

    monkeypatch.setattr(Journal, "leave", leaving)
    monkeypatch.setattr(Journal, "_write", writing)
    manager = manager_on(FakeTransport(answer), concurrency=10)
    summary = await manager.run_file_async(written(tmp_path, 95), tmp_path / "out.jsonl")
    assert summary.ok == 95
    assert ways.attempted == []
    assert sum(told) == 95
    assert len(told) <= 20


@pytest.mark.parametrize("why", ["two endpoints", "a fallback", "hedging", "a transport that cannot"])
async def test_where_there_is_a_choice_nothing_is_dispatched(ways, why):
    """Each of these has something to decide for each request."""
    transport = FakeTransport()
    other = OpenAIProvider("key", base_url="http://other.test/v1", env={})
    options = {
        "two endpoints": {"provider": [other, OpenAIProvider("key", base_url="http://fake.test/v1", env={})]},
        "a fallback": {"fallback": [other]},
        "hedging": {"hedge": 0.1},
    }.get(why, {})
    if why == "a transport that cannot":

        class Plain:
            open, send, close = transport.open, transport.send, transport.close

        transport = Plain()
    results = await manager_on(transport, **options).run_async(rows(20))
    assert all(result.ok for result in results)
    assert ways.dispatched == []
    assert len(ways.attempted) == 20


async def test_an_address_that_cannot_be_dispatched_to_is_sent_to(ways, monkeypatch):
    """The transport is asked for each address."""
    monkeypatch.setattr(FakeTransport, "dispatches", lambda transport, url: "embeddings" not in url)
    requests = [
        LLMRequest("/v1/embeddings", {"model": "m", "input": str(number)}) if number % 3 == 1 else ask
        for number, ask in enumerate(asks(*map(str, range(30))))
    ]

    def answer(call):
        return echo(call) if "chat" in call.url else refusal(404)

    results = await manager_on(FakeTransport(answer), concurrency=8).run_async(requests)
    assert [result.ok for result in results] == [number % 3 != 1 for number in range(30)]
    dispatched = {index for batch in ways.dispatched for index in batch}
    assert not dispatched & set(range(1, 30, 3))
    assert set(ways.attempted) >= set(range(1, 30, 3))


async def test_several_models_have_an_account_each(ways):
    """Neighbours of one model leave together; every row is answered once."""
    requests = [
        LLMRequest.from_prompt(str(number), model=f"m{number // 3 % 4}", max_tokens=5) for number in range(60)
    ]
    transport = FakeTransport()
    manager = manager_on(transport, concurrency=12)
    results = await manager.run_async(requests)
    assert texts(results) == [f"You said {number}" for number in range(60)]
    assert max(map(len, ways.dispatched)) <= 3
    assert ways.attempted == []
    assert transport.most_in_flight == 12
    assert sorted(lanes_of(manager)[0].ledgers()) == ["m0", "m1", "m2", "m3"]


async def test_at_a_limit_the_rest_waits_at_the_gate(ways, clock):
    """What there is room for leaves at once, and never more is in flight than may be."""
    held = Held()
    transport = FakeTransport(held)
    manager = manager_on(
        transport, clock=clock, concurrency=8, limits=Limits(windows=(Window(requests=5, per=10.0),))
    )
    running = asyncio.create_task(manager.run_async(rows(12)))
    await clock.run_until_idle()
    assert len(held.waiting) == 5
    assert len(ways.attempted) == 3, "the others of those that may be in flight"
    held.release_all()
    await clock.run_until_idle()
    assert not held.waiting
    for _ in range(20):
        clock.advance(1.0)
        await clock.run_until_idle()
        held.release_all()
        await clock.run_until_idle()
    assert texts(await running) == [f"You said {number}" for number in range(12)]
    assert transport.most_in_flight <= 8
    assert_clean(manager, clock)


async def test_a_failure_among_answers_is_judged_by_itself(ways, clock):
    """What came with it is settled; it is sent again, and so is one whose connection had been closed."""
    came = []

    def answer(call):
        prompt = prompt_of(call)
        came.append(prompt)
        if came.count(prompt) == 1 and prompt in ("3", "7"):
            if prompt == "7":
                raise ConnectionLost("closed", stale=True)
            return refusal(500)
        return refusal(400) if prompt == "5" else echo(call)

    manager = manager_on(FakeTransport(answer), clock=clock, concurrency=10)
    results = await clock.run(manager.run_async(rows(20)))
    assert [result.attempts for result in results] == [2 if number in (3, 7) else 1 for number in range(20)]
    assert [result.index for result in results if not result.ok] == [5]
    assert isinstance(results[5].error, BadRequest)
    assert_clean(manager, clock)


async def test_a_request_that_cannot_be_built_fails_alone(ways, clock):
    """Wherever in the batch it stands."""
    wrong = {prompt: InvalidRequest("not for this provider") for prompt in ("0", "4", "9")}
    manager = manager_on(FakeTransport(), clock=clock, provider=Picky(wrong), concurrency=10)
    results = await clock.run(manager.run_async(rows(20)))
    assert [result.index for result in results if not result.ok] == [0, 4, 9]
    assert {result.error.message for result in results if result.error} == {"not for this provider"}
    assert {0, 4, 9} < set(ways.attempted)
    assert_clean(manager, clock)


@pytest.mark.parametrize("prompt", ["0", "4"])
async def test_a_provider_that_breaks_while_building_ends_the_run(clock, prompt):
    """The caller sees its error, and nothing counts as in flight."""
    provider = Picky({prompt: ZeroDivisionError("a mistake of a plug-in")})
    manager = manager_on(FakeTransport(), clock=clock, provider=provider, concurrency=10)
    with pytest.raises(ZeroDivisionError):
        await clock.run(manager.run_async(rows(20)))
    assert_clean(manager, clock)


@pytest.mark.parametrize("what", ["parse", "settle", "read_limits"])
async def test_a_provider_that_breaks_at_an_answer_ends_the_run(clock, what, monkeypatch):
    """At any of the three questions."""

    class Broken(OpenAIProvider):
        pass

    def broken(*args, **options):
        raise ZeroDivisionError("a mistake of a plug-in")

    monkeypatch.setattr(Broken, what, broken)
    provider = Broken("key", base_url="http://fake.test/v1", env={})
    manager = manager_on(FakeTransport(), clock=clock, provider=provider, concurrency=4)
    with pytest.raises(ZeroDivisionError):
        await clock.run(manager.run_async(rows(9)))
    assert_clean(manager, clock)


@pytest.mark.parametrize(
    ("what", "rubbish"), [("read_limits", [5]), ("read_limits", 7), ("settle", 3), ("settle", "x")]
)
async def test_a_provider_that_answers_rubbish_ends_the_run_and_loses_nothing(what, rubbish, tmp_path):
    """The answers beside it are recorded, and another run of the manager has all the room there was."""

    class Rubbish(OpenAIProvider):
        well = False

        def read_limits(self, headers, **options):
            wrong = what == "read_limits" and "x-wrong" in headers and not self.well
            return rubbish if wrong else super().read_limits(headers, **options)

        def settle(self, reserved, usage):
            wrong = what == "settle" and usage.prompt_tokens == 999 and not self.well
            return rubbish if wrong else super().settle(reserved, usage)

    def answer(call):
        reply = echo(call)
        if prompt_of(call) != "12":
            return reply
        told = orjson.loads(reply.body)
        told["usage"] = {"prompt_tokens": 999, "completion_tokens": 1, "total_tokens": 1000}
        return HTTPReply(200, {**reply.headers, "x-wrong": "yes"}, orjson.dumps(told))

    provider = Rubbish("key", base_url="http://fake.test/v1", env={})
    transport = FakeTransport(answer)
    manager = manager_on(transport, provider=provider, concurrency=8)
    output = tmp_path / "out.jsonl"
    with pytest.raises((TypeError, AttributeError)):
        await manager.run_async(rows(50), journal=output)
    assert_clean(manager, ManualClock())  # the run had a clock of its own
    assert len(output.read_bytes().splitlines()) == len(transport.calls) - 1
    provider.well = True
    results = await asyncio.wait_for(manager.run_async(rows(50)), 20)
    assert all(result.ok for result in results)


async def test_a_call_that_is_none_ends_the_run_and_loses_nothing(tmp_path):
    """What is in flight beside it comes back and is recorded; its own row has cost nothing for certain."""
    held = Held()

    class Strict(FakeTransport):
        def dispatch(self, call, timeout, answer):
            if prompt_of(call) == "5":
                raise TypeError("a header must be a string")
            return super().dispatch(call, timeout, answer)

    transport = Strict(held)
    manager = manager_on(transport, concurrency=8)
    run = asyncio.create_task(manager.run_async(rows(20), journal=tmp_path / "out.jsonl"))
    await held.arrived(7)
    held.release_all()
    with pytest.raises(TypeError, match="a header must be a string"):
        await run
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 7
    assert_clean(manager, ManualClock())  # the run had a clock of its own
    journal = Journal(tmp_path / "out.jsonl")
    journal.open(input="", model="")
    assert journal.uncertain == ()
    journal.close()


async def test_a_call_that_cannot_be_written_is_its_rows_error(clock):
    """The transport says so at once."""
    manager = manager_on(Unwilling(), clock=clock, concurrency=10, retry=RetryPolicy(attempts=1))
    results = await clock.run(manager.run_async(rows(8)))
    assert [result.index for result in results if not result.ok] == [3]
    assert isinstance(results[3].error, InvalidRequest)
    assert_clean(manager, clock)


async def test_a_transport_that_breaks_ends_the_run(clock):
    """It does not hang."""

    class Broken(FakeTransport):
        def dispatch(self, call, timeout, answer):
            raise ZeroDivisionError("a mistake of ours")

    manager = manager_on(Broken(), clock=clock)
    with pytest.raises(ZeroDivisionError):
        await clock.run(manager.run_async(rows(9)))
    assert_clean(manager, clock)


async def test_a_full_disk_ends_the_run_and_gives_everything_back(tmp_path, monkeypatch):
    """What waits for its entry in the journal never leaves."""

    def full(journal, batches):
        raise StorageError("Results cannot be written: the disk is full")

    monkeypatch.setattr(Journal, "_write", full)
    transport = FakeTransport()
    manager = manager_on(transport, concurrency=10)
    with pytest.raises(StorageError, match="disk is full"):
        await manager.run_file_async(written(tmp_path, 40), tmp_path / "out.jsonl")
    assert transport.calls == []
    (lane,) = lanes_of(manager)
    assert [ledger.in_flight for ledger in lane.ledgers().values()] == [0]


async def test_a_cancelled_run_forsakes_what_is_under_way(clock):
    """Its replies are told to nobody, and its room is free."""
    held = Held()
    transport = FakeTransport(held)
    manager = manager_on(transport, clock=clock, concurrency=10)
    running = asyncio.create_task(manager.run_async(rows(40)))
    await held.arrived(10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await clock.run_until_idle()
    assert (transport.in_flight, held.waiting) == (0, {})
    assert_clean(manager, clock)
    later = asyncio.create_task(manager.run_async(asks("again")))
    await held.arrived(1)
    held.release_all()
    assert texts(await later) == ["You said again"]


async def test_identical_rows_and_the_cache_have_their_answers(ways):
    """Followers take the answer of the first, and all of it is stored."""
    cache = InMemoryCache()
    prompts = [str(number % 7) for number in range(60)]
    manager = manager_on(FakeTransport(), concurrency=4, cache=cache)
    results = await manager.run_async(asks(*prompts))
    assert texts(results) == [f"You said {prompt}" for prompt in prompts]
    assert sum(map(len, ways.dispatched)) == 7
    again = await manager.run_async(asks(*prompts))
    assert all(result.cached for result in again)
    assert sum(map(len, ways.dispatched)) == 7


async def test_scattered_failures_are_no_outage(clock):
    """Answers between failures count as such, although all came in one turn of the loop."""

    def answer(call):
        number = int(prompt_of(call))
        first = transport.prompts.count(str(number)) == 1
        return refusal(500) if number % 10 == 3 and first else echo(call)

    transport = FakeTransport(answer)
    manager = manager_on(transport, clock=clock, concurrency=200)
    results = await clock.run(manager.run_async(rows(600)))
    assert all(result.ok for result in results)
    (lane,) = lanes_of(manager)
    assert lane.weather.away(clock.time()) == 0.0
    assert len(transport.calls) == 660
    assert_clean(manager, clock)


async def test_what_a_provider_makes_of_a_reply_may_be_unusable(clock):
    """The answers beside it count, the run ends, and nothing is left under way."""

    class Odd(OpenAIProvider):
        def parse(self, reply):
            return None if b"said 4" in reply.body else super().parse(reply)

    provider = Odd("key", base_url="http://fake.test/v1", env={})
    manager = manager_on(FakeTransport(), clock=clock, provider=provider, concurrency=10)
    got = []

    async def take():
        async for result in manager.stream(rows(10)):
            got.append(result.index)

    with pytest.raises(AttributeError):
        await clock.run(take())
    assert got == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert_clean(manager, clock)


async def test_an_answer_that_a_provider_refuses_to_read_is_its_rows_error(ways, clock, monkeypatch):
    """An error of ours that a provider raises belongs to the row, whoever sent it."""

    class Strict(OpenAIProvider):
        def settle(self, reserved, usage):
            if usage.prompt_tokens == 3 and self.after():
                raise BadRequest("no usage that anybody could count")
            return super().settle(reserved, usage)

        def after(self, seen=[0]):  # noqa: B006  (counts over all calls)
            seen[0] += 1
            return seen[0] in (3, 5)

    provider = Strict("key", base_url="http://fake.test/v1", env={})
    manager = manager_on(FakeTransport(), clock=clock, provider=provider, concurrency=4)
    results = await clock.run(manager.run_async(rows(4)))
    assert sum(isinstance(result.error, BadRequest) for result in results) == 1
    assert_clean(manager, clock)


async def test_a_witness_that_breaks_ends_the_run(tmp_path, monkeypatch):
    """It does not wait for what nobody has sent."""

    def broken(*_):
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(Journal, "leave", broken)
    manager = manager_on(FakeTransport(), concurrency=10)
    with pytest.raises(ZeroDivisionError):
        await manager.run_file_async(written(tmp_path, 40), tmp_path / "out.jsonl")
    (lane,) = lanes_of(manager)
    assert [ledger.in_flight for ledger in lane.ledgers().values()] == [0]


async def test_models_in_turn_are_looked_at_once(monkeypatch):
    """Where neighbours have different models, what is ready is not gone through again for each of them."""
    looks = []
    look = dispatcher._model
    monkeypatch.setattr(dispatcher, "_model", lambda job: looks.append(job.index) or look(job))
    requests = [LLMRequest.from_prompt(str(number), model=f"m{number % 2}") for number in range(200)]
    results = await manager_on(FakeTransport(), concurrency=200).run_async(requests)
    assert all(result.ok for result in results)
    assert len(looks) <= 2 * 200
