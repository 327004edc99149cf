"""Zstandard files as a stream that knows whether it is whole; the only owner of the library `zstandard`.

The library's own stream reader ends in silence where a file was cut off, and rows would be missing without a
word. So frames are unpacked here one after the other, and the last one must have ended.
"""

from __future__ import annotations

from io import RawIOBase
from typing import IO, Any

from fastbatch.errors import MissingExtra

_STEP = 1 << 10  # packed bytes per step, few, since each may unpack to 32 kB


class ZstandardFile(RawIOBase):
    """The unpacked bytes of `file`, of one frame or several in a row; it is closed with this one.

    Raises:
        MissingExtra: without the extra `speed`.
        OSError, EOFError: on reading; the file is damaged, or cut off.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        try:
            import zstandard
        except ImportError:
            raise MissingExtra("reading .zst files (zstandard)", "speed") from None
        self._error: type[Exception] = zstandard.ZstdError
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._frame: Any = None
        self._packed = b""
        self._unpacked = memoryview(b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as one step reaches; 0 at the end."""
        while not self._unpacked:
            packed = self._packed or self._file.read(_STEP)
            if not packed:
                if self._frame is not None:
                    raise EOFError("the file is cut off")
                return 0
            self._unpack(packed)
        count = min(len(buffer), len(self._unpacked))
        buffer[:count] = self._unpacked[:count]
        self._unpacked = self._unpacked[count:]
        return count

    def _unpack(self, packed: bytes) -> None:
        frame = self._frame or self._new_frame()
        try:
            self._unpacked = memoryview(frame.decompress(packed))
        except self._error as error:
            raise OSError(str(error)) from None
        self._packed = frame.unused_data if frame.eof else b""
        self._frame = None if frame.eof else frame

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
