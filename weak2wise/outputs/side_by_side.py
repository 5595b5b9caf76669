"""Two runs side by side: their scores, whether they chose the same traces of the same questions, and their cost.

Questions are the same in both runs if their text and their answer are, whatever their rows. Of a question only a few
numbers are kept, so runs of a million rows can be compared.
"""

import hashlib
from array import array
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from msgspec import Struct

from weak2wise.config.shape import default_shape
from weak2wise.ledger.account import Totals
from weak2wise.ledger.manifest import differing
from weak2wise.ledger.outcomes import Done
from weak2wise.outputs.provenance import shown
from weak2wise.outputs.settings import public_name
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.statistics import Estimate, mean, proportion
from workers.method import step_making
from workers.records import Golden, Scored


class OneRun(Struct, frozen=True, kw_only=True):
    """One of the two. ``calls`` and tokens are those of all roles together, in all starts.

    ``mean_score`` is of all golden traces: ``None`` if there are fewer than two. ``cost_for_row``: US dollars a row
    emitted; ``None`` if there is no such row. ``seconds``: for how long the run has been at work, over all starts.
    """

    work_dir: str
    state: str
    weak: str
    strong: list[str]
    scorer: str
    totals: Totals
    whole: bool
    golden: int
    mean_score: Estimate | None
    median_score: float | None
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    cost_for_row: float | None
    seconds: float


class Common(Struct, frozen=True, kw_only=True):
    """The questions that have a golden trace in both runs.

    Attributes:
        questions: how many there are; the estimates are ``None`` if there are fewer than two.
        same_trace: the share of them whose winner is the same text.
        same_model: the share whose winner is by the same strong model.
        difference: the mean of the second run's score less the first one's, question by question.
        higher: questions with a higher score in the second run; ``lower``: with a lower one.
    """

    questions: int
    same_trace: Estimate | None
    same_model: Estimate | None
    difference: Estimate | None
    higher: int
    lower: int


class Changed(Struct, frozen=True):
    """A setting that affects results and differs; its two values in words, ``None`` where a run does not have it."""

    key: str
    first: str | None
    second: str | None
    of_scores: bool
    """Whether scores depend on it, so that they are not measured alike."""


class SideBySide(Struct, frozen=True, kw_only=True):
    """What ``side_by_side`` finds. ``only_first``: golden traces of questions that have none in the second run."""

    first: OneRun
    second: OneRun
    common: Common
    only_first: int
    only_second: int
    same_input: bool
    changed: list[Changed]

    @property
    def scored_alike(self) -> bool:
        """Whether scores of the two runs are measured in the same way."""
        return not any(changed.of_scores for changed in self.changed)


def side_by_side(first: WorkDir, second: WorkDir) -> SideBySide:
    """Compare two runs; each may still be going on. Blocks; raises the same errors as ``WorkDir``."""
    names: dict[str, int] = {}
    of_first, of_second = _Golds(first, names), _Golds(second, names)
    pairs = _pairs(of_first, of_second)
    return SideBySide(
        first=_one_run(first, of_first.scores),
        second=_one_run(second, of_second.scores),
        common=_common(of_first, of_second, pairs),
        only_first=len(of_first.scores) - len(pairs[0]),
        only_second=len(of_second.scores) - len(pairs[0]),
        same_input=first.manifest.input == second.manifest.input,
        changed=_changed(first, second),
    )


class _Question(Struct):
    text: str
    answer: str


class _Winner(Struct):
    m_strong: str
    step_reasoning: str
    normal: str


class _Score(Struct):
    score: float


class _Golden(Struct):
    question: _Question
    winner: _Winner
    score: _Score


