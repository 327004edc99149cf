"""Structured output and forced calls at OpenAI's paths, "invalid" answers, and asking for them again."""

import json

import jsonschema
import pytest

from fastbatch.simulator import SimulatorConfig
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.provider import SimulatedProvider

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ASKED = {"role": "user", "content": "Who lives in the old town?"}
FITS = jsonschema.Draft202012Validator(SCHEMA).is_valid


def wanted(schema=SCHEMA, *, strict=True):
    """The response_format of a schema."""
    return {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": strict}}


class Client:
    """Posts to a provider."""

    def __init__(self, **config):
        self.provider = SimulatedProvider(SimulatorConfig(**config))
        self.now = 0.0

    def post(self, path, body):
        """Status and JSON of the reply, or its events."""
        self.now += 0.001
        raw = json.dumps({"model": "m", **body}).encode()
        reply = self.provider.receive(Incoming("POST", path, None, raw, self.now))
        reply.settle(delivered=True)
        return reply.status, json.loads(reply.body) if reply.events is None else reply.events

    def text(self, messages, **more):
        """The text of a chat with the schema."""
        body = {"messages": messages, "response_format": wanted(), **more}
        return self.post(CHAT, body)[1]["choices"][0]["message"]["content"]


def fits(text):
    """Whether a text is a document of the schema."""
    try:
        return FITS(json.loads(text))
    except json.JSONDecodeError:
        return False


def test_a_schema_is_answered_by_a_document():
    """Each choice has its own, with words of the prompt; the count of tokens is that of its text."""
    status, body = Client().post(CHAT, {"messages": [ASKED], "response_format": wanted(), "n": 5})
    texts = [choice["message"]["content"] for choice in body["choices"]]
    assert status == 200
    assert all(map(fits, texts))
    assert len(set(texts)) > 1
    assert body["usage"]["completion_tokens"] == sum(-(-len(text) // 4) for text in texts)


def test_json_mode_is_answered_by_an_object():
    """Without a schema any object will do."""
    said = Client().text([ASKED], response_format={"type": "json_object"})
    assert isinstance(json.loads(said), dict)
    _, body = Client().post(RESPONSES, {"input": "Hi", "text": {"format": {"type": "json_object"}}})
    assert isinstance(json.loads(body["output"][0]["content"][0]["text"]), dict)


def test_responses_have_the_schema_in_another_place():
    """`text.format`, which the response repeats."""
    chosen = {"format": {"type": "json_schema", "name": "person", "schema": SCHEMA, "strict": True}}
    _, body = Client().post(RESPONSES, {"input": "Who?", "text": chosen})
    assert fits(body["output"][0]["content"][0]["text"])
    assert body["text"] == chosen


def test_responses_repeat_the_tools():
    """And call the one that is forced, in an item of its own."""
    tool = {"type": "function", "name": "meet", "parameters": SCHEMA, "strict": True}
    choice = {"type": "function", "name": "meet"}
    _, body = Client().post(RESPONSES, {"input": "Who?", "tools": [tool], "tool_choice": choice})
    (item,) = body["output"]
    assert (item["type"], item["name"], body["tool_choice"], body["tools"]) == (
        "function_call", "meet", choice, [tool],
    )  # fmt: skip
    assert fits(item["arguments"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"response_format": wanted({"type": "object"})}, "additionalProperties"),
        ({"response_format": wanted({**SCHEMA, "required": ["name"]})}, "required"),
        ({"response_format": wanted({"type": "string"})}, "object"),
        (
            {"response_format": wanted({"type": "object", "patternProperties": {}}, strict=False)},
            "patternProp",
        ),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}, "name"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
    ],
)
def test_a_schema_is_read_strictly(body, words):
    """What strict mode wants closed must be closed; what cannot be written for is refused."""
    status, said = Client().post(CHAT, {"messages": [ASKED], **body})
    assert status == 400
    assert words in said["error"]["message"]


