"""What an answer has to look like: types and schemas, told in four ways, and read back."""

import json
import pickle
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from openai.lib._parsing._completions import type_to_response_format_param
from pydantic import BaseModel, Field, field_validator

from fastbatch import LLMRequest
from fastbatch.errors import ConfigError, InvalidAnswer, InvalidRequest
from fastbatch.models.form import form_of
from fastbatch.models.params import CHAT, EMBEDDINGS, RESPONSES
from fastbatch.models.response import ResponseWrapper
from fastbatch.models.shape import Shape
from fastbatch.providers.openai_types import OpenAIReader


class Address(BaseModel):
    """Where somebody lives."""

    street: str
    city: str = Field(description="without the country")


class Person(BaseModel):
    name: str
    age: int = Field(ge=0, le=120)
    home: Address
    work: Address | None = None
    kind: Literal["friend", "foe"] = "friend"
    tags: list[str] = []

    @field_validator("name")
    @classmethod
    def not_bob(cls, name: str) -> str:
        if name == "Bob":
            raise ValueError("anybody but Bob")
        return name


@dataclass
class Point:
    x: float
    y: float


class Node(BaseModel):
    value: int
    children: list["Node"] = []


SCHEMA = {
    "title": "City of one",
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 2}, "people": {"type": "integer"}},
    "required": ["city"],
}
ADDRESS = '{"street": "Main", "city": "Lima"}'


def outcome(content=None, finish="stop", **message):
    body = {
        "choices": [
            {"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
        ]
    }
    return ResponseWrapper(OpenAIReader(), raw=json.dumps(body).encode())


def called(name, arguments):
    return outcome(
        tool_calls=[
            {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}},
        ]
    )


def asked(text="Who?", **body):
    return {"model": "m", "messages": [{"role": "user", "content": text}], **body}


@pytest.mark.parametrize("of", [Address, Person, Node])
def test_a_type_is_told_as_openais_own_client_tells_it(of):
    """The schema, closed in the same way, under the same name."""
    assert Shape(of).response_format == type_to_response_format_param(of)


def test_a_schema_is_told_as_it_stands():
    """Nothing is added to what the user wrote; its title is its name."""
    shape = Shape(SCHEMA)
    assert (shape.name, shape.schema, shape.strict) == ("City_of_one", SCHEMA, None)
    openais = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": False}}
    assert Shape(openais).response_format == openais


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (int, "must describe an object"),
        (list[int], "must describe an object"),
        ({"type": "array"}, "must describe an object"),
        ({"type": "object", "properties": 5}, "no JSON schema"),
        ({"type": "json_schema"}, "no json_schema"),
        (object(), "pydantic"),
    ],
)
def test_what_is_no_shape_is_refused(of, words):
    """With the argument's name."""
    with pytest.raises(ConfigError, match=f"response_format.*{words}|{words}"):
        Shape(of)


@pytest.mark.parametrize(
    ("changes", "strict"),
    [
        ({"required": ["people", "city"], "additionalProperties": False}, True),
        ({"required": ["city"], "additionalProperties": False}, None),
        ({"required": ["people", "city"]}, None),
    ],
)
def test_strict_is_asked_for_where_a_schema_allows_it(changes, strict):
    """Providers refuse others; what is not enforced is checked all the same."""
    shape = Shape({**SCHEMA, **changes})
    assert shape.strict is strict
    assert ("strict" in shape.response_format["json_schema"]) is bool(strict)
    said = {"type": "json_schema", "json_schema": {"schema": {**SCHEMA, **changes}, "strict": not strict}}
    assert Shape(said).strict is not strict


def test_strictly():
    """The body asks for the schema; a format of the row's own stays."""
    shape = Shape(Address)
    body = asked(temperature=0)
    told = shape.put(CHAT, body)
    assert told == {**body, "response_format": shape.response_format}
    assert (shape.governs(told), shape.governs(body)) == (True, False)
    own = asked(response_format={"type": "json_object"})
    assert shape.put(CHAT, own) is own
    assert shape.put(CHAT, asked(response_format=None)) == asked(response_format=shape.response_format)


