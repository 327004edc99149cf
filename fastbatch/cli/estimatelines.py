"""An estimate in lines that people read: one table, a row for each model, and what to know about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from textwrap import wrap

from fastbatch.cli.words import counted, duration
from fastbatch.engine.done import Plan
from fastbatch.estimating.values import BadRow, Dollars, Duration, Estimate, ModelEstimate, Tokens

_MISSED = 2.3  # rows that occur less often than one in N/2.3 are missed by N rows one time in ten


def estimate_lines(found: Estimate, name: str, width: int) -> Iterator[str]:
    """All of it, in lines of at most `width` columns."""
    told: list[tuple[str, Sequence[BadRow]]] = []
    for model in found.models:
        if told and told[0] == (_rows(model.plan), model.bad):
            continue
        yield from _wrapped(f"{model.name if told else name}: {_rows(model.plan)}", width)
        for bad in model.bad:
            yield from _wrapped(f"line {bad.line}: {bad.message}", width, "  ")
        told.append((_rows(model.plan), model.bad))
    if not any(model.plan.to_send for model in found.models):
        yield "Nothing would be sent, and nothing paid."
        return
    yield ""
    yield from _table(found.models, width)
    yield ""
    several = len(found.models) > 1
    for model in found.models:
        for line in _about(model, f"{model.name}: " if several else ""):
            yield from _wrapped(line, width)
    for line in _legend(found):
        yield from _wrapped(line, width)
    yield from _recommended(found.models, width)
    stamps = ", ".join(map(str, found.stamps)) or "no price list"
    yield from _wrapped(f"Prices: {stamps}.", width)


def money(amount: Decimal) -> str:
    """Dollars as people read them, with two digits that say something: `$0.0016`, `$12.50`, `$1,204`."""
    return f"${_amount(amount)}"


def _amount(amount: Decimal) -> str:
    if not amount:
        return "0"
    if round(amount, 2) >= 1:
        return f"{amount:,.0f}" if round(amount, 2) >= 1000 else f"{amount:.2f}"
    two = Decimal(f"{amount:.1e}")
    return f"{two:.{1 - two.adjusted()}f}"


def _rows(plan: Plan) -> str:
    """`307 rows, 300 requests to send; 7 identical to another row`."""
    if not plan.rows:
        return "no rows"
    parts = []
    for count, words in (
        (plan.answered, "answered already"),
        (plan.cached, "in the cache"),
        (plan.identical, "identical to another row"),
        (plan.changed, "to replace an answer"),
        (plan.uncertain, "maybe paid for by a run that ended without recording an answer"),
        (plan.bad, "bad, without a request (run wants --on-bad-row record or skip then)"),
    ):
        if count:
            parts.append(f"{count:,} {words}")
    return "; ".join([f"{counted(plan.rows, 'row')}, {counted(plan.to_send, 'request')} to send", *parts])


def _table(models: Sequence[ModelEstimate], width: int) -> Iterator[str]:
    """A row for each model; where that is too wide, its name stands above it."""
    rows = [_cells(model) for model in models]
    names = ["model", *(name for name in rows[0] if any(row[name] for row in rows))]
    cells = [
        names,
        *([model.name, *(row[name] for name in names[1:])] for model, row in zip(models, rows, strict=True)),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) <= width:
        for row in cells:
            yield _line(row[:1], row[1:], widths)
        return
    for number, row in enumerate(cells):
        if number:
            yield row[0]
        yield "  " + _line([], row[1:], widths[1:])


def _line(left: Sequence[str], right: Sequence[str], widths: Sequence[int]) -> str:
    padded = [text.ljust(size) for text, size in zip(left, widths, strict=False)]
    padded += [text.rjust(size) for text, size in zip(right, widths[len(left) :], strict=True)]
    return "  ".join(padded)


def _cells(model: ModelEstimate) -> dict[str, str]:
    """The row of a model, by the names of the columns; columns in which nothing stands are left out."""
    about = "" if model.exact == model.plan.to_send else "~"
    cells = {
        "requests": f"{model.plan.to_send:,}",
        "in": about + _short(model.tokens_in.expected or 0),
        "out": _tokens(model.tokens_out),
        "dollars": _dollars(model.cost),
        "expected": "",
        "in a batch": "" if model.batch is None else _batch(model.batch),
        "time": "" if model.duration is None else _time(model.duration),
    }
    if model.measured and model.cost is not None and model.cost.expected is not None:
        cells["expected"] = money(model.cost.expected)
    return cells


def _tokens(tokens: Tokens) -> str:
    """`8.3k`, `0–8.3k`, `0–?` where nothing bounds them."""
    low = _short(tokens.low)
    high = "?" if tokens.high is None else _short(tokens.high)
    return low if low == high else f"{low}–{high}"


def _short(number: int) -> str:
    """`950`, `8.3k`, `12.0M`."""
    if number < 1000:
        return str(number)
    for size, letter in ((1_000, "k"), (1_000_000, "M"), (1_000_000_000, "G")):
        if number < 999.95 * size:
            return f"{number / size:.1f}{letter}"
    return f"{number / 1e12:,.1f}T"


def _dollars(cost: Dollars | None) -> str:
    """`$0.0016–0.0065`, `$0.0016–?`, `unpriced`."""
    if cost is None:
        return "unpriced"
    low = money(cost.low)
    if cost.high is None:
        return f"{low}–?"
    high = _amount(cost.high)
    return low if low == f"${high}" else f"{low}–{high}"


def _batch(cost: Dollars) -> str:
    """What is expected where that was measured; its ends are half of the others, or thereabouts."""
    return _dollars(cost) if cost.expected is None else money(cost.expected)


def _time(found: Duration) -> str:
    if found.expected is not None:
        return duration(found.expected)
    low = duration(found.low)
    if found.high is None:
        return f"{low}–?"
    high = duration(found.high)
    return low if low == high else f"{low}–{high}"


def _about(model: ModelEstimate, of: str) -> Iterator[str]:
    """What there is to know of one model's row; `of` names it where there are several."""
    send = model.plan.to_send
    if 0 < model.exact < send:
        yield f"{of}{send - model.exact:,} requests have tools, formats or pictures, which nobody can count."
    if model.named:
        names = ", ".join(name or "no name" for name in model.named_models)
        yield f"{of}{counted(model.named, 'request')} with a model of the row's own, priced as that: {names}."
    if model.unpriced:
        names = ", ".join(name or "no name" for name in model.unpriced_models)
        what = (
            "None of the requests has a price"
            if model.unpriced == send
            else (f"{counted(model.unpriced, 'request')} without a price (in no sum)")
        )
        yield f"{of}{what}: {names}. Is that the name? A price of your own goes into a table: --prices."
    if model.too_long:
        yield f"{of}{counted(model.too_long, 'prompt')} longer than the model's context: it will refuse them."
    if model.unbounded and not model.measured:
        more = (
            f", and each 100 tokens of their answers add {money(model.per_hundred)}"
            if model.per_hundred
            else ""
        )
        yield (
            f"{of}{counted(model.unbounded, 'request')} {'sets' if model.unbounded == 1 else 'set'} no "
            f"max_tokens: there is no upper end{more}."
        )
    yield from _piloted(model, of)


