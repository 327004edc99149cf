"""The guard against slipping: figures are the same each time, and one call more a row is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from weight import book, scales

SMALL = (80, 180)
HEAVIER = """
import sys
from fastbatch.providers.openai import OpenAIProvider
parse = OpenAIProvider.parse
OpenAIProvider.parse = lambda *arguments, **options: parse(*arguments, **options)
sys.path.insert(0, {tests!r})
from weight.child import main
main(*sys.argv[1:])
"""


@pytest.fixture(scope="module")
def weighed() -> tuple[scales.Figures, scales.Figures]:
    """Every job, at two small sizes."""
    return scales.operations(sizes=SMALL)


def test_the_same_is_counted_each_time(weighed: tuple[scales.Figures, scales.Figures]) -> None:
    """Counts do not depend on the machine's other work; bytes only by the digits of what is measured."""
    again, _ = scales.operations(sizes=SMALL)
    for job, figures in weighed[0].items():
        there = dict(figures)
        assert again[job].pop("bytes written", 0) == pytest.approx(there.pop("bytes written", 0), abs=500)
        assert again[job] == there


def test_each_job_does_what_it_says(weighed: tuple[scales.Figures, scales.Figures]) -> None:
    """Only the run that sends puts into the cache; the one that is done writes nothing."""
    counts, rooms = weighed
    assert tuple(counts) == tuple(rooms) == scales.JOBS
    assert counts["stream"]["syncs"] == counts["stream"]["SQL statements"] == 0
    assert counts["everything"]["SQL statements"] >= 1000
    assert counts["everything"]["syncs"] > 0
    assert counts["cached"]["SQL statements"] < 100
    assert counts["resumed"]["Python calls"] < counts["cached"]["Python calls"]
    assert sum(rooms["stream"].values()) == pytest.approx(counts["stream"]["Python calls"], abs=20)


def test_one_call_more_a_row_is_found(weighed: tuple[scales.Figures, scales.Figures]) -> None:
    """Parsing goes through one more function: the guard says so, and nothing else grew."""
    heavier = ["-c", HEAVIER.format(tests=str(Path(__file__).resolve().parents[1]))]
    counts, rooms = scales.operations(["stream"], SMALL, heavier)
    found = book.changes({"stream": weighed[0]["stream"]}, counts)
    assert [(change.measure, change.now - (change.then or 0)) for change in found if change.grown] == [
        ("Python calls", 1000)
    ]
    (said,) = book.sentences(found, weighed[1], rooms)
    assert said.startswith("stream: Python calls grew by ")
    assert said.endswith("a thousand rows, most of it in others (+1,000)")


@pytest.mark.parametrize(
    ("then", "now", "notable", "grown"),
    [
        (100_000, 100_501, True, True),
        (100_000, 100_499, False, False),
        (100_000, 90_000, True, False),
        (0, 2, False, False),
        (0, 3, True, True),
        (None, 500, False, False),
    ],
)
def test_what_counts_as_grown(then: int | None, now: int, notable: bool, grown: bool) -> None:
    """Half a per cent more, and more than a handful; less is worth a word and no failure."""
    change = book.Change("stream", "syncs", then, now)
    assert (change.notable, change.grown) == (notable, grown)


def test_recording_keeps_what_it_does_not_measure(tmp_path: Path) -> None:
    """Instructions, and the figures of other versions, stay when the operations are written anew."""
    path = tmp_path / "recorded.json"
    path.write_text(json.dumps({"2.7": {"operations": {}}}))
    book.record(path, instructions={"stream": {"instructions": 7}}, build="one")
    book.record(path, operations={"stream": {"tasks": 4}}, rooms={})
    assert set(json.loads(path.read_text())) == {"2.7", book.VERSION}
    assert book.recorded(path) == {
        "build": "one",
        "instructions": {"stream": {"instructions": 7}},
        "operations": {"stream": {"tasks": 4}},
        "rooms": {},
    }


def test_every_job_is_recorded() -> None:
    """What CI compares with is there, for the Python that it was recorded with."""
    figures = json.loads(book.RECORDED.read_text("utf-8"))
    for version in figures.values():
        assert tuple(sorted(version["operations"])) == tuple(sorted(scales.JOBS))


def test_command_prints_the_table(tmp_path: Path) -> None:
    """One job alone is weighed and shown; a job that is unknown is refused."""
    command = [sys.executable, str(Path(__file__).parent), "--only"]
    done = subprocess.run([*command, "resumed"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    assert "What a thousand rows take." in done.stdout
    assert "resumed  Python calls" in done.stdout
    assert "stream" not in done.stdout
    refused = subprocess.run([*command, "all"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert refused.returncode == 2
