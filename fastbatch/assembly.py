"""Names and settings become built objects: the only file that knows every family.

`provider:model` (or `service~model`) is understood here and nowhere else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from fastbatch import registry
from fastbatch.cache.base import CacheProvider
from fastbatch.engine.endpoint import Route
from fastbatch.errors import ConfigError, UsageError, did_you_mean
from fastbatch.folders import answers_folder, own_prices
from fastbatch.models.http import HTTPReply
from fastbatch.models.response import Usage
from fastbatch.pricelists.kept import genai_list
from fastbatch.pricelists.userfile import read_prices
from fastbatch.pricing.book import PriceBook, PriceList
from fastbatch.providers.base import Provider
from fastbatch.providers.recorded import recorded_usage

_NAME = re.compile(r"([A-Za-z0-9_.-]+)[:~](.+)", re.DOTALL)


def split_name(name: str) -> tuple[str, str]:
    """The provider and the model of `provider:model`; a name without a provider is OpenAI's.

    Raises:
        ConfigError: the provider is unknown, or no model is named.

    >>> split_name("local:smollm2"), split_name("openai~gpt-4o-mini"), split_name("gpt-4o-mini")
    (('local', 'smollm2'), ('openai', 'gpt-4o-mini'), ('openai', 'gpt-4o-mini'))
    """
    match = _NAME.fullmatch(name.strip())
    if match is None:
        if not name.strip() or name.strip()[-1] in ":~":
            raise ConfigError("names no model; write provider:model", key="model", value=name)
        if name.strip()[0] in ":~":
            raise ConfigError("names no provider; write provider:model", key="model", value=name)
        return "openai", name.strip()
    provider, model = match.groups()
    known = [*registry.names("providers"), *registry.names("services")]
    if provider not in known:
        raise ConfigError(
            f"unknown provider {provider!r}; known are {', '.join(sorted(known))}."
            f"{did_you_mean(provider, known)} A model whose own name holds a colon is written openai:{name}",
            key="model",
            value=name,
        )
    return provider, model


def open_route(
    name: str,
    *,
    base_url: str | Sequence[str] | None = None,
    api_key_env: str | Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    report: Callable[[Any], None] | None = None,
    keyless: bool = False,
) -> Route:
    """What `provider:model` stands for, ready to be used; nothing is contacted or started yet.

    Args:
        name: such as `openai:gpt-4o-mini` or `local:smollm2`.
        base_url: another address for a hosted provider; several are one model at several endpoints.
        api_key_env: the environment variable that holds the key; several are keys for the same endpoint, or
            one for each of several addresses.
        env: where keys and folders are looked up; else the environment.
        report: hears how a model file is being fetched.
        keyless: a hosted provider for which no key is set is made all the same; it must not be asked.

    Raises:
        ConfigError, ServiceError, MissingExtra: said before anything is sent.
    """
    env = os.environ if env is None else env
    provider, model = split_name(name)
    if provider in registry.names("services"):
        return _served(provider, model, base_url=base_url, api_key_env=api_key_env, env=env, report=report)
    make = registry.find("providers", provider)
    if keyless and api_key_env is None:
        env = _with_a_key(make, env)
    first, *others = [
        make(_key(variable, env), base_url=url, env=env) for url, variable in _pairs(base_url, api_key_env)
    ]
    return Route(first, model, others=tuple(others))


def open_provider(
    name: str,
    *,
    base_url: str | None = None,
    api_key_env: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Provider[Any]:
    """A provider by its name alone, such as `openai`; nothing is contacted yet.

    Raises:
        ConfigError: there is none of that name, or it cannot be made.
    """
    env = os.environ if env is None else env
    if name not in registry.names("providers"):
        known = [*registry.names("providers"), *registry.names("services")]
        raise ConfigError(
            f"is no provider; known are {', '.join(sorted(known))}.{did_you_mean(name, known)}",
            key="provider",
            value=name,
        )
    made: Provider[Any] = registry.find("providers", name)(_key(api_key_env, env), base_url=base_url, env=env)
    return made


def recorded_usage_of(env: Mapping[str, str] | None = None) -> Callable[[str, Any], Usage]:
    """Reads the tokens of recorded replies, by the name of their provider and their JSON.

    The dialects of our own providers are told by their form; a plug-in reads its own replies, without a key.
    """
    readers: dict[str, Callable[[Any], Usage]] = {}
    env = os.environ if env is None else env

    def reader(name: str) -> Callable[[Any], Usage]:
        known = registry.BUILT_IN["providers"].keys() | registry.BUILT_IN["services"].keys()
        if name in known or name not in registry.names("providers"):
            return recorded_usage
        try:
            make = registry.find("providers", name)
            provider: Provider[Any] = make(None, base_url=None, env=_with_a_key(make, env))
        except UsageError:  # it needs more than a key, or cannot be loaded
            return recorded_usage
        return lambda body: provider.parse(HTTPReply(200, {}, orjson.dumps(body))).tokens

    def read(name: str, body: Any) -> Usage:
        if name not in readers:
            readers[name] = reader(name)
        return readers[name](body)

    return read


def models_of_service(name: str) -> Mapping[str, int]:
    """The models that a service of ours has of its own, each with the tokens of its context."""
    found: Mapping[str, int] = getattr(registry.find("services", name), "models", {})
    return found


def key_variables(env: Mapping[str, str]) -> dict[str, tuple[tuple[str, ...], str]]:
    """The variables in which each provider looks for its key, and the one that is set; "" where none is.

    Services are among them: they have none. Nor has a plug-in that cannot be loaded; who names it hears why.
    """
    found: dict[str, tuple[tuple[str, ...], str]] = dict.fromkeys(registry.names("services"), ((), ""))
    for name in registry.names("providers"):
        variables: tuple[str, ...] = ()
        with suppress(UsageError):
            variables = tuple(getattr(registry.find("providers", name), "variables", ()))
        found[name] = variables, next((known for known in variables if (env.get(known) or "").strip()), "")
    return dict(sorted(found.items()))


def open_book(prices: Path | None = None) -> PriceBook:
    """All prices that a run goes by: the user's own before the list of genai-prices.

    Args:
        prices: the file of the user's own; else `prices.toml` in the user's configuration, where it is there.

    Raises:
        ConfigError: that file is not there, or holds what is no price.
    """
    today = datetime.now(UTC).date()
    lists: list[PriceList] = []
    if prices is not None or own_prices().exists():
        lists.append(read_prices(prices or own_prices()))
    return PriceBook([*lists, genai_list(today)])


def _pairs(
    base_url: str | Sequence[str] | None, api_key_env: str | Sequence[str] | None
) -> list[tuple[str | None, str | None]]:
    """Each address with its key: one key serves all addresses, one address takes all keys."""
    urls, variables = _listed(base_url), _listed(api_key_env)
    if len(urls) > 1 and len(variables) > 1 and len(urls) != len(variables):
        raise ConfigError(
            f"names {len(variables)} keys for {len(urls)} base URLs; give one, or one for each",
            key="api_key_env",
        )
    count = max(len(urls), len(variables))
    pairs = list(zip(urls * (count // len(urls)), variables * (count // len(variables)), strict=True))
    if len(set(pairs)) < count:
        raise ConfigError("names the same endpoint with the same key twice", key="base_url")
    return pairs


def _listed(given: str | Sequence[str] | None) -> list[str | None]:
    return [given] if given is None or isinstance(given, str) else list(given) or [None]


def _key(variable: str | None, env: Mapping[str, str]) -> str | None:
    if variable is None:
        return None
    key = env.get(variable)
    if not key:
        raise ConfigError("this environment variable is not set", key="api_key_env", value=variable)
    return key


def _with_a_key(make: Any, env: Mapping[str, str]) -> Mapping[str, str]:
    """The environment, with something where a provider looks for its key and finds none."""
    variables = tuple(getattr(make, "variables", ()))
    if not variables or any((env.get(variable) or "").strip() for variable in variables):
        return env
    return {**env, variables[0]: "none"}


def _served(
    name: str,
    model: str,
    *,
    base_url: str | Sequence[str] | None,
    api_key_env: str | Sequence[str] | None,
    env: Mapping[str, str],
    report: Callable[[Any], None] | None,
) -> Route:
    """A model that a service of ours runs; its provider is the OpenAI-shaped one at the service's address."""
    for key, value in (("base_url", base_url), ("api_key_env", api_key_env)):
        if value is not None:
            raise ConfigError(f"has no meaning for {name}:{model}, which runs in this process", key=key)
    service = registry.find("services", name)(model, report=report, env=env)
    # The address is known when the service runs; until then it stands for nothing and is never called.
    provider = registry.find("providers", "openai")(
        base_url="http://127.0.0.1/v1", name=name, identity=service.identity(), env={}
    )
    return Route(provider, model, service)


def open_cache(setting: str | None) -> tuple[CacheProvider | None, str]:
    """The cache that `--cache DIR|NAME:DIR|memory|off` names, and what people call it; None: the user's.

    NAME is a registered kind of cache that is made from a folder; write ./NAME:DIR for a folder of that name.

    Raises:
        ConfigError: NAME is a cache but takes no folder, or none is given.
        MissingExtra: that cache is not installed.
    """
    if setting == "off":
        return None, "off"
    if setting == "memory":
        return registry.find("caches", "memory")(), "memory"
    kind, colon, directory = (setting or "").partition(":")
    if colon and kind in registry.names("caches"):
        if kind == "memory":
            raise ConfigError("takes no folder; write memory alone", key="cache", value=setting)
        if not directory:
            raise ConfigError(f"names no folder; write {kind}:DIR", key="cache", value=setting)
        folder = Path(directory).expanduser()
        return registry.find("caches", kind)(folder), f"{kind}:{folder}"
    folder = Path(setting).expanduser() if setting else answers_folder()
    return registry.find("caches", "disk")(folder), str(folder)
