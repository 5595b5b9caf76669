"""Keeps every paid answer, written before it is used, so that a crash in the middle of a record never pays twice.

The key of an answer is the digest of the endpoint's settings and the prompt. It belongs to the row that asked. The
index holds the answers that may be asked for again: those of rows in flight, rows to be retried, and rows that were not
finished when an earlier run stopped. Each takes sixteen bytes: half of its key, and the location of its line, which has
the whole key.

A charge for an answer that cannot be used is a line without key and text: it is never found, but its cost counts.
"""

import asyncio
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct, structs

from weak2wise.ledger.columns import Columns
from weak2wise.ledger.reading import Extent, OnDamage, Torn
from weak2wise.ledger.shards import Shards
from weak2wise.llm.call import Call, calling, current_call
from weak2wise.llm.model import Completion, Model, Prompt, Usage
from weak2wise.llm.receipts import LAYOUT, Receipt, Spent, Sums, add_up, askers, receipt_of, receipts, select, short_key
from weak2wise.llm.single_flight import single_flight
from weak2wise.telemetry.log import log

REMOVED = "0" * 32
"""The key of an answer whose text ``weak2wise gc`` has removed: that of no prompt, so it is never found."""


class Answer(Struct, frozen=True, omit_defaults=True, gc=False):
    """One line of the journal. ``redacted``: secrets of the endpoint were removed from the texts."""

    row: int
    key: str
    role: str
    endpoint: str
    completion: Completion
    cost_usd: float = 0.0
    redacted: bool = False

    @property
    def receipt(self) -> Receipt:
        """What the line costs."""
        return receipt_of(self.row, self.key, (self.role, self.endpoint), self.completion.usage, self.cost_usd)


_ANSWER = msgspec.json.Decoder(Answer)
_SWAPPED = bytes([1, 0]) + bytes(range(2, 256))
"""Makes 1 of 0 and 0 of 1."""
_EMPTY = array("Q")


class Journal:
    """The answers of all endpoints; one per work_dir.

    ``first`` and ``earlier``: as for ``Ledger``. ``also``: another journal, which is read alone: an answer that is not
    in this one is looked for there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        fsync_seconds: float,
        first: int = 0,
        earlier: Sequence[Extent] = (),
        also: "Journal | None" = None,
    ) -> None:
        self._shards = Shards(
            folder / "journal", LAYOUT, max_bytes=max_bytes, fsync_seconds=fsync_seconds, earlier=earlier
        )
        self._first = first
        self._earlier = len(earlier)
        self._also = also
        self._index: dict[int, array[int]] = {}
        """By row: the short key and the location of each answer, alternating."""
        self._encoder = msgspec.json.Encoder()
        self.spent: dict[tuple[str, str], Spent] = {}
        """By role and endpoint, without the ``earlier`` answers."""
        self.replayed: Counter[str] = Counter()

    def open(self, past: Callable[[str], bytes]) -> None:
        """Index the answers that a row may still need, and count the cost of all. Blocks; raises as ``Shards.open``.

        ``past`` gives for a role, by row, 1 if the row needs no answer of that role any more; rows that have not begun
        may be missing. It raises ``ValueError`` if there is no such role.
        """
        past = cache(past)
        sums: Sums = {}

        def take(shard: int, lines: Columns) -> None:
            needed = []
            for asker, (role, _) in enumerate(askers(lines)):
                try:
                    needed.append(past(role).translate(_SWAPPED))
                except ValueError as error:
                    raise self._shards.damaged(shard, lines["asker"].index(asker), str(error)) from None
            if shard >= self._earlier:
                add_up(sums, lines)
            if chosen := select(lines, needed, missing=1, first=self._first):
                locations = list(lines.locations(shard))
                for number, receipt in zip(chosen, receipts(lines, chosen), strict=True):
                    if receipt.answered:
                        self._note(receipt.row, receipt.short, locations[number])

        self._shards.open(take)
        self.spent = {(role, endpoint): spent for (role, endpoint, _), spent in sums.items()}

    def seek(self, rows: Iterable[int]) -> None:
        """Index the answers of these rows, for ``find`` alone: nothing on disk is changed. Blocks; raises as ``look``.

        Another process may be appending; what it adds from now on is not found.
        """
        wanted = bytearray()
        for row in rows:
            wanted.extend(bytes(max(0, row + 1 - len(wanted))))
            wanted[row] = 1
        table = bytes(wanted)

        def take(shard: int, lines: Columns) -> None:
            if chosen := select(lines, [table] * len(lines.texts), missing=0):
                locations = list(lines.locations(shard))
                for number, receipt in zip(chosen, receipts(lines, chosen), strict=True):
                    if receipt.answered:
                        self._note(receipt.row, receipt.short, locations[number])

        self._shards.look(take)

    def look(self, on_receipt: Callable[[Receipt], object]) -> None:
        """Pass every line's receipt to ``on_receipt``, changing nothing. Blocks; raises as ``Shards.open``."""

        def take(_shard: int, lines: Columns) -> None:
            for receipt in receipts(lines):
                on_receipt(receipt)

        self._shards.look(take)

    def last_row(self) -> int:
        """The highest row with an answer or a charge; 0 if there is none. Blocks; raises as ``open``."""
        last = 0

        def take(_shard: int, lines: Columns) -> None:
            nonlocal last
            last = max(last, *lines["row"], 0)

        self._shards.look(take)
        return last

    def sums(self, classes: Callable[[str], bytes] | None = None) -> Sums:
        """What was spent, also by the class of each row (``add_up``). Changes nothing. Blocks; raises as ``open``."""
        sums: Sums = {}
        known = classes and cache(classes)
        self._shards.look(lambda _, lines: add_up(sums, lines, known))
        return sums

    def damage(self, on_answer: Callable[[Answer, int], None], on_damage: OnDamage) -> None:
        """Pass every whole answer and its size in bytes to ``on_answer``, what is damaged to ``on_damage``.

        Blocks. Raises ``DiskError``.
        """
        self._shards.lines(lambda _, line: on_answer(_ANSWER.decode(line), len(line)), on_damage)

    @property
    def cut(self) -> Torn | None:
        """The torn end that ``open`` has cut off."""
        return self._shards.cut

    def _note(self, row: int, short: int, location: int) -> None:
        self._index.setdefault(row, array("Q")).extend((short, location))

    def knows(self, row: int, key: str) -> bool:
        """Whether there is an answer of the row for this key, going by the index alone."""
        known, short = self._index.get(row, _EMPTY), short_key(key)
        return any(known[at] == short for at in range(0, len(known), 2))

    async def find(self, row: int, key: str) -> Completion | None:
        """The row's answer for this key, if there is one. Raises as ``Shards.read``."""
        known = self._index.get(row, _EMPTY)
        short = short_key(key)
        for location in [known[at + 1] for at in range(0, len(known), 2) if known[at] == short]:
            answer = await asyncio.to_thread(self._shards.read, location, _ANSWER.decode)
            if answer.key == key:
                return answer.completion
        return await self._also.find(row, key) if self._also else None

    async def record(self, answer: Answer) -> None:
        """Make an answer durable. Raises ``DiskError``."""
        receipt = answer.receipt
        location = await self._shards.append(self._encoder.encode(answer), receipt)
        self.spent.setdefault((answer.role, answer.endpoint), Spent()).add(receipt)
        if receipt.answered:
            self._note(answer.row, receipt.short, location)

    @property
    def total_usd(self) -> float:
        """US dollars of all answers, over all runs of this work_dir; without the ``earlier`` ones."""
        return sum(spent.cost_usd for spent in self.spent.values())

    def release(self, row: int) -> None:
        """The row is finished: remove its answers from the index."""
        self._index.pop(row, None)

    async def close(self) -> None:
        """Flush and close. Raises ``DiskError``."""
        await self._shards.close()


