"""The files of an export, and a check that they replace nothing but an earlier export."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.errors import ConfigError, RunStopped
from weak2wise.ledger.files import fix_hint, is_temporary_of
from weak2wise.outputs.card import data_file_of
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.paths import is_own
from workers.method import METHOD

_DATA_SUFFIXES = {".jsonl", ".parquet"}
_OTHER_SUFFIXES = {
    ".json",
    ".csv",
    ".tsv",
    ".txt",
    ".gz",
    ".zst",
    ".zip",
    ".arrow",
    ".yaml",
    ".yml",
    ".md",
    ".html",
    ".ndjson",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the file that cannot be written. The ``OSError`` itself may name a temporary file next to it, or none.

    Raises:
        RunStopped: names the file that was to be written.
        OSError: the error is about another file.
    """
    try:
        yield
    except OSError as error:
        named = Path(error.filename) if error.filename else path
        if not is_temporary_of(path, named.name) and not path.is_relative_to(named):
            raise
        why = os.strerror(error.errno) if error.errno else str(error)
        raise RunStopped(
            f"{path}: cannot be written: {why}", hint=f"{fix_hint(error)}, or choose another --out."
        ) from None


class Target(Struct, frozen=True):
    """The data file, and the dataset card and LLaMA-Factory's ``dataset_info.json`` next to it.

    The card of a ``train`` file is the folder's ``README.md``; the card of any other file has that file's name. So
    several exports can share a folder, and each card proves that weak2wise wrote the file that it names.
    """

    data: Path
    card: Path
    info: Path

    @classmethod
    def of(cls, out: Path) -> "Target":
        """The target for ``--out``. Raises ``ConfigError`` if that is not a .jsonl or .parquet file or a folder."""
        if out.suffix in _DATA_SUFFIXES and out.is_dir():
            raise ConfigError(f"--out {out}: is a folder, but has the name of a file; add the name of a file in it")
        if out.suffix in _OTHER_SUFFIXES and not out.is_dir():
            raise ConfigError(f"--out {out}: expected a name that ends in .jsonl or .parquet, or a folder's")
        data = out if out.suffix in _DATA_SUFFIXES else out / "train.jsonl"
        card = data.with_name("README.md") if data.stem == "train" else data.with_suffix(".md")
        return cls(data, card, data.with_name("dataset_info.json"))

    @property
    def name(self) -> str:
        """The data set's name: the file's, or the folder's for a ``train`` file."""
        return self.data.resolve().parent.name if self.data.stem == "train" else self.data.stem

    def entry(self, name: str, info: dict[str, object] | None) -> bytes:
        """The new content of ``dataset_info.json``: with the entry ``info``, or without it. Other entries are kept.

        Empty if nothing is to be written.

        Raises:
            ConfigError: the existing file cannot be extended.
        """
        entries: dict[str, Any] = {}
        if self.info.exists():
            try:
                entries = msgspec.json.decode(self.info.read_bytes(), type=dict[str, Any])
            except msgspec.DecodeError:
                raise ConfigError(
                    f"{self.info}: is not a JSON object; choose another --out, or pass --no-card"
                ) from None
        other = entries.get(name)
        if isinstance(other, dict) and other.get("file_name") not in {None, self.data.name}:
            raise ConfigError(
                f"{self.info}: has an entry {name!r} for another file; give --out another name, or pass --no-card"
            )
        if info is not None:
            entries[name] = info
        elif entries.pop(name, None) is None:
            return b""
        return msgspec.json.format(msgspec.json.encode(entries), indent=2) + b"\n"

    @staticmethod
    def is_alone(name: str, entries: bytes) -> bool:
        """Whether a ``dataset_info.json`` lists this data set only."""
        return entries != b"" and list(msgspec.json.decode(entries, type=dict[str, Any])) == [name]

    def check(self, work: WorkDir, *, card: bool) -> None:
        """Check that nothing but an earlier export is overwritten. Raises ``ConfigError``."""
        history = work.history
        reserved = {"the run's input": [history.input], "an evaluation set of the run": history.sets}
        reserved["the run's training data"] = [history.output, str(work.folder / METHOD[-1].file)]
        for path in (self.data, self.card, self.info) if card else (self.data,):
            if is_own(path, work.folder):
                raise ConfigError(f"{path}: is a file of the run itself; choose another --out")
            for what, names in reserved.items():
                if any(name and Path(name).resolve() == path.resolve() for name in names):
                    raise ConfigError(f"{path}: is {what}; choose another --out")
        described = data_file_of(self.card)
        if card and self.card.exists() and described != self.data.name:
            reason = f"is the card of {described}" if described else "is not a card that weak2wise wrote"
            raise ConfigError(f"{self.card}: {reason}; choose another folder for --out, or pass --no-card")
        if self.data.exists() and described != self.data.name:
            raise ConfigError(
                f"{self.data}: exists, and no card next to it says that it is an earlier export; "
                "choose another --out, or move it away"
            )
