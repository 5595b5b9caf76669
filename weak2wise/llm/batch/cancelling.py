"""Cancels the batches of a work_dir on the user's request, while no run goes on."""

import time
from contextlib import suppress
from pathlib import Path

from msgspec import structs

from weak2wise.errors import RecordError, RunStopped
from weak2wise.llm.batch.record import BatchRecord, BatchState
from weak2wise.llm.batch.remote import RemoteBatch, RemoteBatches
from weak2wise.llm.batch.requests_file import file_of


async def cancel(provider: RemoteBatches, record: BatchRecord, state: BatchState, work_dir: Path) -> str:
    """Cancel one batch; returns what became of it, in words. What it has answered is fetched by the next start.

    Raises:
        RecordError, RunStopped: the provider cannot be asked.
    """
    if not state.batch_id:
        made = await provider.find(state.file_id, state.key)
        if not made:
            if state.file_id:
                await provider.delete(state.file_id)
            await _end(record, state, work_dir)
            return "was not made yet; given up"
        state = _out(state, made[0])
    accepted = await provider.cancel(state.batch_id)
    await record.note(structs.replace(state, at=time.time(), status="cancelling" if accepted else state.status))
    if accepted:
        return "is being cancelled; the next start fetches what it has answered"
    return "cannot be cancelled any more; the next start fetches its answers"


async def give_up(provider: RemoteBatches, record: BatchRecord, state: BatchState, work_dir: Path) -> str:
    """Forget one batch, with the answers that are paid for; cancel it and delete its files as far as that works."""
    with suppress(RecordError, RunStopped):
        made = None if state.batch_id else await provider.find(state.file_id, state.key)
        if made:
            state = _out(state, made[0])
        if state.batch_id:
            await provider.cancel(state.batch_id)
        for file_id in (state.file_id, *state.results):
            if file_id:
                await provider.delete(file_id)
    await _end(record, state, work_dir)
    return "given up: what it holds is asked for again"


def _out(state: BatchState, made: RemoteBatch) -> BatchState:
    return structs.replace(state, stage="out", batch_id=made.id, sent=state.at, status=made.word)


async def _end(record: BatchRecord, state: BatchState, work_dir: Path) -> None:
    await record.note(structs.replace(state, at=time.time(), stage="ended"))
    with suppress(OSError):
        file_of(work_dir, state.key).unlink(missing_ok=True)
