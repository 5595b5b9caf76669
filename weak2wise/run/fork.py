"""Makes a fork: a new work_dir with other settings that begins with all that an earlier one has paid for.

The journal is shared, so no answer is paid for twice, and so are the outcomes of the steps that the other settings do
not change. Full shards are hard links (``weak2wise.ledger.sharing``), so the disk holds them once, and the two are
independent from then on. Nothing of the earlier work_dir is written, locked or moved.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import structs

from weak2wise.config import Config
from weak2wise.config.shape import default_shape
from weak2wise.dataset import at_hand, is_hub, naming_setting
from weak2wise.dataset.given import kept_questions
from weak2wise.errors import ConfigError
from weak2wise.ledger.account import INPUT
from weak2wise.ledger.files import make_private, sync_folder
from weak2wise.ledger.manifest import Fork, Manifest, differing, digest_input
from weak2wise.ledger.shards import READ_ONLY
from weak2wise.ledger.sharing import Shared
from weak2wise.llm.batch.record import BatchRecord
from weak2wise.llm.journal import Journal
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.paths import check_paths
from weak2wise.run.input import Input
from weak2wise.run.kept_config import KEPT, write_config
from weak2wise.run.overlap import read_overlap
from weak2wise.run.plan import Plan, Recipe
from workers.method import METHOD
from workers.rules import RULES
from workers.scorers import check_min_score, scorer_named


@dataclass(frozen=True)
class Forked:
    """A fork that was made."""

    config: Config
    """Its own: the given one with its work_dir, its input and its output file."""
    origin: Fork
    shared: Shared
    finished: bool
    """Whether the earlier run had finished."""


def fork(
    work_dir: Path, other: Path, config: Config, *, from_step: int | None = None, output: str | None = None
) -> Forked:
    """Make ``other`` a fork of a work_dir. Blocks.

    Args:
        work_dir: a run's, which may be going on.
        other: the new folder.
        config: the settings of the fork; of its paths only the input's and the evaluation sets' count.
        from_step: the number of the first step to do anew; ``None``: the first that a changed setting concerns.
        output: the fork's output file; ``None``: in its work_dir.

    Raises:
        ConfigError: the earlier work_dir or the config is not fit for it, or there is something at ``other``.
        OSError, DiskError: files cannot be read or written.
    """
    _check_place(work_dir, other)
    source = WorkDir(work_dir)
    _check_source(source, output)
    placed = _placed(config, source, other, output)
    shape = _shape(placed, source, other)
    changed, first = _first_step(source.manifest, shape)
    if from_step is not None and from_step > first:
        raise ConfigError(
            f"--from-step {from_step}: step {first} ({METHOD[first - 1].name}) depends on what has changed since "
            f"{work_dir}: {', '.join(changed)}. Leave the option out, or pass --from-step {first}"
        )
    first = from_step or first
    shared = Shared()
    with _built(other) as building:
        ledger, mine = source.folder / "ledger", building / "ledger"
        # The last first, so that no row is in a later step and not in an earlier one; the journal has all answers.
        for step in reversed(METHOD[: first - 1]):
            shared.shards(ledger / step.name, mine / step.name)
        for name in (INPUT, "journal"):
            shared.shards(ledger / name, mine / name)
        for file in _inputs(config, source):
            shared.file(file, building / file.name)
        origin = Fork(
            work_dir=str(source.folder.resolve()),
            created=source.manifest.created,
            changed=changed,
            from_step=first,
            spent_usd=sum(spent.cost_usd for spent in Journal(mine, **READ_ONLY).sums().values()),
        )
        write_config(placed, building / KEPT)
        _manifest(source.manifest, shape, origin).write(building)
    return Forked(placed, origin, shared, source.history.finished)


def _check_place(work_dir: Path, other: Path) -> None:
    old, new = work_dir.resolve(), other.resolve()
    if new == old:
        raise ConfigError(f"{other}: is the work_dir to fork; name a new folder")
    if new.is_relative_to(old):
        raise ConfigError(f"{other}: lies in the work_dir to fork, where nothing is written; name a folder elsewhere")
    if other.is_symlink() or (other.exists() and not (other.is_dir() and not any(other.iterdir()))):
        raise ConfigError(f"{other}: exists; name a new folder")


def _check_source(source: WorkDir, output: str | None) -> None:
    rules = source.manifest.rules
    if rules > RULES:
        raise ConfigError(
            f"{source.folder}: was begun with rules {rules}, and this version of weak2wise knows {RULES}; install the "
            "version that began it"
        )
    if out := BatchRecord.seen(source.folder).states():
        requests = sum(state.requests for state in out)
        raise ConfigError(
            f"{source.folder}: {len(out):,} batches with {requests:,} requests are out, and a fork would pay for these "
            "again; let the run fetch their answers first, or cancel them (weak2wise batch cancel)"
        )
    if source.manifest.partition is not None:
        raise ConfigError(
            f"{source.folder}: is in parts (a run on many machines), and cannot be forked; begin a new run with the "
            "other settings (dataset.work_dir)"
        )
    file = Path(output).expanduser() if output else None
    if file and (file.exists() or file.resolve() == Path(source.output).resolve()):
        raise ConfigError(f"{file}: another run's output file; a fork has one of its own (dataset.finetune_out)")


def _placed(config: Config, source: WorkDir, other: Path, output: str | None) -> Config:
    """The config with the fork's paths; questions that were given as objects are taken along."""
    named, kept = config.dataset.input_path, kept_questions(source.folder)
    if kept.exists() and (named is None or Path(named).resolve() == kept.resolve()):
        named = str(kept_questions(other))
    dataset = structs.replace(config.dataset, input_path=named, work_dir=str(other), finetune_out=output)
    return structs.replace(config, dataset=dataset)


