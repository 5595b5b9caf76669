"""The proof: the untrained model and a model for each arm and seed, trained and asked the same held-out questions.

Every part is kept by itself and found again: a training and an evaluation go on where they were stopped, and one that
has ended is read. So this module only puts them in order. It may be killed anywhere, and the same call goes on.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import structs

from weak2wise.config import Config, HeldOut, TrainSettings
from weak2wise.dataset import InputRow, keep, naming_setting
from weak2wise.digests import digest
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import locked, write_atomic
from weak2wise.ledger.manifest import digest_input
from weak2wise.outputs.report.facts import gather
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.proof.arms import arm_overlap, arm_rows
from weak2wise.proof.claim import UNTRAINED, Claim, HeldOutSet, read, settle
from weak2wise.proof.evaluated import PROMPT, Evaluated, EvaluateSettings
from weak2wise.proof.evidence import Answers, data, left_out, paired, trained_model, training
from weak2wise.proof.held_out import read_all
from weak2wise.proof.messages import Planned, Progress
from weak2wise.proof.page import page
from weak2wise.proof.repeat import repeat
from weak2wise.proof.result import (
    Overlap,
    Proof,
    compare_arms,
    outcomes_of,
    warnings_of,
)
from weak2wise.proof.subject import Subject
from weak2wise.proof.trained import Trained
from weak2wise.proof.training import plan, train
from weak2wise.proof.words import markdown

FOLDER = "proof"
"""Of the work_dir: the claim, the models, the evaluations, and what they prove."""
_ASSUMED_RATE = 0.5
_FEWEST_TRIED = 20


class Plans(Protocol):
    """Says what a training would do (``training.plan``)."""

    def __call__(  # noqa: D102
        self, work: WorkDir, arm: str, seed: int, settings: TrainSettings, *, model: str | None
    ) -> Planned: ...


class Trains(Protocol):
    """Trains a model on an arm, or finds that it has been (``training.train``)."""

    def __call__(  # noqa: D102
        self,
        work: WorkDir,
        arm: str,
        seed: int,
        settings: TrainSettings,
        *,
        model: str | None,
        accelerate_config: Path | None,
        without: frozenset[int],
        on_progress: Callable[[Planned | Progress], None],
    ) -> Trained: ...


Evaluates = Callable[[Path | str, HeldOut, EvaluateSettings], Evaluated]
"""Asks a model, by its folder or the name of its endpoint, a set of questions, or finds that it has been asked."""


class Prover:
    """Makes the proof of one finished run; construct it, then ``run()``.

    Args:
        config: its sections ``prove`` and ``train``, its weak LLM and its judge.
        work: the run.
        command: what makes the same proof again, for the page.
        notify: called with a line of text as the proof goes on.
        evaluates: how a model is asked.
        accelerate_config: of training on several devices.
        plans: what a training would do; it says which rows are too long.
        trains: how a model is trained.

    Raises:
        ConfigError: there is nothing to prove, or not with this config.
    """

    def __init__(
        self,
        config: Config,
        work: WorkDir,
        *,
        command: str,
        notify: Callable[[str], None],
        evaluates: Evaluates,
        accelerate_config: Path | None = None,
        plans: Plans = plan,
        trains: Trains = train,
    ) -> None:
        self._config = config
        self._work = work
        self._command = command
        self._notify = notify
        self._accelerate_config = accelerate_config
        self._plans = plans
        self._trains = trains
        self._evaluates = evaluates
        self._folder = work.folder / FOLDER
        self._weak = config.models.mweak
        self._model = trained_model(config, work)
        settings = config.prove
        if not settings.held_out:
            raise ConfigError("prove.held_out: missing; name a file of held-out questions there, or by --questions")
        for arm in settings.arms:
            arm_rows(work, arm, 0)  # raises if it cannot be had

    def run(self) -> Proof:
        """Do what has not been done, and write ``proof.json``, ``proof.md`` and ``proof.html``. Blocks.

        Raises:
            ConfigError: the user has to change something; among others, the claim of this work_dir is another one.
            RunStopped: a part stopped, and the same call goes on.
            OSError: a file cannot be written.
        """
        with locked(self._folder):
            claim = settle(self._folder / "claim.json", self.claim())
            asked = self._ask(self._weak, UNTRAINED, None)
            trained = []
            for seed in range(self._config.prove.seeds):
                for arm in self._config.prove.arms:
                    trained.append(self._train(claim, arm, seed))
                    asked += self._ask(trained[-1].folder, arm, seed)
            return self._conclude(claim, asked, trained)

    def claim(self) -> Claim:
        """What this config claims about this run. Blocks. Raises ``ConfigError``."""
        config, settings = self._config, self._config.prove
        earlier = read(self._folder / "claim.json")
        sets = tuple(map(self._set, settings.held_out))
        first, without = settings.arms[0], earlier.without if earlier else self._too_long()
        rows = [row for row in arm_rows(self._work, first, 0) if row.row not in set(without)]
        if not rows:
            raise ConfigError(
                f"{self._work.folder}: has no rows to train on; its run must have emitted some (weak2wise status)"
            )
        rate, source = self._solve_rate()
        return Claim.of(
            arms=settings.arms,
            seeds=tuple(range(settings.seeds)),
            sets=sets,
            solve_rate=rate,
            solve_rate_from=source,
            base=str(Subject.of(self._weak, config, self._settings_for(settings.held_out[0])).shape()["model"]),
            data=digest([[row.row, row.prompt, row.response] for row in rows]),
            rows=len(rows),
            without=without,
            settings={f"train.{key}": value for key, value in config.train.shape().items()} | self._asked_how(),
        )

    def _too_long(self) -> tuple[int, ...]:
        """The rows that are too long for training in any arm."""
        found: set[int] = set()
        for arm in self._config.prove.arms:
            found |= set(self._plans(self._work, arm, 0, self._config.train, model=self._model).too_long)
        return tuple(sorted(found))

    def _asked_how(self) -> dict[str, Any]:
        """How answers are drawn and judged."""
        config, asked = self._config, structs.asdict(self._settings_for(self._config.prove.held_out[0]))
        for key in ("samples", "limit"):
            del asked[key]
        shown = {f"evaluate.{key}": value for key, value in asked.items()} | {"judge_mode": config.params.judge_mode}
        if judge := config.models.judge:
            shown["judge"] = config.endpoints[judge].model
        weak = config.endpoints[self._weak].answer_settings()
        return shown | {f"weak.{key}": value for key, value in weak.items() if key != "model"}

    def _solve_rate(self) -> tuple[float, str]:
        """How often the weak LLM solves a question: as the run's filter saw, if it saw enough."""
        solved = self._work.totals()[0].dropped.get("weak_solves", 0)
        tried = solved + self._work.counts("filter")["done"]
        shape = self._work.manifest.shape
        if shape.get("params.skip_filter") or shape.get("params.filter_attempts", 1) != 1 or tried < _FEWEST_TRIED:
            return _ASSUMED_RATE, "assumed: the run's filter does not say"
        return solved / tried, f"as the run's filter saw with {tried:,} of the training questions"

    def _set(self, held: HeldOut) -> HeldOutSet:
        with naming_setting("prove.held_out"):
            file = keep(Path(held.questions), self._folder)
            rows = [row for row in read_all(file, self._config.dataset.columns) if isinstance(row, InputRow)]
        count = min(len(rows), held.limit or len(rows))
        return HeldOutSet(name=held.called, questions=count, digest=digest_input(file)[0].sha256, samples=held.samples)

    def _settings_for(self, held: HeldOut) -> EvaluateSettings:
        settings = self._config.prove
        return EvaluateSettings(
            samples=held.samples,
            limit=held.limit,
            temperature=settings.temperature,
            max_new_tokens=settings.max_new_tokens,
            prompt=settings.prompt or PROMPT,
        )

    def _ask(self, model: Path | str, arm: str, seed: int | None) -> list[Answers]:
        """The answers of one model to each set."""
        found = []
        for held in self._config.prove.held_out:
            name = arm if seed is None else f"{arm}, seed {seed}"
            self._notify(f"{name}: {held.called}")
            evaluated = self._evaluates(model, held, self._settings_for(held))
            self._notify(f"{name}: pass@1 {evaluated.flexible.value:.3f} on {held.called}")
            found.append(Answers(held.called, arm, seed, evaluated))
        return found

    def _train(self, claim: Claim, arm: str, seed: int) -> Trained:
        def on_progress(found: Planned | Progress) -> None:
            if isinstance(found, Planned):
                self._notify(f"{arm}, seed {seed}: training on {found.rows:,} rows, {found.steps:,} steps")
            elif found.step == found.steps or found.step % max(1, found.steps // 10) == 0:
                self._notify(
                    f"{arm}, seed {seed}: step {found.step:,} of {found.steps:,}, loss {found.loss:.3f}, about "
                    f"{found.seconds_left / 60:.0f} minutes left"
                )

        return self._trains(
            self._work,
            arm,
            seed,
            self._config.train,
            model=self._model,
            accelerate_config=self._accelerate_config,
            without=frozenset(claim.without),
            on_progress=on_progress,
        )

    def _conclude(self, claim: Claim, answers: Sequence[Answers], trained: Sequence[Trained]) -> Proof:
        """Sum up and write the files."""
        arms = self._config.prove.arms
        asked = [found for held in self._config.prove.held_out for found in paired(held.called, answers)]
        outcomes = outcomes_of(asked)
        try:
            comparisons = compare_arms(claim, asked)
        except ValueError as error:
            raise ConfigError(f"{self._folder}: nothing can be compared: {error}") from None
        overlaps = [
            Overlap(one=one, other=other, share=arm_overlap(self._work, one, other, 0))
            for number, one in enumerate(arms)
            for other in arms[number + 1 :]
        ]
        ones = self._ones()
        proof = Proof(
            claim=claim,
            work_dir="/".join(self._work.folder.resolve().parts[-2:]),
            outcomes=outcomes,
            comparisons=comparisons,
            training=[training(one) for one in trained],
            data=[data(arm, arm_rows(self._work, arm, 0), set(claim.without)) for arm in arms],
            overlaps=overlaps,
            ones=ones,
            added=[
                *(f"arm {arm}" for arm in arms if arm not in claim.arms),
                *(f"seed {seed}" for seed in range(self._config.prove.seeds) if seed not in claim.seeds),
            ],
            warnings=[*warnings_of(outcomes, comparisons, overlaps, ones), *left_out(answers)],
            repeat=repeat(self._config, self._work, claim, trained, command=self._command),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        pretty = msgspec.json.format(msgspec.json.encode(proof), indent=1)
        write_atomic(self._folder / "proof.json", [pretty, b"\n"])
        write_atomic(self._folder / "proof.md", [markdown(proof).encode()])
        write_atomic(self._folder / "proof.html", (part.encode() for part in page(proof)))
        return proof

    def _ones(self) -> tuple[float, int] | None:
        """The share of ones among Step-Mask's bits, and how many were asked."""
        levels = [level for of_model in gather(self._work).levels.values() for level in of_model]
        bits = sum(level.asked for level in levels)
        return (sum(level.right for level in levels) / bits, bits) if bits else None
