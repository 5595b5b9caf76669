"""Checks that a vLLM has all that this project uses of it, by reading its source: no GPU and no install is needed.

What is used is derived from the project's own source, so that a new use cannot be forgotten: every import from vLLM,
every attribute of what comes from it, every argument given to it, every environment variable, every ``vllm.…`` in a
script, a Dockerfile or a compose file, every option of its server. The few words that only its texts say are in
``WORDS``.

    python scripts/vllm_contract.py                   # the installed vLLM
    python scripts/vllm_contract.py --version 0.33.0  # the wheel for GPUs of that version, kept in ~/.cache/weak2wise

After a new version has passed, set ``LOOKED_AT`` and the upper bound of the ``gpu`` extra in pyproject.toml.

Exit code 0: it has all. 1: it differs, and how is printed. 2: there is nothing to read.
"""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import Path as ZipPath

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.vllm_source import Source
from scripts.vllm_uses import Difference, Reader

LOOKED_AT = "0.33.0"
"""The newest vLLM whose source has passed; the ``gpu`` extra allows none of a later series."""
ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("weak2wise", "workers", "scripts", "tests")
TEXTS = ("weak2wise/**/*.py", "scripts/**/*.py", "scripts/**/*.sh", "docker/*", "tests/**/*.py", "config.yaml")
WORDS = {
    "v1/engine/utils.py": ('"EngineCore"', 'f"EngineCore_DP'),  # guard.py finds engine processes by these names
    "v1/engine/coordinator.py": ('"VLLM_DP_',),
    "v1/engine/__init__.py": ('"stop"', '"length"', '"abort"', '"repetition"'),  # why an answer ended
    "renderers/params.py": ('parameter="input_tokens"', 'parameter="input_text"'),  # how a long prompt is refused
    "inputs/engine.py": ("prompt_token_ids",),  # what a renderer returns
    "engine/arg_utils.py": ("LLM_CLASS",),  # larger batches for this usage
}
"""Text of vLLM's that the engine goes by."""
SERVER_ARGUMENTS = (
    ("vllm.engine.arg_utils", "AsyncEngineArgs"),
    ("vllm.entrypoints.launchers.cli_args", "FrontendArgs"),  # 0.32
    ("vllm.entrypoints.common.cli_args", "FrontendArgs"),  # 0.33
)
NOT_VARIABLES = {"VLLM_DP", "VLLM_LOGGING_"}
"""A process's name, and the beginning of variables' names."""
TESTS = "tests/scripts/test_vllm_contract.py"
"""It makes up variables."""
_USER = re.compile(r"(from|import|import_module\()[ \"]*vllm\b|EmbeddedEngine|llm_engine")
_VARIABLE = re.compile(r"\bVLLM_[A-Z0-9_]+")
_DOTTED = re.compile(r"(?<![\w./-])vllm(?:\.[A-Za-z_]\w*)+")
_OPTION = re.compile(r"(?<!\S)--(?:no-)?([a-z][a-z0-9-]+)")


def texts() -> Iterator[tuple[str, str]]:
    """The project's files that may speak of vLLM, by path."""
    for pattern in TEXTS:
        for file in sorted(ROOT.glob(pattern)):
            if file.is_file() and file != Path(__file__).resolve():
                yield str(file.relative_to(ROOT)), file.read_text(encoding="utf-8", errors="replace")


def modules() -> list[str]:
    """Our modules that use vLLM or the engine around it."""
    files = (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")))
    users = (file.relative_to(ROOT).with_suffix("") for file in files if _USER.search(file.read_text(encoding="utf-8")))
    return [".".join(user.parts) for user in users]


def in_texts(source: Source) -> Iterator[tuple[str, Difference | None]]:
    """What the project's files say of vLLM in text: variables, dotted names, options of its server."""
    for path, text in texts():
        variables = _VARIABLE.findall(text) if path != TESTS else []
        for name in sorted(set(variables) - NOT_VARIABLES):
            known = name in source.variables
            yield name, None if known else Difference(path, f"vLLM reads no variable {name}")
        for dotted in sorted(set(_DOTTED.findall(text)) if not path.endswith(".py") else ()):
            module, _, name = dotted.rpartition(".")
            known = bool(source.module(dotted) or source.find(module, name))
            yield dotted, None if known else Difference(path, f"there is no {dotted}")
        if path.endswith(".sh"):
            for command in re.findall(r"-m vllm\.entrypoints\S+((?:.*\\\n)*.*)", text):
                for option in sorted(set(_OPTION.findall(command))):
                    known = option.replace("-", "_") in server_options(source)
                    yield f"--{option}", None if known else Difference(path, f"vLLM's server has no option --{option}")


def server_options(source: Source) -> set[str]:
    """The options of vLLM's server, with underscores."""
    options: set[str] = set()
    for module, name in SERVER_ARGUMENTS:
        found = source.find(module, name)
        takes = source.takes(found) if found else None
        options |= (takes.named if takes else None) or set()
    return options


def compare(root: Path | ZipPath) -> tuple[set[str], list[Difference]]:
    """All that is used of vLLM, and what of it the vLLM in folder ``root`` does not have."""
    source = Source({"vllm": root, **{name: ROOT / name for name in PACKAGES}})
    uses: set[str] = set()
    differences: list[Difference] = []
    for module in modules():
        reader = Reader(source, module)
        reader.read()
        uses |= reader.uses
        differences += reader.differences.values()
    for use, difference in in_texts(source):
        uses.add(use)
        differences += [difference] if difference else []
    for path, words in WORDS.items():
        file = root.joinpath(path)
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        uses |= {f"{path}: {word}" for word in words}
        differences += [
            Difference("scripts/vllm_contract.py", f"{path} does not say {word}") for word in words if word not in text
        ]
    return uses, differences


def installed() -> Path | None:
    """The folder of the installed vLLM; it is not imported."""
    spec = importlib.util.find_spec("vllm")
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def wheel(version: str) -> Path:
    """The wheel for GPUs, from the cache or the registry. Raises ``subprocess.CalledProcessError`` if it refuses."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weak2wise" / "wheels"
    if not (found := sorted(cache.glob(f"vllm-{version}-*.whl"))):
        cache.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", str(cache)]
        subprocess.run([*words, f"vllm=={version}"], check=True, capture_output=True, text=True)
        found = sorted(cache.glob(f"vllm-{version}-*.whl"))
    return found[0]


def main() -> int:
    """Check one vLLM."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--version", help="of the wheel for GPUs; left out: the installed vLLM")
    parser.add_argument("--list", action="store_true", help="print all that is used")
    options = parser.parse_args()
    root: Path | ZipPath | None
    try:
        root = ZipPath(wheel(options.version), "vllm/") if options.version else installed()
    except subprocess.CalledProcessError as error:
        print(f"vllm {options.version} cannot be had: {error.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return 2
    if root is None:
        print("no vLLM is installed; name a --version", file=sys.stderr)
        return 2
    uses, differences = compare(root)
    if options.list:
        print(*sorted(uses), sep="\n")
    print(*differences, sep="\n", end="\n" if differences else "")
    print(f"vLLM {options.version or root}: {len(uses)} uses, {len(differences)} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
