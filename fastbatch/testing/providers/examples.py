"""What an API sends, as its documentation shows it, and what that means: the examples a contract goes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from fastbatch.errors import RequestError
from fastbatch.limits.stated import Stated
from fastbatch.models.params import CHAT
from fastbatch.models.response import Usage
from fastbatch.providers.base import Model


class Answer(NamedTuple):
    """A reply that answers, and what is in it.

    Attributes:
        body: the reply's JSON.
        text: what `reader.text` finds; None where the answer has none (embeddings, tool calls).
        usage: its tokens: the prompt's with cached ones, the completion's with those of reasoning.
        finish_reason: why it ends, in OpenAI's words.
        message: the answer as an assistant's message in OpenAI's form; without it only the text is compared.
        vectors: of embeddings, in the order of the inputs.
    """

    body: Any
    text: str | None
    usage: Usage
    finish_reason: str | None = "stop"
    message: Mapping[str, Any] | None = None
    vectors: Sequence[Sequence[float]] | None = None

    @property
    def raw(self) -> bytes:
        """The reply's bytes."""
        return orjson.dumps(self.body)


class Failure(NamedTuple):
    """A reply that is an error, and which one.

    Attributes:
        status: of the reply.
        body: the reply's JSON.
        kind: the class of the error.
        headers: of the reply, in lower case.
        retry_after: the seconds to wait that it states.
        daily: a day's quota is used up.
    """

    status: int
    body: Any
    kind: type[RequestError]
    headers: Mapping[str, str] = {}
    retry_after: float | None = None
    daily: bool = False

    @property
    def raw(self) -> bytes:
        """The reply's bytes."""
        return orjson.dumps(self.body)


class Stream(NamedTuple):
    """A streamed reply, and the whole one it stands for.

    Attributes:
        sent: its bytes; some hundred, since they are cut in every place.
        whole: the JSON of the reply that would have come at once.
        first: the first piece of the answer's text; empty where it has none.
        endpoint: what was asked, as OpenAI batch files write it.
    """

    sent: bytes
    whole: Any
    first: str
    endpoint: str = CHAT


class BrokenStream(NamedTuple):
    """A stream in which the server says that it failed, and which error that is."""

    sent: bytes
    kind: type[RequestError]
    endpoint: str = CHAT


class Catalogue(NamedTuple):
    """A page of models, as the API lists them.

    Attributes:
        body: the reply's JSON.
        models: what it names.
        next: what to ask for the next page with; empty where there is none.
    """

    body: Any
    models: tuple[Model, ...]
    next: str = ""


class LimitHeaders(NamedTuple):
    """The headers of a reply that state limits, in lower case, and the limits."""

    headers: Mapping[str, str]
    stated: tuple[Stated, ...]


class BatchState(NamedTuple):
    """A batch as the API describes it, and what that means.

    Attributes:
        body: the reply's JSON.
        ended: nothing more becomes of it.
        outputs: how many files there are to fetch.
        problem: the class of the error by which all of it was refused.
        stopping: it is being cancelled.
    """

    body: Any
    ended: bool
    outputs: int = 0
    problem: type[RequestError] | None = None
    stopping: bool = False


class BatchLine(NamedTuple):
    """A line of results about the request `r-1`, and what it means: an answer, an error, or nothing.

    Attributes:
        said: the line's JSON.
        text: of the answer.
        usage: of the answer, as of an online one.
        kind: the class of the error.
        undone: why the request was not asked.
    """

    said: Any
    text: str | None = None
    usage: Usage | None = None
    kind: type[RequestError] | None = None
    undone: str = ""


class Batches(NamedTuple):
    """What a batch API says.

    Attributes:
        begun: the replies to the calls that begin the batch `run-1`: bodies, or whole replies.
        batch: the id of that batch.
        states: batches, by a name for each; every state, and every file of it missing once.
        lines: lines of results, by a name for each.
        page: a page that lists this batch alone, under its name if it keeps one.
        keeps_names: it gives back the name that a batch was begun under.
        endpoint: what may be asked in a batch.
    """

    begun: Sequence[Any]
    batch: str
    states: Mapping[str, BatchState]
    lines: Mapping[str, BatchLine]
    page: Any
    keeps_names: bool = True
    endpoint: str = CHAT
