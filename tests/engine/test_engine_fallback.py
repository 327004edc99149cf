"""Fallbacks: who goes there, who does not, whose answer it is, and what a second run finds."""

import json
import logging

import pytest
from fakes import Collected, FakeTransport, answer_to, asks, echo, manager_on, prompt_of, refusal
from skies import Sky, assert_clean, pass_time

from fastbatch import InMemoryCache, Limits, OpenAIProvider, RetryPolicy, Window
from fastbatch.engine.endpoint import Route
from fastbatch.engine.events import Notice
from fastbatch.errors import ConnectFailed, ConnectionLost, RunStopped
from fastbatch.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def provider(name):
    """An endpoint at http://NAME.test, called NAME."""
    made = OpenAIProvider("sk-key", base_url=f"http://{name}.test/v1", env={})
    made.name = name
    return made


class Places:
    """Answers by host: `a` and `b` are functions of the call; notes what was asked where."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = {name: [] for name in answers}

    async def __call__(self, call):
        name = call.url.split("//")[1].split(".")[0]
        body = json.loads(call.body)
        self.asked[name].append((body["model"], prompt_of(call)))
        reply = self.answers[name](call)
        return await reply if hasattr(reply, "__await__") else reply

    def prompts(self, name):
        return [prompt for _, prompt in self.asked[name]]


def from_b(call):
    return answer_to(f"b says {prompt_of(call)}")


def manager_of(places, clock, *, fallback=("b",), **options):
    """A manager of endpoint a with model m, whose fallbacks have models of their own."""
    options.setdefault("model", "m")
    return manager_on(
        FakeTransport(places),
        clock=clock,
        provider=provider("a"),
        fallback=[Route(provider(name), f"m-{name}") for name in fallback],
        **options,
    )


def raising(error):
    def answer(call):
        raise type(error)(error.message)

    return answer


@pytest.mark.parametrize(
    ("why", "answer"),
    {
        "its key is refused": lambda call: refusal(401),
        "its quota is used up": lambda call: refusal(429, "insufficient_quota"),
        "no money": lambda call: refusal(402),
        "no such model": lambda call: refusal(404),
        "not allowed": lambda call: refusal(403),
        "it always fails": lambda call: refusal(500),
        "nobody is there": raising(ConnectFailed("cannot connect")),
        "connections break": raising(ConnectionLost("reset")),
        "a long pause": lambda call: refusal(429, retry_after="60"),
        "a day's wait": lambda call: refusal(429, retry_after="86400"),
    }.items(),
)
async def test_rows_that_the_first_cannot_answer_go_to_the_second(clock, why, answer):
    """All of them are answered there, under the row's own key, and say whose answer it is."""
    places = Places(a=answer, b=from_b)
    manager = manager_of(places, clock)
    results = await clock.run(manager.run_async(asks(*map(str, range(30)))))
    assert [result.text for result in results] == [f"b says {n}" for n in range(30)], why
    assert {(result.provider, result.model) for result in results} == {("b", "m-b")}
    assert {model for model, _ in places.asked["b"]} == {"m-b"}
    assert sorted(places.prompts("b")) == sorted(map(str, range(30)))
    assert clock.time() <= 30.0
    assert_clean(manager, clock)


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_fault_of_the_request_itself_is_the_rows_answer(clock, status):
    """What one endpoint refuses for the request's own sake is not asked of another."""
    places = Places(a=lambda call: refusal(status) if prompt_of(call) == "1" else echo(call), b=from_b)
    results = await clock.run(manager_of(places, clock).run_async(asks("0", "1", "2")))
    assert [result.ok for result in results] == [True, False, True]
    assert places.asked["b"] == []


async def test_the_fallback_of_a_row_alone_is_only_that_rows(clock):
    """A row whose attempts are used up goes on; the others stay."""
    places = Places(a=lambda call: refusal(500) if prompt_of(call) == "1" else echo(call), b=from_b)
    told = Collected()
    manager = manager_of(places, clock, concurrency=2, progress=told)
    results = await clock.run(manager.run_async(asks(*map(str, range(100)))))
    assert all(result.ok for result in results)
    assert places.prompts("b") == ["1"]
    assert told.events[-1].snapshot.weather.fallbacks == 1


