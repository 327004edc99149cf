"""Spells of weather: when they are in force, what requests get, and a port on which nobody listens."""

import asyncio
import errno
import http.client
import json
import socket
from contextlib import suppress

import pytest

from fastbatch.errors import ConfigError
from fastbatch.simulator import SimulatedLimit, Simulator, SimulatorConfig, SimulatorThread, Spell
from fastbatch.simulator.doors import Doors
from fastbatch.simulator.incoming import Incoming
from fastbatch.simulator.provider import SimulatedProvider

CHAT = "/v1/chat/completions"


def chat(text):
    """A chat body as bytes."""
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()


class Sky:
    """A provider to which requests come at chosen times."""

    def __init__(self, *spells, **config):
        self.provider = SimulatedProvider(SimulatorConfig(weather=spells, **config))

    def reply(self, now, text="Hi", path=CHAT, method="POST"):
        """The reply to one request at `now`, its end counted."""
        reply = self.provider.receive(Incoming(method, path, None, chat(text), now))
        if reply.ending != "never":
            reply.settle(delivered=True)
        return reply

    def statuses(self, *times):
        """What requests at these times get."""
        return [self.reply(now).status for now in times]


@pytest.mark.parametrize(
    ("text", "spell"),
    [
        ("outage@20+60", Spell(kind="outage", begins=20, lasts=60)),
        ("hang@0.5s+2s", Spell(kind="hang", begins=0.5, lasts=2)),
        ("limits@1+2,factor=0.5", Spell(kind="limits", begins=1, lasts=2, factor=0.5)),
        ("429@5+30,retry-after=2", Spell(kind="429", begins=5, lasts=30, retry_after=2)),
        (
            "503@0+1,factor=0.1,retry-after=0.2",
            Spell(kind="503", begins=0, lasts=1, factor=0.1, retry_after=0.2),
        ),
    ],
)
def test_spells_are_read_from_text(text, spell):
    """Kind, beginning, length, and what else there is to say fit into a word."""
    assert Spell.parse(text) == spell


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("outage", "--weather"),
        ("outage@20", "--weather"),
        ("outage@-1+5", "--weather"),
        ("outrage@1+5", "Did you mean 'outage'"),
        ("outage@1+5,factor=0.5", "Spell.factor"),
        ("429@1+5,factor=1.5", "Spell.factor"),
        ("limits@1+5,factor=0", "Spell.factor"),
        ("hang@1+5,retry-after=1", "Spell.retry_after"),
    ],
)
def test_other_texts_are_refused_by_name(text, named):
    """A mistake is named."""
    with pytest.raises(ConfigError, match=named):
        Spell.parse(text)


def test_spells_run_from_the_first_request():
    """However late the client starts, the spell begins as long after its first request, and ends."""
    for start in (0.0, 1234.5):
        sky = Sky(Spell(kind="outage", begins=2, lasts=3))
        times = [start + passed for passed in (0, 1.999, 2, 4.999, 5)]
        assert sky.statuses(*times) == [200, 200, 503, 503, 200]
        assert sky.provider.stats().failed == {"outage": 2}
        assert sky.provider.tally.arrivals.ends() == {"admitted": 3, "outage": 2}


def test_a_reset_starts_the_weather_anew():
    """After a reset the next request is the first."""
    sky = Sky(Spell(kind="429", begins=1, lasts=1))
    assert sky.statuses(0, 1, 2) == [200, 429, 200]
    sky.provider.reset()
    assert sky.statuses(10, 11, 12) == [200, 429, 200]


def test_a_reset_forgets_who_was_struck():
    """The dice of a spell begin anew, too."""
    sky = Sky(Spell(kind="500", begins=0, lasts=9, factor=0.5))
    first = sky.statuses(*range(9))
    sky.provider.reset()
    assert sky.statuses(*range(9)) == first
    assert set(first) == {200, 500}


def test_an_outage_hits_everything_and_charges_nothing():
    """The list of models is out of reach, too, and the limits are full when it is over."""
    sky = Sky(Spell(kind="outage", begins=0, lasts=5), rpm=1)
    assert sky.statuses(0, 1, 2) == [503] * 3
    assert sky.reply(3, path="/v1/models", method="GET").status == 503
    assert sky.statuses(5, 6) == [200, 429]


@pytest.mark.parametrize("kind", ["429", "503", "outage"])
@pytest.mark.parametrize("said", [True, False])
def test_a_storm_may_ask_to_wait(kind, said):
    """The stated wait is the spell's own, unless nothing may state one."""
    sky = Sky(Spell(kind=kind, begins=0, lasts=5, retry_after=0.3), retry_after=said)
    reply = sky.reply(0)
    assert reply.status == (429 if kind == "429" else 503)
    assert (b"retry-after: 1\r\nretry-after-ms: 300\r\n" in reply.headers) == said
    assert json.loads(reply.body)["error"]["code"] != "insufficient_quota"


def test_a_share_of_a_storm_repeats():
    """The dice of a spell are a body's own: the same requests meet the same fate in any order."""
    spell = Spell(kind="500", begins=0, lasts=100, factor=0.3)
    rows = [f"Row {number}" for number in range(400)]
    one, two = Sky(spell), Sky(spell)
    first = {row: one.reply(1, row).status for row in rows}
    assert {row: two.reply(1, row).status for row in reversed(rows)} == first
    assert 80 <= list(first.values()).count(500) <= 160
    assert {one.reply(2, row).status for row in rows if first[row] == 500} == {200, 500}


def test_a_request_may_hang():
    """It is read, counted, and never answered."""
    sky = Sky(Spell(kind="hang", begins=0, lasts=1))
    assert sky.reply(0).ending == "never"
    assert sky.provider.stats().in_flight == 1
    assert sky.reply(1).ending == "whole"


