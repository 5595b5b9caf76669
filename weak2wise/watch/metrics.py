"""Prometheus metrics of the run (text exposition format), computed for each request.

Every metric has the label ``run``, so that one Prometheus may watch several runs: the last two parts of the work_dir.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from weak2wise.version import __version__
from weak2wise.watch.board import Board
from weak2wise.watch.health import health_of, waits_of
from weak2wise.watch.observer import Observed
from weak2wise.watch.vitals import Disk, Vitals


def metrics(observer: Observed, disk: Disk | None) -> bytes:
    """All metrics as text; ``disk`` is ``None`` if the disk does not answer."""
    registry = CollectorRegistry()
    registry.register(_Board(observer, disk))
    return generate_latest(registry)


class _Board(Collector):
    def __init__(self, observer: Observed, disk: Disk | None) -> None:
        self._observer = observer
        self._disk = disk

    def collect(self) -> Iterator[Metric]:
        run = {"run": self._observer.vitals.name}
        for metric in self._metrics():
            metric.samples = [sample._replace(labels=run | sample.labels) for sample in metric.samples]
            yield metric

    def _metrics(self) -> Iterator[Metric]:
        board, vitals = self._observer.board(), self._observer.vitals
        healthy = health_of(vitals, board, self._observer.loop_lag(), self._disk).ok
        yield from _operation(vitals, board, self._disk, healthy=healthy)
        yield from _stages(board)
        yield self._tokens()
        yield from _endpoints(board)
        yield from _engines(board)
        yield from _whole(board)
        took = HistogramMetricFamily(
            "weak2wise_stage_seconds", "Seconds a record spent in a stage's worker.", labels=["stage"]
        )
        for stage in self._observer.stages:
            took.add_metric([stage.name], list(stage.took.buckets()), stage.took.total)
        yield took
        took = HistogramMetricFamily(
            "weak2wise_call_seconds", "Seconds from a request to its whole answer.", labels=["endpoint"]
        )
        for name, model in self._observer.endpoints.items():
            took.add_metric([name], list(model.meter.took.buckets()), model.meter.took.total)
        yield took

    def _tokens(self) -> Metric:
        """From the journal, which has the tokens of embedded engines as well as those of HTTP endpoints."""
        tokens: Counter[str] = Counter()
        for (_, endpoint), spent in self._observer.spent.items():
            tokens[endpoint] += spent.prompt_tokens + spent.completion_tokens
        family = _counter("tokens", "Tokens of prompts and answers, all runs together.", "endpoint")
        for name in self._observer.endpoints:
            family.add_metric([name], tokens[name])
        return family


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"weak2wise_{name}", text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"weak2wise_{name}", text, labels=labels)


def _operation(vitals: Vitals, board: Board, disk: Disk | None, *, healthy: bool) -> Iterator[Metric]:
    """What alert rules need."""
    info = _gauge("info", "The version of weak2wise; the value is 1.", "version")
    info.add_metric([__version__], 1)
    waiting = _gauge("waiting", "1 if the run waits for a batch, off-peak prices or an endpoint that is down.", "kind")
    waits = waits_of(vitals, board)
    for kind in ("batch", "off_peak", "outage"):
        waiting.add_metric([kind], kind in waits)
    yield from (info, waiting)
    figures: list[tuple[str, str, float | None]] = [
        ("healthy", "1 if /healthz says that the run is well.", healthy),
        ("ended", "1 if the run is over.", board.ending is not None),
        ("seconds_without_progress", "Seconds since anything was answered or got on.", vitals.quiet),
        ("budget_usd", "The cap engine.max_cost_usd, in US dollars; absent without one.", vitals.budget.max_usd),
        ("budget_spent_usd", "US dollars that count for the cap, all runs together.", vitals.budget.spent),
        ("disk_free_bytes", "Free bytes on the disk of the work_dir.", disk.free if disk else None),
        ("disk_size_bytes", "Bytes of the disk of the work_dir.", disk.size if disk else None),
    ]
    for name, text, value in figures:
        gauge = _gauge(name, text)
        if value is not None:
            gauge.add_metric([], value)
        yield gauge


def _stages(board: Board) -> Iterator[Metric]:
    rows = _gauge("rows", "Rows by the stage that ended them or passed them on, all runs together.", "stage", "outcome")
    busy = _gauge("stage_in_flight", "Records that a stage is working on.", "stage")
    lanes = _gauge("stage_lanes", "Records a stage may work on at once.", "stage")
    queue = _gauge("stage_queue", "Records waiting in a stage's queue.", "stage")
    for stage in board.stages:
        for outcome in ("done", "dropped", "failed"):
            rows.add_metric([stage.name, outcome], getattr(stage, outcome))
        busy.add_metric([stage.name], stage.busy)
        lanes.add_metric([stage.name], stage.lanes)
        queue.add_metric([stage.name], stage.waiting)
    yield from (rows, busy, lanes, queue)


def _endpoints(board: Board) -> Iterator[Metric]:
    sent = _counter("requests", "Requests sent in this process.", "endpoint")
    answered = _counter("answers", "Answers received in this process.", "endpoint")
    faults = _counter("faults", "Requests without a usable answer, by kind of fault.", "endpoint", "kind")
    flight = _gauge("requests_in_flight", "Requests in flight.", "endpoint")
    limit = _gauge("requests_limit", "Requests that may be in flight now.", "endpoint")
    cost = _counter("cost_usd", "US dollars, all runs together.", "endpoint")
    for e in board.endpoints:
        sent.add_metric([e.name], e.sent)
        answered.add_metric([e.name], e.answered)
        for kind, count in e.faults.items():
            faults.add_metric([e.name, kind], count)
        flight.add_metric([e.name], e.in_flight)
        limit.add_metric([e.name], e.limit)
        cost.add_metric([e.name], e.cost_usd)
    yield from (sent, answered, faults, flight, limit, cost)


def _engines(board: Board) -> Iterator[Metric]:
    figures: list[tuple[str, str, str]] = [
        ("engine_running", "Attempts inside the embedded engine.", "running"),
        ("engine_waiting", "Attempts waiting outside it.", "waiting"),
        ("engine_tokens_per_second", "Tokens generated a second, over the last minute.", "tokens_per_second"),
        ("engine_cached_share", "Share of prompt tokens that came from the prefix cache.", "cached"),
    ]
    for name, text, field in figures:
        family = _gauge(name, text, "endpoint")
        for engine in board.engines:
            family.add_metric([engine.name], getattr(engine, field))
        yield family


def _whole(board: Board) -> Iterator[Metric]:
    for name, text, values in (
        ("verdicts", "Verdicts in this process, by what decided them.", board.verdicts),
        ("bits", "Step-Mask bits in this process: asked, spared, asked but not needed (in_vain).", board.bits),
    ):
        counter = _counter(name, text, "kind")
        for kind, count in values.items():
            counter.add_metric([kind], count)
        yield counter
    gauges: list[tuple[str, str, Any]] = [
        ("questions", "Questions in the input.", board.rows),
        ("questions_ended", "Questions that need no more work, all runs together.", board.ended),
        ("loop_lag_seconds", "How late the event loop last woke up.", board.loop_lag),
    ]
    for name, text, value in gauges:
        gauge = _gauge(name, text)
        if value is not None:
            gauge.add_metric([], value)
        yield gauge
