"""429 in every form that the wait is stated in, and storms of it."""

from __future__ import annotations

import time
from email.utils import formatdate

from faults.acts import chance, everybody_for, everybody_from, refuse, sick_always, sick_once
from faults.clinic import Visit
from faults.evidence import Evidence
from faults.fault import Act, Check, Fault

_ON_THE_WAY = 0.15  # seconds in which requests that had left already may still arrive


def limited(*headers: str) -> Act:
    """Too fast, in OpenAI's words."""
    return refuse("429 Too Many Requests", "rate_limit_exceeded", *headers, kind="tokens")


async def http_date(visit: Visit) -> None:
    """A date two seconds from the reply's own, whatever the clock here says."""
    now = time.time() + 7200
    dates = (f"Date: {formatdate(now, usegmt=True)}", f"Retry-After: {formatdate(now + 1, usegmt=True)}")
    await limited(*dates)(visit)


def never_before(seconds: float) -> Check:
    """From the refusal on nobody comes until the stated time is over, but for those already on their way."""

    def check(ran: Evidence) -> list[str]:
        found = []
        for refused in ran.refusals:
            early = [
                arrival
                for arrival in ran.arrivals
                if refused + _ON_THE_WAY + ran.busy < arrival.at < refused + seconds - 0.002
            ]
            found += [f"{who.prompt} came {who.at - refused:.3f} s after the refusal" for who in early]
        return found

    return check


def slow_then(act: Act) -> Act:
    """The same, with good answers that take a moment, so that others are still to come."""

    async def behave(visit: Visit) -> None:
        await (act(visit) if visit.sick and visit.nth == 1 else visit.answer(after=0.03))

    return behave


# name: headers, seconds that they state
STATED: dict[str, tuple[tuple[str, ...], float]] = {
    "retry-after in seconds": (("Retry-After: 1",), 1.0),
    "retry-after with a fraction": (("Retry-After: 0.5",), 0.5),
    "retry-after-ms": (("Retry-After-Ms: 400", "Retry-After: 1"), 0.4),
    "reset headers of OpenAI": (
        (
            "x-ratelimit-limit-requests: 500",
            "x-ratelimit-remaining-requests: 0",
            "x-ratelimit-reset-requests: 400ms",
        ),
        0.4,
    ),
    "reset of the tokens": (
        (
            "x-ratelimit-limit-requests: 500",
            "x-ratelimit-remaining-requests: 499",
            "x-ratelimit-reset-requests: 120ms",
            "x-ratelimit-limit-tokens: 1000",
            "x-ratelimit-remaining-tokens: 0",
            "x-ratelimit-reset-tokens: 0.5s",
        ),
        0.5,
    ),
    "reset in whole seconds, as Azure": (
        (
            "x-ratelimit-limit-tokens: 1000",
            "x-ratelimit-remaining-tokens: -1",
            "x-ratelimit-reset-tokens: 1",
        ),
        1.0,
    ),
}

# Headers that say nothing: the row waits as long as we choose, and is answered.
UNSTATED: dict[str, tuple[str, ...]] = {
    "no header": (),
    "retry-after of 0": ("Retry-After: 0",),
    "a negative retry-after": ("Retry-After: -5",),
    "garbage": ("Retry-After: soon", "Retry-After-Ms: ~", "x-ratelimit-reset-requests: later"),
    "a number that is none": ("Retry-After: NaN", "Retry-After-Ms: inf"),
    "a date long ago": ("Retry-After: Wed, 21 Oct 2015 07:28:00 GMT",),
}

# Waits that are longer than a run should take: it stops, and says so.
TOO_LONG: dict[str, tuple[str, ...]] = {
    "a retry-after of 1e9": ("Retry-After: 1000000000",),
    "a retry-after of a day": ("Retry-After: 86400",),
    "a reset of two hours": (
        "x-ratelimit-limit-requests: 14400",
        "x-ratelimit-remaining-requests: 0",
        "x-ratelimit-reset-requests: 2h0m0s",
    ),
}


