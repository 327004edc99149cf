"""Puts names to what went wrong: by the kind of the exception and by what had been sent, never by words."""

from __future__ import annotations

import errno
import os
import socket
import ssl

import aiohttp
from yarl import URL

from fastbatch.errors import (
    BadResponse,
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    InvalidRequest,
    NameNotResolved,
    RequestError,
    RequestTimeout,
    TLSFailed,
)
from fastbatch.transport.aiohttp.tls import certificate_problem, speaks_none
from fastbatch.transport.aiohttp.wire import Attempt

CAUGHT = (TimeoutError, aiohttp.ClientError, OSError, ssl.SSLError, ValueError)
"""What aiohttp raises when a call fails; anything else is a mistake of ours."""


def failure(error: BaseException, attempt: Attempt, url: URL, *, resolving: str = "") -> RequestError:
    """The error that `error` means for this attempt; `resolving`: a name whose address was unknown yet."""
    if attempt.passed is not None and isinstance(error, TimeoutError):
        return _too_late(attempt, url, resolving)
    if not attempt.sent:
        return _not_sent(error, attempt, url)
    if isinstance(error, aiohttp.ClientResponseError):
        return BadResponse(f"the reply of {url.host} is no HTTP: {_words(error.message)}")
    stale = attempt.reused and not attempt.heard
    return ConnectionLost(f"the connection to {url.host} broke: {_first_words(error)}", stale=stale)


def _too_late(attempt: Attempt, url: URL, resolving: str) -> RequestError:
    timeout, passed, host = attempt.timeout, attempt.passed, url.host
    if not attempt.sent:
        seconds = timeout.connect if passed == "connect" else timeout.total
        if resolving and not attempt.linked:
            return NameNotResolved(f"nobody said within {seconds:g} s which address {resolving} has")
        if attempt.linked and url.scheme == "https":
            return ConnectTimeout(f"{host} did not finish the TLS handshake within {seconds:g} s")
        return ConnectTimeout(f"{host} did not accept a connection within {seconds:g} s")
    if passed == "first byte":
        said = f"no reply from {host} within {timeout.first_byte:g} s of the request"
        return RequestTimeout(said, phase="first byte")
    if passed == "idle":
        return RequestTimeout(f"{host} went silent for {timeout.idle:g} s in its reply", phase="idle")
    return RequestTimeout(f"no complete reply from {host} within {timeout.total:g} s")


def _not_sent(error: BaseException, attempt: Attempt, url: URL) -> RequestError:
    """Nothing left for this server, so nothing can have been billed."""
    where = f"{url.host}:{url.port}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return NameNotResolved(_name_problem(error.host, url, error.os_error))
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return TLSFailed(f"{where} is not trusted: {certificate_problem(error.certificate_error)}")
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        if speaks_none(error.os_error):
            return TLSFailed(f"TLS with {where} failed: {_first_words(error.os_error)}")
        return ConnectFailed(f"TLS with {where} failed: {_first_words(error.os_error)}")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return ConnectFailed(f"the proxy refuses the way to {url.host}: HTTP {error.status}")
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        why = os.strerror(number) if number else _first_words(error.os_error)
        target = (
            f"the proxy {error.host}:{error.port}"
            if isinstance(error, aiohttp.ClientProxyConnectionError)
            else where
        )
        if number in (errno.EMFILE, errno.ENFILE):  # not the endpoint's doing
            return ConnectFailed(
                f"cannot connect to {target}: {why}",
                fault="you",
                cure="Raise the limit of open files (ulimit -n) or lower the concurrency.",
            )
        return ConnectFailed(f"cannot connect to {target}: {why}")
    if isinstance(error, aiohttp.InvalidURL | ValueError):  # its words for what cannot be sent at all
        return InvalidRequest(f"the call to {url.host} cannot be sent: {_first_words(error)}")
    if isinstance(error, aiohttp.ClientResponseError):
        return ConnectFailed(f"the proxy on the way to {url.host} speaks no HTTP: {_words(error.message)}")
    if attempt.reused:
        said = f"the connection to {url.host} had ended before the request was sent"
        return ConnectionLost(said, stale=True, maybe_billed=False)
    return ConnectFailed(f"cannot connect to {where}: {_first_words(error)}")


def _name_problem(name: str, url: URL, error: OSError) -> str:
    if error.errno == getattr(socket, "EAI_AGAIN", None):
        return f"no name server answers for {name}; check the network"
    if name != url.raw_host:
        return f"the proxy's name {name} cannot be resolved; check HTTPS_PROXY and HTTP_PROXY"
    return f"the name {name} cannot be resolved; check the base URL and the network"


def _first_words(error: BaseException) -> str:
    """An error's own sentence, or its kind where it has none, on one line."""
    return _words(str(error) or type(error).__name__)


def _words(text: str) -> str:
    return text.splitlines()[0][:300].rstrip(": ")
