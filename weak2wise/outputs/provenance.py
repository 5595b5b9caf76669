"""Which settings made which rows, where ``--resume force`` went on with other settings.

The manifest has every settings of the work_dir under a number, and each outcome the number of those that made it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.ledger.outcomes import RowStatus, settings_of
from weak2wise.outputs.settings import public_name
from weak2wise.outputs.work_dir import WorkDir
from workers.method import METHOD

LOST = "not known: the manifest was lost"


class _Nothing(Struct):
    """A record whose fields are skipped: only those of the outcome are read."""


class Share(Struct, frozen=True):
    """How many rows one step made under one value of a setting that has changed. ``now``: it is the present value."""

    key: str
    step: str
    value: Any
    rows: int
    now: bool

    @property
    def shown(self) -> str:
        """The value in words."""
        return shown(self.key, self.value)


def shown(key: str, value: Any) -> str:
    """A setting's value in words, without a path on this machine."""
    if isinstance(value, str):
        return public_name(value) if key.endswith(".model") else value
    return "none" if value is None else msgspec.json.encode(value).decode()


def shares(work: WorkDir, rows: Iterable[int] | None = None) -> list[Share]:
    """The rows by value of each setting that has changed, for each step that depends on it. Blocks.

    Args:
        work: the run.
        rows: count these only; ``None``: all that are done.
    """
    manifest = work.manifest
    if not manifest.settings:
        return []
    made = _made(work, rows)
    shapes = manifest.shapes()
    found = []
    for key in manifest.changed():
        for step in METHOD:
            if step.depends_on(key, shapes.values()):
                by_value: Counter[bytes] = Counter()
                for number, shape in shapes.items():
                    by_value[msgspec.json.encode(shape.get(key))] += made[step.name][number]
                now = msgspec.json.encode(manifest.shape.get(key))
                found += [
                    Share(key, step.name, msgspec.json.decode(value), count, value == now)
                    for value, count in by_value.items()
                    if count or value == now
                ]
    for step in METHOD:
        if lost := sum(count for number, count in made[step.name].items() if number not in shapes):
            found.append(Share("all settings", step.name, LOST, lost, now=False))
    return found


def _made(work: WorkDir, rows: Iterable[int] | None) -> dict[str, Counter[int]]:
    """For each step, how many rows are done, by the number of the settings."""
    taken: bytearray | None = None
    if rows is not None:
        taken = bytearray(max((len(ledger.rows()) for ledger in work.steps.values()), default=0))
        for row in rows:
            taken[row] = 1
    made: dict[str, Counter[int]] = {}
    for step, ledger in work.steps.items():
        counts = made[step] = Counter()

        def count(done: Any, counts: Counter[int] = counts) -> None:
            if taken is None or taken[done.row]:
                counts[settings_of(done)] += 1

        ledger.each_done(_Nothing, count)
    return made


def shape_of(work: WorkDir, found: Iterable[Share]) -> tuple[dict[str, Any], bool]:
    """The settings that made these rows, and whether all rows were made by them.

    A setting under which no row was made has the value of the rows; one of which rows differ, its present value.
    """
    shape = dict(work.manifest.shape)
    values: dict[str, dict[bytes, Any]] = {}
    for share in found:
        if share.rows:
            values.setdefault(share.key, {})[msgspec.json.encode(share.value)] = share.value
    alike = True
    for key, of_rows in values.items():
        if len(of_rows) > 1 or key not in work.manifest.changed():
            alike = False
        else:
            shape[key] = next(iter(of_rows.values()))
            if shape[key] is None and work.manifest.shape.get(key) is not None:
                del shape[key]
    return shape, alike


def of_row(work: WorkDir) -> Callable[[int], Mapping[str, Mapping[str, Any]]]:
    """A function that gives the settings of each step that has done a row; empty settings if they are not known."""
    manifest, shapes = work.manifest, work.manifest.shapes()
    if not manifest.settings:
        return lambda _row: dict.fromkeys(work.steps, manifest.shape)

    def settings(row: int) -> dict[str, Mapping[str, Any]]:
        return {
            step: shapes.get(settings_of(ledger.read(row)), {})
            for step, ledger in work.steps.items()
            if ledger.status(row) is RowStatus.DONE
        }

    return settings


def in_words(work: WorkDir, settings: Mapping[str, Mapping[str, Any]]) -> str:
    """The values that made one row, of the settings that have changed; empty if none has."""
    return "; ".join(_words(work, settings))


def _words(work: WorkDir, settings: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not work.manifest.settings:
        return
    shapes = work.manifest.shapes().values()
    for key in work.manifest.changed():
        for step in METHOD:
            if step.name in settings and settings[step.name] and step.depends_on(key, shapes):
                yield f"{key}={shown(key, settings[step.name].get(key))} ({step.name})"
    yield from (f"{LOST} ({step})" for step, shape in settings.items() if not shape)
