"""Whom to trust: the system's certificate authorities, or those of one file. Verification has no switch."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping

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


def context(ca_file: str | None, environment: Mapping[str, str] | None = None) -> ssl.SSLContext | None:
    """What trusts `ca_file` alone, else what SSL_CERT_FILE and SSL_CERT_DIR name; None: the system's.

    Raises:
        ConfigError: the file cannot be read, or holds no certificate.
    """
    environment = os.environ if environment is None else environment
    key, source = "ca_file", ""
    file = ca_file
    folder = None
    if file is None:
        key, source = "SSL_CERT_FILE", "the environment"
        file = environment.get("SSL_CERT_FILE") or None
        folder = environment.get("SSL_CERT_DIR") or None
    if file is None and folder is None:
        return None
    try:
        made = ssl.create_default_context(cafile=file, capath=folder)
    except (OSError, ssl.SSLError) as error:
        why = (
            os.strerror(error.errno)
            if isinstance(error, FileNotFoundError) and error.errno
            else "no certificates"
        )
        raise ConfigError(f"cannot be used ({why})", key=key, value=file or folder, source=source) from None
    made.set_alpn_protocols(("http/1.1",))
    return made


def certificate_problem(error: BaseException) -> str:
    """What is wrong with a certificate, in plain words."""
    code = getattr(error, "verify_code", None)
    said = getattr(error, "verify_message", "") or str(error)
    return _PROBLEMS.get(code, f"its certificate cannot be verified ({said})") if code is not None else said


def speaks_none(error: BaseException) -> bool:
    """Whether the other side has no TLS that can be used, so that trying again is useless."""
    return getattr(error, "reason", None) in _NO_TLS
