"""The model that is evaluated: a folder of weights, or an endpoint of the config, as a config of its own."""

from dataclasses import dataclass
from pathlib import Path

import xxhash
from msgspec import structs

from weak2wise.access import refusal
from weak2wise.config import Config, Dataset, EndpointSettings, Models, Params, VllmEndpoint
from weak2wise.config.section import nearest
from weak2wise.errors import ConfigError
from weak2wise.proof.evaluated import EvaluateSettings

_CHUNK = 1 << 20
_NOT_THE_MODEL = frozenset({"trained.json", "README.md"})
"""Files of a model's folder that say something about it and change no answer."""
_OF_ANOTHER = ("revision", "tokenizer_revision", "code_revision")
"""Arguments that name a state of the weak LLM's repository on the Hub."""


@dataclass(frozen=True)
class Subject:
    """What is evaluated, and with which settings.

    ``config`` is that of a run whose weak LLM is the model; its judge is the given config's. Nothing else is asked.
    """

    name: str
    config: Config

    @classmethod
    def of(cls, model: Path | str, config: Config | None, settings: EvaluateSettings) -> "Subject":
        """The model by the name of an endpoint of ``config``, else by its folder.

        A folder runs on the embedded engine, with the settings of the config's weak LLM if that does too.

        Raises:
            ConfigError: there is neither, or the folder holds no model.
        """
        endpoints = dict(config.endpoints) if config else {}
        if isinstance(model, str) and model in endpoints:
            name = model
        else:
            folder = _checked_folder(Path(model).expanduser(), endpoints)
            name = folder.name if folder.name not in endpoints else str(folder)
            endpoints[name] = _embedded(folder, config)
        if settings.max_new_tokens is not None:
            kwargs = structs.replace(endpoints[name].generation_kwargs, max_new_tokens=settings.max_new_tokens)
            endpoints[name] = structs.replace(endpoints[name], generation_kwargs=kwargs)
        return cls(name, _alone(name, endpoints, config))

    @property
    def endpoint(self) -> EndpointSettings:
        """The model's settings."""
        return self.config.endpoints[self.name]

    def shape(self) -> dict[str, object]:
        """The settings that affect its answers. Weights on this machine go by their content, wherever they are.

        Blocks: reads all of them. Raises ``ConfigError`` if they cannot be read.
        """
        shape = self.endpoint.answer_settings()
        folder = Path(self.endpoint.model)
        if isinstance(self.endpoint, VllmEndpoint) and folder.is_dir():
            shape["model"] = _content(folder)
        return shape


def _checked_folder(path: Path, endpoints: dict[str, EndpointSettings]) -> Path:
    if not path.is_dir():
        there = (
            f"no endpoint of that name in the config ({nearest(str(path), endpoints)})" if endpoints else "no config"
        )
        raise ConfigError(f"{path}: no folder with a model, and {there}. A model of the Hub needs an endpoint")
    if not (path / "config.json").is_file():
        merged = "; merge the adapter into its base model first" if (path / "adapter_config.json").exists() else ""
        raise ConfigError(f"{path}: holds no model that vLLM can load: its config.json is missing{merged}")
    return path.resolve()


def _embedded(folder: Path, config: Config | None) -> VllmEndpoint:
    weak = config.endpoints[config.models.mweak] if config else None
    if not isinstance(weak, VllmEndpoint):
        return VllmEndpoint(model_id=str(folder))
    return structs.replace(
        weak,
        model_id=str(folder),
        model_name=None,
        revision=None,
        tokenizer_kwargs={key: value for key, value in weak.tokenizer_kwargs.items() if key not in _OF_ANOTHER},
        engine_args={key: value for key, value in weak.engine_args.items() if key not in _OF_ANOTHER},
    )


def _alone(name: str, endpoints: dict[str, EndpointSettings], config: Config | None) -> Config:
    """A config in which the model has the weak LLM's role, beside the judge of the given one."""
    judge = config.models.judge if config else None
    in_use = {key: endpoints[key] for key in dict.fromkeys(filter(None, (name, judge)))}
    models = Models(mweak=name, mstrong=(name,), judge=judge)  # a config needs a strong LLM; none is asked here
    params = config.params if config else Params()
    judging = Params(
        judge_mode=params.judge_mode,
        judge_temperature=params.judge_temperature,
        scoring="exhaustive",  # nothing is raced, so a model that answers in batches is fine
    )
    if config is None:
        return Config(models=models, endpoints=in_use, params=judging)
    engine = structs.replace(config.engine, wait_for_off_peak=False)
    if not any(endpoint.cost(1, 0, 1) for endpoint in in_use.values()):
        engine = structs.replace(engine, max_cost_usd=None)
    dataset = Dataset(columns=config.dataset.columns)
    return Config(
        models=models,
        endpoints=in_use,
        params=judging,
        prompts=config.prompts,
        engine=engine,
        dataset=dataset,
    )


def _content(folder: Path) -> str:
    """A digest of the names and contents of the model's files."""
    digest = xxhash.xxh3_128()
    try:
        for path in sorted(folder.iterdir()):
            if path.name in _NOT_THE_MODEL or path.name.startswith(".") or not path.is_file():
                continue
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read: {refusal(folder, error)}") from None
    return digest.hexdigest()
