"""Delivers a notice to a webhook and to a command, for a bounded time.

A webhook that cannot be reached, is overloaded or does not answer is tried again until the time is over; one that
refuses is not. A command is run once: what it has done before it failed is not known.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from weak2wise.config import NotifySettings
from weak2wise.deadline import Deadline
from weak2wise.errors import ConfigError
from weak2wise.llm.http.proxy import proxies_for
from weak2wise.telemetry.plain import plain

ATTEMPT_SECONDS = 10.0
"""For one attempt at a webhook."""
_WAIT = wait_random_exponential(multiplier=0.5, max=8.0)
_MAY_PASS = frozenset({408, 425, 429})
_SHOWN = 200
"""Characters of what a webhook or a command says about its failure."""
_NTFY = {"X-Template": "yes", "X-Title": "{{.title}}", "X-Message": "{{.content}}"}
"""How an ntfy server (2.10 or newer) is asked to make a message of our JSON. Others ignore it."""


class _Failed(Exception):
    """It was not delivered, for this reason."""


class _MayPass(_Failed):
    """Another attempt may succeed."""


def obstacles(settings: NotifySettings, env: Mapping[str, str]) -> list[str]:
    """What keeps a notice from being sent, as far as that can be known without sending. Blocks."""
    found = []
    try:
        if address := settings.address(env):
            proxies_for([address], env)
    except ConfigError as error:
        found.append(str(error))
    if settings.command and shutil.which(settings.command[0], path=env.get("PATH")) is None:
        found.append(f"notify.command: {settings.command[0]}: no such program")
    return found


async def deliver(body: bytes, settings: NotifySettings, env: Mapping[str, str], seconds: float) -> list[str]:
    """Deliver a notice's ``body`` in at most so many seconds; returns what failed, in words that may hold secrets."""
    wanted = []
    if settings.url or settings.url_env:
        wanted.append(("the webhook", _post(body, settings, env, seconds)))
    if settings.command:
        wanted.append((f"the command {settings.command[0]}", _run(settings.command, body, seconds)))
    results = await asyncio.gather(*(work for _, work in wanted), return_exceptions=True)
    return [
        f"{to}: {result}" if isinstance(result, _Failed | ConfigError) else f"{to}: {type(result).__name__}: {result}"
        for (to, _), result in zip(wanted, results, strict=True)
        if isinstance(result, BaseException)
    ]


async def _post(body: bytes, settings: NotifySettings, env: Mapping[str, str], seconds: float) -> None:
    address = settings.address(env)
    assert address
    proxy = proxies_for([address], env).get(address, {})
    last: list[_Failed] = []

    async def attempt() -> None:
        try:
            await _try(session, address, body, proxy)
        except _Failed as error:
            last[:] = [error]
            raise

    timeout = aiohttp.ClientTimeout(total=ATTEMPT_SECONDS)
    retrying = AsyncRetrying(retry=retry_if_exception_type(_MayPass), wait=_WAIT, reraise=True)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, Deadline(seconds):
            await retrying(attempt)
    except TimeoutError:
        why = f"{last[0]}; tried again for {seconds:g} s" if last else f"no answer within {seconds:g} s"
        raise _Failed(why) from None


async def _try(session: aiohttp.ClientSession, address: str, body: bytes, proxy: Mapping[str, Any]) -> None:
    """One attempt. Redirects are not followed: they would make a GET of it."""
    headers = {"Content-Type": "application/json", **_NTFY}
    try:
        async with session.post(address, data=body, headers=headers, allow_redirects=False, **proxy) as reply:
            if 200 <= reply.status < 300:
                return
            said = plain((await reply.content.read(_SHOWN)).decode(errors="replace").strip())
            why = f"it answered HTTP {reply.status}{f': {said}' if said else ''}"
            raise (_MayPass if reply.status >= 500 or reply.status in _MAY_PASS else _Failed)(why)
    except TimeoutError:
        raise _MayPass(f"no answer within {ATTEMPT_SECONDS:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _MayPass(f"{type(error).__name__}: {error}") from None


async def _run(command: Sequence[str], body: bytes, seconds: float) -> None:
    """Run the command in a session of its own, so that Ctrl-C does not reach it, nor what it starts our terminal."""
    # A pipe for its errors would stay open as long as a process that it has left behind.
    with tempfile.TemporaryFile() as errors:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        except OSError as error:
            raise _Failed(error.strerror or str(error)) from None
        try:
            async with Deadline(seconds):
                await process.communicate(body)
        except TimeoutError:
            raise _Failed(f"it did not end within {seconds:g} s, and was killed") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - _SHOWN))
            said = plain(errors.read().decode(errors="replace").strip())
            raise _Failed(f"it ended with exit code {process.returncode}{f': {said}' if said else ''}")
