"""A run that is cancelled while it reads its files leaves them before it ends."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeTransport, manager_on

from fastbatch.engine.inputfile import InputFile


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("verb", ["plan", "run"])
async def test_who_looks_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """The thread that looks through the input is told to stop and has left it when the caller goes on."""
    looks, left = threading.Event(), threading.Event()

    def check(*_: Any, stop: Any, **__: Any) -> int:
        looks.set()
        while not stop():
            pass
        left.set()
        return 0

    monkeypatch.setattr(InputFile, "check", check)
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a"}\n')
    transport = FakeTransport()
    file_run = manager_on(transport).file_run(rows, tmp_path / "out.jsonl")
    task = asyncio.create_task(getattr(file_run, verb)())
    await asyncio.to_thread(looks.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left.is_set()
    assert transport.calls == []
    assert names(tmp_path) == ["rows.jsonl"]
