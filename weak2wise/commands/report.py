"""``report``: write one HTML file that shows a run."""

from pathlib import Path

from weak2wise.commands.say import report_errors, say
from weak2wise.commands.where import work_dir_of
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import write_atomic
from weak2wise.outputs.report.page import page
from weak2wise.outputs.target import writing
from weak2wise.outputs.work_dir import WorkDir


@report_errors
def report(work_dir: Path | None = None, *, out: Path | None = None, config: Path = Path("config.yaml")) -> int:
    """Write a report as one HTML file: results of the questions, scores, models, tokens, failures, some traces.

    The file needs no network and holds no script. It also works while the run goes on.

    Args:
        work_dir: The run's dataset.work_dir (default: the one in the --config file).
        out: The file to write (default: report.html in the work_dir).
        config: The config file that names the work_dir, if it is not given.
    """
    work = WorkDir(work_dir_of(work_dir, config))
    path = out or work.folder / "report.html"
    if path.is_dir() or path.suffix not in {".html", ".htm"}:
        raise ConfigError(f"--out {path}: expected a file that ends in .html")
    with writing(path):
        write_atomic(path, (part.encode() for part in page(work)))
    say(f"{path}: {path.stat().st_size / 1024:,.0f} KiB; open it in any browser")
    return 0
