"""The display for terminals: what it writes, in place, and that nothing it meets can end a run."""

from __future__ import annotations

import io
import re

import pytest
from progress_samples import last_frame, picture, plain

from fastbatch.engine.events import Fetching, Notice, Progressed, RunFinished, RunStarted
from fastbatch.progress.rich import RichProgress


def started(total: int | None = 10_000) -> tuple[io.StringIO, RichProgress]:
    """A display in memory (80 columns), its run begun."""
    stream = io.StringIO()
    display = RichProgress(stream)
    display.notify(RunStarted("openai:gpt-4o-mini", total))
    return stream, display


def test_a_run_is_shown_from_its_first_moment() -> None:
    """The title and the number of rows stand there before anything is answered."""
    stream, _ = started()
    lines = last_frame(stream.getvalue())
    assert lines[1].startswith("openai:gpt-4o-mini ")
    assert "0%       0/10,000" in lines[2]


def test_each_picture_replaces_the_one_before() -> None:
    """The cursor goes up by as many lines as were drawn, and every line is erased to its end."""
    stream, display = started()
    display.notify(Progressed(picture()))
    before = len(last_frame(stream.getvalue()))
    stream.truncate(0)
    display.notify(Progressed(picture(ok=1_300)))
    written = stream.getvalue()
    assert f"\r\x1b[{before}A" in written
    assert written.count("\x1b[K\n") == before
    assert "1,804/10,000" in last_frame(written)[2]


def test_the_last_picture_stays() -> None:
    """It says that the run is done, with the speeds of the whole run; what comes later stands below it."""
    stream, display = started()
    whole = picture(ok=9_496, elapsed=100.0, in_flight=0, waiting=0, prompt_tokens=5_000, eta=0.0)
    display.notify(RunFinished(whole))
    lines = last_frame(stream.getvalue())
    assert lines[2].endswith("100%  10,000/10,000         done")
    assert "95/s" in lines[4]
    assert "50/s" in lines[5]
    assert lines[-1] == ""
    assert stream.getvalue().endswith("\n\x1b[J\x1b[?2026l")


@pytest.mark.parametrize("event", [RunFinished(picture(), "the key is wrong"), RunFinished(picture())])
def test_a_run_that_ended_early_says_so_and_keeps_its_bar(event: RunFinished) -> None:
    """Whether it was stopped or interrupted: open rows are not shown as done."""
    stream, display = started()
    display.notify(Progressed(picture()))
    before = last_frame(stream.getvalue())[2]
    display.notify(event)
    after = last_frame(stream.getvalue())[2]
    assert after.endswith("1,704/10,000      stopped")
    assert re.findall("[━─╸]+", after) == re.findall("[━─╸]+", before)


def test_notices_stay_above_the_display() -> None:
    """In the order in which they came, without the control characters of whoever wrote them."""
    stream, display = started()
    display.notify(Notice("the cache is full"))
    display.notify(Notice("and \x1b[2J\nslow"))
    written = plain(stream.getvalue())
    assert written.index("the cache is full\n\nopenai") < written.index("and [2J slow\n\nopenai")
    assert written.count("the cache is full") == 1


def test_a_file_on_its_way_has_a_bar_of_its_own_until_it_is_there() -> None:
    """Before the run, the bar changes in place; then one line says what came."""
    stream = io.StringIO()
    display = RichProgress(stream)
    for done in range(0, 2_000_000, 10_000):
        display.notify(Fetching("SmolLM2", done, 2_000_000))
    assert re.fullmatch("fetching SmolLM2  ━+╸?─+  1.9/2.0 MB   95%", last_frame(stream.getvalue())[0])
    assert stream.getvalue().count("\x1b[?2026h") == 20, "a picture for each tenth of a megabyte, no more"
    display.notify(Fetching("SmolLM2", 2_000_000, 2_000_000, finished=True))
    assert last_frame(stream.getvalue()) == ["fetched SmolLM2, 2.0 MB"]


def test_a_wait_for_somebody_elses_fetch_leaves_nothing_behind() -> None:
    """It is shown while it lasts, without figures."""
    stream = io.StringIO()
    display = RichProgress(stream)
    display.notify(Fetching("model (another process is fetching it)", 0, None))
    assert last_frame(stream.getvalue()) == ["fetching model (another process is fetching it)"]
    display.notify(Fetching("model (another process is fetching it)", 0, None, finished=True))
    assert last_frame(stream.getvalue()) == []


def test_a_file_fetched_in_the_middle_of_a_run_stands_below_it() -> None:
    """Both are shown."""
    stream, display = started()
    display.notify(Fetching("SmolLM2", 1_000_000, 2_000_000))
    lines = last_frame(stream.getvalue())
    assert lines[1].startswith("openai:gpt-4o-mini ")
    assert lines[-1].startswith("fetching SmolLM2 ")


def test_a_listener_can_show_several_runs_one_after_the_other() -> None:
    """The second run is drawn below the first one's last picture."""
    stream, display = started()
    display.notify(RunFinished(picture()))
    stream.truncate(0)
    display.notify(RunStarted("second", 5))
    assert not re.search(r"\x1b\[\d+A", stream.getvalue())
    assert last_frame(stream.getvalue())[1].startswith("second ")


def test_without_a_known_total_it_counts() -> None:
    """No bar and no time left, before, during and after."""
    stream, display = started(total=None)
    display.notify(Progressed(picture(total=None, eta=None)))
    display.notify(RunFinished(picture(total=None, eta=None, saturation=())))
    assert last_frame(stream.getvalue())[2] == "1,704 rows         done"


def test_colours_are_the_terminals_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the sixteen, so that they suit the reader's theme."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    stream, display = started()
    display.notify(Progressed(picture()))
    codes = set(re.findall(r"\x1b\[([\d;]+)m", stream.getvalue()))
    assert {"32", "31", "36"} <= codes
    assert not any("38;" in code for code in codes)


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colour code is written; bold may be, as no-color.org has it."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream, display = started()
    display.notify(Progressed(picture()))
    assert set(re.findall(r"\x1b\[([\d;]+)m", stream.getvalue())) <= {"0", "1"}
    assert "━" in stream.getvalue()


class _Gone(io.StringIO):
    """A stream whose reader goes away after some writes."""

    left = 2
    asked = 0

    def write(self, text: str) -> int:
        self.asked += 1
        self.left -= 1
        if self.left < 0:
            raise BrokenPipeError
        return super().write(text)


def test_a_reader_that_goes_away_silences_the_display() -> None:
    """One failed write, and it tries no more."""
    stream = _Gone()
    display = RichProgress(stream)
    display.notify(RunStarted("run", 10))
    for _ in range(5):
        display.notify(Progressed(picture()))
    display.notify(RunFinished(picture()))
    assert stream.asked == 3


def test_a_closed_stream_silences_the_display() -> None:
    """A caller may close its stream in the middle of a run."""
    stream, display = started()
    stream.close()
    display.notify(Progressed(picture()))
    display.notify(Notice("unheard"))
    display.notify(RunFinished(picture()))
