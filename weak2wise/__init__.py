"""Synthesise reasoning traces that suit a weak LLM.

What is listed here is the Python API; each name is loaded when it is first used, so that importing this package costs
nothing and changes nothing in the process.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weak2wise.api import Run, asynthesize, open_run, synthesize
    from weak2wise.config import (
        AnswerPolicy,
        Columns,
        Config,
        Dataset,
        EndpointSettings,
        EngineOptions,
        GenerationKwargs,
        Lanes,
        LimitSettings,
        Models,
        OpenAIEndpoint,
        Params,
        PluginEndpoint,
        Prices,
        PromptTexts,
        TransformersEndpoint,
        VllmEndpoint,
        load_config,
    )
    from weak2wise.errors import ConfigError, RecordError, RunStopped
    from weak2wise.ledger.account import Totals
    from weak2wise.ledger.outcomes import Dropped, Failed
    from weak2wise.llm.endpoint import Endpoint, HostParts, Inspection, Load
    from weak2wise.llm.errors import RateLimited, Rejected, Transient, Unusable
    from weak2wise.llm.model import Completion, Message, Prompt, Usage
    from weak2wise.outputs.summary import Summary
    from weak2wise.run.host import Host
    from workers.records import Candidate, Golden, Question, Score, Scored, Traced
    from workers.scorers.scorer import Scorer

__version__ = "0.1.0"

_HOMES = {
    "weak2wise.api": ("Run", "asynthesize", "open_run", "synthesize"),
    "weak2wise.config": (
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
        "OpenAIEndpoint",
        "Params",
        "PluginEndpoint",
        "Prices",
        "PromptTexts",
        "TransformersEndpoint",
        "VllmEndpoint",
        "load_config",
    ),
    "weak2wise.errors": ("ConfigError", "RecordError", "RunStopped"),
    "weak2wise.ledger.account": ("Totals",),
    "weak2wise.ledger.outcomes": ("Dropped", "Failed"),
    "weak2wise.llm.endpoint": ("Endpoint", "HostParts", "Inspection", "Load"),
    "weak2wise.llm.errors": ("RateLimited", "Rejected", "Transient", "Unusable"),
    "weak2wise.llm.model": ("Completion", "Message", "Prompt", "Usage"),
    "weak2wise.outputs.summary": ("Summary",),
    "weak2wise.run.host": ("Host",),
    "workers.records": ("Candidate", "Golden", "Question", "Score", "Scored", "Traced"),
    "workers.scorers.scorer": ("Scorer",),
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
