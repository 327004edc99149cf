"""The provider's decisions, without a socket: requests and times in, replies out."""

import base64
import json
import math
import struct
from decimal import Decimal

import pytest

from fastbatch.simulator import SimulatedLimit, SimulatorConfig
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.provider import SimulatedProvider

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
COMPLETIONS, EMBEDDINGS = "/v1/completions", "/v1/embeddings"


def chat(text="What is the capital of France?", **more):
    """A chat body."""
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **more}


class Client:
    """Posts to a provider; every request comes a millisecond after the last."""

    def __init__(self, **config):
        self.provider = SimulatedProvider(SimulatorConfig(**config))
        self.now = 100.0

    def reply(self, path, body, *, method="POST", key=None):
        """The reply, its end counted as delivered."""
        self.now += 0.001
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = self.provider.receive(Incoming(method, path, key, raw, self.now))
        if reply.ending != "never":
            reply.settle(delivered=True)
        return reply

    def post(self, path, body, **more):
        """Status and parsed body."""
        reply = self.reply(path, body, **more)
        return reply.status, json.loads(reply.body)

    @property
    def stats(self):
        """What the provider saw."""
        return self.provider.stats()


def test_chat_has_the_documented_shape():
    """Ids, choices and usage of a chat completion are where clients look for them."""
    status, body = Client().post(CHAT, chat())
    assert status == 200
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["model"] == "gpt-4o-mini"
    (choice,) = body["choices"]
    assert choice["message"]["role"] == "assistant"
    assert "capital of France" in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"
    usage = body["usage"]
    assert usage["prompt_tokens"] == math.ceil(30 / 4) + 4
    assert usage["completion_tokens"] == math.ceil(len(choice["message"]["content"].encode()) / 4)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0


def test_the_same_bytes_get_the_same_text():
    """Text depends on seed and request, not on when or how often it is asked."""
    one, two, other = Client(seed=1), Client(seed=1), Client(seed=2)
    rows = [chat(f"Row {number} of the table") for number in range(20)]

    def said(client, row):
        return client.post(CHAT, row)[1]["choices"][0]["message"]["content"]

    first = [said(one, row) for row in rows]
    assert [said(two, row) for row in reversed(rows)][::-1] == first
    assert [said(one, row) for row in rows] == first
    assert [said(other, row) for row in rows] != first
    assert len(set(first)) == 20


@pytest.mark.parametrize(
    ("path", "body", "name", "text"),
    [
        (CHAT, chat(max_tokens=5), "finish_reason", lambda b: b["choices"][0]["message"]["content"]),
        (
            CHAT,
            chat(max_completion_tokens=5),
            "finish_reason",
            lambda b: b["choices"][0]["message"]["content"],
        ),
        (COMPLETIONS, {"model": "m", "prompt": "Once", "max_tokens": 5}, "finish_reason", None),
    ],
)
def test_max_tokens_cuts(path, body, name, text):
    """An answer ends after so many tokens and says so."""
    _, answered = Client().post(path, body)
    choice = answered["choices"][0]
    assert choice[name] == "length"
    assert len(text(answered) if text else choice["text"]) == 20
    assert answered["usage"]["completion_tokens"] == 5


def texts(client, body, path=CHAT, times=3):
    """What the same body is told, time after time."""
    return [client.post(path, body)[1]["choices"][0] for _ in range(times)]


def test_repeats_vary_when_they_are_told_to():
    """Each time another text, the first that of every simulator, and the same sequence in each run."""
    varied = texts(Client(vary_repeats=True), chat())
    assert len({choice["message"]["content"] for choice in varied}) == 3
    assert varied[0] == texts(Client(), chat())[0]
    assert varied == texts(Client(vary_repeats=True), chat())
    assert varied != texts(Client(vary_repeats=True, seed=1), chat())


@pytest.mark.parametrize("temperature", [0, 0.0])
def test_repeats_at_temperature_0_do_not_vary(temperature):
    """Who asks for one answer gets one."""
    first, *others = texts(Client(vary_repeats=True), chat(temperature=temperature))
    assert others == [first, first]
    prompt = {"model": "m", "prompt": "Hi", "temperature": temperature}
    first, *others = texts(Client(vary_repeats=True), prompt, COMPLETIONS)
    assert others == [first, first]


