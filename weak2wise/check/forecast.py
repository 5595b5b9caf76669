"""Forecast of the remaining work: calls and tokens (expected and at most), and the disk space they need.

A row needs only the steps that are not done yet. Calls a question and tokens a call are measured if enough questions
of the work_dir are done. Otherwise they are assumed (``ASSUMED``, ``RACED``, ``JUDGED``), and the forecast says so.
"""

import asyncio
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from weak2wise.config import Config, input_of
from weak2wise.dataset import InputRow, at_hand, read_rows
from weak2wise.ledger.outcomes import Ledger, RowStatus
from weak2wise.llm.model import CHARACTERS_PER_TOKEN
from weak2wise.llm.receipts import Spent
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.run.duplicates import read_duplicates
from workers.decontaminate import Overlap
from workers.method import METHOD, last_asking
from workers.scorers import describer

FIRST = METHOD[0].name
"""The step that drops the questions which the weak LLM solves."""
ASSUMED = {"weak": 600, "strong": 4000, "judge": 150, "truncation": 60}
"""Answer tokens of one call, by role, before anything is measured."""
RACED = 0.6
"""Share of all mask levels that races ask for: the middle of what was measured (docs/benchmarks.md), 0.25 if nearly all
attempts succeed and 0.95 if nearly none does."""
JUDGED = 0.01
"""Share of verdicts that the cascade leaves to the judge LLM. Measured (docs/benchmarks.md): less than this for answers
like those of GSM8K and MATH, nearly all for prose."""
_BYTES_PER_TOKEN = 14
"""The text of a token is stored in the journal, in about two ledgers and in one output file."""
MEASURED_FROM = 20
"""From this many calls of a role, or questions done by its step, in this work_dir, their average is used."""


class Source(Struct):
    """What an input file holds, and which steps its questions still need."""

    good: int = 0
    bad: int = 0
    first_bad: str = ""
    contaminated: int = 0
    """Valid questions that are in evaluation sets; they will be dropped without a call."""
    duplicates: int = 0
    """Others that nearly repeat an earlier question; they will be dropped without a call, too."""
    pending: Counter[str] = field(default_factory=Counter)
    """The other valid questions that need more work, counted by the next step."""
    characters: int = 0
    """Total length of the pending questions."""


class Forecast(Struct, frozen=True, kw_only=True):
    """The remaining work of one role. Costs are ``None`` for an endpoint without prices.

    ``most_calls``: if the weak LLM solves no question beforehand, races spare no attempt and the rule decides nothing.
    ``most_tokens`` and ``most_usd``: if, in addition, every answer has its greatest length. Neither counts retries.
    ``measured``: whether the tokens of a call are those of the work_dir so far; else they are assumed.
    """

    role: str
    endpoint: str
    calls: int
    most_calls: int
    prompt_tokens: int
    completion_tokens: int
    most_tokens: int
    measured: bool
    cost_usd: float | None
    most_usd: float | None


class Disk(Struct, frozen=True):
    """Disk space in bytes."""

    free: int
    needed: int

    def describe(self) -> str:
        """Both numbers in words."""
        return f"{self.free / 1e9:,.1f} GB free, the run may take {self.needed / 1e9:,.1f} GB (dataset.work_dir)"


class Outlook(Struct, frozen=True):
    """The questions left, the forecast of each role, the assumptions in words, and the disk space.

    ``steps``: the expected calls of each step by role, in the method's order.
    """

    left: int
    parts: list[Forecast]
    assumed: list[str]
    disk: Disk
    steps: dict[str, dict[str, float]]


async def survey(config: Config, overlap: Overlap | None, work: WorkDir | None) -> Source:
    """Count an input's questions, its invalid lines, and the work left.

    Args:
        config: names the input.
        overlap: its evaluation sets.
        work: the run to resume, if there is one.

    Raises:
        ConfigError: the input cannot be read.
    """
    source, dataset = Source(), config.dataset
    file = at_hand(input_of(config), Path(dataset.work_dir))
    duplicates = await asyncio.to_thread(read_duplicates, config, file)
    async for row in read_rows(file, dataset.columns):
        if not isinstance(row, InputRow):
            source.bad += 1
            source.first_bad = source.first_bad or row.message
            continue
        source.good += 1
        if overlap and overlap.find(row.question):
            source.contaminated += 1
        elif duplicates and duplicates.get(row.number):
            source.duplicates += 1
        elif step := work.account.next_step(row.number) if work else FIRST:
            source.pending[step] += 1
            source.characters += len(row.question)
    return source


