"""The transport on aiohttp: the complete one (proxies, TLS options, every server there is)."""

from __future__ import annotations

import asyncio
import os
import ssl
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from fastbatch.errors import (
    BadResponse,
    ConnectFailed,
    ConnectionLost,
    InvalidRequest,
    RequestTimeout,
    ResponseTooLarge,
)
from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.transport.base import MAX_RESPONSE_BYTES
from fastbatch.transport.timeout import Timeout

_CONNECT_TIMEOUT = 20.0  # a host that does not answer in 20 s will not; the total timeout still holds


class AiohttpTransport:
    """Calls over one `aiohttp.ClientSession`, tuned for many small JSON calls to one origin.

    No cookies are kept, proxies come from the environment (`HTTPS_PROXY`, `NO_PROXY`), certificates are
    always verified, names are resolved in a thread (aiohttp silently changes resolvers when aiodns is
    installed). Credentials come from the caller alone: `~/.netrc` is not read.
    """

    def __init__(self, *, max_response_bytes: int = MAX_RESPONSE_BYTES) -> None:
        self._max_bytes = max_response_bytes
        self._session: aiohttp.ClientSession | None = None
        self._addresses: dict[str, tuple[URL, URL | None]] = {}  # an address and the proxy on the way to it

    async def open(self, *, connections: int) -> None:
        """Make the session; a limit below the concurrency would count queueing against the timeout."""
        connector = aiohttp.TCPConnector(
            limit=connections, ttl_dns_cache=300, resolver=aiohttp.ThreadedResolver(), keepalive_timeout=30.0
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
            # Not True: it reads ~/.netrc and the proxies anew in two threads for every single request.
            trust_env=False,
            auto_decompress=True,
        )

    async def send(self, call: HTTPCall, timeout: Timeout) -> HTTPReply:
        """Send once; see `Transport.send`."""
        session = self._session
        if session is None:
            raise RuntimeError("the transport is not open")
        address = self._addresses.get(call.url)
        if address is None:
            url = URL(call.url, encoded=True)
            address = self._addresses[call.url] = url, _proxy(url)
        url, proxy = address
        try:
            async with (
                asyncio.timeout(timeout.total),
                session.request(
                    call.method,
                    url,
                    headers=call.headers,
                    data=call.body,
                    allow_redirects=False,
                    proxy=proxy,
                ) as reply,
            ):
                return HTTPReply(reply.status, reply.headers, await self._read(reply))
        except TimeoutError as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise ConnectFailed(
                    f"{url.host} did not accept a connection in {_CONNECT_TIMEOUT:g} s"
                ) from None
            raise RequestTimeout(f"no complete reply from {url.host} within {timeout.total:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise ConnectFailed(_connect_problem(url, error)) from None
        except aiohttp.ClientHttpProxyError as error:
            raise ConnectFailed(f"the proxy refuses the way to {url.host}: HTTP {error.status}") from None
        except aiohttp.ClientResponseError as error:
            raise BadResponse(f"the reply of {url.host} is no HTTP: {_words(error.message)}") from None
        except (aiohttp.ClientError, ConnectionError, ssl.SSLError) as error:
            raise ConnectionLost(f"the connection to {url.host} broke: {_first_words(error)}") from None
        except ValueError as error:  # aiohttp's words for a URL or a header that cannot be sent
            raise InvalidRequest(f"the call to {url.host} cannot be sent: {_first_words(error)}") from None

    async def _read(self, reply: aiohttp.ClientResponse) -> bytes:
        """The decompressed body, cut off at the bound."""
        limit = self._max_bytes
        if (reply.content_length or 0) <= limit and "Content-Encoding" not in reply.headers:
            if reply.content_length is not None:
                return await reply.read()
        elif (reply.content_length or 0) > limit:
            reply.close()
            raise ResponseTooLarge(f"the reply is larger than {limit} bytes", status=reply.status)
        chunks: list[bytes] = []
        size = 0
        async for chunk in reply.content.iter_any():
            size += len(chunk)
            if size > limit:
                reply.close()
                raise ResponseTooLarge(f"the reply is larger than {limit} bytes", status=reply.status)
            chunks.append(chunk)
        return b"".join(chunks)

    async def close(self) -> None:
        """Close the session and its connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _proxy(url: URL) -> URL | None:
    """The environment's proxy for this address, with its user and password; None where there is none."""
    if url.host is None or proxy_bypass(url.host):
        return None
    found = getproxies().get(url.scheme)
    if not found:
        return None
    return URL(found if "://" in found else f"http://{found}")


def _connect_problem(url: URL, error: aiohttp.ClientConnectorError) -> str:
    """Which of the ways not to get a connection it was."""
    where = f"{url.host}:{url.port}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {url.host} cannot be resolved; check the base URL and the network"
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return f"TLS with {where} failed: {_first_words(error)}"
    number = error.os_error.errno
    return f"cannot connect to {where}: {os.strerror(number) if number else _first_words(error.os_error)}"


def _first_words(error: BaseException) -> str:
    """An error's own sentence, or its kind where it has none, on one line."""
    return _words(str(error) or type(error).__name__)


def _words(text: str) -> str:
    return text.splitlines()[0][:300].rstrip(": ")
