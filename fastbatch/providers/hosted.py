"""What providers at an address have in common: headers with a key, secrets to hide, an identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, Self, TypeVar

import orjson

from fastbatch import __version__
from fastbatch.errors import BadResponse, ConfigError, RateLimited, RequestError
from fastbatch.limits.cost import Cost
from fastbatch.limits.stated import Stated
from fastbatch.limits.tokens import output_allowance
from fastbatch.models.http import HTTPReply
from fastbatch.models.response import ReplyReader, ResponseWrapper, Usage
from fastbatch.providers.address import (
    carries_credential,
    checked_header,
    checked_url,
    digest_of,
    identity_of,
    secrets_in,
)
from fastbatch.providers.limit_headers import LimitHeaders
from fastbatch.providers.statuses import error_kind, plain_words
from fastbatch.providers.waits import read_retry_after, read_wait

ResponseT = TypeVar("ResponseT")

_KEPT_OF_FAILURES = 64 * 1024  # bytes; larger replies that are no answers are let go of
_LONGEST_TIER = 32
NO_USAGE = Usage()
_MOST_TOKENS = 2**32  # from there on it is no count of tokens; a million times that can be written as JSON


class Keys(NamedTuple):
    """Where a provider's key is found and how it is sent.

    Attributes:
        variables: environment variables that hold it, the strongest first.
        header: the header that carries it.
        scheme: stands before it there, as in `Bearer`.
    """

    variables: tuple[str, ...]
    header: str = "Authorization"
    scheme: str = "Bearer"

    def found(self, env: Mapping[str, str]) -> str:
        """The key, empty where no variable holds one."""
        return next((key for name in self.variables if (key := (env.get(name) or "").strip())), "")

    def missing(self, title: str) -> ConfigError:
        """What to do without one."""
        return ConfigError(
            f"there is no key for {title}; set {self.variables[0]}, or name its variable with --api-key-env "
            "(api_key= in Python)",
            key=self.variables[0],
        )


class HostedProvider(Generic[ResponseT]):
    """Everything of a provider but its dialect: `build` and `parse` are a subclass's.

    Args:
        name: shown to people and in records.
        base_url: the address.
        keys: how the key is sent.
        key: the key, "" where there is none.
        reader: how replies are read.
        headers: the user's, stronger than ours.
        own_headers: ours, beside content type, user agent and key.
        identity: what the endpoint is for the request hash; without it the base URL and the user's headers
            that carry no credentials, since a gateway may choose the model's provider by them.
        needs_key: the provider's name for people, where it answers nobody without a key.

    Raises:
        ConfigError: no key, a base URL that is none, a header that cannot be sent.
    """

    id_header = "x-request-id"
    """The reply's header that names the request."""
    variables: tuple[str, ...] = ()
    """Environment variables that hold a key, the strongest first; for people who ask which there are."""

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        keys: Keys,
        key: str,
        reader: ReplyReader[ResponseT],
        headers: Mapping[str, str] | None = None,
        own_headers: Mapping[str, str] | None = None,
        identity: str | None = None,
        needs_key: str = "",
    ) -> None:
        given = headers or {}
        self.name = name
        self.base_url = checked_url(base_url)
        self.identity = identity or identity_of(self.base_url, given)
        self.reader = reader
        self._keys = keys
        self._limit_headers = LimitHeaders()
        self._has_key = bool(key) or carries_credential(given)
        if needs_key and not self._has_key:
            raise keys.missing(needs_key)
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"fastbatch/{__version__}",
            **(own_headers or {}),
        }
        if key:
            self._headers[keys.header] = f"{keys.scheme} {checked_header('the key', key)}".lstrip()
        for header, value in given.items():
            for ours in [known for known in self._headers if known.lower() == header.lower()]:
                del self._headers[ours]
            self._headers[header] = checked_header(header, value)
        # Tells keys apart without telling any: the accounts of limits that processes share are named by it.
        self.credential = digest_of(key, given)
        self._secrets = secrets_in(key, given)

    def at(self, base_url: str) -> Self:
        """The same provider at another address; its identity stays."""
        moved = object.__new__(type(self))
        moved.__dict__.update(self.__dict__)
        moved.base_url = checked_url(base_url)
        return moved

    def reserve(self, body: dict[str, Any], prompt_estimate: int) -> Cost:
        """The estimated prompt and everything the body lets the model write."""
        return Cost(prompt_estimate, output_allowance(body))

    def settle(self, reserved: Cost, usage: Usage) -> Cost:
        """What it used: nothing is known of the provider that says otherwise."""
        return Cost(usage.prompt_tokens, usage.completion_tokens)

    def read_limits(self, headers: Mapping[str, str], *, refused: bool = False) -> tuple[Stated, ...]:
        """What headers state of limits, in any form that is known; a refusal may say more than an answer."""
        return self._limit_headers.read(headers, thorough=refused)

    def outcome(
        self,
        reply: HTTPReply,
        tokens: Usage = NO_USAGE,
        error: RequestError | None = None,
    ) -> ResponseWrapper[ResponseT]:
        """What a reply means, without any secret."""
        if error is not None:
            for secret in self._secrets:
                error.hide(secret)
        return ResponseWrapper(
            self.reader,
            provider=self.name,
            status=reply.status,
            # What is no answer may be as large as a hostile server likes; its beginning is in the error.
            raw=reply.body if error is None or len(reply.body) <= _KEPT_OF_FAILURES else b"",
            tokens=tokens,
            provider_request_id=self.request_id(reply.headers),
            error=error,
        )

    def failed(self, reply: HTTPReply, said: str = "", code: str | None = None) -> RequestError:
        """The error that a reply's status means, with what its body `said` and the wait that it asks for."""
        kind, headers = error_kind(reply.status), reply.headers
        fields: dict[str, Any] = {
            "status": reply.status,
            "code": code,
            "provider": self.name,
            "request_id": self.request_id(headers),
        }
        message = said or plain_words(reply.status, headers, reply.body)
        if kind is not RateLimited:
            return kind(message, retry_after=read_retry_after(headers), **fields)
        wait = read_wait(headers)
        return RateLimited(message, retry_after=wait.seconds, daily=wait.daily, **fields)

    def broken(self, reply: HTTPReply, problem: str) -> BadResponse:
        """The error of a reply that is no answer, with how it begins."""
        start = reply.body[:1500].decode("utf-8", "replace")
        return BadResponse(
            f"{problem}; it begins: {start}" if start else f"{problem}; it is empty",
            status=reply.status,
            provider=self.name,
            request_id=self.request_id(reply.headers),
        )

    def request_id(self, headers: Mapping[str, str]) -> str | None:
        """The provider's id of the request; bytes that are no text become `?`: no record could hold them."""
        given = headers.get(self.id_header)
        if given is None or given.isascii():
            return given
        return given.encode("utf-8", "replace").decode("utf-8")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r}, name={self.name!r})"


