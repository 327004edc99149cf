"""The options that `run` and `retry` share, written once; a command takes them as `**flags`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypedDict, TypeVar, cast, get_type_hints

import typer

Command = TypeVar("Command", bound=Callable[..., None])


class Flags(TypedDict):
    """What the command line gave, by the names of `config.RunOptions`; None where it did not."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="PROVIDER:MODEL", help="Such as openai:gpt-4o-mini or local:smollm2."
        ),
    ]
    base_url: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Another OpenAI-shaped server, /v1 included; several share the work (repeatable).",
        ),
    ]
    api_key_env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Environment variable that holds the key; several keys share the work (repeatable).",
        ),
    ]
    fallback: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROVIDER:MODEL", help="Answers what the model cannot: quota, outage (repeatable)."
        ),
    ]
    prompt: Annotated[
        str | None, typer.Option(metavar="TEMPLATE", help='Made from a row\'s keys: "Summarise: {text}".')
    ]
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="System message of rows that have none.")]
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=JSON", help="Default body parameter (repeatable): temperature=0."),
    ]
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", help="Requests in flight at most [default: 64].")
    ]
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Processes that share the work, as cores allow [default: 1]."),
    ]
    rpm: Annotated[int | None, typer.Option(metavar="N", help="Requests a minute.")]
    tpm: Annotated[int | None, typer.Option(metavar="N", help="Tokens a minute.")]
    window: Annotated[
        list[str] | None,
        typer.Option(metavar="N/SPAN", help="A further limit: 25/s, 1500/5s, 90000tok/60s (repeatable)."),
    ]
    shared_limits: Annotated[
        bool | None,
        typer.Option(
            "--shared-limits/--no-shared-limits",
            help="One account of the limits for all runs on this machine that say so, with the same key.",
        ),
    ]
    shared_limits_url: Annotated[
        str | None,
        typer.Option(metavar="redis://…", help="One account of the limits for several machines."),
    ]
    timeout: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds for one attempt [default: 120].")
    ]
    connect_timeout: Annotated[
        float | None, typer.Option(metavar="S", help="Of it, until the connection stands [default: 20].")
    ]
    first_byte_timeout: Annotated[
        float | None, typer.Option(metavar="S", help="Of it, until the reply begins [default: all of it].")
    ]
    idle_timeout: Annotated[
        float | None, typer.Option(metavar="S", help="Of it, between two pieces of the reply [default: all].")
    ]
    max_attempts: Annotated[
        int | None, typer.Option(metavar="N", help="Times a request is tried at most [default: 6].")
    ]
    max_wait: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="A longer wait that the provider asks for ends the run [default: 600]."
        ),
    ]
    max_outage: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="A longer outage ends the run, resumable [default: 600; 30 until the first answer].",
        ),
    ]
    hedge: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Ask stragglers twice, which may be paid twice: 0.05 is one in twenty at most [default: 0].",
        ),
    ]
    cache: Annotated[
        str | None,
        typer.Option(metavar="DIR|NAME:DIR|memory|off", help="Where answers are kept for next time."),
    ]
    identical: Annotated[
        str | None,
        typer.Option(
            metavar="share|sample", help="Equal rows share one answer, or each buys its own [default: share]."
        ),
    ]
    schema: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A JSON schema that answers have to fit; they are checked."),
    ]
    prices: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Your own prices, before those of genai-prices [default: your prices.toml]."
        ),
    ]
    structured: Annotated[
        str | None,
        typer.Option(
            metavar="auto|strict|tool|json|prompt",
            help="How the model is told of the schema [default: auto, the best way that the provider has].",
        ),
    ]
    reasks: Annotated[
        int | None,
        typer.Option(metavar="N", help="Times a row is asked again whose answer does not fit [default: 2]."),
    ]
    stream: Annotated[
        bool | None,
        typer.Option(help="Have answers come in pieces, so that the time to the first token is known."),
    ]
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="USD",
            help="What all runs into OUTPUT may cost; the next request that could pass it ends the run.",
        ),
    ]
    unpriced: Annotated[
        str | None,
        typer.Option(
            metavar="allow|deny|ceiling",
            help="Send to models without a price, do not, or count the dearest price there is [default: "
            "allow, with a budget deny].",
        ),
    ]
    mode: Annotated[
        str | None,
        typer.Option(
            metavar="online|batch",
            help="Each request by itself, or by the provider's batch API at half price [default: online].",
        ),
    ]
    deadline: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Of batches: 6h, 90m or 2026-11-22T08:00; what will not be done by then is sent online.",
        ),
    ]
    batch_tokens: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tokens that may wait in batches at once [default: as they fit]."),
    ]
    limit: Annotated[int | None, typer.Option(metavar="N", help="Only the first N rows.")]
    on_bad_row: Annotated[
        str | None,
        typer.Option(
            metavar="fail|record|skip",
            help="Refuse the input, make it a failed row, leave it out [default: fail].",
        ),
    ]
    dedupe: Annotated[
        bool | None,
        typer.Option(
            "--dedupe/--no-dedupe", help="Number rows that have the same id (a, a-2) rather than refuse them."
        ),
    ]
    on_uncertain: Annotated[
        str | None,
        typer.Option(
            metavar="retry|skip|ask",
            help="Send again what a run that died may have paid for, or do not [default: ask on a terminal, "
            "else retry].",
        ),
    ]
    ordered: Annotated[
        bool | None,
        typer.Option("--ordered/--no-ordered", help="The finished output is in the order of the input."),
    ]
    durability: Annotated[
        str | None,
        typer.Option(
            metavar="power|process",
            help="What saved answers survive: a power failure, or the end of the process [default: power].",
        ),
    ]
    drain_timeout: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Seconds that requests in flight may take after Ctrl-C [default: 30]."
        ),
    ]
    progress: Annotated[
        str | None,
        typer.Option(
            metavar="auto|rich|plain|json|off", help="Style on stderr, or a plug-in's [default: auto]."
        ),
    ]
    yes: Annotated[bool | None, typer.Option("--yes", "-y", help="Ask nothing.")]
    dry_run: Annotated[bool | None, typer.Option("--dry-run", help="Check and count only; send nothing.")]


def with_run_options(command: Command) -> Command:
    """Show typer each option of a run in the place of the command's `**flags`."""
    return with_options(*get_type_hints(Flags))(command)


def with_options(*names: str) -> Callable[[Command], Command]:
    """Show typer some options of a run in the place of a command's `**flags`."""

    def shown(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [given for given in signature.parameters.values() if given.kind is not given.VAR_KEYWORD]
        annotations = get_type_hints(Flags, include_extras=True)
        shared = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotations[name]
            )
            for name in names
        ]
        cast(Any, command).__signature__ = signature.replace(parameters=[*own, *shared])
        return command

    return shown


def given(flags: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `config.resolve` takes of the flags."""
    from fastbatch.config import parse_param

    param = dict(parse_param(pair, "--param") for pair in flags["param"] or ())
    lists = {name: flags.get(name) or None for name in ("window", "fallback", "base_url", "api_key_env")}
    return {**flags, **lists, "param": param or None}
