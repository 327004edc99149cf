"""The transport's three verbs on one `aiohttp.ClientSession`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import aiohttp
from yarl import URL

from fastbatch.models.http import HTTPCall, HTTPReply
from fastbatch.transport.aiohttp.failures import CAUGHT, failure
from fastbatch.transport.aiohttp.reading import Reader
from fastbatch.transport.aiohttp.request import Body, Request
from fastbatch.transport.aiohttp.resolver import Resolver
from fastbatch.transport.aiohttp.streaming import Stream
from fastbatch.transport.aiohttp.wire import Attempt, Connector, current
from fastbatch.transport.base import MAX_RESPONSE_BYTES, HTTPStream
from fastbatch.transport.failures import first_words, no_origin, unsendable
from fastbatch.transport.proxies import proxy_for
from fastbatch.transport.timeout import Timeout
from fastbatch.transport.tls import context

Taken = TypeVar("Taken")


class AiohttpTransport:
    """Calls over one `aiohttp.ClientSession`, tuned for many small JSON calls to one origin.

    No cookies are kept, proxies come from the environment (`HTTPS_PROXY`, `NO_PROXY`), names are resolved in
    a thread (aiohttp silently changes resolvers when aiodns is installed). Credentials come from the caller
    alone: `~/.netrc` is not read. Certificates are always verified, against the system's authorities, those
    that SSL_CERT_FILE or SSL_CERT_DIR name, or those in `ca_file` alone.
    """

    def __init__(self, *, max_response_bytes: int = MAX_RESPONSE_BYTES, ca_file: str | None = None) -> None:
        self._reader = Reader(max_response_bytes)
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None
        self._addresses: dict[str, tuple[URL, URL | None]] = {}  # an address and the proxy on the way to it

    async def open(self, *, connections: int) -> None:
        """Make the session; a limit below the concurrency would count queueing against the timeout.

        Raises:
            ConfigError: the file of certificate authorities cannot be used.
        """
        trusted = context(self._ca_file)
        self._loop = asyncio.get_running_loop()
        self._resolver = Resolver()
        self._session = aiohttp.ClientSession(
            connector=Connector(
                limit=connections,
                ttl_dns_cache=300,
                resolver=self._resolver,
                keepalive_timeout=30.0,
                ssl=True if trusted is None else trusted,
            ),
            request_class=Request,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # an attempt has its own deadlines
            # Not True: it reads ~/.netrc and the proxies anew in two threads for every single request.
            trust_env=False,
            auto_decompress=False,  # `content` unpacks: aiohttp takes what is cut short for the whole
            read_bufsize=1 << 16,  # also bounds how many chunks are taken apart at a time: a sixteenth of it
        )

    async def send(self, call: HTTPCall, timeout: Timeout) -> HTTPReply:
        """Send once; see `Transport.send`."""
        return await self._exchange(call, timeout, self._whole)

    @asynccontextmanager
    async def stream(self, call: HTTPCall, timeout: Timeout) -> AsyncGenerator[HTTPStream]:
        """Send once and hand out the reply when its head has come; see `Transport.stream`."""
        stream = await self._exchange(call, timeout, self._streamed)
        try:
            yield stream
        finally:
            stream.close()

    async def _whole(self, reply: aiohttp.ClientResponse, attempt: Attempt) -> HTTPReply:
        # Read to its end a reply gives its connection back by itself.
        return HTTPReply(reply.status, reply.headers, await self._reader.read(reply, attempt))

    async def _streamed(self, reply: aiohttp.ClientResponse, attempt: Attempt) -> Stream:
        return Stream(reply, attempt, self._loop)

    async def _exchange(
        self,
        call: HTTPCall,
        timeout: Timeout,
        take: Callable[[aiohttp.ClientResponse, Attempt], Awaitable[Taken]],
    ) -> Taken:
        """Send a request and take its reply, which ends here if that fails."""
        session = self._session
        if session is None:
            raise RuntimeError("the transport is not open")
        address = self._addresses.get(call.url)
        if address is None:
            address = self._addresses[call.url] = _address(call.url)
        url, proxy = address
        attempt = Attempt(timeout, self._loop)
        current.set(attempt)
        reply: aiohttp.ClientResponse | None = None
        try:
            with attempt:
                reply = await session.request(
                    call.method,
                    url,
                    headers=call.headers,
                    data=Body(call.body),
                    allow_redirects=False,
                    proxy=proxy,
                )
                return await take(reply, attempt)
        except CAUGHT as error:
            _give_up(reply)
            name = (proxy or url).raw_host or ""
            resolving = name if name in self._resolver.asking else ""
            raise failure(error, attempt, url, resolving=resolving) from None
        except BaseException:
            _give_up(reply)
            raise

    async def close(self) -> None:
        """Close the session and its connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _give_up(reply: aiohttp.ClientResponse | None) -> None:
    """Drop the connection of an attempt that failed or was cancelled; without a reply aiohttp has done it."""
    if reply is not None:
        reply.close()


def _address(url: str) -> tuple[URL, URL | None]:
    """Where a call goes, and the proxy on the way.

    Raises:
        InvalidRequest: it cannot be asked for over HTTP.
    """
    try:
        parsed = URL(url, encoded=True)
        host = parsed.host
    except UnicodeError:
        raise unsendable(None, "its host is no name in ASCII") from None
    except ValueError as error:
        raise unsendable(None, first_words(error)) from None
    if parsed.scheme not in ("http", "https") or not host:
        raise no_origin(host)
    return parsed, _proxy(parsed)


def _proxy(url: URL) -> URL | None:
    found = proxy_for(url.scheme, url.host)
    try:
        return None if found is None else URL(found)
    except ValueError:
        raise unsendable(url.host, "its proxy is no address; check HTTPS_PROXY and HTTP_PROXY") from None
