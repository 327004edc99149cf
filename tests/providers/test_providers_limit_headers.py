"""Limits as headers state them: every provider's form, and everything that counts as unsaid."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from fastbatch.limits.stated import Stated
from fastbatch.providers.limit_headers import LimitHeaders, read_limits

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


def openai(limit: str, remaining: str = "5", reset: str = "1s", what: str = "requests") -> dict[str, str]:
    parts = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"x-ratelimit-{part}-{what}": value for part, value in parts.items()}


def anthropic(limit: str, remaining: str, reset: str, what: str) -> dict[str, str]:
    parts = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"anthropic-ratelimit-{what}-{part}": value for part, value in parts.items()}


@pytest.mark.parametrize(
    ("headers", "stated"),
    [
        ({}, ()),
        ({"content-type": "application/json", "x-request-id": "r"}, ()),
        # OpenAI
        (
            {**openai("10000", "9999", "8.64s"), **openai("200000", "199980", "6ms", "tokens")},
            (Stated("requests", 10000, 9999, 8.64), Stated("tokens", 200000, 199980, 0.006)),
        ),
        # Azure: whole seconds, and -1 for what it does not know
        (openai("60000", "-1", "30", "tokens"), (Stated("tokens", 60000, None, 30.0),)),
        (openai("60000", "0", "0", "tokens"), (Stated("tokens", 60000, 0, 0.0),)),
        # Groq: a day's requests, told by the numbers
        (openai("14400", "14370", "2m59.56s"), (Stated("requests", 14400, 14370, 179.56),)),
        # Cerebras: the span in the name
        (
            {
                "x-ratelimit-limit-requests-day": "14400",
                "x-ratelimit-remaining-requests-day": "14399",
                "x-ratelimit-reset-requests-day": "33011.382867",
            },
            (Stated("requests", 14400, 14399, 33011.382867, 86400.0),),
        ),
        # Anthropic
        (
            {
                **anthropic("50", "49", "2015-10-21T07:28:02Z", "requests"),
                **anthropic("40000", "39000", "2015-10-21T07:28:30+00:00", "input-tokens"),
                **anthropic("8000", "8000", "2015-10-21T07:27:59Z", "output-tokens"),
                **anthropic("48000", "47000", "2015-10-21T09:29:00+02:00", "tokens"),
                "date": DATE,
            },
            (
                Stated("requests", 50, 49, 2.0, 60.0),
                Stated("tokens", 48000, 47000, 60.0, 60.0),
                Stated("input_tokens", 40000, 39000, 30.0, 60.0),
                Stated("output_tokens", 8000, 8000, 0.0, 60.0),
            ),
        ),
        (anthropic("50", "49", "2015-10-21T07:28:02Z", "requests"), (Stated("requests", 50, 49, per=60.0),)),
        # Together: a second each; the same names with a longer reset are somebody else's
        (
            {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "9", "x-ratelimit-reset": "1"},
            (Stated("requests", 10, 9, 1.0, 1.0),),
        ),
        ({"x-tokenlimit-limit": "3000"}, (Stated("tokens", 3000, None, None, 1.0),)),
        (
            {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1445412510000"}
            | {"date": DATE},
            (Stated("requests", 20, 0, 30.0),),
        ),
        (
            {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1445412510"}
            | {"date": DATE},
            (Stated("requests", 20, 0, 30.0),),
        ),
        # the IETF draft, older and newer
        (
            {"ratelimit-limit": "100", "ratelimit-remaining": "50", "ratelimit-reset": "5"},
            (Stated("requests", 100, 50, 5.0),),
        ),
        (
            {"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "50", "ratelimit-reset": "5"},
            (Stated("requests", 100, 50, 5.0, 60.0),),
        ),
        (
            {
                "ratelimit-policy": '"burst";q=100;w=60,"day-tokens";q=1000;w=86400',
                "ratelimit": '"burst";r=50;t=30, "day-tokens";r=2000',
            },
            (Stated("requests", 100, 50, 30.0, 60.0), Stated("tokens", 1000, 1000, None, 86400.0)),
        ),
        ({"ratelimit-policy": "default; q=7", "ratelimit": ""}, (Stated("requests", 7),)),
        ({"ratelimit-policy": "", "ratelimit": '"a";r=5'}, ()),
    ],
)  # fmt: skip
def test_every_form(headers: dict[str, str], stated: tuple[Stated, ...]) -> None:
    """One value for each limit, whatever the names are."""
    assert read_limits(headers) == stated
    assert LimitHeaders().read(CIMultiDictProxy(CIMultiDict(headers))) == stated


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("17ms", 0.017),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("1m30s", 90.0),
        ("2m59.56s", 179.56),
        ("1h0m0s", 3600.0),
        ("1d2h", 93600.0),
        ("1m500ms", 60.5),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("0s", 0.0),
        ("0", 0.0),
        (" 7.5 ", 7.5),
        *(
            (text, None)
            for text in (
                *(
                    "",
                    " ",
                    "-1s",
                    "-1",
                    "soon",
                    "1 s",
                    "s",
                    "m",
                    "1s1m",
                    "1e3",
                    "nan",
                    "inf",
                    "٣",
                    "²s",
                    "1,5",
                ),
                *("9" * 400, "9" * 400 + "s", "999999999s", "1s;", "\udcff", "3h3h"),
                *("2015-10-21T07:28:02", "2015-10-21", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
            )
        ),
    ],
)
def test_resets(text: str, seconds: float | None) -> None:
    """Seconds, Go's durations, moments with their zone; what cannot be right is unsaid."""
    (stated,) = read_limits({**openai("9", "5", text), "date": DATE})
    assert stated.reset == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("limit", "remaining", "stated"),
    [
        ("9", "9", (9, 9)),
        ("9", "10", (9, 9)),
        ("9", " 8 ", (9, 8)),
        ("9.0", "8.9", (9, 8)),
        ("9", "-1", (9, None)),
        ("9", "", (9, None)),
        ("9", "many", (9, None)),
        ("9", "٣", (9, None)),
        ("9", "9" * 5000, (9, None)),
        *((limit, "5", None) for limit in ("0", "-1", "", "many", "9" * 16, "9" * 5000, "٣", "1e3", "inf")),
    ],
)
def test_amounts(limit: str, remaining: str, stated: tuple[int, int | None] | None) -> None:
    """Whole numbers of 0 or more; a limit that is none is no limit, an unreadable rest is unsaid."""
    assert [(each.limit, each.remaining) for each in read_limits(openai(limit, remaining))] == (
        [] if stated is None else [stated]
    )