async def test_a_hidden_limit_that_nobody_explains_sends_nobody_away(clock):
    """Its pauses are ours, not the provider's wish: only one that it states is a reason to go elsewhere."""
    came = []

    async def a(call):
        await pass_time(clock, 0.01)
        if sum(at > clock.time() - 60.0 for at in came) >= 200:
            return refusal(429)
        came.append(clock.time())
        await pass_time(clock, 0.5)
        return echo(call)

    manager = manager_of(Places(a=a, b=from_b), clock, concurrency=64)
    results = await clock.run(manager.run_async(asks(*map(str, range(600)))))
    assert not [result.text for result in results if result.model == "m-b"]
    assert len(results) == len(came) == 600


async def test_new_rows_go_to_the_first_again_when_it_is_back(clock):
    """In an outage rows go to the fallback, but for the probes; after it nobody does."""

    async def a(call):
        if 10.0 <= clock.time() < 30.0:
            raise ConnectFailed("cannot connect")
        await pass_time(clock, 0.5)
        return echo(call)

    async def b(call):
        await pass_time(clock, 0.5)
        at_b.append(clock.time())
        return from_b(call)

    at_b = []
    places = Places(a=a, b=b)
    manager = manager_of(places, clock, concurrency=4)
    results = await clock.run(manager.run_async(asks(*map(str, range(400)))))
    assert all(result.ok for result in results)
    assert min(at_b) >= 10.0
    assert max(at_b) <= 36.5
    assert 100 <= len(at_b) <= 220
    assert 45.0 <= clock.time() <= 60.0, "it lost nothing by the outage"


async def test_a_chain_of_fallbacks_is_gone_through_in_order(clock):
    """The third answers what the first two cannot."""
    places = Places(a=lambda call: refusal(401), b=lambda call: refusal(402), c=echo)
    results = await clock.run(manager_of(places, clock, fallback="bc").run_async(asks(*map(str, range(20)))))
    assert {(result.ok, result.provider) for result in results} == {(True, "c")}


async def test_the_run_stops_when_nothing_is_left(clock):
    """Both keys refused: exit 4, no row is written down as failed."""
    places = Places(a=lambda call: refusal(401), b=lambda call: refusal(401))
    with pytest.raises(RunStopped, match="the key is not accepted") as stopped:
        await clock.run(manager_of(places, clock).run_async(asks(*map(str, range(100)))))
    assert stopped.value.exit_code == 4
    assert [result for result in stopped.value.results if not result.ok] == []


async def test_a_fallback_that_refuses_its_key_sends_rows_back(clock):
    """While the first is only away for a time, a fallback that is of no use costs no row."""

    async def a(call):
        if 5.0 <= clock.time() < 30.0:
            return refusal(503)
        await pass_time(clock, 0.5)
        return echo(call)

    places = Places(a=a, b=lambda call: refusal(401))
    manager = manager_of(places, clock, concurrency=8, retry=RetryPolicy(attempts=3))
    results = await clock.run(manager.run_async(asks(*map(str, range(400)))))
    assert [result for result in results if not result.ok] == []
    assert {result.provider for result in results} == {"a"}
    assert_clean(manager, clock)


async def test_a_closed_endpoint_is_told_of(clock):
    """A notice says which one is not used any more, and why; once."""
    listener = Collected()
    places = Places(a=lambda call: refusal(401, message="bad key"), b=from_b)
    await clock.run(manager_of(places, clock, progress=listener).run_async(asks(*map(str, range(20)))))
    notices = [event.text for event in listener.events if isinstance(event, Notice)]
    assert len(notices) == 1
    assert notices[0].startswith("a is not used any more: ")


async def test_the_cache_knows_whose_answer_it_was(clock):
    """An answer of the fallback is kept as its own: the first is asked again, and the second finds it."""
    cache = InMemoryCache()
    places = Places(a=lambda call: refusal(404), b=from_b)
    first = await clock.run(manager_of(places, clock, cache=cache).run_async(asks("x", "y")))
    assert {result.cached for result in first} == {False}
    again = await clock.run(manager_of(places, clock, cache=cache).run_async(asks("x", "y")))
    assert [(result.text, result.cached) for result in again] == [("b says x", True), ("b says y", True)]
    assert {(result.provider, result.model) for result in again} == {("b", "m-b")}
    assert [result.key for result in again] == [result.key for result in first]
    assert len(places.asked["b"]) == 2
    healed = Places(a=echo, b=from_b)
    results = await clock.run(manager_of(healed, clock, cache=cache).run_async(asks("x")))
    assert results[0].text == "You said x"


