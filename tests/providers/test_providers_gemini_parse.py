"""What Gemini's replies mean: answers, vectors, blocked prompts; errors by their codes, never by prose."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastbatch.errors import RequestError
from fastbatch.limits.cost import Cost
from fastbatch.models.http import HTTPReply
from fastbatch.models.response import Usage
from fastbatch.providers.base import Model
from fastbatch.providers.gemini import GeminiProvider
from fastbatch.providers.gemini_types import EmbedContentResponse, GenerateContentResponse

GEMINI = GeminiProvider("the.KEY.0123456789", env={})


def parsed(body: Any, status: int = 200, **headers: str) -> Any:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return GEMINI.parse(HTTPReply(status, {n.replace("_", "-"): v for n, v in headers.items()}, raw))


def ended(reason: str | None, *parts: dict[str, Any], **more: Any) -> Any:
    """A reply with one candidate."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}} if parts else {}
    if reason:
        candidate["finishReason"] = reason
    return parsed({"candidates": [{**candidate, **more}], "usageMetadata": {"promptTokenCount": 4}})


def error_of(
    status: int, code: str = "", *details: Any, said: Any = "Words.", **headers: str
) -> RequestError:
    body = {"error": {"code": status, "message": said, "status": code, "details": list(details)}}
    found: RequestError = parsed(body, status, **headers).error
    return found


def info(reason: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}


def quota(name: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}


WAIT = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "26.5s"}


def test_an_answer() -> None:
    """Text without thoughts, tokens with them, and the reply's own id."""
    outcome = parsed(
        {
            "candidates": [
                {
                    "content": {"parts": [{"text": "Hm.", "thought": True}, {"text": "Ye"}, {"text": "s."}]},
                    "finishReason": "STOP",
                }
            ],
            "usageMetadata": {
                "promptTokenCount": 40,
                "toolUsePromptTokenCount": 5,
                "cachedContentTokenCount": 30,
                "candidatesTokenCount": 2,
                "thoughtsTokenCount": 9,
            },
            "responseId": "r1",
        }
    )
    assert (outcome.text, outcome.finish_reason) == ("Yes.", "stop")
    assert outcome.tokens == Usage(45, 30, 11, 9)
    assert outcome.provider_request_id == "r1"
    typed = outcome.response
    assert isinstance(typed, GenerateContentResponse)
    assert (typed.text, typed.candidates[0].finish_reason, typed.response_id) == ("Yes.", "STOP", "r1")
    assert (typed.usage_metadata or {})["thoughtsTokenCount"] == 9


