"""Gemini at Google AI Studio, by an API key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fastbatch.providers.gemini_batches import GeminiBatches
from fastbatch.providers.gemini_embeddings import embedding
from fastbatch.providers.gemini_shaped import GeminiShaped
from fastbatch.providers.hosted import Keys

BASE_URL = "https://generativelanguage.googleapis.com"
# In the order of Google's own client, which says so where both are set.
KEYS = Keys(("GOOGLE_API_KEY", "GEMINI_API_KEY"), header="x-goog-api-key", scheme="")


class GeminiProvider(GeminiShaped):
    """Chats and embeddings of the Gemini API.

    Google limits requests and input tokens, and its replies do not say how far: `--rpm`, and `--tpm` of input
    tokens alone. An answer's message holds what is to be sent back of signed thinking in `google_parts`.

    Args:
        api_key: the key; without one `GOOGLE_API_KEY`, else `GEMINI_API_KEY` is read.
        base_url: the address, with or without its version (`/v1beta`); else `GOOGLE_GEMINI_BASE_URL`, else
            Google AI Studio.
        headers: further headers, stronger than ours.
        name: shown to people and in records.
        identity: what the endpoint is for the request hash; without it the base URL and the further headers
            that carry no credentials.
        env: where the variables are looked up; else the environment.

    Raises:
        ConfigError: no key, or a base URL that is none.
    """

    title = "Gemini"
    variables = KEYS.variables
    version = "v1beta"
    notes = (
        "A batch that waits or runs for two days expires, and nothing of it can be had. Embeddings are not "
        "asked in batches.",
    )
    _models = "models"
    _lists = ("models",)

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str = "gemini",
        identity: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        env = os.environ if env is None else env
        super().__init__(
            name=name,
            base_url=(env.get("GOOGLE_GEMINI_BASE_URL") or BASE_URL) if base_url is None else base_url,
            keys=KEYS,
            key=KEYS.found(env) if api_key is None else api_key.strip(),
            headers=headers,
            identity=identity,
            needs_key=self.title,
        )

    @property
    def batches(self) -> GeminiBatches:
        """Its batch API."""
        return GeminiBatches(self, self._headers, self._path)

    def _path(self, model: str) -> str:
        return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"

    def _embedding(self, body: Mapping[str, Any], path: str) -> tuple[str, dict[str, Any]]:
        return embedding(body, self.title, path)
