"""Every error fastbatch raises or records, in one tree.

    FastbatchError
    ├── UsageError                a mistake in how fastbatch was called            exit 2
    │   ├── ConfigError           a flag, environment variable or config-file key
    │   ├── InputError            an input file or one of its rows
    │   ├── OutputError           an output that cannot be used (held, or the input itself)
    │   ├── MissingExtra          an optional part that is not installed
    │   └── ServiceError          a local model could not be found, fetched or started
    ├── RunStopped                the run ended early and can be resumed           exit 4
    ├── StorageError              results could not be written                     exit 5
    ├── CacheError                the cache is broken; it never ends a run
    └── RequestError              one request has no answer; a failed row's `.error`
        ├── InvalidRequest        refused here, nothing was sent
        ├── BadRequest            400, 405, 415, 422 …: the provider refuses the body
        ├── AuthenticationFailed  401: the key is wrong                            stops the run
        ├── PermissionDenied      403: the key may not do this
        ├── NotFound              404: no such model or path
        ├── RequestTooLarge       413: the body is too large
        ├── RateLimited           429: too fast; retried, by the day not so soon
        ├── QuotaExhausted        402, or 429 with a quota code: no money left     stops the run
        ├── ServerError           5xx, 408, 409: the provider failed; retried
        │   └── Overloaded        529, or 503 with such a code; retried
        ├── ConnectFailed         nothing was sent: refused, unreachable; retried
        │   ├── NameNotResolved   DNS does not know the name, or does not answer; retried
        │   ├── ConnectTimeout    nobody took the connection, or TLS stalled; retried
        │   └── TLSFailed         the certificate, or no TLS at all                stops the run
        ├── ConnectionLost        it broke after the request left; retried, maybe billed
        ├── RequestTimeout        no complete reply in time; retried, maybe billed
        ├── BadResponse           a reply that is no answer; retried once, maybe billed
        ├── InvalidAnswer         an answer that does not fit its shape; asked again with what is wrong
        ├── ResponseTooLarge      a reply above the size bound, maybe billed
        └── Uncertain             sent by a run that died, and not sent again; maybe billed

What a `RequestError` says of itself, as fields of its class that an error may override:

    fault      you · account · provider · network · us       who can do something about it
    retriable  sending it again may help
    bills      it may have been charged for, although no answer came
    stops_run  the other rows would fail in the same way
    effect     none · refused · down · maybe                 what it says of the endpoint
    cure       one sentence: what to do; empty where there is nothing

    kind                   fault      retriable   bills   stops_run   effect
    InvalidRequest         you        -           -       -           none
    BadRequest             you        -           -       -           none
    AuthenticationFailed   account    -           -       yes         none
    PermissionDenied       account    -           -       -           none
    NotFound               you        -           -       -           none
    RequestTooLarge        you        -           -       -           none
    RateLimited            account    yes         -       -           refused
    QuotaExhausted         account    -           -       yes         none
    ServerError            provider   yes         -       -           down
    Overloaded             provider   yes         -       -           down
    ConnectFailed          network    yes         -       -           down
    NameNotResolved        network    yes         -       -           down
    ConnectTimeout         network    yes         -       -           down
    TLSFailed              network    -           -       yes         down
    ConnectionLost         network    yes         yes     -           maybe
    RequestTimeout         provider   yes         yes     -           maybe
    BadResponse            provider   yes         yes     -           maybe
    InvalidAnswer          provider   -           yes     -           none
    ResponseTooLarge       provider   -           yes     -           none
    Uncertain              us         -           yes     -           none

Errors carry fields, say whose fault it is and end with the cure. Anything that looks like a key is
masked before it can reach a message (`mask_secrets`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

if TYPE_CHECKING:  # this module stands below the models
    from fastbatch.models.response import ResponseWrapper
    from fastbatch.models.stats import Summary

__all__ = [
    "AuthenticationFailed",
    "BadRequest",
    "BadResponse",
    "CacheError",
    "ConfigError",
    "ConnectFailed",
    "ConnectTimeout",
    "ConnectionLost",
    "FastbatchError",
    "InputError",
    "InvalidAnswer",
    "InvalidRequest",
    "MissingExtra",
    "NameNotResolved",
    "NotFound",
    "OutputError",
    "Overloaded",
    "PermissionDenied",
    "QuotaExhausted",
    "RateLimited",
    "RequestError",
    "RequestTimeout",
    "RequestTooLarge",
    "ResponseTooLarge",
    "RunStopped",
    "ServerError",
    "ServiceError",
    "StorageError",
    "TLSFailed",
    "Uncertain",
    "UsageError",
    "did_you_mean",
    "mask_secrets",
]

# Keys as providers print them back ("Incorrect API key provided: sk-proj-…"), cloud keys, signed tokens and
# bearer tokens; each group is what is left of one. All but `sk-` must be long and hold a digit, so that
# `hf_datasets_2024.jsonl` or `r8_results` stay what they are. The time is linear in the text: two starts
# never look at the same stretch, except for 64 characters of it.
_SECRET = re.compile(
    r"\b(sk-)[A-Za-z0-9_\-*]{8,}"
    r"|\b(gsk_|hf_|r8_|fw_|xai-|csk-|pplx-)(?=[A-Za-z]*[0-9])[A-Za-z0-9]{16,}"
    r"|\b(nvapi-|[psr]k_live_|[psr]k_test_|pk-lf-)(?=[A-Za-z_-]{0,64}[0-9])[A-Za-z0-9_-]{16,}"
    r"|\b(AIza)(?=[A-Za-z_-]{0,64}[0-9])[A-Za-z0-9_-]{20,}"
    r"|\b(AKIA|ASIA)(?=[A-Z]*[0-9])[A-Z0-9]{16}\b"
    r"|(?<![A-Za-z0-9_-])(eyJ)[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4}"
    r"|\b((?i:bearer)\s+)[A-Za-z0-9._~+/-]{8,}=*"
)

Fault = Literal["you", "account", "provider", "network", "us"]
"""Who can do something about it."""

Effect = Literal["none", "refused", "down", "maybe"]
"""What a failure says of the endpoint: nothing, too fast for it, failing, or perhaps so (and billing)."""

_FAULTS = frozenset(get_args(Fault))

_MESSAGE_LIMIT = 2048  # bytes of a provider's message that an error keeps


def mask_secrets(text: str) -> str:
    """Replace everything key-shaped in `text` by its first characters and `…`.

    >>> mask_secrets("Incorrect API key provided: sk-proj-abcdefgh12345678")
    'Incorrect API key provided: sk-…'
    """
    return _SECRET.sub(lambda found: f"{found[found.lastindex or 0]}…", text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to append to an error when `name` is close to a known name, else an empty string."""
    close = get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _rebuilt(kind: type[FastbatchError], args: tuple[Any, ...], state: dict[str, Any]) -> FastbatchError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class FastbatchError(Exception):
    """The root of all errors of this package; `str(error)` is one or two sentences for a person."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(mask_secrets(message))

    @property
    def message(self) -> str:
        """The sentence, secrets masked."""
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what is there rather than what the constructor takes: worker processes raise these."""
        return _rebuilt, (type(self), self.args, self.__dict__)


