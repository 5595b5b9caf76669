"""What a run will still ask for: calls and tokens, expected and at most, and the disk they take.

A row needs only the steps that have not done it. Where enough questions of the work_dir are through, calls a question
and tokens a call are taken from those; else they are assumed (``ASSUMED``, ``RACED``, ``JUDGED``), and it is said so.
"""

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from weak2wise.config import Config, input_of
from weak2wise.dataset import InputRow, at_hand, read_rows
from weak2wise.ledger.outcomes import Dropped, Ledger, RowStatus
from weak2wise.llm.journal import Receipt, Spent
from weak2wise.llm.model import CHARACTERS_PER_TOKEN
from weak2wise.outputs.work_dir import WorkDir
from workers.decontaminate import Overlap
from workers.method import METHOD, last_asking

FIRST = METHOD[0].name
"""The step that drops the questions which the weak LLM solves."""
ASSUMED = {"weak": 600, "strong": 4000, "judge": 150, "truncation": 60}
"""Answer tokens of one call where nothing is known yet."""
RACED = 0.6
"""Share of all mask levels that races ask for: the middle of README's figures, 0.25 where nearly every attempt succeeds
and 0.95 where nearly none does."""
JUDGED = 0.01
"""Share of verdicts that the cascade leaves to the judge LLM: by README's figures not even that of final answers like
those of GSM8K and MATH; of prose nearly all."""
_BYTES_PER_TOKEN = 14
"""A token's text stands in the journal, in about two ledgers and in a view."""
MEASURED_FROM = 20
"""Calls of a role, or questions through its step, in this work_dir from which on their average is taken."""


class Source(Struct):
    """What an input file holds, and where it goes on."""

    good: int = 0
    bad: int = 0
    first_bad: str = ""
    contaminated: int = 0
    """Good ones that are in evaluation sets and will be dropped unpaid."""
    begins: Counter[str] = field(default_factory=Counter)
    """The other good ones that need more work, by the step that they need next."""
    characters: int = 0
    """Of those."""


class Forecast(Struct, frozen=True, kw_only=True):
    """One role's part of what is left; costs where it is priced.

    ``most_calls``: if the weak LLM solves no question beforehand, races spare nothing and the rule decides nothing.
    ``most_tokens`` and ``most_usd``: if, besides, every answer takes all it may. What has to be asked for again is in
    neither. ``basis`` says where the tokens come from.
    """

    role: str
    endpoint: str
    calls: int
    most_calls: int
    prompt_tokens: int
    completion_tokens: int
    most_tokens: int
    basis: str
    cost_usd: float | None
    most_usd: float | None


class Disk(Struct, frozen=True):
    """Bytes."""

    free: int
    needed: int

    def said(self) -> str:
        """In words."""
        return f"{self.free / 1e9:,.1f} GB free, the run may take {self.needed / 1e9:,.1f} GB (dataset.work_dir)"


class Outlook(Struct, frozen=True):
    """How many questions are left, each role's part in them, what that assumes in words, and the disk it takes."""

    left: int
    parts: list[Forecast]
    assumed: list[str]
    disk: Disk


async def survey(config: Config, overlap: Overlap | None, work: WorkDir | None) -> Source:
    """Count an input's questions, what is wrong with the other lines, and what is left to do.

    Args:
        config: names the input.
        overlap: its evaluation sets.
        work: the run to go on with, if there is one.

    Raises:
        ConfigError: the input cannot be read.
    """
    source, dataset = Source(), config.dataset
    async for row in read_rows(at_hand(input_of(config), Path(dataset.work_dir)), dataset.columns):
        if not isinstance(row, InputRow):
            source.bad += 1
            source.first_bad = source.first_bad or row.message
            continue
        source.good += 1
        if overlap and overlap.find(row.question):
            source.contaminated += 1
        elif step := work.account.next_step(row.number) if work else FIRST:
            source.begins[step] += 1
            source.characters += len(row.question)
    return source


def forecast(config: Config, source: Source, work: WorkDir | None) -> Outlook:
    """What is left to ask for, and the disk it takes, if nothing fails. Blocks.

    Args:
        config: the run.
        source: its input (``survey``).
        work: the earlier run of the work_dir, if there is one, to measure by.
    """
    spent, through, kept = _seen(work) if work else ({}, {}, None)
    likely, assumed = _likely(config, source, through, kept)
    calls, most = _calls(config, source, likely), _calls(config, source, _utmost(config))
    question = source.characters / max(1, source.begins.total()) / CHARACTERS_PER_TOKEN
    steps = ASSUMED["strong"] * 0.25  # of a trace, the steps alone, which hints are made of
    prompts = {"weak": question + steps / 2, "strong": question + 100, "judge": question + ASSUMED["weak"] + 150}
    prompts["truncation"] = ASSUMED["strong"] + 150
    parts = []
    for role, endpoint in config.roles().items():
        kind = role.partition("/")[0]
        number, utmost = round(calls[role]), round(max(calls[role], most[role]))
        longest = config.endpoints[endpoint].longest_answer
        use = spent.get(role, Spent())
        measured = use.calls >= MEASURED_FROM
        if measured:
            prompt, answer = use.prompt_tokens / use.calls, use.completion_tokens / use.calls
        else:
            prompt, answer = prompts[kind], float(min(ASSUMED[kind], longest))
        cached = use.cached_tokens / use.calls if measured else 0.0
        parts.append(
            Forecast(
                role=role,
                endpoint=endpoint,
                calls=number,
                most_calls=utmost,
                prompt_tokens=round(number * prompt),
                completion_tokens=round(number * answer),
                most_tokens=utmost * longest,
                basis=f"{'as' if measured else 'assumed'} {answer:,.0f} an answer{' so far' if measured else ''}",
                cost_usd=_cost(config, endpoint, number * prompt, number * cached, number * answer),
                most_usd=_cost(config, endpoint, utmost * prompt, 0, utmost * longest),
            )
        )
    needed = sum(part.completion_tokens for part in parts) * _BYTES_PER_TOKEN
    place = Path(config.dataset.work_dir).resolve()
    while not place.exists():
        place = place.parent
    return Outlook(source.begins.total(), parts, assumed, Disk(shutil.disk_usage(place).free, needed))