def loaded(reply: HTTPReply) -> tuple[HTTPReply, Any, str]:
    """A reply without a byte order mark, its JSON, and what is wrong where it is none."""
    raw = reply.body
    if raw.startswith(b"\xef\xbb\xbf"):  # JSON has no BOM, but some servers send one
        reply = reply._replace(body=raw[3:])
    try:
        return reply, orjson.loads(reply.body), ""
    except orjson.JSONDecodeError as problem:
        return reply, None, f"the reply is not JSON ({problem})"


def count_of(value: Any) -> int:
    """A count of tokens, 0 for what is none."""
    return value if type(value) is int and 0 < value < _MOST_TOKENS else 0


def is_count(value: Any) -> bool:
    """Whether it is a number of tokens that a reply can take, 0 among them."""
    return type(value) is int and 0 <= value < _MOST_TOKENS


def tier_of(said: Any, usual: frozenset[str]) -> str:
    """How a reply says that it was served, in lower case; "" for one of the usual ways, and for nonsense."""
    told = said.lower() if isinstance(said, str) else ""
    return "" if told in usual else told[:_LONGEST_TIER]


def can_be_recorded(raw: bytes) -> bool:
    """Whether a reply is still readable inside an output record, which nests it two levels deeper.

    orjson reads 1,024 levels; only a reply with many brackets is tried.
    """
    if raw.count(b"[") + raw.count(b"{") < 1000:
        return True
    try:
        orjson.loads(b"[[[[" + raw + b"]]]]")
    except orjson.JSONDecodeError:
        return False
    return True
