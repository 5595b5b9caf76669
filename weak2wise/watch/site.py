"""A small web site of this process: its static files, access control, and the address that it is served on."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files

from aiohttp import web
from aiohttp.typedefs import Handler

from weak2wise.errors import ConfigError, RunStopped
from weak2wise.watch.address import TOKEN, Address, with_token
from weak2wise.watch.guard import guard

_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_PACKAGES = {"style.css": "weak2wise.outputs.report"}
FILES = ("style.css", "page.css", "icon.svg", "common.js", "charts.js", "traces.js", "losses.js", "run.js")
"""Static files that every site has, at its root."""


class Static:
    """Static files, read once."""

    def __init__(self, names: Iterable[str]) -> None:
        self._read = {name: _file(name) for name in names}

    def reply(self, name: str) -> web.Response:
        """The file as an answer."""
        kind = _KINDS[name[name.rindex(".") :]]
        return web.Response(body=self._read[name], content_type=kind, charset="utf-8")

    def add_to(self, app: web.Application, path: str, name: str) -> None:
        """Answer with this file at a path."""

        async def static(_request: web.Request) -> web.Response:
            return self.reply(name)

        app.router.add_get(path, static)


def _file(name: str) -> bytes:
    package = _PACKAGES.get(name, "weak2wise.watch")
    return files(package).joinpath(name if name in _PACKAGES else f"static/{name}").read_bytes()


@web.middleware
async def _in_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Files that cannot be read are no error of this program: the answer says which, and why."""
    try:
        return await handler(request)
    except ConnectionError:
        raise
    except (ConfigError, RunStopped, OSError) as error:
        raise web.HTTPServiceUnavailable(text=f"{error}\n") from None


@asynccontextmanager
async def site(
    app: web.Application,
    address: Address,
    closing: asyncio.Event,
    env: Mapping[str, str],
    *,
    option: str = "--page",
    show_token: bool = False,
) -> AsyncIterator[str]:
    """Serve an application while the context is open; ``closing`` is set before it closes.

    Yields its URL with the token: that in ``$W2W_PAGE_TOKEN``, by this name unless it may be shown, or one made for
    this start.

    Raises:
        ConfigError: the address cannot be used, or needs a token.
    """
    given = env.get(TOKEN, "")
    token = given or secrets.token_urlsafe(16)
    where = f"{option} {address.host}:{address.port}"
    if not given and not address.is_loopback:
        raise ConfigError(f"{where}: other machines could see it; set {TOKEN} to a secret value first")
    app.middlewares.extend((guard({address.host, *address.names}, token), _in_words))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address.host, address.port).start()
        except OSError as error:
            raise ConfigError(f"{where}: {error.strerror}; choose another port") from None
        yield with_token(address.url(runner.addresses[0][1]), token, given=bool(given), shown=show_token)
    finally:
        closing.set()
        await runner.cleanup()
