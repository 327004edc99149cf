"""Everything OpenAI-shaped: OpenAI itself, and any server that speaks its API at another `base_url`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any
from urllib.parse import SplitResult, urlsplit

import orjson

from fastbatch import __version__
from fastbatch.errors import BadResponse, ConfigError, RequestError
from fastbatch.hashing import wire_bytes
from fastbatch.limits.cost import Cost
from fastbatch.limits.stated import Stated
from fastbatch.limits.tokens import output_allowance
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.models.request import LLMRequest
from fastbatch.models.response import ResponseWrapper, Usage
from fastbatch.providers.limit_headers import LimitHeaders
from fastbatch.providers.openai_errors import advise, classify
from fastbatch.providers.openai_types import OpenAIReader, OpenAIReply

BASE_URL = "https://api.openai.com/v1"

# Headers that say who asks and not what; who asks does not change an answer.
_WHO_ASKS = re.compile(
    r"authorization|(^|[-_])(key|apikey|token|secret|cookie|auth|user-agent|trace|request-id)([-_]|$)",
    re.IGNORECASE,
)

_SHORT = 2000  # bytes; a shorter reply cannot be nested too deeply to be recorded
_MOST_TOKENS = 2**53  # from there on it is no count of tokens, and no sum of such could be written as JSON
_NO_USAGE = Usage()
_BRIEF = {
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
}  # what most servers that are no provider's say
_made = tuple.__new__  # a named tuple's own constructor is a function in Python
_COUNTS = (int,) * 4

_KEPT_OF_FAILURES = 64 * 1024  # bytes; larger replies that are no answers are let go of

# What an answer of each endpoint must hold; one of these in a 200, and not empty.
_ANSWERS = ("choices", "output", "data", "results")

# Names of headers that carry a credential: Authorization, api-key, x-auth-token and the like.
_CREDENTIAL = re.compile("auth|key|token", re.IGNORECASE)


class OpenAIProvider:
    """Chat completions, responses, completions, embeddings and moderations of one OpenAI-shaped endpoint.

    Args:
        api_key: the key; without one `OPENAI_API_KEY` is read. A server at another `base_url` may need none:
            an empty string sends none.
        base_url: the address, `/v1` included, as in the OpenAI client; else `OPENAI_BASE_URL`, else OpenAI.
        organization, project: sent as `OpenAI-Organization` and `OpenAI-Project`; else `OPENAI_ORG_ID` and
            `OPENAI_PROJECT_ID`.
        headers: further headers, stronger than ours.
        name: shown to people and in records.
        identity: what the endpoint is for the request hash; without it the base URL and the further headers
            that carry no credentials, since a gateway may choose the model's provider by them.
        env: where the variables are looked up; else the environment.

    Raises:
        ConfigError: OpenAI itself without a key, or a base URL that is none.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str = "openai",
        identity: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        env = os.environ if env is None else env
        self.name = name
        self.base_url = _checked_url(
            (env.get("OPENAI_BASE_URL") or BASE_URL) if base_url is None else base_url
        )
        self.identity = identity or _identity(self.base_url, headers or {})
        self.reader = OpenAIReader()
        self._limit_headers = LimitHeaders()
        key = ((env.get("OPENAI_API_KEY") or "") if api_key is None else api_key).strip()
        if not key and self.base_url == BASE_URL:
            raise ConfigError(
                "there is no key for OpenAI; set OPENAI_API_KEY, or name its variable with --api-key-env "
                "(api_key= in Python), or give --base-url (base_url=) for a server of your own",
                key="OPENAI_API_KEY",
            )
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"fastbatch/{__version__}",
        }
        if key:
            self._headers["Authorization"] = f"Bearer {_checked_header('the key', key)}"
        if organization := organization or env.get("OPENAI_ORG_ID"):
            self._headers["OpenAI-Organization"] = _checked_header("organization", organization)
        if project := project or env.get("OPENAI_PROJECT_ID"):
            self._headers["OpenAI-Project"] = _checked_header("project", project)
        for header, value in (headers or {}).items():
            for ours in [known for known in self._headers if known.lower() == header.lower()]:
                del self._headers[ours]
            self._headers[header] = _checked_header(header, value)
        # Tells keys apart without telling any: the accounts of limits that processes share are named by it.
        self.credential = _digest(key, headers or {})
        self._has_key = bool(key) or any(_CREDENTIAL.search(header) for header in headers or ())
        # What a server may print back; the longest first, so that no part of one is left of it.
        self._secrets = sorted({key, *_values(headers or {})}, key=len, reverse=True)
        self._urls: dict[str, str] = {}

    def at(self, base_url: str) -> OpenAIProvider:
        """The same provider at another address; its identity stays."""
        moved = object.__new__(OpenAIProvider)
        moved.__dict__.update(self.__dict__)
        moved.base_url = _checked_url(base_url)
        moved._urls = {}
        return moved

    def build(self, request: LLMRequest) -> HTTPCall:
        """The POST of the body as it stands."""
        endpoint = request.endpoint
        url = self._urls.get(endpoint)
        if url is None:
            url = self._urls[endpoint] = self.base_url + endpoint.removeprefix("/v1")
        body = wire_bytes(request.body, checked=request.checked)
        return _made(HTTPCall, (url, self._headers, body, "POST"))

    def parse(self, reply: HTTPReply) -> ResponseWrapper[OpenAIReply]:
        """An answer, or the error that the status and the body tell."""
        status, headers, raw = reply
        if raw.startswith(b"\xef\xbb\xbf"):  # JSON has no BOM, but some servers send one
            raw = raw[3:]
            reply = reply._replace(body=raw)
        body: Any = None
        answered = 200 <= status < 300
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError as problem:
            if answered:
                return self._outcome(reply, error=self._broken(reply, f"the reply is not JSON ({problem})"))
        if answered and len(raw) < _SHORT and _is_usual(body):
            given = headers.get("x-request-id")
            return ResponseWrapper(
                self.reader,
                provider=self.name,
                status=status,
                raw=raw,
                tokens=read_usage(body),
                provider_request_id=None if given is None else _request_id(headers),
            )
        told = _error_bearer(body)
        if not answered or told is not None:
            error = classify(status, headers, told, raw, provider=self.name, request_id=_request_id(headers))
            advise(error, told, base_url=self.base_url, has_key=self._has_key)
            return self._outcome(reply, body, error)
        if not isinstance(body, dict) or not any(
            isinstance(body.get(key), list) and body[key] for key in _ANSWERS
        ):
            return self._outcome(reply, body, self._broken(reply, "the reply holds no answer"))
        if not _can_be_recorded(raw):
            return self._outcome(reply, body, self._broken(reply, "the reply is nested too deeply"))
        if not _readable(body):
            return self._outcome(reply, body, self._broken(reply, "the reply's choices are not an answer"))
        return self._outcome(reply, body)

    def reserve(self, body: dict[str, Any], prompt_estimate: int) -> Cost:
        """The estimated prompt and everything the body lets the model write."""
        return _made(Cost, (prompt_estimate, output_allowance(body), None))

    def settle(self, reserved: Cost, usage: Usage) -> Cost:
        """OpenAI counts max(max_tokens, prompt) at arrival and gives nothing back; usage may be more."""
        prompt, _, completion, _ = usage
        allowed = reserved.completion
        total = prompt + completion
        most = completion if completion > allowed else allowed
        return _made(Cost, (prompt, most, total if total > allowed else allowed))

    def read_limits(self, headers: Mapping[str, str], *, refused: bool = False) -> tuple[Stated, ...]:
        """What `x-ratelimit-*` and the like state; a refusal may say more than an answer."""
        return self._limit_headers.read(headers, thorough=refused)

    def _outcome(
        self, reply: HTTPReply, body: Any = None, error: RequestError | None = None
    ) -> ResponseWrapper[OpenAIReply]:
        if error is not None:
            for secret in self._secrets:
                error.hide(secret)
        return ResponseWrapper(
            self.reader,
            provider=self.name,
            status=reply.status,
            # What is no answer may be as large as a hostile server likes; its beginning is in the error.
            raw=reply.body if error is None or len(reply.body) <= _KEPT_OF_FAILURES else b"",
            tokens=read_usage(body),
            provider_request_id=_request_id(reply.headers),
            error=error,
        )

    def _broken(self, reply: HTTPReply, problem: str) -> BadResponse:
        start = reply.body[:1500].decode("utf-8", "replace")
        return BadResponse(
            f"{problem}; it begins: {start}" if start else f"{problem}; it is empty",
            status=reply.status,
            provider=self.name,
            request_id=_request_id(reply.headers),
        )

    def __repr__(self) -> str:
        return f"OpenAIProvider(base_url={self.base_url!r}, name={self.name!r})"


