"""The table of input rows: what each becomes, where each key goes, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from fastbatch.errors import InvalidRequest
from fastbatch.formats.results import error_line
from fastbatch.formats.rows import RowSettings, fingerprint, parse_row, read_row, row_id
from fastbatch.formats.template import PromptTemplate
from fastbatch.models.params import CHAT, EMBEDDINGS, RESPONSES

USER = {"role": "user", "content": "Hi"}
SYSTEM = {"role": "system", "content": "S"}
SUM_A = {"role": "user", "content": "Sum: A"}
OWN = {"role": "system", "content": "own"}
DEVELOPER = {"role": "developer", "content": "own"}
API_OWN = {"top_k": 5, "metadata": {"api": "own"}}
PLAIN = RowSettings(model="d")
SUMMARISE = RowSettings(model="d", template=PromptTemplate("Sum: {text}"))


@pytest.mark.parametrize(
    ("row", "endpoint", "body"),
    [
        ({"prompt": "Hi"}, CHAT, {"model": "d", "messages": [USER]}),
        ({"prompt": ""}, CHAT, {"model": "d", "messages": [{"role": "user", "content": ""}]}),
        ({"prompt": "Hi", "system": "S"}, CHAT, {"model": "d", "messages": [SYSTEM, USER]}),
        ({"prompt": "Hi", "system": ""}, CHAT, {"model": "d", "messages": [{**SYSTEM, "content": ""}, USER]}),
        ({"prompt": "Hi", "system": None}, CHAT, {"model": "d", "messages": [USER]}),
        ({"messages": [USER]}, CHAT, {"model": "d", "messages": [USER]}),
        ({"messages": [USER], "system": "S"}, CHAT, {"model": "d", "messages": [SYSTEM, USER]}),
        ({"messages": [SYSTEM, USER]}, CHAT, {"model": "d", "messages": [SYSTEM, USER]}),
        ({"input": "Hi"}, EMBEDDINGS, {"model": "d", "input": "Hi"}),
        ({"input": ["", 5], "dimensions": 8}, EMBEDDINGS, {"model": "d", "input": ["", 5], "dimensions": 8}),
        ({"prompt": "Hi", "model": "own"}, CHAT, {"model": "own", "messages": [USER]}),
        ({"prompt": "Hi", "model": None}, CHAT, {"model": "d", "messages": [USER]}),
        ({"url": RESPONSES, "body": {"model": "m", "input": "Hi"}}, RESPONSES, {"model": "m", "input": "Hi"}),
        ({"url": RESPONSES, "body": {"input": "Hi"}}, RESPONSES, {"model": "d", "input": "Hi"}),
        ({"url": RESPONSES, "body": {"input": "a"}, "prompt": "b"}, RESPONSES, {"model": "d", "input": "a"}),
    ],
)  # fmt: skip
def test_what_a_row_becomes(row: dict[str, Any], endpoint: str, body: dict[str, Any]) -> None:
    """Batch lines, prompts, messages and inputs, told apart row by row; the row stays as it was."""
    before = orjson.dumps(row)
    request = read_row(row, PLAIN)
    assert (request.endpoint, request.body) == (endpoint, body)
    assert orjson.dumps(row) == before


@pytest.mark.parametrize(
    ("row", "messages", "metadata"),
    [
        ({"text": "A"}, [SUM_A], {"text": "A"}),
        ({"text": "A", "prompt": "P"}, [SUM_A], {"text": "A", "prompt": "P"}),
        ({"text": "A", "messages": [USER]}, [SUM_A], {"text": "A", "messages": [USER]}),
        ({"text": "A", "system": "S"}, [SYSTEM, SUM_A], {"text": "A"}),
        ({"text": "A", "input": "I"}, [SUM_A], {"text": "A", "input": "I"}),
    ],
)  # fmt: skip
def test_a_template_makes_the_prompt_of_every_row(
    row: dict[str, Any], messages: list[Any], metadata: dict[str, Any]
) -> None:
    """It wins over the row's own prompt, which is carried like every other key."""
    request = read_row(row, SUMMARISE)
    assert (request.body["messages"], request.metadata) == (messages, metadata)


