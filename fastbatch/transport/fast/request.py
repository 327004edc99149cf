"""Where calls go, and the part of a request that is the same from call to call, written once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from fastbatch.models.http import HTTPCall
from fastbatch.transport.failures import no_origin, unsendable
from fastbatch.transport.unpack import ACCEPTED

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
_URL = re.compile(r"[\x21-\x7e]*\Z")
_HOST = re.compile(r"[0-9A-Za-z._~:%\-]+\Z")
_PORTS = {"http": 80, "https": 443}
_OURS = frozenset(("content-length", "transfer-encoding"))
_HEADS = 64  # different headers for one address that are remembered: one for each key


class Origin(NamedTuple):
    """Who is connected to."""

    tls: bool
    host: str
    port: int

    @property
    def where(self) -> str:
        """Host and port, as errors name them."""
        return f"{self.host}:{self.port}"


class Target:
    """One address: its origin, and the heads of requests that went to it."""

    __slots__ = ("_heads", "_host", "_path", "origin")

    def __init__(self, url: str) -> None:
        """Take `url` apart.

        Raises:
            InvalidRequest: it cannot be asked for over HTTP.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise unsendable(None, str(error)) from None
        if parts.scheme not in _PORTS or not host:
            raise no_origin(host)
        if not _URL.match(url) or not _HOST.match(host) or parts.username is not None:
            raise unsendable(
                host, "its URL has a user, a character that is not ASCII, a blank or a control character"
            )
        self.origin = Origin(parts.scheme == "https", host, _PORTS[parts.scheme] if port is None else port)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        shown = f"[{host}]" if ":" in host else host
        self._host = shown if self.origin.port == _PORTS[parts.scheme] else f"{shown}:{self.origin.port}"
        self._heads: dict[int, tuple[str, dict[str, str], bytes]] = {}

    def head(self, call: HTTPCall) -> bytes:
        """The request's head as far as the value of its content-length.

        Raises:
            InvalidRequest: a header, the method or the body cannot be written as HTTP.
        """
        headers = call.headers
        if not isinstance(call.body, bytes):  # before it meets a connection, which it would spoil
            raise unsendable(self.origin.host, "its body is not bytes")
        # Providers give the same object for every call. That its id can come again is why it is compared.
        known = self._heads.get(id(headers))
        if known is not None and known[0] == call.method and known[1] == headers:
            return known[2]
        written = self._write(call.method, headers)
        if len(self._heads) >= _HEADS:
            self._heads.clear()
        self._heads[id(headers)] = call.method, dict(headers), written
        return written

    def _write(self, method: str, headers: Mapping[str, str]) -> bytes:
        host = self.origin.host
        if not _TOKEN.match(method):
            raise unsendable(host, "its method is none")
        lines: list[str] = []
        named: set[str] = set()
        for name, value in headers.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise unsendable(host, f"the header {name!r} is no text")
            low = name.lower()
            if not _TOKEN.match(name):
                raise unsendable(host, "a header's name is none")
            if not _VALUE.match(value):
                raise unsendable(
                    host, f"the header {name} has a line break or another character it cannot have"
                )
            if low in _OURS:
                raise unsendable(host, f"the header {name} is the transport's own")
            named.add(low)
            lines.append(f"{name}: {value}")
        if "accept-encoding" not in named:
            lines.append(f"Accept-Encoding: {ACCEPTED}")
        if "host" not in named:
            lines.insert(0, f"Host: {self._host}")
        head = f"{method} {self._path} HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\nContent-Length: "
        return head.encode("latin-1")
