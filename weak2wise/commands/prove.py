"""``prove``: synthesise, train, evaluate, and say whether it helped.

Exit codes as those of ``run``, of which it is the continuation: 0 also if nothing helped, for that is a result; 1 if
questions of the run failed; after 3, 70 and 130 the same command goes on.
"""

import signal
import sys
from pathlib import Path
from typing import Annotated

import cyclopts
from msgspec import structs

from weak2wise.commands.say import INTERRUPTED, command_line, explain, handle_interrupts, report_errors, say
from weak2wise.commands.where import config_of
from weak2wise.config import Config, HeldOut, load_config
from weak2wise.errors import ConfigError
from weak2wise.outputs.work_dir import WorkDir


@report_errors
def prove(
    work_dir: Path | None = None,
    *,
    config: Path | None = None,
    set_: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
    questions: Path | None = None,
    samples: Annotated[int | None, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))] = None,
    arms: str | None = None,
    seeds: Annotated[int | None, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))] = None,
    accelerate_config: Path | None = None,
    dry_run: Annotated[bool, cyclopts.Parameter(negative="")] = False,
) -> int:
    """Synthesise, train the weak LLM on it, ask both held-out questions, and report whether it helped.

    What is claimed is written to proof/claim.json before anything is trained. The result is proof/proof.html, with
    proof.md and proof.json, in the work_dir. After an interruption, start it again: it goes on.

    Args:
        work_dir: A run that is there already; left out, the run of the config is made first, or gone on with.
        config: The YAML file of the run, with its sections prove and train (default: the one kept in WORK_DIR,
            else config.yaml).
        set_: Override a key of the config: --set train.epochs=3. May be given several times.
        questions: A file of held-out questions, in place of prove.held_out.
        samples: Answers to each held-out question, in place of those of prove.held_out.
        arms: What models are trained on, separated by commas: winners,random,shortest; the first is claimed to help.
        seeds: How often each arm is trained.
        accelerate_config: A file of accelerate for training on several devices (accelerate launch --config_file).
        dry_run: Look at every file and show what would be done; nothing is asked, trained or written.
    """
    config = config_of(work_dir, config)
    loaded = _with_options(load_config(config, set_ or (), env=None), questions, samples, arms, seeds)
    if accelerate_config and not accelerate_config.is_file():
        raise ConfigError(f"--accelerate-config {accelerate_config}: no such file")
    folder = work_dir or Path(loaded.dataset.work_dir)
    if not loaded.prove.held_out:
        raise ConfigError(f"{config}: prove.held_out: missing; name held-out questions there, or by --questions")
    if dry_run:
        from weak2wise.proof.dry_run import dry_run as planned  # noqa: PLC0415 - so that ``--help`` is quick

        for line in planned(loaded, folder):
            sys.stdout.write(f"{line}\n")
        return 0
    if work_dir is None and (code := _synthesised(config, set_ or [], folder)) > 1:
        return code
    at = structs.replace(loaded, dataset=structs.replace(loaded.dataset, work_dir=str(folder)))
    return _proved(at, folder, accelerate_config)


def _with_options(
    config: Config, questions: Path | None, samples: int | None, arms: str | None, seeds: int | None
) -> Config:
    """The config with the options of the command line in its section ``prove``."""
    settings = config.prove
    if questions is not None:
        settings = structs.replace(settings, held_out=(HeldOut(questions=str(questions)),))
    if samples is not None:
        held_out = tuple(structs.replace(held, samples=samples) for held in settings.held_out)
        settings = structs.replace(settings, held_out=held_out)
    if arms is not None:
        settings = structs.replace(settings, arms=tuple(name.strip() for name in arms.split(",")))
    if seeds is not None:
        settings = structs.replace(settings, seeds=seeds)
    return structs.replace(config, prove=settings)


def _synthesised(config: Path, overrides: list[str], folder: Path) -> int:
    """Make the run, or go on with it; the exit code of ``run``.

    A run that has finished is left as it is, and so is every run of which something is claimed: the training data of a
    claim stays what it was.
    """
    if (folder / "proof" / "claim.json").exists():
        return 0
    if (folder / "manifest.json").exists():
        work = WorkDir(folder)
        totals = work.totals()[0]
        if work.state() == "finished" and not totals.failed and not totals.unfinished:
            return 0
    from weak2wise.commands.carry_out import carry_out  # noqa: PLC0415 - so that ``--help`` is quick
    from workers.method import METHOD  # noqa: PLC0415

    return carry_out(config, overrides, resume="auto", up_to_step=len(METHOD), limit=None)


def _proved(config: Config, folder: Path, accelerate_config: Path | None) -> int:
    work, again = WorkDir(folder), command_line()
    if work.state() == "running":
        raise ConfigError(f"{folder}: its run is going on; wait until it has finished")
    # Imported here, so that ``--help`` is quick.
    from weak2wise.commands.carry_out import run_to_end  # noqa: PLC0415
    from weak2wise.proof.evaluated import Evaluated, EvaluateSettings  # noqa: PLC0415
    from weak2wise.proof.evaluation import Evaluation  # noqa: PLC0415
    from weak2wise.proof.prove import Prover  # noqa: PLC0415
    from weak2wise.telemetry.log import Echo  # noqa: PLC0415
    from weak2wise.telemetry.terminal import can_be_drawn_on, write_line  # noqa: PLC0415

    def evaluates(model: Path | str, held: HeldOut, settings: EvaluateSettings) -> Evaluated:
        echo = Echo(write_line, progress=not can_be_drawn_on(), everything=False)
        evaluation = Evaluation(model, held.questions, settings, work_dir=folder, config=config, echo=echo)
        evaluated = run_to_end(evaluation, again)
        _end_as_interrupted()  # the event loop has put the handlers of signals back
        return evaluated

    _end_as_interrupted()
    try:
        prover = Prover(
            config, work, command=again, notify=say, evaluates=evaluates, accelerate_config=accelerate_config
        )
        proof = prover.run()
    except KeyboardInterrupt:
        say(f"Interrupted; everything that had arrived is kept. Go on with: {again}")
        return INTERRUPTED
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - printed below
        return explain(error, again, logged=False)
    totals = work.totals()[0]
    for text in proof.warnings:
        say(f"Warning: {text}.")
    say(proof.verdict())
    say(f"{folder / 'proof' / 'proof.html'}; open it in any browser")
    return 1 if totals.failed or totals.unfinished else 0


def _end_as_interrupted() -> None:
    """SIGTERM, and SIGHUP unless it is ignored, end a training as Ctrl-C does."""
    handle_interrupts()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