class Journaled:
    """A ``Model`` that answers from the journal if this row made the same call before, and journals new answers.

    If a row makes the same call twice at once, the endpoint gets it once.
    ``settings`` is everything else that affects the endpoint's answers (model name, token limit, extra body); ``cost``
    gives an answer's cost in US dollars; ``redact`` removes the endpoint's secrets from a text. ``one_of_several``:
    other endpoints do the same work, so a row that will be tried again does not wait for this one while it is down, and
    blocks no place that the others could use. ``check_logprobs`` raises ``ConfigError`` if the endpoint cannot answer a
    prompt with a ``continuation``: it would sample an answer, and that would be paid for.
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
        redact: Callable[[str], str] = str,
        one_of_several: bool = False,
        check_logprobs: Callable[[], None] = lambda: None,
    ) -> None:
        self._model = model
        self._journal = journal
        self._role = role
        self._endpoint = endpoint
        self._cost = cost
        self._redact = redact
        self._one_of_several = one_of_several
        self._check_logprobs = check_logprobs
        self._encoder = msgspec.json.Encoder(order="sorted")
        self._seed = blake2b(self._encoder.encode((endpoint, settings)), digest_size=16)
        self._asking: dict[tuple[int, str], asyncio.Future[Completion]] = {}

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer from the journal, else from the endpoint. Raises what the endpoint raises, and ``DiskError``."""
        if prompt.continuation is not UNSET:
            self._check_logprobs()
        call = current_call()
        digest = self._seed.copy()
        digest.update(self._encoder.encode(prompt))
        key = digest.hexdigest()
        return await single_flight(self._asking, (call.row, key), lambda: self._find_or_ask(call, key, prompt))

    async def _find_or_ask(self, call: Call, key: str, prompt: Prompt) -> Completion:
        if found := await self._journal.find(call.row, key):
            self._journal.replayed[self._role] += 1
            return found

        async def record(completion: Completion, key: str, *, redacted: bool = False) -> None:
            cost = self._cost(completion.usage)
            line = Answer(call.row, key, self._role, self._endpoint, completion, cost, redacted)
            await self._journal.record(line)

        waits = call.waits or not self._one_of_several
        narrowed = Call(
            call.row,
            call.failures,
            waits,
            call.drain,
            lambda usage: record(Completion(text="", usage=usage), ""),
            self._role,
            key,
        )
        with calling(narrowed):
            completion = await self._model.complete(prompt)
        clean = without_secrets(completion, self._redact, self._endpoint)
        await record(clean, key, redacted=clean is not completion)
        return clean


def without_secrets(completion: Completion, redact: Callable[[str], str], endpoint: str) -> Completion:
    """The completion with no secret in its texts; the same object if it holds none, as nearly always."""
    text, reasoning, ended = completion.text, completion.reasoning, completion.finish_reason
    text, reasoning, ended = redact(text), reasoning and redact(reasoning), ended and redact(ended)
    if text == completion.text and reasoning == completion.reasoning and ended == completion.finish_reason:
        return completion
    log.warning("answer.redacted", endpoint=endpoint, effect="a part of its key is replaced by [redacted]")
    return structs.replace(completion, text=text, reasoning=reasoning, finish_reason=ended)
