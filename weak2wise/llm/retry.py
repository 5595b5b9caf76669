"""The only place of retries: transient faults with jittered exponential back-off, 429s when the limiter allows.

A 429 is not a fault of the call: the limiter pauses the whole endpoint, and the call is sent again without using up a
retry. A call that gets ``MOST_RATE_LIMITED`` 429s in a row, with the pauses between them, still gives up.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from weak2wise.errors import RecordError
from weak2wise.llm.errors import Down, RateLimited, Transient
from weak2wise.llm.model import Completion, Model, Prompt
from weak2wise.telemetry.log import log

MOST_RATE_LIMITED = 100
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
"""Seconds: what waits between attempts are drawn from."""
T = TypeVar("T")


async def persistently(ask: Callable[[], Awaitable[T]], what: str) -> T:
    """Ask until there is an answer, with the same waits, for something that is not given up while it may pass.

    ``what``: for the log.

    Raises:
        RecordError: it is refused for good.
        RunStopped: as ``ask`` does.
    """
    wait = wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT)

    def pause(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        assert isinstance(error, Transient | RateLimited)
        log.info("call.retried", what=what, kind=error.kind, attempt=state.attempt_number, message=str(error)[:200])
        return max(wait(state), min(error.retry_after or 0.0, LONGEST_WAIT))

    async def attempt() -> T:
        return await ask()

    retrying = AsyncRetrying(retry=retry_if_exception_type((Transient, RateLimited)), wait=pause, reraise=True)
    return await retrying(attempt)


class Retried:
    """A ``Model`` that repeats calls to another one as long as a retry may help."""

    def __init__(
        self, model: Model, *, max_retries: int, first_wait: float = FIRST_WAIT, longest_wait: float = LONGEST_WAIT
    ) -> None:
        self._model = model
        self._max_retries = max_retries
        self._longest_wait = longest_wait
        self._wait = wait_random_exponential(multiplier=first_wait, max=longest_wait)

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer, after as many attempts as needed and allowed.

        Raises:
            RecordError: the last attempt's, with the number of attempts.
            RunStopped: as the model does; never retried.
        """
        try:
            return await self._model.complete(prompt)  # nearly every call; tenacity's bookkeeping would double its cost
        except (Transient, RateLimited) as first:
            return await self._again(prompt, first)
        except RecordError as error:
            error.attempts = 0 if isinstance(error, Down) else 1
            raise

    async def _again(self, prompt: Prompt, first: Transient | RateLimited) -> Completion:
        tries = _Tries(first, self._max_retries)

        def pause(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            if not isinstance(error, Transient):
                return 0.0  # after a 429 the limiter holds the next attempt back
            return max(self._wait(state), min(error.retry_after or 0.0, self._longest_wait))

        async def attempt() -> Completion:
            if tries.pending:
                raise tries.pending.pop()
            return await self._model.complete(prompt)

        retrying = AsyncRetrying(
            retry=retry_if_exception_type((Transient, RateLimited)),
            wait=pause,
            stop=tries.exhausted,
            reraise=True,
        )
        try:
            return await retrying(attempt)
        except RecordError as error:
            error.attempts = tries.made + (not isinstance(error, (Transient, RateLimited, Down)))
            raise


class _Tries:
    """The attempts of one call. The first was made before; tenacity gets its error as its own first attempt."""

    def __init__(self, first: Transient | RateLimited, max_retries: int) -> None:
        self.pending = [first]
        self.made = 0
        self._faults = 0
        self._rate_limited = 0
        self._max_retries = max_retries

    def exhausted(self, state: RetryCallState) -> bool:
        """Tenacity's stop condition, checked after each failed attempt."""
        self.made += 1
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, RateLimited):
            self._rate_limited += 1
        else:
            self._faults += 1
            self._rate_limited = 0
        give_up = self._faults > self._max_retries or self._rate_limited >= MOST_RATE_LIMITED
        if isinstance(error, RecordError):
            # There are many retries while a provider is down; the terminal shows their number with the progress.
            (log.warning if give_up else log.info)(
                "call.failed" if give_up else "call.retried",
                endpoint=error.endpoint,
                kind=error.kind,
                attempt=self.made,
                message=str(error)[:200],
            )
        return give_up
