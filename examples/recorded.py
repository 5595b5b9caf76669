"""An endpoint of your own: answers that are in a file, for example those of a model that runs elsewhere.

    model_endpoints:
      strong: { type: recorded:Recorded, model_id: my-model, file: answers.jsonl }

Each line has ``question``, ``sample`` (from 0) and ``text``; a question that is not there fails, the others go on.
"""

import json
from pathlib import Path

from weak2wise import Completion, ConfigError, Endpoint, EndpointSettings, Prompt, Rejected, Usage


class Recorded(Endpoint):
    """Looks up each answer by question and sample."""

    version = "1"

    class Settings(EndpointSettings, frozen=True, kw_only=True):
        """The keys of its section."""

        file: str

    async def open(self) -> None:
        """Read the file. Raises ``ConfigError``."""
        try:
            lines = [json.loads(line) for line in Path(self.settings.file).read_text("utf-8").splitlines()]
            self._texts = {(line["question"], line["sample"]): line["text"] for line in lines}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self.settings.file}: cannot be read as recorded answers: {error!r}") from None

    async def complete(self, prompt: Prompt) -> Completion:
        """The recorded text."""
        # The first message to a strong model is the question, as it is in the input.
        text = self._texts.get((prompt.messages[0].content, prompt.sample))
        if text is None:
            raise Rejected("bad_request", "nothing is recorded for this question", endpoint=self.name)
        return Completion(text=text, finish_reason="stop", usage=Usage(prompt_tokens=0, completion_tokens=0))
