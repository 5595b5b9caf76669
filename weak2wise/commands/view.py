"""``view``: the pages of runs from their files, also long after they have ended."""

import asyncio
from pathlib import Path
from typing import Annotated

import cyclopts
import uvloop

from weak2wise.commands.say import INTERRUPTED, report_errors, say
from weak2wise.commands.signals import until_signalled
from weak2wise.errors import ConfigError
from weak2wise.llm.drain import Drain
from weak2wise.telemetry.terminal import can_be_drawn_on
from weak2wise.watch.address import Address
from weak2wise.watch.view import viewed


@report_errors
def view(
    *work_dirs: Path,
    port: int = 8010,
    host: str = "127.0.0.1",
    allow_host: Annotated[list[str] | None, cyclopts.Parameter(negative="")] = None,
) -> int:
    """Show runs on a page in the browser, whether they are finished, stopped or running. Nothing in them is changed.

    One run has the page that it has while it runs. Several have an overview, and any two of them can be compared:
    settings, scores, agreement, cost. It ends with Ctrl-C.

    Args:
        work_dirs: The work_dirs of the runs.
        port: The port of the page; 0 takes a free one.
        host: The address to serve on; one that other machines can reach needs a token of yours (W2W_PAGE_TOKEN).
        allow_host: The name by which a proxy asks for the page. May be given several times.
    """
    if not work_dirs:
        raise ConfigError("view: expected the work_dir of a run, or of several: weak2wise view data/work")
    different = list(dict.fromkeys(folder.resolve() for folder in work_dirs))
    address = Address.of(f"[{host}]:{port}", allow_host or (), "--port")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_signalled(_serve(different, address), Drain()))
    return INTERRUPTED


async def _serve(folders: list[Path], address: Address) -> None:
    async with viewed(folders, address, show_token=can_be_drawn_on()) as url:
        say(f"The page: {url}")
        for hint in address.hints(url):
            say(hint)
        await asyncio.get_running_loop().create_future()
