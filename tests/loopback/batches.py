"""A provider's batches: files and batches that go their way by the clock, and the count of what was charged.

Nothing here knows HTTP. Nothing runs in the background either: each look brings everything up to date first, so what is
seen depends on the time alone, and every action is whole. The lines of a batch are done one after another in an order
of their own, and each is charged when it is done and succeeds.
"""

import re
from collections.abc import Callable
from typing import Literal

from msgspec import Struct, field

from tests.loopback.answers import Answer, Request, unit
from tests.loopback.batch import Batch, BatchSettings
from tests.loopback.batch_faults import BatchFaultsPlayed, Rule
from tests.loopback.batch_lines import Line, Problem, left_over, read_lines, result_of

_WINDOW = re.compile(r"(\d+(?:\.\d+)?)(ms|s|min|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NO_ROOM = (
    "Enqueued token limit reached for {} in organization org-loopback. Please try again once some in_progress batches "
    "have been completed."
)


class StoredFile(Struct, kw_only=True):
    """A file that a client or a batch made."""

    id: str
    purpose: str
    name: str
    content: bytes
    created: float
    ready: float
    fetched: bool = False


class LineCount(Struct):
    """One custom_id: in how many batches, how often charged, and how often what was charged is gone unfetched."""

    asked: int = 0
    charged: int = 0
    gone: int = 0


class BatchCount(Struct, kw_only=True):
    """One batch, as tests count it."""

    id: str
    input_file_id: str
    status: str
    lines: int
    charged: int
    metadata: dict[str, str]
    fault: str | None


class BatchStats(Struct, kw_only=True):
    """Counts: by custom_id, by the digest of a body how often it was charged, by batch, by operation and its faults."""

    lines: dict[str, LineCount] = field(default_factory=dict)
    bodies: dict[str, int] = field(default_factory=dict)
    batches: list[BatchCount] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    files: int = 0
    """Files that are there now."""

    @property
    def charged(self) -> int:
        """Lines charged, all together."""
        return sum(line.charged for line in self.lines.values())


