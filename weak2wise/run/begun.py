"""What a begun run goes on with: the default prompts of its first start, and the names of models in folders.

Another version of weak2wise may have other defaults, and another machine has its models elsewhere. Neither changes what
the run is, nor the keys under which its journal has the answers.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from weak2wise.config import Config, PromptTexts, VllmEndpoint
from weak2wise.config.shape import prompt_shape
from weak2wise.errors import ConfigError
from weak2wise.ledger.manifest import Begun, Manifest, ModelFolder
from weak2wise.run.model_folder import model_digest
from workers.prompts import DEFAULTS, FIRST_DEFAULTS, Prompts

_FOLDERS = ("model", "engine_args.tokenizer", "engine_args.hf_config_path")
"""Settings that may name a folder."""


def begun_with(config: Config, manifest: Manifest | None) -> Begun:
    """What a run with this manifest goes on with; ``None``: it begins. Blocks: looks at the models in folders.

    Raises:
        ConfigError: a model's files cannot be read.
    """
    return Begun(prompts=_prompts(config.prompts, manifest), folders=dict(_folders(config, manifest)))


def answer_settings(config: Config, endpoint: str, begun: Begun) -> dict[str, Any]:
    """The settings of an endpoint that affect its answers, as they are in the journal's keys."""
    settings = config.endpoints[endpoint].answer_settings()
    named = begun.named
    return {key: named.get(f"model_endpoints.{endpoint}.{key}", value) for key, value in settings.items()}


def _prompts(texts: PromptTexts, manifest: Manifest | None) -> dict[str, str]:
    if manifest is None:
        return {key: text for key, text in DEFAULTS.items() if not getattr(texts, key)}
    if manifest.begun.prompts:
        return manifest.begun.prompts
    first = prompt_shape(msgspec.to_builtins(Prompts.of(PromptTexts(), FIRST_DEFAULTS)))
    return {key: text for key, text in FIRST_DEFAULTS.items() if _in_shape(manifest, f"prompts.{key}", first)}


def _in_shape(manifest: Manifest, key: str, shape: dict[str, str]) -> bool:
    return bool(manifest.shape.get(key) == shape[key])


def _folders(config: Config, manifest: Manifest | None) -> Iterator[tuple[str, ModelFolder]]:
    for name in dict.fromkeys(config.roles().values()):
        endpoint = config.endpoints[name]
        if not isinstance(endpoint, VllmEndpoint):
            continue
        settings = endpoint.answer_settings()
        for setting in _FOLDERS:
            key, value = f"model_endpoints.{name}.{setting}", settings.get(setting)
            if isinstance(value, str) and Path(value).expanduser().exists():
                yield key, _folder(key, value, manifest)


def _folder(key: str, value: str, manifest: Manifest | None) -> ModelFolder:
    path = Path(value).expanduser().resolve()
    try:
        digest = model_digest(path)
    except OSError as error:
        raise ConfigError(f"{error.filename or path}: cannot be read: {error.strerror} ({key})") from None
    known = manifest.begun.folders.get(key) if manifest else None
    before = manifest.shape.get(key) if manifest else None
    if known and known.digest == digest:
        name = known.name
    elif manifest and known is None and isinstance(before, str) and Path(before).expanduser().resolve() == path:
        name = before  # an older manifest, which has the path alone
    else:
        name = f"{path.name}@{digest}"
    return ModelFolder(name=name, path=value, digest=digest)
