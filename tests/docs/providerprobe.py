"""What there is to know of a provider, found out by trying: for the pages of `providerpages`.

Variables by handing in an environment that watches, what cannot be said by asking for it. What an API sends
is read off the examples of `tests/contract`.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import unquote

from pytest import MonkeyPatch

from fastbatch import LLMRequest, registry
from fastbatch.errors import ConfigError, FastbatchError, InvalidRequest
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, KNOWN, MODERATIONS, RESPONSES
from fastbatch.models.stream import StreamedCall
from fastbatch.providers.presets import Preset
from fastbatch.testing import ProviderContract
from fastbatch.testing.providers import KEY

CONTRACT = Path(__file__).resolve().parents[1] / "contract"
ASKED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "Hello"}]},
    RESPONSES: {"input": "Hello"},
    COMPLETIONS: {"prompt": "Hello"},
    EMBEDDINGS: {"input": "Hello"},
    MODERATIONS: {"input": "Hello"},
}


class Watching(dict[str, str]):
    """An environment that writes down what it is asked for."""

    def __init__(self, given: Any = ()) -> None:
        super().__init__(given)
        self.asked: list[str] = []

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.append(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        self.asked.append(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.asked.append(str(name))
        return super().__contains__(name)


class Variable(NamedTuple):
    """An environment variable and what it is: `key`, `address` or `other`, and what is to be said of it."""

    name: str
    kind: str
    told: str = ""


class Subject:
    """A provider of the registry, its case under the contract, and what was found out about it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.case: type[ProviderContract] = cases()[name]
        self.make = registry.find("providers", name)
        key = dict.fromkeys(self.case.variables[:1], KEY)
        self.env = {**self.case.env, **key}
        self.provider = next(self._made(self.env))
        self.kind = type(self.provider)

    def _made(self, env: Mapping[str, str], base_urls: Sequence[str | None] = ()) -> Iterator[Any]:
        """As it can be made in this environment: with a key and without, at its own address and another."""
        for base_url in base_urls or (None, self.case.base_url):
            for key in (None, KEY):
                with contextlib.suppress(FastbatchError):
                    yield self.make(key, base_url=base_url, env=env)

    @property
    def base_url(self) -> str:
        """The usual address; empty where it has to be given."""
        try:
            found: str = self.make(None, base_url=None, env=self.env).base_url
        except ConfigError:
            return ""
        return found

    def variables(self) -> list[Variable]:
        """The variables that are looked up, in that order, each with what it does."""
        seen: dict[str, None] = {}
        for given in (self.case.env, {}):
            env = Watching(given)
            list(self._made(env))
            seen.update(dict.fromkeys(env.asked))
        return [self._tried(name) for name in seen]

    def keys(self, variables: Sequence[Variable]) -> list[Variable]:
        """Those that hold a key, the strongest first: which one is sent while all are set."""
        left, ordered = [found for found in variables if found.kind == "key"], []
        while left:
            marks = {found.name: f"zzz-{number}-zzz" for number, found in enumerate(left)}
            sent = str([dict(made.build(self.request(CHAT)).headers) for made in self._keyless(marks)])
            won = next((found for found in left if marks[found.name] in sent), left[0])
            ordered.append(won)
            left.remove(won)
        return ordered

    def _keyless(self, env: Mapping[str, str]) -> Iterator[Any]:
        """As it can be made with what the environment has alone, a project before none."""
        for given in (self.case.env, {}):
            for base_url in (None, self.case.base_url):
                with contextlib.suppress(FastbatchError):
                    yield self.make(None, base_url=base_url, env={**given, **env})
                    return

    def _tried(self, name: str) -> Variable:
        """What a variable does, by setting it."""
        mark = f"zzz-{name.lower().replace('_', '-')}.example"
        for value in (f"http://{mark}/v1", mark):
            for given in (self.case.env, {}):
                for provider in self._made({**given, name: value}):
                    call = provider.build(self.request(CHAT))
                    if f"//{mark}" in call.url:
                        return Variable(name, "address")
                    for header, sent in call.headers.items():
                        if mark in sent:
                            secret = name in self.case.variables or name.endswith(("KEY", "TOKEN"))
                            shown = f"{header}: {sent.replace(value, '…')}"
                            return Variable(name, "key" if secret else "other", f"sent as `{shown}`")
        return Variable(name, "other", self._moved(name))

    def _moved(self, name: str) -> str:
        """Where requests go when a variable is set that is in their address; empty where it is not."""
        env = {**self.env, name: "zzz-word"}
        for made in self._made(env, base_urls=(None, "http://127.0.0.1:1", self.case.base_url)):
            url = unquote(made.build(self.request(CHAT)).url)
            if "zzz-word" in url:
                path = url.removeprefix("http://127.0.0.1:1").replace("zzz-word", "…")
                return f"with it requests go to `{path}`"
        return ""

    @property
    def about(self) -> str:
        """What it is, in a sentence."""
        if isinstance(self.make, Preset):
            return f"{self.make.title}, which speaks OpenAI's dialect."
        return "\n\n".join(" ".join(said.split()) for said in _paragraphs(self.kind))

    @property
    def notes(self) -> tuple[str, ...]:
        """What else there is to know."""
        found: tuple[str, ...] = getattr(self.make, "notes", ())
        return found

    def request(self, endpoint: str, **options: Any) -> LLMRequest:
        """A small request that the API takes."""
        needs = self.case.needs if endpoint == CHAT else {}
        return LLMRequest(endpoint, {"model": "MODEL", **needs, **ASKED[endpoint], **options})

    def endpoints(self) -> Iterator[tuple[str, str, bool]]:
        """Those that there are, each with where it is and whether its replies can be streamed."""
        for endpoint in ASKED:
            try:
                call = self.provider.build(self.request(endpoint))
            except InvalidRequest:
                continue
            try:
                call_of_stream = self.provider.build(self.request(endpoint), stream=True)
                streamed = isinstance(call_of_stream, StreamedCall)
            except InvalidRequest:
                streamed = False
            yield endpoint, self.below(call.url), streamed

    def below(self, url: str) -> str:
        """What comes after the address."""
        return unquote(url).removeprefix(str(self.provider.base_url))

    def unsaid(self) -> dict[str, str]:
        """What is refused of a chat, each with the reason."""
        found: dict[str, str] = {}
        for question in self.case().questions():
            if question.endpoint != CHAT or question.name.endswith(": null"):
                continue
            try:
                self.provider.build(LLMRequest(CHAT, {**question.body, "model": "MODEL"}))
            except InvalidRequest as refused:
                what, why = _divided(str(refused), question.name)
                found.setdefault(what, why)
        for table in tables_of(self.kind):
            for name, why in table.items():
                if not any(known.split(" ")[0] == f"`{name}`" for known in found):
                    found[f"`{name}`"] = why
        return dict(sorted(found.items()))


