"""How much memory the engine needs for a long input. It must not grow with the number of questions.

Runs ``python -m weak2wise.engine`` with every role over HTTP against the loopback server and reads the peak of its
resident memory (``VmHWM`` in /proc) as the run goes on. Linux only.

Run: python scripts/bench_memory.py [--questions 100000]
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


def _mebibytes(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def _watch(process: "subprocess.Popen[str]", server: LoopbackProcess, every: float) -> float:
    """Print a line every ``every`` seconds until the run ends. Returns the last peak seen, in MiB."""
    peak, began, due = 0.0, time.monotonic(), every
    print(f"{'seconds':>8} {'answers':>10} {'resident MiB':>13} {'peak MiB':>9}", flush=True)
    while process.poll() is None:
        seconds = time.monotonic() - began
        # 0 when the process has ended.
        peak = _mebibytes(process.pid, "VmHWM") or peak
        if seconds >= due:
            due += every
            answers = sum(model.answered for model in server.stats().models.values())
            print(f"{seconds:8.0f} {answers:10,} {_mebibytes(process.pid, 'VmRSS'):13.0f} {peak:9.0f}", flush=True)
        time.sleep(0.2)
    return peak


def main() -> None:
    """Run once and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--questions", type=int, default=100_000)
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two lines")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, LoopbackProcess(latency=0.02, uvloop=True) as server:
        folder = Path(name)
        config: dict[str, Any] = config_for(folder, server.base_url, n_mask=2, judge_mode="rule")
        config["models"]["mstrong"] = ["strong-a"]
        write_run(folder, config, options.questions)
        command = [sys.executable, "-m", "weak2wise.engine", "--config", str(folder / "config.yaml")]
        with (folder / "output").open("w+") as output:
            process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, text=True)
            peak = _watch(process, server, options.every)
            output.seek(0)
            ending = "".join(line for line in output if " progress " not in line)
    print(ending)
    if process.returncode:
        raise SystemExit(process.returncode)
    print(f"{options.questions:,} questions: peak resident memory of the engine's process {peak:.0f} MiB")


if __name__ == "__main__":
    main()
