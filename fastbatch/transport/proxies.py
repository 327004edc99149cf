"""The environment's proxy for a host: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, or the system's settings."""

from __future__ import annotations

import os
import sys

_ASKS_SYSTEM = sys.platform in ("darwin", "win32")  # the others know no proxies but the environment's


def proxy_for(scheme: str, host: str | None) -> str | None:
    """The address of the proxy on the way to `host`, with its user and password; None: there is none."""
    if host is None:
        return None
    if not _ASKS_SYSTEM and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # half of the standard library

    if proxy_bypass(host):
        return None
    found = getproxies().get(scheme)
    if not found:
        return None
    return found if "://" in found else f"http://{found}"
