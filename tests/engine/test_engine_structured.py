"""Answers with a shape: asked again while they do not fit, counted each time, and failed with their text."""

import json
from dataclasses import replace
from typing import ClassVar

import pytest
from fakes import FakeTransport, answer_to, asks, manager_on, refusal
from pydantic import BaseModel, field_validator

from fastbatch import InMemoryCache, LLMRequest, OpenAIProvider, RequestBatch, RequestManager, RetryPolicy
from fastbatch.engine.filerun import FileOptions
from fastbatch.engine.source import JobSource
from fastbatch.errors import BadResponse, ConfigError, ConnectionLost, InvalidAnswer, InvalidRequest
from fastbatch.formats.rows import RowSettings
from fastbatch.models.http import HTTPReply
from fastbatch.testing import ManualClock


class City(BaseModel):
    name: str
    people: int


GOOD = '{"name": "Lima", "people": 11}'
SCHEMA = City.model_json_schema()


class Model:
    """Answers with `texts` one after the other, the last one for ever; a reply may stand among them."""

    def __init__(self, *texts):
        self.texts = list(texts)
        self.bodies = []

    def __call__(self, call):
        self.bodies.append(json.loads(call.body))
        said = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        if isinstance(said, str):
            return answer_to(said)
        if isinstance(said, Exception):
            raise said
        return said


def manager_of(model, **options):
    return manager_on(FakeTransport(model), **{"response_format": City, **options})


async def test_what_fits_is_a_value():
    """`parsed` is of the type, and nothing is asked twice."""
    model = Model(GOOD)
    (result,) = await manager_of(model).run_async(asks("a"))
    assert result.parsed == City(name="Lima", people=11)
    assert (result.attempts, result.reasks, len(model.bodies)) == (1, 0, 1)
    assert model.bodies[0]["response_format"]["json_schema"]["name"] == "City"


async def test_what_does_not_fit_is_asked_again():
    """In the same conversation, with what is wrong; all answers are counted."""
    model = Model("Lima.", '{"name": "Lima"}', GOOD)
    manager = manager_of(model)
    (result,) = await manager.run_async(asks("a"))
    assert result.parsed.people == 11
    assert (result.attempts, result.reasks) == (3, 2)
    assert (result.usage.prompt_tokens, result.usage.completion_tokens) == (9, 6)
    assert (result.usage.retries, result.usage.reasks) == (0, 2)
    first, second, third = (body["messages"] for body in model.bodies)
    assert second[: len(first)] == first
    assert third[: len(second)] == second
    assert "not JSON" in second[-1]["content"]
    assert "people: Field required" in third[-1]["content"]
    assert all(body["response_format"] == model.bodies[0]["response_format"] for body in model.bodies)


async def test_what_never_fits_is_a_failed_row_with_its_text():
    """It was paid for, and that is counted."""
    model = Model("no", "never")
    (result,) = await manager_of(model, reasks=1).run_async(asks("a"))
    assert isinstance(result.error, InvalidAnswer)
    assert "asked 2 times" in result.error.message
    assert (result.text, result.error.text, result.attempts, result.reasks) == ("never", "never", 2, 1)
    assert (result.usage.prompt_tokens, result.usage.requests) == (6, 0)
    assert result.error.maybe_billed
    with pytest.raises(InvalidAnswer):
        _ = result.parsed


async def test_without_reasks_one_answer_decides():
    """`reasks=0` only checks."""
    model = Model("no")
    (result,) = await manager_of(model, reasks=0).run_async(asks("a"))
    assert (result.ok, result.attempts) == (False, 1)


@pytest.mark.parametrize("between", [refusal(429), refusal(500), ConnectionLost("reset")])
async def test_failures_between_do_not_forget_what_was_spent(between):
    """A refusal or an error of the endpoint is retried as for any row."""
    model = Model("no", between, GOOD)
    clock = ManualClock()
    (result,) = await clock.run(manager_of(model, clock=clock).run_async(asks("a")))
    assert result.ok
    assert (result.reasks, result.attempts, result.usage.retries) == (1, 3, 1)
    assert (result.usage.prompt_tokens, result.usage.completion_tokens) == (6, 4)


