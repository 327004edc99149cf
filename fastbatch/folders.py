"""Where fastbatch keeps things when nobody says where: below the user's own directories."""

from __future__ import annotations

from pathlib import Path


def answers_folder() -> Path:
    """The folder of cached answers."""
    return _user_cache() / "responses"


def models_folder() -> Path:
    """The folder of fetched model files."""
    return _user_cache() / "models"


def limits_folder() -> Path:
    """The folder of limits that several processes share: what was used of them just now."""
    from platformdirs import user_state_path

    return user_state_path("fastbatch") / "limits"


def prices_folder() -> Path:
    """The folder of price lists that were made ready for use."""
    return _user_cache() / "prices"


def own_prices() -> Path:
    """The file of the user's own prices."""
    from platformdirs import user_config_path

    return user_config_path("fastbatch") / "prices.toml"


def _user_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("fastbatch")
