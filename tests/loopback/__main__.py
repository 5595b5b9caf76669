"""``python -m tests.loopback``: the server as a process of its own; see ``--help``.

It ends on SIGTERM and SIGINT. The port file appears, whole, once the server listens.
"""

import argparse
import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import msgspec

from tests.loopback.batch import BatchSettings
from tests.loopback.faults import read_script
from tests.loopback.server import Settings, serve


def read_batches(text: str) -> BatchSettings:
    """Read how batches go. Raises ``msgspec.ValidationError``."""
    return msgspec.json.decode(text, type=BatchSettings)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.loopback", description="A loopback OpenAI server.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="where to write the port")
    parser.add_argument("--uvloop", action="store_true", help="run on uvloop")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input does")
    parser.add_argument("--latency", help="seconds before each reply")
    parser.add_argument("--rpm", help="requests a minute for each model; more get 429")
    parser.add_argument("--rate-window", help="seconds over which --rpm is counted (60)")
    parser.add_argument("--rate-headers", help="whether x-ratelimit-* headers tell about --rpm (true)")
    parser.add_argument("--max-in-flight", help="requests at once for each model; more get 429")
    parser.add_argument("--faults", type=read_script, help="a fault script: JSON, or a file that holds it")
    parser.add_argument("--solve", help="probability that the weak model solves a bare question (0.3)")
    parser.add_argument("--trace-chars", help="length of the longest traces in characters (1500)")
    parser.add_argument("--batches", type=read_batches, help="how batches go: BatchSettings as JSON")
    parser.add_argument("--log", type=Path, help="append a JSON line for every request received and ended")
    parser.add_argument("--tls", help="serve https with a bad certificate: self (self-signed) or expired")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace, settings: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if arguments.until_eof:
        loop.add_reader(0, lambda: None if os.read(0, 4096) else stop.set())
    async with serve(port=arguments.port, **settings) as server:
        if arguments.port_file is not None:
            unfinished = arguments.port_file.with_name(arguments.port_file.name + ".new")
            unfinished.write_text(f"{server.port}\n")
            unfinished.replace(arguments.port_file)
        else:
            print(server.base_url, flush=True)
        await stop.wait()
        if arguments.until_eof:
            loop.remove_reader(0)


def main() -> None:
    """Read the command line and serve until told to stop."""
    arguments = _arguments()
    given = {name: value for name in Settings.__struct_fields__ if (value := getattr(arguments, name)) is not None}
    read = {name: given.pop(name) for name in ("faults", "batches") if name in given}
    settings = msgspec.structs.asdict(msgspec.convert(given, Settings, strict=False)) | read
    factory = None
    if arguments.uvloop:
        import uvloop  # noqa: PLC0415 - only if wanted

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_run(arguments, settings))


if __name__ == "__main__":
    main()
