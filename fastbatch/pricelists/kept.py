"""The list of genai-prices as a file in the user's cache, so that a run need not import the package.

The file is named by the version of the package and of our form; its first line is the digest of the rest. One
that is damaged is made anew; where none can be written, the list is made anew each time.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from fastbatch.folders import prices_folder
from fastbatch.pricelists.digests import digest
from fastbatch.pricelists.table import FORM, PriceTable, as_date, day
from fastbatch.pricelists.wholefile import put
from fastbatch.pricing.book import Stamp

_DIGEST = 64  # hex digits

THEIRS = {"gemini": "google", "vertex": "google", "xai": "x-ai"}
"""What genai-prices calls providers of ours, where that is another name."""


def genai_list(today: date, folder: Path | None = None) -> PriceTable:
    """The list of the installed genai-prices.

    Its stamp's date is the newest day up to today on which one of its prices began: the package does not say
    when its data was gathered, and it has prices that are announced for days to come.
    """
    release = version("genai-prices")
    path = (folder or prices_folder()) / f"genai-prices-{release}-form{FORM}.json"
    content = _read(path)
    if content is None:
        from fastbatch.pricelists.genai import convert

        content = orjson.dumps(convert())
        with suppress(OSError):  # a cache that cannot be written costs time, no more
            put(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    form: dict[str, Any] = orjson.loads(content)
    begun = [each for each in form["days"] if each <= day(today)]
    newest = as_date(begun[-1]).isoformat() if begun else ""
    return PriceTable(form, Stamp(f"genai-prices {release}", newest, digest(content)), THEIRS)


def _read(path: Path) -> bytes | None:
    """The kept content; None where there is none, or it is not what was written."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    told, content = found[:_DIGEST], found[_DIGEST + 1 :]
    return content if told == hashlib.sha256(content).hexdigest().encode() else None
