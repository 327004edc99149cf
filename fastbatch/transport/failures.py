"""Puts names to what goes wrong on the way: the words and the classes are the same for every transport."""

from __future__ import annotations

import errno
import os
import socket

from fastbatch.errors import (
    BadResponse,
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    InvalidRequest,
    NameNotResolved,
    RequestError,
    RequestTimeout,
    TLSFailed,
)
from fastbatch.transport.deadline import Passed
from fastbatch.transport.timeout import Timeout
from fastbatch.transport.tls import certificate_problem, speaks_none


def not_in_time(
    timeout: Timeout, passed: Passed | None, host: str | None, *, resolving: str, linked: bool, tls: bool
) -> RequestError:
    """A deadline passed before anything was sent; `linked`: TCP stands."""
    seconds = timeout.connect if passed == "connect" else timeout.total
    if resolving and not linked:
        return NameNotResolved(f"nobody said within {seconds:g} s which address {resolving} has")
    if linked and tls:
        return ConnectTimeout(f"{host} did not finish the TLS handshake within {seconds:g} s")
    return ConnectTimeout(f"{host} did not accept a connection within {seconds:g} s")


def no_reply_in_time(timeout: Timeout, passed: Passed | None, host: str | None) -> RequestTimeout:
    """A deadline passed after the request had left."""
    if passed == "first byte":
        said = f"no reply from {host} within {timeout.first_byte:g} s of the request"
        return RequestTimeout(said, phase="first byte")
    if passed == "idle":
        return RequestTimeout(f"{host} went silent for {timeout.idle:g} s in its reply", phase="idle")
    return RequestTimeout(f"no complete reply from {host} within {timeout.total:g} s")


def no_name(name: str, error: OSError, *, proxy: bool = False) -> NameNotResolved:
    """Nobody knows the name, or nobody can be asked."""
    if error.errno == getattr(socket, "EAI_AGAIN", None):
        return NameNotResolved(f"no name server answers for {name}; check the network")
    if proxy:
        return NameNotResolved(
            f"the proxy's name {name} cannot be resolved; check HTTPS_PROXY and HTTP_PROXY"
        )
    return NameNotResolved(f"the name {name} cannot be resolved; check the base URL and the network")


def not_trusted(where: str, error: BaseException) -> TLSFailed:
    """Its certificate does not hold."""
    return TLSFailed(f"{where} is not trusted: {certificate_problem(error)}")


def no_tls(where: str, error: BaseException) -> ConnectFailed:
    """The handshake failed: for good where the other side has no TLS, else for this time."""
    kind = TLSFailed if speaks_none(error) else ConnectFailed
    return kind(f"TLS with {where} failed: {first_words(error)}")


def no_authorities(where: str, error: ConfigError) -> TLSFailed:
    """Whom to trust is found out when TLS is first needed, and then it was no good."""
    return TLSFailed(f"no TLS with {where}: {error}", fault="you")


def not_connected(target: str, error: OSError) -> ConnectFailed:
    """No connection came about."""
    number = error.errno
    why = os.strerror(number) if number else first_words(error)
    if number in (errno.EMFILE, errno.ENFILE):  # not the endpoint's doing
        return ConnectFailed(
            f"cannot connect to {target}: {why}",
            fault="you",
            cure="Raise the limit of open files (ulimit -n) or lower the concurrency.",
        )
    return ConnectFailed(f"cannot connect to {target}: {why}")


def ended_before(host: str | None) -> ConnectionLost:
    """A kept connection was gone before the request was written to it."""
    said = f"the connection to {host} had ended before the request was sent"
    return ConnectionLost(said, stale=True, maybe_billed=False)


def broke(host: str | None, why: BaseException | str, *, stale: bool = False) -> ConnectionLost:
    """The connection broke after the request had left."""
    said = why if isinstance(why, str) else first_words(why)
    return ConnectionLost(f"the connection to {host} broke: {said}", stale=stale)


def not_unpacked(host: str | None, error: BaseException) -> ConnectionLost:
    """The reply is not packed as it says."""
    return broke(host, f"its packed reply cannot be unpacked: {error}")


def cut_short(host: str | None) -> ConnectionLost:
    """The frame is whole, but what is packed in it has no end."""
    return broke(host, "its packed reply was cut short")


def no_http(host: str | None, why: str) -> BadResponse:
    """What came is no HTTP."""
    return BadResponse(f"the reply of {host} is no HTTP: {words(why)}")


def unsendable(host: str | None, why: str) -> InvalidRequest:
    """The call cannot be written as HTTP."""
    return InvalidRequest(f"the call{f' to {host}' if host else ''} cannot be sent: {words(why)}")


def no_origin(host: str | None) -> InvalidRequest:
    """The URL does not say whom to call."""
    return unsendable(host, "its URL must begin with http:// or https:// and name a host")


def first_words(error: BaseException) -> str:
    """An error's own sentence, or its kind where it has none, on one line."""
    return words(str(error) or type(error).__name__)


def words(text: str) -> str:
    """The first line, without end marks."""
    return text.splitlines()[0][:300].rstrip(": ")
