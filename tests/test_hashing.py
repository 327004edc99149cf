"""Law 6: the hash holds what decides the answer, all of it, and nothing else."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch import LLMRequest, OpenAIProvider
from fastbatch.errors import InvalidRequest
from fastbatch.hashing import SCHEME, compute_request_hash, wire_bytes

URL = "https://api.example/v1"
CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Hi"}]
ORDERED_KEYS = ["tools", "functions", "schema", "json_schema", "guided_json", "structured_outputs", "format"]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
plain_keys = texts.filter(lambda key: key not in {*ORDERED_KEYS, "parameters"})
scalars = st.none() | st.booleans() | texts | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e18, 1e18)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_keys, inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(plain_keys, values, min_size=1, max_size=5)
quick = settings(derandomize=True, deadline=None, max_examples=150)


def of(body: dict[str, Any], **other: Any) -> str:
    return compute_request_hash(other.get("identity", URL), other.get("path", CHAT), body, other.get("n", 0))


def turned(value: Any) -> Any:
    """The same JSON with the keys of every object in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(inner) for inner in value] if isinstance(value, list) else value


@quick
@given(bodies)
def test_the_order_of_keys_is_irrelevant(body: dict[str, Any]) -> None:
    """Bodies that differ in key order only, at any depth, are one request."""
    assert of(turned(body)) == of(body)


@quick
@given(bodies)
def test_the_order_of_keys_is_irrelevant_beside_a_schema(body: dict[str, Any]) -> None:
    """A schema somewhere in the body changes nothing about the keys around it."""
    schema = {"json_schema": {"schema": {"b": 1, "a": 2}}}
    one = {**body, "response_format": schema}
    other = {"response_format": schema, **turned(body)}
    assert of(one) == of(other)


@quick
@given(bodies, bodies)
def test_other_bodies_have_other_hashes(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two bodies share a hash exactly when they are the same JSON."""
    same = orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
    assert (of(one) == of(other)) == same


@pytest.mark.parametrize("key", [*ORDERED_KEYS, "parameters"])
def test_the_order_inside_schemas_and_tools_counts(key: str) -> None:
    """Below the keys that hold schemas and tool definitions the author's order is part of the request."""
    for outer in (lambda inner: {key: inner}, lambda inner: {"response_format": {key: inner}}):
        forth = outer({"properties": {"answer": {}, "reason": {}}})
        back = outer({"properties": {"reason": {}, "answer": {}}})
        assert of(forth) != of(back)
        assert of({"a": 1, **forth}) == of({**forth, "a": 1})


def test_a_schema_as_text_format_keeps_its_order() -> None:
    """The Responses API keeps its schema in `text.format`."""

    def body(*names: str) -> dict[str, Any]:
        return {"text": {"format": {"schema": {"properties": {name: {} for name in names}}}}}

    assert of(body("a", "b")) != of(body("b", "a"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (1.0, True),
        (0, False),
        (0, 0.0),
        (0, None),
        ("1", 1),
        ("", None),
        ([], {}),
        ([], None),
        ([1, 2], [2, 1]),
        ([[1], 2], [1, [2]]),
        ("é", "e\u0301"),
        ("a", "A"),
    ],
)
def test_values_that_look_alike_differ(one: Any, other: Any) -> None:
    """Equal to Python or to the eye is not equal on the wire."""
    assert of({"x": one}) != of({"x": other})


@pytest.mark.parametrize("value", ["", None, 0, False, [], {}])
def test_empty_and_absent_differ(value: Any) -> None:
    """A key with an empty value is not a missing key: the provider may see a difference."""
    assert of({"model": "m", "x": value}) != of({"model": "m"})


def test_the_endpoint_the_path_and_the_occurrence_count() -> None:
    """The same body elsewhere, or drawn a second time, is another request."""
    body = {"model": "m", "messages": MESSAGES}
    hashes = {
        of(body),
        of(body, identity="https://other.example/v1"),
        of(body, identity="sha256:00"),
        of(body, path="/v1/responses"),
        of(body, n=1),
        of(body, n=2),
    }
    assert len(hashes) == 6


def test_the_parts_do_not_run_into_each_other() -> None:
    """Moving a character from the identity to the path gives another hash."""
    assert of({}, identity="ab", path="c") != of({}, identity="a", path="bc")
    assert of({}, n=1, path="x") != of({}, n=0, path="x\x001")


def test_ids_and_metadata_do_not_count() -> None:
    """What is carried beside the body leaves the hash alone."""
    provider = OpenAIProvider("k", base_url=URL, env={})

    def key(**carried: Any) -> str:
        request = LLMRequest(CHAT, {"model": "m", "messages": MESSAGES}, **carried)
        return compute_request_hash(provider.identity, request.endpoint, request.body)

    assert key() == key(custom_id="a", metadata={"x": 1}) == key(request_id="b")


def test_tuples_are_lists() -> None:
    """What is written alike is the same request, in either branch of the canonical form."""
    assert of({"stop": ("a", "b")}) == of({"stop": ["a", "b"]})
    assert of({"tools": [], "stop": ("a",)}) == of({"tools": [], "stop": ["a"]})


def cycle() -> dict[str, Any]:
    body: dict[str, Any] = {}
    body["tools"] = {"again": body}
    return body


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


NOT_JSON: dict[str, Any] = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "infinity in a list": [None, float("-inf")],
    "above 64 bits": 2**64,
    "below 64 bits": -(2**63) - 1,
    "lone surrogate": "\ud800",
    "integer key": {1: "one"},
    "tuple key": {("a",): 1},
    "mixed keys": {1: 1, "a": 2},
    "set": {1, 2},
    "bytes": b"bytes",
    "object": object(),
    "date": datetime.date(2024, 1, 1),
    "300 levels": nested(300),
    "5000 levels": nested(5000),
    "cycle": cycle(),
}


