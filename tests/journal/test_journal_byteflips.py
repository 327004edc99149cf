"""Damaged files of a run: refused with a place, or gone on from with what was written and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any
from unittest import mock

import pytest
from journal.byteflips import damaged, flip_outputs

from fastbatch.engine import done
from fastbatch.engine.journal import opening, tail


def test_damage_is_refused_or_harmless() -> None:
    """Bytes changed, exchanged, cut off and doubled, in every file of finished and unfinished runs."""
    report = flip_outputs(1000, seed=3)
    assert report.wrong == []
    assert report.refused > 700
    assert report.went_on > 60
    assert report.listed > 5
    assert {
        f"{file} {how}" for file in ("output", "journal", "part") for how in ("flip", "zero", "swap")
    } <= set(report.where)


def test_every_way_of_damage() -> None:
    """Each of them, and what it makes of a file."""
    data = b"one\ntwo\nthree\n"
    made = [damaged(data, Random(seed)) for seed in range(400)]
    lengths = {how: {len(left) for each, left in made if each == how} for how, _ in made}
    assert lengths["flip"] == lengths["zero"] == lengths["swap"] == {len(data)}
    assert max(lengths["cut"]) < len(data)
    assert max(lengths["double"]) > len(data)
    assert all(
        sum(a != b for a, b in zip(left, data, strict=True)) == 1 for how, left in made if how == "flip"
    )
    assert any(left == b"one\n" + data for _, left in made)


def forgiving(find: Callable[..., tail.Tail]) -> Callable[..., tail.Tail]:
    """Whatever is wrong at the end was being written."""

    def found(
        lines: list[tail.Line], good: Callable[[bytes], bool], start: int, begins: bytes = b""
    ) -> tail.Tail:
        kept = []
        for line in lines:
            if not good(line.text):
                break
            kept.append(line)
        return find(iter(kept), good, start, begins)

    return found


def trusting(line: bytes) -> tuple[bytes, int] | None:
    """Whatever looks like a result line is one."""
    named = re.search(rb'"custom_id":"([^"]*)"', line)
    marked = re.search(rb'"fingerprint":"([0-9a-f]{16})"', line)
    return (named[1], int(marked[1], 16)) if named and marked else None


@pytest.mark.parametrize(
    ("place", "name", "instead"),
    [(opening, "find_tail", forgiving(tail.find_tail)), (done, "scan_result", trusting)],
)
def test_a_run_that_goes_on_from_damage_is_found(place: Any, name: str, instead: Any) -> None:
    """One that cuts off what it does not understand, or that takes it for an answer."""
    with mock.patch.object(place, name, instead):
        report = flip_outputs(200, seed=1)
    assert report.wrong
