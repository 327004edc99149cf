"""Where an endpoint is and who asks there: checked addresses and headers, identities, digests of keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from urllib.parse import SplitResult, urlsplit

from fastbatch.errors import ConfigError

# Headers that say who asks and not what; who asks does not change an answer.
_WHO_ASKS = re.compile(
    r"authorization|(^|[-_])(key|apikey|token|secret|cookie|auth|user-agent|trace|request-id)([-_]|$)",
    re.IGNORECASE,
)
# Names of headers that carry a credential: Authorization, api-key, x-auth-token and the like.
_CREDENTIAL = re.compile("auth|key|token", re.IGNORECASE)


def checked_url(url: str, *, example: str = "/v1 included") -> str:
    """An address without what must not be in it, its host in lower case and without a slash at its end.

    Raises:
        ConfigError: it is none.
    """
    try:
        parts = urlsplit(url.strip())
        _ = parts.port  # is a number a port can have
    except ValueError as problem:
        raise ConfigError(f"is no address: {problem}", key="base_url") from None
    if parts.username or parts.password:
        raise ConfigError("must not hold a user name or password; use headers for that", key="base_url")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"must be an http:// or https:// address, {example}", key="base_url", value=url)
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


def checked_header(name: str, value: str) -> str:
    """A header's value that can be sent.

    Raises:
        ConfigError: it cannot.
    """
    if not value.isascii() or not value.isprintable():
        raise ConfigError(
            "cannot be sent as a header: it holds a line break or a character outside ASCII", key=name
        )
    return value


def identity_of(base_url: str, headers: Mapping[str, str]) -> str:
    """The base URL, and the headers beside it that may decide the answer."""
    deciding = sorted((name.lower(), value) for name, value in headers.items() if not _WHO_ASKS.search(name))
    return "\n".join((base_url, *(f"{name}: {value}" for name, value in deciding)))


def carries_credential(headers: Mapping[str, str]) -> bool:
    """Whether one of the headers carries a key."""
    return any(_CREDENTIAL.search(header) for header in headers)


def digest_of(key: str, headers: Mapping[str, str]) -> str:
    """Stands for the key and for those in further headers (Azure's `api-key`); empty where there is none."""
    keys = sorted(f"{name.lower()}: {value}" for name, value in headers.items() if _CREDENTIAL.search(name))
    if not key and not keys:
        return ""
    return blake2b("\n".join([key, *keys]).encode("utf-8", "replace"), digest_size=16).hexdigest()


def secrets_in(key: str, headers: Mapping[str, str]) -> list[str]:
    """What a server may print back; the longest first, so that no part of one is left of it.

    Of `Authorization: scheme token` that is the token as well.
    """
    tokens = [value.split()[-1:] for header, value in headers.items() if "auth" in header.lower()]
    found = {key, *headers.values(), *(token for values in tokens for token in values)}
    return sorted(found, key=len, reverse=True)
