"""``init`` and ``check`` look at the GPUs of the machine; a program in nvidia-smi's place prints what that does."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.finished_run import command
from weak2wise.config import VllmEndpoint, load_config
from weak2wise.llm.vllm.gpu_memory import gpus as gpus_here, inspect_model

FAKE = """#!{python}
import sys
(query,) = [word.partition("=")[2] for word in sys.argv if word.startswith("--query-gpu=")]
assert "--format=csv,noheader,nounits" in sys.argv
for index in range({count}):
    facts = {{"index": index, "uuid": f"GPU-{{index}}a5e1c2d-f00d", "memory.total": {mib}, "name": "{name}"}}
    print(", ".join(str(facts[field]) for field in query.split(",")))
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Machine":
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return Machine(tmp_path / "bin", monkeypatch)


class Machine:
    """Has as many GPUs as it is given."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self._program = folder / "nvidia-smi"
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def has(self, count: int, mib: object, name: str) -> None:
        self._program.write_text(FAKE.format(python=sys.executable, count=count, mib=repr(mib), name=name))
        self._program.chmod(0o755)


def model_in(folder: Path, weights: int) -> Path:
    folder.mkdir()
    shape = {"num_attention_heads": 28, "num_key_value_heads": 4, "hidden_size": 3584, "num_hidden_layers": 28}
    (folder / "config.json").write_text(json.dumps(shape))
    (folder / "tokenizer_config.json").write_text("{}")
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(weights)  # a hole in the file: it takes no room
    return folder


@pytest.mark.parametrize(
    ("gpus", "written"),
    [
        ((8, 81559, "NVIDIA H100 80GB HBM3"), (8, None)),
        ((1, 24564, "NVIDIA GeForce RTX 4090"), (1, None)),
        ((8, 16384, "Tesla V100-SXM2-16GB"), (4, 2)),
        ((3, 81559, "NVIDIA A100, rev. 2"), (3, None)),
    ],
)
def test_init_fills_in_the_copies_for_this_machine(
    tmp_path: Path, machine: Machine, gpus: tuple[int, int, str], written: tuple[int, int | None]
) -> None:
    machine.has(*gpus)
    assert command("init", "vllm", "--out", tmp_path / "run.yaml") == 0
    weak = load_config(tmp_path / "run.yaml", env=None).endpoints["weak"]
    assert isinstance(weak, VllmEndpoint)
    assert (weak.data_parallel_size, weak.tensor_parallel_size) == written
    assert gpus[2] in (tmp_path / "run.yaml").read_text()


@pytest.mark.parametrize("mib", [None, "[N/A]"])
def test_init_without_a_gpu_that_it_can_see_leaves_the_copies_out(
    tmp_path: Path, machine: Machine, mib: str | None
) -> None:
    machine.has(0 if mib is None else 1, mib, "NVIDIA GB10")
    assert command("init", "vllm", "--out", tmp_path / "run.yaml") == 0
    weak = load_config(tmp_path / "run.yaml", env=None).endpoints["weak"]
    assert isinstance(weak, VllmEndpoint)
    assert weak.data_parallel_size is None


def test_check_names_the_gpus_that_stay_idle_and_what_would_use_them(tmp_path: Path, machine: Machine) -> None:
    folder = model_in(tmp_path / "model", 15_200_000_000)
    machine.has(8, 81559, "NVIDIA H100 80GB HBM3")
    alone = inspect_model("weak", VllmEndpoint(model_name=str(folder), max_model_len=16384))
    assert alone.verdict == "warning"
    assert "GPUs 1, 2, 3, 4, 5, 6, 7 stay idle: data_parallel_size: 8 would use 8 of 8" in alone.said
    assert "of the 85.5 GB of a GPU, 0.92 are used, 15.2 GB for weights" in alone.said
    odd = VllmEndpoint(model_name=str(folder), max_model_len=16384, tensor_parallel_size=3, data_parallel_size=2)
    assert "GPUs 6, 7 stay idle (model_endpoints.weak)" in inspect_model("weak", odd).said, "no copy fits into them"
    all_of_them = VllmEndpoint(model_name=str(folder), max_model_len=16384, data_parallel_size=8)
    assert inspect_model("weak", all_of_them).verdict == "good"
    nine = inspect_model("weak", VllmEndpoint(model_name=str(folder), max_model_len=16384, data_parallel_size=9))
    assert nine.verdict == "bad"
    assert "it is to run on 9 GPUs, of which 8 were seen" in nine.said


def test_only_the_gpus_that_a_program_may_use_count(machine: Machine) -> None:
    machine.has(4, 24564, "NVIDIA L4")
    assert [gpu.index for gpu in gpus_here({})] == [0, 1, 2, 3]
    assert [gpu.index for gpu in gpus_here({"CUDA_VISIBLE_DEVICES": "2,0"})] == [2, 0]
    assert [gpu.index for gpu in gpus_here({"CUDA_VISIBLE_DEVICES": "GPU-1a5e"})] == [1]
    assert gpus_here({"CUDA_VISIBLE_DEVICES": ""}) == []
    assert [gpu.index for gpu in gpus_here({"CUDA_VISIBLE_DEVICES": "1,9,2"})] == [1]
    assert gpus_here({})[0].size == 24564 << 20
