"""The run's configuration: frozen, typed values that check themselves when made, from YAML or in code."""

from weak2wise.config.endpoints import (
    DEFAULT_NEW_TOKENS,
    EndpointSettings,
    GenerationKwargs,
    LimitSettings,
    OpenAIEndpoint,
    PluginEndpoint,
    TransformersEndpoint,
    VllmEndpoint,
)
from weak2wise.config.load import check_environment, environment_problems, load_config, load_work_dir
from weak2wise.config.prices import OffPeak, Prices
from weak2wise.config.schema import (
    AnswerPolicy,
    Columns,
    Config,
    Dataset,
    EngineOptions,
    Lanes,
    Models,
    Params,
    PromptTexts,
    input_of,
)

__all__ = [
    "DEFAULT_NEW_TOKENS",
    "AnswerPolicy",
    "Columns",
    "Config",
    "Dataset",
    "EndpointSettings",
    "EngineOptions",
    "GenerationKwargs",
    "Lanes",
    "LimitSettings",
    "Models",
    "OffPeak",
    "OpenAIEndpoint",
    "Params",
    "PluginEndpoint",
    "Prices",
    "PromptTexts",
    "TransformersEndpoint",
    "VllmEndpoint",
    "check_environment",
    "environment_problems",
    "input_of",
    "load_config",
    "load_work_dir",
]
