"""Embeddings in bulk, and the nearest neighbour of each text by cosine similarity.

python examples/embeddings.py [MODEL]
"""

import sys
from math import sqrt
from pathlib import Path

from fastbatch import RequestManager, read_batch

MODEL = sys.argv[1] if len(sys.argv) > 1 else "local:smollm2"
TEXTS = Path(__file__).with_name("texts.jsonl")  # rows of {"id", "input"}


def cosine(one: list[float], other: list[float]) -> float:
    """Similarity of two vectors, -1 to 1."""
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def main() -> None:
    """Embed the texts and print the closest pairs."""
    batch = read_batch(TEXTS)
    texts = {request.custom_id: request.body["input"] for request in batch}
    with RequestManager(MODEL, concurrency=8) as manager:
        results = manager.run(batch)
    vectors = {result.custom_id: result.vectors[0] for result in results if result.vectors}
    for name in list(vectors)[::10]:
        nearest = max(
            (other for other in vectors if other != name), key=lambda o: cosine(vectors[name], vectors[o])
        )
        print(f"{texts[name][:48]:48}  ~  {texts[nearest][:48]}")
    print(f"{len(vectors)} vectors of {len(next(iter(vectors.values())))} numbers")


if __name__ == "__main__":
    main()