def test_a_batch_line_is_taken_as_it_is() -> None:
    """Neither template, nor system, nor defaults touch it; only a missing model is filled in."""
    settings = RowSettings("d", PromptTemplate("{text}"), "S", {"temperature": 0})
    body = {"messages": [USER], "metadata": {"api": "own"}, "extra_body": {"a": 1}}
    request = read_row({"custom_id": "a", "method": "POST", "url": CHAT, "body": body, "text": "x"}, settings)
    assert request.body == {"model": "d", **body}
    assert (request.custom_id, request.metadata) == ("a", {"text": "x"})


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        ({"prompt": "Hi"}, [SYSTEM, USER]),
        ({"prompt": "Hi", "system": "own"}, [OWN, USER]),
        ({"messages": [OWN, USER]}, [OWN, USER]),
        ({"messages": [DEVELOPER, USER]}, [DEVELOPER, USER]),
        ({"messages": [USER]}, [SYSTEM, USER]),
    ],
)  # fmt: skip
def test_a_default_system_message_is_used_where_the_row_has_none(
    row: dict[str, Any], messages: list[Any]
) -> None:
    """`developer` counts as one."""
    assert read_row(row, RowSettings("d", system="S")).body["messages"] == messages


@pytest.mark.parametrize(
    ("keys", "body", "metadata"),
    [
        ({"temperature": 0, "tools": [], "seed": 0}, {"temperature": 0, "tools": [], "seed": 0}, None),
        ({"user": "", "stop": None}, {"user": "", "stop": None}, None),
        ({"label": "x", "n_words": 3}, {}, {"label": "x", "n_words": 3}),
        ({"metadata": {"a": 1}}, {}, {"a": 1}),
        ({"metadata": {"a": 1}, "label": "x"}, {}, {"a": 1, "label": "x"}),
        ({"metadata": {"label": 1}, "label": "x"}, {}, {"metadata": {"label": 1}, "label": "x"}),
        ({"metadata": "text"}, {}, {"metadata": "text"}),
        ({"metadata": {}}, {}, None),
        ({"metadata": {"metadata": 1}}, {}, {"metadata": 1}),
        ({"extra_body": API_OWN}, API_OWN, None),
        ({"extra_body": {"temperature": 1}, "temperature": 0}, {"temperature": 1}, None),
        ({"extra_body": None}, {}, None),
        ({"error": {"class": "X"}, "fastbatch": {"row": 1}}, {}, None),
        ({"input": "also"}, {}, {"input": "also"}),
        ({"custom_id": "a", "id": 7}, {}, {"id": 7}),
        ({"id": 7}, {}, None),
        ({"custom_id": None, "id": 7}, {}, None),
        ({"dimensions": 8}, {}, {"dimensions": 8}),
    ],
)  # fmt: skip
def test_where_each_key_of_a_row_goes(
    keys: dict[str, Any], body: dict[str, Any], metadata: dict[str, Any] | None
) -> None:
    """Parameters to the body, `extra_body` into it, ids and old errors nowhere, the rest is carried."""
    request = read_row({"prompt": "Hi", **keys}, PLAIN)
    assert request.body == {"model": "d", "messages": [USER], **body}
    assert request.metadata == metadata


def test_default_parameters_fill_gaps() -> None:
    """The row's own win, null and `extra_body` too."""
    settings = RowSettings("d", params={"temperature": 0, "seed": 1, "top_k": 2, "stop": "x"})
    row = {"prompt": "Hi", "temperature": 0.5, "stop": None, "extra_body": {"top_k": 9}}
    assert read_row(row, settings).body == {
        "model": "d", "messages": [USER], "temperature": 0.5, "seed": 1, "top_k": 9, "stop": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "identity"),
    [
        ({}, None),
        ({"custom_id": "a"}, "a"),
        ({"custom_id": "a", "id": "b"}, "a"),
        ({"id": "b"}, "b"),
        ({"custom_id": None, "id": "b"}, "b"),
        ({"custom_id": None}, None),
        ({"id": 7}, "7"),
        ({"custom_id": 0}, "0"),
        ({"id": -3}, "-3"),
        ({"id": "日本 🦜"}, "日本 🦜"),
    ],
)
def test_a_rows_own_id(row: dict[str, Any], identity: str | None) -> None:
    """`custom_id`, else `id`; whole numbers by their digits."""
    assert row_id(row) == identity
    assert read_row({"prompt": "Hi", **row}, PLAIN).custom_id == identity


