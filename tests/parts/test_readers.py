"""Commands that read a run's work_dir: what they make of one in parts is what they make of one machine's."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.engine_runs import config_for, finish, write_run
from tests.finished_run import command
from tests.loopback import LoopbackProcess
from tests.parts.hosts import HostsHere
from tests.parts.test_parts import PART, asked_of, in_parts
from tests.proof.test_prove import Parts, proved
from weak2wise.compare.comparing import Comparing
from weak2wise.config import Config, HeldOut, load_config
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


@pytest.mark.slow
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


def test_status_export_and_report_say_the_same(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: dict[str, list[str]] = {}
    for name in (ALONE, PARTS):
        assert command("status", str(folder / name / "work")) == 0
        assert (
            command("export", str(folder / name / "work"), "--out", str(tmp_path / f"{name}.jsonl"), "--provenance")
            == 0
        )
        assert command("report", str(folder / name / "work"), "--out", str(tmp_path / f"{name}.html")) == 0
        printed = capsys.readouterr().out.replace(str(folder / name), "").replace(f"{name}.", "")
        said[name] = [line for line in printed.splitlines() if "last event" not in line]
    assert said[PARTS] == said[ALONE]
    assert len(said[PARTS]) > 5
    assert (tmp_path / "parts.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()
    counts = [
        re.findall(r"<td[^>]*>[\d,.]+</td>", (tmp_path / f"{name}.html").read_text())[:24] for name in said
    ]  # then come seconds
    assert counts[0] == counts[1] != []


def test_a_proof_is_about_the_same_rows(folder: Path, tmp_path: Path) -> None:
    held = tmp_path / "held-out.jsonl"
    held.write_text(
        "".join(f'{{"question": "How much is {n} and 1000?", "answer": "{n + 1000}"}}\n' for n in range(40))
    )
    proofs = []
    for name in (ALONE, PARTS):
        config = loaded(folder / name)
        settings = replace(config.prove, held_out=(HeldOut(questions=str(held), samples=4),))
        proofs.append(proved(replace(config, prove=settings), folder / name / "work", Parts(effect=0.3)))
    alone, parts = proofs
    assert parts.verdict() == alone.verdict()
    assert (parts.claim.rows, parts.data) == (alone.claim.rows, alone.data)
    assert parts.claim.rows > PART
