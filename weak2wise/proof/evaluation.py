"""Evaluates a model on held-out questions: several samples each, judged as a run judges.

An evaluation is a pipeline of one step, in a folder of its own that has a ledger and a journal, so it survives what a
run survives: the same command goes on after a kill, and asks for no answer twice. The folder's name has a digest of
everything that shapes the answers: the weights, the questions, the prompt, the judge. So another evaluation never meets
the answers of this one, and one that has ended is read, not made again.
"""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

from msgspec import structs

from weak2wise.config import Config
from weak2wise.digests import digest
from weak2wise.errors import RunStopped
from weak2wise.ledger.account import Account
from weak2wise.ledger.manifest import Begun, digest_input
from weak2wise.ledger.outcomes import Ledger
from weak2wise.llm.batch.batches import Batches
from weak2wise.llm.batch.record import BatchRecord
from weak2wise.llm.drain import Drain
from weak2wise.llm.journal import Journal
from weak2wise.pipeline import Stage
from weak2wise.proof.evaluated import Answered, Evaluated, EvaluateSettings, mean_length, share
from weak2wise.proof.evaluation_files import EvaluationFiles, Speed
from weak2wise.proof.held_out import HeldOut
from weak2wise.proof.sampling import Samples
from weak2wise.proof.subject import Subject
from weak2wise.run.cancelled import drained_when_cancelled
from weak2wise.run.drive import drive_watched
from weak2wise.run.ending import ending_of
from weak2wise.run.engine import GRACE_SECONDS
from weak2wise.run.held_files import HeldFiles
from weak2wise.run.host import Host
from weak2wise.run.logged import logged
from weak2wise.run.models import Roles, wrap_models
from weak2wise.run.opened import Opened
from weak2wise.run.side_costs import EVALUATIONS, shared_cap
from weak2wise.run.stages import Counters
from weak2wise.run.store import EVALUATION, RunStore
from weak2wise.telemetry.log import Echo, log
from weak2wise.telemetry.redaction import message_redactor
from weak2wise.watch.observer import Observed, Observer
from weak2wise.watch.vitals import Vitals
from workers.judge import Judge
from workers.prompts import Prompts
from workers.scorers import StepMask

LEAST_ASKED, UNLIMITED_ROOM = 32, 256
"""The fewest questions at once; calls at once that an endpoint without a limit is given."""


