"""Damaged files of a run: refused with a place, or gone on from with what was written and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from unittest import mock

import pytest
from journal.byteflips import damaged, flip_outputs

from fastbatch.engine.journal import opening, tail
from fastbatch.engine.journal.lines import LineFile


def test_damage_is_refused_or_harmless() -> None:
    """Bytes changed, exchanged, cut off and doubled, in every file of finished and unfinished runs."""
    report = flip_outputs(1500, seed=3)
    assert report.wrong == []
    assert report.refused > 1000
    assert report.went_on > 100
    assert report.listed > 10
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


@pytest.mark.parametrize("sabotage", ["forgiving", "careless"])
def test_a_run_that_goes_on_from_damage_is_found(sabotage: str) -> None:
    """One that cuts off what it does not understand, or that sends before it has looked."""
    if sabotage == "forgiving":
        patched = mock.patch.object(opening, "find_tail", forgiving(opening.find_tail))
    else:
        patched = mock.patch.object(LineFile, "cut", lambda self, end: None)
    with patched:
        report = flip_outputs(250, seed=1)
    assert report.wrong
