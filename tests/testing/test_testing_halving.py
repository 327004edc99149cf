"""The contract notices what is wrong with a batch API: each fault by a test that names it.

The provider is OpenAI's, with one fault at a time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from fastbatch import OpenAIProvider
from fastbatch.errors import BadResponse
from fastbatch.models.http import HTTPReply
from fastbatch.models.request import LLMRequest
from fastbatch.providers.batches import BatchBounds, BatchPage, BatchResult
from fastbatch.providers.openai_batches import OPENAI, OpenAIBatches
from fastbatch.testing.providers.halving import Halving
from fastbatch.testing.providers.subject import Subject

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(Path(__file__).parents[1] / "contract")
    from openai_examples import ANSWERS, BATCHES, FAILURES

TESTS = {name for name in dir(Halving) if name.startswith("test_")}


def case_of(**changes: Any) -> type[Halving]:
    """OpenAI's case with a batch API that does some things otherwise."""
    faulty = type("OpenAIBatches", (OpenAIBatches,), changes)
    batches = property(lambda self: faulty(self, OPENAI, self._headers))
    return case(type("OpenAIProvider", (OpenAIProvider,), {"batches": batches}))


def case(provider: type, **more: Any) -> type[Halving]:
    """The case of a provider."""
    said = {
        "provider": provider,
        "name": "openai",
        "answers": ANSWERS,
        "failures": FAILURES,
        "streams": None,
        "models": None,
        "limits": None,
        "variables": ("OPENAI_API_KEY",),
        "batches": BATCHES,
    }
    return type("Case", (Halving,), {**said, **more})


def failing(case: type[Halving], name: str) -> str:
    """What a test says that fails for this case; empty where none does."""
    test = getattr(case, name)
    for arguments in calls_of(case, test):
        try:
            test(case(), **arguments)
        except pytest.skip.Exception:
            continue
        except (Exception, pytest.fail.Exception) as problem:  # noqa: BLE001  (whatever fails a test)
            return str(problem)
    return ""


