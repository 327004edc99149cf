"""What members are told, and what they cannot be told."""

import ctypes
import pickle
import sys

import pytest

from fastbatch import DiskCache, InMemoryCache, Limits, OpenAIProvider, RequestManager, RetryPolicy
from fastbatch.cache.diskcache import DiskCacheBackend
from fastbatch.engine.crew.orders import check, orders, packed, unpacked
from fastbatch.errors import ConfigError

PROVIDER = OpenAIProvider("key-of-mine", base_url="http://fake.test/v1", env={})


def manager(**options):
    return RequestManager(PROVIDER, model="m", workers=2, **options)


def test_orders_arrive_as_they_are(tmp_path):
    """Providers, limits, the cache's place: each member makes its own, for its part of the concurrency."""
    one = manager(limits=Limits(rpm=30), cache=DiskCache(tmp_path, ttl=60.0), retry=RetryPolicy(attempts=3))
    given = unpacked(packed(orders(one._settings, title="t", shared=tmp_path, asks=True)))
    settings = given.settings(None, concurrency=5, retries=2.5)
    (lane,) = settings.addresses[0].lanes
    assert (lane.provider.identity, lane.provider.credential) == (PROVIDER.identity, PROVIDER.credential)
    assert (lane.concurrency, settings.concurrency, settings.retry.attempts) == (5, 5, 3)
    assert lane.ledger("m") is not None
    assert lane.account("m") is not None
    assert repr(settings.cache) == f"GuardedCache(DiskCache({str(tmp_path)!r}))"
    assert [lane.budget.spend() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("kind", [DiskCache, DiskCacheBackend])
def test_a_cache_on_disk_goes_by_its_place(tmp_path, kind):
    """A copy opens the same directory with the same settings."""
    cache = kind(tmp_path / "answers", ttl=5.0, max_bytes=1000)
    copy = pickle.loads(pickle.dumps(cache))
    assert repr(copy) == repr(cache)
    assert copy._given == cache._given


class WithPointer(OpenAIProvider):
    """Holds what its own library refuses to pickle."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.held = ctypes.pointer(ctypes.c_int(1))


class OfTheProgram(OpenAIProvider):
    """As it would be if this file were the program."""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"cache": InMemoryCache()},
            "the cache cannot be given .*: it is kept in the memory",
        ),
        ({"transport": lambda: None}, "the transport cannot be given to worker processes"),
    ],
    ids=["memory", "lambda"],
)
def test_what_cannot_be_shared_is_refused_at_once(options, words):
    """By an error that names it, when the manager is made."""
    with pytest.raises(ConfigError, match=words) as refused:
        manager(**options)
    assert refused.value.key == "workers"


def test_whatever_pickling_raises_is_told_as_what_it_means():
    """Here a ValueError, which would name neither the option nor what is wrong with it."""
    with pytest.raises(ConfigError, match=r"the provider.* cannot be given .*: ctypes") as refused:
        RequestManager(WithPointer("key"), model="m", workers=2)
    assert refused.value.key == "workers"


def test_a_class_of_the_program_itself_is_refused(monkeypatch):
    """Other processes do not run the program again; the cure is told."""
    monkeypatch.setattr(OfTheProgram, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "OfTheProgram", OfTheProgram, raising=False)
    with pytest.raises(ConfigError, match=r"OfTheProgram stands in __main__.* a module of its own"):
        RequestManager(OfTheProgram("key"), model="m", workers=2)


def test_a_local_model_is_refused(monkeypatch):
    """It runs in one process."""

    class Route:
        service = object()

    one = manager()
    places = one._settings.places
    object.__setattr__(places, "routes", (Route(),))
    with pytest.raises(ConfigError, match="a local model runs in one process"):
        check(one._settings)


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "2"])
def test_a_number_of_workers_is_a_number(workers):
    """Whole, and one at least."""
    with pytest.raises(ConfigError, match="workers"):
        RequestManager(PROVIDER, workers=workers)
