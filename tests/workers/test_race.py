"""Racing is exact: whatever the bits, the lengths and the order of arrival, it finds the exhaustive winner."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, strategies as st

from tests.contexts import context
from weak2wise.config import Params
from workers.records import Candidate, Score
from workers.scorers import StepMask
from workers.scorers.masking import Normalization, exact_weights, score
from workers.scorers.race import Race
from workers.select import select

BETAS = [0.0, 0.3, 0.5, 0.7, 1.0]


@dataclass(frozen=True)
class Table:
    """A question's candidates with every bit they would get."""

    n: int
    beta: float
    normalization: Normalization
    bits: list[list[int]]
    words: list[int | None]
    """Words of normal reasoning, ``None`` for a candidate that shows none of its own."""

    @property
    def weights(self) -> tuple[int, ...]:
        return exact_weights(self.n, beta=self.beta, normalization=self.normalization)

    @property
    def scorer(self) -> StepMask:
        params = Params(n_mask=self.n, beta=self.beta, ew_normalization=self.normalization)
        return StepMask(context(params))

    @property
    def candidates(self) -> list[Candidate]:
        return [
            Candidate(
                m_strong="m",
                sample=c,
                step_reasoning="",
                step_list=(),
                normal="word " * (words or 0),
                normal_is_own=words is not None,
            )
            for c, words in enumerate(self.words)
        ]

    def race(self) -> Race[tuple[int, int]]:
        lengths = [candidate.length for candidate in self.candidates]
        return Race(
            self.weights, lengths, [[(c, level) for level in range(len(row))] for c, row in enumerate(self.bits)]
        )

    def needed_if(self, known: dict[tuple[int, int], int], favoured: int | None = None) -> set[tuple[int, int]]:
        """What a race that knows nothing ahead needs: with the true bits, or with unknown ones of 1 for one candidate.

        All other unknown bits are 0 then.
        """
        race = self.race()
        while wanted := race.wanted():
            c, level = wanted[0]
            unknown = self.bits[c][level] if favoured is None else int(c == favoured)
            race.learn((c, level), known.get((c, level), unknown))
        return race.needed()

    def winner(self, s_lists: list[tuple[int | None, ...]]) -> tuple[int, Score]:
        scores = [score(s, beta=self.beta, normalization=self.normalization) for s in s_lists]
        candidate, best = select(self.candidates, scores, self.scorer)
        return candidate.sample, best


@st.composite
def tables(draw: st.DrawFn) -> Table:
    n = draw(st.integers(1, 8))
    count = draw(st.integers(1, 7))
    row: st.SearchStrategy[list[int]] = st.one_of(st.just([]), st.lists(st.integers(0, 1), min_size=n, max_size=n))
    return Table(
        n=n,
        beta=draw(st.sampled_from(BETAS)),
        normalization=draw(st.sampled_from(["reference", "unit"])),
        bits=draw(st.lists(row, min_size=count, max_size=count)),
        words=draw(st.lists(st.one_of(st.none(), st.integers(1, 3)), min_size=count, max_size=count)),
    )


@pytest.mark.slow
@given(tables(), st.integers(1, 9), st.randoms(use_true_random=False))
def test_the_race_finds_the_exhaustive_winner_whatever_arrives_when(
    table: Table, width: int, rng: random.Random
) -> None:
    race, in_flight = table.race(), set[tuple[int, int]]()
    while wanted := race.wanted(width):
        assert len(wanted) == len(set(wanted)) <= width
        in_flight |= set(wanted)
        c, level = rng.choice(sorted(in_flight))
        in_flight.remove((c, level))
        race.learn((c, level), table.bits[c][level])
    raced = [race.s_list(c) for c in range(len(table.bits))]
    winner, best = table.winner(raced)
    assert (winner, best) == table.winner([tuple(row) for row in table.bits])
    assert not best.is_bound
    assert all(
        bit in {None, true} for s, row in zip(raced, table.bits, strict=True) for bit, true in zip(s, row, strict=True)
    )

    alone = table.race()
    while wanted := alone.wanted():
        ((c, level),) = wanted
        alone.learn((c, level), table.bits[c][level])
    assert raced == [alone.s_list(c) for c in range(len(table.bits))]


@pytest.mark.slow
@given(tables())
def test_a_race_asks_one_bit_at_a_time_and_none_that_it_does_not_need(table: Table) -> None:
    race, asked = table.race(), set[tuple[int, int]]()
    while wanted := race.wanted():
        (bit,) = wanted
        assert bit not in asked
        asked.add(bit)
        race.learn(bit, table.bits[bit[0]][bit[1]])
    assert asked == race.needed()


