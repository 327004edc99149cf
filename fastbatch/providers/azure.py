"""OpenAI's models at Azure: the same dialect at addresses of Azure's, with its keys.

    AZURE_OPENAI_ENDPOINT                                              and a model is
    …/openai/v1/chat/completions                                       in the body
    …/openai/deployments/MODEL/chat/completions?api-version=…          in the address too, with a version

Both as OpenAI's own client builds them (`OpenAI(base_url=…/openai/v1)` and `AzureOpenAI(api_version=…)`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from fastbatch.errors import ConfigError, InvalidRequest
from fastbatch.models.http import HTTPCall
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES
from fastbatch.models.request import LLMRequest
from fastbatch.providers.address import checked_url
from fastbatch.providers.batches import BatchBounds
from fastbatch.providers.hosted import Keys
from fastbatch.providers.openai_batches import BatchRules, OpenAIBatches, Spoken
from fastbatch.providers.openai_shaped import OpenAIShaped

TITLE = "Azure OpenAI"
KEYS = Keys(("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"), header="api-key", scheme="")
TOKENS = Keys(("AZURE_OPENAI_AD_TOKEN",))
_ENDPOINT = "AZURE_OPENAI_ENDPOINT"
_VERSION = "OPENAI_API_VERSION"
_BY_DEPLOYMENT = frozenset((CHAT, COMPLETIONS, EMBEDDINGS))
# Azure reads from the lines which endpoint is asked; what a batch says of it is always the same there.
_BOUNDS = BatchBounds(100_000, 200_000_000, names=False)
_IN_CHAT = "/chat/completions"
_BATCHES = BatchRules(_BOUNDS, {CHAT: Spoken(CHAT, _IN_CHAT), RESPONSES: Spoken(RESPONSES, _IN_CHAT)})
_BATCHES_BY_VERSION = BatchRules(_BOUNDS, {CHAT: Spoken(_IN_CHAT, _IN_CHAT)})
_IN_A_PATH = "!$&'()*+,;=:@"  # what a path's segment may hold as it is (RFC 3986, 3.3)


class AzureProvider(OpenAIShaped):
    """Chat completions, responses, completions and embeddings of the deployments of one Azure resource.

    Args:
        api_key: the key; without one `AZURE_OPENAI_AD_TOKEN` is read, which is sent as a bearer's token, then
            `AZURE_OPENAI_API_KEY` and `AZURE_API_KEY`. An empty string sends none.
        base_url: the resource, such as `https://NAME.openai.azure.com`, or an address below it as OpenAI's
            client takes it (`…/openai`, `…/openai/v1`); else `AZURE_OPENAI_ENDPOINT`.
        api_version: a version of the API, such as `2024-10-21`; else `OPENAI_API_VERSION`. With one the
            deployment is in the address; without one, and at `…/openai/v1`, only in the body.
        ad_token: a token of Microsoft Entra in the place of a key.
        headers: further headers, stronger than ours.
        name: shown to people and in records.
        identity: what the endpoint is for the request hash; without it the base URL and the further headers
            that carry no credentials.
        env: where the variables are looked up; else the environment.

    Raises:
        ConfigError: no key, no resource, or an address that is none.
    """

    ends_in_v1 = False
    notes = (
        "The model is the name of a deployment.",
        "With a version of the API (`OPENAI_API_VERSION`) calls go to "
        "`/openai/deployments/MODEL/…?api-version=…`, else to `/openai/v1/…`; an address that ends in "
        "`/openai/v1` has no version.",
        "Batches take a deployment of the kind `Global-Batch` or `Data-Zone-Batch`, which answers nothing "
        "else. Azure lets none expire: what is not done within a day goes on until it is cancelled.",
    )
    variables = TOKENS.variables + KEYS.variables

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        api_version: str | None = None,
        ad_token: str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str = "azure",
        identity: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        env = os.environ if env is None else env
        if api_key is not None and ad_token is not None:
            raise ConfigError("give a key or a token, not both", key="ad_token")
        if api_key is None and ad_token is None:
            ad_token = TOKENS.found(env) or None
        url = env.get(_ENDPOINT) if base_url is None else base_url
        if not url:
            raise ConfigError(
                f"there is no resource for {TITLE}; set {_ENDPOINT} to https://NAME.openai.azure.com, "
                "or give --base-url (base_url= in Python)",
                key=_ENDPOINT,
            )
        self._version = env.get(_VERSION) if api_version is None else api_version
        super().__init__(
            name=name,
            base_url=self._root(url),
            keys=KEYS if ad_token is None else TOKENS,
            key=ad_token or (KEYS.found(env) if api_key is None else api_key.strip()),
            headers=headers,
            identity=identity,
            absent={MODERATIONS: TITLE},
        )
        if not self._has_key and api_key != "":
            raise ConfigError(
                f"there is no key for {TITLE}; set {KEYS.variables[0]} or {TOKENS.variables[0]}, or name the "
                "key's variable with --api-key-env (api_key= in Python)",
                key=KEYS.variables[0],
            )

    def at(self, base_url: str) -> Any:
        """The same provider at another address; its identity stays."""
        return super().at(self._root(base_url))

    def build(self, request: LLMRequest, *, stream: bool = False) -> HTTPCall:
        """The POST of the body as it stands, to the deployment that the model names.

        Raises:
            InvalidRequest: the address needs a deployment, and the body names none.
        """
        call = super().build(request, stream=stream)
        return call if stream or not self._query else call._replace(url=self._deployed(request))

    @property
    def batches(self) -> OpenAIBatches:
        """Its batch API, for deployments of the kind `Global-Batch` or `Data-Zone-Batch`."""
        rules = _BATCHES_BY_VERSION if self._query else _BATCHES
        return OpenAIBatches(self, rules, self._headers, self._query)

    def ask_models(self, after: str = "") -> HTTPCall:
        """`GET /models`: the models of the resource's region, deployed or not."""
        call = super().ask_models(after)
        return call._replace(url=call.url + self._query)

    @property
    def _query(self) -> str:
        """The version, where addresses have one."""
        if not self._version or self.base_url.endswith("/v1"):
            return ""
        return f"?api-version={quote(self._version, safe='')}"

    def _check(self, request: LLMRequest) -> None:
        super()._check(request)
        if self._query and request.endpoint in _BY_DEPLOYMENT and not request.model:
            raise InvalidRequest(f"the body names no model, which is the deployment at {TITLE}")

    def _deployed(self, request: LLMRequest) -> str:
        self._check(request)
        path = request.endpoint.removeprefix("/v1")
        if request.endpoint in _BY_DEPLOYMENT:
            path = f"/deployments/{quote(request.model or '', safe=_IN_A_PATH)}{path}"
        return f"{self.base_url}{path}{self._query}"

    def _root(self, base_url: str) -> str:
        """What paths are added to: a resource alone is told by having no path of its own."""
        url = checked_url(base_url, example="such as https://NAME.openai.azure.com")
        if not urlsplit(url).path:
            url += "/openai"
        return f"{url}/v1" if url.endswith("/openai") and not self._version else url
