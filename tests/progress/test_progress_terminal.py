"""Real pseudo-terminals and pipes: what fits, what is left out, and that nobody ever waits."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TextIO

import pytest
from progress_samples import picture, plain

from fastbatch import registry
from fastbatch.engine.events import Listener, Notice, Progressed, RunFinished, RunStarted
from fastbatch.progress.plain import PlainProgress
from fastbatch.progress.rich import RichProgress


class Terminal:
    """Both ends of a pseudo-terminal."""

    def __init__(self, columns: int, rows: int) -> None:
        self._ours, theirs = pty.openpty()
        attributes = termios.tcgetattr(theirs)
        attributes[1] &= ~termios.OPOST  # line ends as they were written
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        self.stream: TextIO = os.fdopen(theirs, "w", encoding="utf-8")
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        """As a window manager does."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self) -> str:
        """What has been written so far; nothing when there is nothing."""
        os.set_blocking(self._ours, False)
        data = b""
        while True:
            try:
                block = os.read(self._ours, 65536)
            except OSError:
                return data.decode()
            data += block

    def close(self) -> None:
        """Let go of both ends."""
        self.stream.close()
        os.close(self._ours)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal of 60 columns."""
    opened = Terminal(60, 20)
    yield opened
    opened.close()


def frames(text: str) -> list[list[str]]:
    """The lines of each picture."""
    return [plain(frame).splitlines() for frame in text.split("\x1b[?2026h")[1:]]


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 200])
def test_no_line_is_as_wide_as_the_terminal(columns: int) -> None:
    """The last column stays free, so that nothing wraps."""
    opened = Terminal(columns, 24)
    display = RichProgress(opened.stream)
    display.notify(RunStarted("openai:" + "model" * 50, 10_000_000))
    display.notify(Progressed(picture(total=10_000_000, waiting_for="no connection " * 20)))
    display.notify(RunFinished(picture(total=10_000_000)))
    shown = frames(opened.read())
    opened.close()
    assert len(shown) == 3
    assert max(len(line) for frame in shown for line in frame) == min(columns - 1, 100)


def test_a_low_terminal_shows_the_first_lines() -> None:
    """As many as fit above the cursor, empty ones left out; going up further would spoil what stood there."""
    opened = Terminal(80, 6)
    display = RichProgress(opened.stream)
    display.notify(RunStarted("run", 10))
    for _ in range(2):
        display.notify(Progressed(picture()))
    text = opened.read()
    opened.close()
    assert {len(frame) for frame in frames(text)} == {5}
    assert all(line for frame in frames(text) for line in frame)
    assert set(re.findall(r"\x1b\[(\d+)A", text)) == {"5"}


def test_a_terminal_made_narrower_wraps_what_stood_there(terminal: Terminal) -> None:
    """The next picture begins above the wrapped lines, not in their middle."""
    display = RichProgress(terminal.stream)
    display.notify(RunStarted("run", 10_000))
    (before,) = frames(terminal.read())
    terminal.resize(45, 20)
    display.notify(Progressed(picture()))
    (up,) = re.findall(r"\x1b\[(\d+)A", terminal.read())
    assert int(up) == sum(2 if len(line) > 45 else 1 for line in before)


def test_the_cursor_is_never_hidden(terminal: Terminal) -> None:
    """So a run that is killed leaves nothing to repair."""
    display = RichProgress(terminal.stream)
    display.notify(RunStarted("run", 10_000))
    display.notify(RunFinished(picture()))
    assert "\x1b[?25" not in terminal.read()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("display_class", [RichProgress, PlainProgress])
def test_nobody_waits_for_a_terminal_that_takes_no_more(
    terminal: Terminal, display_class: type[RichProgress] | type[PlainProgress]
) -> None:
    """A stopped terminal (Ctrl-S, a dead connection) costs pictures, not the run; none is cut in two."""
    display = display_class(terminal.stream)
    display.notify(RunStarted("run", 10_000))
    for second in range(100):
        display.notify(Notice(f"<{second}>"))
        display.notify(Progressed(picture(elapsed=10.0 * second)))
    stuck = terminal.read()
    display.notify(Progressed(picture(elapsed=9_999.0)))
    text = stuck + terminal.read()
    assert 0 < len(re.findall(r"<\d+>", stuck)) < 100
    assert "2h 46m" in text, "it goes on where the terminal does"
    if display_class is RichProgress:
        assert text.count("\x1b[?2026h") == text.count("\x1b[?2026l")
        assert re.findall(r"<(\d+)>", text) == [str(second) for second in range(100)], "notices are kept"
    else:
        assert text.count("in flight") == text.count("tokens/min")


@pytest.mark.timeout(20)
def test_a_run_ends_while_its_terminal_is_stopped(terminal: Terminal) -> None:
    """The last picture waits a moment, no longer."""
    display = RichProgress(terminal.stream)
    for _ in range(100):
        display.notify(Progressed(picture()))
    display.notify(RunFinished(picture()))


@pytest.mark.timeout(20)
def test_nobody_waits_for_a_full_pipe() -> None:
    """`2>&1 | less`, and nobody scrolls: lines are left out until there is room."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb", buffering=0) as behind:
        display = PlainProgress(stream)
        for _ in range(5_000):
            display.notify(Notice("x" * 100))
        taken = behind.read(1 << 20) or b""
        display.notify(Notice("room again"))
        assert 10_000 < len(taken) < 500_000
        assert behind.read(100) == b"room again\n"