class _Rates(Struct):
    """How many calls a question takes.

    ``kept``: the share of questions that the weak LLM does not solve beforehand; ``traces`` by strong role;
    ``attempts``: of the weak LLM with hints; ``judged``: the share of verdicts that the judge LLM is asked for.
    """

    kept: float
    traces: dict[str, float]
    attempts: float
    judged: float
    cuts: float


def _utmost(config: Config) -> _Rates:
    """The most there can be."""
    params = config.params
    traces = {f"strong/{name}": float(params.samples_per_model) for name in config.models.mstrong}
    return _Rates(
        kept=1.0,
        traces=traces,
        attempts=sum(traces.values()) * params.n_mask * params.majority if params.scorer == "stepmask" else 0.0,
        judged=float(params.judge_mode != "rule"),
        cuts=float(params.truncation != "rule"),
    )


def _likely(
    config: Config, source: Source, through: Mapping[str, float], kept: float | None
) -> tuple[_Rates, list[str]]:
    """What is to be expected, by what was seen (``_seen``), and in words what had to be assumed for it."""
    params, rates, assumed = config.params, _utmost(config), []
    bare = _bare(config)
    if kept is not None:
        rates.kept = kept
    elif bare and source.begins[FIRST]:
        assumed.append("the weak LLM solves no question beforehand")
    rates.traces |= {role: through[role] for role in rates.traces if role in through}
    if "weak" in through:
        rates.attempts = through["weak"] - bare
    elif params.scorer != "stepmask":
        assumed.append(f"{params.scorer} makes no calls to score traces")
    elif params.scoring == "race":
        rates.attempts *= RACED
        assumed.append(f"races ask for {100 * RACED:.0f} % of all mask levels (README: 25 to 95 %)")
    if params.judge_mode == "cascade" and config.models.judge:
        verdicts = bare + rates.attempts / params.majority
        if "weak" in through:
            rates.judged = through.get("judge", 0.0) / max(1.0, verdicts)
        else:
            rates.judged = JUDGED
            figures = "README: less for answers like those of GSM8K and MATH; more for prose"
            assumed.append(f"the judge LLM is asked for {100 * JUDGED:.0f} % of verdicts ({figures})")
    return rates, assumed


def _bare(config: Config) -> int:
    """Calls of the weak LLM for a question in the first step."""
    return 0 if config.params.skip_filter else 1


def _calls(config: Config, source: Source, rates: _Rates) -> dict[str, float]:
    """Calls by role, for what is left."""
    reach, rows = {}, 0.0
    for step in METHOD:
        rows += source.begins[step.name]
        reach[step.name] = rows
        rows *= rates.kept if step.name == FIRST else 1
    bare, hinted = _bare(config) * reach[FIRST], rates.attempts * reach[last_asking("weak").name]
    calls = {role: each * reach[last_asking(role).name] for role, each in rates.traces.items()}
    calls |= {"weak": bare + hinted, "judge": rates.judged * (bare + hinted / config.params.majority)}
    return calls | {"truncation": rates.cuts * reach[last_asking("truncation").name]}


def _seen(work: WorkDir) -> tuple[dict[str, Spent], dict[str, float], float | None]:
    """What the work_dir tells of its earlier runs.

    Returns:
        What each role has spent; its calls for a question that it is done with, and the share of questions that the
        weak LLM did not solve, both where there are enough to go by.
    """
    spent: dict[str, Spent] = {}
    calls: Counter[str] = Counter()

    def last(role: str) -> Ledger[Any]:
        return work.steps[last_asking(role).name]

    def count(receipt: Receipt) -> None:
        spent.setdefault(receipt.role, Spent()).add(receipt)
        if receipt.key and last(receipt.role).status(receipt.row) is RowStatus.DONE:
            calls[receipt.role] += 1

    work.journal.look(count)
    through = {}
    for role, number in calls.items():
        done = last(role).tally[RowStatus.DONE]
        if done >= MEASURED_FROM:
            through[role] = number / done
    solved = sum(isinstance(end, Dropped) and end.reason == "weak_solves" for end in work.account.ends())
    kept = work.steps[FIRST].tally[RowStatus.DONE]
    return spent, through, kept / (kept + solved) if kept + solved >= MEASURED_FROM else None


def _cost(config: Config, name: str, prompt: float, cached: float, answer: float) -> float | None:
    return config.endpoints[name].cost(round(prompt), round(cached), round(answer))
