"""The first part of a start, which pays for nothing: checks of files, the input, and what an earlier start has left."""

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from weak2wise.access import refusal
from weak2wise.config.shape import default_shape
from weak2wise.dataset import keep, naming_setting
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import make_private, remove_temporary
from weak2wise.ledger.manifest import Manifest, settle
from weak2wise.llm.batch.record import BatchRecord
from weak2wise.outputs.claim import Claim, check_work_dir
from weak2wise.paths import OWN
from weak2wise.run.duplicates import read_duplicates
from weak2wise.run.held_files import HeldFiles
from weak2wise.run.kept_config import keep_config
from weak2wise.run.overlap import read_overlap
from weak2wise.run.plan import Plan
from workers.decontaminate import Overlap
from workers.dedup import NearDuplicates
from workers.rules import RULES


@dataclass(frozen=True)
class Prepared:
    """What a start has found out before it opens anything."""

    overlap: Overlap | None
    """The evaluation sets whose questions are dropped, if any."""
    duplicates: NearDuplicates | None
    """The rows that are dropped because they nearly repeat an earlier one, if they are looked for."""
    manifest: Manifest
    """The work_dir's, as it is now."""
    changed: Sequence[str]
    """The keys that changed since the last start (``--resume force``)."""


async def prepare(plan: Plan, held: HeldFiles) -> Prepared:
    """Make the input available, and decide whether an earlier run of the work_dir continues.

    Raises:
        ConfigError: the run cannot start, or the work_dir holds a different one.
        RunStopped: the disk refuses.
    """
    await held.write_in_thread(_check_files, plan, held.claim)
    await held.write_in_thread(plan.input.fetch, plan.resume)
    with naming_setting("dataset.input_path"):
        await asyncio.to_thread(plan.input.note)
    await asyncio.to_thread(_check_rows, plan)
    overlap = await held.write_in_thread(read_overlap, plan.config, keep)
    manifest, changed = await held.write_in_thread(
        settle,
        plan.work_dir,
        plan.shape(overlap),
        plan.input.file,
        plan.resume,
        rules=RULES,
        defaults=default_shape(),
        begun=plan.begun,
        may_start_over=plan.retry is None,
    )
    if manifest.rules > RULES:
        raise ConfigError(
            f"{plan.manifest_file}: the run was begun with rules {manifest.rules}, and this version of weak2wise knows "
            f"{RULES}; install the version that began it, or choose another dataset.work_dir"
        )
    plan.input.expect(manifest.input)
    duplicates = await asyncio.to_thread(read_duplicates, plan.config, plan.input.file)
    await held.write_in_thread(keep_config, plan.config)
    return Prepared(overlap, duplicates, manifest, changed)


def _check_files(plan: Plan, claim: Claim | None) -> None:
    """Check that results can be written and replace no file of somebody else; remove what a killed run left. Blocks.

    Raises:
        ConfigError: naming the path and the key.
    """
    for path, key in ((plan.work_dir, "work_dir"), (plan.output.parent, "finetune_out")):
        try:
            make_private(path)
            tempfile.TemporaryFile(dir=path).close()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {refusal(path, error)} (dataset.{key})") from None
    check_work_dir(plan.work_dir)
    if plan.resume == "never" and (out := BatchRecord.seen(plan.work_dir).states()):
        requests = sum(state.requests for state in out)
        raise ConfigError(
            f"{plan.work_dir}: starting over (--resume never) would forget {len(out):,} batches with {requests:,} "
            "requests that are out; cancel them first (weak2wise batch cancel)"
        )
    if claim:
        claim.check()
    own = [plan.work_dir / name for name in OWN]
    for path in [*own, *([plan.output] if claim else [])]:
        with suppress(OSError):
            remove_temporary(path)


def _check_rows(plan: Plan) -> None:
    """Check the input's first rows, unless an earlier run has begun with them. Blocks; raises ``ConfigError``."""
    if plan.resume == "never" or not plan.manifest_file.exists():
        plan.input.check_rows()
