"""What a worker sends to a language model, and what it gets back.

These structs are made for every call and hold no cycles, so the garbage collector need not track them (``gc=False``).
"""

from typing import Literal, Protocol

from msgspec import UNSET, Struct, UnsetType

Role = Literal["system", "user", "assistant"]
CHARACTERS_PER_TOKEN = 4
"""Roughly, for English text and common tokenizers: to estimate tokens that no endpoint has counted."""


class Message(Struct, frozen=True, gc=False):
    """One turn of a chat."""

    role: Role
    content: str


class Continuation(Struct, frozen=True, gc=False):
    """A given text in the place of a model's answer; ``after`` is the part of the answer that comes before it."""

    text: str
    after: str = ""


class Prompt(Struct, frozen=True, kw_only=True, gc=False):
    """One request: a chat and how to sample its continuation.

    ``sample`` distinguishes several draws of the same chat (sample number, vote, second attempt). Two requests are the
    same only if it is equal, too. ``seed`` makes a draw repeatable if the endpoint supports seeds.
    ``continuation``: nothing is sampled; asked is how likely this text is (``Completion.logprobs``). Only endpoints
    whose ``check_logprobs`` passes can say.
    """

    messages: tuple[Message, ...]
    temperature: float
    seed: int
    sample: int = 0
    continuation: Continuation | UnsetType = UNSET

    @property
    def size(self) -> int:
        """The bytes of its texts."""
        size = sum(len(message.content.encode()) for message in self.messages)
        if self.continuation is not UNSET:
            size += len(self.continuation.after.encode()) + len(self.continuation.text.encode())
        return size


class Usage(Struct, frozen=True, omit_defaults=True, gc=False):
    """Tokens of one call as the endpoint reported them; ``cached_tokens`` is the part of the prompt it had cached.

    ``estimated``: it reported none, so they are estimated from the length of the texts that arrived.
    ``price_factor``: the share of the endpoint's prices that was charged, by the hour and the lane. ``tier``: the lane
    that served it, in the provider's words (``service_tier``).
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False
    price_factor: float = 1.0
    tier: str = ""

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens


class Logprobs(Struct, frozen=True, gc=False):
    """Of each token of a given text: the natural logarithm of its probability, and its rank (1: the likeliest)."""

    values: list[float]
    ranks: list[int]


class Completion(Struct, frozen=True, kw_only=True, gc=False):
    """One answer: the message content, the model's own thinking if it shows any, and why it ended.

    ``finish_reason`` is the provider's (``stop``, ``length``, ``content_filter``, …; synonyms of these are replaced by
    them), ``None`` if it gives none. ``logprobs``: the answer to a prompt with a ``continuation``; there is no text.
    """

    text: str
    reasoning: str | None = None
    finish_reason: str | None = None
    usage: Usage = Usage()
    logprobs: Logprobs | UnsetType = UNSET

    @property
    def says_nothing(self) -> bool:
        """Whether there is neither text nor thinking. Its tokens, if any, went into thinking that is not shown."""
        return not self.text.strip() and not (self.reasoning or "").strip() and self.logprobs is UNSET

    @property
    def cut_off(self) -> bool:
        """Whether a limit or a repetition ended it, not the model itself."""
        return self.finish_reason in {"length", "repetition"}


class Model(Protocol):
    """Anything that completes a prompt: an HTTP endpoint, the embedded engine, or a wrapper around either."""

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer one prompt.

        Raises:
            RecordError: this prompt cannot be answered (see ``weak2wise.llm.errors``).
            RunStopped: no prompt can be answered until the user fixes something.
        """
        ...