@pytest.mark.parametrize(
    "texts",
    [
        ("no", refusal(500), GOOD),
        (refusal(500), "no", GOOD),
        (refusal(500), "no", refusal(500), "no", GOOD),
    ],
)
async def test_retries_and_reasks_are_counted_apart(tmp_path, texts):
    """Whichever comes first."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a"}\n')
    manager = manager_of(Model(*texts), retry=RetryPolicy(base=0.001))
    summary = await manager.run_file_async(rows, tmp_path / "out.jsonl")
    failed = sum(not isinstance(text, str) for text in texts)
    assert (summary.usage.retries, summary.usage.reasks) == (failed, len(texts) - 1 - failed)


async def test_what_cannot_be_asked_again_did_not_fit():
    """Its answer is what the row has, not the refusal of the question about it; and it was paid for."""
    (result,) = await manager_of(Model("no", refusal(400))).run_async(asks("a"))
    assert isinstance(result.error, InvalidAnswer)
    assert "could not be asked again: no" in result.error.message
    assert (result.error.text, result.reasks) == ("no", 1)
    assert (result.tokens.prompt_tokens, result.usage.prompt_tokens) == (3, 3)


async def test_a_row_that_fails_after_an_answer_has_paid_for_it(tmp_path):
    """The results and the summary count the same."""
    model = Model("no", HTTPReply(200, {}, b"{}"))
    (result,) = await manager_of(model, retry=RetryPolicy(base=0.001)).run_async(asks("a"))
    assert isinstance(result.error, BadResponse)
    assert (result.usage.prompt_tokens, result.usage.reasks, result.usage.requests) == (3, 1, 0)
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a"}\n')
    model = Model("no", HTTPReply(200, {}, b"{}"))
    manager = manager_of(model, retry=RetryPolicy(base=0.001))
    summary = await manager.run_file_async(rows, tmp_path / "out.jsonl")
    assert (summary.usage.prompt_tokens, summary.usage.reasks) == (3, 1)


async def test_rows_that_wait_to_be_asked_again_when_the_run_ends(tmp_path):
    """Their answers are counted, nothing of them is uncertain, and the next run asks them anew."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": name, "prompt": name}) + "\n" for name in "abc"))

    def answer(call):
        run.drain()
        return answer_to("no")

    run = manager_of(answer).file_run(rows, tmp_path / "out.jsonl")
    summary = await run.run()
    assert summary.interrupted
    assert (summary.usage.prompt_tokens, summary.usage.reasks) == (3 * summary.sent, 0)
    told = []
    again = manager_of(Model(GOOD)).file_run(
        rows,
        tmp_path / "out.jsonl",
        options=FileOptions(on_uncertain=lambda rows: told.append(rows) or "retry"),
    )
    assert (await again.run()).ok == 3
    assert told == []


@pytest.mark.parametrize("calls", ["x", {}, [None], [5], [{"function": "x"}], [{"function": {"name": 5}}]])
@pytest.mark.parametrize("way", ["strict", "tool", "prompt"])
async def test_odd_answers_end_no_run(way, calls):
    """Whatever a server puts where calls of tools belong."""
    body = {"choices": [{"message": {"content": None, "tool_calls": calls}, "finish_reason": "stop"}]}
    odd = HTTPReply(200, {}, json.dumps(body).encode())
    results = await manager_of(Model(odd), structured=way, reasks=1).run_async(asks("a", "b"))
    for result in results:
        assert isinstance(result.error, InvalidAnswer) or result.parsed is None


