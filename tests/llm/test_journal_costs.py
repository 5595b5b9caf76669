"""What the journal keeps of each answer besides its text: its cost by role and endpoint, and that it was cleaned."""

import asyncio
from pathlib import Path

import pytest

from tests.llm.test_journal import KEY, ask, journal_in
from tests.logs import captured_logs
from weak2wise.errors import RecordError
from weak2wise.ledger.reading import Damage
from weak2wise.llm.call import Call, calling, current_call
from weak2wise.llm.errors import Rejected
from weak2wise.llm.journal import Answer, Journal, Journaled
from weak2wise.llm.model import Completion, Prompt, Usage
from weak2wise.llm.receipts import Receipt, Spent


class Model:
    """Gives one answer after charging for another that could not be used; remembers the calls' contexts."""

    def __init__(self, answer: Completion, *, broken: Usage | None = None) -> None:
        self.answer = answer
        self.broken = broken
        self.calls: list[Call] = []

    async def complete(self, _prompt: Prompt, /) -> Completion:
        call = current_call()
        self.calls.append(call)
        if self.broken:
            await call.charge(self.broken)
        return self.answer


def dollars(usage: Usage) -> float:
    return 0.25 * usage.prompt_tokens + 0.5 * usage.completion_tokens


async def test_costs_add_up_by_role_and_endpoint_and_are_the_same_after_a_restart(tmp_path: Path) -> None:
    """A charge for an answer that could not be used is money, and no call that was answered."""
    journal = journal_in(tmp_path)
    answer = Completion(text="4", usage=Usage(10, 5, 2))
    judge = Completion(text="Yes", usage=Usage(3, 1, 0, estimated=True))
    for row, role, model in (
        (1, "weak", Model(answer, broken=Usage(8, 2, 1, estimated=True))),
        (2, "weak", Model(answer)),
        (2, "judge", Model(judge)),
    ):
        with calling(Call(row=row)):
            await Journaled(model, journal, role=role, endpoint="e", settings={}, cost=dollars).complete(ask(role))
    expected = {
        ("weak", "e"): Spent(
            calls=2,
            prompt_tokens=28,
            completion_tokens=12,
            cached_tokens=5,
            cost_usd=13.0,
            estimated=1,
            wasted_usd=3.0,
        ),
        ("judge", "e"): Spent(calls=1, prompt_tokens=3, completion_tokens=1, cost_usd=1.25, estimated=1),
    }
    assert journal.spent == expected
    assert journal.total_usd == 14.25
    assert journal.replayed == {}
    await journal.close()
    again = journal_in(tmp_path)
    assert again.spent == expected
    assert again.total_usd == 14.25
    await again.close()


