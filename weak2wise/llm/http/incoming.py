"""The body of a 200 as it arrives: server-sent events or one JSON, whatever its content type calls it.

Some gateways send events as ``text/plain``, and some send a whole JSON, or an error, where a stream was asked for.
"""

from weak2wise.llm.errors import Transient
from weak2wise.llm.http.responses import BOM, parse_reply
from weak2wise.llm.http.stream import Stream
from weak2wise.llm.model import Completion, Usage

_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
_LONGEST_FIELD = max(map(len, _FIELDS))


class Incoming:
    """One answer as it arrives: ``feed`` it the bytes, then get the ``completion``."""

    def __init__(self, name: str) -> None:
        self.named_events = False
        """Whether the reply's content type says that it is events."""
        self._name = name
        self._body: list[bytes] = []
        self._start: bytes | None = b""
        """The first bytes that are not white space, until they show what the body is."""
        self._stream: Stream | None = None

    @property
    def done(self) -> bool:
        """Whether nothing of the answer can follow."""
        return self._stream is not None and self._stream.done

    @property
    def whole(self) -> bool:
        """Whether the answer is known to be complete, although more bytes may follow."""
        return self._stream is not None and self._stream.whole

    @property
    def usage(self) -> Usage | None:
        """As reported so far."""
        return self._stream.usage if self._stream else None

    @property
    def characters(self) -> int:
        """How many of the answer have come so far; of a JSON that is not yet read, its bytes."""
        return self._stream.characters if self._stream else sum(map(len, self._body))

    def feed(self, data: bytes) -> bool:
        """Take the next bytes. Returns whether they completed an event with data.

        Raises:
            ModelError, Unusable: an event is malformed, or reports an error.
        """
        if self._stream:
            return self._stream.feed(data)
        self._body.append(data)
        if self._start is None:
            return False
        self._start = (self._start + data).removeprefix(BOM).lstrip()[:16]
        if not self._start:
            return False
        events = self._start.startswith(_FIELDS) or (self.named_events and self._start[:1] not in b"{[")
        if events:
            self._stream = Stream(self._name)
            begun = b"".join(self._body)
            self._body.clear()
            return self._stream.feed(begun)
        if len(self._start) >= _LONGEST_FIELD:
            self._start = None
        return False

    def completion(self) -> Completion:
        """The whole answer, once the body has ended.

        Raises:
            Transient: it is not a whole answer.
            Rejected, RateLimited, Unusable: it holds an error in spite of the 200.
        """
        if self._stream:
            return self._stream.completion()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        try:
            return parse_reply(body, self._name)
        except Transient as error:
            if error.kind == "malformed" and body[:100].lstrip().startswith(b"{"):
                error.characters = len(body)  # it is an answer, paid for, and damaged
            raise
