"""What the page is sent once a second."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from weak2wise.watch import page
from weak2wise.watch.board import Observed, Observer, Point
from weak2wise.watch.page import Address, served

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


async def test_each_point_of_the_charts_is_sent_once_and_a_page_opened_later_gets_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An hour has 720 of them: sent again each second, they would be most of what is sent."""
    monkeypatch.setattr(page, "EVERY", 0.02)
    points: list[Point] = []

    def board() -> dict[str, int]:
        """A new point every second time."""
        if len(shown) % 2 == 0:
            points.append(Point(5.0 * len(points), 1.0, 2.0, 3.0))
        shown.append(len(points))
        return {"ended": len(points)}

    shown: list[int] = []
    observer: asyncio.Future[Observed] = asyncio.get_running_loop().create_future()
    observer.set_result(cast("Observer", SimpleNamespace(points=points, board=board, stages=[])))
    async with served(observer, Address.of("0"), {"W2W_PAGE_TOKEN": TOKEN}) as url:
        first = await events(url, 8)
        seconds = [point[0] for event in first for point in event["points"]]
        assert seconds == [5.0 * number for number in range(len(seconds))]
        assert len(seconds) >= 3
        assert [event["points"] for event in first].count([]) >= 3
        before = [point.seconds for point in points]
        (later, *_) = await events(url, 1)
        assert [point[0] for point in later["points"]][: len(before)] == before
        assert ["traces" in event for event in first] == [True] + [False] * 7, "they are sent when they change"
