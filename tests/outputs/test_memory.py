"""Whether an embedded model fits is told from its files and the driver, without loading it."""

import json
from pathlib import Path

import pytest

from tests.engine_runs import run_in, save
from tests.finished_run import command
from tests.loopback import LoopbackProcess
from weak2wise.config import VllmEndpoint
from weak2wise.llm.vllm.footprint import Footprint, footprint
from weak2wise.llm.vllm.gpu_memory import Gpu, cached, fit


def test_check_looks_whether_a_model_folder_holds_a_model(
    tmp_path: Path, server: LoopbackProcess, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = run_in(tmp_path, server.base_url)
    (tmp_path / "installed" / "vllm").mkdir(parents=True)
    (tmp_path / "installed" / "vllm" / "__init__.py").touch()  # it is only looked for
    monkeypatch.syspath_prepend(tmp_path / "installed")
    config["model_endpoints"]["weak"] = {"type": "vllm", "model_name": str(tmp_path / "model")}
    assert command("check", "--config", save(tmp_path, config)) == 1
    assert "no model there, no config.json" in capsys.readouterr().out.replace("\n", " ")
    (tmp_path / "model").mkdir()
    for name in ("config.json", "tokenizer_config.json"):
        (tmp_path / "model" / name).write_text("{}")
    assert command("check", "--config", tmp_path / "config.yaml") == 0


def test_the_memory_a_model_needs_is_read_from_its_folder(tmp_path: Path) -> None:
    """A 7B model's published shape: 28 layers, 4 key-value heads of 128, two bytes: 57,344 bytes a token."""
    shape = {"num_attention_heads": 28, "num_key_value_heads": 4, "num_hidden_layers": 28, "hidden_size": 3584}
    (tmp_path / "config.json").write_text(json.dumps(shape | {"torch_dtype": "bfloat16"}))
    assert footprint(tmp_path) is None, "there are no weights"
    (tmp_path / "model.safetensors").write_bytes(b"x" * 1000)
    assert footprint(tmp_path) == Footprint(1000, 57_344)
    assert footprint(tmp_path, dtype="float32") == Footprint(1000, 2 * 57_344)
    assert footprint(tmp_path, kv_cache_dtype="fp8_e4m3") == Footprint(1000, 57_344 // 2)


def test_a_hub_model_is_found_in_the_local_cache(tmp_path: Path) -> None:
    """The cache's layout is the Hub's own: refs name a commit, snapshots hold its files."""

    def there(revision: str | None = None) -> Path | None:
        endpoint = VllmEndpoint(model_name="org/name", download_dir=str(tmp_path), revision=revision)
        return cached("org/name", endpoint)

    folder = tmp_path / "models--org--name"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc123")
    snapshot = folder / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    assert there() is None, "nothing was fetched"
    (snapshot / "config.json").write_text("{}")
    assert there() == snapshot
    assert there(revision="abc123") == snapshot
    assert there(revision="other") is None
    assert cached("no/such/name", VllmEndpoint(model_name="no/such/name")) is None


def test_a_models_needs_are_compared_with_the_gpus_that_it_is_to_have() -> None:
    needs = Footprint(weights=15 * 10**9, kv_per_token=10**5)

    def of(gigabytes: int, count: int = 1) -> list[Gpu]:
        return [Gpu(at, f"GPU-{at}", gigabytes * 10**9, "NVIDIA L4") for at in range(count)]

    large = VllmEndpoint(model_name="m", max_model_len=16384)
    assert fit(needs, large, []) == (True, "no GPU was found here to compare that with")
    fits, said = fit(needs, large, of(24))
    assert fits
    assert said.startswith("of the 24.0 GB of a GPU, 0.92 are used, 15.0 GB for weights, which leaves room for ")
    assert said.endswith(" at most 70,800 tokens in flight")
    assert fit(needs, large, of(18)) == (
        False,
        "of the 18.0 GB of a GPU, 0.92 are used, 15.0 GB for weights: no room for one answer of max_model_len 16,384",
    )
    fits, said = fit(needs, large, of(12))
    assert not fits
    assert said.endswith("15.0 GB for weights: no room for the weights")
    two = VllmEndpoint(model_name="m", tensor_parallel_size=2)
    fits, said = fit(needs, two, of(12, 2))
    assert fits
    assert "7.5 GB for weights" in said
    assert fit(needs, two, of(80)) == (False, "it is to run on 2 GPUs, of which 1 were seen")
    four = VllmEndpoint(model_name="m", tensor_parallel_size=2, data_parallel_size=4)
    assert fit(needs, four, of(80, 4)) == (False, "it is to run on 8 GPUs, of which 4 were seen")
    assert fit(needs, four, of(24, 8))[1].endswith("in flight in each copy")
