"""The three doors: how a fault's run is started at the command line, from file to file, and as a stream."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from faults.certificates import context
from faults.clinic import Clinic
from faults.evidence import KEY, NEW_KEY, Evidence, gathered
from faults.fault import Door, Fault
from faults.nursery import Nursery


def two_runs(
    fault: Fault, door: Door, transport: str, folder: Path, nursery: Nursery, certificates: Path
) -> list[Evidence]:
    """The run that meets the fault, and the same one again when the server is healed."""
    rows = [{"custom_id": prompt, "prompt": prompt} for prompt in fault.prompts()]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tls = None if fault.tls in (None, "silent") else context(certificates, fault.tls)
    with Clinic(fault.act, tls=tls) as clinic:
        place = fault.place(clinic.server.port) if fault.place else clinic.url
        if fault.late:
            clinic.late(fault.late)
        first = _run(fault, door, transport, folder, nursery, clinic, place, KEY, certificates)
        _set_aside(folder, "first")
        clinic.heal(plain=fault.tls != "good")
        key = NEW_KEY if fault.new_key else KEY
        second = _run(fault, door, transport, folder, nursery, clinic, clinic.url, key, certificates)
        return [first, second]


def _run(
    fault: Fault,
    door: Door,
    transport: str,
    folder: Path,
    nursery: Nursery,
    clinic: Clinic,
    url: str,
    key: str,
    certificates: Path,
) -> Evidence:
    job = {**_job(fault, door, folder, url, key, certificates), "transport": transport}
    began = 0.0

    def started(pid: int) -> None:
        nonlocal began
        began = time.monotonic()
        clinic.pid = pid

    code = nursery.run(job, started)
    return gathered(fault, door, folder, code, time.monotonic() - began, clinic)


def _job(fault: Fault, door: Door, folder: Path, url: str, key: str, certificates: Path) -> dict[str, Any]:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    env = {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "160"}
    env["THE_KEY"] = key
    if fault.tls in ("good", "expired", "other-host"):
        env["SSL_CERT_FILE"] = str(certificates / "authority.pem")
    return {
        "door": door,
        "folder": str(folder),
        "env": env,
        "patience": fault.within + 5,
        "files": fault.files,
        "clock": fault.clock,
        "url": url,
        "key": key,
        "timeout": fault.timeout,
        "attempts": fault.attempts,
        "base": fault.base,
        "concurrency": fault.concurrency,
        "options": dict(fault.options),
        "run_file": {},
        "arguments": _arguments(fault, url),
    }


def _arguments(fault: Fault, url: str) -> list[str]:
    given = {
        "-o": "out.jsonl",
        "-m": "openai:m",
        "--base-url": url,
        "--api-key-env": "THE_KEY",
        "--cache": "cache",
        "--concurrency": fault.concurrency,
        "--max-attempts": fault.attempts,
        "--timeout": fault.timeout,
        "--progress": "plain",
        **{f"--{name.replace('_', '-')}": value for name, value in fault.options.items()},
    }
    return ["run", "in.jsonl", *(str(part) for pair in given.items() for part in pair)]


def _set_aside(folder: Path, name: str) -> None:
    """Keep a run's words apart from the next one's."""
    kept = folder / name
    kept.mkdir()
    for file in ("stdout", "stderr", "report.json"):
        if (folder / file).exists():
            (folder / file).rename(kept / file)
