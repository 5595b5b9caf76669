"""An answer that comes as server-sent events, put together piece by piece.

Whole means that a chunk named a finish reason: providers that leave out the closing ``[DONE]`` exist, and so do streams
that end it early. Comments (``: keep-alive``), blank lines and fields other than ``data`` say nothing.
"""

from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.llm.errors import Transient
from weak2wise.llm.model import Completion
from weak2wise.llm.refusals import UNREADABLE, error_for
from weak2wise.llm.replies import Choice, Said, UsageReport, completion_in, text_in


class _Piece(Struct):
    delta: Said | None = None
    finish_reason: str | None = None
    index: int = 0


class _Chunk(Struct):
    choices: list[_Piece] | None = None
    usage: UsageReport | None = None
    error: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)


class Stream:
    """One answer on its way; ``feed`` it the bytes as they come, then ask for the ``completion``."""

    def __init__(self, name: str) -> None:
        self.done = False
        """Whether the closing ``[DONE]`` has come."""
        self._name = name
        self._buffer = bytearray()
        self._event: list[bytes] = []
        self._content: list[str] = []
        self._reasoning: dict[str, list[str]] = {"reasoning_content": [], "reasoning": []}
        self._finish_reason: str | None = None
        self._usage: UsageReport | None = None

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; whether they ended an event that says something.

        Raises:
            ModelError, Unusable: an event is malformed, or says that there will be no answer.
        """
        self._buffer += data
        if b"\n" not in data:
            return False
        *lines, self._buffer = self._buffer.split(b"\n")
        heard = False
        for line in lines:
            line = line.removesuffix(b"\r")  # noqa: PLW2901 - the same line
            if line.startswith(b"data:"):
                self._event.append(bytes(line[5:].removeprefix(b" ")))
            elif not line and self._event:
                self._take(b"\n".join(self._event))
                self._event.clear()
                heard = True
        return heard

    def _take(self, event: bytes) -> None:
        if event.strip() == b"[DONE]":
            self.done = True
            return
        try:
            chunk = _CHUNK.decode(event)
        except UNREADABLE as error:
            raise Transient(
                "malformed",
                f"{self._name}: an event of the stream is not the JSON it should be: {error}",
                endpoint=self._name,
            ) from None
        if chunk.error:
            raise error_for(None, event, self._name)
        self._usage = chunk.usage or self._usage
        for piece in chunk.choices or ():
            if piece.index == 0:
                self._add(piece)

    def _add(self, piece: _Piece) -> None:
        self._finish_reason = piece.finish_reason or self._finish_reason
        if piece.delta is not None:
            self._content.append(text_in(piece.delta.content))
            for key, pieces in self._reasoning.items():
                if isinstance(text := getattr(piece.delta, key), str):
                    pieces.append(text)

    def completion(self) -> Completion:
        """The whole answer, once the stream has ended.

        Raises:
            Transient: it broke off, or says nothing.
            Rejected: the provider withheld it.
        """
        if self._finish_reason is None:
            raise Transient("truncated", f"{self._name}: the stream broke off", endpoint=self._name)
        reasoning = {key: "".join(pieces) or None for key, pieces in self._reasoning.items()}
        said = Said(content="".join(self._content), **reasoning)
        return completion_in(Choice(said, self._finish_reason), self._usage, self._name)