class UsageError(FastbatchError):
    """A mistake in how fastbatch was called; nothing was sent or spent."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown or has an impossible value; names the key, the value and its source."""

    def __init__(self, problem: str, *, key: str, value: object = None, source: str = "") -> None:
        place = f" (from {source})" if source else ""
        shown = "" if value is None else f" = {value!r}"
        super().__init__(f"{key}{shown}{place}: {problem}")
        self.problem = problem
        self.key = key
        self.value = value
        self.source = source


class InputError(UsageError):
    """An input file, or one of its rows, cannot be used; `path` and the 1-based `line` say where."""

    def __init__(self, problem: str, *, path: str = "", line: int | None = None) -> None:
        place = path if line is None else f"{path or 'input'}, line {line}"
        super().__init__(f"{place}: {problem}" if place else problem)
        self.problem = problem
        self.path = path
        self.line = line


class OutputError(UsageError):
    """An output cannot be used: it is the input itself, a directory, damaged, or held by another process.

    `holder` is the pid of that process, None where it is another fault.
    """

    holder: int | None = None


class MissingExtra(UsageError):
    """An optional part of fastbatch is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed; install it with: pip install 'fastbatch[{extra}]'")
        self.extra = extra


class ServiceError(UsageError):
    """A local model or server could not be found, fetched or started."""


class RunStopped(FastbatchError):
    """A run ended before its last row; everything answered is kept and running again goes on.

    `results` holds the finished results where the caller asked for a list, else it is empty; `summary` says
    how far a run from file to file came; `cause` is the request error that stopped it, where there was one.
    """

    exit_code = 4
    summary: Summary | None = None

    def __init__(
        self,
        message: str,
        *,
        cause: RequestError | None = None,
        results: Iterable[ResponseWrapper[Any]] = (),
    ) -> None:
        super().__init__(message)
        self.cause = cause
        self.results: list[ResponseWrapper[Any]] = list(results)


class StorageError(FastbatchError):
    """Results could not be written (disk full, read-only, I/O error); the run stopped at once."""

    exit_code = 5


class CacheError(FastbatchError):
    """A cache could not be read or written; runs go on without it after one warning."""


class RequestError(FastbatchError):
    """One request has no answer: a value on its row, raised only by `ResponseWrapper.raise_for_error()`.

    Attributes:
        status: HTTP status, where a reply came.
        code: the provider's machine-readable code (`error.code`, else `error.type`).
        provider: name of the provider.
        request_id: the provider's id of the request (`x-request-id`).
        retry_after: seconds the provider asked us to wait.
        attempts: how often the request was sent.
        maybe_billed: the provider may have charged for it although no answer arrived.
        retriable: sending it again may help; the kind says so unless the provider did.
        fault: who can do something about it.
        stops_run: every other row would fail in the same way, so that going on is waste.
        effect: what it says of the endpoint; `refused` is a limit, `down` an outage, `maybe` may become one.
        cure: one sentence of what to do, empty where there is nothing to do.
    """

    fault: Fault = "provider"
    retriable: bool = False
    stops_run: bool = False
    bills: ClassVar[bool] = False  # whether this kind of failure may have been billed
    effect: Effect = "none"
    answered: ClassVar[bool] = False  # whether there is an answer all the same, though none of use
    cure: str = ""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        provider: str = "",
        request_id: str | None = None,
        retry_after: float | None = None,
        attempts: int = 0,
        maybe_billed: bool | None = None,
        retriable: bool | None = None,
        stops_run: bool | None = None,
        fault: Fault | None = None,
        cure: str | None = None,
    ) -> None:
        super().__init__(_cut(message, _MESSAGE_LIMIT))
        self.status = status
        self.code = code
        self.provider = provider
        self.request_id = request_id
        self.retry_after = retry_after
        self.attempts = attempts
        self.maybe_billed = self.bills if maybe_billed is None else maybe_billed
        if retriable is not None:
            self.retriable = retriable
        if stops_run is not None:
            self.stops_run = stops_run
        if fault is not None:
            self.fault = fault
        if cure is not None:
            self.cure = cure

    def hide(self, secret: str) -> None:
        """Take a secret out of message and code, whatever its shape: a server may echo what it was given.

        Shorter ones than eight characters are no secrets but stand-ins for local servers.
        """
        if len(secret) >= 8:
            self.args = (_without(self.message, secret),)
            self.code = self.code and _without(self.code, secret)

    def advise(self, cure: str) -> None:
        """End the message with what to do; a long one is cut for it."""
        told = _cut(self.message, _MESSAGE_LIMIT - len(cure.encode()) - 2).rstrip(" .")
        self.args = (f"{told}; {cure}",)

    def to_dict(self) -> dict[str, Any]:
        """The record written into an errors file: what happened, how often, and what it may have cost."""
        return {
            "class": type(self).__name__,
            "code": self.code,
            "status": self.status,
            "message": self.message,
            "attempts": self.attempts,
            "maybe_billed": self.maybe_billed,
            "retriable": self.retriable,
            "fault": self.fault,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> RequestError:
        """Build the error again from `to_dict()`; an unknown class becomes a plain `RequestError`."""
        kind = _BY_NAME.get(str(record.get("class")), RequestError)
        retriable, fault = record.get("retriable"), record.get("fault")
        beside: dict[str, Any] = {"text": str(record.get("text", ""))} if kind is InvalidAnswer else {}
        return kind(
            str(record.get("message", "")),
            status=record.get("status"),
            code=record.get("code"),
            attempts=int(record.get("attempts") or 0),
            maybe_billed=bool(record.get("maybe_billed")),
            retriable=retriable if isinstance(retriable, bool) else None,
            fault=fault if fault in _FAULTS else None,
            **beside,
        )


def _without(text: str, secret: str) -> str:
    """`text` without a secret, and without the beginning of one in the middle of which it was cut off."""
    text = text.replace(secret, "…")
    for length in range(min(len(text), len(secret) - 1), 3, -1):
        if text.endswith(secret[:length]):
            return f"{text[:-length]}…"
    return text


def _cut(text: str, limit: int) -> str:
    """At most `limit` bytes of `text`, cut between characters."""
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


class InvalidRequest(RequestError):
    """The request is meaningless as it stands and was refused here; nothing was sent."""

    fault = "you"


class BadRequest(RequestError):
    """The provider refuses the request as it is (400, 422 and other 4xx); sending it again cannot help."""

    fault = "you"


class AuthenticationFailed(RequestError):
    """The provider does not accept the key (401)."""

    fault = "account"
    stops_run = True
    cure = "Check the key, then run again to go on."


class PermissionDenied(RequestError):
    """The key is known but may not do this (403)."""

    fault = "account"
    cure = "Ask for access, or use a key that has it, then run again."


class NotFound(RequestError):
    """No such model or path (404)."""

    fault = "you"
    cure = "Check the model's name and the base URL."


class RequestTooLarge(RequestError):
    """The body is larger than the provider takes (413)."""

    fault = "you"


class RateLimited(RequestError):
    """Too fast (429); everyone on the same limits waits, then the request is sent again.

    `daily`: the limit of a whole day is used up, so that no wait within a run helps.
    """

    fault = "account"
    retriable = True
    effect = "refused"
    cure = "Run again after that time to go on."

    def __init__(self, message: str, *, daily: bool = False, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.daily = daily
        if daily and fields.get("cure") is None:
            self.cure = "Run again when the day's quota is renewed to go on."


class QuotaExhausted(RequestError):
    """The account's money or quota is used up (402, or 429 with such a code); waiting does not help."""

    fault = "account"
    stops_run = True
    cure = "Add credit or raise the limit, then run again to go on."


