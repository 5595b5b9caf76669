"""``evaluate``: how often a model solves held-out questions.

Exit codes are those of ``run``; 1 means that some questions could not be asked.
"""

import re
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from rich.console import Console

from weak2wise.commands.carry_out import print_out, run_to_end
from weak2wise.commands.say import command_line, explain, handle_interrupts, say
from weak2wise.commands.tables import new_table
from weak2wise.config import Config, Dataset, load_config
from weak2wise.errors import ConfigError
from weak2wise.llm.http.open_files import raise_open_files
from weak2wise.proof.evaluated import PROMPT, Evaluated, EvaluateSettings
from weak2wise.proof.evaluation import Evaluation
from weak2wise.statistics import Estimate
from weak2wise.telemetry.log import Echo
from weak2wise.telemetry.terminal import can_be_drawn_on, write_line

MANY_UNSURE, MANY_UNFINISHED = 0.05, 0.1
"""Shares of samples from which on a figure should not be read without a warning."""
_NAMED = 10
"""Rows that a warning names."""


def evaluate(
    model: str,
    *,
    questions: Path,
    samples: Annotated[int, cyclopts.Parameter(name=["--samples", "-k"])] = 4,
    temperature: float = 0.6,
    max_new_tokens: int | None = None,
    prompt: str = PROMPT,
    seed: int = 0,
    limit: int | None = None,
    work_dir: Path | None = None,
    config: Path | None = None,
    set_: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
    verbose: Annotated[bool, cyclopts.Parameter(negative="")] = False,
) -> int:
    """Ask a model held-out questions and print how often it is right, with 95 % intervals.

    After an interruption the same command goes on. It is kept in WORK_DIR/proof/evaluations.

    Args:
        model: A folder of weights, for the embedded engine; or the name of an endpoint of the config.
        questions: A file of questions that were not trained on, or hf:owner/name:config:split.
        samples: Answers to each question.
        temperature: How they are sampled.
        max_new_tokens: The most tokens of an answer, its thinking included (default: the endpoint's).
        prompt: The text that is sent; {question} is filled in, and literal braces are written as {{ and }}.
        seed: Another one draws other answers.
        limit: Ask only the first N questions; a later call without it goes on with the others.
        work_dir: Where it is kept (default: the config's dataset.work_dir).
        config: Has the endpoints, the judge if there is one, the columns, and the training input that the questions
            are compared with (default: config.yaml, if there is one).
        set_: Override a key of the config. May be given several times.
        verbose: Show every event of run.log.
    """
    handle_interrupts()
    resume_command = command_line()
    evaluation: Evaluation | None = None
    try:
        settings = _settings(
            samples=samples,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            prompt=prompt,
            seed=seed,
            limit=limit,
        )
        loaded = _loaded(config, set_ or [])
        endpoints = loaded.endpoints.values() if loaded else ()
        raise_open_files([endpoint.limits.max_concurrent_requests for endpoint in endpoints])
        evaluation = Evaluation(
            model,
            questions,
            settings,
            work_dir=work_dir or (loaded.dataset if loaded else Dataset()).work_dir,
            config=loaded,
            echo=Echo(write_line, progress=not can_be_drawn_on(), everything=verbose),
        )
        evaluated = run_to_end(evaluation, resume_command)
    except Exception as error:  # noqa: BLE001 - printed; the traceback is in the log
        if evaluation is None:
            return explain(error, resume_command, logged=False)
        return explain(error, resume_command, logged=evaluation.logged, redact=evaluation.redact)
    folder = Path(evaluated.folder)
    print_out(lambda out: _show(evaluated, out), folder / "evaluated.json")
    for text in _warnings(evaluated):
        say(f"Warning: {text}.")
    say(f"{folder}: evaluated.json has the figures, answers.jsonl the answers")
    return 1 if evaluated.failed else 0


def _settings(**options: Any) -> EvaluateSettings:
    """The options of the command, checked. Raises ``ConfigError``, naming the option."""
    try:
        return EvaluateSettings(**options)
    except ConfigError as error:
        raise ConfigError(_as_option(str(error))) from None


def _as_option(message: str) -> str:
    return re.sub(r"^evaluate\.(\w+)", lambda found: f"--{found[1].replace('_', '-')}", message)


def _loaded(path: Path | None, overrides: list[str]) -> Config | None:
    """The config, without looking up the keys of endpoints that may not be asked. Raises ``ConfigError``."""
    if path is None and not Path("config.yaml").exists():
        if overrides:
            raise ConfigError(f"--set {overrides[0]}: there is no config to change; name it with --config")
        return None
    return load_config(path or Path("config.yaml"), overrides, env=None)


def _show(evaluated: Evaluated, out: Console) -> None:
    """The table."""
    table = new_table("measure", "value", "95 % interval")
    shares = {
        "pass@1, flexible": evaluated.flexible,
        "pass@1, strict": evaluated.strict,
        "unfinished": evaluated.unfinished,
        "undecided": evaluated.unsure,
    }
    for name, found in shares.items():
        table.add_row(name, _percent(found.value), f"{_percent(found.low)} to {_percent(found.high)}")
    if length := evaluated.tokens:
        table.add_row("tokens of an answer", f"{length.value:,.0f}", f"{length.low:,.0f} to {length.high:,.0f}")
    samples = evaluated.settings.samples
    speed = f"; {evaluated.tokens_per_second:,.0f} tokens/s" if evaluated.tokens_per_second else ""
    out.print(
        f"{evaluated.name}: {len(evaluated.questions):,} questions, {samples:,} answers each{speed}", markup=False
    )
    out.print(table)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _warnings(evaluated: Evaluated) -> list[str]:
    """What a reader of the figures should know."""
    found = []
    if evaluated.training_input is None:
        found.append("the questions were not compared with a training input: no config names one that is at hand")
    if rows := evaluated.left_out:
        found.append(
            f"{_counted(rows)} left out, in {evaluated.training_input} too: {_rows(rows)}. They were not asked"
        )
    if rows := evaluated.similar:
        found.append(f"{_counted(rows)} much like one of {evaluated.training_input}: {_rows(rows)}. They were asked")
    if _is_over(evaluated.unsure, MANY_UNSURE):
        found.append(
            f"{_percent(evaluated.unsure.value)} of the answers could not be decided and count as wrong; a judge LLM "
            "(models.judge of the config) decides them"
        )
    if _is_over(evaluated.unfinished, MANY_UNFINISHED):
        found.append(
            f"{_percent(evaluated.unfinished.value)} of the answers were not finished; more --max-new-tokens may "
            "change the result"
        )
    if evaluated.failed:
        failures = Path(evaluated.folder) / "failed.jsonl"
        are = "question could not be asked and is" if evaluated.failed == 1 else "questions could not be asked and are"
        found.append(f"{evaluated.failed:,} {are} in no figure, see {failures}")
    return found


def _is_over(found: Estimate, limit: float) -> bool:
    return found.value > limit


def _counted(rows: list[int]) -> str:
    return f"{len(rows):,} question{' is' if len(rows) == 1 else 's are'}"


def _rows(rows: list[int]) -> str:
    """The first rows, by number."""
    named = ", ".join(map(str, rows[:_NAMED]))
    return f"row{'' if len(rows) == 1 else 's'} {named}{' and others' if len(rows) > _NAMED else ''}"
