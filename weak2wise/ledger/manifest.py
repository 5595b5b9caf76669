"""What the results in a work_dir depend on, so that a run continues only if its results would be the same.

The manifest has every config key that affects results (models, prompts, method parameters, input). It leaves out what
only affects speed, and never holds a secret: long or free-form values are kept as digests.
"""

import hashlib
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from weak2wise.access import refusal
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import write_atomic
from weak2wise.ledger.parts import Partition
from weak2wise.version import __version__

Resume = Literal["auto", "never", "force"]
_CHUNK = 1 << 20
_NONE: Mapping[str, Any] = {}


class InputDigest(Struct, frozen=True):
    """The input file's content: its size in bytes and its SHA-256."""

    size: int
    sha256: str


class Fork(Struct, frozen=True, kw_only=True):
    """Where a work_dir came from that began as a fork of another one.

    ``work_dir``: the other one, as it was called then, and ``created``: when its run had begun. ``changed``: the keys
    in which the two differ. ``from_step``: the number of the first step whose outcomes are not shared. ``spent_usd``:
    US dollars that the shared answers had cost there.
    """

    work_dir: str
    created: str
    changed: list[str]
    from_step: int
    spent_usd: float


class ModelFolder(Struct, frozen=True, kw_only=True):
    """A model in a folder of this machine, which may be moved.

    ``name``: what the shape and the journal's keys call it. ``path``: where the last start
    has found it, as its config says. ``digest``: of its content.
    """

    name: str
    path: str
    digest: str


class Begun(Struct, frozen=True, kw_only=True):
    """What a begun run goes on with, although another version or machine would have another value.

    ``prompts``: the texts of default prompts. ``folders``: models in folders, by dotted config key.
    """

    prompts: dict[str, str] = {}
    folders: dict[str, ModelFolder] = {}

    @property
    def named(self) -> dict[str, str]:
        """The names of models in folders, by dotted config key."""
        return {key: folder.name for key, folder in self.folders.items()}


class Manifest(Struct, frozen=True, kw_only=True):
    """``shape`` maps dotted config keys to JSON values or digests of values.

    ``settings`` is the number of these settings, which is in each outcome that they made (``Done.settings``).
    ``earlier`` has the shapes that ``--resume force`` changed, by number; one whose manifest was lost is missing.
    ``rules``: the version of the method's rules by which the run decides, from its first start to its end.
    ``partition``: how the input is divided into parts; ``None``: it is not, and all is in the work_dir's own ledgers.
    ``forked``: where the work_dir came from; ``None`` if it was begun on its own.
    ``weak2wise``: the version that began the run, and ``begun``: what the run keeps of that start; older
    manifests have neither.
    """

    version: int = 1
    rules: int = 1
    created: str
    shape: dict[str, Any]
    input: InputDigest
    settings: int = 0
    earlier: dict[int, dict[str, Any]] = {}
    partition: Partition | None = None
    forked: Fork | None = None
    weak2wise: str | None = None
    begun: Begun = Begun()

    @property
    def shared_usd(self) -> float:
        """The part of the journal's cost that another run has paid."""
        return self.forked.spent_usd if self.forked else 0.0

    def write(self, work_dir: Path) -> None:
        """Write it into a work_dir, atomically. Blocks; raises ``OSError``."""
        write_atomic(work_dir / "manifest.json", [msgspec.json.format(msgspec.json.encode(self), indent=1), b"\n"])

    def shapes(self) -> dict[int, dict[str, Any]]:
        """The shape of all settings so far, by number."""
        return {**self.earlier, self.settings: self.shape}

    def changed(self) -> list[str]:
        """The keys that have had more than one value."""
        return sorted({key for shape in self.earlier.values() for key in differing(shape, self.shape)})


