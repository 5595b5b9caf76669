"""Logs what ``--resume force`` has changed, and how many questions it concerns."""

from collections.abc import Collection

from weak2wise.ledger.account import Account
from weak2wise.run.input import Input
from weak2wise.run.preparation import Prepared
from weak2wise.telemetry.log import log
from workers.method import METHOD


def log_changes(prepared: Prepared, input_: Input, account: Account, only: Collection[int] | None) -> None:
    """Log each setting that has changed, and how many questions get its new value. Blocks.

    ``account``: of all steps. ``only``: the rows to work on; ``None``: all.
    """
    if not prepared.changed:
        return
    pending = account.pending(only)
    if only is None:
        pending[0] = max(0, pending[0] + input_.count() - account.unreadable)
    shapes = prepared.manifest.shapes().values()
    for key in prepared.changed:
        last = max((at for at, step in enumerate(METHOD) if step.depends_on(key, shapes)), default=len(METHOD) - 1)
        count = sum(pending[: last + 1])
        log.warning(
            "manifest.changed",
            key=key,
            effect=f"{count:,} question{'' if count == 1 else 's'} get{'s' if count == 1 else ''} the new value, "
            f"those that have not passed the step {METHOD[last].name} yet; the others keep what the old one made",
        )
