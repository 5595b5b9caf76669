"""The ``Model`` between the journal and an endpoint whose calls are sent in batches."""

from weak2wise.errors import Parked
from weak2wise.llm.batch.batcher import Batcher
from weak2wise.llm.call import current_call
from weak2wise.llm.model import Completion, Model, Prompt


class Batched:
    """Puts each call into the next batch and parks its row. When the answer is in the journal, the row asks again.

    Nothing of a call stays in memory but its key: a task that waits for its answer takes about ten kilobytes, and a
    batch may hold fifty thousand of them.

    Args:
        batcher: the endpoint's.
        ordinary: the same endpoint, asked by ordinary calls.
    """

    def __init__(self, batcher: Batcher, ordinary: Model) -> None:
        self._batcher = batcher
        self._ordinary = ordinary

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Park the row; or ask by an ordinary call, where the settings say so.

        Raises:
            Parked: the answer will be in the journal.
            RecordError: why the last batch has no answer.
            RunStopped: as the endpoint does.
        """
        call = current_call()
        if call.drain.started:
            await call.drain.reopened()
        if self._batcher.is_out(call):
            raise Parked
        if failure := self._batcher.failure(call):
            raise failure
        if self._batcher.is_ordinary(call):
            return await self._ordinary.complete(prompt)
        await self._batcher.add(call, prompt)
        raise Parked
