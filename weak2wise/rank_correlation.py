"""Kendall's rank correlation tau-b, within questions and pooled over them.

A question has a handful of traces, and scores are often equal. Tau-b counts pairs of traces: those that both criteria
order alike less those that they order the other way round, by how many pairs each of the two tells apart. Only traces
of the same question make a pair, so it does not matter that some questions have higher scores than others. The counts
of all questions are added up before they are divided: a question in which a criterion finds all traces equal has no tau
of its own, but it still counts as what it is. Spearman's correlation of three traces has four values, and cannot be
pooled so.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import nan, sqrt
from typing import NamedTuple


class Pairs(NamedTuple):
    """Pairs of one question's traces.

    Attributes:
        concordance: pairs ordered alike, less those ordered the other way round.
        first: pairs that the first criterion tells apart.
        second: pairs that the second one tells apart.
    """

    concordance: float
    first: float
    second: float


def pairs(first: Sequence[float], second: Sequence[float]) -> Pairs:
    """The pairs of traces by two criteria, each with a number for every trace; equal numbers are ties."""
    concordance = apart_first = apart_second = 0
    for one, other in combinations(range(len(first)), 2):
        here = (first[one] > first[other]) - (first[one] < first[other])
        there = (second[one] > second[other]) - (second[one] < second[other])
        concordance += here * there
        apart_first += here != 0
        apart_second += there != 0
    return Pairs(concordance, apart_first, apart_second)


def tau_b(questions: Iterable[Pairs]) -> float:
    """The tau-b of all questions' pairs together, from -1 to 1; NaN if a criterion tells no pair apart."""
    concordance = first = second = 0.0
    for found in questions:
        concordance += found.concordance
        first += found.first
        second += found.second
    return concordance / sqrt(first * second) if first and second else nan
