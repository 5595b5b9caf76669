"""One account of every row: what it needs next, how it ended, and totals that balance whatever happened."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from weak2wise.ledger.account import INPUT, Account, Totals
from weak2wise.ledger.outcomes import Done, Dropped, Failed, Ledger, Outcome, RowStatus

STEPS = ("a", "b", "c")
KINDS = ("timeout", "refused")
ROWS = 6


def account_in(folder: Path) -> Account:
    """Fresh ledgers over what the folder holds."""
    ledgers = {}
    for name in (INPUT, *STEPS):
        ledgers[name] = Ledger[Any](name, folder, object, max_bytes=1 << 20, fsync_seconds=60)
        ledgers[name].open()
    return Account(ledgers.pop(INPUT), ledgers)


async def close(account: Account) -> None:
    for ledger in (account.intake, *account.steps.values()):
        await ledger.close()


def done(row: int, step: str) -> Done[str]:
    return Done(row, f"{row} after {step}")


def failed(row: int, step: str, kind: str = "timeout") -> Failed:
    return Failed(row=row, stage=step, kind=kind, message="no answer")


async def written(folder: Path, *history: tuple[str, Outcome[Any]]) -> Account:
    """The account of a folder in which these outcomes were written, each to the ledger of a step or of the input."""
    account = account_in(folder)
    for name, outcome in history:
        await (account.intake if name == INPUT else account.steps[name]).append(outcome)
    return account


async def test_a_rows_next_step_is_the_first_that_has_not_done_it(tmp_path: Path) -> None:
    account = await written(
        tmp_path,
        *((step, done(1, step)) for step in STEPS),
        ("a", done(2, "a")),
        ("a", Dropped(3, "too_easy")),
        ("a", done(4, "a")),
        ("b", failed(4, "b")),
    )
    assert [account.next_step(row) for row in range(6)] == ["a", None, "b", None, "b", "a"]
    assert account.pending([1, 2, 4, 5]) == [1, 2, 0]
    assert [account.is_pending(2, step) for step in STEPS] == [False, True, True]
    assert not any(account.is_pending(row, step) for row in (1, 3) for step in STEPS)
    await close(account)


async def test_a_row_that_lost_an_early_outcome_goes_on_from_there(tmp_path: Path) -> None:
    """A power cut takes the end of each ledger by itself; the row still counts as what the later ledger kept."""
    account = await written(tmp_path, ("b", done(1, "b")), ("b", Dropped(2, "too_easy")))
    assert [account.next_step(row) for row in (1, 2)] == ["a", "a"]
    assert list(account.ends()) == [Dropped(2, "too_easy")]
    await close(account)


async def test_a_row_enters_a_step_with_the_record_of_the_step_before(tmp_path: Path) -> None:
    account = await written(tmp_path, ("a", done(1, "a")), ("b", done(1, "b")))
    assert await account.record_for(1, "a") is None
    assert await account.record_for(1, "b") == "1 after a"
    assert await account.record_for(1, "c") == "1 after b"
    await close(account)


async def test_a_failure_counts_until_the_row_is_through(tmp_path: Path) -> None:
    """Also while its new trial is interrupted behind the step that it failed in."""
    account = await written(
        tmp_path,
        ("a", failed(1, "a")),
        ("a", failed(2, "a", "refused")),
        ("a", failed(3, "a")),
        ("a", done(3, "a")),
        ("a", failed(4, "a")),
        *((step, done(4, step)) for step in STEPS),
        ("a", failed(5, "a")),
        ("a", Dropped(5, "too_easy")),
        (INPUT, failed(6, INPUT)),
    )
    assert account.failed_rows({"timeout"}) == ({1, 3}, {"timeout": 1, "refused": 1})
    assert account.failed_rows({"refused"})[0] == {2}
    await close(account)


async def test_unreadable_lines_are_counted_apart_from_what_failed_in_a_step(tmp_path: Path) -> None:
    account = await written(
        tmp_path, (INPUT, failed(1, INPUT, "not_json")), (INPUT, failed(2, INPUT, "no_text")), ("a", failed(3, "a"))
    )
    totals = account.totals(4)
    assert totals.failed == {"a/timeout": 1, "input/no_text": 1, "input/not_json": 1}
    assert (totals.unreadable, totals.unfinished) == (2, 1)
    assert (account.unreadable, account.tally(RowStatus.FAILED)) == (2, 1)
    await close(account)


async def test_a_run_that_stops_at_a_step_knows_nothing_of_the_later_ones(tmp_path: Path) -> None:
    account = await written(tmp_path, ("a", done(1, "a")), ("b", failed(1, "b")), ("c", Dropped(2, "too_easy")))
    early = account.up_to("a")
    assert early.totals(2) == Totals(rows=2, emitted=1, dropped={}, failed={}, unfinished=1)
    assert (early.next_step(1), account.next_step(1)) == (None, "b")
    assert (early.begun(), account.begun()) == (1, 2)
    await close(account)


Event = tuple[int, str, str]
"""A row, the ledger of a step or of the input, and what it left: ``done``, or the word of a drop or a failure."""

events = st.lists(
    st.one_of(
        st.tuples(st.integers(0, ROWS - 1), st.sampled_from(STEPS), st.sampled_from(["done", "too_easy", *KINDS])),
        st.tuples(st.integers(0, ROWS - 1), st.just(INPUT), st.sampled_from(KINDS)),
    ),
    max_size=40,
)


def outcome_of(row: int, name: str, word: str) -> Outcome[Any]:
    if word == "done":
        return done(row, name)
    return failed(row, name, word) if word in KINDS else Dropped(row, word)


def model_of(history: list[Event], row: int) -> tuple[str | None, str]:
    """A row's next step and how it stands, from its outcomes replayed one by one."""
    last = {name: word for number, name, word in history if number == row}
    next_step: str | None = None
    for step in STEPS:
        if last.get(step) != "done":
            next_step = None if last.get(step) == "too_easy" else step
            break
    latest = [name for name in (INPUT, *STEPS) if name in last][-1:]
    if not latest:
        return next_step, "unfinished"
    word = last[latest[0]]
    if word == "done":
        return next_step, "emitted" if latest[0] == STEPS[-1] else "unfinished"
    return next_step, word if word == "too_easy" else f"{latest[0]}/{word}"


