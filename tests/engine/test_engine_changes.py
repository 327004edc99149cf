"""What a run tells when something changed: endpoints by the names that people know them by."""

from fakes import Collected, FakeTransport, asks, manager_on
from skies import Sky

from fastbatch.engine.events import Outage, Progressed
from fastbatch.providers.openai import OpenAIProvider
from fastbatch.testing import ManualClock


async def outages(*providers):
    """The events of a run whose endpoints are all away for twenty seconds."""
    clock, told = ManualClock(), Collected()
    sky = Sky(clock, outages=((2.0, 22.0, 503),))
    manager = manager_on(FakeTransport(sky), clock=clock, provider=[*providers], progress=told, concurrency=8)
    await clock.run(manager.run_async(asks(*map(str, range(300)))))
    return told.events


def provider(host):
    return OpenAIProvider("key", base_url=f"http://{host}/v1", env={})


async def test_an_outage_names_the_host():
    """The address is what a user can look at, and the time left is unknown meanwhile."""
    events = await outages(provider("fake.test:81"))
    told = [(event.where, event.over) for event in events if isinstance(event, Outage)]
    assert told == [("fake.test:81", False), ("fake.test:81", True)]
    first, last = (events.index(event) for event in events if isinstance(event, Outage))
    within = [event.snapshot for event in events[first:last] if isinstance(event, Progressed)]
    assert {picture.eta for picture in within[:-1]} == {None}


async def test_one_of_several_endpoints_has_its_number_too():
    """Two keys of one host would be one name otherwise."""
    events = await outages(provider("a.test"), provider("b.test"))
    told = {event.where for event in events if isinstance(event, Outage)}
    assert told == {"openai 1 of 2 (a.test)", "openai 2 of 2 (b.test)"}
