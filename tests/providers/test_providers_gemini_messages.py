"""Conversations with Gemini: roles, pictures, calls and their results, and answers that go back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastbatch import LLMRequest
from fastbatch.errors import InvalidRequest
from fastbatch.models.http import HTTPReply
from fastbatch.models.params import CHAT
from fastbatch.providers.gemini import GeminiProvider

GEMINI = GeminiProvider("k1", env={})
HI = {"role": "user", "content": "Hi?"}


def said(*messages: dict[str, Any]) -> dict[str, Any]:
    """What is sent."""
    asked = LLMRequest(CHAT, {"model": "m", "messages": list(messages)})
    sent: dict[str, Any] = orjson.loads(GEMINI.build(asked).body)
    return sent


def parts(content: Any) -> list[dict[str, Any]]:
    """What is sent for a user's message."""
    turn = said({"role": "user", "content": content})["contents"][0]
    assert turn["role"] == "user"
    found: list[dict[str, Any]] = turn["parts"]
    return found


def refused(*messages: dict[str, Any]) -> str:
    with pytest.raises(InvalidRequest) as found:
        said(*messages)
    return str(found.value)


def call(name: str = "f", arguments: Any = "{}", **more: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def asked(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A message in which the model calls."""
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


def result(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "c1", "content": content, **more}


def answer(*parts: dict[str, Any], **more: Any) -> Any:
    """A reply of Gemini's, parsed."""
    body = {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}], **more}
    return GEMINI.parse(HTTPReply(200, {}, orjson.dumps(body)))


def test_instructions_stand_above() -> None:
    """All of them, in parts; a conversation in turns of two."""
    assert said(
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "In French."}]},
        HI,
        {"role": "assistant", "content": [{"type": "text", "text": "Sa"}, {"type": "text", "text": "lut."}]},
        {"role": "user", "content": ""},
    ) == {
        "systemInstruction": {"role": "user", "parts": [{"text": "Be brief."}, {"text": "In French."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Hi?"}]},
            {"role": "model", "parts": [{"text": "Sa"}, {"text": "lut."}]},
            {"role": "user", "parts": [{"text": ""}]},
        ],
    }


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/PNG;base64,b2s="}},
            {"inlineData": {"mimeType": "image/png", "data": "b2s="}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:,ok"}},
            {"inlineData": {"mimeType": "text/plain", "data": "b2s="}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://h/a.webp?x=1", "detail": "auto"}},
            {"fileData": {"mimeType": "image/webp", "fileUri": "https://h/a.webp?x=1"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://h/v1beta/files/abc"}},
            {"fileData": {"fileUri": "https://h/v1beta/files/abc"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "gs://bucket/a.jpg", "detail": "low"}},
            {
                "fileData": {"mimeType": "image/jpeg", "fileUri": "gs://bucket/a.jpg"},
                "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"},
            },
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "b2s=", "format": "mp3"}},
            {"inlineData": {"mimeType": "audio/mp3", "data": "b2s="}},
        ),
        (
            {"type": "file", "file": {"file_data": "b2s=", "filename": "a.pdf"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "b2s=", "displayName": "a.pdf"}},
        ),
        (
            {"type": "file", "file": {"file_data": "data:text/csv;base64,b2s="}},
            {"inlineData": {"mimeType": "text/csv", "data": "b2s="}},
        ),
    ],
)
def test_parts(part: dict[str, Any], sent: dict[str, Any]) -> None:
    """Pictures, sounds, documents: their bytes, or where they are."""
    assert parts([{"type": "text", "text": "What?"}, part]) == [{"text": "What?"}, sent]


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ({"type": "image_url", "image_url": {"url": "file:///a.png"}}, "must be an http(s) address"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,!"}}, "holds no base64"),
        ({"type": "image_url", "image_url": {"url": "https://h/a", "x": 1}}, "image_url.x"),
        ({"type": "input_audio", "input_audio": {"data": "b2s=", "format": "pcm16"}}, "format 'pcm16'"),
        ({"type": "input_audio", "input_audio": {"data": "!", "format": "wav"}}, "holds no base64"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "file.file_id cannot be said to Gemini"),
        ({"type": "file", "file": {"file_data": "b2s="}}, "does not say what it is"),
        ({"type": "text", "text": "x", "cache_control": {}}, "content[0].cache_control"),
        ({"type": "hologram", "hologram": {}}, "content[0] of type 'hologram'"),
    ],
)
def test_parts_that_cannot_be_said(part: dict[str, Any], why: str) -> None:
    """Are refused with their place."""
    assert why in refused({"role": "user", "content": [part]})


