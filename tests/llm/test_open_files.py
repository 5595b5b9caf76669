"""Requests in flight never need more open files than the process may have."""

import resource
import subprocess
import sys

import pytest

from tests.engine_runs import ROOT
from tests.loopback import LoopbackProcess
from weak2wise.errors import ConfigError
from weak2wise.llm.http.open_files import default_in_flight, raise_open_files
from weak2wise.llm.limits.limits import MOST_IN_FLIGHT

PROGRAM = """
import asyncio, pathlib, resource, sys
from weak2wise.config import Config, Dataset, Models, OpenAIEndpoint
from weak2wise.llm.http.open_files import raise_open_files
from weak2wise.llm.model import Message, Prompt
from weak2wise.run.host import Host

resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), int(sys.argv[3])))
if sys.argv[4] == "program":
    raise_open_files([None, None])
allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
endpoints = {name: OpenAIEndpoint(model_id=name, base_url=sys.argv[1]) for name in ("weak", "strong")}
config = Config(models=Models(mweak="weak", mstrong=("strong",)), endpoints=endpoints, dataset=Dataset(input_path="-"))

def prompt(number):
    return Prompt(messages=(Message("user", "What is 2 + 2?"),), temperature=0.6, seed=number)

async def main():
    async with Host(config) as host:
        models = [(await host.open(name, pathlib.Path("unused")))[0] for name in endpoints]
        answers = await asyncio.gather(*(models[number % 2].complete(prompt(number)) for number in range(1000)))
        print(len(answers), *(dict(model.meter.faults) for model in models))

asyncio.run(main())
assert resource.getrlimit(resource.RLIMIT_NOFILE) == allowed, "a host changes nothing of its process"
"""


@pytest.mark.slow
@pytest.mark.parametrize(("soft", "hard", "of_a"), [(100, 300, "program"), (300, 4096, "library")])
def test_the_number_found_by_asking_stays_within_what_the_process_may_open(soft: int, hard: int, of_a: str) -> None:
    """A program of ours raises the limit as far as it may; who uses the library has the one that is set."""
    with LoopbackProcess(latency=0.1) as server:
        command = [sys.executable, "-c", PROGRAM, server.base_url, str(soft), str(hard), of_a]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert said.stdout.split() == ["1000", "{}", "{}"]


class Limit:
    """The limit of open files of a process, as ``resource`` tells and sets it."""

    def __init__(self, soft: int, hard: int) -> None:
        self.now = (soft, hard)

    def getrlimit(self, _what: int) -> tuple[int, int]:
        return self.now

    def setrlimit(self, _what: int, limit: tuple[int, int]) -> None:
        self.now = limit


@pytest.mark.parametrize(
    ("hard", "configured", "most", "files"),
    [
        (-1, [None, 64], MOST_IN_FLIGHT, 65_536),
        (-1, [100_000], MOST_IN_FLIGHT, 100_128),
        (1_000_000, [None, 64], MOST_IN_FLIGHT, 65_536),
        (4096, [None, None], MOST_IN_FLIGHT, 4096),
        (1024, [None, None, 96], 400, 1024),
        (1024, [None] * 5, 179, 1024),
        (1024, [896], MOST_IN_FLIGHT, 1024),
        (256, [None, 127], 1, 256),
        (1024, [897], None, 1024),
        (256, [None, 128], None, 256),
    ],
)
def test_connections_are_shared_out_where_nothing_is_configured_and_must_be_enough_where_something_is(
    monkeypatch: pytest.MonkeyPatch, hard: int, configured: list[int | None], most: int | None, files: int
) -> None:
    limit = Limit(256, hard)
    monkeypatch.setattr(resource, "getrlimit", limit.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", limit.setrlimit)
    raise_open_files(configured)
    if most is None:
        with pytest.raises(ConfigError, match=f"no more than {files:,} files"):
            default_in_flight(configured)
    else:
        assert default_in_flight(configured) == most
    assert limit.now == (files, hard)