@pytest.mark.parametrize("refuses", [of, wire_bytes], ids=["hash", "wire"])
@pytest.mark.parametrize("key", ["x", "tools"])
@pytest.mark.parametrize("what", NOT_JSON)
def test_what_is_no_json_is_refused(refuses: Callable[[dict[str, Any]], object], key: str, what: str) -> None:
    """Nothing is turned into something else in silence, NaN into null least of all."""
    with pytest.raises(InvalidRequest):
        refuses({key: NOT_JSON[what]})


def test_a_lone_surrogate_in_the_identity_is_refused() -> None:
    """The other parts are text too."""
    with pytest.raises(InvalidRequest):
        of({}, identity="\ud800")


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), 1e308, 5e-324, None, "null", "NaN"])
def test_the_edges_of_json_are_hashed(value: Any) -> None:
    """Everything that JSON can say, up to 64 bits, has a hash and goes out as it is."""
    assert len(of({"x": value})) == 32
    assert orjson.loads(wire_bytes({"x": value})) == {"x": value}


@quick
@given(bodies)
def test_the_wire_keeps_the_authors_order(body: dict[str, Any]) -> None:
    """Sorting is for the hash alone; what goes out has the keys as they were given."""
    assert wire_bytes(body) == orjson.dumps(body)


TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"b": {}, "a": {}}}}}]
PINNED: list[tuple[str, str, dict[str, Any], int, str]] = [
    (URL, CHAT, {}, 0, "32cbcece26c8c5b305b01487abfe9bfa"),
    (URL, CHAT, {"model": "m", "messages": MESSAGES}, 0, "bf28e4c9c4e2a6f1c2bcbb74a8e638bc"),
    (URL, CHAT, {"messages": MESSAGES, "model": "m"}, 0, "bf28e4c9c4e2a6f1c2bcbb74a8e638bc"),
    (URL, CHAT, {"model": "m", "messages": MESSAGES}, 1, "e0194543520f3bec00c046392aa1f225"),
    ("sha256:00", CHAT, {"model": "m", "messages": MESSAGES}, 0, "edca83a26b9e6a4308a0aeba0d88c893"),
    (
        URL,
        CHAT,
        {"model": "m", "messages": MESSAGES, "temperature": 0},
        0,
        "9033b59dc01b00c2428e1fb81544df85",
    ),
    (
        URL,
        CHAT,
        {"model": "m", "messages": MESSAGES, "temperature": 0.0},
        0,
        "afb4680df50cea9aaaa0417a84045771",
    ),
    (URL, "/v1/embeddings", {"model": "e", "input": ["a", ""]}, 0, "dc24b8dbb9edfa24d21fdb9be005a8be"),
    (URL, CHAT, {"model": "m", "messages": MESSAGES, "tools": TOOLS}, 0, "73f1ecef5999900d92205c27b9a07163"),
    (
        URL,
        CHAT,
        {"model": "m", "messages": [{"role": "user", "content": "Grüße 🦜"}], "stop": None},
        0,
        "7a64e96183a7e5a1d332e362225ea536",
    ),
]


@pytest.mark.parametrize(("identity", "path", "body", "occurrence", "expected"), PINNED)
def test_the_scheme_has_not_changed(
    identity: str, path: str, body: dict[str, Any], occurrence: int, expected: str
) -> None:
    """These hashes stand in people's caches; a change here needs another `SCHEME`."""
    assert SCHEME == b"fastbatch-1"
    assert compute_request_hash(identity, path, body, occurrence) == expected