def test_calls_and_their_results() -> None:
    """Results of one turn stand together, by the name that the id stands for."""
    second = {**call("g", '{"a": 1}'), "id": "c2"}
    sent = said(
        HI,
        asked(call(), second),
        {**result("rain", name="f")},
        {"role": "tool", "tool_call_id": "c2", "content": '{"sky": 1}'},
        {"role": "user", "content": "And?"},
        asked(call("h")),
        result([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
    )
    assert sent["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"id": "c1", "name": "f", "args": {}}},
                {"functionCall": {"id": "c2", "name": "g", "args": {"a": 1}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "c1", "name": "f", "response": {"output": "rain"}}},
                {"functionResponse": {"id": "c2", "name": "g", "response": {"sky": 1}}},
            ],
        },
        {"role": "user", "parts": [{"text": "And?"}]},
        {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "h", "args": {}}}]},
        {
            "role": "user",
            "parts": [{"functionResponse": {"id": "c1", "name": "h", "response": {"output": ["a", "b"]}}}],
        },
    ]


@pytest.mark.parametrize(
    ("content", "response"),
    [("", {"output": ""}), ("[1]", {"output": "[1]"}), ("7", {"output": "7"}), ('{"a":[]}', {"a": []})],
)
def test_a_result_is_an_object(content: str, response: dict[str, Any]) -> None:
    """JSON of one goes as it is, everything else as text."""
    sent = said(HI, asked(call()), result(content))["contents"][-1]["parts"]
    assert sent == [{"functionResponse": {"id": "c1", "name": "f", "response": response}}]


def test_a_result_with_a_picture() -> None:
    """Stands in the result's own parts."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,b2s="}}
    sent = said(HI, asked(call()), result([{"type": "text", "text": "so"}, picture]))
    assert sent["contents"][-1]["parts"][0]["functionResponse"] == {
        "id": "c1",
        "name": "f",
        "response": {"output": "so"},
        "parts": [{"inlineData": {"mimeType": "image/png", "data": "b2s="}}],
    }


def test_an_old_result() -> None:
    """Of a function by its name."""
    sent = said(HI, {"role": "function", "name": "f", "content": "rain"})["contents"][-1]
    assert sent["parts"] == [{"functionResponse": {"name": "f", "response": {"output": "rain"}}}]


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([{"role": "system", "content": "x"}], "instructions alone cannot be said to Gemini"),
        ([HI, {"role": "system", "content": "x"}], "messages[1] from 'system'"),
        ([{"role": "user", "content": "x", "name": "ann"}], "messages[0].name"),
        ([HI, {"role": "assistant", "refusal": "no"}], "messages[1].refusal"),
        ([HI, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}], "type 'refusal'"),
        ([HI, {"role": "assistant", "content": None, "tool_calls": []}], "messages[1] says nothing"),
        (
            [HI, {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}}],
            "function_call",
        ),
        ([HI, result("x")], "messages[1].tool_call_id 'c1' is of no call before it"),
        ([HI, asked(call()), result("x", name="g")], "messages[2].name is 'g', but the call was of 'f'"),
        ([HI, asked(call(arguments="[1]"))], "messages[1].tool_calls[0].arguments is no JSON object"),
        ([HI, asked({"id": "c1", "type": "custom", "custom": {}})], "tool_calls[0] of type 'custom'"),
        ([HI, asked(call(cost=1))], "tool_calls[0].cost"),
        ([HI, asked(call(extra_content={"google": {"x": 1}}))], "extra_content.google.x"),
        ([HI, asked(call(extra_content={"acme": 1}))], "extra_content.acme"),
        ([HI, asked(call(extra_content=7))], "extra_content"),
        ([HI, asked(call(), reasoning_content=7)], "reasoning_content must be a string"),
        ([{"role": "system", "content": [{"type": "file", "file": {}}]}, HI], "only text stands there"),
    ],
)
def test_messages_that_cannot_be_said(messages: list[dict[str, Any]], why: str) -> None:
    """Are refused with their place."""
    assert why in refused(*messages)


def test_what_answers_of_others_leave_empty_is_passed_over() -> None:
    """As OpenAI's client writes a message it got."""
    message = {"role": "assistant", "content": "x", "refusal": None, "annotations": [], "tool_calls": None}
    assert said(HI, message)["contents"][-1] == {"role": "model", "parts": [{"text": "x"}]}


