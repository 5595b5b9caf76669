"""What a proof found, as one value: models, comparisons, training data, and everything needed to repeat it.

The page, the Markdown and ``proof.json`` are made of it alone.
"""

from collections.abc import Sequence

from msgspec import Struct

from weak2wise.proof.claim import UNTRAINED, Claim, Measure
from weak2wise.statistics import (
    LEVEL,
    Difference,
    Estimate,
    holm,
    mean,
    minimum_detectable_effect,
    paired_difference,
    proportion,
)

RELEVANT = 0.02
"""A comparison that cannot see a true difference of pass@1 as small as this is called underpowered if it finds none."""
ALIKE = 0.5
"""Arms that share more of their traces than this can hardly differ."""
FEW_ONES = 0.1
"""With fewer ones among the mask bits than this, Step-Mask's scores are mostly ties."""
MANY_UNDECIDED = 0.05
"""With more undecided answers than this, a model may lose by the format of its answers alone."""
MEASURES: tuple[Measure, ...] = ("flexible", "strict")

Answers = Sequence[Sequence[float]]
"""For each question, in order, one number for each of its answers."""


class Asked(Struct, frozen=True, kw_only=True):
    """What a model answered to the held-out questions of one set.

    ``arm`` and ``seed`` of a trained model; the untrained one has ``UNTRAINED`` and ``None``.
    """

    set: str
    arm: str
    seed: int | None
    flexible: Answers
    strict: Answers
    unfinished: Answers
    undecided: Answers
    tokens: Answers

    @property
    def name(self) -> str:
        """The model in words."""
        return self.arm if self.seed is None else f"{self.arm}, seed {self.seed}"


class Outcome(Struct, frozen=True, kw_only=True):
    """One model, or an arm over all of its seeds, on one set: pass@1 both ways, how answers end, and their length."""

    set: str
    name: str
    arm: str
    seeds: tuple[int, ...]
    flexible: Estimate
    strict: Estimate
    unfinished: Estimate
    undecided: Estimate
    tokens: Estimate


class Comparison(Struct, frozen=True, kw_only=True):
    """``after`` minus ``before``, paired by question, over all seeds of an arm.

    ``p``: two-sided; ``corrected``: by Holm among all comparisons but the primary one, which was named beforehand and
    is a single test. ``detectable``: the true difference that would be found with probability ``claim.POWER``, from the
    spread that was seen.
    """

    set: str
    after: str
    before: str
    measure: Measure
    difference: Difference
    corrected: float
    detectable: float
    primary: bool = False

    @property
    def found(self) -> bool:
        """Whether there is a difference, at the level of the claim."""
        return self.corrected < 1 - LEVEL

    @property
    def underpowered(self) -> bool:
        """Whether nothing was found and a difference that matters would often have been missed."""
        return not self.found and self.detectable > RELEVANT


class Training(Struct, frozen=True, kw_only=True):
    """How one model was trained; ``losses``: step and loss."""

    name: str
    arm: str
    seed: int
    folder: str
    rows: int
    tokens: int
    too_long: int
    losses: tuple[tuple[int, float], ...]
    seconds: float


class ArmData(Struct, frozen=True, kw_only=True):
    """What an arm trains on: rows, mean characters of a response, and how many rows are of each strong model."""

    arm: str
    rows: int
    characters: float
    mix: dict[str, int]


class Overlap(Struct, frozen=True, kw_only=True):
    """The share of questions for which two arms take the same trace."""

    one: str
    other: str
    share: float


class Proof(Struct, frozen=True, kw_only=True):
    """Everything that a proof found.

    ``ones``: the share of ones among Step-Mask's bits and how many were asked; ``None`` for another scorer. ``added``:
    arms and seeds that the claim does not have. ``repeat``: name and value of what is needed to do it again.
    """

    claim: Claim
    work_dir: str
    outcomes: list[Outcome]
    comparisons: list[Comparison]
    training: list[Training]
    data: list[ArmData]
    overlaps: list[Overlap]
    ones: tuple[float, int] | None
    added: list[str]
    warnings: list[str]
    repeat: dict[str, str]
    finished: str

    @property
    def primary(self) -> Comparison:
        """The comparison that the claim is about."""
        return next(found for found in self.comparisons if found.primary)

    def verdict(self) -> str:
        """The result of the claim in two or three sentences."""
        found = self.primary
        more = found.difference.value >= 0
        arm = f"Trained on the {self.claim.arm} arm, the weak LLM"
        change = (
            f"{100 * abs(found.difference.value):.1f} points {'more' if more else 'less'} of the questions than "
            f"untrained (95 % interval {100 * found.difference.low:+.1f} to {100 * found.difference.high:+.1f})"
        )
        if found.found:
            return f"Training {'helped' if more else 'made it worse'}. {arm} solved {change}."
        return (
            f"No effect was found. {arm} solved {change}, and the interval includes 0. A true difference below "
            f"{100 * found.detectable:.1f} points would often be missed here"
            f"{': the comparison is underpowered' if found.underpowered else ''}."
        )


