"""A begun run goes on although its model is in another folder now, or a release has other default prompts."""

import asyncio
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

import weak2wise
from tests.api.runs import asked, config_at, endpoint, questions, tree
from tests.engine_runs import config_for, write_run
from tests.loopback import LoopbackProcess, LoopbackServer, Request, answer_to, serve
from tests.parts.hosts import HostsHere
from weak2wise.config import Config, VllmEndpoint, load_config
from weak2wise.ledger.manifest import Begun, load_manifest
from weak2wise.llm import endpoint as endpoint_module
from weak2wise.run import begun, model_folder
from weak2wise.run.engine import Engine
from workers import prompts
from workers.method import METHOD

OUTPUTS = [*(step.file for step in METHOD), "failed.jsonl"]
LATER = {key: f"{text}\n\nA later release." for key, text in prompts.FIRST_DEFAULTS.items()}


class FolderModel(weak2wise.Endpoint):
    """Stands for the embedded engine: what a folder's model answers depends on its config.json."""

    version = "1"
    embedded = True
    asked: ClassVar[Counter[str]] = Counter()

    async def complete(self, prompt: weak2wise.Prompt, /) -> weak2wise.Completion:
        kind = json.loads((Path(self.settings.model) / "config.json").read_text())["kind"]
        FolderModel.asked[kind] += 1
        answer = answer_to(msgspec.convert(msgspec.to_builtins(prompt) | {"model": kind}, Request))
        usage = weak2wise.Usage(prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens)
        return weak2wise.Completion(text=answer.content, finish_reason="stop", usage=usage)


@pytest.fixture(autouse=True)
def folders_are_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(endpoint_module.BUILT_IN, "vllm", "tests.run.test_moving:FolderModel")
    monkeypatch.setattr(FolderModel, "asked", Counter())


def model_at(folder: Path, tensors: int = 3, tensor: bytes = b"\x01" * 5_000_000) -> Path:
    """A folder in Hugging Face's layout, with weights of some size."""
    folder.mkdir()
    (folder / "config.json").write_text('{"kind": "weak"}')
    (folder / "tokenizer.json").write_text("{}")
    at = [number * len(tensor) for number in range(tensors + 1)]
    named = {f"t{n}": {"dtype": "BF16", "shape": [1], "data_offsets": [at[n], at[n + 1]]} for n in range(tensors)}
    header = json.dumps({"__metadata__": {"format": "pt"}} | named).encode()
    weights = len(header).to_bytes(8, "little") + header + tensor * tensors
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def config(server: LoopbackServer, folder: Path) -> Config:
    endpoints = {
        "weak": VllmEndpoint(model_name=str(folder)),
        "strong-a": endpoint(server.base_url, "strong-a"),
    }
    return config_at(server.base_url, endpoints=endpoints)


