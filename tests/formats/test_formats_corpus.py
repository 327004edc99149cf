"""Corners of the JSON grammar: each becomes a row that means the same on the wire, or is refused by its line.

What "the same" is, says Python's own `json`, a second reading of the grammar (RFC 8259). The table says where
the two differ, and why: that module takes more than JSON (NaN, lone surrogates) and rounds without a word,
and it holds integers of any length, which no other reader does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fastbatch.errors import InputError, InvalidRequest
from fastbatch.formats.batchfile import read_batch
from fastbatch.formats.results import error_line
from fastbatch.formats.rowcheck import RowCheck
from fastbatch.formats.rows import RowSettings, fingerprint, parse_row, read_row, row_id
from fastbatch.formats.rowsource import numbered_rows
from fastbatch.hashing import compute_request_hash, wire_bytes

SAME = "the same"
TAKEN = "taken by Python"
REFUSED = "refused by Python"
NO_JSON = "not valid JSON"
WIDE = "beyond 64 bits"
DEEP = "nested (deeper|too deeply)"

# A value, what becomes of it here (SAME, or what the refusal says), and what Python makes of it.
VALUES: dict[str, tuple[bytes, str, str]] = {
    "zero": (b"0", SAME, TAKEN),
    "minus zero, an integer": (b"-0", SAME, TAKEN),
    "minus zero, a float": (b"-0.0", SAME, TAKEN),
    "minus zero with an exponent": (b"-0e0", SAME, TAKEN),
    "one, three ways": (b"[1, 1.0, 1E0]", SAME, TAKEN),
    "exponents": (b"[1e5, 1E+5, 1e-5, 0e99, 1e005]", SAME, TAKEN),
    "a float that is too small": (b"[1e-400, -1e-400]", SAME, TAKEN),  # both round to a zero
    "the smallest float": (b"5e-324", SAME, TAKEN),
    "halfway between floats": (b"[1.00000000000000011102230246251565, 9007199254740993.0]", SAME, TAKEN),
    "many digits": (b"0." + b"1" * 5000, SAME, TAKEN),
    "64 bits": (b"[-9223372036854775808, 9223372036854775807, 18446744073709551615]", SAME, TAKEN),
    # Readers disagree on what is wider: some round it, some wrap, some fail. An id would become another one.
    "65 bits": (b"18446744073709551616", WIDE, TAKEN),
    "65 bits below zero": (b"-9223372036854775809", WIDE, TAKEN),
    "a huge integer": (b"9" * 4000, "(beyond 64 bits|not valid JSON)", TAKEN),
    "a float as wide": (b"1e30", WIDE, TAKEN),  # cannot be told from a rounded integer
    "a float that is too large": (b"1E400", NO_JSON, TAKEN),  # Python makes infinity of it
    "NaN": (b"NaN", NO_JSON, TAKEN),
    "infinity": (b"[Infinity, -Infinity]", NO_JSON, TAKEN),
    "nan in small letters": (b"nan", NO_JSON, REFUSED),
    "a leading zero": (b"01", NO_JSON, REFUSED),
    "two zeros": (b"00", NO_JSON, REFUSED),
    "minus and a leading zero": (b"-01", NO_JSON, REFUSED),
    "a plus": (b"+1", NO_JSON, REFUSED),
    "no digit before the point": (b".5", NO_JSON, REFUSED),
    "no digit behind the point": (b"5.", NO_JSON, REFUSED),
    "a point before the exponent": (b"1.e5", NO_JSON, REFUSED),
    "an empty exponent": (b"1e", NO_JSON, REFUSED),
    "a sign without digits": (b"-", NO_JSON, REFUSED),
    "two signs": (b"--1", NO_JSON, REFUSED),
    "hexadecimal": (b"0x1F", NO_JSON, REFUSED),
    "octal": (b"0o17", NO_JSON, REFUSED),
    "digits in groups": (b"1_000", NO_JSON, REFUSED),
    "digits of another script": ("١٢".encode(), NO_JSON, REFUSED),
    "words": (b"[true, false, null]", SAME, TAKEN),
    "a word in capitals": (b"True", NO_JSON, REFUSED),
    "half a word": (b"tru", NO_JSON, REFUSED),
    "undefined": (b"undefined", NO_JSON, REFUSED),
    "all short escapes": (rb'"\"\\\/\b\f\n\r\t"', SAME, TAKEN),
    "an escaped NUL": (rb'"a\u0000b"', SAME, TAKEN),
    "escaped controls": (rb'"\u0001\u001f\u007f"', SAME, TAKEN),
    "a surrogate pair": (rb'"\ud83e\udd9c"', SAME, TAKEN),
    "escapes of both cases": (rb'"\u00E9\u00e9"', SAME, TAKEN),
    "an escaped line separator": (rb'"\u2028\u2029"', SAME, TAKEN),
    "a raw line separator": ('"\u2028\u2029\u0085"'.encode(), SAME, TAKEN),
    "a raw DEL": (b'"\x7f"', SAME, TAKEN),
    "raw C1 controls": ('"\u0080\u009f"'.encode(), SAME, TAKEN),
    "a BOM inside": ('"\ufeff"'.encode(), SAME, TAKEN),
    "no characters": ('"\uffff\ufdd0\U0010ffff"'.encode(), SAME, TAKEN),
    "a combining character alone": ('"\u0301"'.encode(), SAME, TAKEN),
    "right to left": ('"\u202eabc"'.encode(), SAME, TAKEN),
    # They are no characters and have no UTF-8; Python keeps them and fails when they are written.
    "a lone high surrogate": (rb'"\ud800"', NO_JSON, TAKEN),
    "a lone low surrogate": (rb'"\udc00"', NO_JSON, TAKEN),
    "a pair the wrong way round": (rb'"\udc00\ud800"', NO_JSON, TAKEN),
    "a high surrogate and a letter": (rb'"\ud800a"', NO_JSON, TAKEN),
    "a raw surrogate": (b'"\xed\xa0\x80"', NO_JSON, REFUSED),
    "an overlong slash": (b'"\xc0\xaf"', NO_JSON, REFUSED),
    "an overlong NUL": (b'"\xc0\x80"', NO_JSON, REFUSED),
    "beyond Unicode": (b'"\xf4\x90\x80\x80"', NO_JSON, REFUSED),
    "half a character": (b'"\xe2\x82"', NO_JSON, REFUSED),
    "a byte that begins nothing": (b'"\x80"', NO_JSON, REFUSED),
    "Latin-1": ('"é"'.encode("latin-1"), NO_JSON, REFUSED),
    "a raw NUL": (b'"a\0b"', NO_JSON, REFUSED),
    "a raw tab": (b'"a\tb"', NO_JSON, REFUSED),
    "a raw carriage return": (b'"a\rb"', NO_JSON, REFUSED),
    "a raw escape": (b'"\x1b[0m"', NO_JSON, REFUSED),
    "an unknown escape": (rb'"\x41"', NO_JSON, REFUSED),
    "an escaped quote of the other kind": (rb'"\'"', NO_JSON, REFUSED),
    "too few digits": (rb'"\u12"', NO_JSON, REFUSED),
    "no digits": (rb'"\uzzzz"', NO_JSON, REFUSED),
    "an end that is escaped": (rb'"\"', NO_JSON, REFUSED),
    "single quotes": (b"'a'", NO_JSON, REFUSED),
    "curly quotes": ("“a”".encode(), NO_JSON, REFUSED),
    "no quotes": (b"abc", NO_JSON, REFUSED),
    "empty, nested": (b'[[], {}, "", [[]], {"a": {}}]', SAME, TAKEN),
    "white space everywhere": (b' \t[ \t1 ,\r 2 ]\r ', SAME, TAKEN),
    "other white space": (b"[1,\x0c2]", NO_JSON, REFUSED),
    "a space that does not break": ("[1,\u00a02]".encode(), NO_JSON, REFUSED),
    "a comma at the end of a list": (b"[1, 2,]", NO_JSON, REFUSED),
    "a comma at the end of an object": (b'{"a": 1,}', NO_JSON, REFUSED),
    "a comma at the beginning": (b"[, 1]", NO_JSON, REFUSED),
    "two commas": (b"[1,, 2]", NO_JSON, REFUSED),
    "no comma": (b"[1 2]", NO_JSON, REFUSED),
    "no colon": (b'{"a" 1}', NO_JSON, REFUSED),
    "two colons": (b'{"a":: 1}', NO_JSON, REFUSED),
    "a key without a value": (b'{"a":}', NO_JSON, REFUSED),
    "a key that is no string": (b"{1: 2}", NO_JSON, REFUSED),
    "a key without quotes": (b"{a: 2}", NO_JSON, REFUSED),
    "the wrong bracket": (b"[1}", NO_JSON, REFUSED),
    "a comment": (b"1 /* one */", NO_JSON, REFUSED),
    "a comment to the end": (b"1 // one", NO_JSON, REFUSED),
    "a comment of the shell's": (b"1 # one", NO_JSON, REFUSED),
    "nothing": (b"", NO_JSON, REFUSED),
    "a doubled key": (b'{"a": 1, "a": 2}', SAME, TAKEN),  # the last one counts, for both
    "a doubled key, once escaped": (rb'{"a": 1, "\u0061": 2}', SAME, TAKEN),
    "an empty key": (b'{"": 1}', SAME, TAKEN),
    "keys of one look": ('{"é": 1, "e\u0301": 2}'.encode(), SAME, TAKEN),  # nothing is normalised
    "a key with everything in it": (rb'{"\u0000\"\\\n\u2028": 1}', SAME, TAKEN),
    "a very long key": (b'{"%s": 1}' % (b"k" * 1_000_000), SAME, TAKEN),
    "very many keys": (b"{%s}" % b",".join(b'"k%d":%d' % (n, n) for n in range(20_000)), SAME, TAKEN),
    "a very long list": (b"[%s]" % b",".join(b"%d" % n for n in range(50_000)), SAME, TAKEN),
    "100 levels": (b"[" * 100 + b"]" * 100, SAME, TAKEN),
    # Python's own stack ends near a thousand; what is written beside a body takes a few levels more.
    "200 levels": (b"[" * 200 + b"]" * 200, DEEP, TAKEN),
    "200 levels of objects": (b'{"a":' * 200 + b"1" + b"}" * 200, DEEP, TAKEN),
    "300 levels": (b"[" * 300 + b"]" * 300, DEEP, TAKEN),
    "900 levels": (b'[{"a":' * 450 + b"1" + b"}]" * 450, DEEP, TAKEN),
    "1100 levels": (b"[" * 1100 + b"]" * 1100, NO_JSON, REFUSED),
    "a hundred thousand levels": (b"[" * 100_000 + b"]" * 100_000, NO_JSON, REFUSED),
    "a hundred thousand levels, left open": (b"[" * 100_000, NO_JSON, REFUSED),
    "a million levels of objects": (b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000, NO_JSON, REFUSED),
}  # fmt: skip

# Where a value stands: sent in the body, in a batch line, or carried beside it.
PLACES = {
    "in the body": b'{"id": "a", "prompt": "Hi", "extra_body": {"v": %s}}',
    "in a batch line": b'{"url": "/v1/responses", "body": {"input": "Hi", "v": %s}}',
    "carried": b'{"prompt": "Hi", "v": %s}',
}
SETTINGS = RowSettings(model="m")
GOOD = b'{"prompt": "good"}'


def python_view(line: bytes) -> Any:
    """What Python reads, None where it refuses."""
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError):
        return None


def from_file(path: Path, line: bytes) -> bytes:
    """The line as it is read from the middle of a file, whose other rows it leaves alone."""
    path.write_bytes(GOOD + b"\n" + line + b"\n" + GOOD)
    (_, before), (number, found), (last, after) = numbered_rows(path)
    assert (before, number, last, after) == (GOOD, 2, 3, GOOD)
    assert isinstance(found, bytes)
    return found


def through(line: bytes) -> tuple[Any, Any]:
    """A line through all that happens to a row; what is sent and what is carried, as JSON."""
    row = parse_row(line)
    row_id(row)
    RowCheck(SETTINGS).check(row)
    fingerprint(row)
    request = read_row(row, SETTINGS)
    compute_request_hash("http://h/v1", request.endpoint, request.body)
    record = json.loads(error_line("a", row, 2, {}))
    return json.loads(wire_bytes(request.body)), record


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", VALUES)
def test_values(tmp_path: Path, case: str, place: str) -> None:
    """Each value means the same on the wire and in a record, or the row is refused."""
    value, ours, python = VALUES[case]
    line = PLACES[place] % value
    assert (python_view(line) is not None) == (python == TAKEN)
    found = from_file(tmp_path / "in.jsonl", line)
    if ours != SAME:
        with pytest.raises(InvalidRequest, match=ours):
            through(found)
        with pytest.raises(InputError, match=ours) as refused:
            read_batch(tmp_path / "in.jsonl")
        assert refused.value.line == 2
        return
    sent, record = through(found)
    expected = repr(json.loads(value))  # which tells 1 from 1.0 and 0.0 from -0.0
    if place == "carried":
        assert repr(record["v"]) == expected
        assert "v" not in sent
    else:
        assert repr(sent["v"]) == expected


# Whole lines: what is refused, and what is taken as Python takes it.
LINES: dict[str, tuple[bytes, str, str]] = {
    "an empty object": (b"{}", "the row has none of", TAKEN),
    "a comma behind it": (b'{"prompt": "a"},', NO_JSON, REFUSED),
    "two objects": (b'{"prompt": "a"} {"prompt": "b"}', NO_JSON, REFUSED),
    "two objects, no space": (b'{"prompt": "a"}{"prompt": "b"}', NO_JSON, REFUSED),
    "an object and rubbish": (b'{"prompt": "a"}x', NO_JSON, REFUSED),
    "a string that is left open": (b'{"prompt": "a', NO_JSON, REFUSED),
    "an object that is left open": (b'{"prompt": "a"', NO_JSON, REFUSED),
    "half of the line": (b'{"prompt": "a", "temp', NO_JSON, REFUSED),
    "the other half": (b'rature": 1}', NO_JSON, REFUSED),
    "a NUL behind it": (b'{"prompt": "a"}\0', NO_JSON, REFUSED),
    "NULs alone": (b"\0" * 512, NO_JSON, REFUSED),  # what a file system leaves after a crash
    "a BOM in front": (
        b"\xef\xbb\xbf" + b'{"prompt": "a"}',
        "byte order mark",
        REFUSED,
    ),  # only a file begins with one
    "UTF-16": ('{"prompt": "a"}'.encode("utf-16-le"), "UTF-16", REFUSED),
    "a list": (b'[{"prompt": "a"}]', "a JSON array", TAKEN),
    "a string": (b'"prompt"', "must be a JSON object, not a string", TAKEN),
    "a number": (b"5", "must be a JSON object, not a number", TAKEN),
    "a boolean": (b"true", "must be a JSON object, not a boolean", TAKEN),
    "a comment": (b"// rows", NO_JSON, REFUSED),
    "a title": (b"prompt,label", "CSV; give", REFUSED),
    "server-sent": (b'data: {"prompt": "a"}', NO_JSON, REFUSED),
    "Python": (b"{'prompt': 'a', 'n': None}", NO_JSON, REFUSED),
    "control characters": (bytes(range(1, 9)) + b"\x0b\x0c" + bytes(range(14, 32)), NO_JSON, REFUSED),
    "random": (bytes(range(127, 256)) * 3, NO_JSON, REFUSED),
    "a doubled key": (b'{"prompt": "a", "prompt": "b"}', SAME, TAKEN),
    "keys, escaped": (rb'{"\u0070rompt": "a"}', SAME, TAKEN),
    "white space around it": (b'  \t{"prompt": "a"}\t \r', SAME, TAKEN),
    "an empty key": (b'{"prompt": "a", "": 1}', SAME, TAKEN),
    "an empty prompt": (b'{"prompt": ""}', SAME, TAKEN),
    "a prompt of 50 MB": (b'{"prompt": "%s"}' % (b"x" * 50_000_000), SAME, TAKEN),
    "a column of 50 MB": (b'{"prompt": "a", "text": "%s"}' % ("é".encode() * 25_000_000), SAME, TAKEN),
    "50 MB that are no JSON": (b"x" * 50_000_000, NO_JSON, REFUSED),
}


@pytest.mark.parametrize("case", LINES)
def test_lines(tmp_path: Path, case: str) -> None:
    """Each line is a row, or refused with its number; the rows around it are read either way."""
    line, ours, python = LINES[case]
    assert (python_view(line) is not None) == (python == TAKEN)
    found = from_file(tmp_path / "in.jsonl", line)
    assert found == line.strip(b" \t\r")
    if ours != SAME:
        with pytest.raises(InvalidRequest, match=ours) as why:
            through(found)
        assert len(str(why.value)) < 1000
        with pytest.raises(InputError, match=ours) as refused:
            read_batch(tmp_path / "in.jsonl")
        assert refused.value.line == 2
        return
    sent, record = through(found)
    row = json.loads(line)
    assert sent["messages"][0]["content"] == row["prompt"]
    assert {key: record[key] for key in row} == row