class ServerError(RequestError):
    """The provider failed or is overloaded (5xx, 408, 409); sent again after a pause."""

    retriable = True
    effect = "down"
    cure = "Run again later to go on."


class Overloaded(ServerError):
    """The provider has no room for anybody just now (529, or 503 with such a code)."""


class ConnectFailed(RequestError):
    """No connection came about (refused, unreachable), so nothing was sent and nothing billed."""

    fault = "network"
    retriable = True
    effect = "down"
    cure = "Check the address and that the server runs, then run again to go on."


class NameNotResolved(ConnectFailed):
    """The host's name has no address, or nobody could be asked for it."""

    cure = "Check the base URL and the network, then run again to go on."


class ConnectTimeout(ConnectFailed):
    """Nobody took the connection in time, or the handshake of TLS stalled."""


class TLSFailed(ConnectFailed):
    """The server's certificate is not to be trusted, or it speaks no TLS; it is always verified."""

    retriable = False
    stops_run = True
    cure = (
        "Check the address; for a certificate authority of your own name its file in SSL_CERT_FILE. "
        "Then run again to go on."
    )


class ConnectionLost(RequestError):
    """The connection broke after the request went out.

    `stale`: a kept connection that ended before one byte of the reply. Most likely the server closed it just
    when the request left, so that it may be sent again at once; that it was not billed is not certain.
    """

    fault = "network"
    retriable = True
    bills = True
    effect = "maybe"
    cure = "Run again later to go on."

    def __init__(self, message: str, *, stale: bool = False, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.stale = stale


Phase = Literal["first byte", "idle", "total"]
"""Which deadline passed."""


class RequestTimeout(RequestError):
    """No complete reply within the attempt's timeout; `phase` says which deadline passed."""

    retriable = True
    bills = True
    effect = "maybe"
    cure = "Run again later, or with a longer timeout, to go on."

    def __init__(self, message: str, *, phase: Phase = "total", **fields: Any) -> None:
        super().__init__(message, **fields)
        self.phase: Phase = phase


class BadResponse(RequestError):
    """A reply arrived that is no answer: not JSON, cut off, or without choices."""

    retriable = True
    bills = True
    effect = "maybe"


class InvalidAnswer(RequestError):
    """The model answered, and what it said does not fit the shape that was asked for; it was paid for.

    Attributes:
        text: what it said.
        why: what is wrong with it.
        final: asking again would not help (cut off by a limit, refused).
    """

    bills = True
    answered = True
    cure = "Ask a stronger model, allow more re-asks, or ask for a simpler shape."

    def __init__(
        self, message: str, *, text: str = "", why: str = "", final: bool = False, **fields: Any
    ) -> None:
        super().__init__(message, **fields)
        self.text = text
        self.why = why
        self.final = final

    def to_dict(self) -> dict[str, Any]:
        """The record, with what the model said."""
        return {**super().to_dict(), **({"text": self.text} if self.text else {})}


class ResponseTooLarge(RequestError):
    """The reply is larger than `max_response_bytes`; it was cut off."""

    bills = True


class Uncertain(RequestError):
    """A run that died had sent this and recorded no answer; it was not sent again, as asked."""

    fault = "us"
    bills = True


_BY_NAME: dict[str, type[RequestError]] = {
    kind.__name__: kind
    for kind in (
        InvalidRequest,
        BadRequest,
        AuthenticationFailed,
        PermissionDenied,
        NotFound,
        RequestTooLarge,
        RateLimited,
        QuotaExhausted,
        ServerError,
        Overloaded,
        ConnectFailed,
        NameNotResolved,
        ConnectTimeout,
        TLSFailed,
        ConnectionLost,
        RequestTimeout,
        BadResponse,
        InvalidAnswer,
        ResponseTooLarge,
        Uncertain,
    )
}
