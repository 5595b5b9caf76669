"""The findings of ``check``: input, work_dir, endpoints. Nothing is written."""

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from msgspec import Struct

from weak2wise.check.batches import batch_said
from weak2wise.check.forecast import Source
from weak2wise.check.hours import Taken
from weak2wise.check.provider_notes import provider_notes, shutdown_notes
from weak2wise.config import Config, environment_problems
from weak2wise.deadline import Deadline
from weak2wise.errors import ConfigError, RecordError, RunStopped
from weak2wise.ledger.files import holder
from weak2wise.ledger.manifest import Resume
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.endpoint import Endpoint, HostParts, endpoint_class
from weak2wise.llm.errors import Rejected, Unusable
from weak2wise.llm.model import Completion, Message, Prompt
from weak2wise.notify.deliver import obstacles
from weak2wise.outputs.claim import check_owner, check_work_dir
from weak2wise.paths import output_of
from weak2wise.run.engine import Engine
from weak2wise.telemetry.plain import plain
from weak2wise.telemetry.redaction import ANSWER_SECRET, short_secret
from workers.decontaminate import Overlap

QUESTION = "What is 2 + 3? Answer with the number alone."
ASK_SECONDS = 60.0
"""Seconds an endpoint may take to answer it. A run waits longer (``request_timeout``)."""


_SHOWN_MODELS = 8


class Finding(Struct, frozen=True):
    """The result of one check. A ``bad`` one means that a run would not work. ``said``: the details in words.

    ``taken``: what the small question took, where one was answered.
    """

    about: str
    verdict: Literal["good", "warning", "bad"]
    said: str
    taken: Taken | None = None


def input_finding(source: Source) -> Finding:
    """Whether the input holds questions to run, and how many."""
    said = f"{source.good:,} questions"
    if source.bad:
        rows = "1 invalid row" if source.bad == 1 else f"{source.bad:,} invalid rows, the first"
        said += f"; {rows}: {source.first_bad}"
    if source.contaminated:
        said += f"; {source.contaminated:,} are in evaluation sets and will be dropped"
    if source.duplicates:
        said += f"; {source.duplicates:,} nearly repeat an earlier question and will be dropped"
    if source.good == source.contaminated:
        return Finding("input", "bad", said)
    return Finding("input", "warning" if source.bad else "good", said)


def notify_finding(config: Config, env: Mapping[str, str] = os.environ) -> Finding | None:
    """Whether somebody can be notified at the end, as far as that is seen without sending; ``None``: nobody is to be.

    Blocks.
    """
    notify = config.notify
    if notify.nobody:
        return None
    if found := obstacles(notify, env):
        return Finding("notify", "bad", "; ".join(found))
    webhook = f"the webhook in {notify.url_env}" if notify.url_env else "the webhook" if notify.url else ""
    command = f"the command {notify.command[0]}" if notify.command else ""
    return Finding("notify", "good", f"{' and '.join(filter(None, (webhook, command)))}, at the end; not tried now")


def secret_findings(config: Config, env: Mapping[str, str] = os.environ) -> list[Finding]:
    """A warning for each secret in use that is too short to be looked for in answers."""
    found = []
    for name in dict.fromkeys(config.roles().values()):
        endpoint = config.endpoints[name]
        for secret, variable in endpoint.secrets().items():
            if short_secret(env.get(variable, "")):
                key = f"model_endpoints.{name}.{endpoint.secret_key(secret)}"
                said = (
                    f"the value of {variable} ({key}) has fewer than {ANSWER_SECRET} characters: it is removed from "
                    "messages, but not from an answer that repeats it"
                )
                found.append(Finding(f"endpoint {name}", "warning", said))
    return found


def work_dir_finding(engine: Engine, folder: Path, overlap: Overlap | None, resume: Resume) -> Finding:
    """Whether a run can start, or resume, in its work_dir, and its output may be written. Blocks."""
    process = holder(folder)
    if process is not None:
        by = f" (process {process})" if process else ""
        return Finding("work_dir", "bad", f"{folder}: in use by another engine{by} (dataset.work_dir)")
    try:
        old, changed = engine.compare(overlap, resume)
        check_work_dir(folder)
        check_owner(output_of(engine.config), folder)
    except ConfigError as error:
        return Finding("work_dir", "bad", str(error))
    if old and resume != "never":
        said = f"resumes the run begun {old.created}"
        return Finding("work_dir", "good", said + (f"; changed since: {', '.join(changed)}" if changed else ""))
    return Finding("work_dir", "good", f"{folder}: a new run starts")


