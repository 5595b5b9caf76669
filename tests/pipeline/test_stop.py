"""What a run that stops waits for: answers that are paid for, unless they could not be kept any more."""

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.pipeline.test_pipeline import Item, Line, through
from weak2wise.errors import ConfigError, RunStopped
from weak2wise.ledger.outcomes import Failed
from weak2wise.llm.drain import Drain

HALF_AN_HOUR = 1800


class Noted(Drain):
    """Remembers for how long it should wait, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    async def drain(self, seconds: float) -> None:
        self.asked.append(seconds)


class Vanishing(Line):
    """Its input cannot be read to the end."""

    async def _source(self, rows: range, bad: frozenset[int]) -> AsyncIterator[Item | Failed]:
        async for item in super()._source(rows, bad):
            yield item
        raise ConfigError("in.jsonl: changed under the run")


async def stopping(_: Item) -> Item:
    raise RunStopped("no credit", hint="pay")


async def broken(_: Item) -> Item:
    raise ZeroDivisionError


async def waited_for(line: Line) -> list[float]:
    """For how many seconds each part of the run that stopped would have waited."""
    line.drain = noted = Noted()
    with pytest.raises((ExceptionGroup, RunStopped)):
        await line.go(range(1, 4))
    return noted.asked


async def test_answers_under_way_are_waited_for_whoever_stops_the_run(tmp_path: Path) -> None:
    assert set(await waited_for(Line(tmp_path / "a", {"a": stopping}))) == {HALF_AN_HOUR}
    assert await waited_for(Vanishing(tmp_path / "b", {"a": through("a")})) == [HALF_AN_HOUR]


async def test_nothing_is_waited_for_where_nothing_can_be_kept_or_for_a_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await waited_for(Line(tmp_path / "a", {"a": broken})) == []
    line = Line(tmp_path / "b", {"a": through("a")})

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    assert set(await waited_for(line)) == {0}
