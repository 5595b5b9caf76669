"""Which keys shape results, for the manifest."""

from typing import Any

import msgspec
from msgspec import structs

from weak2wise.config.schema import Columns, Config, Params
from weak2wise.config.section import Section
from weak2wise.digests import DIGEST, digest


def _shown(value: object) -> object:
    """A text, a number or nothing as it is; what may be long or hold a secret as a digest."""
    return value if not value or isinstance(value, str | int | float) else _digest(value)


def _digest(value: object) -> str:
    return f"{DIGEST}{digest(value)}"


def result_shape(config: Config, prompts: dict[str, str], scorer_version: str | None = None) -> dict[str, Any]:
    """Dotted config keys that shape results, with their values as JSON has them; free-form ones as digests.

    Args:
        config: the run's.
        prompts: the texts in use, the config's or the defaults.
        scorer_version: of a scorer that is loaded by import path.
    """
    shape = _dotted("params", config.params)
    if scorer_version is not None:
        shape["params.scorer.version"] = scorer_version
    shape |= _dotted("models", config.models)
    for name in dict.fromkeys(config.roles().values()):
        for key, value in config.endpoints[name].answer_settings().items():
            shape[f"model_endpoints.{name}.{key}"] = _shown(value)
    shape |= _dotted("dataset.columns", config.dataset.columns)
    shape |= {f"prompts.{key}": _digest(text) for key, text in prompts.items()}
    return _as_kept(shape)


def default_shape() -> dict[str, Any]:
    """What a manifest means by a key that it lacks: one that came after it was written."""
    return _as_kept(_dotted("params", Params()) | _dotted("dataset.columns", Columns()))


def _dotted(prefix: str, section: Section) -> dict[str, Any]:
    return {f"{prefix}.{key}": value for key, value in structs.asdict(section).items()}


def _as_kept(shape: dict[str, Any]) -> dict[str, Any]:
    """As it is read back from a manifest."""
    kept: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(shape))
    return kept
