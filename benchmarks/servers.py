"""The server that all contestants of one run talk to: nginx where there is one, else fastbatch's simulator.

nginx answers every chat completion with the same 700 bytes at about 7 µs a request, so it is never what a
Python client waits for; the simulator is Python, which the table says. Both are started here, on a free
loopback port with a folder of their own, and ended here; a system's own nginx is not touched.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from load import reply
from measure import child_environment, on_core

KINDS = ("auto", "nginx", "simulator")

_CONFIG = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_time 24h;
    keepalive_timeout 3600s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type application/json;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /v1/chat/completions {{ return 200 '{reply}'; }}
        location = /status {{ stub_status; }}
    }}
    {secure}
}}
"""
_SECURE = """
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.key;
        location = /v1/chat/completions {{ return 200 '{reply}'; }}
    }}
"""
_SIMULATOR = "fastbatch simulator (Python: it may be what the client waits for)"

_READY = 15.0  # seconds a server may take to listen
_TRIES = 5  # another process may take a free port before nginx does


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        kind: which, with its version where it has one.
        base_url: `/v1` included.
        tls_url, ca_file: the same over TLS and whom to trust; empty where it was not asked for.
        status_url: tells how many requests there were; empty where nothing does.
    """

    kind: str
    base_url: str
    tls_url: str = ""
    ca_file: Path | None = None
    status_url: str = ""

    def requests(self) -> int | None:
        """Requests so far, this question among them; None where the server does not count."""
        if not self.status_url:
            return None
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self.status_url) as reply:
            return int(reply.read().split()[9])


@contextmanager
def serving(kind: str, folder: Path, core: int | None, *, tls: bool = False) -> Iterator[Server]:
    """Start a server of `kind` on `core`; `auto` takes nginx where it is installed, `tls` needs it.

    Raises:
        RuntimeError: it does not start.
    """
    program = _nginx() if kind in ("auto", "nginx") else None
    if kind == "nginx" and program is None:
        raise RuntimeError("there is no nginx; install it with: apt-get install nginx-light")
    if tls and program is None:
        raise RuntimeError("only nginx serves TLS here; install it with: apt-get install nginx-light")
    process, server = _start_nginx(program, folder, core, tls) if program else _start_simulator(core)
    try:
        yield server
    finally:
        process.terminate()
        process.communicate(timeout=_READY)


def _nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def _start_nginx(
    program: str, folder: Path, core: int | None, tls: bool
) -> tuple[subprocess.Popen[str], Server]:
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    version = said.strip().rpartition("/")[2]
    config = folder / "nginx.conf"
    ca_file = _certificate(folder) if tls else None
    for _ in range(_TRIES):
        port = _free_port()
        there = {"folder": folder, "reply": reply().decode()}
        second = _free_port()
        secure = _SECURE.format(port=second, **there) if tls else ""
        config.write_text(_CONFIG.format(port=port, secure=secure, **there))
        with on_core(core):
            process = subprocess.Popen(
                [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)],
                stderr=subprocess.PIPE,
                text=True,
            )
        if _listens(process, port):
            here = f"http://127.0.0.1:{port}"
            tls_url = f"https://127.0.0.1:{second}/v1" if tls else ""
            return process, Server(f"nginx {version}", f"{here}/v1", tls_url, ca_file, f"{here}/status")
        process.kill()
        process.communicate()
    log = (folder / "error.log").read_text() if (folder / "error.log").exists() else ""
    raise RuntimeError(f"nginx does not start: {log[-1000:]}")


def _certificate(folder: Path) -> Path:
    """A certificate that vouches for itself, and is trusted by whoever is given the file."""
    names = ("subjectAltName=DNS:localhost,IP:127.0.0.1", "keyUsage=critical,digitalSignature,keyCertSign")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-days", "3", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.pem"]
    for name in names:
        command += ["-addext", name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl makes no certificate: {done.stderr[-500:]}")
    return folder / "server.pem"


def _start_simulator(core: int | None) -> tuple[subprocess.Popen[str], Server]:
    options = ["--port", "0", "--latency", "0", "--latency-sigma", "0"]
    with on_core(core):
        process = subprocess.Popen(
            [sys.executable, "-m", "fastbatch", "simulate", *options],
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(),
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    address = re.search(r"http://[\d.]+:\d+/v1", line)
    if address is None:
        process.kill()
        process.communicate()
        raise RuntimeError(f"the simulator does not start; it said: {line!r}")
    return process, Server(_SIMULATOR, address.group())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(process: subprocess.Popen[str], port: int) -> bool:
    until = time.monotonic() + _READY
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return process.poll() is None
    return False
