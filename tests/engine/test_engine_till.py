"""What answers cost, wherever that is told; and a budget, which no run passes."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import orjson
import pytest
from fakes import Collected, FakeTransport, Held, answer_to, echo, manager_on, prompt_of, refusal
from prices import INPUT, OUTPUT, Prices, book

from fastbatch import InMemoryCache, Limits, RetryPolicy, RunStopped, Window
from fastbatch.engine.journal.places import journal_path
from fastbatch.engine.purse import amount
from fastbatch.errors import (
    BadResponse,
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    InvalidRequest,
    RequestTimeout,
)
from fastbatch.models.http import HTTPReply
from fastbatch.pricing.book import PriceBook
from fastbatch.pricing.listing import DAY, Entry, Listing
from fastbatch.pricing.rates import Rate
from fastbatch.providers.azure import AzureProvider
from fastbatch.testing import ManualClock

PICO = Decimal("0.000000000001")
STAMP = "of the tests of 2026-11-01 (000000000000)"
ANSWER = 3 * 100 + 2 * 1000  # pico-dollars: three tokens in, two out


def row(name="a", most=10, **more):
    return {"id": name, "prompt": name, "max_tokens": most, **more}


def written(path, rows):
    path.write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in rows))
    return path


def lines(path):
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def worst_of(given):
    """What a row of one short ASCII prompt costs at most: its bytes, 80 around them, and its `max_tokens`."""
    body = {
        "messages": [{"role": "user", "content": given["prompt"]}],
        "max_tokens": given["max_tokens"],
        "model": "m",
    }
    return (len(orjson.dumps(body)) + 80) * 100 + given["max_tokens"] * 1000


def budget_for(*rows):
    return sum(map(worst_of, rows)) * PICO


async def test_results_have_their_cost():
    """To the pico-dollar; what was shared costs nothing, and the sum over results is the run's."""
    results = await manager_on(FakeTransport(), prices=book()).run_async(
        [row("a"), row("b"), row("a2", prompt="a")]
    )
    assert [result.cost for result in results] == [ANSWER * PICO, ANSWER * PICO, 0]
    assert sum((result.usage for result in results[1:]), results[0].usage).cost == 2 * ANSWER * PICO


async def test_what_the_cache_knows_costs_nothing():
    """In the run that finds it there."""
    cache = InMemoryCache()
    await manager_on(FakeTransport(), cache=cache, prices=book()).run_async([row()])
    (again,) = await manager_on(FakeTransport(), cache=cache, prices=book()).run_async([row()])
    assert (again.cached, again.cost) == (True, 0)


async def test_no_price_is_not_zero():
    """An answer of a model that no list has, and one that does not say its tokens, are unpriced."""
    other = HTTPReply(200, {}, answer_to("a").body.replace(b'"m"', b'"other"'))
    silent = orjson.loads(answer_to("b").body)
    del silent["usage"]

    def answer(call):
        return {"a": other, "b": HTTPReply(200, {}, orjson.dumps(silent))}.get(prompt_of(call)) or echo(call)

    rows = [row("a", model="other"), row("b"), row("c")]
    results = await manager_on(FakeTransport(answer), prices=book("m")).run_async(rows)
    assert [result.cost for result in results] == [None, None, ANSWER * PICO]
    assert [result.usage.unpriced for result in results] == [1, 1, 0]


@pytest.mark.parametrize("budget", [None, Decimal(1)])
async def test_why_there_is_no_cost_is_told(tmp_path, budget):
    """Models without a price, the first few by name, apart from replies that do not say their tokens."""
    silent = orjson.loads(answer_to("a").body)
    del silent["usage"]
    quiet = HTTPReply(200, {}, orjson.dumps(silent))

    def answer(call):
        prompt = prompt_of(call)
        if prompt < "b":
            return quiet
        return HTTPReply(200, {}, answer_to(prompt).body.replace(b'"m"', b'"x"'))

    rows = [row("a"), row("aa"), *(row(f"b{n}", model=f"m{n % 6}") for n in range(12))]
    manager = manager_on(
        FakeTransport(answer), prices=book("m"), budget_usd=budget, unpriced="allow", concurrency=1
    )
    summary = await manager.run_file_async(written(tmp_path / "in", rows), tmp_path / "out")
    bill = summary.bill
    assert (bill.cost, bill.unpriced, bill.untold) == (0, 14, 2)
    assert bill.lacking == ("openai:m0", "openai:m1", "openai:m2", "openai:m3")
    worst = sum(map(worst_of, rows[:2])) * PICO if budget else 0
    assert (bill.used, bill.assumed) == (worst, worst)


