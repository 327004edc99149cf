"""One entry of the table: what a server does to whom, and what must hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from faults.clinic import Visit
    from faults.evidence import Evidence

Act = Callable[["Visit"], Awaitable[None]]
Check = Callable[["Evidence"], list[str]]
Door = Literal["command", "run_file", "stream"]

DOORS: tuple[Door, ...] = ("command", "run_file", "stream")

TRANSPORTS = ("aiohttp", "fast", "aiohttp without uvloop", "fast without uvloop")
"""As `transports.REAL` has them, on uvloop where it is installed, and on asyncio's own loop."""


def by_turns(number: int, door: Door) -> str:
    """What the entry of this number meets at this door: each meets both transports, and both loops."""
    turn = DOORS.index(door) // 2
    return TRANSPORTS[(number + turn) % 2 + 2 * ((number // 2 + turn) % 2)]


STALL = 0.05  # seconds of the loop's time that one thing may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault and its expectations.

    Rows are called `well-0`, `well-1` … and, from the third on, `sick-0` …; `act` is called for every request
    until the server is healed for the second run, and usually spares the well ones.

    Attributes:
        name: of the entry; `row`: of the matrix, as the page `faults.md` has it.
        act: what the server does; `tls`: how its certificate is; `place`: an address that is not its.
        rows, sick: how many rows in all, and how many of them are sick.
        concurrency, attempts, timeout: as the run is told; `options` are its further ones, by the command
            line's names with underscores.
        base: seconds of the first wait of ours; the command line's is always 0.5.
        code: exit code of the first run, or codes that it may have.
        kind: class of the error of each sick row; None where they are answered in the end, or stay open.
        may_fail: how many other rows may fail, with the same class.
        billed: whether that error must say "maybe billed".
        sent: requests of each sick row, at least and at most; well rows are sent once.
        total: requests of the first run at most, where `sent` cannot say it (everybody is sick).
        cause: class of the error that stops the run, as the library tells it.
        says: a pattern that people must be told (standard error; the exception in the library).
        holds: further checks, each a list of what is wrong.
        within: seconds that the first run may take.
        late: seconds for which nobody listens at first.
        memory: bytes that the first run may grow by.
        stall: seconds for which nothing else may get its turn.
        new_key: the second run has another key.
        clock: seconds by which the wall clock jumps when the run has begun.
        files: the limit of open descriptors.
        calm: its figures are about time, so that little may run beside it.
    """

    name: str
    row: str
    act: Act
    rows: int = 8
    sick: int = 1
    concurrency: int = 4
    attempts: int = 2
    timeout: float = 10.0
    options: Mapping[str, Any] = field(default_factory=dict)
    base: float = 0.05
    code: int | tuple[int, ...] = 0
    kind: str | None = None
    may_fail: int = 0
    billed: bool | None = None
    sent: tuple[int, int] = (1, 1)
    total: int | None = None
    cause: str | None = None
    says: str | None = None
    holds: tuple[Check, ...] = ()
    within: float = 20.0
    tls: str | None = None
    place: Callable[[int], str] | None = None
    late: float = 0.0
    memory: int = 64 << 20
    stall: float = STALL
    new_key: bool = False
    clock: float = 0.0
    files: int | None = None
    calm: bool = False

    @property
    def codes(self) -> tuple[int, ...]:
        """The exit codes that the first run may have."""
        return self.code if isinstance(self.code, tuple) else (self.code,)

    @property
    def stops(self) -> bool:
        """Whether the run ends before its rows do."""
        return not {*self.codes} <= {0, 1}

    def prompts(self) -> list[str]:
        """What is asked, in order; a prompt is also the row's id."""
        well = [f"well-{number}" for number in range(self.rows - self.sick)]
        return [*well[:2], *(f"sick-{number}" for number in range(self.sick)), *well[2:]]
