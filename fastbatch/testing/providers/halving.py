"""What a batch API promises, where a provider has one: online requests and answers, in files."""

from __future__ import annotations

import json
from typing import Any, TypeVar
from urllib.parse import urlsplit

import orjson
import pytest

from fastbatch.errors import BadResponse, RequestError
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.providers.base import Provider
from fastbatch.providers.batches import BatchStatus, NativeBatches, Steps
from fastbatch.testing.providers.examples import Batches, BatchLine, BatchState, Failure
from fastbatch.testing.providers.steps import StillGoing, driven
from fastbatch.testing.providers.subject import (
    KEY,
    NO_ANSWERS,
    Subject,
    changed,
    dumped,
    leaves,
    others,
    refusal,
    request_of,
)

_NAME, _ROW = "run-1", "r-1"
_UNDONE = ("", "expired", "cancelled")
T = TypeVar("T")


class Halving(Subject):
    """Batches, at half the price; a provider without any is skipped, and says so."""

    def test_examples_are_given_where_there_are_batches(self) -> None:
        """A batch API without examples would be one without tests."""
        there = getattr(self.make(), "batches", None) is not None
        assert there == (self.batches is not None), (
            "it has a batch API, and the contract no `batches`"
            if there
            else "it has none, and the contract has"
        )

    def test_bounds_are_stated(self) -> None:
        """So many rows and bytes, for so many hours."""
        bounds = self.native().bounds
        assert min(bounds.rows, bounds.size, bounds.hours) > 0, f"nothing is within {bounds}"

    def test_a_line_is_the_online_request(self) -> None:
        """The body that `build` makes stands in one line with the name; what it refuses is refused."""
        provider, native = self.made()
        for question in self.questions():
            asked = request_of(question.endpoint, question.body)
            try:
                line = native.line(asked, _ROW)
            except RequestError:
                continue  # a batch may take less
            assert refusal(provider, asked) is None, f"{question.name}: it is refused online alone"
            assert line.endswith(b"\n") and line.count(b"\n") == 1, f"{question.name}: {line!r} is no line"
            assert native.line(asked, _ROW) == line, f"{question.name}: the second line is another"
            said = orjson.loads(line)
            body = orjson.loads(provider.build(asked).body)
            assert body in said.values(), f"{question.name}: the body is not in {line!r}"
            assert _ROW in said.values(), f"{question.name}: the name is not in {line!r}"
            assert body.get("stream") is not True, f"{question.name}: a batch has no streams"
            assert KEY.encode() not in line, "the key is in a line"

    def test_a_line_carries_nothing_else_of_a_row(self) -> None:
        """Ids and metadata stay here, and the request as it was."""
        asked = self.request()
        before = orjson.dumps(asked.body)
        line = self.native().line(asked, "a-Z_9")
        assert b"mine" not in line, "the row's metadata is in the line"
        assert orjson.dumps(asked.body) == before, "the request's body was changed"
        assert "a-Z_9" in leaves(orjson.loads(line)), "the name is not in the line"

    def test_a_batch_is_begun(self) -> None:
        """All calls go to the address, with the key; each row is in one of them, once."""
        examples, native = self.examples(), self.native()
        lines = native.line(self.request(), _ROW) + native.line(self.request(), "r-2")
        status, calls = driven(self.begun(native, lines), *examples.begun)
        assert isinstance(status, BatchStatus), f"it came to {status!r}"
        assert (status.id, status.name) == (examples.batch, _NAME if examples.keeps_names else "")
        assert not status.ended, "it has ended when it begins"
        for call in calls:
            self.check(call)
        for name in (_ROW, "r-2"):
            sent = sum(call.body.count(f'"{name}"'.encode()) for call in calls)
            assert sent == 1, f"{name} is sent {sent} times"
        named = any(_NAME.encode() in call.body for call in calls)
        assert named or not examples.keeps_names, "no call says the name of the batch"

    def test_a_refusal_ends_the_beginning(self, failure: Failure) -> None:
        """Of any of the calls: no further one is made, and the error is that of an online request."""
        if failure.status < 400:
            pytest.skip("an error with a success's status")
        native, begun = self.native(), self.examples().begun
        for place in range(len(begun)):
            refused = HTTPReply(failure.status, failure.headers, failure.raw)
            with pytest.raises(failure.kind) as caught:
                driven(self.begun(native), *begun[:place], refused)
            assert caught.value.provider == self.name, f"it is from {caught.value.provider!r}"

    def test_a_state(self, batch_state: BatchState) -> None:
        """Whether it has ended, the files to fetch, and why all of it was refused."""
        native, examples = self.native(), self.examples()
        status, calls = driven(native.look(examples.batch), batch_state.body)
        assert [call.method for call in calls] == ["GET"], f"looking makes {calls}"
        assert status.id == examples.batch, f"it is {status.id!r}"
        assert status.ended == batch_state.ended, f"{status.state!r} has ended: {status.ended}"
        assert len(status.outputs) == batch_state.outputs, f"{status.state!r} has {status.outputs}"
        assert (status.problem and type(status.problem)) == batch_state.problem, f"it is {status.problem!r}"
        assert status.ended or status.problem is None, "it goes on, and was refused"
        assert min(status.total, status.answered, status.failed, status.created) >= 0, f"{status}"
        for call in (*calls, *status.outputs):
            self.check(call)
            assert (call.method, call.body) == ("GET", b""), f"it is {call!r}"

    def test_what_goes_on_is_cancelled(self, batch_state: BatchState) -> None:
        """Once: what has ended is left alone, and a refusal is no error where it ended in the meantime."""
        native, examples = self.native(), self.examples()
        if batch_state.ended or batch_state.stopping:
            status, calls = driven(native.cancel(examples.batch), batch_state.body)
            assert [call.method for call in calls] == ["GET"], f"it makes {calls}"
            assert status.ended == batch_state.ended, f"it is {status}"
            return
        ended = next(state.body for state in examples.states.values() if state.ended)
        status, calls = driven(native.cancel(examples.batch), batch_state.body, (409, b"{}"), ended)
        assert status.ended, "it has ended in the meantime"
        assert [call.method for call in calls if call.method != "GET"] == ["POST"], f"it makes {calls}"
        for call in calls:
            self.check(call)
        with pytest.raises(RequestError):
            driven(native.cancel(examples.batch), batch_state.body, (409, b"{}"), batch_state.body)

    def test_batches_are_listed(self) -> None:
        """By name where the API keeps names, page after page."""
        native, examples = self.native(), self.examples()
        page, (call,) = driven(native.listed(), examples.page)
        self.check(call)
        listed = [(status.id, status.name) for status in page.batches]
        assert listed == [(examples.batch, _NAME if examples.keeps_names else "")], f"it lists {listed}"
        further = next(native.listed(page.next or "after"))
        assert further.url != call.url, "the second page is the first one"

    def test_a_line_of_results(self, batch_line: BatchLine) -> None:
        """The reply is one for `parse`, which says of it what it says online; or nothing was asked."""
        provider, native = self.made()
        (result,) = native.results(orjson.dumps(batch_line.said) + b"\n")
        assert (result.name, result.undone) == (_ROW, batch_line.undone), f"it is {result}"
        assert (result.reply is None) == bool(batch_line.undone), f"it is {result}"
        if result.reply is None:
            return
        outcome = provider.parse(result.reply)
        assert (outcome.error and type(outcome.error)) == batch_line.kind, f"it is {outcome.error!r}"
        if batch_line.kind is None:
            assert outcome.text == batch_line.text, f"the text is {outcome.text!r}"
            assert batch_line.usage in (None, outcome.tokens), f"the usage is {outcome.tokens}"

    def test_an_empty_line_says_nothing(self) -> None:
        """A file may be empty, and end in one."""
        for line in (b"", b"\n", b"\r\n", b" "):
            assert tuple(self.native().results(line)) == (), f"{line!r} says something"

    def test_lines_with_anything_in_them(self, batch_line: BatchLine) -> None:
        """Whatever is in the place of each value: results for `parse`, or `BadResponse`, nothing else."""
        provider, native = self.made()
        torn = orjson.dumps(batch_line.said)[:-1]
        strange = (*NO_ANSWERS[1:], torn, KEY.encode())
        for line in (*map(dumped, changed(batch_line.said, others)), *strange):
            try:
                results = native.results(line)
            except BadResponse as refused:
                assert KEY not in f"{refused!r}", "the key is shown"
                assert refused.provider == self.name, f"it is from {refused.provider!r}"
                continue
            except Exception as problem:  # whatever it is, it would end a run
                raise AssertionError(f"{problem!r}: {line!r}") from problem
            for result in results:
                assert isinstance(result.name, str) and result.name, f"{line!r} is about {result.name!r}"
                assert result.undone in _UNDONE, f"{line!r} was {result.undone!r}"
                assert (result.reply is None) == bool(result.undone), f"{line!r} is {result}"
                if result.reply is not None:
                    outcome = provider.parse(result.reply)
                    assert outcome.error is None or outcome.error.message, f"no message: {line!r}"

    def test_batches_with_anything_in_them(self, batch_state: BatchState) -> None:
        """Whatever is in the place of each value: a status, or an error of ours, nothing else."""
        native, batch = self.native(), self.examples().batch
        for body in (*map(dumped, changed(batch_state.body, others)), *NO_ANSWERS):
            status = came_to(native.look(batch), body)
            if status is not None:
                assert isinstance(status, BatchStatus), f"{body!r} is {status!r}"
                for call in status.outputs:
                    self.check(call)
                json.dumps(status.problem and status.problem.to_dict())

    def test_other_replies_are_refused(self) -> None:
        """To every call: `BadResponse`, or another error of ours, and never the key in it."""
        native, examples = self.native(), self.examples()
        for body in (*NO_ANSWERS, KEY.encode(), json.dumps({"said": KEY}).encode()):
            for status in (200, 404, 500):
                reply = HTTPReply(status, {}, body)
                came_to(native.listed(), reply)
                came_to(native.cancel(examples.batch), reply)
                for place in range(len(examples.begun)):
                    with pytest.raises(RequestError) as caught:
                        driven(self.begun(native), *examples.begun[:place], reply)
                    assert KEY not in f"{caught.value!r}", "the key is shown"

    def native(self) -> NativeBatches:
        """Its batch API."""
        return self.made()[1]

    def made(self) -> tuple[Provider[Any], NativeBatches]:
        """A provider, and its batch API."""
        provider = self.make()
        native: NativeBatches | None = getattr(provider, "batches", None)
        if native is None:
            pytest.skip("this provider has no batch API")
        return provider, native

    def examples(self) -> Batches:
        """What the API says."""
        if self.batches is None:
            pytest.skip("batches: none are given")
        return self.batches

    def begun(self, native: NativeBatches, lines: bytes = b"") -> Steps[BatchStatus]:
        """The steps that begin the batch of the examples."""
        lines = lines or native.line(self.request(), _ROW)
        return native.submit(
            lines,
            name=_NAME,
            endpoint=self.examples().endpoint,
            model=self.model,
            count=lines.count(b"\n"),
        )

    def check(self, call: HTTPCall) -> None:
        """A call goes to the provider's own host, with the key in a header if there is one."""
        here, there = urlsplit(self.base_url), urlsplit(call.url)
        assert (here.scheme, here.netloc) == (there.scheme, there.netloc), f"{call.url} is elsewhere"
        assert KEY not in call.url, "the key is in the address"
        if self.variables:
            assert any(KEY in value for value in call.headers.values()), "the key is not sent"


def came_to(steps: Steps[T], reply: Any) -> T | None:
    """What steps come to by one reply; None where they take more of them, or raise an error of ours."""
    try:
        found: T = driven(steps, reply).came_to
    except RequestError as error:
        assert error.message, f"{reply!r} is an error without a message"
        assert KEY not in f"{error!r}", "the key is shown"
        return None
    except StillGoing:
        return None
    except Exception as problem:  # whatever it is, it would end a run
        raise AssertionError(f"{problem!r}: {reply!r}") from problem
    return found
