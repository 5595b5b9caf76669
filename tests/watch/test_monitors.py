"""The line that a run without a terminal says every ten seconds."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.logs import captured_logs
from weak2wise.llm.batch.outstanding import Outstanding
from weak2wise.run import monitors
from weak2wise.watch.board import Board, EndpointFacts
from weak2wise.watch.observer import Observer


def board(*endpoints: EndpointFacts) -> Board:
    """A run that gets nowhere."""
    counts: dict[str, Any] = dict.fromkeys(("ended", "emitted", "dropped", "failed", "to_retry"), 0)
    rates: dict[str, Any] = dict.fromkeys(("seconds", "per_minute", "cost_usd", "loop_lag"), 0.0)
    nothing: dict[str, Any] = {"rows": 9, "seconds_left": None, "bottleneck": None}
    return Board(**counts, **rates, **nothing, stages=[], endpoints=list(endpoints), engines=[], verdicts={}, bits={})


async def test_progress_says_which_endpoint_is_down_and_for_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a run that waits for one would say nothing but zeros."""
    monkeypatch.setattr(monitors, "PROGRESS_SECONDS", 0.01)
    strong = EndpointFacts("strong", 0, 64, 40, 20, {"connection": 20}, 0.0, 0, 9, 0.0, down=35.4)
    weak = EndpointFacts("weak", 0, 64, 40, 40, {}, 0.0, 0, 9, 0.0)
    observer = cast("Observer", SimpleNamespace(board=lambda: board(strong, weak)))
    with captured_logs() as logs:
        logging = asyncio.create_task(monitors.progress(observer, Outstanding()))
        while not logs:
            await asyncio.sleep(0.01)
        logging.cancel()
    assert logs[0]["strong_down"] == 35
    assert "weak_down" not in logs[0]
    assert not any(name.startswith("weak") for name in logs[0]), "there is nothing to say of it"
