"""Answers of models that never were, with an effect of known size between them."""

import random

from weak2wise.proof.claim import UNTRAINED, Claim, HeldOutSet
from weak2wise.proof.result import (
    ArmData,
    Asked,
    Overlap,
    Proof,
    Training,
    compare_arms,
    outcomes_of,
    warnings_of,
)


def claim_of(
    questions: int = 200,
    samples: int = 4,
    arms: tuple[str, ...] = ("winners",),
    seeds: tuple[int, ...] = (0, 1),
    **other: object,
) -> Claim:
    fields: dict[str, object] = {
        "arms": arms, "seeds": seeds, "without": (),
        "sets": (HeldOutSet(name="held-out", questions=questions, digest="a digest", samples=samples),),
        "solve_rate": 0.4, "solve_rate_from": "assumed", "base": "weak", "data": "another digest", "rows": 100,
        "settings": {"train.epochs": 3},
    }  # fmt: skip
    return Claim.of(**(fields | other))  # type: ignore[arg-type]


def asked_of(claim: Claim, effects: dict[str, float], seed: int) -> list[Asked]:
    """The untrained model and one for each arm and training seed; an arm solves a question more often by its effect."""
    rng = random.Random(seed)
    (held,) = claim.sets
    rates = [rng.betavariate(1.2, 1.8) for _ in range(held.questions)]
    models = []
    for arm, effect in {UNTRAINED: 0.0, **effects}.items():
        for training_seed in (None,) if arm == UNTRAINED else claim.seeds:
            flexible = [
                [float(rng.random() < min(1.0, max(0.0, rate + effect))) for _ in range(held.samples)] for rate in rates
            ]
            models.append(
                Asked(
                    arm=arm,
                    seed=training_seed,
                    set=held.name,
                    flexible=flexible,
                    strict=[[value * (rng.random() < 0.8) for value in answers] for answers in flexible],
                    unfinished=[[float(rng.random() < 0.1) for _ in answers] for answers in flexible],
                    undecided=[[float(rng.random() < 0.01) for _ in answers] for answers in flexible],
                    tokens=[[rng.uniform(40, 160) for _ in answers] for answers in flexible],
                )
            )
    return models


def proof_of(effects: dict[str, float], seed: int = 0, questions: int = 200, name: str = "runs/a") -> Proof:
    """A whole proof of such models."""
    claim = claim_of(questions=questions, arms=tuple(effects))
    asked = asked_of(claim, effects, seed)
    comparisons = compare_arms(claim, asked)
    outcomes = outcomes_of(asked)
    overlaps = [Overlap(one="winners", other=arm, share=0.62) for arm in effects if arm != "winners"]
    ones = (0.22, 1840)
    return Proof(
        claim=claim,
        work_dir=name,
        outcomes=outcomes,
        comparisons=comparisons,
        training=[
            Training(
                name=model.name, arm=model.arm, seed=model.seed, folder="a-folder", rows=100, tokens=12_345,
                too_long=1, losses=tuple((step, 2.4 / step**0.3) for step in range(1, 61)), seconds=812.0,
            )
            for model in asked
            if model.seed is not None
        ],
        data=[ArmData(arm=arm, rows=100, characters=312.5, mix={"strong": 100}) for arm in effects],
        overlaps=overlaps,
        ones=ones,
        added=[],
        warnings=warnings_of(outcomes, comparisons, overlaps, ones),
        repeat={"weak2wise": "0.1.0", "command": "weak2wise prove --config run.yaml --questions held-out.jsonl"},
        finished="2026-11-27T12:00:00+00:00",
    )  # fmt: skip