async def test_answers_from_the_journal_are_counted_by_role_and_cost_nothing(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    model = Model(Completion(text="4", usage=Usage(10, 5)))
    for role, times in (("weak", 3), ("judge", 2)):
        journaled = Journaled(model, journal, role=role, endpoint="e", settings={"of": role}, cost=dollars)
        with calling(Call(row=1)):
            for _ in range(times):
                await journaled.complete(ask("a"))
    assert journal.replayed == {"weak": 2, "judge": 1}
    assert journal.total_usd == 2 * 5.0
    assert len(model.calls) == 2
    await journal.close()


async def test_every_line_says_whose_answer_it_is_and_what_it_cost(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    completion = Completion(text="4", usage=Usage(10, 5))
    with calling(Call(row=7)):
        model = Model(completion, broken=Usage(8, 2))
        await Journaled(model, journal, role="weak", endpoint="e", settings={}, cost=dollars).complete(ask("a"))
    await journal.close()
    answers: list[tuple[Answer, int]] = []
    receipts: list[Receipt] = []
    damages: list[Damage] = []
    journal_in(tmp_path).damage(lambda answer, size: answers.append((answer, size)), damages.append)
    journal_in(tmp_path).look(receipts.append)
    (broken, first), (whole, second) = answers
    assert broken == Answer(7, "", "weak", "e", Completion(text="", usage=Usage(8, 2)), 3.0)
    assert whole == Answer(7, whole.key, "weak", "e", completion, 5.0)
    assert len(whole.key) == 32
    assert [(line.row, line.answered, line.cost_usd) for line in receipts] == [(7, False, 3.0), (7, True, 5.0)]
    assert first + second == (tmp_path / "journal" / "00000.jsonl").stat().st_size
    assert damages == []


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("one_of_several", [True, False])
async def test_only_a_row_that_will_be_tried_again_does_not_wait_for_one_of_several(
    tmp_path: Path, waits: bool, one_of_several: bool
) -> None:
    journal = journal_in(tmp_path)
    model = Model(Completion(text="4"))
    journaled = Journaled(model, journal, role="weak", endpoint="e", settings={}, one_of_several=one_of_several)
    with calling(Call(row=7, failures=3, waits=waits)):
        await journaled.complete(ask("a"))
    (call,) = model.calls
    assert call.waits is (waits or not one_of_several)
    assert (call.row, call.failures, call.role) == (7, 3, "weak")
    await journal.close()


@pytest.mark.parametrize(
    ("answer", "clean"),
    [
        (Completion(text="my secret"), Completion(text="my [redacted]")),
        (Completion(text="4", reasoning="a secret"), Completion(text="4", reasoning="a [redacted]")),
        (Completion(text="4", finish_reason="secret"), Completion(text="4", finish_reason="[redacted]")),
        (Completion(text="", reasoning="a secret"), Completion(text="", reasoning="a [redacted]")),
        (Completion(text="4", reasoning="why", finish_reason="stop"), None),
    ],
)
async def test_no_secret_of_an_endpoint_is_kept_or_used(
    tmp_path: Path, answer: Completion, clean: Completion | None
) -> None:
    journal = journal_in(tmp_path)
    journaled = Journaled(
        Model(answer),
        journal,
        role="weak",
        endpoint="e",
        settings={},
        redact=lambda text: text.replace("secret", "[redacted]"),
    )
    with captured_logs() as events, calling(Call(row=1)):
        assert await journaled.complete(ask("a")) == (clean or answer)
        assert await journaled.complete(ask("a")) == (clean or answer)
    assert [(event["event"], event["endpoint"]) for event in events] == ([("answer.redacted", "e")] if clean else [])
    await journal.close()
    kept: list[Answer] = []
    journal_in(tmp_path).damage(lambda one, _size: kept.append(one), lambda _: None)
    assert [(one.completion, one.redacted) for one in kept] == [(clean or answer, clean is not None)]


async def test_a_refusal_is_not_kept_and_reaches_everybody_who_waits(tmp_path: Path) -> None:
    class Refusing:
        asked = 0

        async def complete(self, _prompt: Prompt, /) -> Completion:
            self.asked += 1
            await asyncio.sleep(0.01)
            raise Rejected("bad_request", "no", endpoint="e")

    journal, model = journal_in(tmp_path), Refusing()
    journaled = Journaled(model, journal, role="weak", endpoint="e", settings={})
    with calling(Call(row=1)):
        for asked in (1, 2):
            said = await asyncio.gather(*(journaled.complete(ask("a")) for _ in range(3)), return_exceptions=True)
            assert all(isinstance(error, RecordError) for error in said)
            assert model.asked == asked
    assert journal.spent == {}
    await journal.close()


async def test_an_answer_of_a_row_or_role_that_is_over_is_counted_but_not_held(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    for row, role in ((1, "weak"), (1, "judge"), (2, "weak")):
        await journal.record(Answer(row, KEY, role, "e", Completion(text=f"{row} {role}"), 1.0))
    await journal.close()
    again = Journal(tmp_path, max_bytes=1 << 20, fsync_seconds=0.01)
    again.open({"weak": b"\0\1\1", "judge": b"\0\0"}.__getitem__)
    assert await again.find(1, KEY) == Completion(text="1 judge")
    assert await again.find(2, KEY) is None
    assert again.total_usd == 3.0
    await again.close()
