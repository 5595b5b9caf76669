"""How much memory the engine needs while all its requests are out in batches.

Runs ``python -m weak2wise.engine`` up to step 2 with one strong model whose calls are batched, against the loopback
server, whose batches take so long that all are out together. Reads the resident memory of the engine's process
(``VmRSS`` and ``VmHWM`` in /proc) when the last request is out, and its peak until all answers are in the journal.

Before rows were parked on disk, a task waited for each answer: 9.5 to 13 kB a request, 510 to 690 MiB for 50,000.

Run: python scripts/bench_batch.py [--requests 50000] [--samples 1] [--batch 10000]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.engine_runs import ROOT, config_for, write_run
from tests.loopback import LoopbackProcess
from tests.loopback.batch import BatchSettings


def _mebibytes(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def _watch(process: "subprocess.Popen[str]", server: LoopbackProcess, requests: int) -> tuple[float, float, float]:
    """Seconds until all requests are out, resident MiB then, and the peak in MiB until the end."""
    began, out, resident, peak = time.monotonic(), 0.0, 0.0, 0.0
    while process.poll() is None:
        peak = _mebibytes(process.pid, "VmHWM") or peak
        if not out and sum(batch.lines for batch in server.batches().batches) >= requests:
            out, resident = time.monotonic() - began, _mebibytes(process.pid, "VmRSS")
            print(f"{requests:,} requests are out after {out:.0f} s: {resident:.0f} MiB resident", flush=True)
        time.sleep(1)
    return out, resident, peak


def main() -> None:
    """Run once and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--samples", type=int, default=1, help="requests of one question")
    parser.add_argument("--batch", type=int, default=10_000, help="requests of one batch")
    parser.add_argument("--seconds", type=float, default=120.0, help="what a batch takes")
    options = parser.parse_args()
    questions = options.requests // options.samples
    batches = BatchSettings(seconds=options.seconds)
    with tempfile.TemporaryDirectory() as name, LoopbackProcess(trace_chars=400, batches=batches) as server:
        folder = Path(name)
        made: dict[str, Any] = config_for(
            folder, server.base_url, skip_filter=True, samples_per_model=options.samples, judge_mode="rule"
        )
        made["models"] |= {"mstrong": ["strong-a"], "judge": None}
        made["model_endpoints"]["strong-a"]["batch"] = {"poll": "1s", "max_requests": options.batch}
        write_run(folder, made, questions)
        command = [sys.executable, "-m", "weak2wise.engine", "--config", str(folder / "config.yaml")]
        with (folder / "output").open("w+") as output:
            process = subprocess.Popen(
                [*command, "--up-to-step", "2"], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, text=True
            )
            began = time.monotonic()
            out, resident, peak = _watch(process, server, questions * options.samples)
            took = time.monotonic() - began
            output.seek(0)
            print("".join(line for line in output if " progress " not in line))
        charged = {line.charged for line in server.batches().lines.values()}
    if process.returncode or charged != {1}:
        raise SystemExit(f"exit code {process.returncode}; lines were charged {charged} times")
    print(
        f"{questions * options.samples:,} requests of {questions:,} questions: all out after {out:.0f} s, "
        f"{resident:.0f} MiB resident then, peak {peak:.0f} MiB, whole run {took:.0f} s"
    )


if __name__ == "__main__":
    main()
