"""What providers say to batch APIs and what the simulator answers fit together, in every dialect."""

from collections import Counter

import pytest

from fastbatch import LLMRequest, OpenAIProvider
from fastbatch.errors import BadRequest, RateLimited
from fastbatch.models.http import HTTPReply
from fastbatch.models.params import CHAT
from fastbatch.providers.anthropic import AnthropicProvider
from fastbatch.providers.azure import AzureProvider
from fastbatch.providers.batches import ENQUEUED_TOKENS
from fastbatch.providers.gemini import GeminiProvider
from fastbatch.simulator import BatchConfig, SimulatorConfig
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.provider import SimulatedProvider

PROVIDERS = {
    "openai": OpenAIProvider("k", base_url="http://h/v1", env={}),
    "azure": AzureProvider("k", base_url="http://h", env={}),
    "azure by version": AzureProvider("k", base_url="http://h", api_version="2024-10-21", env={}),
    "anthropic": AnthropicProvider("k", base_url="http://h", env={}),
    "gemini": GeminiProvider("k", base_url="http://h", env={}),
}
COUNT = 60


@pytest.fixture(params=PROVIDERS)
def provider(request):
    """Each provider that has batches."""
    return PROVIDERS[request.param]


class Desk:
    """Takes a provider's batches to a simulator, at a time that only `later` moves."""

    def __init__(self, provider, **config):
        batches = {name: config.pop(name) for name in set(config) & set(BatchConfig.__dataclass_fields__)}
        self.simulator = SimulatedProvider(SimulatorConfig(batches=BatchConfig(**batches), **config))
        self.provider, self.native, self.now = provider, provider.batches, 1000.0

    def send(self, call):
        """The reply to one call."""
        path, _, query = call.url.removeprefix("http://h").partition("?")
        headers = {name.lower().encode(): value.encode() for name, value in call.headers.items()}
        key = headers.pop(b"authorization", None)
        headers[b"host"] = b"h"
        came = Incoming(call.method, path, key, call.body, self.now, headers, query.encode())
        reply = self.simulator.receive(came)
        reply.settle(delivered=True)
        pairs = (line.partition(": ") for line in reply.headers.decode().split("\r\n") if line)
        return HTTPReply(reply.status, {name.lower(): value for name, _, value in pairs}, reply.body)

    def drive(self, steps):
        """What the steps come to."""
        try:
            call = next(steps)
            while True:
                call = steps.send(self.send(call))
        except StopIteration as end:
            return end.value

    def begin(self, count=COUNT, name="run-1", **options):
        """A batch of so many rows."""
        asked = [
            LLMRequest.from_prompt(f"What of {number}?", model="m", max_tokens=64, **options)
            for number in range(count)
        ]
        lines = b"".join(self.native.line(request, f"r-{number}") for number, request in enumerate(asked))
        return self.drive(self.native.submit(lines, name=name, endpoint=CHAT, model="m", count=count))

    def look(self, batch):
        return self.drive(self.native.look(batch.id))

    def later(self, seconds):
        """Let time pass, and have all done that is due then."""
        self.now += seconds
        while self.simulator.work(self.now) == 0.0:
            pass

    def results(self, batch):
        """What its files say, by the names of the rows."""
        found = {}
        for call in batch.outputs:
            for line in self.send(call).body.split(b"\n"):
                for result in self.native.results(line):
                    assert result.name not in found
                    found[result.name] = result
        return found

    def outcomes(self, batch):
        """How many rows were answered, failed, expired and were cancelled."""
        return Counter(
            result.undone or (self.provider.parse(result.reply).error and "failed") or "answered"
            for result in self.results(batch).values()
        )


