"""Where an export goes, and that it takes the place of nothing that is not an earlier export."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.errors import ConfigError, RunStopped
from weak2wise.ledger.files import fix_hint
from weak2wise.outputs.card import described
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.paths import is_own
from workers.method import METHOD

_WRITTEN = {".jsonl", ".parquet"}
_OTHER_FILES = {
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
    """Say of a file that cannot be written which one it is: the error itself names a temporary one beside it, or none.

    Raises:
        RunStopped: naming the file that was to be written.
        OSError: about any other file, as it is.
    """
    try:
        yield
    except OSError as error:
        about = Path(error.filename) if error.filename else path
        if about.name != f".{path.name}.tmp" and not path.is_relative_to(about):
            raise
        why = os.strerror(error.errno) if error.errno else str(error)
        raise RunStopped(
            f"{path}: cannot be written: {why}", hint=f"{fix_hint(error)}, or choose another --out."
        ) from None


class Target(Struct, frozen=True):
    """The data file, and the dataset card and LLaMA-Factory's ``dataset_info.json`` beside it.

    The card of a folder's ``train`` file is its ``README.md``, that of any other file has the file's name: several
    exports may share a folder, and each card is the proof that the file it names came from here.
    """

    data: Path
    card: Path
    info: Path

    @classmethod
    def of(cls, out: Path) -> "Target":
        """What ``--out`` means. Raises ``ConfigError`` if it is neither a file that can be written nor a folder."""
        if out.suffix in _WRITTEN and out.is_dir():
            raise ConfigError(f"--out {out}: is a folder, but named like a file; name the file in it")
        if out.suffix in _OTHER_FILES and not out.is_dir():
            raise ConfigError(f"--out {out}: expected a name that ends in .jsonl or .parquet, or a folder's")
        data = out if out.suffix in _WRITTEN else out / "train.jsonl"
        card = data.with_name("README.md") if data.stem == "train" else data.with_suffix(".md")
        return cls(data, card, data.with_name("dataset_info.json"))

    @property
    def name(self) -> str:
        """The data set's: its folder's, or its file's if that has a name of its own."""
        return self.data.resolve().parent.name if self.data.stem == "train" else self.data.stem

    def entry(self, name: str, info: dict[str, object] | None) -> bytes:
        """What ``dataset_info.json`` says with the data set's entry in it, or without; the entries of others stay.

        Empty if there is no such file and need be none.

        Raises:
            ConfigError: the file there cannot be added to.
        """
        entries: dict[str, Any] = {}
        if self.info.exists():
            try:
                entries = msgspec.json.decode(self.info.read_bytes(), type=dict[str, Any])
            except msgspec.DecodeError:
                raise ConfigError(
                    f"{self.info}: is no JSON object to add to; choose another --out, or --no-card"
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
        """See that nothing is overwritten but an earlier export. Raises ``ConfigError``."""
        history = work.history
        taken = {"the run's input": [history.input], "an evaluation set of the run": history.sets}
        taken["the run's training data"] = [history.output, str(work.folder / METHOD[-1].file)]
        for path in (self.data, self.card, self.info) if card else (self.data,):
            if is_own(path, work.folder):
                raise ConfigError(f"{path}: is a file of the run itself; choose another --out")
            for what, names in taken.items():
                if any(name and Path(name).resolve() == path.resolve() for name in names):
                    raise ConfigError(f"{path}: is {what}; choose another --out")
        about = described(self.card)
        if card and self.card.exists() and about != self.data.name:
            whose = f"is the card of {about}" if about else "is no card of ours"
            raise ConfigError(f"{self.card}: {whose}; choose a folder of its own for --out, or pass --no-card")
        if self.data.exists() and about != self.data.name:
            raise ConfigError(
                f"{self.data}: is there already, and no card beside it says that it is an earlier export; "
                "choose another --out, or move it away"
            )
