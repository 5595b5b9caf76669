"""A file's bytes, decompressed if its suffix says so. A truncated file is an error, never just a shorter file."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, Any, cast

from weak2wise.errors import FORMATS, ConfigError

COMPRESSED = frozenset({".gz", ".zst"})
_CHUNK = 64 << 10


@contextmanager
def unpacked(source: Path) -> Iterator[IO[bytes]]:
    """Open a plain, ``.gz`` or ``.zst`` file for reading.

    Raises:
        ConfigError: zstandard is needed and not installed.
        OSError, EOFError, zlib.error: on reading, too, where the file is damaged.
    """
    suffix = source.suffix.lower()
    if suffix == ".zst":
        with source.open("rb") as packed:
            yield cast("IO[bytes]", BufferedReader(_Zstandard(source, packed), 1 << 20))
    elif suffix == ".gz":
        with gzip.open(source) as file:
            yield cast("IO[bytes]", file)
    else:
        with source.open("rb") as file:
            yield file


class _Zstandard(RawIOBase):
    """Reads frame after frame; zstandard's own reader takes a truncated frame for the end of the file."""

    def __init__(self, source: Path, packed: IO[bytes]) -> None:
        try:
            import zstandard  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigError(f"{source}: needs zstandard: {FORMATS}") from None
        self._damage = zstandard.ZstdError
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._packed = packed
        self._frame: Any = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            rest = self._frame.unused_data if self._frame and self._frame.eof else b""
            chunk = rest or self._packed.read(_CHUNK)
            if not chunk:
                if self._frame and not self._frame.eof:
                    raise EOFError("the file is truncated")
                return 0
            if self._frame is None or self._frame.eof:
                self._frame = self._new_frame()
            try:
                self._ready = memoryview(self._frame.decompress(chunk))
            except self._damage as error:
                raise OSError(str(error)) from None
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size
