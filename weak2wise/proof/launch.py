"""Runs the process that trains, hears what it says, and sees to it that it ends with us."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from weak2wise.config import TrainSettings
from weak2wise.errors import ConfigError, RunStopped
from weak2wise.proof.messages import Finished, Message, Planned, Progress, Refused, Spec, Stopped, decoder

_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}
"""Environment of the trainer: all that it reads is on this machine."""

OnProgress = Callable[[Planned | Progress], None]
"""Called with the plan of a training, then after each step."""


def launch_command(spec: Path, settings: TrainSettings, accelerate_config: Path | None) -> list[str]:
    """The command that trains."""
    threads = settings.threads or len(os.sched_getaffinity(0))
    chosen = ["--config_file", str(accelerate_config)] if accelerate_config else []
    launcher = [sys.executable, "-m", "accelerate.commands.launch", *chosen, f"--num_cpu_threads_per_process={threads}"]
    return [*launcher, "-m", "weak2wise.proof.trainer", str(spec)]


def run_trainer(spec: Spec, settings: TrainSettings, accelerate_config: Path | None, on_progress: OnProgress) -> None:
    """Run the trainer to its end; it ends with us, however we end."""
    if accelerate_config and not accelerate_config.is_file():
        raise ConfigError(f"--accelerate-config {accelerate_config}: no such file; accelerate config makes one")
    path, log = spec.folder / "spec.json", spec.folder / "trainer.log"
    spec.write(path)
    with log.open("ab") as logged:
        process = subprocess.Popen(  # noqa: S603 - our own program
            launch_command(path, settings, accelerate_config),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=logged,
            env=os.environ | _QUIET,
            start_new_session=True,  # a Ctrl-C is for us alone
        )
    assert process.stdin is not None
    assert process.stdout is not None
    ended: Message | None = None
    try:
        for said in _messages(process.stdout):
            if isinstance(said, Planned | Progress):
                on_progress(said)
            else:
                ended = said
        code = process.wait()
    finally:
        _end(process)
    match ended:
        case Refused():
            raise ConfigError(ended.message)
        case Stopped():
            raise RunStopped(ended.message, hint=ended.hint)
    if not isinstance(ended, Finished) and (code or not spec.dry_run):
        raise RunStopped(
            f"the trainer ended with exit code {code}: {_last_line(log)}",
            hint=f"Its log is {log}; if it was killed, the memory may have been full: lower train.device_batch_size",
        )


def _messages(out: IO[bytes]) -> Iterator[Message]:
    for line in out:
        with suppress(msgspec.DecodeError):  # what the launcher prints
            yield decoder.decode(line)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the trainer and all its processes: those in other sessions by the end of their standard input."""
    assert process.stdin is not None
    process.stdin.close()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _last_line(log: Path) -> str:
    """The last line that a log has, for a message."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4000))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "it said nothing")
