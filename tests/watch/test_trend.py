"""The trend of a run from its log: what the charts show."""

from datetime import UTC, datetime
from pathlib import Path

from tests.watch.looking import begun, note
from weak2wise.watch.trend import MOST_POINTS, TrendReader

EVER = datetime(2025, 1, 1, tzinfo=UTC)


def reader(log: Path, since: datetime = EVER) -> TrendReader:
    return TrendReader(log, since)


def progress(log: Path, seconds: float, ended: int, **facts: object) -> None:
    note(log, seconds, "progress", ended=ended, filter=f"{ended}+3", generate="1+1", **facts)


def test_time_counts_while_the_run_runs_and_each_start_is_marked(tmp_path: Path) -> None:
    """A night between two starts is no part of the trend."""
    log = begun(tmp_path)
    progress(log, 10, 4, cost_usd=0.5, a_per_minute=6.0, b_per_minute=2.0)
    note(log, 15, "run.interrupted")
    note(log, 40_000, "run.started", steps=["filter", "generate"])
    progress(log, 40_010, 9, cost_usd=0.7, local_tokens_per_second=30.5)
    totals = {"rows": 12, "emitted": 7, "dropped": {"weak_solves": 3}, "failed": {}, "unfinished": 2}
    note(log, 40_012, "run.finished", totals=totals)
    trend = reader(log).read()
    assert trend.steps == ("filter", "generate")
    assert [seconds for seconds, _ in trend.starts] == [0.0, 15.0]
    assert [(p.seconds, p.start, p.ended, p.cost_usd) for p in trend.points] == [
        (0.0, 0, 0, 0.0),
        (10.0, 0, 4, 0.5),
        (15.0, 1, 4, 0.5),
        (25.0, 1, 9, 0.7),
        (27.0, 1, 10, 0.7),
    ]
    assert trend.points[-1].done == (), "no rate falls to nothing because the log does not say it"
    assert [(p.requests, p.tokens, p.done) for p in trend.points[1:4:2]] == [(8.0, 0.0, (4, 1)), (0.0, 30.5, (9, 1))]


def test_only_whole_new_lines_are_read_and_nothing_new_is_the_same_object(tmp_path: Path) -> None:
    log = begun(tmp_path)
    found = reader(log)
    first = found.read()
    assert found.read() is first
    whole = log.read_bytes()
    progress(log, 10, 4)
    torn = log.read_bytes()[len(whole) :]
    log.write_bytes(whole + torn[:-20])
    assert found.read() is first
    log.write_bytes(whole + torn)
    assert [point.ended for point in found.read().points] == [0, 4]


def test_a_log_that_was_begun_anew_is_read_from_its_beginning_and_the_points_stay(tmp_path: Path) -> None:
    log = begun(tmp_path)
    progress(log, 10, 4)
    found = reader(log)
    found.read()
    progress(log, 20, 6)
    log.rename(tmp_path / "run.log.1")
    note(log, 0, "run.started", steps=["filter", "generate"])
    progress(log, 30, 8)
    assert [point.ended for point in found.read().points] == [0, 4, 6, 8]
    assert len(found.trend.starts) == 1, "its beginning is repeated"
    (tmp_path / "run.log.1").rename(tmp_path / "run.log.2")
    log.rename(tmp_path / "run.log.1")
    note(log, 0, "run.started", steps=["filter", "generate"])
    progress(log, 40, 9)
    assert [point.ended for point in found.read().points] == [0, 4, 6, 8, 9]
    assert reader(log).read().points == found.trend.points, "who comes later reads all of its files"


def test_an_earlier_run_of_the_work_dir_is_left_out(tmp_path: Path) -> None:
    """``--resume never`` sets its ledgers aside, and goes on in the same log."""
    log = begun(tmp_path)
    progress(log, 10, 400)
    note(log, 100, "run.started", steps=["filter"])
    progress(log, 110, 3)
    trend = reader(log, datetime(2026, 1, 1, 0, 1, tzinfo=UTC)).read()
    assert [(point.seconds, point.ended) for point in trend.points] == [(0.0, 0), (10.0, 3)]


def test_a_week_has_no_more_points_than_an_hour_and_keeps_its_ends_and_starts(tmp_path: Path) -> None:
    log = begun(tmp_path)
    for number in range(1, 5000):
        progress(log, 10 * number, number)
        if number == 2500:
            note(log, 10 * number + 1, "run.started", steps=["filter", "generate"])
    trend = reader(log).read()
    assert MOST_POINTS / 2 <= len(trend.points) <= MOST_POINTS + 1
    assert trend.points[0].seconds == 0
    assert [point.ended for point in trend.points] == sorted(point.ended for point in trend.points)
    assert trend.points[-1].ended >= 4990
    assert sum(a.start != b.start for a, b in zip(trend.points, trend.points[1:], strict=False)) == 1
    assert [seconds for seconds, _ in trend.starts] == [0.0, 25_000.0]


def test_lines_that_are_not_as_they_should_be_are_passed_over(tmp_path: Path) -> None:
    log = begun(tmp_path)
    with log.open("a") as file:
        file.write('{"event": "progress", "timestamp": "2026-01-01T00:00:05Z", "ended": "many"}\nno JSON\n')
        file.write('{"event": "progress", "timestamp": "yesterday", "ended": 3}\n')
    progress(log, 10, 4)
    assert [point.ended for point in reader(log).read().points] == [0, 4]


def test_a_run_without_a_log_has_no_trend(tmp_path: Path) -> None:
    assert reader(tmp_path / "run.log").read().points == []
