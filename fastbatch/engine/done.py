"""What an output holds already, and what a run of an input into it would do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, compress
from operator import not_
from pathlib import Path

from xxhash import xxh3_64_intdigest

from fastbatch.engine.index import NumberTable, RowTable, id_number
from fastbatch.errors import OutputError
from fastbatch.formats.lines import numbered_blocks, numbered_lines
from fastbatch.formats.results import key_of, read_result, scan_result, written_id

_NO_MARK = 1  # the mark of an answer whose line carries no fingerprint


class Answers:
    """The answers in the files of an output, in a table that the input's rows share.

    An answer's mark is the fingerprint of the row it was given to. A row of the same mark is answered; one
    of another mark may still ask the same (its carried columns changed), which its request hash tells.

    Attributes:
        table: marks by the number of each id.
        count: how many rows are answered.
        repeated: lines that a later line of the same id replaces.
    """

    def __init__(self, files: tuple[Path, ...], table: RowTable) -> None:
        self._files = files
        self.table = table
        self.count = self.repeated = 0
        self._keys: NumberTable | None = None

    def read(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Read everything; a file that is missing holds nothing.

        Raises:
            OutputError: a line is damaged or not ours; says which.
        """
        table, place_of, scan, number_of = self.table, self.table.place, scan_result, xxh3_64_intdigest
        for path in self._files:
            for block in _blocks(path):
                for number, line in block:
                    found = scan(line)
                    if found is None:
                        raise OutputError(_not_whole(path, number, self._files[0]))
                    name, fingerprint = found
                    if b"\\" in name:
                        name = written_id(name)
                    place = place_of(number_of(name) or 1)
                    marks = table.marks  # the table may have grown
                    if marks[place]:
                        self.repeated += 1
                    marks[place] = fingerprint or _NO_MARK
                if stop():
                    return
        self.count = len(self.table)

    @property
    def knows_requests(self) -> bool:
        """Whether `read_requests` was called."""
        return self._keys is not None

    def read_requests(self) -> None:
        """Read the request hashes, which nobody needs as long as no row has changed."""
        keys = NumberTable()
        for path in self._files:
            for _, line in chain.from_iterable(_blocks(path)):
                if (found := scan_result(line)) is not None:
                    identity = xxh3_64_intdigest(written_id(found[0])) or 1
                    keys.put(identity, int(key_of(line)[:16], 16) or 1)
        self._keys = keys

    def same_request(self, custom_id: str, key: str) -> bool:
        """Whether the row of this id was answered with this request; only after `read_requests`."""
        assert self._keys is not None
        return self._keys.get(id_number(custom_id)) == key_number(key)

    def gone(self) -> int:
        """How many answers belong to no row of the input, once that has been read."""
        return sum(map(not_, compress(self.table.lines, self.table.marks)))


def _blocks(path: Path) -> Iterator[list[tuple[int, bytes]]]:
    return numbered_blocks(path) if path.exists() else iter(())


def _not_whole(path: Path, number: int, output: Path) -> str:
    return (
        f"{path}, line {number}: this is not a whole result line of fastbatch. Nothing was sent. If the file "
        f"is not fastbatch's, move it away or choose another output; if it was damaged, this keeps every "
        f"good line: fastbatch repair {output}"
    )


def key_number(key: str) -> int:
    """64 bits that stand for a request hash; 0 for none."""
    return int(key[:16], 16) or 1 if key else 0


def last_answers(output: Path) -> Iterator[bytes]:
    """The lines of an output that no later line of the same id replaces."""
    last = NumberTable()
    for number, line in numbered_lines(output):
        if (finished := read_result(line)) is not None:
            last.put(id_number(finished.custom_id), number)
    for number, line in numbered_lines(output):
        finished = read_result(line)
        if finished is not None and last.get(id_number(finished.custom_id)) == number:
            yield line + b"\n"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        rows: rows of the input.
        answered: rows whose answer stands in the output; they are skipped.
        changed: rows whose answer in the output belongs to another request; it would be replaced.
        bad: rows that mean no request.
        cached: rows the cache would answer.
        identical: rows that would share another row's call.
        to_send: requests that would be sent.
        prompt_tokens: estimated prompt tokens of those.
        gone: answers in the output that belong to no row of the input; 0 where not all of it was read.
        uncertain: rows that a run which died sent without recording an answer; some of `to_send`.
        uncertain_tokens: estimated prompt tokens of those.
    """

    rows: int
    answered: int
    changed: int
    bad: int
    cached: int
    identical: int
    to_send: int
    prompt_tokens: int
    gone: int
    uncertain: int = 0
    uncertain_tokens: int = 0