def test_a_varied_body_goes_on_where_it_was():
    """Other bodies and failures do not count, choices of one answer stay apart, and a reset begins anew."""
    plain = texts(Client(vary_repeats=True), chat(n=2))
    client = Client(vary_repeats=True, failure_rates={"truncated": 1.0})
    client.reply(CHAT, chat(n=2))  # fails once, as `failures_per_row` says
    mixed = []
    for _ in range(3):
        mixed += texts(client, chat(n=2), times=1)
        client.reply(CHAT, chat("Something else"))
    assert mixed == plain
    status, body = client.post(CHAT, chat(n=2))
    assert status == 200
    assert body["choices"][0]["message"] != body["choices"][1]["message"]
    client.provider.reset()
    client.reply(CHAT, chat(n=2))
    assert texts(client, chat(n=2)) == plain


def test_max_tokens_cuts_between_characters():
    """A text of multi-byte characters is cut at a character and still counts max_tokens."""
    _, body = Client().post(CHAT, chat("ありがとうございます" * 9, max_tokens=7))
    text = body["choices"][0]["message"]["content"]
    assert 25 <= len(text.encode()) <= 28
    assert body["usage"]["completion_tokens"] == 7


def test_n_choices_differ():
    """`n` answers come with indices 0..n-1, and chat counts the prompt once."""
    _, body = Client().post(CHAT, chat("Tell me about the long river and the old town", n=5))
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3, 4]
    assert len({choice["message"]["content"] for choice in body["choices"]}) > 1
    assert body["usage"]["prompt_tokens"] == math.ceil(45 / 4) + 4


def test_completions_answer_every_prompt():
    """Two prompts and n=2 make four choices."""
    _, body = Client().post(COMPLETIONS, {"model": "m", "prompt": ["red fish", "blue bird"], "n": 2})
    assert body["object"] == "text_completion"
    assert ["red fish" in choice["text"] for choice in body["choices"]] == [True, True, False, False]
    assert body["usage"]["prompt_tokens"] == 2 + 3


def test_responses_use_their_own_names():
    """The Responses API has output items and input/output token names; a cut answer is incomplete."""
    client = Client(cached_share=0.5)
    asked = {"model": "m", "instructions": "Be kind.", "input": "Say hi"}
    _, body = client.post(RESPONSES, asked)
    assert (body["object"], body["status"], body["error"]) == ("response", "completed", None)
    assert body["output"][0]["content"][0]["type"] == "output_text"
    assert body["usage"]["input_tokens"] == math.ceil(14 / 4) + 2 * 4
    assert body["usage"]["input_tokens_details"] == {"cached_tokens": 6}
    assert body["usage"]["total_tokens"] == body["usage"]["input_tokens"] + body["usage"]["output_tokens"]
    items = [{"role": "user", "content": [{"type": "input_text", "text": "Say hi"}]}]
    _, cut = client.post(RESPONSES, {"model": "m", "input": items, "max_output_tokens": 3})
    assert cut["status"] == "incomplete"
    assert cut["incomplete_details"] == {"reason": "max_output_tokens"}
    assert cut["usage"]["output_tokens"] == 3


