"""Synthesise reasoning traces that suit a weak LLM.

What is listed here is the Python API; each name is loaded when it is first used, so that importing this package costs
nothing and changes nothing in the process.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weak2wise.api import Run, asynthesize, open_run, synthesize
    from weak2wise.config import (
        Columns,
        Config,
        Dataset,
        EndpointSettings,
        EngineOptions,
        GenerationKwargs,
        Models,
        OpenAIEndpoint,
        Params,
        Prices,
        PromptTexts,
        TransformersEndpoint,
        VllmEndpoint,
        load_config,
    )
    from weak2wise.errors import ConfigError, RecordError, RunStopped
    from weak2wise.run.host import Host

__version__ = "0.1.0"

_HOMES = {
    "weak2wise.api": ("Run", "asynthesize", "open_run", "synthesize"),
    "weak2wise.config": (
        "Columns",
        "Config",
        "Dataset",
        "EndpointSettings",
        "EngineOptions",
        "GenerationKwargs",
        "Models",
        "OpenAIEndpoint",
        "Params",
        "Prices",
        "PromptTexts",
        "TransformersEndpoint",
        "VllmEndpoint",
        "load_config",
    ),
    "weak2wise.errors": ("ConfigError", "RecordError", "RunStopped"),
    "weak2wise.run.host": ("Host",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [  # noqa: PLE0604 - names, all of them
    "__version__",
    *_HOME,
]


def __getattr__(name: str) -> Any:
    """Load a name of the API when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