async def test_a_deployment_is_priced_as_the_model_that_answers():
    """Where nobody knows the name that was asked for, the one in the reply counts."""
    rows = [row("a", model="my-deployment"), row("b", model="my-deployment")]
    results = await manager_on(FakeTransport(), prices=book("m")).run_async(rows)
    assert [result.cost for result in results] == [ANSWER * PICO] * 2


async def test_files_say_what_rows_cost(tmp_path):
    """Each line its own cost and when; the summary the sum, and by which prices."""
    source, out = written(tmp_path / "in", [row("a"), row("b"), row("c", prompt="a")]), tmp_path / "out"
    summary = await manager_on(FakeTransport(), prices=book()).run_file_async(source, out)
    ours = {line["custom_id"]: line["fastbatch"] for line in lines(out)}
    assert b'"cost_usd":0.0000000023,"at":"20' in out.read_bytes()
    assert [ours[name]["cost_usd"] for name in "abc"] == [2.3e-9, 2.3e-9, 0]
    assert [ours[name].get("prices") for name in "abc"] == [STAMP, STAMP, None]
    assert summary.bill.cost == summary.usage.cost == 2 * ANSWER * PICO
    assert summary.bill.prices == (STAMP,)
    assert (summary.bill.unpriced, summary.bill.doubts, summary.bill.budget) == (0, 0, None)


async def test_answers_that_did_not_do_are_paid_for(tmp_path):
    """A row that was asked twice cost two answers; one that failed in the end says so in its record."""
    replies = iter(["no", '{"a": 1}', "no", "no", "no"])
    schema = {"type": "object", "required": ["a"]}
    manager = manager_on(
        FakeTransport(lambda call: answer_to(next(replies))),
        prices=book(),
        response_format=schema,
        concurrency=1,
    )
    out = tmp_path / "out"
    summary = await manager.run_file_async(written(tmp_path / "in", [row("a"), row("b")]), out)
    (told,) = [line["fastbatch"] for line in lines(out)]
    assert (told["cost_usd"], told["prices"], told["summed"]) == (float(2 * ANSWER * PICO), STAMP, True)
    (failed,) = [line["fastbatch"] for line in lines(tmp_path / "out.errors.jsonl")]
    assert (failed["cost_usd"], failed["prices"]) == (float(3 * ANSWER * PICO), STAMP)
    assert (failed["provider"], failed["model"]) == ("openai", "m")
    assert summary.bill.cost == 5 * ANSWER * PICO


async def test_what_may_have_been_billed_is_told():
    """A request without an answer is not in the cost; how much it may have cost stands beside it."""
    failures = iter([RequestTimeout("late"), ConnectFailed("nobody there")])

    def answer(call):
        if (error := next(failures, None)) is not None:
            raise error
        return echo(call)

    manager = manager_on(FakeTransport(answer), prices=book(), retry=RetryPolicy(base=0))
    (result,) = await manager.run_async([row()])
    assert (result.ok, result.cost) == (True, ANSWER * PICO)


@pytest.mark.parametrize(
    ("error", "doubted"),
    [
        (RequestTimeout("late"), True),
        (BadResponse("what?"), True),
        (ConnectionLost("gone"), True),
        (ConnectFailed("nobody there"), False),
        (None, False),
    ],
)
async def test_a_cap_goes_by_the_worst_of_what_may_have_been_billed(error, doubted):
    """It is set aside for good; what surely cost nothing is free again."""
    failures = iter([error])

    def answer(call):
        if (failed := next(failures, None)) is not None:
            raise failed
        return echo(call)

    given = row()
    manager = manager_on(FakeTransport(answer), prices=book(), budget_usd=1, retry=RetryPolicy(base=0))
    (result,) = await manager.run_async([given])
    cap = manager._settings.purse.look()
    doubt = worst_of(given) if doubted else 0
    assert result.ok
    assert (cap.spent, cap.doubtful, cap.held) == (ANSWER + doubt, doubt, 0)


