"""Takes what came of a batch into the journal. Each request is ticked off; the provider's counts are not believed."""

import asyncio
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from msgspec import structs

from weak2wise.llm.batch.record import BatchState
from weak2wise.llm.batch.remote import Missing
from weak2wise.llm.batch.requests_file import Asker
from weak2wise.llm.batch.results import NotWorkedOff, read_result
from weak2wise.llm.batch.sender import Sender
from weak2wise.llm.errors import ModelError, Unusable
from weak2wise.llm.journal import Answer, without_secrets
from weak2wise.llm.model import CHARACTERS_PER_TOKEN, Completion, Usage
from weak2wise.llm.retry import persistently
from weak2wise.telemetry.log import log

LOOKS = 3
"""Before a file that is not there counts as gone."""
_ROLES = {"w": "weak", "j": "judge", "t": "truncation"}


@dataclass
class Fetched:
    """What came of one batch.

    Attributes:
        left: requests without an answer or an error: expired, cancelled, or in no file.
        answered: answers that were new.
        known: answers that were in the journal already.
        errors: requests that failed.
        stop: an error that every further request would meet.
        too_much: it was refused because too much was asked for at once.
        said: the provider's words on why it was refused.
        odd: lines that are no result of this batch, or one for the second time.
        gone: the ids of files of results that the provider does not have any more.
    """

    left: set[Asker]
    answered: int = 0
    known: int = 0
    errors: dict[Asker, ModelError] = field(default_factory=dict)
    stop: Unusable | None = None
    too_much: bool = False
    said: str = ""
    odd: int = 0
    gone: set[str] = field(default_factory=set)


class Fetching:
    """Fetches the results of one batch."""

    def __init__(self, sender: Sender, state: BatchState, asked: Collection[Asker]) -> None:
        self._sender = sender
        self._state = state
        self._parts = sender.parts
        self.found = Fetched(set(asked))
        self._charged: set[Asker] = set()
        # An earlier start may have fetched a part. The journal's index may have forgotten it: its rows may be through.
        for asker in [one for one in asked if not self._parts.outstanding.has(one.row, one.key)]:
            self.found.left.discard(asker)
            self.found.known += 1

    async def read(self, files: Iterable[str]) -> Fetched:
        """Read the files of results, the answers first. Raises ``DiskError``."""
        for file_id in files:
            if await self._read_file(file_id):
                self.found.gone.discard(file_id)
            else:
                self.found.gone.add(file_id)
        if self.found.gone:
            log.warning(
                "batch.results_gone",
                endpoint=self._sender.name,
                batch=self._state.batch_id,
                lost=len(self.found.left),
                effect="deleted or too old",
            )
        self.found.left -= self.found.errors.keys()
        return self.found

    async def _read_file(self, file_id: str) -> bool:
        """Read one file; returns whether the provider has it."""
        for _ in range(LOOKS):
            try:
                await persistently(lambda: self._sender.provider.lines(file_id, self._take), "results of a batch")
            except Missing:
                await asyncio.sleep(self._sender.batch.poll_seconds)
            else:
                return True
        return False

    async def _take(self, lines: list[bytes]) -> None:
        answers: dict[Asker, Completion] = {}
        for line in lines:
            read = read_result(line, self._sender.name)
            asker = Asker.of(read[0]) if read else None
            if read is None or asker is None or asker not in self.found.left or asker in answers:
                self.found.odd += 1
                continue
            outcome = read[1]
            if isinstance(outcome, Completion):
                answers[asker] = outcome
            elif not isinstance(outcome, NotWorkedOff):
                await self._note_error(asker, outcome)
        if answers:
            await asyncio.gather(*(self._keep(asker, answer) for asker, answer in answers.items()))

    async def _note_error(self, asker: Asker, error: ModelError | Unusable) -> None:
        """Keep an error; an answer to the same request, before or after, counts more."""
        error.args = (self._sender.endpoint.redact(str(error))[:400],)
        kind = error.kind if isinstance(error, ModelError) else "unusable"
        self._sender.endpoint.meter.fault(kind, str(error))
        if error.usage and asker not in self._charged:
            self._charged.add(asker)
            await self._write(asker, "", Completion(text="", usage=self._priced(error.usage)), redacted=False)
        if isinstance(error, Unusable):
            self.found.stop = self.found.stop or error
        else:
            self.found.errors[asker] = error

    async def _keep(self, asker: Asker, answer: Completion) -> None:
        """Make an answer durable; only then may its row go on."""
        usage = answer.usage
        if not usage.tokens:
            usage = self._estimated(len(answer.text) + len(answer.reasoning or ""))
        answer = structs.replace(answer, usage=self._priced(usage))
        clean = without_secrets(answer, self._sender.endpoint.redact_answer, self._sender.name)
        await self._write(asker, asker.key, clean, redacted=clean is not answer)
        self._sender.endpoint.meter.answered += 1
        self._sender.endpoint.worst_case.note(self._mean_bytes, clean.usage)
        self.found.answered += 1
        self.found.errors.pop(asker, None)
        self._tick_off(asker)

    async def _write(self, asker: Asker, key: str, completion: Completion, *, redacted: bool) -> None:
        name = self._sender.name
        role = _ROLES.get(asker.kind, f"strong/{name}")
        cost = self._sender.endpoint.cost(completion.usage)
        await self._parts.journal.record(Answer(asker.row, key, role, name, completion, cost, redacted))
        self._sender.endpoint.parts.budget.pay(cost)

    def _tick_off(self, asker: Asker) -> None:
        self.found.left.discard(asker)
        self._parts.outstanding.discard(asker.row, asker.key)

    @property
    def _mean_bytes(self) -> int:
        return self._state.size // max(1, self._state.requests)

    def _priced(self, usage: Usage) -> Usage:
        return structs.replace(usage, price_factor=self._sender.api.factor)

    def _estimated(self, said: int) -> Usage:
        """The usage of an answer for which none is reported, from the length of the texts."""
        prompt, completion = (math.ceil(n / CHARACTERS_PER_TOKEN) for n in (self._mean_bytes, said))
        return Usage(prompt, completion, estimated=True)
