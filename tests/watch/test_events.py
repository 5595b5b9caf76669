"""What the page is sent once a second."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.watch.looking import begun, note
from weak2wise.watch import page
from weak2wise.watch.address import Address, Served
from weak2wise.watch.observer import Observed, Observer
from weak2wise.watch.page import LiveRun, served

TOKEN = "open-sesame"


async def events(url: str, count: int) -> list[dict[str, Any]]:
    """The first events of a page that was just opened."""
    host, port = url.removeprefix("http://").partition("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (b"GET /events HTTP/1.1", b"Host: localhost", b"Authorization: Bearer " + TOKEN.encode(), b"", b"")
    writer.write(b"\r\n".join(head))
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            line = await reader.readline()
            assert line, "the stream ended"
            if line.startswith(b"data: "):
                found.append(json.loads(line[6:]))
    writer.close()
    await writer.wait_closed()
    return found


@pytest.mark.slow
async def test_the_trend_of_the_run_is_sent_when_it_has_changed_and_whole_to_a_page_opened_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It has hundreds of points: sent again each second, they would be most of what is sent."""
    monkeypatch.setattr(LiveRun, "every", 0.02)
    monkeypatch.setattr(page, "TREND_EVERY", 0.0)
    log, shown = begun(tmp_path), [0]

    def board() -> dict[str, Any]:
        """The log has one more progress event every tenth time."""
        shown[0] += 1
        if shown[0] % 10 == 0:
            note(log, shown[0], "progress", ended=shown[0], filter="5+1", generate="2+0", a_per_minute=3.0)
        return Shown(ended=shown[0])

    class Shown(dict[str, Any]):
        ending = None

    observer: asyncio.Future[Observed] = asyncio.get_running_loop().create_future()
    observer.set_result(cast("Observer", SimpleNamespace(board=board, stages=[])))
    served_page = Served(Address.of("0"), tmp_path)
    async with served(observer, served_page, {"W2W_PAGE_TOKEN": TOKEN}) as url:
        first = await events(url, 32)
        trends = [event["trend"]["points"] for event in first if "trend" in event]
        assert [len(points) for points in trends] == [1, 2, 3, 4]
        assert trends[-1][1] == [10.0, 0, 10, 0.0, 3.0, 0.0, [5, 2]]
        assert all("board" in event for event in first)
        assert sum("about" in event for event in first) == 1
        (later, *_) = await events(url, 1)
        assert later["trend"]["points"][:4] == trends[-1]
        assert later["about"]["name"] == "/".join(tmp_path.parts[-2:])
        assert later["about"]["models"] == {"weak": "tiny", "strong/strong": "large"}, "no path on this machine"
