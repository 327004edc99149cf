"""Whom to trust: the system's certificate authorities, or those of one file. Verification has no switch."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fastbatch.errors import ConfigError

# By X509 verification code (openssl x509_vfy.h): OpenSSL's own words are kept for all others.
_PROBLEMS = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is signed by itself",
    19: "its certificate comes from an authority that is not trusted here",
    20: "its certificate comes from an authority that is not trusted here",
    21: "its certificate comes from an authority that is not trusted here",
    23: "its certificate was revoked",
    62: "its certificate is for another host",
    64: "its certificate is for another address",
}

_LONG = 1 << 16  # bytes of authorities; one has some two thousand
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"

# What a server says that has no TLS, or none that is safe enough, on this port.
_NO_TLS = frozenset(
    (
        "WRONG_VERSION_NUMBER",
        "UNSUPPORTED_PROTOCOL",
        "NO_PROTOCOLS_AVAILABLE",
        "HTTP_REQUEST",
        "HTTPS_PROXY_REQUEST",
        "UNKNOWN_PROTOCOL",
        "RECORD_LAYER_FAILURE",
        "PACKET_LENGTH_TOO_LONG",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "DH_KEY_TOO_SMALL",
        "UNSAFE_LEGACY_RENEGOTIATION_DISABLED",
    )
)


class Named(NamedTuple):
    """The authorities that somebody has named, and where; without any the system's are trusted."""

    file: str | None
    folder: str | None
    key: str
    source: str

    def refused(self, why: str) -> ConfigError:
        """The error that says so."""
        return ConfigError(
            f"cannot be used ({why})", key=self.key, value=self.file or self.folder, source=self.source
        )


def check(ca_file: str | None, environment: Mapping[str, str] | None = None) -> None:
    """Refuse a file of authorities that is none; of a long one the first is looked at.

    Taking a system's apart takes 20 ms, which a run that never uses TLS has no reason to wait for.

    Raises:
        ConfigError: it cannot be read, or holds no certificate.
    """
    named = _named(ca_file, environment)
    if named.file is not None and not _begins_well(Path(named.file)):
        context(ca_file, environment)  # knows more kinds of files, and why this is none


def _begins_well(file: Path) -> bool:
    """Whether it is a long file, and the first of it is a certificate."""
    try:
        content = file.read_bytes()
        first = content[content.find(_BEGIN) : content.find(_END) + len(_END)]
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=first.decode("ascii"))
    except (OSError, ValueError):  # ssl.SSLError is one of the former
        return False
    return len(content) >= _LONG


def context(ca_file: str | None, environment: Mapping[str, str] | None = None) -> ssl.SSLContext | None:
    """What trusts `ca_file` alone, else what SSL_CERT_FILE and SSL_CERT_DIR name; None: the system's.

    Raises:
        ConfigError: the file cannot be read, or holds no certificate.
    """
    named = _named(ca_file, environment)
    if named.file is None and named.folder is None:
        return None
    try:
        made = ssl.create_default_context(cafile=named.file, capath=named.folder)
    except (OSError, ssl.SSLError) as error:
        number = None if isinstance(error, ssl.SSLError) else error.errno
        raise named.refused(os.strerror(number) if number else "no certificates") from None
    made.set_alpn_protocols(("http/1.1",))
    return made


def system_context() -> ssl.SSLContext:
    """What trusts the system's authorities."""
    made = ssl.create_default_context()
    made.set_alpn_protocols(("http/1.1",))
    return made


def _named(ca_file: str | None, environment: Mapping[str, str] | None) -> Named:
    if ca_file is not None:
        named = Named(ca_file, None, "ca_file", "")
        if not ca_file:
            raise named.refused("it names nothing")
        return named
    environment = os.environ if environment is None else environment
    file, folder = environment.get("SSL_CERT_FILE"), environment.get("SSL_CERT_DIR")
    return Named(file or None, folder or None, "SSL_CERT_FILE", "the environment")


def certificate_problem(error: BaseException) -> str:
    """What is wrong with a certificate, in plain words."""
    code = getattr(error, "verify_code", None)
    said = getattr(error, "verify_message", "") or str(error)
    return _PROBLEMS.get(code, f"its certificate cannot be verified ({said})") if code is not None else said


def speaks_none(error: BaseException) -> bool:
    """Whether the other side has no TLS that can be used, so that trying again is useless."""
    return getattr(error, "reason", None) in _NO_TLS
