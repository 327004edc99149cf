"""What every test stands on: no settings, keys or caches of the person who runs them.

That this file is here also lets tests import the fakes beside it: `from fakes import FakeTransport`.
"""

import os

import pytest

from fastbatch.folders import models_folder

# The model file is fetched once a machine, not once a test.
MODELS = os.environ.get("FASTBATCH_MODELS") or str(models_folder())
_SETTINGS = ("FASTBATCH_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "AZURE_")


@pytest.fixture(autouse=True)
def nobodys_machine(monkeypatch, tmp_path_factory):
    """An environment without keys, proxies, options or a home; processes that a test starts inherit it."""
    for name in list(os.environ):
        if name.startswith(_SETTINGS) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("FASTBATCH_MODELS", MODELS)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
