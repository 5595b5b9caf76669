"""Every input format as numbered JSON objects, one after another in bounded memory, so that one reader checks them all.

A row that cannot be read from its format is a ``Broken``. Only that row is lost, if the format allows to read the rest.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weak2wise.dataset.hub import is_hub, stream
from weak2wise.dataset.json_text import array, lines
from weak2wise.dataset.raw import Rows
from weak2wise.dataset.tables import csv_rows, encoded, parquet_rows
from weak2wise.dataset.unpack import COMPRESSED
from weak2wise.errors import ConfigError


@contextmanager
def naming_setting(setting: str) -> Iterator[None]:
    """Add to the message about a file that cannot be read which setting names the file."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{error} ({setting})") from None


def unit(source: Path) -> str:
    """What the numbers of a source's rows count."""
    return "row" if is_hub(source) or layout(source) in {".json", ".csv", ".tsv", ".parquet"} else "line"


def layout(source: Path) -> str:
    """The suffix that says how rows are written, in lower case, without that of a compression."""
    name = Path(source.name.lower())
    return Path(name.stem).suffix if name.suffix in COMPRESSED else name.suffix


def rows_of(source: Path) -> Rows:
    """Every row of a file, or of ``hf:owner/name``, in order. Blocks.

    Raises:
        ConfigError: it cannot be read, or is damaged; the message names the last good row.
    """
    number = 0
    try:
        for row in _rows_of(source):
            number = row.number
            yield row
    except FileNotFoundError:
        raise ConfigError(f"{source}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise _unreadable(source, number, said) from None


def _rows_of(source: Path) -> Rows:
    if is_hub(source):
        return encoded(stream(source))
    match layout(source):
        case ".json":
            return array(source)
        case ".csv" | ".tsv":
            return csv_rows(source)
        case ".parquet":
            return parquet_rows(source)
    return lines(source)


def _unreadable(source: Path, number: int, why: str) -> ConfigError:
    after = f" after {unit(source)} {number:,}" if number else ""
    return ConfigError(f"{source}: cannot be read{after}: {why}")
