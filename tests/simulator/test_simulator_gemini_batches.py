"""Gemini's files and batches, without a socket and with a clock turned by hand."""

import json
from collections import Counter

import pytest
from batchclient import BatchClient

CREATE = "/v1beta/models/gem:batchGenerateContent"
UPLOAD = "/upload/v1beta/files"


def line(name, **request):
    """A line of an input file."""
    contents = [{"role": "user", "parts": [{"text": f"What of {name}?"}]}]
    return {"key": name, "request": {"contents": contents, **request}}


def lines(count):
    """So many of them."""
    return [line(f"r{number}") for number in range(count)]


def command(*words, offset=None):
    """Headers of a resumable upload."""
    at = {} if offset is None else {b"x-goog-upload-offset": b"%d" % offset}
    return {b"x-goog-upload-command": ", ".join(words).encode(), **at}


class Client(BatchClient):
    """The same in Google's words."""

    def __init__(self, **config):
        super().__init__(root="", headers={b"host": b"here:1"}, **config)

    def begin(self, about=None, *, size=None, keyed=None):
        """Where the pieces of an upload go."""
        start = {b"x-goog-upload-protocol": b"resumable", **command("start"), **(keyed or {})}
        if size is not None:
            start[b"x-goog-upload-header-content-length"] = b"%d" % size
        reply = self.send("POST", UPLOAD, about or {}, start)
        assert reply.status == 200
        told = dict(head.split(b": ", 1) for head in reply.headers.splitlines())
        assert told[b"x-goog-upload-status"] == b"active"
        return told[b"x-goog-upload-url"].decode().removeprefix("http://here:1")

    def upload(self, content):
        """The name of a file that went up in one piece."""
        end = command("upload", "finalize", offset=0)
        return self.ask("POST", self.begin(), content, end)["file"]["name"]

    def create(self, rows, **more):
        """A batch of a file with these lines."""
        content = rows if isinstance(rows, bytes) else "\n".join(map(json.dumps, rows)).encode()
        config = {"file_name": self.upload(content)}
        return self.ask("POST", CREATE, {"batch": {"display_name": "mine", "input_config": config, **more}})

    def look(self, batch):
        """How it is now."""
        return self.ask("GET", f"/v1beta/{batch['name']}")

    def results(self, batch):
        """Its lines by key."""
        file = self.look(batch)["metadata"]["output"]["responsesFile"]
        content = self.send("GET", f"/v1beta/{file}:download?alt=media").body
        return {said["key"]: said for said in map(json.loads, content.splitlines())}


def state(batch):
    """The word for how it is."""
    return batch["metadata"]["state"].removeprefix("BATCH_STATE_")


def test_a_batch_is_an_operation():
    """Pending, running, done: with counts in texts, and the file of results in two places."""
    client = Client(seconds=10)
    batch = client.create(lines(20))
    assert (state(batch), batch.get("done"), batch["metadata"]["displayName"]) == ("PENDING", None, "mine")
    client.later(5)
    batch = client.look(batch)
    assert (state(batch), "output" in batch["metadata"]) == ("RUNNING", False)
    assert batch["metadata"]["batchStats"] == {
        "requestCount": "20", "successfulRequestCount": "10", "pendingRequestCount": "10"
    }  # fmt: skip
    client.later(5)
    batch = client.look(batch)
    assert (state(batch), batch["done"]) == ("SUCCEEDED", True)
    assert batch["response"]["responsesFile"] == batch["metadata"]["output"]["responsesFile"]
    results = client.results(batch)
    assert set(results) == {f"r{number}" for number in range(20)}
    for name, said in results.items():
        assert name in said["response"]["candidates"][0]["content"]["parts"][0]["text"]
        assert said["response"]["usageMetadata"]["promptTokenCount"] > 0
    assert client.provider.tally.batches.names == {f"r{number}": (1, 1) for number in range(20)}


def test_failures_are_lines_with_a_status_of_grpc():
    """Errors of the server, of time and of the request itself have its codes, and are free."""
    client = Client(failure_rates=dict.fromkeys(("500", "503", "timeout", "malformed"), 0.15))
    batch = client.create([*lines(200), line("bad", top_secret=1)])
    client.later(0)
    results = client.results(batch)
    failed = client.stats.batches["failed"]
    assert Counter(said["error"]["code"] for said in results.values() if "error" in said) == {
        13: failed["500"], 14: failed["503"], 4: failed["timeout"], 3: failed["rejected"]
    }  # fmt: skip
    answered = sum("response" in said for said in results.values())
    assert answered == client.stats.batches["answered"]
    counts = client.look(batch)["metadata"]["batchStats"]
    assert counts["failedRequestCount"] == str(201 - answered)