def _digest(key: str, headers: Mapping[str, str]) -> str:
    """Stands for the key and for those in further headers (Azure's `api-key`); empty where there is none."""
    keys = sorted(f"{name.lower()}: {value}" for name, value in headers.items() if _CREDENTIAL.search(name))
    if not key and not keys:
        return ""
    return blake2b("\n".join([key, *keys]).encode("utf-8", "replace"), digest_size=16).hexdigest()


def read_usage(body: Any) -> Usage:
    """The usage of a reply in either of OpenAI's spellings; zeros where there is none or it is no usage."""
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return _NO_USAGE
    if usage.keys() == _BRIEF:
        prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
        if type(prompt) is type(completion) is int and 0 <= prompt < _MOST_TOKENS > completion >= 0:
            return _made(Usage, (prompt, 0, completion, 0))
    if "input_tokens" in usage:
        prompt, completion = usage.get("input_tokens"), usage.get("output_tokens")
        ins, outs = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    else:
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        ins, outs = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    cached = ins.get("cached_tokens") if type(ins) is dict else 0
    reasoning = outs.get("reasoning_tokens") if type(outs) is dict else 0
    counts: tuple[Any, ...] = (prompt, cached, completion, reasoning)
    if tuple(map(type, counts)) == _COUNTS and min(counts) >= 0 and max(counts) < _MOST_TOKENS:
        return Usage._make(counts)
    return Usage(*map(_count, counts))


