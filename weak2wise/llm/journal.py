"""Every paid answer by itself, written before it is used: a crash in the middle of a record never pays for it twice.

An answer is found again by what was asked: the digest of the endpoint's settings and the prompt. It belongs to
the row that asked. The index holds what may be asked again: the answers of rows that are in flight, put aside, or under
way when an earlier run stopped. Each costs sixteen bytes, half of its key and where its line stands; the line has the
whole key.

What was charged for an answer that cannot be used is a line without key and text: it is never found, but it counts.
"""

import asyncio
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.ledger.shards import Shards
from weak2wise.llm.call import calling, current_call
from weak2wise.llm.model import Completion, Model, Prompt, Usage


class Answer(Struct, frozen=True, omit_defaults=True):
    """One line of the journal."""

    row: int
    key: str
    role: str
    endpoint: str
    completion: Completion
    cost_usd: float = 0.0


class UsageOnly(Struct):
    """A completion without its texts."""

    usage: Usage = Usage()


class Receipt(Struct):
    """What a bill needs of a line; the texts are skipped."""

    row: int
    key: str
    role: str
    endpoint: str
    completion: UsageOnly
    cost_usd: float = 0.0


class Spent(Struct):
    """Calls answered, tokens and US dollars of one role on one endpoint, over all runs of this work_dir.

    Of ``estimated`` answers nobody said what they took, of some of them because they broke off. ``wasted_usd`` is the
    part of ``cost_usd`` that went for answers that could not be used.
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float = 0.0
    estimated: int = 0
    wasted_usd: float = 0.0

    def add(self, line: Answer | Receipt) -> None:
        """Count one line of the journal."""
        usage = line.completion.usage
        if line.key:
            self.calls += 1
        else:
            self.wasted_usd += line.cost_usd
        self.estimated += usage.estimated
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        self.cached_tokens += usage.cached_tokens
        self.cost_usd += line.cost_usd


_ANSWER = msgspec.json.Decoder(Answer)
_RECEIPT = msgspec.json.Decoder(Receipt)


def _short(key: str) -> int:
    return int(key[:16], 16)


class Journal:
    """The answers of all endpoints; one per work_dir."""

    def __init__(self, folder: Path, *, max_bytes: int, fsync_seconds: float) -> None:
        self._shards = Shards(folder / "journal", max_bytes=max_bytes, fsync_seconds=fsync_seconds)
        self._index: dict[int, array[int]] = {}
        """By row, and there in turn the short key and the location of each answer."""
        self._encoder = msgspec.json.Encoder()
        self.spent: dict[tuple[str, str], Spent] = {}
        self.replayed: Counter[str] = Counter()

    def open(self, is_pending: Callable[[int, str], bool]) -> None:
        """Index the answers that a row may still ask of a role (``is_pending``), and count what all of them cost.

        Blocks; raises as ``Shards.open``.
        """

        def on_line(location: int, line: bytes) -> None:
            receipt = _RECEIPT.decode(line)
            self._count(receipt)
            if receipt.key and is_pending(receipt.row, receipt.role):
                self._note(receipt, location)

        self._shards.open(on_line)

    def look(self, on_receipt: Callable[[Receipt], None]) -> None:
        """Hand every answer's receipt to ``on_receipt``, touching nothing. Blocks; raises as ``Shards.open``."""
        self._shards.look(lambda _, line: on_receipt(_RECEIPT.decode(line)))

    def _count(self, line: Answer | Receipt) -> None:
        self.spent.setdefault((line.role, line.endpoint), Spent()).add(line)

    def _note(self, line: Answer | Receipt, location: int) -> None:
        self._index.setdefault(line.row, array("Q")).extend((_short(line.key), location))

    async def find(self, row: int, key: str) -> Completion | None:
        """The answer that the row was given for this key, if there is one."""
        known = self._index.get(row, array("Q"))
        short = _short(key)
        for location in [known[at + 1] for at in range(0, len(known), 2) if known[at] == short]:
            answer = _ANSWER.decode(await asyncio.to_thread(self._shards.read, location))
            if answer.key == key:
                return answer.completion
        return None

    async def record(self, answer: Answer) -> None:
        """Make an answer durable. Raises ``DiskError``."""
        location = await self._shards.append(self._encoder.encode(answer))
        self._count(answer)
        if answer.key:
            self._note(answer, location)

    @property
    def total_usd(self) -> float:
        """US dollars of all answers, over all runs of this work_dir."""
        return sum(spent.cost_usd for spent in self.spent.values())

    def release(self, row: int) -> None:
        """The row is finished: its answers need not be found any more."""
        self._index.pop(row, None)

    async def close(self) -> None:
        """Flush and close. Raises ``DiskError``."""
        await self._shards.close()


class Journaled:
    """A ``Model`` that answers from the journal what this row has asked before, and journals what it has not.

    The same question asked twice at once by one row is asked of the endpoint once.
    ``settings`` is whatever else shapes the endpoint's answers (model name, token limit, extra body); ``cost`` is what
    an answer costs, in US dollars. ``one_of_several``: others do the same work, so a row that will be tried again does
    not wait for this endpoint while it is down, and keeps no place that the others could use.
    """

    def __init__(
        self,
        model: Model,
        journal: Journal,
        *,
        role: str,
        endpoint: str,
        settings: Any,
        cost: Callable[[Usage], float] = lambda _usage: 0.0,
        one_of_several: bool = False,
    ) -> None:
        self._model = model
        self._journal = journal
        self._role = role
        self._endpoint = endpoint
        self._cost = cost
        self._one_of_several = one_of_several
        self._encoder = msgspec.json.Encoder(order="sorted")
        self._seed = blake2b(self._encoder.encode((endpoint, settings)), digest_size=16)
        self._asking: dict[tuple[int, str], asyncio.Future[Completion]] = {}

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer from the journal, else from the endpoint. Raises what the endpoint raises, and ``DiskError``."""
        row = current_call().row
        digest = self._seed.copy()
        digest.update(self._encoder.encode(prompt))
        key = digest.hexdigest()
        while asking := self._asking.get((row, key)):
            await asyncio.wait([asking])
            if not asking.cancelled():  # else whoever asked was cancelled, and it is our turn
                return asking.result()
        future = self._asking[row, key] = asyncio.get_running_loop().create_future()
        try:
            completion = await self._find_or_ask(row, key, prompt)
            future.set_result(completion)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                future.cancel()
            else:
                future.set_exception(error)
                future.exception()  # someone else may or may not be waiting for it
            raise
        finally:
            del self._asking[row, key]
        return completion

    async def _find_or_ask(self, row: int, key: str, prompt: Prompt) -> Completion:
        if found := await self._journal.find(row, key):
            self._journal.replayed[self._role] += 1
            return found

        async def record(completion: Completion, key: str) -> None:
            cost = self._cost(completion.usage)
            await self._journal.record(Answer(row, key, self._role, self._endpoint, completion, cost))

        call = current_call()
        waits = call.waits or not self._one_of_several
        with calling(replace(call, waits=waits, charge=lambda usage: record(Completion(text="", usage=usage), ""))):
            completion = await self._model.complete(prompt)
        await record(completion, key)
        return completion
