"""Names become objects here, and nowhere else.

Built-ins come in through the same door as plug-ins: a line `"module:attribute"`, imported when it is first
asked for. A third party adds one with an entry point in the group `fastbatch.<family>`:

    [project.entry-points."fastbatch.providers"]
    acme = "acme_fastbatch:AcmeProvider"

Laws: importing this module imports nothing else of the package; a built-in wins over a plug-in of the
same name, so that installing a package never changes what a known name means.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from fastbatch.errors import UsageError, did_you_mean

BUILT_IN: dict[str, dict[str, str]] = {
    "providers": {
        "anthropic": "fastbatch.providers.anthropic:AnthropicProvider",
        "azure": "fastbatch.providers.azure:AzureProvider",
        "cortexso": "fastbatch.providers.presets:CORTEXSO",
        "deepseek": "fastbatch.providers.presets:DEEPSEEK",
        "fireworks": "fastbatch.providers.presets:FIREWORKS",
        "gemini": "fastbatch.providers.gemini:GeminiProvider",
        "gpt4all": "fastbatch.providers.presets:GPT4ALL",
        "groq": "fastbatch.providers.presets:GROQ",
        "jan": "fastbatch.providers.presets:JAN",
        "llamacpp": "fastbatch.providers.presets:LLAMACPP",
        "lmstudio": "fastbatch.providers.presets:LMSTUDIO",
        "localai": "fastbatch.providers.presets:LOCALAI",
        "mistral": "fastbatch.providers.presets:MISTRAL",
        "ollama": "fastbatch.providers.presets:OLLAMA",
        "ollama-native": "fastbatch.providers.ollama:OllamaProvider",
        "openai": "fastbatch.providers.openai:OpenAIProvider",
        "openrouter": "fastbatch.providers.presets:OPENROUTER",
        "together": "fastbatch.providers.presets:TOGETHER",
        "vertex": "fastbatch.providers.gemini_vertex:VertexProvider",
        "vllm": "fastbatch.providers.presets:VLLM",
        "xai": "fastbatch.providers.presets:XAI",
    },
    "services": {
        "local": "fastbatch.services.llamacpp:LlamaCppService",
    },
    "caches": {
        "memory": "fastbatch.cache.memory:InMemoryCache",
        "disk": "fastbatch.cache.disk:DiskCache",
        "diskcache": "fastbatch.cache.diskcache:DiskCacheBackend",
    },
    "ledgers": {
        "file": "fastbatch.ledgers.file:FileAccount",
        "redis": "fastbatch.ledgers.redis:RedisAccount",
        "rediss": "fastbatch.ledgers.redis:RedisAccount",
    },
    "progress": {
        "auto": "fastbatch.progress:auto",
        "rich": "fastbatch.progress.rich:RichProgress",
        "plain": "fastbatch.progress.plain:PlainProgress",
        "json": "fastbatch.progress.json:JsonProgress",
    },
    "assembly": {
        "book": "fastbatch.assembly:open_book",
        "route": "fastbatch.assembly:open_route",
    },
}


def load(line: str) -> Any:
    """Import what a `"module:attribute"` line names."""
    module, _, attribute = line.partition(":")
    return getattr(import_module(module), attribute)


@cache
def _plug_ins(family: str) -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=f"fastbatch.{family}")}


def names(family: str) -> list[str]:
    """All names of a family, built-ins and plug-ins, sorted."""
    return sorted(BUILT_IN[family].keys() | _plug_ins(family).keys())


def find(family: str, name: str) -> Any:
    """The object that `name` stands for in `family`.

    Raises:
        UsageError: there is no such name, and the message lists the known ones; or it is somebody else's and
            cannot be imported.
    """
    if line := BUILT_IN[family].get(name):
        return load(line)
    kind = family if family.endswith("ss") else family.removesuffix("s")
    if point := _plug_ins(family).get(name):
        try:
            return point.load()
        except Exception as problem:  # the code of another package, which may raise anything
            raise UsageError(
                f"the {kind} {name!r} comes from another package ({point.value}) and cannot be loaded: "
                f"{type(problem).__name__}: {problem}"
            ) from problem
    known = names(family)
    raise UsageError(f"unknown {kind} {name!r}; known are {', '.join(known)}.{did_you_mean(name, known)}")
