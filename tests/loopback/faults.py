"""Which request goes wrong, and how: a script of exact rules, or a mix decided by hash. Repeatable, never random.

A script is JSON. A list holds exact rules, the first that applies wins::

    [{"match": {"model": "strong-a", "nth": 3}, "fault": "429", "retry_after": 1, "times": 2}]

An object holds a mix: the share of requests that go wrong in each way::

    {"seed": 1, "mix": {"500": 0.02, "reset_before_headers": 0.02}}

What a mix does to a request is a hash of the seed, the body and how often that body was asked before, so the same run
fails the same way again and a retry of the same body sooner or later succeeds.
"""

from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from tests.loopback.answers import unit

Kind = Literal[
    # Patience: Retry-After in seconds, as an HTTP date, left out; every request for a while; said in the body alone.
    "429",
    "429_date",
    "429_bare",
    "429_storm",
    "429_words",
    # The server's trouble.
    "500",
    "502",
    "503",
    "408",
    "latin1_error",
    # The connection's.
    "reset_before_headers",
    "reset_in_body",
    "hang_before_headers",
    "hang_in_body",
    "slow_drip",
    "wrong_length",
    # A 200 that is no answer, or an odd one.
    "truncated_json",
    "no_choices",
    "null_content",
    "parts_content",
    "empty_content",
    "error_object",
    "invalid_utf8",
    "deep_nesting",
    "broken_off",
    "gzip_bomb",
    "huge_body",
    "broken_sse",
    "sse_without_done",
    "sse_keep_alive",
    "sse_reset_at_end",
    "sse_error_at_end",
    "duplicate_id",
    "no_usage",
    "length",
    "empty_length",
    "content_filter",
    "stuck",
    # Refusals.
    "redirect",
    "400",
    "400_context",
    "401",
    "402",
    "403",
    "403_moderation",
    "404",
    "429_quota",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

Ordinal = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Match(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which requests a rule means: all that fit every field, from the ``nth`` of them on (counted from 1).

    ``model`` is the beginning of the model's name; ``contains`` is sought in the raw JSON body; ``asked`` means the
    body's first asking (1), its second (2), ….
    """

    model: str = ""
    contains: str = ""
    asked: Ordinal | None = None
    nth: Ordinal = 1

    def fits(self, model: str, body: bytes, asked: int) -> bool:
        """Whether a request is meant, ``nth`` aside."""
        return (
            model.startswith(self.model)
            and (self.asked is None or self.asked == asked)
            and (not self.contains or self.contains.encode() in body)
        )


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """One rule: what goes wrong, for whom, how many times (``null``: always).

    ``retry_after`` (seconds) is what a 429 asks for. ``seconds`` is how long a storm (default 1), a hang (default an
    hour) or a slow drip (default 1) lasts. ``location`` is where a redirect points; by default another loopback address
    at which nobody listens.
    """

    fault: Kind
    match: Match = Match()
    times: Ordinal | None = 1
    retry_after: float = 1.0
    seconds: float | None = None
    location: str = "http://127.0.0.2:9/v1/chat/completions"


class Mix(Struct, frozen=True, forbid_unknown_fields=True):
    """Shares of requests that go wrong, by kind; they add up to at most 1."""

    mix: dict[Kind, Share]
    seed: int = 0


Script = tuple[Fault, ...] | Mix


def read_script(script: str) -> Script:
    """Read a fault script: JSON, or the path of a file that holds it.

    Raises:
        msgspec.ValidationError: the script says something unknown.
    """
    text = script if script.lstrip()[:1] in ("[", "{") else Path(script).read_text("utf-8")
    read: Script = msgspec.json.decode(text, type=Script)
    return read


class Faults:
    """A script being played; keeps count of which rules applied how often."""

    def __init__(self, script: Script) -> None:
        self._rules = () if isinstance(script, Mix) else script
        self._fitted = [0] * len(self._rules)
        self._seed = str(script.seed) if isinstance(script, Mix) else ""
        mix = script.mix if isinstance(script, Mix) else {}
        self._shares = [(share, Fault(kind, times=None)) for kind, share in mix.items()]
        self._storm: Fault | None = None
        self._storm_ends = 0.0

    def choose(self, model: str, body: bytes, digest: str, asked: int, now: float) -> Fault | None:
        """What happens to a request, if anything does; ``asked`` counts this asking too, ``now`` is in seconds."""
        if not self._rules and not self._shares:
            return None
        if self._storm is not None:
            if now < self._storm_ends and model.startswith(self._storm.match.model):
                return self._storm
            self._storm = None if now >= self._storm_ends else self._storm
        fault = self._by_rule(model, body, asked) if self._rules else self._by_share(digest, asked)
        if fault is not None and fault.fault == "429_storm":
            self._storm, self._storm_ends = fault, now + (1.0 if fault.seconds is None else fault.seconds)
        return fault

    def _by_rule(self, model: str, body: bytes, asked: int) -> Fault | None:
        chosen = None
        for at, rule in enumerate(self._rules):
            if rule.match.fits(model, body, asked):
                self._fitted[at] += 1
                since = self._fitted[at] - rule.match.nth
                if chosen is None and since >= 0 and (rule.times is None or since < rule.times):
                    chosen = rule
        return chosen

    def _by_share(self, digest: str, asked: int) -> Fault | None:
        drawn = unit("fault", self._seed, digest, str(asked))
        for share, fault in self._shares:
            if drawn < share:
                return fault
            drawn -= share
        return None