def outcomes_of(asked: Sequence[Asked]) -> list[Outcome]:
    """Each model, and each arm with more than one seed over all of them, the untrained model first."""
    found = []
    for arms in _by_set(asked).values():
        for arm, models in arms.items():
            if len(models) > 1:
                found.append(_outcome(f"{arm}, all seeds", models))
            found += [_outcome(model.name, [model]) for model in models]
    return found


def compare_arms(claim: Claim, asked: Sequence[Asked]) -> list[Comparison]:
    """The comparisons: each arm with the untrained model, and each other arm with the primary one, both ways measured.

    The primary one is the first.

    Raises:
        ValueError: an arm of the claim has no answers, or the answers are to different questions.
    """
    tests = []
    for name, arms in sorted(_by_set(asked).items(), key=lambda item: item[0] != claim.sets[0].name):
        if missing := {claim.arm, claim.against} - arms.keys():
            raise ValueError(f"{name}: no answers of {', '.join(sorted(missing))}")
        trained = sorted(arms.keys() - {claim.against}, key=lambda arm: (arm != claim.arm, list(arms).index(arm)))
        pairs = [(arm, claim.against) for arm in trained] + [(claim.arm, arm) for arm in trained[1:]]
        for measure in sorted(MEASURES, key=lambda measure: measure != claim.measure):
            sides = {arm: _pooled(models, measure) for arm, models in arms.items()}
            tests += [
                (name, after, before, measure, paired_difference(sides[before], sides[after]))
                for after, before in pairs
            ]
    corrected = [tests[0][4].p, *holm([difference.p for *_, difference in tests[1:]])]
    return [
        Comparison(
            set=name,
            after=after,
            before=before,
            measure=measure,
            difference=difference,
            corrected=p,
            detectable=_detectable(difference),
            primary=number == 0,
        )
        for number, ((name, after, before, measure, difference), p) in enumerate(zip(tests, corrected, strict=True))
    ]


def warnings_of(
    outcomes: Sequence[Outcome],
    comparisons: Sequence[Comparison],
    overlaps: Sequence[Overlap],
    ones: tuple[float, int] | None,
) -> list[str]:
    """What a reader has to know before believing the numbers."""
    found = [
        f"{one.name}, {one.set}: {100 * one.undecided.value:.0f} % of the answers could not be decided and count as "
        "wrong. Ask for answers in one format (prove.prompt), or set a judge LLM (models.judge)"
        for one in outcomes
        if one.undecided.value > MANY_UNDECIDED
    ]
    found += [
        f"The arms {pair.one} and {pair.other} take the same trace for {100 * pair.share:.0f} % of the questions: they "
        "can hardly differ"
        for pair in overlaps
        if pair.share > ALIKE
    ]
    if ones and ones[1] and ones[0] < FEW_ONES:
        found.append(
            f"Only {100 * ones[0]:.1f} % of the mask bits are ones: most scores are ties, and the winners are mostly "
            "chosen by length. Take easier questions, or a hint that shows more"
        )
    if weak := [c for c in comparisons if c.underpowered]:
        found.append(
            f"{len(weak)} of {len(comparisons)} comparisons are underpowered: they found nothing, and would often miss "
            f"a true difference of {100 * RELEVANT:.0f} points"
        )
    return found


def _by_set(asked: Sequence[Asked]) -> dict[str, dict[str, list[Asked]]]:
    """By set and arm, the untrained model first."""
    sets: dict[str, dict[str, list[Asked]]] = {}
    for model in sorted(asked, key=lambda model: model.arm != UNTRAINED):
        sets.setdefault(model.set, {}).setdefault(model.arm, []).append(model)
    return sets


def _pooled(models: Sequence[Asked], what: str) -> list[list[float]]:
    """The numbers of several models, question by question.

    Raises:
        ValueError: they did not answer the same number of questions.
    """
    each: list[Answers] = [getattr(model, what) for model in models]
    return [[value for answers in question for value in answers] for question in zip(*each, strict=True)]


def _outcome(name: str, models: Sequence[Asked]) -> Outcome:
    return Outcome(
        set=models[0].set,
        name=name,
        arm=models[0].arm,
        seeds=tuple(model.seed for model in models if model.seed is not None),
        flexible=proportion(_pooled(models, "flexible")),
        strict=proportion(_pooled(models, "strict")),
        unfinished=proportion(_pooled(models, "unfinished")),
        undecided=proportion(_pooled(models, "undecided")),
        tokens=mean(_pooled(models, "tokens")),
    )


def _detectable(difference: Difference) -> float:
    """The difference that would be found with the wanted probability; 0 where no spread was seen."""
    return minimum_detectable_effect(difference.error, difference.clusters) if difference.error else 0.0