async def test_a_budget_ends_a_run_which_can_go_on(tmp_path):
    """What is left must be enough for the worst case; the rows that are left are answered with more."""
    rows = [row(str(number)) for number in range(9)]
    source, out = written(tmp_path / "in", rows), tmp_path / "out"
    budget = worst_of(rows[0]) + 3 * ANSWER + 5
    transport = FakeTransport()
    manager = manager_on(transport, prices=book(), concurrency=1, budget_usd=budget * PICO)
    with pytest.raises(RunStopped, match=r"the budget of .* Run again with a larger budget") as stop:
        await manager.run_file_async(source, out)
    assert (stop.value.summary.ok, len(transport.calls)) == (4, 4)
    assert stop.value.summary.bill.budget == budget * PICO
    again = manager_on(transport, prices=book(), concurrency=1, budget_usd=(budget + 2 * ANSWER) * PICO)
    with pytest.raises(RunStopped):
        await again.run_file_async(source, out)
    assert len(transport.calls) == 6, "what the output cost before counts"
    third = await manager_on(transport, prices=book(), budget_usd=1).run_file_async(source, out)
    assert (third.ok, third.skipped, len(transport.calls)) == (3, 6, 9)
    assert third.bill.before == 6 * ANSWER * PICO


async def test_a_manager_counts_an_output_once(tmp_path):
    """What it has spent for an output itself, it does not count again when it goes on with it."""
    source, out = written(tmp_path / "in", [row("a")]), tmp_path / "out"
    manager = manager_on(FakeTransport(), prices=book(), budget_usd=1)
    for _ in range(3):
        await manager.run_file_async(source, out)
    assert manager._settings.purse.look().spent == ANSWER


async def test_smaller_rows_go_on(tmp_path):
    """A row that does not fit into what is left stays open, and those behind it that do are answered."""
    rows = [row("large", most=10_000), row("a"), row("b"), row("larger", most=20_000), row("c")]
    manager = manager_on(
        FakeTransport(), prices=book(), concurrency=1, budget_usd=budget_for(rows[0]) - 200 * PICO
    )
    with pytest.raises(RunStopped, match="the budget of") as stop:
        await manager.run_async(rows)
    assert [result.custom_id for result in stop.value.results] == ["a", "b", "c"]


@pytest.mark.parametrize("concurrency", [1, 2, 64])
async def test_waiting_for_money_is_no_deadlock(concurrency):
    """Whoever comes while the money is held waits for it, and all are answered with what really was spent."""
    held = Held()
    rows = [row(str(number)) for number in range(40)]
    manager = manager_on(
        FakeTransport(held),
        prices=book(),
        concurrency=concurrency,
        budget_usd=budget_for(rows[0], rows[1]) + 40 * ANSWER * PICO,
    )
    work = asyncio.ensure_future(manager.run_async(rows))
    done = 0
    while done < 40:
        await held.arrived(1)
        assert len(held.waiting) <= max(2, concurrency)
        for prompt, reply in list(held.waiting.items()):
            if not reply.done():
                held.release(prompt)
                done += 1
        await asyncio.sleep(0)
    assert all(result.ok for result in await work)


async def test_a_stop_tells_what_was_spent_in_the_end():
    """What was on its way when there was no money for the next row is in the sum."""
    held, rows = Held(), [row("a"), row("large", most=60_000)]
    manager = manager_on(
        FakeTransport(held), prices=book(), concurrency=2, budget_usd=budget_for(rows[0]) + 40 * ANSWER * PICO
    )
    manager._settings = replace(manager._settings, aside=1)
    run = asyncio.ensure_future(manager.run_async(rows))
    await held.arrived(1)
    for _ in range(50):  # turns of the loop, in which the other row finds out
        await asyncio.sleep(0)
    held.release("a")
    with pytest.raises(RunStopped, match=r"\$0\.0000000023 are spent"):
        await run


