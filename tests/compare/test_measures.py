"""The measures of a comparison: held against scipy, and against simulated questions of which the truth is known."""

import random
from collections.abc import Sequence
from math import isnan

import pytest
from hypothesis import given, strategies as st
from scipy import stats

from weak2wise.outputs.comparison.facts import Choice, Compared
from weak2wise.outputs.comparison.measures import (
    best_score,
    chosen_score,
    correlation,
    flattered_score,
    mean_of,
    same_winner,
)
from weak2wise.outputs.comparison.noise import majority_chance, noise
from weak2wise.rank_correlation import Pairs, pairs, tau_b
from workers.scorers.masking import exact_weights, score

LEVELS = 6
WEIGHTS = exact_weights(LEVELS, beta=0.5, normalization="reference")
FEW = st.integers(0, 4)


@given(st.lists(st.tuples(FEW, FEW), min_size=2, max_size=9))
def test_tau_b_of_one_question_is_scipys(ranks: list[tuple[int, int]]) -> None:
    first, second = zip(*ranks, strict=True)
    expected = stats.kendalltau(first, second, variant="b").statistic
    found = tau_b([pairs(first, second)])
    assert (isnan(found) and isnan(expected)) or found == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.lists(st.tuples(FEW, FEW), min_size=2, max_size=6), min_size=1, max_size=5))
def test_only_traces_of_one_question_make_a_pair(questions: list[list[tuple[int, int]]]) -> None:
    """Questions moved far apart on one axis and tied on the other add no pair of their own to scipy's count."""
    counts = [pairs(*zip(*ranks, strict=True)) for ranks in questions]
    whole = Pairs(*map(sum, zip(*counts, strict=True)))
    assert tau_b(counts) == pytest.approx(tau_b([whole]), nan_ok=True)
    joined = [(a, b, q) for q, ranks in enumerate(questions) for a, b in ranks]
    by_hand = sum(
        (x[0] - y[0]) * (x[1] - y[1]) > 0 for i, x in enumerate(joined) for y in joined[:i] if x[2] == y[2]
    ) - sum((x[0] - y[0]) * (x[1] - y[1]) < 0 for i, x in enumerate(joined) for y in joined[:i] if x[2] == y[2])
    assert whole.concordance == by_hand


def drawn(chances: Sequence[Sequence[float]], draw: random.Random, votes: int = 1) -> Choice:
    """One draw of Step-Mask, with bits of these probabilities, by trace and mask level."""

    def bit(chance: float) -> int:
        return int(sum(draw.random() < chance for _ in range(votes)) > votes / 2)

    bits = tuple(tuple(bit(chance) for chance in row) for row in chances)
    worth = [sum(w for w, bit in zip(WEIGHTS, row, strict=True) if bit) for row in bits]
    winner = max(range(len(worth)), key=lambda at: (worth[at], -at))
    places = sorted(set(worth), reverse=True)
    scores = tuple(score(row, beta=0.5, normalization="reference").score for row in bits)
    return Choice(winner, tuple(places.index(found) for found in worth), scores, bits)


def simulated(count: int, *, traces: int = 3, spread: float = 0.15) -> list[list[list[float]]]:
    """Probabilities of bits: some questions are easier, some traces better, and deeper masks are harder."""
    draw = random.Random(5)
    found = []
    for _ in range(count):
        easy = draw.uniform(0.2, 0.8)
        good = [draw.gauss(0, spread) for _ in range(traces)]
        found.append([[min(0.98, max(0.02, easy + g - 0.08 * level)) for level in range(LEVELS)] for g in good])
    return found


def compared(chances: list[list[list[float]]], draws: int, seed: int = 0) -> list[Compared]:
    """Each question with so many draws of Step-Mask, and a criterion ``oracle`` that knows the probabilities."""
    draw = random.Random(seed)
    questions = []
    for row, of_question in enumerate(chances):
        means = [sum(w * c for w, c in zip(WEIGHTS, trace, strict=True)) for trace in of_question]
        best = max(range(len(means)), key=means.__getitem__)
        ranked = sorted(range(len(means)), key=lambda at: -means[at])
        order = tuple(ranked.index(at) for at in range(len(means)))
        choices = {
            "stepmask": [drawn(of_question, draw) for _ in range(draws)],
            "oracle": [Choice(best, order, tuple(means))] * draws,
        }
        questions.append(Compared(row, tuple((0, at) for at in range(len(means))), choices))
    return questions


