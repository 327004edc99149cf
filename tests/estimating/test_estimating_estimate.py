"""`estimate` from the library: what it counts, and pilots against a provider that writes down requests."""

import json
from decimal import Decimal

import pytest
from commandline import Recorder, error, write_rows
from inputs import LISTING, Prices

from fastbatch import DiskCache, Limits, OpenAIProvider, RequestManager, estimate
from fastbatch.errors import ConfigError, InputError, RunStopped
from fastbatch.pricing.book import PriceBook
from fastbatch.providers.gemini import GeminiProvider
from fastbatch.simulator import SimulatorConfig, SimulatorThread

BOOK = PriceBook([Prices()])
ROWS = [{"id": f"r{number}", "prompt": "word " * (number + 1), "max_tokens": 8} for number in range(40)]


@pytest.fixture
def simulator():
    with SimulatorThread(SimulatorConfig()) as made:
        yield made


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "rows.jsonl", *ROWS)


def manager(simulator=None, cache=None, model="m", **more):
    url = "http://127.0.0.1:9/v1" if simulator is None else simulator.base_url
    return RequestManager(OpenAIProvider(base_url=url), model=model, cache=cache, **more)


def one(*args, **more):
    (model,) = estimate(*args, prices=BOOK, **more).models
    return model


# Before anything is sent


def test_what_is_possible_without_asking(rows):
    """The prompts alone, and every answer as long as it may be: 40 × 8 tokens at $0.000004."""
    found = one(rows, manager())
    assert (found.plan.rows, found.plan.to_send, found.exact, found.unbounded) == (40, 40, 0, 0)
    assert found.tokens_in.low == found.plan.prompt_tokens
    assert found.tokens_out == (0, None, 320)
    prompts = Decimal(found.tokens_in.low) / 10**6
    assert found.cost == (prompts, None, prompts + Decimal("0.00128"))
    assert found.batch == (prompts / 2, None, prompts / 2 + Decimal("0.00064"))
    assert (found.duration, found.measured, found.pilot) == (None, False, None)


def test_answers_without_a_bound_have_no_upper_end(tmp_path):
    """But what a hundred tokens more from each cost: 2 × 100 × $0.000004."""
    rows = write_rows(
        tmp_path / "rows.jsonl", {"prompt": "a"}, {"prompt": "b"}, {"prompt": "c", "max_tokens": 9}
    )
    found = one(rows, manager())
    assert (found.unbounded, found.tokens_out, found.cost.high) == (2, (0, None, None), None)
    assert found.per_hundred == Decimal("0.0008")


def test_embeddings_have_no_answers(tmp_path):
    """Their cost is known to the last digit."""
    found = one(write_rows(tmp_path / "rows.jsonl", {"input": "some text"}), manager())
    assert (found.tokens_out, found.cost.low) == ((0, None, 0), found.cost.high)


def test_what_a_run_would_not_send_is_not_counted(tmp_path, simulator):
    """Identical rows, those in the cache and those that the output answers; a bad row means no request."""
    cache = DiskCache(tmp_path / "cache")
    asks = manager(simulator, cache)
    first = write_rows(tmp_path / "first.jsonl", *ROWS[:5])
    asks.run_file(first, tmp_path / "out.jsonl")
    rows = write_rows(
        tmp_path / "rows.jsonl",
        *ROWS[:6],
        {**ROWS[5], "id": "again"},
        {**ROWS[0], "id": "cached"},
        "junk",
        "[]",
        '{"prompt": 3}',
    )
    plan = one(rows, asks, output=tmp_path / "out.jsonl").plan
    assert (plan.rows, plan.answered, plan.to_send, plan.identical, plan.cached, plan.bad) == (
        11,
        5,
        1,
        1,
        1,
        3,
    )
    found = one(rows, asks)
    assert (found.plan.cached, found.plan.identical, found.plan.to_send, found.plan.answered) == (5, 2, 1, 0)
    assert [bad.line for bad in found.bad] == [9, 10, 11]


