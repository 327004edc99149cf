"""Transports for worker processes, which import them from here by name."""

from __future__ import annotations

import asyncio
import os
import signal

from fakes import FakeTransport, echo, prompt_of, refusal

from fastbatch.models.http import HTTPCall, HTTPReply


def answers_by_prompt(call: HTTPCall) -> HTTPReply:
    """A row that the provider refuses, one that is no answer, and echoes."""
    prompt = prompt_of(call)
    if prompt == "refused":
        return refusal(400, "context_length_exceeded", "too long", x_request_id="req-7")
    return echo(call)


def mixed() -> FakeTransport:
    return FakeTransport(answers_by_prompt)


def elsewhere() -> FakeTransport:
    """One endpoint knows no model, the other one does."""

    def answer(call: HTTPCall) -> HTTPReply:
        return echo(call) if "//other." in call.url else refusal(404, "model_not_found", "no such model")

    return FakeTransport(answer)


def no_key() -> FakeTransport:
    return FakeTransport(lambda call: refusal(401, "invalid_api_key", "Incorrect API key provided"))


def silent() -> FakeTransport:
    """Its requests are never answered."""

    async def never(call: HTTPCall) -> HTTPReply:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    return FakeTransport(never)


def deadly() -> FakeTransport:
    """Whoever asks it is killed."""

    def kill(call: HTTPCall) -> HTTPReply:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    return FakeTransport(kill)


def poisoned() -> FakeTransport:
    """Whoever asks it one question is killed."""

    def answer(call: HTTPCall) -> HTTPReply:
        if prompt_of(call) == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        return echo(call)

    return FakeTransport(answer)
