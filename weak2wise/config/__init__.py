"""The run's configuration: a frozen, typed value read once from YAML and checked before the first call."""

from weak2wise.config.load import load_config, read_config
from weak2wise.config.schema import (
    Columns,
    Config,
    Dataset,
    Endpoint,
    EngineOptions,
    GenerationKwargs,
    Lanes,
    Models,
    OpenAIEndpoint,
    Outcomes,
    Params,
    Prices,
    PromptTexts,
    VllmEndpoint,
)

__all__ = [
    "Columns",
    "Config",
    "Dataset",
    "Endpoint",
    "EngineOptions",
    "GenerationKwargs",
    "Lanes",
    "Models",
    "OpenAIEndpoint",
    "Outcomes",
    "Params",
    "Prices",
    "PromptTexts",
    "VllmEndpoint",
    "load_config",
    "read_config",
]
