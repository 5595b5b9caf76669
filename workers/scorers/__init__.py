"""Scorers decide which trace of a question is the best one. ``params.scorer`` names the one that a run uses."""

from inspect import getattr_static

from weak2wise.errors import ConfigError
from weak2wise.plugins import load_object
from workers.scorers.scorer import Scorer
from workers.scorers.stepmask import StepMask
from workers.scorers.votes import fewest

__all__ = ["Scorer", "StepMask", "describer", "fewest", "scorer_named"]

_KEY = "params.scorer"
_OURS: dict[str, type[Scorer]] = {"stepmask": StepMask}


def scorer_named(name: str) -> type[Scorer]:
    """The scorer of ``params.scorer``: one of this program, or the class at an import path ``module:Class``.

    Raises:
        ConfigError: there is no scorer of this name, or the class is not a scorer with a ``version``.
    """
    if ":" not in name:
        if name not in _OURS:
            known = ", ".join(_OURS)
            raise ConfigError(f"{_KEY}: unknown scorer {name!r}; expected {known}, or an import path module:Class")
        return _OURS[name]
    found: type[Scorer] = load_object(name, _KEY, Scorer)
    if not isinstance(getattr_static(found, "explain"), staticmethod | classmethod):
        raise ConfigError(f"{_KEY}: {name}.explain takes a score alone; make it a @staticmethod")
    return found


def describer(name: str) -> type[Scorer]:
    """The scorer that describes a finished run's scores; the base class if the run's own can no longer be loaded."""
    try:
        return scorer_named(name)
    except ConfigError:
        return Scorer
