"""Intervals, p-values and power, against scipy and statsmodels, by property, and on planted effects."""

import math
import random
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats
import statsmodels.api
from hypothesis import given, settings, strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

from weak2wise.statistics import (
    Singles,
    cluster_bootstrap,
    difference_error,
    holm,
    mean,
    minimum_detectable_effect,
    paired_difference,
    power,
    proportion,
    t_p_value,
    t_quantile,
)

quickly = settings(max_examples=30, deadline=None)
values = st.floats(-100, 100).map(lambda value: round(value, 3))
clusters = st.lists(st.lists(values, min_size=1, max_size=5), min_size=2, max_size=12)
verdicts = st.lists(st.lists(st.sampled_from((0.0, 1.0)), min_size=1, max_size=5), min_size=1, max_size=20)


@pytest.mark.slow
@quickly
@given(clusters)
def test_a_mean_and_its_interval_are_those_of_statsmodels_with_cluster_robust_errors(
    groups: list[list[float]],
) -> None:
    flat = np.concatenate(groups)
    names: Any = np.repeat(range(len(groups)), list(map(len, groups)))
    fitted = statsmodels.api.OLS(flat, np.ones(len(flat))).fit(
        cov_type="cluster", cov_kwds={"groups": names}, use_t=True
    )
    found = mean(groups)
    assert found.value == pytest.approx(flat.mean(), abs=1e-9)
    assert found.error == pytest.approx(fitted.bse[0], rel=1e-6, abs=1e-6)
    assert (found.low, found.high) == pytest.approx(tuple(fitted.conf_int()[0]), rel=1e-6, abs=1e-4)
    assert found.clusters == len(groups)


@quickly
@given(st.lists(values, min_size=2, max_size=30))
def test_of_one_value_a_question_the_mean_has_students_interval(numbers: list[float]) -> None:
    found = mean([[number] for number in numbers])
    error = scipy.stats.sem(numbers)
    assert found.error == pytest.approx(error, abs=1e-9)
    if error > 1e-9:
        expected = scipy.stats.t.interval(0.95, len(numbers) - 1, np.mean(numbers), error)
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@quickly
@given(st.lists(st.tuples(values, values), min_size=2, max_size=30))
def test_a_paired_difference_is_scipys_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    before, after = [[a] for a, _ in pairs], [[b] for _, b in pairs]
    found = paired_difference(before, after)
    if found.error > 1e-9:
        expected = scipy.stats.ttest_rel([b for _, b in pairs], [a for a, _ in pairs])
        assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
        assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-6, abs=1e-6)
    back = paired_difference(after, before)
    assert (back.value, back.low, back.p) == pytest.approx((-found.value, -found.high, found.p), abs=1e-9)


@quickly
@given(st.lists(values, min_size=2, max_size=12))
def test_single_values_are_clusters_of_one(numbers: list[float]) -> None:
    singles, written_out = Singles(array("d", numbers)), [[number] for number in numbers]
    assert [list(cluster) for cluster in singles] == written_out
    assert mean(singles) == mean(written_out)


@pytest.mark.slow
@quickly
@given(clusters)
def test_a_model_does_not_differ_from_itself(groups: list[list[float]]) -> None:
    found = paired_difference(groups, groups)
    assert (found.value, found.p) == (0, 1)


@quickly
@given(st.integers(2, 20))
def test_a_difference_without_spread_is_no_more_certain_than_a_sign_test_says(count: int) -> None:
    found = paired_difference([[0.0]] * count, [[1.0]] * count)
    assert found.p == pytest.approx(scipy.stats.binomtest(count, count).pvalue)


@quickly
@given(verdicts)
def test_a_proportion_and_its_interval_stay_between_0_and_1_and_around_the_value(groups: list[list[float]]) -> None:
    found = proportion(groups)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high, "an interval of no width would claim to know"
    turned = proportion([[1 - value for value in group] for group in groups])
    assert (turned.low, turned.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-9)


@pytest.mark.parametrize(("right", "count"), [(0, 40), (1, 40), (13, 400), (390, 400)])
def test_of_many_single_answers_a_proportion_has_wilsons_interval(right: int, count: int) -> None:
    found = proportion([[1.0]] * right + [[0.0]] * (count - right))
    freedom = 2 * scipy.stats.norm.sf(scipy.stats.t.ppf(0.975, count - 1))  # Wilson's formula with Student's quantile
    expected = proportion_confint(right, count, alpha=freedom, method="wilson")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)


def test_equal_answers_of_a_question_count_once() -> None:
    alike = proportion([[1.0] * 8] * 30 + [[0.0] * 8] * 70)
    once = proportion([[1.0]] * 30 + [[0.0]] * 70)
    assert (alike.low, alike.high) == pytest.approx((once.low, once.high), abs=1e-9)


@quickly
@given(st.floats(0.5001, 0.9995), st.integers(1, 300))
def test_quantiles_are_scipys(probability: float, freedom: int) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(scipy.stats.t.ppf(probability, freedom), rel=1e-6)


@quickly
@given(st.floats(0, 50), st.integers(1, 300))
def test_p_values_are_scipys(t: float, freedom: int) -> None:
    assert t_p_value(t, freedom) == pytest.approx(2 * scipy.stats.t.sf(t, freedom), rel=1e-6, abs=1e-12)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)  # statsmodels takes 0.2 s for each
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


