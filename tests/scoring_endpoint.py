"""An endpoint that answers as the loopback server's models do, and says how likely a given text is."""

import random
from collections import Counter
from typing import Any

import msgspec
from msgspec import UNSET

from tests.loopback import Request, answer_to
from weak2wise import Completion, Endpoint, EndpointSettings, Logprobs, Prompt, RunStopped, Usage

asked: Counter[tuple[str, str, str]] = Counter()
"""How often each text was asked about: question, the answer before it, and the text."""


class Samples(Endpoint):
    """Only samples."""

    version = "1"
    embedded = True
    Settings = EndpointSettings

    async def complete(self, prompt: Prompt, /) -> Completion:
        plain = msgspec.to_builtins(prompt) | {"model": self.settings.model}
        plain.pop("continuation", None)
        answer = answer_to(msgspec.convert(plain, Request))
        usage = Usage(prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens)
        return Completion(text=answer.content, reasoning=answer.reasoning, finish_reason="stop", usage=usage)


class Likely(Samples):
    """Also says how likely a text is: each word's log-probability is drawn from the words before it."""

    calls_left: int | None = None
    """After so many texts it stops the run."""

    @classmethod
    def check_logprobs(cls, name: str, settings: Any) -> None:
        del name, settings

    async def complete(self, prompt: Prompt, /) -> Completion:
        if prompt.continuation is UNSET:
            return await super().complete(prompt)
        if Likely.calls_left is not None:
            if not Likely.calls_left:
                raise RunStopped("the weak LLM has had enough", hint="Start it again.")
            Likely.calls_left -= 1
        text = prompt.continuation
        key = prompt.messages[0].content, text.after, text.text
        asked[key] += 1
        drawn = random.Random(repr(key))
        words = text.text.split() or [""]
        values = [round(-5 * drawn.random(), 6) for _ in words]
        return Completion(text="", logprobs=Logprobs(values, [1 + drawn.randrange(200) for _ in words]))
