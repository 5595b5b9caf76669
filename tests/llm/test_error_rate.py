"""A role whose calls nearly all fail stops the run, and its end says what it did not achieve."""

from collections.abc import Iterable
from contextlib import suppress

import pytest

from weak2wise.errors import RecordError, RunStopped
from weak2wise.llm.error_rate import ErrorRate, Watched
from weak2wise.llm.errors import Transient
from weak2wise.llm.model import Completion, Message, Model, Prompt

WINDOW = 100
PROMPT = Prompt(messages=(Message("user", "?"),), temperature=0.6, seed=1)


class Scripted:
    """Fails where its script says so: ``x`` fails, ``_`` answers nothing, anything else answers."""

    def __init__(self, script: Iterable[str]) -> None:
        self.script = iter(script)

    async def complete(self, prompt: Prompt, /) -> Completion:
        del prompt
        if (what := next(self.script)) == "x":
            raise Transient("timeout", "too late", endpoint="e")
        return Completion(text="" if what == "_" else "4")


async def ask(model: Model, times: int) -> None:
    for _ in range(times):
        with suppress(RecordError):
            await model.complete(PROMPT)


def watched(rate: ErrorRate, script: str, name: str = "strong") -> Model:
    return rate.watch(Scripted(script), name)


@pytest.mark.parametrize("failure", ["x", "_"])
async def test_a_run_stops_once_more_than_the_allowed_share_of_the_latest_calls_failed(failure: str) -> None:
    most = WINDOW // 2
    model = watched(ErrorRate("strong", 0.5), "." * (WINDOW - most) + failure * (most + 2))
    await ask(model, WINDOW)  # half of them failed: as many as may
    with pytest.raises(RunStopped, match=f"{most + 1} of the last {WINDOW} calls for the role 'strong' failed"):
        await ask(model, 2)


async def test_no_run_is_stopped_before_there_are_enough_calls_and_old_failures_are_forgotten() -> None:
    model = watched(ErrorRate("strong", 0.5), "x" * (WINDOW - 1))
    await ask(model, WINDOW - 1)
    model = watched(ErrorRate("strong", 0.5), ("x" * 40 + "." * 60) * 5)
    await ask(model, 500)


async def test_a_role_goes_on_as_long_as_one_of_its_endpoints_works() -> None:
    rate = ErrorRate("strong", 0.5)
    dead, alive = watched(rate, "x" * 1000), watched(rate, "." * WINDOW + "x" * 1000)
    await ask(alive, WINDOW)
    await ask(dead, 2 * WINDOW)
    with pytest.raises(RunStopped):
        await ask(alive, WINDOW)


async def test_what_a_role_did_not_achieve_is_said_at_the_end() -> None:
    def said(rate: ErrorRate) -> list[str]:
        return list(rate.shortfalls())

    rate = ErrorRate("strong", 0.5)
    watched(rate, "", "never asked")
    assert said(rate) == []
    await ask(watched(rate, "xx.", "poor"), 3)
    assert said(rate) == [
        "2 of the last 3 calls for the role 'poor' failed, most of them for timeout; the last one: too late"
    ]
    await ask(watched(rate, "x_", "dead"), 2)
    assert [line.split("; ")[-1] for line in said(rate)] == [
        "the last one: too late",
        "the last one: an empty answer (finish_reason None)",
    ]
    await ask(watched(rate, "..x", "good"), 3)
    assert said(rate) == [
        "the role 'dead' answered none of 2 calls; the last failure: an empty answer (finish_reason None)"
    ]


async def test_a_failure_is_counted_by_its_kind_and_raised_on() -> None:
    model = watched(ErrorRate("strong", 0.5), "x._")
    assert isinstance(model, Watched)
    with pytest.raises(Transient):
        await model.complete(PROMPT)
    await ask(model, 2)
    assert (model.asked, model.answered, dict(model.recent.kinds)) == (3, 1, {"timeout": 1, "empty": 1})
