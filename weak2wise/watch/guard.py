"""Access control of the page: which requests are answered, and the security headers of the answers.

A request needs the token: other users of this machine can reach every port, loopback included. In addition its Host
must be known, because of DNS rebinding: another web site in the user's browser, which has the cookie, reaches the page
through its own domain name. Known are loopback names, the host that the page is bound to, this machine's name, any IP
address, because IP addresses cannot be rebound, and the names of a proxy that the user allows. A request with the token
in its Authorization header is allowed for any Host, because no browser adds that header itself.

The browser keeps a cookie made from the token and the port. Browsers send a host's cookies to all its ports. So the
cookie's name contains the port (runs do not overwrite each other's cookies), and its value does not reveal the token to
servers on other ports.
"""

import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from aiohttp.typedefs import Middleware

from weak2wise.watch.address import TOKEN

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guard(hosts: Iterable[str], token: str) -> Middleware:
    """Middleware that checks every request to a page: ``hosts`` are the one it is bound to, and those allowed."""
    names = _LOOPBACK | {socket.gethostname().lower(), *(host.lower() for host in hosts)}

    @web.middleware
    async def guarded(request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            _check(request, names, token)
            response = await handler(request)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        if not response.prepared:
            for name, value in HEADERS.items():  # a report has a policy of its own
                response.headers.setdefault(name, value)
        return response

    return guarded


def _check(request: web.Request, names: set[str], token: str) -> None:
    """Return if the request is allowed; otherwise raise the HTTP response to send."""
    if request.path == "/healthz" or _same(_bearer(request), token):
        return
    host = _host(request)
    if host not in names and not _is_address(host):
        raise web.HTTPForbidden(
            text="This page can be opened only under the names of its own machine, and those given by --allow-host.\n"
        )
    cookie, value = _cookie(request.url.port, token)
    if _same(request.query.get("token", ""), token):
        reply = web.HTTPSeeOther("/")
        reply.set_cookie(cookie, value, httponly=True, samesite="Strict")
        raise reply
    if not _same(request.cookies.get(cookie, ""), value):
        raise web.HTTPUnauthorized(
            text=f"Open the page with ?token= and the value of {TOKEN}, or under the printed URL.\n"
        )


def _cookie(port: int | None, token: str) -> tuple[str, str]:
    """The cookie's name and value for the port that the browser uses. They are the same after a restart."""
    name = f"weak2wise-{port}"
    return name, hmac.new(token.encode(errors="surrogateescape"), name.encode(), hashlib.sha256).hexdigest()


def _host(request: web.Request) -> str:
    """The request's Host, in lower case; empty if it is not valid."""
    try:
        return (request.url.host or "").lower()
    except ValueError:
        return ""


def _bearer(request: web.Request) -> str:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip() if kind.lower() == "bearer" else ""


def _same(given: str, token: str) -> bool:
    """Compare in constant time. Bytes that are not valid text are only a wrong value, not an error."""
    return hmac.compare_digest(given.encode(errors="backslashreplace"), token.encode(errors="backslashreplace"))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