async def endpoint_findings(config: Config, budget: CostBudget, *, load: bool) -> AsyncIterator[Finding]:
    """Check every endpoint in use. Remote ones are asked in parallel and yielded as they answer; then embedded models.

    An endpoint that cannot be asked does not keep the others from being asked. The questions are paid for from
    ``budget``. An embedded model is only inspected, unless ``load`` is set: then it is also loaded and asked.
    """
    parts = HostParts(budget=budget)
    classes: dict[str, type[Endpoint]] = {}
    problems = dict(reversed([*environment_problems(config, os.environ)]))  # the first of each endpoint
    for name in dict.fromkeys(config.roles().values()):
        try:
            kind = endpoint_class(name, config.endpoints[name])
            kind.check(name, config.endpoints[name])
        except ConfigError as error:
            problems.setdefault(name, str(error))
        else:
            classes[name] = kind
    for name, problem in problems.items():
        classes.pop(name, None)
        yield Finding(f"endpoint {name}", "bad", problem)
    remote = [name for name, kind in classes.items() if not kind.embedded]
    asking = [_ask(classes[name](name, config.endpoints[name], parts), config, ASK_SECONDS) for name in remote]
    for asked in asyncio.as_completed(asking):
        yield await asked
    for name, kind in classes.items():
        if kind.embedded:
            seen = await asyncio.to_thread(kind.inspect, name, config.endpoints[name])
            yield Finding(f"endpoint {name}", seen.verdict, seen.said)
            if load and seen.verdict != "bad":
                yield await _ask(kind(name, config.endpoints[name], parts), config, math.inf)


async def _ask(endpoint: Endpoint, config: Config, seconds: float) -> Finding:
    """Open an endpoint, ask it once, without retries, for so many seconds at most, and close it."""
    began = time.monotonic()
    try:
        async with Deadline(seconds):
            await endpoint.open()
            completion = await _answer(endpoint, _prompt(config))
    except (ConfigError, RecordError, RunStopped) as error:
        return _refused(endpoint, error, await endpoint.offers() if isinstance(error, Unusable | Rejected) else {})
    except TimeoutError:
        waits = config.endpoints[endpoint.name].answer_timeout
        patience = "wait longer" if waits is None else f"wait {waits:g} s for each"
        said = f"no answer to a small question within {ASK_SECONDS:g} s; a run would {patience}"
        slow = getattr(endpoint.settings, "lane", None)  # its answers may well take longer
        return Finding(f"endpoint {endpoint.name}", "warning" if slow else "bad", said)
    except Exception as error:  # noqa: BLE001 - a class loaded by import path may raise anything
        said = endpoint.redact(f"a bug in {type(endpoint).__qualname__}: {type(error).__name__}: {error}")
        return Finding(f"endpoint {endpoint.name}", "bad", said)
    else:
        answered = _answered(endpoint, config, completion, began)
        listed, of_batches = await batch_said(endpoint)
        if of_batches:
            verdict = answered.verdict if listed else "bad"
            answered = Finding(answered.about, verdict, f"{answered.said}; {of_batches}", answered.taken)
        today = datetime.now(UTC).date()
        notes = [
            *provider_notes(endpoint.name, config, today),
            *shutdown_notes(endpoint.name, endpoint.settings.model, await endpoint.offers(), today),
        ]
        if not notes or answered.verdict == "bad":
            return answered
        return Finding(answered.about, "warning", "; ".join((answered.said, *notes)), answered.taken)
    finally:
        await endpoint.close()


async def _answer(endpoint: Endpoint, prompt: Prompt) -> Completion:
    """Ask once. Raises what the endpoint raises, and ``RunStopped`` if the budget does not allow it."""
    model = endpoint if endpoint.embedded else endpoint.admitted()
    budget = endpoint.parts.budget
    asked, stopped = asyncio.create_task(model.complete(prompt)), asyncio.create_task(budget.exhausted.wait())
    try:
        await asyncio.wait({asked, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise budget.stop()
        return asked.result()
    finally:
        asked.cancel()
        stopped.cancel()


def _prompt(config: Config) -> Prompt:
    return Prompt(messages=(Message("user", QUESTION),), temperature=0.6, seed=config.params.seed)


def _refused(
    endpoint: Endpoint, error: ConfigError | RecordError | RunStopped, offers: Mapping[str, object]
) -> Finding:
    hint = f". {error.hint}" if isinstance(error, RunStopped) else ""
    if isinstance(error, RecordError):
        hint = endpoint.hint(error)
    if offers and (model := endpoint.settings.model) not in offers:
        near = get_close_matches(model, offers, n=3, cutoff=0.4) or sorted(offers)[:_SHOWN_MODELS]
        hint += f" It has no {model}; it offers {len(offers):,} models, such as {', '.join(near)}"
    said = str(error).removeprefix(f"{endpoint.name}: ")
    return Finding(f"endpoint {endpoint.name}", "bad", endpoint.redact(f"{said}{hint}"))


def _answered(endpoint: Endpoint, config: Config, completion: Completion, began: float) -> Finding:
    name, text = endpoint.name, endpoint.redact_answer(completion.text)
    taken = Taken(time.monotonic() - began, completion.usage.completion_tokens)
    said = f"answered {plain(text.strip())[:40]!r} in {taken.seconds:.1f} s"
    if completion.usage.completion_tokens:
        said += f", {completion.usage.completion_tokens:,} tokens"
    if completion.says_nothing:
        said += f": no text and no thinking (finish_reason {completion.finish_reason}); is max_tokens enough?"
        return Finding(f"endpoint {name}", "bad", said)
    if name in config.models.mstrong:
        thinks = "shows its thinking" if completion.reasoning else "shows no thinking: its steps are used instead"
        said += f"; {thinks}"
    return Finding(f"endpoint {name}", "good", said, None if endpoint.embedded else taken)
