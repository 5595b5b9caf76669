"""Would the tests notice? Change one place of the code at a time, at random, and run the tests that concern it.

cosmic-ray finds the places, makes the changes in a copy of the tree and runs pytest there. A test that also fails
without the change is left out. Printed per mutant: killed by which test, or survived. Those that change nothing that a
test could see are listed with a reason in scripts/equivalent_mutants.toml and only counted.
The embedded engine (llm/vllm/) is left out: its tests start an engine, so they are not quick.

Run in an environment of its own: pip install cosmic-ray; python scripts/mutants.py --sample 64 --seed 1
"""

import argparse
import ast
import difflib
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.commands.init import init
from cosmic_ray.modules import find_modules
from cosmic_ray.mutating import MutationVisitor, mutate_and_test
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome

ROOT = Path(__file__).resolve().parent.parent
LISTED = ROOT / "scripts" / "equivalent_mutants.toml"
TIME_LIMIT_S = 900
LEFT_OUT = ("weak2wise/llm/vllm/",)

TESTS = {
    "weak2wise/ledger/":
        "tests/ledger tests/run/test_store.py tests/run/test_golden_formats.py tests/run/test_work_dir.py "
        "tests/outputs/test_provenance.py tests/run/test_damage.py",
    "weak2wise/llm/cost.py weak2wise/llm/worst_case.py weak2wise/llm/meter.py weak2wise/llm/thinking.py "
    "weak2wise/llm/limits/call_sizes.py":
        "tests/llm/test_budget.py tests/llm/test_admission.py tests/llm/test_thinking.py tests/llm/test_call_sizes.py "
        "tests/llm/test_token_limit.py tests/llm/test_cost.py tests/run/test_cap.py",
    "weak2wise/llm/limits/":
        "tests/llm/test_limits.py tests/llm/test_pauses.py tests/llm/test_token_window.py "
        "tests/llm/test_adaptive_concurrency.py tests/llm/test_learned_rate.py tests/llm/test_adaptive_rate_epochs.py "
        "tests/llm/test_token_limit.py tests/llm/test_adaptive_rate.py tests/llm/test_outages.py",
    "weak2wise/llm/http/":
        "tests/llm/test_error_meaning.py tests/llm/test_refusals.py tests/llm/test_reply_bounds.py "
        "tests/llm/test_rate_limit_headers.py tests/llm/test_stream.py tests/llm/test_openai_model.py "
        "tests/llm/test_transport.py tests/llm/test_replicas.py tests/llm/test_odd_replies.py tests/llm/test_proxy.py "
        "tests/llm/test_replies.py tests/llm/test_thinking.py tests/llm/test_lanes.py tests/llm/test_off_peak.py "
        "tests/llm/test_faults.py tests/llm/test_reply_memory.py tests/llm/test_open_files.py "
        "tests/llm/test_outages.py tests/llm/test_cost.py",
    "weak2wise/llm/":
        "tests/llm/test_error_rate.py tests/llm/test_journal.py tests/llm/test_single_flight.py "
        "tests/llm/test_retry.py tests/llm/test_endpoint.py tests/llm/test_admission.py tests/llm/test_drain.py "
        "tests/llm/test_off_peak.py tests/llm/test_journal_costs.py tests/llm/test_several_runs.py "
        "tests/llm/test_model.py tests/run/test_golden_formats.py tests/llm/test_openai_model.py "
        "tests/llm/test_deadline.py tests/llm/test_outages.py "
        "tests/api/test_endpoint_plugin.py tests/llm/test_faults.py tests/run/test_nothing_achieved.py",
    "weak2wise/pipeline/":
        "tests/pipeline tests/run/test_failures.py tests/run/test_interruption.py tests/run/test_engine.py",
    "workers/scorers/masking.py workers/scorers/race.py workers/scorers/stepmask.py":
        "tests/workers/test_race.py tests/workers/test_stepmask.py tests/workers/test_scoring.py "
        "tests/workers/test_ties.py tests/workers/test_places.py tests/workers/test_seeds.py "
        "tests/workers/test_scorers.py",
    "workers/judge.py":
        "tests/workers/test_judge.py tests/workers/answers",
}  # fmt: skip
"""Modules (a folder, or files) -> the tests that concern them, the quickest to notice first. The first row that fits
counts; its words are part of the seed."""


class Mutant(NamedTuple):
    """One change: where, cosmic-ray's way to make it, and the lines before and after."""

    tests: str
    spec: MutationSpec
    file: str
    line: int
    was: str
    becomes: str

    def listed_as(self) -> tuple[str, str, str]:
        """What names it in the list of equivalents: not its line number, which moves."""
        return self.file, self.was, self.becomes


def mutant(spec: MutationSpec, tests: str) -> Mutant | None:
    """The mutant with its changed lines, or None where the code stays as it was or Python itself refuses or warns."""
    source = spec.module_path.read_text()
    code = MutationVisitor.mutate_code(source, get_operator(spec.operator_name)(**spec.operator_args), spec.occurrence)
    try:
        if code is None or _behaviour(code) == _behaviour(source):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compile(code, "mutant", "exec")
    except SyntaxError:
        return None
    diff = [line for line in difflib.ndiff(source.splitlines(), code.splitlines()) if line[:2] in {"- ", "+ "}]
    was, becomes = (" ".join(" ".join(line[2:].split()) for line in diff if line[0] == sign) for sign in "-+")
    return Mutant(tests, spec, str(spec.module_path), spec.start_pos[0], was, becomes)