def _inputs(config: Config, source: WorkDir) -> list[Path]:
    """The files of questions in the earlier work_dir that a run needs: given as objects, or from a hub."""
    dataset = config.dataset
    hub = [Path(name) for name in (dataset.input_path, *dataset.decontaminate) if name and is_hub(Path(name))]
    files = [kept_questions(source.folder), *(at_hand(name, source.folder) for name in hub)]
    return [file for file in dict.fromkeys(files) if file.exists()]


def _shape(placed: Config, source: WorkDir, other: Path) -> dict[str, Any]:
    """The fork's result shape; its input must be the one that the earlier run has.

    Raises:
        ConfigError: the config cannot be run, or the input has changed.
    """
    named = placed.dataset.input_path
    taken_along = named is not None and Path(named) == kept_questions(other)
    check_paths(placed, given=taken_along)
    check_min_score(placed, scorer_named(placed.params.scorer))
    recipe = Recipe.of(placed, len(METHOD))
    plan = Plan(**vars(recipe), input=Input(placed, None, None), resume="auto", retry=None)
    with naming_setting("dataset.input_path"):
        file = kept_questions(source.folder) if taken_along else at_hand(plan.input.name, source.folder)
    known = source.manifest.input
    if digest_input(file, known=known)[0] != known:
        raise ConfigError(
            f"{file}: is not what {source.folder} was started with, so its rows may be other questions; put it back, "
            "or, if lines were added at its end, go on there first (--resume force) (dataset.input_path)"
        )
    return plan.shape(read_overlap(placed, lambda name, _: at_hand(name, source.folder)))


def _first_step(manifest: Manifest, shape: Mapping[str, Any]) -> tuple[list[str], int]:
    """The keys that differ from the earlier run's, and the number of the first step that one of them concerns.

    A key that differed for a time (``--resume force``) counts, too: it is not known which outcomes it has made. Without
    any the number is one more than the last step's.
    """
    shapes = [{**default_shape(), **known} for known in manifest.shapes().values()]
    keys = sorted({key for known in shapes for key in differing(known, shape)})
    of = [*shapes, shape]
    steps = [step.number for step in METHOD if any(step.depends_on(key, of) for key in keys)]
    if len(manifest.shapes()) <= manifest.settings:  # a number has no shape
        return [*keys, "the settings of a manifest that was lost"], 1
    return keys, min(steps, default=len(METHOD) + 1)


def _manifest(old: Manifest, shape: dict[str, Any], origin: Fork) -> Manifest:
    """The fork's: the shared outcomes have the numbers of earlier settings, but are what the new ones make, too."""
    return Manifest(
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        rules=old.rules,
        shape=shape,
        input=old.input,
        settings=old.settings,
        earlier=dict.fromkeys(old.earlier, shape),
        forked=origin,
    )


@contextmanager
def _built(folder: Path) -> Iterator[Path]:
    """Yields a folder to fill, which gets its name when the block ends well; after an error it does not stay."""
    make_private(folder.parent)
    building = Path(tempfile.mkdtemp(prefix=".fork.", dir=folder.parent))
    try:
        yield building
        sync_folder(building)
        try:
            building.rename(folder)
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be made: {error.strerror}; name a new folder") from None
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    sync_folder(folder.parent)
