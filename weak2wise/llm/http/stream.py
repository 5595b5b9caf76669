"""An answer that arrives as server-sent events, assembled piece by piece.

It is whole once a chunk has a finish reason: some providers never send the closing ``[DONE]``, some send it too early.
A fault after that costs at most the usage. With ``[DONE]`` it is whole without a finish reason, too, if there is an
answer and not only thinking. Comments (``: keep-alive``), blank lines and fields other than ``data`` are ignored, but
an ``event`` may be named ``error``. The last event may lack the blank line that ends it.
"""

import msgspec
from msgspec import Raw, Struct

from weak2wise.llm.errors import Transient
from weak2wise.llm.http.error_mapping import error_for
from weak2wise.llm.http.message import THINKING_FIELDS, Message, content_in, thinking_in
from weak2wise.llm.http.odd_json import decode, says_something
from weak2wise.llm.http.reported_usage import usage_in
from weak2wise.llm.http.responses import BOM, broken_off, completion_of, reason_in, with_tier
from weak2wise.llm.model import Completion, Usage


class _Piece(Struct):
    delta: Message | None = None
    finish_reason: Raw = Raw()
    index: Raw = Raw()
    error: Raw = Raw()
    usage: Raw = Raw()


class _First(Struct, array_like=True):
    piece: _Piece | None = None


class _Chunk(Struct):
    choices: _First | None = None
    usage: Raw = Raw()
    x_groq: Raw = Raw()
    service_tier: Raw = Raw()
    error: Raw = Raw()


_CHUNK = msgspec.json.Decoder(_Chunk)
_FIRST_INDEX = {b"", b"0", b"null", b'"0"', b"0.0"}
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
        self._thinking: dict[str, list[str]] = {field: [] for field in (*THINKING_FIELDS, "content")}
        self._finish_reason: str | None = None
        self._tier = Raw()

    @property
    def characters(self) -> int:
        """How many of text and thinking have come so far."""
        return sum(len(piece) for pieces in (self._content, *self._thinking.values()) for piece in pieces)

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
            heard |= self._read(line)
        return heard

    def _read(self, line: bytes | bytearray) -> bool:
        """Take one line. Returns whether it completed an event with data."""
        line = line.removeprefix(BOM)
        if line.startswith(b"data:"):
            self._event.append(bytes(line[5:].removeprefix(b" ")))
        elif line.startswith(b"event:"):
            self._is_error = line[6:].strip() == b"error"
        elif not line:
            complete = bool(self._event)
            if complete:
                event = b"\n".join(self._event)
                self._event.clear()
                self._take(event)
            self._is_error = False
            return complete
        return False

    def _take(self, event: bytes) -> None:
        if event.strip() == b"[DONE]":
            self.done = True
            return
        if self._is_error:
            raise error_for(None, event, self._name)
        chunk = decode(_CHUNK, event, self._name)
        if says_something(chunk.error):
            raise error_for(None, event, self._name)
        self._tier = chunk.service_tier or self._tier
        piece = chunk.choices.piece if chunk.choices else None
        if chunk.usage or chunk.x_groq or (piece and piece.usage):
            self.usage = usage_in(chunk.usage, piece.usage if piece else Raw(), chunk.x_groq) or self.usage
        if piece and bytes(piece.index) in _FIRST_INDEX:
            self._add(piece)

    def _add(self, piece: _Piece) -> None:
        self._finish_reason = (
            broken_off(piece.error) or reason_in(piece.finish_reason, self._name) or self._finish_reason
        )
        delta = piece.delta
        if delta is None:
            return
        if delta.content:
            text, thinking = content_in(delta.content, self._name)
            self._content.append(text)
            if thinking:
                self._thinking["content"].append(thinking)
        for field in THINKING_FIELDS:
            if raw := getattr(delta, field):
                self._thinking[field].append(thinking_in(raw, self._name))

    def completion(self) -> Completion:
        """The whole answer, once the stream has ended.

        Raises:
            Transient: it broke off.
            ModelError, Unusable: its last event reports an error.
        """
        if not self.whole:
            self._end()
        if not self.whole and not self.done:
            raise self._broken_off()
        thoughts = ["".join(pieces) for pieces in self._thinking.values()]
        usage = with_tier(self.usage, self._tier, self._name)
        completion = completion_of("".join(self._content), thoughts, self._finish_reason, usage, self._name)
        if not self.whole and not completion.text.strip():
            raise self._broken_off()
        return completion

    def _end(self) -> None:
        """Take the last event, if the blank line after it is missing."""
        if self._buffer:
            self._read(self._buffer)
            self._buffer.clear()
        try:
            self._read(b"")
        except Transient as error:
            if error.kind == "malformed":
                raise self._broken_off() from None
            raise

    def _broken_off(self) -> Transient:
        return Transient("truncated", f"{self._name}: the stream broke off", endpoint=self._name)