def test_a_model_without_a_price_is_no_zero(rows):
    """Its cost is None, and its name is told."""
    found = one(rows, manager(model="other"))
    assert (found.cost, found.batch, found.unpriced, found.unpriced_models) == (None, None, 40, ("other",))
    assert found.cheaper == ()


def test_rows_with_models_of_their_own(tmp_path):
    """Each row is counted at its own model's price; what has none is in no sum."""
    rows = write_rows(
        tmp_path / "rows.jsonl", {"prompt": "a", "max_tokens": 1}, {"prompt": "a", "model": "other"}
    )
    found = one(rows, manager())
    assert (found.unpriced, found.unpriced_models) == (1, ("other",))
    assert (found.named, found.named_models) == (1, ("other",))
    assert found.cost.low == Decimal(found.tokens_in.low // 2) / 10**6


def test_models_are_compared(rows):
    """One row each, in their order; which costs less is said, with the saving."""
    found = estimate(rows, [manager(), manager(model="other")], prices=BOOK)
    assert [model.name for model in found.models] == ["openai:m", "openai:other"]
    assert found.stamps == (Prices.stamp,)


def test_a_cheaper_one_of_those_that_were_named(rows):
    """Stands first among the cheaper ones of the dearer one, and only once; the saving is of both ends."""
    found = estimate(rows, ["openai:gpt-4o", "openai:gpt-4o-mini"], prices=None)
    dear, cheap = found.models
    names = [other.name for other in dear.cheaper]
    assert names[0] == "openai:gpt-4o-mini"
    assert len(set(names)) == len(names)
    low, high = dear.cheaper[0].saving
    assert low == pytest.approx(high) == pytest.approx(1 - float(cheap.cost.low / dear.cost.low))
    assert "openai:gpt-4o" not in [other.name for other in cheap.cheaper]


def test_a_provider_that_cannot_be_asked_has_bad_rows(tmp_path):
    """Anthropic wants max_tokens: all rows are bad for it, none of them identical to another."""
    rows = write_rows(tmp_path / "rows.jsonl", {"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"})
    found = one(rows, "anthropic:claude-haiku-4-5")
    assert (found.plan.bad, found.plan.identical, found.plan.to_send) == (3, 0, 0)
    assert [bad.line for bad in found.bad] == [1]


def test_a_provider_that_cannot_be_asked_saves_nothing(tmp_path):
    """Its bill is smaller by the rows that it cannot answer, which makes it no cheaper."""
    rows = write_rows(tmp_path / "rows.jsonl", {"prompt": "a"}, {"prompt": "b", "max_tokens": 9})
    found = estimate(rows, ["openai:gpt-4-turbo", "anthropic:claude-haiku-4-5"])
    assert [model.plan.to_send for model in found.models] == [2, 1]
    assert found.models[1].cost.low < found.models[0].cost.low
    assert "anthropic:claude-haiku-4-5" not in [other.name for other in found.models[0].cheaper]


def test_what_a_workspace_may_add_is_in_no_estimate(rows):
    """Anthropic's inference in one country is a tenth dearer: the batch would look cheaper than by half."""
    (found,) = estimate(rows, ["anthropic:claude-haiku-4-5"]).models
    assert found.cost.low == 2 * found.batch.low


@pytest.mark.parametrize(("model", "share"), [("gpt-5-mini", 2), ("gpt-4o-mini", 1)])
def test_the_tier_that_requests_ask_for(tmp_path, model, share):
    """Flex is half the price with OpenAI; a model without it is estimated as usual."""
    usual = write_rows(tmp_path / "usual.jsonl", *ROWS)
    flex = write_rows(tmp_path / "flex.jsonl", *({**row, "service_tier": "flex"} for row in ROWS))
    found = [estimate(file, [f"openai:{model}"]).models[0].cost for file in (usual, flex)]
    assert found[0].low == share * found[1].low
    assert found[0].high == share * found[1].high


def test_no_key_is_needed(rows):
    """Hosted providers are made without one, since nothing is sent."""
    found = estimate(rows, ["openai:gpt-4o-mini", "anthropic:claude-haiku-4-5", "gemini:gemini-2.5-flash"])
    assert all(model.cost.low > 0 for model in found.models)
    assert found.models[0].exact == 40


def test_prompts_that_the_model_will_refuse(tmp_path):
    """A context of 100,000 tokens takes the first, not the second (a token for every four bytes)."""
    rows = write_rows(tmp_path / "rows.jsonl", {"prompt": "a" * 399_000}, {"prompt": "a" * 401_000})
    assert one(rows, manager()).too_long == 1


def test_time_under_declared_limits(rows):
    """40 requests, ten a minute: the first ten leave at once."""
    found = one(rows, manager(limits=Limits(rpm=10)))
    assert found.duration == (180.0, 180.0, 180.0, "10 requests a minute")


def test_tokens_are_counted_as_the_limits_count_them(tmp_path):
    """OpenAI counts max_tokens: ten thousand of a thousand a minute, the first at once; Gemini does not."""
    asks = [{"prompt": "a", "n": 1, "max_tokens": 1000, "user": str(number)} for number in range(10)]
    rows = write_rows(tmp_path / "rows.jsonl", *asks)
    found = one(rows, manager(limits=Limits(tpm=1000)))
    assert (found.duration.low, found.duration.high) == (540.0, 600.0)
    rows = write_rows(
        tmp_path / "gemini.jsonl", *({"prompt": f"{number}", "max_tokens": 1000} for number in range(10))
    )
    gemini = RequestManager(GeminiProvider("none"), model="gemini-2.5-flash", limits=Limits(tpm=1000))
    assert one(rows, gemini).duration.high == 0.0


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_input(tmp_path, content):
    """Costs nothing, and a pilot of it asks nothing."""
    (tmp_path / "rows.jsonl").write_text(content)
    found = one(tmp_path / "rows.jsonl", manager(cache=DiskCache(tmp_path / "cache")), pilot=5)
    assert (found.plan.rows, found.cost, found.pilot) == (0, (0, None, 0), None)


def test_a_missing_input(tmp_path):
    """Is said as a run says it."""
    with pytest.raises(InputError, match="no such file"):
        one(tmp_path / "rows.jsonl", manager())


# Pilots


def test_a_pilots_rows_are_not_paid_again(tmp_path, rows, simulator):
    """Ten rows are asked, once; the run that follows sends the other thirty."""
    asks = manager(simulator, DiskCache(tmp_path / "cache"))
    found = one(rows, asks, pilot=10)
    assert (simulator.stats().requests, found.pilot.rows, found.pilot.failed) == (10, 10, 0)
    summary = asks.run_file(rows, tmp_path / "out.jsonl")
    assert (summary.cached, summary.sent, simulator.stats().requests) == (10, 30, 40)
    assert simulator.stats().repeated_bodies == 0


def test_what_a_pilot_measures_holds(tmp_path, rows, simulator):
    """The run's tokens are within its intervals."""
    asks = manager(simulator, DiskCache(tmp_path / "cache"))
    found = one(rows, asks, pilot=20)
    asks.run_file(rows, tmp_path / "out.jsonl")
    lines = map(json.loads, (tmp_path / "out.jsonl").read_bytes().splitlines())
    usages = [line["response"]["body"]["usage"] for line in lines]
    tokens_in = sum(each["prompt_tokens"] for each in usages)
    tokens_out = sum(each["completion_tokens"] for each in usages)
    assert found.measured
    assert found.tokens_in.low <= tokens_in <= found.tokens_in.high
    assert found.tokens_out.low <= tokens_out <= found.tokens_out.high
    assert found.cost.low <= Decimal(tokens_in + 4 * tokens_out) / 10**6 <= found.cost.high
    assert float(found.cost.high) == pytest.approx(2 * float(found.batch.high))
    assert found.tokens_out.high <= 320
    assert found.pilot.cost < found.cost.low
    assert found.duration.slowest == "64 at a time"


def test_a_pilot_of_more_rows_than_there_are(tmp_path, rows, simulator):
    """Asks each once; then nothing is uncertain."""
    found = one(rows, manager(simulator, DiskCache(tmp_path / "cache")), pilot=1000)
    assert (found.pilot.rows, simulator.stats().requests) == (40, 40)
    assert found.cost.low == found.cost.expected == found.cost.high == found.pilot.cost
    assert found.tokens_out.low == found.tokens_out.high


def test_the_same_seed_asks_the_same_rows(tmp_path, rows, simulator):
    """Another one asks others."""
    one(rows, manager(simulator, DiskCache(tmp_path / "a")), pilot=6, seed=1)
    one(rows, manager(simulator, DiskCache(tmp_path / "b")), pilot=6, seed=1)
    assert simulator.stats().repeated_bodies == 6
    one(rows, manager(simulator, DiskCache(tmp_path / "c")), pilot=6, seed=2)
    assert simulator.stats().repeated_bodies < 12


def test_cheaper_models_cost_what_was_measured(tmp_path, rows):
    """Where fewer tokens are billed than were counted, other models are billed for as many."""

    def answer(request):
        message = {"role": "assistant", "content": "a"}
        usage = {"prompt_tokens": 1, "completion_tokens": 2}
        return 200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}

    with Recorder(answer) as server:
        asks = RequestManager(
            OpenAIProvider(base_url=server.url), model="gpt-4o", cache=DiskCache(tmp_path / "cache")
        )
        (found,) = estimate(rows, asks, pilot=10).models
    assert (found.tokens_in.expected, found.tokens_out.expected) == (40, 80)
    for other in found.cheaper:
        assert float(other.cost.high) == pytest.approx(
            float(found.cost.expected) * (1 - other.saving[0]), rel=0.05
        )