async def rfc3339(visit: Visit) -> None:
    """Anthropic's form: the moment of the reset, in whole seconds."""
    now = time.time() + 7200
    reset = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 1))
    await refuse(
        "429 Too Many Requests",
        "rate_limit_error",
        f"Date: {formatdate(now, usegmt=True)}",
        "anthropic-ratelimit-requests-limit: 50",
        "anthropic-ratelimit-requests-remaining: 0",
        f"anthropic-ratelimit-requests-reset: {reset}",
    )(visit)


def _stated(name: str, act: Act, seconds: float, **more: float) -> Fault:
    return Fault(
        name=f"429, {name}",
        row="429",
        act=slow_then(act),
        rows=12,
        concurrency=2,
        sent=(2, 2),
        holds=(never_before(seconds),),
        **more,  # type: ignore[arg-type]
    )


TOO_FAST = (
    *(_stated(name, limited(*headers), seconds) for name, (headers, seconds) in STATED.items()),
    _stated("retry-after as a date", http_date, 0.9),
    _stated("a reset in RFC 3339", rfc3339, 0.9),
    *(
        Fault(name=f"429, {name}", row="429", act=sick_once(limited(*headers)), sent=(2, 2))
        for name, headers in UNSTATED.items()
    ),
    *(
        Fault(
            name=f"429, {name}",
            row="429",
            act=sick_always(limited(*headers)),
            code=4,
            cause="RateLimited",
            says="wait|day|daily",
            within=5.0,
        )
        for name, headers in TOO_LONG.items()
    ),
    Fault(
        name="429, longer than --max-wait",
        row="429",
        act=sick_always(limited("Retry-After: 3")),
        options={"max_wait": 2},
        code=4,
        cause="RateLimited",
        says="wait",
        within=5.0,
    ),
    Fault(
        name="429 for ever, and nobody says how long",
        row="429",
        act=everybody_from(4, limited()),
        rows=20,
        options={"max_wait": 1.5},
        code=4,
        total=30,
        says="refused|limit|wait",
        within=5.0,
    ),
    Fault(
        name="429 five times, with two attempts",
        row="429",
        act=sick_once(limited("Retry-After-Ms: 30"), times=5),
        sent=(6, 6),
    ),
    Fault(
        name="429, a request that never fits",
        row="429",
        act=sick_always(limited("x-should-retry: false")),
        code=1,
        kind="RateLimited",
        billed=False,
    ),
)


def storms(scale: float) -> tuple[Fault, ...]:
    """Storms of `scale` × 30 s and dice over 200 rows, or 2,000."""
    seconds, rows = 30 * scale, 200 if scale < 1 else 2000
    return (
        Fault(
            name="a storm of 429",
            row="storms",
            act=everybody_for(seconds, limited(), after=0.05),
            rows=rows,
            concurrency=16,
            attempts=6,
            total=round(1.2 * rows),
            within=2 * seconds + 10,
        ),
        Fault(
            name="a storm of 429 that states a second",
            row="storms",
            act=everybody_for(seconds, limited("Retry-After: 1"), after=0.05),
            rows=rows,
            concurrency=16,
            attempts=6,
            total=round(1.2 * rows),
            within=2 * seconds + 10,
        ),
        Fault(
            name="a storm of 429 is forgotten within ten seconds",
            row="storms",
            act=everybody_for(3.0, limited("Retry-After: 1")),
            rows=600,
            concurrency=16,
            attempts=6,
            total=720,
            within=3 + 10 + 1,
        ),
        Fault(
            name="a storm of 429 that begins when some have been answered is forgotten, too",
            row="storms",
            act=everybody_for(6.0, limited(), after=0.05),
            rows=600,
            concurrency=16,
            attempts=6,
            total=720,
            within=6 + 10 + 1,
        ),
        Fault(
            name="half of all are 429",
            row="storms",
            act=chance(0.5, limited("Retry-After-Ms: 5")),
            rows=rows,
            concurrency=16,
            attempts=6,
            total=round(2.1 * rows),
            within=60,
        ),
        Fault(
            name="a tenth of all are 500",
            row="storms",
            act=chance(0.1, refuse("500 Internal Server Error")),
            rows=rows,
            concurrency=16,
            attempts=6,
            total=round(1.2 * rows),
            within=60,
        ),
    )
