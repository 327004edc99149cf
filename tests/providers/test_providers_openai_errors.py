"""What errors mean: told by status, codes and headers, never by prose."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastbatch import OpenAIProvider, errors
from fastbatch.errors import RequestError
from fastbatch.models.http import HTTPReply
from fastbatch.providers.waits import read_retry_after

PROVIDER = OpenAIProvider("k", base_url="http://h/v1", env={})


def error_of(status: int, body: Any = b"", **headers: str) -> RequestError:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    found = PROVIDER.parse(HTTPReply(status, {k.replace("_", "-"): v for k, v in headers.items()}, raw)).error
    assert found is not None
    return found


def coded(code: Any = None, type: Any = None) -> dict[str, Any]:
    return {"error": {"message": "Words.", "type": type, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, "BadRequest"),
        (307, "BadRequest"),
        (400, "BadRequest"),
        (401, "AuthenticationFailed"),
        (402, "QuotaExhausted"),
        (403, "PermissionDenied"),
        (404, "NotFound"),
        (405, "BadRequest"),
        (408, "ServerError"),
        (409, "ServerError"),
        (413, "RequestTooLarge"),
        (415, "BadRequest"),
        (418, "BadRequest"),
        (422, "BadRequest"),
        (429, "RateLimited"),
        (500, "ServerError"),
        (502, "ServerError"),
        (503, "ServerError"),
        (504, "ServerError"),
        (529, "Overloaded"),
        (599, "ServerError"),
    ],
)
@pytest.mark.parametrize(
    "body", [coded("some_code"), coded(), {"detail": "x"}, b"<html>", b"", b"null", [coded()]]
)
def test_every_status(status: int, kind: str, body: Any) -> None:
    """The status decides, whatever shape the body has."""
    error = error_of(status, body)
    assert type(error).__name__ == kind
    assert (error.status, error.provider) == (status, "openai")
    assert error.message


@pytest.mark.parametrize("status", [400, 402, 403, 429, 500, 200])
@pytest.mark.parametrize(
    "code",
    [
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "credit_balance_exhausted",
        "organization_usage_limit_exceeded",
        "enforced_spend_limit_reached",
        "project_spend_limit_exceeded",
        "monthly_spend_limit_exceeded",
    ],
)
def test_codes_that_mean_no_money_whatever_the_status(status: int, code: str) -> None:
    """Waiting does not help, so the run stops; `code` and `type` may say it."""
    for body in (coded(code), coded(type=code), coded("429", code), coded(429, code)):
        assert type(error_of(status, body)) is errors.QuotaExhausted


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (429, coded("rate_limit_exceeded", "tokens"), "RateLimited", "rate_limit_exceeded"),
        (429, coded(type="requests"), "RateLimited", "requests"),
        (401, coded("invalid_api_key", "invalid_request_error"), "AuthenticationFailed", "invalid_api_key"),
        (400, coded("invalid_api_key"), "AuthenticationFailed", "invalid_api_key"),
        (404, coded("model_not_found"), "NotFound", "model_not_found"),
        (400, coded("context_length_exceeded"), "BadRequest", "context_length_exceeded"),
        (400, coded(400, "invalid_request_error"), "BadRequest", "400"),
        (429, coded(429), "RateLimited", "429"),
        (503, coded(type="overloaded_error"), "Overloaded", "overloaded_error"),
        (500, coded({"deep": 1}), "ServerError", None),
        (500, coded(0), "ServerError", "0"),
        (500, coded(""), "ServerError", ""),
    ],
)
def test_codes_and_types(status: int, body: Any, kind: str, code: str | None) -> None:
    """`error.code`, else `error.type`, as text."""
    error = error_of(status, body)
    assert (type(error).__name__, error.code, error.message) == (kind, code, "Words.")


def test_prose_decides_nothing() -> None:
    """A sentence about rate limits does not make one."""
    assert type(error_of(400, {"error": {"message": "rate limit quota 429"}})) is errors.BadRequest


@pytest.mark.parametrize(
    ("status", "body", "headers", "message"),
    [
        (500, {"error": "just text"}, {}, "just text"),
        (500, {"error": {"message": ""}}, {}, 'HTTP 500: {"error":{"message":""}}'),
        (500, {"error": {"message": 5}}, {}, 'HTTP 500: {"error"'),
        (500, b"", {}, "HTTP 500 without a body"),
        (500, b" \n", {}, "HTTP 500 without a body"),
        (500, b"upstream \xff gone", {}, "HTTP 500: upstream \ufffd gone"),
        (422, {"detail": [{"loc": ["body"]}]}, {}, 'HTTP 422: {"detail":[{"loc":["body"]}]}'),
        (
            302,
            b"",
            {"location": "https://evil"},
            "HTTP 302: a redirect to https://evil, which is not followed",
        ),
        (302, b"", {}, "HTTP 302: a redirect to nowhere"),
    ],
)
def test_the_words(status: int, body: Any, headers: dict[str, str], message: str) -> None:
    """The provider's sentence, else what came, else that nothing did."""
    assert error_of(status, body, **headers).message.startswith(message)


