"""Prompt tokens by a model's vocabulary: exact where its maker says how, else about."""

import sys

import pytest

from fastbatch.limits.tokens import raw_tokens
from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES
from fastbatch.vocabularies import counting
from fastbatch.vocabularies.counting import Counted, counter_of
from fastbatch.vocabularies.known import vocabulary_of

# The example of OpenAI's cookbook ("How to count tokens with tiktoken", section 6), and what its API billed.
COOKBOOK = [
    {
        "role": "system",
        "content": "You are a helpful, pattern-following assistant that translates corporate jargon into "
        "plain English.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": "New synergies will help drive top-line growth.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Things working well together will increase revenue.",
    },
    {
        "role": "system",
        "name": "example_user",
        "content": "Let's circle back when we have more bandwidth to touch base on opportunities for "
        "increased leverage.",
    },
    {
        "role": "system",
        "name": "example_assistant",
        "content": "Let's talk later when we're less busy about how to do better.",
    },
    {
        "role": "user",
        "content": "This late pivot means we don't have time to boil the ocean for the client deliverable.",
    },
]
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("model", "tokens"), [("gpt-4-0613", 129), ("gpt-3.5-turbo", 129), ("gpt-4o", 124), ("gpt-4o-mini", 124)]
)
def test_a_chat_is_counted_as_openai_bills_it(model, tokens):
    """The numbers that the cookbook prints beside those of the API."""
    assert counter_of(model)(CHAT, {"messages": COOKBOOK}) == Counted(tokens, exact=True)


@pytest.mark.parametrize(
    ("model", "vocabulary", "checked"),
    [
        ("gpt-4.1-nano", "o200k_base", True),
        ("ft:gpt-4o-mini-2024-07-18:us::x", "o200k_base", True),
        ("openai/gpt-4o", "o200k_base", True),
        ("gpt-4-turbo", "cl100k_base", True),
        ("text-embedding-3-small", "cl100k_base", True),
        ("gpt-5-mini", "o200k_base", False),
        ("o3", "o200k_base", False),
        ("o1-mini", "o200k_base", False),
        ("openai/gpt-oss-20b", "o200k_harmony", False),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama3", False),
        ("qwen3:8b", "qwen", False),
        ("deepseek-chat", "deepseek_v3", False),
    ],
)
def test_vocabularies_by_name(model, vocabulary, checked):
    """Families, dated names, fine-tuned ones, and names with a publisher before them."""
    assert vocabulary_of(model) == (vocabulary, checked)


@pytest.mark.parametrize(
    "model", ["claude-haiku-4-5", "gemini-2.5-flash", "smollm2", "gpt-4o-audio-preview", "o200", "gpt-40", ""]
)
def test_models_of_which_nobody_knows(model):
    """Their prompts are estimated by their bytes."""
    assert vocabulary_of(model) is None
    body = {"messages": HELLO}
    assert counter_of(model)(CHAT, body) == (round(raw_tokens(body)), False)


def test_embeddings_and_completions():
    """Texts, lists of them, and what is given as tokens already."""
    embed, complete = counter_of("text-embedding-3-small"), counter_of("davinci-002")
    assert embed(EMBEDDINGS, {"input": "Hello world"}) == (2, True)
    assert embed(EMBEDDINGS, {"input": ["Hello world", "Hello"]}) == (3, True)
    assert embed(EMBEDDINGS, {"input": [[1, 2, 3], [4]]}) == (4, True)
    assert complete(COMPLETIONS, {"prompt": "Hello world"}) == (2, True)


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "now", "parameters": {}}}]},
        {"response_format": {"type": "json_object"}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]},
        {"messages": [*HELLO, {"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]}]},
    ],
)
def test_what_nobody_documents_is_about(more):
    """Tools, formats and parts are counted, but not said to be exact."""
    tokens, exact = counter_of("gpt-4o")(CHAT, {"messages": HELLO, **more})
    assert not exact
    assert tokens >= 8


def test_a_picture_has_the_tokens_that_limits_take():
    """Its bytes say nothing."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    tokens, exact = counter_of("gpt-4o")(CHAT, {"messages": [{"role": "user", "content": [picture]}]})
    assert (500 < tokens < 2000, exact) == (True, False)


def test_responses_are_about_what_a_chat_is():
    """Instructions are a system message, inputs are messages; other endpoints go by their bytes."""
    count = counter_of("gpt-4o")
    chat = count(CHAT, {"messages": [{"role": "system", "content": "Be brief."}, *HELLO]}).tokens
    assert count(RESPONSES, {"input": "Hello", "instructions": "Be brief."}) == (chat, False)
    assert count(RESPONSES, {"input": HELLO, "instructions": "Be brief."}) == (chat, False)
    assert count(MODERATIONS, {"input": "Hello"}) == (round(raw_tokens({"input": "Hello"})), False)


def test_words_of_the_vocabulary_itself_are_text():
    """A prompt that holds `<|endoftext|>` has its letters, not the token."""
    plain = counter_of("gpt-4o")(CHAT, {"messages": HELLO}).tokens
    said = [{"role": "user", "content": "Hello<|endoftext|>"}]
    assert counter_of("gpt-4o")(CHAT, {"messages": said}).tokens > plain + 3


def test_half_a_surrogate_pair_ends_nothing():
    """A text that is no UTF-8 is counted all the same."""
    assert counter_of("gpt-4o")(CHAT, {"messages": [{"role": "user", "content": "\ud800"}]}).tokens > 7


def test_without_the_extra(monkeypatch):
    """Where splintr is not installed, everything is estimated by its bytes."""
    monkeypatch.setitem(sys.modules, "splintr", None)
    counting._length.cache_clear()
    try:
        assert not counting.installed()
        body = {"messages": HELLO}
        assert counter_of("gpt-4o")(CHAT, body) == (round(raw_tokens(body)), False)
    finally:
        counting._length.cache_clear()
