"""``fork``: a new work_dir with other settings that shares what an earlier one has paid for."""

import shlex
from pathlib import Path
from typing import Annotated

import cyclopts

from weak2wise.commands.run import STEPS
from weak2wise.commands.say import program, report_errors, say
from weak2wise.commands.tables import dollars
from weak2wise.commands.where import config_of
from weak2wise.config import load_config
from weak2wise.errors import ConfigError
from weak2wise.run.fork import Forked, fork as make_fork
from weak2wise.run.kept_config import KEPT


@report_errors
def fork(
    work_dir: Path,
    other: Path,
    *,
    set_: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
    from_step: Annotated[
        int | None, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1, lte=len(STEPS)))
    ] = None,
    config: Path | None = None,
) -> int:
    """Make a new work_dir with other settings that shares what a run has paid for. It runs nothing.

    Answers are shared, and the finished outcomes of the steps before --from-step. The earlier work_dir is only read; it
    may go on, or be deleted. Full files are hard links, so the disk holds them once.

    Args:
        work_dir: The work_dir of a run.
        other: The new work_dir. Its training data is written there, unless --set dataset.finetune_out names a file.
        set_: Override a key of the config: --set params.n_mask=8. May be given several times.
        from_step: The first step to do anew, 1 to 5; left out, the first that depends on a setting that has changed.
        config: The config of the run (default: the one kept in WORK_DIR, else config.yaml).
    """
    overrides = set_ or []
    keys = {override.partition("=")[0].strip() for override in overrides}
    if "dataset.work_dir" in keys:
        raise ConfigError(f"--set dataset.work_dir: the new work_dir is {other}; leave it out")
    loaded = load_config(config_of(work_dir, config), overrides, env=None)
    output = loaded.dataset.finetune_out if keys & {"dataset", "dataset.finetune_out"} else None
    _show(make_fork(work_dir, other, loaded, from_step=from_step, output=output), work_dir, other)
    return 0


def _show(made: Forked, work_dir: Path, other: Path) -> None:
    origin = made.origin
    changed = (
        f"Changed: {', '.join(origin.changed)}." if origin.changed else "No setting that shapes results has changed."
    )
    steps = list(enumerate(STEPS, 1))
    kept = ", ".join(f"{number} {name}" for number, name in steps if number < origin.from_step)
    anew = ", ".join(f"{number} {name}" for number, name in steps if number >= origin.from_step)
    say(f"{other}: a fork of {work_dir}. {changed}")
    say(f"Steps shared: {kept or 'none'}. To be done: {anew or 'none'}, with the answers that are there already.")
    paid = f" (paid there: {dollars(origin.spent_usd)} US dollars)" if origin.spent_usd else ""
    say(
        f"{made.shared.linked / 1e6:,.1f} MB are shared by hard links, {made.shared.copied / 1e6:,.1f} MB copied{paid}."
    )
    if not made.finished:
        say(f"{work_dir} has not finished: what it asks from now on, the fork will ask for itself.")
    say(f"Go on with: {shlex.join([*program(), '--config', str(other / KEPT)])}")
