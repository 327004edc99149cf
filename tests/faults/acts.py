"""To whom and when: acts made of other acts, and the good answer."""

from __future__ import annotations

import hashlib

from faults.clinic import Visit
from faults.fault import Act


async def well(visit: Visit) -> None:
    """Answer."""
    await visit.answer()


def sick_once(act: Act, times: int = 1) -> Act:
    """The sick rows meet `act` the first time (the first `times`), everybody else is answered."""

    async def behave(visit: Visit) -> None:
        await (act(visit) if visit.sick and visit.nth <= times else visit.answer())

    return behave


def sick_always(act: Act) -> Act:
    """The sick rows meet `act` every time."""
    return sick_once(act, 1_000_000)


def everybody_for(seconds: float, act: Act, after: float = 0.0) -> Act:
    """From `after` seconds behind the first request, for some seconds, everybody meets `act`."""

    async def behave(visit: Visit) -> None:
        await (act(visit) if after <= visit.lasted < after + seconds else visit.answer(after=0.01))

    return behave


def everybody_from(number: int, act: Act) -> Act:
    """From the request of this number on everybody meets `act`."""

    async def behave(visit: Visit) -> None:
        await (act(visit) if visit.number >= number else visit.answer(after=0.01))

    return behave


def chance(share: float, act: Act) -> Act:
    """By dice that fall the same each time: a row's first, second … request meets `act` with this chance."""

    async def behave(visit: Visit) -> None:
        thrown = hashlib.sha256(f"{visit.prompt} {visit.nth}".encode()).digest()
        dice = int.from_bytes(thrown[:4]) / 2**32
        await (act(visit) if dice < share else visit.answer(after=0.005))

    return behave


def refuse(status: str, code: str | None = None, *headers: str, kind: str = "error") -> Act:
    """An error in OpenAI's shape."""

    async def behave(visit: Visit) -> None:
        await visit.refuse(status, code, *headers, kind=kind)

    return behave
