"""What every contestant is asked to do: the rows, the answer they get, and where.

Only the standard library is imported here, so that a contestant in an environment of its own can use it too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = "benchmark-model"

# Makes a body of about 1 KB, a usual prompt of some 200 tokens.
_FILLER = "Read the following report and say in one sentence what it decides and for whom. " * 11


@dataclass(frozen=True)
class Task:
    """One run of one contestant.

    Attributes:
        base_url: the server, `/v1` included.
        rows: how many requests to make; 0 measures what starting up costs.
        concurrency: requests in flight at most.
        input: a JSONL file of `rows` batch lines with the same bodies as `bodies(rows)`.
        folder: empty, for this run alone.
        prepared: what the contestant's preparation left behind, None where it has none.
        ca_file: the authority to trust, None where the server speaks plain HTTP.
    """

    base_url: str
    rows: int
    concurrency: int
    input: Path
    folder: Path
    prepared: Path | None = None
    ca_file: Path | None = None

    @classmethod
    def from_json(cls, text: str) -> Task:
        """The task that `to_json` wrote down."""
        told = json.loads(text)
        names = ("input", "folder", "prepared", "ca_file")
        paths = {key: Path(told[key]) for key in names if told[key] is not None}
        return cls(**{**told, **paths})

    def to_json(self) -> str:
        """This task as an argument for a child process."""
        return json.dumps(self.__dict__, default=str)


def bodies(rows: int) -> Iterator[dict[str, Any]]:
    """`rows` different chat bodies of about 1 KB, made one by one."""
    for number in range(rows):
        yield {
            "model": MODEL,
            "messages": [{"role": "user", "content": f"Report {number}. {_FILLER}"}],
            "max_tokens": 64,
            "temperature": 0,
        }


def write_rows(path: Path, rows: int) -> Path:
    """A JSONL file of OpenAI batch lines with these bodies."""
    with path.open("w", encoding="utf-8") as file:
        for number, body in enumerate(bodies(rows)):
            row = {
                "custom_id": f"row-{number}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            }
            file.write(json.dumps(row) + "\n")
    return path


def reply() -> bytes:
    """A chat completion of 700 bytes, the size of a short answer with everything OpenAI adds."""
    answer: dict[str, Any] = {
        "id": "chatcmpl-benchmark0000000000000000",
        "object": "chat.completion",
        "created": 1700000000,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "", "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 200,
            "completion_tokens": 30,
            "total_tokens": 230,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_benchmark",
    }
    sentence = "The report decides that everybody may go on as before. " * 20
    answer["choices"][0]["message"]["content"] = sentence[: 700 - len(json.dumps(answer))]
    return json.dumps(answer).encode()
