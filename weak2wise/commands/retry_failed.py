"""``retry-failed``: a run over nothing but questions that failed.

``run`` tries every failed question again too, along with the work it still owes. This is for trying again what time
or the user has mended, without paying once more for what fails for good, and without the rest.
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
    verbose: Annotated[bool, cyclopts.Parameter(negative="")] = False,
) -> int:
    """Try the questions again that failed, all or some, and leave every other one as it is.

    Args:
        config: The YAML file that says what was run.
        set_: Override a key of the config: --set params.n_mask=8. May be given several times.
        kind: Only those that failed for this reason (see failed.jsonl). May be given several times.
        resume: force tries them again with settings that changed, such as more max_tokens for answers cut off.
        page: As for run: a page that shows how it goes, on a port of this machine or at HOST:PORT.
        verbose: Show every event of run.log.
    """
    from weak2wise.commands.carry_out import carry_out  # noqa: PLC0415 - so that ``--help`` is quick

    kinds = frozenset[str](kind or get_args(Kind))
    return carry_out(config, set_ or (), page, verbose=verbose, resume=resume, retry=kinds)
