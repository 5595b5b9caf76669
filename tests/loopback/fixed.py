"""A server that says the same to everybody, for replies that no fault of the loopback server has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Heard:
    """What the server was sent: the head and the body of each request."""

    def __init__(self) -> None:
        self.url = ""
        self.heads: list[str] = []
        self.bodies: list[bytes] = []


@asynccontextmanager
async def saying(*parts: bytes, pause: float = 0.0) -> AsyncIterator[Heard]:
    """Answer each request with these bytes, ``pause`` seconds between them, then close the connection."""
    heard = Heard()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            heard.heads.append(head)
            heard.bodies.append(await reader.readexactly(int(fields.get("content-length", "0"))))
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 20)
    async with server:
        heard.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield heard
