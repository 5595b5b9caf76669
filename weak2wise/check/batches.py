"""What ``check`` says of an endpoint whose calls are sent in batches: that its listing can be read, price and time."""

from collections.abc import Iterator

from weak2wise.config import Config, OpenAIEndpoint
from weak2wise.errors import RecordError, RunStopped
from weak2wise.llm.batch.remote import RemoteBatches
from weak2wise.llm.endpoint import Endpoint
from weak2wise.llm.http.openai import OpenAIModel


async def batch_said(endpoint: Endpoint) -> tuple[bool, str]:
    """Whether its batches can be listed, and what to expect of them; nothing is said of one that has none."""
    if not isinstance(endpoint, OpenAIModel) or (batch := endpoint.settings.batch) is None:
        return True, ""
    try:
        await RemoteBatches(endpoint.name, endpoint.settings, endpoint.transport).page(limit=1)
    except (RecordError, RunStopped) as error:
        said = str(error).removeprefix(f"{endpoint.name}: ")
        return False, f"its batches cannot be listed, so none could be found again after a crash: {said}"
    factor = endpoint.settings.batch_api.factor
    price = f"{factor:.0%} of the price" if factor < 1 else "at the prices that are set"
    return True, f"batches can be listed: {price}, answers within {batch.window} of sending"


def batch_notes(name: str, config: Config, settings: OpenAIEndpoint) -> Iterator[str]:
    """Warnings about one endpoint's batches, in words."""
    if settings.batch is None:
        return
    for fact in settings.batch_api.unverified:
        yield f"not verified, of its batches: {fact}"
    retried = [
        case
        for case in ("length", "empty", "content_filter", "no_final_answer")
        if getattr(config.params.outcomes, case) == "retry"
    ]
    if retried and name in config.models.mstrong:
        yield f"an answer that is asked for again waits for another batch (params.outcomes: {', '.join(retried)})"
