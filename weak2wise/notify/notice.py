"""What is said when a run ends, as one JSON object that Slack, Discord and ntfy show as a message.

Slack reads ``text``, Discord ``content``; ntfy is asked by header fields to show ``title`` and ``content``
(``weak2wise.notify.deliver``). The other fields are for programs.
"""

import socket
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
from msgspec import Struct

from weak2wise.errors import RunStopped, single_errors
from weak2wise.watch.board import Board

Event = Literal["finish", "stop", "cap", "failure_rate"]
"""``stop``: by Ctrl-C, a signal or a fault. ``cap``: no more calls fit under the budget."""
LONGEST = 1500
"""Characters of a message. Discord takes 2,000 of ``content``, ntfy 4,096 bytes."""
_TITLES: Mapping[Event, str] = {
    "finish": "finished",
    "stop": "stopped",
    "cap": "stopped: the budget is used up",
    "failure_rate": "stopped: too many calls fail",
}
_SLACK = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""Else a provider's error message with ``<!channel>`` in it would call everybody."""


class Notice(Struct, frozen=True, kw_only=True):
    """One message. ``totals``, ``cost_usd`` and ``seconds`` are ``None`` if the run did not get to its first row."""

    event: Event
    title: str
    reason: str
    """Why it ended; empty if it finished and there is nothing to say about that."""
    next: tuple[str, ...]
    """What to do next, a sentence or a command each."""
    run: str
    """The end of the work_dir's path."""
    work_dir: str
    host: str
    exit_code: int
    totals: dict[str, int | None] | None
    cost_usd: float | None
    seconds: float | None

    @classmethod
    def of(
        cls, event: Event, reason: str, next_: Sequence[str], *, work_dir: Path, exit_code: int, board: Board | None
    ) -> Self:
        """The notice of a run with this work_dir, which has come as far as its ``board`` says. Blocks."""
        folder = work_dir.resolve()
        run = "/".join(folder.parts[-2:]).replace("//", "/")
        totals: dict[str, int | None] | None = None
        if board:
            totals = {"rows": board.rows, "emitted": board.emitted, "dropped": board.dropped, "failed": board.failed}
        return cls(
            event=event,
            title=f"weak2wise: {run} {_TITLES[event]}",
            reason=reason,
            next=tuple(next_),
            run=run,
            work_dir=str(folder),
            host=socket.gethostname(),
            exit_code=exit_code,
            totals=totals,
            cost_usd=round(board.cost_usd, 4) if board else None,
            seconds=board.seconds if board else None,
        )

    def message(self) -> str:
        """For people: a few lines."""
        lines = [self.title]
        if self.totals is not None:
            of = "" if self.totals["rows"] is None else f" of {self.totals['rows']:,}"
            counts = f"{self.totals['emitted']:,}{of} questions emitted"
            counts += "".join(f", {self.totals[key]:,} {key}" for key in ("dropped", "failed") if self.totals[key])
            cost = f"; ${self.cost_usd:,.2f} in all" if self.cost_usd else ""
            lines.append(f"{counts}{cost}; {timedelta(seconds=round(self.seconds or 0))} since it was started")
        lines += [self.reason] if self.reason else []
        lines += [f"{self.work_dir} on {self.host}", *(f"Next: {step}" for step in self.next)]
        text = "\n".join(lines)
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 2]} …"

    def body(self) -> bytes:
        """The JSON object. ``allowed_mentions`` keeps Discord from calling everybody."""
        message = self.message()
        shown: dict[str, Any] = {"text": message.translate(_SLACK), "content": message}
        return msgspec.json.encode(shown | {"allowed_mentions": {"parse": []}} | msgspec.to_builtins(self))


def event_of(error: BaseException) -> Event:
    """The event of a run that this error ended."""
    causes = {single.cause for single in single_errors(error) if isinstance(single, RunStopped)}
    return "cap" if "cap" in causes else "failure_rate" if "failure_rate" in causes else "stop"
