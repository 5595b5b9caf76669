"""Synthesise reasoning traces that suit a weak LLM.

What is listed here is the Python API; each name is loaded when it is first used, so that importing this package costs
nothing and changes nothing in the process.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weak2wise.api import Run as Run
    from weak2wise.api import asynthesize as asynthesize
    from weak2wise.api import open_run as open_run
    from weak2wise.api import synthesize as synthesize
    from weak2wise.config import (
        AnswerPolicy as AnswerPolicy,
    )
    from weak2wise.config import (
        Columns as Columns,
    )
    from weak2wise.config import (
        Config as Config,
    )
    from weak2wise.config import (
        Dataset as Dataset,
    )
    from weak2wise.config import (
        EndpointSettings as EndpointSettings,
    )
    from weak2wise.config import (
        EngineOptions as EngineOptions,
    )
    from weak2wise.config import (
        GenerationKwargs as GenerationKwargs,
    )
    from weak2wise.config import (
        Lanes as Lanes,
    )
    from weak2wise.config import (
        LimitSettings as LimitSettings,
    )
    from weak2wise.config import (
        Models as Models,
    )
    from weak2wise.config import (
        OpenAIEndpoint as OpenAIEndpoint,
    )
    from weak2wise.config import (
        Params as Params,
    )
    from weak2wise.config import (
        PluginEndpoint as PluginEndpoint,
    )
    from weak2wise.config import (
        Prices as Prices,
    )
    from weak2wise.config import (
        PromptTexts as PromptTexts,
    )
    from weak2wise.config import (
        TransformersEndpoint as TransformersEndpoint,
    )
    from weak2wise.config import (
        VllmEndpoint as VllmEndpoint,
    )
    from weak2wise.config import (
        load_config as load_config,
    )
    from weak2wise.errors import ConfigError as ConfigError
    from weak2wise.errors import RecordError as RecordError
    from weak2wise.errors import RunStopped as RunStopped
    from weak2wise.ledger.account import Totals as Totals
    from weak2wise.ledger.outcomes import Dropped as Dropped
    from weak2wise.ledger.outcomes import Failed as Failed
    from weak2wise.llm.endpoint import (
        Endpoint as Endpoint,
    )
    from weak2wise.llm.endpoint import (
        HostParts as HostParts,
    )
    from weak2wise.llm.endpoint import (
        Inspection as Inspection,
    )
    from weak2wise.llm.endpoint import (
        Load as Load,
    )
    from weak2wise.llm.errors import (
        RateLimited as RateLimited,
    )
    from weak2wise.llm.errors import (
        Rejected as Rejected,
    )
    from weak2wise.llm.errors import (
        Transient as Transient,
    )
    from weak2wise.llm.errors import (
        Unusable as Unusable,
    )
    from weak2wise.llm.model import Completion as Completion
    from weak2wise.llm.model import Message as Message
    from weak2wise.llm.model import Prompt as Prompt
    from weak2wise.llm.model import Usage as Usage
    from weak2wise.outputs.summary import Summary as Summary
    from weak2wise.run.host import Host as Host
    from workers.records import (
        Candidate as Candidate,
    )
    from workers.records import (
        Golden as Golden,
    )
    from workers.records import (
        Question as Question,
    )
    from workers.records import (
        Score as Score,
    )
    from workers.records import (
        Scored as Scored,
    )
    from workers.records import (
        Traced as Traced,
    )
    from workers.scorers.scorer import Scorer as Scorer

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
