"""The check before the first request: the verdict of `read_row`, without its work."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbatch.errors import InvalidRequest
from fastbatch.formats import rowcheck
from fastbatch.formats.rowcheck import RowCheck
from fastbatch.formats.rows import RowSettings, read_row
from fastbatch.formats.template import PromptTemplate
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES

USER = {"role": "user", "content": "Hi"}
SYSTEM = {"role": "system", "content": "S"}
PLAIN = RowSettings(model="d")
TEMPLATE = RowSettings("d", PromptTemplate("Sum: {text} {id}"), "S", {"temperature": 0})


def verdict(look: Any, *args: Any) -> str | None:
    """What is wrong, None where nothing is."""
    try:
        look(*args)
    except InvalidRequest as refused:
        return refused.message
    return None


def deep(levels: int, end: Any = "end") -> Any:
    for _ in range(levels):
        end = [end]
    return end


def line(url: str, body: Any) -> dict[str, Any]:
    return {"url": url, "method": "POST", "body": body}


def changed(row: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """The row with another value at `place`; "body.n" is inside its body."""
    key, _, inner = place.partition(".")
    return {**row, key: {**row[key], inner: value} if inner else value}


NAN = float("nan")
NAMELESS = RowSettings()
FILLED = RowSettings("d", PromptTemplate("{text} {id}"))
RAW = RowSettings("d", PromptTemplate("{raw}"))
BROKEN = {"class": "InvalidRequest", "message": "m"}
ASKED = line(CHAT, {"messages": [USER], "n": 1})
# A row that is taken, and values in one place of it that are not.
TRAPS: list[tuple[RowSettings, dict[str, Any], str, list[Any]]] = [
    (PLAIN, {"id": "a", "prompt": "x"}, "id", ["", True, 1.5, [], {}]),
    (PLAIN, {"custom_id": "a", "id": 1, "prompt": "x"}, "id", [2**70, [NAN]]),
    (PLAIN, {"custom_id": "a", "id": "", "prompt": "x"}, "custom_id", [None, "", True]),
    (PLAIN, {"prompt": "x"}, "prompt", [5, None, [], {}]),
    (PLAIN, {"prompt": "x", "system": None}, "system", [5, {}, False]),
    (PLAIN, {"prompt": "x", "a": 0.5}, "a", [NAN, float("inf"), 1e19, -1e19, 2**64, -(2**63) - 1]),
    (PLAIN, {"prompt": "x", "a": [1]}, "a", [[2**64], deep(129), {"a": NAN}]),
    (PLAIN, {"prompt": "x", "seed": 1}, "seed", [1.5, "x", True, [], {}]),
    (PLAIN, {"prompt": "x", "stop": ["x"]}, "stop", [5, [5], {}]),
    (PLAIN, {"prompt": "x", "tools": [{}]}, "tools", ["x", ["x"], {}, [{"a": 2**64}]]),
    (PLAIN, {"prompt": "x", "audio": {}}, "audio", [{"a": 2**64}, {"a": deep(128)}, []]),
    (PLAIN, {"prompt": "x", "stream": False}, "stream", [True, "false", 1]),
    (PLAIN, {"prompt": "x", "extra_body": None}, "extra_body", [{"stream": True}, {"messages": 1}, 5]),
    (NAMELESS, {"prompt": "x", "extra_body": {"model": "m"}}, "extra_body", [None, {}]),
    (NAMELESS, {"prompt": "x", "model": "m"}, "model", ["", None, 5, []]),
    (PLAIN, {"messages": [USER]}, "messages", [[], "x", None, 5, {}, [[]], ["ab"], [USER, None]]),
    (PLAIN, {"messages": [USER]}, "messages", [[{"role": role, "content": ""}] for role in ("x", 5, [], {})]),
    (PLAIN, {"messages": [USER]}, "messages", [[{"role": "user", "content": said}] for said in (5, [])]),
    (PLAIN, {"messages": [USER]}, "messages", [[{**USER, "name": 5}], [{"role": "user"}], [{"content": ""}]]),
    (PLAIN, {"messages": [USER], "system": "S"}, "messages", [[SYSTEM], [{**SYSTEM, "role": "developer"}]]),
    (PLAIN, {"input": ["x"]}, "input", [[], None, 5, {}, [True], [1.5], [2**64], [{}]]),
    (FILLED, {"text": 5, "id": 1}, "text", [[2**64], deep(300), NAN, 2**64]),
    (FILLED, {"text": 5, "id": 1}, "id", [2**64, -(2**70)]),
    (RAW, {"custom_id": "a", "raw": "x", "error": {"class": "X"}}, "error", [BROKEN]),
    (PLAIN, ASKED, "method", ["GET", None, 5]),
    (PLAIN, ASKED, "url", ["/v1/x", EMBEDDINGS, [], None]),
    (PLAIN, ASKED, "body", [[], ["messages", "n"], "messages", {}, None]),
    (PLAIN, ASKED, "body.messages", [[], None, [{**USER, "role": "x"}]]),
    (PLAIN, ASKED, "body.n", [1.5, 2**64, "x", [1]]),
    (NAMELESS, line(CHAT, {"messages": [USER], "model": "m"}), "body.model", [None, "", 5]),
    (PLAIN, line(COMPLETIONS, {"prompt": "x"}), "body.prompt", [5, [], None, {}]),
    (PLAIN, line(RESPONSES, {"input": "x"}), "body.input", [5, [], None, {}]),
    (PLAIN, line(RESPONSES, {"prompt": {}}), "body.prompt", ["x", [], {"a": NAN}]),
    (PLAIN, line(MODERATIONS, {"input": "x"}), "body.input", [5, None, {}]),
    (PLAIN, line(EMBEDDINGS, {"input": "x"}), "body.input", [5, [], [2**64], None]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "taken", "place", "values"), TRAPS, ids=[f"{case[2]} of {case[1]}"[:60] for case in TRAPS]
)
def test_what_the_keys_do_not_decide_is_looked_at(
    given: RowSettings, taken: dict[str, Any], place: str, values: list[Any]
) -> None:
    """A row with the keys of one that was taken is refused for its values, in the same words."""
    check = RowCheck(given)
    for value in values:
        check.check(taken)
        row = changed(taken, place, value)
        expected = verdict(read_row, row, given)
        assert expected is not None
        assert verdict(check.check, row) == expected


TEXTS = ["", "x", "POST", "null"]
INTEGERS = [0, 1, -3, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 2**70]
FLOATS = [0.0, 0.5, -1.5, 1e18, 9.3e18, -9.3e18, float("nan"), float("inf")]
SCALARS = st.sampled_from([*TEXTS, *INTEGERS, *FLOATS, True, False, None])
KEYS = st.sampled_from(["a", "type", "seed", "stream", "model", "role", "content"])
ANYTHING = st.one_of(
    SCALARS,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2)
    ),
    st.sampled_from([deep(127), deep(128), deep(300), [USER], [SYSTEM, USER], [{**USER, "name": "a"}], CHAT]),
)
PARAMS: dict[str, Any] = {
    "model": "m",
    "temperature": 0.5,
    "max_tokens": 16,
    "logprobs": True,
    "user": "x",
    "stop": ["x"],
    "tools": [{"type": "function"}],
    "response_format": {"type": "json_object"},
    "logit_bias": {"1": 2.5},
    "stream": None,
    "stream_options": {},
    "dimensions": 8,
    "unheard_of": [1.5],
}
BODIES: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"messages": [SYSTEM, USER]}),
    (EMBEDDINGS, {"input": ["a"]}),
    (EMBEDDINGS, {"input": "x"}),
    (RESPONSES, {"input": "x", "text": {}}),
    (RESPONSES, {"prompt": {}}),
    (COMPLETIONS, {"prompt": "x"}),
    (MODERATIONS, {"input": "x"}),
]
BASES: list[dict[str, Any]] = [
    {"prompt": "x"},
    {"messages": [USER]},
    {"messages": [USER], "system": "S"},
    {"input": ["x"]},
    {"input": [1, 2]},
    {"text": "x", "id": 1, "raw": "x"},
    *[line(url, body) for url, body in BODIES],
]
CARRIED: dict[str, Any] = {
    "custom_id": "a",
    "id": 7,
    "system": None,
    "text": 0.5,
    "metadata": {"a": 1},
    "extra_body": None,
    "error": {"class": "X"},
    "fastbatch": {"row": 1},
    "raw": "x",
}
SETTINGS = st.builds(
    RowSettings,
    model=st.sampled_from(["d", "d", None]),
    template=st.sampled_from(
        [None, None, PromptTemplate("{text}"), PromptTemplate("{id} {raw} {temperature}")]
    ),
    system=st.sampled_from([None, "S"]),
    params=st.sampled_from([{}, {}, {"temperature": 0}, {"stream": True}, {"model": "p"}, {"seed": "x"}]),
    needs_model=st.booleans(),
)


@st.composite
def alike(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A row that is right in most settings, and others with its keys in which one value is another."""
    more = {**PARAMS, **CARRIED}
    row = dict(draw(st.sampled_from(BASES)))
    for name in draw(st.lists(st.sampled_from(sorted(more)), max_size=3)):
        row.setdefault(name, more[name])
    body = row.get("body")
    if isinstance(body, dict):
        row["body"] = body = dict(body)
        for name in draw(st.lists(st.sampled_from(sorted(PARAMS)), max_size=3)):
            body.setdefault(name, PARAMS[name])
    rows = [row]
    for _ in range(draw(st.integers(1, 6))):
        other = dict(row)
        other[draw(st.sampled_from(sorted(row)))] = draw(ANYTHING)
        if isinstance(body, dict) and draw(st.booleans()):
            other["body"] = {**body, draw(st.sampled_from(sorted(body))): draw(ANYTHING)}
        rows += [other, row]
    return draw(st.permutations(rows))