class _Golds:
    """A run's golden traces, in the order in which they were written: of each what is compared."""

    def __init__(self, work: WorkDir, names: dict[str, int]) -> None:
        self.questions, self.traces = array("Q"), array("Q")
        """Digests of texts."""
        self.scores = array("d")
        self.models = array("L")
        """The number of each winner's model in ``names``."""
        self._names = names
        self._work = work
        work.made(Golden).each_done(_Golden, self._take)

    def _take(self, done: Done[_Golden]) -> None:
        golden = done.record
        self.questions.append(_digest(golden.question.text.strip(), golden.question.answer.strip()))
        self.traces.append(_digest(golden.winner.step_reasoning, golden.winner.normal))
        self.scores.append(golden.score.score)
        model = self._work.model_of(golden.winner.m_strong)
        self.models.append(self._names.setdefault(model, len(self._names)))


def _digest(*texts: str) -> int:
    """A number of 64 bits: of a million texts two have the same one with a chance of one to 37 million."""
    hashed = hashlib.blake2b("\0".join(texts).encode(errors="surrogatepass"), digest_size=8)
    return int.from_bytes(hashed.digest(), "little")


def _pairs(first: _Golds, second: _Golds) -> tuple["array[int]", "array[int]"]:
    """The places of each common question in the two; of a question that is there several times, one after another."""
    found = array("I"), array("I")
    others, at = _sorted(second.questions), 0
    for one in _sorted(first.questions):
        key = first.questions[one]
        while at < len(others) and second.questions[others[at]] < key:
            at += 1
        if at < len(others) and second.questions[others[at]] == key:
            found[0].append(one)
            found[1].append(others[at])
            at += 1
    return found


def _sorted(keys: "array[int]") -> "array[int]":
    return array("I", sorted(range(len(keys)), key=keys.__getitem__))


class _Each(Sequence[Sequence[float]]):
    """Single values as clusters of one, made when they are looked at."""

    def __init__(self, values: "array[float]") -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, at: Any) -> Any:
        return (self._values[at],)


def _common(first: _Golds, second: _Golds, places: tuple["array[int]", "array[int]"]) -> Common:
    def by_question(of: Callable[[int, int], float]) -> "array[float]":
        return array("d", map(of, *places))

    enough = len(places[0]) > 1
    traces = by_question(lambda a, b: first.traces[a] == second.traces[b])
    models = by_question(lambda a, b: first.models[a] == second.models[b])
    more = by_question(lambda a, b: second.scores[b] - first.scores[a])
    return Common(
        questions=len(more),
        same_trace=proportion(_Each(traces)) if enough else None,
        same_model=proportion(_Each(models)) if enough else None,
        difference=mean(_Each(more)) if enough else None,
        higher=sum(value > 0 for value in more),
        lower=sum(value < 0 for value in more),
    )


def _one_run(work: WorkDir, scores: "array[float]") -> OneRun:
    totals, whole = work.totals()
    spent = list(work.journal.sums().values())
    cost = sum(one.cost_usd for one in spent)
    return OneRun(
        work_dir=str(work.folder.resolve()),
        state=work.state(),
        weak=public_name(work.models["weak"]),
        strong=[public_name(work.model_of(name)) for name in work.strong],
        scorer=work.scorer_name,
        totals=totals,
        whole=whole,
        golden=len(scores),
        mean_score=mean(_Each(scores)) if len(scores) > 1 else None,
        median_score=median(scores) if scores else None,
        calls=sum(one.calls for one in spent),
        prompt_tokens=sum(one.prompt_tokens for one in spent),
        completion_tokens=sum(one.completion_tokens for one in spent),
        cost_usd=cost,
        cost_for_row=cost / totals.emitted if totals.emitted else None,
        seconds=work.history.seconds,
    )


def _changed(first: WorkDir, second: WorkDir) -> list[Changed]:
    """The settings that differ; a key that one manifest lacks, as it is older, has its default there."""
    shapes = [{**default_shape(), **work.manifest.shape} for work in (first, second)]
    scoring = step_making(Scored)
    found = []
    for key in differing(*shapes):
        one, other = (shown(key, shape[key]) if key in shape else None for shape in shapes)
        # Another seed is another draw of the same score.
        method = key != "params.seed" and not key.startswith("models.") and scoring.depends_on(key, shapes)
        of_scores = key == "models.mweak" or method
        found.append(Changed(key, one, other, of_scores))
    return found
