"""Frames between parent and member."""

import socket
import struct

import pytest

from fastbatch.engine.crew.link import Link


class Wire:
    """Keeps what is written."""

    def __init__(self):
        self.written = b""

    def write(self, data):
        self.written += data


def said(*frames):
    """The bytes of some frames."""
    wire, link = Wire(), Link(lambda *frame: None, lambda: None)
    link.connection_made(wire)
    for head, raw in frames:
        link.send(head, raw)
    return wire.written


FRAMES = [(["rows", [[1, "ü"]]], b"\x00raw"), (["drain"], b""), (["sent", 3, []], b"x" * 70_000)]


@pytest.mark.parametrize("piece", [1, 7, 8, 9, 1 << 16, 1 << 20])
def test_frames_come_out_as_they_went_in(piece):
    """However the bytes are cut on the way."""
    data = said(*FRAMES)
    heard = []
    link = Link(lambda *frame: heard.append(frame), lambda: None)
    for begin in range(0, len(data), piece):
        link.data_received(data[begin : begin + piece])
    assert heard == FRAMES


def test_half_a_frame_is_none():
    """What the other end could not finish is not heard, and the end is told."""
    heard, ends = [], []
    link = Link(lambda *frame: heard.append(frame), lambda: ends.append("over"))
    link.data_received(said(FRAMES[0])[:-1])
    link.connection_lost(None)
    assert heard == []
    assert ends == ["over"]


def test_what_is_no_frame_is_refused():
    """A length beyond all reason is not waited for."""
    link = Link(lambda *frame: None, lambda: None)
    with pytest.raises(ValueError, match="no frame"):
        link.data_received(struct.pack("<II", 1 << 31, 0))


def test_nobody_is_told_after_the_end():
    """A frame for a member that is gone is dropped."""
    wire, link = Wire(), Link(lambda *frame: None, lambda: None)
    link.connection_made(wire)
    link.connection_lost(None)
    link.send(["drain"])
    assert wire.written == b""


def test_last_words_are_heard():
    """A line that broke because nothing could be said on it still brings what the other end had said."""
    ours, theirs = socket.socketpair()
    heard, ends = [], []
    link = Link(lambda *frame: heard.append(frame), lambda: ends.append(len(heard)), ours.dup())
    theirs.sendall(said(*FRAMES[:2]))
    theirs.close()
    ours.close()
    link.connection_lost(BrokenPipeError())
    assert heard == FRAMES[:2]
    assert ends == [2]
