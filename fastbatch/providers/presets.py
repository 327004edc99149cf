"""Servers that speak OpenAI's dialect, a row each: where they are, whose key they take, what they lack.

A row is what the registry knows by its name and calls like a provider's class:

    GROQ("gsk_…")  ->  a provider that keeps the name `groq` in records

Law: a row says what is different at an address, never what a request says. Parameters go as they stand; a
row refuses only an endpoint that surely is not there. Source: the servers' own documentation.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES
from fastbatch.models.telling import Structured
from fastbatch.providers.batches import BatchBounds
from fastbatch.providers.hosted import Keys
from fastbatch.providers.ollama_host import VARIABLE, ollama_root
from fastbatch.providers.openai_batches import BatchRules, as_they_are
from fastbatch.providers.openai_shaped import OpenAIShaped, Streams

_ALL: tuple[Structured, ...] = ("strict", "tool", "json", "prompt")


class Preset(NamedTuple):
    """One server, or one kind of server.

    Attributes:
        name: as in `name:model`, and in records.
        title: what people call it.
        base_url: where it is, `/v1` included.
        variables: environment variables that hold the key, the strongest first.
        needs_key: it answers nobody without a key.
        structured: how its answers can be given a shape, the best way first.
        absent: endpoints that it surely does not have.
        streams: what it takes of a stream's parameters.
        batches: how its batch API is; None where it has none of this form.
        notes: what else a user should know, a sentence each.
    """

    name: str
    title: str
    base_url: str
    variables: tuple[str, ...] = ()
    needs_key: bool = False
    structured: tuple[Structured, ...] = _ALL
    absent: frozenset[str] = frozenset()
    streams: Streams = "usage"
    batches: BatchRules | None = None
    notes: tuple[str, ...] = ()

    def __call__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
        identity: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> PresetProvider:
        """The provider of this row, as `PresetProvider` takes the arguments."""
        return PresetProvider(
            self, api_key, base_url=base_url, headers=headers, name=name, identity=identity, env=env
        )


class PresetProvider(OpenAIShaped):
    """One server that speaks OpenAI's dialect, as its row says.

    Args:
        preset: the row.
        api_key: the key; without one the row's variables are read. An empty string sends none.
        base_url: another address of such a server, `/v1` included; there a key may be left out.
        headers: further headers, stronger than ours.
        name: shown to people and in records, instead of the row's.
        identity: what the endpoint is for the request hash; without it the base URL and the further headers
            that carry no credentials.
        env: where the variables are looked up; else the environment.

    Raises:
        ConfigError: the server needs a key and there is none, or the base URL is none.
    """

    def __init__(
        self,
        preset: Preset,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str | None = None,
        identity: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        env = os.environ if env is None else env
        keys = Keys(preset.variables)
        if base_url is None:
            base_url = preset.base_url
            if preset.name == "ollama" and env.get(VARIABLE):
                base_url = f"{ollama_root(env[VARIABLE])}/v1"
        at_home = base_url.strip().rstrip("/") == preset.base_url
        self.preset = preset
        self.structured = preset.structured
        self.streams = preset.streams
        self.batch_rules = preset.batches
        super().__init__(
            name=name or preset.name,
            base_url=base_url,
            keys=keys,
            key=keys.found(env) if api_key is None else api_key.strip(),
            headers=headers,
            identity=identity,
            needs_key=preset.title if preset.needs_key and at_home else "",
            absent=dict.fromkeys(preset.absent, preset.title),
        )


_NO_EXTRAS = frozenset((EMBEDDINGS, RESPONSES, MODERATIONS))
_NO_MODERATIONS = frozenset((MODERATIONS,))

OLLAMA = Preset(
    "ollama",
    "Ollama",
    "http://127.0.0.1:11434/v1",
    ("OLLAMA_API_KEY",),
    structured=("strict", "json", "prompt"),
    absent=_NO_MODERATIONS,
    notes=(
        "`OLLAMA_HOST` is read as Ollama reads it (`host`, `host:port`, `:port` or an address).",
        "The size of the context cannot be set here; `ollama-native` can (`options.num_ctx`).",
        "`tool_choice` has no effect, so answers are given a shape by a schema, not by a tool.",
    ),
)
LMSTUDIO = Preset(
    "lmstudio",
    "LM Studio",
    "http://127.0.0.1:1234/v1",
    ("LM_API_TOKEN",),
    structured=("strict", "prompt"),
    absent=_NO_MODERATIONS,
    notes=(
        "`response_format` of the type `json_object` and a `tool_choice` that names a function are refused "
        "by the server.",
    ),
)
LOCALAI = Preset(
    "localai",
    "LocalAI",
    "http://127.0.0.1:8080/v1",
    ("LOCALAI_API_KEY",),
    absent=_NO_MODERATIONS,
)
JAN = Preset(
    "jan",
    "Jan",
    "http://127.0.0.1:1337/v1",
    ("JAN_API_KEY",),
    needs_key=True,
    structured=("strict", "json", "prompt"),
    absent=_NO_MODERATIONS,
    notes=("The key is the one that Jan's settings of its local server hold.",),
)
GPT4ALL = Preset(
    "gpt4all",
    "GPT4All",
    "http://localhost:4891/v1",
    structured=("prompt",),
    absent=_NO_EXTRAS,
    streams="none",
    notes=("It writes no streams, knows no tools and no `response_format`.",),
)
CORTEXSO = Preset(
    "cortexso",
    "Cortex",
    "http://127.0.0.1:39281/v1",
    structured=("prompt",),
    absent=frozenset((RESPONSES, MODERATIONS)),
    notes=("Jan's former engine, no longer maintained.",),
)
VLLM = Preset(
    "vllm",
    "vLLM",
    "http://127.0.0.1:8000/v1",
    ("VLLM_API_KEY",),
    absent=_NO_MODERATIONS,
    notes=("vLLM's own parameters (`guided_…`, `top_k`, `min_p`) go into `extra_body`.",),
)
LLAMACPP = Preset(
    "llamacpp",
    "llama.cpp",
    "http://127.0.0.1:8080/v1",
    ("LLAMA_API_KEY",),
    structured=("strict", "json", "prompt"),
    absent=_NO_MODERATIONS,
    notes=("A `tool_choice` that names a function is not enforced; a schema is.",),
)
OPENROUTER = Preset(
    "openrouter",
    "OpenRouter",
    "https://openrouter.ai/api/v1",
    ("OPENROUTER_API_KEY",),
    needs_key=True,
    absent=_NO_MODERATIONS,
    notes=(
        "Whether a schema is enforced is up to the model; `extra_body.provider.require_parameters` asks for "
        "one that does.",
        "`HTTP-Referer` and `X-Title` are headers of yours (`headers=` in Python).",
    ),
)
GROQ = Preset(
    "groq",
    "Groq",
    "https://api.groq.com/openai/v1",
    ("GROQ_API_KEY",),
    needs_key=True,
    absent=frozenset((COMPLETIONS, MODERATIONS)),
    batches=BatchRules(BatchBounds(50_000, 200_000_000), as_they_are(CHAT)),
    notes=(
        "Schemas are enforced by some models only; others refuse `response_format` of the type "
        "`json_schema`: choose `json` or `tool` for those.",
        "The limit of requests is one of a day, that of tokens one of a minute.",
    ),
)
TOGETHER = Preset(
    "together",
    "Together AI",
    "https://api.together.xyz/v1",
    ("TOGETHER_API_KEY",),
    needs_key=True,
    absent=_NO_MODERATIONS,
    notes=("Its batches have a form of their own, which is not spoken here.",),
)
MISTRAL = Preset(
    "mistral",
    "Mistral",
    "https://api.mistral.ai/v1",
    ("MISTRAL_API_KEY",),
    needs_key=True,
    absent=frozenset((COMPLETIONS, RESPONSES)),
    streams="plain",
    notes=(
        "It refuses parameters that it does not know: `seed` is `extra_body.random_seed` there, and an "
        "answer's length is `max_tokens`.",
        "Its batches have a form of their own, which is not spoken here.",
    ),
)
DEEPSEEK = Preset(
    "deepseek",
    "DeepSeek",
    "https://api.deepseek.com/v1",
    ("DEEPSEEK_API_KEY",),
    needs_key=True,
    structured=("json", "tool", "prompt"),
    absent=_NO_EXTRAS,
    notes=(
        "Schemas are not enforced (`response_format` is `json_object` or `text`).",
        "Text completions are at another address: `--base-url https://api.deepseek.com/beta`.",
    ),
)
XAI = Preset(
    "xai",
    "xAI",
    "https://api.x.ai/v1",
    ("XAI_API_KEY",),
    needs_key=True,
    absent=_NO_MODERATIONS,
)
FIREWORKS = Preset(
    "fireworks",
    "Fireworks AI",
    "https://api.fireworks.ai/inference/v1",
    ("FIREWORKS_API_KEY",),
    needs_key=True,
    absent=_NO_MODERATIONS,
    notes=("Models have long names: `fireworks:accounts/fireworks/models/…`.",),
)

PRESETS: tuple[Preset, ...] = (
    OLLAMA,
    LMSTUDIO,
    LOCALAI,
    JAN,
    GPT4ALL,
    CORTEXSO,
    VLLM,
    LLAMACPP,
    OPENROUTER,
    GROQ,
    TOGETHER,
    MISTRAL,
    DEEPSEEK,
    XAI,
    FIREWORKS,
)
