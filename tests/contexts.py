"""Contexts of the method's workers, for tests of one of them."""

from collections.abc import Callable

from weak2wise.config import Params, PromptTexts
from weak2wise.llm.model import Model
from weak2wise.process_pool import KillablePool
from workers.context import Context
from workers.judge import Judge
from workers.prompts import Prompts

PROMPTS = Prompts.of(PromptTexts())


def context(
    params: Params,
    weak: Model | None = None,
    judge: Judge | None = None,
    *,
    race_width: int | None = None,
    free: Callable[[], int] | None = None,
) -> Context:
    """With the default prompts, no models but the weak one, and a judge that goes by the rule."""
    return Context(
        params=params,
        prompts=PROMPTS,
        models={"weak": weak} if weak else {},
        judge=judge or Judge(prompts=PROMPTS, pool=KillablePool(), mode="rule"),
        race_width=race_width,
        free=free,
    )
