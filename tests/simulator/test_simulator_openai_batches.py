"""OpenAI's files and batches, without a socket and with a clock turned by hand."""

import json
from collections import Counter
from itertools import pairwise

import orjson
import pytest
from batchclient import BatchClient

CHAT = "/v1/chat/completions"


def row(name, **more):
    """A line of an input file."""
    body = {"model": "m", "messages": [{"role": "user", "content": f"What of {name}?"}]}
    return {"custom_id": name, "method": "POST", "url": CHAT, "body": body, **more}


def rows(count):
    """So many of them."""
    return [row(f"r{number}") for number in range(count)]


def upload(content, *, purpose="batch", name="in.jsonl"):
    """A form with a file, and its content type."""
    head = 'Content-Disposition: form-data; name="{}"'
    lines = [
        *("--edge", head.format("purpose"), "", purpose),
        *("--edge", f'{head.format("file")}; filename="{name}"', "Content-Type: x/y", ""),
    ]
    body = "\r\n".join(lines).encode() + b"\r\n" + content + b"\r\n--edge--\r\n"
    return body, {b"content-type": b"multipart/form-data; boundary=edge"}


class Client(BatchClient):
    """The same in OpenAI's words."""

    def __init__(self, *, root="/v1", **config):
        super().__init__(root=root, **config)

    def create(self, lines, **more):
        """A batch of these lines."""
        content = lines if isinstance(lines, bytes) else "\n".join(map(json.dumps, lines)).encode()
        file = self.ask("POST", "/files", *upload(content))["id"]
        asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", **more}
        return self.ask("POST", "/batches", asked)

    def look(self, batch):
        """How it is now."""
        return self.ask("GET", f"/batches/{batch['id']}")

    def lines(self, file):
        """The lines of a file, none where there is none."""
        if file is None:
            return []
        return [json.loads(line) for line in self.send("GET", f"/files/{file}/content").body.splitlines()]


def names(lines):
    """What the rows of these lines were called."""
    return [line["custom_id"] for line in lines]


def test_a_batch_goes_through_its_states():
    """It is validated, worked at, finalized and complete, each at its time, and counts rows as they come."""
    client = Client(seconds=10)
    batch = client.create(rows(100), metadata={"run": "7"})
    assert (batch["status"], batch["metadata"]) == ("validating", {"run": "7"})
    seen = []
    for _ in range(5):
        client.later(2.5)
        batch = client.look(batch)
        seen.append((batch["status"], batch["request_counts"]["completed"]))
    assert seen == [
        ("in_progress", 19), ("in_progress", 50), ("in_progress", 82), ("completed", 100), ("completed", 100)
    ]  # fmt: skip
    assert batch["completed_at"] - batch["created_at"] == 10
    assert batch["finalizing_at"] - batch["created_at"] == 9
    assert batch["request_counts"] == {"total": 100, "completed": 100, "failed": 0}
    assert batch["error_file_id"] is None
    lines = client.lines(batch["output_file_id"])
    assert sorted(names(lines)) == sorted(f"r{number}" for number in range(100))
    assert names(lines) != [f"r{number}" for number in range(100)]
    for line in lines:
        assert line["error"] is None
        assert line["response"]["status_code"] == 200
        assert line["custom_id"] in line["response"]["body"]["choices"][0]["message"]["content"]


def test_rows_are_answered_and_billed_like_online_requests():
    """The same body gets the same text and usage for half the price, and is seen to be paid once more."""
    client = Client(cached_share=0.5)
    online = client.ask("POST", "/chat/completions", orjson.dumps(row("r3")["body"]))
    alone = client.stats
    batch = client.create(rows(5))
    client.later(0)
    lines = {line["custom_id"]: line for line in client.lines(client.look(batch)["output_file_id"])}
    body = lines["r3"]["response"]["body"]
    assert (body["choices"], body["usage"]) == (online["choices"], online["usage"])
    stats = client.stats
    assert stats.prompt_tokens == alone.prompt_tokens
    assert stats.batches["prompt_tokens"] == sum(
        line["response"]["body"]["usage"]["prompt_tokens"] for line in lines.values()
    )
    tally = client.provider.tally
    assert tally.bill == tally.batch_bill + tally._price(tally)
    assert tally.batch_bill * 2 == tally._price(tally.batches)
    assert float(stats.would_have_billed_usd) > float(alone.would_have_billed_usd)
    assert (stats.billed_again, stats.repeated_bodies, stats.distinct_bodies) == (1, 1, 5)
    assert tally.batches.names == {f"r{number}": (1, 1) for number in range(5)}


