"""The barest client, for tests that look at the server itself."""

from typing import Any

import aiohttp
import msgspec

from tests.loopback.answers import Message, Request


def chat(model: str, *turns: str, seed: int | None = None, temperature: float = 0.6, stream: bool = False) -> Request:
    """A request of one to three turns: user, assistant, user."""
    roles = ("user", "assistant", "user")
    messages = tuple(Message(role, turn) for role, turn in zip(roles, turns, strict=False))
    return Request(model, messages, temperature=temperature, seed=seed, stream=stream)


async def post(
    session: aiohttp.ClientSession, base_url: str, request: Request, *, seconds: float = 60
) -> tuple[int, dict[str, str], bytes]:
    """Send one request; its status, headers (names in lower case) and body.

    Raises:
        TimeoutError: no whole reply came within so many seconds.
        aiohttp.ClientError: the connection or the reply broke.
    """
    url, body, limit = f"{base_url}/chat/completions", msgspec.json.encode(request), aiohttp.ClientTimeout(seconds)
    async with session.post(url, data=body, allow_redirects=False, timeout=limit) as response:
        return response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read()


def message_in(body: bytes) -> Any:
    """The message of a completion."""
    return msgspec.json.decode(body)["choices"][0]["message"]


def events_of(body: bytes) -> list[Any]:
    """What a stream of server-sent events holds; ``[DONE]`` stays bytes."""
    events = [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event]
    return [event if event == b"[DONE]" else msgspec.json.decode(event) for event in events]
