"""The checks of the matrix can fail: each finds what it is there for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faults.acts import well
from faults.clinic import Arrival
from faults.evidence import KEY, Evidence
from faults.fault import Fault
from faults.invariants import wrong

FAULT = Fault(name="one sick row", row="a row", act=well, rows=3, code=1, kind="BadResponse", sent=(2, 2))


def line(prompt: str, said: str = "") -> dict[str, Any]:
    """A line of the output."""
    message = {"content": said or f"You said {prompt}"}
    return {"custom_id": prompt, "response": {"body": {"choices": [{"message": message}]}}}


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Evidence, Evidence]:
    """A first run with one failed row and a second that answers it, without fault."""

    def arrived(*prompts: str) -> list[Arrival]:
        return [Arrival(prompt, 1, 0.0, KEY) for prompt in prompts]

    error = {"class": "BadResponse", "maybe_billed": True, "message": "no answer"}
    first = Evidence(
        fault=FAULT,
        door="command",
        folder=tmp_path,
        code=1,
        seconds=0.1,
        lines=[line("well-0"), line("well-1")],
        torn=[],
        failed=[("sick-0", error)],
        words="1 failed",
        said="1 failed",
        report={"memory": 1000, "stall": 0.001, "left": []},
        arrivals=arrived("well-0", "well-1", "sick-0", "sick-0"),
        refusals=[],
        held=[],
        strays=0,
        busy=0.0,
    )
    lines = [*first.lines, line("sick-0")]
    return first, replace(first, code=0, lines=lines, failed=[], arrivals=arrived("sick-0"))


def test_a_run_as_promised_is_not_wrong(runs: tuple[Evidence, Evidence]) -> None:
    """Else nothing below would mean anything."""
    assert wrong(*runs) == []


def test_a_run_is_not_slow_because_others_held_the_processors(runs: tuple[Evidence, Evidence]) -> None:
    """A busy machine makes everything slow; a run takes what it could have taken by itself."""
    first, second = runs
    kept_waiting = {**first.report, "queued": 95.0}
    assert wrong(replace(first, seconds=99.0, report=kept_waiting), second) == []
    (problem, *_) = wrong(replace(first, seconds=120.0, report=kept_waiting), second)
    assert problem.startswith("took 25.00 s")


@pytest.mark.parametrize(
    ("told", "changes"),
    [
        ("exit code 0, not 1", {"code": 0}),
        ("took 99.00 s", {"seconds": 99.0}),
        ("sick-0 failed with NotFound", {"failed": [("sick-0", {"class": "NotFound"})]}),
        ("not answered: ['well-1']", {"lines": [line("well-0")]}),
        ("I1: well-0 has 2 records", {"lines": [line("well-0"), line("well-0"), line("well-1")]}),
        ("I1: sick-0 has no record", {"failed": []}),
        ("I2: out.jsonl has the line b'{'", {"torn": ["out.jsonl has the line b'{'"]}),
        ("I2: well-1 is answered with 'else'", {"lines": [line("well-0"), line("well-1", "else")]}),
        ("I3: sick-0 was sent 0 times", {"arrivals": []}),
        ("I4: it did not end by itself", {"code": None}),
        ("I4: exit code 70 is not documented", {"code": 70}),
        ("I4: it says 'Traceback'", {"said": "Traceback (most recent call last):"}),
        ("I7: it grew by 95 MiB", {"report": {"memory": 10**8, "left": []}}),
        ("I7: the loop stood still for 90 ms", {"report": {"stall": 0.09, "left": []}}),
        ("I8: left behind: thread x", {"report": {"left": ["thread x"]}}),
        ("I8: the run left no report", {"report": {}}),
    ],
)
def test_what_is_wrong_with_the_first_run_is_told(
    runs: tuple[Evidence, Evidence], told: str, changes: dict[str, Any]
) -> None:
    """One change, one sentence."""
    first, second = runs
    assert told in "\n".join(wrong(replace(first, **changes), second))


@pytest.mark.parametrize(
    ("told", "changes"),
    [
        ("I5: exit code 1", {"code": 1}),
        ("I5: answered rows were sent again: ['well-0']", {"arrivals": [Arrival("well-0", 1, 0.0, KEY)]}),
        ("I5: sent more than once: ['sick-0']", {"arrivals": 2 * [Arrival("sick-0", 1, 0.0, KEY)]}),
        ("I5: still not answered: ['sick-0']", {"lines": [line("well-0"), line("well-1")]}),
    ],
)
def test_what_is_wrong_with_the_second_run_is_told(
    runs: tuple[Evidence, Evidence], told: str, changes: dict[str, Any]
) -> None:
    """The healed server's run must finish the job, and buy nothing twice."""
    first, second = runs
    assert told in "\n".join(wrong(first, replace(second, **changes)))


def test_a_key_in_any_file_is_found(runs: tuple[Evidence, Evidence]) -> None:
    """However deep, in whatever surroundings."""
    deep = runs[0].folder / "cache" / "shelf"
    deep.mkdir(parents=True)
    (deep / "answers.db").write_bytes(b"\x00\xff" + KEY.encode() + b"\x00")
    assert "I6: answers.db holds the key" in wrong(*runs)


def test_unwanted_requests_of_everybody_are_counted(runs: tuple[Evidence, Evidence]) -> None:
    """Where all rows meet a fault, the sum is what counts."""
    first, second = runs
    fault = replace(FAULT, total=3)
    assert "I3: 4 requests for 3 rows, more than 3" in wrong(replace(first, fault=fault), second)
