"""What a user may declare about limits, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from fastbatch import Limits, Window
from fastbatch.errors import ConfigError
from fastbatch.simulator.config import SimulatedLimit


@pytest.mark.parametrize(
    ("limits", "windows"),
    [
        (Limits(), ()),
        (Limits(rpm=5), (Window(requests=5, per=60.0),)),
        (Limits(tpm=5), (Window(tokens=5, per=60.0),)),
        (Limits(rpm=5, tpm=6), (Window(5, 6, 60.0),)),
        (
            Limits(rpm=5, windows=(Window(requests=1, per=1.0),)),
            (Window(requests=5), Window(requests=1, per=1.0)),
        ),
    ],
)
def test_rpm_and_tpm_are_one_minute_each(limits: Limits, windows: tuple[Window, ...]) -> None:
    """They stand before the declared windows, all of which hold at once."""
    assert limits.declared() == windows


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("1500/5s", Window(requests=1500, per=5.0)),
        ("90000tok/60s", Window(tokens=90_000, per=60.0)),
        ("90000 tokens / 60 s", Window(tokens=90_000, per=60.0)),
        ("500/min", Window(requests=500, per=60.0)),
        ("500req/2m", Window(requests=500, per=120.0)),
        ("25/s", Window(requests=25, per=1.0)),
        (" 25requests/1 ", Window(requests=25, per=1.0)),
        ("25/0.5", Window(requests=25, per=0.5)),
        ("10/100ms", Window(requests=10, per=0.1)),
        ("1000tok/h", Window(tokens=1000, per=3600.0)),
        ("5/day", Window(requests=5, per=86_400.0)),
        ("5/1.5d", Window(requests=5, per=129_600.0)),
    ],
)
def test_windows_are_written_like_people_say_them(text: str, window: Window) -> None:
    """An amount, what it counts, and a time; the simulator reads the same words."""
    assert Window.parse(text) == window
    simulated = SimulatedLimit.parse(text)
    assert (simulated.requests, simulated.tokens, simulated.per) == (
        window.requests,
        window.tokens,
        window.per,
    )


@pytest.mark.parametrize(
    "text",
    [
        *("", "5", "5/", "/s", "5/fortnight", "5/S", "-5/s", "5/-1s", "5.5/s", "5/s5", "1e3/s", "5/1e3s"),
        *("5 per s", "5 words/s", "5/nan", "0/s", "5/0s", "5/0", "0tok/s", "5/1.s", "٣/s", "5/s/s"),
        *("9" * 5000 + "/s", "5/" + "9" * 400),
    ],
)
def test_other_words_for_a_window_are_refused(text: str) -> None:
    """The error names the setting and shows what to write."""
    with pytest.raises(ConfigError, match=r"write it like|must allow") as refused:
        Window.parse(text)
    assert (refused.value.key, refused.value.value) == ("window", text)
    with pytest.raises(ConfigError):
        SimulatedLimit.parse(text)


@pytest.mark.parametrize(
    ("kind", "options", "key"),
    [
        (Limits, {"rpm": 0}, "rpm"),
        (Limits, {"rpm": -1}, "rpm"),
        (Limits, {"tpm": 1.5}, "tpm"),
        (Limits, {"tpm": "9"}, "tpm"),
        (Limits, {"transit": -1}, "transit"),
        (Limits, {"transit": float("nan")}, "transit"),
        (Limits, {"transit": float("inf")}, "transit"),
        (Window, {}, "Window"),
        (Window, {"requests": 0}, "Window.requests"),
        (Window, {"tokens": 2.0}, "Window.tokens"),
        (Window, {"requests": 1, "per": 0}, "Window.per"),
        (Window, {"requests": 1, "per": -1.0}, "Window.per"),
        (Window, {"requests": 1, "per": float("nan")}, "Window.per"),
        (Window, {"requests": 1, "per": float("inf")}, "Window.per"),
    ],
)
def test_impossible_limits_are_refused(kind: type, options: dict[str, Any], key: str) -> None:
    """The error names the key."""
    with pytest.raises(ConfigError) as refused:
        kind(**options)
    assert refused.value.key == key
