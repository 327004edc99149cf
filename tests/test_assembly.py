"""Names and settings become built objects, and every wrong one is a sentence before anything is sent."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from fastbatch import DiskCache, InMemoryCache, LLMRequest, OpenAIProvider, registry
from fastbatch.assembly import open_cache, open_route, recorded_usage_of, split_name
from fastbatch.cache.diskcache import DiskCacheBackend
from fastbatch.errors import ConfigError
from fastbatch.models.http import HTTPReply
from fastbatch.models.response import Usage


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("openai:gpt-4o-mini", ("openai", "gpt-4o-mini")),
        ("openai~gpt-4o-mini", ("openai", "gpt-4o-mini")),
        ("local:smollm2", ("local", "smollm2")),
        ("local:/models/a b.gguf", ("local", "/models/a b.gguf")),
        (" openai:m ", ("openai", "m")),
        ("gpt-4o-mini", ("openai", "gpt-4o-mini")),
        ("openai:llama3:8b", ("openai", "llama3:8b")),
        ("openai:ft:gpt-4o:org::id", ("openai", "ft:gpt-4o:org::id")),
        ("meta-llama/Llama-3-8B", ("openai", "meta-llama/Llama-3-8B")),
        ("org/model:free", ("openai", "org/model:free")),
    ],
)
def test_names_have_a_provider_and_a_model(name: str, parts: tuple[str, str]) -> None:
    """`provider:model` and `provider~model`; a bare model is OpenAI's."""
    assert split_name(name) == parts


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "names no model"),
        ("  ", "names no model"),
        ("openai:", "names no model"),
        ("local~", "names no model"),
        (":m", "names no provider"),
        ("~m", "names no provider"),
        ("opnai:m", "Did you mean 'openai'"),
        ("llama3:8b", "is written openai:llama3:8b"),
    ],
)
def test_wrong_names_are_told_with_the_cure(name: str, says: str) -> None:
    """The error is about the key `model` and says what to write."""
    with pytest.raises(ConfigError, match=says) as refused:
        split_name(name)
    assert refused.value.key == "model"


def test_a_hosted_route() -> None:
    """The key comes from the environment that was handed in, the address from the option."""
    route = open_route("openai:m", base_url="http://h:1/v1", env={"OPENAI_API_KEY": "k"})
    assert isinstance(route.provider, OpenAIProvider)
    assert (route.provider.base_url, route.model, route.service) == ("http://h:1/v1", "m", None)
    assert (
        open_route("openai:m", env={"OPENAI_API_KEY": "k"}).provider.identity == "https://api.openai.com/v1"
    )


@pytest.mark.parametrize("env", [{}, {"MY_KEY": ""}])
def test_a_named_key_must_be_there(env: dict[str, str]) -> None:
    """`--api-key-env` never falls back to another key."""
    with pytest.raises(ConfigError, match=r"api_key_env = 'MY_KEY'.*not set"):
        open_route("openai:m", api_key_env="MY_KEY", env={**env, "OPENAI_API_KEY": "other"})


def test_a_named_key_is_used() -> None:
    """It wins over OPENAI_API_KEY."""
    env = {"MY_KEY": "mine", "OPENAI_API_KEY": "other"}
    provider = open_route("openai:m", api_key_env="MY_KEY", env=env).provider
    assert provider.build(LLMRequest.from_prompt("x")).headers["Authorization"] == "Bearer mine"


def test_openai_without_a_key_is_refused() -> None:
    """Before anything is sent, with what to set."""
    with pytest.raises(ConfigError, match="set OPENAI_API_KEY"):
        open_route("openai:m", env={})


class FakeService:
    """A service that would run a model; it only says what it is."""

    def __init__(self, model: str, *, report: Any = None, env: Any = None) -> None:
        self.model = model
        self.env = env
        self.report = report

    def identity(self) -> str:
        return f"sha256:{self.model}"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> None:
    find = registry.find
    monkeypatch.setattr(
        registry,
        "find",
        lambda family, name: FakeService if family == "services" else find(family, name),
    )


def test_a_served_route_is_known_by_its_model(served: None) -> None:
    """The identity is the model's, not the port's, and survives the move to the real address."""
    route = open_route("local:tiny", env={"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://elsewhere"})
    assert (route.provider.name, route.provider.identity, route.model) == ("local", "sha256:tiny", "tiny")
    assert route.provider.at("http://127.0.0.1:9/v1").identity == "sha256:tiny"
    assert isinstance(route.service, FakeService)


