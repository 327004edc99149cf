"""Unpacks gzip and deflate a piece at a time, whatever is packed in it."""

from __future__ import annotations

import zlib

ACCEPTED = "gzip, deflate"
"""What can be read, as `Accept-Encoding` says it."""

PIECE = 1 << 18
"""Bytes that one step gives at most."""

_BITE = 1 << 16  # bytes that zlib is given at a time: it copies those that it leaves over
_GZIP = frozenset(("gzip", "x-gzip"))
_GZIP_BEGINS = 0x1F


def unpacker_for(coding: str | None) -> Unpacker | None:
    """What unpacks a reply with this `Content-Encoding`; None: it is not packed.

    Raises:
        ValueError: the coding is none that can be read.
    """
    name = (coding or "").strip().lower()
    return None if name in ("", "identity") else Unpacker(name)


class Unpacker:
    """Unpacks one reply; `push` and then `step` while `more`.

    What is packed with gzip may have several members, one after the other (RFC 1952, 2.2).

    Raises:
        ValueError: the coding is none that can be read.
    """

    __slots__ = ("_at", "_coding", "_inflater", "_waiting", "more")

    def __init__(self, coding: str) -> None:
        if coding not in _GZIP and coding != "deflate":
            raise ValueError(f"it is packed as {coding[:50]!r}, which cannot be read")
        self._coding = coding
        self._inflater: zlib._Decompress | None = None  # of the present member
        self._waiting = b""
        self._at = 0  # how far it has been taken
        self.more = False

    @property
    def whole(self) -> bool:
        """Whether the end has been seen; nothing at all is whole, too."""
        return self._inflater is None or self._inflater.eof

    def push(self, packed: bytes) -> None:
        """Take what came."""
        self._waiting = self._waiting[self._at :] + packed
        self._at = 0
        self.more = True

    def step(self) -> bytes:
        """The next bytes, at most `PIECE` and of one member: there may be many that hold little or nothing.

        Raises:
            zlib.error: it is not packed like that, or goes on after its end.
        """
        bite = memoryview(self._waiting)[self._at : self._at + _BITE]
        inflater = self._inflater
        if inflater is None or inflater.eof:
            if not bite:
                self.more = False
                return b""
            inflater = self._inflater = self._begin(bite[0])
        given = inflater.decompress(bite, PIECE)
        self._at += len(bite) - len(inflater.unconsumed_tail) - len(inflater.unused_data)
        if self._at == len(self._waiting):
            self._waiting, self._at = b"", 0
        # A full piece may leave more in zlib's own buffers although all that was given has been taken.
        self.more = bool(self._waiting) or (len(given) == PIECE and not inflater.eof)
        return given

    def _begin(self, first: int) -> zlib._Decompress:
        """What inflates the member that begins with this byte."""
        gzip = self._coding in _GZIP
        if self._inflater is not None and not (gzip and first == _GZIP_BEGINS):
            raise zlib.error("it goes on after its end")
        if gzip:
            return zlib.decompressobj(31)
        # What is called deflate has zlib's envelope, by the standard, or none, by some servers.
        return zlib.decompressobj(15 if first & 0x0F == 8 else -15)
