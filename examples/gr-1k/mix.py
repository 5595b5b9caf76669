"""Make one input of several files, each a subject: ``python mix.py math=math.jsonl science=science.jsonl --out data``.

Each file has ``question`` and ``answer`` in every line, and ``id`` if it likes. The subjects take turns, so that a run
that is stopped early, or has ``--limit``, has as many of each.
"""

import argparse
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def rows_of(subject: str, path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, with their subject and an id that no other file has."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            row = json.loads(line)
            yield row | {"id": f"{subject}-{row.get('id', number)}", "subject": subject}


def main() -> None:
    """Write ``questions.jsonl`` in the folder ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="SUBJECT=FILE")
    parser.add_argument("--out", type=Path, default=Path("data"))
    arguments = parser.parse_args()
    named = [file.partition("=") for file in arguments.files]
    if wrong := [subject for subject, equals, path in named if not (subject and equals and path)]:
        parser.error(f"{wrong[0]}: expected SUBJECT=FILE")
    try:
        columns = [list(rows_of(subject, Path(path))) for subject, _, path in named]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "questions.jsonl").open("w", encoding="utf-8") as out:
        for row in itertools.chain.from_iterable(itertools.zip_longest(*columns)):
            if row is not None:
                out.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
