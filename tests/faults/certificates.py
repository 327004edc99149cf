"""Certificates of a little authority of our own, good and bad ones, made by the `openssl` command."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

KINDS = ("good", "expired", "other-host", "self-signed")
MISSING = "" if shutil.which("openssl") else "the openssl command is not installed"

_CONFIG = """
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
certificate = authority.pem
private_key = authority.key
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""
_NOW = ("20200101000000Z", "20990101000000Z")
_PAST = ("20200101000000Z", "20200201000000Z")
_NAMES = {
    "good": "DNS:localhost,IP:127.0.0.1",
    "expired": "DNS:localhost,IP:127.0.0.1",
    "other-host": "DNS:elsewhere.test",
}


def make(folder: Path) -> None:
    """Fill `folder` with an authority and its certificates; `authority.pem` is what clients may trust."""
    (folder / "ca.conf").write_text(_CONFIG)
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01\n")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    own = ["req", "-x509", *new, "-days", "3650"]
    _openssl(
        folder, *own, "-subj", "/CN=tests", "-addext", "basicConstraints=critical,CA:TRUE",
        "-keyout", "authority.key", "-out", "authority.pem",
    )  # fmt: skip
    _openssl(
        folder, *own, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        "-keyout", "self-signed.key", "-out", "self-signed.pem",
    )  # fmt: skip
    for kind, names in _NAMES.items():
        _openssl(
            folder, "req", "-new", *new, "-subj", f"/CN={kind}", "-addext", f"subjectAltName={names}",
            "-keyout", f"{kind}.key", "-out", f"{kind}.csr",
        )  # fmt: skip
        begins, ends = _PAST if kind == "expired" else _NOW
        _openssl(
            folder, "ca", "-batch", "-notext", "-config", "ca.conf", "-startdate", begins, "-enddate", ends,
            "-in", f"{kind}.csr", "-out", f"{kind}.pem",
        )  # fmt: skip


def context(folder: Path, kind: str) -> ssl.SSLContext:
    """What a server needs to show that certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / f"{kind}.pem", folder / f"{kind}.key")
    return made


def _openssl(folder: Path, *arguments: str) -> None:
    ran = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"openssl {' '.join(arguments)}: {ran.stderr}")