async def test_a_run_that_died_has_spent_the_worst(tmp_path):
    """What was on its way when it was killed may have been billed: the next run counts all of it."""
    given = row()
    source, out = written(tmp_path / "in", [given]), tmp_path / "out"
    held = Held()
    manager = manager_on(FakeTransport(held), prices=book(), budget_usd=1)
    work = asyncio.ensure_future(manager.run_file_async(source, out))
    await held.arrived(1)
    journal = journal_path(out).read_bytes()
    held.release("a")
    await work
    out.write_bytes(b"")
    journal_path(out).write_bytes(journal)  # as it was at that moment
    again = manager_on(FakeTransport(), prices=book(), budget_usd=1)
    summary = await again.run_file_async(source, out)
    assert summary.bill.before == worst_of(given) * PICO


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_models_without_a_price(concurrency):
    """Under a budget they are refused, or sent and not counted, or counted at the dearest price there is."""
    rows = [row("a", model="other"), row("b")]

    def answer(call):
        reply = echo(call)
        return (
            reply._replace(body=reply.body.replace(b'"m"', b'"other"')) if prompt_of(call) == "a" else reply
        )

    for unpriced, ok in ((None, [False, True]), ("deny", [False, True]), ("allow", [True, True])):
        manager = manager_on(
            FakeTransport(answer), prices=book("m"), budget_usd=1, unpriced=unpriced, concurrency=concurrency
        )
        results = await manager.run_async(rows)
        assert [result.ok for result in results] == ok
        assert manager._settings.purse.look().spent == ANSWER
    assert isinstance(
        (await manager_on(FakeTransport(answer), prices=book("m"), unpriced="deny").run_async(rows))[0].error,
        InvalidRequest,
    )
    manager = manager_on(FakeTransport(answer), prices=book("m"), budget_usd=1, unpriced="ceiling")
    results = await manager.run_async(rows)
    assert [result.cost for result in results] == [None, ANSWER * PICO]
    assert (
        manager._settings.purse.look().spent == ANSWER + worst_of(rows[0]) + 400
    )  # "other" is four letters longer


async def test_a_request_without_a_bound_is_refused():
    """Nobody could keep a budget that does not know how long an answer may be; the context bounds it, too."""
    rows = [{"prompt": "a"}]
    (result,) = await manager_on(FakeTransport(), prices=book(), budget_usd=1).run_async(rows)
    assert "give max_tokens" in result.error.message
    manager = manager_on(FakeTransport(), prices=book(context=1000), budget_usd=Decimal("0.0000011"))
    (result,) = await manager.run_async(rows)
    assert result.ok
    with pytest.raises(RunStopped):
        await manager_on(
            FakeTransport(), prices=book(context=1000), budget_usd=Decimal("0.000001")
        ).run_async(rows)


@pytest.mark.parametrize("wrong", [-1, "much", float("nan"), True, "1_000", "1,000", "٥", "1e9999", "5$"])
def test_a_budget_is_an_amount(wrong):
    """Anything else is refused at once, and what others read in another way."""
    with pytest.raises(ConfigError, match="must be a number of US dollars"):
        manager_on(FakeTransport(), budget_usd=wrong)


