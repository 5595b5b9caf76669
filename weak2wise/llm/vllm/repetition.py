"""Finds where an answer begins to go round in circles, as its tokens arrive.

The rule is that of vLLM's ``repetition_detection``: an answer is over with the token that completes ``COPIES`` equal
copies of a pattern of ``SHORTEST`` to ``LONGEST`` tokens at its end. vLLM checks every size after every token, in the
process that keeps the GPU busy. Here most tokens cost nothing: when the copies are complete, their last
``(COPIES - 1) * SHORTEST`` tokens and all before them each equal the token one pattern earlier. So it is enough to
look at every 51st token, the anchors, for the sizes at which that is so.
"""

from collections.abc import Sequence

SHORTEST, LONGEST, COPIES = 17, 128, 4
"""Ends an answer that repeats the same 1 to 128 tokens: after four copies, and at least 68 tokens.

Repeats of a shorter pattern also have one of these sizes. A good text is cut only if 68 tokens or more are four exact
copies: not a numbered list or a table, but perhaps a row of zeros or of dashes."""
_STRIDE = (COPIES - 1) * SHORTEST


class Repetition:
    """The tokens of one answer so far, and where it repeats itself: ``end`` tokens of it are to be kept."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.end: int | None = None
        self._anchor = _STRIDE - 1
        self._open: list[tuple[int, int, int]] = []
        """Patterns that will be complete soon if the tokens go on so: end, size, and the anchor they were seen at."""

    def extend(self, tokens: Sequence[int]) -> bool:
        """Add tokens; returns whether the answer repeats itself by now. Add nothing after that."""
        self.tokens += tokens
        while self.end is None and self._anchor < len(self.tokens):
            self._settle()
            self._open = self._seen_at(self._anchor)
            self._anchor += _STRIDE
        self._settle()
        return self.end is not None

    def kept(self, finish_reason: str | None) -> tuple[list[int], str | None]:
        """The tokens that belong to the answer, and why it ended, if it ended or broke off with ``finish_reason``.

        An answer that ends with the very token that completes the fourth copy has ended for its own reason.
        """
        if self.end is None or (self.end == len(self.tokens) and finish_reason in {"stop", "length"}):
            return self.tokens, finish_reason
        return self.tokens[: self.end], "repetition"

    def _settle(self) -> None:
        """Find the first pattern that is complete by now, and keep those that may yet be."""
        if self.end is not None or not self._open:
            return
        tokens, here = self.tokens, len(self.tokens)
        ends = (
            end
            for end, size, anchor in self._open
            if end <= here and tokens[anchor + 1 : end] == tokens[anchor + 1 - size : end - size]
        )
        self.end = min(ends, default=None)
        self._open = [pattern for pattern in self._open if pattern[0] > here]

    def _seen_at(self, anchor: int) -> list[tuple[int, int, int]]:
        """The patterns that may be complete between this anchor and the next."""
        tokens, found = self.tokens, []
        earlier = tokens[max(0, anchor - LONGEST) : anchor - SHORTEST + 1]
        last = tokens[anchor]
        for size in [size for size, token in enumerate(reversed(earlier), SHORTEST) if token == last]:
            whole = (COPIES - 1) * size
            first = anchor + _STRIDE - whole  # equal pairs must begin here, or earlier, to be enough by the next anchor
            if first < size or tokens[first : anchor + 1] != tokens[first - size : anchor + 1 - size]:
                continue
            while first > size and tokens[first - 1] == tokens[first - 1 - size]:
                first -= 1
            found.append((first + whole, size, anchor))
        return found