def test_a_header_names_the_request_first() -> None:
    """Where a gateway sends one."""
    body = {"candidates": [{"finishReason": "STOP"}], "responseId": "r1"}
    assert parsed(body, x_request_id="x1").provider_request_id == "x1"


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("CONTINUATION", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("LANGUAGE", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("ESCALATION", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", None),
        ("OTHER", None),
        ("A_NEW_ONE", None),
        (None, None),
    ],
)
def test_why_an_answer_ends(reason: str | None, word: str | None) -> None:
    """In OpenAI's words, where it has one."""
    outcome = ended(reason, {"text": "x"})
    assert (outcome.error, outcome.text, outcome.finish_reason) == (None, "x", word)


def test_an_answer_that_calls() -> None:
    """Ends so in OpenAI's words, unless it was cut short."""
    call = {"functionCall": {"name": "f", "args": {}}}
    assert (ended("STOP", call).text, ended("STOP", call).finish_reason) == (None, "tool_calls")
    assert ended("MAX_TOKENS", call).finish_reason == "length"


@pytest.mark.parametrize("reason", ["STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "A_NEW_ONE"])
def test_an_answer_without_content(reason: str) -> None:
    """Is one: all was spent on thoughts, or a filter took it; it is paid for."""
    outcome = ended(reason)
    assert (outcome.error, outcome.text, outcome.message) == (None, None, None)
    assert outcome.tokens.prompt_tokens == 4
    assert outcome.response.text is None


@pytest.mark.parametrize(
    ("reason", "kind", "retriable"),
    [
        ("MALFORMED_FUNCTION_CALL", "BadResponse", True),
        ("MALFORMED_RESPONSE", "BadResponse", True),
        ("UNEXPECTED_TOOL_CALL", "BadResponse", True),
        ("OTHER", "BadResponse", True),
        ("NO_IMAGE", "BadResponse", True),
        (None, "BadResponse", True),
        ("MISSING_THOUGHT_SIGNATURE", "BadRequest", False),
        ("PUP_LIMITED_DISABLED", "PermissionDenied", False),
    ],
)
def test_a_failure_in_place_of_an_answer(reason: str | None, kind: str, retriable: bool) -> None:
    """The model broke down, or the request or the account is at fault; tokens were used."""
    error = ended(reason, finishMessage="So it is.").error
    assert (type(error).__name__, error.retriable, error.code) == (kind, retriable, reason)
    assert error.message.endswith("So it is.")
    assert error.maybe_billed
    assert error.stops_run is (reason == "PUP_LIMITED_DISABLED")


def test_a_blocked_prompt() -> None:
    """The same prompt is blocked again: it is the request's fault, and is not sent again."""
    body = {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "No."},
        "usageMetadata": {"promptTokenCount": 9},
    }
    outcome = parsed(body)
    error = outcome.error
    assert (type(error).__name__, error.code, error.retriable) == ("BadRequest", "PROHIBITED_CONTENT", False)
    assert (error.message, error.status) == ("the prompt was blocked (PROHIBITED_CONTENT): No.", 200)
    assert (outcome.tokens.prompt_tokens, error.maybe_billed) == (9, True)


def test_feedback_beside_an_answer_blocks_nothing() -> None:
    """It rates the prompt."""
    candidate = {"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}
    for feedback in ({"safetyRatings": []}, {"blockReason": "SAFETY"}):
        assert parsed({"candidates": [candidate], "promptFeedback": feedback}).text == "x"


@pytest.mark.parametrize(
    "body",
    [
        {"candidates": []},
        {"candidates": [7]},
        {"candidates": {}},
        {"usageMetadata": {"promptTokenCount": 4}},
        {"embeddings": []},
        {"embeddings": [{"values": "x"}]},
        {"promptFeedback": {"blockReason": ""}},
        {"candidates": [{"content": {"parts": []}}]},
        {"candidates": [{"content": {"parts": ["x"]}}]},
    ],
)
def test_what_holds_no_answer(body: dict[str, Any]) -> None:
    """Is a bad response, and may have been billed."""
    error = parsed(body).error
    assert (type(error).__name__, error.maybe_billed) == ("BadResponse", True)


@pytest.mark.parametrize(
    ("body", "vectors", "tokens"),
    [
        ({"embeddings": [{"values": [1, 0.5]}, {"values": [2]}]}, [[1, 0.5], [2]], 0),
        ({"embeddings": [{"values": [1]}], "usageMetadata": {"promptTokenCount": 7}}, [[1]], 7),
        ({"embedding": {"values": [1]}, "usageMetadata": {"promptTokenCount": 7}}, [[1]], 7),
        (
            {
                "predictions": [
                    {"embeddings": {"values": [1], "statistics": {"token_count": 3.0}}},
                    {"embeddings": {"values": [2], "statistics": {"token_count": 4}}},
                ]
            },
            [[1], [2]],
            7,
        ),
    ],
)
def test_vectors(body: dict[str, Any], vectors: list[list[float]], tokens: int) -> None:
    """The same type whichever method gave them; they are no text and no message."""
    outcome = parsed(body)
    assert isinstance(outcome.response, EmbedContentResponse)
    assert [vector.values for vector in outcome.response.embeddings] == vectors
    assert outcome.tokens == Usage(tokens)
    assert (outcome.text, outcome.message, outcome.finish_reason) == (None, None, None)


@pytest.mark.parametrize(
    ("status", "code", "details", "kind"),
    [
        (400, "INVALID_ARGUMENT", [], "BadRequest"),
        (400, "INVALID_ARGUMENT", [info("API_KEY_INVALID")], "AuthenticationFailed"),
        (400, "INVALID_ARGUMENT", [info("SOMETHING_NEW")], "BadRequest"),
        (400, "FAILED_PRECONDITION", [], "QuotaExhausted"),
        (400, "OUT_OF_RANGE", [], "BadRequest"),
        (401, "UNAUTHENTICATED", [info("ACCESS_TOKEN_EXPIRED")], "AuthenticationFailed"),
        (401, "UNAUTHENTICATED", [info("CREDENTIALS_MISSING")], "AuthenticationFailed"),
        (403, "PERMISSION_DENIED", [], "PermissionDenied"),
        (403, "PERMISSION_DENIED", [info("API_KEY_INVALID")], "AuthenticationFailed"),
        (403, "PERMISSION_DENIED", [info("BILLING_DISABLED")], "QuotaExhausted"),
        (404, "NOT_FOUND", [], "NotFound"),
        (409, "ABORTED", [], "ServerError"),
        (413, "", [], "RequestTooLarge"),
        (429, "RESOURCE_EXHAUSTED", [], "RateLimited"),
        (499, "CANCELLED", [], "ServerError"),
        (500, "INTERNAL", [], "ServerError"),
        (500, "UNKNOWN", [], "ServerError"),
        (501, "UNIMPLEMENTED", [], "ServerError"),
        (502, "", [], "ServerError"),
        (503, "UNAVAILABLE", [], "Overloaded"),
        (503, "", [], "ServerError"),
        (504, "DEADLINE_EXCEEDED", [], "ServerError"),
    ],
)
def test_errors(status: int, code: str, details: list[Any], kind: str) -> None:
    """Reason before code before status; also as the one object of a list, and inside a success."""
    error = error_of(status, code, *details)
    reason = details[0]["reason"] if details else None
    assert (type(error).__name__, error.status, error.code) == (kind, status, reason or code)
    assert (error.message, error.provider) == ("Words.", "gemini")
    body = {"error": {"code": status, "message": "Words.", "status": code, "details": details}}
    assert type(parsed([body], status).error).__name__ == kind
    inside = parsed(body).error
    assert (type(inside).__name__, inside.status) == (kind, status)


@pytest.mark.parametrize(
    "reason",
    ["SERVICE_DISABLED", "CONSUMER_SUSPENDED", "API_KEY_SERVICE_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED"],
)
def test_a_refusal_of_all_requests_stops_the_run(reason: str) -> None:
    """The other rows would fail in the same way; a plain refusal may be of one model."""
    error = error_of(403, "PERMISSION_DENIED", info(reason))
    assert (type(error).__name__, error.stops_run) == ("PermissionDenied", True)
    assert not error_of(403, "PERMISSION_DENIED").stops_run


def test_what_to_do_about_billing() -> None:
    """A sentence of its own."""
    assert error_of(400, "FAILED_PRECONDITION").cure.startswith("Enable billing")


@pytest.mark.parametrize(
    ("details", "headers", "wait", "daily"),
    [
        ([], {}, None, False),
        ([WAIT], {}, 26.5, False),
        ([quota("GenerateRequestsPerMinutePerProjectPerModel"), WAIT], {}, 26.5, False),
        ([quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), WAIT], {}, 26.5, True),
        ([quota("GenerateContentInputTokensPerModelPerDay")], {}, None, True),
        ([WAIT], {"retry_after": "7"}, 7.0, False),
        ([], {"retry_after": "7"}, 7.0, False),
        ([{"@type": 7}, 7, {"@type": "google.rpc.RetryInfo", "retryDelay": "soon"}], {}, None, False),
    ],
)
def test_how_long_to_wait(
    details: list[Any], headers: dict[str, str], wait: float | None, daily: bool
) -> None:
    """As the details say, or a header of somebody on the way; a day's quota is told."""
    error = error_of(429, "RESOURCE_EXHAUSTED", *details, **headers)
    assert type(error).__name__ == "RateLimited"
    assert (error.retry_after, error.daily) == (wait, daily)  # type: ignore[attr-defined]


@pytest.mark.parametrize("said", [None, 7, "", [], {}])
def test_an_error_without_words(said: Any) -> None:
    """Begins with its status."""
    assert error_of(500, "INTERNAL", said=said).message.startswith("HTTP 500: ")


def test_a_redirect_is_not_followed() -> None:
    """It says where it would have gone."""
    assert "http://elsewhere" in parsed(b"", 302, location="http://elsewhere").error.message


def test_the_key_is_hidden_in_a_blocked_prompt() -> None:
    """Wherever a server may put it."""
    said = "No: the.KEY.0123456789"
    error = parsed({"promptFeedback": {"blockReason": "OTHER", "blockReasonMessage": said}}).error
    assert "KEY" not in str(error)


def test_limits_are_of_input_tokens() -> None:
    """What Google counts as tokens a minute; the answer's are known, and count against nothing else."""
    reserved = GEMINI.reserve({"max_tokens": 100, "n": 2}, 30)
    assert reserved == Cost(30, 200, 30)
    assert (reserved.of("tokens"), reserved.of("input_tokens")) == (30, 30)
    assert GEMINI.settle(reserved, Usage(40, 10, 7, 5)).of("tokens") == 40


def test_models_are_listed_page_by_page() -> None:
    """Names as requests have them."""
    home = "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000"
    assert GEMINI.ask_models().url == home
    assert GEMINI.ask_models("a/b=").url == f"{home}&pageToken=a%2Fb%3D"
    listed = {
        "models": [
            {
                "name": "models/gemini-2.5-flash",
                "inputTokenLimit": 1048576,
                "outputTokenLimit": 65536,
                "supportedGenerationMethods": ["generateContent", 7, "countTokens"],
            },
            {"name": "tunedModels/mine"},
            7,
        ],
        "nextPageToken": "more",
    }
    page = GEMINI.read_models(HTTPReply(200, {}, orjson.dumps(listed)))
    assert page.models == (
        Model("gemini-2.5-flash", 1048576, 65536, "generateContent, countTokens"),
        Model("tunedModels/mine"),
    )
    assert page.next == "more"