def test_as_a_tool():
    """Which has to be called; a row with tools of its own cannot be told so."""
    shape = Shape(Address, way="tool")
    told = shape.put(CHAT, asked())
    (tool,) = told["tools"]
    assert tool["function"]["parameters"] == shape.schema
    assert told["tool_choice"] == {"type": "function", "function": {"name": "Address"}}
    assert shape.governs(told)
    assert "response_format" not in told
    with pytest.raises(InvalidRequest, match="tools of its own"):
        shape.put(CHAT, asked(tools=[{"type": "function", "function": {"name": "f"}}]))


@pytest.mark.parametrize("way", ["json", "prompt"])
def test_in_words(way):
    """The schema at the end of what the system says, and a form to fill in at the end of the question."""
    shape = Shape(Address, way=way)
    told = shape.put(CHAT, asked())
    assert [said["role"] for said in told["messages"]] == ["system", "user"]
    assert json.dumps(shape.schema, separators=(",", ":")) in told["messages"][0]["content"]
    assert (told.get("response_format") == {"type": "json_object"}) == (way == "json")
    form = told["messages"][-1]["content"]
    assert form.startswith("Who?\n\n")
    assert form.endswith('{"street":"...","city":"..."}')
    body = {"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Who?"}]}
    with_system = shape.put(CHAT, body)["messages"]
    assert with_system[0]["content"].startswith("Be brief.\n\n")
    assert with_system[0]["role"] == "developer"
    assert len(with_system) == 2
    assert body["messages"][0]["content"] == "Be brief."
    assert shape.governs(told)
    assert not shape.governs(asked())


def test_in_words_beside_pictures():
    """Structured content gets a part more; where a tool has spoken last there is no question to end."""
    shape = Shape(Address, way="prompt")
    parts = [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]
    said = [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}]
    told = shape.put(CHAT, {"messages": [*said, {"role": "user", "content": parts}]})
    system, user = told["messages"]
    assert system["content"][1]["text"].startswith("Answers are JSON")
    assert user["content"][1]["text"].endswith('{"street":"...","city":"..."}')
    assert shape.governs(told)
    last = {"role": "tool", "tool_call_id": "1", "content": "x"}
    assert shape.put(CHAT, {"messages": [last]})["messages"][-1] == last
    with pytest.raises(InvalidRequest, match="objects"):
        shape.put(CHAT, {"messages": ["x"]})


PAIR = {"type": "object", "properties": {"a": {"type": ["null", "number"]}, "b": {"const": 5}, "c": {}}}
REFERENCE = {"$ref": "#/$defs/x", "$defs": {"x": {"properties": {"y": {"type": "boolean"}}}}}


@pytest.mark.parametrize(
    ("schema", "form"),
    [
        (PAIR, {"a": 0.5, "b": 5, "c": "..."}),
        (REFERENCE, {"y": True}),
        ({"$ref": "http://elsewhere"}, "..."),
        ({"oneOf": [{"type": "null"}, {"enum": ["x", "y"]}]}, "x"),
        (Shape(Address).schema, {"street": "...", "city": "..."}),
    ],
)
def test_forms(schema, form):
    """As much as shows what is wanted."""
    assert json.loads(form_of(schema)) == form


def test_the_form_of_what_holds_itself_ends():
    """Some levels are enough."""
    assert len(form_of(Shape(Node).schema)) < 200


def test_the_responses_api():
    """Its name for it is text.format, and it is told strictly or not at all."""
    shape = Shape(Address)
    told = shape.put(RESPONSES, {"model": "m", "input": "Who?", "text": {"verbosity": "low"}})
    assert told["text"] == {
        "verbosity": "low",
        "format": {"type": "json_schema", **shape.response_format["json_schema"]},
    }
    assert shape.governs(told)
    assert shape.taken_from(RESPONSES, told)["text"] == {"verbosity": "low"}
    with pytest.raises(InvalidRequest, match="strict"):
        Shape(Address, way="tool").put(RESPONSES, {"input": "Who?"})
    with pytest.raises(InvalidRequest, match="no answers in a shape"):
        shape.put(EMBEDDINGS, {"input": "x"})