@pytest.mark.parametrize("given", ["1e-13", 4e-13, Decimal("0.0000000000004")])
def test_a_budget_that_would_be_nothing(given):
    """Less than can be counted is refused; 0 is not, it is meant."""
    with pytest.raises(ConfigError, match="less than can be counted"):
        manager_on(FakeTransport(), budget_usd=given)
    assert amount(0) == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [(0.1 + 0.2, 300_000_000_000), ("1e-12", 1), (" 5 ", 5 * 10**12), ("+.5", 10**12 // 2), (2, 2 * 10**12)],
)
def test_a_budget_as_it_is_meant(given, told):
    """To the nearest pico-dollar."""
    assert amount(given) == told


def test_what_makes_no_sense_with_a_budget():
    """A ceiling without a budget."""
    with pytest.raises(ConfigError, match="there is none"):
        manager_on(FakeTransport(), unpriced="ceiling")


async def test_a_refused_request_costs_nothing():
    """A 429 and a 400 were not billed: nothing is held, nothing is spent."""
    replies = iter([refusal(429, retry_after="0"), refusal(400), answer_to("x")])
    manager = manager_on(
        FakeTransport(lambda call: next(replies)), prices=book(), budget_usd=1, concurrency=1
    )
    results = await manager.run_async([row("a"), row("b")])
    cap = manager._settings.purse.look()
    assert sorted(result.ok for result in results) == [False, True]
    assert (cap.spent, cap.held) == (ANSWER, 0)


class Rising(Prices):
    """Ten times as dear from the 20,000th day on."""

    day = 20_000

    def find(self, provider, model):
        return Listing(
            "all",
            tuple(
                Entry({"input": Rate(times * INPUT), "output": Rate(times * OUTPUT)}, since=since)
                for times, since in ((1, None), (10, self.day))
            ),
        )


@pytest.mark.parametrize("before", [5.0, 150.0, 3600.0])
async def test_prices_that_rise_on_the_way(before):
    """Where a request may come back to dearer rates, it has set those aside; earlier the usual ones do."""
    held, now = Held(), [Rising.day * DAY - before]
    rows = [row(str(number), most=2) for number in range(10)]
    budget = 10 * worst_of(rows[0])
    manager = manager_on(
        FakeTransport(held), prices=PriceBook([Rising()]), concurrency=10, budget_usd=budget * PICO
    )
    manager._settings = replace(manager._settings, wall=lambda: now[0])
    run = asyncio.ensure_future(manager.run_async(rows))
    together = 10 if before == 3600 else 1
    await held.arrived(together)
    assert len(held.waiting) == together
    now[0] += 170  # nearly: 120 seconds are the timeout
    dear = orjson.loads(answer_to("x").body)
    dear["usage"]["prompt_tokens"] = 100
    while not run.done():
        for prompt in list(held.waiting):
            held.release(prompt, HTTPReply(200, {}, orjson.dumps(dear)))
        await asyncio.wait([run], timeout=0.001)
    cap = manager._settings.purse.look()
    assert 0 < cap.spent <= cap.limit
    assert isinstance(run.exception(), RunStopped | None)


async def test_prices_that_rise_before_a_request_leaves():
    """One that has waited for limits until prices are others sets the new worst case aside."""
    clock, seen = ManualClock(), []
    begin = Rising.day * DAY - 1800
    manager = manager_on(
        FakeTransport(lambda call: seen.append(manager._settings.purse.look().held) or echo(call)),
        clock=clock,
        prices=PriceBook([Rising()]),
        concurrency=2,
        limits=Limits(windows=[Window(requests=1, per=3600)]),
        budget_usd=1,
    )
    manager._settings = replace(manager._settings, wall=lambda: begin + clock.time())
    rows = [row("a"), row("b")]
    began = clock.time()
    await clock.run(manager.run_async(rows))
    assert clock.time() - began >= 3600
    assert seen == [worst_of(rows[0]), 10 * worst_of(rows[1])]


async def test_runs_of_one_manager_take_turns():
    """Whoever waits for money first is served first, whichever run it belongs to."""
    order = []

    async def answer(call):
        order.append(prompt_of(call)[0])
        await asyncio.sleep(0)
        return echo(call)

    rows = {name: [row(f"{name}{number}", most=100) for number in range(9)] for name in "ab"}
    manager = manager_on(
        FakeTransport(),
        prices=book(),
        concurrency=1,
        budget_usd=(worst_of(rows["a"][0]) + 18 * ANSWER) * PICO,
    )
    manager._settings = replace(manager._settings, transport=lambda: FakeTransport(answer))
    await asyncio.gather(*map(manager.run_async, rows.values()))
    assert "".join(order) in ("ab" * 9, "ba" * 9)


@pytest.mark.parametrize(
    ("cents", "told"),
    [
        (
            5,
            r"Stopped: what is left of the budget of \$0\.05, \$0\.0499\d+, is less than the next request "
            r"may cost, \$0\.0600\d+; \$0\.0000000023 are spent\. Run again with a larger budget",
        ),
        (0, r"Stopped: the budget of \$0 is used up: \$0 are spent, and the next request may cost \$0\.0000"),
    ],
)
async def test_what_is_left_is_not_called_used_up(cents, told):
    """Where one large row does not fit, most of a budget may be left."""
    rows = [row("a"), row("large", most=60_000_000)]
    manager = manager_on(FakeTransport(), prices=book(), concurrency=1, budget_usd=Decimal(cents) / 100)
    with pytest.raises(RunStopped, match=told):
        await manager.run_async(rows)


@pytest.mark.parametrize("said", ["7", None, -5, 10**17, 1e20, True, ...])
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
async def test_half_a_usage_is_no_price(name, said):
    """A reply that tells only one of prompt and completion is unpriced, and counts at its worst."""
    reply = orjson.loads(answer_to("a").body)
    reply["usage"][name] = said
    if said is ...:
        del reply["usage"][name]
    heard, given = Collected(), row()
    manager = manager_on(
        FakeTransport(lambda call: HTTPReply(200, {}, orjson.dumps(reply))),
        prices=book(),
        budget_usd=1,
        progress=heard,
    )
    (result,) = await manager.run_async([given])
    bill = heard.events[-1].snapshot.bill
    assert (result.ok, result.cost, bill.unpriced, bill.untold) == (True, None, 1, 1)
    assert manager._settings.purse.look().spent == worst_of(given)


class Dearest(Prices):
    """There is a model that costs a hundred times as much as those that are asked."""

    def models(self, provider=""):
        yield Listing("dear", (Entry({"input": Rate(100 * INPUT), "output": Rate(100 * OUTPUT)}),))


@pytest.mark.parametrize("priced", [True, False])
@pytest.mark.parametrize("unpriced", [None, "allow"])
async def test_a_deployment_counts_as_the_dearest_until_a_reply_names_its_model(priced, unpriced):
    """Under a cap: then it counts as that model, which is refused or counts for nothing without a price."""
    held, rows = [], [row(name, model="my-deployment") for name in "ab"]
    named = b'"m"' if priced else b'"unknown"'

    def answer(call):
        held.append(manager._settings.purse.look().held)
        reply = echo(call)
        return reply._replace(body=reply.body.replace(b'"m"', named))

    manager = manager_on(
        FakeTransport(answer),
        provider=AzureProvider("key", base_url="https://x.openai.azure.com", env={}),
        prices=PriceBook([Dearest("m")]),
        concurrency=1,
        budget_usd=1,
        unpriced=unpriced,
    )
    results = await manager.run_async(rows)
    more = 100 * len("my-deployment") - 100 * len("m")
    usual = worst_of(rows[0]) + more
    spent = manager._settings.purse.look().spent
    assert held[0] == 100 * usual
    if priced:
        assert (held[1:], [result.cost for result in results]) == ([usual], [ANSWER * PICO] * 2)
        assert spent == 2 * ANSWER
    elif unpriced == "allow":
        assert (held[1:], [result.cost for result in results], spent) == ([0], [None] * 2, 0)
    else:
        assert (held[1:], [result.ok for result in results]) == ([], [True, False])
        assert spent == 100 * usual, "nobody knows what the first one cost"


class TwoPrices(Prices):
    """`dear` is ten times as dear as `m`; there is no other."""

    def find(self, provider, model):
        times = {"m": 1, "dear": 10}.get(model)
        if times is None:
            return None
        return Listing(
            model,
            (Entry({"input": Rate(times * INPUT), "output": Rate(times * OUTPUT)}),),
            context=50 * times,
        )


@pytest.mark.parametrize(
    ("models", "unpriced", "times"),
    [
        (["m"], None, 1),
        (["dear", "m"], None, 10),
        (["dear", "other"], None, None),
        (["dear", "other"], "allow", 10),
    ],
)
async def test_of_several_models_the_dearest_counts(models, unpriced, times):
    """Any of OpenRouter's may answer; with one that has no price the request has none."""
    held, given = [], row(extra_body={"models": models})
    manager = manager_on(
        FakeTransport(lambda call: held.append(manager._settings.purse.look().held) or echo(call)),
        prices=PriceBook([TwoPrices()]),
        concurrency=1,
        budget_usd=1,
        unpriced=unpriced,
    )
    _, result = await manager.run_async([row("one model"), given])
    assert result.ok is (times is not None)
    if times is not None:
        assert held[1] >= times * 50 * INPUT + times * 10 * OUTPUT
    else:
        assert "there is no price for" in result.error.message


async def test_price_lists_are_open_before_a_run(monkeypatch):
    """With the manager: a run that opened them would let everything that is in flight wait."""
    opened = []
    monkeypatch.setattr("fastbatch.engine.manager.default_prices", lambda: opened.append(1) or book())
    manager = manager_on(FakeTransport())
    assert len(opened) == 1
    (result,) = await manager.run_async([row()])
    assert (result.cost, len(opened)) == (ANSWER * PICO, 1)