def test_what_fails_is_in_the_error_file():
    """A drawn failure is a response with its status, a timeout is none; neither is billed."""
    client = Client(failure_rates={"500": 0.2, "timeout": 0.2, "error": 0.1, "reset": 0.1})
    batch = client.create([*rows(200), row("bad", body={"model": "m"})])
    client.later(0)
    batch = client.look(batch)
    errors = client.lines(batch["error_file_id"])
    kinds = Counter(
        line["error"]["code"] if line["response"] is None else line["response"]["status_code"]
        for line in errors
    )
    failed = client.stats.batches["failed"]
    assert kinds == {
        "request_timeout": failed["timeout"],
        500: failed["500"],
        400: failed["rejected"],
    }
    outputs = client.lines(batch["output_file_id"])
    answered = [line for line in outputs if "choices" in line["response"]["body"]]
    assert len(outputs) - len(answered) == failed["error"] > 0
    assert len(answered) == client.stats.batches["answered"]
    assert sorted(names(outputs + errors)) == sorted(names([*rows(200), row("bad")]))
    assert all(batch["request_counts"][key] for key in ("completed", "failed"))
    paid = client.provider.tally.batches.names
    assert {name for name, (_, billed) in paid.items() if billed} == set(names(answered))


def test_a_row_that_failed_is_answered_when_it_comes_again():
    """The dice know a body in whichever batch it comes: with one failure a row, the second time is good."""
    client = Client(failure_rates={"500": 1.0})
    answered = []
    for _ in range(2):
        batch = client.create(rows(5))
        client.later(0)
        answered.append(client.look(batch)["request_counts"]["completed"])
    assert answered == [0, 5]
    assert set(client.provider.tally.batches.names.values()) == {(2, 1)}


def test_what_would_be_refused_online_is_refused_in_its_row():
    """A stream, a model that does not exist, a wrong parameter: each with the status that it would have."""
    client = Client(models=("m",))
    talk = row("a")["body"]["messages"]
    wrong = {"stream": {"stream": True, "messages": talk}, "messages": {"messages": []}}
    batch = client.create([row(name, body={"model": "m", **body}) for name, body in wrong.items()])
    other = client.create([row("model", body={"model": "other", "messages": talk})])
    client.later(0)
    lines = [line for made in (batch, other) for line in client.lines(client.look(made)["error_file_id"])]
    assert {line["custom_id"]: line["response"]["status_code"] for line in lines} == {
        "stream": 400, "messages": 400, "model": 404
    }  # fmt: skip
    assert client.stats.batches["failed"] == {"rejected": 3}


def test_results_are_no_input():
    """Only a file that was uploaded for it makes a batch."""
    client = Client()
    batch = client.create(rows(1))
    client.later(0)
    file = client.look(batch)["output_file_id"]
    asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    assert client.refused("POST", "/batches", asked)[0] == 404


def test_an_ended_batch_lets_its_input_go():
    """Of a long series of batches only the files are kept that nobody deleted."""
    client = Client()
    batch = client.create(rows(1))
    lines = client.provider.batches.find("openai", batch["id"]).lines
    assert lines._source.end > 0
    client.later(0)
    assert lines._source.end == 0


def test_an_expired_batch_has_what_was_done():
    """Sixty per cent are answered and billed; the others stand in the error file as expired, for nothing."""
    client = Client(seconds=10, share=0.6, expires=20)
    batch = client.create(rows(50))
    client.later(19)
    assert client.look(batch)["status"] == "in_progress"
    client.later(5)
    batch = client.look(batch)
    assert batch["status"] == "expired"
    assert batch["expired_at"] == batch["expires_at"] == batch["created_at"] + 20
    done, undone = client.lines(batch["output_file_id"]), client.lines(batch["error_file_id"])
    assert (len(done), len(undone)) == (30, 20)
    assert {line["error"]["code"] for line in undone} == {"batch_expired"}
    assert not set(names(done)) & set(names(undone))
    assert client.stats.batches["answered"] == 30