async def checked(folder: Path, history: list[Event]) -> None:
    account = await written(folder, *((name, outcome_of(row, name, word)) for row, name, word in history))
    model = [model_of(history, row) for row in range(ROWS)]
    again = account_in(folder)
    for seen in (account, again):
        totals = seen.totals(ROWS)
        assert totals.rows == (
            totals.emitted + sum(totals.dropped.values()) + sum(totals.failed.values()) + totals.unfinished
        )
        found = {"emitted": totals.emitted, "unfinished": totals.unfinished, **totals.dropped, **totals.failed}
        ways = [way for _, way in model]
        assert {way: count for way, count in found.items() if count} == {way: ways.count(way) for way in ways}
        assert [seen.next_step(row) for row in range(ROWS)] == [step for step, _ in model]
        assert seen.pending(range(ROWS)) == [sum(step == name for step, _ in model) for name in STEPS]
        assert seen.begun() == len({row for row, _, _ in history})
        for step in STEPS:
            past = seen.past(step).ljust(ROWS, b"\0")
            assert [not over for over in past[:ROWS]] == [seen.is_pending(row, step) for row in range(ROWS)]
    await close(account)
    await close(again)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(events)
def test_the_totals_balance_and_agree_with_a_row_by_row_replay_after_any_history(history: list[Event]) -> None:
    """Also of ledgers read again, and of histories that only power cuts leave."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(checked(Path(folder), history))


@pytest.mark.parametrize("stop", range(len(STEPS) + 1))
async def test_rows_before_each_step_are_known_from_tallies_alone(tmp_path: Path, stop: int) -> None:
    """With the readable rows of the input added to the first step, they are what looking at every row finds."""
    history: list[tuple[str, Outcome[Any]]] = [(INPUT, failed(ROWS - 1, INPUT))]
    for row in range(ROWS - 1):
        steps = STEPS[: min(stop, row)]
        history += [(step, done(row, step)) for step in steps]
        if row == ROWS - 2 and stop < len(STEPS):
            history.append((STEPS[len(steps)], Dropped(row, "too_easy")))
    account = await written(tmp_path, *history)
    first, *others = account.pending()
    assert [first + ROWS - account.unreadable, *others] == account.pending(range(ROWS - 1))
    await close(account)
