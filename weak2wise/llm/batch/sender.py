"""What the batches of one endpoint in one run have in common: where they are sent, and where their results go."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from weak2wise.config import Batch, OpenAIEndpoint
from weak2wise.llm.batch.outstanding import Outstanding
from weak2wise.llm.batch.record import BatchRecord
from weak2wise.llm.batch.remote import RemoteBatches
from weak2wise.llm.drain import Drain
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.journal import Journal


@dataclass(frozen=True)
class RunParts:
    """What belongs to the run; several runs on a host never share a batch.

    ``spawn`` runs a task for as long as the run goes on. ``ending``: batches that have come back and whose files are
    not deleted yet, by key.
    """

    work_dir: Path
    record: BatchRecord
    outstanding: Outstanding
    journal: Journal
    drain: Drain
    spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
    ending: set[str] = field(default_factory=set)


class Sender:
    """One endpoint in one run."""

    def __init__(self, endpoint: OpenAIModel, parts: RunParts) -> None:
        self.endpoint = endpoint
        self.parts = parts
        self.name = endpoint.name
        self.settings: OpenAIEndpoint = endpoint.settings
        self.batch = self.settings.batch or Batch()
        self.api = self.settings.batch_api
        self.provider = RemoteBatches(endpoint.name, self.settings, endpoint.transport)
        secrets = self.settings.secret_values(endpoint.parts.env)
        self.account = blake2b("\0".join((self.settings.base_url, *secrets)).encode(), digest_size=8).hexdigest()
        """A digest of the address and the key: a batch can be found under no others."""
