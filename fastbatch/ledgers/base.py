"""What every keeper of a shared account can do."""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b
from typing import Protocol, runtime_checkable

from fastbatch.errors import RunStopped
from fastbatch.limits.exchange import Grant, Report, Want


class AccountUnavailable(RunStopped):
    """The account of limits shared with other processes cannot be read or written, so nothing may be sent."""


@runtime_checkable
class SharedAccount(Protocol):
    """The account of one endpoint, key and model; an object of it serves one process.

    When an exchange fails, nobody knows whether it was entered: say so to `LeasedLimits.failed`, which gives
    up what was leased, and try again. It is safe to go on with trying for as long as one likes.
    """

    async def open(self) -> None:
        """Make sure that the account can be used.

        Raises:
            UsageError: it cannot, for a reason that will not pass.
            AccountUnavailable: it cannot now.
        """
        ...

    async def exchange(self, holder: str, report: Report, want: Want) -> Grant:
        """Enter a report and hear what may leave.

        Raises:
            AccountUnavailable: it was not to be had within two seconds.
        """
        ...

    async def close(self) -> None:
        """Let go of files and connections. May be called twice."""
        ...


def name_of(endpoint: str, credential: str, model: str | None) -> str:
    """The name of the account of an endpoint (its identity), a key and a model: 32 hexadecimal digits.

    >>> name_of("https://api.openai.com/v1", "sk-secret", "gpt-4o-mini")
    '...'
    """
    digest = blake2b(digest_size=16, person=b"fastbatch limits")
    for part in (endpoint, credential, model or ""):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def new_holder() -> str:
    """A name for this process at one account, which no other one has."""
    return f"{os.getpid()}-{secrets.token_hex(4)}"