def test_embeddings_are_unit_vectors_of_their_text():
    """The same text has the same vector wherever it stands; shorter vectors begin as longer ones do."""
    client = Client(embedding_dimensions=64)
    _, body = client.post(EMBEDDINGS, {"model": "e", "input": ["a cat", "a dog", "a cat"]})
    cat, dog, again = (item["embedding"] for item in body["data"])
    assert [item["index"] for item in body["data"]] == [0, 1, 2]
    assert cat == again != dog
    assert len(cat) == 64
    assert math.fsum(x * x for x in cat) == pytest.approx(1)
    assert body["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    _, short = client.post(EMBEDDINGS, {"model": "e", "input": "a cat", "dimensions": 8})
    begun = short["data"][0]["embedding"]
    assert [x / begun[0] for x in begun] == pytest.approx([x / cat[0] for x in cat[:8]])
    _, packed = client.post(EMBEDDINGS, {"model": "e", "input": "a cat", "encoding_format": "base64"})
    assert struct.unpack("<64f", base64.b64decode(packed["data"][0]["embedding"])) == pytest.approx(cat)


def test_embeddings_of_tokens():
    """Arrays of token numbers count as what they are: one input, or several."""
    client = Client(embedding_dimensions=4)
    _, one = client.post(EMBEDDINGS, {"model": "e", "input": [1, 2, 3]})
    _, two = client.post(EMBEDDINGS, {"model": "e", "input": [[1, 2, 3], [4]]})
    assert (len(one["data"]), one["usage"]["prompt_tokens"]) == (1, 3)
    assert (len(two["data"]), two["usage"]["prompt_tokens"]) == (2, 4)
    assert one["data"][0]["embedding"] == two["data"][0]["embedding"]


def test_models_are_listed():
    """GET /v1/models names the configured models."""
    _, body = Client(models=("a", "b")).post("/v1/models", b"", method="GET")
    assert [model["id"] for model in body["data"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("path", "body", "status", "param", "code"),
    [
        (CHAT, b"{", 400, None, None),
        (CHAT, b"[]", 400, None, None),
        (CHAT, b"\xff", 400, None, None),
        (CHAT, b'{"model":' + b"[" * 100_000, 400, None, None),
        (CHAT, {"messages": [{"role": "user"}]}, 400, "model", "missing_required_parameter"),
        (CHAT, {"model": "a"}, 400, "messages", "missing_required_parameter"),
        (CHAT, {"model": "a", "messages": []}, 400, "messages", "invalid_value"),
        (CHAT, {"model": "a", "messages": [5]}, 400, "messages[0]", "invalid_value"),
        (CHAT, {**chat(), "model": "a", "n": 0}, 400, "n", "invalid_value"),
        (CHAT, {**chat(), "model": "a", "max_tokens": True}, 400, "max_tokens", "invalid_value"),
        (RESPONSES, {"model": "a"}, 400, "input", "missing_required_parameter"),
        (COMPLETIONS, {"model": "a", "prompt": [5]}, 400, "prompt", "invalid_value"),
        (EMBEDDINGS, {"model": "a", "input": ""}, 400, "input", "invalid_value"),
        (EMBEDDINGS, {"model": "a", "input": []}, 400, "input", "invalid_value"),
        (EMBEDDINGS, {"model": "a", "input": [[1, "x"]]}, 400, "input", "invalid_value"),
        (
            EMBEDDINGS,
            {"model": "a", "input": "x", "encoding_format": "hex"},
            400,
            "encoding_format",
            "invalid_value",
        ),
        (CHAT, chat(), 404, None, "model_not_found"),
        ("/v1/nothing", {}, 404, None, "unknown_url"),
        ("/v1/models", {}, 405, None, "method_not_supported"),
    ],
)
def test_errors_have_openai_bodies(path, body, status, param, code):
    """What is wrong with a request is said in `{"error": {message, type, param, code}}`."""
    client = Client(models=("a",))
    got, answered = client.post(path, body)
    error = answered["error"]
    assert (got, error["param"], error["code"]) == (status, param, code)
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert (client.stats.requests, client.stats.rejected, client.stats.answered) == (1, 1, 0)


def test_405_names_the_method():
    """A wrong method is told the right one."""
    assert b"allow: POST\r\n" in Client().reply(CHAT, b"", method="GET").headers


def test_the_key_is_checked_before_anything_is_charged():
    """Another bearer, or none, gets 401 and costs no allowance; the scheme's case does not matter."""
    client = Client(require_key="sk-right", rpm=1)
    for key in (None, b"Bearer sk-wrong", b"sk-right", b"Basic sk-right"):
        status, body = client.post(CHAT, chat(), key=key)
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert client.post("/v1/models", b"", method="GET")[0] == 401
    assert client.post(CHAT, chat(), key=b"bearer sk-right")[0] == 200


def test_limits_refuse_with_everything_a_client_needs():
    """A 429 has the code, both retry headers and the x-ratelimit headers, and is not charged."""
    client = Client(rpm=2, tpm=1000)
    assert [client.post(CHAT, chat(f"{n}"))[0] for n in range(2)] == [200, 200]
    reply = client.reply(CHAT, chat("2"))
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["type"], error["code"]) == (429, "requests", "rate_limit_exceeded")
    headers = dict(line.split(": ") for line in reply.headers.decode().splitlines())
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-remaining-tokens"] == str(1000 - 2 * (1 + 4))
    assert headers["retry-after"] == "60"
    assert 59_998 <= int(headers["retry-after-ms"]) <= 60_000
    client.now += int(headers["retry-after-ms"]) / 1000 - 0.001
    assert client.post(CHAT, chat("2"))[0] == 200
    assert client.stats.refused_429 == 1
    assert client.stats.limits[0] == {
        "what": "requests", "amount": 2, "per": 60.0, "kind": "sliding", "now": 2, "peak": 2, "refused": 1,
    }  # fmt: skip


def test_tokens_count_as_the_larger_of_max_tokens_and_prompt():
    """Reservations are taken at arrival and not given back; what exceeds the whole limit never fits."""
    client = Client(tpm=1000)
    assert client.post(CHAT, chat(max_tokens=600))[0] == 200
    assert client.post(CHAT, chat("word " * 200))[0] == 200  # 250 + 4
    assert client.post(CHAT, chat(max_tokens=147))[0] == 429
    assert client.post(CHAT, chat(max_tokens=146))[0] == 200
    reply = client.reply(CHAT, chat(max_tokens=1001))
    message = json.loads(reply.body)["error"]["message"]
    assert "Request too large" in message
    assert "Limit 1000, Requested 1001" in message
    assert b"retry-after" not in reply.headers
    assert client.provider.tally.arrivals.tokens.tolist() == [600, 254, 147, 146, 1001]
    assert client.provider.tally.arrivals.admitted.tolist() == [1, 1, 0, 1, 0]


def test_input_and_output_are_counted_apart():
    """A request takes its prompt of one limit and max_tokens times n of the other, unknown maxima nothing."""
    client = Client(limits=(SimulatedLimit(input_tokens=100), SimulatedLimit(output_tokens=100)))
    assert client.post(CHAT, chat("ab", max_tokens=30, n=3))[0] == 200
    assert client.post(CHAT, chat("ab", max_tokens=11))[0] == 429
    assert client.post(CHAT, chat("ab"))[0] == 200
    assert client.post(CHAT, chat("x" * 400))[0] == 429
    arrivals = client.provider.tally.arrivals
    assert (arrivals.inputs.tolist(), arrivals.outputs.tolist()) == ([5, 5, 5, 104], [90, 11, 0, 0])
    assert client.stats.refused == {
        "100 output tokens per 60 s": 1,
        "100 input tokens per 60 s": 1,
    }


def test_malformed_requests_cost_a_request():
    """A 400 is charged to the request limit like every request that passed it."""
    client = Client(rpm=2)
    assert [client.post(CHAT, b"{")[0] for _ in range(3)] == [400, 400, 429]


def test_a_failed_row_succeeds_next_time():
    """By default a body fails at most once, so a run with retries ends with every row answered."""
    client = Client(failure_rates={"500": 0.5}, seed=4)
    rows = [chat(f"Row {n}") for n in range(200)]
    first = [client.post(CHAT, row)[0] for row in rows]
    assert 70 <= first.count(500) <= 130
    again = [client.post(CHAT, row)[0] for row, status in zip(rows, first, strict=True) if status == 500]
    assert set(again) == {200}
    assert [Client(failure_rates={"500": 0.5}, seed=4).post(CHAT, row)[0] for row in rows[:20]] == first[:20]


@pytest.mark.parametrize(("cap", "statuses"), [(0, [200] * 4), (2, [500, 500, 200, 200]), (None, [500] * 4)])
def test_failures_per_row(cap, statuses):
    """The bound on a body's failures; None has none."""
    client = Client(failure_rates={"500": 1.0}, failures_per_row=cap)
    assert [client.post(CHAT, chat())[0] for _ in range(4)] == statuses


def test_endless_failures_draw_anew():
    """Without the bound each arrival of a body has the same chance, whatever came before."""
    client = Client(failure_rates={"503": 0.5}, failures_per_row=None)
    statuses = [client.post(CHAT, chat())[0] for _ in range(400)]
    assert 150 <= statuses.count(503) <= 250


def test_a_limit_does_not_use_up_a_failure():
    """A body refused by a limit draws the same verdict when it comes back."""
    client = Client(failure_rates={"500": 1.0}, rpm=1)
    assert client.post(CHAT, chat("other"))[0] == 500
    assert client.post(CHAT, chat())[0] == 429
    client.now += 60
    assert client.post(CHAT, chat())[0] == 500


def test_random_429_is_not_the_limiter():
    """It comes before the limits, is charged to none, counts as a failure and gives no time to wait."""
    client = Client(failure_rates={"429": 1.0}, rpm=1)
    reply = client.reply(CHAT, chat())
    assert reply.status == 429
    assert b"retry-after" not in reply.headers
    assert client.post(CHAT, chat())[0] == 200
    assert (client.stats.failed, client.stats.refused_429) == ({"429": 1}, 0)


@pytest.mark.parametrize("kind", ["timeout", "reset", "truncated"])
def test_broken_endings(kind):
    """What the connection must do is part of the decision."""
    reply = Client(failure_rates={kind: 1.0}).reply(CHAT, chat())
    assert reply.ending == {"timeout": "never", "reset": "reset", "truncated": "cut"}[kind]
    assert not reply.answer


@pytest.mark.parametrize(("path", "body", "name"), [
    (CHAT, chat(), "choices"), (RESPONSES, {"model": "m", "input": "x"}, "output"),
    (EMBEDDINGS, {"model": "m", "input": "x"}, "data"),
])  # fmt: skip
def test_empty_and_malformed_are_200(path, body, name):
    """A reply without choices keeps its usage; a malformed one is no JSON."""
    status, empty = Client(failure_rates={"empty": 1.0}).post(path, body)
    assert (status, empty[name]) == (200, [])
    assert empty["usage"]["total_tokens"] > 0
    malformed = Client(failure_rates={"malformed": 1.0}).reply(path, body)
    assert malformed.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(malformed.body)


def test_quota_ends_the_answers():
    """After `stop_after` answers, or the money, everything is 429 insufficient_quota and says not to wait."""
    client = Client(stop_after=2, rpm=100)
    assert [client.post(CHAT, chat(f"{n}"))[0] for n in range(3)] == [200, 200, 429]
    reply = client.reply(CHAT, chat())
    assert json.loads(reply.body)["error"]["code"] == "insufficient_quota"
    assert b"retry-after" not in reply.headers
    assert client.stats.refused_quota == 2
    poor = Client(quota_usd=Decimal("0.0000005"), prompt_price=Decimal("0.1"), completion_price=Decimal(0))
    # "ab" has 5 prompt tokens: 0.0000005 dollars, which is all the money.
    assert [poor.post(CHAT, chat("ab"))[0] for _ in range(2)] == [200, 429]


def test_the_bill_is_exact():
    """The bill is the sum over the answers' usage at the prices, as a decimal number."""
    prices = {
        "prompt_price": Decimal("2.5"),
        "completion_price": Decimal("10"),
        "cached_price": Decimal("1.25"),
    }
    client = Client(**prices, cached_share=0.3, reasoning_tokens=7, failure_rates={"500": 0.3})
    expected = Decimal(0)
    for number in range(50):
        status, body = client.post(CHAT, chat(f"Row {number} " + "and so on " * number))
        if status == 200:
            usage = body["usage"]
            cached = usage["prompt_tokens_details"]["cached_tokens"]
            assert usage["completion_tokens_details"]["reasoning_tokens"] == 7
            expected += (usage["prompt_tokens"] - cached) * Decimal("2.5") / 1_000_000
            expected += (
                cached * Decimal("1.25") / 1_000_000 + usage["completion_tokens"] * Decimal(10) / 1_000_000
            )
    assert Decimal(client.stats.would_have_billed_usd) == expected
    assert "E" not in client.stats.would_have_billed_usd


def test_the_counts_add_up():
    """Every request ends in exactly one of the counts."""
    client = Client(
        rpm=100, failure_rates={"500": 0.1, "empty": 0.1, "429": 0.1, "truncated": 0.1}, stop_after=80
    )
    for number in range(300):
        client.reply(CHAT, chat(f"Row {number % 170}"))
        if number % 10 == 0:
            client.reply(CHAT, b"{")
            client.reply(f"/nowhere/{number}", b"")
    client.now += 60
    for number in range(50):
        client.reply(CHAT, chat(f"Row {number + 120}"))
    stats = client.stats
    assert stats.requests == 300 + 30 + 30 + 50
    ends = stats.answered + stats.abandoned + stats.refused_429 + stats.refused_quota + stats.rejected
    assert ends + sum(stats.failed.values()) == stats.requests
    assert min(stats.answered, stats.refused_429, stats.refused_quota, stats.rejected) > 0
    assert set(stats.failed) == {"500", "empty", "429", "truncated"}
    assert stats.in_flight == 0
    assert stats.by_path == {CHAT: 380, "other": 30}
    assert stats.distinct_bodies == 171
    assert stats.last_arrival == pytest.approx(client.now)


def test_repeated_bodies_are_those_answered_twice():
    """A body counts once however often it is answered again; another path makes another body."""
    client = Client()
    for row in ("a", "b", "a", "a", "c"):
        client.post(CHAT, chat(row))
    client.post(COMPLETIONS, {"model": "m", "prompt": "a"})
    assert (client.stats.distinct_bodies, client.stats.repeated_bodies, client.stats.answered) == (4, 1, 6)


def test_a_client_that_leaves_is_billed_but_not_answered():
    """An abandoned answer is no delivery, so asking again is no repetition; the bill has both."""
    client = Client()
    raw = json.dumps(chat()).encode()
    client.provider.receive(Incoming("POST", CHAT, None, raw, 1.0)).settle(delivered=False)
    usage = client.post(CHAT, json.loads(raw))[1]["usage"]
    stats = client.stats
    assert (stats.answered, stats.abandoned, stats.repeated_bodies) == (1, 1, 0)
    assert stats.completion_tokens == 2 * usage["completion_tokens"]


def test_reset_starts_anew_without_forgetting_what_is_in_flight():
    """Counts, limits and memory start over; a reply from before ends where it was counted."""
    client = Client(rpm=1)
    pending = client.provider.receive(Incoming("POST", CHAT, None, json.dumps(chat()).encode(), 1.0))
    status, stats = client.post("/simulator/reset", b"")
    assert (status, stats["requests"], stats["in_flight"]) == (200, 0, 0)
    assert client.post(CHAT, chat())[0] == 200
    pending.settle(delivered=True)
    assert (client.stats.requests, client.stats.answered, client.stats.in_flight) == (1, 1, 0)


def test_latency_is_log_normal_and_repeats():
    """Half the answers come within the median; a request asked again draws anew."""
    client = Client(latency=0.2, latency_sigma=0.5)
    delays = [client.reply(CHAT, chat(f"{n}")).delay for n in range(500)]
    assert 200 <= sum(delay < 0.2 for delay in delays) <= 300
    assert 0.35 < sorted(delays)[475] < 0.6  # 0.2 * exp(1.645 * 0.5) = 0.455
    again = client.reply(CHAT, chat("0")).delay
    assert again != delays[0], "so that asking a straggler twice is worth it"
    other = Client(latency=0.2, latency_sigma=0.5)
    assert [other.reply(CHAT, chat("0")).delay for _ in range(2)] == [delays[0], again]
    assert Client(latency=0.2).reply(CHAT, chat()).delay == 0.2
    assert Client(latency=0.2, latency_sigma=0.5, seed=1).reply(CHAT, chat("0")).delay != delays[0]


def test_generation_takes_time():
    """With tokens_per_second an answer takes its completion tokens' time on top."""
    reply = Client(latency=0.1, tokens_per_second=50).reply(CHAT, chat(max_tokens=5))
    assert reply.delay == pytest.approx(0.2)


def test_old_arrivals_make_room():
    """The record keeps the newest arrivals and never much more than its bound."""
    client = Client(arrivals_kept=100)
    for number in range(1000):
        client.reply(CHAT, chat(f"{number}"))
        assert len(client.provider.tally.arrivals.times) <= 125
    record = client.provider.tally.arrivals
    assert len(record.times) >= 100
    assert record.times[-1] == client.now
    assert len(record.times) == len(record.tokens) == len(record.admitted)


def test_the_busiest_window():
    """The record finds the fullest half-open window, of requests or tokens, of all or the admitted."""
    client = Client(tpm=30)
    for now, tokens in ((0.0, 10), (0.5, 10), (0.999, 9), (1.0, 20), (1.4, 1)):
        client.now = now - 0.001
        client.reply(CHAT, chat("x", max_tokens=max(tokens, 5)))
    record = client.provider.tally.arrivals
    assert record.busiest(1.0) == 4
    assert record.busiest(0.001) == 1
    assert record.busiest(1.0, what="tokens") == 44
    assert record.busiest(1.0, what="tokens", admitted_only=True) == 29