def test_an_open_schema_is_fine_without_strict_mode():
    """Only strict mode wants everything said."""
    status, _ = Client().post(
        CHAT, {"messages": [ASKED], "response_format": wanted({"type": "object"}, strict=False)}
    )
    assert status == 200


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("required", "first"),
        ({"type": "function", "function": {"name": "second"}}, "second"),
        ("auto", None),
        ("none", None),
        (None, None),
    ],
)
def test_forced_functions_are_called(choice, called):
    """With arguments that fit, at once and in a stream; where nothing is forced it is talk."""
    tools = [
        {"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("first", "second")
    ]
    body = {"messages": [ASKED], "tools": tools, "tool_choice": choice}
    (choice,) = Client().post(CHAT, body)[1]["choices"]
    events = Client().post(CHAT, {**body, "stream": True})[1]
    deltas = [json.loads(event[6:])["choices"][0]["delta"] for event in events[:-1]]
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    if called is None:
        assert choice["message"]["content"]
        assert calls == []
        return
    (call,) = choice["message"]["tool_calls"]
    assert (call["function"]["name"], choice["finish_reason"]) == (called, "tool_calls")
    assert fits(call["function"]["arguments"])
    assert calls[0]["function"]["name"] == called
    assert fits("".join(call["function"]["arguments"] for call in calls))


def test_invalid_answers_are_answers():
    """They are billed and counted among the answers; prose cannot be invalid."""
    client = Client(failure_rates={"invalid": 1.0}, failures_per_row=None)
    assert not any(fits(client.text([{**ASKED, "content": f"{n}?"}])) for n in range(30))
    client.post(CHAT, {"messages": [ASKED]})
    stats = client.provider.stats()
    assert (stats.answered, stats.invalid, stats.failed) == (31, 30, {})
    assert stats.completion_tokens > 0


def test_asking_again_is_the_same_row():
    """After an invalid answer what goes on with it gets one that fits, and so does the same body."""
    client = Client(failure_rates={"invalid": 1.0})
    said = client.text([ASKED])
    assert not fits(said)
    again = [ASKED, {"role": "assistant", "content": said}, {"role": "user", "content": "That does not fit."}]
    assert fits(client.text(again))
    assert fits(client.text([ASKED]))
    assert not fits(client.text([{**ASKED, "content": "And who else?"}]))


@pytest.mark.parametrize(("cap", "valid"), [(0, [True] * 3), (2, [False, False, True]), (None, [False] * 3)])
def test_failures_per_row_bound_invalid_answers(cap, valid):
    """As often as that for one conversation, however far it goes on; None: without end."""
    client = Client(failure_rates={"invalid": 1.0}, failures_per_row=cap)
    messages, found = [ASKED], []
    for _ in range(3):
        said = client.text(messages)
        found.append(fits(said))
        messages = [*messages, {"role": "assistant", "content": said}, {"role": "user", "content": "Again."}]
    assert found == valid


def test_invalid_answers_and_failures_have_counts_of_their_own():
    """A row may fail once and be invalid once, then it is answered."""
    client = Client(failure_rates={"500": 0.5, "invalid": 0.5})
    for number in range(40):
        body = {"messages": [{**ASKED, "content": f"Who is number {number}?"}], "response_format": wanted()}
        ends = []
        for _ in range(3):
            status, said = client.post(CHAT, body)
            ends.append(status == 200 and fits(said["choices"][0]["message"]["content"]))
        assert any(ends)


def test_streams_of_documents_add_up():
    """Deltas of a document are pieces of its text."""
    _, events = Client().post(CHAT, {"messages": [ASKED], "response_format": wanted(), "stream": True})
    deltas = [json.loads(event[6:])["choices"][0]["delta"] for event in events[:-1]]
    assert fits("".join(delta.get("content") or "" for delta in deltas))
    assert len(deltas) > 3
