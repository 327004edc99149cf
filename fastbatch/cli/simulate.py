"""`fastbatch simulate`: a provider on this machine that costs nothing, to practise and to measure with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from fastbatch.simulator import SimulatorConfig, SimulatorStats, Spell
    from fastbatch.simulator.clockwork import MissingFile
    from fastbatch.simulator.headers import HeaderStyle
    from fastbatch.simulator.limits import LimitKind


def simulate(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8484,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    latency: Annotated[float, typer.Option(min=0, help="Median seconds to an answer.")] = 0.2,
    latency_sigma: Annotated[
        float, typer.Option(min=0, help="Spread of the log-normal latency; 0: constant.")
    ] = 0.3,
    tokens_per_second: Annotated[
        float | None, typer.Option(help="Adds completion tokens / this to an answer's time.")
    ] = None,
    rpm: Annotated[int | None, typer.Option(min=1, help="Requests per minute.")] = None,
    tpm: Annotated[int | None, typer.Option(min=1, help="Tokens per minute.")] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(help="A further limit: 1500/5s, 90000tok/60s, 30000in/60s or 8000out/60s (repeatable)."),
    ] = None,
    limit_kind: Annotated[
        str,
        typer.Option(help="How limits are kept: sliding or fixed windows, or a bucket that refills evenly."),
    ] = "sliding",
    bucket: Annotated[bool, typer.Option("--bucket", help="Short for --limit-kind bucket.")] = False,
    sub_window: Annotated[
        float | None,
        typer.Option(help="Seconds; request limits hold in pieces of this length, too (Azure: 1)."),
    ] = None,
    per_model: Annotated[
        bool, typer.Option("--per-model", help="Every model has the whole of each limit to itself.")
    ] = False,
    limit_headers: Annotated[
        str,
        typer.Option(
            help="How replies tell of the limits: auto (each API as its own provider does), as "
            "openai, azure or anthropic, or none."
        ),
    ] = "auto",
    retry_after: Annotated[
        bool, typer.Option("--retry-after/--no-retry-after", help="Whether refusals say how long to wait.")
    ] = True,
    max_in_flight: Annotated[
        int | None, typer.Option(min=1, help="Refuse a request while so many others are under way.")
    ] = None,
    overload_status: Annotated[int, typer.Option(help="The status of that refusal: 429 or 503.")] = 429,
    weather: Annotated[
        list[str] | None,
        typer.Option(
            help="KIND@BEGINS+LASTS in seconds after the first request (repeatable): outage, 429, 500, 503, "
            "hang, refuse, limits; also limits@20+60,factor=0.5 and 429@5+30,retry-after=2."
        ),
    ] = None,
    fail: Annotated[
        list[str] | None,
        typer.Option(
            help="KIND=SHARE (repeatable); kinds: 500, 503, 429, timeout, reset, truncated, malformed, "
            "empty, error, invalid."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="What texts, latencies and failures are drawn from.")] = 0,
    vary_repeats: Annotated[
        bool,
        typer.Option(
            "--vary-repeats", help="The same question gets another text each time, to try sampling."
        ),
    ] = False,
    batch_seconds: Annotated[float, typer.Option(min=0, help="Seconds until a batch is done.")] = 5.0,
    batch_expires: Annotated[
        float, typer.Option(min=0, help="Seconds until a batch expires that is not done.")
    ] = 86_400.0,
    batch_share: Annotated[
        float, typer.Option(help="Share of a batch's rows that are ever answered, 0.6 for instance.")
    ] = 1.0,
    batch_breaks: Annotated[
        float | None, typer.Option(min=0, help="Seconds until a batch fails that is not done.")
    ] = None,
    batch_cancel_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds that cancelling a batch takes.")
    ] = 0.0,
    batch_missing: Annotated[
        list[str] | None,
        typer.Option(help="A file of results that no batch has: output or errors (repeatable)."),
    ] = None,
    batch_rows: Annotated[
        int | None, typer.Option(min=1, help="Most rows of a batch; otherwise as each API has it.")
    ] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most prompt tokens of a model in unfinished batches.")
    ] = None,
    batch_lose_replies: Annotated[
        int, typer.Option(min=0, help="So many batches are created without their creator hearing of it.")
    ] = 0,
    require_key: Annotated[str | None, typer.Option(help="Refuse every other key.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model that exists (repeatable); without it every name does.")
    ] = None,
) -> None:
    """Run a simulated provider until Ctrl-C, then say what it saw."""
    from fastbatch.simulator import BatchConfig, SimulatedLimit, SimulatorConfig

    kind = cast("LimitKind", "bucket" if bucket else limit_kind)
    with _naming():
        config = SimulatorConfig(
            seed=seed,
            latency=latency,
            latency_sigma=latency_sigma,
            tokens_per_second=tokens_per_second,
            rpm=rpm,
            tpm=tpm,
            limit_kind=kind,
            limits=tuple(SimulatedLimit.parse(text, kind=kind) for text in limit or ()),
            sub_window=sub_window,
            per_model=per_model,
            limit_headers=cast("HeaderStyle", limit_headers),
            retry_after=retry_after,
            max_in_flight=max_in_flight,
            overload_status=overload_status,
            weather=tuple(map(_spell, weather or ())),
            failure_rates=dict(_failure(text) for text in fail or ()),
            vary_repeats=vary_repeats,
            require_key=require_key,
            models=tuple(model or ()),
            batches=BatchConfig(
                seconds=batch_seconds,
                expires=batch_expires,
                share=batch_share,
                breaks=batch_breaks,
                cancel_seconds=batch_cancel_seconds,
                missing=cast("tuple[MissingFile, ...]", tuple(batch_missing or ())),
                rows=batch_rows,
                tokens=batch_tokens,
                lose_replies=batch_lose_replies,
            ),
        )
    _run(config, host, port)


@contextmanager
def _naming() -> Iterator[None]:
    """Errors name the option rather than the field that it fills.

    Raises:
        ConfigError: `--limit-kind = 'leaky': …`.
    """
    from fastbatch.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        field = error.key.removeprefix("SimulatorConfig.").replace("BatchConfig.", "batch_")
        if field == error.key:
            raise
        option = {"failure_rates": "fail", "models": "model", "limits": "limit"}.get(field, field)
        raise ConfigError(
            error.problem, key=f"--{option.replace('_', '-')}", value=error.value, source=error.source
        ) from None


def _spell(text: str) -> Spell:
    from fastbatch.errors import ConfigError
    from fastbatch.simulator import Spell

    try:
        return Spell.parse(text)
    except ConfigError as error:
        raise ConfigError(error.problem, key="--weather", value=text) from None


def _failure(text: str) -> tuple[str, float]:
    from fastbatch.errors import ConfigError

    kind, _, share = text.partition("=")
    try:
        return kind.strip(), float(share)
    except ValueError:
        raise ConfigError("write it like 500=0.03", key="--fail", value=text) from None


def _run(config: SimulatorConfig, host: str, port: int) -> None:
    import asyncio
    import signal
    from contextlib import suppress

    from fastbatch.simulator import Simulator
    from fastbatch.simulator.thread import new_loop

    simulator = Simulator(config, host=host, port=port)

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            # Windows loops have no signal handlers; there Ctrl-C arrives as KeyboardInterrupt.
            with suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with simulator:
            model = config.models[0] if config.models else "any"
            typer.echo(
                f"Simulated provider on {simulator.base_url} (Ctrl-C ends it). Try: "
                f"fastbatch run INPUT -o OUT -m openai:{model} --base-url {simulator.base_url} "
                f"(azure, anthropic, gemini, vertex, ollama-native: --base-url {simulator.root_url})"
            )
            await stop.wait()

    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve())
    typer.echo(_summary(simulator.stats()))


def _summary(stats: SimulatorStats) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(stats.failed.items()))
    failed = f"{sum(stats.failed.values())} failed" + (f" ({kinds})" if kinds else "")
    lines = [
        f"Saw {stats.requests} requests on {stats.connections} connections, "
        f"at most {stats.max_in_flight} in flight:",
        f"  {stats.answered} answered, {stats.refused_429} refused by limits, {stats.rejected} rejected, "
        f"{failed}, {stats.abandoned} abandoned by the client",
        *([f"  {stats.refused_busy} refused while too many were under way"] if stats.refused_busy else []),
        *([f"  {stats.invalid} of the answers made not to fit their schema"] if stats.invalid else []),
        f"  {stats.distinct_bodies} different bodies, {stats.repeated_bodies} answered more than once",
        f"  {stats.prompt_tokens} prompt and {stats.completion_tokens} completion tokens",
        *_batches(stats.batches),
        f"  would have billed ${stats.would_have_billed_usd} at gpt-4o-mini's prices",
    ]
    if stats.requests and stats.first_arrival is not None and stats.last_arrival is not None:
        lines.append(f"  {stats.last_arrival - stats.first_arrival:.1f} s from the first arrival to the last")
    lines.extend(
        f"  limit {limit['amount']} {limit['what'].replace('_', ' ')} per {limit['per']:g} s"
        f"{' of ' + limit['model'] if 'model' in limit else ''}: at most {limit['peak']} used, "
        f"{limit['refused']} refused"
        for limit in stats.limits
    )
    return "\n".join(lines)


def _batches(told: Mapping[str, Any]) -> list[str]:
    if not told["created"]:
        return []
    failed = sum(told["failed"].values())
    return [
        f"  {told['created']} batches, {told['ended']} of them ended: {told['answered']} rows answered, "
        f"{failed} failed, {told['prompt_tokens']} prompt and {told['completion_tokens']} completion tokens"
    ]
