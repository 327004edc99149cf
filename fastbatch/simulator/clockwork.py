"""How a simulated provider treats batches: how long they take, how they end, how many may wait."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from fastbatch.errors import ConfigError

MissingFile = Literal["output", "errors"]
MOST_BYTES = 256_000_000
MISSING: tuple[MissingFile, ...] = ("output", "errors")


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """The clockwork of batches; every default is the friendly case.

    Attributes:
        seconds: from a batch's creation to its completion: a tenth of it validating, a tenth finalizing, the
            rows answered at an even pace in between.
        expires: seconds after its creation at which a batch expires that is not done (24 hours at most APIs).
        share: of the rows that are answered at all, rounded up; a batch with others ends by expiring.
        breaks: seconds after its creation at which a batch that is not done fails as a whole, by no fault of
            its rows; None: never. Nothing is said of the rows left undone, except at Anthropic, where batches
            do not fail and these rows do.
        cancel_seconds: how long a batch is cancelling; the rows go on meanwhile.
        missing: "output": no row is answered, so that there is no output file; "errors": what failed or was
            left undone stands in no file.
        rows: most rows of a batch; None: as the API has it (OpenAI 50,000, Anthropic and Azure 100,000).
        size: most bytes of an uploaded file, or of a body with a batch in it; None: as the API has it (OpenAI
            and Azure 200 MB, Anthropic 256 MB; Gemini's 2 GB are 256 MB here, which is what memory is given).
        tokens: most prompt tokens of one model that may wait in unfinished batches; a batch beyond it fails
            or is refused.
        price: what a token of a batch costs, as a share of what it costs online.
        lose_replies: the first so many batches are created without their creator hearing of it: the
            connection is reset.

    Raises:
        ConfigError: a value is impossible; names the field.
    """

    seconds: float = 0.0
    expires: float = 86_400.0
    share: float = 1.0
    breaks: float | None = None
    cancel_seconds: float = 0.0
    missing: tuple[MissingFile, ...] = ()
    rows: int | None = None
    size: int | None = None
    tokens: int | None = None
    price: Decimal = Decimal("0.5")
    lose_replies: int = 0

    @property
    def most_bytes(self) -> int:
        """What no body about files or batches may exceed, whichever API it is for."""
        return self.size or MOST_BYTES

    def __post_init__(self) -> None:
        for name in ("seconds", "expires", "breaks", "cancel_seconds", "price", "lose_replies"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise _wrong(name, value, "must be a number from 0 up")
        for name in ("rows", "size", "tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise _wrong(name, value, "must be at least 1")
        if not 0 <= self.share <= 1:
            raise _wrong("share", self.share, "must be a share from 0 to 1")
        for file in self.missing:
            if file not in MISSING:
                raise _wrong("missing", file, f"must be of {', '.join(MISSING)}")


def _wrong(name: str, value: object, problem: str) -> ConfigError:
    return ConfigError(problem, key=f"BatchConfig.{name}", value=value)
