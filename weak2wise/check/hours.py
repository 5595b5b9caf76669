"""Forecast of the time that the remaining calls take, by step, and what sets the speed.

An endpoint's speed is the best that it had in the last start of the work_dir, if the log has it. Otherwise it follows
from the configured limits and from how long a call takes: as long, a token, as the small question that ``check`` asked.
An endpoint whose calls are sent in batches takes as long as their window.
Steps run side by side, so the whole takes as long as the endpoint that is busy longest.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct

from weak2wise.check.forecast import Outlook
from weak2wise.config import Config, OpenAIEndpoint
from weak2wise.config.endpoint_settings import LimitSettings
from weak2wise.llm.limits.limits import FIRST_CONCURRENCY
from weak2wise.outputs.history import Speed


class Taken(Struct, frozen=True):
    """How many seconds an endpoint took for the small question, and the tokens of its answer."""

    seconds: float
    tokens: int


class Hours(Struct, frozen=True, kw_only=True):
    """How long a step, or the whole run, takes.

    ``hours``: at least; ``None`` if nothing is known. ``limit``: what sets the speed, in words. ``unknown``: endpoints
    whose speed is not known, so that it may take longer.
    """

    step: str
    hours: float | None
    limit: str
    unknown: list[str]


class Timetable(Struct, frozen=True):
    """Each step that still asks something, and the whole run (its ``step`` is ``all``)."""

    steps: list[Hours]
    whole: Hours


class _Work(NamedTuple):
    """What is to be asked of one endpoint."""

    calls: float
    prompt: float
    answer: float
    """Tokens of all prompts, and of all answers."""


def timetable(config: Config, outlook: Outlook, taken: Mapping[str, Taken], speed: Speed) -> Timetable:
    """How long the steps and the whole run take.

    Args:
        config: the run.
        outlook: its forecast.
        taken: by endpoint, how long the small question took.
        speed: of the work_dir's last start.
    """
    roles = config.roles()
    each = {part.role: part for part in outlook.parts if part.calls}
    found, whole = [], defaultdict[str, list[_Work]](list)
    for step, calls in outlook.steps.items():
        works = defaultdict[str, list[_Work]](list)
        for role, number in calls.items():
            if number and (part := each.get(role)):
                share = number / part.calls
                work = _Work(number, share * part.prompt_tokens, share * part.completion_tokens)
                works[roles[role]].append(work)
                whole[roles[role]].append(work)
        if works:
            found.append(_hours(step, config, works, taken, speed))
    return Timetable(found, _hours("all", config, whole, taken, speed))


def _hours(
    step: str, config: Config, works: Mapping[str, list[_Work]], taken: Mapping[str, Taken], speed: Speed
) -> Hours:
    """The place that is busy longest: an endpoint, or several that share limits."""
    places = defaultdict[str, dict[str, _Work]](dict)
    limits: dict[str, LimitSettings] = {}
    longer: dict[str, float] = {}
    for name, parts in works.items():
        settings = config.endpoints[name].limits
        place = settings.limit_group or name
        limits[place] = settings
        places[place][name] = _Work(*map(sum, zip(*parts, strict=True)))
        longer[place] = max(longer.get(place, 1.0), _longer(config, name))
    times: list[tuple[float, str]] = []
    unknown = []
    for place, works_at in places.items():
        times += [*_batched(config, works_at)]
        by_name = {name: work for name, work in works_at.items() if not config.endpoints[name].batched}
        if not by_name:
            continue
        found = [*_limited(limits[place], by_name.values())]
        asking = 0.0
        for name, work in by_name.items():
            if seconds := _as_before(name, work, speed):
                found.append((seconds, "as fast as in the last run"))
            elif name in taken:
                asking += _asking(work, taken[name])
            else:
                unknown.append(name)
        if asking:
            at_once = limits[place].max_concurrent_requests
            said = (
                f"max_concurrent_requests {at_once:,}" if at_once else f"{FIRST_CONCURRENCY} requests at once, at first"
            )
            found.append((asking / (at_once or FIRST_CONCURRENCY), said))
        times += [(seconds * longer[place], f"{place}: {limit}") for seconds, limit in found]
    if not times:
        return Hours(step=step, hours=None, limit="", unknown=unknown)
    longest, limit = max(times)
    return Hours(step=step, hours=longest / 3600, limit=limit, unknown=unknown)


def _batched(config: Config, names: Iterable[str]) -> Iterator[tuple[float, str]]:
    """Seconds that the endpoints among these may take whose calls are sent in batches, and why."""
    for name in names:
        settings = config.endpoints[name]
        if isinstance(settings, OpenAIEndpoint) and settings.batch:
            yield settings.batch.window_seconds, f"{name}: a batch may take {settings.batch.window}"


def _longer(config: Config, name: str) -> float:
    """How many times as long it takes because calls wait for off-peak hours."""
    hours = config.endpoints[name].off_peak
    waits = config.engine.wait_for_off_peak and name in config.models.mstrong
    return 1 / hours.share if hours and waits else 1.0


def _limited(limits: LimitSettings, works: Iterable[_Work]) -> Iterator[tuple[float, str]]:
    """Seconds that the configured limits of requests and tokens a minute allow at best, and the limit in words."""
    total = _Work(*map(sum, zip(*works, strict=True)))
    if requests := limits.max_requests_per_minute:
        yield 60 * total.calls / requests, f"max_requests_per_minute {requests:,g}"
    if tokens := limits.max_tokens_per_minute:
        yield 60 * (total.prompt + total.answer) / tokens, f"max_tokens_per_minute {tokens:,.0f}"


def _as_before(name: str, work: _Work, speed: Speed) -> float | None:
    """Seconds at the speed of the last run; ``None`` if its log has none for this endpoint."""
    if calls := speed.per_minute.get(name):
        return 60 * work.calls / calls
    if tokens := speed.tokens_per_second.get(name):
        return work.answer / tokens
    return None


def _asking(work: _Work, taken: Taken) -> float:
    """Seconds of all calls one after another."""
    longer = work.answer / work.calls / max(1, taken.tokens)
    return work.calls * taken.seconds * max(1.0, longer)
