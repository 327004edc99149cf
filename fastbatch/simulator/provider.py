"""The provider behind the socket: takes a request and the time, gives a `Reply`; no I/O, no clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from fastbatch.errors import ConfigError
from fastbatch.simulator.admission import Admission
from fastbatch.simulator.answers import think
from fastbatch.simulator.arrivals import ADMITTED
from fastbatch.simulator.asks import Ask, Rejected, load
from fastbatch.simulator.batches.desks import Visit
from fastbatch.simulator.batches.work import Batches
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.counters import SimulatorStats, Tally
from fastbatch.simulator.dialects.base import JSON, Dialect, Operation
from fastbatch.simulator.dialects.openai import error_body
from fastbatch.simulator.dice import FailurePlan, Repeats, fingerprint, latency
from fastbatch.simulator.headers import Style, retry_headers
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.limits import Charge, LimitKind, SimulatedLimit
from fastbatch.simulator.replies import Ending, Reply
from fastbatch.simulator.routes import Route, find
from fastbatch.simulator.spells import Spell
from fastbatch.simulator.weather import Weather

STATS = "/simulator/stats"
RESET = "/simulator/reset"
LIMITS = "/simulator/limits"
ROWS = "/simulator/rows"

_CONTROLS = {RESET: "POST", LIMITS: "POST", STATS: "GET", ROWS: "GET"}
_ENDINGS: dict[str | None, Ending] = {"timeout": "never", "reset": "reset", "truncated": "cut"}
_STATUSES = frozenset(("500", "503", "429"))  # failures that are a status, and not a broken answer
_SLICES_A_LOOK = 5
_DEFAULT_MODELS = ("gpt-4o-mini", "text-embedding-3-small")  # listed when the config names none


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
        on_work: called when batches have work to do: whoever owns the clock calls `work`.
    """

    def __init__(self, config: SimulatorConfig, *, created: int = 0, epoch: float = 0.0) -> None:
        self.config = config
        self.open_connections = 0
        self.on_first: Callable[[float | None], None] = _nobody
        self.on_work: Callable[[], None] = _nothing
        self._created = created
        self._epoch = epoch
        self._number = 0  # requests of all time; makes x-request-id
        self._style: Style | None = None if config.limit_headers == "auto" else config.limit_headers
        self._key = None if config.require_key is None else config.require_key.encode()
        self.reset()

    def reset(self) -> None:
        """Forget everything seen; requests in flight end in the old tally."""
        self.tally = Tally(self.config)
        config = self.config
        self._admission = Admission(config.all_limits, per_model=config.per_model, epoch=self._epoch)
        self._failures = FailurePlan(config)
        self._repeats = Repeats(config)
        self._weather = Weather(config.weather, config.seed)
        self.batches = Batches(
            config, epoch=self._epoch, created=self._created, tally=self.tally, failures=self._failures,
            repeats=self._repeats, woken=self._woken,
        )  # fmt: skip
        self.on_first(None)

    def set_limits(self, limits: Iterable[SimulatedLimit], now: float) -> None:
        """Keep these limits from now on, until a reset; what was charged to one of the same sort stays so."""
        self._admission.replace(self.config.in_pieces(limits), now)

    def work(self, now: float) -> float | None:
        """Do a slice of the batches' work; seconds until there is more to do, None: nothing, for now."""
        return self.batches.work(now)

    def _woken(self) -> None:
        self.on_work()

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
        if request.path.startswith("/simulator/"):
            return self._control(request)
        route = find(request)
        headers = self._arrived(request, route)
        if route.operation is not None and request.method == "POST":
            return self._post(request, route, route.operation, headers)
        struck = self._weather.strikes(fingerprint(request.body, len(request.path)), request.now)
        if struck is not None:
            return self._storm(struck, route.dialect, headers)
        if route.desk is not None and request.method in route.desk:
            return self._at_desk(request, route, headers)
        return self._without_answer(request, route, headers)

    def receive_too_large(self, request: Incoming) -> Reply:
        """Decide the reply to a request whose body exceeds `max_body_bytes`; its body was not kept."""
        route = find(request)
        headers = self._arrived(request, route)
        message = f"The request body is larger than {self.config.max_body_bytes} bytes."
        rejected = Rejected(message, code="request_too_large", status=413)
        return self._reject(rejected, route.dialect, headers)

    def _arrived(self, request: Incoming, route: Route) -> bytes:
        """Count a request; the headers that every reply to it has."""
        self._number += 1
        if self.tally.first_arrival is None:
            self._weather.begin(request.now)
            self.on_first(request.now)
        self.tally.arrived(route.label, request.now)
        line = route.dialect.request_id
        return line % self._number if line else b""

    def _post(self, request: Incoming, route: Route, operation: Operation, headers: bytes) -> Reply:
        tally, now, config, dialect = self.tally, request.now, self.config, route.dialect
        key = fingerprint(request.body, route.salt)
        tally.body_arrived(key)
        asked = self._understand(request, route, operation)
        ask = asked if isinstance(asked, Ask) else None
        charge, model = (Charge(), "") if ask is None else (ask.charge, ask.model)
        struck = self._weather.strikes(key, now)
        if struck is not None:
            tally.arrivals.add(now, charge, struck.kind)
            return self._storm(struck, dialect, headers)
        if self._denies(request, dialect):
            tally.arrivals.add(now, charge, "key")
            return self._reject(dialect.unauthorized(request), dialect, headers)
        if tally.quota_used_up:
            tally.arrivals.add(now, charge, "quota")
            tally.refused_quota += 1
            tally.refuse("quota")
            return Reply(*dialect.quota(), headers, tally=tally)
        if config.max_in_flight is not None and tally.in_flight > config.max_in_flight:
            tally.arrivals.add(now, charge, "in flight")
            tally.refused_busy += 1
            tally.refuse("in flight")
            return Reply(*dialect.busy(config.overload_status), headers, tally=tally)

        # What is wrong with a request stays wrong: only one that could be answered may fail by chance.
        row = None if ask is None or ask.shape is None else ask.shape.row
        failure, seen = (None, 0) if ask is None else self._failures.draw(key, row)
        self._admission.scale(self._weather.factor(now), now)
        refusal = None if failure == "429" else self._admission.admit(charge, now, model)
        style = self._style or dialect.style
        headers += self._admission.headers(now, model, style)
        if refusal is not None:
            name = str(refusal.limit)
            tally.arrivals.add(now, charge, name)
            tally.refused_429 += 1
            tally.refuse(name)
            if config.retry_after:
                headers += retry_headers(refusal.retry_after_ms, style)
            said = dialect.refusal(refusal, model or "this model", say_wait=config.retry_after)
            return Reply(*said, headers, tally=tally)
        tally.arrivals.add(now, charge, "429" if failure == "429" else ADMITTED)
        if isinstance(asked, Rejected):
            return self._reject(asked, dialect, headers)

        self._failures.note(key, failure, row)
        delay = latency(self.config, key, seen)
        if failure in _STATUSES:
            tally.fail(failure)
            return Reply(*dialect.failure(failure), headers, delay=delay, tally=tally)
        return self._answer(asked, route, operation, failure=failure, key=key, headers=headers, delay=delay)

    def _storm(self, spell: Spell, dialect: Dialect, headers: bytes) -> Reply:
        """What a request gets that a spell of weather has struck."""
        self.tally.fail(spell.kind)
        if spell.kind == "hang":
            return Reply(503, b"", headers, ending="never", tally=self.tally)
        if spell.kind == "refuse":  # it came over a connection that was accepted just before
            return Reply(503, b"", headers, ending="reset", tally=self.tally)
        wait = None
        if spell.retry_after is not None and self.config.retry_after:
            wait = math.ceil(spell.retry_after * 1000)
            headers += retry_headers(wait, self._style or dialect.style)
        said = dialect.failure("503" if spell.kind == "outage" else spell.kind, wait)
        return Reply(*said, headers, tally=self.tally)

    def _answer(
        self,
        ask: Ask,
        route: Route,
        operation: Operation,
        *,
        failure: str | None,
        key: int,
        headers: bytes,
        delay: float,
    ) -> Reply:
        occurrence = self._repeats.draw(key, ask.sampled, failure is None)
        answer = think(ask, self.config, key, occurrence, fits=failure != "invalid")
        name = f"{self._number:012x}"
        if failure is None or failure == "invalid":
            self.tally.promise(key, answer.usage, invalid=failure == "invalid")
            failure = None
        else:
            self.tally.fail(failure)
        ending = _ENDINGS.get(failure, "whole")
        pace = self.config.tokens_per_second
        generation = answer.usage.completion / pace if pace else 0.0
        if failure == "empty":
            answer = answer._replace(ask=ask._replace(sources=()), passages=[])
        if ask.stream and operation.events is not None:
            pieces = operation.events(answer, name, self._created)
            if failure == "malformed":
                half, end = pieces[0][: len(pieces[0]) // 2], pieces[0].partition(b"\n\n")
                pieces[1:] = [half + (end[1] or b"\n")]
            elif failure == "error" and operation.broken_off is not None:
                said = len(pieces) // 2
                pieces[said:] = [operation.broken_off(said)]
            return Reply(
                *(200, b"", headers, operation.stream_type, delay, ending, tuple(pieces), generation),
                *(self.tally, failure is None, key),
            )
        if failure == "error":
            body = route.dialect.failure("500")[1]
        else:
            body = orjson.dumps(operation.render(answer, self.config, name, self._created))
        if failure == "malformed":
            body = body[: len(body) // 2]
        delay += generation
        return Reply(200, body, headers, JSON, delay, ending, None, 0.0, self.tally, failure is None, key)

    def _without_answer(self, request: Incoming, route: Route, headers: bytes) -> Reply:
        method, path, dialect = request.method, request.path, route.dialect
        if not route.method:
            rejected = Rejected(f"Invalid URL ({method} {path})", code="unknown_url", status=404)
            return self._reject(rejected, dialect, headers)
        if method != route.method or route.listing is None:
            headers += b"allow: %b\r\n" % route.method.replace(" ", ", ").encode()
            message = f"Not allowed to {method} on {path}."
            rejected = Rejected(message, code="method_not_supported", status=405)
            return self._reject(rejected, dialect, headers)
        if self._denies(request, dialect):
            return self._reject(dialect.unauthorized(request), dialect, headers)
        try:
            listed = route.listing(self.config.models or _DEFAULT_MODELS, self._created, request)
        except Rejected as rejected:
            return self._reject(rejected, dialect, headers)
        return Reply(200, orjson.dumps(listed), headers, tally=self.tally, answer=True)

    def _at_desk(self, request: Incoming, route: Route, headers: bytes) -> Reply:
        dialect = route.dialect
        assert route.desk is not None
        # Google's uploads begin with a key; whoever knows an upload's address may then send its pieces.
        begun = request.path.startswith("/upload/") and b"upload_id=" in request.query
        if not begun and self._denies(request, dialect):
            return self._reject(dialect.unauthorized(request), dialect, headers)
        # A clock turned by hand is seen here first: a small batch is read, answered and ended by this.
        for _ in range(_SLICES_A_LOOK):
            self.batches.work(request.now)
        try:
            done = route.desk[request.method](Visit(request, route.names, self.batches))
        except Rejected as rejected:
            return self._reject(rejected, dialect, headers)
        self.on_work()
        if done.lost:
            self.tally.fail("reset")
            return Reply(200, b"", ending="reset", tally=self.tally)
        headers += done.headers
        return Reply(200, done.body, headers, done.content_type, tally=self.tally, answer=True)

    def _control(self, request: Incoming) -> Reply:
        method, path = request.method, request.path
        allowed = _CONTROLS.get(path)
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
        elif path == ROWS:
            return Reply(200, orjson.dumps(self.tally.batches.names))
        return Reply(200, orjson.dumps(self.stats().to_dict()))

    def _understand(self, request: Incoming, route: Route, operation: Operation) -> Ask | Rejected:
        try:
            ask = operation.read(load(request.body), request, route.model)
        except Rejected as rejected:
            return rejected
        if self.config.models and ask.model not in self.config.models:
            return route.dialect.unknown_model(ask.model)
        return ask

    def _denies(self, request: Incoming, dialect: Dialect) -> bool:
        return self._key is not None and dialect.needs_key and dialect.key(request) != self._key

    def _reject(self, rejected: Rejected, dialect: Dialect, headers: bytes) -> Reply:
        self.tally.rejected += 1
        return Reply(*dialect.rejection(rejected), headers, tally=self.tally)


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


def _nothing() -> None:
    """Nobody does the batches' work."""
