"""The quickstart as a user runs it: real models, an interruption, and the rest of the run."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import ROOT, lines
from weak2wise.llm.vllm.guard import family
from workers.scorers.masking import exact_weights
from workers.scorers.race import Race

QUESTIONS = [
    ("What is 6 times 7?", "42"),
    ("What is 15 plus 27?", "42"),
    ("A tank holds 240 litres and is a quarter full. How many litres are in it?", "60"),
    ("A printer prints 16 pages a minute. How many pages does it print in 8 minutes?", "128"),
]


def quickstart(folder: Path) -> "subprocess.Popen[str]":
    """The script in a session of its own, on this interpreter's virtual environment."""
    return subprocess.Popen(
        ["bash", str(ROOT / "scripts" / "quickstart.sh"), str(folder / "in.jsonl")],
        env=os.environ | {"W2W_OUT": str(folder / "out"), "W2W_VENV": sys.prefix},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def answers(journal: Path) -> list[dict[str, Any]]:
    """Every answer that was paid for, oldest first."""
    return [answer for shard in sorted(journal.glob("*.jsonl")) for answer in lines(shard)]


def check_races(scored: list[dict[str, Any]], bits: dict[str, int]) -> None:
    """Each winner has all its bits; what the race left out is null, says so, and could have made no other one win."""
    questions = [list(rows) for _, rows in groupby(scored, key=itemgetter("row"))]
    n = max(len(candidate["debug"]["s_list"]) for candidate in scored)
    weights = exact_weights(n, beta=0.5, normalization="reference")
    left_out = 0
    for rows in questions:
        shown = [row["debug"]["s_list"] for row in rows]
        lengths = [(int(not row["normal_is_own"]), len(row["normal"].split())) for row in rows]
        assert [row["score_is_bound"] for row in rows] == [None in s_list for s_list in shown]
        left_out += sum(s_list.count(None) for s_list in shown)
        for missing in (0, 1):
            bits_of = [[missing if bit is None else bit for bit in s_list] for s_list in shown]
            race = Race(weights, lengths, [[(c, i) for i in range(len(row))] for c, row in enumerate(bits_of)])
            while wanted := race.wanted():
                race.learn(wanted[0], bits_of[wanted[0][0]][wanted[0][1]])
            assert [list(race.s_list(c)) for c in range(len(rows))] == shown
    assert left_out >= bits["spared"]
    assert bits["asked"] > 0


@pytest.mark.slow
@pytest.mark.vllm
def test_the_quickstart_interrupted_once_goes_on_and_leaves_no_process_behind(tmp_path: Path) -> None:
    """SmolLM2 embedded, the 0.5B model behind vLLM's own server; what was answered before Ctrl-C is not asked again."""
    questions = [json.dumps({"question": question, "answer": answer}) for question, answer in QUESTIONS]
    (tmp_path / "in.jsonl").write_text("\n".join(questions) + "\n")
    journal = tmp_path / "out" / "work" / "ledger" / "journal"

    with quickstart(tmp_path) as process:
        while not any(shard.stat().st_size for shard in journal.glob("*.jsonl")):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.5)
        started = family([process.pid])
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "run the same command again" in said
    assert len(started) > 3  # the script, its server, the engine and what those started
    assert not started & family(pid for pid, _ in started)
    paid = answers(journal)
    assert paid

    with quickstart(tmp_path) as process:
        said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    summary = json.loads((tmp_path / "out" / "work" / "summary.json").read_text())
    totals = summary["totals"]
    assert totals["rows"] == len(QUESTIONS) == totals["emitted"] + sum(totals["dropped"].values())
    check_races(lines(tmp_path / "out" / "work" / "scored_candidates.jsonl"), summary["this_start"]["bits"])
    bill = answers(journal)
    assert bill[: len(paid)] == paid
    assert len({(answer["row"], answer["key"]) for answer in bill}) == len(bill)  # no answer was asked for twice
    rows = lines(tmp_path / "out" / "finetune.jsonl")
    assert len(rows) == totals["emitted"]
    assert all(row["response"].startswith("<think> ") for row in rows)
    assert any(row["prompt"] in said for row in rows)
