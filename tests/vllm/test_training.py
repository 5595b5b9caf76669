"""Real trainings by TRL: killed and resumed they are the calm one, and what they leave is read by vLLM."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.engine_runs import ROOT
from tests.finished_run import FinishedRun
from tests.vllm.engines import ask, model_folder, running_engine
from weak2wise.config import GenerationKwargs, TrainSettings
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.proof.arms import arm_rows
from weak2wise.proof.base_model import files_of
from weak2wise.proof.encoding import Encoder
from weak2wise.proof.trained import Trained
from weak2wise.proof.training import train

pytestmark = [pytest.mark.slow, pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]

FEW = {"max_steps": 4, "save_steps": 2, "batch_size": 2, "device_batch_size": 1, "threads": 1}
PARENT = """
import sys
from pathlib import Path
import msgspec
from weak2wise.config import TrainSettings
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.proof.training import train
work, base, models, settings = sys.argv[1:]
train(WorkDir(Path(work)), "winners", 1, TrainSettings(**msgspec.json.decode(settings)), model=base,
      out=Path(models), on_progress=lambda said: print(said, flush=True))
"""


def killed_at(step: int, work: Path, base: str, models: Path, settings: dict[str, Any]) -> None:
    """Begin a training, and kill it, parent first, when it has made a step."""
    arguments = [str(work), base, str(models), msgspec.json.encode(settings).decode()]
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any(f"step={step}," in line for line in process.stdout), "it ended before"
        process.send_signal(signal.SIGKILL)


def trained_on(work: Path, base: str, models: Path, settings: dict[str, Any]) -> tuple[Trained, list[int]]:
    """Train to the end; also the steps that were made."""
    steps: list[int] = []
    trained = train(
        WorkDir(work),
        "winners",
        1,
        TrainSettings(**settings),
        model=base,
        out=models,
        on_progress=lambda said: steps.append(getattr(said, "step", 0)),
    )
    return trained, steps[1:]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of the weak one's kind, with its tokenizer, that takes no time."""
    from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415 - an extra

    folder = tmp_path_factory.mktemp("tiny")
    config = AutoConfig.from_pretrained(model_folder())
    small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": 32}
    small |= {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 200}
    for key, value in small.items():
        setattr(config, key, value)
    AutoModelForCausalLM.from_config(config).bfloat16().save_pretrained(folder)
    for path in files_of(Path(model_folder())):
        if path.name not in ("config.json", "model.safetensors"):
            shutil.copyfile(path, folder / path.name)
    return str(folder)


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file  # noqa: PLC0415 - an extra

    return dict(load_file(folder / "model.safetensors"))


def differing(one: Path, other: Path) -> list[str]:
    """The names of the weights that are not the same to the bit."""
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    assert {name: w.dtype for name, w in ours.items()} == {name: w.dtype for name, w in theirs.items()}
    return [name for name, w in ours.items() if not w.equal(theirs[name])]


@pytest.mark.parametrize("more", [{}, {"lora_rank": 4, "learning_rate": 1e-2}], ids=["all weights", "LoRA"])
def test_a_killed_and_resumed_training_ends_with_the_bits_of_a_calm_one(
    finished: FinishedRun, tiny: str, tmp_path: Path, more: dict[str, Any]
) -> None:
    settings = FEW | more
    calm, steps = trained_on(finished.work, tiny, tmp_path / "calm", settings)
    assert steps == [1, 2, 3, 4]
    killed_at(3, finished.work, tiny, tmp_path / "killed", settings)
    resumed, steps = trained_on(finished.work, tiny, tmp_path / "killed", settings)
    assert steps == [3, 4]
    assert resumed.losses == calm.losses
    assert len({loss for _, loss in calm.losses}) == 4
    assert differing(calm.folder, resumed.folder) == []
    assert differing(calm.folder, Path(tiny)) != []
    for path in files_of(Path(tiny)):
        assert path.name == "model.safetensors" or (calm.folder / path.name).read_bytes() == path.read_bytes()
    assert calm.dtype == "bfloat16"
    assert (calm.folder / "adapter").is_dir() is ("lora_rank" in more)


def test_rows_that_are_too_long_are_named_and_the_others_are_trained_on_whole(
    finished: FinishedRun, tiny: str, tmp_path: Path
) -> None:
    encode = encoder(tiny)
    rows = arm_rows(WorkDir(finished.work), "winners", 1)
    sizes = {row.row: len(encode(row.row, row.prompt, row.response).tokens) for row in rows}
    trained, _ = trained_on(finished.work, tiny, tmp_path, FEW | {"max_steps": 1})
    assert trained.too_long == [row for row, size in sizes.items() if size > 200] != []
    assert trained.rows == sum(size <= 200 for size in sizes.values())
    assert trained.tokens == sum(size for size in sizes.values() if size <= 200)


async def test_the_weak_llm_is_trained_killed_resumed_and_read_by_vllm(finished: FinishedRun, tmp_path: Path) -> None:
    base = model_folder()
    killed_at(3, finished.work, base, tmp_path, FEW)
    trained, steps = trained_on(finished.work, base, tmp_path, FEW)
    assert steps == [3, 4]
    assert [step for step, _ in trained.losses] == [1, 2, 3, 4]
    assert all(0 < loss < 10 for _, loss in trained.losses)
    row = next(arm_rows(WorkDir(finished.work), "winners", 1))
    async with running_engine(
        str(trained.folder),
        max_model_len=1024,
        generation_kwargs=GenerationKwargs(max_new_tokens=24),
        engine_args={"kv_cache_memory_bytes": 2**28, "block_size": 32},
    ) as model:
        answer = await model.complete(ask(row.prompt, temperature=0.0))
    shown = encoder(base)(row.row, row.prompt, row.response)
    assert answer.usage.prompt_tokens == shown.prompt
    assert answer.usage.completion_tokens > 0


def encoder(model: str) -> Encoder:
    from transformers import AutoTokenizer  # noqa: PLC0415 - an extra

    return Encoder(AutoTokenizer.from_pretrained(model), bare=False, stops=())
