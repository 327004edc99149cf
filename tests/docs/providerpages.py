"""The pages of the providers, made from the code: `python3 dev.py pages` writes them, a test compares."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from providerprobe import Subject, first_paragraph

from fastbatch import LLMRequest, registry
from fastbatch.errors import ConfigError, InvalidRequest
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES
from fastbatch.providers.presets import Preset

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "fastbatch" / "docs"
PAGES = DOCS / "providers"
OVERVIEW = DOCS / "providers.md"
TABLE = re.compile(r"(?<=<!-- the table is written by dev.py pages -->\n).*?(?=<!-- end -->)", re.DOTALL)

ENDPOINTS = {
    CHAT: "chat",
    RESPONSES: "responses",
    COMPLETIONS: "completions",
    EMBEDDINGS: "embeddings",
    MODERATIONS: "moderations",
}
WAYS = {
    "strict": "`strict`: the server keeps to the schema",
    "tool": "`tool`: as the arguments of a tool",
    "json": "`json`: some JSON object, described in the prompt",
    "prompt": "`prompt`: described in the prompt",
}
EXAMPLE: dict[str, Any] = {
    "model": "MODEL",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Name a river."},
    ],
    "max_tokens": 32,
    "temperature": 0.5,
    "stop": ["END"],
}
"""A request, to show what becomes of it."""


def code(text: str) -> str:
    """A word in code."""
    return f"`{text}`"


def line(*cells: str) -> str:
    """A line of a table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def page(name: str) -> str:
    """The page of one provider."""
    subject = Subject(name)
    rows = [line("", ""), "|---|---|", *(line(*pair) for pair in facts(subject))]
    parts = [
        f"# {name}",
        subject.about,
        f"```sh\nfastbatch run prompts.jsonl -o results.jsonl -m {name}:MODEL\n```",
        "\n".join(rows),
        *example(subject),
        *(["\n".join(f"- {note}" for note in subject.notes)] if subject.notes else []),
        *refusals(subject),
        "Written by `python3 dev.py pages` from the code. [All providers](../providers.md)",
    ]
    return "\n\n".join(parts) + "\n"


def facts(subject: Subject) -> Iterator[tuple[str, str]]:
    """What there is to know at a glance."""
    variables = subject.variables()
    named = [code(found.name) for found in variables if found.kind == "address"]
    given = ", else ".join(["`--base-url` (`base_url=`)", *named])
    usual = f"{code(subject.base_url)}; another by" if subject.base_url else "has to be given, by"
    yield "address", f"{usual} {given}"
    keys = subject.keys(variables)
    if keys:
        yield "key", ", else ".join(f"{code(found.name)} ({found.told})" for found in keys)
        yield "without a key", "nothing is sent" if subject.case.needs_key else needs(subject)
    others = [found for found in variables if found.kind == "other"]
    if others:
        yield (
            "further variables",
            ", ".join(code(found.name) + (f" ({found.told})" if found.told else "") for found in others),
        )
    offered = list(subject.endpoints())
    yield "endpoints", ", ".join(f"{ENDPOINTS[name]} (`POST {where}`)" for name, where, _ in offered)
    yield "streams", ", ".join(ENDPOINTS[name] for name, _, streamed in offered if streamed) or "none"
    yield "batches, at half the price", batches(subject)
    yield "answers with a shape", "; ".join(WAYS[way] for way in subject.provider.structured)
    try:
        asked = subject.provider.ask_models()
        yield "models", f"`fastbatch models {subject.name}` (`GET {subject.below(asked.url)}`)"
    except ConfigError as refused:
        yield "models", str(refused)
    if isinstance(subject.make, Preset):
        yield "limits in headers", "are read in each form that is known, where it states some"
        yield "tokens", "are counted as [OpenAI](openai.md) does"
    else:
        limits = subject.case.limits
        told = [code(header) for header in sorted(limits.headers) if header != "date"] if limits else []
        yield "limits in headers", ", ".join(told) or "it states none"
        yield "a request reserves", first_paragraph(subject.kind.reserve)
        yield "an answer takes", first_paragraph(subject.kind.settle)
    module, _, attribute = registry.BUILT_IN["providers"][subject.name].partition(":")
    yield "in Python", f"`{attribute}` of `{module}`"