def test_a_pipe_whose_reader_has_gone_silences_it() -> None:
    """`2>&1 | head` ends the display, not the run."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream, ExitStack() as stack:
        stack.callback(os.dup2, os.open(os.devnull, os.O_WRONLY), writer)  # what Python still has to flush
        display = PlainProgress(stream)
        for _ in range(3):
            display.notify(Notice("unheard"))
        display.notify(RunFinished(picture()))


class _Slow(io.StringIO):
    """A stream in whose first write another thread notifies, too."""

    display: Listener
    other: threading.Thread | None = None
    alone = False

    def write(self, text: str) -> int:
        if self.other is None:
            self.other = threading.Thread(target=self.display.notify, args=[Notice("second")])
            self.other.start()
            self.other.join(0.05)  # a moment in which it would finish, were it not made to wait
            self.alone = self.other.is_alive()
        return super().write(text)


@pytest.mark.parametrize("name", ["rich", "plain", "json"])
def test_threads_write_one_after_the_other(name: str) -> None:
    """A file is fetched in a thread while the run draws from its loop: no text gets into another one."""
    stream = _Slow()
    stream.display = registry.find("progress", name)(stream)
    stream.display.notify(Notice("first"))
    assert stream.other is not None
    stream.other.join()
    assert stream.alone
    assert stream.getvalue().index("first") < stream.getvalue().index("second")


def _auto(monkeypatch: pytest.MonkeyPatch, stream: TextIO | None, term: str = "xterm-256color") -> Listener:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys, "stderr", stream)
    found: Listener = registry.find("progress", "auto")()
    return found


def test_auto_draws_on_a_terminal_that_can(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    """Wide enough, and with a name that promises control sequences."""
    assert isinstance(_auto(monkeypatch, terminal.stream), RichProgress)
    assert isinstance(_auto(monkeypatch, terminal.stream, "dumb"), PlainProgress)
    terminal.resize(39, 20)
    assert isinstance(_auto(monkeypatch, terminal.stream), PlainProgress)


def test_auto_writes_plain_lines_elsewhere(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    """In memory, without a console, on a closed stream, and where the glyphs cannot be written."""
    closed = io.StringIO()
    closed.close()
    for stream in (io.StringIO(), None, closed):
        display = _auto(monkeypatch, stream)
        assert isinstance(display, PlainProgress)
        display.notify(RunStarted("run", 1))
        display.notify(RunFinished(picture()))
    with os.fdopen(os.dup(terminal.stream.fileno()), "w", encoding="latin-1") as latin:
        assert isinstance(_auto(monkeypatch, latin), PlainProgress)


def test_the_display_belongs_to_the_stderr_of_its_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever replaces `sys.stderr` later does not get half a picture."""
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    display = registry.find("progress", "plain")()
    monkeypatch.setattr(sys, "stderr", second)
    display.notify(Notice("here"))
    assert (first.getvalue(), second.getvalue()) == ("here\n", "")
