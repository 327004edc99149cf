"""The most tokens that a request can take: never too few, and nothing where nobody can say."""

import random

import orjson
import pytest

from fastbatch.models.params import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES
from fastbatch.pricing import bound as bounds
from fastbatch.pricing.bound import at_most, bound
from fastbatch.pricing.rates import Rate, Rates


def chat(content="Hi", **more):
    return {"model": "m", "messages": [{"role": "user", "content": content}], **more}


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}


@pytest.mark.parametrize(
    ("endpoint", "more", "completion"),
    [
        (CHAT, {"max_tokens": 5}, 5),
        (CHAT, {"max_completion_tokens": 5}, 5),
        (CHAT, {"max_tokens": 5, "n": 3}, 15),
        (RESPONSES, {"max_output_tokens": 7}, 7),
        (COMPLETIONS, {"max_tokens": 5, "best_of": 4}, 20),
        (COMPLETIONS, {"max_tokens": 5, "best_of": 4, "n": 2}, 40),
        (COMPLETIONS, {"max_tokens": 5, "prompt": ["a", "b", "c"]}, 15),
        (COMPLETIONS, {"max_tokens": 5, "prompt": [17, 4, 9]}, 5),
        (CHAT, {"max_tokens": 5, "generationConfig": {"candidateCount": 8}}, 40),
        (CHAT, {"max_tokens": 5, "generation_config": {"candidate_count": 2}}, 10),
        (CHAT, {}, None),
        (CHAT, {"max_tokens": -1}, None),
        (CHAT, {"max_tokens": 0}, None),
        (EMBEDDINGS, {}, 0),
        (MODERATIONS, {}, 0),
    ],
)
def test_completions(endpoint, more, completion):
    """As many tokens as the request allows, for each answer that it asks for."""
    assert bound(endpoint, chat(**more)).completion == completion


def test_what_is_predicted_wrongly_is_paid_for():
    """OpenAI bills the tokens of a prediction that did not come true as if they had been written."""
    body = chat(max_tokens=5, prediction={"type": "content", "content": "x" * 50})
    assert bound(CHAT, body).completion >= 55


