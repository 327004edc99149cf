"""Where Ollama is: `OLLAMA_HOST` as Ollama itself reads it, which takes far less than a whole address."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastbatch.errors import ConfigError

VARIABLE = "OLLAMA_HOST"
_PORT = 11434
# Addresses that a server listens at and nobody can be reached at.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def ollama_root(host: str | None) -> str:
    """The address of an Ollama, without a path of its API.

    >>> ollama_root(None), ollama_root("gpu-box"), ollama_root(":9000")
    ('http://127.0.0.1:11434', 'http://gpu-box:11434', 'http://127.0.0.1:9000')
    >>> ollama_root("https://ollama.com"), ollama_root("0.0.0.0:11434")
    ('https://ollama.com', 'http://127.0.0.1:11434')

    Raises:
        ConfigError: it is no address.
    """
    scheme, separator, where = (host or "").strip().strip("'\"").partition("://")
    if not separator:
        scheme, where = "http", scheme
    try:
        parts = urlsplit(f"{scheme}://{where}")
        name, port = parts.hostname or "127.0.0.1", parts.port
    except ValueError as problem:
        raise ConfigError(f"is no address: {problem}", key=VARIABLE, value=host) from None
    if scheme not in ("http", "https"):
        raise ConfigError("must be HOST:PORT or an http(s) address", key=VARIABLE, value=host)
    name = _EVERYWHERE.get(name, name)
    if port is None and not separator:
        port = _PORT
    shown = f"[{name}]" if ":" in name else name
    path = parts.path.strip("/")
    return f"{scheme}://{shown}{'' if port is None else f':{port}'}{f'/{path}' if path else ''}"
