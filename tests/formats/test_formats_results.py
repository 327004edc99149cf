"""Output and error records: written once, read back, and damaged ones known."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch import LLMRequest, OpenAIProvider, ResponseWrapper
from fastbatch.errors import RequestTimeout
from fastbatch.formats.results import (
    Finished,
    error_line,
    key_of,
    read_result,
    reply_bytes,
    result_line,
    scan_result,
    written_id,
)
from fastbatch.formats.rows import RowSettings, fingerprint, parse_row, read_row
from fastbatch.models.http import HTTPReply

PROVIDER = OpenAIProvider("k", base_url="http://h/v1", env={})
BODY = {"choices": [{"message": {"role": "assistant", "content": "Grüße 🦜"}}], "crc": "0"}
KEY = "0123456789abcdef0123456789abcdef"


def outcome(raw: bytes = orjson.dumps(BODY), metadata: dict[str, Any] | None = None) -> ResponseWrapper[Any]:
    answer = PROVIDER.parse(HTTPReply(200, {"x-request-id": "req_1"}, raw))
    assert answer.ok
    answer.of(LLMRequest.from_prompt("Hi", model="m", metadata=metadata), index=0, key=KEY)
    answer.attempts, answer.latency = 2, 1.234567
    return answer


def test_the_id_of_a_line_is_its_own() -> None:
    """Rows that share an answer have lines of different ids; the same row has the same id in every run."""
    ids = [orjson.loads(result_line(name, 1, outcome()))["id"] for name in ("a", "b", "a")]
    assert ids[0] == ids[2] != ids[1]
    assert all(len(each) == len("batch_req_") + 32 and each.startswith("batch_req_") for each in ids)


def test_a_result_is_an_openai_batch_output_line() -> None:
    """With what fastbatch adds, on one line, in this order."""
    line = result_line("a", 7, outcome(metadata={"label": "x"}), 255, at="2026-11-21T07:29:41Z")
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    record = orjson.loads(line)
    crc = record["fastbatch"].pop("crc")
    assert (len(crc), list(record["fastbatch"])[-1]) == (8, "fingerprint")
    assert record == {
        "id": record["id"],
        "custom_id": "a",
        "response": {"status_code": 200, "request_id": "req_1", "body": BODY},
        "error": None,
        "metadata": {"label": "x"},
        "fastbatch": {
            "row": 7,
            "key": KEY,
            "model": "m",
            "provider": "openai",
            "cached": False,
            "shared": False,
            "attempts": 2,
            "latency_s": 1.2346,
            "cost_usd": 0,
            "at": "2026-11-21T07:29:41Z",
            "fingerprint": "00000000000000ff",
        },
    }
    assert "metadata" not in orjson.loads(result_line("a", 7, outcome()))


def test_a_line_names_the_price_list_of_its_cost() -> None:
    """Where it has a price, even one of a file whose name is no text; and it says what is in the cost."""
    told = outcome()
    told.prices, told.picos, told.summed = "b\udcfc.toml (0f)", 5, True
    ours = orjson.loads(result_line("a", 1, told))["fastbatch"]
    assert (ours["prices"], ours["cost_usd"], ours["summed"]) == ("b\\udcfc.toml (0f)", 5e-12, True)
    told.picos = None
    assert "prices" not in orjson.loads(result_line("a", 1, told))["fastbatch"]


@pytest.mark.parametrize(
    "custom_id", ["a", "", '","crc":"00000000"}}', "a\nb", "日本 🦜", "\u2028", 'x","crc":"deadbeef', "\\"]
)
def test_results_are_read_back(custom_id: str) -> None:
    """Whatever the id holds, the line says which row it answers, by which request."""
    assert read_result(result_line(custom_id, 1, outcome())[:-1]) == Finished(custom_id, KEY, 1)


@pytest.mark.parametrize("mark", [0, 1, 0xFF, 2**64 - 1])
@pytest.mark.parametrize("custom_id", ["a", "", "a\nb", "日本 🦜", '","response":{', ',"key":"', "\\", '"'])
def test_a_line_is_known_without_parsing_it(custom_id: str, mark: int) -> None:
    """Whose answer it is, to which bytes and to which request, whatever stands in the id and the metadata."""
    told = outcome(metadata={'","response":{': ',"key":"', "fastbatch": {"key": "x", "crc": "y"}})
    line = result_line(custom_id, 1, told, mark)[:-1]
    found = scan_result(line)
    assert found is not None
    assert (written_id(found[0]).decode(), found[1], key_of(line).decode()) == (custom_id, mark, KEY)


@pytest.mark.parametrize(
    "reply",
    [
        b"{}",
        b'{"a":{},"error":null,"b":{}}',
        b'[{"a":{}},{"x":{},"error":null,"y":1},{"z":{},"error":null,"metadata":1}]',
        b'{"text":"},\\"error\\":null,\\""}',
        b' {"spaced" : [1, 2.0, 1e5] , "doubled":1,"doubled":2} ',
    ],
)
@pytest.mark.parametrize("custom_id", ["a", ',"body":'])
def test_the_reply_is_taken_out_as_it_came(reply: bytes, custom_id: str) -> None:
    """Byte for byte, though it may hold what stands behind it in a line."""
    raw = b'{"choices":[{"message":{"content":"a"}}],"x":%s}' % reply
    nested = {"fastbatch": {"row": 1}, "error": None}
    told = outcome(
        raw, metadata={"m": '},"error":null,"', "n": nested, "f": [1.10, -0.0, 1e300], "ü": "\u2028"}
    )
    line = result_line(custom_id, 1, told)[:-1]
    assert reply_bytes(line, orjson.loads(line)) == raw


LINE = result_line("a", 1, outcome())[:-1]


@pytest.mark.parametrize("change", [0x01, 0x20, 0x80, 0xFF])
def test_every_flipped_byte_is_noticed(change: int) -> None:
    """At each position of a line, in the answer or in the checksum itself."""
    for place in range(len(LINE)):
        damaged = bytearray(LINE)
        damaged[place] ^= change
        assert read_result(bytes(damaged)) is None, place


def test_every_torn_line_is_noticed() -> None:
    """Cut off anywhere, begun anywhere, doubled, or with something behind it."""
    for place in range(1, len(LINE)):
        assert read_result(LINE[:place]) is None
        assert read_result(LINE[place:]) is None
    for other in (LINE + LINE, LINE + b" ", LINE + b"\n", b" " + LINE, b"", b"\0" * 100):
        assert read_result(other) is None


@pytest.mark.parametrize(
    "line",
    [
        b'{"custom_id":"a","response":{}}',
        b'{"id":"batch_req_1","custom_id":"a","response":{"status_code":200,"body":{}},"error":null}',
        b"not JSON",
        b'"text"',
    ],
)
def test_lines_of_others_are_not_ours(line: bytes) -> None:
    """A file that somebody else wrote is no answer of ours."""
    assert read_result(line) is None


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=80))
def test_reading_never_raises(line: bytes) -> None:
    """Any bytes."""
    assert read_result(line) is None


@pytest.mark.parametrize(
    "raw",
    [
        orjson.dumps(BODY, option=orjson.OPT_INDENT_2),
        orjson.dumps(BODY, option=orjson.OPT_INDENT_2).replace(b"\n", b"\r\n"),
        b"\n\n" + orjson.dumps(BODY) + b"\n",
    ],
)
def test_a_reply_on_several_lines_becomes_one(raw: bytes) -> None:
    """Pretty-printing servers do not tear a record."""
    line = result_line("a", 1, outcome(raw))
    assert line.count(b"\n") == 1
    assert b"\r" not in line, "Python and editors take it for the end of a line, too"
    assert orjson.loads(line)["response"]["body"] == BODY
    assert read_result(line[:-1]) == Finished("a", KEY, 1)


def test_a_reply_keeps_its_bytes() -> None:
    """Numbers, order, doubled keys and depth arrive in the file as the server wrote them."""
    deep = b"[" * 500 + b"]" * 500
    raw = (
        b'{"z":1.10,"a":1e2,"big":123456789012345678901234567890,"z":2,"choices":[{"text":"a\\nb"}],"d":%s}'
        % deep
    )
    assert raw in result_line("a", 1, outcome(raw))
    spread = raw.replace(b",", b",\n")
    assert spread.replace(b"\n", b" ") in result_line("a", 1, outcome(spread))


ERROR = RequestTimeout("no complete reply", attempts=6).to_dict()
ROWS: list[dict[str, Any]] = [
    {"custom_id": "a", "prompt": "Hi", "temperature": 0, "label": "x"},
    {"id": "a", "prompt": "Hi"},
    {"custom_id": "a", "id": 7, "messages": [{"role": "user", "content": "Hi"}]},
    {"prompt": "Hi", "metadata": {"x": 1}, "extra_body": {"top_k": 1}},
    {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "m", "input": "x"}},
    {"input": ["a", ""], "dimensions": 8},
    {"prompt": "Hi", "error": {"class": "Old"}, "fastbatch": {"row": 99}},
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_error_records_are_valid_inputs_again(row: dict[str, Any]) -> None:
    """The dead letter asks what the row asked, under the id it was known by."""
    settings = RowSettings(model="d")
    known_as = read_row(row, settings).custom_id or "row-1"
    line = error_line(known_as, row, 3, ERROR)
    assert line.count(b"\n") == 1
    again = parse_row(line)
    assert again["error"] == ERROR
    assert again["fastbatch"] == {"row": 3}
    first, second = read_row(row, settings), read_row(again, settings)
    assert (second.endpoint, second.body, second.metadata) == (first.endpoint, first.body, first.metadata)
    assert second.custom_id == known_as


def test_a_numeric_id_becomes_the_custom_id() -> None:
    """`{"id": 7}` is known as "7" and is not carried beside it."""
    again = parse_row(error_line("7", {"id": 7, "prompt": "Hi"}, 1, ERROR))
    assert (again["id"], again["custom_id"]) == (7, "7")  # so that a template's {id} is still filled


def test_a_dead_letter_knows_its_options() -> None:
    """Those that it needs to mean the same again, where there are some."""
    again = parse_row(error_line("a", {"prompt": "Hi"}, 3, ERROR, options={"system": "S"}))
    assert again["fastbatch"] == {"row": 3, "options": {"system": "S"}}


def test_a_dead_letter_twice_dead_does_not_grow() -> None:
    """The new error stands in the place of the old one."""
    once = parse_row(error_line("a", {"prompt": "Hi"}, 1, ERROR))
    twice = parse_row(error_line("a", once, 1, ERROR))
    assert twice == once
    assert fingerprint(twice) == fingerprint(once)