def test_all_rows_come_back(provider):
    """Answers with text and tokens, failures with their kind."""
    desk = Desk(provider, seconds=10, failure_rates={"500": 0.3})
    begun = desk.begin()
    assert not begun.ended
    desk.later(20)
    batch = desk.look(begun)
    assert batch.ended
    assert batch.problem is None
    results = desk.results(batch)
    assert results.keys() == {f"r-{number}" for number in range(COUNT)}
    outcomes = {name: provider.parse(result.reply) for name, result in results.items()}
    failed = {name for name, outcome in outcomes.items() if outcome.error}
    assert 0 < len(failed) < COUNT
    assert {type(outcomes[name].error).__name__ for name in failed} == {"ServerError"}
    for name in outcomes.keys() - failed:
        assert outcomes[name].text
        assert outcomes[name].tokens.prompt_tokens > 0 < outcomes[name].tokens.completion_tokens
    assert (batch.answered, batch.failed, batch.total) == (COUNT - len(failed), len(failed), COUNT)


def test_a_batch_is_found_by_its_name(provider):
    """Where names are kept; the list has it with the same state in any case."""
    desk = Desk(provider, seconds=10)
    begun = [desk.begin(1, name=f"run-{number}") for number in range(3)]
    page = desk.drive(desk.native.listed())
    assert {batch.id for batch in page.batches} == {batch.id for batch in begun}
    kept = provider.name != "anthropic"
    assert {batch.id: batch.name for batch in page.batches} == {
        batch.id: f"run-{number}" if kept else "" for number, batch in enumerate(begun)
    }
    assert all(batch.created for batch in page.batches)


def test_an_expired_batch(provider):
    """What was answered is there where the API lets it be had."""
    desk = Desk(provider, seconds=10, share=0.6, expires=20)
    begun = desk.begin()
    desk.later(30)
    batch = desk.look(begun)
    assert batch.ended
    found = desk.outcomes(batch)
    if provider.name == "gemini":  # of an expired batch nothing can be had there
        assert not found["expired"]
    else:
        assert found == {"answered": 36, "expired": 24}


def test_a_cancelled_batch(provider):
    """What was answered is there, the rest was not asked; to cancel it again does nothing."""
    desk = Desk(provider, seconds=10)
    begun = desk.begin()
    desk.later(5)
    desk.drive(desk.native.cancel(begun.id))
    desk.later(5)
    batch = desk.look(begun)
    assert batch.ended
    found = desk.outcomes(batch)
    assert found["answered"] == 30
    assert found["cancelled"] in (30, 0)  # Gemini's file may hold no word of the others
    assert desk.drive(desk.native.cancel(begun.id)) == batch


@pytest.mark.parametrize("name", ["openai", "azure", "azure by version"])
@pytest.mark.parametrize("missing", [("output",), ("errors",), ("output", "errors")])
def test_missing_files(name, missing):
    """There is only so much to fetch."""
    desk = Desk(PROVIDERS[name], seconds=10, missing=missing, failure_rates={"500": 0.3})
    begun = desk.begin()
    desk.later(20)
    batch = desk.look(begun)
    assert len(batch.outputs) == 2 - len(missing)
    found = desk.outcomes(batch)
    assert ("answered" in found) == ("output" not in missing)
    assert ("failed" in found) == ("errors" not in missing)


def test_too_many_waiting_tokens(provider):
    """A refusal at once, or a batch that failed: the same code in both."""
    if provider.name == "anthropic":
        pytest.skip("Anthropic bounds the requests that wait, not their tokens")
    desk = Desk(provider, seconds=10, tokens=300)
    desk.begin(40)
    desk.later(2)
    try:
        batch = desk.begin(40)
        desk.later(2)
        problem = desk.look(batch).problem
    except RateLimited as refused:
        problem = refused
    assert isinstance(problem, RateLimited)
    assert problem.code == ENQUEUED_TOKENS


@pytest.mark.parametrize("name", ["openai", "azure", "azure by version"])
def test_wrong_lines(name):
    """All reasons, with their lines."""
    desk = Desk(PROVIDERS[name], seconds=10)
    line = desk.native.line(LLMRequest.from_prompt("Hi", model="m"), "r-1")
    begun = desk.drive(desk.native.submit(line * 3, name="n", endpoint=CHAT, model="m", count=3))
    desk.later(20)
    problem = desk.look(begun).problem
    assert isinstance(problem, BadRequest)
    assert problem.code == "duplicate_custom_id"
    assert "line 2" in problem.message
