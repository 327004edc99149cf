"""Answers with a shape: documents that fit their schemas (jsonschema judges), and such that do not."""

import datetime
import enum
import json
import uuid
from typing import Annotated, Literal, Optional

import jsonschema
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbatch.simulator.schemas import Form, Unwritable
from fastbatch.simulator.shapes import Shape, speak

SOURCE = "Tell me, please, about the red fox and the old town."


class Colour(enum.Enum):
    """Names for a few."""

    RED = "red"
    BLUE = "blue"


class Node(pydantic.BaseModel):
    """Something that holds others of its kind."""

    name: str
    children: list["Node"]
    parent: Optional["Node"]


class Circle(pydantic.BaseModel):
    """One of two."""

    kind: Literal["circle"]
    radius: float = pydantic.Field(gt=0, le=0.5)


class Square(pydantic.BaseModel):
    """The other of two."""

    kind: Literal["square"]
    side: int = pydantic.Field(ge=3, lt=5)


class Everything(pydantic.BaseModel):
    """What models are made of."""

    title: str = pydantic.Field(min_length=20, max_length=22)
    colour: Colour
    node: Node
    figure: Annotated[Circle | Square, pydantic.Field(discriminator="kind")]
    when: datetime.datetime
    day: datetime.date
    id: uuid.UUID
    tags: set[str]
    pair: tuple[int, str]
    numbers: dict[str, int]
    colours: list[Colour] = pydantic.Field(min_length=2, max_length=4)
    seven: int = pydantic.Field(multiple_of=7)
    cents: float = pydantic.Field(multiple_of=0.01, ge=-3)
    anything: object = None


# Not "time": jsonschema without its extras knows none with an offset, which RFC 3339 demands.
FORMATS = ["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"]
FORMATS_OF = {name: {"format": name} for name in FORMATS}
SCHEMAS = {
    "model": Everything.model_json_schema(),
    "recursive": Node.model_json_schema(),
    "closed": {"type": "object", "additionalProperties": False},
    "one number": {"type": "integer", "minimum": 5, "maximum": 5},
    "one half": {"type": "number", "minimum": 0.5, "maximum": 0.5},
    "narrow": {"type": "number", "exclusiveMinimum": 0.5, "exclusiveMaximum": 0.500001},
    "half multiples": {"type": "integer", "multipleOf": 1.5, "exclusiveMinimum": 0},
    "text or null": {"type": ["string", "null"]},
    "all of three": {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": True},
    "no type": {"properties": {"a": {"minimum": 3}, "b": {"items": {}}}, "required": ["a", "b"]},
    "nothing": {},
    "counted": {"type": "object", "minProperties": 3, "maxProperties": 4},
    "few of many": {
        "type": "object", "maxProperties": 1, "properties": {"a": {}, "b": {}, "c": {}}, "required": ["b"],
    },
    "joined": {
        "allOf": [{"$ref": "#/$defs/a"}, {"required": ["y"], "properties": {"y": {"const": 2}}}],
        "$defs": {"a": {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}},
    },
    "beside": {
        "type": "object", "required": ["a"], "properties": {"a": {"type": "string"}},
        "anyOf": [{"required": ["b"], "properties": {"b": {"type": "integer"}}}, {"maxProperties": 1}],
    },
    "escaped": {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"const": "found"}}},
    "tuple only": {"type": "array", "prefixItems": [{"type": "null"}], "items": False},
    "formats": {"type": "object", "required": FORMATS, "properties": FORMATS_OF},
}  # fmt: skip


def judge(schema):
    """jsonschema's opinion."""
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize("name", SCHEMAS)
def test_documents_fit(name):
    """Whatever the dice say; and they say more than one thing where there is more than one."""
    schema = SCHEMAS[name]
    shape, judged = Shape(Form(schema)), judge(schema)
    documents = {speak(shape, SOURCE, dice, None).text for dice in range(0, 2**64, 2**57)}
    for document in documents:
        judged.validate(json.loads(document))
    if name == "model":
        assert len(documents) == 128
        assert any("red fox" in document for document in documents)


@given(st.integers(0, 2**64 - 1))
def test_models_are_met(dice):
    """pydantic agrees, and the same dice write the same."""
    shape = Shape(Form(SCHEMAS["model"]))
    said = speak(shape, SOURCE, dice, None)
    Everything.model_validate_json(said.text)
    assert speak(shape, SOURCE, dice, None) == said


@pytest.mark.parametrize("name", SCHEMAS)
def test_spoiled_documents_do_not_fit(name):
    """They lack something, have another type, or are no JSON; each is met with where it can be."""
    schema = SCHEMAS[name]
    shape, judged = Shape(Form(schema)), judge(schema)
    seen = set()
    for dice in range(0, 2**64, 2**57):
        text = speak(shape, SOURCE, dice, None, fits=False).text
        try:
            document = json.loads(text)
        except json.JSONDecodeError:
            seen.add("no JSON")
            continue
        (error, *_) = judged.iter_errors(document)
        seen.add(error.validator)
    if name == "recursive":
        assert seen == {"required", "type"}
    if name == "counted":
        assert seen == {"no JSON"}


def test_recursion_ends():
    """Far down only what must be there is written, and the flattest of several."""
    schema = {
        "$ref": "#/$defs/tree",
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {
                    "left": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "object"}]},
                    "right": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
                },
                "required": ["left", "right"],
            }
        },
    }
    shape = Shape(Form(schema))
    for dice in range(0, 2**64, 2**57):
        text = speak(shape, SOURCE, dice, None).text
        judge(schema).validate(json.loads(text))
        assert len(text) < 10_000


def test_recursion_ends_where_a_type_is_plain():
    """Three of its own kind in each would be ever more, if nothing could be null in the end."""
    names = ["a", "b", "c"]
    schema = {
        "type": ["object", "null"],
        "properties": {name: {"$ref": "#"} for name in names},
        "required": names,
    }
    shape = Shape(Form(schema))
    for dice in range(0, 2**64, 2**59):
        judge(schema).validate(json.loads(speak(shape, SOURCE, dice, None).text))


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (False, "must be an object"),
        ({"$ref": "#"}, "refers to itself"),
        ({"$ref": "https://example.com/x"}, "leads out"),
        ({"$ref": "#/$defs/x"}, "leads nowhere"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "never end"),
        ({"type": "string", "pattern": "x"}, "'pattern'"),
        ({"type": "zebra"}, "'zebra'"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no number"),
        ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, "no number"),
        ({"type": "integer", "minimum": 2**63}, "64 bits"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "minItems exceeds"),
        ({"type": "object", "required": ["a"], "additionalProperties": False}, "not among"),
        ({"enum": ["a"], "type": "integer"}, "enum"),
        ({"anyOf": []}, "anyOf"),
        ({"allOf": [{"minimum": 1}, {"minimum": 2}]}, "two rules"),
        ({"type": "string", "minLength": -1}, "minLength"),
        ({"type": "number", "multipleOf": 0}, "multipleOf"),
    ],
)
def test_what_cannot_be_written_is_refused(schema, why):
    """Nothing is passed over: a rule that would not be kept is named."""
    with pytest.raises(Unwritable, match=why):
        Form(schema)


def test_a_document_can_be_cut():
    """As any answer by its maximum of tokens; a call says so, too."""
    said = speak(Shape(Form(SCHEMAS["recursive"]), call="grow"), SOURCE, 5, 4)
    assert (said.tokens, said.finish_reason, said.call, len(said.text)) == (4, "length", "grow", 16)
