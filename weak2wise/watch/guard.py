"""Who may look at the page, and what a browser may do with what it is given.

The danger on loopback is another web site in the user's browser that reaches the page through a name of its own (DNS
rebinding). So the name that a request was sent to has to be ours: a loopback name, this machine's, or the one that the
page was bound to; bound elsewhere than to loopback, any IP address, which nobody can rebind. A token is asked for on
top of that, not in its place. One that comes as a header needs no name: no browser adds it by itself.

The browser keeps a cookie made from the token and the port. It sends a host's cookies to all its ports: so none may
push out another run's, and whoever serves another port must not learn the token from it.
"""

import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

TOKEN = "W2W_PAGE_TOKEN"  # noqa: S105 - the name of the variable that holds it
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guard(bound: str, token: str) -> Middleware:
    """What stands before every handler of a page bound to the host ``bound``; an empty ``token`` asks for none."""
    names = _LOOPBACK | {bound.lower()}
    if token:
        names.add(socket.gethostname().lower())

    @web.middleware
    async def guarded(request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            _check(request, names, token)
            response = await handler(request)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    return guarded


def _check(request: web.Request, names: set[str], token: str) -> None:
    """Return if the request may be answered; raise what is answered instead."""
    if request.path == "/healthz" or (token and _same(_bearer(request), token)):
        return
    host = _host(request)
    if host not in names and not (token and _is_address(host)):
        raise web.HTTPForbidden(text="This page answers to its own machine's names only.\n")
    if not token:
        return
    cookie, word = _cookie(request.url.port, token)
    if _same(request.query.get("token", ""), token):
        reply = web.HTTPSeeOther("/")
        reply.set_cookie(cookie, word, httponly=True, samesite="Strict")
        raise reply
    if not _same(request.cookies.get(cookie, ""), word):
        raise web.HTTPUnauthorized(text=f"Open the page with ?token= and what {TOKEN} holds.\n")


def _cookie(port: int | None, token: str) -> tuple[str, str]:
    """The cookie's name and value, for the port that the browser sees; the same after a restart."""
    name = f"weak2wise-{port}"
    return name, hmac.new(token.encode(errors="surrogateescape"), name.encode(), hashlib.sha256).hexdigest()


def _host(request: web.Request) -> str:
    """The name that the request was sent to; empty if it is none."""
    try:
        return (request.url.host or "").lower()
    except ValueError:
        return ""


def _bearer(request: web.Request) -> str:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip() if kind.lower() == "bearer" else ""


def _same(given: str, token: str) -> bool:
    """Compared in a time that tells nothing; bytes that are no text are just another wrong word."""
    return hmac.compare_digest(given.encode(errors="backslashreplace"), token.encode(errors="backslashreplace"))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