def test_a_request_has_its_own():
    """A type as response_format, as in the OpenAI client; told in another way it is another body."""
    request = LLMRequest.from_prompt("Who?", model="m", response_format=Address)
    assert request.shape == Shape(Address)
    assert request.body["response_format"] == Shape(Address).response_format
    retold = request.told("tool")
    assert "response_format" not in retold.body
    assert retold.shape == Shape(Address, way="tool")
    assert request.told("strict") is request
    plain = LLMRequest.from_prompt("Who?", model="m")
    assert plain.told("tool") is plain
    assert plain.shaped(Shape(Address)).body == request.body


def test_answers_are_read():
    """As the type; a dataclass is one, too."""
    assert Shape(Address).value(outcome(ADDRESS)) == Address(street="Main", city="Lima")
    assert Shape(Point).value(outcome('{"x": 1, "y": 2.5}')) == Point(1.0, 2.5)
    assert Shape(SCHEMA).value(outcome('{"city": "Lima"}')) == {"city": "Lima"}
    nested = Shape(Node).value(outcome('{"value": 1, "children": [{"value": 2, "children": []}]}'))
    assert nested.children[0].value == 2


def test_the_arguments_of_the_tool_are_the_answer():
    """Text is read where the model wrote that instead."""
    shape = Shape(Address, way="tool")
    assert shape.value(called("Address", ADDRESS)).city == "Lima"
    assert shape.value(called("Address", json.loads(ADDRESS))).city == "Lima"
    assert shape.value(outcome(ADDRESS)).city == "Lima"
    with pytest.raises(InvalidAnswer, match="empty"):
        shape.value(called("another", ADDRESS))


@pytest.mark.parametrize(
    "text",
    [
        ADDRESS,
        f"  {ADDRESS}\n",
        f"```json\n{ADDRESS}\n```",
        f"Here it is:\n```\n{ADDRESS}\n```\nAnything else?",
        f"Sure! {ADDRESS} Is there anything else?",
    ],
)
def test_where_nobody_enforces_it_words_may_stand_around(text):
    """A code fence, or a sentence; strictly that is no answer."""
    assert Shape(Address, way="prompt").value(outcome(text)).street == "Main"
    if text != text.strip() or not text.startswith("{"):
        return
    assert Shape(Address).value(outcome(text)).street == "Main"


@pytest.mark.parametrize(
    ("of", "text", "words"),
    [
        (Address, "", "it is empty"),
        (Address, "I do not know.", "not JSON"),
        (Address, '{"street": "Main"}', "city: Field required"),
        (
            Person,
            json.dumps({"name": "Bob", "age": 200, "home": {}}),
            "name: Value error, anybody but Bob; age",
        ),
        (SCHEMA, '{"city": "L"}', "city: 'L' is too short"),
        (SCHEMA, "{", "not JSON"),
        (SCHEMA, '{"people": 1.5}', "'city' is a required property"),
    ],
)
def test_what_does_not_fit_says_why(of, text, words):
    """The place and the problem; the text stays."""
    with pytest.raises(InvalidAnswer) as refused:
        Shape(of).value(outcome(text))
    assert words in refused.value.message
    assert refused.value.text == text
    assert words in refused.value.why
    assert not refused.value.final
    assert refused.value.to_dict().get("text", "") == text


def test_many_problems_are_told_in_short():
    """Three of them, and how many more there are."""
    with pytest.raises(InvalidAnswer, match="; and more"):
        Shape(Person).value(outcome('{"kind": "x"}'))


def test_what_asking_again_would_not_help():
    """Cut off by a limit, or refused."""
    with pytest.raises(InvalidAnswer, match="cut off") as cut:
        Shape(Address).value(outcome('{"street": "Ma', finish="length"))
    assert cut.value.final
    assert "max_tokens" in cut.value.cure
    with pytest.raises(InvalidAnswer, match="refused to answer: I cannot") as refused:
        Shape(Address).value(outcome(None, refusal="I cannot"))
    assert refused.value.final
    whole = Shape(Address).value(outcome(ADDRESS, finish="length"))
    assert whole.city == "Lima"


def test_asking_again():
    """The answer and what is wrong with it stand behind the question; keys that only answers have do not."""
    shape = Shape(Address)
    again = shape.again(asked(), outcome("{}", refusal=None, annotations=[]), "city: missing")
    question, answer, wish = again["messages"]
    assert question == asked()["messages"][0]
    assert answer == {"role": "assistant", "content": "{}"}
    assert wish["role"] == "user"
    assert "city: missing" in wish["content"]


