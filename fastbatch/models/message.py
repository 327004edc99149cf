"""Messages of a conversation: six roles, text and structured content, tool and function calls.

`Message` is for people who build conversations in Python; plain dictionaries in the same shape do as well
and cost nothing. Unknown fields and content parts are kept as they are: a provider may know them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Tag

from fastbatch.models.params import Role


class _Wire(BaseModel):
    """Strict about types, generous about additions."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class TextPart(_Wire):
    """A stretch of text."""

    type: Literal["text"] = "text"
    text: str


class ImageURL(_Wire):
    """Where an image is: an http(s) URL or a `data:` URL."""

    url: str
    detail: str | None = None  # OpenAI: auto, low, high, and what comes next


class ImagePart(_Wire):
    """An image."""

    type: Literal["image_url"] = "image_url"
    image_url: ImageURL | str  # some servers take the bare URL


class InputAudio(_Wire):
    """Base64 audio and its format (`wav`, `mp3`)."""

    data: str
    format: str


class AudioPart(_Wire):
    """A recording."""

    type: Literal["input_audio"] = "input_audio"
    input_audio: InputAudio


class FilePart(_Wire):
    """A file: `file_id`, or `file_data` with `filename`."""

    type: Literal["file"] = "file"
    file: Mapping[str, Any]


class RefusalPart(_Wire):
    """What an assistant said when it refused."""

    type: Literal["refusal"] = "refusal"
    refusal: str


class OtherPart(_Wire):
    """A content part this version does not know; sent as it is."""

    type: str


_PARTS = {"text", "image_url", "input_audio", "file", "refusal"}


def _part_tag(part: Any) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else getattr(part, "type", None)
    return kind if isinstance(kind, str) and kind in _PARTS else "other"


ContentPart = Annotated[
    Annotated[TextPart, Tag("text")]
    | Annotated[ImagePart, Tag("image_url")]
    | Annotated[AudioPart, Tag("input_audio")]
    | Annotated[FilePart, Tag("file")]
    | Annotated[RefusalPart, Tag("refusal")]
    | Annotated[OtherPart, Tag("other")],
    Discriminator(_part_tag),
]


class FunctionCall(_Wire):
    """The function a model wants called; `arguments` as the model wrote them, JSON in a string."""

    name: str
    arguments: str | dict[str, Any]


class ToolCall(_Wire):
    """One call of a tool; `type` is `function` but for providers' own kinds."""

    id: str = ""
    type: str = "function"
    function: FunctionCall | None = None


class Message(_Wire):
    """One message.

    >>> Message.user("Name a prime.").to_dict()
    {'role': 'user', 'content': 'Name a prime.'}
    """

    role: Role
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: FunctionCall | None = None

    def to_dict(self) -> dict[str, Any]:
        """The message as it goes on the wire: what was set, and a part's `type`, nothing else."""
        body = self.model_dump(exclude_unset=True)
        if isinstance(self.content, list):
            body["content"] = [
                {"type": part.type, **part.model_dump(exclude_unset=True)} for part in self.content
            ]
        if self.tool_calls:
            body["tool_calls"] = [
                {"type": c.type, **c.model_dump(exclude_unset=True)} for c in self.tool_calls
            ]
        return body

    @classmethod
    def system(cls, content: str, **fields: Any) -> Message:
        """Instructions that stand above the conversation."""
        return cls(role="system", content=content, **fields)

    @classmethod
    def developer(cls, content: str, **fields: Any) -> Message:
        """Instructions to OpenAI's reasoning models, in the place of `system`."""
        return cls(role="developer", content=content, **fields)

    @classmethod
    def user(cls, content: str | Sequence[ContentPart], **fields: Any) -> Message:
        """What the person says: text, or a list of parts."""
        return cls(role="user", content=content if isinstance(content, str) else list(content), **fields)

    @classmethod
    def assistant(cls, content: str | None = None, **fields: Any) -> Message:
        """What the model said, or the tool calls it made."""
        return cls(role="assistant", content=content, **fields)

    @classmethod
    def tool(cls, content: str, *, tool_call_id: str, **fields: Any) -> Message:
        """What a tool answered to the call `tool_call_id`."""
        return cls(role="tool", content=content, tool_call_id=tool_call_id, **fields)

    @classmethod
    def function(cls, content: str, *, name: str, **fields: Any) -> Message:
        """What a function answered (the older form of `tool`)."""
        return cls(role="function", content=content, name=name, **fields)


def image(url: str, *, detail: Literal["auto", "low", "high"] | None = None) -> ImagePart:
    """An image part from an http(s) or `data:` URL."""
    return ImagePart(image_url=ImageURL(url=url, detail=detail) if detail else ImageURL(url=url))


def text(content: str) -> TextPart:
    """A text part."""
    return TextPart(text=content)
