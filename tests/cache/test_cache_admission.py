"""Which entries go into a bounded cache: a table."""

from __future__ import annotations

import pytest

from fastbatch.cache.admission import Admission, admit


@pytest.mark.parametrize(
    ("sizes", "replaced", "total", "bound", "when_full", "expected"),
    [
        pytest.param([10, 20], {}, 50, None, "stop", Admission(range(2), growth=30), id="no bound"),
        pytest.param([10, 20], {}, 70, 100, "stop", Admission(range(2), growth=30), id="fits exactly"),
        pytest.param(
            [10, 20], {}, 71, 100, "stop", Admission([0], refused=1, growth=10), id="the second does not"
        ),
        pytest.param(
            [50, 9], {}, 60, 100, "stop", Admission([1], refused=1, growth=9), id="a later one fits"
        ),
        pytest.param(
            [30, 9], {}, 70, 100, "stop", Admission([0], refused=1, growth=30), id="the first fits exactly"
        ),
        pytest.param([10, 10], {}, 100, 100, "stop", Admission([], refused=2), id="full"),
        pytest.param([10, 10], {}, 500, 100, "stop", Admission([], refused=2), id="bound lowered since"),
        pytest.param(
            [10, 9], {0: 10}, 95, 100, "stop", Admission([0], refused=1), id="replacing takes no room"
        ),
        pytest.param(
            [5, 9], {0: 10}, 96, 100, "stop", Admission(range(2), growth=4), id="replacing makes room"
        ),
        pytest.param([10, 20], {}, 70, 100, "evict", Admission(range(2), growth=30), id="evict: fits"),
        pytest.param([10, 20], {}, 90, 100, "evict", Admission([0, 1], growth=30, evict=20), id="evict"),
        pytest.param(
            [10, 101], {}, 90, 100, "evict", Admission([0], refused=1, growth=10), id="evict: too large"
        ),
        pytest.param(
            [60, 30, 50],
            {},
            90,
            100,
            "evict",
            Admission([1, 2], refused=1, growth=80, evict=70),
            id="evict: last win",
        ),
        pytest.param(
            [20], {0: 30}, 120, 100, "evict", Admission([0], growth=-10, evict=10), id="evict: replacing"
        ),
    ],
)
def test_admission(sizes, replaced, total, bound, when_full, expected) -> None:  # type: ignore[no-untyped-def]
    """Positions stored, how many refused, growth in bytes and what must leave first."""
    plan = admit(sizes, replaced, total, bound, when_full)
    assert plan == Admission(plan.stored, expected.refused, expected.growth, expected.evict)
    assert list(plan.stored) == list(expected.stored)
