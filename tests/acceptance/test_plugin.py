"""A provider from somebody else's package: built, installed and used, with nothing changed in fastbatch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from commandline import Recorder, Request, fastbatch, read_lines, write_rows

EXAMPLE = Path(__file__).parents[2] / "examples" / "acme-provider"
KEY = "acme-key-of-a-test"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package's wheel in it, as an installer leaves it: the module beside its metadata."""
    place = tmp_path_factory.mktemp("acme")
    source = shutil.copytree(EXAMPLE, place / "source")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    return place / "site"


def surroundings(installed: Path, **variables: str) -> dict[str, str]:
    """The environment of a process that has the package."""
    return {"PYTHONPATH": str(installed), "ACME_API_KEY": KEY, **variables}


def acme(request: Request) -> tuple[int, Any]:
    """Acme's API: it repeats what it hears, and wants its key."""
    if request.headers.get("Acme-Key") != KEY:
        return 401, {"problem": {"kind": "stranger", "text": "Who are you?"}}
    if request.path.startswith("/v1/voices"):
        first = not request.path.endswith("?after=b")
        return 200, {"voices": [{"name": "echo" if first else "nymph", "memory": 80}], "more": "b" * first}
    if request.path != "/v1/converse" or request.body["voice"] != "echo":
        return 404, {"problem": {"kind": "nobody", "text": "There is no such voice."}}
    said = request.body["turns"][-1]["says"]
    rest = {"id": "a-1", "end": "done", "counted": {"heard": 3, "known": 2, "spoken": 1}}
    if not request.body.get("aloud"):
        return 200, {"says": f"{said}!", **rest}
    events = ({"more": said}, {"more": "!"}, rest)
    return 200, b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)


def clumsy(request: Request) -> tuple[int, Any]:
    """Acme's API with a voice that manages JSON when it is asked twice."""
    assert "JSON Schema" in request.body["rules"]
    said = '{"row": "one"}' if len(request.body["turns"]) > 1 else '{"row": 1'
    return 200, {"id": "a-1", "says": said, "end": "done", "counted": {"heard": 3, "spoken": 1}}


class Moody:
    """Acme's API, which refuses and fails at first."""

    def __init__(self, *first: tuple[int, str]) -> None:
        self._first = list(first)

    def __call__(self, request: Request) -> tuple[int, Any]:
        """What comes of a request."""
        try:
            status, kind = self._first.pop()
        except IndexError:
            return acme(request)
        return status, {"problem": {"kind": kind, "text": "Not now."}}


def test_it_is_a_module_and_its_metadata(installed: Path) -> None:
    """Nothing else is in the wheel, and the metadata is what makes it known."""
    found = {path.name for path in installed.iterdir()} - {"__pycache__"}
    assert found == {"acme_fastbatch.py", "acme_fastbatch-1.0.0.dist-info"}
    points = (installed / "acme_fastbatch-1.0.0.dist-info" / "entry_points.txt").read_text()
    assert points == "[fastbatch.providers]\nacme = acme_fastbatch:AcmeProvider\n"


