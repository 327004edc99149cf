"""What a figure was measured on and with: enough to judge it, nothing that names a host or a path."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from measure import ROOT

_PACKAGES = ("aiohttp", "httptools", "orjson", "pydantic", "uvloop", "xxhash")


def facts() -> dict[str, Any]:
    """Processor, cores and system of this machine."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "kernel": platform.release().split("-")[0],
        "architecture": platform.machine(),
    }


def versions() -> dict[str, str]:
    """Python, fastbatch with the commit it stands at, and the packages that do its work."""
    found = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for package in ("fastbatch", *_PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    if commit := _commit():
        found["commit"] = commit
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    """The checkout's commit, with a plus where files differ from it; empty outside of a checkout."""
    ask = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