@pytest.mark.parametrize("end", ["EXPIRED", "CANCELLED"])
def test_what_was_not_done_is_left_out_or_cancelled(end):
    """What was billed can be had; the operation has an error, and is done."""
    client = Client(seconds=10, share=0.6, expires=20, cancel_seconds=1)
    batch = client.create(lines(50))
    client.later(12)
    if end == "CANCELLED":
        assert client.ask("POST", f"/v1beta/{batch['name']}:cancel") == {}
        assert state(client.look(batch)) == "RUNNING"
    client.later(10)
    batch = client.look(batch)
    assert (state(batch), batch["done"]) == (end, True)
    assert batch["error"]["code"] == (1 if end == "CANCELLED" else 4)
    results = client.results(batch)
    errors = [said["error"]["code"] for said in results.values() if "error" in said]
    assert len(results) - len(errors) == client.stats.batches["answered"] == 30
    assert errors == ([1] * 20 if end == "CANCELLED" else [])
    assert client.refused("POST", f"/v1beta/{batch['name']}:cancel")[0] == 400


def test_without_output_there_is_no_file():
    """As Google's reference has it of expired batches; nothing was billed then."""
    client = Client(seconds=10, share=0.6, expires=20, missing=("output", "errors"))
    batch = client.create(lines(50))
    client.later(30)
    batch = client.look(batch)
    assert (state(batch), "output" in batch["metadata"]) == ("EXPIRED", False)
    assert client.stats.batches["answered"] == 0


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (b"{", "line 2"),
        (b'{"key": "a", "request": {}, "x": 1}\n{"key": "a", "request": {}}', "line 3"),
        (b'{"request": {}}', "key"),
        (b'{"key": "a"}', "request"),
        (b'{"key": "a", "request": {"model": "models/other"}}', "models/other"),
    ],
)
def test_a_batch_with_a_wrong_line_fails_as_a_whole(wrong, told):
    """After it was created, with a sentence."""
    client = Client()
    batch = client.create(b'{"key": "first", "request": {}}\n' + wrong)
    client.later(0)
    batch = client.look(batch)
    assert (state(batch), batch["error"]["code"]) == ("FAILED", 3)
    assert told in batch["error"]["message"]


def test_a_batch_that_breaks_keeps_what_was_done():
    """It fails with an internal error, and has a file of results."""
    client = Client(seconds=10, breaks=5)
    batch = client.create(lines(80))
    client.later(20)
    batch = client.look(batch)
    assert (state(batch), batch["error"]["code"]) == ("FAILED", 13)
    assert len(client.results(batch)) == client.stats.batches["answered"] == 40


def test_inline_answers_stand_in_order():
    """In the operation itself, each with what was said of its request."""
    client = Client(failure_rates={"500": 0.3})
    requests = [
        {"request": line(f"r{number}")["request"], "metadata": {"key": f"k{number}"}} for number in range(20)
    ]
    config = {"requests": {"requests": requests}}
    batch = client.ask("POST", CREATE, {"batch": {"displayName": "mine", "inputConfig": config}})
    client.later(0)
    output = client.look(batch)["response"]["inlinedResponses"]["inlinedResponses"]
    assert [said["metadata"]["key"] for said in output] == [f"k{number}" for number in range(20)]
    for number, said in enumerate(output):
        assert "error" in said or f"r{number}" in json.dumps(said["response"])
    assert any("error" in said for said in output)


def test_a_file_goes_up_in_pieces():
    """Each at the offset that is due; a wrong one is refused, and a query says how far it is."""
    client = Client()
    where = client.begin({"file": {"display_name": "rows"}})
    assert b"active" in client.send("POST", where, b"abc", command("upload", offset=0)).headers
    assert client.refused("POST", where, b"x", command("upload", offset=1))[0] == 400
    assert b"received: 3" in client.send("POST", where, b"", command("query")).headers
    reply = client.send("POST", where, b"de", command("upload", "finalize", offset=3))
    assert reply.headers == b"x-goog-upload-status: final\r\n"
    file = json.loads(reply.body)["file"]
    assert (file["sizeBytes"], file["displayName"], file["state"]) == ("5", "rows", "ACTIVE")
    assert client.refused("POST", where, b"", command("finalize", offset=5))[0] == 404


