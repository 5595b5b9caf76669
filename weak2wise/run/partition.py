"""Whether a work_dir is in parts, and how its input is divided into them."""

from pathlib import Path
from typing import Any

from msgspec import structs

from weak2wise.config import Config
from weak2wise.errors import ConfigError
from weak2wise.ledger.account import INPUT
from weak2wise.ledger.manifest import Manifest
from weak2wise.ledger.outcomes import Ledger
from weak2wise.ledger.parts import Partition
from weak2wise.ledger.shards import READ_ONLY
from weak2wise.llm.batch.record import BatchRecord
from weak2wise.llm.journal import Journal
from workers.method import METHOD


def settled_partition(config: Config, manifest: Manifest, rows: int, *, wanted: bool) -> Partition | None:
    """How the input is divided into parts, ``None`` if it is not; a new partition is written into the manifest. Blocks.

    A partition once made stays: a work_dir begun in parts goes on in parts. An input of one part needs no partition.

    Args:
        config: the run's.
        manifest: the work_dir's, as it is now.
        rows: how many rows the input has.
        wanted: whether this start can work on parts at several places.

    Raises:
        ConfigError: calls are sent in batches, which parts know nothing of, or a ledger is damaged.
        OSError: the manifest cannot be written.
    """
    work_dir = Path(config.dataset.work_dir)
    if manifest.partition is None and (not wanted or rows <= config.cluster.part_rows):
        return None
    for role, name in config.roles().items():
        if config.endpoints[name].batched:
            raise ConfigError(
                f"model_endpoints.{name}.batch: a run in parts cannot send the calls of {role} in batches; leave it "
                "out, or run on one machine with a work_dir that was begun so"
            )
    if manifest.partition is not None:
        return manifest.partition
    if out := BatchRecord.seen(work_dir).states():
        raise ConfigError(
            f"{work_dir}: {len(out):,} batches are out, which a run in parts knows nothing of; let a run on this "
            "machine finish them, or cancel them (weak2wise batch cancel)"
        )
    partition = Partition(begun=_last_begun(work_dir), rows=config.cluster.part_rows)
    structs.replace(manifest, partition=partition).write(work_dir)
    return partition


def _last_begun(work_dir: Path) -> int:
    """The last row with an outcome or an answer; 0 if there is none."""
    folder = work_dir / "ledger"
    last = Journal(folder, **READ_ONLY).last_row()
    for name, makes in ((INPUT, object), *((step.name, step.makes) for step in METHOD)):
        ledger: Ledger[Any] = Ledger(name, folder, makes, **READ_ONLY)
        ledger.look()
        last = max(last, ledger.last_row())
    return last
