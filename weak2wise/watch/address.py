"""Where a page is served, and how people get there."""

import getpass
import ipaddress
import shlex
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from weak2wise.errors import ConfigError

TOKEN = "W2W_PAGE_TOKEN"  # noqa: S105 - the name of the variable that holds it
_ANY = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}  # noqa: S104 - how all addresses are written
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses that no machine has: the way there says which of our own others know us by. Nothing is sent."""


class Address(NamedTuple):
    """The host and port that a page is served on, and the names of a proxy by which it answers too."""

    host: str
    port: int
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str, names: Sequence[str] = (), option: str = "--page") -> "Address":
        """Parse ``8000`` or ``HOST:PORT`` (an IPv6 host in brackets). Raises ``ConfigError``."""
        host, _, port = text.rpartition(":")
        if not (port.isascii() and port.isdecimal()) or not 0 <= int(port) < 65536:
            raise ConfigError(f"{option} {text}: expected a port or HOST:PORT")
        for name in names:
            if not name or not name.isascii() or set(name) & set("/:@ *,"):
                raise ConfigError(f"--allow-host {name}: expected a host's name, such as runs.example.org")
        return cls(host.strip("[]") or "127.0.0.1", int(port), tuple(name.lower() for name in names))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def url(self, port: int) -> str:
        """The URL to open, for the port in use: on another machine too, if others can reach the page."""
        here = _of_this_machine(_ANY[self.host]) if self.host in _ANY else self.host
        return f"http://{f'[{here}]' if ':' in here else here}:{port}/"

    def hints(self, url: str) -> list[str]:
        """Other ways to the page with this URL, each a line."""
        port = urlsplit(url).port
        if self.is_loopback and not self.names:
            end = "[::1]" if ":" in self.host else "127.0.0.1"
            there = shlex.quote(f"{_user()}{socket.gethostname()}")
            return [f"From another machine: ssh -L {port}:{end}:{port} {there}, then open the same address there"]
        hints = [f"It answers under the name {name} too, for a proxy." for name in self.names]
        if f"${TOKEN}" in url:
            hints.append(f"The token is the value of {TOKEN}, which was set when this was started.")
        return hints


class Served(NamedTuple):
    """What a page is about, and where it is served. ``config``: the file that the run was started with.

    Paths are absolute.
    """

    address: Address
    work_dir: Path
    config: Path | None = None


def with_token(url: str, token: str, *, given: bool, shown: bool) -> str:
    """The URL with the token; one that the user has ``given`` is named as the variable, unless it may be ``shown``."""
    return f"{url}?token=" + (quote(token, safe="") if shown or not given else f"${TOKEN}")


def _of_this_machine(family: socket.AddressFamily) -> str:
    """The address by which other machines reach this one, as far as it knows."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as way:
        way.connect((_ELSEWHERE[family], 9))
        return str(way.getsockname()[0])
    return "127.0.0.1" if family == socket.AF_INET else "::1"


def _user() -> str:
    try:
        return f"{getpass.getuser()}@"
    except (KeyError, OSError):  # a user without a name
        return ""
