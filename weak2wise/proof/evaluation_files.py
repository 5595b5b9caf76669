"""What an evaluation keeps in its folder, beside ledger, journal and log."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.digests import digest
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import write_atomic
from weak2wise.ledger.outcomes import Failed, columns_of
from weak2wise.proof.evaluated import Answered, Evaluated, QuestionResult
from workers.rules import RULES

_LONGEST_NAME = 80


class Speed(Struct, frozen=True):
    """How fast a start asked; zeros if it asked nothing."""

    seconds: float = 0.0
    tokens_per_second: float = 0.0

    @classmethod
    def of(cls, seconds: float, tokens: int) -> "Speed":
        """So many generated tokens in this time."""
        return cls(round(seconds, 1), round(tokens / seconds, 1))


class _Begun(Struct, frozen=True, kw_only=True):
    """``evaluation.json``: the rules by which an evaluation decides to its end; what its folder's name is made of."""

    rules: int
    shape: dict[str, Any]


@dataclass(frozen=True)
class EvaluationFiles:
    """The files of one evaluation. All of this blocks, and raises ``OSError`` where the disk refuses."""

    folder: Path

    @classmethod
    def of(cls, place: Path, name: str, shape: Mapping[str, Any]) -> "EvaluationFiles":
        """Those of the evaluation of this model that everything in ``shape`` has shaped."""
        spelled = re.sub(r"[^\w.-]+", "_", name)[-_LONGEST_NAME:]
        return cls(place / f"{spelled}-{digest(shape)[:12]}")

    @property
    def failures(self) -> Path:
        """The file that lists what could not be asked."""
        return self.folder / "failed.jsonl"

    @property
    def figures(self) -> Path:
        """The file of the ``Evaluated``."""
        return self.folder / "evaluated.json"

    def settled_rules(self, shape: dict[str, Any]) -> int:
        """The version of the rules by which the evaluation was begun; if it begins, they are written down.

        Raises:
            ConfigError: they cannot be read, or this version of weak2wise does not know them.
        """
        path = self.folder / "evaluation.json"
        try:
            begun = msgspec.json.decode(path.read_bytes(), type=_Begun)
        except FileNotFoundError:
            begun = _Begun(rules=RULES, shape=shape)
            write_atomic(path, [msgspec.json.format(msgspec.json.encode(begun), indent=1), b"\n"])
        except msgspec.DecodeError as error:
            raise ConfigError(f"{path}: cannot be read: {error}; restore it, or move the folder away") from None
        if begun.rules > RULES:
            raise ConfigError(
                f"{path}: begun with rules {begun.rules}, and this version of weak2wise knows {RULES}; install the "
                "version that began it, or move the folder away"
            )
        return begun.rules

    def write_answers(
        self, records: Iterable[Answered], failures: Iterable[Failed]
    ) -> tuple[list[QuestionResult], dict[str, int]]:
        """Write the answers and the failures; returns each question's verdicts, and what decided the flexible ones."""
        results: list[QuestionResult] = []
        deciders: Counter[str] = Counter()

        def lines() -> Iterator[bytes]:
            for answered in records:
                results.append(QuestionResult.of(answered))
                deciders.update(sample.by for sample in answered.samples)
                yield msgspec.json.encode(answered) + b"\n"

        write_atomic(self.folder / "answers.jsonl", lines())
        write_atomic(self.failures, (msgspec.json.encode(columns_of(failed)) + b"\n" for failed in failures))
        return results, dict(deciders)

    def write(self, evaluated: Evaluated) -> None:
        """Write the figures."""
        write_atomic(self.figures, [msgspec.json.format(msgspec.json.encode(evaluated), indent=1), b"\n"])

    def earlier_speed(self) -> Speed:
        """The speed of the start that ended the evaluation; zeros if no figures are there."""
        try:
            return msgspec.json.decode(self.figures.read_bytes(), type=Speed)
        except (FileNotFoundError, msgspec.DecodeError):
            return Speed()