async def test_a_validator_that_breaks_ends_no_run():
    """It is the user's own; the row says what happened."""

    class Broken(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def checked(cls, name):
            raise KeyError("oops")

    (result,) = await manager_of(Model('{"name": "x"}'), response_format=Broken, reasks=0).run_async(
        asks("a")
    )
    assert "checking it failed (KeyError: 'oops')" in result.error.message


async def test_calls_of_the_rows_own_tools_are_answers():
    """They have no value, and are not asked again."""
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    body = {"choices": [{"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    model = Model(HTTPReply(200, {}, json.dumps(body).encode()))
    (result,) = await manager_of(model).run_async([{"prompt": "a", "tools": [tool]}])
    assert (result.ok, result.parsed, len(model.bodies)) == (True, None, 1)
    assert result.message["tool_calls"][0]["id"] == "1"


async def test_answers_that_nobody_checked_are_kept_apart():
    """What was asked for with the same schema and without a check is no answer to this."""
    cache = InMemoryCache()
    body = LLMRequest.from_prompt("a", response_format=City).body["response_format"]
    unchecked = LLMRequest.from_prompt("a", response_format=body)
    (first,) = await manager_on(FakeTransport(Model("no")), cache=cache).run_async([unchecked])
    assert first.ok
    model = Model(GOOD)
    checked, twin = await manager_of(model, cache=cache).run_async(
        [LLMRequest.from_prompt("a"), LLMRequest.from_prompt("a", response_format=body)]
    )
    assert (checked.cached, checked.parsed.people) == (False, 11)
    assert (twin.cached, twin.text, twin.parsed) == (True, "no", None)


async def test_rows_as_dictionaries_have_shapes_too():
    """A type in one is told as the provider needs it, and checked."""
    model = Model("no", GOOD)
    manager = manager_on(FakeTransport(model), structured="prompt")
    (result,) = await manager.run_async([{"prompt": "a", "response_format": City}])
    assert (result.parsed.people, result.reasks) == (11, 1)
    assert "response_format" not in model.bodies[0]
    (failed,) = await manager.run_async([{"prompt": "a", "response_format": int}])
    assert isinstance(failed.error, InvalidRequest)
    (several,) = await manager_of(Model(GOOD)).run_async([{"prompt": "a", "n": 2}])
    assert "leave out n" in several.error.message


async def test_reasons_are_short():
    """However long the answer is that they speak of."""
    model = Model(json.dumps({"name": 5, "people": "y" * 100_000}), GOOD)
    (result,) = await manager_of(model, response_format=SCHEMA).run_async(asks("a"))
    assert result.ok
    assert len(model.bodies[1]["messages"][-1]["content"]) < 800


async def test_cut_off_answers_are_not_asked_again():
    """They would be cut off again."""
    cut = json.loads(answer_to('{"name": "Li').body)
    cut["choices"][0]["finish_reason"] = "length"
    model = Model(HTTPReply(200, {}, json.dumps(cut).encode()))
    (result,) = await manager_of(model).run_async(asks("a"))
    assert result.attempts == 1
    assert "cut off" in result.error.message


@pytest.mark.parametrize("way", ["tool", "json", "prompt"])
async def test_models_are_told_as_the_user_wants(way):
    """The wire has it in that form, and asking again keeps to it."""
    model = Model("no", f"```json\n{GOOD}\n```")
    (result,) = await manager_of(model, structured=way).run_async(asks("a"))
    assert result.parsed.people == 11
    for body in model.bodies:
        assert ("tools" in body) == (way == "tool")
        assert (body.get("response_format") == {"type": "json_object"}) == (way == "json")
        assert (body["messages"][0]["role"] == "system") == (way != "tool")


async def test_each_request_may_have_a_shape_of_its_own():
    """Beside others that have none, and one that says its format itself."""

    class River(BaseModel):
        river: str

    batch = RequestBatch()
    batch.chat.completions.create(messages=[{"role": "user", "content": "a"}], response_format=River)
    batch.chat.completions.create(messages=[{"role": "user", "content": "b"}])
    batch.chat.completions.create(
        messages=[{"role": "user", "content": "c"}], response_format={"type": "json_object"}
    )

    def answer(call):
        return answer_to('{"river": "Rímac"}' if b"River" in call.body else "plain")

    results = await manager_on(FakeTransport(answer)).run_async(batch)
    assert [result.ok for result in results] == [True] * 3
    assert results[0].parsed == River(river="Rímac")
    assert [result.parsed for result in results[1:]] == [None, None]


async def test_the_managers_shape_leaves_formats_of_the_rows_own_alone():
    """Such a row is sent as it stands, and not checked."""
    own = LLMRequest.from_prompt("a", response_format={"type": "text"})
    (result,) = await manager_of(Model("plain")).run_async([own])
    assert (result.ok, result.text, result.parsed) == (True, "plain", None)


async def test_rows_of_other_endpoints_are_refused():
    """An embedding has no shape."""
    (result,) = await manager_of(Model(GOOD)).run_async([{"input": "x"}])
    assert isinstance(result.error, InvalidRequest)
    assert result.attempts == 0


async def test_only_what_fits_is_kept():
    """A second run finds the valid answer under the row's own key, and asks for the failed one anew."""
    cache = InMemoryCache()

    def answer(call):
        return answer_to(GOOD if b"Lima" in call.body else "no")

    first = manager_of(answer, cache=cache, reasks=0)
    assert [result.ok for result in await first.run_async(asks("Lima", "Oslo"))] == [True, False]
    model = Model(GOOD)
    again = await manager_of(model, cache=cache).run_async(asks("Lima", "Oslo"))
    assert [(result.cached, result.parsed.people) for result in again] == [(True, 11), (False, 11)]
    assert len(model.bodies) == 1


async def test_an_answer_after_reasks_is_kept_for_the_question():
    """What it took in all is kept with it."""
    cache = InMemoryCache()
    await manager_of(Model("no", GOOD), cache=cache).run_async(asks("a"))
    (result,) = await manager_of(Model("never"), cache=cache).run_async(asks("a"))
    assert (result.cached, result.parsed.people, result.tokens.prompt_tokens) == (True, 11, 6)
    assert result.usage.prompt_tokens == 0


async def test_a_kept_answer_that_does_not_fit_any_more_says_so():
    """A type's own checks may have changed, which no key knows; it is not bought again in silence."""
    cache = InMemoryCache()
    strict = False

    class Town(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def checked(cls, name):
            if strict:
                raise ValueError("too strict")
            return name

    await manager_of(Model('{"name": "Lima"}'), cache=cache, response_format=Town).run_async(asks("a"))
    strict = True
    model = Model("never")
    (result,) = await manager_of(model, cache=cache, response_format=Town).run_async(asks("a"))
    assert isinstance(result.error, InvalidAnswer)
    assert "kept in the cache" in result.error.message
    assert (model.bodies, result.usage.prompt_tokens) == ([], 0)


async def test_identical_rows_share_one_valid_answer():
    """And its re-asks are counted once."""
    model = Model("no", GOOD)
    results = await manager_of(model).run_async(asks("a", "a", "a"))
    assert [result.parsed.people for result in results] == [11] * 3
    assert len(model.bodies) == 2
    assert sum(result.usage.prompt_tokens for result in results) == 6
    assert sum(result.usage.reasks for result in results) == 1


async def test_files(tmp_path):
    """The output holds what fits, the errors file the text of what does not; the summary counts re-asks."""

    def answer(call):
        messages = json.loads(call.body)["messages"]
        if len(messages) > 1:
            return answer_to(GOOD if "Lima" in messages[0]["content"] else "never")
        return answer_to("no")

    rows = tmp_path / "rows.jsonl"
    lines = [{"id": name, "prompt": name, "x": 1} for name in ("Lima", "Oslo")]
    batch = {"custom_id": "batch", "method": "POST", "url": "/v1/chat/completions", "body": {}}
    batch["body"] = {"model": "m", "messages": [{"role": "user", "content": "Lima too"}]}
    rows.write_text("".join(json.dumps(line) + "\n" for line in [*lines, batch]))
    out = tmp_path / "out.jsonl"
    manager = manager_of(answer, response_format=SCHEMA, reasks=1)
    summary = await manager.run_file_async(rows, out)
    assert (summary.ok, summary.failed, summary.usage.reasks, summary.sent) == (2, 1, 3, 6)
    assert (summary.usage.prompt_tokens, summary.usage.retries) == (18, 0)
    assert {json.loads(line)["custom_id"] for line in out.read_text().splitlines()} == {"Lima", "batch"}
    (failed,) = map(json.loads, (tmp_path / "out.jsonl.errors.jsonl").read_text().splitlines())
    assert failed["error"]["class"] == "InvalidAnswer"
    assert (failed["error"]["text"], failed["prompt"]) == ("never", "Oslo")

    async def nobody(call):
        raise AssertionError("nothing is to be sent")

    other = {**SCHEMA, "title": "Town"}
    again = await manager_of(Model(GOOD), response_format=SCHEMA).run_file_async(rows, out)
    assert (again.ok, again.skipped, again.sent) == (1, 2, 1)
    assert (await manager_of(nobody, response_format=SCHEMA).run_file_async(rows, out)).skipped == 3
    changed = await manager_of(Model(GOOD), response_format=other).run_file_async(rows, out)
    assert (changed.ok, changed.replaced) == (3, 3)


async def test_a_fallback_is_told_in_its_own_way():
    """Where the first endpoint knows schemas and the other one does not."""
    wordy = OpenAIProvider("k", base_url="http://b.test/v1", env={})
    wordy.structured = ("prompt",)

    def answer(call):
        if "b.test" not in call.url:
            return refusal(404)
        body = json.loads(call.body)
        assert "response_format" not in body
        assert body["messages"][0]["role"] == "system"
        return answer_to(f"```json\n{GOOD}\n```")

    (result,) = await manager_of(answer, fallback=[wordy]).run_async(asks("a"))
    assert result.parsed.people == 11


@pytest.mark.parametrize("options", [{"reasks": -1}, {"reasks": True}, {"structured": "words"}])
def test_impossible_options(options):
    """They are named."""
    with pytest.raises(ConfigError, match=next(iter(options))):
        manager_of(Model(GOOD), **options)


async def test_workers_know_the_managers_shape_alone():
    """A shape of one request's own is refused there, before anything is sent."""
    manager = manager_of(Model(GOOD))
    settings = replace(manager._settings, workers=2)
    source = JobSource(settings, RowSettings("m", shape=settings.shape))

    class Other(BaseModel):
        x: int

    same = LLMRequest.from_prompt("a", response_format=City)
    other = LLMRequest.from_prompt("a", response_format=Other)
    (block,) = [block async for block in source.blocks([same, other])]
    assert block[0].outcome is None
    assert isinstance(block[1].outcome.error, InvalidRequest)
    assert "response_format" in block[1].outcome.error.message


class Moody(BaseModel):
    """Takes less as time goes by."""

    strict: ClassVar[bool] = False
    name: str

    @field_validator("name")
    @classmethod
    def checked(cls, name):
        if cls.strict:
            raise ValueError("too strict")
        return name


async def test_what_a_cache_or_a_journal_has_is_checked_and_not_counted_again(tmp_path, monkeypatch):
    """Where the type's own checks have changed since; nothing was bought in this run."""
    cache, journal = InMemoryCache(), tmp_path / "journal.jsonl"
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a"}\n')
    model = Model('{"name": "Lima"}')
    await manager_of(model, cache=cache, response_format=Moody).run_file_async(rows, tmp_path / "one.jsonl")
    await manager_of(model, response_format=Moody).run_async(asks("a"), journal=journal)
    monkeypatch.setattr(Moody, "strict", True)
    later = Model("never")
    manager = manager_of(later, cache=cache, response_format=Moody)
    summary = await manager.run_file_async(rows, tmp_path / "two.jsonl")
    assert (summary.failed, summary.usage.prompt_tokens) == (1, 0)
    (recorded,) = await manager_of(later, response_format=Moody).run_async(asks("a"), journal=journal)
    assert "in the journal" in recorded.error.message
    assert (recorded.usage.prompt_tokens, later.bodies) == (0, [])


async def test_what_was_spent_before_a_fallback_answers_from_the_cache_is_counted(tmp_path):
    """The answers that did not fit were paid for, though none of them is the row's."""
    cache = InMemoryCache()
    other = OpenAIProvider("k", base_url="http://b.test/v1", env={})
    await manager_on(FakeTransport(Model(GOOD)), provider=other, cache=cache, response_format=City).run_async(
        asks("a")
    )
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a"}\n')
    model = Model("no", refusal(404), GOOD)
    manager = manager_of(model, fallback=[other], cache=cache)
    summary = await manager.run_file_async(rows, tmp_path / "out.jsonl")
    assert (summary.ok, summary.sent, summary.usage.prompt_tokens) == (1, 2, 3)


def test_a_type_that_workers_cannot_import():
    """It is said before anything is sent."""

    class Local(BaseModel):
        x: int

    provider = OpenAIProvider("k", base_url="http://b.test/v1", env={})
    with pytest.raises(ConfigError, match=r"response_format.*module"):
        RequestManager(provider, response_format=Local, workers=2)
