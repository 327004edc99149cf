"""What every provider does, whoever's API it speaks: two pure functions, errors included.

The contract itself is `fastbatch.testing.ProviderContract`; here every provider of the registry stands on it,
with answers and errors as its API writes them.
"""

from __future__ import annotations

from typing import Any

import anthropic_examples
import gemini_examples
import ollama_examples
import openai_examples
import pytest

from fastbatch import OpenAIProvider, registry
from fastbatch.models.response import Usage
from fastbatch.providers.anthropic import AnthropicProvider
from fastbatch.providers.azure import AzureProvider
from fastbatch.providers.gemini import GeminiProvider
from fastbatch.providers.gemini_vertex import VertexProvider
from fastbatch.providers.ollama import OllamaProvider
from fastbatch.providers.presets import PRESETS
from fastbatch.providers.recorded import recorded_usage
from fastbatch.testing import ProviderContract


class OpenAIShapedContract(ProviderContract):
    """What all OpenAI-shaped APIs send."""

    answers = openai_examples.ANSWERS
    failures = openai_examples.FAILURES
    streams = openai_examples.STREAMS
    broken_streams = openai_examples.BROKEN_STREAMS
    models = openai_examples.MODELS
    limits = openai_examples.LIMITS


class TestAnthropic(ProviderContract):
    """Anthropic, which answers nothing without a bound on what it writes; elsewhere it needs no key."""

    provider = AnthropicProvider
    name = "anthropic"
    variables = ("ANTHROPIC_API_KEY",)
    needs_key = False
    needs = anthropic_examples.NEEDS
    answers = anthropic_examples.ANSWERS
    failures = anthropic_examples.FAILURES
    streams = anthropic_examples.STREAMS
    broken_streams = anthropic_examples.BROKEN_STREAMS
    models = anthropic_examples.MODELS
    batches = anthropic_examples.BATCHES
    limits = anthropic_examples.LIMITS


class TestOpenAI(OpenAIShapedContract):
    """OpenAI itself; at another address it needs no key."""

    provider = OpenAIProvider
    name = "openai"
    variables = ("OPENAI_API_KEY",)
    batches = openai_examples.BATCHES
    needs_key = False


class TestGemini(ProviderContract):
    """Google AI Studio."""

    provider = GeminiProvider
    name = "gemini"
    variables = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
    answers = gemini_examples.ANSWERS
    failures = gemini_examples.FAILURES
    streams = gemini_examples.STREAMS
    broken_streams = gemini_examples.BROKEN_STREAMS
    models = gemini_examples.MODELS
    batches = gemini_examples.BATCHES
    limits = None


class TestVertex(TestGemini):
    """Vertex AI, by an API key that names its project itself."""

    provider = VertexProvider
    name = "vertex"
    batches = None
    answers = gemini_examples.VERTEX_ANSWERS
    models = gemini_examples.VERTEX_MODELS


class TestVertexOfAProject(TestVertex):
    """Vertex AI, by an access token for a project and a location."""

    provider = staticmethod(lambda key, **settings: VertexProvider(access_token=key, **settings))
    variables = ("GOOGLE_OAUTH_ACCESS_TOKEN",)
    env = {"GOOGLE_CLOUD_PROJECT": "p1", "GOOGLE_CLOUD_LOCATION": "us-central1"}  # noqa: RUF012


class AzureContract(OpenAIShapedContract):
    """OpenAI's models at Azure."""

    provider = AzureProvider
    name = "azure"
    variables = ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY")
    failures = openai_examples.FAILURES | openai_examples.AZURE_FAILURES
    batches = openai_examples.BATCHES


class TestAzureByVersion(AzureContract):
    """Azure's older addresses, one for each deployment, with a version of the API."""

    env = {"OPENAI_API_VERSION": "2024-10-21"}  # noqa: RUF012
    base_url = "http://127.0.0.1:1/openai"


class TestAzureByToken(AzureContract):
    """Azure with a token of Entra in the place of a key."""

    provider = staticmethod(lambda key, **settings: AzureProvider(ad_token=key, **settings))
    variables = ("AZURE_OPENAI_AD_TOKEN",)


class TestAzure(AzureContract):
    """Azure's address for all deployments, which are in the body alone."""


class TestOllamaNative(ProviderContract):
    """Ollama by its own API; it needs no key."""

    provider = OllamaProvider
    name = "ollama-native"
    variables = ("OLLAMA_API_KEY",)
    needs_key = False
    base_url = "http://127.0.0.1:1"
    answers = ollama_examples.ANSWERS
    failures = ollama_examples.FAILURES
    streams = ollama_examples.STREAMS
    broken_streams = ollama_examples.BROKEN_STREAMS
    models = ollama_examples.MODELS
    limits = None


class PresetContract(OpenAIShapedContract):
    """A preset, which needs no key at another address than its own."""

    needs_key = False


# A class for each row; a server that lacks an endpoint has no streams of it either.
for row in PRESETS:
    globals()[f"Test_{row.name}"] = type(
        f"Test_{row.name}",
        (PresetContract,),
        {
            "provider": row,
            "name": row.name,
            "variables": row.variables,
            "batches": openai_examples.BATCHES if row.batches else None,
            "streams": {
                kind: stream
                for kind, stream in openai_examples.STREAMS.items()
                if stream.endpoint not in row.absent
            }
            if row.streams != "none"
            else None,
            "broken_streams": {
                kind: stream
                for kind, stream in openai_examples.BROKEN_STREAMS.items()
                if row.streams != "none" and stream.endpoint not in row.absent
            },
        },
    )


# Those that share their examples speak one dialect.
DIALECTS = {id(case.answers): case for name, case in list(globals().items()) if name.startswith("Test")}


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        pytest.param(answer.body, answer.usage, id=f"{case.__name__}-{kind}")
        for case in DIALECTS.values()
        for kind, answer in case.answers.items()
    ],
)
def test_recorded_replies_tell_what_their_provider_has_read(body: Any, usage: Usage) -> None:
    """The tokens of a reply on file are those of the answer, in every dialect."""
    assert recorded_usage(body) == usage


def test_every_provider_of_the_registry_is_under_contract() -> None:
    """A registry line without a case here is a provider without a test."""
    cases = {case.name for name, case in globals().items() if name.startswith("Test")}
    assert set(registry.BUILT_IN["providers"]) == cases
