"""A real HTTP server in the place of Slack, Discord or ntfy, which answers as it is asked to."""

import json
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

SECRET = "B0123456789/xWq7rT2mPzK9"


class Webhook:
    """Listens while a ``with`` block lasts. Each request gets the next of ``statuses``, the last one again and again.

    Status 0: it never answers. ``said``: the body of each answer.
    """

    def __init__(self, statuses: Sequence[int] = (200,), *, said: str = "", port: int = 0) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._over = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.headers.append(dict(self.headers))
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.bodies.append(json.loads(body))
                status = statuses[min(len(hook.bodies), len(statuses)) - 1]
                if not status:
                    hook._over.wait(60)
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()
                self.wfile.write(said.encode())

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/services/T0123/{SECRET}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
