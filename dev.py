#!/usr/bin/env python3
"""fastbatch for developers: python3 dev.py COMMAND

  demo [N]            N prompts (48) answered by a small model inside the process; again: from the cache
  test [pytest args]  the test suite
  check               everything CI runs: style, types, contracts, the built wheel, the tests
  crash [options]     kill runs a thousand times and check what is left (minutes; --help lists the options)
  damage [options]    lose power at every byte, change bytes of files, and check what is left (the same)
  faults [options]    every fault of the matrix (at full length: --full), or again and again (the same)
  quota [options]     whole runs against strict servers, in fair and foul weather (the same)
  weigh [options]     count what small jobs execute, and say what grew since it was recorded (the same)
  cover               which branches of journal, cache and formats their tests go through (at least 90 %)
  pages               write the pages of the providers in fastbatch/docs from the code
  lock [--upgrade]    pin the dependencies of pyproject.toml in requirements.lock

Every command first brings .venv, beside this file, up to date from requirements.lock (the first time takes
about a minute); uv does it where it is installed, otherwise venv and pip. Nothing outside .venv is installed.
"""

# Standard library only, since it runs before anything is installed. It has to parse on Python 3.8, so that
# an old interpreter prints a sentence instead of a syntax error (tests/dev holds it to both).

from __future__ import annotations

import hashlib
import importlib.util
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent
BIN = "Scripts" if os.name == "nt" else "bin"
OLDEST = (3, 11)  # `requires-python` in pyproject.toml
PYTHON = ROOT / ".venv" / BIN / "python"
# Settings of the caller's shell that would lead pip or our children out of .venv.
ASTRAY = {"PYTHONHOME", "PYTHONPATH", "PIP_PREFIX", "PIP_TARGET", "PIP_USER", "PIP_REQUIRE_VIRTUALENV"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ASTRAY}
# --universal and the oldest Python: one lock for all platforms and versions. It must not name an index.
COMPILE = "pip compile pyproject.toml -o requirements.lock --all-extras --universal --generate-hashes"
COMPILE += " --no-header --no-emit-index-url --no-emit-find-links --quiet --python-version 3.11"

NO_PIP = """This Python cannot make virtual environments (venv's ensurepip is missing), and there is no uv.
On Debian and Ubuntu: apt install python3-venv. Elsewhere install uv, or a Python from python.org."""
CURE = """Setting up .venv failed; above is the end of .venv/setup.log.
Most often the package index was out of reach: check the network; behind a proxy set HTTPS_PROXY, for a mirror
PIP_INDEX_URL (uv: UV_DEFAULT_INDEX). Then run the same command again, it starts afresh."""


def too_old(found: tuple[int, int]) -> str:
    """The sentence for a Python older than the project supports, else an empty string."""
    if found >= OLDEST:
        return ""
    newer = next((name for name in ("python3.13", "python3.12", "python3.11") if shutil.which(name)), "")
    cure = f"you have one: {newer} dev.py" if newer else "install one from python.org, or with uv"
    return "fastbatch needs Python {}.{} or newer and this is {}.{}; {}.".format(*OLDEST, *found, cure)


def stamp(root: Path) -> str:
    """What `root`/.venv is made from: the place (its scripts carry it), the Python, the lock, the project."""
    digest = hashlib.sha256()
    for name in (".venv/pyvenv.cfg", "requirements.lock", "pyproject.toml"):
        content = (root / name).read_bytes() if (root / name).is_file() else b""
        digest.update(b"%d\n%s" % (len(content), content))
    return f"{root}\n{digest.hexdigest()}\n"


def stamped(root: Path) -> str:
    """The stamp of the last complete set-up, empty when there was none."""
    path = root / ".venv" / "fastbatch.stamp"
    return path.read_text("utf-8") if path.is_file() else ""


def commands(where: Path, installs: list[list[str]], uv: str | None, fresh: bool) -> Iterator[list[str]]:
    """How to make the environment `where` (if `fresh`) and to install into it, with uv or with pip."""
    python = str(where / BIN / "python")
    if uv:
        if fresh:
            yield [uv, "venv", "--allow-existing", "--python", sys.executable, str(where)]
        yield from ([uv, "pip", "install", "--python", python, *arguments] for arguments in installs)
        return
    if fresh:
        yield [sys.executable, "-m", "venv", "--without-pip", str(where)]
    if importlib.util.find_spec("ensurepip"):
        yield [python, "-m", "ensurepip"]
    else:  # Debian without python3-venv but with python3-pip, which can work on another environment
        yield [sys.executable, "-m", "pip", "--python", python, "install", "pip"]
    yield from ([python, "-m", "pip", "install", *arguments] for arguments in installs)


def quietly(command: Sequence[str], output: int | IO[bytes] = subprocess.DEVNULL) -> bool:
    """Run `command` with everything it says going to `output`; whether it succeeded."""
    none = subprocess.DEVNULL
    code = subprocess.call(command, cwd=ROOT, env=ENVIRONMENT, stdin=none, stdout=output, stderr=output)
    return code == 0


