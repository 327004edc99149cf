"""`fastbatch prices`: what models cost, by which list, and prices of your own."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fastbatch.pricelists.comparing import Change
    from fastbatch.pricelists.userfile import Document
    from fastbatch.pricing.book import PriceBook
    from fastbatch.pricing.rates import Rates

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Show what models cost, and bring prices of your own.")

_AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]
_Prices = Annotated[
    Path | None, typer.Option("--prices", metavar="FILE", help="Your own prices [default: your prices.toml].")
]
_MOST = 40  # models that are shown when many fit


@app.command()
def show(
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="Models whose name holds this.")
    ] = None,
    *,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="PROVIDER:MODEL", help="All about one model.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="DATE", help="As on that day, such as 2026-01-31 [default: now].")
    ] = None,
    prices: _Prices = None,
    as_json: _AsJson = False,
) -> None:
    """Show rates, where they come from, and what they were on another day.

    Without a model or a text it says which lists there are.
    """
    from fastbatch.assembly import open_book
    from fastbatch.cli.pricelines import stamp_json, stamp_lines

    book = open_book(prices)
    moment = _moment(at)
    if model is not None:
        _show_model(book, model, moment, as_json)
    elif text is not None:
        _show_matching(book, text, moment, as_json)
    elif as_json:
        _say_json({"lists": [stamp_json(stamp) for stamp in book.stamps]})
    else:
        _say([*stamp_lines(book.stamps), "Name a model with -m, or a part of its name."])


def _show_model(book: PriceBook, name: str, moment: float, as_json: bool) -> None:
    from fastbatch.assembly import split_name
    from fastbatch.cli.pricelines import all_rates, model_lines, rates_json, stamp_json
    from fastbatch.errors import UsageError, did_you_mean

    provider, model = split_name(name)
    listing, stamp = book.find(provider, model), book.stamp_of(provider, model)
    if listing is None or stamp is None:
        if book.rates(provider, model, moment) is not None:
            _say([f"{provider}:{model} runs on this machine and costs nothing."])
            return
        known = [each.name for lists in book.lists for each in lists.models(provider)]
        raise UsageError(
            f"{provider}:{model} is in no price list.{did_you_mean(model, known)} "
            "A price of your own goes into a table: see fastbatch prices import --help"
        )
    if as_json:
        ways = {way: rates_json(rates) for way, rates in all_rates(listing, moment).items()}
        told = {"model": f"{provider}:{model}", "listed_as": listing.name, "rates": ways}
        _say_json({**told, "list": stamp_json(stamp), "deprecated": listing.deprecated})
    else:
        on = datetime.fromtimestamp(moment, UTC).date()
        _say(model_lines(f"{provider}:{model}", listing, moment, on, stamp))


def _show_matching(book: PriceBook, text: str, moment: float, as_json: bool) -> None:
    from fastbatch import registry
    from fastbatch.cli.pricelines import list_lines, rates_json, stamp_json, stamp_lines

    found: dict[str, Rates | None] = {}
    for provider in registry.names("providers"):
        for lists in book.lists:
            for listing in lists.models(provider):
                name = f"{provider}:{listing.name}"
                if text.lower() in name.lower():
                    found.setdefault(name, listing.rates(moment, {}))
    if as_json:
        models = [{"model": name, "rates": rates_json(rates)} for name, rates in found.items()]
        _say_json({"models": models, "lists": [stamp_json(stamp) for stamp in book.stamps]})
    elif not found:
        typer.echo(f"No model's name holds {text!r}.", err=True)
        raise typer.Exit(1)
    else:
        shown = list(found.items())[:_MOST]
        _say(list_lines(shown))
        if len(found) > len(shown):
            _say([f"… and {len(found) - len(shown)} more; say more of the name, or --json for all."])
        _say(stamp_lines(book.stamps))


@app.command(name="import", no_args_is_help=True)
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Your table (TOML), or a list in JSON.")],
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Drop the prices you have.")] = False,
    merge: Annotated[bool, typer.Option("--merge", help="Keep those that FILE says nothing of.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Check a table of prices, show what it changes, and use it from now on.

    FILE is a table in TOML, LiteLLM's model_prices_and_context_window.json, or genai-prices' JSON. It is
    kept as prices.toml in your configuration folder, and goes before the prices that come with fastbatch.
    """
    from fastbatch.assembly import open_book
    from fastbatch.cli.pricelines import change_lines
    from fastbatch.cli.words import agree
    from fastbatch.errors import StorageError, UsageError
    from fastbatch.folders import own_prices
    from fastbatch.pricelists.imports import read_any
    from fastbatch.pricelists.userfile import read_document, table_of
    from fastbatch.pricelists.wholefile import put
    from fastbatch.pricelists.writing import as_toml

    own = own_prices()
    if replace and merge:
        raise UsageError("--replace and --merge exclude each other")
    if own.exists() and not (replace or merge):
        raise UsageError(f"there are prices in {own} already: say --replace or --merge")
    given = read_any(file)
    document: Document = {**(read_document(own) if merge and own.exists() else {}), **given.document}
    table = table_of(document, file)
    if given.left_out:
        _say([f"{given.left_out:,} models have no place in a table and are left out."])
    if not table.providers:
        raise UsageError(f"{file} holds no prices")
    _say(change_lines(_against(open_book(), [table]), _MOST))
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("not imported: nobody can be asked here; say --yes")
        agree(f"Use these prices from now on ({own})?")
    as_is = file.suffix != ".json" and not merge  # with its comments
    try:
        put(own, file.read_bytes() if as_is else as_toml(document).encode())
    except OSError as error:
        raise StorageError(f"{own} cannot be written: {error.strerror or error}") from None
    _say([f"Kept as {own}."])