class Refused(Exception):
    """The provider refuses: an HTTP status and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Batches:
    """All files and batches of a server.

    Args:
        settings: how batches go.
        answer: what the models say.
        clock: seconds since the epoch.
    """

    def __init__(
        self, settings: BatchSettings, answer: Callable[[Request], Answer], clock: Callable[[], float]
    ) -> None:
        self.settings = settings
        self.faults = BatchFaultsPlayed(settings.faults)
        self.files: dict[str, StoredFile] = {}
        self.batches: dict[str, Batch] = {}
        self._stats = BatchStats()
        self._answer = answer
        self._clock = clock
        self._made = 0

    def count(self, name: str, fault: str | None = None) -> None:
        """Count a request, or a fault of one, of a batch or of a line."""
        counts, key = (self._stats.requests, name) if fault is None else (self._stats.faults, f"{name}:{fault}")
        counts[key] = counts.get(key, 0) + 1

    def stats(self) -> BatchStats:
        """The counts as of now."""
        self._look()
        self._stats.files = len(self.files)
        self._stats.batches = [
            BatchCount(
                id=batch.id,
                input_file_id=batch.input_file_id,
                status=batch.status,
                lines=len(batch.lines),
                charged=sum(batch.charged.values()),
                metadata=batch.metadata,
                fault=batch.trouble,
            )
            for batch in self.batches.values()
        ]
        return self._stats

    def upload(self, purpose: str, name: str, content: bytes) -> StoredFile:
        """Keep a file. Raises ``Refused``."""
        if purpose not in ("batch", "batch-api"):
            raise Refused(400, f"{purpose!r} is not one of ['batch']: purpose")
        if len(content) > self.settings.max_bytes:
            raise Refused(413, f"The file is larger than {self.settings.max_bytes} bytes.")
        now = self._clock()
        return self._store(purpose, name, content, created=now, ready=now + self.settings.processing)

    def file(self, id_: str) -> StoredFile:
        """A file. Raises ``Refused``."""
        self._look()
        if (found := self.files.get(id_)) is None:
            raise Refused(404, f"No such File object: {id_}")
        return found

    def fetch(self, id_: str) -> StoredFile:
        """A file that its content is asked of. Raises ``Refused``."""
        file = self.file(id_)
        file.fetched = True
        return file

    def ready(self, file: StoredFile) -> bool:
        """Whether the file can be used."""
        return self._clock() >= file.ready

    def delete(self, id_: str) -> None:
        """Delete a file. Raises ``Refused``."""
        del self.files[self.file(id_).id]

    def create(self, input_file_id: str, window: str, metadata: dict[str, str]) -> Batch:
        """Accept a batch. Raises ``Refused``."""
        try:
            file = self.file(input_file_id)
        except Refused as refused:
            raise Refused(400, str(refused)) from None
        if not self.ready(file):
            raise Refused(400, f"File {file.id} is not ready: its status is pending.")
        lasts = _WINDOW.fullmatch(window)
        if lasts is None or (self.settings.windows and window not in self.settings.windows):
            raise Refused(400, f"Invalid value for 'completion_window': {window!r}")
        if len(metadata) > 16 or any(len(key) > 64 or len(value) > 512 for key, value in metadata.items()):
            raise Refused(400, "Invalid 'metadata': at most 16 pairs of 64 and 512 characters.")
        lines, problems = read_lines(file.content, most=self.settings.max_lines)
        fault = self.faults.choose("batch", file.content, str(len(self.batches)))
        if fault is not None:
            self.count("batch", fault.fault)
        problems = problems or self._problems_of(lines, fault)
        now = self._clock()
        batch = Batch(
            id=self._new_id("batch"),
            input_file_id=file.id,
            window=window,
            metadata=metadata if self.settings.metadata else {},
            created=now,
            expires=now + float(lasts[1]) * _UNITS[lasts[2]],
            lines=sorted(lines, key=lambda line: unit("order", str(self.settings.faults.seed), line.custom_id)),
            problems=problems,
            fault=fault,
            seconds=self.settings.seconds,
        )
        for line in lines if not problems else ():
            self._stats.lines.setdefault(line.custom_id, LineCount()).asked += 1
        self.batches[batch.id] = batch
        return batch

    def batch(self, id_: str) -> Batch:
        """A batch, up to date. Raises ``Refused``."""
        self._look()
        if (found := self.batches.get(id_)) is None:
            raise Refused(404, f"No batch found with id '{id_}'.")
        return found

    def cancel(self, id_: str) -> Batch:
        """Begin to cancel a batch. Raises ``Refused``."""
        batch = self.batch(id_)
        if batch.ended is not None:
            raise Refused(409, f"Cannot cancel a batch with status '{batch.status}'.")
        if batch.cancelled is None:
            batch.cancelled = self._clock()
        return self.batch(id_)

    def listed(self) -> list[Batch]:
        """What the listing shows, newest first."""
        self._look()
        now = self._clock()
        late = {
            id_
            for id_, batch in self.batches.items()
            if batch.fault is not None
            and batch.trouble == "listed_late"
            and now < batch.created + batch.fault.seconds_or(1.0)
        }
        return [batch for id_, batch in reversed(self.batches.items()) if id_ not in late]

    def _problems_of(self, lines: list[Line], fault: Rule | None) -> list[Problem]:
        """Why a file without fault is refused all the same."""
        model = lines[0].request.model
        queued = sum(len(other.lines) for other in self.batches.values() if other.ended is None)
        match fault.fault if fault is not None else None:
            case "failed":
                return [Problem("server_error", "The batch could not be processed. Please try again.")]
            case "failed_line":
                return [Problem("invalid_request", "This line cannot be carried out.", 1, "body")]
            case "token_limit":
                return [Problem("token_limit_exceeded", _NO_ROOM.format(model))]
        if self.settings.max_queued is not None and queued + len(lines) > self.settings.max_queued:
            return [Problem("token_limit_exceeded", _NO_ROOM.format(model))]
        return []

    def _store(self, purpose: str, name: str, content: bytes, *, created: float, ready: float) -> StoredFile:
        file = StoredFile(
            id=self._new_id("file"), purpose=purpose, name=name, content=content, created=created, ready=ready
        )
        self.files[file.id] = file
        return file

    def _new_id(self, kind: Literal["file", "batch"]) -> str:
        self._made += 1
        return f"{kind}{'-' if kind == 'file' else '_'}{self._made:06}"

    def _look(self) -> None:
        """Bring every batch up to date."""
        now = self._clock()
        for batch in self.batches.values():
            if batch.ended is None:
                self._advance(batch, now)
            if batch.ended is not None:
                self._after_the_end(batch, now)

    def _advance(self, batch: Batch, now: float) -> None:
        ends, final = batch.end(self.settings.cancelling)
        until = min(now, ends, *([] if batch.cancelled is None else [batch.cancelled]))
        for line in batch.lines[batch.done : batch.done_by(until)]:
            self._carry_out(batch, line)
            batch.done += 1
        if now >= ends:
            self._end(batch, ends, final)
        elif batch.cancelled is not None:
            self._enter(batch, "cancelling", batch.cancelled)
        elif not batch.problems and now >= batch.begins:
            self._enter(batch, "in_progress", batch.begins)
            if now >= batch.begins + 0.8 * batch.seconds and batch.trouble != "stuck":
                self._enter(batch, "finalizing", batch.begins + 0.8 * batch.seconds)
            if batch.trouble == "odd_status":
                batch.status = "scheduling" if now < batch.created + 0.5 * batch.seconds else "packing"

    def _enter(self, batch: Batch, status: str, at: float) -> None:
        batch.status = status
        batch.times.setdefault(status, at)

    def _carry_out(self, batch: Batch, line: Line) -> None:
        count = self._stats.lines[line.custom_id]
        fault = self.faults.choose("line", line.text, line.custom_id, str(count.asked))
        kind = fault.fault if fault is not None else None
        if kind is not None:
            self.count("line", kind)
        if batch.trouble in ("all_failed", "no_credit"):
            kind = "500" if batch.trouble == "all_failed" else "no_credit"
        result = result_of(line, kind, self._answer)
        batch.output += result.output
        batch.errors += result.errors
        if result.charged is None:
            batch.failed += 1
            return
        count.charged += 1
        batch.charged[line.custom_id] = batch.charged.get(line.custom_id, 0) + 1
        self._stats.bodies[line.digest] = self._stats.bodies.get(line.digest, 0) + 1
        self._stats.prompt_tokens += result.charged.prompt_tokens
        self._stats.completion_tokens += result.charged.completion_tokens

    def _end(self, batch: Batch, at: float, status: str) -> None:
        self._enter(batch, status, at)
        batch.ended = at
        if status in ("expired", "cancelled") and self.settings.rest_in_errors:
            word: Literal["expired", "cancelled"] = "expired" if status == "expired" else "cancelled"
            batch.errors += [left_over(line, word) for line in batch.lines[batch.done :]]

    def _after_the_end(self, batch: Batch, now: float) -> None:
        """Make the files when their time comes, and delete them when theirs does."""
        assert batch.ended is not None
        late = batch.fault.seconds_or(1.0) if batch.fault is not None else 0.0
        if now >= batch.ended + (late if batch.trouble == "files_late" else 0.0):
            if batch.output:
                batch.output_file_id = self._written(batch, "output", batch.output)
            if batch.errors:
                batch.error_file_id = self._written(batch, "error", batch.errors)
            batch.output, batch.errors = [], []
        if batch.trouble == "results_gone" and now >= batch.ended + late:
            gone = self.files.pop(batch.output_file_id or "", None)
            self.files.pop(batch.error_file_id or "", None)
            if gone is not None and not gone.fetched:
                for custom_id, charged in batch.charged.items():
                    self._stats.lines[custom_id].gone += charged

    def _written(self, batch: Batch, kind: str, lines: list[bytes]) -> str:
        assert batch.ended is not None
        name, content = f"{batch.id}_{kind}.jsonl", b"".join(lines)
        return self._store("batch_output", name, content, created=batch.ended, ready=batch.ended).id
