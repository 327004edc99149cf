"""The process that is measured: `python child.py MODULE:FUNCTION TASK` does one task and says what came."""

from __future__ import annotations

import json
import sys
from importlib import import_module

from load import Task


def main(program: str, told: str) -> None:
    """Run one contestant; a row without an answer is a failure, not a figure."""
    module, _, function = program.partition(":")
    task = Task.from_json(told)
    answered = getattr(import_module(module), function)(task)
    if answered != task.rows:
        sys.exit(f"{program}: {answered} of {task.rows} rows were answered")
    print(json.dumps({"answered": answered}))


if __name__ == "__main__":
    main(*sys.argv[1:])