def test_what_a_pilot_may_cost_is_said_before(tmp_path, rows, simulator):
    """`agree` is told, and its no sends nothing; the bound holds."""
    asks = manager(simulator, DiskCache(tmp_path / "cache"))
    offers = []

    def agree(given):
        offers.extend(given)
        return len(offers) > 1

    assert one(rows, asks, pilot=10, agree=agree).pilot is None
    assert simulator.stats().requests == 0
    found = one(rows, asks, pilot=10, agree=agree)
    assert (offers[0].name, offers[0].rows, offers[0].unbounded, offers[0].unpriced) == ("openai:m", 10, 0, 0)
    assert found.pilot.cost <= offers[1].at_most.high


def test_a_pilot_without_bounds_may_fill_the_context(tmp_path, simulator):
    """The worst case of a request without max_tokens is the model's context, 100,000 tokens at $0.000004."""
    rows = write_rows(tmp_path / "rows.jsonl", {"prompt": "a"}, {"prompt": "b", "max_tokens": 1})
    offers = []
    asks = manager(simulator, DiskCache(tmp_path / "cache"))
    one(rows, asks, pilot=2, agree=offers.extend)
    (offer,) = offers
    assert (offer.rows, offer.unbounded) == (2, 1)
    assert Decimal("0.4") < offer.at_most.high < Decimal("0.401")
    assert offer.at_most.low < Decimal("0.0001")


