"""The run's configuration: frozen, typed values that check themselves when made, from YAML or in code."""

from weak2wise.config.batch import Batch
from weak2wise.config.endpoint_settings import (
    DEFAULT_NEW_TOKENS,
    EndpointSettings,
    GenerationKwargs,
    LimitSettings,
    PluginEndpoint,
)
from weak2wise.config.load import check_environment, environment_problems, load_config, load_train, load_work_dir
from weak2wise.config.notify import NotifySettings
from weak2wise.config.openai_endpoint import OpenAIEndpoint
from weak2wise.config.prices import OffPeak, Prices
from weak2wise.config.prove import HeldOut, ProveSettings
from weak2wise.config.response import RESPONSES, Response
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
from weak2wise.config.train import TrainSettings
from weak2wise.config.vllm_endpoint import TransformersEndpoint, VllmEndpoint

__all__ = [
    "DEFAULT_NEW_TOKENS",
    "RESPONSES",
    "AnswerPolicy",
    "Batch",
    "Columns",
    "Config",
    "Dataset",
    "EndpointSettings",
    "EngineOptions",
    "GenerationKwargs",
    "HeldOut",
    "Lanes",
    "LimitSettings",
    "Models",
    "NotifySettings",
    "OffPeak",
    "OpenAIEndpoint",
    "Params",
    "PluginEndpoint",
    "Prices",
    "PromptTexts",
    "ProveSettings",
    "Response",
    "TrainSettings",
    "TransformersEndpoint",
    "VllmEndpoint",
    "check_environment",
    "environment_problems",
    "input_of",
    "load_config",
    "load_train",
    "load_work_dir",
]
