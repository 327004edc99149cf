"""The few verbs of a service: something that runs and can be asked by an OpenAI-shaped provider."""

from __future__ import annotations

from typing import Protocol


class Service(Protocol):
    """A local model server of ours; a registered one is made by `name(model, report=…, env=…)`.

    Attributes:
        name: what people call it.
    """

    name: str

    def identity(self) -> str:
        """What decides its answers, for the request hash, such as `local:sha256:<digest of the model file>`.

        Raises:
            ServiceError: the model cannot be found.
        """
        ...

    def slots(self, wanted: int) -> int:
        """How many requests it answers at once when `wanted` are wanted; more would only wait inside it."""
        ...

    async def start(self, *, slots: int) -> str:
        """Start for `slots` requests at once and return the base URL with `/v1`; twice is the same server.

        Raises:
            ServiceError, MissingExtra: it cannot be started; says why and what to do.
        """
        ...

    async def stop(self) -> None:
        """Stop it; stopping twice is allowed."""
        ...
