"""`fastbatch models`: what a provider offers, in words and as JSON, and every mistake as a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from commandline import Ran
from commandline import fastbatch as call

from fastbatch import registry

KEY = "sk-models-0123456789abcdef"
LIST = {
    "data": [
        {"id": "llama-3.3-70b", "context_window": 131072, "max_completion_tokens": 32768},
        {"id": "whisper"},
    ]
}


class Provider:
    """Answers a GET as the test says, and keeps what was asked."""

    def __init__(self, answer: Callable[[str], tuple[int, Any]]) -> None:
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, body = answer(self.path)
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def provider() -> Iterator[Callable[[Callable[[str], tuple[int, Any]]], Provider]]:
    made: list[Provider] = []

    def make(answer: Callable[[str], tuple[int, Any]]) -> Provider:
        made.append(Provider(answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    for name in registry.names("providers"):
        for variable in registry.find("providers", name).variables:
            monkeypatch.delenv(variable, raising=False)
    return lambda *args, **env: call("models", *args, cwd=tmp_path, env=env)


def test_the_models_of_a_provider(models: Any, provider: Any) -> None:
    """A line for each, numbers as people read them, and no column of which nothing is known."""
    server = provider(lambda path: (200, LIST))
    ran = models("groq", "--base-url", server.url, GROQ_API_KEY=KEY)
    assert ran == Ran(
        0,
        "name           context  output\nllama-3.3-70b  131,072  32,768\nwhisper\n",
        "",
    )
    ((path, headers),) = server.asked
    assert (path, headers["authorization"]) == ("/v1/models", f"Bearer {KEY}")


def test_the_models_as_json(models: Any, provider: Any) -> None:
    """An object a line; null is what the provider does not say."""
    ran = models("openai", "--json", "--base-url", provider(lambda path: (200, LIST)).url)
    assert [json.loads(line) for line in ran.out.splitlines()] == [
        {"name": "llama-3.3-70b", "context": 131072, "output": 32768, "kind": None},
        {"name": "whisper", "context": None, "output": None, "kind": None},
    ]


def test_pages_are_followed(models: Any, provider: Any) -> None:
    """To the last one; a provider that names a page twice is not followed for ever."""

    def answer(path: str) -> tuple[int, Any]:
        number = int(path.partition("after_id=m")[2] or 0) + 1
        more = {"has_more": True, "last_id": f"m{number if number < 3 else 1}"}
        return 200, {"data": [{"id": f"m{number}"}], **more}

    server = provider(answer)
    ran = models("anthropic", "--base-url", server.url, ANTHROPIC_API_KEY=KEY)
    assert (ran.code, ran.out.split()) == (0, ["name", "m1", "m2", "m3"])
    assert len(server.asked) == 3


def test_ollama_says_what_is_pulled(models: Any, provider: Any) -> None:
    """By its own API, at an address as Ollama writes it."""
    server = provider(lambda path: (200, {"models": [{"model": "qwen3:8b"}]}))
    host = server.url.removeprefix("http://").removesuffix("/v1")
    assert models("ollama-native", OLLAMA_HOST=host) == Ran(0, "name\nqwen3:8b\n", "")
    assert server.asked[0][0] == "/api/tags"


def test_a_key_of_another_name(models: Any, provider: Any) -> None:
    """`--api-key-env` names the variable; one that is not set is a mistake."""
    server = provider(lambda path: (200, LIST))
    arguments = ("openai", "--base-url", server.url, "--api-key-env", "MINE")
    assert models(*arguments, MINE=KEY).code == 0
    assert server.asked[0][1]["authorization"] == f"Bearer {KEY}"
    ran = models(*arguments)
    assert ran.code == 2
    assert "not set" in ran.err


def test_the_models_of_this_process(models: Any) -> None:
    """Those that are embedded need no server; nothing is fetched."""
    assert models("local").out.splitlines()[1].split() == ["smollm2", "2,048", "chat"]
    ran = models("local", "--base-url", "http://h/v1")
    assert (ran.code, ran.out) == (2, "")


def test_the_providers(models: Any) -> None:
    """Every one with the variables of its key, and whether one is set, never what is in it."""
    ran = models(GROQ_API_KEY=KEY)
    lines = {line.split()[0]: line for line in ran.out.splitlines()[1:]}
    assert set(lines) == {*registry.names("providers"), "local"}
    assert "GROQ_API_KEY is set" in lines["groq"]
    assert "none is set" in lines["openai"]
    assert "OPENAI_API_KEY" in lines["openai"]
    assert lines["local"] == "local"
    assert KEY not in ran.out + ran.err


def test_the_providers_as_json(models: Any, tmp_path: Path) -> None:
    """What stands in `.env` counts as set."""
    (tmp_path / ".env").write_text(f"AZURE_API_KEY={KEY}\n")
    found = {said["provider"]: said for said in map(json.loads, models("--json").out.splitlines())}
    assert found["azure"]["set"] == "AZURE_API_KEY"
    assert found["groq"] == {"provider": "groq", "variables": ["GROQ_API_KEY"], "set": None}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["opnai"], 2, "Did you mean 'openai'?"),
        (["groq"], 2, "there is no key for Groq; set GROQ_API_KEY"),
        (["azure"], 2, "set AZURE_OPENAI_ENDPOINT"),
        (["--base-url", "http://h/v1"], 2, "Name a provider"),
        (["lmstudio", "--base-url", "nowhere"], 2, "http://"),
        (["lmstudio", "--base-url", "http://127.0.0.1:1/v1"], 4, "cannot connect to 127.0.0.1:1"),
    ],
)
def test_mistakes_are_sentences(models: Any, arguments: list[str], code: int, says: str) -> None:
    """With the exit code that a run would have, and no traceback."""
    ran = models(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("status", "body", "code", "says"),
    [
        (401, {"error": {"message": f"Incorrect API key: {KEY}", "code": "invalid_api_key"}}, 4, "Incorrect"),
        (503, {"error": {"message": "Sorry."}}, 4, "Sorry."),
        (404, {"error": {"message": "No such path."}}, 1, "No such path."),
        (200, {"nothing": 1}, 4, "no list of models"),
    ],
)
def test_a_provider_that_refuses(
    models: Any, provider: Any, status: int, body: Any, code: int, says: str
) -> None:
    """Its own words, without the key, and what to do."""
    ran = models("openai", "--base-url", provider(lambda path: (status, body)).url, OPENAI_API_KEY=KEY)
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err
    assert KEY not in ran.err
