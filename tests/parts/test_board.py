"""The board of a run in parts: terminal, page and metrics see one run."""

import asyncio
from pathlib import Path

import pytest

from tests.loopback import LoopbackProcess
from tests.parts.hosts import HostsHere
from tests.parts.test_parts import QUESTIONS, asked_of, has_lines, prepared, stop_at
from weak2wise.run.engine import Engine
from weak2wise.watch.address import Address, Served
from weak2wise.watch.board import Board
from weak2wise.watch.gallery import Wanted
from weak2wise.watch.metrics import metrics
from weak2wise.watch.observer import Observed
from weak2wise.watch.page import LiveRun

pytestmark = pytest.mark.slow


async def watched(engine: Engine) -> tuple[list[Board], Observed, set[int]]:
    """Run, and look at the board all the while; also the rows of the traces that the page lists."""
    opened: asyncio.Future[Observed] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(engine.run(opened))
    page = LiveRun(opened, Served(Address.of("0"), Path("/nowhere")))
    observer, boards = await asyncio.wait_for(opened, 30), []
    listed: set[int] = set()
    while not running.done():
        boards.append(observer.board())
        assert b"weak2wise_questions" in metrics(observer, None)
        traces = await page.traces(Wanted())
        assert traces is not None
        listed |= {int(str(entry["row"])) for entry in traces.traces}
        await asyncio.sleep(0.02)
    await running
    return [*boards, observer.board()], observer, listed


def test_the_board_of_several_hosts_counts_every_row_once_and_every_request(tmp_path: Path) -> None:
    with LoopbackProcess(latency=0.02) as server:
        config = prepared(tmp_path, server.base_url)
        boards, _, _ = asyncio.run(watched(Engine(config, holders=HostsHere(config, 2))))
        asked = asked_of(server)
    ended = [board.ended for board in boards]
    assert max(ended) == QUESTIONS, "no row is seen to end twice"
    assert {board.rows for board in boards} == {QUESTIONS}
    last = boards[-1]
    assert (last.ended, last.rows, last.ending) == (QUESTIONS, QUESTIONS, "finished")
    assert last.ended == last.emitted + last.dropped + last.failed
    assert last.stages[0].done + last.stages[0].dropped == QUESTIONS
    assert last.verdicts["rule"] > 0
    assert max(sum(endpoint.sent for endpoint in board.endpoints) for board in boards) <= asked
    assert any(len({stage.busy for stage in board.stages}) > 1 for board in boards), "hosts are seen at work"


def test_one_machine_that_goes_on_in_parts_shows_the_newest_traces(tmp_path: Path) -> None:
    with LoopbackProcess(latency=0.02) as server:
        config = prepared(tmp_path, server.base_url)
        stop_at(config, lambda: HostsHere(config, 1), has_lines("parts/*/epoch-*/ledger/select/*.jsonl", 1))
        boards, observer, listed = asyncio.run(watched(Engine(config)))
    assert listed <= set(range(1, QUESTIONS + 1))
    assert listed
    assert boards[0].ended <= boards[-1].ended == QUESTIONS
    assert observer.loop_lag() >= 0
    assert {role for role, _ in observer.spent} >= {"weak", "truncation"}