def true_mean(trace: Sequence[float]) -> float:
    return (
        score([1] * LEVELS, beta=0.5, normalization="reference").score
        * sum(w * c for w, c in zip(WEIGHTS, trace, strict=True))
        / sum(WEIGHTS)
    )


@pytest.mark.slow
def test_nobody_is_flattered_by_the_draws_that_it_chose_by() -> None:
    """What Step-Mask's choice is worth is what it truly is worth; choosing and measuring on one draw says much more."""
    chances = simulated(1500)
    questions = compared(chances, 2)
    chosen = mean_of(questions, lambda q: chosen_score(q, "stepmask"))
    truth = sum(true_mean(chances[q.row][choice.winner]) for q in questions for choice in q.choices["stepmask"]) / (
        2 * len(questions)
    )
    assert chosen.low < truth < chosen.high
    on_its_own = sum(choice.scores[choice.winner] for q in questions for choice in q.choices["stepmask"]) / (
        2 * len(questions)
    )
    assert on_its_own > chosen.high + 0.03


@pytest.mark.slow
def test_the_best_lies_between_what_can_be_chosen_and_what_is_flattered() -> None:
    chances = simulated(1500)
    questions = compared(chances, 4)
    truth = sum(max(map(true_mean, traces)) for traces in chances) / len(chances)
    least, most = mean_of(questions, best_score), mean_of(questions, flattered_score)
    assert least.value < truth < most.value
    oracle = mean_of(questions, lambda q: chosen_score(q, "oracle"))
    assert oracle.low < truth < oracle.high


@pytest.mark.slow
def test_a_criterion_that_knows_the_truth_has_less_regret_and_agrees_more_than_step_mask_with_itself() -> None:
    questions = compared(simulated(600), 3)
    own, oracle = same_winner(questions, "stepmask", "stepmask"), same_winner(questions, "oracle", "stepmask")
    assert own.high < oracle.low
    assert same_winner(questions, "oracle", "oracle").value == 1
    tau = correlation(questions, "oracle", "stepmask")
    itself = correlation(questions, "stepmask", "stepmask")
    assert tau
    assert itself
    assert tau.low > itself.high > 0


@pytest.mark.slow
def test_where_no_trace_is_better_there_is_no_correlation_and_it_says_so() -> None:
    questions = compared(simulated(400, spread=0.0), 2)
    tau = correlation(questions, "stepmask", "stepmask")
    assert tau
    assert tau.low < 0 < tau.high
    flat = [
        Compared(q.row, q.lengths, {"stepmask": q.choices["stepmask"], "flat": [Choice(0, (0, 0, 0), (1.0,) * 3)] * 2})
        for q in questions
    ]
    assert correlation(flat, "flat", "stepmask") is None


@pytest.mark.slow
@pytest.mark.parametrize("votes", [1, 2, 3, 5, 8])
def test_the_chance_of_a_majority_is_that_of_counting_votes(votes: int) -> None:
    draw, times = random.Random(votes), 40_000
    for chance in (0.2, 0.5, 0.7):
        right = 0
        for _ in range(times):
            cast = [draw.random() < chance for _ in range(votes)]
            right += sum(cast) > votes / 2 or (2 * sum(cast) == votes and cast[0])
        assert right / times == pytest.approx(majority_chance(chance, votes), abs=0.01)


@pytest.mark.slow
def test_what_majority_would_settle_it_is_predicted_as_it_then_comes() -> None:
    """From two draws of one attempt each: how often two runs agree with 5 and with 17 votes, against real ones."""
    chances = simulated(400, spread=0.2)
    found = noise(compared(chances, 2), LEVELS, 1, beta=0.5, normalization="reference")
    draw = random.Random(9)
    for prediction in (found.present, *found.predictions):
        if prediction.n_mask != LEVELS or prediction.majority not in (1, 5, 17):
            continue
        same = [
            drawn(traces, draw, prediction.majority).winner == drawn(traces, draw, prediction.majority).winner
            for traces in chances
            for _ in range(3)
        ]
        truth = sum(same) / len(same)
        assert prediction.same == pytest.approx(truth, abs=0.08), prediction
        assert prediction.low - 0.04 <= truth <= prediction.high + 0.04, prediction
    assert found.changes.low < 1 - found.present.same < found.changes.high
    votes = [p.same for p in (found.present, *found.predictions) if p.n_mask == LEVELS]
    assert votes[-1] > votes[0] + 0.05
    settles = found.settles["majority"]
    agreed = {p.majority: p.same for p in found.predictions if p.n_mask == LEVELS}
    assert settles is None or agreed[settles] >= found.wanted