def forecast(config: Config, source: Source, work: WorkDir | None) -> Outlook:
    """The calls left and the disk space they need, if nothing fails. Blocks.

    Args:
        config: the run.
        source: its input (``survey``).
        work: the earlier run of the work_dir, if there is one; its averages are used.
    """
    spent, per_question, kept = _measured(work) if work else ({}, {}, None)
    expected, assumed = _expected(config, source, per_question, kept)
    steps = _calls(config, source, expected)
    calls, most = _by_role(steps), _by_role(_calls(config, source, _maximum(config)))
    question = source.characters / max(1, source.pending.total()) / CHARACTERS_PER_TOKEN
    solution = ASSUMED["strong"] * 0.25  # the steps of a trace; hints are made of them
    prompts = {"weak": question + solution / 2, "strong": question + 100, "judge": question + ASSUMED["weak"] + 150}
    prompts["truncation"] = ASSUMED["strong"] + 150
    parts = []
    for role, endpoint in config.roles().items():
        kind = role.partition("/")[0]
        number, maximum = round(calls[role]), round(max(calls[role], most[role]))
        longest = config.endpoints[endpoint].longest_answer
        use = spent.get(role, Spent())
        measured = use.calls >= MEASURED_FROM
        if measured:
            prompt, answer = use.prompt_tokens / use.calls, use.completion_tokens / use.calls
        else:
            prompt, answer = prompts[kind], float(min(ASSUMED[kind], longest))
            if kind == "weak" and expected.texts:
                answer = 1 + (answer - 1) * steps[FIRST]["weak"] / max(1.0, calls[role])
        cached = use.cached_tokens / use.calls if measured else 0.0
        parts.append(
            Forecast(
                role=role,
                endpoint=endpoint,
                calls=number,
                most_calls=maximum,
                prompt_tokens=round(number * prompt),
                completion_tokens=round(number * answer),
                most_tokens=maximum * longest,
                measured=measured,
                cost_usd=_expected_cost(config, role, number * prompt, number * cached, number * answer),
                most_usd=_cost(config, endpoint, maximum * prompt, 0, maximum * longest),
            )
        )
    needed = sum(part.completion_tokens for part in parts) * _BYTES_PER_TOKEN
    if expected.texts:  # the journal also has what was found of each token of a trace
        needed *= 2
    place = Path(config.dataset.work_dir).resolve()
    while not place.exists():
        place = place.parent
    disk = Disk(shutil.disk_usage(place).free, needed)
    assumed += _off_peak_said(config)
    return Outlook(source.pending.total(), parts, assumed, disk, steps)


class _Rates(Struct):
    """How many calls a question takes.

    ``kept``: share of questions that the weak LLM does not solve beforehand; ``traces``: calls by strong role;
    ``attempts``: calls of the weak LLM with hints; ``texts``: its calls that ask how likely a given text is, and sample
    nothing; ``judged``: share of verdicts that the judge LLM is asked for;
    ``cuts``: calls of the truncation model.
    """

    kept: float
    traces: dict[str, float]
    attempts: float
    texts: float
    judged: float
    cuts: float


def _maximum(config: Config) -> _Rates:
    """The highest possible numbers."""
    params, scorer = config.params, describer(config.params.scorer)
    traces = {f"strong/{name}": float(params.samples_per_model) for name in config.models.mstrong}
    cut = 2.0 if params.keep == "pairs" else min(params.keep, sum(traces.values()))
    return _Rates(
        kept=1.0,
        traces=traces,
        attempts=sum(traces.values()) * scorer.attempts(params),
        texts=sum(traces.values()) * scorer.texts(params),
        judged=float(params.judge_mode != "rule"),
        cuts=cut * (params.truncation != "rule"),
    )


