"""Who may look at the page, and by which names."""

import asyncio
import json
import re
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.watch.looking import at, get
from weak2wise.errors import ConfigError
from weak2wise.llm.cost import CostBudget
from weak2wise.watch.address import Address
from weak2wise.watch.page import served
from weak2wise.watch.vitals import Vitals


@pytest.mark.parametrize("text", ["http", "70000", "localhost:x", ""])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a port or HOST:PORT"):
        Address.of(text)


async def test_others_need_a_token_and_are_told_an_address_that_works() -> None:
    nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    with pytest.raises(ConfigError, match="set W2W_PAGE_TOKEN"):
        async with served(nobody, at("0.0.0.0:0"), {}):
            pass
    async with served(nobody, at("0.0.0.0:0"), {"W2W_PAGE_TOKEN": "open-sesame"}) as anywhere:
        url, _, hint = anywhere.partition("?")
        assert (await asyncio.to_thread(get, url, "healthz"))[0] == 200
        assert hint == "token=$W2W_PAGE_TOKEN"
        assert (await asyncio.to_thread(get, url))[0] == 401
        assert (await _raw(url, b"Host: localhost", target=b"/?token=wrong"))[0] == 401
        assert (await asyncio.to_thread(lambda: get(url, Authorization="Bearer open-sesame")))[0] == 200
        _, fields = await _raw(url, b"Host: localhost:8000", target=b"/?token=open-sesame")
        cookie = fields["set-cookie"].partition(";")[0]
        assert (await _raw(url, b"Host: localhost:8000", b"Cookie: " + cookie.encode()))[0] == 200
        assert "open-sesame" not in cookie, "a server on another port of this host is sent it, too"
        assert (await _raw(url, b"Host: localhost:8001", b"Cookie: " + cookie.encode()))[0] == 401


async def _raw(url: str, *head: bytes, target: bytes = b"/") -> tuple[int, dict[str, str]]:
    """Status and header fields of what is answered to a request written by hand."""
    host, port = url.removeprefix("http://").partition("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"\r\n".join([b"GET " + target + b" HTTP/1.1", *head, b"Connection: close", b"", b""]))
    status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    writer.close()
    await writer.wait_closed()
    return int(status.split()[1]), {field.partition(": ")[0].lower(): field.partition(": ")[2] for field in fields}


@pytest.mark.parametrize("host", ["", "127.0.0.1:", "localhost:", "[::1]:"])
@pytest.mark.parametrize("given", [{}, {"W2W_PAGE_TOKEN": ""}, {"W2W_PAGE_TOKEN": "open-sesame"}])
async def test_another_user_of_this_machine_sees_the_page_on_no_address(host: str, given: dict[str, str]) -> None:
    """Who has the printed URL does; without a token of the user's it is another one at each start."""
    nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    printed = set()
    for _ in range(2):
        async with served(nobody, at(f"{host}0"), given) as url:
            base, _, token = url.partition("?token=")
            printed.add(token)
            token = given.get("W2W_PAGE_TOKEN") or token
            for path in ("", "events", "metrics", "trace/1", "traces", "losses/failed", "report", "run.js", "nothing"):
                assert (await asyncio.to_thread(get, base, path))[0] == 401, path
            assert (await asyncio.to_thread(get, base, "healthz"))[0] == 200
            assert (await asyncio.to_thread(get, f"{base}?token={token}", "metrics"))[0] == 200
    if token == "open-sesame":
        assert printed == {"$W2W_PAGE_TOKEN"}
    else:
        assert len(printed) == 2
        assert all(len(token) >= 20 for token in printed)


@pytest.mark.parametrize("token", ["open-sesame"])
@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"localhost", 200),
        (b"[::1]:80", 200),
        (b"evil.example", 403),
        (b"localhost.evil.example", 403),
        (b"localhost:99999", 403),
        (b"\xff\xfe", 403),
        (b"", 403),
    ],
)
async def test_no_web_site_reaches_the_page_through_a_name_of_its_own(token: str, host: bytes, status: int) -> None:
    """With a token as well: a browser that was given the cookie may be led there by another name."""
    nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with served(nobody, at("0"), {"W2W_PAGE_TOKEN": token}) as url:
        _, given = await _raw(url, b"Host: localhost", target=b"/?token=open-sesame")
        cookie = given.get("set-cookie", "").partition(";")[0].encode()
        found, fields = await _raw(url, b"Host: " + host, b"Cookie: " + cookie)
    assert found == status
    assert "default-src 'none'" in fields["content-security-policy"]
    assert fields["x-content-type-options"] == "nosniff"


