"""An answer that arrives as server-sent events, assembled piece by piece.

It is whole once a chunk has a finish reason: some providers never send the closing ``[DONE]``, some send it too early.
A fault after that costs at most the usage. Comments (``: keep-alive``), blank lines and fields other than ``data``
are ignored, but an ``event`` may be named ``error``.
"""

from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.llm.errors import Transient
from weak2wise.llm.http.error_mapping import error_for
from weak2wise.llm.http.responses import BOM, Choice, ReplyText, completion_in, decode, text_in, usage_in
from weak2wise.llm.model import Completion, Usage


class _Piece(Struct):
    delta: ReplyText | None = None
    finish_reason: str | None = None
    index: Any = 0
    error: Any = None


class _Chunk(Struct):
    choices: list[_Piece] | None = None
    usage: Any = None
    error: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_LINE_ENDS = (b"\n", b"\r")


class Stream:
    """One answer as it arrives: ``feed`` it the bytes, then get the ``completion``."""

    def __init__(self, name: str) -> None:
        self.done = False
        """Whether the closing ``[DONE]`` has come."""
        self.usage: Usage | None = None
        """As reported so far."""
        self._name = name
        self._buffer = bytearray()
        self._ended_in_cr = False
        self._event: list[bytes] = []
        self._is_error = False
        self._content: list[str] = []
        self._reasoning: dict[str, list[str]] = {"reasoning_content": [], "reasoning": []}
        self._finish_reason: str | None = None

    @property
    def characters(self) -> int:
        """How many of text and thinking have come so far."""
        return sum(map(len, (*self._content, *self._reasoning["reasoning_content"], *self._reasoning["reasoning"])))

    @property
    def whole(self) -> bool:
        """Whether the answer is complete."""
        return self._finish_reason is not None

    def feed(self, data: bytes) -> bool:
        """Take the next bytes. Returns whether they completed an event with data.

        Raises:
            ModelError, Unusable: an event is malformed, or reports an error.
        """
        if self._ended_in_cr:
            data = data.removeprefix(b"\n")
        self._ended_in_cr = data.endswith(b"\r")
        self._buffer += data
        if b"\n" not in data and b"\r" not in data:
            return False
        lines = self._buffer.splitlines()  # at LF, CR and CR LF, as specified
        self._buffer = bytearray() if data.endswith(_LINE_ENDS) else lines.pop()
        heard = False
        for line in lines:
            line = line.removeprefix(BOM)  # noqa: PLW2901 - the same line
            if line.startswith(b"data:"):
                self._event.append(bytes(line[5:].removeprefix(b" ")))
            elif line.startswith(b"event:"):
                self._is_error = line[6:].strip() == b"error"
            elif not line:
                if self._event:
                    self._take(b"\n".join(self._event))
                    self._event.clear()
                    heard = True
                self._is_error = False
        return heard

    def _take(self, event: bytes) -> None:
        if event.strip() == b"[DONE]":
            self.done = True
            return
        if self._is_error:
            raise error_for(None, event, self._name)
        chunk = decode(_CHUNK, event, self._name)
        if chunk.error:
            raise error_for(None, event, self._name)
        self.usage = usage_in(chunk.usage) or self.usage
        for piece in chunk.choices or ():
            if piece.index in (0, None, "0"):
                self._add(piece)

    def _add(self, piece: _Piece) -> None:
        self._finish_reason = "error" if piece.error else piece.finish_reason or self._finish_reason
        if piece.delta is not None:
            self._content.append(text_in(piece.delta.content))
            for key, pieces in self._reasoning.items():
                if isinstance(text := getattr(piece.delta, key), str):
                    pieces.append(text)

    def completion(self) -> Completion:
        """The whole answer, once the stream has ended.

        Raises:
            Transient: it broke off.
        """
        if not self.whole:
            raise Transient("truncated", f"{self._name}: the stream broke off", endpoint=self._name)
        reasoning = {key: "".join(pieces) or None for key, pieces in self._reasoning.items()}
        said = ReplyText(content="".join(self._content), **reasoning)
        return completion_in(Choice(said, self._finish_reason), self.usage, self._name)