def build_environment(where: Path, installs: list[list[str]], log: Path) -> bool:
    """Make the environment `where` or bring it up to date, writing `log`; whether it worked."""
    uv, python = shutil.which("uv"), where / BIN / "python"
    pip = importlib.util.find_spec("ensurepip") or importlib.util.find_spec("pip")
    if not uv and not pip:
        sys.exit(NO_PIP)
    # pip is also the second try after uv, which does not read the mirror in pip's configuration.
    for tool in [uv] * bool(uv) + [None] * bool(pip):
        probe = f"import sys; sys.exit(sys.version_info < {OLDEST})"
        usable = python.exists() and quietly([str(python), "-c", probe])
        if not usable and (where / "pyvenv.cfg").exists():
            shutil.rmtree(where)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            if all(quietly(command, output) for command in commands(where, installs, tool, not usable)):
                return True
    return False


def set_up() -> None:
    """Bring .venv up to date; at once when its stamp says that it is."""
    venv, before = ROOT / ".venv", stamped(ROOT)
    if PYTHON.exists() and before == stamp(ROOT):
        return
    print("Updating .venv …" if before else "Setting up .venv (about a minute, once) …", flush=True)
    if before and before.splitlines()[0] != str(ROOT):  # the checkout was moved or copied
        shutil.rmtree(venv)
    log = venv / "setup.log"
    for old in (venv / "fastbatch.stamp", log):  # without a stamp an interrupted set-up is repeated
        old.unlink(missing_ok=True)
    project = ["--no-deps", "--no-build-isolation", "--editable", "."]  # hatchling is in the lock
    if not build_environment(venv, [["--require-hashes", "-r", "requirements.lock"], project], log):
        tail = log.read_text("utf-8", "replace").splitlines()[-15:]
        sys.exit("\n".join([*(f"  | {line}" for line in tail), CURE]))
    (venv / "fastbatch.stamp").write_text(stamp(ROOT), "utf-8")


def call(command: Sequence[str | Path], *, cwd: Path = ROOT, **variables: str) -> int:
    """Run `command` to its end and give its exit code.

    Ctrl-C is the command's to answer (a run drains, pytest sums up), and only then ends this process.
    """
    caught: list[int] = []
    with subprocess.Popen(command, cwd=cwd, env=dict(ENVIRONMENT, **variables)) as child:
        replies = {signal.SIGINT: lambda: None, signal.SIGTERM: child.terminate}

        def on_signal(number: int, _frame: object) -> None:
            caught.append(number)
            replies[signal.Signals(number)]()

        before = {number: signal.signal(number, on_signal) for number in replies}
        try:
            code = child.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    if caught:
        sys.exit(128 + caught[0])
    return code if code >= 0 else 128 - code


def shorten(text: str) -> str:
    """The beginning of `text` in one line."""
    return textwrap.shorten(text, 100, placeholder=" …")


def answers(prompts: Path, results: Path) -> Iterator[tuple[str, str]]:
    """Pairs of prompt and answer, each shortened to a line, in the order of the results file."""
    rows = prompts.read_text("utf-8").split("\n")  # not splitlines(): a row may hold U+2028
    with results.open(encoding="utf-8") as lines:
        for result in map(json.loads, lines):
            row = json.loads(rows[result["fastbatch"]["row"] - 1])  # the 1-based line
            asked = row.get("prompt") or row["messages"][-1]["content"]
            answered = result["response"]["body"]["choices"][0]["message"]["content"] or ""
            yield shorten(asked), shorten(answered)


def demo(arguments: list[str]) -> int:
    """The main job on real prompts with the embedded model, from a fresh output each time."""
    if len(arguments) > 1 or not all(argument.isdecimal() and int(argument) for argument in arguments):
        sys.exit("demo takes at most one argument, the number of prompts: python3 dev.py demo 48")
    results = ROOT / "demo-results.jsonl"
    for suffix in ("", ".errors.jsonl", ".journal"):
        Path(f"{results}{suffix}").unlink(missing_ok=True)
    run = "run examples/prompts.jsonl -o demo-results.jsonl -m local:smollm2 --yes --limit"
    code = call([PYTHON.with_name("fastbatch"), *run.split(), *(arguments or ["48"])])
    if results.exists() and results.stat().st_size:
        print("\nSome of the answers:")
        pairs = dict(answers(ROOT / "examples" / "prompts.jsonl", results))  # identical prompts once
        for asked, answered in itertools.islice(pairs.items(), 5):
            print(f"  {asked}\n    → {answered}")
        print(f"\nAll of them are in {results.name}. Next:")
        print("  python3 dev.py demo                       the same again, answered from the cache")
        print(
            "  .venv/bin/fastbatch run --help            your own prompts, any provider of `fastbatch models`"
        )
        print("  .venv/bin/fastbatch simulate --rpm 600    a provider to practise on")
    return code


