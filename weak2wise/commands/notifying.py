"""Notifies, at the end of a command, whom the config's ``notify`` names; at most once.

It is the last thing that the command does: results are printed and the work_dir is free. It changes no exit code. If it
fails, that is a line on the terminal and an event in run.log.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import uvloop

from weak2wise.commands.say import say
from weak2wise.commands.signals import until_signalled
from weak2wise.config import Config
from weak2wise.errors import ConfigError, RunStopped, single_errors
from weak2wise.llm.drain import Drain
from weak2wise.notify.deliver import deliver, obstacles
from weak2wise.notify.notice import Event, Notice, event_of
from weak2wise.run.ending import ending_of
from weak2wise.run.logged import until_end
from weak2wise.telemetry.log import RunLog, log
from weak2wise.telemetry.plain import plain
from weak2wise.telemetry.terminal import wait_for_reader
from weak2wise.watch.observer import Observed

SECONDS = 60.0
"""How long it is tried."""
INTERRUPTED_SECONDS = 5.0
"""The same after Ctrl-C or a signal: somebody waits, or kills the process soon."""


class Notifier:
    """Notifies once of the end of a command that works on this config.

    Args:
        config: names whom to notify.
        resume_command: goes on after a stop.
        redact: removes secrets from what is sent and said.

    Raises:
        ConfigError: nobody could be notified like this; better said now than at the end.
    """

    def __init__(
        self, config: Config, resume_command: str, redact: Callable[[str], str], env: Mapping[str, str] = os.environ
    ) -> None:
        for problem in obstacles(config.notify, env):
            raise ConfigError(problem)
        self._settings = config.notify
        self._work_dir = Path(config.dataset.work_dir)
        self._resume_command = resume_command
        self._redact = redact
        self._env = env
        self._over = config.notify.nobody
        self.observed: Observed | None = None
        """The run, once it is open."""

    def finished(self, reason: str, next_: Sequence[str], exit_code: int) -> None:
        """The command has got to its end; ``reason`` is what there is to say about that."""
        self._notify("finish", reason, next_, exit_code)

    def stopped(self, error: Exception, exit_code: int) -> None:
        """An error has ended it."""
        causes = single_errors(error)
        stop = next((cause for cause in causes if isinstance(cause, RunStopped)), None)
        next_ = [] if stop is None else [stop.hint]
        if not any(isinstance(cause, ConfigError) for cause in causes) and (stop is None or stop.same_command):
            next_.append(self._resume_command)
        self._notify(event_of(error), ending_of(error), next_, exit_code)

    def interrupted(self, exit_code: int, runner: asyncio.Runner | None = None) -> None:
        """Ctrl-C or a signal has ended it. ``runner``: one that cannot be closed yet."""
        self._notify(
            "stop", "interrupted", [self._resume_command], exit_code, seconds=INTERRUPTED_SECONDS, runner=runner
        )

    def _notify(
        self,
        event: Event,
        reason: str,
        next_: Sequence[str],
        exit_code: int,
        *,
        seconds: float = SECONDS,
        runner: asyncio.Runner | None = None,
    ) -> None:
        if self._over:
            return
        self._over = True
        wait_for_reader()  # what was said before comes first
        try:
            board = self.observed.board() if self.observed else None
            said = [self._redact(text) for text in next_]
            notice = Notice.of(
                event, self._redact(reason), said, work_dir=self._work_dir, exit_code=exit_code, board=board
            )
            failed = self._deliver(notice.body(), seconds, runner)
        except Exception as error:  # noqa: BLE001 - the command has ended as it has
            failed = [f"{type(error).__name__}: {error}"]
        failed = [plain(self._redact(text)) for text in failed]
        for text in failed:
            say(f"Not notified: {text}")
        with suppress(OSError), until_end(RunLog(self._work_dir / "run.log", self._redact)):
            for text in failed:
                log.warning("notify.failed", about=event, why=text)
            if not failed:
                log.info("notify.sent", about=event)

    def _deliver(self, body: bytes, seconds: float, runner: asyncio.Runner | None) -> list[str]:
        async def work() -> list[str] | None:
            return await until_signalled(deliver(body, self._settings, self._env, seconds), Drain())

        try:
            if runner:
                failed = runner.run(work())
            else:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as own:
                    failed = own.run(work())
        except KeyboardInterrupt:
            failed = None
        return ["interrupted"] if failed is None else failed