def test_holm_of_nothing_is_nothing() -> None:
    assert holm([]) == []


@pytest.mark.parametrize("count", [10, 40, 200])
@pytest.mark.parametrize("effect", [0.2, 0.4, 0.8])
def test_power_is_that_of_statsmodels(count: int, effect: float) -> None:
    expected = float(TTestPower().power(effect, count, 0.05))
    assert power(effect, 1 / math.sqrt(count), count) == pytest.approx(expected, abs=0.01)


@quickly
@given(st.floats(0.01, 10), st.integers(3, 500), st.floats(0.5, 0.99))
def test_the_minimum_detectable_effect_has_the_power_it_is_named_for(error: float, count: int, wanted: float) -> None:
    least = minimum_detectable_effect(error, count, wanted=wanted)
    assert power(least, error, count) == pytest.approx(wanted, abs=1e-6)
    assert power(least * 0.99, error, count) < wanted


def _average(groups: Sequence[Sequence[float]]) -> float:
    return sum(map(sum, groups)) / sum(map(len, groups))


def test_the_bootstrap_agrees_with_scipys_and_is_the_same_for_the_same_seed() -> None:
    draw = random.Random(3)
    groups = [[draw.gauss(5, 2)] for _ in range(60)]
    found = cluster_bootstrap(groups, _average, resamples=4000, seed=1)
    data = np.array([value for (value,) in groups])
    expected = scipy.stats.bootstrap((data,), np.mean, method="percentile", n_resamples=4000, rng=2)
    interval = expected.confidence_interval
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.04)
    assert found.error == pytest.approx(expected.standard_error, rel=0.1)
    assert found == cluster_bootstrap(groups, _average, resamples=4000, seed=1)
    assert found != cluster_bootstrap(groups, _average, resamples=4000, seed=2)


def test_the_bootstrap_draws_whole_questions() -> None:
    """Ten answers of a question that are all alike are no more certain than one of them."""
    alike = cluster_bootstrap([[float(number % 2)] * 10 for number in range(40)], _average)
    assert alike.error == pytest.approx(math.sqrt(0.25 / 40), rel=0.1)


def test_a_resample_without_a_value_is_left_out_and_too_many_of_them_are_an_error() -> None:
    def first_half_or_nothing(groups: Sequence[Sequence[float]]) -> float:
        return math.nan if sum(map(sum, groups)) > 1 else 1.0

    assert cluster_bootstrap([[0.0]] * 9 + [[1.0]], first_half_or_nothing).value == 1.0
    with pytest.raises(ValueError, match="defined in"):
        cluster_bootstrap([[0.0]] * 5 + [[1.0]] * 5, first_half_or_nothing)


@pytest.mark.parametrize(
    "fails",
    [
        lambda: mean([[1.0]]),
        lambda: proportion([]),
        lambda: paired_difference([[1.0]], [[1.0]]),
        lambda: paired_difference([[1.0], [0.0]], [[1.0]]),
        lambda: cluster_bootstrap([[1.0]], _average),
    ],
)
def test_what_has_no_answer_is_an_error(fails: object) -> None:
    with pytest.raises(ValueError, match=r"two|one|argument|drawn"):
        fails()  # type: ignore[operator]


QUESTIONS, SAMPLES, EXPERIMENTS = 100, 4, 300


def _experiment(draw: random.Random, effect: float) -> float:
    """P-value of one simulated evaluation: questions of all difficulties, a second model better by ``effect``."""
    before, after = [], []
    for _ in range(QUESTIONS):
        rate = draw.uniform(0.2, 0.7)
        before.append([float(draw.random() < rate) for _ in range(SAMPLES)])
        after.append([float(draw.random() < rate + effect) for _ in range(SAMPLES)])
    return paired_difference(before, after).p


def test_a_planted_effect_is_found_with_the_power_that_was_announced() -> None:
    draw = random.Random(11)
    rates = [draw.uniform(0.2, 0.7) for _ in range(2000)]
    error = difference_error(questions=QUESTIONS, samples=SAMPLES, solve_rates=rates)
    least = minimum_detectable_effect(error, QUESTIONS)
    found = sum(_experiment(draw, least) < 0.05 for _ in range(EXPERIMENTS)) / EXPERIMENTS
    assert found == pytest.approx(0.8, abs=0.07), "three standard errors of the simulation"


def test_no_effect_is_found_no_more_often_than_the_level_allows() -> None:
    draw = random.Random(12)
    found = sum(_experiment(draw, 0.0) < 0.05 for _ in range(EXPERIMENTS)) / EXPERIMENTS
    assert found == pytest.approx(0.05, abs=0.038)


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
def test_intervals_of_pass_at_1_hold_the_truth_as_often_as_they_say(rate: float) -> None:
    """Each question has a solve rate of its own, with this mean: Beta(4 rate, 4 (1 - rate))."""
    draw, held = random.Random(13), 0
    for _ in range(EXPERIMENTS):
        rates = [draw.betavariate(4 * rate, 4 * (1 - rate)) for _ in range(50)]
        found = proportion([[float(draw.random() < one) for _ in range(SAMPLES)] for one in rates])
        held += found.low <= rate <= found.high
    assert held / EXPERIMENTS >= 0.92