def test_rows_that_fail_are_told_and_taken_into_account(tmp_path, rows):
    """The low end takes them to cost nothing, the high end as much as others; they are not in the cache."""

    def answer(request):
        """Three tokens for each prompt but every fourth."""
        text = request.body["messages"][0]["content"]
        if len(text.split()) % 4 == 0:
            return error(400, "no_fours", "No fours.")
        message = {"role": "assistant", "content": "a b c"}
        usage = {"prompt_tokens": len(text.split()), "completion_tokens": 3}
        return 200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}

    with Recorder(answer) as server:
        asks = RequestManager(
            OpenAIProvider(base_url=server.url), model="m", cache=DiskCache(tmp_path / "cache")
        )
        found = one(rows, asks, pilot=40)
        assert (found.pilot.failed, len(server.requests)) == (10, 40)
        assert found.pilot.first_error == "No fours."
        assert (found.tokens_out.low, found.tokens_out.expected, found.tokens_out.high) == (90, 90, 120)
        summary = asks.run_file(rows, tmp_path / "out.jsonl")
        assert (summary.cached, summary.failed, len(server.requests)) == (30, 10, 50)


def test_a_pilot_that_nobody_answers(tmp_path, rows):
    """Measures nothing: what is possible stays."""
    with Recorder(lambda request: error(400)) as server:
        asks = RequestManager(
            OpenAIProvider(base_url=server.url), model="m", cache=DiskCache(tmp_path / "cache")
        )
        found = one(rows, asks, pilot=6)
    assert (found.pilot.failed, found.measured, found.tokens_out) == (6, False, (0, None, 320))


