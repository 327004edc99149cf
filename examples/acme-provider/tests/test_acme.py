"""Acme fulfils the contract of all providers."""

from acme_fastbatch import AcmeProvider

from fastbatch.errors import AuthenticationFailed, RateLimited, ServerError
from fastbatch.providers import Model, Stated, Usage
from fastbatch.testing import ProviderContract
from fastbatch.testing.providers import Answer, BrokenStream, Catalogue, Failure, LimitHeaders, Stream

ANSWER = {
    "id": "a-1",
    "says": "Paris it is.",
    "end": "done",
    "counted": {"heard": 9, "known": 5, "spoken": 3},
}
CUT = {"id": "a-2", "says": "Par", "end": "full", "counted": {"heard": 9, "known": 0, "spoken": 1}}
ALOUD = b"""data: {"more": "Paris"}

data: {"more": " it is."}

data: {"id": "a-1", "end": "done", "counted": {"heard": 9, "known": 5, "spoken": 3}}

"""
BROKEN = b"""data: {"more": "Paris"}

data: {"problem": {"kind": "hoarse", "text": "The voice failed."}}

"""
ANSWERS = {
    "words": Answer(ANSWER, text="Paris it is.", usage=Usage(14, 5, 3, 0)),
    "cut": Answer(CUT, text="Par", usage=Usage(9, 0, 1, 0), finish_reason="length"),
}
FAILURES = {
    "no key": Failure(401, {"problem": {"kind": "stranger", "text": "Who are you?"}}, AuthenticationFailed),
    "too fast": Failure(
        429,
        {"problem": {"kind": "too_fast", "text": "Not so fast."}},
        RateLimited,
        headers={"retry-after": "3"},
        retry_after=3.0,
    ),
    "hoarse": Failure(503, {"problem": {"kind": "hoarse", "text": "The voice failed."}}, ServerError),
}
STREAMS = {"aloud": Stream(ALOUD, whole=ANSWER, first="Paris")}
BROKEN_STREAMS = {"hoarse": BrokenStream(BROKEN, ServerError)}
VOICES = {"voices": [{"name": "echo", "memory": 8000}, {"name": "nymph"}], "more": "page-2"}


class TestAcme(ProviderContract):
    """What Acme's API sends, and what it means."""

    provider = AcmeProvider
    name = "acme"
    variables = ("ACME_API_KEY",)
    model = "echo"
    answers = ANSWERS
    failures = FAILURES
    streams = STREAMS
    broken_streams = BROKEN_STREAMS
    models = Catalogue(VOICES, (Model("echo", 8000, kind="voice"), Model("nymph", kind="voice")), "page-2")
    limits = LimitHeaders(
        {"ratelimit-limit": "60;w=60", "ratelimit-remaining": "59", "ratelimit-reset": "1"},
        (Stated("requests", 60, 59, 1.0, 60.0),),
    )
