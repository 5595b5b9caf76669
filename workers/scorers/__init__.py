"""Scorers decide which trace of a question is the best one. ``params.scorer`` names the one that a run uses."""

from fractions import Fraction
from inspect import getattr_static

from weak2wise.config import Config
from weak2wise.config.section import nearest
from weak2wise.errors import ConfigError
from weak2wise.plugins import load_object
from workers.records import Score
from workers.scorers.chance import Chance
from workers.scorers.first import First
from workers.scorers.full_hint import FullHint
from workers.scorers.length import Longest, Shortest
from workers.scorers.likelihood import Likelihood
from workers.scorers.logprobs import Grape, Ifd, LocalNaturalness, Rsr
from workers.scorers.scorer import Scorer
from workers.scorers.stepmask import StepMask
from workers.scorers.votes import fewest

__all__ = [
    "LOGPROB_SCORERS",
    "NAMES",
    "Scorer",
    "StepMask",
    "check_min_score",
    "describer",
    "explained",
    "fewest",
    "score_text",
    "scorer_named",
]

_KEY = "params.scorer"
_OURS: dict[str, type[Scorer]] = {
    "stepmask": StepMask,
    "random": Chance,
    "first": First,
    "shortest": Shortest,
    "longest": Longest,
    "full_hint": FullHint,
    "grape": Grape,
    "rsr": Rsr,
    "local_naturalness": LocalNaturalness,
    "ifd": Ifd,
    "likelihood": Likelihood,
}
NAMES = tuple(_OURS)
"""The names that ``params.scorer`` may have."""
LOGPROB_SCORERS = tuple(name for name, scorer in _OURS.items() if scorer.asks_logprobs)
"""Those that need a weak LLM which says how likely a given text is."""


def scorer_named(name: str, key: str = _KEY) -> type[Scorer]:
    """The scorer of ``params.scorer``: one of this program, or the class at an import path ``module:Class``.

    ``key``: what names it, for messages.

    Raises:
        ConfigError: there is no scorer of this name, or the class is not a scorer with a ``version``.
    """
    if ":" not in name:
        if name not in _OURS:
            raise ConfigError(f"{key}: no scorer {name!r} (an import path is module:Class); {nearest(name, _OURS)}")
        return _OURS[name]
    found: type[Scorer] = load_object(name, key, Scorer)
    if not isinstance(getattr_static(found, "explain"), staticmethod | classmethod):
        raise ConfigError(f"{key}: {name}.explain takes a score alone; make it a @staticmethod")
    return found


def check_min_score(config: Config, scorer: type[Scorer]) -> None:
    """Check that a trace can reach ``params.min_score``. Raises ``ConfigError``."""
    params = config.params
    highest = scorer.highest(params)
    if params.min_score is not None and Fraction(str(params.min_score)) > highest:
        raise ConfigError(
            f"params.min_score: no trace can reach {params.min_score}; the highest score of params.scorer "
            f"{params.scorer} is {float(highest):.6g} with these settings"
        )


def explained(scorer: type[Scorer], score: Score) -> str:
    """A score's evidence in the scorer's words; in plain ones if it is not this scorer's (``--resume force``)."""
    try:
        return scorer.explain(score)
    except Exception:  # noqa: BLE001 - it may be somebody else's code, and what it gets is not what it made
        return Scorer.explain(score)


def score_text(score: Score) -> str:
    """A score as it is shown: of Step-Mask's bounds that it is one; of a trace that was not measured, nothing."""
    if score.is_bound and not score.is_masked:
        return ""
    small = 0 < abs(score.score) < 0.001  # a likelihood may be
    return f"{'at most ' if score.is_bound else ''}{score.score:{'.1e' if small else '.3f'}}"


def describer(name: str) -> type[Scorer]:
    """The scorer that describes a finished run's scores; the base class if the run's own can no longer be loaded."""
    try:
        return scorer_named(name)
    except ConfigError:
        return Scorer
