"""Commands that read a run's work_dir: what they make of one in parts is what they make of one machine's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_runs import config_for, finish, write_run
from tests.finished_run import command
from tests.loopback import LoopbackProcess
from tests.parts.hosts import HostsHere
from tests.parts.test_parts import PART, asked_of, in_parts
from weak2wise.compare.comparing import Comparing
from weak2wise.config import Config, load_config
from weak2wise.errors import ConfigError
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.proof.arms import arm_rows
from weak2wise.run.fork import fork
from weak2wise.run.side_costs import side_costs_usd, spent_usd

QUESTIONS = 18
ALONE, PARTS = "alone", "parts"


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackProcess]:
    with LoopbackProcess() as serving:
        yield serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, server: LoopbackProcess) -> Path:
    """The same run twice: on one machine, and in parts on two hosts."""
    folder = tmp_path_factory.mktemp("readers")
    for name in (ALONE, PARTS):
        config = config_for(folder / name, server.base_url) | {"cluster": {"part_rows": PART}}
        for endpoint in config["model_endpoints"].values():
            endpoint["prices"] = {"input": 2.0, "output": 8.0}
        write_run(folder / name, config, QUESTIONS)
    finish(folder / ALONE)
    run = loaded(folder / PARTS)
    in_parts(run, HostsHere(run, 2))
    return folder


def loaded(folder: Path) -> Config:
    return load_config(folder / "config.yaml")


async def compared(folder: Path) -> tuple[object, float]:
    """What scorers would have chosen, and what finding that out has cost."""
    found = await Comparing(WorkDir(folder / "work"), loaded(folder), ("random", "shortest"), draws=2, sample=200).run()
    return found.questions, side_costs_usd(folder / "work")


async def test_scorers_are_compared_with_the_answers_of_all_parts(folder: Path, server: LoopbackProcess) -> None:
    """None that any epoch was given is asked for again."""
    counts = [asked_of(server)]
    alone = await compared(folder / ALONE)
    counts.append(asked_of(server))
    parts = await compared(folder / PARTS)
    counts.append(asked_of(server))
    assert parts[0] == alone[0]
    assert parts[1] == pytest.approx(alone[1])
    assert counts[2] - counts[1] == counts[1] - counts[0] > 0, "as many as beside the run on one machine"
    again = await compared(folder / PARTS)
    assert again == parts
    assert asked_of(server) == counts[2], "a second comparison asks nothing"
    assert spent_usd(folder / PARTS / "work") == pytest.approx(spent_usd(folder / ALONE / "work"))
    assert spent_usd(folder / PARTS / "work") > side_costs_usd(folder / PARTS / "work") > 0


@pytest.mark.parametrize("arm", ["winners", "emitted", "random", "shortest"])
def test_an_arm_is_trained_on_the_same_rows(folder: Path, arm: str) -> None:
    alone, parts = (list(arm_rows(WorkDir(folder / name / "work"), arm, seed=1)) for name in (ALONE, PARTS))
    assert len(alone) > PART
    assert parts == alone


def test_a_work_dir_in_parts_is_not_forked(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"is in parts.*begin a new run"):
        fork(folder / PARTS / "work", folder / "fork", loaded(folder / PARTS))
    assert not (folder / "fork").exists()


def test_a_work_dir_in_parts_has_no_batches_out(folder: Path) -> None:
    assert command("batch", "list", str(folder / PARTS / "work")) == 0
