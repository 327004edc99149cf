"""Rows and outcomes on their way between two processes."""

import orjson
import pytest

from fastbatch import LLMRequest, OpenAIProvider
from fastbatch.engine.crew.forms import OK, read_outcome, read_row, write_outcome, write_row
from fastbatch.engine.inputfile import Row
from fastbatch.engine.job import Job
from fastbatch.engine.looked import Known
from fastbatch.errors import RateLimited
from fastbatch.formats.results import result_line
from fastbatch.formats.rows import RowSettings
from fastbatch.formats.rows import read_row as read_row_here
from fastbatch.hashing import wire_bytes
from fastbatch.models.response import ResponseWrapper, Usage

PROVIDER = OpenAIProvider("key", base_url="http://fake.test/v1", env={})
MARK = 2**64 - 3


def a_job(tag=None):
    request = LLMRequest.from_prompt("Hi", model="m", metadata={"topic": [1]}, temperature=0.1)
    return Job(request, 7, "k" * 32, tag)


def a_row():
    return Row(12, "row-ü", {}, None, None, 12, MARK, 0)


def across(head):
    """As the other process reads it."""
    return orjson.loads(orjson.dumps(head))


def dealt(job, *, lines, reads=None):
    body = wire_bytes(job.request.body)
    return read_row(across(write_row(job, len(body), lines=lines)), body, reads)


def outcome_of(job, **fields):
    outcome = ResponseWrapper(
        PROVIDER.reader,
        provider="openai",
        status=200,
        raw=b'{"choices": [1]}',
        tokens=Usage(5, 4, 3, 2),
        provider_request_id="req-1",
    )
    outcome.attempts, outcome.latency = 2, 1.25
    for name, value in fields.items():
        setattr(outcome, name, value)
    return outcome.of(job.request, index=job.index, key=job.key)


def fields(outcome):
    return {
        name: getattr(outcome, name) for name in ResponseWrapper.__slots__ if name not in ("reader", "error")
    }


def test_a_row_arrives_as_it_is():
    """The body as it will be sent, the key, and what happened to it in a member before."""
    job = a_job()
    job.attempts, job.maybe_billed = 3, True
    came = dealt(job, lines=False)
    assert wire_bytes(came.request.body) == wire_bytes(job.request.body)
    assert (came.index, came.key, came.attempts, came.maybe_billed) == (7, job.key, 3, True)


@pytest.mark.parametrize(
    "more",
    [{"picos": 7, "prices": "a list (0f)", "summed": True}, {"cached": True}, {"shared": True}],
    ids=["bought", "cached", "shared"],
)
def test_an_answer_comes_back_as_it_is(more):
    """Every field of it, and the parent's own note of whose it is."""
    job = a_job()
    came = dealt(job, lines=False)
    came.outcome = outcome_of(came, **more)
    form, raw = write_outcome(came)
    back = read_outcome(across(form), raw, job, [PROVIDER.reader])
    assert fields(back) == fields(outcome_of(job, **more))


def test_an_error_comes_back_as_it_is():
    """Its kind, its words and everything that it says of itself, with the reply it stands for."""
    job = a_job()
    error = RateLimited("slow down", status=429, code="x", provider="openai", request_id="r", retry_after=2.5)
    error.attempts, error.maybe_billed, error.cure = 4, True, "Wait."
    came = dealt(job, lines=False)
    came.outcome = outcome_of(came, error=error)
    form, raw = write_outcome(came)
    back = read_outcome(across(form), raw, job, [PROVIDER.reader])
    assert type(back.error) is RateLimited
    assert vars(back.error) == {**vars(error), "retriable": True, "stops_run": False, "fault": "account"}
    assert (str(back.error), back.raw) == ("slow down", b'{"choices": [1]}')


def test_a_member_makes_the_line_of_the_output():
    """Byte for byte the one that a single process writes; what is counted stands beside it."""
    job = a_job(a_row())
    came = dealt(job, lines=True)
    came.outcome = outcome_of(came)
    form, raw = write_outcome(came)
    assert raw == result_line("row-ü", 12, outcome_of(job), MARK)
    assert across(form) == [7, OK, len(raw), 5, 4, 3, 2, 0, 0]


def test_a_row_of_a_file_is_read_by_the_member():
    """As it stands in the input, by the settings of the run; nobody else parses it again."""
    line = b'{"id": "a", "prompt": "Hi", "topic": 3}'
    reads = RowSettings(model="m", system="Be brief.", params={"temperature": 0}, checked=True)
    job = Job(a_job().request, 4, "k" * 32, Known(5, "a", "k" * 32, MARK, "m", line, len(line), True))
    came = read_row(across(write_row(job, len(line), lines=True)), line, reads)
    here = read_row_here(orjson.loads(line), reads)
    assert wire_bytes(came.request.body) == wire_bytes(here.body)
    assert came.request.metadata == here.metadata == {"topic": 3}
    assert came.tag[:3] == ["a", 5, MARK]
    assert (came.index, came.key) == (4, job.key)


def test_what_no_integer_of_json_holds_is_told_all_the_same():
    """A price list of one's own may say any price, and a reply any count of tokens."""
    job = a_job()
    job.outcome = outcome_of(job, picos=2**90)
    form, raw = write_outcome(job)
    assert read_outcome(across(form), raw, job, [PROVIDER.reader]).picos == 2**90
