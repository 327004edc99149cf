"""Taking the files of a run: locked, read, and repaired as far as a crash left something unfinished."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from fastbatch.engine.journal.entries import About, Counted, entry_line, read_entry
from fastbatch.engine.journal.files import forget_unfinished
from fastbatch.engine.journal.lines import Held, LineFile, storage_sentence, sync_folder
from fastbatch.engine.journal.places import damaged, held_by, journal_path, not_ours, part_path, plain
from fastbatch.engine.journal.state import JournalState
from fastbatch.engine.journal.tail import Damage, find_tail, lines_from, may_begin
from fastbatch.errors import OutputError, StorageError
from fastbatch.formats.results import LINE_BEGINS, read_result

_CHUNK = 1 << 20


class Opened(NamedTuple):
    """The files of a run, held, and what its journal says; `before`: who ran last, and how far."""

    journal: LineFile
    data: LineFile
    state: JournalState
    before: tuple[About, Counted] | None


def open_files(output: Path, about: About) -> Opened:
    """Take the journal and the data file that `about` names.

    Raises:
        OutputError: another process holds them, or one is damaged; nothing changed.
        StorageError: a file cannot be opened or written.
    """
    try:
        journal = LineFile(journal_path(output))
    except Held:
        raise held_by(output) from None
    before: tuple[About, Counted] | None = None
    was_empty = False
    try:
        state = _read_journal(journal, output)
        was_empty = journal.end == 0
        if about.durability == "power":
            journal.sync_found()  # or a power failure could lose one entry of several
        # So that whoever comes second can say who came first, from this moment on.
        before = None if state.about is None else (state.about, state.counted)
        if state.about is not None:
            state.sign()
        # Of the files and the open requests it says what was said before.
        named = about
        if state.about is not None:
            named = about._replace(data=state.about.data, input=state.about.input)
        journal.append(entry_line({"run": named._asdict()}))
        data = _Data(output, journal, state, about).open()
    except BaseException:
        if was_empty:
            with suppress(StorageError):
                journal.remove()
        journal.close()
        raise
    try:
        forget_unfinished(output)
        if data.made:
            _sync_folder_of(data.path)
        entry: dict[str, Any] = {
            "run": about._asdict(),
            "end": data.end,
            "sent": [sent.fields() for sent in state.open.values()],
        }
        if beside := state.counted.beside + state.counted.held:
            entry["count"] = list(Counted(beside=beside))
        state.apply(entry)
        journal.replace(entry_line(entry))
    except BaseException:
        data.close()
        journal.close()
        raise
    return Opened(journal, data, state, before)


def _read_journal(file: LineFile, output: Path) -> JournalState:
    entries: list[dict[str, Any]] = []

    def good(text: bytes) -> bool:
        entry = read_entry(text)
        if entry is None:
            return False
        entries.append(entry)
        return True

    try:
        tail = find_tail(lines_from(file.read, 0), good, 0)
        if tail.later:  # an entry is written when the one before it is synced, so none is left out
            raise Damage(tail.end)
    except Damage as damage:
        raise OutputError(damaged(file.path, damage.offset, output)) from None
    state = JournalState()
    try:
        for entry in entries:
            state.apply(entry)
    except ValueError as newer:
        raise OutputError(f"{file.path} cannot be read: {newer}") from None
    if tail.end < file.end:
        file.cut(tail.end)
    if tail.newline:
        file.append(b"\n")
    return state


class _Data:
    """Opens files of result lines and makes them whole; answers that it meets close their requests."""

    def __init__(self, output: Path, journal: LineFile, state: JournalState, about: About) -> None:
        self._output = output
        self._journal = journal
        self._state = state
        self._about = about
        self._before = list(state.open)

    def open(self) -> LineFile:
        """The file that lines go to, with everything that a run of another mode collected elsewhere."""
        part = part_path(self._output)
        ordered = self._about.data == plain(part.name)
        path, other = (part, self._output) if ordered else (self._output, part)
        data = self._whole(path)
        try:
            if not other.exists():
                return data
            rest = self._whole(other)
            if ordered:
                data.guard = rest  # by another name of it nobody else may write it meanwhile
                return data
            try:
                self._take_over(data, rest)  # what an ordered run had collected when it was given up
            finally:
                rest.close()
        except BaseException:
            data.close()
            raise
        return data

    def _take_over(self, data: LineFile, rest: LineFile) -> None:
        """Append the lines of `rest` to `data`, and remove it; until then all of them stand there."""
        closed = [number for number in self._before if number not in self._state.open]
        entry = {
            "run": self._about._asdict(),
            "end": data.end,
            "closed": closed,
            "sent": [sent.fields() for sent in self._state.open.values()],
        }
        self._journal.sync()
        self._journal.append(entry_line(entry))  # or nobody knew from where on `data` may be unfinished
        self._journal.sync()
        at = 0
        while some := rest.read(at, _CHUNK):
            data.append(some)
            at += len(some)
        data.sync()
        rest.remove()

    def _whole(self, path: Path) -> LineFile:
        """The file of lines at `path`, without what was not written to its end."""
        try:
            file = LineFile(path)
        except Held:
            raise held_by(self._output) from None
        about = self._state.about
        vouched = about is not None and about.data == plain(path.name)
        # Of a file that no journal speaks of only the end is looked at: all of it is read soon enough.
        start = self._state.end if vouched else _last_line(file)
        try:
            if start > file.end:
                raise Damage(file.end)
            if not may_begin(file.read(0, len(LINE_BEGINS)), LINE_BEGINS):
                raise Damage(0)  # before anything is cut off a file that is not ours
            tail = find_tail(lines_from(file.read, start), self._answer_found, start, LINE_BEGINS)
            if tail.end < file.end:
                file.cut(tail.end)
            if tail.newline:
                file.append(b"\n")
            if tail.later:
                file.append(b"".join(tail.later))
            if self._about.durability == "power":
                file.sync_found()
        except Damage as damage:
            if file.made:
                file.remove()
            file.close()
            sentence = damaged if vouched and start else not_ours
            raise OutputError(sentence(path, damage.offset, self._output)) from None
        except BaseException:
            file.close()
            raise
        return file

    def _answer_found(self, text: bytes) -> bool:
        """Whether `text` is a result line; its request is not open any more."""
        finished = read_result(text)
        if finished is None:
            return False
        number = self._state.number_of(finished.custom_id)
        if number is not None and self._state.open[number].key == finished.key:
            self._state.close(number)
        return True


def _sync_folder_of(path: Path) -> None:
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(storage_sentence(path, error)) from None


def _last_line(file: LineFile) -> int:
    """The offset of the last line of a file."""
    end, step = file.end, 1 << 16
    while end:
        start = max(0, end - step)
        newline = file.read(start, end - start - (end == file.end)).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