def test_long_words_are_cut() -> None:
    """At most 2 KiB of an HTML page reach a record."""
    assert len(error_of(500, b"x" * 100_000).message) < 2048


@pytest.mark.parametrize(
    ("status", "said", "retriable"),
    [
        (429, None, True),
        (429, "false", False),
        (400, "true", True),
        (400, None, False),
        (500, "maybe", True),
        (404, "false", False),
    ],
)
def test_x_should_retry_wins(status: int, said: str | None, retriable: bool) -> None:
    """OpenAI's own word on it."""
    assert error_of(status, coded(), **({"x_should_retry": said} if said else {})).retriable == retriable


DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
LATER = "Wed, 21 Oct 2015 07:28:42 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "86400"}, 86400.0),
        ({"retry-after": "1000000000"}, 1e9),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "12.5"}, 0.0125),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "-5", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "9" * 400, "retry-after": "9"}, 9.0),
        ({"retry-after": LATER, "date": DATE}, 42.0),
        ({"retry-after": DATE, "date": LATER}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:42 +0000", "date": DATE}, 42.0),
        ({"retry-after": "Wed, 21 Oct 2015 09:28:42 +0200", "date": DATE}, 42.0),
        ({"retry-after": LATER}, None),
        ({"retry-after": LATER, "date": "yesterday"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:42 -0000", "date": DATE}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "²"}, None),
        ({"retry-after": "\udcff"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "1,000"}, None),
        ({"retry-after": "7s"}, None),
    ],
)  # fmt: skip
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Milliseconds, else seconds, else a date against the reply's own date; what cannot be read is unsaid."""
    assert read_retry_after(headers) == seconds


def test_a_failure_keeps_the_wait_and_the_id() -> None:
    """They travel on the error to whoever decides."""
    error = error_of(429, coded("rate_limit_exceeded"), retry_after="7", x_request_id="req_1")
    assert (error.retry_after, error.request_id) == (7.0, "req_1")


KEYLESS = OpenAIProvider(base_url="http://h/v1", env={})
NO_KEY = "no key was sent: set OPENAI_API_KEY, or name its variable with --api-key-env (api_key= in Python)"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, True),
        ({"api_key": ""}, True),
        ({"headers": {"X-Title": "t"}}, True),
        ({"api_key": "k"}, False),
        ({"headers": {"api-key": "k"}}, False),
        ({"headers": {"authorization": "Token t"}}, False),
        ({"headers": {"X-Auth-Token": "t"}}, False),
    ],
)
def test_a_refusal_without_a_key_says_that_none_was_sent(options: dict[str, Any], told: bool) -> None:
    """The server only knows that it refuses; who asked knows why, and what to set."""
    provider = OpenAIProvider(**{"base_url": "http://h/v1", **options}, env={})
    for body in (b"", orjson.dumps(coded("invalid_api_key"))):
        error = provider.parse(HTTPReply(401, {}, body)).error
        assert error is not None
        assert error.message.endswith(f"; {NO_KEY}") == told
    assert error.message == (f"Words; {NO_KEY}" if told else "Words.")


