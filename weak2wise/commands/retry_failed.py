"""``retry-failed``: a run over failed questions only.

``run`` also tries every failed question again, together with all pending work. Use ``retry-failed`` once the cause of a
failure is fixed or has passed: questions that always fail are not paid for again, and other work is not started.
"""

from pathlib import Path
from typing import Annotated, Literal, get_args

import cyclopts

from weak2wise.errors import Kind


def retry_failed(
    *,
    config: Path = Path("config.yaml"),
    set_: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
    kind: Annotated[list[Kind] | None, cyclopts.Parameter(negative="")] = None,
    resume: Literal["auto", "force"] = "auto",
    page: str | None = None,
    allow_host: Annotated[list[str] | None, cyclopts.Parameter(negative="")] = None,
    verbose: Annotated[bool, cyclopts.Parameter(negative="")] = False,
) -> int:
    """Try failed questions again, all or some. Other questions are left as they are.

    Args:
        config: The YAML file of the run.
        set_: Override a key of the config: --set params.n_mask=8. May be given several times.
        kind: Only questions that failed for this reason (see failed.jsonl). May be given several times.
        resume: force allows changed settings, such as more max_tokens for answers that were cut off.
        page: As for run: serve a page that shows the progress, on a port of this machine or at HOST:PORT.
        allow_host: As for run: the name by which a proxy asks for the page.
        verbose: Show every event of run.log.
    """
    from weak2wise.commands.carry_out import carry_out  # noqa: PLC0415 - so that ``--help`` is quick

    kinds = frozenset[str](kind or get_args(Kind))
    return carry_out(config, set_ or (), page, allow_host=allow_host or (), verbose=verbose, resume=resume, retry=kinds)