def _behaviour(code: str) -> str:
    """The code without what mypy alone heeds, or the garbage collector: which arguments are named, ``frozen``, ``gc``.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.arguments):
            node.args, node.posonlyargs, node.kwonlyargs = [*node.posonlyargs, *node.args, *node.kwonlyargs], [], []
            node.defaults, node.kw_defaults = [*node.defaults, *filter(None, node.kw_defaults)], []
        elif isinstance(node, ast.ClassDef | ast.Call):
            node.keywords = [word for word in node.keywords if word.arg not in {"frozen", "kw_only", "gc"}]
    return ast.dump(tree)


def sample(size: int, seed: int, only: str) -> Iterator[Mutant]:
    """An equal share for every row of the table; in a row each place of the code is as likely as any other."""
    modules = [
        path
        for path in find_modules([Path(p) for row in TESTS for p in row.split()])
        if not str(path).startswith(LEFT_OUT)
    ]
    rows: dict[str, dict[tuple[str, tuple[int, int]], list[MutationSpec]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder, use_db(str(Path(folder) / "work.sqlite")) as work:
        init(dict.fromkeys(modules), work, {})
        for (spec,) in (item.mutations for item in work.work_items):
            if "BitOr" not in spec.operator_name:  # nearly all of these are type annotations
                name = str(spec.module_path)
                row = next(row for row in TESTS if name.startswith(tuple(row.split())))
                rows[row][name, spec.start_pos].append(spec)
    for number, (row, places) in enumerate(sorted(rows.items())):
        if not row.startswith(only):
            continue
        draw = random.Random(f"{seed} {row}")
        wanted = size // len(rows) + (number < size % len(rows))
        for place in draw.sample(sorted(places), len(places)):
            if wanted and (made := mutant(draw.choice(sorted(places[place], key=str)), TESTS[row])):
                wanted -= 1
                yield made


def make_copy(folder: str, python: str) -> None:
    """Work in a copy of the tree, this process alone."""
    copy = Path(folder) / str(os.getpid())
    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "node_modules")
    )
    os.chdir(copy)
    os.environ.update(PYTHONPATH=str(copy), PYTHON=python)


def outcome(one: Mutant) -> tuple[Mutant, str]:
    """Killed by which test, survived, or unclear if the tests were cut off.

    The quick tests come first. A test that fails without the change too does not count and is left out.
    """
    found = "survived"
    for marks in ("not slow and not vllm", "slow and not vllm"):
        if found == "survived":
            found = _outcome(one, marks)
    return one, found


def _outcome(one: Mutant, marks: str) -> str:
    words = [os.environ["PYTHON"], "-m", "pytest", "-x", "-m", marks, "-o", "timeout=120"]
    failures = Path(".pytest_cache/v/cache/lastfailed")
    left_out: list[str] = []
    while True:
        failures.unlink(missing_ok=True)
        command = shlex.join([*words, *(f"--deselect={test}" for test in left_out), *one.tests.split()])
        result = mutate_and_test([one.spec], command, TIME_LIMIT_S)
        if result.test_outcome is TestOutcome.SURVIVED:
            return "survived"
        failed = list(json.loads(failures.read_text())) if failures.exists() else []
        if not failed and re.search(r"^\d+ deselected in", result.output, re.MULTILINE):
            return "survived"  # no test concerns it that has these marks
        if not failed:
            return "killed by the time limit" if result.output == "timeout" else "unclear"
        if subprocess.run([*words, *failed], capture_output=True, check=False).returncode == 0:
            return f"killed by {failed[0]}"
        left_out += failed


def main() -> int:
    """Sample, run, print; 0 where at least nine of ten that are not equivalent were killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=64, help="how many mutants (default: 64)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (default: 1)")
    parser.add_argument("--only", default="", help="only rows of the table that begin so, such as weak2wise/ledger")
    parser.add_argument("-n", type=int, default=1, dest="processes", help="processes (default: 1)")
    parser.add_argument("--python", default=str(ROOT / ".venv/bin/python"), help="runs the tests")
    parser.add_argument("--again", type=Path, metavar="OUTPUT", help="only those that survived in this earlier output")
    options = parser.parse_args()
    os.chdir(ROOT)
    equivalent = {(row["file"], row["was"], row["becomes"]) for row in tomllib.loads(LISTED.read_text())["mutant"]}
    mutants = list(sample(options.sample, options.seed, options.only))
    if options.again:
        earlier = options.again.read_text().split("\n\n")
        again = {block.split("\n", 1)[1] for block in earlier if block.startswith("survived")}
        mutants = [one for one in mutants if text(one) in again]
    counts: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
        ProcessPoolExecutor(options.processes, initializer=make_copy, initargs=(folder, options.python)) as pool,
    ):
        for one, what in pool.map(outcome, [one for one in mutants if one.listed_as() not in equivalent]):
            counts[what.split()[0]] += 1
            print(f"{what}\n{text(one)}\n", flush=True)
    counts["equivalent"] = sum(one.listed_as() in equivalent for one in mutants)
    tried = counts["killed"] + counts["survived"]
    left = f"{counts['equivalent']} equivalent, {counts['unclear']} unclear"
    print(f"{len(mutants)} sampled, {left}, {counts['killed']} of {tried} killed")
    return 0 if counts["killed"] >= 0.9 * tried else 1


def text(one: Mutant) -> str:
    """Where it is and what it changes."""
    return f"{one.file}:{one.line}\n- {one.was}\n+ {one.becomes}"


if __name__ == "__main__":
    sys.exit(main())
