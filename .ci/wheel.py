"""Builds the wheel and uses it as its user would: away from the checkout, with its core dependencies alone.

Run by `dev.py check` with the Python of .venv.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable
from email import message_from_bytes
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dev import BIN, ENVIRONMENT, PYTHON, ROOT, build_environment, call

SIMULATOR_START = 30.0  # seconds; a cold start on a busy machine takes about one


def project_name(requirement: str) -> str:
    """The normalised name (PEP 503) at the start of a requirement."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()


def core_pins(lock_text: str, requires: Iterable[str]) -> str:
    """The pins that a wheel requiring `requires` needs without extras, by the lock's `# via` notes."""
    pins = {project_name(block): block for block in re.split(r"\n(?=\w)", lock_text.strip())}
    via = {name: set(re.findall(r"^ +#(?: via)? +([\w.-]+)", pins[name], re.M)) for name in pins}
    wanted = {project_name(line) for line in requires if "extra ==" not in line}
    while more := {name for name in pins if name not in wanted and wanted & via[name]}:
        wanted |= more
    return "\n".join(pins[name] for name in sorted(wanted)) + "\n"


def wheel() -> int:
    """Build the wheel and use it as a user would: its core dependencies alone, away from the checkout."""
    with tempfile.TemporaryDirectory(prefix="fastbatch-wheel-") as name:
        place = Path(name)
        if code := call([PYTHON, "-m", "hatchling", "build", "-t", "wheel", "-d", place]):
            return code
        built = next(place.glob("*.whl"))
        with zipfile.ZipFile(built) as archive:
            inside = archive.namelist()
            metadata = message_from_bytes(archive.read(next(n for n in inside if n.endswith("/METADATA"))))
        if "fastbatch/py.typed" not in inside:
            print("The wheel lacks fastbatch/py.typed.")
            return 1
        lock_text = (ROOT / "requirements.lock").read_text("utf-8")
        (place / "core.lock").write_text(core_pins(lock_text, metadata.get_all("Requires-Dist", [])), "utf-8")
        installs = [["--require-hashes", "-r", str(place / "core.lock")], ["--no-deps", str(built)]]
        if not build_environment(place / "venv", installs, place / "log"):
            print((place / "log").read_text("utf-8", "replace"))
            return 1
        return use_wheel(place, place / "venv" / BIN)


def use_wheel(place: Path, scripts: Path) -> int:
    """Ask for version and help, then run 20 rows against the simulated provider, all inside `place`."""
    fastbatch = scripts / "fastbatch"
    for option in ("--version", "--help"):
        if code := call([fastbatch, option], cwd=place):
            return code
    rows = [json.dumps({"id": f"row-{number}", "prompt": f"Count to {number}"}) for number in range(20)]
    (place / "in.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}/v1"
    with subprocess.Popen([fastbatch, "simulate", "--port", port], cwd=place, env=ENVIRONMENT) as simulator:
        try:
            wait_for(int(port), simulator)
            run = f"run in.jsonl -o out.jsonl -m openai:any --base-url {url} --cache off --yes"
            keys = {"OPENAI_API_KEY": "simulated", "NO_PROXY": "127.0.0.1"}
            code = call([fastbatch, *run.split()], cwd=place, **keys)
        finally:
            simulator.kill()  # how it ends in peace is its own tests' concern; this must not hang
    lines = (place / "out.jsonl").read_text("utf-8").splitlines() if (place / "out.jsonl").exists() else []
    print(f"{len(lines)} of {len(rows)} rows answered, exit code {code}")
    return code or int(len(lines) != len(rows))


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Come back when something answers on `port`, or when `server` has ended or has had its time."""
    deadline = time.monotonic() + SIMULATOR_START
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(wheel())