def _values(headers: Mapping[str, str]) -> list[str]:
    """The values, and of `Authorization: scheme token` the token as well."""
    tokens = [value.split()[-1:] for header, value in headers.items() if "auth" in header.lower()]
    return [*headers.values(), *(token for found in tokens for token in found)]


def _request_id(headers: Mapping[str, str]) -> str | None:
    """The provider's id of the request; bytes that are no text, which no record could hold, become `?`."""
    given = headers.get("x-request-id")
    if given is None or given.isascii():
        return given
    return given.encode("utf-8", "replace").decode("utf-8")


def _count(value: Any) -> int:
    return value if type(value) is int and 0 < value < _MOST_TOKENS else 0


def _can_be_recorded(raw: bytes) -> bool:
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


def _is_usual(body: Any) -> bool:
    """Whether a reply surely is an answer with choices, as nearly all are; others are looked at closely."""
    try:
        first = body["choices"][0]
        told = type(first["message"]) is dict
    except (KeyError, IndexError, TypeError):
        return False
    return told and type(body) is type(first) is dict and not body.get("error") and not first.get("error")


def _error_bearer(body: Any) -> dict[str, Any] | None:
    """What holds an `error`: the reply, or its first choice (OpenRouter, of a model that broke off)."""
    if isinstance(body, list) and len(body) == 1:  # Google's OpenAI-shaped endpoint wraps an error so
        body = body[0]
    if not isinstance(body, dict):
        return None
    if body.get("error"):
        return body
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) and first.get("error") else None


def _readable(body: dict[str, Any]) -> bool:
    """Whether the first choice of a chat or text completion is one; other replies pass."""
    choices = body.get("choices")
    if choices is None:
        return True
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, dict) and (isinstance(first.get("message"), dict) or "text" in first)


def _identity(base_url: str, headers: Mapping[str, str]) -> str:
    """The base URL, and the headers beside it that may decide the answer."""
    deciding = sorted((name.lower(), value) for name, value in headers.items() if not _WHO_ASKS.search(name))
    return "\n".join((base_url, *(f"{name}: {value}" for name, value in deciding)))


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url.strip())
        _ = parts.port  # is a number a port can have
    except ValueError as problem:
        raise ConfigError(f"is no address: {problem}", key="base_url") from None
    if parts.username or parts.password:
        raise ConfigError("must not hold a user name or password; use headers for that", key="base_url")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("must be an http:// or https:// address, /v1 included", key="base_url", value=url)
    if parts.query or parts.fragment:
        raise ConfigError("must not hold a ? or # part", key="base_url", value=url)
    where = parts.netloc.lower() if parts.netloc.isascii() else _in_ascii(parts)
    return f"{parts.scheme}://{where}{parts.path.rstrip('/')}"


def _in_ascii(parts: SplitResult) -> str:
    """Host and port, with an international name as DNS has it."""
    from yarl import URL  # not needed for any other

    try:
        name = str(URL.build(scheme=parts.scheme, host=parts.hostname or "").raw_host)
    except ValueError:
        raise ConfigError(
            f"{parts.hostname!r} is no name that a host can have; write it as DNS has it (xn--…)",
            key="base_url",
        ) from None
    return name if parts.port is None else f"{name}:{parts.port}"


def _checked_header(name: str, value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise ConfigError(
            "cannot be sent as a header: it holds a line break or a character outside ASCII", key=name
        )
    return value
