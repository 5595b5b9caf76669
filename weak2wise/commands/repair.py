"""``repair``: set damaged lines of a run's ledgers aside, so that the run can go on."""

from pathlib import Path

from weak2wise.commands.say import report_errors, say
from weak2wise.commands.where import work_dir_of
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import locked
from weak2wise.run.repair import Repaired, repair as repair_ledgers


@report_errors
def repair(work_dir: Path | None = None, *, config: Path = Path("config.yaml")) -> int:
    """Set damaged lines of a run's ledgers aside, and say what the run will ask again and what that will cost.

    The lines are kept in a file in the work_dir. A copy of the damaged file from elsewhere is better: it costs nothing.
    Not while the run goes on.

    Args:
        work_dir: The run's dataset.work_dir (default: the one in the --config file).
        config: The config file that names the work_dir, if it is not given.
    """
    folder = work_dir_of(work_dir, config)
    if not any((folder / name).is_dir() for name in ("ledger", "parts")):
        raise ConfigError(f"{folder}: holds no ledger; give the dataset.work_dir of a run")
    with locked(folder):
        found = repair_ledgers(folder)
    if found is None:
        say(f"{folder}: no line is damaged.")
        return 0
    _show(found)
    return 0


def _show(found: Repaired) -> None:
    for name, count in sorted(found.damaged.items()):
        say(f"{name}: {count:,} damaged line{'' if count == 1 else 's'} set aside")
    say(f"They are kept in {found.kept_in}.")
    if answers := found.again.total():
        roles = ", ".join(f"{count:,} of {role or 'an unknown role'}" for role, count in sorted(found.again.items()))
        say(
            f"To be asked for again: at most {answers:,} answer{'' if answers == 1 else 's'} ({roles}), "
            f"for about {found.cost_usd:,.4f} US dollars, by the average cost of such answers so far."
        )
    elif found.removed:
        say(
            f"weak2wise gc has removed the texts of {found.removed:,} answers to questions that were finished: where a "
            "damaged line was the outcome of such a question, its answers are asked for again."
        )
    else:
        say("No answer has to be asked for again: the journal has all that the steps need.")
    say("Go on with the command that started the run.")
