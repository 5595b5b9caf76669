"""Questions from a data set on the Hugging Face Hub: ``hf:owner/name``, ``hf:owner/name:config:split``.

A run stores them as a file in its work_dir, evaluation sets too. It continues from that file, even if the data set has
changed or the network is down.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from weak2wise.access import refusal
from weak2wise.digests import digest
from weak2wise.errors import FORMATS, ConfigError
from weak2wise.ledger.files import make_private, sync_folder

_PREFIX = "hf:"


def is_hub(source: Path) -> bool:
    """Whether an input path names a data set, not a file."""
    return str(source).startswith(_PREFIX)


def stream(source: Path, start: int = 0) -> Iterator[dict[str, Any]]:
    """The data set's rows from the one at index ``start`` on, fetched as they are taken. Blocks.

    ``train`` is the split if none is named.

    Raises:
        ConfigError: ``datasets`` is not installed, or cannot find or read it.
    """
    try:
        from datasets import load_dataset  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise ConfigError(f"{source}: needs datasets: {FORMATS}") from None
    name, *rest = str(source).removeprefix(_PREFIX).split(":")
    if not name or len(rest) > 2:
        raise ConfigError(f"{source}: expected hf:owner/name, or hf:owner/name:config:split")
    config, split = [*rest, "", ""][:2]
    try:
        rows = load_dataset(name, config or None, split=split or "train", streaming=True)
        yield from rows.skip(start) if start else rows
    except Exception as error:  # noqa: BLE001 - datasets raises what its many readers raise; each is about the input
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        hint = "Check its name and the network; a private one needs HF_TOKEN or `hf auth login`"
        raise ConfigError(f"{source}: {said.rstrip('.')}. {hint}") from None


def _kept_at(source: Path, folder: Path) -> Path:
    return folder / f"input-{digest(str(source))}.jsonl"


def at_hand(source: Path, folder: Path) -> Path:
    """Where to read a source from without writing anything: its stored file in the folder, else the source."""
    kept = _kept_at(source, folder)
    return kept if is_hub(source) and kept.exists() else source


def keep(source: Path, folder: Path) -> Path:
    """The source as a file. A data set is stored as JSON lines in the folder, fetched only if not there yet. Blocks.

    A row is in memory only until it is written. What has arrived stays if the network breaks, and the next call goes on
    behind it.

    Raises:
        ConfigError: it cannot be fetched or written.
    """
    if not is_hub(source):
        return source
    path = _kept_at(source, folder)
    if not path.exists():
        part = path.with_suffix(".part")
        try:
            make_private(folder)
            try:
                _fetch(source, part)
            except ConfigError:
                if not part.stat().st_size:
                    part.unlink()
                raise
            part.replace(path)
            sync_folder(folder)
        except OSError as error:
            why = refusal(path, error)
            raise ConfigError(f"{path}: cannot be written: {why} (the questions of {source})") from None
    return path


def _fetch(source: Path, part: Path) -> None:
    """Append the rows that a part of the data set lacks; begin anew if its last row is another one there now."""
    encode = msgspec.json.Encoder(enc_hook=str).encode
    with part.open("a+b") as file:
        part.chmod(0o600)
        count, last = _whole_lines(file)
        rows = (encode(row) + b"\n" for row in stream(source, start=max(0, count - 1)))
        if count and next(rows, None) != last:
            file.truncate(0)
            rows = (encode(row) + b"\n" for row in stream(source))
        try:
            file.writelines(rows)
        finally:
            file.flush()
            os.fsync(file.fileno())


def _whole_lines(file: IO[bytes]) -> tuple[int, bytes]:
    """How many lines a file has, and the last one; what was cut off behind it is removed."""
    count, size, last = 0, 0, b""
    file.seek(0)
    for line in file:
        if line.endswith(b"\n"):
            count, size, last = count + 1, size + len(line), line
    file.truncate(size)
    return count, last