@pytest.mark.parametrize("given", ["", 1.5, True, [], {}])
def test_an_id_that_is_none_is_refused(given: Any) -> None:
    """It could not be found again."""
    for key in ("custom_id", "id"):
        with pytest.raises(InvalidRequest, match=r"custom_id \(or id\) must be"):
            row_id({key: given})


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({}, "none of prompt, messages, input or body .it has no keys.; --prompt .*prompt= of run_file"),
        ({"text": "x"}, "it has 'text'"),
        ({"body": {}, "text": 1}, "it has 'body', 'text'"),
        ({"custom_id": "a", "text": 1, "error": {}, "fastbatch": {}}, "it has 'text'.; --prompt"),
        ({"custom_id": "a", "fastbatch": {}}, "it has no keys"),
        ({"prompt": 5}, "prompt must be a string, not a number"),
        ({"prompt": None}, "prompt must be a string, not null"),
        ({"prompt": ["x"]}, "prompt must be a string, not a list"),
        ({"prompt": object()}, "prompt must be a string, not <object"),
        ({"prompt": "Hi", "messages": [USER]}, "both messages and prompt"),
        ({"prompt": "Hi", "system": 5}, "system must be a string"),
        ({"messages": [SYSTEM, USER], "system": "x"}, "both a system key and a system message"),
        ({"messages": "Hi"}, "messages must be a non-empty list"),
        ({"messages": "Hi", "system": "x"}, "messages must be a non-empty list"),
        ({"messages": []}, "messages must be a non-empty list"),
        ({"messages": [{"role": "robot", "content": "x"}]}, r"messages\[0\] has the role 'robot'"),
        ({"prompt": "Hi", "model": ""}, "model must be a non-empty string"),
        ({"prompt": "Hi", "model": 5}, "model must be a non-empty string"),
        ({"prompt": "Hi", "stream": True}, "stream: true has no reader"),
        ({"prompt": "Hi", "extra_body": {"stream": True}}, "stream: true has no reader"),
        ({"input": "Hi", "stream": True}, "stream: true has no reader"),
        ({"prompt": "Hi", "extra_body": [1]}, "extra_body must be an object"),
        ({"input": []}, "input is an empty list"),
        ({"url": CHAT, "body": []}, "body must be an object"),
        ({"url": 5, "body": {}}, "url must be a string"),
        ({"url": "/v1/chat", "body": {}}, "unknown url '/v1/chat'"),
        ({"url": CHAT, "body": {"messages": [USER]}, "method": "GET"}, "method must be POST, not 'GET'"),
        ({"url": CHAT, "body": {"messages": [USER], "stream": True}}, "stream: true has no reader"),
        ({"prompt": "Hi", "temperature": float("nan")}, "temperature is nan"),
    ],
)
def test_rows_that_are_refused(row: dict[str, Any], says: str) -> None:
    """Nothing is guessed, dropped or repaired."""
    with pytest.raises(InvalidRequest, match=says):
        read_row(row, PLAIN)


RECORDED: dict[str, Any] = {
    "custom_id": "line-3",
    "raw": '{"prompt": ',
    "error": {"class": "InvalidRequest", "message": "not valid JSON: unexpected end at column 12"},
    "fastbatch": {"row": 3},
}


@pytest.mark.parametrize("template", [None, "Sum: {text}", "Sum: {raw}"])
def test_a_broken_line_that_was_recorded_stays_broken(template: str | None) -> None:
    """Fed back it is refused with its own problem, also as often as that is recorded again."""
    settings = RowSettings("d", template=None if template is None else PromptTemplate(template))
    row = RECORDED
    for _ in range(2):
        with pytest.raises(InvalidRequest) as refused:
            read_row(row, settings)
        assert refused.value.message == (
            "this line was broken when it was recorded: not valid JSON: unexpected end at column 12"
        )
        row = parse_row(error_line("line-3", {"raw": row["raw"]}, 3, refused.value.to_dict()))


def test_a_column_of_that_name_is_no_broken_line() -> None:
    """A good row with a key `raw` is read, and its record runs again."""
    settings = RowSettings("d", template=PromptTemplate("Sum: {raw}"))
    assert read_row({"raw": "A"}, settings).body["messages"] == [SUM_A]
    failed = {"custom_id": "a", "raw": "A", "error": {"class": "ServerError"}, "fastbatch": {"row": 1}}
    assert read_row(failed, settings).body["messages"] == [SUM_A]
    row = {**RECORDED, "prompt": "Hi"}
    assert read_row(row, PLAIN).body["messages"] == [USER]


