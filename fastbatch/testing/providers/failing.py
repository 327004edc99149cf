"""What `parse` promises of failures: an error of the right kind, never an exception, and no key in it."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any

import pytest

from fastbatch.errors import (
    AuthenticationFailed,
    BadRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    RequestError,
    RequestTooLarge,
    ServerError,
)
from fastbatch.testing.providers.examples import Answer, Failure
from fastbatch.testing.providers.subject import KEY, NO_ANSWERS, Subject, changed, dumped, leaves, parsed

# The kinds on which decisions hang are the same for all, also where a proxy on the way answers.
BY_STATUS: dict[int, type[RequestError]] = {
    400: BadRequest,
    401: AuthenticationFailed,
    403: PermissionDenied,
    404: NotFound,
    408: ServerError,
    413: RequestTooLarge,
    422: BadRequest,
    429: RateLimited,
    500: ServerError,
    502: ServerError,
    503: ServerError,
    504: ServerError,
}
RUBBISH = (*NO_ANSWERS, b"{}{}", b'{"a":1', b"\x00", b"nan", b'{"error":{"error":[]}}', b'{"error":"no"}')
WAITS = (
    {"retry-after": "17"},
    {"retry-after": "Wed, 21 Oct 2015 07:28:17 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"},
    {"retry-after": "soon"},
    {"retry-after": "-5"},
    {"retry-after": "inf"},
)


class Failing(Subject):
    """Replies that are errors, or nothing at all."""

    def test_a_failure(self, failure: Failure) -> None:
        """The kind, the wait and the day are as the reply tells them."""
        error = parsed(self.make(), failure.raw, failure.status, failure.headers).error
        assert type(error) is failure.kind, f"it is {error!r}"
        assert error.provider == self.name, f"it is from {error.provider!r}"
        assert error.message, "it says nothing"
        assert error.retry_after == failure.retry_after, f"it asks to wait {error.retry_after}"
        assert getattr(error, "daily", False) == failure.daily, "it is wrong about the day"

    def test_a_byte_order_mark_changes_no_failure(self, failure: Failure) -> None:
        """The error is the same."""
        provider = self.make()
        plain, marked = (
            parsed(provider, raw, failure.status, failure.headers).error
            for raw in (failure.raw, codecs.BOM_UTF8 + failure.raw)
        )
        assert plain is not None, "it is no error"
        assert marked is not None, "it is no error any more"
        assert marked.to_dict() == plain.to_dict(), "the error is another"

    @pytest.mark.parametrize("status", BY_STATUS)
    def test_a_status_alone_tells_the_kind(self, status: int) -> None:
        """Where the body is none of this API's, as that of a proxy on the way."""
        for body in (b"", b"<html>", b"{}", b"[]", b"null"):
            error = parsed(self.make(), body, status).error
            assert isinstance(error, BY_STATUS[status]), f"{status} with {body!r} is {error!r}"
            assert (error.status, error.provider) == (status, self.name), f"it is {error!r}"

    @pytest.mark.parametrize("headers", WAITS, ids=lambda headers: headers["retry-after"])
    def test_a_stated_wait_is_read(self, headers: dict[str, str]) -> None:
        """`retry-after` is HTTP's own and understood by all; what is none is unsaid."""
        error = parsed(self.make(), b"", 429, headers).error
        assert error is not None, "a 429 is an answer"
        expected = 17.0 if "17" in headers["retry-after"] else None
        assert error.retry_after == expected, f"it asks to wait {error.retry_after}"

    def test_each_error_is_its_own(self, failure: Failure) -> None:
        """The same reply means the same, in an error of its own."""
        provider = self.make()
        first, second = (
            parsed(provider, failure.raw, failure.status, failure.headers).error for _ in range(2)
        )
        assert first is not second, "two replies share one error"
        assert first is not None, "it is no error"
        assert second is not None, "it is no error the second time"
        assert first.to_dict() == second.to_dict(), "the same reply means two things"

    def test_a_server_that_repeats_the_key_is_not_repeated(self, failure: Failure) -> None:
        """Wherever in an error it stands, the key is not in what people and files get to see."""
        provider = self.make()

        def with_key(value: Any) -> Iterator[Any]:
            if isinstance(value, str):
                yield f"{value} {KEY}"
                yield KEY

        bodies = [*map(dumped, changed(failure.body, with_key)), KEY.encode()]
        for body in bodies if self.variables else ():
            for status in {failure.status, 200}:
                error = parsed(provider, body, status, failure.headers).error
                shown = f"{error!r}{error}{error and json.dumps(error.to_dict())}"
                assert KEY not in shown, f"the key is in {shown}"

    def test_a_key_is_not_shown_where_a_message_is_cut(self) -> None:
        """Long messages are cut, and one may be cut in the middle of a key that the server repeats."""
        provider = self.make()
        for before in range(0, 2500 if self.variables else 0, len(KEY) // 2):
            raw = b"x" * before + KEY.encode() + b"x" * 50
            for status in (200, 404, 500):
                error = parsed(provider, raw, status).error
                assert KEY[:6] not in str(error), f"{len(str(error))} characters end with a part of the key"

    def test_parse_never_raises(self) -> None:
        """Whatever comes over the wire, there is an outcome; hypothesis, where installed, thinks it up."""
        provider = self.make()

        def outcome_of(status: int, raw: bytes) -> None:
            outcome = parsed(provider, raw, status)
            assert outcome.error is None or outcome.error.message, f"{status} with {raw!r} has no message"
            assert outcome.error is not None or 200 <= status < 300, f"{status} with {raw!r} is an answer"

        for status in (200, 204, 302, 400, 404, 418, 429, 500, 529, 599):
            for raw in RUBBISH:
                outcome_of(status, raw)
        try:
            from hypothesis import given, settings
            from hypothesis import strategies as st
        except ImportError:
            return
        documents = st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words(self), inner, max_size=3),
            max_leaves=8,
        )
        raws = st.binary(max_size=40) | documents.map(dumped)
        settings(derandomize=True, deadline=None, max_examples=100, database=None)(
            given(status=st.integers(200, 599), raw=raws)(outcome_of)
        )()


def _words(subject: Subject) -> Any:
    """The keys that this API knows, and some that it does not."""
    from hypothesis import strategies as st

    examples: list[Answer | Failure] = [*subject.answers.values(), *subject.failures.values()]
    bodies = [example.body for example in examples]
    known = {leaf for leaf in leaves(bodies) if isinstance(leaf, str) and len(leaf) < 30}
    return st.sampled_from(sorted(known)) | st.text(max_size=3)