def test_other_refusals_without_a_key_stay_as_they_are() -> None:
    """A 403 or a 429 has other reasons."""
    for status in (400, 403, 404, 429, 500):
        error = KEYLESS.parse(HTTPReply(status, {}, orjson.dumps(coded()))).error
        assert error is not None
        assert error.message == "Words."


@pytest.mark.parametrize(
    ("base_url", "body", "asked"),
    [
        ("http://h", b'{"detail":"Not Found"}', True),
        ("http://h", b"404 page not found", True),
        ("http://h/api", b"", True),
        ("http://h", orjson.dumps({"error": "not found"}), True),
        ("http://h", orjson.dumps(coded("model_not_found")), False),
        ("http://h/v1", b'{"detail":"Not Found"}', False),
        ("http://h/openai/v1/", b"", False),
    ],
)
def test_a_404_that_is_no_answer_of_the_api_asks_for_v1(base_url: str, body: bytes, asked: bool) -> None:
    """Forgetting `/v1` is the usual reason for a page that is not there."""
    error = OpenAIProvider("k", base_url=base_url, env={}).parse(HTTPReply(404, {}, body)).error
    assert error is not None
    assert error.message.endswith("; does the base URL end in /v1?") == asked


@pytest.mark.parametrize(("base_url", "asked"), [("http://h", True), ("http://h/v1", False)])
def test_an_unknown_path_asks_for_v1(base_url: str, asked: bool) -> None:
    """OpenAI explains such a 404 in words of its own, so that the question is the cure."""
    reply = HTTPReply(404, {}, orjson.dumps(coded("unknown_url")))
    error = OpenAIProvider("k", base_url=base_url, env={}).parse(reply).error
    assert error is not None
    assert error.message == "Words."
    assert ("is /v1 missing?" in error.cure) == asked


def test_a_cure_fits_behind_a_long_message() -> None:
    """The message gives way, not the cure, and the bound holds."""
    error = KEYLESS.parse(HTTPReply(401, {}, orjson.dumps({"error": {"message": "é" * 9000}}))).error
    assert error is not None
    assert error.message.endswith(NO_KEY)
    assert len(error.message.encode()) <= 2048


def test_echoed_headers_are_hidden() -> None:
    """Every value that the caller gave as a header may be a secret, in the message and in the code."""
    provider = OpenAIProvider(
        "0123456789abcdef",
        base_url="http://h/v1",
        headers={
            "api-key": "azure-key-0123456789abcdef",
            "Authorization": "Token tttttttttt",
            "X-Team": "blue",
        },
        env={},
    )
    said = "Got azure-key-0123456789abcdef, Token tttttttttt, then tttttttttt; team blue, 0123456789abcdef."
    body = orjson.dumps({"error": {"message": said, "code": "bad:tttttttttt"}})
    error = provider.parse(HTTPReply(400, {}, body)).error
    assert error is not None
    assert (error.message, error.code) == ("Got …, …, then …; team blue, ….", "bad:…")


def test_an_echoed_key_is_hidden_whatever_its_shape() -> None:
    """A server that prints the key back, in an error or in a broken reply, does not get it into a message."""
    provider = OpenAIProvider("0123456789abcdef", base_url="http://h/v1", env={})
    for status, raw in (
        (401, orjson.dumps({"error": {"message": "No key 0123456789abcdef here."}})),
        (200, b"<html>0123456789abcdef</html>"),
    ):
        error = provider.parse(HTTPReply(status, {}, raw)).error
        assert error is not None
        assert "…" in error.message
        assert "0123456789abcdef" not in error.message


@pytest.mark.parametrize(
    ("type", "kind"),
    [
        ("invalid_request_error", "BadRequest"),
        ("authentication_error", "AuthenticationFailed"),
        ("permission_error", "PermissionDenied"),
        ("not_found_error", "NotFound"),
        ("rate_limit_error", "RateLimited"),
        ("overloaded_error", "Overloaded"),
        ("something_new", "ServerError"),
        (None, "ServerError"),
    ],
)
def test_an_error_in_a_success_is_told_by_its_type(type: Any, kind: str) -> None:
    """Its status tells nothing, since it is that of a success."""
    assert error_of(200, coded("some_code", type)).__class__.__name__ == kind