def test(arguments: list[str]) -> int:
    """The test suite."""
    return call([PYTHON, "-m", "pytest", *arguments])


def check(_arguments: list[str]) -> int:
    """Each check under its heading; the failed ones are named before pytest, whose summary comes last."""
    examples = sorted([*(ROOT / "examples").glob("*.py"), *(ROOT / "examples").glob("*/*.py")])
    steps: dict[str, Callable[[], int]] = {
        "ruff check": lambda: call([PYTHON, "-m", "ruff", "check", "."]),
        "ruff format": lambda: call([PYTHON, "-m", "ruff", "format", "--check", "."]),
        "mypy --strict": lambda: call([PYTHON, "-m", "mypy", "--strict", "fastbatch", "dev.py", *examples]),
        "import contracts": lambda: call([PYTHON.with_name("lint-imports")]),
        "declared dependencies": lambda: call([PYTHON, "-m", "deptry", "."]),
        "the wheel, installed elsewhere": lambda: call([PYTHON, ROOT / ".ci" / "wheel.py"]),
        "what a thousand rows execute": lambda: weigh([]),
    }
    failed = []
    for name, step in steps.items():
        print(f"\n=== {name}", flush=True)
        started = time.monotonic()
        code = step()
        failed += [name] * bool(code)
        verdict = f"FAILED (exit code {code})" if code else "passed"
        print(f"--- {name}: {verdict} in {time.monotonic() - started:.1f} s", flush=True)
    print(f"\n=== before the tests: {'FAILED: ' + ', '.join(failed) if failed else 'all passed'}")
    print("=== pytest", flush=True)
    return test([]) or int(bool(failed))


def crash(arguments: list[str]) -> int:
    """The crash laboratory."""
    return call([PYTHON, ROOT / "tests" / "crashlab", *arguments])


def damage(arguments: list[str]) -> int:
    """Power failures and damaged files."""
    return call([PYTHON, ROOT / "tests" / "journal", *arguments])


def faults(arguments: list[str]) -> int:
    """The fault matrix."""
    return call([PYTHON, ROOT / "tests" / "faults", *arguments])


def quota(arguments: list[str]) -> int:
    """How well limits are used, and what bad weather costs."""
    return call([PYTHON, ROOT / "tests" / "quotalab", *arguments])


def weigh(arguments: list[str]) -> int:
    """What small jobs execute, beside what is recorded."""
    return call([PYTHON, ROOT / "tests" / "weight", *arguments])


def cover(_arguments: list[str]) -> int:
    """The rooms that keep what was paid for, each with its branches; exit code 2 where one has too few."""
    coverage: list[str | Path] = [PYTHON, "-m", "coverage"]
    data = f"--data-file={ROOT / '.venv' / 'coverage'}"
    rooms = {"engine/journal": "journal", "cache": "cache", "formats": "formats"}
    tests = [f"tests/{name}" for name in (*rooms.values(), "contract", "engine")]
    run = ["run", "--branch", "--source=fastbatch", data, "-m", "pytest", "-q", *tests]
    codes = [call([*coverage, *run])]
    for room in rooms:
        print(f"\n=== {room}", flush=True)
        codes.append(call([*coverage, "report", data, f"--include=fastbatch/{room}/*", "--fail-under=90"]))
    return max(codes)


def pages(_arguments: list[str]) -> int:
    """The pages that are made from the code."""
    return call([PYTHON, ROOT / "tests" / "docs" / "providerpages.py"])


def lock(arguments: list[str]) -> int:
    """Pin the dependencies; existing pins stay where they still fit, unless `--upgrade` is given."""
    with tempfile.TemporaryDirectory(prefix="fastbatch-lock-") as name:
        uv = shutil.which("uv") or str(Path(name, "venv", BIN, "uv"))
        if not Path(uv).exists() and not build_environment(Path(name, "venv"), [["uv"]], Path(name, "log")):
            sys.exit("uv, which makes the lock, could not be fetched: check the network, or install uv.")
        return call([uv, *COMPILE.split(), *arguments])


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "demo": demo,
    "test": test,
    "check": check,
    "crash": crash,
    "damage": damage,
    "faults": faults,
    "quota": quota,
    "weigh": weigh,
    "cover": cover,
    "pages": pages,
    "lock": lock,
}


def main(arguments: list[str]) -> int:
    """Do what the first argument says; exit code 2 and the help for anything unknown."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # answers hold any character, terminals do not
    if arguments[:1] in (["-h"], ["--help"], ["help"]):
        print(__doc__)
        return 0
    if not arguments or arguments[0] not in COMMANDS:
        print(__doc__, file=sys.stderr)
        return 2
    if problem := too_old(sys.version_info[:2]):
        sys.exit(problem)
    if arguments[0] != "lock":  # which is there to mend what set_up needs
        set_up()
    return COMMANDS[arguments[0]](arguments[1:])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
