"""What the official client does at the faults of the matrix, beside fastbatch: outcome, time, requests.

    python benchmarks/faults_sdk.py [--only TEXT] [--json OUT]

Both have a timeout of 3 s and two retries, which is the client's default. The server is the one of
`tests/faults`; requests are counted there. The client runs in a throw-away environment.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arguments import main_of
from measure import ROOT, child_environment
from peers import Environments
from tables import table, write_json

sys.path.insert(0, str(ROOT / "tests"))

from faults import acts, addresses, connections, hostile, outages, refusals, replies, slowness, toofast
from faults.clinic import Clinic, Visit
from faults.fault import Act

_CLIENT = Path(__file__).with_name("faults_client.py")
_PATIENCE = 60.0


@dataclass(frozen=True)
class Case:
    """A fault as a table tells it: `sick` rows meet it, among `rows`."""

    name: str
    act: Act
    rows: int = 1
    sick: int = 1
    concurrency: int = 4
    warm: bool = False
    late: float = 0.0
    files: int = 0

    def prompts(self) -> list[str]:
        """What is asked."""
        well = [f"well-{number}" for number in range(1, self.rows - self.sick + 1)]
        return [*well, *(f"sick-{number}" for number in range(self.sick))]


async def slowly(visit: Visit) -> None:
    """A good answer that takes a moment."""
    await visit.answer(after=0.1)


def _always(act: Act) -> Act:
    return acts.sick_always(act)


def _lasting(seconds: float, act: Act) -> Act:
    return acts.everybody_for(seconds, act)


_LIMITED = toofast.limited

CASES = (
    Case("refused, the server comes up 3 s later", acts.well, late=3.0),
    Case(
        "FIN before a byte on a used connection",
        connections.on_a_used_connection(connections.end),
        concurrency=1,
        warm=True,
    ),
    Case("RST in the body, once", acts.sick_once(connections.torn(connections.TORN["body"], reset=True))),
    Case("RST in the body, every time", _always(connections.torn(connections.TORN["body"], reset=True))),
    Case("chunks cut off, every time", _always(connections.torn(connections.TORN["chunks"], reset=False))),
    Case("HTML with 200", _always(replies.whole("<html>Sign in</html>", "Content-Type: text/html"))),
    Case("cut JSON of the right length", _always(replies.whole('{"choices": [{"message": {"content": "x'))),
    Case("choices that are null", _always(replies.whole('{"id": "c", "choices": null}'))),
    Case("no choices", _always(replies.whole('{"id": "c", "choices": []}'))),
    Case("an error in a 200", _always(replies.whole(replies.error(400)))),
    Case("JSON that calls itself text", _always(replies.ODD["JSON that calls itself text"])),
    Case("JSON a hundred thousand deep", _always(replies.whole("[" * 100_000 + "]" * 100_000))),
    Case("100 MB", _always(hostile.large(100, chunked=False))),
    Case("a gzip bomb of 200 MB", _always(hostile.packed("gzip", 200))),
    Case("20,000 headers", _always(hostile.many_headers)),
    Case("never answers", _always(slowness.silent)),
    Case("headers byte by byte", _always(slowness.drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"))),
    Case(
        "a body byte by byte",
        _always(slowness.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b" ")),
    ),
    Case("429, retry-after 1", acts.sick_once(_LIMITED("Retry-After: 1"))),
    Case("429, retry-after of a day, 20 rows", acts.everybody_from(9, _LIMITED("Retry-After: 86400")), 20, 1),
    Case("429 five times", acts.sick_once(_LIMITED("Retry-After-Ms: 200"), times=5)),
    Case("a storm of 429 for 5 s, 100 rows", _lasting(5.0, _LIMITED("Retry-After: 1")), 100, 1, 16),
    Case("an outage of 503 for 5 s, 100 rows", _lasting(5.0, acts.refuse(outages.DOWN["503"])), 100, 1, 16),
    Case("a tenth of all are 500, 500 rows", acts.chance(0.1, acts.refuse(outages.DOWN["500"])), 500, 1, 16),
    Case("half of all are 429, 500 rows", acts.chance(0.5, _LIMITED("Retry-After-Ms: 20")), 500, 1, 16),
    Case(
        "401 after 12 of 60 rows", acts.everybody_from(13, acts.refuse(*refusals.ACCOUNTS["401"][:2])), 60, 1
    ),
    Case(
        "429, insufficient_quota, after 12 of 60 rows",
        acts.everybody_from(13, acts.refuse(*refusals.ACCOUNTS["429, insufficient_quota"][:2])),
        60,
        1,
    ),
    Case("400, the context is too long", _always(acts.refuse("400 Bad Request", "context_length_exceeded"))),
    Case("307 to another origin", _always(addresses.redirect(*addresses.REDIRECTS["307 to another origin"]))),
    Case("256 descriptors, 1,000 rows at once", slowly, 1000, 1, 1000, files=256),
)


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = _parser().parse_args()
    lines: list[tuple[str, ...]] = []
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="fastbatch-benchmark-") as made:
        python = Environments(Path(made)).python(("openai",))
        ask = "from importlib.metadata import version; print(version('openai'))"
        release = subprocess.run(
            [python, "-c", ask], capture_output=True, text=True, check=True
        ).stdout.strip()
        clients = {"openai": python, "fastbatch": Path(sys.executable)}
        for case in CASES:
            if options.only not in case.name:
                continue
            for client, interpreter in clients.items():
                told = measure(case, client, interpreter)
                results.append(told)
                outcomes = ", ".join(f"{number} {name}" for name, number in told["outcomes"].items())
                figures = (
                    f"{told['seconds']:.1f}",
                    str(told["requests"]),
                    str(told["elsewhere"]),
                    str(told["grew_mib"]),
                )
                lines.append((case.name, client, outcomes, *figures))
                print(*lines[-1], sep=" | ", flush=True)
    print(f"\nopenai {release}, timeout 3 s, 2 retries\n")
    print(table(("fault", "client", "outcome", "s", "requests", "elsewhere", "MiB"), lines))
    if options.markdown:
        print("\n".join(page_lines(results)))
    if options.json:
        write_json(options.json, "faults", {"timeout": 3, "retries": 2, "openai": release}, results)


def page_lines(results: list[dict[str, Any]]) -> list[str]:
    """The table as the page `faults.md` has it."""
    found: dict[str, dict[str, str]] = {}
    for told in results:
        outcomes = told["outcomes"]
        many = sum(outcomes.values()) > 1
        words = ", ".join(f"{number} {name}" if many else name for name, number in outcomes.items())
        words += f"; {told['requests']} request" + "s" * (told["requests"] != 1)
        words += f" and {told['elsewhere']} elsewhere" if told["elsewhere"] else ""
        words += f"; {told['seconds']:.1f} s" if told["seconds"] < _PATIENCE else ""
        words += f"; {told['grew_mib']} MiB more" if told["grew_mib"] >= 32 else ""
        found.setdefault(told["fault"], {})[told["client"]] = words
    return [f"| {name} | {by['openai']} | {by['fastbatch']} |" for name, by in found.items()]


def measure(case: Case, client: str, python: Path) -> dict[str, Any]:
    """One client at one fault.

    Raises:
        RuntimeError: the client's process did not end well.
    """
    with Clinic(case.act) as clinic:
        if case.late:
            clinic.call(clinic.server.shut())
        job = {
            "client": client,
            "url": clinic.url,
            "prompts": case.prompts(),
            "concurrency": case.concurrency,
            "warm": case.warm,
            "files": case.files,
        }
        command = [str(python), str(_CLIENT), json.dumps(job)]
        pipe = subprocess.PIPE
        child = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=child_environment()
        )
        assert child.stdout is not None
        child.stdout.readline()
        if case.late:
            clinic.late(case.late)
        try:
            printed, said = child.communicate("go\n", timeout=_PATIENCE)
            if child.returncode:
                raise RuntimeError(f"{client} at {case.name!r}: {said[-1500:]}")
            told = json.loads(printed)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            ended = f"no end in {_PATIENCE:.0f} s"
            told = {"outcomes": {ended: len(case.prompts())}, "seconds": _PATIENCE, "grew_mib": 0}
        keys = sum("authorization" in seen.headers for seen in clinic.elsewhere.seen)
        return {
            "fault": case.name,
            "client": client,
            "requests": len(clinic.arrivals) - case.warm,
            "elsewhere": len(clinic.elsewhere.seen),
            "keys_elsewhere": keys,
            **told,
        }


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="The official client at the faults of the matrix.")
    made.add_argument("--only", default="", help="faults whose name holds this")
    made.add_argument("--markdown", action="store_true", help="print the lines of the page")
    made.add_argument("--json", metavar="OUT", help="write all raw figures")
    return made


if __name__ == "__main__":
    main_of(main)
