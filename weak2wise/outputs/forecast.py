"""What a run will ask for, before it starts: calls exactly, tokens by what is known of them, disk by tokens."""

import shutil
from pathlib import Path

from msgspec import Struct

from weak2wise.config import Config, Endpoint, OpenAIEndpoint, Prices
from weak2wise.dataset import InputRow, read_rows
from weak2wise.errors import ConfigError
from weak2wise.llm.journal import Receipt, Spent
from weak2wise.outputs.work_dir import WorkDir
from workers.decontaminate import Overlap

CHARACTERS_PER_TOKEN = 3.5
ASSUMED = {"weak": 600, "strong": 4000, "judge": 150, "truncation": 60}
"""Answer tokens of one call where nothing is known yet."""
DEFAULT_MAX_NEW_TOKENS = 8192
"""Of an embedded model (``VllmEndpoint``)."""
_BYTES_PER_TOKEN = 14
"""A token's text stands in the journal, in about two ledgers and in a view."""
MEASURED_FROM = 20
"""Calls of a role in this work_dir from which on their average is taken."""


class Source(Struct):
    """What an input file holds."""

    good: int = 0
    bad: int = 0
    first_bad: str = ""
    contaminated: int = 0
    """Good ones that are in evaluation sets and will be dropped unpaid."""
    characters: int = 0
    """Of all other good questions."""


class Forecast(Struct, frozen=True, kw_only=True):
    """One role's part of a run, if no question is solved beforehand; costs where it is priced.

    ``basis`` says where the tokens come from; ``most_tokens`` and ``most_usd``: if every answer takes all it may.
    """

    role: str
    endpoint: str
    calls: int
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


async def survey(config: Config, overlap: Overlap | None) -> Source:
    """Count an input's questions and what is wrong with the other lines. Raises ``ConfigError``."""
    source = Source()
    async for row in read_rows(Path(config.dataset.input_path), config.dataset.columns):
        if isinstance(row, InputRow):
            source.good += 1
            if overlap and overlap.find(row.question):
                source.contaminated += 1
            else:
                source.characters += len(row.question)
        else:
            source.bad += 1
            source.first_bad = source.first_bad or row.message
    return source


def forecast(config: Config, source: Source) -> tuple[list[Forecast], Disk]:
    """Each role's part, if no question is solved beforehand and none fails; and the disk it takes. Blocks.

    Tokens are the average of the work_dir's earlier calls where there are enough, else assumed.
    """
    params, questions = config.params, source.good - source.contaminated
    traces = questions * params.samples_per_model
    scored = traces * len(config.models.mstrong) * params.n_mask
    attempts = scored * params.majority + (0 if params.skip_filter else questions)
    judged = scored + (0 if params.skip_filter else questions)
    calls = {"weak": attempts, "judge": judged if params.judge_mode != "rule" else 0}
    calls["truncation"] = questions if params.truncation != "rule" else 0
    question = source.characters / max(1, questions) / CHARACTERS_PER_TOKEN
    strong = ASSUMED["strong"] * 0.25  # the steps alone, which hints are made of
    prompts = {"weak": question + strong / 2, "strong": question + 100, "judge": question + ASSUMED["weak"] + 150}
    prompts["truncation"] = ASSUMED["strong"] + 150
    known = _known(Path(config.dataset.work_dir))
    parts = []
    for role, endpoint in config.roles().items():
        kind = role.partition("/")[0]
        number = traces if kind == "strong" else calls[kind]
        longest = _longest(config.endpoints[endpoint])
        spent = known.get(role)
        if spent:
            prompt, answer = spent.prompt_tokens / spent.calls, spent.completion_tokens / spent.calls
        else:
            prompt, answer = prompts[kind], float(min(ASSUMED[kind], longest))
        cached = spent.cached_tokens / spent.calls if spent else 0.0
        parts.append(
            Forecast(
                role=role,
                endpoint=endpoint,
                calls=number,
                prompt_tokens=round(number * prompt),
                completion_tokens=round(number * answer),
                most_tokens=number * longest,
                basis=f"{'as' if spent else 'assumed'} {answer:,.0f} an answer{' so far' if spent else ''}",
                cost_usd=_cost(config, endpoint, number * prompt, number * cached, number * answer),
                most_usd=_cost(config, endpoint, number * prompt, 0, number * longest),
            )
        )
    needed = sum(part.completion_tokens for part in parts) * _BYTES_PER_TOKEN
    place = Path(config.dataset.work_dir).resolve()
    while not place.exists():
        place = place.parent
    return parts, Disk(shutil.disk_usage(place).free, needed)


def _longest(endpoint: Endpoint) -> int:
    """The most tokens that an answer may take."""
    allowed = endpoint.generation_kwargs.max_new_tokens
    return allowed or (endpoint.max_tokens if isinstance(endpoint, OpenAIEndpoint) else DEFAULT_MAX_NEW_TOKENS)


def _cost(config: Config, name: str, prompt: float, cached: float, answer: float) -> float | None:
    endpoint = config.endpoints[name]
    if not isinstance(endpoint, OpenAIEndpoint) or endpoint.prices == Prices():
        return None
    return endpoint.prices.cost(round(prompt), round(cached), round(answer))


def _known(work_dir: Path) -> dict[str, Spent]:
    """What each role has spent in this work_dir, where that is enough to go by."""
    spent: dict[str, Spent] = {}

    def count(receipt: Receipt) -> None:
        spent.setdefault(receipt.role, Spent()).add(receipt)

    try:
        WorkDir(work_dir).journal.look(count)
    except ConfigError:
        return {}
    return {role: use for role, use in spent.items() if use.calls >= MEASURED_FROM}
