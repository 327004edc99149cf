"""A form that carries files: `multipart/form-data` (RFC 7578)."""

from __future__ import annotations

from email.message import Message
from email.parser import BytesHeaderParser
from typing import NamedTuple

from fastbatch.simulator.asks import Rejected

_MOST_PARTS = 32
_MOST_HEAD_BYTES = 8 * 1024


class Part(NamedTuple):
    """One field; `filename` is empty where it is no file."""

    name: str
    filename: str
    content: bytes


def form(body: bytes, content_type: bytes) -> dict[str, Part]:
    """The fields of a body by name; of two of one name the last counts.

    Raises:
        Rejected: it is no such form, or has no end.
    """
    return {part.name: part for part in parts(body, content_type, b"multipart/form-data")}


def parts(body: bytes, content_type: bytes, wanted: bytes) -> list[Part]:
    """The parts of a body that is `wanted`, in their order.

    Raises:
        Rejected: it is no such body, or has no end.
    """
    told = Message()
    told["content-type"] = content_type.decode("latin-1")
    boundary = told.get_boundary()
    if told.get_content_type().encode() != wanted or not boundary:
        raise Rejected(f"The request must be {wanted.decode()}, with a boundary.")
    mark = b"\r\n--" + boundary.encode("latin-1")
    # The first mark opens the body and so lacks its line end.
    place = len(mark) - 2 if body.startswith(mark[2:]) else body.find(mark) + len(mark)
    found: list[Part] = []
    while place >= len(mark) - 2 and len(found) < _MOST_PARTS:
        if body.startswith(b"--", place):
            return found
        head = body.find(b"\r\n\r\n", place, place + _MOST_HEAD_BYTES)
        end = body.find(mark, head + 2)
        if head < 0 or end < 0:
            break
        found.append(_part(body[place + 2 : head + 4], body[head + 4 : end]))
        place = end + len(mark)
    raise Rejected("The form breaks off, has too large a head, or too many parts.")


def _part(head: bytes, content: bytes) -> Part:
    told = BytesHeaderParser().parsebytes(head)
    name = told.get_param("name", "", "content-disposition")
    return Part(name if isinstance(name, str) else "", told.get_filename() or "", content)
