"""What the provider refuses: a row that it does not take, and an account that it does not serve."""

from __future__ import annotations

from faults.acts import everybody_from, refuse, sick_always
from faults.evidence import Evidence
from faults.fault import Fault

# name: status line, code, class of the row's error
ROWS = {
    "400, the context is too long": ("400 Bad Request", "context_length_exceeded", "BadRequest"),
    "400, a content filter": ("400 Bad Request", "content_filter", "BadRequest"),
    "403, the model is not for this key": ("403 Forbidden", "unsupported_country", "PermissionDenied"),
    "404, no such model": ("404 Not Found", "model_not_found", "NotFound"),
    "405": ("405 Method Not Allowed", None, "BadRequest"),
    "413": ("413 Payload Too Large", None, "RequestTooLarge"),
    "422": ("422 Unprocessable Entity", "invalid_value", "BadRequest"),
}

_OF_THE_DAY = (
    "x-ratelimit-limit-requests: 200",
    "x-ratelimit-remaining-requests: 0",
    "x-ratelimit-reset-requests: 7h12m0s",
)

# name: status line, code, kind, class of what stops the run, what people are told
ACCOUNTS = {
    "401": ("401 Unauthorized", "invalid_api_key", "invalid_request_error", "AuthenticationFailed", "key"),
    "402": ("402 Payment Required", None, "error", "QuotaExhausted", "credit|quota"),
    "429, insufficient_quota": (
        "429 Too Many Requests",
        "insufficient_quota",
        "insufficient_quota",
        "QuotaExhausted",
        "credit|quota",
    ),
    "429, a hard limit of billing": (
        "429 Too Many Requests",
        "billing_hard_limit_reached",
        "error",
        "QuotaExhausted",
        "credit|quota",
    ),
    "400, a spend limit": (
        "400 Bad Request",
        "project_spend_limit_exceeded",
        "error",
        "QuotaExhausted",
        "credit|quota",
    ),
    "429, a quota of the day": (
        "429 Too Many Requests",
        "rate_limit_exceeded",
        "requests",
        "RateLimited",
        "day|daily",
    ),
}

_GOOD = 12  # requests that are answered before the account is refused
_CONCURRENCY = 4


def finished_are_kept(ran: Evidence) -> list[str]:
    """What was answered before is in the output, and nothing was tried twice."""
    found = [] if len(ran.lines) >= _GOOD else [f"only {len(ran.lines)} of {_GOOD} answers are kept"]
    again = [prompt for prompt, number in ran.sent.items() if number > 1]
    return found + ([f"sent again: {again}"] if again else [])


REFUSALS = (
    *(
        Fault(
            name=name,
            row="refused rows",
            act=sick_always(refuse(status, code)),
            attempts=5,
            code=1,
            kind=kind,
            billed=False,
        )
        for name, (status, code, kind) in ROWS.items()
    ),
    *(
        Fault(
            name=f"{name}, in the middle of a run",
            row="key and quota",
            act=everybody_from(
                _GOOD + 1, refuse(status, code, *_OF_THE_DAY[: 3 * ("day" in name)], kind=kind)
            ),
            rows=60,
            concurrency=_CONCURRENCY,
            attempts=5,
            code=4,
            total=_GOOD + _CONCURRENCY,
            cause=cause,
            says=says,
            holds=(finished_are_kept,),
            new_key=True,
            within=5.0,
        )
        for name, (status, code, kind, cause, says) in ACCOUNTS.items()
    ),
)
