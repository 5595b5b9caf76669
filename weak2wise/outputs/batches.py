"""The batches of a run that are out, from its files alone."""

import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from msgspec import Struct

from weak2wise.config.batch import seconds_of
from weak2wise.errors import ConfigError
from weak2wise.llm.batch.record import BatchRecord, BatchState


class BatchFacts(Struct, frozen=True, kw_only=True):
    """One batch that is out.

    ``batch``: its id at the provider; empty if it may not be made yet. ``status``: in the provider's words, as it was
    ``seen`` last; ``done`` of all its ``requests`` had been worked off then, as the provider says. ``age``: seconds
    since it was made. ``expected``: its end, if it takes as long as earlier ones; ``latest``: by its window.
    """

    key: str
    endpoint: str
    batch: str
    status: str
    requests: int
    done: int
    seen: datetime
    age: float | None
    expected: datetime | None
    latest: datetime | None


def batches_out(work_dir: Path) -> list[BatchFacts]:
    """The batches of a work_dir whose answers are still to come, the oldest first. Blocks.

    Raises:
        ConfigError: the record is damaged.
        DiskError: it cannot be read.
    """
    record = BatchRecord.seen(work_dir)
    took: dict[str, list[float]] = {}
    for state in record.latest.values():
        if state.stage in {"fetched", "ended"} and state.answered:
            took.setdefault(state.endpoint, []).append(state.at - state.sent)
    return [_facts(state, took.get(state.endpoint)) for state in record.states()]


def _facts(state: BatchState, took: list[float] | None) -> BatchFacts:
    latest = expected = None
    if state.sent:
        expected = _at(state.sent + median(took)) if took else None
        try:
            latest = _at(state.sent + seconds_of(state.window, "window"))
        except ConfigError:  # written by another version
            latest = None
    return BatchFacts(
        key=state.key,
        endpoint=state.endpoint,
        batch=state.batch_id,
        status=state.status or "not made yet",
        requests=state.requests,
        done=state.done,
        seen=_at(state.at),
        age=round(time.time() - state.sent, 1) if state.sent else None,
        expected=expected,
        latest=latest,
    )


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds), UTC)
