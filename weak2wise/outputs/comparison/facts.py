"""What a comparison of scorers has found, as it is kept in ``compare.json``."""

from msgspec import UNSET, Struct, UnsetType

from weak2wise.statistics import Estimate


class Choice(Struct, frozen=True):
    """What one scorer makes of one question in one draw. Each tuple has an entry for each trace.

    Attributes:
        winner: the trace that it chooses, by its number from 0.
        order: each trace's place among the others, from 0; traces with equal scores have the same one.
        scores: the higher the better.
        bits: Step-Mask's, by mask level.
    """

    winner: int
    order: tuple[int, ...]
    scores: tuple[float, ...]
    bits: tuple[tuple[int, ...], ...] | UnsetType = UNSET


class Compared(Struct, frozen=True):
    """One question: its choices by scorer, one for each draw.

    ``lengths``: the length of each trace's reasoning, as it decides ties (``Scorer.length``).
    """

    row: int
    lengths: tuple[tuple[int, int], ...]
    choices: dict[str, list[Choice]]


class Cost(Struct):
    """What a scorer used for one draw of all questions, whether it was asked now or paid before.

    ``seconds``: by what a new answer took while this scorer alone was at work; ``None`` if all its answers were there
    before, so that nothing was timed.
    """

    calls: float = 0.0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    cost_usd: float = 0.0
    seconds: float | None = None


class Criterion(Struct, kw_only=True):
    """One scorer beside Step-Mask. Draws of sampled answers are never compared with themselves.

    Attributes:
        name: as in ``params.scorer``.
        same: share of questions in which it chooses the trace that Step-Mask chooses in another draw.
        again: share of questions in which it chooses the same trace in another draw.
        correlation: Kendall's tau-b with Step-Mask's scores of another draw; ``None`` where it is not defined.
        score: mean Step-Mask score, in another draw, of the trace that it chooses.
        regret: how much that is below ``Comparison.best``.
        regret_at_most: how much it is below ``Comparison.best_at_most``.
        ties: share of questions in which several traces share its highest score.
        ones: share of bits that are 1; ``None`` for a scorer without bits.
        cost: of one draw.
    """

    name: str
    same: Estimate
    again: Estimate
    correlation: Estimate | None
    score: Estimate
    regret: Estimate
    regret_at_most: Estimate
    ties: float
    ones: float | None
    cost: Cost


class Prediction(Struct):
    """How often two runs of Step-Mask would choose the same trace, with these settings.

    ``low`` and ``high``: the same, if what was seen is at the ends of its interval.
    """

    n_mask: int
    majority: int
    same: float
    low: float
    high: float


class Noise(Struct):
    """How repeatable Step-Mask's choice is.

    Attributes:
        changes: share of questions in which it chooses another trace in another draw.
        present: what the model of its bits says for the run's own settings; it is fitted to what was seen.
        predictions: for other settings.
        settles: the first of these, by name of the key, with which two runs agree in ``wanted`` of the questions.
        wanted: that share.
    """

    changes: Estimate
    present: Prediction
    predictions: list[Prediction]
    settles: dict[str, int | None]
    wanted: float


class Comparison(Struct, kw_only=True):
    """All of ``compare.json``.

    Attributes:
        best: mean Step-Mask score of the trace with the highest mean in the other draws: what a choice can be sure of.
        best_at_most: mean of the highest mean over all draws; choosing and measuring on the same draws flatters it.
        same: for each two criteria, share of questions in which they choose the same trace, in different draws.
        correlations: for each two, Kendall's tau-b, in different draws.
        available: questions that could be compared; ``compared`` of them were drawn, and scored by every scorer.
        left_out: questions that have nothing to choose from, by reason.
        failed: questions that a scorer could not score, by the kind of its error.
    """

    work_dir: str
    created: str
    weak: str
    strong: list[str]
    seed: int
    draws: int
    n_mask: int
    majority: int
    sample: int
    available: int
    compared: int
    traces: int
    left_out: dict[str, int]
    failed: dict[str, int]
    best: Estimate
    best_at_most: Estimate
    criteria: list[Criterion]
    same: list[list[Estimate]]
    correlations: list[list[Estimate | None]]
    noise: Noise
    questions: list[Compared]
