"""What replies say about limits: OpenAI's words, Anthropic's words, or none."""

import json

import pytest

from fastbatch.simulator import SimulatedLimit, SimulatorConfig
from fastbatch.simulator.admission import Admission
from fastbatch.simulator.headers import rfc3339
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.limits import Charge
from fastbatch.simulator.provider import SimulatedProvider

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode()

FOUR = (
    SimulatedLimit(requests=2, per=60.0),
    SimulatedLimit(tokens=1000, per=60.0),
    SimulatedLimit(input_tokens=500, per=60.0),
    SimulatedLimit(output_tokens=200, per=30.0),
)


def lines(style="openai"):
    """Limit headers of a second request that comes at 10 s, its clock 0 at the epoch's 1,700,000,000 s."""
    admission = Admission(FOUR, epoch=1_700_000_000.0)
    admission.admit(Charge(1, 100, 40, 100), 0.0)
    admission.admit(Charge(1, 50, 30, 50), 10.0)
    return dict(line.split(": ") for line in admission.headers(10.25, style=style).decode().splitlines())


def test_openai_speaks_of_requests_and_tokens():
    """OpenAI has no words for input or output alone."""
    assert lines() == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "59.75s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "850",
        "x-ratelimit-reset-tokens": "59.75s",
    }


def test_anthropic_speaks_of_all_four_in_dates():
    """Four quantities, each with the moment at which all of it is free again."""
    said = lines(style="anthropic")
    assert [said[f"anthropic-ratelimit-{what}-limit"] for what in _WHAT] == ["2", "1000", "500", "200"]
    assert [said[f"anthropic-ratelimit-{what}-remaining"] for what in _WHAT] == ["0", "850", "430", "50"]
    assert said["anthropic-ratelimit-tokens-reset"] == "2023-11-14T22:14:30Z"
    assert said["anthropic-ratelimit-output-tokens-reset"] == "2023-11-14T22:14:00Z"
    assert len(said) == 12


_WHAT = ("requests", "tokens", "input-tokens", "output-tokens")


def test_hidden_limits_say_nothing():
    """Without a style there is no header, and the limit holds all the same."""
    assert lines(style="none") == {}


@pytest.mark.parametrize(
    ("style", "retry_after", "said"),
    [
        ("openai", True, ["retry-after", "retry-after-ms"]),
        ("anthropic", True, ["retry-after"]),
        ("none", True, ["retry-after", "retry-after-ms"]),
        ("openai", False, []),
        ("none", False, []),
    ],
)
def test_how_long_to_wait_is_said_on_request(style, retry_after, said):
    """A refusal names a time in the style's words, or none at all."""
    provider = SimulatedProvider(SimulatorConfig(rpm=1, limit_headers=style, retry_after=retry_after))
    replies = [provider.receive(Incoming("POST", CHAT, None, BODY, now)) for now in (0.0, 1.0)]
    assert [reply.status for reply in replies] == [200, 429]
    names = [line.split(":")[0] for line in replies[1].headers.decode().splitlines()]
    assert [name for name in names if name.startswith("retry")] == said
    assert any("ratelimit" in name for name in names) == (style != "none")


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_700_000_000.0004, "2023-11-14T22:13:20.001Z"),
        (1_700_000_000.9995, "2023-11-14T22:13:21Z"),
    ],
)
def test_dates_are_rounded_up(moment, text):
    """A client that waits until then is never early."""
    assert rfc3339(moment) == text
