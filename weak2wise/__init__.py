"""Synthesise reasoning traces that suit a weak LLM.

What is listed here is the Python API; each name is loaded when it is first used, so that importing this package costs
nothing and changes nothing in the process.
"""

TYPE_CHECKING = False  # as typing's, without loading it: until the program runs, Ctrl-C ends in a traceback
if TYPE_CHECKING:  # "as" exports a name to type checkers, which cannot read __all__ here
    from typing import Any

    from weak2wise.api import (
        Run as Run,
        aevaluate as aevaluate,
        asynthesize as asynthesize,
        evaluate as evaluate,
        fork as fork,
        open_run as open_run,
        synthesize as synthesize,
    )
    from weak2wise.config import (
        AnswerPolicy as AnswerPolicy,
        Columns as Columns,
        Config as Config,
        Dataset as Dataset,
        EndpointSettings as EndpointSettings,
        EngineOptions as EngineOptions,
        GenerationKwargs as GenerationKwargs,
        Lanes as Lanes,
        LimitSettings as LimitSettings,
        Models as Models,
        OffPeak as OffPeak,
        OpenAIEndpoint as OpenAIEndpoint,
        Params as Params,
        PluginEndpoint as PluginEndpoint,
        Prices as Prices,
        PromptTexts as PromptTexts,
        TransformersEndpoint as TransformersEndpoint,
        VllmEndpoint as VllmEndpoint,
        load_config as load_config,
    )
    from weak2wise.errors import ConfigError as ConfigError, RecordError as RecordError, RunStopped as RunStopped
    from weak2wise.ledger.account import Totals as Totals
    from weak2wise.ledger.outcomes import Dropped as Dropped, Failed as Failed
    from weak2wise.llm.endpoint import (
        Endpoint as Endpoint,
        HostParts as HostParts,
        Inspection as Inspection,
        Load as Load,
    )
    from weak2wise.llm.errors import (
        RateLimited as RateLimited,
        Rejected as Rejected,
        Transient as Transient,
        Unusable as Unusable,
    )
    from weak2wise.llm.model import (
        Completion as Completion,
        Continuation as Continuation,
        Logprobs as Logprobs,
        Message as Message,
        Prompt as Prompt,
        Usage as Usage,
    )
    from weak2wise.outputs.summary import Summary as Summary
    from weak2wise.proof.evaluated import (
        Evaluated as Evaluated,
        EvaluateSettings as EvaluateSettings,
        QuestionResult as QuestionResult,
    )
    from weak2wise.run.host import Host as Host
    from weak2wise.statistics import Estimate as Estimate
    from workers.records import (
        Candidate as Candidate,
        Golden as Golden,
        Question as Question,
        Score as Score,
        Scored as Scored,
        Traced as Traced,
    )
    from workers.scorers.scorer import Scorer as Scorer

    __version__: str


_HOMES = {
    "weak2wise.api": ("Run", "aevaluate", "asynthesize", "evaluate", "fork", "open_run", "synthesize"),
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
        "OffPeak",
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
    "weak2wise.llm.model": ("Completion", "Continuation", "Logprobs", "Message", "Prompt", "Usage"),
    "weak2wise.outputs.summary": ("Summary",),
    "weak2wise.proof.evaluated": ("EvaluateSettings", "Evaluated", "QuestionResult"),
    "weak2wise.run.host": ("Host",),
    "weak2wise.statistics": ("Estimate",),
    "weak2wise.version": ("__version__",),
    "workers.records": ("Candidate", "Golden", "Question", "Score", "Scored", "Traced"),
    "workers.scorers.scorer": ("Scorer",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [*_HOME]  # noqa: PLE0604 - names, all of them


def __getattr__(name: str) -> "Any":
    """Load a name of the API when it is first used."""
    from importlib import import_module  # noqa: PLC0415 - for the same reason

    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