def test_limits_change_with_the_weather():
    """Half as much passes during the spell, and everything afterwards."""
    sky = Sky(Spell(kind="limits", begins=10, lasts=10), limits=(SimulatedLimit(requests=4, per=1.0),))

    def admitted(now):
        return sum(sky.reply(now).status == 200 for _ in range(10))

    assert [admitted(now) for now in (0, 10, 19, 20)] == [4, 2, 2, 4]
    assert (
        b"x-ratelimit-limit-requests: 2\r\n"
        in Sky(Spell(kind="limits", begins=0, lasts=1, factor=0.25), rpm=8).reply(0).headers
    )


def test_too_many_under_way_are_refused():
    """The one too many gets its status and no word about limits, and is charged to none."""
    for status, code in ((429, "concurrency_limit_exceeded"), (503, "overloaded")):
        sky = Sky(rpm=10, max_in_flight=2, overload_status=status)
        under_way = [sky.provider.receive(Incoming("POST", CHAT, None, chat("a"), 0.0)) for _ in range(2)]
        reply = sky.reply(0.1)
        assert (reply.status, json.loads(reply.body)["error"]["code"]) == (status, code)
        assert b"ratelimit" not in reply.headers
        assert b"retry-after" not in reply.headers
        under_way[0].settle(delivered=True)
        assert b"remaining-requests: 7" in sky.reply(0.2).headers
        stats = sky.provider.stats()
        assert (stats.refused_busy, stats.refused_429, stats.refused) == (1, 0, {"in flight": 1})


def ask(port, text="Hi"):
    """The status over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", CHAT, chat(text))
        return connection.getresponse().status
    finally:
        connection.close()


def until(wanted, port):
    """Ask until the answer, or the error, is as wanted; those before it."""
    seen = []
    while not seen or seen[-1] != wanted:
        assert len(seen) < 100_000, seen[-5:]
        try:
            seen.append(ask(port))
        except OSError as error:
            seen.append(type(error))
    return set(seen)


async def test_a_refusing_port_is_shut_and_opens_again():
    """Of two spells, one inside the other: shut once, refused as where nobody is, and the same port again."""
    spells = (Spell(kind="refuse", begins=0, lasts=0.05), Spell(kind="refuse", begins=0.01, lasts=0.02))
    seen, shut, gone = [], asyncio.Event(), asyncio.Event()

    def knock():
        with socket.socket() as client:
            seen.append(client.connect_ex(("127.0.0.1", doors.port)))
        shut.set()

    class Goodbye(asyncio.Protocol):
        def connection_made(self, transport):
            transport.close()

        def connection_lost(self, error):
            gone.set()

    doors = Doors(Goodbye, "127.0.0.1", 0, spells, knock)
    await doors.open()
    port = doors.port
    doors.begin()
    begun = asyncio.get_running_loop().time()
    await shut.wait()
    writer = None
    while writer is None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.005)
    await gone.wait()
    writer.close()
    assert asyncio.get_running_loop().time() - begun >= 0.05  # and not at the end of the inner one
    assert (seen, doors.port) == ([errno.ECONNREFUSED], port)
    await doors.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_spells_that_were_to_come_are_forgotten():
    """Timed anew, they do not come at their old times as well."""
    loop, cuts, over = asyncio.get_running_loop(), [], asyncio.Event()
    doors = Doors(
        asyncio.Protocol, "127.0.0.1", 0, [Spell(kind="refuse", begins=0.01, lasts=9)], lambda: cuts.append(1)
    )
    await doors.open()
    doors.begin()
    doors.again()
    loop.call_later(0.02, over.set)
    await over.wait()
    assert cuts == []
    await doors.close()


def test_a_shut_port_cuts_what_is_open():
    """A request under way when the port is shut ends with its connection, not with an answer."""
    spell = Spell(kind="refuse", begins=0.05, lasts=0.1)
    with SimulatorThread(SimulatorConfig(latency=5.0, weather=(spell,))) as simulator:
        with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
            ask(simulator.port)
        assert simulator.stats().abandoned == 1


def test_a_reset_opens_a_shut_port():
    """Whoever starts counting anew finds the port open."""
    spell = Spell(kind="refuse", begins=0.02, lasts=1000)
    with SimulatorThread(SimulatorConfig(weather=(spell,))) as simulator:
        ask(simulator.port)
        until(ConnectionRefusedError, simulator.port)
        simulator.reset()
        until(200, simulator.port)


async def test_leaving_while_the_port_is_shut():
    """Leaving in the middle of a spell leaves no timer, task or socket behind."""
    config = SimulatorConfig(weather=(Spell(kind="refuse", begins=0, lasts=1000),))
    async with Simulator(config) as simulator:
        reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
        body = chat("Hi")
        writer.write(b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (CHAT.encode(), len(body), body))
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", simulator.port)
    assert len(asyncio.all_tasks()) == 1


def test_limits_change_while_it_runs():
    """A limit of the same sort goes on from what it holds; over HTTP it is said in words."""
    with SimulatorThread(SimulatorConfig(rpm=10)) as simulator:
        assert [ask(simulator.port) for _ in range(3)] == [200] * 3
        simulator.set_limits(SimulatedLimit(requests=4))
        assert [ask(simulator.port) for _ in range(2)] == [200, 429]
        connection = http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=10)
        for said, status in (('["6/60s"]', 200), ('["much"]', 400), ("6", 400), ("{", 400)):
            connection.request("POST", "/simulator/limits", said)
            reply = connection.getresponse()
            reply.read()
            assert reply.status == status
        connection.close()
        assert [ask(simulator.port) for _ in range(3)] == [200, 200, 429]
        simulator.reset()
        assert simulator.stats().limits[0]["now"] == 10