def batches(subject: Subject) -> str:
    """What a batch holds, and what can be asked in one."""
    native = getattr(subject.provider, "batches", None)
    if native is None:
        return "none"
    kinds = []
    for endpoint, *_ in subject.endpoints():
        try:
            native.line(subject.request(endpoint), "r-1")
        except InvalidRequest:
            continue
        kinds.append(ENDPOINTS[endpoint])
    bounds = native.bounds
    held = f"{bounds.rows:,} rows and {bounds.size / 1e6:,.0f} MB in each"
    if bounds.inputs is not None:
        held += f" ({bounds.inputs:,} texts to embed)"
    within = f"{held}, within {bounds.hours:.0f} hours"
    return f"`--mode batch`: {', '.join(kinds)}; {within}"


def needs(subject: Subject) -> str:
    """What is asked without a key."""
    try:
        subject.make(None, base_url=None, env=dict(subject.case.env))
    except ConfigError:
        return "only another address is asked"
    return "it is asked without one"


def example(subject: Subject) -> Iterator[str]:
    """A request in its dialect."""
    body = {**EXAMPLE}
    while True:
        try:
            call = subject.provider.build(LLMRequest(CHAT, body))
            break
        except InvalidRequest as refused:
            name = str(refused).split(" ", maxsplit=1)[0]
            if name not in body:
                raise
            del body[name]
    sent = orjson.loads(call.body)
    if sent == EXAMPLE:
        yield f"A body goes as it stands, to `POST {subject.below(call.url)}`."
        return
    yield f"The [request](../providers.md#one-request) becomes `POST {subject.below(call.url)}` with"
    yield f"```json\n{json.dumps(sent, indent=2, ensure_ascii=False)}\n```"


def refusals(subject: Subject) -> Iterator[str]:
    """What is refused before anything is sent."""
    missing = [path for path in ENDPOINTS if path not in {name for name, *_ in subject.endpoints()}]
    unsaid = subject.unsaid()
    if not missing and not unsaid:
        yield "Nothing is refused before it is sent: the server says what it does not know."
        return
    yield "## What cannot be said"
    yield "A row that says one of these is refused, with the reason, before anything is sent."
    rows = [line("what", "why"), "|---|---|"]
    rows += [line(code(path), "there is no such endpoint") for path in missing]
    rows += [line(what, why or "there is no word for it") for what, why in unsaid.items()]
    yield "\n".join(rows)


def table() -> str:
    """The overview's table."""
    rows = [line("name", "address", "key", "endpoints"), "|---|---|---|---|"]
    for name in sorted(registry.BUILT_IN["providers"]):
        subject = Subject(name)
        keys = [code(found.name) for found in subject.keys(subject.variables())]
        kinds = ", ".join(ENDPOINTS[endpoint] for endpoint, *_ in subject.endpoints())
        address = code(subject.base_url) if subject.base_url else "given"
        page = f"[`{name}`](providers/{name}.md)"
        rows.append(line(page, address, ", ".join(keys) or "none", kinds))
    return "\n".join(rows) + "\n"


def overview() -> str:
    """The page of all providers, with its table made anew."""
    return TABLE.sub(lambda _: table(), OVERVIEW.read_text("utf-8"))


def written() -> dict[Path, str]:
    """Every page that is made from the code."""
    pages = {PAGES / f"{name}.md": page(name) for name in sorted(registry.BUILT_IN["providers"])}
    return {OVERVIEW: overview(), **pages}


if __name__ == "__main__":
    PAGES.mkdir(exist_ok=True)
    made = written()
    for stale in set(PAGES.glob("*.md")) - made.keys():
        stale.unlink()
    for path, text in made.items():
        path.write_text(text, "utf-8")
    print(f"{len(made)} pages in {DOCS.relative_to(ROOT)}")