def digest_input(path: Path, *, known: InputDigest | None = None) -> tuple[InputDigest, bool]:
    """The input's digest, and whether the file still begins with the ``known`` content. Blocks.

    Raises:
        ConfigError: the file cannot be read.
    """
    sha = hashlib.sha256()
    size = 0
    grown = False
    before = b"\n"
    try:
        with path.open("rb") as file:
            while chunk := file.read(min(_CHUNK, known.size - size) if known and size < known.size else _CHUNK):
                sha.update(chunk)
                size += len(chunk)
                before = chunk[-1:]
                if known and size == known.size:
                    following = file.read(1)
                    file.seek(size)
                    # Without a line break between old and new, the old last line has changed.
                    grown = sha.hexdigest() == known.sha256 and (before == b"\n" or following in (b"", b"\n"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file (dataset.input_path)") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {refusal(path, error)} (dataset.input_path)") from None
    if known and known.size == 0:
        grown = True
    return InputDigest(size, sha.hexdigest()), grown


_FRESH = Begun()
SET_ASIDE = ("ledger", "parts", "manifest.json", "side_costs.jsonl", "compare")
"""What ``never`` renames."""


def settle(
    work_dir: Path,
    shape: dict[str, Any],
    input_path: Path,
    resume: Resume,
    *,
    rules: int = 1,
    defaults: Mapping[str, Any] = _NONE,
    begun: Begun = _FRESH,
    may_start_over: bool = True,
) -> tuple[Manifest, list[str]]:
    """Decide whether the work_dir's earlier run continues, and write the manifest.

    ``auto`` continues if nothing that affects results has changed. ``force`` continues anyway: finished rows stay as
    they are, unfinished rows get the new settings; the input may only have new lines at its end. ``never`` starts over;
    the earlier ledger is renamed, not deleted. ``rules``: the version that a new run gets; an old one keeps its own.
    ``defaults``: the values of keys that an older manifest lacks. ``begun``: what the run keeps.
    ``may_start_over``: whether the error suggests ``never`` or another work_dir.

    Returns:
        The manifest as it is now, and the keys that changed, where ``force`` continued anyway.

    Raises:
        ConfigError: the run may not continue; the message names the keys.
    """
    old, current, changed = compare(
        work_dir, shape, input_path, resume, defaults=defaults, begun=begun, may_start_over=may_start_over
    )
    if resume == "never":
        aside = _free_suffix(work_dir)
        for name in SET_ASIDE:
            if (work_dir / name).exists():
                (work_dir / name).rename(work_dir / f"{name}{aside}")
    if old and not changed and current == old.input and begun.folders == old.begun.folders:
        return old, []
    created = old.created if old else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    number, earlier = old.settings if old else 0, dict(old.earlier) if old else {}
    if old and changed:
        earlier[number] = {**defaults, **old.shape}
        number += 1
    elif old is None and resume == "force" and _has_ledger(work_dir):
        number = int(time.time())  # the manifest is lost: a number that no outcome has yet
    manifest = Manifest(
        created=created,
        rules=old.rules if old else rules,
        shape=shape,
        input=current,
        settings=number,
        earlier=earlier,
        partition=old.partition if old else None,
        forked=old.forked if old else None,
        weak2wise=old.weak2wise if old else __version__,
        begun=begun,
    )
    manifest.write(work_dir)
    return manifest, changed


def compare(
    work_dir: Path,
    shape: dict[str, Any],
    input_path: Path,
    resume: Resume,
    *,
    defaults: Mapping[str, Any] = _NONE,
    begun: Begun = _FRESH,
    may_start_over: bool = True,
) -> tuple[Manifest | None, InputDigest, list[str]]:
    """``settle`` without writing anything: the earlier manifest, if any, the input's digest, and the changed keys."""
    path = work_dir / "manifest.json"
    old = load_manifest(path) if resume != "never" else None
    if old is None and resume == "auto" and _has_ledger(work_dir):
        raise ConfigError(
            f"{path}: missing, though the work_dir holds a ledger, so it is unknown whether the settings are still "
            "the same. Restore it, or pass --resume force (go on) or --resume never (start over)"
        )
    current, grown = digest_input(input_path, known=old.input if old else None)
    changed: list[str] = []
    if old:
        changed = differing({**defaults, **old.shape}, shape)
        same_input = current == old.input
        if resume == "auto" and (changed or not same_input):
            names = [
                *(_described(key, old.begun, begun) for key in changed),
                *([] if same_input else [f"the content of {input_path}"]),
            ]
            raise ConfigError(
                f"{work_dir}: holds a run with other settings. Changed since: {', '.join(names)}. "
                + _ways("Put them back", may_start_over=may_start_over, go_on=grown)
            )
        if not grown:
            raise ConfigError(
                f"{input_path}: its first {old.input.size} bytes are not those that {work_dir} was started with, so "
                "its rows are other questions now; --resume force allows new lines at the end only. "
                + _ways("Put it back", may_start_over=may_start_over, go_on=False)
            )
    return old, current, changed


def _described(key: str, old: Begun, now: Begun) -> str:
    """A changed key; of a model in a folder also that it is the content that has changed."""
    if key in old.folders and key in now.folders:
        return f"{key} (the files in {now.folders[key].path} are not those that the run was begun with)"
    return key


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The keys that have not the same value in two result shapes."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def _has_ledger(work_dir: Path) -> bool:
    return any(next(work_dir.glob(found), None) for found in ("ledger/*/*.jsonl", "parts/leases/*.jsonl"))


def _ways(first: str, *, may_start_over: bool, go_on: bool) -> str:
    """What the user can do about a run that may not continue."""
    values = [*(["never (start over)"] if may_start_over else []), *(["force (go on)"] if go_on else [])]
    ways = [first, *(["choose another dataset.work_dir"] if may_start_over else [])]
    if values:
        ways.append("pass " + " or ".join(f"--resume {value}" for value in values))
    return ways[0] if len(ways) == 1 else f"{', '.join(ways[:-1])}, or {ways[-1]}"


def load_manifest(path: Path) -> Manifest | None:
    """The manifest in a file; ``None`` if there is no such file. Raises ``ConfigError`` if it is not valid."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except OSError as error:
        why = refusal(path, error)
        raise ConfigError(f"{path}: cannot be read: {why}; name the dataset.work_dir of a run") from None
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{path}: cannot be read as a manifest: {error}; restore it or pick another work_dir"
        ) from None


def _free_suffix(work_dir: Path) -> str:
    """Names the moment at which a run is set aside, and its number among those set aside in the same second."""
    second = f".before-{time.strftime('%Y%m%dT%H%M%S')}"
    suffixes = (second + (f"-{number}" if number > 1 else "") for number in count(1))
    return next(s for s in suffixes if not any((work_dir / f"{name}{s}").exists() for name in SET_ASIDE))