def cases() -> dict[str, type[ProviderContract]]:
    """The providers' cases under the contract, by the names of the providers."""
    with MonkeyPatch.context() as patch:
        patch.syspath_prepend(CONTRACT)
        import test_provider_contract as contract
    classes = [case for name, case in vars(contract).items() if name.startswith("Test")]
    return {case.name: case for case in classes}


def tables_of(kind: type) -> Iterator[dict[str, str]]:
    """The tables of what cannot be said in the modules of a provider's dialect."""
    home = kind.__module__
    for name, module in sorted(sys.modules.items()):
        if name == home or name.startswith(f"{home}_"):
            table = getattr(module, "UNSAID", None)
            if isinstance(module, ModuleType) and table:
                yield dict(table)


def _divided(refusal: str, question: str) -> tuple[str, str]:
    """What cannot be said, a parameter or what the question is about, and why."""
    what, _, why = refusal.partition(" cannot be said to ")
    why = why.partition(": ")[2]
    if "MODEL" in why:
        why = why.replace("MODEL", "the model") + ", for some models"
    name, space, value = what.partition(" ")
    if name in KNOWN[CHAT] and name not in ("messages", "tools"):
        return f"`{name}`{space}{value}", why
    return question, why or ("" if what != refusal else refusal)


def _paragraphs(kind: type) -> list[str]:
    """What a class says of itself before it tells of its arguments."""
    return (inspect.getdoc(kind) or "").split("Args:")[0].strip().split("\n\n")


def first_paragraph(thing: Any) -> str:
    """How a docstring begins."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
