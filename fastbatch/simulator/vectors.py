"""Embeddings: unit vectors that depend on the seed, the model and the input, and on nothing else.

A shorter vector is the beginning of the longer one, scaled back to length 1, as with OpenAI's `dimensions`.
"""

from __future__ import annotations

import struct
from hashlib import shake_128
from math import sqrt

_MIDDLE = 1 << 15


def unit_vector(seed: int, model: str, source: bytes, length: int) -> list[float]:
    """`length` numbers whose squares add up to 1."""
    digest = shake_128(b"%d\0%b\0%b" % (seed, model.encode(), source)).digest(2 * length)
    # The half keeps a component, and so the norm of a vector of length 1, from being 0.
    numbers = [number - _MIDDLE + 0.5 for number in struct.unpack(f"<{length}H", digest)]
    scale = 1 / sqrt(sum(number * number for number in numbers))
    return [number * scale for number in numbers]


def packed(vector: list[float]) -> bytes:
    """The vector as `encoding_format: "base64"` carries it: little-endian 32-bit floats."""
    return struct.pack(f"<{len(vector)}f", *vector)
