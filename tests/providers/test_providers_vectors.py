"""Embeddings look the same, whoever makes them."""

import pytest

from fastbatch import RequestManager
from fastbatch.assembly import open_route
from fastbatch.models.http import HTTPReply
from fastbatch.testing import SimulatorThread

KEYS = {"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k", "AZURE_OPENAI_API_KEY": "k"}


@pytest.mark.parametrize(
    ("model", "path"), [("openai:e", "/v1"), ("gemini:e", ""), ("ollama-native:e", ""), ("azure:e", "")]
)
def test_vectors_of_every_dialect(model: str, path: str) -> None:
    """One for each input, in their order; a chat has none."""
    with SimulatorThread() as simulator:
        route = open_route(model, base_url=simulator.root_url + path, env=KEYS)
        rows = [{"input": "a"}, {"input": ["b", "a"]}, {"prompt": "Hi"}]
        one, two, chat = RequestManager(route).run(rows)
    assert one.vectors is not None
    assert two.vectors is not None
    assert [len(vector) for vector in two.vectors] == [1536, 1536]
    assert two.vectors[1] == pytest.approx(one.vectors[0])
    assert two.vectors[0] != two.vectors[1]
    assert chat.vectors is None
    assert one.message is one.text is None


BROKEN = {
    "openai": b'{"data":[{"embedding":[1]},{"embedding":["x"]},{"embedding":[3]}]}',
    "gemini": b'{"embeddings":[{"values":[1]},{"values":null},{"values":[3]}]}',
    "ollama-native": b'{"embeddings":[[1],null,[3]]}',
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_vector_moves_none_to_another_input(name: str) -> None:
    """Where one of them is none there are none: the third would stand beside the second input."""
    provider = open_route(f"{name}:e", base_url="http://127.0.0.1:1", env=KEYS).provider
    assert provider.parse(HTTPReply(200, {}, BROKEN[name])).vectors is None