@pytest.mark.slow
@given(tables(), st.integers(2, 9), st.randoms(use_true_random=False))
def test_what_a_race_cannot_need_is_proved_as_early_as_possible_and_rightly(
    table: Table, width: int, rng: random.Random
) -> None:
    """Wherever a race stands: it may need a bit exactly if some values of the unknown ones make it ask for that one."""
    race, known = table.race(), dict[tuple[int, int], int]()
    for _ in range(rng.randrange(table.n * len(table.bits) + 1)):
        if not (wanted := race.wanted(width)):
            break
        c, level = rng.choice(wanted)
        known[c, level] = table.bits[c][level]
        race.learn((c, level), table.bits[c][level])
    may = race.may_need()
    for bit in {(c, level) for c, row in enumerate(table.bits) for level in range(len(row))} - known.keys():
        assert (bit in may) == (bit in table.needed_if(known, favoured=bit[0]))
    assert table.needed_if(known) <= known.keys() | may


@pytest.mark.slow
@given(tables(), st.integers(2, 9), st.randoms(use_true_random=False))
def test_giving_up_what_a_race_cannot_need_changes_nothing(table: Table, width: int, rng: random.Random) -> None:
    race, in_flight = table.race(), set[tuple[int, int]]()
    given_up: set[tuple[int, int]] = set()
    while wanted := race.wanted(width):
        in_flight |= set(wanted)
        assert not in_flight & given_up
        c, level = rng.choice(sorted(in_flight))
        in_flight.remove((c, level))
        race.learn((c, level), table.bits[c][level])
        given_up |= in_flight - race.may_need()
        in_flight -= given_up
    raced = [race.s_list(c) for c in range(len(table.bits))]
    assert table.winner(raced) == table.winner([tuple(row) for row in table.bits])
    assert race.needed() == table.needed_if({})


@pytest.mark.slow
@given(tables())
def test_exact_weights_are_what_the_score_adds_up(table: Table) -> None:
    full = sum(table.weights)
    whole = score([1] * table.n, beta=table.beta, normalization=table.normalization).score
    for row in table.bits:
        worth = sum(weight for weight, bit in zip(table.weights, row, strict=False) if bit)
        found = score(row, beta=table.beta, normalization=table.normalization).score
        assert found == pytest.approx(whole * worth / full if full else 0.0)


def test_equal_asks_share_one_bit() -> None:
    race = Race(exact_weights(3, beta=0.5, normalization="unit"), [5.0, 9.0], [["a", "a", "b"], ["b", "b", "b"]])
    asked = []
    while wanted := race.wanted():
        asked += wanted
        race.learn(wanted[0], int(wanted[0] == "b"))
    assert asked == ["b", "a"]
    assert race.s_list(1) == (1, 1, 1)
    assert race.s_list(0)[2] == 1


def test_a_loser_is_left_as_soon_as_it_cannot_win() -> None:
    """Two perfect candidates: the shorter one wins the tie, and the longer one is never asked about."""
    race = Race(exact_weights(6, beta=0.5, normalization="reference"), [9.0, 5.0], [list(range(6)), list(range(6, 12))])
    while wanted := race.wanted():
        race.learn(wanted[0], 1)
    assert race.s_list(1) == (1,) * 6
    assert race.s_list(0) == (None,) * 6


def test_a_candidate_without_steps_wins_a_tie_at_0_as_any_other() -> None:
    assert Race([0], [2, 1], [["bit"], []]).wanted() == []
    assert Race([0], [1, 2], [["bit"], []]).wanted() == ["bit"]


def test_bits_asked_ahead_are_those_needed_next_if_the_unknown_ones_are_as_most_were() -> None:
    """Then, if there is room for more, those needed if they are the other way."""
    race = Race([1, 2, 4], [1, 2], [["a0", "a1", "a2"], ["b0", "b1", "b2"]])
    assert race.wanted() == ["a2"]
    assert race.wanted(2) == ["a2", "b2"], "none is known: they are taken for not reached"
    assert race.wanted(10) == ["a2", "b2", "a1", "b1", "a0", "b0"]
    race.learn("a2", 1)
    assert race.wanted(2) == ["a1", "a0"]
    assert race.wanted(10) == ["a1", "a0", "b2"]
    race.learn("a1", 0)
    assert race.wanted(2) == ["b2", "a0"], "as many were as were not"
    race.learn("b2", 0)
    race.learn("a0", 0)
    assert race.wanted(10) == []
    assert (race.s_list(0), race.s_list(1)) == ((0, 0, 1), (None, None, 0))
    assert race.needed() == {"a0", "a1", "a2", "b2"}


def test_of_levels_that_are_worth_the_same_the_one_that_hides_most_is_asked_first() -> None:
    assert Race([1, 1, 1], [1], [["a0", "a1", "a2"]]).wanted(3) == ["a2", "a1", "a0"]


def test_evidence_is_a_sign_for_each_mask_level() -> None:
    assert StepMask.explain(Score(score=0.5, s_list=(1, 0, None, 1))) == "✓✗·✓"
    assert StepMask.explain(Score(score=0.0, s_list=())) == "no steps"
