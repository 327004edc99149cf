"""OpenAI itself, and any server that speaks its API at another `base_url`."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fastbatch.errors import ConfigError
from fastbatch.providers.address import checked_header
from fastbatch.providers.hosted import Keys
from fastbatch.providers.openai_batches import OPENAI
from fastbatch.providers.openai_shaped import OpenAIShaped

BASE_URL = "https://api.openai.com/v1"
KEYS = Keys(("OPENAI_API_KEY",))


class OpenAIProvider(OpenAIShaped):
    """Chat completions, responses, completions, embeddings and moderations of one OpenAI-shaped endpoint.

    Args:
        api_key: the key; without one `OPENAI_API_KEY` is read. A server at another `base_url` may need none:
            an empty string sends none.
        base_url: the address, `/v1` included, as in the OpenAI client; else `OPENAI_BASE_URL`, else OpenAI.
        organization, project: sent as `OpenAI-Organization` and `OpenAI-Project`; else `OPENAI_ORG_ID` and
            `OPENAI_PROJECT_ID`.
        headers: further headers, stronger than ours.
        name: shown to people and in records.
        identity: what the endpoint is for the request hash; without it the base URL and the further headers
            that carry no credentials, since a gateway may choose the model's provider by them.
        env: where the variables are looked up; else the environment.

    Raises:
        ConfigError: OpenAI itself without a key, or a base URL that is none.
    """

    variables = KEYS.variables
    batch_rules = OPENAI

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        headers: Mapping[str, str] | None = None,
        name: str = "openai",
        identity: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        env = os.environ if env is None else env
        own = {
            "OpenAI-Organization": organization or env.get("OPENAI_ORG_ID"),
            "OpenAI-Project": project or env.get("OPENAI_PROJECT_ID"),
        }
        super().__init__(
            name=name,
            base_url=(env.get("OPENAI_BASE_URL") or BASE_URL) if base_url is None else base_url,
            keys=KEYS,
            key=KEYS.found(env) if api_key is None else api_key.strip(),
            headers=headers,
            own_headers={header: checked_header(header, value) for header, value in own.items() if value},
            identity=identity,
        )
        if not self._has_key and self.base_url == BASE_URL:
            raise ConfigError(
                "there is no key for OpenAI; set OPENAI_API_KEY, or name its variable with --api-key-env "
                "(api_key= in Python), or give --base-url (base_url=) for a server of your own",
                key="OPENAI_API_KEY",
            )
