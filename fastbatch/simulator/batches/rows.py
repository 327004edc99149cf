"""A row of a batch gets its answer: the thinking, the dice and the counters of online requests."""

from __future__ import annotations

import orjson

from fastbatch.simulator.answers import think
from fastbatch.simulator.asks import Rejected
from fastbatch.simulator.batches.forms import Form, Outcome, Row
from fastbatch.simulator.config import SimulatorConfig
from fastbatch.simulator.counters import Tally
from fastbatch.simulator.dialects.base import Said
from fastbatch.simulator.dice import FailurePlan, Repeats, fingerprint

# What can befall bytes under way is to a row of a batch an error of the server.
_AS_STATUS = {"reset": "500", "truncated": "500", "malformed": "500"}
# So is, where no status is told, an error inside a 200.
_IN_ONE_FILE = {**_AS_STATUS, "error": "500"}


class RowAnswers:
    """Answers rows, and counts them."""

    def __init__(
        self, config: SimulatorConfig, tally: Tally, failures: FailurePlan, repeats: Repeats, created: int
    ) -> None:
        self._config = config
        self._tally = tally
        self._failures = failures
        self._repeats = repeats
        self._created = created

    def size(self, row: Row, form: Form) -> int:
        """Prompt tokens of a row; 0 where the row is no request."""
        try:
            return form.operation.read(row.body, form.request, row.model).prompt_tokens
        except Rejected:
            return 0

    def answer(self, row: Row, form: Form, number: str) -> Outcome:
        """What the endpoint answers to a row."""
        config, tally, dialect = self._config, self._tally.batches, form.dialect
        key = fingerprint(orjson.dumps(row.body), row.salt)
        self._tally.body_arrived(key)
        try:
            ask = form.operation.read(row.body, form.request, row.model)
            if config.models and ask.model not in config.models:
                raise dialect.unknown_model(ask.model)
            if ask.stream and form.operation.events is not None:
                raise Rejected("Streaming is not supported in a batch.", param="stream")
        except Rejected as rejected:
            tally.fail(row.name, "rejected")
            return _outcome(dialect.rejection(rejected))
        if self._tally.quota_used_up:
            tally.fail(row.name, "quota")
            return _outcome(dialect.quota())
        if "output" in config.batches.missing:
            tally.fail(row.name, "500")
            return _outcome(dialect.failure("500"))
        shaped = None if ask.shape is None else ask.shape.row
        drawn, _ = self._failures.draw(key, shaped)
        self._failures.note(key, drawn, shaped)
        failure = drawn and (_IN_ONE_FILE if form.one_file else _AS_STATUS).get(drawn, drawn)
        if failure in ("500", "503", "429", "timeout"):
            tally.fail(row.name, failure)
            return Outcome(0) if failure == "timeout" else _outcome(dialect.failure(failure))
        if failure == "error":
            tally.fail(row.name, failure)
            return Outcome(200, orjson.Fragment(dialect.failure("500")[1]))
        occurrence = self._repeats.draw(key, ask.sampled, failure is None)
        answer = think(ask, config, key, occurrence, fits=failure != "invalid")
        if failure == "empty":
            tally.fail(row.name, failure)
            answer = answer._replace(ask=ask._replace(sources=()), passages=[])
            return Outcome(200, form.operation.render(answer, config, number, self._created))
        self._tally.promise_row(row.name, key, answer.usage, invalid=failure == "invalid")
        return Outcome(200, form.operation.render(answer, config, number, self._created), answer.usage)


def _outcome(said: Said) -> Outcome:
    return Outcome(said[0], orjson.Fragment(said[1]))
