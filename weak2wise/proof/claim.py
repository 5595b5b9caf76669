"""What a proof is to show, written down before anything is trained.

The claim says what is compared, how it is measured, on which questions, and how small an effect could still be seen.
With it in a file, nobody can choose the measure, the questions or the training settings by their results: a later start
with others is refused. More arms and seeds may be added; the page says which were not in the claim.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, structs

from weak2wise.errors import ConfigError
from weak2wise.ledger.files import write_atomic
from weak2wise.statistics import difference_error, minimum_detectable_effect

Measure = Literal["flexible", "strict"]
UNTRAINED = "untrained"
PRIMARY = "winners"
POWER = 0.8
"""The detectable effect is found with this probability."""
EFFECT_SPREAD = 0.25
"""Assumed standard deviation, between questions, of what training changes in the share solved."""
FEWEST_QUESTIONS = 10


class HeldOutSet(Struct, frozen=True, kw_only=True):
    """Questions that no model learns from: their name, how many there are, their digest, and the answers to each."""

    name: str
    questions: int
    digest: str
    samples: int


class Claim(Struct, frozen=True, kw_only=True):
    """The primary claim and how it is tested.

    ``measure`` is pass@1 by that extraction of answers. ``sets``: the held-out questions; the claim is about the first
    set, the others are secondary. ``solve_rate``: how often the weak LLM is assumed to solve such a question,
    ``solve_rate_from``: where that number is from. ``detectable``: the smallest true difference of pass@1 that is found
    with probability ``POWER``. ``without``: input rows that no arm is trained on, so that all have the same questions.
    ``settings``: the training and evaluation settings, ``data``: the digest of the primary arm's rows, ``rows``: how
    many these are, ``base``: the untrained model. ``arms`` and ``seeds``: those that were planned.
    """

    statement: str
    measure: Measure
    arm: str
    against: str
    sets: tuple[HeldOutSet, ...]
    solve_rate: float
    solve_rate_from: str
    detectable: float
    base: str
    data: str
    rows: int
    without: tuple[int, ...]
    settings: dict[str, Any]
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    written: str

    @classmethod
    def of(
        cls,
        *,
        arms: tuple[str, ...],
        seeds: tuple[int, ...],
        sets: tuple[HeldOutSet, ...],
        solve_rate: float,
        solve_rate_from: str,
        base: str,
        data: str,
        rows: int,
        without: tuple[int, ...],
        settings: dict[str, Any],
        measure: Measure = "flexible",
    ) -> "Claim":
        """The claim about the first of ``arms`` against the untrained model, on the first of ``sets``.

        Raises:
            ConfigError: there are too few questions for any claim.
        """
        for held in sets:
            if held.questions < FEWEST_QUESTIONS:
                raise ConfigError(
                    f"{held.name}: {held.questions} held-out questions; expected at least {FEWEST_QUESTIONS}"
                )
        first = sets[0]
        error = difference_error(
            questions=first.questions, samples=first.samples, solve_rates=[solve_rate], effect_spread=EFFECT_SPREAD
        )
        return cls(
            statement=(
                f"Trained on the {arms[0]} arm, the weak LLM solves another share of the questions of "
                f"{first.name!r} than untrained"
            ),
            measure=measure,
            arm=arms[0],
            against=UNTRAINED,
            sets=sets,
            solve_rate=solve_rate,
            solve_rate_from=solve_rate_from,
            detectable=minimum_detectable_effect(error, first.questions, wanted=POWER),
            base=base,
            data=data,
            rows=rows,
            without=without,
            settings=settings,
            arms=arms,
            seeds=seeds,
            written=datetime.now(UTC).isoformat(timespec="seconds"),
        )


_FREE = {"arms", "seeds", "written", "solve_rate", "solve_rate_from", "detectable", "statement", "without"}
"""Fields that a later start may differ in: more arms and seeds are said on the page, the rest follows from others."""


def settle(path: Path, claim: Claim) -> Claim:
    """The claim that holds: the one in the file, or this one, which is then written there. Blocks.

    Raises:
        ConfigError: the file has another claim, and the message says what differs; or it cannot be read.
        OSError: it cannot be written.
    """
    earlier, encoded = read(path), msgspec.json.encode(claim)
    claim = msgspec.json.decode(encoded, type=Claim)  # as it will be read
    if earlier is None:
        write_atomic(path, [msgspec.json.format(encoded, indent=1), b"\n"])
        return claim
    differs = [
        name for name, value in structs.asdict(earlier).items() if name not in _FREE and value != getattr(claim, name)
    ]
    if "settings" in differs:
        differs.remove("settings")
        keys = sorted({*earlier.settings, *claim.settings})
        differs += [key for key in keys if earlier.settings.get(key) != claim.settings.get(key)]
    if differs:
        was = ", ".join(f"{name} {_shown(earlier, name)} (now {_shown(claim, name)})" for name in differs)
        raise ConfigError(
            f"{path}: the claim was written down on {earlier.written[:16].replace('T', ' ')}, before anything was "
            f"trained, with {was}. Changed after results are known, it would prove nothing: go on with these settings, "
            "or make another claim in another work_dir (weak2wise fork shares the answers that are paid for)"
        )
    return earlier


def read(path: Path) -> Claim | None:
    """The claim in a file; ``None`` if there is none. Blocks. Raises ``ConfigError`` if it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Claim)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; restore it") from None


def _shown(claim: Claim, name: str) -> str:
    value = getattr(claim, name) if name in claim.__struct_fields__ else claim.settings.get(name, "not set")
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}…"
