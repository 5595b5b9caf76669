"""``run``: the pipeline, started or gone on with.

Exit codes: 0 every record emitted or dropped; 1 finished, some records failed; 2 could not start; 3 stopped midway by
something only the user can fix; 70 stopped by a bug of ours; 130 interrupted. After all but 0 and 2 the same command
goes on where it stopped.

What runs it is imported when it runs, so that ``--help`` is quick.
"""

from pathlib import Path
from typing import Annotated

import cyclopts

from weak2wise.commands.say import say
from weak2wise.ledger.manifest import Resume

STEPS = ("filter", "generate", "stepmask", "select", "sft")
"""The method's steps, by name (``workers.method.METHOD``, which takes too long to import for a page of help)."""


def run(
    *,
    config: Path = Path("config.yaml"),
    set_: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
    resume: Resume = "auto",
    up_to_step: str = "all",
    limit: Annotated[int | None, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))] = None,
    page: str | None = None,
    verbose: Annotated[bool, cyclopts.Parameter(negative="")] = False,
) -> int:
    """Run the pipeline, or go on with a run that was stopped.

    Args:
        config: The YAML file that says what to run.
        set_: Override a key of the config: --set params.n_mask=8. May be given several times.
        resume: auto goes on where an earlier run of the same settings stopped; never starts anew and keeps the earlier
            ledger aside; force goes on although settings changed.
        up_to_step: Stop after this step, 1 to 5 (filter, generate, stepmask, select, sft); a later run goes on.
        limit: Stop after the first so many questions; a later run without it goes on with the others.
        page: Serve a page that shows how the run goes, and Prometheus metrics at /metrics: a port on this machine, or
            HOST:PORT, which needs the environment variable W2W_PAGE_TOKEN.
        verbose: Show every event of run.log.
    """
    numbers = [str(number) for number in range(1, len(STEPS) + 1)]
    if up_to_step not in {"all", *numbers}:
        say(f"--up-to-step {up_to_step}: expected {', '.join(numbers)} or all")
        return 2
    from weak2wise.commands.carry_out import carry_out  # noqa: PLC0415 - see above

    steps = len(STEPS) if up_to_step == "all" else int(up_to_step)
    return carry_out(config, set_ or (), page, verbose=verbose, resume=resume, up_to_step=steps, limit=limit)