async def test_a_token_in_a_header_needs_no_name_and_one_that_is_no_text_is_just_wrong() -> None:
    nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with served(nobody, at("0.0.0.0:0"), {"W2W_PAGE_TOKEN": "open-sesame"}) as url:
        assert (await _raw(url, b"Host: run:8000", b"Authorization: Bearer open-sesame", target=b"/metrics"))[0] == 200
        for wrong in (b"Authorization: Bearer \xff\xfe", b"Authorization: open-sesame", b"Cookie: weak2wise-8000=\xff"):
            status, fields = await _raw(url, b"Host: 192.0.2.1:8000", wrong)
            assert status == 401
            assert "default-src 'none'" in fields["content-security-policy"]
        for path in (b"//evil.example/x", b"/trace/1", b"/"):
            status, fields = await _raw(url, b"Host: localhost", target=path + b"?token=open-sesame")
            assert (status, fields.get("location")) == (303, "/"), path
            assert {"HttpOnly", "SameSite=Strict"} <= set(fields["set-cookie"].split("; "))
            assert "open-sesame" not in fields["set-cookie"]
        cookie = fields["set-cookie"].partition(";")[0].encode()
        status, fields = await _raw(url, b"Host: localhost", b"Cookie: " + cookie, target=b"/nothing")
        assert (status, fields["x-content-type-options"]) == (404, "nosniff")


async def test_runs_on_two_ports_of_a_host_neither_overwrite_nor_open_each_other_by_their_cookies() -> None:
    """Browsers send a host's cookies to all its ports; here both runs have the same token."""
    nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with served(nobody, at("0"), {"W2W_PAGE_TOKEN": "open-sesame"}) as url:
        given = {}
        for port in (8000, 8001):
            _, fields = await _raw(url, f"Host: localhost:{port}".encode(), target=b"/?token=open-sesame")
            given[port] = fields["set-cookie"].partition(";")[0].partition("=")
        (name, _, value), (other_name, _, other_value) = given[8000], given[8001]
        assert (name != other_name, value != other_value) == (True, True)
        for one, status in ((value, 200), (other_value, 401)):
            cookie = f"Cookie: {name}={one}; {other_name}={other_value}".encode()
            assert (await _raw(url, b"Host: localhost:8000", cookie))[0] == status


async def test_health_is_told_to_everybody_and_nothing_else_with_it(tmp_path: Path) -> None:
    observer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with served(observer, at("0.0.0.0:0"), {"W2W_PAGE_TOKEN": "open-sesame"}) as url:
        health = url.partition("?")[0] + "healthz"
        status, _, text = await asyncio.to_thread(lambda: get(health, Host="run:8000"))
        assert (status, json.loads(text)) == (
            200,
            {"ok": True, "state": "starting", "reason": "the run is being opened; a model may be loading"},
        )
        board = SimpleNamespace(ending=None)
        vitals = Vitals(tmp_path, CostBudget())
        observer.set_result(SimpleNamespace(loop_lag=lambda: 60.0, board=lambda: board, vitals=vitals))
        status, _, text = await asyncio.to_thread(get, health)
        said = json.loads(text)
        assert (status, said["ok"], said["state"], said["lag"]) == (503, False, "late", 60.0)
        assert str(tmp_path) not in text


async def test_a_port_in_use_is_told() -> None:
    nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with served(nobody, at("0")) as url:
        port = url.partition("/?")[0].rpartition(":")[2]
        with pytest.raises(ConfigError, match="choose another port"):
            async with served(nobody, at(port)):
                pass


async def test_a_proxys_name_is_answered_if_it_is_allowed_and_no_other() -> None:
    nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with served(nobody, at("0", "Runs.example.org"), {"W2W_PAGE_TOKEN": "open-sesame"}) as url:
        for host, status in ((b"runs.example.org", 303), (b"runs.example.org.evil", 403), (b"evil.example", 403)):
            assert (await _raw(url, b"Host: " + host, target=b"/?token=open-sesame"))[0] == status
        assert (await _raw(url, b"Host: runs.example.org"))[0] == 401, "it needs the token all the same"
    for name in ("", "http://a", "a:80", "*", "a,b", "a b", "ü"):
        with pytest.raises(ConfigError, match="--allow-host"):
            Address.of("0", [name])


async def test_the_printed_address_leads_there_and_says_how_from_elsewhere() -> None:
    nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    token = {"W2W_PAGE_TOKEN": "a b&c#d"}
    async with served(nobody, at("0"), token, show_token=True) as url:
        port = url.split(":")[2].partition("/")[0]
        target = url.partition(port)[2].encode()
        assert (await _raw(url, b"Host: localhost", target=target))[0] == 303, "the token is written out"
        (way,) = at("0").address.hints(url)
        assert re.search(rf"ssh -L {port}:127\.0\.0\.1:{port} \S+,", way)
    async with served(nobody, at("0.0.0.0:0"), token) as url:
        host = url.removeprefix("http://").partition(":")[0]
        assert host != "0.0.0.0"
        assert not (host.startswith("127.") and _has_a_network())
        (way,) = at("0.0.0.0:0").address.hints(url)
        assert "W2W_PAGE_TOKEN" in way
        assert "a b&c#d" not in url + way, "what is not shown on a terminal may be kept in a log"


def _has_a_network() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(("192.0.2.1", 9))
        except OSError:
            return False
        return not way.getsockname()[0].startswith("127.")