def test_asking_again_for_a_tool():
    """Each call gets the problem as its result."""
    shape = Shape(Address, way="tool")
    *_, answer, result = shape.again(asked(), called("Address", "{}"), "city: missing")["messages"]
    assert answer["tool_calls"][0]["id"] == "c1"
    assert (result["role"], result["tool_call_id"]) == ("tool", "c1")
    assert "city: missing" in result["content"]


def test_asking_the_responses_api_again():
    """Its conversation is called input."""
    again = Shape(Address).again({"input": "Who?"}, outcome("{}"), "why")
    assert [said["role"] for said in again["input"]] == ["user", "assistant", "user"]


def test_shapes_travel():
    """Workers are given them."""
    shape = Shape(Person, way="tool")
    shape.problem(outcome("{}"))
    again = pickle.loads(pickle.dumps(shape))
    assert again == shape
    assert (
        again.value(called("Person", json.dumps({"name": "A", "age": 3, "home": json.loads(ADDRESS)}))).age
        == 3
    )
    assert shape != shape.told("strict")
    assert Shape(Address) != Shape(Person)


class Tree(BaseModel):
    left: Annotated["Tree", Field(description="smaller")] | None = None
    right: Annotated["Tree", Field(description="larger")] | None = None


def test_types_that_hold_themselves_twice():
    """Each reference is written out once."""
    assert len(json.dumps(Shape(Tree).schema)) < 5000
    value = Shape(Tree).value(outcome('{"left": {"left": null, "right": null}, "right": null}'))
    assert value.left.left is None


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "#"}, "refers to itself alone"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
            "itself alone",
        ),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/nope"}}}, "is not in it"),
        ({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/x"}}}, "its own parts only"),
        ({"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}, "its own parts only"),
        ({"type": "object", "$schema": 5}, r"\$schema is no text"),
    ],
)
def test_schemas_that_lead_elsewhere(schema, words):
    """Nothing is fetched, and nothing is asked with them."""
    with pytest.raises(ConfigError, match=words):
        Shape(schema)


def test_a_schema_that_is_nested_too_deeply():
    """It is refused, not crashed with."""
    schema = {"type": "object"}
    for _ in range(3000):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(ConfigError, match="nested too deeply"):
        Shape(schema)


def test_an_answer_that_is_nested_too_deeply():
    """As deep as its schema allows."""
    shape = Shape({"type": "object", "properties": {"c": {"$ref": "#"}}, "additionalProperties": False})
    assert shape.value(outcome('{"c": {"c": {}}}')) == {"c": {"c": {}}}
    with pytest.raises(InvalidAnswer, match="nested too deeply"):
        shape.value(outcome('{"c":' * 900 + "{}" + "}" * 900))


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"x": NaN, "y": 1}', "NaN is no number"), ('{"x": 1, "y": -Infinity}', "-Infinity is no number")],
)
@pytest.mark.parametrize("of", [Point, {"type": "object", "properties": {"x": {"type": "number"}}}])
def test_what_json_does_not_know_does_not_fit(of, text, words):
    """Whatever a parser takes for a number."""
    with pytest.raises(InvalidAnswer, match=words):
        Shape(of).value(outcome(text))


def test_large_integers_stay_whole():
    """By a schema, too."""
    large = 123456789012345678901234567890
    shape = Shape({"type": "object", "properties": {"n": {"type": "integer"}}})
    assert shape.value(outcome(json.dumps({"n": large}))) == {"n": large}


def test_of_several_answers_none_is_guessed():
    """Two calls of the tool fit nothing; of two fences the last is the answer, the first an example."""
    twice = outcome(
        tool_calls=[{"id": n, "function": {"name": "Address", "arguments": ADDRESS}} for n in ("1", "2")]
    )
    with pytest.raises(InvalidAnswer):
        Shape(Address, way="tool").value(twice)
    text = f'For example:\n```json\n{{"street": "X", "city": "Y"}}\n```\nSo:\n```json\n{ADDRESS}\n```'
    assert Shape(Address, way="prompt").value(outcome(text)).city == "Lima"
