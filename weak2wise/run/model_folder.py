"""A cheap digest of a model in a folder, so that a run knows it again on another machine.

Small files (config, tokenizer, templates) count whole. Of weights, which have gigabytes, what counts is sizes, the
header, and pieces: the middle of each tensor of a safetensors file, evenly spread places of any other. So a model that
was trained further is another one. What it does not see: weights that were changed nowhere but between those pieces.
"""

import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import msgspec

_WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".gguf", ".npz", ".onnx", ".h5", ".msgpack"})
_OTHERS = frozenset({".json", ".jinja", ".model", ".tiktoken", ".txt", ".vocab", ".py"})
_NOT_THE_MODEL = frozenset({"trained.json", "trainer_state.json", "training_args.bin", "optimizer.pt", "scheduler.pt"})
"""Files beside a model that change no answer; ``README.md`` and ``LICENSE`` have another suffix."""
_PIECE = 4096
_MOST_PIECES = 2048
"""Pieces of one file."""
_LONGEST_HEADER = 64 << 20


def model_digest(path: Path) -> str:
    """The digest of a model: a folder, or one file. Blocks: reads a few MB.

    Raises:
        OSError: a file cannot be read.
    """
    files = sorted(filter(_is_of_the_model, path.iterdir())) if path.is_dir() else [path]
    digest = blake2b(digest_size=8)
    for file in files:
        size = file.stat().st_size
        name = file.name if path.is_dir() else ""
        digest.update(f"{name}\0{size}\0".encode())
        with file.open("rb", buffering=0) as opened:
            for begin, end in _pieces(opened.fileno(), size, file.suffix):
                digest.update(os.pread(opened.fileno(), end - begin, begin))
    return digest.hexdigest()


def _is_of_the_model(file: Path) -> bool:
    if file.name.startswith((".", "LICENSE")) or file.name in _NOT_THE_MODEL or not file.is_file():
        return False
    return file.suffix in _WEIGHTS or file.suffix in _OTHERS


def _pieces(file: int, size: int, suffix: str) -> Iterator[tuple[int, int]]:
    """Where the pieces of a file begin and end."""
    if suffix not in _WEIGHTS or size <= _MOST_PIECES * _PIECE:
        yield from ((begin, min(size, begin + (1 << 20))) for begin in range(0, size, 1 << 20))
        return
    header = 8 + int.from_bytes(os.pread(file, 8, 0), "little") if suffix == ".safetensors" else _PIECE
    middles: list[int] = []
    if suffix == ".safetensors" and header <= min(size, _LONGEST_HEADER):
        middles = [header + middle for middle in _tensors(os.pread(file, header - 8, 8))]
    else:
        header = _PIECE
    if not middles:
        middles = [size * number // _MOST_PIECES for number in range(_MOST_PIECES)]
    yield 0, header
    for number in range(min(len(middles), _MOST_PIECES)):
        begin = middles[number * len(middles) // min(len(middles), _MOST_PIECES)]
        yield begin, min(size, begin + _PIECE)


def _tensors(header: bytes) -> list[int]:
    """The middle of each tensor, counted from the end of a safetensors file's header; none if it cannot be read."""
    try:
        tensors = msgspec.json.decode(header, type=dict[str, dict[str, object]])
        offsets = [msgspec.convert(at["data_offsets"], tuple[int, int]) for at in tensors.values() if "dtype" in at]
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError):
        return []
    return sorted((begin + end) // 2 for begin, end in offsets)