def test_a_plain_answer_is_a_plain_message() -> None:
    """Thoughts stand beside it, and nothing of Gemini's own."""
    message = answer({"text": "Hm.", "thought": True}, {"text": "Yes."}).message
    assert message == {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}
    assert said(HI, message)["contents"][-1]["parts"] == [{"text": "Hm.", "thought": True}, {"text": "Yes."}]


@pytest.mark.parametrize(
    "came",
    [
        [{"text": "Yes.", "thoughtSignature": "c2ln"}],
        [{"text": "Ye"}, {"text": "s."}],
        [{"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"}],
        [{"functionCall": {"name": "f"}}, {"functionCall": {"name": "f", "args": {}}}],
        [{"functionCall": {"id": "own", "name": "f", "args": {}}}, {"text": "afterwards"}],
        [{"executableCode": {"language": "PYTHON", "code": "1+1"}}, {"codeExecutionResult": {"output": "2"}}],
        [{"inlineData": {"mimeType": "image/png", "data": "b2s="}}, {"text": "a picture"}],
    ],
)
def test_an_answer_goes_back_as_it_came(came: list[dict[str, Any]]) -> None:
    """Signed, in its order, with what OpenAI's form has no place for; also through JSON."""
    message = orjson.loads(orjson.dumps(answer(*came).message))
    results = [
        {"role": "tool", "tool_call_id": made["id"], "content": f"result {number}"}
        for number, made in enumerate(message.get("tool_calls", ()))
    ]
    sent = said(HI, message, *results)["contents"]
    assert sent[1] == {"role": "model", "parts": came}
    calls = [part["functionCall"] for part in came if "functionCall" in part]
    if calls:
        given = [part["functionResponse"] for part in sent[2]["parts"]]
        assert [said.get("id") for said in given] == [made.get("id") for made in calls]
        assert [said["response"] for said in given] == [{"output": f"result {n}"} for n in range(len(calls))]


def test_calls_without_ids_get_some() -> None:
    """One for each, which tell replies apart where those have ids."""
    came = [{"functionCall": {"name": "f", "args": {"b": 1, "a": 2}}}, {"functionCall": {"name": "f"}}]
    made = answer(*came, responseId="r7").message["tool_calls"]
    assert [one["id"] for one in made] == ["call_r7_0", "call_r7_1"]
    assert [one["function"]["arguments"] for one in made] == ['{"b":1,"a":2}', "{}"]
    assert [one["id"] for one in answer(*came).message["tool_calls"]] == ["call_0", "call_1"]


def test_a_signature_in_googles_own_openai_form() -> None:
    """As its OpenAI-shaped endpoint writes it beside a call."""
    sent = said(HI, asked(call(extra_content={"google": {"thought_signature": "c2ln"}})))
    assert sent["contents"][1]["parts"] == [
        {"functionCall": {"id": "c1", "name": "f", "args": {}}, "thoughtSignature": "c2ln"}
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"content": "No."},
        {"content": None},
        {"tool_calls": []},
        {"tool_calls": [call("g")]},
        {"tool_calls": [call(arguments='{"a":2}')]},
        {"reasoning_content": "Or."},
        {"google_parts": "x"},
        {"google_parts": [7]},
        {"google_parts": [{"functionCall": 7}]},
    ],
)
def test_a_changed_answer_does_not_go_back_as_it_came(change: dict[str, Any]) -> None:
    """What is kept and what is said would be two things."""
    message = answer(
        {"text": "Hm.", "thought": True},
        {"text": "Yes.", "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "f", "args": {}}},
    ).message
    assert "messages[1] is no longer what its google_parts say" in refused(HI, {**message, **change})
    if "google_parts" not in change and "reasoning_content" not in change:
        changed = {**message, **change}
        del changed["google_parts"]
        assert said(HI, changed)


def test_thoughts_may_be_left_out() -> None:
    """The kept parts hold them."""
    came = [{"text": "Hm.", "thought": True}, {"text": "Yes.", "thoughtSignature": "c2ln"}]
    message = answer(*came).message
    del message["reasoning_content"]
    assert said(HI, message)["contents"][1]["parts"] == came
