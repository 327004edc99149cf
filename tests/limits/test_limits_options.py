"""What a user may declare about limits, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from fastbatch import Limits, Window
from fastbatch.errors import ConfigError


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
