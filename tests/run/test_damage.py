"""Damaged ledgers of a whole run: every command refuses them with exit 2, and ``repair`` makes the run go on."""

import base64
import gzip
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.engine_runs import config_for, finish, lines, save, start, write_run
from tests.finished_run import FinishedRun
from tests.loopback import LoopbackProcess
from tests.run.crash import asked_of, outputs
from weak2wise.ledger.files import locked


def copy_of(run: FinishedRun, folder: Path) -> Path:
    """A copy of a finished run whose config names the copy."""
    copy = folder / "run"
    shutil.copytree(run.folder, copy)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["dataset"] |= {
        "input_path": str(copy / "in.jsonl"),
        "work_dir": str(copy / "work"),
        "finetune_out": str(copy / "out.jsonl"),
    }
    save(copy, config)
    return copy


def flip(path: Path, line: int, at: int = -40) -> None:
    """Change one letter or digit of a line's text, so that it decodes as before; ``at`` is where to begin to look."""
    content = path.read_bytes().splitlines(keepends=True)
    text = bytearray(content[line - 1])
    at = next(at for at in range(len(text) + at, len(text)) if chr(text[at]).isalnum())
    text[at] ^= 1
    content[line - 1] = bytes(text)
    json.loads(text)
    path.write_bytes(b"".join(content))


def pack(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes()))


def zeros(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-200] + b"\0" * 199 + b"\n")