def _expected(
    config: Config, source: Source, per_question: Mapping[str, float], kept: float | None
) -> tuple[_Rates, list[str]]:
    """The expected numbers, from measurements (``_measured``) where there are any, and the assumptions in words."""
    params, rates, assumed = config.params, _maximum(config), []
    unaided = _unaided(config)
    if kept is not None:
        rates.kept = kept
    elif unaided and source.pending[FIRST]:
        assumed.append("the weak LLM solves no question beforehand")
    rates.traces |= {role: per_question[role] for role in rates.traces if role in per_question}
    if "weak" in per_question:
        scoring = per_question["weak"] - unaided
        rates.attempts, rates.texts = (0.0, scoring) if rates.texts else (scoring, 0.0)
    elif rates.texts:
        texts = describer(params.scorer).texts(params)
        assumed.append(f"{params.scorer} asks {texts} time{'' if texts == 1 else 's'} a trace how likely a text is")
    elif not rates.attempts:
        assumed.append(f"{params.scorer} makes no calls to score traces")
    elif params.scoring == "race" and params.keep == 1:
        rates.attempts *= RACED
        assumed.append(f"races ask for {100 * RACED:.0f} % of all mask levels (measured: 25 to 95 %)")
    if params.judge_mode == "cascade" and config.models.judge:
        verdicts = unaided + rates.attempts / params.majority
        if "weak" in per_question:
            rates.judged = per_question.get("judge", 0.0) / max(1.0, verdicts)
        else:
            rates.judged = JUDGED
            figures = "measured: less for answers like those of GSM8K and MATH; more for prose"
            assumed.append(f"the judge LLM is asked for {100 * JUDGED:.0f} % of verdicts ({figures})")
    return rates, assumed


def _off_peak_said(config: Config) -> list[str]:
    """What is assumed of endpoints whose prices depend on the hour, in words."""
    waiting = config.models.mstrong if config.engine.wait_for_off_peak else ()
    return [
        f"calls to {name} are spread over the week, of which {hours.share:.0%} is off-peak"
        for name in dict.fromkeys(config.roles().values())
        if (hours := config.endpoints[name].off_peak) and name not in waiting
    ]


def _unaided(config: Config) -> int:
    """Calls of the weak LLM for a question in the first step, without a hint."""
    return 0 if config.params.skip_filter else config.params.filter_attempts


def _calls(config: Config, source: Source, rates: _Rates) -> dict[str, dict[str, float]]:
    """The remaining calls of each step, by role."""
    reach, rows = {}, 0.0
    for step in METHOD:
        rows += source.pending[step.name]
        reach[step.name] = rows
        rows *= rates.kept if step.name == FIRST else 1
    written, scored, cut = (last_asking(role).name for role in ("strong", "weak", "truncation"))
    unaided, hinted = _unaided(config) * reach[FIRST], rates.attempts * reach[scored]
    return {
        FIRST: {"weak": unaided, "judge": rates.judged * unaided},
        written: {role: each * reach[written] for role, each in rates.traces.items()},
        scored: {"weak": hinted + rates.texts * reach[scored], "judge": rates.judged * hinted / config.params.majority},
        cut: {"truncation": rates.cuts * reach[cut]},
    }


def _by_role(steps: Mapping[str, Mapping[str, float]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for calls in steps.values():
        total.update(calls)
    return total


_DONE = 0
"""The class of rows that a role's last step has done; others have 1."""
_SWAPPED = bytes([1, _DONE]) + bytes(range(2, 256))


def _measured(work: WorkDir) -> tuple[dict[str, Spent], dict[str, float], float | None]:
    """Averages over the earlier runs of the work_dir.

    Returns:
        What each role has spent; calls a question by role, over the questions that are done; and the share of questions
        that the weak LLM did not solve. The last two only where there are enough questions (``MEASURED_FROM``).
    """
    spent: dict[str, Spent] = {}
    calls: Counter[str] = Counter()

    def last(role: str) -> Ledger[Any]:
        return work.steps[last_asking(role).name]

    def classes(role: str) -> bytes:
        return last(role).are(RowStatus.DONE).translate(_SWAPPED)

    for (role, _, number), part in work.journal.sums(classes).items():
        spent.setdefault(role, Spent()).add_all(part)
        if number == _DONE and part.calls:
            calls[role] += part.calls
    per_question = {}
    for role, number in calls.items():
        done = last(role).tally[RowStatus.DONE]
        if done >= MEASURED_FROM:
            per_question[role] = number / done
    dropped = work.account.totals(0).dropped
    solved = dropped.get("weak_solves", 0) + dropped.get("too_hard", 0)
    kept = work.steps[FIRST].tally[RowStatus.DONE]
    return spent, per_question, kept / (kept + solved) if kept + solved >= MEASURED_FROM else None


def _expected_cost(config: Config, role: str, prompt: float, cached: float, answer: float) -> float | None:
    name = config.roles()[role]
    cost = _cost(config, name, prompt, cached, answer)
    waits = config.engine.wait_for_off_peak and role.startswith("strong/")
    return None if cost is None else cost * config.endpoints[name].expected_factor(off_peak=waits)


def _cost(config: Config, name: str, prompt: float, cached: float, answer: float) -> float | None:
    return config.endpoints[name].cost(round(prompt), round(cached), round(answer))