def test_an_upload_is_as_long_as_announced():
    """One that ends early, or grows too large, is refused."""
    client = Client(size=10)
    where = client.begin(size=5)
    assert client.refused("POST", where, b"abc", command("upload", "finalize", offset=0))[0] == 400
    where = client.begin()
    assert client.refused("POST", where, b"x" * 11, command("upload", "finalize", offset=0))[0] == 413


@pytest.mark.parametrize("way", ["multipart", "raw"])
def test_a_file_goes_up_in_one_call(way):
    """As two parts, or as it is."""
    client = Client()
    if way == "raw":
        body, kind = b"line\n", b"application/jsonl"
    else:
        body = (
            b"--e\r\nContent-Type: application/json\r\n\r\n"
            b'{"file": {"displayName": "rows", "mimeType": "application/jsonl"}}'
            b"\r\n--e\r\nContent-Type: application/jsonl\r\n\r\nline\n\r\n--e--"
        )
        kind = b"multipart/related; boundary=e"
    file = client.ask("POST", UPLOAD, body, {b"x-goog-upload-protocol": way.encode(), b"content-type": kind})[
        "file"
    ]
    assert file["sizeBytes"] == "5"
    assert client.ask("GET", f"/v1beta/{file['name']}") == file
    assert client.refused("POST", UPLOAD, body)[0] == 400


def test_only_generated_files_are_downloaded():
    """What was uploaded is listed and deleted, but not given back."""
    client = Client()
    name = client.upload(b"x")
    assert client.refused("GET", f"/v1beta/{name}:download?alt=media")[0] == 400
    assert [file["name"] for file in client.ask("GET", "/v1beta/files")["files"]] == [name]
    assert client.ask("DELETE", f"/v1beta/{name}") == {}
    assert client.refused("GET", f"/v1beta/{name}")[0] == 403
    assert client.ask("GET", "/v1beta/files") == {}


@pytest.mark.parametrize(
    ("batch", "status"),
    [
        ({"displayName": 1, "inputConfig": {"fileName": "files/x"}}, 400),
        ({"displayName": "d", "inputConfig": {"fileName": "files/nobody"}}, 404),
        ({"displayName": "d"}, 404),
        ({"displayName": "d", "inputConfig": {"requests": {"requests": "x"}}}, 400),
    ],
)
def test_a_wrong_creation_is_refused(batch, status):
    """Nothing begins."""
    client = Client()
    assert client.refused("POST", CREATE, {"batch": batch})[0] == status
    assert client.stats.batches["created"] == 0


def test_a_model_must_exist():
    """404, as online."""
    client = Client(models=("other",))
    config = {"fileName": client.upload(b"{}")}
    assert client.refused("POST", CREATE, {"batch": {"displayName": "d", "inputConfig": config}})[0] == 404


def test_too_many_tokens_are_refused_at_once():
    """429, and nothing begins."""
    client = Client(tokens=75, seconds=10)
    client.create(lines(10))
    client.later(2)
    config = {"fileName": client.upload(json.dumps(line("more")).encode())}
    status, error = client.refused("POST", CREATE, {"batch": {"displayName": "d", "inputConfig": config}})
    assert (status, error["status"]) == (429, "RESOURCE_EXHAUSTED")


def test_operations_are_listed_page_by_page():
    """The newest first; of an account without any there is nothing to be listed."""
    client = Client()
    assert client.ask("GET", "/v1beta/batches") == {}
    made = [client.create(lines(1))["name"] for _ in range(3)][::-1]
    page = client.ask("GET", "/v1beta/batches?pageSize=2")
    assert [batch["name"] for batch in page["operations"]] == made[:2]
    page = client.ask("GET", f"/v1beta/batches?pageSize=2&pageToken={page['nextPageToken']}")
    assert [batch["name"] for batch in page["operations"]] == made[2:]
    assert "nextPageToken" not in page


def test_pieces_of_an_upload_need_no_key():
    """Google's own client sends none with them: who knows the address may send; nobody else may."""
    client = Client(require_key="k")
    keyed = {b"x-goog-api-key": b"k"}
    where = client.begin(keyed=keyed)
    assert client.send("POST", where, b"x", command("upload", "finalize", offset=0)).status == 200
    assert client.refused("GET", "/v1beta/files")[0] == 403


def test_addresses_that_are_two_apis_go_by_the_key():
    """`/v1/batches` and `/v1/files` are Google's where a request has Google's key."""
    client = Client()
    keyed = {b"x-goog-api-key": b"k"}
    assert client.ask("GET", "/v1/batches", headers=keyed) == {}
    assert client.ask("GET", "/v1/batches")["object"] == "list"
