"""Rows that a run which died may have paid for: told before anything is sent, and asked about."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from commandline import COMMAND, fastbatch, read_lines, start
from held import HeldProvider, command, die

from fastbatch.cli.uncertain import uncertain_lines
from fastbatch.engine.journal.entries import UncertainRow
from fastbatch.engine.journal.status import RunStatus

# A count, estimated tokens, who it was and when, each id with its line, and what becomes of them.
TOLD = re.compile(
    r"4 rows were sent by a run that ended without recording their answers, about \d+ tokens in, and may "
    r"have been paid for\.\n"
    r"The last to run here was process \d+ on \S+, begun at [\d:]+, last heard of at [\d:]+\.\n"
    r"Their ids, with the line of the input:\n"
    r"((?:  .*\n)+)"
    r"(They are .*)\n"
)


@pytest.fixture
def provider():
    with HeldProvider() as made:
        yield made


def told(text: str) -> tuple[list[str], str]:
    """The ids that are listed, and what becomes of them."""
    found = TOLD.search(text.replace("\r\n", "\n"))
    assert found is not None, text
    rows = re.findall(r"(r\d) \((\d+)\)", found[1])
    assert all(int(line) == int(name[1]) + 1 for name, line in rows)
    return [name for name, _ in rows], found[2]


def ids(path: Path) -> list[str]:
    return sorted(line["custom_id"] for line in read_lines(path))


def test_they_are_told_before_anything_is_sent(tmp_path: Path) -> None:
    """All of it stands on stderr when the first request arrives; where nobody can be asked they are sent."""
    heard: list[str] = []

    class Listening(HeldProvider):
        def _answer(self, request: Any) -> Any:
            if not self.hold:
                heard.append((tmp_path / "stderr").read_text())
            return super()._answer(request)

    with Listening() as provider:
        lost = die(tmp_path, provider)
        heard.clear()
        with (tmp_path / "stderr").open("w") as stderr:
            process = start(*command(provider), cwd=tmp_path, stderr=stderr)
            process.communicate(timeout=30)
        assert process.returncode == 0
        assert told(heard[0]) == (lost, "They are sent again.")
        assert len(provider.requests) == 8
    assert ids(tmp_path / "out.jsonl") == [f"r{number}" for number in range(10)]
    assert not (tmp_path / "out.jsonl.journal").exists()


def test_skipped_they_are_failed_rows(tmp_path: Path, provider: HeldProvider) -> None:
    """At most once: they are recorded with what is known, the summary says how they are sent, exit 1."""
    lost = die(tmp_path, provider)
    ran = fastbatch(*command(provider, "--on-uncertain", "skip"), cwd=tmp_path)
    names, becomes = told(ran.err)
    assert (ran.code, names) == (1, lost)
    assert becomes == (
        "They are not sent again but recorded as failed rows; this sends them later: "
        "fastbatch retry out.jsonl"
    )
    assert not set(lost) & set(provider.prompts())
    records = read_lines(tmp_path / "out.jsonl.errors.jsonl")
    assert [(record["custom_id"], record["error"]["class"]) for record in records] == [
        (name, "Uncertain") for name in lost
    ]
    assert records[0]["error"]["maybe_billed"] is True
    assert "10 of 10 rows: 4 ok, 4 failed, 2 skipped" in ran.err
    assert "4 rows may have been paid for before and were not sent again (--on-uncertain skip)" in ran.err
    assert "(fix the cause, then: fastbatch retry out.jsonl)" in ran.err
    again = fastbatch(*command(provider, "--on-uncertain", "skip"), cwd=tmp_path)
    assert (again.code, told(again.err)[0]) == (1, lost)  # nobody has decided otherwise
    provider.requests.clear()
    assert fastbatch(*command(provider, "--on-uncertain", "retry"), cwd=tmp_path).code == 0
    assert provider.prompts() == lost
    assert ids(tmp_path / "out.jsonl") == [f"r{number}" for number in range(10)]


def on_a_terminal(folder: Path, typed: bytes | None, *args: object) -> tuple[int, str]:
    """Run on a pseudo-terminal; `typed` is the answer to the question, None is Ctrl-C at it."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, args)], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
            if b"[y/N]" in shown and typed is None:
                process.send_signal(signal.SIGINT)
                typed = b""
            elif b"[y/N]" in shown and typed:
                os.write(ours, typed)
                typed = b""
    except OSError:  # how Linux says that the other end of a terminal is closed
        pass
    os.close(ours)
    return process.wait(20), shown.decode()


ANSWERS = {
    "yes": (b"y\n", (), True, 0, 8),
    "no": (b"n\n", (), True, 1, 4),
    "enter is no": (b"\n", (), True, 1, 4),
    "Ctrl-C": (None, (), True, 130, 0),
    "--yes": (b"", ("--yes",), False, 0, 8),
    "decided": (b"", ("--on-uncertain", "retry"), False, 0, 8),
    "decided otherwise": (b"", ("--on-uncertain", "skip"), False, 1, 4),
    "decided, and asks nothing": (b"", ("--on-uncertain", "skip", "--yes"), False, 1, 4),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_a_terminal_is_asked(tmp_path: Path, provider: HeldProvider, case: str) -> None:
    """After the list; no sends them not, and --yes or a decision asks nothing."""
    typed, options, asked, code, sent = ANSWERS[case]
    lost = die(tmp_path, provider)
    ended, shown = on_a_terminal(tmp_path, typed, *command(provider, *options))
    assert (ended, len(provider.requests)) == (code, sent), shown
    assert ("Send them again (no: record them as failed rows)? [y/N]" in shown) is asked
    if case == "Ctrl-C":
        assert "Nothing was sent." in shown
        assert fastbatch(*command(provider), cwd=tmp_path).code == 0
    else:
        names, becomes = told(re.sub(r"Send them again.*\r\n ?", "", shown))
        assert (names, "not sent again" in becomes) == (lost, sent == 4)


def test_a_question_leaves_stdout_alone(tmp_path: Path, provider: HeldProvider) -> None:
    """It is put on stderr, all of it."""
    die(tmp_path, provider)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, command(provider))],
        cwd=tmp_path, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, b"y\n")
    assert process.communicate(timeout=30)[0] == b""
    os.close(ours)
    assert (process.returncode, len(provider.requests)) == (0, 8)