def outputs(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


def without_outcomes(work: Path) -> None:
    """Only the answers stay, and what the strong model wrote: every answer of the weak LLM is looked up again."""
    for step in ("filter", "stepmask", "select", "sft"):
        shutil.rmtree(work / "ledger" / step)


async def test_a_run_goes_on_when_its_model_is_in_another_folder_and_asks_nothing_again(tmp_path: Path) -> None:
    async with serve() as server:
        here = model_at(tmp_path / "here")
        await weak2wise.asynthesize(questions(6), config(server, here), work_dir=tmp_path / "w")
        made, weak, paid = outputs(tmp_path / "w"), Counter(FolderModel.asked), asked(server)
        assert weak["weak"] > 6
        without_outcomes(tmp_path / "w")
        there = here.rename(tmp_path / "there")
        (there / "README.md").write_text("Copied.")
        run = await weak2wise.asynthesize(questions(6), config(server, there), work_dir=tmp_path / "w")
        assert (FolderModel.asked, asked(server), outputs(tmp_path / "w")) == (weak, paid, made)
        assert run.summary.this_start
        assert run.summary.this_start.replayed["weak"] == weak["weak"]
    manifest = load_manifest(tmp_path / "w" / "manifest.json")
    assert manifest
    assert manifest.weak2wise == weak2wise.__version__
    assert str(tmp_path) not in json.dumps(manifest.shape), "a path of this machine shapes nothing"


@pytest.mark.slow
@pytest.mark.parametrize("what", ["weights", "tokenizer"])
async def test_another_model_in_the_same_folder_is_refused(tmp_path: Path, what: str) -> None:
    async with serve() as server:
        here = model_at(tmp_path / "here")
        await weak2wise.asynthesize(questions(2), config(server, here), work_dir=tmp_path / "w")
        if what == "weights":
            weights = bytearray((here / "model.safetensors").read_bytes())
            weights[-2_500_000 - 5_000_000 + 10] ^= 1  # in the middle of the second tensor
            (here / "model.safetensors").write_bytes(weights)
        else:
            (here / "tokenizer.json").write_text('{"version": 2}')
        with pytest.raises(weak2wise.ConfigError, match=r"weak\.model \(the files in .*here are not those"):
            await weak2wise.asynthesize(questions(2), config(server, here), work_dir=tmp_path / "w")
        asked_at_first = Counter(FolderModel.asked)
        FolderModel.asked.clear()
        without_outcomes(tmp_path / "w")
        await weak2wise.asynthesize(questions(2), config(server, here), work_dir=tmp_path / "w", resume="force")
        assert FolderModel.asked == asked_at_first, "the answers of another model are not this one's"


async def test_a_run_of_an_older_version_goes_on_and_may_then_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That version knew the path alone, in the manifest and in the journal's keys."""
    async with serve() as server:
        here = model_at(tmp_path / "here")
        with monkeypatch.context() as older:
            older.setattr(begun, "_folders", lambda *_: [])
            older.setattr(begun, "_prompts", lambda *_: {})
            await weak2wise.asynthesize(questions(6), config(server, here), work_dir=tmp_path / "w")
        manifest = load_manifest(tmp_path / "w" / "manifest.json")
        assert manifest
        assert manifest.begun == Begun()
        assert manifest.shape["model_endpoints.weak.model"] == str(here)
        made, weak, paid = outputs(tmp_path / "w"), Counter(FolderModel.asked), asked(server)

        without_outcomes(tmp_path / "w")
        await weak2wise.asynthesize(questions(6), config(server, here), work_dir=tmp_path / "w")
        assert (FolderModel.asked, asked(server), outputs(tmp_path / "w")) == (weak, paid, made)

        without_outcomes(tmp_path / "w")
        there = here.rename(tmp_path / "there")
        await weak2wise.asynthesize(questions(6), config(server, there), work_dir=tmp_path / "w")
        assert (FolderModel.asked, asked(server), outputs(tmp_path / "w")) == (weak, paid, made)


async def test_a_run_of_an_older_version_is_refused_where_its_model_cannot_be_known_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as server:
        here = model_at(tmp_path / "here")
        with monkeypatch.context() as older:
            older.setattr(begun, "_folders", lambda *_: [])
            await weak2wise.asynthesize(questions(2), config(server, here), work_dir=tmp_path / "w")
        there = here.rename(tmp_path / "there")
        with pytest.raises(weak2wise.ConfigError, match=r"Changed since: model_endpoints\.weak\.model"):
            await weak2wise.asynthesize(questions(2), config(server, there), work_dir=tmp_path / "w")


def test_a_digest_of_a_large_model_takes_no_time_and_no_readme(tmp_path: Path) -> None:
    folder = model_at(tmp_path / "m", tensors=0)
    with (folder / "pytorch_model.bin").open("wb") as file:
        file.truncate(200 << 30)
    known = model_folder.model_digest(folder)
    (folder / "README.md").write_text("Words.")
    (folder / "LICENSE.txt").write_text("Words.")
    (folder / ".cache").write_text("Words.")
    assert model_folder.model_digest(folder) == known
    with (folder / "pytorch_model.bin").open("ab") as file:
        file.truncate((200 << 30) + 1)
    assert model_folder.model_digest(folder) != known


@pytest.mark.parametrize("header", [b"", b"\xff" * 8, b"\x04\0\0\0\0\0\0\0null", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_digest_of_broken_weights_is_a_digest(tmp_path: Path, header: bytes) -> None:
    folder = model_at(tmp_path / "m", tensors=0)
    digests = set()
    for last in (b"1", b"2"):
        (folder / "model.safetensors").write_bytes(header + last * 9_000_000)
        digests.add(model_folder.model_digest(folder))
    assert len(digests) == 2


def released(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on it is a release in which every default prompt is another one."""
    for module in (prompts, begun):
        monkeypatch.setattr(module, "DEFAULTS", LATER)


@pytest.mark.slow
@pytest.mark.parametrize("texts", [True, False], ids=["its manifest has the texts", "it has their digests alone"])
async def test_a_release_with_other_default_prompts_goes_on_with_those_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: bool
) -> None:
    async with serve() as server:
        given = config_at(server.base_url)
        whole = await weak2wise.asynthesize(questions(8), given, work_dir=tmp_path / "whole")
        with monkeypatch.context() as older:
            if not texts:
                older.setattr(begun, "_prompts", lambda *_: {})
            await weak2wise.asynthesize(questions(8), given, work_dir=tmp_path / "w", limit=3)
        paid = asked(server)

        released(monkeypatch)
        run = await weak2wise.asynthesize(questions(8), given, work_dir=tmp_path / "w")
        assert run.totals == whole.totals
        assert outputs(tmp_path / "w") == outputs(tmp_path / "whole")
        assert asked(server).keys() == paid.keys(), "the prompts are those of the run, to the byte"

        fork = weak2wise.fork(tmp_path / "w", tmp_path / "fork", given)
        assert load_manifest(tmp_path / "fork" / "manifest.json").forked.from_step == 6  # type: ignore[union-attr]
        before = asked(server)
        await weak2wise.asynthesize(None, fork)
        assert asked(server) == before, "a fork without changes asks nothing"

        await weak2wise.asynthesize(questions(8), given, work_dir=tmp_path / "new")
        assert asked(server).keys() - paid.keys(), "a run that begins now has the new defaults"


@pytest.mark.slow
def test_hosts_of_a_run_in_parts_go_on_with_the_prompts_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackProcess() as server:
        for name in ("whole", "w"):
            written = config_for(tmp_path / name, server.base_url) | {"cluster": {"part_rows": 4}}
            del written["prompts"]
            write_run(tmp_path / name, written, 12)
        whole, given = (load_config(tmp_path / name / "config.yaml") for name in ("whole", "w"))
        asyncio.run(Engine(whole, holders=HostsHere(whole, 2)).run())
        asyncio.run(Engine(given, holders=HostsHere(given, 2), limit=5).run())
        paid = asked(server)
        released(monkeypatch)
        asyncio.run(Engine(given, holders=HostsHere(given, 2)).run())
        assert asked(server).keys() == paid.keys()
    assert (tmp_path / "w" / "out.jsonl").read_bytes() == (tmp_path / "whole" / "out.jsonl").read_bytes()


async def test_a_prompt_that_was_given_and_is_left_out_now_is_a_change(tmp_path: Path) -> None:
    async with serve() as server:
        mine = weak2wise.PromptTexts(cgen="Explain under '##'; end with '## Final Answer'.")
        await weak2wise.asynthesize(questions(2), config_at(server.base_url, prompts=mine), work_dir=tmp_path / "w")
        before = tree(tmp_path / "w" / "ledger")
        with pytest.raises(weak2wise.ConfigError, match=r"Changed since: prompts\.cgen"):
            await weak2wise.asynthesize(questions(2), config_at(server.base_url), work_dir=tmp_path / "w")
        assert tree(tmp_path / "w" / "ledger") == before


async def test_starting_over_takes_the_defaults_of_the_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as server:
        await weak2wise.asynthesize(questions(2), config_at(server.base_url), work_dir=tmp_path / "w")
        released(monkeypatch)
        await weak2wise.asynthesize(questions(2), config_at(server.base_url), work_dir=tmp_path / "w", resume="never")
    manifest: Any = load_manifest(tmp_path / "w" / "manifest.json")
    assert manifest.begun.prompts == LATER
