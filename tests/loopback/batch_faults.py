"""What goes wrong with batches: a request about them, a whole batch, a line of one. Repeatable, never random.

A script is one JSON object. ``rules`` are exact, and the first that applies wins; ``mix`` has shares, decided by a hash
of the seed and of what is asked::

    {"rules": [{"at": "create", "fault": "500_after"}],
     "seed": 1, "mix": {"batch": {"expired": 0.2}, "line": {"lost": 0.01}, "upload": {"reset": 0.05}}}
"""

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from tests.loopback.answers import unit

Operation = Literal["upload", "files", "file", "content", "delete", "create", "list", "retrieve", "cancel"]
"""Requests, by what they ask for."""
Place = Literal[Operation, "batch", "line"]

RequestKind = Literal[
    # Refused, or the connection breaks, and nothing was done.
    "429",
    "500",
    "503",
    "404",
    "reset",
    "hang",
    "cut",  # an upload while it is read, a reply in its middle
    # Done, but the client does not learn it.
    "500_after",
    "reset_after",
    "hang_after",
]
BatchKind = Literal[
    "failed",  # the whole file is refused for no reason that lies in it
    "failed_line",  # the whole file is refused for its first line
    "token_limit",  # accepted, then failed: too much in the queue
    "expired",  # the window is over; what was done is delivered
    "cancelled",  # by the provider
    "all_failed",  # completed, without an output file
    "no_credit",  # completed, every line says that the credit is spent
    "odd_status",  # statuses on the way that nobody documented
    "odd_end",  # ends in a status that nobody documented
    "stuck",  # makes no progress from some point on, until its window is over
    "wrong_counts",  # the counts say that all is well from the beginning
    "listed_late",  # not in the listing for some seconds
    "files_late",  # ended, but the files' ids come some seconds later
    "results_gone",  # the files are deleted some seconds after the end
]
LineKind = Literal[
    "lost",  # in neither file
    "doubled",  # twice in the output file
    "in_both",  # answered in the output file, failed in the error file
    "stranger",  # followed by a line whose custom_id nobody asked for
    "garbled",  # cut off in its middle
    "status_0",  # in the output file with status 0 and an empty body
    "no_response",  # in the error file, without a response
    "no_credit",
    "400",
    "429",
    "500",
    "500_in_output",  # failed, but in the output file
]
KINDS: dict[str, tuple[str, ...]] = dict.fromkeys(get_args(Operation), get_args(RequestKind))
KINDS |= {"batch": get_args(BatchKind), "line": get_args(LineKind)}

Ordinal = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Rule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule: what goes wrong ``at`` what, from the ``nth`` time on (from 1), so many ``times`` (``null``: always).

    ``contains`` is sought in a request's path and query, in a batch's input file, in a line. ``seconds`` is how long
    something takes that takes long (default 1; a hang: an hour) and what a 429 asks for. ``share`` is the part of a
    batch's lines that is done before it expires, is cancelled or gets stuck (default a half).
    """

    at: Place
    fault: str
    contains: str = ""
    nth: Ordinal = 1
    times: Ordinal | None = 1
    seconds: float | None = None
    share: Share = 0.5

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a fault that this place does not have."""
        _check(self.at, self.fault)

    def seconds_or(self, default: float) -> float:
        """The seconds given, else ``default``."""
        return default if self.seconds is None else self.seconds


class BatchFaults(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A script: exact rules, then shares by place and kind, which add up to at most 1 a place.

    ``seconds`` is that of all faults that are there by their share.
    """

    rules: tuple[Rule, ...] = ()
    seed: int = 0
    seconds: float | None = None
    mix: dict[Place, dict[str, Share]] = {}

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a fault that its place does not have."""
        for at, shares in self.mix.items():
            for fault in shares:
                _check(at, fault)


def _check(at: str, fault: str) -> None:
    if fault not in KINDS[at]:
        raise ValueError(f"no fault {fault!r} at {at!r}; expected one of {', '.join(KINDS[at])}")


class BatchFaultsPlayed:
    """A script being played; keeps count of which rules applied how often."""

    def __init__(self, script: BatchFaults) -> None:
        self._script = script
        self._fitted = [0] * len(script.rules)

    def choose(self, at: Place, text: bytes, *key: str) -> Rule | None:
        """What happens, if anything does; ``key`` decides it for the shares, ``text`` is what rules look into."""
        chosen = None
        for number, rule in enumerate(self._script.rules):
            if rule.at == at and rule.contains.encode() in text:
                self._fitted[number] += 1
                since = self._fitted[number] - rule.nth
                if chosen is None and since >= 0 and (rule.times is None or since < rule.times):
                    chosen = rule
        return chosen or self._by_share(at, key)

    def _by_share(self, at: Place, key: tuple[str, ...]) -> Rule | None:
        shares = self._script.mix.get(at)
        if not shares:
            return None
        drawn = unit("batches", str(self._script.seed), at, *key)
        for fault, share in shares.items():
            if drawn < share:
                return Rule(at=at, fault=fault, seconds=self._script.seconds, share=drawn / share)
            drawn -= share
        return None