@app.command(no_args_is_help=True)
def diff(
    first: Annotated[Path, typer.Argument(metavar="[A]", help="A table; else what is used now.")],
    second: Annotated[Path | None, typer.Argument(metavar="B", help="The table to compare with it.")] = None,
    *,
    as_json: _AsJson = False,
) -> None:
    """Show what is new, gone, dearer and cheaper in one table of prices, compared with another.

    With one table: what it would change of the prices that are used now.
    """
    from fastbatch.assembly import open_book
    from fastbatch.pricelists.comparing import compare, models_of
    from fastbatch.pricelists.imports import read_any
    from fastbatch.pricelists.userfile import table_of

    tables = [table_of(read_any(path).document, path) for path in (first, second) if path is not None]
    if len(tables) == 1:
        _say_changes(_against(open_book(), tables), as_json)
        return
    names = dict.fromkeys(name for table in tables for name in models_of(table))
    before, after = (
        {f"{provider}:{model}": _rates(table, provider, model) for provider, model in names}
        for table in tables
    )
    _say_changes(compare(before, before, after), as_json)


def _against(book: PriceBook, tables: Sequence[Any]) -> list[Change]:
    """What a table changes of the prices that are used now."""
    from fastbatch.pricelists.comparing import compare, models_of

    names = [name for table in tables for name in models_of(table)]
    now = datetime.now(UTC).timestamp()
    before = {f"{provider}:{model}": book.rates(provider, model, now) for provider, model in names}
    after = {
        f"{provider}:{model}": _rates(table, provider, model) for table in tables for provider, model in names
    }
    return compare(before, before, after)


def _rates(table: Any, provider: str, model: str) -> Rates | None:
    listing = table.find(provider, model)
    found: Rates | None = None if listing is None else listing.rates(datetime.now(UTC).timestamp(), {})
    return found


def _moment(given: str | None) -> float:
    """Noon (UTC) of a day, or now."""
    from fastbatch.errors import UsageError

    if given is None:
        return datetime.now(UTC).timestamp()
    try:
        day = date.fromisoformat(given)
    except ValueError:
        raise UsageError(f"--at must be a day such as 2026-01-31, not {given!r}") from None
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()


def _say_changes(changes: Sequence[Change], as_json: bool) -> None:
    from fastbatch.cli.pricelines import change_json, change_lines

    if as_json:
        _say_json({"changes": [change_json(change) for change in changes]})
    else:
        _say(change_lines(changes))


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        typer.echo(line)


def _say_json(told: Any) -> None:
    typer.echo(json.dumps(told, ensure_ascii=False))
