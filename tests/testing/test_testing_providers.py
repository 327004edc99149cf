"""The contract of providers notices what is wrong with one: each fault by a test that names it.

The provider is Acme's of the examples, with one fault at a time.
"""

from __future__ import annotations

import inspect
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from fastbatch import LLMRequest
from fastbatch.errors import BadResponse
from fastbatch.limits.cost import Cost
from fastbatch.limits.stated import Stated
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.params import CHAT, KNOWN
from fastbatch.models.response import Usage
from fastbatch.models.stream import StreamedCall
from fastbatch.providers.base import ModelPage, Provider
from fastbatch.testing import ProviderContract
from fastbatch.testing.providers.halving import Halving
from fastbatch.testing.providers.questions import PARAMETERS, questions
from fastbatch.testing.providers.subject import KEY, Subject

EXAMPLE = Path(__file__).parents[2] / "examples" / "acme-provider"

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(EXAMPLE)
    patch.syspath_prepend(EXAMPLE / "tests")
    from acme_fastbatch import AcmeFold, AcmeProvider
    from test_acme import TestAcme as AcmeCase

# Those of batches have faults of their own (test_testing_halving).
TESTS = {name for name in dir(ProviderContract) if name.startswith("test_") and not hasattr(Halving, name)}


def failing(case: type[ProviderContract], names: Collection[str] = TESTS) -> dict[str, str]:
    """Those of these tests of the contract that fail for this case, each with what it says."""
    failed = {}
    for name in names:
        test = getattr(case, name)
        for arguments in calls_of(case, test):
            try:
                test(case(), **arguments)
            except pytest.skip.Exception:
                continue
            except (Exception, pytest.fail.Exception) as problem:  # noqa: BLE001  (whatever fails a test)
                failed[name] = str(problem)
    return failed