@pytest.mark.parametrize(
    "body",
    [
        chat([{"type": "file", "file": {"file_id": "file-1"}}]),
        chat([{"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}]),
        chat([{"type": "input_image", "file_id": "file-1"}]),
        chat(tools=[{"type": "web_search"}]),
        chat(previous_response_id="resp_1"),
        chat(conversation="conv_1"),
        chat(cachedContent="cachedContents/1"),
        chat(tools=[{"urlContext": {}}]),
        chat(tools=[{"googleSearch": {}}]),
        chat(mcp_servers=[{"type": "url", "url": "https://tools.test", "name": "t"}]),
        chat(web_search_options={}),
        chat(prompt={"id": "pmpt_1"}),
        {"model": "m", "messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
        chat([{"type": "video_url", "video_url": {"url": "https://films.test/a.mp4"}}]),
        chat([{"type": "image_url", "image_url": {"url": "gs://bucket/film"}}]),
        chat([{"type": "image_url", "image_url": {"url": "https://films.test/a.mp4?key=1"}}]),
        chat([{"type": "image_url", "image_url": {"url": "https://www.youtube.com/watch?v=1"}}]),
        chat([{"type": "image_url", "image_url": {"url": "data:video/mp4;base64,AA"}}]),
        chat([{"inlineData": {"mimeType": "application/pdf", "data": "AA"}}]),
    ],
)
def test_what_is_elsewhere_has_no_bound(body):
    """A file, a page that the provider reads, a conversation that it keeps: as long as the model can read."""
    assert bound(CHAT, body).prompt is None


def test_pictures_count_as_pictures():
    """Their bytes say nothing; each is the largest that there is. Sound counts by its bytes."""
    one, two = (bound(CHAT, chat([{"type": "text", "text": "?"}, *[PICTURE] * n])).prompt for n in (1, 2))
    assert 50_000 < one < 51_000
    assert 49_990 < two - one < 50_010
    sound = chat([{"type": "input_audio", "input_audio": {"data": "A" * 9_000, "format": "wav"}}])
    assert 9_000 < bound(CHAT, sound).prompt < 9_500


@pytest.mark.parametrize(
    ("endpoint", "more", "cost"),
    [
        (EMBEDDINGS, {"input": ["x" * 2_000] * 50}, 50 * 1_000),
        (EMBEDDINGS, {"input": ["x" * 5] * 50}, None),
        (EMBEDDINGS, {"input": [17] * 5_000}, 1_000),
        (EMBEDDINGS, {"input": "x" * 2_000}, 1_000),
        (COMPLETIONS, {"prompt": ["x" * 2_000] * 3}, 3 * 1_000 + 3 * 1_000 * 100),
        (CHAT, {"messages": [{"role": "user", "content": "x" * 2_000}], "n": 4}, 1_000 + 4 * 1_000 * 100),
    ],
)
def test_each_text_may_fill_the_context(endpoint, more, cost):
    """Several texts of one request, and several answers to it, are each as long as the model has them."""
    rates = Rates(Rate(1), Rate(100))
    if cost is None:
        cost = bound(endpoint, {"model": "m", **more}).prompt
    assert at_most(endpoint, {"model": "m", **more}, [rates], context=1_000) == cost


def test_functions_are_read_too():
    """Their schemas are a part of the prompt, and so are the provider's own words about them."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    assert bound(CHAT, chat(tools=[tool])).prompt > bound(CHAT, chat()).prompt + 1_000


WORDS = [
    "the ",
    "größer ",
    "日本語",
    "🦜🦜",
    "\x00\x01",
    "ﷺ",
    "a" * 30,
    "        ",
    "\n\n\n",
    "ÿ" * 9,
    "{}[]<>",
    "12345",
]


@pytest.mark.parametrize("name", ["gpt-4", "gpt-4o"])
def test_no_text_has_more_tokens_than_its_bound(name):
    """By real vocabularies: whatever is asked, its tokens and those around them are fewer."""
    splintr = pytest.importorskip("splintr")
    vocabulary = splintr.Tokenizer.from_pretrained({"gpt-4": "cl100k_base", "gpt-4o": "o200k_base"}[name])
    dice = random.Random(7)
    for _ in range(400):
        messages = [
            {"role": "user", "content": "".join(dice.choices(WORDS, k=dice.randint(0, 40)))}
            for _ in range(dice.randint(1, 5))
        ]
        body = {"model": name, "messages": messages}
        tokens = sum(len(vocabulary.encode(message["content"])) + 4 for message in messages) + 3
        most = bound(CHAT, body).prompt
        assert tokens <= most <= len(orjson.dumps(body)) + 64 + 16 * len(messages)


SAID = [
    {"role": "user", "content": "Hi"},
    {"role": "user", "content": 'größer\n"so"'},
    {"role": "assistant", "content": None, "tool_calls": []},
    {"role": "user", "content": [{"type": "text", "text": "?"}, PICTURE]},
    {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]},
    {"role": "user", "content": "Hi", "name": "Ann"},
    {"role": "user", "content": "Hi", "audio": {"file_id": "1"}},
]
ASKED = {
    "max_tokens": 5,
    "max_completion_tokens": 7,
    "temperature": 0.5,
    "stop": ["a", "b"],
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
    "user": "Ann",
    "n": 3,
    "best_of": 2,
    "tools": [{"type": "web_search"}],
    "previous_response_id": "resp_1",
    "prediction": {"type": "content", "content": "x" * 50},
    "generationConfig": {"candidateCount": 8},
}


def test_the_short_way_comes_to_the_same(monkeypatch):
    """What is nothing but text is not searched for what it refers to; its bound is no other for that."""
    dice = random.Random(11)
    bodies = [
        {
            "model": "m",
            "messages": dice.choices(SAID, weights=[20, 20, 1, 1, 1, 1, 1], k=dice.randint(0, 4)),
            **{key: ASKED[key] for key in dice.sample(sorted(ASKED), dice.randint(0, 3))},
        }
        for _ in range(2_000)
    ] + [{"model": "m", "messages": "x"}, {"model": "m"}]
    endpoints = [dice.choice((CHAT, RESPONSES, COMPLETIONS, EMBEDDINGS)) for _ in bodies]
    found = list(map(bound, endpoints, bodies))
    monkeypatch.setattr(bounds, "_PLAIN", frozenset())
    assert found == list(map(bound, endpoints, bodies))


def test_the_worst_is_the_dearest_of_each():
    """Of all kinds of tokens that there may be, at every length of prompt up to that which there is."""
    dice = random.Random(3)

    def rate():
        steps = tuple(
            (above, dice.randint(0, 99)) for above in sorted(dice.sample(range(50), dice.choice((0, 1, 2))))
        )
        return Rate(dice.randint(0, 99), steps)

    inside = ("cached", "written", "written_1h", "audio", "cached_audio", "image", "cached_image", "video")
    outside = ("reasoning", "spoken", "drawn", "filmed")
    for _ in range(300):
        rates = Rates(
            rate(), rate(), request=rate(), **{kind: rate() for kind in dice.sample(inside + outside, 4)}
        )
        prompt, completion = dice.randint(0, 60), dice.randint(0, 60)

        def dearest(*kinds, rates=rates, prompt=prompt):
            found = [each for kind in kinds if (each := getattr(rates, kind)) is not None]
            return max(each.at(length) for each in found for length in range(prompt + 1))

        assert rates.worst(prompt, completion) == (
            prompt * dearest("input", *inside) + completion * dearest("output", *outside) + dearest("request")
        )


SEARCH = {"type": "web_search"}


@pytest.mark.parametrize(
    ("more", "passes", "searches"),
    [
        ({"tools": [SEARCH]}, None, 0),
        ({"tools": [SEARCH], "max_tool_calls": 3}, 4, 3),
        ({"tools": [SEARCH], "max_tool_calls": 0}, 1, 0),
        ({"tools": [SEARCH], "max_tool_calls": -1}, None, 0),
        ({"tools": [{**SEARCH, "max_uses": 2}, {"type": "web_fetch", "max_uses": 1}]}, 4, 3),
        ({"tools": [{**SEARCH, "max_uses": 2}, {"type": "web_fetch"}]}, None, 0),
        ({"tools": [{**SEARCH, "max_uses": 2}], "mcp_servers": []}, None, 0),
        ({"mcp_servers": []}, None, 0),
        ({"tools": [{"type": "computer_20250124", "name": "computer"}]}, 1, 1),
        ({"tools": [{"googleSearch": {}}]}, 1, 1),
        ({"web_search_options": {}}, 1, 1),
        ({"previous_response_id": "resp_1"}, 1, 0),
    ],
)
def test_a_provider_reads_again_after_each_call_of_its_tools(more, passes, searches):
    """Each fills the context and may be a search that is paid for; without a bound there is no worst."""
    rates = Rates(Rate(1), Rate(100), search=Rate(7))
    worst = at_most(CHAT, chat(max_tokens=5, **more), [rates], context=1_000)
    assert worst == (None if passes is None else passes * 1_000 + 500 + 7 * searches)
