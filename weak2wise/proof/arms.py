"""The arms of a comparison: which trace of each question a model is trained on.

Every arm takes one trace for each question that has a golden trace, of the candidates that the run's scorer saw. All
are cut alike: by the rule, which needs no model. The winners of a run that cut by an LLM are therefore cut anew; the
arm ``emitted`` has the run's own rows as they are, and is not comparable with the others there.
"""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from weak2wise.config import Params, PromptTexts, Response
from weak2wise.config.section import nearest
from weak2wise.errors import ConfigError
from weak2wise.ledger.outcomes import Done, RowStatus
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.process_pool import KillablePool
from weak2wise.proof.compared import choices_by
from workers.context import Context
from workers.judge import Judge
from workers.prompts import Prompts
from workers.records import Candidate, Golden, Score, Scored, SftRow, Traced
from workers.scorers import NAMES, Scorer, scorer_named
from workers.select import select
from workers.sft import prompt_of
from workers.truncate import cut_by_rule

T = TypeVar("T")

WINNERS, EMITTED = "winners", "emitted"
ARMS = (WINNERS, EMITTED, *NAMES)
"""The names of arms: the run's winners, its rows as emitted, and what each scorer would have chosen."""


class ArmRow(Struct, frozen=True):
    """One training example: the layout of the run's training data, and which candidate it comes from."""

    row: int
    prompt: str
    response: str
    m_strong: str
    sample: int
    cut_by: str


def arm_rows(work: WorkDir, arm: str, seed: int) -> Iterator[ArmRow]:
    """The training examples of an arm, in input order, read one at a time. Blocks.

    Args:
        work: the run.
        arm: one of ``ARMS``.
        seed: of the arm ``random``; the others do not depend on it.

    Raises:
        ConfigError: there is no such arm, or its scores are not in the work_dir.
        DiskError: the ledgers cannot be read.
    """
    if arm not in ARMS:
        raise ConfigError(f"--arm {arm}: no such arm; {nearest(arm, ARMS)}")
    if arm == EMITTED:
        return _emitted(work)
    if arm in NAMES and _asks_nothing(scorer_named(arm)):
        return _cut(work, _ranked_first(work, scorer_named(arm), seed))
    if arm in (WINNERS, work.scorer_name):
        return _cut(work, lambda golden: golden.winner)
    return _cut(work, _compared(work, arm))


def arm_overlap(work: WorkDir, a: str, b: str, seed: int) -> float:
    """The share of questions for which two arms train on the same text; 0 if there is none. Blocks; as ``arm_rows``."""
    texts = {row.row: row.response for row in arm_rows(work, a, seed)}
    same = sum(texts[row.row] == row.response for row in arm_rows(work, b, seed))
    return same / len(texts) if texts else 0.0


def recut(work: WorkDir) -> int:
    """How many winners the run itself cut by a model, and the arms by the rule. Blocks."""
    return sum(golden.cut_by in ("anchor", "rewrite") for golden in _done(work, Golden))


def _emitted(work: WorkDir) -> Iterator[ArmRow]:
    """The rows of the output file; of pairs the better one."""
    for golden, emitted in zip(_done(work, Golden), work.made(SftRow).records(), strict=True):
        for kept, response in zip(golden.kept, emitted.responses, strict=False):
            taken = kept.candidate
            yield ArmRow(golden.row, emitted.prompt, response, taken.m_strong, taken.sample, kept.cut_by)


def _cut(work: WorkDir, choose: Callable[[Golden], Candidate]) -> Iterator[ArmRow]:
    """The chosen candidate of each question, cut by the rule."""
    response = Response.parse(work.response, "params.response")
    for golden in _done(work, Golden):
        taken, question = choose(golden), golden.question
        cut = cut_by_rule(taken.normal, question.answer, work.manifest.rules)
        text = response.fill(cut.text, question.answer)
        yield ArmRow(golden.row, prompt_of(question), text, taken.m_strong, taken.sample, cut.by)


def _done(work: WorkDir, record: type[T]) -> Iterator[T]:
    """The records of a step for the rows that the last step has done."""
    last, ledger = work.made(SftRow), work.made(record)
    for row in last.rows():
        if last.status(row) is RowStatus.DONE:
            outcome = ledger.read(row)
            assert isinstance(outcome, Done)
            yield outcome.record


def _ranked_first(work: WorkDir, kind: type[Scorer], seed: int) -> Callable[[Golden], Candidate]:
    """The candidate that a scorer which asks nothing ranks first, of those with a reasoning."""
    prompts = Prompts.of(PromptTexts())
    judge = Judge(prompts=prompts, pool=KillablePool(), mode="rule")  # none is asked
    scorer = kind(Context(params=Params(seed=seed), prompts=prompts, models={}, judge=judge, rules=work.manifest.rules))

    def choose(golden: Golden) -> Candidate:
        candidates = tuple(candidate for candidate in _scored(work, golden.row) if candidate.normal.strip())
        scores = _at_once(scorer(Traced(question=golden.question, candidates=candidates)))
        return select(candidates, scores, scorer)[0]

    return choose


def _compared(work: WorkDir, scorer: str) -> Callable[[Golden], Candidate]:
    """The candidate that a comparison of scorers found to be a scorer's choice, of those with a reasoning."""
    choices = choices_by(work.folder, scorer)
    last = work.made(SftRow)
    rows = [row for row in last.rows() if last.status(row) is RowStatus.DONE]
    if missing := sum(row not in choices and len(_scored(work, row)) > 1 for row in rows):
        traced = work.made(Traced).tally[RowStatus.DONE]
        raise ConfigError(
            f"--arm {scorer}: {work.folder} has no scores by {scorer} of {missing:,} of {len(rows):,} questions; make "
            f"them: weak2wise compare {work.folder} --scorers {scorer} --sample {traced}"
        )

    def choose(golden: Golden) -> Candidate:
        candidates = _scored(work, golden.row)
        choice = choices.get(golden.row)
        places = choice.places() if choice else [0]
        return min(zip(places, candidates, strict=True), key=lambda pair: (not pair[1].normal.strip(), pair[0]))[1]

    return choose


def _scored(work: WorkDir, row: int) -> tuple[Candidate, ...]:
    """The candidates that the run's scorer saw."""
    outcome = work.made(Scored).read(row)
    assert isinstance(outcome, Done)
    candidates: tuple[Candidate, ...] = outcome.record.candidates
    return candidates


def _asks_nothing(kind: type[Scorer]) -> bool:
    params = Params()
    return kind.attempts(params) == kind.texts(params) == 0


def _at_once(scoring: Coroutine[Any, Any, Sequence[Score]]) -> Sequence[Score]:
    """What a coroutine returns that waits for nothing, also where an event loop is running."""
    try:
        scoring.send(None)
    except StopIteration as returned:
        scores: Sequence[Score] = returned.value
        return scores
    raise AssertionError("a scorer that asks nothing waits for something")
