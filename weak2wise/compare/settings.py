"""The settings of a comparison: the run's own, with only the endpoints that scoring asks."""

from collections.abc import Sequence

import msgspec
from msgspec import structs

from weak2wise.config import Config, EndpointSettings, OpenAIEndpoint
from weak2wise.config.schema import Models
from weak2wise.config.shape import default_shape, result_shape
from weak2wise.errors import ConfigError
from weak2wise.outputs.work_dir import WorkDir
from workers.prompts import Prompts
from workers.rules import RULES

_SCORING = (
    *(f"params.{key}" for key in ("n_mask", "beta", "majority", "ew_normalization", "seed", "require_faithful")),
    *("params.judge_mode", "params.judge_temperature", "models.mweak", "models.judge", "prompts.pqr", "prompts.pjudge"),
)
"""The keys that shape scores, beside those of the endpoints."""


def scoring_config(config: Config, work: WorkDir) -> Config:
    """A run's config for scoring alone: no strong model, no batches.

    Raises:
        ConfigError: it is not the run's config, or the run was begun by a later version of the rules.
    """
    if work.manifest.rules > RULES:
        raise ConfigError(
            f"{work.folder}: the run was begun with rules {work.manifest.rules}, and this version of weak2wise knows "
            f"{RULES}; install the version that began it"
        )
    if changed := _changed(config, work):
        raise ConfigError(
            f"{work.folder}: was made with other settings than this config's: {', '.join(changed)}. Give the run's own "
            "config (--config), or put them back"
        )
    weak, judge = config.models.mweak, config.models.judge
    in_use = [name for name in (weak, judge) if name]
    paid = any(config.endpoints[name].cost(1, 0, 1) for name in in_use)
    return structs.replace(
        config,
        # A config needs a strong model: the weak one stands there, and is never asked as one.
        models=Models(mweak=weak, mstrong=(weak,), judge=judge),
        endpoints={name: _unbatched(config.endpoints[name]) for name in in_use},
        params=structs.replace(
            config.params, scoring="exhaustive", scorer="stepmask", min_score=None, keep=1, truncation="rule"
        ),
        engine=structs.replace(
            config.engine,
            max_cost_usd=config.engine.max_cost_usd if paid else None,
            wait_for_off_peak=False,  # it concerns strong models
        ),
    )


def _changed(config: Config, work: WorkDir) -> Sequence[str]:
    shape = result_shape(config, msgspec.to_builtins(Prompts.of(config.prompts)))
    before = {**default_shape(), **work.manifest.shape}
    names = {config.models.mweak, config.models.judge, before.get("models.mweak"), before.get("models.judge")}
    keys = [key for key in shape.keys() | before.keys() if key in _SCORING]
    keys += [
        key
        for key in shape.keys() | before.keys()
        if any(name and key.startswith(f"model_endpoints.{name}.") for name in names)
    ]
    return sorted(key for key in keys if shape.get(key) != before.get(key))


def _unbatched(endpoint: EndpointSettings) -> EndpointSettings:
    return structs.replace(endpoint, batch=None) if isinstance(endpoint, OpenAIEndpoint) else endpoint
