"""What a worker may ask of a language model, and what it gets back."""

from typing import Literal, Protocol

from msgspec import Struct

Role = Literal["system", "user", "assistant"]


class Message(Struct, frozen=True):
    """One turn of a chat."""

    role: Role
    content: str


class Prompt(Struct, frozen=True, kw_only=True):
    """One request: a chat and how to sample its continuation.

    ``sample`` tells apart several draws of the same chat (sample number, vote, second asking); it is part of
    what makes two requests the same. ``seed`` makes a draw repeatable where the endpoint honours seeds.
    """

    messages: tuple[Message, ...]
    temperature: float
    seed: int
    sample: int = 0


class Usage(Struct, frozen=True, omit_defaults=True):
    """Tokens of one call as the endpoint reported them; ``cached_tokens`` is the part of the prompt it had cached.

    ``estimated`` tells that it reported none, and that they were told by the length of the texts, as far as these came.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.prompt_tokens + self.completion_tokens


class Completion(Struct, frozen=True, kw_only=True):
    """One answer: the message content, the model's own thinking if it shows any, and why it ended.

    ``finish_reason`` is the provider's word (``stop``, ``length``, ``content_filter``, …; what other words mean one of
    these is written as it), ``None`` where it gives none.
    """

    text: str
    reasoning: str | None = None
    finish_reason: str | None = None
    usage: Usage = Usage()

    @property
    def says_nothing(self) -> bool:
        """Whether there is neither text nor thinking: its tokens went into thinking that is not shown, or nowhere."""
        return not self.text.strip() and not (self.reasoning or "").strip()

    @property
    def cut_off(self) -> bool:
        """Whether a limit or a loop ended it, and not its author."""
        return self.finish_reason in {"length", "repetition"}


class Model(Protocol):
    """Anything that completes a prompt: an HTTP endpoint, the embedded engine, or a wrapper around either."""

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer one prompt.

        Raises:
            RecordError: this prompt cannot be answered (see ``weak2wise.llm.errors``).
            RunStopped: no prompt can be answered until the user mends something.
        """
        ...
