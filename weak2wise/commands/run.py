"""``run``: start the pipeline, or resume it.

Exit codes: 0 every record emitted or dropped; 1 finished, some records failed; 2 could not start; 3 stopped by
something that only the user can fix; 70 stopped by a bug in weak2wise; 130 interrupted. After 1, 3, 70 and 130 the same
command resumes the run.

The engine is imported inside the function, so that ``--help`` is quick.
"""

from pathlib import Path
from typing import Annotated

import cyclopts

from weak2wise.commands.say import say
from weak2wise.ledger.manifest import Resume

STEPS = ("filter", "generate", "stepmask", "select", "sft")
"""The names of the method's steps. A copy, because importing ``workers.method.METHOD`` would make ``--help`` slow."""


def run(
    *,
    config: Path = Path("config.yaml"),
    set_: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
    resume: Resume = "auto",
    up_to_step: str = "all",
    limit: Annotated[int | None, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))] = None,
    page: str | None = None,
    allow_host: Annotated[list[str] | None, cyclopts.Parameter(negative="")] = None,
    ray: str | None = None,
    verbose: Annotated[bool, cyclopts.Parameter(negative="")] = False,
) -> int:
    """Run the pipeline, or resume a run that was stopped.

    Args:
        config: The YAML file of the run.
        set_: Override a key of the config: --set params.n_mask=8. May be given several times.
        resume: auto resumes an earlier run if the settings are the same; force resumes it even if settings changed;
            never starts from the beginning and renames the earlier ledger.
        up_to_step: Stop after this step, 1 to 5 (filter, generate, stepmask, select, sft); a later run goes on.
        limit: Process only the first N questions; a later run without it goes on with the others.
        page: Serve a page that shows the progress, and Prometheus metrics at /metrics: a port on this machine, or
            HOST:PORT. Its token is W2W_PAGE_TOKEN, which HOST:PORT needs; a port alone gets one in the printed URL.
        allow_host: The name by which a proxy asks for the page. May be given several times.
        ray: Work on the hosts of a Ray cluster: auto (the one that this shell belongs to), local (one that is started
            here, with a host for each GPU, or two), or HOST:PORT of its head.
        verbose: Show every event of run.log.
    """
    numbers = [str(number) for number in range(1, len(STEPS) + 1)]
    if up_to_step not in {"all", *numbers}:
        say(f"--up-to-step {up_to_step}: expected {', '.join(numbers)} or all")
        return 2
    from weak2wise.commands.carry_out import carry_out  # noqa: PLC0415 - so that ``--help`` is quick

    steps = len(STEPS) if up_to_step == "all" else int(up_to_step)
    return carry_out(
        config,
        set_ or (),
        page,
        allow_host=allow_host or (),
        verbose=verbose,
        ray=ray,
        resume=resume,
        up_to_step=steps,
        limit=limit,
    )
