"""The order of a proof: the claim comes first, nothing is done twice, and it may be stopped before every part."""

import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from tests.finished_run import FinishedRun
from weak2wise.config import Config, HeldOut, TrainSettings, load_config
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import locked
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.proof.claim import Claim, read
from weak2wise.proof.evaluated import Evaluated, EvaluateSettings, QuestionResult, mean_length, share
from weak2wise.proof.messages import Planned
from weak2wise.proof.prove import Prover
from weak2wise.proof.result import Proof
from weak2wise.proof.trained import Trained

QUESTIONS = 40


class Parts:
    """Trainings and evaluations that keep what they made, as the real ones do, and can be stopped before the n-th."""

    def __init__(self, effect: float = 0.3, stop_at: int | None = None, too_long: tuple[int, ...] = ()) -> None:
        self.made: dict[tuple[Any, ...], Any] = {}
        self.times: Counter[tuple[Any, ...]] = Counter()
        self.effect = effect
        self.stop_at = stop_at
        self.too_long = too_long
        self.without: list[frozenset[int]] = []

    def _once(self, key: tuple[Any, ...], make: Any) -> Any:
        if key not in self.made:
            if self.stop_at is not None and len(self.made) >= self.stop_at:
                raise KeyboardInterrupt
            self.times[key] += 1
            self.made[key] = make()
        return self.made[key]

    def plan(self, *_: Any, **__: Any) -> Planned:
        return Planned(
            rows=1, tokens=1, learned=1, longest=1, too_long=list(self.too_long), limit=100, chat=True, steps=3,
            parameters=1, trained_parameters=1, memory_gib=1.0, activations_gib=1.0, disk_gib=1.0, resumed=0,
        )  # fmt: skip

    def train(self, work: WorkDir, arm: str, seed: int, settings: TrainSettings, **other: Any) -> Trained:
        assert read(work.folder / "proof" / "claim.json"), "trained before the claim was written"
        self.without.append(other["without"])
        trained: Trained = self._once(
            ("train", arm, seed),
            lambda: Trained(
                folder=Path(f"{arm}-{seed}"), base="weak", arm=arm, seed=seed, digest="d", settings=settings, rows=10,
                tokens=1000, too_long=[], strong={}, steps=2, losses=[(1, 2.0), (2, 1.5)], seconds=1.0, dtype="float32",
                peak_gib=1.0, versions={}, files={},
            ),
        )  # fmt: skip
        return trained

    def ask(self, model: Path | str, held: HeldOut, settings: EvaluateSettings) -> Evaluated:
        assert settings.samples == held.samples
        found: Evaluated = self._once(("ask", str(model), held.called), lambda: self._answers(model, held))
        return found

    def _answers(self, model: Path | str, held: HeldOut) -> Evaluated:
        rng, rate = random.Random(str(model)), 0.3 + (self.effect if isinstance(model, Path) else 0.0)
        results = []
        for row in range(1, QUESTIONS + 1):
            right = [rng.random() < rate for _ in range(held.samples)]
            no = [False] * held.samples
            results.append(
                QuestionResult(
                    row=row, id=None, strict=right, flexible=right, unsure=no, cut_off=no,
                    finish_reasons=["stop"] * held.samples, tokens=[50 + row] * held.samples,
                )
            )  # fmt: skip
        return Evaluated(
            name=str(model), model="m", folder="f", settings=EvaluateSettings(samples=held.samples),
            strict=share(results, "strict"), flexible=share(results, "flexible"),
            unfinished=share(results, "cut_off"), unsure=share(results, "unsure"), tokens=mean_length(results),
            deciders={}, training_input=None, left_out=[], similar=[], failed=0, seconds=0.0,
            tokens_per_second=0.0, questions=results,
        )  # fmt: skip


@pytest.fixture
def work(finished: FinishedRun, tmp_path: Path) -> Path:
    """A copy of the finished run's work_dir, and held-out questions beside it."""
    shutil.copytree(finished.work, tmp_path / "work")
    rows = [
        {"question": f"How much is {number} and 1000?", "answer": str(number + 1000)} for number in range(QUESTIONS)
    ]
    (tmp_path / "held-out.jsonl").write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return tmp_path / "work"