def test_an_endpoint_that_is_not_there(tmp_path, rows):
    """Ends the pilot as it ends a run."""
    with pytest.raises(RunStopped):
        one(rows, manager(None, DiskCache(tmp_path / "cache"), max_outage=0), pilot=6)


@pytest.mark.parametrize(
    ("more", "why"), [({"cache": None}, "needs a cache"), ({"identical": "sample"}, "an answer each")]
)
def test_pilots_that_a_run_would_pay_again_are_refused(tmp_path, rows, simulator, more, why):
    """Before anything is counted."""
    asks = manager(simulator, **{"cache": DiskCache(tmp_path / "cache"), **more})
    with pytest.raises(ConfigError, match=why):
        one(rows, asks, pilot=5)
    assert simulator.stats().requests == 0


def test_a_pilot_asks_each_model(tmp_path, rows, simulator):
    """So that their bills can be compared."""
    cache = DiskCache(tmp_path / "cache")
    found = estimate(
        rows, [manager(simulator, cache), manager(simulator, cache, model="n")], prices=BOOK, pilot=5
    )
    assert [model.pilot.rows for model in found.models] == [5, 5]
    assert simulator.stats().requests == 10
    assert found.models[1].cost is None


def test_rows_that_name_pictures_are_found_again(tmp_path, simulator):
    """The files beside the input are a part of what is asked."""
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n0000")
    picture = {"type": "image_url", "image_url": {"url": "file:a.png"}}
    asks = [[{"type": "text", "text": f"What is {number}?"}, picture] for number in range(8)]
    rows = write_rows(
        tmp_path / "rows.jsonl", *({"messages": [{"role": "user", "content": parts}]} for parts in asks)
    )
    through = manager(simulator, DiskCache(tmp_path / "cache"))
    assert one(rows, through, pilot=5).pilot.failed == 0
    assert through.run_file(rows, tmp_path / "out.jsonl").cached == 5


def test_rows_with_a_shape_are_found_again(tmp_path, rows, simulator):
    """A schema is a part of the request's hash."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    free = write_rows(tmp_path / "free.jsonl", *({key: row[key] for key in ("id", "prompt")} for row in ROWS))
    asks = manager(simulator, DiskCache(tmp_path / "cache"), response_format=schema)
    found = one(free, asks, pilot=10)
    assert found.pilot.failed == 0
    summary = asks.run_file(free, tmp_path / "out.jsonl")
    assert (summary.cached, summary.ok) == (10, 40)


def test_the_listing_of_these_tests():
    """What the dollars above are worked out from."""
    assert (LISTING.usual[0].rates["input"].base, LISTING.usual[0].rates["output"].base) == (10**6, 4 * 10**6)
