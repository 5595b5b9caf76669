"""Questions from a data set on the Hugging Face Hub: ``hf:owner/name``, ``hf:owner/name:config:split``.

A run keeps them as a file in its work_dir, evaluation sets too: it goes on from there, whatever becomes of the data set
or the network.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from weak2wise.digests import digest
from weak2wise.errors import FORMATS, ConfigError
from weak2wise.ledger.files import write_atomic

_PREFIX = "hf:"


def is_hub(source: Path) -> bool:
    """Whether an input path names a data set and no file."""
    return str(source).startswith(_PREFIX)


def stream(source: Path) -> Iterator[dict[str, Any]]:
    """The data set's rows, fetched as they are taken; ``train`` is the split if none is named. Blocks.

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
        yield from load_dataset(name, config or None, split=split or "train", streaming=True)
    except Exception as error:  # noqa: BLE001 - datasets raises what its many readers raise; each is about the input
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        mend = "Check its name and the network; a private one needs HF_TOKEN or `hf auth login`"
        raise ConfigError(f"{source}: {said.rstrip('.')}. {mend}") from None


def _kept_at(source: Path, folder: Path) -> Path:
    return folder / f"input-{digest(str(source))}.jsonl"


def at_hand(source: Path, folder: Path) -> Path:
    """What to read a source from without writing anything: the file in which a folder keeps it, else the source."""
    kept = _kept_at(source, folder)
    return kept if is_hub(source) and kept.exists() else source


def keep(source: Path, folder: Path) -> Path:
    """The source as a file: a data set as JSON lines in a folder, fetched unless it is there already. Blocks.

    Raises:
        ConfigError: it cannot be fetched or written.
    """
    if not is_hub(source):
        return source
    path = _kept_at(source, folder)
    if not path.exists():
        encode = msgspec.json.Encoder(enc_hook=str).encode
        try:
            write_atomic(path, (encode(row) + b"\n" for row in stream(source)))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror} (the questions of {source})") from None
    return path