def config_of(finished: FinishedRun, work: Path, **changes: Any) -> Config:
    config = load_config(finished.folder / "config.yaml")
    held_out = (HeldOut(questions=str(work.parent / "held-out.jsonl"), samples=4),)
    settings = structs.replace(config.prove, **({"held_out": held_out} | changes))
    return structs.replace(config, prove=settings, dataset=structs.replace(config.dataset, work_dir=str(work)))


def proved(config: Config, work: Path, parts: Parts) -> Proof:
    prover = Prover(
        config, WorkDir(work), command="weak2wise prove", notify=lambda _: None, plans=parts.plan, trains=parts.train,
        evaluates=parts.ask,
    )  # fmt: skip
    return prover.run()


def test_a_planted_effect_is_found_and_everything_is_written(finished: FinishedRun, work: Path) -> None:
    proof = proved(config_of(finished, work), work, Parts(effect=0.3))
    assert proof.primary.found
    assert proof.verdict().startswith("Training helped.")
    kept = msgspec.json.decode((work / "proof" / "proof.json").read_bytes(), type=Proof)
    assert kept.verdict() == proof.verdict()
    said = (work / "proof" / "proof.md").read_text()
    assert said.startswith("# Does the data help? ")
    assert proof.verdict() in said
    assert "Training helped." in (work / "proof" / "proof.html").read_text()
    assert [outcome.name for outcome in proof.outcomes] == [
        "untrained",
        "winners, all seeds",
        "winners, seed 0",
        "winners, seed 1",
    ]
    assert proof.data[0].rows == proof.claim.rows > 0
    assert sum(proof.data[0].mix.values()) == proof.data[0].rows
    assert proof.ones is not None


def test_no_path_of_this_machine_is_in_what_is_published(
    finished: FinishedRun, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work.parent)
    parts = Parts()
    prover = Prover(
        config_of(finished, work), WorkDir(work), notify=lambda _: None, plans=parts.plan, trains=parts.train,
        command=f"weak2wise prove {work} --set model_endpoints.weak.model_name={Path.home()}/models/weak",
        evaluates=parts.ask,
    )  # fmt: skip
    command = prover.run().repeat["command"]
    assert command == "weak2wise prove work --set model_endpoints.weak.model_name=~/models/weak"
    for name in ("proof.md", "proof.json", "proof.html"):
        assert str(work.parent) not in (work / "proof" / name).read_text(), name


def test_without_an_effect_the_page_says_so(finished: FinishedRun, work: Path) -> None:
    proof = proved(config_of(finished, work), work, Parts(effect=0.0))
    assert "No effect was found." in (work / "proof" / "proof.html").read_text()
    assert proof.primary.underpowered
    assert "underpowered" in (work / "proof" / "proof.md").read_text()


def test_it_may_be_stopped_before_every_part_and_does_none_twice(finished: FinishedRun, work: Path) -> None:
    config = config_of(finished, work, arms=("winners", "random"))
    whole = Parts()
    expected = proved(config, work, whole)
    shutil.rmtree(work / "proof")
    stopped, claims = Parts(), set[str]()
    for parts in range(len(whole.made)):
        stopped.stop_at = parts
        with pytest.raises(KeyboardInterrupt):
            proved(config, work, stopped)
        assert not (work / "proof" / "proof.json").exists()
        claims.add((work / "proof" / "claim.json").read_text())
    stopped.stop_at = None
    found = proved(config, work, stopped)
    assert set(stopped.times.values()) == {1}
    assert len(claims) == 1
    assert (found.outcomes, found.comparisons) == (expected.outcomes, expected.comparisons)


def test_arms_and_seeds_that_come_later_are_said_to_be_later(finished: FinishedRun, work: Path) -> None:
    parts = Parts()
    first = proved(config_of(finished, work), work, parts)
    later = proved(config_of(finished, work, arms=("winners", "shortest"), seeds=3), work, parts)
    assert first.added == []
    assert later.added == ["arm shortest", "seed 2"]
    assert later.claim == first.claim
    assert "Not in the claim, added later: arm shortest, seed 2" in (work / "proof" / "proof.html").read_text()


