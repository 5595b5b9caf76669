"""How the rows of an input are divided into parts, by their numbers, and the folder of each part.

Part 0 has the rows that one machine had begun before the input was divided: its ledgers are those of the work_dir
itself. There is none if nothing had begun. Parts 1, 2, … follow, each of the same number of rows but the last.
"""

from pathlib import Path

from msgspec import Struct


class Partition(Struct, frozen=True):
    """Kept in the manifest: rows 1 to ``begun`` are part 0, then come parts of ``rows`` rows each."""

    begun: int
    rows: int

    def parts(self, total: int) -> range:
        """The numbers of all parts of an input of ``total`` rows."""
        return range(0 if self.begun else 1, 1 + -(-max(0, total - self.begun) // self.rows))

    def of(self, part: int, total: int) -> range:
        """The rows of a part."""
        if part == 0:
            return range(1, 1 + min(self.begun, total))
        first = self.begun + (part - 1) * self.rows + 1
        return range(first, min(first + self.rows, total + 1))


def part_folder(work_dir: Path, part: int) -> Path:
    """The folder of a part: its rows, and a folder for each epoch."""
    return work_dir / "parts" / f"{part:05d}"


def part_of(work_dir: Path, path: Path) -> int:
    """The part that a file belongs to; part 0 has those of the work_dir itself."""
    steps = path.relative_to(work_dir).parts
    return int(steps[1]) if steps[0] == "parts" and steps[1].isdecimal() else 0


def rows_file(work_dir: Path, part: int, rows: int, settings: int) -> Path:
    """The rows of a part, as the driver has read them from the input.

    A part that has grown gets another file, and so does one that is read with other settings (``Manifest.settings``).
    """
    return part_folder(work_dir, part) / (f"rows-{rows}-{settings}.jsonl" if settings else f"rows-{rows}.jsonl")
