"""A Hub on the loopback device that speaks the calls of an upload: a data set is made, files go into one commit."""

import base64
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_loopback"


class HubServer:
    """``files``: what is committed, by data set and name. ``fault`` answers the named call ``times`` times.

    ``fault`` is a part of a path, and an HTTP status or ``cut``: the connection is closed without an answer.
    """

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.commits: list[str] = []
        self.calls: list[str] = []
        self.fault: tuple[str, int | str, int] = ("", 0, 0)

    def answer(self, path: str, body: bytes, token: str) -> tuple[int, Any]:
        """The status and body for one call; status 0 cuts the connection."""
        self.calls.append(path)
        part, status, times = self.fault
        if times and part in path:
            self.fault = (part, status, times - 1)
            return (0, None) if status == "cut" else (int(status), {"error": f"asked for {status}"})
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        return self._create(json.loads(body)) if path == "/api/repos/create" else self._upload(path, body)

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        assert asked["type"] == "dataset"
        if name in self.files:
            return 409, {"url": f"{self.url}/datasets/{name}", "error": "You already created this dataset repo"}
        self.files[name] = {}
        self.private[name] = asked.get("private", asked.get("visibility") == "private")
        return 200, {"url": f"{self.url}/datasets/{name}", "id": "1"}

    def _upload(self, path: str, body: bytes) -> tuple[int, Any]:
        _, _, _, user, repo, call, *_ = path.split("/")
        if call == "preupload":
            files = json.loads(body)["files"]
            modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
            return 200, {"files": modes}
        assert call == "commit"
        lines = [json.loads(line) for line in body.splitlines()]
        assert lines[0]["key"] == "header"
        for line in lines[1:]:
            assert (line["key"], line["value"]["encoding"]) == ("file", "base64")
            self.files[f"{user}/{repo}"][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        self.commits.append(lines[0]["value"]["summary"])
        commit = f"{len(self.commits):040x}"
        return 200, {"commitUrl": f"{self.url}/datasets/{user}/{repo}/commit/{commit}", "commitOid": commit}

    url = ""


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """Serve a Hub while the context is open."""
    hub = HubServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, said = hub.answer(self.path.partition("?")[0], body, self.headers.get("Authorization", ""))
            if not status:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            text = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
