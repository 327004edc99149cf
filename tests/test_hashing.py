"""Law 6: the hash holds what decides the answer, all of it, and nothing else."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from fastbatch import LLMRequest, OpenAIProvider
from fastbatch.errors import InvalidRequest
from fastbatch.hashing import SCHEME, compute_request_hash, wire_bytes

URL = "https://api.example/v1"
CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Hi"}]
ORDER_FREE = ["messages", "logit_bias", "metadata", "prediction", "audio", "reasoning", "web_search_options"]
WRAPPERS = ["response_format", "text", "tool_choice"]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
scalars = st.none() | st.booleans() | texts | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e18, 1e18)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
keyless = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
free_bodies = st.builds(
    lambda known, other: {**other, **known},
    st.dictionaries(st.sampled_from(ORDER_FREE), values, max_size=4),
    st.dictionaries(texts, keyless, max_size=4),
)
bodies = st.dictionaries(texts | st.sampled_from([*ORDER_FREE, *WRAPPERS, "tools"]), values, max_size=5)
quick = settings(derandomize=True, deadline=None, max_examples=150)


def of(body: dict[str, Any], **other: Any) -> str:
    return compute_request_hash(other.get("identity", URL), other.get("path", CHAT), body, other.get("n", 0))


def turned(value: Any) -> Any:
    """The same JSON with the keys of every object in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(inner) for inner in value] if isinstance(value, list) else value


def spelled(body: dict[str, Any]) -> dict[str, bytes]:
    """The body as law 6 sees it: each key's JSON, sorted where order means nothing, else as written."""

    def dump(key: str, value: Any) -> bytes:
        if key in WRAPPERS and isinstance(value, dict):
            return orjson.dumps({inner: value[inner] for inner in sorted(value)})
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if key in ORDER_FREE else None)

    return {key: dump(key, value) for key, value in body.items()}


@quick
@given(free_bodies)
def test_the_order_of_keys_is_irrelevant(body: dict[str, Any]) -> None:
    """Bodies of order-free keys that differ in key order only, at any depth, are one request."""
    assert of(turned(body)) == of(body)


@quick
@given(free_bodies)
def test_order_free_bodies_are_one_sorted_dump(body: dict[str, Any]) -> None:
    """Their hash is over nothing but the sorted JSON, which keeps the usual body fast and old keys valid."""
    canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    head = b"\0".join((SCHEME, URL.encode(), CHAT.encode(), b"0"))
    assert of(body) == xxh3_128_hexdigest(head + b"\0" + canonical)


@quick
@given(free_bodies)
def test_the_order_of_keys_is_irrelevant_beside_a_schema(body: dict[str, Any]) -> None:
    """A schema somewhere in the body changes nothing about the keys around it."""
    schema = {"json_schema": {"schema": {"b": 1, "a": 2}}}
    one = {**body, "response_format": schema, "tools": [schema]}
    other = {"tools": [schema], "response_format": schema, **turned(body)}
    assert of(one) == of(other)


@quick
@given(bodies, bodies)
def test_other_bodies_have_other_hashes(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two bodies share a hash exactly when they are spelled alike where the spelling counts."""
    assert (of(one) == of(other)) == (spelled(one) == spelled(other))
    assert (of(one) == of(turned(one))) == (spelled(one) == spelled(turned(one)))


def schema_of(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}}


PLACES_OF_SCHEMAS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "tools": lambda schema: {"tools": [{"type": "function", "function": {"parameters": schema}}]},
    "functions": lambda schema: {"functions": [{"name": "f", "parameters": schema}]},
    "response_format, OpenAI": lambda schema: {"response_format": {"json_schema": {"schema": schema}}},
    "response_format, others": lambda schema: {"response_format": {"type": "json", "value": schema}},
    "text, Responses": lambda schema: {"text": {"format": {"type": "json_schema", "schema": schema}}},
    "input items, Responses": lambda schema: {"input": [{"type": "x", "tools": [{"parameters": schema}]}]},
    "tool_choice": lambda schema: {"tool_choice": {"type": "allowed_tools", "tools": [schema]}},
    "format, Ollama": lambda schema: {"format": schema},
    "guided_json, vLLM": lambda schema: {"guided_json": schema},
    "structured_outputs, vLLM": lambda schema: {"structured_outputs": {"json": schema}},
    "guided_decoding": lambda schema: {"guided_decoding": {"json": schema}},
    "nvext": lambda schema: {"nvext": {"guided_json": schema}},
    "generation_config": lambda schema: {"generation_config": {"response_schema": schema}},
    "inside a list in a list": lambda schema: {"x": [[1], [schema]]},
    "a key nobody knows": lambda schema: {"x": schema},
}


@pytest.mark.parametrize("place", PLACES_OF_SCHEMAS)
def test_the_order_of_properties_counts(place: str) -> None:
    """Wherever a schema may stand, the order of its properties is part of the request; around it none is."""
    forth = PLACES_OF_SCHEMAS[place](schema_of("answer", "reason"))
    back = PLACES_OF_SCHEMAS[place](schema_of("reason", "answer"))
    chat = {"model": "m", "messages": MESSAGES}
    assert of(forth) != of(back)
    assert of({**chat, **forth}) != of({**chat, **back})
    assert of({**chat, **forth}) == of({**forth, **turned(chat)})


@pytest.mark.parametrize("key", WRAPPERS)
def test_the_keys_of_a_wrapper_have_no_order(key: str) -> None:
    """`{"type": …, "json_schema": …}` is the same the other way round."""
    one = {"type": "x", "inner": schema_of("b", "a"), "strict": True}
    assert of({key: one}) == of({key: {name: one[name] for name in reversed(one)}})


def test_unknown_keys_among_themselves_have_no_order() -> None:
    """Two objects that keep their inner order may change places, but not names."""
    one, other = schema_of("b", "a"), schema_of("a", "b")
    assert of({"x": one, "y": other}) == of({"y": other, "x": one})
    assert of({"x": one, "y": other}) != of({"x": other, "y": one})


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
    tools = [{"b": 1, "a": 2}]
    assert of({"tools": tools, "stop": ("a",)}) == of({"tools": tuple(tools), "stop": ["a"]})
    assert of({"x": ({"b": 1}, "{")}) == of({"x": [{"b": 1}, "{"]})


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
@pytest.mark.parametrize("key", ["x", "messages", "tools"])
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
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"b": {}, "a": {}}}}
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
    (URL, CHAT, {"model": "m", "messages": MESSAGES, "tools": TOOLS}, 0, "905ae6a985f183e6df67e44e32186849"),
    (
        URL,
        CHAT,
        {"model": "m", "messages": MESSAGES, "logit_bias": {"2": 1, "1": -1}},
        0,
        "9ff2bd5f6af704dc70188153addddf88",
    ),
    (
        URL,
        CHAT,
        {"model": "m", "messages": MESSAGES, "response_format": FORMAT},
        0,
        "96265c53dba5cb95f9d8cd5c2ed3d39a",
    ),
    (
        URL,
        CHAT,
        {"x": {"b": 1, "a": 2}, "response_format": FORMAT, "n": 1, "tools": TOOLS},
        0,
        "17f93ffc1f4358ec1725354a5721e684",
    ),
    (URL, "/v1/responses", {"model": "m", "input": MESSAGES}, 0, "5b6c609a2816e2737f34e045d039f4ec"),
    (URL, "/v1/embeddings", {"model": "e", "input": [[1, 2], [3]]}, 0, "45ac6182c420e8cff1c46b3009d4e9d0"),
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
