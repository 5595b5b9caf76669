"""What this project uses of vLLM is there, as far as vLLM's source says so."""

import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from zipfile import Path as ZipPath

import pytest

from scripts import vllm_contract
from scripts.vllm_contract import LOOKED_AT, ROOT, compare, installed, wheel
from scripts.vllm_source import Source
from scripts.vllm_uses import Reader


def here() -> Path:
    """The installed vLLM."""
    folder = installed()
    if folder is None:
        pytest.skip("no vLLM is installed")
    return folder


def altered(folder: Path, root: Path, path: str, old: str, new: str) -> Path:
    """A vLLM like the one in ``root``, but for one file."""
    *parents, name = path.split("/")
    copy = folder
    for part in [*parents, ""]:
        copy.mkdir()
        for entry in root.iterdir():
            if entry.name != (part or name):
                (copy / entry.name).symlink_to(entry)
        copy, root = copy / part, root / part
    text = (root / name).read_text()
    assert old in text, f"{path} does not say {old}"
    (copy / name).write_text(text.replace(old, new))
    return folder


@pytest.mark.slow
def test_the_installed_vllm_has_all_that_is_used() -> None:
    uses, differences = compare(here())
    assert not differences
    of_each_kind = {
        "vllm.v1.engine.async_llm.AsyncLLM",
        "AsyncLLM.generate",
        "BaseRenderer.render_chat_async",
        "CompletionOutput.token_ids",
        "SamplingParams(stream_interval=)",
        "AsyncEngineArgs(max_num_seqs=)",
        "shutdown(timeout=)",
        "RequestOutputKind.DELTA",
        "ParallelConfig.local_engines_only",
        "VLLM_LOGGING_STREAM",
        "vllm.v1.executor.uniproc_executor.UniProcExecutor",
        "--enforce-eager",
    }
    assert of_each_kind <= uses


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        ("v1/engine/async_llm.py", "class AsyncLLM(", "class L(", "vllm.v1.engine.async_llm has no AsyncLLM"),
        ("v1/engine/async_llm.py", "timeout: float | None", "patience: float | None", "shutdown takes no timeout"),
        ("renderers/base.py", "def render_chat_async(", "def r(", "BaseRenderer has no attribute render_chat_async"),
        ("outputs.py", "token_ids:", "ids:", "CompletionOutput has no attribute token_ids"),
        ("sampling_params.py", "stream_interval:", "interval:", "SamplingParams takes no stream_interval"),
        ("sampling_params.py", "DELTA =", "PART =", "RequestOutputKind has no attribute DELTA"),
    ],
)
def test_what_the_engine_uses_and_a_vllm_lacks_is_named(
    tmp_path: Path, path: str, old: str, new: str, said: str
) -> None:
    root = altered(tmp_path / "vllm", here(), path, old, new)
    reader = Reader(Source({"vllm": root, "weak2wise": ROOT / "weak2wise"}), "weak2wise.llm.vllm.engine")
    reader.read()
    assert said in {difference.what for difference in reader.differences.values()}


@pytest.mark.slow
def test_what_texts_speak_of_and_a_vllm_lacks_is_named(tmp_path: Path) -> None:
    root = altered(tmp_path / "names", here(), "v1/engine/utils.py", '"EngineCore"', '"Core"')
    root = altered(tmp_path / "variables", root, "envs.py", '"VLLM_LOGGING_STREAM":', '"VLLM_STREAM":')
    root = altered(tmp_path / "vllm", root, "entrypoints/launchers/cli_args.py", "port: int", "gate: int")
    _, differences = compare(root)
    assert {difference.what for difference in differences} == {
        'v1/engine/utils.py does not say "EngineCore"',
        "vLLM reads no variable VLLM_LOGGING_STREAM",
        "vLLM's server has no option --port",
    }


KEEPS = """
class Keeps:
    def __init__(self, llm: AsyncLLM) -> None:
        self.kept = llm

    def f(self) -> int:
        return self.kept.vllm_config.scheduler_config.seats
"""
LOOPS = """
async def f(llm: AsyncLLM) -> None:
    async for said in llm.generate("", None, ""):
        said.outputs[0].words
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("from vllm import Nothing", "vllm has no Nothing"),
        ("def f(llm: AsyncLLM) -> None:\n    llm.think()", "AsyncLLM has no attribute think"),
        ("def f(llm: AsyncLLM) -> None:\n    llm.shutdown(soon=True)", "shutdown takes no soon"),
        ("def f(llm: AsyncLLM) -> None:\n    llm.shutdown(1, 2)", "at most 1 arguments by place"),
        ("def f(llm: AsyncLLM) -> None:\n    llm.renderer.render()", "whose type is not said"),
        (KEEPS, "SchedulerConfig has no attribute seats"),
        (LOOPS, "CompletionOutput has no attribute words"),
    ],
)
def test_a_new_use_is_found_where_it_is_written(tmp_path: Path, body: str, said: str) -> None:
    (tmp_path / "new.py").write_text(f"from vllm.v1.engine.async_llm import AsyncLLM\n\n\n{body}\n")
    reader = Reader(Source({"vllm": here(), "ours": tmp_path}), "ours.new")
    reader.read()
    assert [difference for difference in reader.differences.values() if said in difference.what]


def test_the_gpu_extra_and_the_images_are_of_versions_that_were_looked_at() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    major, minor, _ = map(int, LOOKED_AT.split("."))
    assert extras["gpu"] == [f"vllm>=0.32,<{major}.{minor + 1}"]
    images = [line for file in ("Dockerfile", "compose.yaml") for line in images_of(ROOT / "docker" / file)]
    assert images
    for image in images:
        series = tuple(map(int, image.rpartition(":v")[2].split(".")[:2]))
        assert (0, 32) <= series <= (major, minor)


def images_of(file: Path) -> Iterator[str]:
    """The images of vLLM that a file names."""
    yield from (word for word in file.read_text().split() if word.startswith("vllm/vllm-openai:"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_newest_wheel_for_gpus_that_was_looked_at_has_all_that_is_used() -> None:
    """The source in the wheel is read; nothing is installed."""
    try:
        found = wheel(LOOKED_AT)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the registry does not give vllm {LOOKED_AT}: {error.stderr.strip()[-200:]}")
    uses, differences = compare(ZipPath(found, "vllm/"))
    assert not differences
    assert len(uses) > 100


def test_a_version_that_cannot_be_had_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: str) -> Path:
        raise subprocess.CalledProcessError(1, "pip", stderr="ERROR: No matching distribution found for vllm==9.9.9\n")

    monkeypatch.setattr(vllm_contract, "wheel", refuse)
    monkeypatch.setattr("sys.argv", ["vllm_contract.py", "--version", "9.9.9"])
    assert vllm_contract.main() == 2
    assert "9.9.9" in capsys.readouterr().err
