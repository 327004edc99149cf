"""Facts out of free text, as objects of a pydantic model: every answer is checked, whoever gives it.

python examples/extraction.py [MODEL]
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from fastbatch import RequestManager

MODEL = sys.argv[1] if len(sys.argv) > 1 else "local:smollm2"
TICKETS = Path(__file__).with_name("tickets.jsonl")  # rows of {"id", "customer", "subject", "text"}


class Ticket(BaseModel):
    """What the desk has to know."""

    topic: Literal["billing", "delivery", "access", "product", "other"]
    urgent: bool


def main() -> None:
    """Sort the first dozen tickets."""
    tickets = [json.loads(line) for line in TICKETS.read_text().splitlines()[:12]]
    with RequestManager(MODEL, response_format=Ticket, concurrency=8, params={"temperature": 0}) as manager:
        results = manager.run(
            {"custom_id": told["id"], "prompt": f"Sort this message: {told['text']}"} for told in tickets
        )
    topics: Counter[str] = Counter()
    for result in results:
        if result.ok:
            ticket: Ticket = result.parsed
            topics[ticket.topic] += 1
            print(f"{result.custom_id}  {ticket.topic:8}  {'urgent' if ticket.urgent else ''}")
        else:
            print(f"{result.custom_id}  {result.error}")
    reasks = sum(result.reasks for result in results)
    print(f"{dict(topics)}; {reasks} answers did not fit at first")


if __name__ == "__main__":
    main()
