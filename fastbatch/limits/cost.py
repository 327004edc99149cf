"""What one request takes of the limits, beside itself."""

from __future__ import annotations

from typing import Literal, NamedTuple

Quantity = Literal["requests", "tokens", "input_tokens", "output_tokens"]
"""What a limit counts; `tokens` are input and output together."""

QUANTITIES: tuple[Quantity, ...] = ("requests", "tokens", "input_tokens", "output_tokens")

Amounts = tuple[int, int, int, int]
"""What a request takes of each quantity, in the order of `QUANTITIES`."""


class Cost(NamedTuple):
    """Tokens of one request: estimated before it is sent, the provider's count after.

    `total` stands where a provider counts something else than the sum (OpenAI: at least `max_tokens`).

    >>> Cost(prompt=120, completion=30).of("tokens")
    150
    """

    prompt: int = 0
    completion: int = 0
    total: int | None = None

    def of(self, what: Quantity) -> int:
        """How much of a limit on `what` the request takes."""
        if what == "requests":
            return 1
        if what == "tokens":
            return self.prompt + self.completion if self.total is None else self.total
        return self.prompt if what == "input_tokens" else self.completion

    @property
    def amounts(self) -> Amounts:
        """How much of every limit the request takes."""
        prompt, completion, total = self
        return 1, prompt + completion if total is None else total, prompt, completion
