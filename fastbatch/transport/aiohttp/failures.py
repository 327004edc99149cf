"""Tells by the kind of aiohttp's exception and by what had been sent, never by words, what went wrong."""

from __future__ import annotations

import ssl

import aiohttp
from yarl import URL

from fastbatch.errors import ConnectFailed, RequestError
from fastbatch.transport.aiohttp.wire import Attempt
from fastbatch.transport.failures import (
    broke,
    ended_before,
    first_words,
    no_http,
    no_name,
    no_reply_in_time,
    no_tls,
    not_connected,
    not_in_time,
    not_trusted,
    unsendable,
    words,
)

CAUGHT = (TimeoutError, aiohttp.ClientError, OSError, ssl.SSLError, ValueError)
"""What aiohttp raises when a call fails; anything else is a mistake of ours."""


def failure(error: BaseException, attempt: Attempt, url: URL, *, resolving: str = "") -> RequestError:
    """The error that `error` means for this attempt; `resolving`: a name whose address was unknown yet."""
    if attempt.passed is not None and isinstance(error, TimeoutError):
        if attempt.sent:
            return no_reply_in_time(attempt.timeout, attempt.passed, url.host)
        return not_in_time(
            attempt.timeout,
            attempt.passed,
            url.host,
            resolving=resolving,
            linked=attempt.linked,
            tls=url.scheme == "https",
        )
    if not attempt.sent:
        return _not_sent(error, attempt, url)
    if isinstance(error, aiohttp.ClientResponseError):
        return no_http(url.host, error.message)
    return broke(url.host, error, stale=attempt.reused and not attempt.heard)


def _not_sent(error: BaseException, attempt: Attempt, url: URL) -> RequestError:
    """Nothing left for this server, so nothing can have been billed."""
    where = f"{url.host}:{url.port}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return no_name(error.host, error.os_error, proxy=error.host != url.raw_host)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return not_trusted(where, error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return no_tls(where, error.os_error)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return ConnectFailed(f"the proxy refuses the way to {url.host}: HTTP {error.status}")
    if isinstance(error, aiohttp.ClientConnectorError):
        proxied = isinstance(error, aiohttp.ClientProxyConnectionError)
        return not_connected(f"the proxy {error.host}:{error.port}" if proxied else where, error.os_error)
    if isinstance(error, aiohttp.InvalidURL | ValueError):  # its words for what cannot be sent at all
        return unsendable(url.host, first_words(error))
    if isinstance(error, aiohttp.ClientResponseError):
        return ConnectFailed(f"the proxy on the way to {url.host} speaks no HTTP: {words(error.message)}")
    if attempt.reused:
        return ended_before(url.host)
    return ConnectFailed(f"cannot connect to {where}: {first_words(error)}")