def test_json_has_an_object_of_them(tmp_path: Path, provider: HeldProvider) -> None:
    """Programs hear of them before the run begins, and nothing is said that is no JSON."""
    lost = die(tmp_path, provider)
    ran = fastbatch(*command(provider, "--progress", "json"), cwd=tmp_path)
    first, second, *_ = map(json.loads, ran.err.splitlines())
    assert (first["event"], second["event"]) == ("uncertain", "started")
    assert [row["custom_id"] for row in first["rows"]] == lost
    assert first["rows"][0].keys() == {"custom_id", "row", "attempt", "prompt_tokens"}


def test_dry_run_counts_them(tmp_path: Path, provider: HeldProvider) -> None:
    """And changes nothing of what the next run, or a status, tells."""
    lost = die(tmp_path, provider)
    before = fastbatch("status", "out.jsonl", cwd=tmp_path).out
    ran = fastbatch(*command(provider, "--dry-run"), cwd=tmp_path)
    assert re.search(
        r"4 sent by a run that ended without recording an answer, about \d+ tokens in, maybe paid for; "
        r"which: fastbatch status out\.jsonl",
        ran.err,
    )
    assert (ran.code, provider.requests) == (0, [])
    assert fastbatch("status", "out.jsonl", cwd=tmp_path).out == before
    assert told(fastbatch(*command(provider), cwd=tmp_path).err)[0] == lost


@pytest.mark.parametrize("setting", ["environment", "file"])
def test_the_decision_may_stand_elsewhere(tmp_path: Path, provider: HeldProvider, setting: str) -> None:
    """As every option."""
    die(tmp_path, provider)
    env = {"FASTBATCH_ON_UNCERTAIN": "skip"} if setting == "environment" else {}
    if setting == "file":
        (tmp_path / "fastbatch.toml").write_text('on-uncertain = "skip"\n')
    assert fastbatch(*command(provider), cwd=tmp_path, env=env).code == 1
    assert len(provider.requests) == 4


ROWS = [UncertainRow(f"row-{number}", number, 1, 7, "") for number in range(1, 2001)]


def lines(count: int, left_by: RunStatus | None = None) -> list[str]:
    return list(uncertain_lines(ROWS[:count], "out.jsonl", left_by=left_by, now=1_700_000_000.0))


def test_the_list_is_compact(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many ids in a line as the terminal is wide; none is broken."""
    for width in (40, 80, 100):
        monkeypatch.setenv("COLUMNS", str(width))
        _, _, *listed = lines(300)
        assert max(map(len, listed)) <= width
        assert max(map(len, listed)) > width - 20
        assert all(line.startswith("  row-") for line in listed)
        assert len(re.findall(r"row-\d+ \(\d+\)", "\n".join(listed))) == 300


def test_of_very_many_a_thousand_are_listed() -> None:
    """And it is said how the others are seen."""
    *_, last_ids, rest = lines(1234)
    assert last_ids.endswith("row-1000 (1000)")
    assert rest == (
        "  and 234 more; --progress json tells all of them, and so does, while nothing runs, "
        "fastbatch status out.jsonl --json"
    )


def test_one_row_is_one_row() -> None:
    """Words follow the number."""
    assert lines(1) == [
        "1 row was sent by a run that ended without recording its answer, about 7 tokens in, and may have "
        "been paid for.",
        "Their ids, with the line of the input:",
        "  row-1 (1)",
    ]


def test_ids_do_not_draw_on_the_terminal() -> None:
    """An id may hold anything; long ones are cut."""
    rows = [UncertainRow("\x1b[2J\n" + "x" * 100, 1, 1, 7, "")]
    *_, listed = uncertain_lines(rows, "out.jsonl", left_by=None, now=0.0)
    assert listed == f"  ?[2J?{'x' * 54}… (1)"


def test_who_left_them_and_when() -> None:
    """The clock on the wall today, and the date of another day."""
    now = time.time()
    today = RunStatus("stopped", "out.jsonl", pid=7, host="here", began=now, seen=None)
    assert re.fullmatch(
        r"The last to run here was process 7 on here, begun at \d\d:\d\d:\d\d\.",
        list(uncertain_lines(ROWS[:1], "o", left_by=today, now=now))[1],
    )
    past = RunStatus("stopped", "out.jsonl", pid=7, host="here", began=now - 3e6, seen=now - 2e6)
    assert re.fullmatch(
        r".* begun at \d{4}-\d\d-\d\d \d\d:\d\d, last heard of at \d{4}-\d\d-\d\d \d\d:\d\d\.",
        list(uncertain_lines(ROWS[:1], "o", left_by=past, now=now))[1],
    )


def test_what_prompts_may_have_cost_is_told():
    """Where the model has a price; what the answers took nobody knows."""
    rows = [UncertainRow("a", 1, 1, 8_000, "k")]
    (first, *_) = uncertain_lines(rows, "out", left_by=None, now=0.0, cost=Decimal("0.0012"))
    assert "about 8,000 tokens in ($0.001200, and as many answers), and may have been paid for." in first
    (first, *_) = uncertain_lines(rows, "out", left_by=None, now=0.0)
    assert "about 8,000 tokens in, and may have been paid for." in first