COMMANDS = {
    "run": (),
    "retry-failed": (),
    "check": (),
    "status": (),
    "report": (),
    "export": ("--out", "train", "--provenance"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ledger", "damage"),
    [("journal", lambda path: flip(path, 3)), ("filter", pack), ("sft", zeros)],
    ids=["flipped", "packed", "zeros"],
)
def test_every_command_refuses_a_damaged_ledger_with_exit_2_and_says_what_to_do(
    finished: FinishedRun,
    tmp_path: Path,
    ledger: str,
    damage: Callable[[Path], None],
) -> None:
    folder = copy_of(finished, tmp_path)
    path = folder / "work" / "ledger" / ledger / "00000.jsonl"
    damage(path)
    damaged = path.read_bytes()
    for name, arguments in COMMANDS.items():
        if ledger == "journal" and name == "status":
            continue  # it reads no answers
        given = [argument.replace("train", str(tmp_path / "train.jsonl")) for argument in arguments]
        said = finish(folder, *given, command=name, code=2)
        assert re.search(rf"{ledger}/00000\.jsonl: line \d+ is damaged: ", said), (name, said)
        assert f"weak2wise repair {folder / 'work'}" in said
        assert "Traceback" not in said
    assert path.read_bytes() == damaged


@pytest.mark.slow
@pytest.mark.parametrize("step", ["generate", "select"])
def test_a_bit_that_the_disk_has_flipped_is_named_at_the_latest_when_the_output_files_are_written(
    finished: FinishedRun, tmp_path: Path, step: str
) -> None:
    """The shard's size and time are those that its index knows, and so are its last bytes."""
    folder = copy_of(finished, tmp_path)
    path = folder / "work" / "ledger" / step / "00000.jsonl"
    before, written = path.stat(), path.read_bytes()
    done = [number for number, line in enumerate(lines(path), 1) if line["status"] == "done"]
    flip(path, done[0])
    assert path.read_bytes()[-4096:] == written[-4096:]
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    report = finish(folder, code=2)
    assert f"{step}/00000.jsonl: line {done[0]} is damaged: its checksum does not match" in report
    assert "1 damaged line set aside" in finish(folder, command="repair")
    finish(folder, code=1)
    assert outputs(folder) == outputs(finished.folder)


@pytest.mark.slow
def test_repair_of_answers_says_what_is_asked_again_and_at_what_cost_and_the_run_ends_as_before(tmp_path: Path) -> None:
    """Two answers of questions that still need them, and one of a question that is through with its step."""
    with LoopbackProcess() as server:
        config = config_for(tmp_path, server.base_url, n_mask=3)
        config["model_endpoints"]["strong-a"]["prices"] = {"input": 2.0, "output": 8.0}
        write_run(tmp_path, config, 12)
        finish(tmp_path)
        needed, calm = asked_of(server), outputs(tmp_path)
        shutil.rmtree(tmp_path / "work")
        (tmp_path / "out.jsonl").unlink()
        finish(tmp_path, "--up-to-step", "2")
        ledger = tmp_path / "work" / "ledger"
        (ledger / "generate" / "00000.jsonl").write_bytes(b"")  # as a power cut may leave it; the answers are kept
        dropped = {line["row"] for line in lines(ledger / "filter" / "00000.jsonl") if line["status"] == "dropped"}
        journal = ledger / "journal" / "00000.jsonl"
        answers = list(enumerate(lines(journal), 1))
        strong = [number for number, line in answers if line["role"] == "strong/strong-a"]
        solved = next(number for number, line in answers if line["role"] == "weak" and line["row"] in dropped)
        bad = sorted((*strong[:2], solved))
        whole = journal.read_bytes().splitlines(keepends=True)
        for number in bad:
            flip(journal, number)
        broken = journal.read_bytes().splitlines(keepends=True)
        finish(tmp_path, code=2)

        said = finish(tmp_path, command="repair")
        costs = [line["cost_usd"] for number, line in answers if number in strong[2:]]
        average = sum(costs) / len(costs)
        assert "ledger/journal/00000.jsonl: 3 damaged lines set aside" in said
        assert "at most 2 answers (2 of strong/strong-a)" in said
        assert f"for about {2 * average:,.4f} US dollars" in said
        (kept_in,) = (tmp_path / "work").glob("damaged-*.jsonl")
        kept = [(line["file"], line["line"], base64.b64decode(line["bytes"])) for line in lines(kept_in)]
        assert kept == [("ledger/journal/00000.jsonl", number, broken[number - 1]) for number in bad]
        left = journal.read_bytes().splitlines(keepends=True)
        assert [line for line in left if line in whole] == [
            line for number, line in enumerate(whole, 1) if number not in bad
        ]
        charged = [line["cost_usd"] for line in lines(journal) if line["key"] == ""]
        assert charged == pytest.approx([average, average]), "what they had cost still counts"

        finish(tmp_path)
        assert outputs(tmp_path) == calm
        assert asked_of(server) == 2 * needed + 2, "each question once, and the two answers that were damaged"
        assert "no line is damaged" in finish(tmp_path, command="repair")


@pytest.mark.slow
def test_repair_of_an_outcome_asks_nothing_again(finished: FinishedRun, tmp_path: Path) -> None:
    """The answers in the journal make it anew; no server is there."""
    folder = copy_of(finished, tmp_path)
    before = outputs(folder)
    for name in ("filter", "generate", "stepmask", "select", "sft"):
        flip(folder / "work" / "ledger" / name / "00000.jsonl", 2)
    flip(folder / "work" / "ledger" / "input" / "00000.jsonl", 1)
    said = finish(folder, command="repair")
    assert "No answer has to be asked for again" in said
    assert said.count("1 damaged line set aside") == 6
    finish(folder, code=1)
    assert outputs(folder) == before


@pytest.mark.slow
def test_repair_refuses_what_only_has_to_be_unpacked_and_changes_nothing(finished: FinishedRun, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path)
    path = folder / "work" / "ledger" / "journal" / "00000.jsonl"
    whole = path.read_bytes()
    flip(folder / "work" / "ledger" / "filter" / "00000.jsonl", 2)
    pack(path)
    said = finish(folder, command="repair", code=2)
    assert "00000.jsonl: gzip has packed the file; unpack it" in said
    assert not list((folder / "work").glob("damaged-*"))
    path.rename(path.with_name("00000.jsonl.gz"))
    said = finish(folder, command="repair", code=2)
    assert "00000.jsonl: missing, and 00000.jsonl.gz is there" in said
    path.write_bytes(whole)
    path.with_name("00000.jsonl.gz").unlink()
    finish(folder, command="repair")
    finish(folder, code=1)


@pytest.mark.slow
def test_repair_never_touches_a_work_dir_that_a_run_holds(finished: FinishedRun, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path)
    path = folder / "work" / "ledger" / "filter" / "00000.jsonl"
    flip(path, 2)
    damaged = path.read_bytes()
    with locked(folder / "work"):
        assert "in use by another engine" in finish(folder, command="repair", code=2)
    assert path.read_bytes() == damaged


def test_repair_of_a_folder_without_a_run_makes_nothing(tmp_path: Path) -> None:
    write_run(tmp_path, config_for(tmp_path, "http://127.0.0.1:9/v1"), 1)
    assert "holds no ledger" in finish(tmp_path, command="repair", code=2)
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_a_torn_end_is_cut_and_told_in_the_log_and_the_summary(finished: FinishedRun, tmp_path: Path) -> None:
    folder = copy_of(finished, tmp_path)
    path = folder / "work" / "ledger" / "sft" / "00000.jsonl"
    content = path.read_bytes()
    last = len(content.splitlines(keepends=True)[-1])
    path.write_bytes(content[:-7] + b"\0" * 1000)
    process = start(folder)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1, said
    cut = last - 7 + 1000
    assert "ledger.cut file=sft/00000.jsonl" in said
    assert f"cut off ledger/sft/00000.jsonl: an unfinished last line of {cut:,} bytes" in said
    (event,) = (event for event in lines(folder / "work" / "run.log") if event["event"] == "ledger.cut")
    assert (event["file"], event["bytes"]) == ("sft/00000.jsonl", cut)
    assert json.loads((folder / "work" / "summary.json").read_text())["this_start"]["torn"] == {"sft/00000.jsonl": cut}
    assert path.read_bytes().count(b"\n") == content.count(b"\n")
    assert outputs(folder) == outputs(finished.folder)


@pytest.mark.slow
def test_an_answer_of_an_unknown_role_is_damage_not_a_bug(finished: FinishedRun, tmp_path: Path) -> None:
    """In a line without a checksum, as earlier versions wrote them."""
    folder = copy_of(finished, tmp_path)
    journal = folder / "work" / "ledger" / "journal" / "00000.jsonl"
    first, _, rest = journal.read_bytes().partition(b"\n")
    bare = b"{" + first.partition(b",")[2]
    journal.write_bytes(re.sub(rb'"role":"\w', b'"role":"X', bare) + b"\n" + rest)
    assert "journal/00000.jsonl: line 1 is damaged" in finish(folder, code=2)