@settings(derandomize=True, deadline=None, max_examples=1000)
@given(alike(), SETTINGS)
def test_the_verdict_is_that_of_reading(rows: list[dict[str, Any]], given: RowSettings) -> None:
    """Word for word, whatever rows came before."""
    check = RowCheck(given)
    for row in rows:
        assert verdict(check.check, row) == verdict(read_row, row, given)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(alike(), SETTINGS)
def test_the_parts_are_those_of_the_request(rows: list[dict[str, Any]], given: RowSettings) -> None:
    """A row that is taken is taken apart as it would be for its request, to the order of the body's keys."""
    check = RowCheck(given)
    for row in rows:
        if verdict(check.check, row) is None:
            endpoint, body, carried = check.check(row)
            request = read_row(row, given)
            assert (endpoint, carried or None) == (request.endpoint, request.metadata or None)
            assert list(body.items()) == list(request.body.items())


def usual_body(number: int) -> dict[str, Any]:
    return {"model": "m", "messages": [SYSTEM, {"role": "user", "content": f"Hi {number}"}], "max_tokens": 16}


USUAL: list[tuple[RowSettings, Any]] = [
    (PLAIN, lambda n: {"id": f"r{n}", "prompt": f"Hi {n}"}),
    (PLAIN, lambda n: {"prompt": f"Hi {n}"}),
    (PLAIN, lambda n: {"id": n + 1, "prompt": "Hi", "system": "S" if n else None}),
    (PLAIN, lambda n: {"custom_id": f"r{n}", "messages": [SYSTEM, {"role": "user", "content": f"{n}"}]}),
    (PLAIN, lambda n: {"messages": [USER], "system": "S", "temperature": n / 7, "seed": n}),
    (PLAIN, lambda n: {"input": f"Hi {n}", "model": "e", "dimensions": n + 1}),
    (PLAIN, lambda n: {"input": ["a", "b"] if n else [1, 2]}),
    (PLAIN, lambda n: {"prompt": "Hi", "label": "x" if n else None, "score": n / 7, "ok": not n}),
    (PLAIN, lambda n: {"prompt": "Hi", "response_format": {"type": "text"}, "tools": [{"n": n}]}),
    (PLAIN, lambda n: {"prompt": "Hi", "metadata": {"n": n}, "tags": [str(n)], "stop": ["a"]}),
    (TEMPLATE, lambda n: {"id": n + 1, "text": f"A {n}", "label": "x", "score": 0.5, "prompt": [n]}),
    (PLAIN, lambda n: {"custom_id": f"r{n}", "method": "POST", "url": CHAT, "body": usual_body(n)}),
    (PLAIN, lambda n: {"url": EMBEDDINGS, "body": {"input": [f"{n}"]}, "label": n}),
    (PLAIN, lambda n: {"url": RESPONSES, "body": {"input": f"{n}", "text": {"n": n}}}),
    (PLAIN, lambda n: {"prompt": "Hi", "error": {"n": n}, "fastbatch": {"row": n}}),
]


@pytest.mark.parametrize(("given", "make"), USUAL, ids=[" ".join(make(0)) for _, make in USUAL])
def test_usual_rows_are_read_once(given: RowSettings, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first one of a kind no request is made for the check."""
    check = RowCheck(given)
    check.check(make(0))

    def fail(*_: Any) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(rowcheck, "read_row", fail)
    for number in range(3):
        check.check(make(number))


def test_ever_new_keys_cost_no_memory() -> None:
    """Beyond some hundred shapes none is remembered, and the verdicts stay right."""
    check = RowCheck(PLAIN)
    for number in range(2000):
        check.check({"prompt": "Hi", f"key{number}": 1})
        body = {"messages": [USER], f"key{number}": 1}
        check.check({"url": CHAT, "body": body})
        assert (
            verdict(check.check, {"prompt": 5, f"key{number}": 1}) == "prompt must be a string, not a number"
        )
    assert len(check._rows) + len(check._bodies) <= 2 * rowcheck._SHAPES


def test_settings_that_were_checked_before_are_checked() -> None:
    """Whoever asks for a check gets one."""
    assert verdict(RowCheck(RowSettings("d", checked=True)).check, {"prompt": "Hi", "seed": "x"})
