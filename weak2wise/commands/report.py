"""``report``: write one HTML file that shows a run, or two runs side by side."""

import re
from collections.abc import Iterator
from pathlib import Path

from weak2wise.commands.say import report_errors, say
from weak2wise.commands.where import work_dir_of
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import write_atomic
from weak2wise.ledger.outcomes import RowStatus
from weak2wise.outputs.comparison.two_runs import two_runs
from weak2wise.outputs.report.page import page
from weak2wise.outputs.side_by_side import side_by_side
from weak2wise.outputs.target import writing
from weak2wise.outputs.work_dir import WorkDir
from workers.records import Golden


@report_errors
def report(
    work_dir: Path | None = None,
    other: Path | None = None,
    *,
    out: Path | None = None,
    traces: str | None = None,
    config: Path = Path("config.yaml"),
) -> int:
    """Write a report as one HTML file: results of the questions, scores, models, cost, failures, golden traces.

    The file needs no network and holds no script. Each chart can be saved from it as SVG, its numbers as CSV. It also
    works while the run goes on. With two work_dirs it compares them: scores, the same winners, cost.

    Args:
        work_dir: The run's dataset.work_dir (default: the one in the --config file).
        other: A second run's, to compare it with the first.
        out: The file to write (default: report.html in the work_dir; of two runs side_by_side.html in the first one).
        traces: Show these golden traces alone, by rank from the best score, as in 1001-2000 (default: all, or as many
            as fit into 4 MiB, from the best to the worst).
        config: The config file that names the work_dir, if it is not given.
    """
    work = WorkDir(work_dir_of(work_dir, config))
    path = out or work.folder / ("side_by_side.html" if other else "report.html")
    if path.is_dir() or path.suffix not in {".html", ".htm"}:
        raise ConfigError(f"--out {path}: expected a file that ends in .html")
    if other is not None and traces:
        raise ConfigError("--traces is about one run; give one WORK_DIR")
    parts = _compared(work, other) if other else page(work, _ranks(work, traces))
    with writing(path):
        write_atomic(path, (part.encode() for part in parts))
    say(f"{path}: {path.stat().st_size / 1024:,.0f} KiB; open it in any browser")
    return 0


def _compared(work: WorkDir, other: Path) -> Iterator[str]:
    if other.resolve() == work.folder.resolve():
        raise ConfigError(f"{other}: is the same run twice; give two work_dirs")
    return two_runs(side_by_side(work, WorkDir(other)))


def _ranks(work: WorkDir, traces: str | None) -> range | None:
    """The ranks that ``--traces`` names, from 0. Raises ``ConfigError``."""
    if traces is None:
        return None
    found = re.fullmatch(r"([0-9]{1,12})-([0-9]{1,12})", traces)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigError(f"--traces {traces}: expected two ranks, such as 1001-2000")
    known = work.made(Golden).tally[RowStatus.DONE]
    if int(found[1]) > known:
        raise ConfigError(f"--traces {traces}: the run has {known:,} golden traces")
    return range(int(found[1]) - 1, int(found[2]))