class Asked(dict[str, str]):
    """Headers that count how often they were asked."""

    asked = 0

    def get(self, *name: Any) -> Any:  # type: ignore[override]
        self.asked += 1
        return super().get(*name)


def asked_for(reader: LimitHeaders, headers: dict[str, str], **options: bool) -> int:
    counting = Asked(headers)
    reader.read(counting, **options)
    return counting.asked


def test_a_server_without_limits_is_hardly_asked() -> None:
    """After four replies without a limit only every 64th is looked at, and a refusal whenever it comes."""
    reader = LimitHeaders()
    asked = [asked_for(reader, {}) for _ in range(4 + 64 + 1)]
    assert [number for number, count in enumerate(asked) if count] == [0, 1, 2, 3, 67]
    assert asked_for(reader, {}, thorough=True) > 0
    assert reader.read(openai("9"), thorough=True) == reader.read(openai("9"))


def test_a_known_server_is_asked_for_its_own_names_only() -> None:
    """Three headers for each limit it has stated."""
    reader = LimitHeaders()
    reader.read(openai("9"))
    assert [asked_for(reader, openai("9")) for _ in range(62)] == [3] * 62


def test_further_limits_are_found_in_time() -> None:
    """A server that begins to state another limit is heard within 64 replies; none is forgotten."""
    reader = LimitHeaders()
    reader.read(openai("9"))
    both = {**openai("9"), **openai("500", what="tokens")}
    assert max(len(reader.read(both)) for _ in range(64)) == 2
    for _ in range(200):
        assert len(reader.read(openai("9"))) == 1
    assert len(reader.read(both)) == 2


@given(st.sampled_from(sorted(openai("1") | anthropic("1", "1", "1", "tokens"))), st.text(max_size=40))
def test_no_text_is_too_strange(name: str, text: str) -> None:
    """Whatever a header holds, a limit is a positive number and a reset is no moment in the past."""
    headers = {**openai("9"), **anthropic("9", "9", "9", "tokens"), "date": DATE, name: text}
    for stated in read_limits(headers):
        assert stated.limit >= 1
        assert stated.remaining is None or 0 <= stated.remaining <= stated.limit
        assert stated.reset is None or 0 <= stated.reset < 1e9