class Evaluation:
    """One evaluation; construct it, then ``await run()``, once.

    Args:
        model: a folder of weights, or the name of an endpoint of ``config``.
        questions: the file of held-out questions, or ``hf:owner/name:config:split``; with the config's columns.
        settings: how they are asked.
        work_dir: the evaluation is kept in it, as ``proof/evaluations/NAME-DIGEST``.
        config: its judge, prompts and the weak LLM's settings are used; its training input is compared.
        echo: shows warnings and progress to the user, besides the log.

    Raises:
        ConfigError: it cannot start; what can be known without a call is checked here.
    """

    def __init__(
        self,
        model: Path | str,
        questions: Path | str,
        settings: EvaluateSettings,
        *,
        work_dir: Path | str,
        config: Config | None = None,
        echo: Echo | None = None,
    ) -> None:
        self._settings = settings
        self._subject = Subject.of(model, config, settings)
        self._prompts = Prompts.of(self._subject.config.prompts)
        self._host = Host(self._subject.config)
        self._questions = Path(questions)
        self._work_dir = Path(work_dir)
        self._trained_on = config.dataset if config else None
        self._echo = echo
        self.drain = Drain()
        self.logged = False
        """Whether this evaluation's log is open, or was."""
        self.redact = message_redactor(self._host.secrets(self._subject.config))
        """Removes secrets from a text."""

    async def run(self, opened: "asyncio.Future[Observed] | None" = None) -> Evaluated:
        """Ask what has not been asked, and sum up.

        Args:
            opened: resolves to the observer once the model is being asked.

        Raises:
            ConfigError: it cannot start.
            RunStopped: alone or in an exception group: it stopped, and the same call goes on.
        """
        with ExitStack() as cap:
            await asyncio.to_thread(cap.enter_context, shared_cap(self._host.budget, self._work_dir))
            held_out = await asyncio.to_thread(
                HeldOut.read,
                self._questions,
                self._subject.config.dataset.columns,
                self._settings.limit,
                folder=self._work_dir / EVALUATIONS,
                trained_on=self._trained_on,
            )
            shape = await asyncio.to_thread(self._shape, held_out)
            files = EvaluationFiles.of(self._work_dir / EVALUATIONS, self._subject.name, shape)
            folder = files.folder
            async with (
                HeldFiles.on(folder, None) as held,
                logged(folder / "run.log", self.redact, echo=self._echo, peers=self._host.logs),
            ):
                self.logged = True
                rules = await held.write_in_thread(files.settled_rules, shape)
                store = self._store(folder)
                async with AsyncExitStack() as stack:
                    stack.push_async_callback(store.close)
                    await held.write_in_thread(store.open)
                    for file, size in store.torn.items():
                        log.warning("ledger.cut", file=file, bytes=size, effect="an unfinished last line; asked again")
                    speed = None
                    if any(store.account.next_step(row.number) for row in held_out.rows):
                        work = await self._open(stack, store, held_out, rules)
                        if opened:
                            opened.set_result(work.observer)
                        speed = await self._ask(work, held, held_out)
                    return await held.write_in_thread(self._conclude, files, store, held_out, speed)

    def _shape(self, held_out: HeldOut) -> dict[str, Any]:
        """Everything that affects verdicts, but not how many questions are asked. Blocks. Raises ``ConfigError``."""
        config, settings = self._subject.config, self._settings
        judge = config.models.judge
        asked = structs.asdict(structs.replace(settings, limit=None))
        shape = {f"evaluate.{key}": value for key, value in asked.items()}
        shape |= {f"model.{key}": value for key, value in self._subject.shape().items()}
        shape |= {"questions": digest_input(held_out.file)[0].sha256, "left_out": held_out.shared.same}
        shape |= {"columns": config.dataset.columns, "judge_mode": config.params.judge_mode}
        if judge:
            shape |= {f"judge.{key}": value for key, value in config.endpoints[judge].answer_settings().items()}
            shape |= {"judge_temperature": config.params.judge_temperature, "pjudge": self._prompts.pjudge}
        return {key: value if isinstance(value, str | int | float) else digest(value) for key, value in shape.items()}

    def _store(self, folder: Path) -> RunStore:
        config, ledgers = self._subject.config, folder / "ledger"
        options: dict[str, Any] = {
            "max_bytes": config.engine.shard_mb << 20,
            "fsync_seconds": config.engine.fsync_seconds,
        }
        account = Account(
            Ledger("input", ledgers, object, **options), {EVALUATION: Ledger(EVALUATION, ledgers, Answered, **options)}
        )
        batched = any(config.endpoints[name].batched for name in config.roles().values())
        return RunStore(
            folder,
            account,
            Journal(ledgers, **options),
            BatchRecord(ledgers, **options),
            batched,
            last_step=lambda _role: EVALUATION,
        )

    async def _open(self, stack: AsyncExitStack, store: RunStore, held_out: HeldOut, rules: int) -> Opened:
        """Open the model and the judge, and build the one stage. Raises ``ConfigError`` or ``RunStopped``."""
        config, name = self._subject.config, self._subject.name
        host = await stack.enter_async_context(self._host)
        roles = await Roles.on(host, config, store.work_dir)
        batches = Batches(await asyncio.to_thread(store.work_dir.resolve), store.batches, store.journal, self.drain)
        models = wrap_models(config, roles, store.journal, self.drain, batches, begun=Begun())
        stack.callback(batches.close)
        await asyncio.to_thread(batches.take_up)
        judge = Judge(
            model=models.get("judge"),
            mode=config.params.judge_mode,
            prompts=self._prompts,
            temperature=config.params.judge_temperature,
            pool=host.pool,
            rules=rules,
        )
        weak = roles.endpoints[name]
        room = weak.load().limit if weak.embedded else self._subject.endpoint.limits.max_concurrent_requests
        stage = Stage(
            EVALUATION,
            Samples(models["weak"], judge, self._settings.template(), self._settings),
            store.account.steps[EVALUATION],
            concurrency=max(LEAST_ASKED, -(-(room or UNLIMITED_ROOM) // self._settings.samples)),
            queue_size=config.engine.queue_size,
            max_error_rate=config.engine.max_error_rate,
            drain=self.drain,
            redact=self.redact,
            emits=True,
        )
        counters = Counters(judge.counts, Counter(), Counter())
        observer = Observer(
            stages=[stage],
            endpoints=roles.endpoints,
            journal=store.journal,
            account=store.account,
            queue_size=config.engine.queue_size,
            verdicts=counters.verdicts,
            bits=counters.bits,
            scorer=StepMask,
            rules=rules,
            vitals=Vitals(store.work_dir, host.budget, lambda: batches.outstanding.count),
            count=lambda: len(held_out.rows) + len(held_out.unreadable),
        )

        def end(_kind: object, error: BaseException | None, _trace: object) -> None:
            observer.end(self.redact(ending_of(error)))

        stack.push(end)
        return Opened(
            store, roles.endpoints, host, [stage], roles.rates, counters, batches, store.account, observer, only=None
        )

    async def _ask(self, work: Opened, held: HeldFiles, held_out: HeldOut) -> Speed:
        """Ask the questions that are left, and say how fast that went."""
        spent = work.store.journal.spent
        asker = ("weak", self._subject.name)
        log.info(
            "evaluation.started", model=self._subject.name, questions=len(held_out.rows), left_out=held_out.shared.same
        )
        began, before = time.monotonic(), spent[asker].completion_tokens if asker in spent else 0
        rounds = self._subject.config.engine.salvage_rounds
        await drive_watched(work, held_out.questions, held.folder, self.drain, salvage_rounds=rounds)
        tokens = (spent[asker].completion_tokens if asker in spent else 0) - before
        return Speed.of(time.monotonic() - began, tokens)

    def _conclude(self, files: EvaluationFiles, store: RunStore, held_out: HeldOut, speed: Speed | None) -> Evaluated:
        """Sum up an evaluation that has ended, and write its files. Blocks.

        Raises:
            RunStopped: no question was answered.
        """
        wanted = {row.number for row in held_out.rows}
        records = (one for one in store.account.steps[EVALUATION].records() if one.row in wanted)
        results, deciders = files.write_answers(records, store.account.failures())
        if not results:
            raise RunStopped(f"{self._questions}: not one question could be asked", hint=f"{files.failures} says why.")
        speed = speed or files.earlier_speed()
        evaluated = Evaluated(
            name=self._subject.name,
            model=self._subject.endpoint.model,
            folder=str(files.folder.resolve()),
            settings=self._settings,
            strict=share(results, "strict"),
            flexible=share(results, "flexible"),
            unfinished=share(results, "cut_off"),
            unsure=share(results, "unsure"),
            tokens=mean_length(results),
            deciders=deciders,
            training_input=str(held_out.training.resolve()) if held_out.training else None,
            left_out=held_out.shared.same,
            similar=held_out.shared.similar,
            failed=len(held_out.rows) - len(results) + len(held_out.unreadable),
            seconds=speed.seconds,
            tokens_per_second=speed.tokens_per_second,
            questions=results,
        )
        files.write(evaluated)
        log.info("evaluation.finished", strict=evaluated.strict.value, flexible=evaluated.flexible.value)
        return evaluated


async def evaluate(
    model: Path | str,
    questions: Path | str,
    settings: EvaluateSettings | None = None,
    *,
    work_dir: Path | str,
    config: Config | None = None,
) -> Evaluated:
    """Evaluate a model on held-out questions, or go on where an earlier call stopped; see ``Evaluation``.

    When cancelled, it waits a little for answers in flight, and stops.

    Raises:
        ConfigError: it cannot start.
        RunStopped: it stopped, and the same call goes on.
    """
    evaluation = Evaluation(model, questions, settings or EvaluateSettings(), work_dir=work_dir, config=config)
    return await drained_when_cancelled(evaluation.run(), evaluation.drain, GRACE_SECONDS)
