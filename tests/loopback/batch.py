"""One batch and its way by the clock.

It is ``validating`` for a tenth of its time, ``in_progress`` for eight, ``finalizing`` for the last.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct, field

from tests.loopback.batch_faults import BatchFaults, Rule
from tests.loopback.batch_lines import Line, Problem

_STATUSES = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")

Seconds = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]


class BatchSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How batches go.

    ``seconds`` is what a batch takes. ``processing``: until an uploaded file can be used. ``cancelling``: until a
    batch that is cancelled has ended. ``windows``: the completion windows accepted (any that can be read).
    ``max_lines`` and ``max_bytes`` are limits of a file, ``max_queued`` of lines in all batches that have not ended: a
    batch above it is accepted and then fails. ``metadata``: whether a batch's metadata is kept. ``rest_in_errors``:
    whether lines that an expired or cancelled batch did not get to are in its error file.
    """

    seconds: Seconds = 0.2
    processing: Seconds = 0.0
    cancelling: Seconds = 0.1
    windows: tuple[str, ...] = ()
    max_lines: Count = 50_000
    max_bytes: Count = 200 << 20
    max_queued: Count | None = None
    metadata: bool = True
    rest_in_errors: bool = True
    faults: BatchFaults = BatchFaults()


class Batch(Struct, kw_only=True):
    """One batch; times are seconds since the epoch, ``status`` is as of the last look."""

    id: str
    input_file_id: str
    window: str
    metadata: dict[str, str]
    created: float
    expires: float
    lines: list[Line]
    problems: list[Problem]
    fault: Rule | None
    seconds: float
    status: str = "validating"
    times: dict[str, float] = field(default_factory=dict)
    done: int = 0
    charged: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    output: list[bytes] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)
    output_file_id: str | None = None
    error_file_id: str | None = None
    cancelled: float | None = None
    ended: float | None = None

    @property
    def trouble(self) -> str | None:
        """The fault's kind."""
        return self.fault.fault if self.fault is not None else None

    @property
    def begins(self) -> float:
        """When its lines begin to be done."""
        return self.created + 0.1 * self.seconds

    def done_by(self, now: float) -> int:
        """How many lines are done by then."""
        if self.problems or now < self.begins:
            return 0
        through = (now - self.begins) / (0.8 * self.seconds) if self.seconds else 1.0
        if self.fault is not None and self.trouble in ("expired", "cancelled", "stuck"):
            through = min(through, self.fault.share)
        return round(len(self.lines) * min(1.0, through))

    def end(self, cancelling: float) -> tuple[float, str]:
        """When it ends, as things are, and in which status."""
        ends, share = self.created + self.seconds, self.fault.share if self.fault is not None else 1.0
        status = "odd_ended" if self.trouble == "odd_end" else "completed"
        if self.problems:
            ends, status = self.begins, "failed"
        elif self.trouble in ("expired", "cancelled"):
            ends, status = self.begins + 0.8 * self.seconds * share, str(self.trouble)
        elif self.trouble == "stuck":
            ends, status = self.expires, "expired"
        if self.cancelled is not None:
            ends, status = self.cancelled + cancelling, "cancelled"
        return (self.expires, "expired") if self.expires < ends else (ends, status)

    def described(self) -> dict[str, Any]:
        """The batch as the provider shows it."""
        times = {f"{status}_at": int(at) for status, at in self.times.items()}
        total = len(self.lines)
        if self.trouble == "wrong_counts":
            counts = {"total": total, "completed": total, "failed": 0}
        else:
            counts = {"total": total, "completed": self.done - self.failed, "failed": self.failed}
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "errors": {"object": "list", "data": self.problems} if self.ended and self.problems else None,
            "input_file_id": self.input_file_id,
            "completion_window": self.window,
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": int(self.created),
            "expires_at": int(self.expires),
            **dict.fromkeys(f"{status}_at" for status in _STATUSES),
            **times,
            "request_counts": counts,
            "metadata": self.metadata or None,
        }
