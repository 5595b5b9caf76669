"""From what each scorer chose to the measures of a comparison."""

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement

from weak2wise.config import Params
from weak2wise.outputs.comparison.facts import Compared, Comparison, Cost
from weak2wise.outputs.comparison.measures import (
    STEPMASK,
    best_score,
    correlation,
    criterion,
    flattered_score,
    mean_of,
    same_winner,
)
from weak2wise.outputs.comparison.noise import noise
from weak2wise.outputs.work_dir import WorkDir


def comparison(
    work: WorkDir,
    params: Params,
    questions: Sequence[Compared],
    costs: Mapping[str, Cost],
    *,
    created: str,
    sample: int,
    available: int,
    left_out: Mapping[str, int],
    failed: Mapping[str, int],
) -> Comparison:
    """All measures. Takes seconds; blocks.

    Args:
        work: the run.
        params: its settings.
        questions: those that were compared, at least two, each with as many draws of the same scorers.
        costs: of one draw of all these questions, by scorer, in the order in which they are shown.
        created: when.
        sample: how many were asked for.
        available: how many questions could have been compared.
        left_out: how many have nothing to choose from, by reason.
        failed: how many a scorer could not score, by the kind of its error.
    """
    names = list(costs)
    taus = {(a, b): correlation(questions, a, b) for a, b in combinations_with_replacement(names, 2)}
    taus |= {(b, a): tau for (a, b), tau in taus.items()}
    return Comparison(
        work_dir=str(work.folder.resolve()),
        created=created,
        weak=work.models["weak"],
        strong=[work.model_of(name) for name in work.strong],
        seed=params.seed,
        draws=len(questions[0].choices[names[0]]),
        n_mask=params.n_mask,
        majority=params.majority,
        sample=sample,
        available=available,
        compared=len(questions),
        traces=sum(len(question.lengths) for question in questions),
        left_out=dict(left_out),
        failed=dict(failed),
        best=mean_of(questions, best_score),
        best_at_most=mean_of(questions, flattered_score),
        criteria=[criterion(questions, name, costs[name], taus[name, STEPMASK]) for name in names],
        same=[[same_winner(questions, one, other) for other in names] for one in names],
        correlations=[[taus[one, other] for other in names] for one in names],
        noise=noise(questions, params.n_mask, params.majority, beta=params.beta, normalization=params.ew_normalization),
        questions=list(questions),
    )