def test_a_served_route_sends_no_key(served: None) -> None:
    """The user's key does not go to a server of ours."""
    provider = open_route("local:tiny", env={"OPENAI_API_KEY": "k"}).provider
    assert "Authorization" not in provider.build(LLMRequest.from_prompt("x")).headers


def test_a_service_looks_where_the_key_would_be_looked_up(served: None) -> None:
    """What only stands in `.env`, such as FASTBATCH_MODELS, reaches the service."""
    env = {"FASTBATCH_MODELS": "/data/models"}
    assert vars(open_route("local:tiny", env=env).service)["env"] == env


@pytest.mark.parametrize("option", ["base_url", "api_key_env"])
def test_hosted_options_have_no_meaning_for_a_served_model(option: str) -> None:
    """They are refused rather than ignored."""
    with pytest.raises(ConfigError, match=rf"{option}: has no meaning for local:tiny"):
        open_route("local:tiny", **{option: "x"})  # type: ignore[arg-type]


def test_caches_by_setting(tmp_path: Path) -> None:
    """off, memory, a directory, or the user's own; each with the name people see."""
    assert open_cache("off") == (None, "off")
    cache, name = open_cache("memory")
    assert (type(cache), name) == (InMemoryCache, "memory")
    cache, name = open_cache(str(tmp_path / "kept"))
    assert (type(cache), name) == (DiskCache, str(tmp_path / "kept"))


@pytest.mark.parametrize(
    ("kind", "made"), [("disk", DiskCache), ("diskcache", DiskCacheBackend), ("acme", DiskCache)]
)
def test_a_cache_of_another_kind_has_a_name(
    kind: str, made: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`NAME:DIR` is any registered cache that takes a folder, a third party's too."""
    monkeypatch.setitem(registry.BUILT_IN["caches"], "acme", "fastbatch.cache.disk:DiskCache")
    monkeypatch.setenv("HOME", str(tmp_path))
    cache, name = open_cache(f"{kind}:~/kept")
    assert (type(cache), name) == (made, f"{kind}:{tmp_path}/kept")


@pytest.mark.parametrize("setting", ["diskcache", "acme:kept", "./diskcache:kept", "C:/kept", ":kept"])
def test_what_names_no_kind_of_cache_is_a_folder(setting: str) -> None:
    """Other colons, and names without one, are part of a path."""
    cache, name = open_cache(setting)
    assert (type(cache), name) == (DiskCache, str(Path(setting)))


@pytest.mark.parametrize(("setting", "says"), [("memory:x", "takes no folder"), ("disk:", "write disk:DIR")])
def test_a_kind_of_cache_that_cannot_be_made_so(setting: str, says: str) -> None:
    """A folder that would be ignored, or is missing, is refused with the cure."""
    with pytest.raises(ConfigError, match=says) as refused:
        open_cache(setting)
    assert refused.value.key == "cache"


def test_the_users_cache_is_the_default() -> None:
    """Without a setting answers are kept below the user's cache directory; nothing is created yet."""
    from platformdirs import user_cache_path

    cache, name = open_cache(None)
    assert type(cache) is DiskCache
    assert Path(name) == user_cache_path("fastbatch") / "responses"
    assert not Path(name).exists()


def test_home_is_understood_in_a_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`~` works where no shell expanded it, as in the settings file."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_cache("~/kept")[1] == str(tmp_path / "kept")


class Foreign(OpenAIProvider):
    """A provider of another package, whose replies state their tokens in a way of their own."""

    def parse(self, reply: HTTPReply) -> Any:
        outcome = super().parse(HTTPReply(200, {}, b'{"choices":[{"message":{}}]}'))
        outcome.tokens = Usage(*orjson.loads(reply.body)["counted"])
        return outcome


def test_recorded_replies_are_read_by_whoever_gave_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in reads its own, without a key; what is known, or not installed, is read by its form."""
    points = {"fastbatch.providers": [SimpleNamespace(name="acme", load=lambda: Foreign)]}
    monkeypatch.setattr(registry, "entry_points", lambda group: points.get(group, []))
    registry._plug_ins.cache_clear()
    try:
        read = recorded_usage_of({})
        assert read("acme", {"counted": [3, 0, 2, 0]}) == Usage(3, 0, 2, 0)
        usual = {"usage": {"prompt_tokens": 5, "completion_tokens": 1}}
        for name in ("openai", "local", "gone"):
            assert read(name, usual) == Usage(5, 0, 1, 0)
        assert read("gone", {"counted": [3, 0, 2, 0]}) == Usage()
    finally:
        registry._plug_ins.cache_clear()