@pytest.mark.parametrize(("count", "done"), [(1, 1), (2, 2), (3, 2), (5, 3)])
def test_shares_are_rounded_up(count, done):
    """A single row is answered in the end: whoever asks for what is left over again and again is done."""
    client = Client(share=0.6, expires=20)
    batch = client.create(rows(count))
    client.later(20)
    batch = client.look(batch)
    assert batch["request_counts"]["completed"] == done
    assert batch["status"] == ("completed" if done == count else "expired")


def test_a_cancelled_batch_has_what_was_done():
    """It goes on while it is cancelling; then the rest is cancelled, and cancelling again is refused."""
    client = Client(seconds=10, cancel_seconds=2)
    batch = client.create(rows(80))
    client.later(5)
    batch = client.ask("POST", f"/batches/{batch['id']}/cancel")
    assert (batch["status"], batch["request_counts"]["completed"]) == ("cancelling", 40)
    client.later(1)
    assert client.look(batch)["output_file_id"] is None
    client.later(1)
    batch = client.look(batch)
    assert batch["status"] == "cancelled"
    assert batch["cancelled_at"] - batch["cancelling_at"] == 2
    done, undone = client.lines(batch["output_file_id"]), client.lines(batch["error_file_id"])
    assert (len(done), len(undone)) == (60, 20)
    assert {line["error"]["code"] for line in undone} == {"batch_cancelled"}
    assert client.refused("POST", f"/batches/{batch['id']}/cancel")[0] == 409


@pytest.mark.parametrize("missing", [(), ("output",), ("errors",), ("output", "errors")])
@pytest.mark.parametrize("end", ["completed", "expired", "cancelled", "failed"])
def test_either_file_may_be_missing_in_every_end(end, missing):
    """Without an output file nothing was billed; without an error file nobody hears of the rest."""
    client = Client(
        seconds=10, share=1.0 if end == "completed" else 0.5, expires=20, missing=missing,
        breaks=15 if end == "failed" else None, failure_rates={"500": 0.3},
    )  # fmt: skip
    batch = client.create(rows(60))
    client.later(10)
    if end == "cancelled":
        client.ask("POST", f"/batches/{batch['id']}/cancel")
    client.later(10)
    batch = client.look(batch)
    assert batch["status"] == end
    assert (batch["output_file_id"] is None) == ("output" in missing)
    assert (batch["error_file_id"] is None) == ("errors" in missing)
    assert len(client.lines(batch["output_file_id"])) == client.stats.batches["answered"]


def wrong(**more):
    """Good lines with one wrong one in the middle."""
    return [row("a"), row("b", **more), row("c")]


@pytest.mark.parametrize(
    ("lines", "code", "line"),
    [
        (b'{"custom_id": "a"\n', "invalid_json_line", 1),
        (b"[]\n", "invalid_json_line", 1),
        (b"\n \n", "empty_file", None),
        (wrong(custom_id="a"), "duplicate_custom_id", 2),
        (wrong(custom_id=""), "missing_required_parameter", 2),
        (wrong(method="GET"), "invalid_method", 2),
        (wrong(url="/v1/embeddings"), "url_mismatch", 2),
        (wrong(body={"messages": []}), "missing_required_parameter", 2),
        (wrong(body={"model": "other"}), "model_mismatch", 2),
        (rows(4), "too_many_tasks", None),
    ],
)
def test_a_batch_with_a_wrong_line_fails_as_a_whole(lines, code, line):
    """It is created all the same, and says which lines are wrong once it has been read."""
    client = Client(rows=3, seconds=10)
    batch = client.create(lines)
    assert batch["status"] == "validating"
    client.later(1)
    batch = client.look(batch)
    assert batch["status"] == "failed"
    (problem,) = batch["errors"]["data"]
    assert (problem["code"], problem["line"]) == (code, line)
    assert batch["output_file_id"] is batch["error_file_id"] is None
    assert client.stats.batches["answered"] == 0


@pytest.mark.parametrize(
    ("given", "state"),
    [(["a", "b", "c"], "completed"), (["a", "b", "c", "d"], "failed"), ([1, 2, 3, 4], "completed")],
)
def test_texts_of_embeddings_count_like_rows(given, state):
    """A batch of embeddings holds only so many texts, in however few rows; a list of tokens is one text."""
    client = Client(rows=3)
    url = "/v1/embeddings"
    batch = client.create([row("a", url=url, body={"model": "m", "input": given})], endpoint=url)
    client.later(0)
    batch = client.look(batch)
    assert batch["status"] == state
    if state == "failed":
        assert batch["errors"]["data"][0]["code"] == "too_many_tasks"
    else:
        (line,) = client.lines(batch["output_file_id"])
        assert len(line["response"]["body"]["data"]) == (3 if given[0] == "a" else 1)