def calls_of(case: type[Halving], test: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """Each set of arguments that pytest would give to a test."""
    wanted = inspect.signature(test).parameters
    choices = {name: getattr(case, attribute) for name, attribute in Subject._EXAMPLES.items()}
    if case.batches is not None:
        choices |= {name: getattr(case.batches, attribute) for name, attribute in Subject._OF_BATCHES.items()}
    for name in choices.keys() & wanted:
        yield from ({name: example} for example in choices[name].values())
        return
    yield {}


def lines_of(change: Callable[[LLMRequest, bytes], bytes]) -> dict[str, Any]:
    """A `line` that was changed afterwards."""

    def line(self: Any, request: LLMRequest, name: str) -> bytes:
        return change(request, OpenAIBatches.line(self, request, name))

    return {"line": line}


def translated(request: LLMRequest, line: bytes) -> bytes:
    """A line whose body was written a second time, in another way."""
    said = orjson.loads(line)
    said["body"] = {name: value for name, value in said["body"].items() if name != "max_tokens"}
    return orjson.dumps(said) + b"\n"


def without_a_key(self: Any, lines: bytes, **about: Any) -> Any:
    """Steps whose calls lost their headers."""
    steps = OpenAIBatches.submit(self, lines, **about)
    call = next(steps)
    while True:
        reply = yield call._replace(headers={})
        try:
            call = steps.send(reply)
        except StopIteration as end:
            return end.value


def careless(self: Any, lines: bytes, **about: Any) -> Any:
    """A beginning that looks at no reply."""
    steps = OpenAIBatches.submit(self, lines, **about)
    yield next(steps)
    reply = yield steps.send(HTTPReply(200, {}, b'{"id":"file-1"}'))
    return self._batch(reply)


def stubborn(self: Any, batch: str) -> Any:
    """A `cancel` that does not ask whether there is anything to cancel."""
    return self._batch((yield self._call(f"/batches/{batch}/cancel", method="POST")))


def nobody(self: Any, after: str = "") -> Any:
    """A `listed` that finds nothing."""
    yield self._call("/batches")
    return BatchPage(())


def echoing(self: Any, after: str = "") -> Any:
    """A `listed` that tells what came."""
    reply = yield self._call("/batches", after=after)
    raise BadResponse(f"no list: {reply.body!r}", provider="openai")


def status_of(**changes: Any) -> dict[str, Any]:
    """Batches that are read otherwise."""

    def _status(self: Any, said: Any) -> Any:
        status = OpenAIBatches._status(self, said)
        return status and status._replace(**changes)

    return {"_status": _status}


def trusting(self: Any, said: Any) -> Any:
    """A batch that is read without a look at what is there."""
    return OpenAIBatches._status(self, {**said, "created_at": said["created_at"] + 0})


def results_of(change: Callable[[BatchResult], BatchResult]) -> dict[str, Any]:
    """Results that were changed afterwards."""
    return {"results": lambda self, line: tuple(map(change, OpenAIBatches.results(self, line)))}


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no bounds": (
        {"bounds": property(lambda self: BatchBounds(0, 1), lambda self, bounds: None)},
        "test_bounds_are_stated",
    ),
    "a second translation": (lines_of(translated), "test_a_line_is_the_online_request"),
    "two lines": (lines_of(lambda _, line: line + b"\n"), "test_a_line_is_the_online_request"),
    "no line end": (lines_of(lambda _, line: line.rstrip()), "test_a_line_is_the_online_request"),
    "metadata in a line": (
        lines_of(lambda asked, line: line[:-2] + b',"m":%b}\n' % orjson.dumps(asked.metadata)),
        "test_a_line_carries_nothing_else_of_a_row",
    ),
    "a request that is changed": (
        lines_of(lambda asked, line: (asked.body.clear(), line)[1]),
        "test_a_line_carries_nothing_else_of_a_row",
    ),
    "calls without a key": ({"submit": without_a_key}, "test_a_batch_is_begun"),
    "names that get lost": (status_of(name=""), "test_a_batch_is_begun"),
    "refusals unheard": ({"submit": careless}, "test_a_refusal_ends_the_beginning"),
    "one file alone": (status_of(outputs=()), "test_a_state"),
    "batches that never end": (status_of(ended=False), "test_a_state"),
    "refused as a whole, and silent": (status_of(problem=None), "test_a_state"),
    "cancelled whatever it is": ({"cancel": stubborn}, "test_what_goes_on_is_cancelled"),
    "an empty list": ({"listed": nobody}, "test_batches_are_listed"),
    "expired rows that are errors": (
        results_of(lambda found: found._replace(undone="", reply=HTTPReply(500, {}, b"{}"))),
        "test_a_line_of_results",
    ),
    "answers of another": (results_of(lambda found: found._replace(name="r-2")), "test_a_line_of_results"),
    "an empty line that is none": (
        {"results": lambda self, line: (BatchResult(orjson.loads(line)["custom_id"]),)},
        "test_an_empty_line_says_nothing",
    ),
    "lines that are trusted": (
        {"results": lambda self, line: (BatchResult(orjson.loads(line)["custom_id"]),)},
        "test_lines_with_anything_in_them",
    ),
    "batches that are trusted": ({"_status": trusting}, "test_batches_with_anything_in_them"),
    "replies that are told": ({"listed": echoing}, "test_other_replies_are_refused"),
}


def test_openai_fulfils_it() -> None:
    """Without a fault nothing fails."""
    assert {name: failing(case_of(), name) for name in TESTS} == dict.fromkeys(TESTS, "")


@pytest.mark.parametrize(("changes", "test"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_noticed(changes: dict[str, Any], test: str) -> None:
    """By the test that is about it, with a sentence."""
    assert failing(case_of(**changes), test)


def test_every_test_of_batches_notices_something() -> None:
    """A test without a fault here might be one that never fails."""
    assert {test for _, test in FAULTS.values()} == TESTS - {
        "test_examples_are_given_where_there_are_batches"
    }


def test_a_batch_api_without_examples_is_noticed() -> None:
    """And so are examples without a batch API; a provider with neither is skipped, and says so."""
    name = "test_examples_are_given_where_there_are_batches"
    without = type("OpenAIProvider", (OpenAIProvider,), {"batch_rules": None})
    assert "the contract no `batches`" in failing(case(OpenAIProvider, batches=None), name)
    assert "it has none" in failing(case(without), name)
    assert failing(case(without, batches=None), name) == ""
    with pytest.raises(pytest.skip.Exception, match="no batch API"):
        case(without, batches=None)().test_bounds_are_stated()
