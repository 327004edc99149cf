"""What every test stands on: no settings, keys or caches of the person who runs them.

That this file is here also lets tests import the fakes beside it: `from fakes import FakeTransport`.
"""

import os
import shutil
from datetime import date

import pytest

from fastbatch.folders import models_folder, prices_folder
from fastbatch.pricelists.kept import genai_list

# The model file is fetched once a machine, not once a test.
MODELS = os.environ.get("FASTBATCH_MODELS") or str(models_folder())
_SETTINGS = ("FASTBATCH_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "AZURE_")


@pytest.fixture(scope="session")
def kept_prices(tmp_path_factory):
    """The list of prices in the form that runs keep: it is made once a session, not once a home."""
    folder = tmp_path_factory.mktemp("prices")
    genai_list(date(2026, 1, 1), folder)
    return list(folder.iterdir())


@pytest.fixture(autouse=True)
def nobodys_machine(monkeypatch, tmp_path_factory, kept_prices):
    """An environment without keys, proxies, options or a home; processes that a test starts inherit it.

    The home has prices, as that of everybody who has run something before.
    """
    for name in list(os.environ):
        if name.startswith(_SETTINGS) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(home))
    prices_folder().mkdir(parents=True, exist_ok=True)
    for file in kept_prices:
        shutil.copyfile(file, prices_folder() / file.name)
    monkeypatch.setenv("FASTBATCH_MODELS", MODELS)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
