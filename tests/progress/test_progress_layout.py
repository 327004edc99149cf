"""What the display says, line by line, at several widths."""

from __future__ import annotations

import io
import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from progress_samples import picture
from rich.console import Console

from fastbatch.models.stats import Bill, Saturation, Snapshot
from fastbatch.progress.layout import State, fetch_line, run_lines

NARROW = """
openai:gpt-4o-mini                           elapsed     12s
━━━━──────────────────────   17%   1,704/10,000  eta     34s

ok       1,200   in flight    256    rows              240/s
failed       4   retries        3    tokens in  120k 9.80k/s
cached     310   to retry       2          out 48.2k 3.92k/s
shared      12                       p50, p99  842ms    3.1s
skipped    500

requests/min  ━━━━━━━━━╸──   80%  1,200/1,500
tokens/min    ━━╸─────────   23%   467k/2.00M
waiting: limit of requests/min
"""

USUAL = """
openai:gpt-4o-mini                                               elapsed     12s
━━━━━━━╸──────────────────────────────────────   17%   1,704/10,000  eta     34s

ok       1,200             in flight    256              rows              240/s
failed       4             retries        3              tokens in  120k 9.80k/s
cached     310             to retry       2                    out 48.2k 3.92k/s
shared      12                                           p50, p99  842ms    3.1s
skipped    500

requests/min  ━━━━━━━━━━━━━━━━━━━━━━━━━╸──────   80%  1,200/1,500
tokens/min    ━━━━━━━─────────────────────────   23%   467k/2.00M
waiting: limit of requests/min
"""

WIDE = """
openai:gpt-4o-mini                                                                   elapsed     12s
━━━━━━━━━━━───────────────────────────────────────────────────────   17%   1,704/10,000  eta     34s

ok       1,200                       in flight    256                        rows              240/s
failed       4                       retries        3                        tokens in  120k 9.80k/s
cached     310                       to retry       2                              out 48.2k 3.92k/s
shared      12                                                               p50, p99  842ms    3.1s
skipped    500

requests/min  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╸──────────   80%  1,200/1,500
tokens/min    ━━━━━━━━━━━━────────────────────────────────────────   23%   467k/2.00M
waiting: limit of requests/min
"""