def calls_of(case: type[ProviderContract], test: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """Each set of arguments that pytest would give to a test."""
    choices: dict[str, list[Any]] = {}
    for mark in getattr(test, "pytestmark", ()):
        choices[mark.args[0]] = list(mark.args[1])
    for argument, attribute in Subject._EXAMPLES.items():
        if argument in inspect.signature(test).parameters:
            choices[argument] = list((getattr(case, attribute) or {}).values())
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def case_of(**changes: Any) -> type[ProviderContract]:
    """Acme's case with a provider that does some things otherwise."""
    faulty = type("AcmeProvider", (AcmeProvider,), changes)
    return type("Case", (AcmeCase,), {"provider": faulty})


def build_of(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """A `build` whose body was changed afterwards."""

    def build(self: Any, request: LLMRequest, *, stream: bool = False) -> HTTPCall:
        call = AcmeProvider.build(self, request, stream=stream)
        body = orjson.loads(call.body)
        change(body)
        return call._replace(body=orjson.dumps(body))

    return {"build": build}


def sent_to(change: Callable[[HTTPCall], HTTPCall]) -> dict[str, Any]:
    """A `build` whose call was changed afterwards."""

    def build(self: Any, request: LLMRequest, *, stream: bool = False) -> HTTPCall:
        return change(AcmeProvider.build(self, request, stream=stream))

    return {"build": build}


def after(look: Callable[[LLMRequest], Any]) -> dict[str, Any]:
    """A `build` that looks at the request in its own way first."""

    def build(self: Any, request: LLMRequest, *, stream: bool = False) -> HTTPCall:
        look(request)
        return AcmeProvider.build(self, request, stream=stream)

    return {"build": build}


def parse_of(change: Callable[[Any, HTTPReply], Any]) -> dict[str, Any]:
    """A `parse` that looks at the reply in its own way first; None leaves it to the right one."""

    def parse(self: Any, reply: HTTPReply) -> Any:
        done = change(self, reply)
        return AcmeProvider.parse(self, reply) if done is None else done

    return {"parse": parse}


def fold_of(**changes: Any) -> dict[str, Any]:
    """A `build` whose streams are put together otherwise."""
    fold = type("Fold", (AcmeFold,), changes)

    def build(self: Any, request: LLMRequest, *, stream: bool = False) -> HTTPCall:
        call = AcmeProvider.build(self, request, stream=stream)
        if isinstance(call, StreamedCall):
            call.fold = fold
        return call

    return {"build": build}


def counting(self: Any, request: LLMRequest, *, stream: bool = False) -> HTTPCall:
    """A `build` that remembers."""
    self.count = getattr(self, "count", 0) + 1
    call = AcmeProvider.build(self, request, stream=stream)
    return call._replace(headers={**call.headers, "count": str(self.count)})


def emptying(self: Any, request: LLMRequest, *, stream: bool = False) -> HTTPCall:
    """A `build` that takes something out of the request."""
    call = AcmeProvider.build(self, request, stream=stream)
    request.body.pop("model")
    return call


def with_secret(self: Any, request: LLMRequest, *, stream: bool = False) -> HTTPCall:
    """A `build` that sends what is carried."""
    call = AcmeProvider.build(self, request, stream=stream)
    return call._replace(headers={**call.headers, "about": str(request.metadata)})


def careless(self: Any, reply: HTTPReply) -> Any:
    """A `parse` that believes whatever a 200 says."""
    return self.outcome(reply) if reply.status == 200 else None


def talkative(self: Any, reply: HTTPReply) -> Any:
    """A `parse` that tells what it was told."""
    if reply.status == 200:
        return None
    outcome = AcmeProvider.parse(self, reply)
    assert outcome.error is not None
    outcome.error.args = (reply.body.decode("utf-8", "replace"),)
    return outcome


def strict(self: Any, reply: HTTPReply) -> Any:
    """A `parse` that knows no byte order marks."""
    return self.outcome(reply, error=BadResponse("?", provider="acme")) if reply.body[:1] == b"\xef" else None


def impatient(self: Any, reply: HTTPReply) -> Any:
    """A `parse` that hears no wait."""
    return AcmeProvider.parse(self, reply._replace(headers={})) if reply.headers else None


def uncounted(self: Any, reply: HTTPReply) -> Any:
    """A `parse` that leaves out what was cached."""
    outcome = AcmeProvider.parse(self, reply)
    prompt, cached, completion, reasoning = outcome.tokens
    outcome.tokens = Usage(prompt - cached, cached, completion, reasoning)
    return outcome


def piecewise(self: Any, piece: bytes) -> Any:
    """A `feed` that takes each piece for an event."""
    return self.take("message", orjson.loads(piece.split(b"data: ")[-1]))


def late(self: Any, event: str, said: Any) -> Any:
    """A `take` that keeps its text for the end."""
    self.kept = [*getattr(self, "kept", ()), *AcmeFold.take(self, event, said)]
    return self.kept if self.complete else ()


def hasty(self: Any, event: str, said: Any) -> Any:
    """A `take` for which the first piece is the last."""
    deltas = AcmeFold.take(self, event, said)
    self.complete = True
    return deltas


def anyway(self: Any, status: int, headers: Any) -> Any:
    """An `end` that does not care for one."""
    return HTTPReply(status, headers, orjson.dumps(self.whole()))


def remembering(self: Any, reply: HTTPReply) -> Any:
    """A `parse` that gives the same outcome for the same reply."""
    kept = vars(self).setdefault("kept", {})
    return kept.setdefault(reply[:1] + reply[2:], AcmeProvider.parse(self, reply))


def overcounted(self: Any, reply: HTTPReply) -> Any:
    """A `parse` that counts more cached tokens than the prompt has."""
    outcome = AcmeProvider.parse(self, reply)
    outcome.tokens = Usage(9, 14, 3, 0)
    return outcome


def ending_with_key(self: Any, reply: HTTPReply) -> Any:
    """A `parse` that takes the key out, where it is whole."""
    if reply.status == 200:
        return None
    outcome = AcmeProvider.parse(self, reply)
    assert outcome.error is not None
    outcome.error.args = (reply.body[:100].decode("utf-8", "replace").replace(KEY, "…"),)
    return outcome


def silent(self: Any, request: LLMRequest, *, stream: bool = False) -> HTTPCall:
    """A `build` that leaves out what the voice said."""
    call = AcmeProvider.build(self, request, stream=stream)
    body = orjson.loads(call.body)
    body["turns"] = [turn for turn in body["turns"] if turn["who"] == "human"]
    return call._replace(body=orjson.dumps(body))


def unkeyed(self: Any, after: str = "") -> HTTPCall:
    """A question for models without a key."""
    return HTTPCall(f"{self.base_url}/voices", {}, b"", "GET")


def made_with(**attributes: Any) -> dict[str, Any]:
    """Attributes that a provider is given after it was made."""

    def __init__(self: Any, *args: Any, **settings: Any) -> None:
        AcmeProvider.__init__(self, *args, **settings)
        for name, value in attributes.items():
            setattr(self, name, value(self) if callable(value) else value)

    return {"__init__": __init__}


def without(*names: str) -> dict[str, Any]:
    """A `build` that drops some keys of its body."""
    return build_of(lambda body: [body.pop(name, None) for name in names])


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "another name": (made_with(name="emca"), "test_it_has_a_name_and_an_identity"),
    "one identity for all": (made_with(identity="acme"), "test_identities_tell_endpoints_apart"),
    "a call that counts": ({"build": counting}, "test_building_is_pure"),
    "a request that changes": ({"build": emptying}, "test_building_is_pure"),
    "a call to elsewhere": (
        sent_to(lambda call: call._replace(url="http://127.0.0.1:3/converse")),
        "test_calls_go_to_the_endpoint_only",
    ),
    "a header of two lines": (
        sent_to(lambda call: call._replace(headers={**call.headers, "a": "b\r\nc: d"})),
        "test_calls_go_to_the_endpoint_only",
    ),
    "metadata that is sent": ({"build": with_secret}, "test_ids_and_metadata_stay_here"),
    "no system prompt": (without("rules"), "test_nothing_is_dropped"),
    "no temperature": (without("warmth"), "test_nothing_is_dropped"),
    "no parameters of its own": (without("x_okapi"), "test_nothing_is_dropped"),
    "no room for rules beside an end": (
        build_of(lambda body: body.pop("rules", None) if "ends" in body else None),
        "test_nothing_is_dropped_beside_something_else",
    ),
    "a request that must be right": (
        after(lambda request: [tool["type"].strip() for tool in request.body.get("tools") or ()]),
        "test_a_request_with_anything_in_it",
    ),
    "no check": ({"check": None}, "test_check_refuses_what_build_refuses"),
    "a check of everything": (
        {"check": lambda self, request: AcmeProvider.check(self, LLMRequest(CHAT, {"messages": []}))},
        "test_check_refuses_what_build_refuses",
    ),
    "a shape that it cannot give": ({"structured": ("strict",)}, "test_ways_to_shape_an_answer_can_be_said"),
    "no streams": (
        sent_to(lambda call: HTTPCall(*call)),
        "test_streams_are_asked_for",
    ),
    "no key": (sent_to(lambda call: call._replace(headers={})), "test_the_key_is_sent_and_never_shown"),
    "the key in the address": (
        sent_to(lambda call: call._replace(url=f"{call.url}?key={call.headers['Acme-Key']}")),
        "test_the_key_is_sent_and_never_shown",
    ),
    "the key shown": (
        {"__repr__": lambda self: f"AcmeProvider({self._headers})"},
        "test_the_key_is_sent_and_never_shown",
    ),
    "no variable": (
        {"__init__": lambda self, key=None, **given: AcmeProvider.__init__(self, key or "none", **given)},
        "test_the_key_is_found_in_the_environment",
    ),
    "the key as its digest": (
        made_with(credential=lambda self: self._headers["Acme-Key"]),
        "test_credentials_tell_keys_apart",
    ),
    "one credential": (made_with(credential="a key"), "test_credentials_tell_keys_apart"),
    "it stays": ({"at": lambda self, base_url: self}, "test_it_can_move"),
    "it moves": (
        {"at": lambda self, base_url: [setattr(self, "base_url", base_url), self][1]},
        "test_it_can_move",
    ),
    "no other process": (made_with(hook=lambda self: lambda: self), "test_it_goes_to_other_processes"),
    "cached tokens aside": ({"parse": uncounted}, "test_an_answer"),
    "an answer without a byte order mark only": (
        parse_of(strict),
        "test_a_byte_order_mark_changes_no_answer",
    ),
    "half an answer": (parse_of(careless), "test_an_answer_cut_anywhere_is_never_an_answer"),
    "an answer out of nothing": (parse_of(careless), "test_a_200_without_an_answer_is_a_bad_response"),
    "an answer too deep to be kept": (parse_of(careless), "test_an_answer_nested_too_deeply"),
    "an answer that must be right": (
        parse_of(lambda self, reply: (orjson.loads(reply.body)["counted"]["heard"], None)[1]),
        "test_an_answer_with_anything_in_it",
    ),
    "a failure without a byte order mark only": (
        parse_of(strict),
        "test_a_byte_order_mark_changes_no_failure",
    ),
    "failures that are all the same": (
        parse_of(lambda self, reply: AcmeProvider.parse(self, reply._replace(status=500))),
        "test_a_failure",
    ),
    "an answer that is lost on its way back": ({"build": silent}, "test_an_answer_can_be_talked_about"),
    "one outcome for all": (parse_of(remembering), "test_each_answer_is_its_own"),
    "one error for all": (parse_of(remembering), "test_each_error_is_its_own"),
    "more cached than asked": ({"parse": overcounted}, "test_usage_counts_everything_once"),
    "half a key shown": (parse_of(ending_with_key), "test_a_key_is_not_shown_where_a_message_is_cut"),
    "NaN sent": (
        {"check": None, "build": lambda self, request, **_: HTTPCall("", {}, repr(request.body).encode())},
        "test_what_is_no_json_is_refused",
    ),
    "limits of nothing": (
        {"read_limits": lambda self, headers, **_: (Stated("requests", 0),)},
        "test_limits_that_are_none_are_no_limits",
    ),
    "a wait unheard": (parse_of(impatient), "test_a_stated_wait_is_read"),
    "a failure of no kind": (
        parse_of(lambda self, reply: AcmeProvider.parse(self, reply._replace(status=418))),
        "test_a_status_alone_tells_the_kind",
    ),
    "the key repeated": (parse_of(talkative), "test_a_server_that_repeats_the_key_is_not_repeated"),
    "an exception": (
        parse_of(lambda self, reply: (reply.body.decode(), None)[1]),
        "test_parse_never_raises",
    ),
    "events that come whole": (
        fold_of(feed=piecewise),
        "test_a_stream_is_the_reply_that_would_have_come_whole",
    ),
    "text at the end": (fold_of(take=late), "test_the_first_text_comes_first"),
    "text twice": (
        fold_of(take=lambda self, event, said: [*AcmeFold.take(self, event, said)] * 2),
        "test_deltas_add_up_to_the_answer",
    ),
    "half a stream": (fold_of(end=anyway), "test_a_stream_that_breaks_off_is_no_reply"),
    "an end too soon": (fold_of(take=hasty), "test_what_is_complete_is_whole"),
    "a stream that must be right": (
        fold_of(take=lambda self, event, said: AcmeFold.take(self, event, {**said})),
        "test_a_stream_of_something_else_is_no_reply",
    ),
    "a stream whose texts must be texts": (
        fold_of(
            take=lambda self, event, said: (
                AcmeFold.take(self, event, said) if "".join(said.get("end") or "x") else ()
            )
        ),
        "test_a_stream_with_anything_in_it",
    ),
    "failures of streams unheard": (
        fold_of(take=lambda self, event, said: () if "problem" in said else AcmeFold.take(self, event, said)),
        "test_a_failure_in_a_stream",
    ),
    "half tokens": ({"settle": lambda self, reserved, usage: Cost(3, 0.5)}, "test_tokens_are_whole_numbers"),  # type: ignore[arg-type]
    "limits unread": (
        {"read_limits": lambda self, headers, *, refused=False: ()},
        "test_limits_are_read",
    ),
    "models without a key": ({"ask_models": unkeyed}, "test_models_are_asked_for"),
    "no models": ({"read_models": lambda self, reply: ModelPage(())}, "test_models_are_read"),
}


def test_acme_fulfils_it() -> None:
    """Without a fault nothing fails."""
    assert failing(AcmeCase) == {}


class Bare:
    """A provider that inherits from nothing; what it does it has somebody else do."""

    verbs = frozenset(name for name in vars(Provider) if not name.startswith("_"))

    def __init__(self, *args: Any, inner: Any = None, **settings: Any) -> None:
        self.inner = AcmeProvider(*args, **settings) if inner is None else inner

    def __getattr__(self, name: str) -> Any:
        if name not in self.verbs:
            raise AttributeError(name)
        return getattr(self.inner, name)

    def at(self, base_url: str) -> Bare:
        """As of the Protocol."""
        return Bare(inner=self.inner.at(base_url))


def test_it_wants_the_protocol_and_no_base_class() -> None:
    """A provider that has nothing but the Protocol's names fulfils the contract."""
    assert {"build", "parse", "check", "identity", "read_models"} <= Bare.verbs
    assert failing(type("Case", (AcmeCase,), {"provider": Bare})) == {}


@pytest.mark.parametrize(("changes", "test"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_noticed(changes: dict[str, Any], test: str) -> None:
    """By the test that is about it, with a sentence."""
    failed = failing(case_of(**changes), [test])
    assert failed[test]


def test_every_test_of_the_contract_notices_something() -> None:
    """A test without a fault here might be one that never fails."""
    assert {test for _, test in FAULTS.values()} == TESTS


def test_what_is_not_said_is_asked_for(tmp_path: Path) -> None:
    """A class without its examples is an error that names them, not a class without tests."""
    (tmp_path / "test_mine.py").write_text(
        "from fastbatch.testing import ProviderContract\n"
        "class TestMine(ProviderContract):\n"
        "    name = 'mine'\n"
        "    streams = models = limits = None\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode != 0
    assert "TestMine says nothing of provider, answers, failures, variables" in ran.stdout + ran.stderr


def test_it_works_without_hypothesis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a fixed set of rubbish is all that is parsed."""
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    AcmeCase().test_parse_never_raises()
    with pytest.raises(UnicodeDecodeError):
        case_of(**FAULTS["an exception"][0])().test_parse_never_raises()


def test_every_parameter_of_a_chat_is_asked() -> None:
    """The list of requests has each parameter that OpenAI's endpoint knows."""
    here = {"messages", "model", "stream", "stream_options", "tools"}
    assert set(PARAMETERS) | here == set(KNOWN[CHAT])


def test_the_requests_mean_something() -> None:
    """Each passes the check that every row passes, and has a name of its own."""
    found = list(questions("m"))
    for question in found:
        LLMRequest(question.endpoint, question.body)
    assert len({question.name for question in found}) == len(found)
