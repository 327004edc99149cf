"""A pipeline step: label support messages, and go on with the labels as Python values.

    python examples/pipeline.py                      # the embedded model, no key needed
    python examples/pipeline.py openai:gpt-4o-mini   # a hosted one, key in OPENAI_API_KEY

Running it again answers from the cache.
"""

import sys
from collections import Counter
from pathlib import Path

from fastbatch import DiskCache, Limits, RequestBatch, RequestManager, ResponseWrapper, TokenStats

MODEL = sys.argv[1] if len(sys.argv) > 1 else "local:smollm2"
CACHE = Path.home() / ".cache" / "fastbatch-examples"

MESSAGES = {
    "m1": "I love this app, it saved me hours!",
    "m2": "It crashes every time I open a file. Terrible.",
    "m3": "The new update is wonderful, thank you.",
    "m4": "I want my money back, nothing works.",
    "m5": "Great support, my problem was solved in minutes.",
    "m6": "Worst purchase of the year.",
}
QUESTION = "Review: {message}\nIs this review positive or negative? Answer with one word."


def build() -> RequestBatch:
    """One chat completion a message; the ids come back on the results."""
    batch = RequestBatch()
    for name, message in MESSAGES.items():
        batch.chat.completions.create(
            custom_id=name,
            messages=[{"role": "user", "content": QUESTION.format(message=message)}],
            max_tokens=4,
            temperature=0,
            metadata={"length": len(message)},  # carried to the result, not sent
        )
    return batch


def label(result: ResponseWrapper[object]) -> str:
    """The label in an answer; a failed row is an answer too, so the pipeline decides what it means."""
    if result.error is not None:
        return f"failed: {result.error}"
    said = (result.text or "").lower()
    found = [word for word in ("positive", "negative") if word in said]
    return found[0] if len(found) == 1 else "unclear"  # a small model may say neither, or both


def main() -> None:
    """Label the messages and count the labels."""
    with RequestManager(MODEL, concurrency=8, limits=Limits(rpm=10_000), cache=DiskCache(CACHE)) as manager:
        results = manager.run(build())
    labels = {result.custom_id: label(result) for result in results}
    for name, message in MESSAGES.items():
        print(f"{name}  {labels[name]:8}  {message}")
    usage = sum((result.usage for result in results), TokenStats())
    print(dict(Counter(labels.values())), f"{usage.total_tokens} tokens, {usage.cache_hits} from the cache")


if __name__ == "__main__":
    main()
