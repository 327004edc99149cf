"""A provider that answers when the test says so, and runs that die while it waits."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from commandline import Recorder, Request, read_lines, said, start, write_rows


class HeldProvider(Recorder):
    """Keeps requests waiting while `hold` is set; `release(3)` answers three of them."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.hold = True
        self._let = threading.Semaphore(0)
        self._changed = threading.Condition()

    def __exit__(self, *error: object) -> None:
        self.hold = False
        self._let.release(10_000)
        super().__exit__(*error)

    def release(self, count: int) -> None:
        """Answer so many of the requests that wait, or come."""
        self._let.release(count)

    def arrived(self, count: int) -> None:
        """Wait until so many requests have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, timeout=30)

    def prompts(self) -> list[str]:
        """What was asked, in order."""
        return sorted(request.body["messages"][-1]["content"] for request in self.requests)

    def _answer(self, request: Request) -> tuple[int, Any]:
        with self._changed:
            self._changed.notify_all()
        if self.hold:
            self._let.acquire(timeout=60)
        return said(request)


def command(provider: Recorder, *options: object) -> list[object]:
    """`run rows.jsonl -o out.jsonl …` against a provider, four requests at a time, nothing kept elsewhere."""
    standard = ["run", "rows.jsonl", "-o", "out.jsonl", "-m", "openai:m", "--base-url", provider.url]
    return [*standard, "--cache", "off", "--concurrency", 4, "--progress", "off", *options]


def die(folder: Path, provider: HeldProvider, *options: object) -> list[str]:
    """Kill a run of ten rows, r0 … r9, with two answered and four in flight; the ids of these."""
    write_rows(folder / "rows.jsonl", *({"id": f"r{number}", "prompt": f"r{number}"} for number in range(10)))
    process = start(*command(provider, *options), cwd=folder)
    provider.arrived(4)
    provider.release(2)
    provider.arrived(6)  # a request leaves when what was answered before it is on the disk
    process.kill()
    process.communicate()
    saved = [path for path in (folder / "out.jsonl", folder / "out.jsonl.part") if path.exists()]
    answered = {line["custom_id"] for path in saved for line in read_lines(path)}
    assert len(answered) == 2
    provider.hold = False
    provider.release(4)  # nobody is there to hear it
    lost = sorted(set(provider.prompts()) - answered)
    provider.requests.clear()
    return lost
