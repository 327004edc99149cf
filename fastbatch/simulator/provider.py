"""The provider behind the socket: takes a request and the time, gives a `Reply`; no I/O, no clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from fastbatch.errors import ConfigError
from fastbatch.simulator import asks
from fastbatch.simulator.admission import Admission
from fastbatch.simulator.answers import render, think, without_choices
from fastbatch.simulator.arrivals import ADMITTED
from fastbatch.simulator.asks import Ask, Rejected
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.counters import SimulatorStats, Tally
from fastbatch.simulator.dice import FailurePlan, Repeats, fingerprint, latency
from fastbatch.simulator.limits import Charge, LimitKind, SimulatedLimit
from fastbatch.simulator.replies import (
    EVENT_STREAM,
    FAILURE_REPLIES,
    JSON,
    Ending,
    Reply,
    busy_body,
    error_body,
    quota_body,
    refusal_body,
    rejection_body,
    retry_headers,
)
from fastbatch.simulator.spells import Spell
from fastbatch.simulator.streaming import events
from fastbatch.simulator.weather import Weather

MODELS = "/v1/models"
STATS = "/simulator/stats"
RESET = "/simulator/reset"
LIMITS = "/simulator/limits"

_METHODS = {
    **dict.fromkeys((asks.CHAT, asks.RESPONSES, asks.COMPLETIONS, asks.EMBEDDINGS), "POST"),
    **dict.fromkeys((RESET, LIMITS), "POST"),
    **dict.fromkeys((MODELS, STATS), "GET"),
}
_ENDINGS: dict[str | None, Ending] = {"timeout": "never", "reset": "reset", "truncated": "cut"}
_DEFAULT_MODELS = ("gpt-4o-mini", "text-embedding-3-small")  # listed when the config names none


class Incoming(NamedTuple):
    """A request, read to its end at `now` (monotonic seconds)."""

    method: str
    path: str
    authorization: bytes | None
    body: bytes
    now: float


class SimulatedProvider:
    """All decisions of one simulated provider.

    The order is that of a real gateway: weather, path and method (404, 405), key (401), quota, how many are
    under way, failures by chance that happen in front of the limits ("429"), limits (429), the request itself
    (400, 404), other failures, the answer. So a request that is refused costs no allowance, and one that is
    malformed costs a request.

    Args:
        config: what the provider is like.
        created: seconds of the epoch that answers carry as their time of creation.
        epoch: seconds of the epoch when the clock of all `now` showed 0.

    Attributes:
        on_first: called with the time of the first request, and with None at a reset: whoever owns the port
            opens and closes it by this time.
    """

    def __init__(self, config: SimulatorConfig, *, created: int = 0, epoch: float = 0.0) -> None:
        self.config = config
        self.open_connections = 0
        self.on_first: Callable[[float | None], None] = _nobody
        self._created = created
        self._epoch = epoch
        self._number = 0  # requests of all time; makes x-request-id
        self._key = None if config.require_key is None else config.require_key.encode()
        self.reset()

    def reset(self) -> None:
        """Forget everything seen; requests in flight end in the old tally."""
        self.tally = Tally(self.config)
        config = self.config
        self._admission = Admission(
            config.all_limits, per_model=config.per_model, style=config.limit_headers, epoch=self._epoch
        )
        self._failures = FailurePlan(config)
        self._repeats = Repeats(config)
        self._weather = Weather(config.weather, config.seed)
        self.on_first(None)

    def set_limits(self, limits: Iterable[SimulatedLimit], now: float) -> None:
        """Keep these limits from now on, until a reset; what was charged to one of the same sort stays so."""
        self._admission.replace(self.config.in_pieces(limits), now)

    def connected(self) -> None:
        """A connection was accepted."""
        self.open_connections += 1
        self.tally.connections += 1

    def disconnected(self) -> None:
        """A connection is gone."""
        self.open_connections -= 1

    def stats(self) -> SimulatorStats:
        """The counts as they stand."""
        limits: tuple[Mapping[str, Any], ...] = tuple(
            {
                "what": meter.limit.what,
                "amount": meter.limit.amount,
                "per": meter.limit.per,
                "kind": meter.limit.kind,
                "now": meter.amount,
                "peak": meter.peak,
                "refused": meter.refused,
                **({"model": model} if model else {}),
            }
            for model, meter in self._admission.by_model()
        )
        return self.tally.snapshot(open_connections=self.open_connections, limits=limits)

    def receive(self, request: Incoming) -> Reply:
        """Decide the reply to a request."""
        path = request.path
        if path.startswith("/simulator/"):
            return self._control(request)
        headers = self._arrived(request)
        if _METHODS.get(path) == "POST" and request.method == "POST":
            return self._post(request, headers)
        struck = self._weather.strikes(fingerprint(path, request.body), request.now)
        return self._without_body(request, headers) if struck is None else self._storm(struck, headers)

    def receive_too_large(self, request: Incoming) -> Reply:
        """Decide the reply to a request whose body exceeds `max_body_bytes`; its body was not kept."""
        headers = self._arrived(request)
        message = f"The request body is larger than {self.config.max_body_bytes} bytes."
        return self._reject(Rejected(message, code="request_too_large", status=413), headers)

    def _arrived(self, request: Incoming) -> bytes:
        """Count a request; the headers that every reply to it has."""
        self._number += 1
        if self.tally.first_arrival is None:
            self._weather.begin(request.now)
            self.on_first(request.now)
        self.tally.arrived(request.path if request.path in _METHODS else "other", request.now)
        return b"x-request-id: req_%012x\r\n" % self._number

    def _post(self, request: Incoming, headers: bytes) -> Reply:
        tally, now, config = self.tally, request.now, self.config
        key = fingerprint(request.path, request.body)
        tally.body_arrived(key)
        asked = self._understand(request.path, request.body)
        charge, model = (asked.charge, asked.model) if isinstance(asked, Ask) else (Charge(), "")
        struck = self._weather.strikes(key, now)
        if struck is not None:
            tally.arrivals.add(now, charge, struck.kind)
            return self._storm(struck, headers)
        if self._denies(request.authorization):
            tally.arrivals.add(now, charge, "key")
            return self._reject(_unauthorized(), headers)
        if self._quota_used_up():
            tally.arrivals.add(now, charge, "quota")
            tally.refused_quota += 1
            tally.refuse("quota")
            return Reply(429, quota_body(), headers, tally=tally)
        if config.max_in_flight is not None and tally.in_flight > config.max_in_flight:
            tally.arrivals.add(now, charge, "in flight")
            tally.refused_busy += 1
            tally.refuse("in flight")
            return Reply(config.overload_status, busy_body(config.overload_status), headers, tally=tally)

        # What is wrong with a request stays wrong: only one that could be answered may fail by chance.
        failure, seen = self._failures.draw(key) if isinstance(asked, Ask) else (None, 0)
        self._admission.scale(self._weather.factor(now), now)
        refusal = None if failure == "429" else self._admission.admit(charge, now, model)
        headers += self._admission.headers(now, model)
        if refusal is not None:
            name = str(refusal.limit)
            tally.arrivals.add(now, charge, name)
            tally.refused_429 += 1
            tally.refuse(name)
            if config.retry_after:
                headers += retry_headers(refusal.retry_after_ms, config.limit_headers)
            return Reply(429, refusal_body(refusal, model or "this model"), headers, tally=tally)
        tally.arrivals.add(now, charge, "429" if failure == "429" else ADMITTED)
        if isinstance(asked, Rejected):
            return self._reject(asked, headers)

        self._failures.note(key, failure)
        delay = latency(self.config, key, seen)
        if failure in FAILURE_REPLIES:
            tally.fail(failure)
            status, failed_body = FAILURE_REPLIES[failure]
            return Reply(status, failed_body, headers, delay=delay, tally=tally)
        return self._answer(asked, failure, key, headers, delay)

    def _storm(self, spell: Spell, headers: bytes) -> Reply:
        """What a request gets that a spell of weather has struck."""
        self.tally.fail(spell.kind)
        if spell.kind == "hang":
            return Reply(503, b"", headers, ending="never", tally=self.tally)
        if spell.kind == "refuse":  # it came over a connection that was accepted just before
            return Reply(503, b"", headers, ending="reset", tally=self.tally)
        if spell.retry_after is not None and self.config.retry_after:
            headers += retry_headers(math.ceil(spell.retry_after * 1000), self.config.limit_headers)
        status, body = FAILURE_REPLIES["503" if spell.kind == "outage" else spell.kind]
        return Reply(status, body, headers, tally=self.tally)

    def _answer(self, ask: Ask, failure: str | None, key: int, headers: bytes, delay: float) -> Reply:
        answer = think(ask, self.config, key, self._repeats.draw(key, ask.sampled, failure is None))
        name = f"{self._number:012x}"
        if failure is None:
            self.tally.promise(answer.usage)
        else:
            self.tally.fail(failure)
        ending = _ENDINGS.get(failure, "whole")
        pace = self.config.tokens_per_second
        generation = answer.usage.completion / pace if pace else 0.0
        if ask.stream:
            pieces = events(answer, name, self._created)
            if failure == "malformed":
                pieces[1:] = [pieces[0][: len(pieces[0]) // 2] + b"\n\n"]
            elif failure == "empty":
                pieces[:-1] = []
            return Reply(
                *(200, b"", headers, EVENT_STREAM, delay, ending, tuple(pieces), generation),
                *(self.tally, failure is None, key),
            )
        body = render(answer, self.config, name, self._created)
        if failure == "malformed":
            body = body[: len(body) // 2]
        elif failure == "empty":
            body = without_choices(body)
        delay += generation
        return Reply(200, body, headers, JSON, delay, ending, None, 0.0, self.tally, failure is None, key)

    def _without_body(self, request: Incoming, headers: bytes) -> Reply:
        method, path = request.method, request.path
        allowed = _METHODS.get(path)
        if allowed is None:
            return self._reject(
                Rejected(f"Invalid URL ({method} {path})", code="unknown_url", status=404), headers
            )
        if method != allowed:
            headers += b"allow: %b\r\n" % allowed.encode()
            message = f"Not allowed to {method} on {path}."
            return self._reject(Rejected(message, code="method_not_supported", status=405), headers)
        if self._denies(request.authorization):
            return self._reject(_unauthorized(), headers)
        names = self.config.models or _DEFAULT_MODELS
        listed = [
            {"id": name, "object": "model", "created": self._created, "owned_by": "simulator"}
            for name in names
        ]
        body = orjson.dumps({"object": "list", "data": listed})
        return Reply(200, body, headers, tally=self.tally, answer=True)

    def _control(self, request: Incoming) -> Reply:
        method, path = request.method, request.path
        allowed = _METHODS.get(path)
        if allowed is None:
            return Reply(404, error_body(f"Invalid URL ({method} {path})", "invalid_request_error"))
        if method != allowed:
            body = error_body(f"Not allowed to {method} on {path}.", "invalid_request_error")
            return Reply(405, body, b"allow: %b\r\n" % allowed.encode())
        if path == RESET:
            self.reset()
        elif path == LIMITS:
            try:
                self.set_limits(_limits(request.body, self.config.limit_kind), request.now)
            except ConfigError as error:
                return Reply(400, error_body(str(error), "invalid_request_error"))
        return Reply(200, orjson.dumps(self.stats().to_dict()))

    def _understand(self, path: str, body: bytes) -> Ask | Rejected:
        try:
            ask = asks.read(path, body)
        except Rejected as rejected:
            return rejected
        if self.config.models and ask.model not in self.config.models:
            message = f"The model `{ask.model}` does not exist or you do not have access to it."
            return Rejected(message, code="model_not_found", status=404)
        return ask

    def _denies(self, authorization: bytes | None) -> bool:
        if self._key is None:
            return False
        scheme, _, token = (authorization or b"").partition(b" ")
        return scheme.lower() != b"bearer" or token.strip() != self._key

    def _quota_used_up(self) -> bool:
        config, tally = self.config, self.tally
        return (config.stop_after is not None and tally.promised >= config.stop_after) or (
            config.quota_usd is not None and tally.bill >= config.quota_usd
        )

    def _reject(self, rejected: Rejected, headers: bytes) -> Reply:
        self.tally.rejected += 1
        return Reply(rejected.status, rejection_body(rejected), headers, tally=self.tally)


def _unauthorized() -> Rejected:
    return Rejected("Incorrect API key provided.", code="invalid_api_key", status=401)


def _limits(body: bytes, kind: LimitKind) -> list[SimulatedLimit]:
    """The limits of a body such as `["600/60s", "90000tok/60s"]`.

    Raises:
        ConfigError: it is another body.
    """
    try:
        texts = orjson.loads(body)
    except orjson.JSONDecodeError:
        texts = None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ConfigError('send a JSON list such as ["600/60s"]', key=LIMITS)
    return [SimulatedLimit.parse(text, kind=kind) for text in texts]


def _nobody(first: float | None) -> None:
    """Nobody opens and closes the port."""