async def test_identical_rows_share_the_fallbacks_answer(clock):
    """Followers take what the first of them got, wherever that came from."""
    places = Places(a=lambda call: refusal(404), b=from_b)
    results = await clock.run(manager_of(places, clock).run_async(asks("x", "x", "x")))
    assert [result.text for result in results] == ["b says x"] * 3
    assert {(result.provider, result.model) for result in results} == {("b", "m-b")}
    assert len(places.asked["b"]) == 1


async def test_samples_stay_apart_at_the_fallback(clock):
    """Ten equal rows that are sampled buy ten answers there, too."""
    places = Places(a=lambda call: refusal(404), b=from_b)
    manager = manager_of(places, clock, identical="sample", cache=InMemoryCache())
    results = await clock.run(manager.run_async(asks(*["x"] * 10)))
    assert {result.cached for result in results} == {False}
    assert len(places.asked["b"]) == 10


async def test_a_file_run_with_fallbacks_resumes_with_nothing(clock, tmp_path):
    """Rows answered by the fallback are answered: the output says by whom, and a second run sends nothing."""
    rows, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows.write_text("".join(json.dumps({"id": str(n), "prompt": f"p{n}"}) + "\n" for n in range(12)))
    places = Places(a=lambda call: refusal(404) if prompt_of(call) in {"p3", "p5"} else echo(call), b=from_b)
    summary = await manager_of(places, ManualClock()).run_file_async(rows, out)
    assert (summary.ok, summary.failed) == (12, 0)
    lines = {line["custom_id"]: line for line in map(json.loads, out.read_text().splitlines())}
    assert (lines["3"]["fastbatch"]["provider"], lines["3"]["fastbatch"]["model"]) == ("b", "m-b")
    assert (lines["4"]["fastbatch"]["provider"], lines["4"]["fastbatch"]["model"]) == ("a", "m")
    again = Places(a=echo, b=from_b)
    summary = await manager_of(again, ManualClock()).run_file_async(rows, out)
    assert (summary.ok + summary.skipped, summary.failed) == (12, 0)
    assert again.asked == {"a": [], "b": []}


async def test_a_fallback_has_limits_of_its_own(clock):
    """A refusal at the first pauses nobody at the second."""

    async def a(call):
        return refusal(429, retry_after="30")

    times = []

    async def b(call):
        times.append(clock.time())
        return refusal(429, retry_after="3") if len(times) == 1 else from_b(call)

    places = Places(a=a, b=b)
    manager = manager_of(places, clock, concurrency=4)
    results = await clock.run(manager.run_async(asks(*map(str, range(20)))))
    assert all(result.provider == "b" for result in results)
    assert places.asked["a"]
    assert len(times) > 20
    assert times[10] < 30.0


@pytest.mark.parametrize("by_model", [False, True])
async def test_a_fallback_at_the_same_endpoint_with_the_same_key_has_no_limits_of_its_own(clock, by_model):
    """What is declared holds for both models together; declared by model, for each of them."""
    came = []

    def answer(call):
        came.append(clock.time())
        return refusal(404) if b'"model":"m"' in call.body else echo(call)

    provider = OpenAIProvider("key", base_url="http://fake.test/v1", env={})
    limit = Limits(windows=(Window(requests=10, per=1.0),), transit=0.0)
    limits = {"m": limit, "other": limit} if by_model else limit
    manager = manager_on(
        FakeTransport(answer),
        clock=clock,
        provider=provider,
        fallback=[Route(provider, "other")],
        limits=limits,
    )
    results = await clock.run(manager.run_async(asks(*map(str, range(40)))))
    assert [result.model for result in results] == ["other"] * 40
    most = max(sum(at <= each < at + 1.0 for each in came) for at in came)
    assert most == (20 if by_model else 10)
    assert_clean(manager, clock)


async def test_without_a_listener_the_notice_is_logged(clock, caplog):
    """Nobody listens: the log says it."""
    places = Places(a=lambda call: refusal(401), b=from_b)
    with caplog.at_level(logging.WARNING):
        await clock.run(manager_of(places, clock).run_async(asks("x")))
    assert "a is not used any more" in caplog.text


async def test_an_outage_of_both_is_waited_out(clock):
    """Nothing is failed while nobody is there, and whoever comes back first answers."""
    places = Places(
        a=Sky(clock, outages=((2.0, 90.0, 503),)),
        b=Sky(clock, outages=((0.0, 25.0, "refused"),)),
    )
    manager = manager_of(places, clock, concurrency=8)
    results = await clock.run(manager.run_async(asks(*map(str, range(300)))))
    assert [result for result in results if not result.ok] == []
    assert {result.provider for result in results} == {"a", "b"}
    assert clock.time() <= 100.0
    assert_clean(manager, clock)