def test_a_batch_that_breaks_keeps_what_was_done():
    """It fails as a whole, for no line's sake; answers are billed and can be had, the rest is nowhere."""
    client = Client(seconds=10, breaks=5)
    batch = client.create(rows(80))
    client.later(20)
    batch = client.look(batch)
    assert (batch["status"], batch["failed_at"] - batch["created_at"]) == ("failed", 5)
    (problem,) = batch["errors"]["data"]
    assert (problem["code"], problem["line"]) == ("server_error", None)
    assert batch["request_counts"] == {"total": 80, "completed": 40, "failed": 0}
    assert len(client.lines(batch["output_file_id"])) == client.stats.batches["answered"] == 40
    assert batch["error_file_id"] is None


def test_a_quota_ends_in_the_middle_of_a_batch():
    """Rows beyond it are refused one by one, and online requests at once."""
    client = Client(stop_after=12)
    batch = client.create(rows(20))
    client.later(0)
    batch = client.look(batch)
    refused = client.lines(batch["error_file_id"])
    assert [line["response"]["body"]["error"]["code"] for line in refused] == ["insufficient_quota"] * 8
    assert client.stats.batches["failed"] == {"quota": 8}
    assert client.refused("POST", "/chat/completions", row("r")["body"])[0] == 429


def test_only_so_many_tokens_may_wait():
    """A batch that would be too much fails at once; when another has ended the same file passes."""
    client = Client(tokens=75, seconds=10)  # ten rows are 70, another one is 8
    first = client.create(rows(10))
    client.later(2)
    second = client.create([row("later")])
    client.later(2)
    (problem,) = client.look(second)["errors"]["data"]
    assert problem["code"] == "token_limit_exceeded"
    assert "in_progress" in problem["message"]
    client.later(10)
    assert client.look(first)["status"] == "completed"
    third = client.create([row("later")])
    client.later(10)
    assert client.look(third)["status"] == "completed"


def test_files_are_kept_until_they_are_deleted():
    """Listed by purpose, the newest first; what is gone is 404, and a batch that reads it goes on."""
    client = Client(seconds=10)
    batch = client.create(rows(3))
    file = batch["input_file_id"]
    assert client.ask("GET", f"/files/{file}")["filename"] == "in.jsonl"
    assert client.ask("DELETE", f"/files/{file}") == {"id": file, "object": "file", "deleted": True}
    assert client.refused("GET", f"/files/{file}/content")[0] == 404
    client.later(10)
    batch = client.look(batch)
    files = client.ask("GET", "/files?limit=1&purpose=batch_output")["data"]
    assert [file["id"] for file in files] == [batch["output_file_id"]]
    assert client.ask("GET", "/files?purpose=batch")["data"] == []


def test_batches_are_listed_page_by_page():
    """The newest first; `after` goes on behind a batch, and an unknown one is refused."""
    client = Client()
    made = [client.create(rows(1))["id"] for _ in range(5)][::-1]
    page = client.ask("GET", "/batches?limit=2")
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == (made[:2], True)
    page = client.ask("GET", f"/batches?limit=10&after={page['last_id']}")
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == (made[2:], False)
    assert client.refused("GET", "/batches?after=batch_nobody")[0] == 400
    assert client.refused("GET", "/batches?limit=101")[0] == 400


