"""Requests about batches that the provider refuses for good: the run stops and says what to change."""

from pathlib import Path

import pytest

from tests.llm.batch.runs import paid_once, quick, run, served, write
from tests.loopback.batch_faults import Rule
from weak2wise.errors import RunStopped, single_errors


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


@pytest.mark.slow
async def test_a_file_that_is_refused_stops_the_run_which_goes_on_when_it_is_not(tmp_path: Path) -> None:
    async with served(max_bytes=10) as server:
        with pytest.raises(BaseExceptionGroup) as raised:
            await run(write(tmp_path, server.base_url, {}))
    for error in single_errors(raised.value):
        assert isinstance(error, RunStopped), error
        assert "larger than 10 bytes" in str(error)
        assert "batch" in str(error.hint)
    async with served() as server:
        summary = await run(write(tmp_path, server.base_url, {}))
        assert paid_once(server.batches)
    assert summary.totals.emitted == summary.totals.rows


async def test_a_window_that_is_refused_stops_the_run(tmp_path: Path) -> None:
    async with served(windows=("7d",)) as server:
        with pytest.raises(BaseExceptionGroup) as raised:
            await run(write(tmp_path, server.base_url, {}))
        assert server.batches.charged == 0
    assert all(isinstance(error, RunStopped) for error in single_errors(raised.value))


@pytest.mark.slow
async def test_a_file_whose_upload_was_cut_twice_is_uploaded_again(tmp_path: Path) -> None:
    async with served(Rule(at="upload", fault="cut", times=2)) as server:
        await run(write(tmp_path, server.base_url, {}))
        assert paid_once(server.batches)
        assert server.batches.files == 0