def shown(
    snapshot: Snapshot, width: int, state: State = "running", title: str = "openai:gpt-4o-mini"
) -> list[str]:
    """The lines as a recording console of that width takes them."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    for line in run_lines(title, snapshot, width, state):
        console.print(line)
    return console.export_text().splitlines()


def test_at_60_columns() -> None:
    """Everything has its place on a narrow terminal."""
    assert shown(picture(), 60) == NARROW.splitlines()


def test_at_80_columns() -> None:
    """The bar and the gauges end in one column, the tables reach from edge to edge."""
    assert shown(picture(), 80) == USUAL.splitlines()


def test_at_120_columns() -> None:
    """On a wide terminal the display stays 100 columns wide."""
    assert shown(picture(), 120) == WIDE.splitlines()


def test_numbers_that_are_zero_are_left_out_but_for_ok_and_failed() -> None:
    """A run without cache, limits and trouble is told in few words."""
    calm = picture(
        cached=0, shared=0, skipped=0, failed=0, waiting=0, retries=0, saturation=(), waiting_for=""
    )
    text = "\n".join(shown(calm, 80))
    assert re.search(r"^ok +1,200 ", text, re.MULTILINE)
    assert re.search(r"^failed +0 ", text, re.MULTILINE)
    for absent in ("cached", "shared", "skipped", "waiting", "requests/min"):
        assert absent not in text


def test_without_a_known_total_there_is_no_bar_and_no_time_left() -> None:
    """Rows from a stream are counted; nothing is invented about their end."""
    lines = shown(picture(total=None, eta=None, saturation=()), 80)
    assert lines[2] == "1,704 rows"
    text = "\n".join(lines)
    for absent in ("━", "─", "%", "eta"):
        assert absent not in text


@pytest.mark.parametrize(("state", "word"), [("done", "done"), ("stopped", "stopped")])
def test_the_last_picture_says_how_it_ended(state: State, word: str) -> None:
    """The end stands where the time left stood, and the bar stays where it was."""
    before, after = shown(picture(), 80)[2], shown(picture(), 80, state)[2]
    assert after == re.sub(r"eta +\d+s$", lambda match: f"{word:>{len(match.group())}}", before)
    assert not any("waiting" in line for line in shown(picture(), 80, state))


def test_nothing_jumps_while_a_run_lasts() -> None:
    """From the first row to the last, words and bars begin in the same columns and rows."""

    def places(snapshot: Snapshot) -> list[tuple[int, int, str]]:
        return [
            (row, match.start(), match.group())
            for row, line in enumerate(shown(snapshot, 80))
            for match in re.finditer(r"[a-z]+(?: [a-z]+)*|[━─╸]+", re.sub(r"(?<=\d)[smhdkM]\b|/s", " ", line))
            if match.group()[0].isalpha()
        ]

    early = picture(
        ok=1, failed=0, skipped=500, cached=1, shared=1, in_flight=1, waiting=1, retries=1, elapsed=0.3
    )
    late = picture(ok=9_400, failed=99, in_flight=64, waiting=50, retries=12_345, elapsed=35_000, eta=3_700.0)
    assert places(early) == places(late)
    assert len(shown(picture(waiting_for=""), 80)) == len(shown(picture(), 80))


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(39, 140),
    total=st.one_of(st.none(), st.integers(1, 10**8)),
    share=st.floats(0, 1),
    used=st.floats(0, 3e9),
    title=st.text(min_size=1, max_size=90),
)
def test_no_line_is_wider_than_the_terminal(
    width: int, total: int | None, share: float, used: float, title: str
) -> None:
    """Whatever a run reaches, and in whatever script its title is written."""
    ok = int(share * (10**8 if total is None else total))
    limit = Saturation("tokens/" + title, used, 1e9, 60.0)
    snapshot = picture(
        total=total, ok=ok, cached=ok, shared=0, failed=0, skipped=0, saturation=(limit,), waiting_for=title
    )
    for state in ("running", "done", "stopped"):
        for line in run_lines(title, snapshot, width, state):  # type: ignore[arg-type]
            assert line.cell_len <= width


@given(total=st.integers(1, 5_000), data=st.data())
def test_the_bar_is_full_only_when_every_row_has_its_record(total: int, data: st.DataObject) -> None:
    """And an empty run shows an empty bar."""
    skipped = data.draw(st.integers(0, total))
    failed = data.draw(st.integers(0, total - skipped))
    ok = data.draw(st.integers(0, total - skipped - failed))
    cached = data.draw(st.integers(0, ok))
    counts = {"ok": ok, "cached": cached, "failed": failed, "skipped": skipped, "shared": 0}
    line = run_lines("", picture(total=total, **counts), 80)[2]
    bar = line.plain.split()[0]
    done = ok + failed + skipped
    assert ("─" not in bar and "╸" not in bar) == (done == total)
    assert bar.count("━") == int(len(bar) * done / total)


def test_an_empty_input_is_all_done() -> None:
    """Nothing of nothing is everything: a full bar, and no division by zero."""
    nothing = picture(total=0, ok=0, cached=0, shared=0, failed=0, skipped=0, eta=0.0)
    assert re.fullmatch("━+  100%  0/0         done", run_lines("", nothing, 80, "done")[2].plain)


def test_the_parts_of_the_bar_have_the_colours_of_their_numbers() -> None:
    """A quarter each: skipped blue, failed red, from the cache cyan, answered green."""
    quarters = picture(total=100, skipped=25, failed=25, ok=50, cached=20, shared=5)
    line = run_lines("", quarters, 80)[2]
    width = len(line.plain.split()[0])
    cells = [(str(span.style), (span.end - span.start) / width) for span in line.spans if span.end <= width]
    assert [style for style, _ in cells] == ["blue", "red", "cyan", "green"]
    assert all(abs(share - 0.25) < 0.02 for _, share in cells)


def test_a_file_on_its_way() -> None:
    """Name, bar, megabytes and percent; narrow terminals lose the bar first, unknown sizes have none."""
    assert fetch_line("SmolLM2-135M-Instruct", 43_120_000, 98_000_000, 80).plain == (
        "fetching SmolLM2-135M-Instruct  ━━━━━━━━━━━━────────────────  43.1/98.0 MB   44%"
    )
    assert fetch_line("SmolLM2-135M-Instruct", 43_120_000, 98_000_000, 50).plain == (
        "fetching SmolLM2-135M-Instruct  43.1/98.0 MB   44%"
    )
    assert fetch_line("SmolLM2-135M-Instruct", 43_120_000, None, 80).plain == (
        "fetching SmolLM2-135M-Instruct  43.1 MB"
    )


PRICED = """
openai:gpt-4o-mini                                               elapsed     12s
━━━━━━━╸──────────────────────────────────────   17%   1,704/10,000  eta     34s

ok       1,200             in flight    256              rows              240/s
failed       4             retries        3              tokens in  120k 9.80k/s
cached     310             to retry       2                    out 48.2k 3.92k/s
shared      12                                           p50, p99  842ms    3.1s
skipped    500                                           cost              $1.23
                                                           of about       >$8.97
                                                         budget             $120
                                                         unpriced             12
"""


def test_the_bill_so_far() -> None:
    """Where anything costs something, or there is a budget: what it has cost, and what all of it will."""
    bill = Bill(cost=Decimal("1.2345"), budget=Decimal(120), unpriced=12)
    priced = picture(bill=bill, projected=Decimal("8.9684"), saturation=(), waiting_for="")
    assert shown(priced, 80)[:-1] == [line.rstrip() for line in PRICED.splitlines()]
    assert "cost" not in "\n".join(shown(picture(), 80))
