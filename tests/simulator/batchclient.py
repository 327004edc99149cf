"""A client of the simulator's files and batches: no socket, and a clock that only `later` moves."""

import json

from fastbatch.simulator import BatchConfig, SimulatorConfig
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.provider import SimulatedProvider


class BatchClient:
    """Speaks to a provider; keywords are fields of either config, headers go with every request."""

    def __init__(self, *, root, headers=None, **config):
        batches = {name: config.pop(name) for name in set(config) & set(BatchConfig.__dataclass_fields__)}
        self.provider = SimulatedProvider(SimulatorConfig(batches=BatchConfig(**batches), **config))
        self.now = 1000.0
        self.root = root
        self.headers = headers or {}

    def send(self, method, path, body=b"", headers=None):
        """The reply, its end counted."""
        path, _, query = path.partition("?")
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {**self.headers, **(headers or {})}
        request = Incoming(method, self.root + path, None, raw, self.now, sent, query.encode())
        reply = self.provider.receive(request)
        reply.settle(delivered=reply.ending == "whole")
        return reply

    def ask(self, method, path, body=b"", headers=None):
        """The JSON of a 200."""
        reply = self.send(method, path, body, headers)
        assert reply.status == 200, reply.body
        return json.loads(reply.body)

    def refused(self, method, path, body=b"", headers=None):
        """Status and error of another."""
        reply = self.send(method, path, body, headers)
        return reply.status, json.loads(reply.body)["error"]

    def later(self, seconds):
        """Let time pass, and have all done that is due then."""
        self.now += seconds
        while self.provider.work(self.now) == 0.0:
            pass

    @property
    def stats(self):
        """What was counted."""
        return self.provider.stats()
