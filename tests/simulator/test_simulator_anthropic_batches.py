"""Anthropic's message batches, without a socket and with a clock turned by hand."""

import json
from collections import Counter

import pytest
from batchclient import BatchClient

VERSION = {b"anthropic-version": b"2023-06-01", b"host": b"here:1"}


def request(name, **params):
    """A request of a batch."""
    messages = [{"role": "user", "content": f"What of {name}?"}]
    return {"custom_id": name, "params": {"model": "m", "max_tokens": 50, "messages": messages, **params}}


def requests(count):
    """So many of them."""
    return [request(f"r{number}") for number in range(count)]


class Client(BatchClient):
    """The same in Anthropic's words."""

    def __init__(self, **config):
        super().__init__(root="/v1/messages/batches", headers=VERSION, **config)

    def create(self, rows):
        """A batch of these requests."""
        return self.ask("POST", "", {"requests": rows})

    def look(self, batch):
        """How it is now."""
        return self.ask("GET", f"/{batch['id']}")

    def results(self, batch):
        """Its results by name."""
        lines = self.send("GET", f"/{batch['id']}/results").body.splitlines()
        return {said["custom_id"]: said["result"] for said in map(json.loads, lines)}


def test_a_batch_ends_with_its_results():
    """Until then nothing is counted but requests under way, and there is no address of results."""
    client = Client(seconds=10)
    batch = client.create(requests(20))
    client.later(9.5)
    batch = client.look(batch)
    assert (batch["processing_status"], batch["results_url"], batch["ended_at"]) == (
        "in_progress",
        None,
        None,
    )
    assert batch["request_counts"] == {
        "processing": 20, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0
    }  # fmt: skip
    assert client.refused("GET", f"/{batch['id']}/results")[0] == 404
    client.later(1)
    batch = client.look(batch)
    assert batch["processing_status"] == "ended"
    assert batch["results_url"] == f"http://here:1/v1/messages/batches/{batch['id']}/results"
    assert batch["request_counts"]["succeeded"] == 20
    for name, result in client.results(batch).items():
        assert result["type"] == "succeeded"
        assert name in result["message"]["content"][0]["text"]
    assert client.provider.tally.batches.names == {f"r{number}": (1, 1) for number in range(20)}


def test_failures_are_results_with_an_error():
    """Whatever befalls a request, wrong parameters too, is an error of Anthropic's shape, and free."""
    kinds = ("500", "503", "timeout", "reset", "error")
    client = Client(failure_rates=dict.fromkeys(kinds, 0.15))
    batch = client.create([*requests(200), request("bad", top_secret=1)])
    client.later(0)
    results = client.results(batch)
    counts = client.look(batch)["request_counts"]
    found = Counter(result["error"]["error"]["type"] for result in results.values() if "error" in result)
    failed = client.stats.batches["failed"]
    assert found == {
        "api_error": failed["500"],
        "overloaded_error": failed["503"],
        "timeout_error": failed["timeout"],
        "invalid_request_error": 1,
    }
    assert counts["errored"] == sum(found.values())
    assert counts["succeeded"] == client.stats.batches["answered"] == 201 - counts["errored"]


@pytest.mark.parametrize(("end", "word"), [("expired", "expired"), ("cancelled", "canceled")])
def test_what_was_not_done_says_so(end, word):
    """Sixty per cent are answered when a batch expires or is cancelled, the others are named."""
    client = Client(seconds=10, share=0.6, expires=20, cancel_seconds=1)
    batch = client.create(requests(50))
    client.later(12)
    if end == "cancelled":
        batch = client.ask("POST", f"/{batch['id']}/cancel")
        assert batch["processing_status"] == "canceling"
        assert batch["cancel_initiated_at"] is not None
    client.later(10)
    counts = client.look(batch)["request_counts"]
    assert (counts["succeeded"], counts[word]) == (30, 20)
    assert Counter(result["type"] for result in client.results(batch).values()) == {"succeeded": 30, word: 20}
    assert client.stats.batches["answered"] == 30
    assert client.refused("POST", f"/{batch['id']}/cancel")[0] == 400


def test_batches_do_not_fail_but_their_rows_do():
    """Where another API's batch would break, the rows that are left have an error."""
    client = Client(seconds=10, breaks=5)
    batch = client.create(requests(80))
    client.later(20)
    counts = client.look(batch)["request_counts"]
    assert (counts["succeeded"], counts["errored"]) == (40, 40)
    assert Counter(said["type"] for said in client.results(batch).values()) == {
        "succeeded": 40,
        "errored": 40,
    }


def test_the_newest_come_first():
    """Pages go on behind `after_id`, and back before `before_id`."""
    client = Client()
    made = [client.create(requests(1))["id"] for _ in range(4)][::-1]
    page = client.ask("GET", "?limit=2")
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == (made[:2], True)
    page = client.ask("GET", f"?limit=2&after_id={page['last_id']}")
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == (made[2:], False)
    page = client.ask("GET", f"?limit=1&before_id={made[2]}")
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == (made[1:2], True)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"requests": []}, 400),
        ({"requests": ["x"]}, 400),
        ({"requests": [{"custom_id": "a"}]}, 400),
        ({"requests": [request("a b")]}, 400),
        ({"requests": [request("a" * 65)]}, 400),
        ({"requests": [request("a\n")]}, 400),
        ({"requests": [request("a"), request("a")]}, 400),
        ({"requests": requests(4)}, 413),
    ],
)
def test_a_wrong_creation_is_refused(body, status):
    """Names must be unique and of the right letters, and there is a most; nothing begins."""
    client = Client(rows=3)
    assert client.refused("POST", "", body)[0] == status
    assert client.stats.batches["created"] == 0


def test_a_version_is_asked_for():
    """As with messages."""
    client = Client()
    client.headers = {}
    assert client.refused("POST", "", {"requests": requests(1)})[0] == 400


def test_too_many_tokens_are_refused_at_once():
    """429, and nothing begins; when there is room again the same batch passes."""
    client = Client(seconds=10, tokens=75)
    client.create(requests(10))
    client.later(2)
    status, error = client.refused("POST", "", {"requests": requests(1)})
    assert (status, error["type"]) == (429, "rate_limit_error")
    client.later(10)
    client.create(requests(1))


def test_only_an_ended_batch_is_deleted():
    """Before that it is refused; afterwards nobody finds it."""
    client = Client(seconds=10)
    batch = client.create(requests(1))
    assert client.refused("DELETE", f"/{batch['id']}")[0] == 400
    client.later(10)
    assert client.ask("DELETE", f"/{batch['id']}")["type"] == "message_batch_deleted"
    assert client.refused("GET", f"/{batch['id']}")[0] == 404
