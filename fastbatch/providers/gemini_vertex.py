"""Gemini at Vertex AI: the same dialect below a project and a location, by an access token or an API key."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from fastbatch.errors import ConfigError
from fastbatch.providers.gemini_embeddings import vertex_embedding
from fastbatch.providers.gemini_request import VERTEX_UNSAID
from fastbatch.providers.gemini_shaped import GeminiShaped
from fastbatch.providers.hosted import Keys

# Terraform's name for it: Google's own client reads no token, it asks the libraries that make them.
TOKENS = Keys(("GOOGLE_OAUTH_ACCESS_TOKEN",))
KEYS = Keys(("GOOGLE_API_KEY", "GEMINI_API_KEY"), header="x-goog-api-key", scheme="")
_MULTI_REGIONS = ("us", "eu")
_PLACE = re.compile(r"[a-z0-9][a-z0-9.:-]*")  # a project may stand below an organisation's domain
_NEW_TOKEN = "Make another access token (gcloud auth print-access-token), then run again to go on."


class VertexProvider(GeminiShaped):
    """Chats and embeddings of Vertex AI.

    A project and its location are asked by an access token, which lasts an hour (`gcloud auth
    print-access-token`): a run that outlives it stops and is resumed with another. An API key alone (express
    mode) names its project itself. What wins is as in Google's own client: a key that is given over a project
    of the environment, a project over a key of the environment. Limits of tokens are of input tokens alone.

    Args:
        api_key: the key; without one `GOOGLE_API_KEY`, else `GEMINI_API_KEY` is read where there is no
            project.
        access_token: else `GOOGLE_OAUTH_ACCESS_TOKEN`.
        project, location: else `GOOGLE_CLOUD_PROJECT` and `GOOGLE_CLOUD_LOCATION`, else `global`.
        base_url: the address, with or without its version (`/v1beta1`); else `GOOGLE_VERTEX_BASE_URL`, else
            the location's own.
        headers: further headers, stronger than ours.
        name: shown to people and in records.
        identity: what the endpoint is for the request hash; without it the address, project and location
            included, and the further headers that carry no credentials.
        env: where the variables are looked up; else the environment.

    Raises:
        ConfigError: no token and no key, a token without a project, or a base URL that is none.
    """

    title = "Vertex AI"
    variables = TOKENS.variables + KEYS.variables
    version = "v1beta1"
    notes = ("Its batches lie in Cloud Storage or BigQuery, which are not spoken to here.",)
    unsaid = VERTEX_UNSAID
    _models = "publishers/google/models"
    _lists = ("publisherModels", "models")

    def __init__(
        self,
        api_key: str | None = None,
        *,
        access_token: str | None = None,
        project: str | None = None,
        location: str | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str = "vertex",
        identity: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        env = os.environ if env is None else env
        key = (api_key or "").strip()
        if key and access_token:
            raise ConfigError("is given beside an API key; give one of the two", key="access_token")
        if not key or project or location:
            project = project or env.get("GOOGLE_CLOUD_PROJECT")
            location = location or env.get("GOOGLE_CLOUD_LOCATION")
        if not key and not project and not location and not access_token:  # express mode
            key = KEYS.found(env)
        token = "" if key else (access_token or TOKENS.found(env)).strip()
        if not project and (token or location):
            what = f"the location {location}" if location else "an access token"
            raise ConfigError(f"{what} needs a project; set GOOGLE_CLOUD_PROJECT", key="project")
        location = location or ("global" if project else None)
        for what, value in (("project", project), ("location", location)):
            if value and not _PLACE.fullmatch(value):
                raise ConfigError("is no name that it can have", key=what, value=value)
        self._where = f"/projects/{project}/locations/{location}" if project else ""
        base_url = env.get("GOOGLE_VERTEX_BASE_URL") if base_url is None else base_url
        super().__init__(
            name=name,
            base_url=base_url or _address(location),
            keys=KEYS if key else TOKENS,
            key=key or token,
            headers=headers,
            identity=identity,
        )
        if not self._has_key:
            raise ConfigError(
                "there is no access token for Vertex AI; set GOOGLE_OAUTH_ACCESS_TOKEN (gcloud auth "
                "print-access-token), or GOOGLE_API_KEY for an API key without a project",
                key="access_token",
            )
        self.key_cure = _NEW_TOKEN if token else ""
        if identity is None:
            self.identity = self.identity.replace(self.base_url, self.base_url + self._where, 1)

    def _scope(self, path: str) -> str:
        return "" if path.startswith("projects/") else self._where

    def _path(self, model: str) -> str:
        if model.startswith(("projects/", "models/", "publishers/")):
            return model
        publisher, _, name = model.rpartition("/") if model.count("/") == 1 else ("google", "", model)
        return f"publishers/{publisher}/models/{name}"

    def _embedding(self, body: Mapping[str, Any], path: str) -> tuple[str, dict[str, Any]]:
        return vertex_embedding(body, self.title, path)


def _address(location: str | None) -> str:
    """Where a location is; express mode asks the global one."""
    if location in _MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    if location in (None, "", "global"):
        return "https://aiplatform.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"
