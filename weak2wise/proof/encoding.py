"""Training examples as tokens: what the model is shown, and what it learns.

The prompt has the very tokens that the embedded engine shows the model (``weak2wise.llm.vllm.engine``), and behind them
come those of the response, as the run's file has it. The chat template never sees the response: some templates drop or
rewrite what is between ``<think>`` and ``</think>``. An example ends with the token that ends an answer when the model
is asked: the one that the template has there, if the model stops at it, else the tokenizer's own (a base model's
template may end a turn with a token at which that model does not stop).
"""

from array import array
from collections.abc import Collection
from typing import Any, NamedTuple

from weak2wise.errors import ConfigError

_BETWEEN = "\n\n"
"""Without a chat template the response follows as one more message does."""
_PROBE = "w2w-response"


class Encoded(NamedTuple):
    """``tokens`` of an example; the first ``prompt`` of them are not learned."""

    row: int
    tokens: "array[int]"
    prompt: int


class Encoder:
    """Encodes examples with a model's tokenizer (of transformers).

    ``bare``: without its chat template. ``stops``: tokens at which the model stops, beside the tokenizer's own.

    Raises:
        ConfigError: on construction, if no token ends an answer.
    """

    def __init__(self, tokenizer: Any, *, bare: bool, stops: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self.chat = not bare and bool(tokenizer.chat_template)
        self.end = self._end({*stops, tokenizer.eos_token_id} - {None})

    def __call__(self, row: int, prompt: str, response: str) -> Encoded:
        """One example as tokens."""
        shown = self._prompt(prompt)
        learned = self._tokens(response if self.chat else f"{_BETWEEN}{response}", special=False)
        return Encoded(row, array("i", [*shown, *learned, self.end]), len(shown))

    def _prompt(self, text: str) -> list[int]:
        if not self.chat:
            return self._tokens(text, special=True)
        return self._tokens(self._rendered(_turn("user", text), more=True), special=False)

    def _rendered(self, *turns: dict[str, str], more: bool) -> str:
        text: str = self._tokenizer.apply_chat_template(list(turns), add_generation_prompt=more, tokenize=False)
        return text

    def _tokens(self, text: str, *, special: bool) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=special)["input_ids"])

    def _end(self, stops: set[int]) -> int:
        if self.chat:
            whole = self._rendered(_turn("user", "?"), _turn("assistant", _PROBE), more=False)
            _, found, behind = whole.rpartition(_PROBE)
            for token in self._tokens(behind, special=False) if found else ():
                if token in stops:
                    return token
        if self._tokenizer.eos_token_id is None:
            raise ConfigError("the model's tokenizer has no eos_token, so no answer could end; set one (--model)")
        return int(self._tokenizer.eos_token_id)


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