def test_ids_come_from_the_seed():
    """Two runs name everything alike; another seed, and a second batch, have other names."""
    one, two, other = (Client(seed=seed).create(rows(1))["id"] for seed in (1, 1, 2))
    assert one == two != other


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"completion_window": "1h"}, 400),
        ({"endpoint": "/v1/moderations"}, 400),
        ({"endpoint": "/chat/completions"}, 400),
        ({"input_file_id": "file-nobody"}, 404),
        ({"metadata": {"k": 1}}, 400),
        ({"metadata": {str(number): "" for number in range(17)}}, 400),
    ],
)
def test_a_wrong_creation_is_refused(change, status):
    """Nothing begins."""
    client = Client()
    file = client.ask("POST", "/files", *upload(b"{}"))["id"]
    asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", **change}
    assert client.refused("POST", "/batches", asked)[0] == status
    assert client.stats.batches["created"] == 0
    assert client.stats.rejected == 1


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{}", {b"content-type": b"application/json"}),
        (upload(b"x")[0], {b"content-type": b"multipart/form-data"}),
        (upload(b"x")[0], {b"content-type": b"multipart/form-data; boundary=other"}),
        (upload(b"x")[0], {b"content-type": b"multipart/mixed; boundary=edge"}),
        (upload(b"x")[0][:-10], upload(b"x")[1]),
        upload(b"x", purpose="assistants"),
        upload(b"x", name="in.txt"),
    ],
)
def test_a_wrong_upload_is_refused(body, headers):
    """What is no form, breaks off, or is for something else."""
    assert Client().refused("POST", "/files", body, headers)[0] == 400


def test_a_file_has_a_most():
    """Its own bytes count, not those of the form around it."""
    client = Client(size=5)
    assert client.ask("POST", "/files", *upload(b"12345"))["bytes"] == 5
    assert client.refused("POST", "/files", *upload(b"123456"))[0] == 413


def test_a_form_keeps_every_byte():
    """Line ends at both ends, NUL and what looks almost like the boundary are content."""
    content = b"\r\n\0--edge\r\n--edg\r\n\r\n\xff\n"
    client = Client()
    file = client.ask("POST", "/files", *upload(content))["id"]
    assert client.send("GET", f"/files/{file}/content").body == content


def test_the_first_creations_may_go_unheard():
    """The batch is there, the connection is reset; the next one is heard of."""
    client = Client(lose_replies=1)
    file = client.ask("POST", "/files", *upload(json.dumps(row("a")).encode()))["id"]
    asked = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", "metadata": {"name": "n"}}
    assert client.send("POST", "/batches", asked).ending == "reset"
    (batch,) = client.ask("GET", "/batches")["data"]
    assert batch["metadata"] == {"name": "n"}
    assert client.send("POST", "/batches", asked).ending == "whole"


def test_work_is_done_in_slices():
    """Thousands of rows due at once are answered a few at a time, so that requests come in between."""
    client = Client()
    batch = client.create(rows(3000))
    steps = []
    while client.provider.work(client.now) == 0.0:
        steps.append(client.provider.tally.batches.answered)
    assert max(after - before for before, after in pairwise(steps)) <= 64
    assert client.look(batch)["status"] == "completed"


def test_a_reset_forgets_files_and_batches():
    """Everything starts anew."""
    client = Client()
    batch = client.create(rows(1))
    client.provider.reset()
    assert client.refused("GET", f"/batches/{batch['id']}")[0] == 404
    assert client.provider.work(client.now) is None


def test_a_key_is_asked_for():
    """Files and batches are behind the same key as everything."""
    client = Client(require_key="k")
    assert client.refused("GET", "/batches")[0] == 401


def test_other_methods_are_refused_by_name():
    """405 says which there are."""
    reply = Client().send("PUT", "/files")
    assert reply.status == 405
    assert b"allow: GET, POST\r\n" in reply.headers


@pytest.mark.parametrize(("root", "query"), [("/openai", "?api-version=2024-10-21"), ("/openai/v1", "")])
def test_azure_has_them_at_two_addresses(root, query):
    """Dated addresses want their date, urls need no `/v1`, and OpenAI's batches are others."""
    client = Client(root=root)
    lines = [row(f"r{number}", url="/chat/completions") for number in range(3)]
    file = client.ask("POST", f"/files{query}", *upload("\n".join(map(json.dumps, lines)).encode()))["id"]
    asked = {"input_file_id": file, "endpoint": "/chat/completions", "completion_window": "24h"}
    batch = client.ask("POST", f"/batches{query}", asked)
    client.later(0)
    batch = client.ask("GET", f"/batches/{batch['id']}{query}")
    assert (batch["status"], batch["error_file_id"]) == ("completed", "")
    if query:
        assert client.refused("GET", "/batches") == (404, {"code": "404", "message": "Resource not found"})
    client.root = "/v1"
    assert client.ask("GET", "/batches")["data"] == client.ask("GET", "/files")["data"] == []
