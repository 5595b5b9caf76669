"""The config keys that affect results, for the manifest."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import structs

from weak2wise.config.schema import Columns, Config, Params
from weak2wise.config.section import Section
from weak2wise.digests import DIGEST, digest


def _shown(value: object) -> object:
    """Text, numbers and empty values as they are; other values, which may be long or hold a secret, as a digest."""
    return value if not value or isinstance(value, str | int | float) else _digest(value)


def _digest(value: object) -> str:
    return f"{DIGEST}{digest(value)}"


_NONE: Mapping[str, str] = {}


def result_shape(
    config: Config,
    prompts: Mapping[str, Any],
    scorer_version: str | None = None,
    named: Mapping[str, str] = _NONE,
) -> dict[str, Any]:
    """Dotted config keys that affect results, with their values as in JSON; free-form values as digests.

    Args:
        config: the run's config.
        prompts: the texts in use, from the config or the defaults.
        scorer_version: the version of a scorer that is loaded by import path.
        named: values that stand in place of the config's, by dotted key: names of models whose folder may move.
    """
    shape = _dotted("params", config.params)
    if scorer_version is not None:
        shape["params.scorer.version"] = scorer_version
    shape |= _dotted("models", config.models)
    for name in dict.fromkeys(config.roles().values()):
        for key, value in config.endpoints[name].answer_settings().items():
            dotted = f"model_endpoints.{name}.{key}"
            shape[dotted] = named.get(dotted) or _shown(value)
    shape |= _dotted("dataset.columns", config.dataset.columns)
    return _as_kept(shape | prompt_shape(prompts))


def prompt_shape(prompts: Mapping[str, Any]) -> dict[str, str]:
    """The digest of each prompt, by dotted config key."""
    return {f"prompts.{key}": _digest(text) for key, text in prompts.items()}


def default_shape() -> dict[str, Any]:
    """The values of keys that an older manifest lacks, because they were added later."""
    return _as_kept(_dotted("params", Params()) | _dotted("dataset.columns", Columns()))


def _dotted(prefix: str, section: Section) -> dict[str, Any]:
    return {f"{prefix}.{key}": value for key, value in structs.asdict(section).items()}


def _as_kept(shape: dict[str, Any]) -> dict[str, Any]:
    """The values as they are read back from a manifest."""
    kept: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(shape))
    return kept
