"""How many answers have the right number at all, whatever their form: an untrained model may only lack the form.

    python scripts/prove/loosest.py prove-out/work

prints, for each model that ``weak2wise prove`` has evaluated, the shares of its answers that are right by the rule
(flexible and strict), whose last number is the right one, and that have the right number anywhere. The last two count
answers that are right by luck, too.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

NUMBER = re.compile(r"\d+")


def counted(evaluation: Path) -> Iterator[list[str]]:
    """For each answer, the ways in which it is right."""
    for shard in sorted((evaluation / "ledger/evaluate").glob("*.jsonl")):
        for line in shard.read_text(encoding="utf-8").splitlines():
            record = json.loads(line).get("record") or {"samples": []}
            for sample in record["samples"]:
                numbers = NUMBER.findall(sample["text"].replace(",", ""))
                right = record["question"]["answer"]
                ways = [way for way in ("flexible", "strict") if sample[way]]
                yield ways + ["last"] * (numbers[-1:] == [right]) + ["anywhere"] * (right in numbers)


def main(arguments: list[str]) -> int:
    """Print the table; 2 if there is no evaluation in the work_dir."""
    evaluations = sorted(Path(*arguments[:1], "proof/evaluations").glob("*/ledger"))
    if len(arguments) != 1 or not evaluations:
        print("usage: loosest.py WORK_DIR, of a `weak2wise prove` that has evaluated something", file=sys.stderr)
        return 2
    print("| model | answers | flexible | strict | last number | anywhere |", "|---|---|---|---|---|---|", sep="\n")
    for ledger in evaluations:
        answers = list(counted(ledger.parent))
        right = Counter(way for ways in answers for way in ways)
        shares = [
            f"{100 * right[way] / max(1, len(answers)):.1f} %" for way in ("flexible", "strict", "last", "anywhere")
        ]
        print(f"| {' | '.join([ledger.parent.name.rpartition('-')[0], f'{len(answers):,}', *shares])} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