def _piloted(model: ModelEstimate, of: str) -> Iterator[str]:
    pilot = model.pilot
    if pilot is None:
        return
    parts = [f"the pilot asked {counted(pilot.rows, 'row')} (seed {pilot.seed})"]
    if model.cost is not None:
        parts.append(f"{money(pilot.cost)} paid")
    if pilot.truncated:
        parts.append(f"{counted(pilot.truncated, 'answer')} ended at max_tokens")
    if pilot.prompt_ratio is not None:
        parts.append(f"tokens in as billed are {100 * pilot.prompt_ratio:.1f} % of those counted")
    line = of + ", ".join(parts)
    yield f"{line[0].upper() if not of else line[0]}{line[1:]}."
    if pilot.failed:
        maybe = f", {pilot.maybe_billed:,} of them maybe billed" if pilot.maybe_billed else ""
        yield (
            f"{of}{pilot.failed:,} of them failed{maybe}: {pilot.first_error.rstrip('.')}. The low end takes "
            "such rows to cost nothing, the high end as much as others."
        )
    if not model.measured:
        yield f"{of}That tells too little, so the ends are what is possible."


def _legend(found: Estimate) -> Iterator[str]:
    """What the columns mean, as far as that shows."""
    models = found.models
    slowest = {model.duration.slowest for model in models if model.duration is not None}
    if len(slowest) == 1:
        yield f"What takes the time: {slowest.pop()}."
    about = sum(model.exact < model.plan.to_send for model in models)
    billed = any(model.pilot is not None and model.pilot.prompt_ratio is not None for model in models)
    if not about:
        if not billed:
            yield "Tokens in are exact: counted with the model's vocabulary."
    else:
        why = "" if found.vocabularies else "; pip install 'fastbatch[tokens]' counts OpenAI's exactly"
        yield f"~ stands before tokens in that are, or are in part, estimated rather than counted{why}."
        if about < len(models) and not billed:
            yield "Tokens in without it are exact."
    bounded = [model for model in models if not model.measured and model.tokens_out.high]
    if bounded:
        yield (
            "Low is the prompts alone, high is every answer as long as its max_tokens allows; --pilot 50 "
            "measures."
        )
    elif any(not model.measured and model.tokens_out.high is None for model in models):
        yield "Low is the prompts alone; --pilot 50 measures the answers."
    if any(model.pilot is not None for model in models):
        yield "A pilot's answers are in the cache: a run does not pay for them again."
    asked = [
        model.pilot.rows
        for model in models
        if model.measured and model.pilot is not None and model.pilot.rows < model.plan.to_send
    ]
    if asked:
        yield (
            "The ends hold the truth nine times out of ten. Rows of a kind that is rarer than one in "
            f"{max(2, round(min(asked) / _MISSED)):,} may have been missed, and are not in them."
        )
    if any(model.cost is not None and model.cost.high != 0 for model in models):
        yield "Requests that are sent again (retries, answers that do not fit) come on top."


def _recommended(models: Sequence[ModelEstimate], width: int) -> Iterator[str]:
    """Cheaper models for each."""
    if not any(model.cheaper for model in models):
        return
    yield from _wrapped("Cheaper for as many tokens; whether their answers do is yours to judge:", width)
    size = max(len(other.name) for model in models for other in model.cheaper)
    for model in models:
        if model.cheaper and len(models) > 1:
            yield f"  than {model.name}"
        for other in model.cheaper:
            low, high = (f"{100 * share:.0f}" for share in other.saving)
            saves = low if low == high else f"{low}–{high}"
            line = f"{other.name.ljust(size)}  {_dollars(other.cost)}, saves {saves} %"
            yield from _wrapped(line, width, "    ") if len(line) > width - 4 else [f"    {line}"]


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return wrap(
        text,
        max(20, width),
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]