def test_its_own_tests_pass(installed: Path) -> None:
    """The contract of all providers, in a pytest of its own beside the installed package."""
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rs",
            "-p",
            "no:cacheprovider",
            str(installed.parent / "source"),
        ],
        cwd=installed.parent,
        env={**os.environ, **surroundings(installed), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout
    left_out = [line for line in ran.stdout.splitlines() if line.startswith("SKIPPED")]
    assert left_out
    assert all("batch" in line for line in left_out), left_out  # it has no batch API


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_asks_it(installed: Path, tmp_path: Path, workers: int) -> None:
    """By the name of its entry point, through refusals and failures, in one process or several."""
    write_rows(tmp_path / "in.jsonl", *({"id": f"r{n}", "prompt": f"Row {n}"} for n in range(40)))
    with Recorder(Moody((429, "too_fast"), (503, "hoarse"))) as server:
        ran = fastbatch(
            *("run", "in.jsonl", "-o", "out.jsonl", "-m", "acme:echo", "--base-url", server.url),
            *("--system", "Be brief.", "--param", "max_tokens=8", "--workers", workers),
            *("--cache", "off", "--progress", "off", "--yes"),
            cwd=tmp_path,
            env=surroundings(installed),
        )
        asked = [request.body for request in server.requests]
    assert ran.code == 0, ran.err
    lines = read_lines(tmp_path / "out.jsonl")
    answers = {line["custom_id"]: line["response"]["body"]["says"] for line in lines}
    assert answers == {f"r{n}": f"Row {n}!" for n in range(40)}
    assert {line["fastbatch"]["provider"] for line in lines} == {"acme"}
    assert len(asked) == 42
    assert all(body["rules"] == "Be brief." and body["most_words"] == 8 for body in asked)
    assert "200 tokens in, 40 out" in ran.err
    assert KEY not in ran.err + ran.out + (tmp_path / "out.jsonl").read_text()


def test_its_streams_are_folded(installed: Path, tmp_path: Path) -> None:
    """Replies in pieces are recorded as those that would have come whole, and the first token is timed."""
    write_rows(tmp_path / "in.jsonl", {"id": "a", "prompt": "Hello"})
    with Recorder(acme) as server:
        ran = fastbatch(
            *("run", "in.jsonl", "-o", "out.jsonl", "-m", "acme:echo", "--base-url", server.url),
            *("--stream", "--cache", "off", "--progress", "off", "--yes"),
            cwd=tmp_path,
            env=surroundings(installed),
        )
        assert [request.body["aloud"] for request in server.requests] == [True]
    assert ran.code == 0, ran.err
    (line,) = read_lines(tmp_path / "out.jsonl")
    assert line["response"]["body"]["says"] == "Hello!"
    assert "first token" in ran.err


def test_its_answers_have_a_shape(installed: Path, tmp_path: Path) -> None:
    """By the prompt, since it has nothing else; what does not fit is asked for again."""
    schema = {"type": "object", "properties": {"row": {"type": "string"}}, "required": ["row"]}
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    write_rows(tmp_path / "in.jsonl", {"id": "a", "prompt": "Hello"})
    with Recorder(clumsy) as server:
        ran = fastbatch(
            *("run", "in.jsonl", "-o", "out.jsonl", "-m", "acme:echo", "--base-url", server.url),
            *("--schema", "schema.json", "--cache", "off", "--progress", "off", "--yes"),
            cwd=tmp_path,
            env=surroundings(installed),
        )
        turns = [len(request.body["turns"]) for request in server.requests]
    assert ran.code == 0, ran.err
    assert turns == [1, 3]
    (line,) = read_lines(tmp_path / "out.jsonl")
    assert line["response"]["body"]["says"] == '{"row": "one"}'


def test_what_it_has_no_words_for_is_refused(installed: Path, tmp_path: Path) -> None:
    """Before anything is sent, by the row and with the provider's own reason."""
    write_rows(tmp_path / "in.jsonl", {"prompt": "One"}, {"prompt": "Two", "seed": 7})
    with Recorder(acme) as server:
        ran = fastbatch(
            *("run", "in.jsonl", "-o", "out.jsonl", "-m", "acme:echo", "--base-url", server.url),
            *("--cache", "off", "--progress", "off", "--yes"),
            cwd=tmp_path,
            env=surroundings(installed),
        )
        assert server.requests == []
    assert ran.code == 2
    assert "line 2" in ran.err
    assert "seed cannot be said to Acme: its voices are never the same twice" in ran.err


def test_its_models_are_listed(installed: Path, tmp_path: Path) -> None:
    """Page after page; and it stands among the providers, with the variable of its key."""
    with Recorder(acme) as server:
        ran = fastbatch(
            "models", "acme", "--base-url", server.url, "--json", cwd=tmp_path, env=surroundings(installed)
        )
    assert ran.code == 0, ran.err
    assert [json.loads(line)["name"] for line in ran.out.splitlines()] == ["echo", "nymph"]
    listed = fastbatch("models", "--json", cwd=tmp_path, env=surroundings(installed))
    (own,) = [line for line in map(json.loads, listed.out.splitlines()) if line["provider"] == "acme"]
    assert own == {"provider": "acme", "variables": ["ACME_API_KEY"], "set": "ACME_API_KEY"}
    assert KEY not in listed.out + listed.err


def test_a_package_that_is_broken_is_told(installed: Path, tmp_path: Path) -> None:
    """In a sentence; the other providers are there all the same."""
    broken = shutil.copytree(installed, tmp_path / "site")
    (broken / "acme_fastbatch.py").write_text("import no_such_module\n")
    write_rows(tmp_path / "in.jsonl", {"prompt": "One"})
    ran = fastbatch(
        *("run", "in.jsonl", "-o", "out.jsonl", "-m", "acme:echo", "--yes"),
        cwd=tmp_path,
        env=surroundings(broken),
    )
    assert ran.code == 2
    assert "'acme' comes from another package (acme_fastbatch:AcmeProvider) and cannot be loaded" in ran.err
    assert "Traceback" not in ran.err
    assert fastbatch("models", cwd=tmp_path, env=surroundings(broken)).code == 0


def test_without_its_key_nothing_is_sent(installed: Path, tmp_path: Path) -> None:
    """The message names the package's own variable."""
    write_rows(tmp_path / "in.jsonl", {"prompt": "One"})
    ran = fastbatch(
        *("run", "in.jsonl", "-o", "out.jsonl", "-m", "acme:echo", "--yes"),
        cwd=tmp_path,
        env=surroundings(installed, ACME_API_KEY=""),
    )
    assert (ran.code, "ACME_API_KEY" in ran.err) == (2, True)