@pytest.mark.parametrize("row", [{"prompt": "Hi"}, {"url": CHAT, "body": {"messages": [USER]}}])
def test_a_model_must_be_named_somewhere(row: dict[str, Any]) -> None:
    """In the row or by `-m`, unless a manager names it later."""
    with pytest.raises(InvalidRequest, match=r"no model: name one with -m \(model= in Python\)"):
        read_row(row, RowSettings())
    assert read_row(row, RowSettings(needs_model=False)).model is None


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b' {"a":"\\u00e9 \xc3\xa9 \xe2\x80\xa8"} ', {"a": "é é \u2028"}),
        (b'{"a": 18446744073709551615}', {"a": 2**64 - 1}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b"{}", {}),
    ],
)
def test_lines_that_are_rows(line: bytes, row: dict[str, Any]) -> None:
    """One JSON object a line."""
    assert parse_row(line) == row


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "not valid JSON"),
        (b'{"a"', "not valid JSON: .* at column"),
        (b"{", "an object that goes on over several lines; .*jq -c . makes that"),
        (b'{"a": 1} x', "not valid JSON"),
        (b"{'a': 1}", "not valid JSON"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": Infinity}', "not valid JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b'{"a": "\\ud800"}', "not valid JSON"),
        (b'{"a": "\0"}', "not valid JSON"),
        (b'{"a"\0: 1}', "not valid JSON"),
        (b'{"a": "\r"}', "not valid JSON"),
        (b"[1]", r"this begins a JSON array; one object a line is wanted .jq -c '\.\[\]' makes that"),
        (b'[{"prompt": "Hi"}, {"prompt": "Hi"}]', "this begins a JSON array"),
        (b"[", "this begins a JSON array"),
        (b'\xff\xfe{\0"\0a\0"\0', "this looks like UTF-16; save the file as UTF-8"),
        (b'\xfe\xff\0{\0"\0a\0"', "this looks like UTF-16"),
        (b'\0{\0"\0a\0"\0', "this looks like UTF-16"),
        (b'{\0"\0a\0"\0', "this looks like UTF-16"),
        (b"\0\0\0\0", "not valid JSON"),
        (b"id,text", r"this looks like CSV; give the file a name that ends in \.csv"),
        (b'\xef\xbb\xbf{"prompt": "a"}', "begins with a byte order mark, as where files were joined"),
        (b'1,"a, b"', "this looks like CSV"),
        (b'{"a": 1},', "not valid JSON"),
        (b"nonsense", "not valid JSON"),
        (b'"text"', "a row must be a JSON object, not a string"),
        (b"null", "a row must be a JSON object, not null"),
        (b"5", "a row must be a JSON object, not a number"),
        (b'{"a": 1e999}', "."),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not valid JSON"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_lines_that_are_no_rows(line: bytes, says: str) -> None:
    """Each is refused with what is wrong."""
    with pytest.raises(InvalidRequest, match=says):
        parse_row(line)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"prompt": "Hi", "a": 18446744073709551616}', "a is a number beyond 64 bits"),
        (b'{"prompt": "Hi", "n": 18446744073709551616}', "n is a number beyond 64 bits"),
        (b'{"prompt": "Hi", "a": {"b": [-99999999999999999999]}}', r"a\.b\[0\] is a number beyond 64 bits"),
        (b'{"prompt": "Hi", "a":' + b"[" * 200 + b"]" * 200 + b"}", "nested deeper than 128 levels"),
        (b'{"prompt": "Hi", "stop":' + b"[" * 1020 + b"]" * 1020 + b"}", "nested deeper than 128 levels"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_rows_that_could_not_be_written(line: bytes, says: str) -> None:
    """What is sent and what is carried must survive being written: numbers and depth are looked at."""
    with pytest.raises(InvalidRequest, match=says):
        read_row(parse_row(line), PLAIN)


def test_a_row_that_was_checked_is_read_alike() -> None:
    """Reading a row a second time without its checks gives the same request."""
    for row in (
        {"prompt": "Hi", "temperature": 0, "tag": 1},
        {"messages": [{"role": "user", "content": "Hi"}], "id": 3},
        {"input": ["a"], "dimensions": 2},
        {"custom_id": "a", "url": CHAT, "body": {"messages": [{"role": "user", "content": "Hi"}]}},
    ):
        assert read_row(row, replace(PLAIN, checked=True)) == read_row(row, PLAIN)


def test_a_fingerprint_is_of_the_content() -> None:
    """Key order and old errors do not count, everything else does; and it never changes."""
    row = {"prompt": "Hi", "n": [1, {"b": 1, "a": 2}]}
    assert fingerprint(row) == fingerprint(
        {"n": [1, {"a": 2, "b": 1}], "prompt": "Hi", "error": {}, "fastbatch": 1}
    )
    others: list[dict[str, Any]] = [
        {},
        {"prompt": "Hi"},
        {**row, "metadata": 1},
        {**row, "n": [1.0, {"b": 1, "a": 2}]},
        {**row, "x": ""},
    ]
    assert len({fingerprint(other) for other in [row, *others]}) == 6
    assert f"{fingerprint({'prompt': 'Hi'}):016x}" == "90b6407edfd7deb4"
