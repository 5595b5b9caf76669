"""The text of an answer's tokens, made at once: the same text that vLLM makes of them token by token.

The two may differ where some bytes are no character, as where an answer ends within one: vLLM then leaves out the
unfinished character, and with it all of the token in which it begins. So such an answer is decoded token by token here,
too, with the ``DecodeStream`` of Hugging Face's tokenizers, as vLLM does.
"""

from collections.abc import Iterator, Sequence

from tokenizers import Tokenizer, decoders

PIECE = 4096
"""Tokens decoded without a pause for the event loop: one or two milliseconds."""
_CONTEXT = 16
"""Tokens before a piece that are decoded with it: whether it begins with a space may depend on them."""
_NO_CHARACTER = "\N{REPLACEMENT CHARACTER}"
_OUT_OF_STEP = "Invalid prefix encountered"


def texts(tokenizer: Tokenizer, prompt: Sequence[int], answer: Sequence[int]) -> Iterator[str]:
    """The text of ``answer``, in pieces; special tokens are left out.

    Args:
        tokenizer: the model's.
        prompt: the tokens before the answer.
        answer: its tokens, without one that only says that it is over.
    """
    steps: _Steps | None = None
    for start in range(0, len(answer), PIECE):
        piece = answer[start : start + PIECE]
        if steps is None:
            before = answer[start - _CONTEXT : start] if start else prompt[-_CONTEXT:]
            text = _at_once(tokenizer, before, piece)
            if text is not None:
                yield text
                continue
            steps = _Steps(tokenizer, [*prompt, *answer[:start]])
        yield "".join(map(steps.text, piece))


def _at_once(tokenizer: Tokenizer, before: Sequence[int], tokens: Sequence[int]) -> str | None:
    """The text of ``tokens`` after these; ``None`` where taking them one by one may give another."""
    context = tokenizer.decode(before, skip_special_tokens=True)
    if not context or context.endswith(_NO_CHARACTER):
        return None
    whole = tokenizer.decode([*before, *tokens], skip_special_tokens=True)
    text = whole[len(context) :]
    return text if whole.startswith(context) and _NO_CHARACTER not in text else None


class _Steps:
    """Decodes token by token, as vLLM's ``FastIncrementalDetokenizer`` does."""

    def __init__(self, tokenizer: Tokenizer, before: list[int]) -> None:
        self._tokenizer = tokenizer
        self._stream = decoders.DecodeStream(ids=before, skip_special_tokens=True)

    def text(self, token: int) -> str:
        """What this token adds to the text."""
        try:
            return self._stream.step(self._tokenizer, token) or ""
        except Exception as error:  # the library has no type of its own for it
            if not str(error).startswith(_OUT_OF_STEP):
                raise
            self._stream = decoders.DecodeStream(skip_special_tokens=True)
            return self._stream.step(self._tokenizer, token) or ""
