"""The journal: what arrived is never asked for again, and memory holds where it stands."""

import asyncio
import shutil
import tracemalloc
from hashlib import blake2b
from pathlib import Path

import msgspec
import pytest

from tests.api.runs import tree
from weak2wise.ledger.shards import READ_ONLY
from weak2wise.llm.call import Call, calling
from weak2wise.llm.journal import Answer, Journal, Journaled
from weak2wise.llm.model import Completion, Message, Prompt, Usage
from weak2wise.llm.receipts import MISSING

MEGABYTE = 1 << 20


class Counting:
    """A model that says which request it is answering, and can be made to wait."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def complete(self, prompt: Prompt, /) -> Completion:
        self.asked += 1
        number = self.asked
        await self.may_answer.wait()
        return Completion(text=f"{number}: {prompt.messages[0].content}", usage=Usage(10, 5, 2))


def ask(text: str, sample: int = 0) -> Prompt:
    return Prompt(messages=(Message("user", text),), temperature=0.5, seed=1, sample=sample)


KEY = "0123456789abcdef" * 2


def journal_in(folder: Path, pending: bool = True) -> Journal:
    journal = Journal(folder, max_bytes=MEGABYTE, fsync_seconds=0.01)
    journal.open(lambda _role: b"" if pending else b"\1" * 1000)
    return journal


async def test_an_answer_that_arrived_is_never_asked_for_again(tmp_path: Path) -> None:
    counting = Counting()
    journal = journal_in(tmp_path)
    model = Journaled(counting, journal, role="weak", endpoint="e", settings={})
    with calling(Call(row=1)):
        first = await model.complete(ask("a"))
        assert await model.complete(ask("a")) == first
        assert await model.complete(ask("a", sample=1)) != first
    await journal.close()
    assert counting.asked == 2

    reopened = journal_in(tmp_path)
    model = Journaled(counting, reopened, role="weak", endpoint="e", settings={})
    with calling(Call(row=1)):
        assert await model.complete(ask("a")) == first
    with calling(Call(row=2)):
        assert await model.complete(ask("a")) != first, "rows are kept apart, also when they ask the same"
    other = Journaled(counting, reopened, role="weak", endpoint="e", settings={"max_tokens": 9})
    with calling(Call(row=1)):
        assert await other.complete(ask("a")) != first, "other settings are another question"
    assert reopened.spent["weak", "e"].calls == 4
    assert reopened.spent["weak", "e"].prompt_tokens == 40
    await reopened.close()


async def test_answers_of_finished_rows_are_not_held(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    answer = Answer(1, KEY, "weak", "e", Completion(text="x"))
    await journal.record(answer)
    assert await journal.find(1, KEY) == answer.completion
    journal.release(1)
    assert await journal.find(1, KEY) is None
    await journal.close()
    finished = journal_in(tmp_path, pending=False)
    assert await finished.find(1, KEY) is None
    await finished.close()


async def test_answers_whose_keys_begin_alike_are_told_apart(tmp_path: Path) -> None:
    alike = KEY[:16] + "0" * 16
    journal = journal_in(tmp_path)
    for key, text in ((KEY, "one"), (alike, "other")):
        await journal.record(Answer(1, key, "weak", "e", Completion(text=text)))
    assert (await journal.find(1, KEY), await journal.find(1, alike)) == (
        Completion(text="one"),
        Completion(text="other"),
    )
    assert await journal.find(1, KEY[:16] + "1" * 16) is None
    await journal.close()


@pytest.mark.slow
def test_an_answer_that_a_row_may_ask_for_again_takes_some_bytes_of_memory(tmp_path: Path) -> None:
    """So that a hundred thousand rows put aside, of thirty answers each, take less than a hundred megabytes."""
    folder = tmp_path / "journal"
    folder.mkdir()
    rows, answers = 300, 30
    keys = (blake2b(str(number).encode(), digest_size=16).hexdigest() for number in range(rows * answers))
    lines = (
        msgspec.json.encode(Answer(row, next(keys), "weak", "e", Completion(text=""))) + b"\n"
        for _ in range(answers)
        for row in range(rows)
    )
    (folder / "00000.jsonl").write_bytes(b"".join(lines))
    (folder / "00001.jsonl").touch()  # of the shard that is written more is kept, until it is full
    tracemalloc.start()
    journal = journal_in(tmp_path)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert journal.spent["weak", "e"].calls == rows * answers
    assert size < 33 * rows * answers


def holding_back(folder: Path) -> tuple[Counting, Journal, Journaled]:
    """A journaled judge that answers nobody until it may."""
    counting = Counting()
    counting.may_answer.clear()
    journal = journal_in(folder)
    return counting, journal, Journaled(counting, journal, role="judge", endpoint="e", settings={})


async def test_the_same_question_asked_twice_at_once_is_asked_once(tmp_path: Path) -> None:
    counting, journal, model = holding_back(tmp_path)
    with calling(Call(row=1)):
        calls = [asyncio.create_task(model.complete(ask("a"))) for _ in range(5)]
    await asyncio.sleep(0)
    counting.may_answer.set()
    answers = await asyncio.gather(*calls)
    assert counting.asked == 1
    assert len({a.text for a in answers}) == 1
    await journal.close()


async def test_who_waits_for_an_answer_still_gets_it_if_the_one_who_asked_is_cancelled(tmp_path: Path) -> None:
    counting, journal, model = holding_back(tmp_path)
    with calling(Call(row=1)):
        first, second = (asyncio.create_task(model.complete(ask("a"))) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    counting.may_answer.set()
    assert (await second).text == "2: a"
    assert first.cancelled()
    await journal.close()


@pytest.mark.parametrize("cancelled", [1, 3])
async def test_of_many_who_wait_for_an_answer_one_asks_again_if_the_one_who_asked_is_cancelled(
    tmp_path: Path, cancelled: int
) -> None:
    """Also when that one is cancelled in turn. All others still wait: the answer is paid for once."""
    counting, journal, model = holding_back(tmp_path)
    with calling(Call(row=1)):
        calls = [asyncio.create_task(model.complete(ask("a"))) for _ in range(8)]
    for asking in calls[:cancelled]:
        await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking])
    await asyncio.sleep(0.01)
    counting.may_answer.set()
    answers = await asyncio.gather(*calls[cancelled:])
    assert {answer.text for answer in answers} == {f"{cancelled + 1}: a"}
    assert counting.asked == cancelled + 1
    await journal.close()


@pytest.mark.parametrize("by_index", [True, False])
async def test_charges_and_answers_are_the_same_by_the_index_and_by_the_lines(tmp_path: Path, by_index: bool) -> None:
    """Of unusable answers too, over several shards; of rows that are past a role the answers are not kept."""
    journal = Journal(tmp_path, max_bytes=600, fsync_seconds=0.01)
    journal.open(lambda _role: b"")
    for row in range(12):
        for number, role in enumerate(("weak", "strong/a")):
            key = f"{row:02x}{number:02x}" * 8 if row % 4 else ""
            usage = Usage(prompt_tokens=row, completion_tokens=10, cached_tokens=number, estimated=row == 5)
            await journal.record(Answer(row, key, role, "e", Completion(text="x", usage=usage), 0.25))
    spent = dict(journal.spent)
    await journal.close()
    assert len(list(tmp_path.glob("journal.index/*"))) == len(list(tmp_path.glob("journal/*"))) > 3
    if not by_index:
        shutil.rmtree(tmp_path / "journal.index")

    again = Journal(tmp_path, max_bytes=600, fsync_seconds=0.01)
    again.open(lambda role: bytes([0, 1] * 4) if role == "weak" else b"")
    assert again.spent == spent
    assert (spent["weak", "e"].calls, spent["weak", "e"].wasted_usd, spent["weak", "e"].estimated) == (9, 0.75, 1)
    kept = {row: bool(await again.find(row, f"{row:02x}00" * 8)) for row in range(12)}
    assert [row for row, found in kept.items() if found] == [2, 6, 9, 10, 11], "missing rows have not begun"
    assert all([await again.find(row, f"{row:02x}01" * 8) for row in range(12) if row % 4])

    classes = bytes([0, 1, 2] * 3)
    sums = again.sums(lambda _role: classes)
    for role in ("weak", "strong/a"):
        for number in (0, 1, 2, MISSING):
            rows = [row for row in range(12) if (classes[row] if row < len(classes) else MISSING) == number]
            of = sums[role, "e", number]
            assert (of.prompt_tokens, of.cost_usd) == (sum(rows), 0.25 * len(rows)), (role, number)
            assert of.calls == sum(row % 4 > 0 for row in rows)
    seen: list[tuple[int, str, bool, int]] = []
    again.look(lambda receipt: seen.append((receipt.row, receipt.role, receipt.answered, receipt.prompt_tokens)))
    assert seen == [(row, role, row % 4 > 0, row) for row in range(12) for role in ("weak", "strong/a")]
    await again.close()


async def test_an_earlier_journal_answers_for_the_rows_that_are_sought_and_is_not_changed(tmp_path: Path) -> None:
    """Also while its own run goes on: what is there when it is looked at counts."""
    counting = Counting()
    first = journal_in(tmp_path / "first")
    model = Journaled(counting, first, role="weak", endpoint="e", settings={})
    for row in (1, 2):
        with calling(Call(row=row)):
            await model.complete(ask("a"))
    before = tree(tmp_path / "first")
    earlier = Journal(tmp_path / "first", **READ_ONLY)
    earlier.seek([1, 7])
    assert earlier._index.keys() == {1}, "memory is for the rows that are sought"
    second = Journal(tmp_path / "second", max_bytes=MEGABYTE, fsync_seconds=0.01, also=earlier)
    second.open(lambda _role: b"")
    model = Journaled(counting, second, role="weak", endpoint="e", settings={})
    with calling(Call(row=1)):
        assert (await model.complete(ask("a"))).text == "1: a"
        assert (await model.complete(ask("b"))).text == "3: b"
        assert (await model.complete(ask("b"))).text == "3: b"
    with calling(Call(row=2)):
        assert (await model.complete(ask("a"))).text == "4: a", "not sought"
    assert second.spent["weak", "e"].calls == 2, "what the earlier one paid is not paid again"
    assert tree(tmp_path / "first") == before
    await second.close()
    await first.close()