def test_a_claim_cannot_be_changed_once_it_is_written(finished: FinishedRun, work: Path) -> None:
    parts = Parts()
    proved(config_of(finished, work), work, parts)
    other = config_of(finished, work)
    other = structs.replace(other, train=structs.replace(other.train, epochs=7.0))
    with pytest.raises(ConfigError, match=r"train\.epochs 5\.0 \(now 7\.0\)"):
        proved(other, work, parts)
    with pytest.raises(ConfigError, match="with sets"):
        more = (HeldOut(questions=str(work.parent / "held-out.jsonl"), samples=8),)
        proved(config_of(finished, work, held_out=more), work, parts)
    assert set(parts.times.values()) == {1}


def test_rows_that_are_too_long_in_one_arm_are_left_out_of_all(finished: FinishedRun, work: Path) -> None:
    row = next(WorkDir(work).steps["sft"].records()).row
    parts = Parts(too_long=(row,))
    proof = proved(config_of(finished, work, arms=("winners", "random")), work, parts)
    assert set(parts.without) == {frozenset({row})}
    shutil.rmtree(work / "proof")
    assert proved(config_of(finished, work), work, Parts()).claim.rows == proof.claim.rows + 1


def test_several_sets_are_asked_and_the_first_is_the_claim(finished: FinishedRun, work: Path) -> None:
    shutil.copy(work.parent / "held-out.jsonl", work.parent / "harder.jsonl")
    sets = tuple(
        HeldOut(questions=str(work.parent / f"{name}.jsonl"), samples=samples)
        for name, samples in (("held-out", 4), ("harder", 2))
    )
    proof = proved(config_of(finished, work, held_out=sets), work, Parts())
    assert proof.primary.set == "held-out"
    assert {comparison.set for comparison in proof.comparisons} == {"held-out", "harder"}
    assert "untrained · harder" in (work / "proof" / "proof.html").read_text()


def test_what_cannot_be_proved_is_refused_before_anything_is_asked(finished: FinishedRun, work: Path) -> None:
    parts = Parts()
    with pytest.raises(ConfigError, match="no such arm"):
        proved(config_of(finished, work, arms=("winers",)), work, parts)
    with pytest.raises(ConfigError, match=r"prove\.held_out"):
        proved(config_of(finished, work, held_out=()), work, parts)
    (work.parent / "few.jsonl").write_text('{"question": "What is 1 plus 1000?", "answer": "1001"}\n')
    with pytest.raises(ConfigError, match="at least 10"):
        proved(config_of(finished, work, held_out=(HeldOut(questions=str(work.parent / "few.jsonl")),)), work, parts)
    assert not parts.made
    assert not (work / "proof" / "claim.json").exists()


def test_the_claim_says_what_the_filter_saw(finished: FinishedRun, work: Path) -> None:
    claim: Claim = proved(config_of(finished, work), work, Parts()).claim
    totals = WorkDir(work).totals()[0]
    solved = totals.dropped.get("weak_solves", 0)
    tried = solved + WorkDir(work).counts("filter")["done"]
    assert tried == 20
    assert claim.solve_rate == pytest.approx(solved / tried)
    assert "20 of the training questions" in claim.solve_rate_from


def test_two_at_once_are_refused(finished: FinishedRun, work: Path) -> None:
    with locked(work / "proof"), pytest.raises(ConfigError, match="in use"):
        proved(config_of(finished, work), work, Parts())


def test_a_question_that_one_model_was_not_asked_counts_for_none(finished: FinishedRun, work: Path) -> None:
    class OneLess(Parts):
        def ask(self, model: Path | str, held: HeldOut, settings: EvaluateSettings) -> Evaluated:
            found = super().ask(model, held, settings)
            return found if isinstance(model, str) else structs.replace(found, questions=found.questions[1:], failed=1)

    proof = proved(config_of(finished, work), work, OneLess())
    assert {outcome.flexible.clusters for outcome in proof.outcomes} == {QUESTIONS - 1}
    assert any("1 questions could not be asked of every model" in warning for warning in proof.warnings)