async def test_a_fallback_that_is_never_there_costs_no_row(clock):
    """It is given up after half a minute, and its rows go back to wait for the first."""
    places = Places(a=Sky(clock, outages=((2.0, 90.0, 503),)), b=Sky(clock, outages=((0.0, 1e9, "refused"),)))
    manager = manager_of(places, clock, concurrency=8)
    results = await clock.run(manager.run_async(asks(*map(str, range(300)))))
    assert [result for result in results if not result.ok] == []
    assert {result.provider for result in results} == {"a"}
    assert clock.time() <= 150.0
    assert_clean(manager, clock)


async def test_rows_that_wait_for_a_fallback_go_back_when_the_first_is_there_again(clock):
    """Both are away, and the first comes back: nobody waits for the second any longer."""
    places = Places(
        a=Sky(clock, outages=((2.0, 8.0, 503), (20.0, 50.0, 503))),
        b=Sky(clock, outages=((20.0, 1e9, "refused"),)),
    )
    manager = manager_of(places, clock, concurrency=8)
    results = await clock.run(manager.run_async(asks(*map(str, range(600)))))
    assert [result for result in results if not result.ok] == []
    assert {result.provider for result in results} == {"a", "b"}
    assert clock.time() <= 85.0
    assert len(places.asked["a"]) + len(places.asked["b"]) <= 1.2 * 600
    assert_clean(manager, clock)


async def test_a_row_of_its_own_fault_goes_round_only_so_often(clock):
    """It fails at the first while the fallback is away: bounded, and then it has failed."""
    places = Places(
        a=Sky(clock, otherwise=lambda call: refusal(500) if prompt_of(call) == "50" else echo(call)),
        b=Sky(clock, outages=((0.0, 1e9, "refused"),)),
    )
    manager = manager_of(places, clock, concurrency=2)
    results = await clock.run(manager.run_async(asks(*map(str, range(400)))))
    assert [result.index for result in results if not result.ok] == [50]
    assert places.prompts("a").count("50") <= 60
    assert_clean(manager, clock)


@pytest.mark.parametrize("status", [403, 404])
async def test_what_the_first_has_not_waits_for_the_fallback(clock, status):
    """It is asked for once there, and then waited for where it may be answered, however long that is away."""

    async def a(call):
        await pass_time(clock, 0.5)
        return refusal(status) if int(prompt_of(call)) % 10 == 0 else echo(call)

    places = Places(a=a, b=Sky(clock, outages=((0.0, 25.0, "refused"),)))
    manager = manager_of(places, clock, concurrency=16)
    results = await clock.run(manager.run_async(asks(*map(str, range(100)))))
    assert [result for result in results if not result.ok] == []
    assert {result.index for result in results if result.provider == "b"} == set(range(0, 100, 10))
    assert len(places.asked["a"]) == 100


@pytest.mark.parametrize("place", ["a", "b"])
async def test_a_day_that_is_used_up_sends_rows_to_the_other(clock, place):
    """Whichever says that nothing is left for today, the other one answers; nothing is refused."""
    left = iter(range(9, -1, -1))

    def daily(call):
        reply = echo(call)
        for what, value in (("limit", 10), ("remaining", next(left)), ("reset", 80_000)):
            reply.headers[f"x-ratelimit-{what}-requests-day"] = str(value)
        return reply

    def picky(call):
        return refusal(404) if int(prompt_of(call)) % 2 else echo(call)

    places = Places(a=daily if place == "a" else picky, b=daily if place == "b" else from_b)
    manager = manager_of(places, clock, concurrency=4)
    results = await clock.run(manager.run_async(asks(*map(str, range(100)))))
    assert len(places.asked[place]) == 10
    assert sum(result.ok for result in results) == (100 if place == "a" else 60)
    assert clock.time() < 100.0


async def test_two_long_pauses_send_nobody_to_and_fro(clock):
    """Both told to wait for long: everybody waits where they are, and the run goes on after it."""
    told = {"a": [], "b": []}

    def pausing(name, seconds):
        async def answer(call):
            await pass_time(clock, 0.2)
            told[name].append(clock.time())
            return refusal(429, retry_after=seconds) if len(told[name]) <= 8 else echo(call)

        return answer

    places = Places(a=pausing("a", "60"), b=pausing("b", "90"))
    manager = manager_of(places, clock, concurrency=4)
    results = await clock.run(manager.run_async(asks(*map(str, range(100)))))
    assert [result for result in results if not result.ok] == []
    assert_clean(manager, clock)
